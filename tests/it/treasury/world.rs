//! All that money needs: a pool with a node known to it, hh-treasury, the node's wallet, and miners.

use bitcoincore_rpc::RpcApi;
use hh_ipc::ApiError;
use hh_ipc::api::treasury::{
    ChannelOpenRequest, ChannelState, RewardBlock, RewardBlockState, SubmitInvoiceRequest, Totals,
    TreasuryClient,
};
use hh_ipc::client::within;
use hh_mining::Network as ChainName;
use hh_tests::bench::mempool;
use hh_tests::bitcoin_core::{BitcoinCore, Chain};
use hh_tests::channel::Channel;
use hh_tests::daemon::Daemon;
use hh_tests::miner::{Miner, MinerConfig, MinerUrl};
use hh_tests::network::{CALL, Network};
use hh_tests::treasury::{DEADLINE, NodeWallet, Payee, Treasury};
use hh_tests::wait::{wait_for, wait_until};
use hh_trust::{NodeCredential, NodeId, NodeSecretKey, PoolAuthority};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Of a channel: below the 2^24 sat that need a negotiation of their own.
const CAPACITY_SAT: u64 = 10_000_000;

/// Transactions in the block that is found, each with a fee of 1,000 sat.
pub(super) const TRANSACTIONS: usize = 7;

/// Until all channels that were closed by force have given their money back: hundreds of blocks of a second or two.
const BALANCED: Duration = Duration::from_secs(900);

/// Of those that timelocks count.
const BLOCKS_AT_ONCE: u32 = 6;

/// For calls that reach a peer.
const LONG_CALL: Duration = Duration::from_secs(60);

/// Everything, with a translator on the node `berlin` through which `bob` mines.
pub(super) struct World {
    // In the order in which they end.
    translator: Daemon,
    pub(super) treasury: Treasury,
    pub(super) wallet: NodeWallet,
    pub(super) network: Network,
    node: NodeId,
    key: NodeSecretKey,
}

impl World {
    /// On a signet, where shares and blocks are different things.
    pub(super) async fn start(more: &str) -> Self {
        Self::start_with(Chain::Signet, async |_, _| more.to_owned()).await
    }

    /// With what network and node's wallet have to say to the configuration. On regtest every share is a block, and as many blocks as are
    /// wanted are there at once.
    pub(super) async fn start_with(
        chain: Chain,
        more: impl AsyncFnOnce(&Network, &NodeWallet) -> String,
    ) -> Self {
        let key = NodeSecretKey::generate().unwrap();
        Self::start_for(chain, (key, None), more).await
    }

    /// As [`Self::start_with`], for a node that has this key, and this Lightning node if not `wallet`, which is a stranger's then.
    pub(super) async fn start_for(
        chain: Chain,
        (key, lightning_node): (NodeSecretKey, Option<String>),
        more: impl AsyncFnOnce(&Network, &NodeWallet) -> String,
    ) -> Self {
        let core = BitcoinCore::start(chain);
        mempool::fill(&core, TRANSACTIONS);
        let mut network = Network::start_on(core).await;
        let node: NodeId = "berlin".parse().unwrap();
        let config = format!(
            "{}\n[[hyper_nodes]]\nid = \"{node}\"\npublic_key = \"{}\"\nlanes = [{{ name = \"sv1\" }}]\n",
            network.pool_config(),
            key.public_key()
        );
        network.pool.write_config(&config);
        let wallet = NodeWallet::start(&network.dir().join("berlin"), &network.node).await;
        wallet.drain();
        let id = match lightning_node {
            Some(id) => id,
            None => wallet.id().await,
        };
        let payee = Payee {
            id: node.as_str(),
            key: key.public_key(),
            wallet: &id,
        };
        let more = more(&network, &wallet).await;
        let treasury = Treasury::start(&mut network, &payee, &more).await;
        let credential = network.dir().join("node.credential");
        std::fs::write(&credential, issue(&network, &node, &key)).unwrap();
        let config = format!(
            "{}\n[credential]\nfile = \"{}\"\n",
            network.translator_config(&network.pool_key),
            credential.display()
        );
        let translator = Daemon::start("hh-translator", network.dir(), &config);
        translator.wait_until_ready().await;
        Self {
            translator,
            treasury,
            wallet,
            network,
            node,
            key,
        }
    }

    /// `bob` mines through the node until the ledger has some shares of his.
    pub(super) async fn mine_through_node(&self, shares: u64) {
        let status = self
            .translator
            .translator()
            .await
            .status(within(CALL))
            .await;
        let address = status.unwrap().lanes[0].listen_address.clone();
        let url = MinerUrl::StratumV1 { address };
        // Slow, so that it is not he who finds the block.
        let config = MinerConfig {
            hashrate_hs: 20_000,
            shares: Some(shares),
            ..MinerConfig::new(url, "bob.rig")
        };
        let miner = Miner::start(config);
        let ledger = self.network.ledger();
        wait_until("bob's shares came through the node", DEADLINE, async || {
            let Ok(sums) = ledger.minute_sums(0, i64::MAX / 60_000).await else {
                return false;
            };
            let through = sums
                .iter()
                .filter(|sum| sum.origin.account() == "bob" && sum.origin.node() == "berlin");
            through.map(|sum| sum.shares).sum::<u64>() >= shares
        })
        .await;
        miner.stop().await;
    }

    /// `alice` finds a block straight at the pool, after some shares.
    pub(super) async fn find_block(&self) -> hh_mining::BlockHash {
        self.find_block_as("alice.rig").await
    }

    /// As [`Self::find_block`], for another miner.
    pub(super) async fn find_block_as(&self, identity: &str) -> hh_mining::BlockHash {
        let network = &self.network;
        let opened = Channel::open(network.pool_address, &network.pool_key, identity).await;
        let mut channel = opened.expect("the pool takes miners");
        if network.node.chain == Chain::Signet {
            channel.submit(5).await.expect("the pool takes shares");
            channel.settle(0).await.expect("the pool settles them");
        }
        channel.submit_block().await.expect("the pool reads")
    }

    /// A channel from the treasury to the node that can be used.
    pub(super) async fn open_channel(&self, client: &TreasuryClient) {
        self.open_channel_to(client, self.wallet.peer().await).await;
    }

    /// As [`Self::open_channel`], to another Lightning node: `NODE_ID@HOST:PORT`.
    pub(super) async fn open_channel_to(&self, client: &TreasuryClient, peer: String) {
        let wanted = ChannelOpenRequest {
            peer,
            capacity_sat: CAPACITY_SAT,
            is_public: false,
            dry_run: false,
        };
        // A coinbase that has just matured is spendable once the wallet has seen it.
        let opened = wait_for("a channel is opened", DEADLINE, async || {
            let opened = client.open_channel(within(LONG_CALL), wanted.clone()).await;
            opened.expect("hh-treasury answers").ok()
        })
        .await;
        wait_until("the channel can be used", DEADLINE, async || {
            // Its funding transaction; before it, maybe, what a channel that was closed by force leaves.
            if self.network.node.mempool_len() > 0 {
                self.network.node.generate(6);
            }
            let channels = client.channels(within(CALL)).await;
            let mut channels = channels.expect("hh-treasury answers").unwrap_or_default();
            channels.retain(|channel| channel.state == ChannelState::Usable);
            channels.iter().any(|channel| channel.id == opened.id)
        })
        .await;
    }

    /// On regtest, with a block of ours that is payable: the treasury has a part of it.
    pub(super) async fn with_own_money(more: &str) -> Self {
        let world = Self::start_with(Chain::Regtest, async |_, _| more.to_owned()).await;
        let hash = world.find_block().await;
        world.mature(hash).await;
        world
    }

    /// Hands in an invoice of the node.
    pub(super) async fn submit(&self, client: &TreasuryClient, msat: u64) -> u64 {
        self.hand_in(client, msat).await.expect("it is taken")
    }

    /// As [`Self::submit`], with the answer of a treasury that may refuse it.
    pub(super) async fn hand_in(
        &self,
        client: &TreasuryClient,
        msat: u64,
    ) -> Result<u64, ApiError> {
        let request = self.signed(self.wallet.invoice(msat).await);
        let submitted = client.submit_invoice(within(CALL), request).await;
        Ok(submitted.expect("hh-treasury answers")?.id)
    }

    /// An invoice as the node sends it, whoever has made it.
    pub(super) fn signed(&self, invoice: String) -> SubmitInvoiceRequest {
        let chain = match self.network.node.chain {
            Chain::Signet => ChainName::Signet,
            Chain::Regtest => ChainName::Regtest,
        };
        SubmitInvoiceRequest {
            node: self.node.to_string(),
            signature: self.key.sign_invoice(chain, &self.node, &invoice),
            invoice,
        }
    }
}

fn issue(network: &Network, node: &NodeId, key: &NodeSecretKey) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    let now = i64::try_from(now.as_secs()).unwrap();
    let credential = NodeCredential {
        node: node.clone(),
        lanes: ["sv1".parse().unwrap()].into(),
        pool: PoolAuthority::from_bytes(network.pool_key.to_bytes()),
        not_before: now,
        not_after: now + 3_600,
    };
    credential.sign(key).unwrap()
}

impl World {
    /// A world on regtest in which the node may be paid, over a channel that can be used.
    pub(super) async fn with_dues() -> Self {
        Self::with_dues_and(async |_, _| String::new()).await
    }

    /// As [`Self::with_dues`], with what network and wallet have to say to the configuration.
    pub(super) async fn with_dues_and(
        more: impl AsyncFnOnce(&Network, &NodeWallet) -> String,
    ) -> Self {
        let world = Self::start_with(Chain::Regtest, more).await;
        world.mine_through_node(1).await;
        let hash = world.find_block().await;
        world.mature(hash).await;
        world.open_channel(&world.treasury.client().await).await;
        world
    }

    /// Waits until what a block brought may be paid, and makes the blocks for that.
    pub(super) async fn mature(&self, hash: hh_mining::BlockHash) {
        let is_split = |block: &RewardBlock| block.split_at.is_some();
        let treasury = &self.treasury;
        treasury
            .wait_for_block("the block is split", hash, is_split)
            .await;
        self.network.node.generate(100);
        treasury.wait_until_payable(hash).await;
    }

    /// Each finds a block of his own, on top of the others'; the last one is returned.
    pub(super) async fn find_blocks(&self, identities: &[String]) -> hh_mining::BlockHash {
        let (network, mut last) = (&self.network, None);
        for identity in identities {
            let opened = Channel::open(network.pool_address, &network.pool_key, identity).await;
            let mut channel = opened.expect("the pool takes miners");
            // The pool may not have heard of the last one yet.
            while channel.prev_hash() != network.node.tip() {
                let old = channel.prev_hash();
                let told = channel.wait_for_new_block(old).await;
                told.expect("the pool tells of blocks");
            }
            let hash = channel.submit_block().await.expect("the pool reads");
            channel.settle(0).await.expect("the pool settles shares");
            assert!(channel.refused.is_empty(), "{:?}", channel.refused);
            wait_until("the block is the tip", DEADLINE, async || {
                network.node.tip().to_string() == hash.to_string()
            })
            .await;
            last = Some(hash);
        }
        last.expect("somebody finds one")
    }

    /// Waits until a channel can be used, and opens another one where a crash has cost the last one.
    pub(super) async fn wait_for_channel(&self, client: &TreasuryClient) {
        let mut is_lost = false;
        wait_until("a channel can be used", DEADLINE, async || {
            let Ok(Ok(channels)) = client.channels(within(CALL)).await else {
                return false;
            };
            let is = |state| channels.iter().any(|channel| channel.state == state);
            is_lost = !is(ChannelState::Usable)
                && !is(ChannelState::Offline)
                && !is(ChannelState::Opening);
            is_lost || is(ChannelState::Usable)
        })
        .await;
        if is_lost {
            self.open_channel(client).await;
        }
    }

    /// Hands in an invoice at a treasury that may die meanwhile.
    pub(super) async fn submit_or_die(
        &self,
        client: &TreasuryClient,
        invoice: String,
    ) -> Option<u64> {
        let request = self.signed(invoice);
        let submitted = client.submit_invoice(within(CALL), request).await;
        submitted.ok().map(|taken| taken.expect("it is taken").id)
    }

    /// Takes the newest blocks away, on regtest; as many and one more take their place.
    pub(super) fn reorganise(&self, depth: u32) {
        let node = &self.network.node;
        let mut first = node.tip();
        for _ in 1..depth {
            let block = node
                .block_on_best_chain(&first)
                .expect("it is the tip's parent");
            first = block.header.prev_blockhash;
        }
        node.invalidate(first);
        // To another script than `generate` pays to: a block that was the same would be the one that was taken away.
        let made: Result<Vec<bitcoin::BlockHash>, _> = node.rpc().call(
            "generatetodescriptor",
            &[(depth + 1).into(), "raw(52)".into()],
        );
        made.expect("the node makes blocks");
    }

    /// Waits until the books have all that the wallet has and nothing that it has not, and checks that what came in is what was paid,
    /// what it cost and what is there.
    pub(super) async fn wait_until_books_balance(&self) -> Totals {
        let client = self.treasury.client().await;
        let totals = wait_for("books and wallet agree", BALANCED, async || {
            let report = client.verify(within(LONG_CALL)).await.ok()?.ok()?;
            assert!(report.is_solvent, "{report:?}");
            if report
                .balances
                .is_some_and(|balances| balances.closing_msat > 0)
            {
                self.advance(&client).await;
                return None;
            }
            (report.difference_msat == Some(0)).then_some(report.totals)
        })
        .await;
        let blocks = client.blocks(within(CALL), 100).await.unwrap().unwrap();
        let is_payable = |block: &&RewardBlock| block.state == RewardBlockState::Payable;
        let values = blocks
            .blocks
            .iter()
            .filter(is_payable)
            .map(|block| block.value_msat);
        let received = i64::try_from(values.sum::<u64>()).unwrap();
        let gained = totals.suspense_msat + totals.capital_msat + totals.income_msat;
        let spent = totals.paid_msat + totals.fees_msat + totals.loss_msat + totals.withdrawn_msat;
        assert_eq!(received + gained, totals.wallet_msat + spent, "{totals:?}");
        let owed = totals.payable_msat + totals.in_payouts_msat + totals.node_reserve_msat;
        let had = totals.paid_msat + owed + totals.treasury_msat;
        assert_eq!(received, had, "{totals:?}");
        totals
    }

    /// Some blocks more, once books and wallet have seen those before: on regtest there are hundreds in a second.
    pub(super) async fn advance(&self, client: &TreasuryClient) {
        let Ok(status) = client.status(within(CALL)).await else {
            return;
        };
        let Ok(Ok(wallet)) = client.lightning(within(CALL)).await else {
            return;
        };
        let height = Some(wallet.block_height);
        if status.last_verified_at.is_some() && height == status.height {
            self.network.node.generate(BLOCKS_AT_ONCE);
        }
    }

    /// The payout that was opened last.
    pub(super) async fn newest_payout(&self, client: &TreasuryClient) -> u64 {
        let newest = hh_ipc::api::treasury::PayoutQuery {
            limit: 1,
            ..Default::default()
        };
        let page = client.payouts(within(CALL), newest).await.unwrap().unwrap();
        page.payouts[0].id
    }

    /// How often the node's wallet was paid this amount.
    pub(super) fn received(&self, msat: u64) -> usize {
        self.wallet.received(msat)
    }
}
