//! What workers bring in, whatever they come through.

use std::sync::Arc;

use hh_ledger::{Origin, RejectedCount, ShareRow, Sum, WorkerSum, WorkerWindows};

use crate::{NOW_MS, Site, share, shipment};

on_both_engines!(a_worker_is_summed_up_over_nodes_lanes_and_pools_by_hour_and_day);

const MINUTE_MS: i64 = 60_000;

/// The end of the windows: half a minute after a minute has begun.
const END_MS: i64 = NOW_MS - NOW_MS % MINUTE_MS + 30_000;

/// SV1 miners come through the node `berlin`.
fn through(worker: &str, lane: &str) -> Arc<Origin> {
    let node = if lane == "sv1" { "berlin" } else { "core" };
    Arc::new(Origin::new("alice", worker, node, lane).unwrap())
}

fn sum(shares: u64) -> Sum {
    Sum {
        shares,
        work: u128::from(shares) * 5,
        score: u128::from(shares) << 70,
    }
}

async fn a_worker_is_summed_up_over_nodes_lanes_and_pools_by_hour_and_day(site: Site) {
    // Minutes before the end, by lane and pool: the first minute of the hour, the last before it; and of the day.
    let mined = [
        (59, "sv2", 1),
        (60, "sv2", 1),
        (1_439, "sv1", 2),
        (1_440, "sv1", 2),
        (0, "sv1", 2),
    ];
    for pool in [1, 2] {
        let ledger = site.ledger_of(&format!("pool-{pool}"));
        let mut shares: Vec<ShareRow> = Vec::new();
        let mut ours: Vec<_> = mined.iter().filter(|mined| mined.2 == pool).collect();
        ours.sort_by_key(|(minutes, ..)| -minutes);
        for (minutes, lane, _) in ours {
            let seq = u64::try_from(shares.len()).unwrap() + 1;
            shares.push(ShareRow {
                accepted_at_ms: END_MS - minutes * MINUTE_MS,
                work: 5,
                score: 1 << 70,
                ..share(seq, &through("rig1", lane))
            });
        }
        let mut shipment = shipment(shares);
        shipment.epoch = [pool; 16];
        ledger.ship(Arc::new(shipment)).await.unwrap();
    }
    site.ledger.count_rejected(rejected()).await.unwrap();

    let windows = WorkerWindows::until(END_MS);
    assert_eq!(windows.hour_ms(), END_MS - 30_000 - 59 * MINUTE_MS);
    let rig1 = WorkerSum {
        account: "alice".to_owned(),
        worker: "rig1".to_owned(),
        nodes: vec!["berlin".to_owned(), "core".to_owned()],
        lanes: vec!["sv1".to_owned(), "sv2".to_owned()],
        total: sum(5),
        last_share_at_ms: Some(END_MS),
        hour: sum(2),
        day: sum(4),
        rejected_day: 5,
    };
    let bob = WorkerSum {
        account: "bob".to_owned(),
        worker: String::new(),
        nodes: vec!["core".to_owned()],
        lanes: vec!["sv2".to_owned()],
        total: sum(0),
        last_share_at_ms: None,
        hour: sum(0),
        day: sum(0),
        rejected_day: 1,
    };
    let reader = site.reader();
    let all = reader.worker_sums(None, windows).await.unwrap();
    assert_eq!(all, [rig1.clone(), bob]);
    let of = async |account: &str| {
        let sums = reader.worker_sums(Some(account.to_owned()), windows).await;
        sums.unwrap()
    };
    assert_eq!(of("alice").await, [rig1]);
    assert_eq!(of("zoe").await, []);
}

/// Refused shares within the day and before it, of a worker that has mined and one that has not.
fn rejected() -> Vec<RejectedCount> {
    let bob = Arc::new(Origin::new("bob", "", "core", "sv2").unwrap());
    let counts = [
        (through("rig1", "sv2"), 1_439, "stale-share", 3),
        (through("rig1", "sv1"), 0, "difficulty-too-low", 2),
        (through("rig1", "sv1"), 1_440, "stale-share", 9),
        (bob, 0, "stale-share", 1),
    ];
    let count = |(origin, minutes, reason, shares): (Arc<Origin>, i64, &str, u64)| RejectedCount {
        at_ms: END_MS - minutes * MINUTE_MS,
        origin,
        reason: reason.to_owned(),
        shares,
    };
    counts.map(count).to_vec()
}
