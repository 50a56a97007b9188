use super::*;
use crate::node::{self, Joining};
use crate::store::tests::{Base, on_both_engines};
use hh_ipc::agent::{AuditSeen, LaneReport, ServiceReport};
use hh_trust::NodeSecretKey;

on_both_engines!(
    a_session_whose_lease_was_taken_writes_nothing_more,
    a_node_that_may_not_be_here_has_no_lease,
    what_nodes_say_is_known_at_other_replicas,
);

fn berlin() -> NodeId {
    "berlin".parse().unwrap()
}

fn live(seen_at_ms: i64) -> Live {
    Live {
        peer: "192.0.2.1:1000".parse().unwrap(),
        connected_at_ms: 1,
        seen_at_ms,
        clock_ahead_ms: Some(-7),
        services: vec![ServiceReport {
            name: "hh-pool".to_owned(),
            ..ServiceReport::default()
        }],
        lanes: vec![LaneReport {
            name: "asics".to_owned(),
            hashrate_10m_hs: 42.5,
            ..LaneReport::default()
        }],
        measured: None,
        audit: Some(AuditSeen {
            size: 7,
            root: vec![1; 32],
            fault: String::new(),
        }),
    }
}

async fn call<T: Send + 'static>(
    store: &Store,
    action: impl FnOnce(&Transaction<'_>) -> Result<T, LeaseError> + Send + 'static,
) -> Result<T, LeaseError> {
    store.call(action).await
}

async fn join(store: &Store) {
    let joining = Joining {
        id: berlin(),
        epoch: 5,
        public_key: NodeSecretKey::generate().unwrap().public_key(),
        is_public: false,
        agent_version: String::new(),
        at_ms: 0,
    };
    call(store, move |transaction| {
        Ok(node::join(transaction, &joining)?)
    })
    .await
    .unwrap();
}

async fn begin(store: &Store) -> Lease {
    let instance = store.instance();
    let take = move |transaction: &Transaction<'_>| {
        let here = (&"core-1".parse().unwrap(), instance);
        Ok(take(transaction, here, &berlin(), &live(10))?)
    };
    call(store, take).await.unwrap()
}

async fn is_held(store: &Store, lease: &Lease) -> bool {
    let lease = lease.clone();
    let held = call(store, move |transaction| check(transaction, &lease)).await;
    match held {
        Ok(()) => true,
        Err(LeaseError::Lost) => false,
        Err(LeaseError::Store(error)) => panic!("{error}"),
    }
}

async fn a_session_whose_lease_was_taken_writes_nothing_more(base: Base) {
    let (here, there) = (base.store.clone(), base.other_replica());
    join(&here).await;
    let first = begin(&here).await;
    assert!(is_held(&here, &first).await);
    let second = begin(&there).await;
    assert!(!is_held(&here, &first).await);
    // Neither what it says late nor that it ends is of any consequence.
    let sessions = vec![(first.clone(), live(20)), (second.clone(), live(30))];
    let lost = call(&here, move |transaction| Ok(renew(transaction, &sessions)?));
    assert_eq!(lost.await.unwrap(), std::slice::from_ref(&first));
    let ended = first.clone();
    let released = call(&here, move |transaction| {
        Ok(release(transaction, &[ended])?)
    });
    released.await.unwrap();
    assert!(is_held(&there, &second).await);
}

async fn a_node_that_may_not_be_here_has_no_lease(base: Base) {
    let store = base.store;
    join(&store).await;
    let lease = begin(&store).await;
    call(&store, |transaction| Ok(end(transaction, &berlin())?))
        .await
        .unwrap();
    assert!(!is_held(&store, &lease).await);
    let next = begin(&store).await;
    assert!(next.fence > lease.fence);
    assert!(is_held(&store, &next).await);
}

async fn what_nodes_say_is_known_at_other_replicas(base: Base) {
    let store = base.store;
    join(&store).await;
    let lease = begin(&store).await;
    let (instance, renewed) = (store.instance(), lease.clone());
    let seen = call(&store, move |transaction| {
        renew(transaction, &[(renewed, live(20))])?;
        assert_eq!(elsewhere(transaction, instance)?.len(), 0);
        Ok(elsewhere(transaction, instance ^ 1)?)
    });
    let seen = seen.await.unwrap();
    let known = &seen[&berlin()];
    assert_eq!((known.seen_at_ms, known.clock_ahead_ms), (20, Some(-7)));
    assert_eq!(known.services[0].name, "hh-pool");
    assert_eq!(known.lanes, live(20).lanes);
    let left = call(&store, move |transaction| {
        release(transaction, &[lease])?;
        Ok(elsewhere(transaction, instance ^ 1)?.len())
    });
    assert_eq!(left.await.unwrap(), 0);
}
