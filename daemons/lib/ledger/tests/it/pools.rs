//! Several pools on one ledger.

use std::sync::Arc;

use hh_ledger::{Epoch, Ledger, RejectedCount, Shipment};

use crate::{NOW_MS, Site, binding, origin, share};

on_both_engines!(pools_that_ship_at_once_do_not_disturb_each_other);

const POOLS: u8 = 4;
const SHIPMENTS: u64 = 12;
const SHARES: u64 = 20;

/// What one pool ships as its `n`th: shares of names that all pools use, in an order that differs from pool to pool.
fn nth(pool: u8, n: u64) -> Shipment {
    let first_seq = n * (SHARES + 1) + 1;
    let name = |k: u64| {
        if pool.is_multiple_of(2) {
            k
        } else {
            SHARES - k
        }
    };
    let worker = |k: u64| origin("alice", &format!("rig{}-{}", n, name(k)));
    Shipment {
        epoch: epoch(pool),
        first_seq,
        last_seq: first_seq + SHARES,
        shares: (1..=SHARES)
            .map(|k| share(first_seq + k, &worker(k)))
            .collect(),
        bindings: vec![binding(
            first_seq,
            n,
            &origin(&format!("account{n}"), "rig"),
        )],
        watermark_ms: Some(NOW_MS),
    }
}

fn epoch(pool: u8) -> Epoch {
    [pool; 16]
}

async fn run(pool: u8, ledger: Ledger) {
    for n in 0..SHIPMENTS {
        ledger.ship(Arc::new(nth(pool, n))).await.unwrap();
        let rejected = nth(pool, n + 1)
            .shares
            .into_iter()
            .map(|share| RejectedCount {
                at_ms: NOW_MS,
                origin: share.origin,
                reason: "stale-share".to_owned(),
                shares: 1,
            });
        ledger.count_rejected(rejected.collect()).await.unwrap();
    }
}

async fn pools_that_ship_at_once_do_not_disturb_each_other(site: Site) {
    // SQLite's file is made by one: it is one pool's.
    site.ledger.last_seq(epoch(0)).await.unwrap();
    let pools = (0..POOLS).map(|pool| run(pool, site.ledger_of(&format!("pool-{pool}"))));
    futures::future::join_all(pools).await;
    let reader = site.reader();
    let logs = reader.logs().await.unwrap();
    assert_eq!(logs.len(), usize::from(POOLS));
    for log in logs {
        assert_eq!(log.last_seq, SHIPMENTS * (SHARES + 1));
        let shares = reader.shares(log.epoch, 0, usize::MAX).await.unwrap();
        assert_eq!(shares.len() as u64, SHIPMENTS * SHARES);
    }
    let alice = &reader.account_sums(1).await.unwrap()[0];
    assert_eq!(alice.shares, u64::from(POOLS) * SHIPMENTS * SHARES);
    let rejected = site.raw("SELECT sum(shares) FROM rejected");
    assert_eq!(rejected, alice.shares.to_string());
}
