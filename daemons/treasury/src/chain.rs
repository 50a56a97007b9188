//! Bitcoin Core's best chain, as the first of the configured nodes that answers has it.
//!
//! One pass over our blocks asks one node only, so that two nodes with different tips never make up one picture.

use crate::config::TreasuryConfig;
use crate::links::Link;
use bitcoin::hashes::Hash;
use bitcoin::{Amount, Block, FeeRate, Network, Transaction, Txid};
use hh_bitcoin::{NodeError, Presence, Rpc, RpcError, check_node, presence};
use hh_daemon::{Chain as ErrorChain, Failure};
use hh_mining::BlockHash;

/// A commitment transaction that carries payments can't wait for a cheap hour.
const FEE_TARGET_BLOCKS: u16 = 6;

/// The nodes, in the order of preference. Clones share what is known of them.
#[derive(Clone, Debug)]
pub(crate) struct Chain {
    nodes: Vec<Node>,
    network: Network,
}

#[derive(Clone, Debug)]
struct Node {
    name: String,
    rpc: Rpc,
    link: Link,
}

/// Why no node told anything.
#[derive(Debug, thiserror::Error)]
#[error("no Bitcoin Core node answers: {0}")]
pub(crate) struct NoNode(String);

/// A transaction that a node has.
#[derive(Clone, Debug)]
pub(crate) struct Sighting {
    pub transaction: Transaction,
    /// Of its block; none while it waits for one.
    pub height: Option<u32>,
    /// Known once it is in a block, unless the node has pruned what it spends.
    pub fee: Option<Amount>,
}

/// One node's chain at one moment.
#[derive(Clone, Debug)]
pub(crate) struct View {
    rpc: Rpc,
    /// Of its tip.
    pub height: u32,
    pub tip: BlockHash,
    /// The node still catches up with its peers: what it has not got may be there.
    pub is_catching_up: bool,
}

impl Chain {
    /// Clients for the configured nodes; nothing is connected.
    ///
    /// # Errors
    /// An entry that can't be used, as a mistake in the configuration.
    pub(crate) fn new(config: &TreasuryConfig) -> Result<Self, Failure> {
        let mut nodes = Vec::new();
        for config in &config.nodes {
            let rpc = config.rpc().map_err(Failure::config)?;
            let name = config.name().to_owned();
            let link = Link::new(&name);
            nodes.push(Node { name, rpc, link });
        }
        let network = config.chain;
        Ok(Self { nodes, network })
    }

    /// What is known of each.
    pub(crate) fn links(&self) -> impl Iterator<Item = &Link> {
        self.nodes.iter().map(|node| &node.link)
    }

    /// Asks every node once.
    ///
    /// # Errors
    /// A node that can never be used as it is configured, such as one on another chain.
    pub(crate) async fn check(&self) -> Result<(), Failure> {
        for node in &self.nodes {
            if let Err(error) = node.ask(self.network).await
                && error.is_config()
            {
                return Err(Failure::config(error));
            }
        }
        Ok(())
    }

    /// The chain of the first node that answers.
    ///
    /// # Errors
    /// None does.
    pub(crate) async fn view(&self) -> Result<View, NoNode> {
        let mut reasons = Vec::new();
        for node in &self.nodes {
            match node.ask(self.network).await {
                Ok(view) => return Ok(view),
                Err(error) => reasons.push(format!("{}: {}", node.name, ErrorChain(&error))),
            }
        }
        Err(NoNode(reasons.join("; ")))
    }

    /// What a transaction has to pay to be in one of the next blocks, as the first node that answers has it; none where none tells.
    pub(crate) async fn fee_rate(&self) -> Option<FeeRate> {
        let view = self.view().await.ok()?;
        view.rpc.fee_rate(FEE_TARGET_BLOCKS).await.ok().flatten()
    }
}

impl Node {
    async fn ask(&self, network: Network) -> Result<View, NodeError> {
        match check_node(&self.rpc, network).await {
            Ok(info) => {
                self.link.set_up();
                Ok(View {
                    rpc: self.rpc.clone(),
                    height: info.blocks,
                    tip: BlockHash::from_byte_array(info.best_block_hash.to_byte_array()),
                    is_catching_up: info.headers > info.blocks,
                })
            }
            Err(error) => {
                let reason = ErrorChain(&error).to_string();
                if self.link.set_down(reason.clone()) {
                    tracing::warn!(node = self.name, error = reason, "node is away");
                }
                Err(error)
            }
        }
    }
}

impl View {
    /// Where a block is.
    ///
    /// # Errors
    /// The node does not say.
    pub(crate) async fn presence(&self, hash: BlockHash) -> Result<Presence, RpcError> {
        presence::of(&self.rpc, core_hash(hash)).await
    }

    /// The height of a block that the node has.
    ///
    /// # Errors
    /// The node does not say.
    pub(crate) async fn height_of(&self, hash: BlockHash) -> Result<u32, RpcError> {
        Ok(self.rpc.block_header(core_hash(hash)).await?.height)
    }

    /// A transaction, in the block of the best chain that somebody has seen it in, or among those that wait for one.
    ///
    /// # Errors
    /// The node does not say.
    pub(crate) async fn transaction(
        &self,
        txid: Txid,
        height: Option<u32>,
    ) -> Result<Option<Sighting>, RpcError> {
        if let Some(height) = height.filter(|height| *height <= self.height) {
            let block = self.rpc.block_hash(height).await?;
            let found = self.rpc.transaction(txid, Some(block)).await?;
            if let Some((transaction, fee)) = found {
                return Ok(Some(Sighting {
                    transaction,
                    height: Some(height),
                    fee,
                }));
            }
        }
        let waiting = self.rpc.transaction(txid, None).await?;
        Ok(waiting.map(|(transaction, _)| Sighting {
            transaction,
            height: None,
            fee: None,
        }))
    }

    /// A block that the node has.
    ///
    /// # Errors
    /// The node does not give it: it may be pruned.
    pub(crate) async fn block(&self, hash: BlockHash) -> Result<Block, RpcError> {
        self.rpc.block(core_hash(hash)).await
    }
}

fn core_hash(hash: BlockHash) -> bitcoin::BlockHash {
    bitcoin::BlockHash::from_byte_array(hash.to_byte_array())
}
