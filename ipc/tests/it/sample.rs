//! One value of every type that crosses a socket, with every field set to something that shows.

use hh_ipc::api::pool::{
    AccountShares, Ban, BanPage, BanRequest, BanTarget, Banned, Block, BlockSelector, BlockState,
    CoinbaseDetail, CoinbaseOutput, CurrentJob, CurrentWork, DifficultyBounds, DoorStatus,
    ExtranonceLayout, FutureTemplate, HyperNode, HyperNodePage, JobChannels, KickRequest, Kicked,
    KickedMiner, LaggingPool, Lane, LedgerStatus, LostRecords, Miner, MinerPage, MinerQuery,
    MinerSelector, NodeRevocation, PoolStatus, RetireRequest, Retired, RevokeNodeRequest,
    RevokedNode, Round, RoundAccount, RoundDetail, RoundPage, RoundSelector, RoundSummary,
    ScriptSigPart, ShareCursor, ShareEvent, ShareLogStatus, SharePage, ShareQuery, ShareStats,
    SubmissionPath, UnbanRequest, VardiffChange, VardiffChanged, VardiffSettings, Worker,
    WorkerPage, WorkerQuery,
};
use hh_ipc::api::{Hello, JournalPage, JournalQuery, LinkState, LinkStatus, ShareCounts};
use jiff::Timestamp;

mod core;
mod node_agent;
mod template_provider;
mod translator;

pub(crate) use core::*;
pub(crate) use node_agent::*;
pub(crate) use template_provider::*;
pub(crate) use translator::*;

const HASH: &str = "00000000000000000001b2f6e7f0d9c8a1b2c3d4e5f60718293a4b5c6d7e8f90";

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

pub(crate) fn hello() -> Hello {
    Hello {
        protocol: hh_ipc::PROTOCOL,
        daemon: "hh-pool".into(),
        version: "0.1.0".into(),
        pid: 4242,
        started_at: at(0),
        read_only: true,
    }
}

pub(crate) fn journal_query() -> JournalQuery {
    JournalQuery {
        after_seq: 40,
        limit: 20,
    }
}

pub(crate) fn journal_page() -> JournalPage {
    JournalPage {
        lines: vec![r#"{"seq":41}"#.into()],
        last_seq: 42,
        path: "/var/lib/hyperhash/hh-pool/changes.jsonl".into(),
    }
}

fn link(address: &str, state: LinkState) -> LinkStatus {
    LinkStatus {
        address: address.into(),
        state,
        since_at: at(1),
        last_error: (state == LinkState::Down).then(|| "connection refused".into()),
    }
}

fn shares() -> ShareCounts {
    ShareCounts {
        accepted: 1842,
        rejected: [
            ("difficulty-too-low".to_owned(), 3),
            ("stale-share".to_owned(), 7),
        ]
        .into(),
    }
}

pub(crate) fn pool_status() -> PoolStatus {
    PoolStatus {
        chain: "signet".into(),
        authority_public_key: "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72".into(),
        server_id: 7,
        lanes: vec![Lane {
            name: "default".into(),
            listen_address: "0.0.0.0:34254".into(),
            connections: 3,
            channels: 4,
            hashrate_10m_hs: 5.1e5,
        }],
        template_providers: vec![link("127.0.0.1:34250", LinkState::Up)],
        active_template_provider: Some("127.0.0.1:34250".into()),
        nodes: vec![link("http://127.0.0.1:38332", LinkState::Down)],
        work: Some(CurrentWork {
            height: 211,
            prev_hash: HASH.into(),
            template_id: 99,
            job_id: 1204,
            value_sat: 5_000_001_234,
            network_difficulty: 0.001_126,
            received_at: at(2),
        }),
        connections: 3,
        channels: 4,
        hashrate_10m_hs: 5.1e5,
        shares: shares(),
        share_log: ShareLogStatus {
            epoch: "000102030405060708090a0b0c0d0e0f".into(),
            durable_seq: 1850,
            shipped_seq: 1842,
            last_error: Some("no space left on device".into()),
            warning: None,
            waiting_records: 0,
            disk_bytes: 0,
            kept_from_at: None,
            lost: None,
        },
        ledger: LedgerStatus {
            path: "/var/lib/hyperhash/hh-pool/pool.db".into(),
            last_error: Some("database is locked".into()),
            last_shipped_at: Some(at(3)),
            oldest_waiting_at: None,
        },
        blocks_found: 2,
        last_block: Some(block()),
        door: DoorStatus {
            half_open: 1,
            turned_away: [("banned".to_owned(), 12)].into(),
            dropped: [("slow_reader".to_owned(), 2)].into(),
            bans: 3,
        },
    }
}

pub(crate) fn lost_records() -> LostRecords {
    LostRecords {
        first_seq: 100,
        last_seq: 200,
        after: Some(at(11)),
        until: Some(at(12)),
    }
}

pub(crate) fn current_job() -> CurrentJob {
    CurrentJob {
        job_id: 1204,
        template_id: 99,
        template_provider: link("127.0.0.1:34250", LinkState::Down),
        template_connection_up: false,
        received_at: at(2),
        height: 211,
        prev_hash: HASH.into(),
        nbits: "1e0377ae".into(),
        network_difficulty: 0.001_126,
        min_ntime: 1_790_000_000,
        version: "20000000".into(),
        transactions: Some(17),
        coinbase_only: false,
        value_sat: 5_000_001_234,
        merkle_path_length: 5,
        jobs: vec![JobChannels {
            job_id: 1205,
            channels: 3,
        }],
        channels_behind: 1,
        future_templates: vec![FutureTemplate {
            template_id: 100,
            height: 212,
            received_at: at(3),
        }],
    }
}

pub(crate) fn coinbase() -> CoinbaseDetail {
    CoinbaseDetail {
        job_id: 1204,
        template_id: 99,
        height: 211,
        prefix_hex: "02000000".into(),
        suffix_hex: "feffffff".into(),
        extranonce: ExtranonceLayout {
            offset_bytes: 59,
            size_bytes: 16,
            server_id: 7,
            server_id_bytes: 2,
            channel_bytes: 6,
            miner_bytes: 8,
        },
        script_sig: vec![ScriptSigPart {
            part: "height".into(),
            hex: "d300".into(),
            text: Some("211".into()),
        }],
        script_sig_bytes: 33,
        version: 2,
        sequence: 0xffff_fffe,
        locktime: 210,
        outputs: vec![CoinbaseOutput {
            value_sat: 5_000_001_234,
            kind: "p2wpkh".into(),
            address: Some("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx".into()),
            script_hex: "0014751e76e8199196d454941c45d1b3a323f1433bd6".into(),
            of_pool: true,
        }],
        value_sat: 5_000_001_234,
        template_value_sat: 5_000_001_234,
        weight_wu: 700,
    }
}

pub(crate) fn miner_query() -> MinerQuery {
    MinerQuery {
        account: Some("alice".into()),
        offset: 10,
        limit: 20,
    }
}

pub(crate) fn miner() -> Miner {
    Miner {
        id: 12,
        account: "alice".into(),
        worker: "rig1".into(),
        node: "core".into(),
        lane: "default".into(),
        peer: "192.0.2.7:50112".into(),
        channel: "extended".into(),
        device: "Bitaxe BM1370 2.9.0".into(),
        connected_at: at(4),
        difficulty: 0.000_244_140_625,
        nominal_hashrate_hs: 2.5e5,
        hashrate_1m_hs: 2.4e5,
        hashrate_10m_hs: 2.55e5,
        shares: shares(),
        last_share_at: Some(at(5)),
        best_difficulty: 0.25,
    }
}

pub(crate) fn miner_page() -> MinerPage {
    MinerPage {
        miners: vec![miner()],
        total: 11,
    }
}

pub(crate) fn kick_request() -> KickRequest {
    KickRequest {
        miners: MinerSelector::Address("192.0.2.0/24".into()),
        dry_run: true,
    }
}

pub(crate) fn kicked() -> Kicked {
    Kicked {
        connections: 1,
        channels: 2,
        miners: vec![KickedMiner {
            id: 12,
            account: "alice".into(),
            worker: "rig1".into(),
            peer: "192.0.2.7:50112".into(),
            connection_stays: true,
        }],
    }
}

pub(crate) fn ban_request() -> BanRequest {
    BanRequest {
        target: BanTarget::Address("192.0.2.0/24".into()),
        seconds: Some(3600),
        reason: Some("scans".into()),
        dry_run: true,
    }
}

pub(crate) fn unban_request() -> UnbanRequest {
    UnbanRequest {
        target: BanTarget::Account("mallory".into()),
        dry_run: true,
    }
}

pub(crate) fn banned() -> Banned {
    Banned {
        ban: Ban {
            target: BanTarget::Address("192.0.2.0/24".into()),
            reason: "scans".into(),
            automatic: true,
            since_at: at(30),
            until_at: Some(at(3630)),
        },
        kicked: kicked(),
    }
}

pub(crate) fn ban_page() -> BanPage {
    BanPage {
        bans: vec![banned().ban],
        total: 2,
    }
}

pub(crate) fn hyper_node_page() -> HyperNodePage {
    let berlin = HyperNode {
        id: "berlin-1".into(),
        public_key: "hhnode1qyqszqgpqyqszqgp".into(),
        lanes: vec!["asics".into(), "gpus".into()],
        connections: 2,
        revoked: None,
    };
    HyperNodePage {
        nodes: vec![berlin, revoked_node().node],
        total: 2,
    }
}

pub(crate) fn revoke_node_request() -> RevokeNodeRequest {
    RevokeNodeRequest {
        node: "rome".into(),
        reason: Some("key stolen".into()),
        dry_run: true,
    }
}

pub(crate) fn revoked_node() -> RevokedNode {
    RevokedNode {
        node: HyperNode {
            id: "rome".into(),
            public_key: "hhnode1qgpqyqszqgpqyqsz".into(),
            lanes: vec!["asics".into()],
            connections: 1,
            revoked: Some(NodeRevocation {
                reason: "key stolen".into(),
                since_at: Some(at(7)),
            }),
        },
    }
}

pub(crate) fn vardiff_change() -> VardiffChange {
    VardiffChange {
        account: Some("alice".into()),
        shares_per_minute: Some(12.0),
        min_difficulty: Some(0.5),
        max_difficulty: Some(1e6),
        reset: true,
        dry_run: true,
    }
}

pub(crate) fn vardiff_changed() -> VardiffChanged {
    let bounds = |name: &str| DifficultyBounds {
        name: name.into(),
        min_difficulty: Some(0.5),
        max_difficulty: Some(1e6),
    };
    VardiffChanged {
        settings: VardiffSettings {
            shares_per_minute: 18.0,
            min_difficulty: Some(1e-6),
            max_difficulty: Some(1e9),
            set: vec!["max_difficulty".into()],
            lanes: vec![bounds("default")],
            accounts: vec![bounds("alice")],
            accounts_total: 2,
        },
        channels: 3,
    }
}

pub(crate) fn retire_request() -> RetireRequest {
    RetireRequest {
        server_id: 3,
        lost: true,
        dry_run: true,
    }
}

pub(crate) fn retired() -> Retired {
    Retired {
        pool: "pool-3".into(),
        server_id: 3,
        epoch: "000102030405060708090a0b0c0d0e0f".into(),
        claimed_at: at(30),
        last_seq: 1842,
        shipped_through_at: Some(at(31)),
        heard_at: at(32),
        complete: true,
    }
}

pub(crate) fn worker_query() -> WorkerQuery {
    WorkerQuery {
        account: Some("alice".into()),
        offset: 10,
        limit: 20,
    }
}

pub(crate) fn worker_page() -> WorkerPage {
    WorkerPage {
        workers: vec![Worker {
            account: "alice".into(),
            worker: "rig1".into(),
            nodes: vec!["berlin-1".into(), "core".into()],
            lanes: vec!["default".into(), "sv1".into()],
            channels: 1,
            hashrate_10m_hs: 2.55e5,
            hashrate_1h_hs: 2.5e5,
            hashrate_24h_hs: 1.2e5,
            shares: 1200,
            work: "340282366920938463463374607431768211455".into(),
            shares_24h: 900,
            rejected_24h: 3,
            last_share_at: Some(at(7)),
        }],
        total: 11,
    }
}

pub(crate) fn share_query() -> ShareQuery {
    ShareQuery {
        cursor: Some(share_page().cursor),
        max: 100,
        wait_ms: 5_000,
        account: Some("alice".into()),
        worker: Some("rig1".into()),
        lane: Some("default".into()),
        rejected_only: true,
    }
}

pub(crate) fn share_page() -> SharePage {
    SharePage {
        shares: vec![ShareEvent {
            at: at(7),
            result: "accepted".into(),
            account: "alice".into(),
            worker: "rig1".into(),
            node: "core".into(),
            lane: "default".into(),
            channel: 12,
            difficulty: Some(0.000_244_140_625),
            hash_difficulty: Some(0.25),
            hash: Some(HASH.into()),
            seq: Some(1850),
            is_block: true,
        }],
        cursor: ShareCursor {
            accepted: 1851,
            rejected: 3,
        },
        missed: 7,
    }
}

pub(crate) fn share_stats() -> ShareStats {
    ShareStats {
        since_start_at: at(6),
        since_start: shares(),
        hashrate_1m_hs: 5.0e5,
        hashrate_10m_hs: 5.1e5,
        accounts: vec![AccountShares {
            account: "alice".into(),
            shares: 1200,
            work: "340282366920938463463374607431768211455".into(),
            last_share_at: Some(at(7)),
        }],
    }
}

pub(crate) fn block() -> Block {
    Block {
        height: 210,
        hash: HASH.into(),
        state: BlockState::Rejected,
        reason: Some("bad-txns-inputs-missingorspent".into()),
        confirmations: None,
        account: "alice".into(),
        worker: "rig1".into(),
        node: "core".into(),
        lane: "default".into(),
        found_at: at(8),
        value_sat: 5_000_000_000,
        paths: vec![SubmissionPath {
            path: "template-provider 127.0.0.1:34250".into(),
            outcome: "sent".into(),
            at: at(9),
        }],
    }
}

pub(crate) fn round() -> Round {
    Round {
        block: Some(block()),
        started_at: Some(at(20)),
        ended_at: Some(at(21)),
        shares: Some(1200),
        work: Some("340282366920938463463374607431768211455".into()),
        score: Some("198070406285660843983859875840".into()),
        effort_ratio: Some(2.5),
        luck_ratio: Some(0.4),
        longer_ratio: Some(0.082),
        other_blocks: vec![block()],
    }
}

pub(crate) fn round_page() -> RoundPage {
    RoundPage {
        rounds: vec![round()],
        summary: Some(RoundSummary {
            rounds: 1,
            effort_ratio: 2.5,
            luck_ratio: Some(0.4),
            effort_low_ratio: 0.05,
            effort_median_ratio: 0.69,
            effort_high_ratio: 3.0,
        }),
        lagging_pools: vec![LaggingPool {
            pool: "pool-3".into(),
            server_id: 3,
            shipped_through_at: Some(at(22)),
        }],
    }
}

pub(crate) fn round_selectors() -> [RoundSelector; 3] {
    [
        RoundSelector::Open,
        RoundSelector::Height(210),
        RoundSelector::Hash(HASH.into()),
    ]
}

pub(crate) fn block_selectors() -> [BlockSelector; 2] {
    [BlockSelector::Height(210), BlockSelector::Hash(HASH.into())]
}

pub(crate) fn round_detail() -> RoundDetail {
    RoundDetail {
        round: round(),
        accounts: vec![RoundAccount {
            account: "alice".into(),
            shares: 1200,
            work: "340282366920938463463374607431768211455".into(),
            score: "198070406285660843983859875840".into(),
            score_ratio: 1.0,
        }],
        lagging_pools: Vec::new(),
    }
}
