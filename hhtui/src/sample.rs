//! A small pool as its daemons describe it, at fixed times, for the tests of `update` and `view`.

mod treasury;

use crate::feed::{Event, PoolAnswer};
use crate::model::{Model, Msg, update};
use crate::theme::{Symbols, Theme, UNICODE};
use hh_ipc::api::pool::{
    Block, BlockState, CurrentWork, DoorStatus, Lane, LedgerStatus, Miner, MinerPage, PoolStatus,
    ShareLogStatus, SubmissionPath,
};
use hh_ipc::api::template_provider::{
    NodeCondition, NodeStatus, TemplateClient, TemplateProviderStatus, TemplateSummary,
};
use hh_ipc::api::translator::{DownstreamMiner, LaneDetail, TranslatorLane, TranslatorStatus};
use hh_ipc::api::{Hello, LinkState, LinkStatus, ShareCounts};
use hh_ipc::locate::Daemon;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

pub(crate) use treasury::{frozen, treasury};

const TIP: &str = "000000a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d";

/// 2026-09-21 14:13:20 UTC plus `second`; the daemons of the sample started at 0.
pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

/// The moment that all screens of the tests show.
pub(crate) const NOW: i64 = 7200;

fn up(address: &str) -> LinkStatus {
    LinkStatus {
        address: address.into(),
        state: LinkState::Up,
        since_at: at(1),
        last_error: None,
    }
}

pub(crate) fn down(address: &str, since: i64, why: &str) -> LinkStatus {
    LinkStatus {
        state: LinkState::Down,
        since_at: at(since),
        last_error: Some(why.into()),
        ..up(address)
    }
}

fn shares(accepted: u64, stale: u64, low: u64) -> ShareCounts {
    let reasons = [("stale-share", stale), ("difficulty-too-low", low)];
    let rejected = reasons.into_iter().filter(|(_, count)| *count > 0);
    ShareCounts {
        accepted,
        rejected: rejected
            .map(|(why, count)| (why.to_owned(), count))
            .collect(),
    }
}

pub(crate) fn miner(id: u32, account: &str, worker: &str, hashrate_hs: f64) -> Miner {
    Miner {
        id,
        account: account.into(),
        worker: worker.into(),
        node: "core".into(),
        lane: "default".into(),
        peer: format!("192.0.2.{id}:50112"),
        channel: if id.is_multiple_of(2) {
            "extended"
        } else {
            "standard"
        }
        .into(),
        device: "cpuminer 1.0".into(),
        connected_at: at(60 * i64::from(id)),
        difficulty: hashrate_hs / 1.3e9,
        nominal_hashrate_hs: hashrate_hs,
        hashrate_1m_hs: hashrate_hs,
        hashrate_10m_hs: hashrate_hs * 0.97,
        shares: shares(1200 / u64::from(id), u64::from(id), 0),
        last_share_at: Some(at(NOW - i64::from(id))),
        best_difficulty: hashrate_hs / 1e6,
    }
}

fn block(height: u32, state: BlockState, found: i64) -> Block {
    Block {
        height,
        hash: format!("{:08x}{}", height, &TIP[8..]),
        state,
        reason: None,
        confirmations: (state == BlockState::Accepted).then_some(2),
        account: "alice".into(),
        worker: "rig1".into(),
        node: "core".into(),
        lane: "default".into(),
        found_at: at(found),
        value_sat: 5_000_001_234,
        paths: vec![SubmissionPath {
            path: "template-provider 127.0.0.1:34250".into(),
            outcome: "sent".into(),
            at: at(found),
        }],
    }
}

fn blocks() -> Vec<Block> {
    let mut rejected = block(207, BlockState::Rejected, 4000);
    rejected.reason = Some("bad-txns-inputs-missingorspent".into());
    vec![
        block(210, BlockState::Accepted, 7000),
        block(209, BlockState::Submitted, 6500),
        block(208, BlockState::Orphaned, 5000),
        rejected,
    ]
}

pub(crate) fn pool() -> PoolAnswer {
    pool_at(NOW)
}

fn pool_at(now: i64) -> PoolAnswer {
    let mut rig = miner(3, "bob", "garage-row-3-shelf-b", 90e3);
    rig.lane = "edge".into();
    rig.last_share_at = None;
    let mut miners = vec![
        rig,
        miner(1, "alice", "rig1", 250e3),
        miner(2, "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "", 172e3),
        miner(4, "carol@example.org", "", 0.0),
    ];
    for miner in &mut miners {
        miner.last_share_at = miner
            .last_share_at
            .map(|at| at - Duration::from_secs(ago(now)));
    }
    PoolAnswer {
        hello: Hello {
            protocol: hh_ipc::PROTOCOL,
            daemon: "hh-pool".into(),
            version: "0.1.0".into(),
            pid: 4242,
            started_at: at(0),
            read_only: true,
        },
        status: pool_status(now),
        miners: Some(MinerPage { miners, total: 4 }),
        blocks: Ok(blocks()),
    }
}

fn lane(name: &str, listen_address: &str, channels: u32, hashrate_10m_hs: f64) -> Lane {
    Lane {
        name: name.into(),
        listen_address: listen_address.into(),
        connections: channels,
        channels,
        hashrate_10m_hs,
    }
}

fn pool_status(now: i64) -> PoolStatus {
    PoolStatus {
        chain: "signet".into(),
        authority_public_key: "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72".into(),
        server_id: 7,
        lanes: vec![
            lane("default", "0.0.0.0:34254", 3, 422e3),
            lane("edge", "0.0.0.0:34264", 1, 90e3),
        ],
        template_providers: vec![up("127.0.0.1:34250")],
        active_template_provider: Some("127.0.0.1:34250".to_owned()),
        nodes: vec![up("http://127.0.0.1:38332")],
        work: Some(CurrentWork {
            height: 211,
            prev_hash: TIP.into(),
            template_id: 99,
            job_id: 1204,
            value_sat: 5_000_001_234,
            network_difficulty: 0.001_126,
            received_at: at(now - 3),
        }),
        connections: 3,
        channels: 4,
        hashrate_10m_hs: 512e3,
        shares: shares(1842, 7, 3),
        share_log: ShareLogStatus {
            epoch: "000102030405060708090a0b0c0d0e0f".into(),
            durable_seq: 1850,
            shipped_seq: 1842,
            last_error: None,
            warning: None,
            waiting_records: 0,
            disk_bytes: 134_221_824,
            kept_from_at: None,
            lost: None,
        },
        ledger: LedgerStatus {
            path: "/var/lib/hyperhash/hh-pool/pool.db".into(),
            last_error: None,
            last_shipped_at: Some(at(now - 2)),
            oldest_waiting_at: None,
        },
        blocks_found: 4,
        last_block: blocks().into_iter().next(),
        door: DoorStatus::default(),
    }
}

pub(crate) fn tp() -> TemplateProviderStatus {
    tp_at(NOW)
}

fn tp_at(now: i64) -> TemplateProviderStatus {
    TemplateProviderStatus {
        chain: "signet".into(),
        listen_address: "127.0.0.1:34250".into(),
        authority_public_key: "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72".into(),
        nodes: vec![NodeStatus {
            name: "near".into(),
            active: true,
            condition: NodeCondition::Healthy,
            since_at: at(5),
            reason: None,
            templates: up("/var/lib/bitcoin/signet/node.sock"),
            rpc: up("http://127.0.0.1:38332"),
            version: Some(310_000),
            height: Some(210),
            tip_hash: Some(TIP.into()),
            initial_block_download: Some(false),
            latency_seconds: Some(0.002),
        }],
        clients: vec![TemplateClient {
            peer: "127.0.0.1:40404".into(),
            connected_at: at(5),
            coinbase_output_max_additional_size_bytes: Some(64),
            coinbase_output_max_additional_sigops: Some(4),
        }],
        templates_total: 99,
        last_template: Some(TemplateSummary {
            template_id: 99,
            height: 211,
            prev_hash: TIP.into(),
            trigger: "new_block".into(),
            node: "near".into(),
            transactions: 17,
            fees_sat: 1234,
            value_sat: 5_000_001_234,
            weight_wu: 12_345,
            generation_seconds: 0.0125,
            created_at: at(now - 3),
        }),
        solutions: Vec::new(),
    }
}

pub(crate) fn translator() -> TranslatorStatus {
    translator_at(NOW)
}

fn translator_at(now: i64) -> TranslatorStatus {
    TranslatorStatus {
        lanes: vec![TranslatorLane {
            name: "default".into(),
            listen_address: "0.0.0.0:3333".into(),
            connections: 1,
            protocol: "sv1".into(),
            paused: false,
            aggregated: false,
        }],
        upstreams: vec![up("127.0.0.1:34254")],
        miners: vec![DownstreamMiner {
            id: 5,
            peer: "192.0.2.9:51000".into(),
            lane: "default".into(),
            protocol: "sv1".into(),
            user_name: "alice.rig1".into(),
            user_agent: "cpuminer/1.0".into(),
            connected_at: at(9),
            difficulty: 0.000_244_140_625,
            version_rolling: true,
            hashrate_10m_hs: 240e3,
            shares: shares(600, 1, 0),
            last_share_at: Some(at(now - 1)),
        }],
        connections: 1,
        shares: shares(600, 1, 0),
        shares_in_flight: 2,
        shares_unsettled: 0,
        authority_public_key: None,
        credentials: Vec::new(),
        classes: Vec::new(),
    }
}

fn lane_detail() -> LaneDetail {
    LaneDetail {
        name: "default".into(),
        protocol: "sv1".into(),
        listen_address: "0.0.0.0:3333".into(),
        paused_at: None,
        connections: 1,
        min_difficulty: Some(1024.0),
        max_difficulty: Some(1e9),
        nominal_hashrate_hs: 1e11,
        hashrate_10m_hs: 240e3,
        shares: shares(600, 1, 0),
        shares_in_flight: 2,
        shares_unsettled: 0,
        ended: BTreeMap::new(),
    }
}

/// Seconds from `now` to [`NOW`].
fn ago(now: i64) -> u64 {
    u64::try_from(NOW - now).unwrap()
}

/// Nothing has been heard.
pub(crate) fn connecting(symbols: &'static Symbols) -> Model {
    Model::new("devnet".into(), Theme::Dark, symbols, at(NOW))
}

pub(crate) fn hear(model: &mut Model, event: Event, at: Timestamp) {
    update(model, Msg::Feed { event, at });
}

/// All daemons last answered at `second`, and time has gone on to [`NOW`].
pub(crate) fn answered(symbols: &'static Symbols, second: i64) -> Model {
    let mut model = connecting(symbols);
    for minute in 0..60 {
        // A hole of ten minutes and a slow rise.
        if !(30..40).contains(&minute) {
            let hashrate_hs = 300e3 + 4e3 * f64::from(minute);
            let then = at(second - 3600 + 60 * i64::from(minute));
            for part in 0..6 {
                model
                    .history
                    .push(hashrate_hs, then + Duration::from_secs(10 * part));
            }
        }
    }
    hear(
        &mut model,
        Event::Pool(Box::new(pool_at(second))),
        at(second),
    );
    hear(&mut model, Event::Tp(Box::new(tp_at(second))), at(second));
    hear(
        &mut model,
        Event::Translator(Box::new(translator_at(second))),
        at(second),
    );
    hear(&mut model, Event::Lanes(vec![lane_detail()]), at(second));
    let treasury = treasury::answer_at(second);
    hear(&mut model, Event::Treasury(Box::new(treasury)), at(second));
    model
}

pub(crate) fn live() -> Model {
    answered(&UNICODE, NOW)
}

pub(crate) fn stale() -> Model {
    answered(&UNICODE, NOW - 9)
}

/// All daemons went away after they had answered.
pub(crate) fn lost() -> Model {
    let mut model = answered(&UNICODE, NOW - 75);
    for daemon in Daemon::ALL {
        let why = format!(
            "not running, nobody listens on /run/hyperhash/{}/view.sock",
            daemon.program()
        );
        let retry_in = Duration::from_secs(16);
        hear(
            &mut model,
            Event::Down {
                daemon,
                why,
                retry_in,
            },
            at(NOW - 4),
        );
    }
    model
}

/// All daemons are there and have nothing to tell yet.
pub(crate) fn empty() -> Model {
    let mut model = connecting(&UNICODE);
    let mut pool = pool();
    pool.hello.started_at = at(NOW - 42);
    pool.miners = Some(MinerPage {
        miners: Vec::new(),
        total: 0,
    });
    pool.blocks = Ok(Vec::new());
    let status = &mut pool.status;
    status.lanes = vec![lane("default", "0.0.0.0:34254", 0, 0.0)];
    status.template_providers = vec![LinkStatus {
        state: LinkState::Connecting,
        ..up("127.0.0.1:34250")
    }];
    status.nodes = vec![down(
        "http://127.0.0.1:38332",
        NOW - 40,
        "connection refused",
    )];
    status.work = None;
    (status.connections, status.channels) = (0, 0);
    status.hashrate_10m_hs = 0.0;
    status.shares = ShareCounts::default();
    (status.share_log.durable_seq, status.share_log.shipped_seq) = (0, 0);
    status.ledger.last_shipped_at = None;
    (status.blocks_found, status.last_block) = (0, None);
    hear(&mut model, Event::Pool(Box::new(pool)), at(NOW));

    let mut tp = tp();
    let node = &mut tp.nodes[0];
    *node = NodeStatus {
        active: false,
        condition: NodeCondition::Down,
        reason: Some("no such file".into()),
        templates: down(
            "/var/lib/bitcoin/signet/node.sock",
            NOW - 40,
            "no such file",
        ),
        rpc: down("http://127.0.0.1:38332", NOW - 40, "connection refused"),
        version: None,
        height: None,
        tip_hash: None,
        initial_block_download: None,
        latency_seconds: None,
        ..node.clone()
    };
    tp.clients.clear();
    tp.last_template = None;
    tp.templates_total = 0;
    hear(&mut model, Event::Tp(Box::new(tp)), at(NOW));

    let mut translator = translator();
    translator.miners.clear();
    translator.connections = 0;
    translator.shares = ShareCounts::default();
    translator.shares_in_flight = 0;
    hear(&mut model, Event::Translator(Box::new(translator)), at(NOW));
    let treasury = treasury::nothing_yet();
    hear(&mut model, Event::Treasury(Box::new(treasury)), at(NOW));
    model
}
