//! The wallet: whichever Lightning node the configuration names, what is known of it, and what it tells by itself.

mod events;
mod forwards;
mod readiness;

use crate::config::TreasuryConfig;
use crate::links::Link;
use bitcoin::secp256k1::PublicKey;
pub(crate) use events::follow;
pub(crate) use forwards::read as read_forwards;
use hh_daemon::{Chain, Context, Failure};
use hh_lightning::ldk::{Bitcoind, BitcoindAuth};
use hh_lightning::{ChannelId, SocketAddress, Wallet, WalletError};
use hh_mining::Msat;
pub(crate) use readiness::NotReady;
use std::time::Duration;

/// Between two tries to start the wallet: Bitcoin Core may be starting too.
const START_PAUSE: Duration = Duration::from_secs(1);

/// The wallet and whether it answers. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct WalletLink {
    wallet: Wallet,
    pub link: Link,
    pub backend: &'static str,
    /// Where its peers connect, as far as that is ours to say.
    pub listen_addresses: Vec<String>,
}

/// A wallet that can pay now.
#[derive(Clone, Debug)]
pub(crate) struct Readiness {
    pub node_id: PublicKey,
    /// Up to which block it knows the chain.
    pub height: u32,
    /// Those that a payment may go through.
    pub channels: Vec<ChannelId>,
}

/// A text that is no peer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PeerError {
    #[error("{0:?} is not NODE_ID@HOST:PORT")]
    Form(String),
    #[error("{0:?} is no id of a Lightning node")]
    NodeId(String),
    #[error("{0:?} is no address of a Lightning node")]
    Address(String),
}

/// `NODE_ID@HOST:PORT`.
pub(crate) fn parse_peer(text: &str) -> Result<(PublicKey, SocketAddress), PeerError> {
    let (id, address) = text
        .split_once('@')
        .ok_or_else(|| PeerError::Form(text.to_owned()))?;
    let id = id
        .parse()
        .map_err(|_error| PeerError::NodeId(id.to_owned()))?;
    let address = address.parse();
    let address = address.map_err(|_error| PeerError::Address(text.to_owned()))?;
    Ok((id, address))
}

impl WalletLink {
    /// Starts the wallet or connects to it, within the start timeout.
    ///
    /// # Errors
    /// A mistake in the configuration, or it does not start.
    pub(crate) async fn start(config: &TreasuryConfig, context: &Context) -> Result<Self, Failure> {
        let dir = config.data_dir.join("ldk");
        let opening = config
            .lightning
            .opening(config.chain, dir, || bitcoind(config))?;
        let wallet = loop {
            match opening.start(&context.tasks).await {
                Ok(wallet) => break wallet,
                Err(error) if error.is_config() => return Err(Failure::config(error)),
                Err(error) => {
                    if tokio::time::Instant::now() >= context.start_deadline() {
                        return Err(Failure::unavailable(error));
                    }
                    let error = Chain(&error).to_string();
                    tracing::warn!(error, "wallet not started; it is tried again");
                }
            }
            tokio::time::sleep(START_PAUSE).await;
        };
        let ldk_node = config.lightning.ldk_node.iter();
        let listen = ldk_node.flat_map(|ldk_node| &ldk_node.listen_addresses);
        let backend = config.lightning.backend();
        Ok(Self {
            wallet,
            link: Link::new(backend),
            backend,
            listen_addresses: listen.map(ToString::to_string).collect(),
        })
    }

    /// One that is there already.
    #[cfg(test)]
    pub(crate) fn of(wallet: Wallet) -> Self {
        let backend = wallet.backend().as_str();
        Self {
            wallet,
            link: Link::new(backend),
            backend,
            listen_addresses: Vec::new(),
        }
    }

    pub(crate) fn wallet(&self) -> &Wallet {
        &self.wallet
    }

    /// Whether it can pay `amount` now, over a channel with `peer` where there is no other way to it.
    ///
    /// # Errors
    /// Why not.
    pub(crate) async fn readiness(
        &self,
        amount: Msat,
        peer: Option<PublicKey>,
    ) -> Result<Readiness, NotReady> {
        let asked = async {
            let info = self.wallet.info().await?;
            let channels = self.wallet.channels().await?;
            Ok::<_, WalletError>((info, channels))
        };
        let (info, channels) = self.noted(asked.await).map_err(NotReady::Silent)?;
        if !info.is_synced {
            return Err(NotReady::Behind);
        }
        readiness::check(&channels, amount, peer)?;
        Ok(Readiness {
            node_id: info.node_id,
            height: info.block_height,
            channels: channels.iter().map(|channel| channel.id).collect(),
        })
    }

    /// Notes whether it answered.
    pub(crate) fn noted<T>(&self, answer: Result<T, WalletError>) -> Result<T, String> {
        match answer {
            Ok(value) => {
                self.link.set_up();
                Ok(value)
            }
            Err(error) => {
                let reason = Chain(&error).to_string();
                if self.link.set_down(reason.clone()) {
                    tracing::warn!(error = reason, "wallet does not answer");
                }
                Err(reason)
            }
        }
    }
}

/// The Bitcoin Core that an embedded node asks: the first one.
fn bitcoind(config: &TreasuryConfig) -> Result<Bitcoind, Failure> {
    let node = config.nodes.first();
    let node = node.ok_or_else(|| Failure::config("nodes: there is none"))?;
    let auth = match (&node.rpc_cookie_file, &node.rpc_user, &node.rpc_password) {
        (None, Some(user), Some(password)) => BitcoindAuth::Password {
            user: user.clone(),
            password: password.read().map_err(Failure::secret)?,
        },
        (path, ..) => BitcoindAuth::CookieFile(path.clone().unwrap_or_default()),
    };
    Ok(Bitcoind {
        url: node.rpc_url.clone(),
        auth,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_an_id_and_an_address() {
        let id = "02eec7245d6b7d2ccb30380bfbe2a3648cd7a942653f5aa340edcea1f283686619";
        assert!(parse_peer(&format!("{id}@127.0.0.1:9735")).is_ok());
        assert!(parse_peer(&format!("{id}@node.example.org:9735")).is_ok());
        for wrong in [
            String::new(),
            id.to_owned(),
            format!("{id}@127.0.0.1"),
            "02@127.0.0.1:9735".to_owned(),
        ] {
            assert!(parse_peer(&wrong).is_err(), "{wrong}");
        }
    }
}
