//! Of hh-translator.

use super::{at, link, shares};
use hh_ipc::api::LinkState;
use hh_ipc::api::translator::{
    AddressBan, AddressBanPage, BanAddress, BannedAddress, DifficultyClass, DownstreamDetail,
    DownstreamMiner, DownstreamPage, DownstreamQuery, DownstreamSelector, KickDownstreams,
    KickedDownstreams, LaneCredential, LaneDetail, PauseLane, SwitchUpstream, SwitchedLane,
    SwitchedUpstream, TranslatorLane, TranslatorStatus, UnbanAddress, Upstream, UpstreamState,
    UpstreamTest,
};

pub(crate) fn translator_status() -> TranslatorStatus {
    TranslatorStatus {
        lanes: vec![TranslatorLane {
            name: "default".into(),
            listen_address: "0.0.0.0:3333".into(),
            connections: 1,
            protocol: "sv1".into(),
            paused: false,
            aggregated: false,
        }],
        upstreams: vec![link("127.0.0.1:34254", LinkState::Up)],
        miners: vec![downstream_miner()],
        connections: 1,
        shares: shares(),
        shares_in_flight: 2,
        shares_unsettled: 1,
        authority_public_key: None,
        credentials: vec![LaneCredential {
            lane: "main".into(),
            node: "core".into(),
            until_at: Some(at(9)),
            reason: Some("the credential has ended".into()),
        }],
        classes: vec![DifficultyClass {
            lane: "asics".into(),
            difficulty: Some(65_536.0),
            accounts: 2,
            channels: 3,
            miners: 1_402,
            arriving: 4,
        }],
    }
}

fn downstream_miner() -> DownstreamMiner {
    DownstreamMiner {
        id: 5,
        peer: "192.0.2.9:51000".into(),
        lane: "default".into(),
        protocol: "sv1".into(),
        user_name: "bob.s9".into(),
        user_agent: "cgminer/4.12".into(),
        connected_at: at(13),
        difficulty: 0.000_244_140_625,
        version_rolling: true,
        hashrate_10m_hs: 0.0,
        shares: shares(),
        last_share_at: Some(at(14)),
    }
}

pub(crate) fn downstream_query() -> DownstreamQuery {
    DownstreamQuery {
        lane: Some("default".into()),
        user: Some("bob".into()),
        offset: 10,
        limit: 20,
    }
}

pub(crate) fn downstream_page() -> DownstreamPage {
    DownstreamPage {
        miners: vec![downstream_miner()],
        total: 31,
    }
}

pub(crate) fn downstream_detail() -> DownstreamDetail {
    DownstreamDetail {
        miner: downstream_miner(),
        users: vec!["bob.s9".into(), "bob.s10".into()],
        channel_id: Some(12),
        shares_unsettled: 3,
    }
}

pub(crate) fn kick_downstreams() -> [KickDownstreams; 4] {
    let selectors = [
        DownstreamSelector::Id(5),
        DownstreamSelector::User("bob".into()),
        DownstreamSelector::Address("192.0.2.0/24".into()),
        DownstreamSelector::Lane("default".into()),
    ];
    selectors.map(|miners| KickDownstreams {
        miners,
        dry_run: true,
    })
}

pub(crate) fn kicked_downstreams() -> KickedDownstreams {
    KickedDownstreams {
        connections: 31,
        miners: vec![downstream_miner()],
    }
}

pub(crate) fn ban_address() -> BanAddress {
    BanAddress {
        address: "192.0.2.0/24".into(),
        seconds: Some(3_600),
        reason: Some("scans".into()),
        dry_run: true,
    }
}

pub(crate) fn unban_address() -> UnbanAddress {
    UnbanAddress {
        address: "192.0.2.0/24".into(),
        dry_run: true,
    }
}

fn address_ban() -> AddressBan {
    AddressBan {
        address: "192.0.2.0/24".into(),
        reason: "scans".into(),
        automatic: false,
        since_at: at(15),
        until_at: Some(at(16)),
    }
}

pub(crate) fn banned_address() -> BannedAddress {
    BannedAddress {
        ban: address_ban(),
        kicked: kicked_downstreams(),
    }
}

pub(crate) fn address_ban_page() -> AddressBanPage {
    AddressBanPage {
        bans: vec![address_ban()],
        total: 1,
    }
}

pub(crate) fn lane_detail() -> LaneDetail {
    LaneDetail {
        name: "default".into(),
        protocol: "sv1-tls".into(),
        listen_address: "0.0.0.0:3443".into(),
        paused_at: Some(at(15)),
        connections: 1,
        min_difficulty: Some(16.5),
        max_difficulty: Some(1e9),
        nominal_hashrate_hs: 1e11,
        hashrate_10m_hs: 1.5e12,
        shares: shares(),
        shares_in_flight: 2,
        shares_unsettled: 1,
        ended: [("closed".to_owned(), 7), ("over_limit".to_owned(), 1)].into(),
    }
}

pub(crate) fn pause_lane() -> PauseLane {
    PauseLane {
        lane: "default".into(),
        paused: true,
        dry_run: true,
    }
}

pub(crate) fn upstream() -> Upstream {
    Upstream {
        lane: "default".into(),
        priority: 2,
        address: "127.0.0.1:34254".into(),
        state: UpstreamState::Up,
        since_at: at(15),
        switched_to: false,
        room: Some(8),
        last_error: Some("closed by the peer".into()),
    }
}

pub(crate) fn switch_upstream() -> SwitchUpstream {
    SwitchUpstream {
        address: "127.0.0.1:34254".into(),
        dry_run: true,
    }
}

pub(crate) fn switched_upstream() -> SwitchedUpstream {
    SwitchedUpstream {
        address: "127.0.0.1:34254".into(),
        lanes: vec![SwitchedLane {
            lane: "default".into(),
            from: Some("192.0.2.4:34254".into()),
            error: Some("closed by the peer".into()),
        }],
        connections: 7,
    }
}

pub(crate) fn upstream_test() -> UpstreamTest {
    UpstreamTest {
        address: "127.0.0.1:34254".into(),
        connect_ms: Some(0.5),
        handshake_ms: Some(1.5),
        setup_ms: None,
        error: Some("closed by the peer".into()),
    }
}
