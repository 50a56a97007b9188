//! An embedded node for tests.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bitcoin::Network;
use hh_daemon::{Secret, Tasks};
use hh_lightning::ldk::{Bitcoind, BitcoindAuth, LdkConfig, LdkWallet, Seed};
use hh_lightning::{
    Bolt11Invoice, Channel, ChannelId, ChannelState, Dispatch, Event, Events, InvoiceDetails,
    InvoiceRequest, Lookup, OpenChannel, PayRequest, SocketAddress, Wallet,
};
use hh_mining::Msat;

use crate::regtest::{LONG, Port, Regtest, wait_for};

pub(crate) struct Node {
    pub(crate) wallet: Wallet,
    pub(crate) config: LdkConfig,
    tasks: Tasks,
    _end: End,
    port: Port,
    dir: tempfile::TempDir,
}

/// Waits until the node has let go of its directory: a node whose files vanish ends the process.
struct End(PathBuf);

impl Drop for End {
    fn drop(&mut self) {
        let lock = File::open(&self.0).unwrap();
        lock.lock().unwrap();
    }
}

impl Node {
    /// Starts one with keys of its own, and blocks that are new to it.
    pub(crate) async fn start(name: &str, chain: &Regtest) -> Self {
        let dir = tempfile::Builder::new()
            .prefix("hh-lightning")
            .tempdir()
            .unwrap();
        let port = Port::take();
        let (url, cookie) = (chain.url(), chain.cookie_file());
        let config = config(name, &url, &cookie, dir.path(), port.number);
        let tasks = Tasks::default();
        let wallet = Wallet::Ldk(LdkWallet::start(config.clone(), &tasks).await.unwrap());
        Self {
            wallet,
            config,
            tasks,
            _end: End(dir.path().join("wallet/lock")),
            port,
            dir,
        }
    }

    /// Starts it again, after [`Self::stop`].
    pub(crate) async fn start_again(&mut self) {
        let wallet = LdkWallet::start(self.config.clone(), &self.tasks)
            .await
            .unwrap();
        self.wallet = Wallet::Ldk(wallet);
    }

    /// Stops it, and lets go of its directory.
    pub(crate) async fn stop(&mut self) {
        self.wallet.stop().await.unwrap();
    }

    pub(crate) fn address(&self) -> SocketAddress {
        address(self.port.number)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.number
    }

    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Its own chain of 101 blocks, the first of which is its money.
    pub(crate) async fn fund(&self, chain: &Regtest) {
        let address = self.wallet.new_address().await.unwrap();
        chain.generate_to(1, &address);
        chain.generate(100);
        self.wait_until_synced(chain).await;
        wait_for("the coinbase can be spent", async || {
            let balances = self.wallet.balances().await.unwrap();
            (balances.onchain_spendable.to_sat() > 0).then_some(())
        })
        .await;
    }

    pub(crate) async fn wait_until_synced(&self, chain: &Regtest) {
        wait_for("the wallet is in step with the chain", async || {
            let info = self.wallet.info().await.unwrap();
            (info.is_synced && info.block_height == chain.height()).then_some(())
        })
        .await;
    }

    pub(crate) async fn channel(&self, id: ChannelId) -> Option<Channel> {
        let channels = self.wallet.channels().await.unwrap();
        channels.into_iter().find(|channel| channel.id == id)
    }

    pub(crate) async fn wait_until_usable(&self, id: ChannelId) -> Channel {
        wait_for("the channel can be used", async || {
            let channel = self.channel(id).await?;
            (channel.is_usable && channel.state == ChannelState::Ready).then_some(channel)
        })
        .await
    }

    /// Opens a channel to the other one, and makes it deep.
    pub(crate) async fn open(&self, other: &Self, sats: u64, chain: &Regtest) -> ChannelId {
        let request = OpenChannel {
            peer: other.wallet.info().await.unwrap().node_id,
            address: other.address(),
            capacity_sats: sats,
            is_public: true,
            fee_rate: None,
        };
        let opened = self.wallet.open_channel(&request).await.unwrap();
        assert_eq!(ChannelId::of_funding(opened.funding), Some(opened.id));
        wait_for("the funding is in the mempool", async || {
            chain.is_in_mempool(opened.funding.txid).then_some(())
        })
        .await;
        chain.generate(6);
        self.wait_until_usable(opened.id).await;
        other.wait_until_usable(opened.id).await;
        opened.id
    }

    pub(crate) async fn invoice(&self, amount: Msat) -> Bolt11Invoice {
        self.wallet.invoice(&invoice_request(amount)).await.unwrap()
    }

    /// What to write down before `request` is paid.
    pub(crate) async fn dispatch(&self, request: &PayRequest) -> Dispatch {
        let info = self.wallet.info().await.unwrap();
        let payable = request
            .check(&info.node_id, info.network, SystemTime::now())
            .unwrap();
        let channels = self.wallet.channels().await.unwrap();
        Dispatch {
            wallet: info.node_id,
            hash: payable.hash,
            amount: payable.amount,
            at: SystemTime::now(),
            timeout: request.timeout,
            channels: channels.iter().map(|channel| channel.id).collect(),
        }
    }

    /// Looks a payment up until it is settled or failed.
    pub(crate) async fn outcome(&self, dispatch: &Dispatch) -> Lookup {
        wait_for("the payment has an end", async || {
            let found = self.wallet.lookup(dispatch).await.unwrap();
            let is_end = matches!(found, Lookup::Settled { .. } | Lookup::Failed { .. });
            is_end.then_some(found)
        })
        .await
    }
}

pub(crate) fn invoice_request(amount: Msat) -> InvoiceRequest {
    InvoiceRequest {
        amount: Some(amount),
        details: InvoiceDetails::Text("a test".to_owned()),
        expiry: Duration::from_secs(3_600),
    }
}

pub(crate) fn pay_request(invoice: Bolt11Invoice) -> PayRequest {
    PayRequest {
        invoice,
        amount: None,
        max_fee: Msat(10_000),
        cltv_limit: 500,
        timeout: Duration::from_secs(10),
    }
}

/// The first event that `wanted` has an answer to; what comes before it is handled and forgotten.
pub(crate) async fn wait_for_event<T>(
    events: &mut Events,
    what: &str,
    wanted: impl Fn(&Event) -> Option<T>,
) -> T {
    let waiting = async {
        loop {
            let event = events.next().await.unwrap();
            events.handled().await.unwrap();
            if let Some(answer) = wanted(&event) {
                return answer;
            }
        }
    };
    match tokio::time::timeout(LONG, waiting).await {
        Ok(answer) => answer,
        Err(_elapsed) => panic!("no event within {LONG:?}: {what}"),
    }
}

pub(crate) fn address(port: u16) -> SocketAddress {
    SocketAddress::TcpIpV4 {
        addr: [127, 0, 0, 1],
        port,
    }
}

/// Of a wallet in `dir`, whose seed is `dir`'s own.
pub(crate) fn config(name: &str, url: &str, cookie: &Path, dir: &Path, port: u16) -> LdkConfig {
    LdkConfig {
        dir: dir.join("wallet"),
        network: Network::Regtest,
        seed: Seed::parse(&Secret::new(hex_of(dir))).unwrap(),
        bitcoind: Bitcoind {
            url: url.to_owned(),
            auth: BitcoindAuth::CookieFile(cookie.to_owned()),
        },
        listen: vec![address(port)],
        announce: Vec::new(),
        alias: Some(name.to_owned()),
        anchor_reserve_sats: 25_000,
    }
}

fn hex_of(dir: &Path) -> String {
    use bitcoin::hashes::{Hash, sha512};
    sha512::Hash::hash(dir.as_os_str().as_encoded_bytes()).to_string()
}
