//! The embedded node's peers.

use bitcoin::secp256k1::PublicKey;

use super::calls::LdkWallet;
use crate::{Peer, WalletError};

impl LdkWallet {
    pub(crate) async fn peers(&self) -> Result<Vec<Peer>, WalletError> {
        self.ask("list its peers", |node| {
            let peers = node.list_peers().into_iter().map(|peer| Peer {
                node_id: peer.node_id,
                address: Some(peer.address.to_string()),
                is_connected: peer.is_connected,
            });
            Ok(peers.collect())
        })
        .await
    }

    pub(crate) async fn disconnect(&self, peer: PublicKey) -> Result<(), WalletError> {
        self.ask("disconnect from a peer", move |node| node.disconnect(peer))
            .await
    }
}
