//! Core Lightning's peers.

use bitcoin::secp256k1::PublicKey;
use cln_rpc::model::requests;

use super::calls::ClnWallet;
use crate::{Peer, WalletError};

impl ClnWallet {
    pub(crate) async fn peers(&self) -> Result<Vec<Peer>, WalletError> {
        let message = requests::ListpeersRequest {
            id: None,
            level: None,
        };
        let answer = self.ask("list its peers", &message).await?;
        let peers = answer.peers.into_iter().map(|peer| Peer {
            node_id: peer.id,
            address: peer
                .netaddr
                .and_then(|addresses| addresses.into_iter().next()),
            is_connected: peer.connected,
        });
        Ok(peers.collect())
    }

    pub(crate) async fn disconnect(&self, peer: PublicKey) -> Result<(), WalletError> {
        // With a channel it refuses unless it is forced: whoever asks was told what follows.
        let message = requests::DisconnectRequest {
            id: peer,
            force: Some(true),
        };
        self.ask("disconnect from a peer", &message).await?;
        Ok(())
    }
}
