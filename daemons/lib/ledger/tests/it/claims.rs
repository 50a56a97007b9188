//! Which log holds which server id.

use hh_ledger::{Claim, Holder};

use crate::{EPOCH, NOW_MS, Site};

on_both_engines!(
    a_server_id_is_one_logs_until_it_is_retired,
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

    assert!(
        !ours.retire_server_id(3, [8; 16]).await.unwrap(),
        "it is not that log's"
    );
    assert!(
        !ours.retire_server_id(4, EPOCH).await.unwrap(),
        "nobody has it"
    );
    assert!(
        others.retire_server_id(3, EPOCH).await.unwrap(),
        "any pool may be asked"
    );
    assert_eq!(claim(3, [8; 16], NOW_MS + 3).await, Claim::Ours);
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
