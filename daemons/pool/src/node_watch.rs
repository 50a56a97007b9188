//! Looks after the Bitcoin Core nodes that get our blocks by RPC: whether they answer, and on which chain.

use crate::links::Links;
use bitcoin::Network;
use hh_bitcoin::{NodeConfig, NodeError, Rpc, check_node};
use hh_daemon::Failure;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often a node is asked: it is told when one goes away, not needed before a block.
const INTERVAL: Duration = Duration::from_secs(10);

/// The nodes with their names and clients.
#[derive(Clone, Debug)]
pub(crate) struct Nodes {
    pub named: Vec<(String, Rpc)>,
    pub links: Links,
    chain: Network,
}

impl Nodes {
    /// Clients for the configured nodes; nothing is connected.
    ///
    /// # Errors
    /// An entry that can't be used, as a mistake in the configuration.
    pub(crate) fn new(configs: &[NodeConfig], chain: Network) -> Result<Self, Failure> {
        let mut named = Vec::new();
        for config in configs {
            let rpc = config.rpc().map_err(Failure::config)?;
            named.push((config.name().to_owned(), rpc));
        }
        let links = Links::new(named.iter().map(|(name, _)| name.clone()));
        Ok(Self {
            named,
            links,
            chain,
        })
    }

    /// Asks every node once.
    ///
    /// # Errors
    /// A node that can never be used as it is configured, such as one on another chain.
    pub(crate) async fn check(&self) -> Result<(), Failure> {
        for index in 0..self.named.len() {
            if let Err(error) = self.ask(index).await
                && error.is_config()
            {
                return Err(Failure::config(error));
            }
        }
        Ok(())
    }

    /// Asks them again and again until `stop` is cancelled.
    pub(crate) async fn watch(self, stop: CancellationToken) {
        loop {
            if stop
                .run_until_cancelled(tokio::time::sleep(INTERVAL))
                .await
                .is_none()
            {
                return;
            }
            for index in 0..self.named.len() {
                // An error is in the link's state and in the log.
                self.ask(index).await.ok();
            }
        }
    }

    async fn ask(&self, index: usize) -> Result<(), NodeError> {
        let (name, rpc) = &self.named[index];
        match check_node(rpc, self.chain).await {
            Ok(_) => {
                self.links.set_up(index);
                Ok(())
            }
            Err(error) => {
                let reason = hh_daemon::Chain(&error).to_string();
                if self.links.set_down(index, reason.clone()) {
                    tracing::warn!(
                        node = name,
                        error = reason,
                        "node is away; blocks go by the other paths"
                    );
                }
                Err(error)
            }
        }
    }
}
