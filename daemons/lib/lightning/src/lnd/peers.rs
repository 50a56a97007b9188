//! lnd's peers: those that it is connected to. Those that it keeps in mind it does not list.

use bitcoin::secp256k1::PublicKey;

use super::calls::{LndWallet, node_id};
use super::message::{self, path};
use crate::{Peer, WalletError};

impl LndWallet {
    pub(crate) async fn peers(&self) -> Result<Vec<Peer>, WalletError> {
        let answer: message::ListPeersResponse = self
            .ask("list its peers", path::LIST_PEERS, message::Empty {})
            .await?;
        let peer = |peer: &message::Peer| {
            Ok(Peer {
                node_id: node_id(&peer.pub_key)?,
                address: Some(peer.address.clone()).filter(|address| !address.is_empty()),
                is_connected: true,
            })
        };
        answer.peers.iter().map(peer).collect()
    }

    pub(crate) async fn disconnect(&self, peer: PublicKey) -> Result<(), WalletError> {
        let message = message::DisconnectPeerRequest {
            pub_key: peer.to_string(),
        };
        let _: message::Empty = self
            .ask("disconnect from a peer", path::DISCONNECT_PEER, message)
            .await?;
        Ok(())
    }
}
