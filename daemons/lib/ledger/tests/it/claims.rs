//! Which log holds which server id.

use std::sync::Arc;

use hh_ledger::{Claim, Holder, Ledger, LedgerError, Refusal, RetireWhere, Retirement, Shipment};

use crate::{EPOCH, NOW_MS, Site, origin, share, shipment};

on_both_engines!(
    a_server_id_is_one_logs_until_it_is_retired,
    an_id_is_freed_where_its_pool_is_gone_and_nothing_is_lost_unless_that_is_accepted,
    a_log_that_stopped_cleanly_is_closed_until_it_ships_again,
    a_retired_log_ships_and_claims_nothing_and_its_id_goes_to_a_new_log,
    a_shipment_and_a_retirement_at_once_have_an_order,
    of_pools_that_claim_at_once_one_gets_it,
);

async fn a_server_id_is_one_logs_until_it_is_retired(site: Site) {
    let (ours, others) = (&site.ledger, site.ledger_of("pool-2"));
    let claim = async |id, epoch, at_ms| ours.claim_server_id(id, epoch, at_ms).await.unwrap();
    assert_eq!(claim(3, EPOCH, NOW_MS).await, Claim::Ours);
    assert_eq!(claim(3, EPOCH, NOW_MS + 1).await, Claim::Ours);
    assert_eq!(claim(u16::MAX, EPOCH, NOW_MS + 1).await, Claim::Ours);
    let holder = Holder {
        pool: "pool-1".to_owned(),
        epoch: EPOCH,
        since_ms: NOW_MS,
    };
    let taken = Claim::Taken(holder.clone());
    assert_eq!(
        claim(3, [8; 16], NOW_MS + 2).await,
        taken,
        "another log of the same pool"
    );
    let refused = others.claim_server_id(3, EPOCH, NOW_MS + 2).await.unwrap();
    assert_eq!(refused, taken, "another pool with a copy of the log");
    let held = site.reader().server_ids().await.unwrap();
    assert_eq!(held.len(), 2);
    assert_eq!(held[0], (3, holder));

    // What a pool says that has put another log in this one's place.
    let retire = async |id, epoch| {
        others
            .retire_server_id(id, epoch, RetireWhere::Replaced)
            .await
    };
    let not_theirs = retire(3, [8; 16]).await.unwrap();
    assert_eq!(not_theirs, Retirement::NotHeld, "it is not that log's");
    let nobodys = retire(4, EPOCH).await.unwrap();
    assert_eq!(nobodys, Retirement::NotHeld, "nobody has it");
    let retired = retire(3, EPOCH).await.unwrap();
    assert!(matches!(retired, Retirement::Retired(_)), "{retired:?}");
    assert_eq!(claim(3, [8; 16], NOW_MS + 3).await, Claim::Ours);
}

/// As if the pool of the log had been silent for so long.
fn silence(site: &Site, milliseconds: i64) {
    for update in [
        format!("UPDATE logs SET heard_at_ms = heard_at_ms - {milliseconds} RETURNING 1"),
        "UPDATE server_ids SET since_ms = 1 RETURNING 1".to_owned(),
    ] {
        site.raw(&update);
    }
}

async fn ship(ledger: &Ledger, seq: u64) -> Result<(), LedgerError> {
    let shares = vec![share(seq, &origin("alice", "rig1"))];
    let shipment = Shipment {
        watermark_ms: Some(NOW_MS + 500),
        ..shipment(shares)
    };
    ledger.ship(Arc::new(shipment)).await
}

async fn an_id_is_freed_where_its_pool_is_gone_and_nothing_is_lost_unless_that_is_accepted(
    site: Site,
) {
    let (theirs, ours) = (&site.ledger, site.ledger_of("pool-2"));
    theirs.claim_server_id(1, EPOCH, NOW_MS).await.unwrap();
    ship(theirs, 1).await.unwrap();
    let retire = async |how| ours.retire_server_id(1, EPOCH, how).await.unwrap();
    let refusal = async |how| match retire(how).await {
        Retirement::Refused(standing, refusal) => (standing, refusal),
        other => panic!("{other:?}"),
    };
    for how in [RetireWhere::Complete, RetireWhere::Silent] {
        let (standing, why) = refusal(how).await;
        assert_eq!(why, Refusal::Running, "it has shipped a moment ago");
        assert!((0..30_000).contains(&standing.silent_ms), "{standing:?}");
    }
    silence(&site, 61_000);
    let (standing, why) = refusal(RetireWhere::Complete).await;
    assert_eq!(why, Refusal::Incomplete, "it has not stopped cleanly");
    assert_eq!(
        (standing.last_seq, standing.watermark_ms, standing.is_closed),
        (1, Some(NOW_MS + 500), false)
    );
    assert!(
        (61_000..91_000).contains(&standing.silent_ms),
        "{standing:?}"
    );
    let seen = site.reader().standing(1).await.unwrap().unwrap();
    assert_eq!(seen.holder, standing.holder);
    assert_eq!(site.reader().standing(2).await.unwrap(), None);

    let retired = retire(RetireWhere::Silent).await;
    assert!(matches!(retired, Retirement::Retired(_)), "{retired:?}");
    assert_eq!(retire(RetireWhere::Silent).await, Retirement::NotHeld);
    assert_eq!(site.reader().server_ids().await.unwrap(), []);
}

async fn a_log_that_stopped_cleanly_is_closed_until_it_ships_again(site: Site) {
    let ledger = &site.ledger;
    ledger.claim_server_id(1, EPOCH, NOW_MS).await.unwrap();
    ship(ledger, 1).await.unwrap();
    let is_closed = async || site.reader().standing(1).await.unwrap().unwrap().is_closed;
    assert!(
        !ledger.close_log(EPOCH, 2).await.unwrap(),
        "the ledger does not have its last record"
    );
    assert!(!is_closed().await);
    assert!(ledger.close_log(EPOCH, 1).await.unwrap());
    assert!(is_closed().await);
    ship(ledger, 2).await.unwrap();
    assert!(!is_closed().await, "its pool runs again");
    assert!(ledger.close_log(EPOCH, 2).await.unwrap());
    silence(&site, 61_000);
    let retired = ledger.retire_server_id(1, EPOCH, RetireWhere::Complete);
    let retired = retired.await.unwrap();
    assert!(matches!(retired, Retirement::Retired(_)), "{retired:?}");
}

async fn a_retired_log_ships_and_claims_nothing_and_its_id_goes_to_a_new_log(site: Site) {
    let ledger = &site.ledger;
    ledger.claim_server_id(1, EPOCH, NOW_MS).await.unwrap();
    ship(ledger, 1).await.unwrap();
    let retire = async |epoch| {
        ledger
            .retire_server_id(1, epoch, RetireWhere::Replaced)
            .await
    };
    retire(EPOCH).await.unwrap();
    let retired = |claim: &Claim| matches!(claim, Claim::Retired { at_ms } if *at_ms > NOW_MS);
    let claim = async |epoch| ledger.claim_server_id(1, epoch, NOW_MS).await.unwrap();
    let back = claim(EPOCH).await;
    assert!(retired(&back), "{back:?}");
    assert_eq!(site.reader().server_ids().await.unwrap(), []);
    assert_eq!(claim([8; 16]).await, Claim::Ours);
    let back = claim(EPOCH).await;
    assert!(retired(&back), "while another has it: {back:?}");
    let refused = [
        ship(ledger, 2).await,
        ledger.skip_to(EPOCH, 9, NOW_MS).await,
        ledger.close_log(EPOCH, 1).await.map(drop),
    ];
    for refused in refused {
        let error = refused.unwrap_err();
        assert!(matches!(error, LedgerError::Retired), "{error}");
    }
    assert_eq!(site.reader().share_count().await.unwrap(), 1, "those stay");

    // One that claimed and never shipped is closed for good as well.
    retire([8; 16]).await.unwrap();
    let back = claim([8; 16]).await;
    assert!(retired(&back), "{back:?}");
}

/// Whoever comes first: the log's last shipment is in the ledger, or it is refused.
async fn a_shipment_and_a_retirement_at_once_have_an_order(site: Site) {
    let other = site.ledger_of("pool-2");
    for round in 1..=20 {
        let epoch = [round; 16];
        site.ledger.claim_server_id(1, epoch, NOW_MS).await.unwrap();
        let shares = vec![share(1, &origin("alice", "rig1"))];
        let shipment = Arc::new(Shipment {
            epoch,
            ..shipment(shares)
        });
        let (shipped, retired) = futures::join!(
            site.ledger.ship(shipment),
            other.retire_server_id(1, epoch, RetireWhere::Replaced)
        );
        let Retirement::Retired(standing) = retired.unwrap() else {
            panic!("it held its id");
        };
        match shipped {
            Ok(()) => assert_eq!(standing.last_seq, 1),
            Err(LedgerError::Retired) => assert_eq!(standing.last_seq, 0),
            Err(error) => panic!("{error}"),
        }
    }
}

async fn of_pools_that_claim_at_once_one_gets_it(site: Site) {
    // SQLite's file is made by one: it is one pool's.
    site.ledger.last_seq(EPOCH).await.unwrap();
    let pools: Vec<_> = (0..8)
        .map(|n| site.ledger_of(&format!("pool-{n}")))
        .collect();
    let claims = pools
        .iter()
        .map(|pool| pool.claim_server_id(0, EPOCH, NOW_MS));
    let claims = futures::future::join_all(claims).await;
    let ours = |claim: &&Result<Claim, _>| *claim.as_ref().unwrap() == Claim::Ours;
    assert_eq!(claims.iter().filter(ours).count(), 1);
}
