//! What the embedded node is started with, and why it may not start.

use std::io;
use std::path::PathBuf;

use bitcoin::Network;
use ldk_node::BuildError;
use ldk_node::lightning::ln::msgs::SocketAddress;

use super::{Bitcoind, Seed};

/// The embedded node.
#[derive(Clone, Debug)]
pub struct LdkConfig {
    /// Where its state is. Made if it is not there, for its owner only; locked while the wallet lives.
    pub dir: PathBuf,
    pub network: Network,
    pub seed: Seed,
    pub bitcoind: Bitcoind,
    /// Where peers may connect; none is needed to pay.
    pub listen: Vec<SocketAddress>,
    /// What is told to the network instead of `listen`.
    pub announce: Vec<SocketAddress>,
    /// At most 32 bytes. With it and `listen` channels can be public.
    pub alias: Option<String>,
    /// Kept on the chain for each channel, for the fees of a close by force. ldk-node's own default is 25,000.
    pub anchor_reserve_sats: u64,
}

/// Why the embedded node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("rpc_url of the wallet is not http://HOST:PORT")]
    BadUrl,
    #[error(
        "could not read the cookie file {path}; is bitcoin-node running there, and may this user read the file?"
    )]
    Cookie { path: PathBuf, source: io::Error },
    #[error(
        "could not ask Bitcoin Core at {url} about its chain; is it running with -server, and are its address and the credentials right?"
    )]
    Bitcoind {
        url: String,
        source: Box<bitcoincore_rpc::Error>,
    },
    #[error("Bitcoin Core at {url} is on chain {found}, the wallet is for {wanted}")]
    WrongChain {
        url: String,
        found: String,
        wanted: Network,
    },
    #[error("Bitcoin Core at {url} is in initial block download; the wallet starts after it")]
    InitialDownload { url: String },
    #[error("could not {action} {path}")]
    Directory {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error(
        "another process uses the wallet in {path}; two at once would lose its money. Stop the other one"
    )]
    InUse { path: PathBuf },
    #[error("the wallet's alias is set, but no address to listen on: set both or none")]
    AliasWithoutListen,
    #[error("the wallet's alias {alias:?} is longer than 32 bytes or has a zero byte in it")]
    Alias { alias: String, source: BuildError },
    #[error("the wallet can't take these addresses to listen on or to announce; 100 at most")]
    Addresses(#[source] BuildError),
    #[error("the wallet in {path} was made for another chain; give it a directory of its own")]
    OtherNetwork { path: PathBuf },
    #[error(
        "the wallet in {path} could not be opened: {reason}. If it says that the wallet can't be set up, the seed may be another wallet's"
    )]
    Build { path: PathBuf, reason: String },
    #[error("the wallet could not start: {0}")]
    Node(String),
    #[error(
        "the wallet could not listen on {0:?}; is another process there, or the address not of this machine?"
    )]
    Listen(Vec<String>),
    #[error("could not start the wallet's threads")]
    Threads(#[source] io::Error),
}

impl StartError {
    /// Whether only a change of the configuration can help.
    #[must_use]
    pub fn is_config(&self) -> bool {
        match self {
            Self::BadUrl
            | Self::WrongChain { .. }
            | Self::AliasWithoutListen
            | Self::Alias { .. }
            | Self::Addresses(_)
            | Self::OtherNetwork { .. } => true,
            Self::Cookie { .. }
            | Self::Bitcoind { .. }
            | Self::InitialDownload { .. }
            | Self::Directory { .. }
            | Self::InUse { .. }
            | Self::Build { .. }
            | Self::Node(_)
            | Self::Listen(_)
            | Self::Threads(_) => false,
        }
    }
}
