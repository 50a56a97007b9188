use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bitcoin::hashes::{Hash, sha256};
use hh_ledger::{LedgerError, LedgerReader, MinuteSum, Origin, RejectedCount, ShareRow, Shipment};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use crate::{EPOCH, NOW_MS, Site, binding, origin, say, share, shipment};

on_both_engines!(
    shares_are_read_back_as_they_were_shipped,
    every_share_is_in_once_however_it_is_shipped,
    a_gap_is_refused_unless_it_is_given_up,
    a_shipment_that_fails_leaves_nothing_behind,
    bindings_watermarks_and_first_uses_come_with_the_shares,
    two_logs_of_one_pool_have_chains_of_their_own,
    the_same_record_of_two_pools_is_two,
    rejected_shares_are_counted_by_reason,
    pruned_rows_are_gone_and_the_sums_stay,
    speed_of_shipping,
);

async fn ship(site: &Site, shipment: Shipment) -> Result<(), LedgerError> {
    site.ledger.ship(Arc::new(shipment)).await
}

/// The sums of these shares, by a second way of computing them.
fn sums_of(shares: &[ShareRow]) -> Vec<MinuteSum> {
    let mut sums = BTreeMap::<(i64, [&str; 4]), MinuteSum>::new();
    for share in shares {
        let minute = share.accepted_at_ms.div_euclid(60_000);
        let sum = sums
            .entry((minute, share.origin.names()))
            .or_insert_with(|| MinuteSum {
                minute,
                epoch: EPOCH,
                origin: (*share.origin).clone(),
                shares: 0,
                work: 0,
                score: 0,
                chain: [0; 32],
            });
        sum.shares += 1;
        sum.work += share.work;
        sum.score += share.score;
        let record = [
            &sum.chain[..],
            &EPOCH,
            &share.seq.to_be_bytes(),
            &share.accepted_at_ms.to_be_bytes(),
            &share.hash.to_byte_array(),
            &share.work.to_be_bytes(),
            &share.score.to_be_bytes(),
        ]
        .concat();
        sum.chain = sha256::Hash::hash(&record).to_byte_array();
    }
    sums.into_values().collect()
}

async fn check_holds(site: &Site, shares: &[ShareRow]) {
    let reader = site.ledger.reader();
    let rows = reader.shares(EPOCH, 0, usize::MAX).await.unwrap();
    assert_eq!(rows, shares);
    assert_eq!(reader.share_count().await.unwrap(), shares.len() as u64);
    check_sums(reader, shares).await;
}

/// The sums are those of these shares, whether these are there or not.
async fn check_sums(reader: &LedgerReader, shares: &[ShareRow]) {
    let mut sums = reader.minute_sums(i64::MIN, i64::MAX).await.unwrap();
    sums.sort_by(|a, b| (a.minute, a.origin.names()).cmp(&(b.minute, b.origin.names())));
    assert_eq!(sums, sums_of(shares));
    let accounts = reader.account_sums(usize::MAX).await.unwrap();
    assert!(accounts.is_sorted_by(|a, b| a.work >= b.work));
    for account in accounts {
        let of_account = || {
            shares
                .iter()
                .filter(|share| share.origin.account() == account.account)
        };
        assert_eq!(account.shares, of_account().count() as u64);
        assert_eq!(
            account.work,
            of_account().map(|share| share.work).sum::<u128>()
        );
        assert_eq!(
            account.score,
            of_account().map(|share| share.score).sum::<u128>()
        );
        let last = of_account().map(|share| share.accepted_at_ms).max();
        assert_eq!(account.last_share_at_ms, last);
    }
}

async fn shares_are_read_back_as_they_were_shipped(site: Site) {
    let (alice, bob) = (origin("alice", "rig1"), origin("bob", ""));
    let shares = vec![share(1, &alice), share(2, &bob), share(3, &alice)];
    ship(&site, shipment(shares.clone())).await.unwrap();
    check_holds(&site, &shares).await;
    let reader = site.reader();
    assert_eq!(
        reader.shares_by_hash(shares[1].hash).await.unwrap(),
        shares[1..2]
    );
    assert_eq!(reader.shares(EPOCH, 2, 1).await.unwrap(), shares[1..2]);
    assert_eq!(reader.shares([8; 16], 0, 10).await.unwrap(), []);
}

/// Some shares, and how to cut them into shipments, each of which begins some shares before the end of the last.
fn shares_and_cuts() -> impl Strategy<Value = (Vec<ShareRow>, Vec<(usize, usize)>)> {
    let share_of = |(seq, (who, later_ms, work)): (u64, (u8, i64, u64)),
                    accepted_at_ms: &mut i64| {
        *accepted_at_ms += later_ms;
        let name = |bit: u8, names: [&'static str; 2]| names[usize::from(who >> bit & 1)];
        let origin = Arc::new(
            Origin::new(
                name(0, ["alice", "bob"]),
                name(1, ["", "rig"]),
                name(2, ["core", "node-7"]),
                name(3, ["main", "large"]),
            )
            .unwrap(),
        );
        let work = u128::from(work) << 40;
        ShareRow {
            accepted_at_ms: *accepted_at_ms,
            work,
            ..share(seq, &origin)
        }
    };
    let shares = prop::collection::vec((0..16_u8, 0..90_000_i64, any::<u64>()), 1..60);
    let shares = shares.prop_map(move |shares| {
        let mut accepted_at_ms = NOW_MS;
        (1..)
            .zip(shares)
            .map(|share| share_of(share, &mut accepted_at_ms))
            .collect()
    });
    (
        shares,
        prop::collection::vec((1..60_usize, 0..20_usize), 1..20),
    )
}

/// Whatever the cuts between shipments, however often one is shipped again: once each, and the sums are the rows'.
async fn every_share_is_in_once_however_it_is_shipped(site: Site) {
    const CASES: u32 = 15;
    let mut runner = TestRunner::default();
    for _ in 0..CASES {
        let (shares, cuts) = shares_and_cuts().new_tree(&mut runner).unwrap().current();
        let site = site.another();
        let mut shipped = 0;
        for (length, again) in cuts.into_iter().chain([(usize::MAX, 0)]) {
            let first = shipped - shipped.min(again);
            let end = shares.len().min(shipped.saturating_add(length));
            if first < end {
                ship(&site, shipment(shares[first..end].to_vec()))
                    .await
                    .unwrap();
            }
            shipped = end;
            check_holds(&site, &shares[..shipped]).await;
            let last_seq = site.ledger.last_seq(EPOCH).await.unwrap();
            assert_eq!(last_seq, Some(shipped as u64));
        }
    }
}

async fn a_gap_is_refused_unless_it_is_given_up(site: Site) {
    let alice = origin("alice", "");
    assert_eq!(site.ledger.last_seq(EPOCH).await.unwrap(), None);
    ship(&site, shipment(vec![share(1, &alice)])).await.unwrap();
    let error = ship(&site, shipment(vec![share(3, &alice)]))
        .await
        .unwrap_err();
    assert!(
        matches!(
            error,
            LedgerError::Gap {
                expected: 2,
                found: 3
            }
        ),
        "{error}"
    );
    site.ledger.skip_to(EPOCH, 3, NOW_MS).await.unwrap();
    site.ledger.skip_to(EPOCH, 2, NOW_MS).await.unwrap();
    ship(&site, shipment(vec![share(3, &alice)])).await.unwrap();
    check_holds(&site, &[share(1, &alice), share(3, &alice)]).await;
    assert_eq!(site.raw("SELECT first_seq, last_seq FROM gaps"), "2|2");
}

async fn a_shipment_that_fails_leaves_nothing_behind(site: Site) {
    let alice = origin("alice", "");
    let max = ShareRow {
        work: u128::MAX,
        ..share(1, &alice)
    };
    ship(&site, shipment(vec![max.clone()])).await.unwrap();
    let shares = vec![share(2, &origin("bob", "")), share(3, &alice)];
    let error = ship(&site, shipment(shares)).await.unwrap_err();
    assert!(matches!(error, LedgerError::OutOfRange { .. }), "{error}");
    check_holds(&site, &[max]).await;
    assert_eq!(site.reader().accounts().await.unwrap().len(), 1);
}

async fn bindings_watermarks_and_first_uses_come_with_the_shares(site: Site) {
    let (alice, bob) = (origin("alice", "rig1"), origin("bob", ""));
    let first = Shipment {
        first_seq: 1,
        bindings: vec![binding(1, 9, &alice), binding(2, 10, &bob)],
        watermark_ms: Some(NOW_MS + 10),
        ..shipment(vec![share(3, &alice)])
    };
    ship(&site, first.clone()).await.unwrap();
    ship(&site, first).await.unwrap();
    let no_shares = Shipment {
        first_seq: 4,
        last_seq: 4,
        shares: Vec::new(),
        bindings: Vec::new(),
        watermark_ms: Some(NOW_MS + 20),
        epoch: EPOCH,
    };
    ship(&site, no_shares).await.unwrap();
    ship(&site, shipment(vec![share(5, &alice)])).await.unwrap();
    let reader = site.reader();
    let logs = reader.logs().await.unwrap();
    assert_eq!((logs.len(), logs[0].last_seq), (1, 5));
    assert_eq!(
        (&*logs[0].pool, logs[0].watermark_ms),
        ("pool-1", Some(NOW_MS + 20))
    );
    assert_eq!(
        reader.binding(EPOCH, 10_u64.to_be_bytes()).await.unwrap(),
        Some((*bob).clone())
    );
    assert_eq!(
        reader.binding(EPOCH, 11_u64.to_be_bytes()).await.unwrap(),
        None
    );
    assert_eq!(
        reader.binding([8; 16], 10_u64.to_be_bytes()).await.unwrap(),
        None
    );
    let accounts = reader.accounts().await.unwrap();
    assert_eq!(
        accounts.iter().map(|a| &*a.account).collect::<Vec<_>>(),
        ["alice", "bob"]
    );
    let workers = reader.workers().await.unwrap();
    assert_eq!(workers.len(), 1, "an empty name is no worker");
    assert_eq!(workers[0].worker.as_deref(), Some("rig1"));
    assert_eq!(workers[0].first_used_at_ms, NOW_MS);
}

async fn two_logs_of_one_pool_have_chains_of_their_own(site: Site) {
    let alice = origin("alice", "");
    ship(&site, shipment(vec![share(1, &alice)])).await.unwrap();
    let other = Shipment {
        epoch: [8; 16],
        ..shipment(vec![share(1, &alice)])
    };
    ship(&site, other).await.unwrap();
    let sums = site.reader().minute_sums(i64::MIN, i64::MAX).await.unwrap();
    assert_eq!(sums.len(), 2);
    assert_ne!(sums[0].chain, sums[1].chain);
    assert_eq!(site.reader().account_sums(1).await.unwrap()[0].shares, 2);
}

async fn the_same_record_of_two_pools_is_two(site: Site) {
    let alice = origin("alice", "");
    let of_one = shipment(vec![share(1, &alice)]);
    for ledger in [&site.ledger, &site.ledger_of("pool-2")] {
        ledger.ship(Arc::new(of_one.clone())).await.unwrap();
        ledger.ship(Arc::new(of_one.clone())).await.unwrap();
    }
    assert_eq!(
        site.raw("SELECT count(*), count(DISTINCT pool) FROM share_records"),
        "2|2"
    );
    let sums = site.reader().minute_sums(i64::MIN, i64::MAX).await.unwrap();
    assert_eq!(sums.len(), 2, "each has a chain of its own");
    assert_eq!(site.reader().account_sums(1).await.unwrap()[0].shares, 2);
}

async fn rejected_shares_are_counted_by_reason(site: Site) {
    let count = |shares| RejectedCount {
        at_ms: NOW_MS,
        origin: origin("alice", ""),
        reason: "stale-share".to_owned(),
        shares,
    };
    site.ledger
        .count_rejected(vec![count(2), count(3)])
        .await
        .unwrap();
    site.ledger.count_rejected(vec![count(4)]).await.unwrap();
    assert_eq!(
        site.raw("SELECT reason, shares FROM rejected"),
        "stale-share|9"
    );
}

async fn pruned_rows_are_gone_and_the_sums_stay(site: Site) {
    let alice = origin("alice", "");
    let shares: Vec<_> = (1..=9).map(|seq| share(seq, &alice)).collect();
    ship(&site, shipment(shares.clone())).await.unwrap();
    let other = Shipment {
        epoch: [8; 16],
        ..shipment(vec![share(1, &alice)])
    };
    ship(&site, other).await.unwrap();
    let before = shares[5].accepted_at_ms;
    assert_eq!(site.ledger.prune_before(before).await.unwrap(), 5 + 1);
    assert_eq!(site.ledger.prune_before(before).await.unwrap(), 0);
    let reader = site.reader();
    let kept = reader.shares(EPOCH, 0, usize::MAX).await.unwrap();
    assert_eq!(kept, shares[5..]);
    assert_eq!(reader.account_sums(1).await.unwrap()[0].shares, 10);
    let sums = reader.minute_sums(i64::MIN, i64::MAX).await.unwrap();
    assert_eq!(sums[..1], sums_of(&shares));
    // What is shipped again after that is not there again.
    ship(&site, shipment(shares.clone())).await.unwrap();
    ship(&site, shipment(vec![share(10, &alice)]))
        .await
        .unwrap();
    assert_eq!(reader.share_count().await.unwrap(), 5);
    assert_eq!(site.ledger.prune_before(i64::MAX).await.unwrap(), 5);
    assert_eq!(reader.share_count().await.unwrap(), 0);
    assert_eq!(site.ledger.last_seq(EPOCH).await.unwrap(), Some(10));
}

/// For the record, not asserted.
async fn speed_of_shipping(site: Site) {
    const SHIPMENTS: u64 = 5;
    let origins: Vec<_> = (0..100)
        .map(|n| origin("alice", &format!("rig{n}")))
        .collect();
    for size in [400, 1_000, 10_000] {
        let from = site.ledger.last_seq(EPOCH).await.unwrap().unwrap_or(0) + 1;
        let started = Instant::now();
        for n in 0..SHIPMENTS {
            let seqs = from + n * size..from + (n + 1) * size;
            let shares = seqs.zip(origins.iter().cycle()).map(|(seq, origin)| {
                let mut share = share(seq, origin);
                (share.work, share.score) = (1 << 32, 1 << 60);
                share
            });
            ship(&site, shipment(shares.collect())).await.unwrap();
        }
        let per_share = started.elapsed() / u32::try_from(SHIPMENTS * size).unwrap();
        let engine = site.location();
        say(&format!(
            "{engine}: {size} shares a shipment: {per_share:?} a share"
        ));
    }
}
