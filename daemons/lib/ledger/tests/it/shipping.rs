use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bitcoin::hashes::{Hash, sha256};
use hh_ledger::{LedgerError, MinuteSum, RejectedCount, ShareRow, Shipment};
use proptest::prelude::*;

use crate::{EPOCH, NOW_MS, Site, binding, origin, share, shipment};

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

#[track_caller]
fn check_holds(site: &Site, shares: &[ShareRow]) {
    let reader = site.reader();
    assert_eq!(reader.shares(&EPOCH, 0, usize::MAX).unwrap(), shares);
    assert_eq!(reader.share_count().unwrap(), shares.len() as u64);
    let mut sums = reader.minute_sums(i64::MIN, i64::MAX).unwrap();
    sums.sort_by(|a, b| (a.minute, a.origin.names()).cmp(&(b.minute, b.origin.names())));
    assert_eq!(sums, sums_of(shares));
    let accounts = reader.account_sums(usize::MAX).unwrap();
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

#[tokio::test]
async fn shares_are_read_back_as_they_were_shipped() {
    let site = Site::new();
    let (alice, bob) = (origin("alice", "rig1"), origin("bob", ""));
    let shares = vec![share(1, &alice), share(2, &bob), share(3, &alice)];
    ship(&site, shipment(shares.clone())).await.unwrap();
    check_holds(&site, &shares);
    let reader = site.reader();
    assert_eq!(
        reader.shares_by_hash(&shares[1].hash).unwrap(),
        shares[1..2]
    );
    assert_eq!(reader.shares(&EPOCH, 2, 1).unwrap(), shares[1..2]);
    assert_eq!(reader.shares(&[8; 16], 0, 10).unwrap(), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    /// Whatever the cuts between shipments, however often one is shipped again: once each, and the sums are the rows'.
    #[test]
    fn every_share_is_in_once_however_it_is_shipped(
        shares in prop::collection::vec((0..4_u8, 0..90_000_i64, any::<u64>()), 1..60),
        cuts in prop::collection::vec((1..60_usize, 0..20_usize), 1..20),
    ) {
        let mut accepted_at_ms = NOW_MS;
        let shares: Vec<ShareRow> = (1..).zip(&shares).map(|(seq, (who, later_ms, work))| {
            accepted_at_ms += later_ms;
            let origin = origin(["alice", "bob"][usize::from(who % 2)], ["", "rig"][usize::from(who / 2)]);
            ShareRow { accepted_at_ms, work: u128::from(*work) << 40, ..share(seq, &origin) }
        }).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let site = Site::new();
            let mut shipped = 0;
            for (length, again) in cuts.into_iter().chain([(usize::MAX, 0)]) {
                let first = shipped - shipped.min(again);
                let end = shares.len().min(shipped.saturating_add(length));
                if first < end {
                    ship(&site, shipment(shares[first..end].to_vec())).await.unwrap();
                }
                shipped = end;
                check_holds(&site, &shares[..shipped]);
                let last_seq = site.ledger.last_seq(EPOCH).await.unwrap();
                assert_eq!(last_seq, Some(shipped as u64));
            }
        });
    }
}

#[tokio::test]
async fn a_gap_is_refused_unless_it_is_given_up() {
    let site = Site::new();
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
    check_holds(&site, &[share(1, &alice), share(3, &alice)]);
    let raw = rusqlite::Connection::open(site.path()).unwrap();
    let gaps: (u64, u64) = raw
        .query_row("SELECT first_seq, last_seq FROM gaps", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(gaps, (2, 2));
}

#[tokio::test]
async fn a_shipment_that_fails_leaves_nothing_behind() {
    let site = Site::new();
    let alice = origin("alice", "");
    let max = ShareRow {
        work: u128::MAX,
        ..share(1, &alice)
    };
    ship(&site, shipment(vec![max.clone()])).await.unwrap();
    let shares = vec![share(2, &origin("bob", "")), share(3, &alice)];
    let error = ship(&site, shipment(shares)).await.unwrap_err();
    assert!(matches!(error, LedgerError::OutOfRange { .. }), "{error}");
    check_holds(&site, &[max]);
    assert_eq!(site.reader().accounts().unwrap().len(), 1);
}

#[tokio::test]
async fn bindings_watermarks_and_first_uses_come_with_the_shares() {
    let site = Site::new();
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
    let logs = reader.logs().unwrap();
    assert_eq!((logs.len(), logs[0].last_seq), (1, 5));
    assert_eq!(
        (&*logs[0].pool, logs[0].watermark_ms),
        ("pool-1", Some(NOW_MS + 20))
    );
    assert_eq!(
        reader.binding(&EPOCH, &10_u64.to_be_bytes()).unwrap(),
        Some((*bob).clone())
    );
    assert_eq!(reader.binding(&EPOCH, &11_u64.to_be_bytes()).unwrap(), None);
    assert_eq!(
        reader.binding(&[8; 16], &10_u64.to_be_bytes()).unwrap(),
        None
    );
    let accounts = reader.accounts().unwrap();
    assert_eq!(
        accounts.iter().map(|a| &*a.account).collect::<Vec<_>>(),
        ["alice", "bob"]
    );
    let workers = reader.workers().unwrap();
    assert_eq!(workers.len(), 1, "an empty name is no worker");
    assert_eq!(workers[0].worker.as_deref(), Some("rig1"));
    assert_eq!(workers[0].first_used_at_ms, NOW_MS);
}

#[tokio::test]
async fn two_logs_of_one_pool_have_chains_of_their_own() {
    let site = Site::new();
    let alice = origin("alice", "");
    ship(&site, shipment(vec![share(1, &alice)])).await.unwrap();
    let other = Shipment {
        epoch: [8; 16],
        ..shipment(vec![share(1, &alice)])
    };
    ship(&site, other).await.unwrap();
    let sums = site.reader().minute_sums(i64::MIN, i64::MAX).unwrap();
    assert_eq!(sums.len(), 2);
    assert_ne!(sums[0].chain, sums[1].chain);
    assert_eq!(site.reader().account_sums(1).unwrap()[0].shares, 2);
}

#[tokio::test]
async fn rejected_shares_are_counted_by_reason() {
    let site = Site::new();
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
    let raw = rusqlite::Connection::open(site.path()).unwrap();
    let counted: (String, u64) = raw
        .query_row("SELECT reason, shares FROM rejected", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .unwrap();
    assert_eq!(counted, ("stale-share".to_owned(), 9));
}

/// For the record, not asserted: run with `--nocapture`.
#[tokio::test]
async fn speed_of_shipping() {
    const SHIPMENTS: u64 = 5;
    let site = Site::new();
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
        println!("{size} shares a shipment: {per_share:?} a share");
    }
}
