//! Workers of a pool's accounts.

use super::seconds_ago;
use hh_ipc::api::pool::Worker;

/// One that mines through two lanes, and one that is away.
pub(super) fn list() -> Vec<Worker> {
    let rig1 = Worker {
        account: "alice".to_owned(),
        worker: "rig1".to_owned(),
        nodes: vec!["berlin".to_owned(), "core".to_owned()],
        lanes: vec!["main".to_owned(), "sv1".to_owned()],
        channels: 2,
        hashrate_10m_hs: 812_400.0,
        hashrate_1h_hs: 790_000.0,
        hashrate_24h_hs: 450_000.0,
        shares: 12_345,
        work: "4722366482869645213696".to_owned(),
        shares_24h: 9_990,
        rejected_24h: 10,
        last_share_at: Some(seconds_ago(3)),
    };
    let away = Worker {
        account: "bob".to_owned(),
        worker: String::new(),
        nodes: vec!["core".to_owned()],
        lanes: vec!["main".to_owned()],
        channels: 0,
        hashrate_10m_hs: 0.0,
        hashrate_1h_hs: 0.0,
        hashrate_24h_hs: 1250.0,
        shares: 12,
        work: "12345678".to_owned(),
        shares_24h: 12,
        rejected_24h: 0,
        last_share_at: Some(seconds_ago(40_000)),
    };
    vec![rig1, away]
}
