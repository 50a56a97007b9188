//! hh-treasury beside a network, with a Lightning wallet of a Hyper Node to pay to.

use crate::bitcoin_core::{BitcoinCore, anyone_can_spend};
use crate::daemon::Daemon;
use crate::forged_invoice::NodeSeed;
use crate::network::{CALL, Network};
use crate::port::Port;
use crate::wait::wait_for;
use bitcoin::secp256k1::SecretKey;
use hh_daemon::Tasks;
use hh_ipc::api::treasury::{Payout, PayoutState, RewardBlock, RewardBlockState, TreasuryClient};
use hh_ipc::client::within;
use hh_lightning::ldk::{Bitcoind, BitcoindAuth, LdkConfig, LdkWallet};
use hh_lightning::{Event, InvoiceDetails, InvoiceRequest, PaymentHash, SocketAddress, Wallet};
use hh_mining::Msat;
use hh_trust::{NodePublicKey, ReportKey};
use std::collections::BTreeMap;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// For anything that several processes and a chain have to come to, on a loaded machine.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// A payment that has not ended by then hangs.
const PAID: Duration = Duration::from_secs(90);

/// hh-treasury on a network whose pool pays its wallet.
#[derive(Debug)]
pub struct Treasury {
    pub daemon: Daemon,
    /// Its own part of its configuration.
    pub config: String,
    /// Where its Lightning peers connect.
    pub port: Port,
    /// Of its embedded node.
    pub key: SecretKey,
}

/// Who may send invoices.
#[derive(Debug)]
pub struct Payee<'a> {
    pub id: &'a str,
    pub key: NodePublicKey,
    pub wallet: &'a str,
}

impl Treasury {
    /// Starts it, and lets the pool pay to its wallet from its next start on, which is now. `more` goes to the end of its
    /// configuration.
    ///
    /// # Panics
    /// If something does not start.
    pub async fn start(network: &mut Network, payee: &Payee<'_>, more: &str) -> Self {
        let ledger = network.dir().join("pool/pool.db");
        let stores = format!("[pool_ledger]\nsqlite = \"{}\"\n", ledger.display());
        Self::start_on(network, payee, &stores, more).await
    }

    /// As [`Self::start`], with where the pool's ledger and the books are: `stores` is that part of its configuration.
    ///
    /// # Panics
    /// If something does not start.
    pub async fn start_on(
        network: &mut Network,
        payee: &Payee<'_>,
        stores: &str,
        more: &str,
    ) -> Self {
        let dir = network.dir().to_owned();
        let report = ReportKey::generate().expect("there is randomness");
        secret(&dir, "report.key", &report.to_secret_hex());
        secret(&dir, "salt", &hex::encode([7; 32]));
        let seed = NodeSeed::random();
        secret(&dir, "seed", &seed.to_hex());
        let port = Port::take();
        let any = anyone_can_spend(network.node.chain).to_string();
        let config = config(network, payee, port.number, &format!("{stores}{more}"));
        let daemon = Daemon::start("hh-treasury", &dir, &config);
        daemon.wait_until_ready().await;
        let status = daemon.treasury().await.status(within(CALL)).await;
        let address = status.expect("hh-treasury answers").reward_address;
        let pool = std::fs::read_to_string(dir.join("hh-pool.toml"));
        let pool = pool
            .expect("it was started with it")
            .replace(&any, &address);
        std::fs::write(dir.join("hh-pool.toml"), pool).expect("a test's directory can be written");
        network.pool.terminate();
        network.pool.restart();
        network.pool.wait_until_ready().await;
        Self {
            daemon,
            config,
            port,
            key: seed.node_key(network.node.chain.network()),
        }
    }

    /// Calls over its control socket.
    pub async fn client(&self) -> TreasuryClient {
        self.daemon.treasury().await
    }

    /// `NODE_ID@HOST:PORT` of its wallet.
    ///
    /// # Panics
    /// If it does not answer.
    pub async fn peer(&self) -> String {
        let status = self.client().await.lightning(within(CALL)).await;
        let status = status
            .expect("hh-treasury answers")
            .expect("its wallet answers");
        format!("{}@127.0.0.1:{}", status.node_id, self.port.number)
    }

    /// Waits until a block is where `is_there` wants it.
    ///
    /// # Panics
    /// If it is not in two minutes.
    pub async fn wait_for_block(
        &self,
        what: &str,
        hash: hh_mining::BlockHash,
        is_there: impl Fn(&RewardBlock) -> bool,
    ) -> RewardBlock {
        let (client, hash) = (self.client().await, hash.to_string());
        wait_for(what, DEADLINE, async || {
            let page = client.blocks(within(CALL), 100).await.ok()?.ok()?;
            let mut blocks = page.blocks.into_iter();
            blocks.find(|block| block.hash == hash && is_there(block))
        })
        .await
    }

    /// Waits until what a block brought may be paid.
    ///
    /// # Panics
    /// If it may not in two minutes.
    pub async fn wait_until_payable(&self, hash: hh_mining::BlockHash) -> RewardBlock {
        let is_payable = |block: &RewardBlock| block.state == RewardBlockState::Payable;
        self.wait_for_block("the block is payable", hash, is_payable)
            .await
    }

    /// Waits until a payout is settled.
    ///
    /// # Panics
    /// If it is not in a minute and a half.
    pub async fn wait_until_settled(&self, payout: u64) -> Payout {
        let client = self.client().await;
        wait_for("the payout is settled", PAID, async || {
            let detail = client.payout(within(CALL), payout).await.ok()?.ok()?;
            let payout = detail.payout;
            (payout.state == PayoutState::Settled).then_some(payout)
        })
        .await
    }
}

/// Has payouts of any size go without approval, unless the test says otherwise.
fn without_approval(more: &str) -> String {
    if more.contains("approval_above_sat") {
        return more.to_owned();
    }
    let payouts = "[payouts]\napproval_above_sat = 1000000\n";
    if more.contains("[payouts]\n") {
        return more.replace("[payouts]\n", payouts);
    }
    format!("{more}\n{payouts}")
}

/// The embedded node pays, unless the test says otherwise.
fn with_wallet(dir: &Path, port: u16, more: &str) -> String {
    if more.contains("[lightning.") {
        return more.to_owned();
    }
    format!(
        "[lightning.ldk_node]\nseed = \"file:{}/seed\"\nlisten_addresses = [\"127.0.0.1:{port}\"]\n{more}",
        dir.display()
    )
}

fn config(network: &Network, payee: &Payee<'_>, port: u16, more: &str) -> String {
    let more = with_wallet(network.dir(), port, &without_approval(more));
    let (node, dir) = (&network.node, network.dir().display());
    format!(
        r#"
chain = "{}"
trust_domain = "hyperhash.test"
data_dir = "{dir}/treasury"
report_key = "file:{dir}/report.key"
salt_secret = "file:{dir}/salt"

[[nodes]]
rpc_url = "{}"
rpc_cookie_file = "{}"

[[hyper_nodes]]
id = "{}"
public_key = "{}"
lightning_node_id = "{}"
{more}"#,
        node.chain.name(),
        node.rpc_url(),
        node.cookie_file().display(),
        payee.id,
        payee.key,
        payee.wallet,
    )
}

/// Writes a file that only its owner can read.
pub(crate) fn secret(dir: &Path, name: &str, text: &str) {
    let mut file = std::fs::File::options()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(dir.join(name))
        .expect("a test's directory can be written");
    writeln!(file, "{text}").expect("a test's directory can be written");
}

/// The wallet of a Hyper Node, in this process.
#[derive(Debug)]
pub struct NodeWallet {
    pub wallet: Wallet,
    /// With which invoices can be made that the wallet would not make.
    pub key: SecretKey,
    pub address: SocketAddr,
    /// What it was paid, in msat, each payment once.
    received: Arc<Mutex<BTreeMap<PaymentHash, u64>>>,
    _port: Port,
    _tasks: Tasks,
}

impl NodeWallet {
    /// Starts it in `dir`, on this Bitcoin Core.
    ///
    /// # Panics
    /// If it does not start.
    pub async fn start(dir: &Path, node: &BitcoinCore) -> Self {
        let port = Port::take();
        let address = SocketAddr::V4(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port.number));
        let tasks = Tasks::default();
        let (seed, network) = (NodeSeed::random(), node.chain.network());
        let config = LdkConfig {
            dir: dir.to_owned(),
            network,
            seed: seed.seed(),
            bitcoind: Bitcoind {
                url: node.rpc_url(),
                auth: BitcoindAuth::CookieFile(node.cookie_file()),
            },
            listen: vec![SocketAddress::from(address)],
            announce: Vec::new(),
            alias: None,
            anchor_reserve_sats: 25_000,
        };
        let wallet = LdkWallet::start(config, &tasks).await;
        let wallet = Wallet::Ldk(wallet.expect("the wallet starts"));
        Self {
            wallet,
            key: seed.node_key(network),
            address,
            received: Arc::default(),
            _port: port,
            _tasks: tasks,
        }
    }

    /// Its node id, in hex.
    ///
    /// # Panics
    /// If it does not answer.
    pub async fn id(&self) -> String {
        let info = self.wallet.info().await.expect("the wallet answers");
        info.node_id.to_string()
    }

    /// `NODE_ID@HOST:PORT`.
    pub async fn peer(&self) -> String {
        format!("{}@{}", self.id().await, self.address)
    }

    /// An invoice of this node for its dues.
    ///
    /// # Panics
    /// If the wallet does not answer.
    pub async fn invoice(&self, msat: u64) -> String {
        let request = InvoiceRequest {
            amount: Some(Msat(msat)),
            details: InvoiceDetails::Text("dues".to_owned()),
            expiry: Duration::from_secs(3_600),
        };
        let invoice = self.wallet.invoice(&request).await;
        invoice.expect("the wallet makes invoices").to_string()
    }

    /// Takes its events for as long as it lives: nobody else does.
    ///
    /// # Panics
    /// If somebody takes them already.
    pub fn drain(&self) {
        let mut events = self.wallet.events().expect("nobody takes them");
        let received = Arc::clone(&self.received);
        #[expect(
            clippy::disallowed_methods,
            reason = "a test's own task, which ends with it"
        )]
        tokio::spawn(async move {
            while let Ok(event) = events.next().await {
                if let Event::Received { hash, amount } = event {
                    let mut received = received.lock().unwrap_or_else(PoisonError::into_inner);
                    received.insert(hash, amount.0);
                }
                events.handled().await.ok();
            }
        });
    }

    /// How many payments of exactly so much it was paid.
    #[must_use]
    pub fn received(&self, msat: u64) -> usize {
        let received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        received.values().filter(|paid| **paid == msat).count()
    }
}

/// Its threads end the process where its files go first, and nobody would hear why the test failed.
impl Drop for NodeWallet {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        // Of a runtime with several threads, as all tests with a wallet have it.
        tokio::task::block_in_place(|| runtime.block_on(self.wallet.stop()).ok());
    }
}
