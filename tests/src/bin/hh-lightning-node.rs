//! `hh-lightning-node`: an embedded Lightning node as a program, to try by hand what a peer does. Devnet has none: the wallet of its Hyper Node
//! is that of hh-node-agent.
//!
//! It prints its node id when it runs, then a line of JSON for each event. Orders go over a socket in its directory:
//! `hh-lightning-node --dir DIR --ask 'invoice 1000'`.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Parser;
use hh_daemon::{Secret, Tasks};
use hh_lightning::ldk::{Bitcoind, BitcoindAuth, LdkConfig, LdkWallet, Seed};
use hh_lightning::{SocketAddress, Wallet};
use hh_tests::lightning_node;
use tokio::signal::unix::{SignalKind, signal};

/// A Lightning node that takes orders.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Its state, its seed and its socket; of at most 90 characters
    #[arg(long)]
    dir: PathBuf,
    /// Send this order to the node that runs in DIR, print the answer, and end
    #[arg(long, value_name = "ORDER")]
    ask: Option<String>,
    /// http://HOST:PORT of Bitcoin Core
    #[arg(long, required_unless_present = "ask")]
    bitcoind_url: Option<String>,
    /// Bitcoin Core's cookie file
    #[arg(long, required_unless_present = "ask")]
    bitcoind_cookie: Option<PathBuf>,
    /// bitcoin, testnet4, signet or regtest
    #[arg(long, default_value = "signet")]
    network: bitcoin::Network,
    /// HOST:PORT where peers may connect
    #[arg(long)]
    listen: Option<SocketAddress>,
    /// Its name for others
    #[arg(long, requires = "listen")]
    alias: Option<String>,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_env_filter(std::env::var("HH_LOG").unwrap_or_else(|_| "info".to_owned()))
        .init();
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?
        .block_on(async {
            match &arguments.ask {
                Some(order) => print(&lightning_node::ask(&arguments.dir, order).await?),
                None => run(&arguments).await,
            }
        })
}

async fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let tasks = Tasks::default();
    let wallet = LdkWallet::start(config(arguments)?, &tasks).await?;
    let wallet = Wallet::Ldk(wallet);
    let info = wallet.info().await?;
    print(&serde_json::json!({ "node_id": info.node_id.to_string() }))?;
    let served = tokio::select! {
        served = lightning_node::serve(&arguments.dir, wallet.clone()) => served,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    wallet.stop().await?;
    served
}

fn config(arguments: &Arguments) -> anyhow::Result<LdkConfig> {
    std::fs::create_dir_all(&arguments.dir).context("cannot make the directory")?;
    let missing = "clap asks for it";
    Ok(LdkConfig {
        dir: arguments.dir.join("wallet"),
        network: arguments.network,
        seed: Seed::parse(&seed(&arguments.dir.join("seed"))?)?,
        bitcoind: Bitcoind {
            url: arguments.bitcoind_url.clone().context(missing)?,
            auth: BitcoindAuth::CookieFile(arguments.bitcoind_cookie.clone().context(missing)?),
        },
        listen: arguments.listen.iter().cloned().collect(),
        announce: Vec::new(),
        alias: arguments.alias.clone(),
        anchor_reserve_sats: 25_000,
    })
}

/// The words in the file, which is made if it is not there.
fn seed(path: &Path) -> anyhow::Result<Secret<String>> {
    if !path.exists() {
        let mut file = std::fs::File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        file.write_all(Seed::new_words().expose().as_bytes())?;
        file.sync_all()?;
    }
    let words = std::fs::read_to_string(path).context("the seed can't be read")?;
    Ok(Secret::new(words))
}

fn print(value: &serde_json::Value) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{value}").context("stdout is closed")?;
    Ok(stdout.flush()?)
}
