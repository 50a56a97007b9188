//! The answers about the nodes that the wallet knows.

use super::{Control, refusal};
use crate::lightning::parse_peer;
use bitcoin::secp256k1::PublicKey;
use hh_daemon::Caller;
use hh_ipc::ApiError;
use hh_ipc::api::treasury::Peer;
use hh_lightning::Channel;
use serde_json::json;
use std::collections::BTreeMap;

impl Control {
    pub(super) async fn peers(&self) -> Result<Vec<Peer>, ApiError> {
        let wallet = self.stores.wallet.wallet();
        let peers = self.stores.wallet.noted(wallet.peers().await);
        let peers = peers.map_err(refusal::wallet)?;
        let channels = self.stores.wallet.noted(wallet.channels().await);
        let channels = channels.map_err(refusal::wallet)?;
        Ok(beside(peers, &channels))
    }

    pub(super) async fn connect_peer(&self, caller: &Caller, peer: &str) -> Result<Peer, ApiError> {
        caller.may_change()?;
        let (id, address) = parse_peer(peer).map_err(|error| refusal::wrong(&error))?;
        let connect = async {
            let connected = self.stores.wallet.wallet().connect(id, address).await;
            // What a peer does not answer says nothing of the wallet.
            connected.map_err(|error| refusal::wallet(hh_daemon::Chain(&error)))?;
            let id = id.to_string();
            let peers = self.peers().await?;
            let found = peers.into_iter().find(|known| known.node_id == id);
            found.ok_or_else(|| refusal::failed(format!("{id} was connected, and is gone again")))
        };
        let arguments = json!({ "peer": peer });
        self.change(caller, "ln.peer.connect", arguments, connect)
            .await
    }

    pub(super) async fn disconnect_peer(
        &self,
        caller: &Caller,
        node_id: &str,
    ) -> Result<(), ApiError> {
        caller.may_change()?;
        let id = node_id.parse::<PublicKey>();
        let id = id.map_err(|_error| {
            refusal::usage(format!("{node_id:?} is no id of a Lightning node"))
        })?;
        let disconnect = async {
            let done = self.stores.wallet.wallet().disconnect(id).await;
            done.map_err(|error| refusal::wallet(hh_daemon::Chain(&error)))?;
            tracing::info!(peer = %id, "disconnected from a peer by an operator");
            Ok(())
        };
        let arguments = json!({ "node_id": node_id });
        self.change(caller, "ln.peer.disconnect", arguments, disconnect)
            .await
    }
}

/// What the wallet tells of peers, with what channels there are, also with those that it does not tell of.
fn beside(peers: Vec<hh_lightning::Peer>, channels: &[Channel]) -> Vec<Peer> {
    let mut known: BTreeMap<PublicKey, Peer> = BTreeMap::new();
    let peer = |id: &PublicKey| Peer {
        node_id: id.to_string(),
        address: None,
        is_connected: false,
        channels: 0,
        local_msat: 0,
    };
    for told in peers {
        let known = known
            .entry(told.node_id)
            .or_insert_with(|| peer(&told.node_id));
        known.address = told.address.or(known.address.take());
        known.is_connected |= told.is_connected;
    }
    for channel in channels {
        let known = known
            .entry(channel.peer)
            .or_insert_with(|| peer(&channel.peer));
        known.channels = known.channels.saturating_add(1);
        known.local_msat = known.local_msat.saturating_add(channel.local.0);
    }
    known.into_values().collect()
}
