//! The Lightning node of hh-treasury.

use super::money::balances;
use crate::daemons::seconds_ago;
use hh_ipc::api::treasury::{
    Channel, ChannelOpenRequest, ChannelState, Htlc, LightningPayment, LightningStatus,
};

pub(super) fn status() -> LightningStatus {
    LightningStatus {
        backend: "ldk-node".to_owned(),
        node_id: format!("02{}", "ab".repeat(32)),
        alias: Some("hyperhash-core".to_owned()),
        version: "0.7.1".to_owned(),
        block_height: 1203,
        is_synced: true,
        listen_addresses: vec!["0.0.0.0:9735".to_owned()],
        capabilities: vec!["backup".to_owned()],
        balances: balances(),
        channels: 2,
        channels_usable: 1,
        fees_earned_msat: 2_000,
    }
}

/// One in use, with a payment on its way, and one whose peer is away.
pub(super) fn channels() -> Vec<Channel> {
    let usable = Channel {
        id: "1187x1x0".to_owned(),
        peer: format!("03{}", "cd".repeat(32)),
        state: ChannelState::Usable,
        is_public: false,
        capacity_sat: 20_000_000,
        local_msat: 15_000_456_789,
        remote_msat: 4_998_543_211,
        spendable_msat: 14_800_456_789,
        receivable_msat: 4_798_543_211,
        htlcs: vec![Htlc {
            payment_hash: "33".repeat(32),
            amount_msat: 1_000_000,
            is_outgoing: true,
            expires_in_blocks: Some(132),
        }],
        cost_msat: None,
    };
    let away = Channel {
        id: "1190x2x1".to_owned(),
        peer: format!("02{}", "ef".repeat(32)),
        state: ChannelState::Offline,
        htlcs: Vec::new(),
        spendable_msat: 0,
        receivable_msat: 0,
        ..usable.clone()
    };
    vec![usable, away]
}

pub(super) fn opening(request: &ChannelOpenRequest) -> Channel {
    Channel {
        id: "c0ffee00".to_owned(),
        peer: request.peer.split('@').next().unwrap().to_owned(),
        state: ChannelState::Opening,
        is_public: request.is_public,
        capacity_sat: request.capacity_sat,
        local_msat: request.capacity_sat * 1_000,
        remote_msat: 0,
        spendable_msat: 0,
        receivable_msat: 0,
        htlcs: Vec::new(),
        cost_msat: Some(420_000),
    }
}

pub(super) fn payments() -> Vec<LightningPayment> {
    let out = LightningPayment {
        payment_hash: Some("11".repeat(32)),
        is_outgoing: true,
        amount_msat: Some(4_200_456),
        fee_msat: Some(1_001),
        state: "settled".to_owned(),
        at: Some(seconds_ago(3_598)),
    };
    let unknown = LightningPayment {
        payment_hash: None,
        is_outgoing: false,
        amount_msat: None,
        fee_msat: None,
        state: "pending".to_owned(),
        at: None,
    };
    vec![out, unknown]
}
