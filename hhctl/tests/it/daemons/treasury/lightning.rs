//! The Lightning node of hh-treasury.

use super::money::balances;
use crate::daemons::seconds_ago;
use hh_ipc::api::treasury::{
    Channel, ChannelCloseRequest, ChannelFeesRequest, ChannelOpenRequest, ChannelState,
    ForceCloseCost, Htlc, LightningPayment, LightningStatus, Peer, Rebalance, RebalanceRequest,
    RebalanceState,
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
        force_close: None,
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
        force_close: None,
    }
}

/// Of a channel with a payment on its way.
fn force_close(channel: &Channel) -> ForceCloseCost {
    ForceCloseCost {
        fee_rate_sat_per_kvb: 4_200,
        is_estimated: true,
        commitment_fee_msat: 330_000,
        bump_fee_msat: 1_784_000,
        sweep_fee_msat: 559_000,
        htlc_fee_msat: 1_491_000,
        htlcs: 1,
        returned_msat: channel.local_msat - 4_164_000,
        delay_blocks: Some(144),
    }
}

/// What is asked for, as the fake notes it.
pub(super) fn fee_words(request: &ChannelFeesRequest) -> String {
    let ChannelFeesRequest { id, base_msat, ppm } = request;
    format!("fees of {id}: {base_msat} {ppm}")
}

/// With what that costs.
pub(super) fn closing(mut channel: Channel, request: &ChannelCloseRequest) -> Channel {
    channel.cost_msat = Some(if request.is_forced {
        4_164_000
    } else {
        300_000
    });
    if request.is_forced && request.dry_run {
        channel.force_close = Some(force_close(&channel));
    }
    channel
}

/// One that is settled at once; with an odd number of thousands of satoshi it fails.
pub(super) fn rebalance(request: &RebalanceRequest) -> Rebalance {
    let has_failed = !request.amount_msat.is_multiple_of(2_000_000);
    let state = match (request.dry_run, has_failed) {
        (true, _) => RebalanceState::Planned,
        (false, true) => RebalanceState::Failed,
        (false, false) => RebalanceState::Settled,
    };
    let is_settled = state == RebalanceState::Settled;
    Rebalance {
        id: (!request.dry_run).then_some(4),
        from: request.from.clone(),
        to: request.to.clone(),
        amount_msat: request.amount_msat,
        max_fee_msat: request.amount_msat / 1_000_000 * u64::from(request.max_fee_ppm),
        state,
        fee_msat: is_settled.then_some(42_000),
        payment_hash: (!request.dry_run).then(|| "44".repeat(32)),
        reason: (state == RebalanceState::Failed).then(|| "no_route".to_owned()),
        can_send_msat: request.dry_run.then_some(14_800_456_789),
        can_receive_msat: request.dry_run.then_some(4_798_543_211),
    }
}

/// Those of the channels; the last one is away.
pub(super) fn peers(channels: &[Channel]) -> Vec<Peer> {
    let peer = |channel: &Channel| Peer {
        node_id: channel.peer.clone(),
        address: Some("203.0.113.9:9735".to_owned()),
        is_connected: channel.state == ChannelState::Usable,
        channels: 1,
        local_msat: channel.local_msat,
    };
    channels.iter().map(peer).collect()
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
