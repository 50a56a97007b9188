//! Where the tests of rows have their databases, on both engines; and the tests of the database itself.

use super::*;
use crate::audit::{self, Asked};
use cluster::{Cluster, Database};
use hh_trust::audit::{Actor, AuditVerifier, Detail};
use hh_trust::command::{CommandId, Digest};
use rusqlite::Connection as Sqlite;
use std::io::Write;
use tempfile::TempDir;

#[path = "../../../lib/ledger/tests/it/cluster.rs"]
#[expect(dead_code, reason = "the ledger's tests need more of it")]
mod cluster;

/// Makes a test for each engine of functions that take a [`Base`].
macro_rules! on_both_engines {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $test() {
                super::$test($crate::store::tests::Base::sqlite()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test]
            async fn $test() {
                if let Some(base) = $crate::store::tests::Base::postgres().await {
                    super::$test(base).await;
                }
            })*
        }
    };
}
pub(crate) use on_both_engines;

/// A database of its own.
pub(crate) struct Base {
    pub(crate) store: Store,
    place: Place,
}

enum Place {
    Directory(#[expect(dead_code, reason = "it is removed with this")] TempDir),
    Database(Database),
}

impl Base {
    pub(crate) fn sqlite() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self {
            store: Store::open(&dir.path().join("core.db")).unwrap(),
            place: Place::Directory(dir),
        }
    }

    /// None where there is no PostgreSQL. The schema is there: at its start core makes a call before anybody reads.
    pub(crate) async fn postgres() -> Option<Self> {
        let database = Cluster::shared()?.database();
        let store = Store::on(database.server()).unwrap();
        let made: Result<(), StoreError> = store.call(|_transaction| Ok(())).await;
        made.unwrap();
        Some(Self {
            store,
            place: Place::Database(database),
        })
    }

    /// The database as another replica has it; SQLite has none.
    pub(crate) fn other_replica(&self) -> Store {
        match &self.place {
            Place::Directory(_) => self.store.clone(),
            Place::Database(database) => Store::on(database.server()).unwrap(),
        }
    }
}

/// Says something where the test runner does not hide it.
fn say(text: &str) {
    let mut out = std::io::stderr();
    out.write_all(format!("{text}\n").as_bytes()).unwrap();
}

on_both_engines!(
    a_call_that_fails_leaves_nothing_behind,
    lines_of_the_audit_log_are_never_changed_or_removed,
    writers_of_all_replicas_make_one_chain,
    what_is_notified_is_heard_once_it_is_committed,
);

const INSERT: &str = "INSERT INTO audit (seq, line) VALUES (1, 'x')";

async fn run(store: &Store, statement: &'static str) -> Result<u64, StoreError> {
    let run = move |transaction: &Transaction<'_>| transaction.execute(statement, &[]);
    store.call(run).await
}

async fn lines(store: &Store) -> u64 {
    let count = |transaction: &Transaction<'_>| {
        transaction
            .one("SELECT count(*) FROM audit", &[])?
            .get::<u64>(0)
    };
    store.read::<_, StoreError>(count).await.unwrap()
}

async fn a_call_that_fails_leaves_nothing_behind(base: Base) {
    let store = base.store;
    let failed: Result<(), StoreError> = store
        .call(|transaction| {
            transaction.execute(INSERT, &[])?;
            Err(StoreError::Stopped)
        })
        .await;
    failed.unwrap_err();
    assert_eq!(lines(&store).await, 0);
    // Nor does one that the database has refused in the middle.
    run(&store, "INSERT INTO nowhere VALUES (1)")
        .await
        .unwrap_err();
    assert_eq!(run(&store, INSERT).await.unwrap(), 1);
    assert_eq!(lines(&store).await, 1);
}

async fn lines_of_the_audit_log_are_never_changed_or_removed(base: Base) {
    run(&base.store, INSERT).await.unwrap();
    for statement in ["UPDATE audit SET line = 'y'", "DELETE FROM audit"] {
        let error = run(&base.store, statement).await.unwrap_err();
        let error = format!("{error:?}");
        assert!(error.contains("append-only"), "{error}");
    }
}

async fn writers_of_all_replicas_make_one_chain(base: Base) {
    let replicas = [base.store.clone(), base.other_replica()];
    let writers = (0..24_usize).map(|number| {
        let write = move |transaction: &Transaction<'_>| {
            let core = "core-1".parse().unwrap();
            let asked = Asked {
                op: CommandId::generate().unwrap(),
                actor: Actor::Unknown,
                via: "control",
                source: None,
                action: "token.create",
                target: format!("node:{number}"),
                request: Digest::of(b""),
                detail: Detail::default(),
            };
            audit::intent(transaction, (&core, jiff::Timestamp::now()), &asked)
        };
        let store = replicas[number % 2].clone();
        async move { store.call::<_, StoreError>(write).await }
    });
    for written in futures::future::join_all(writers).await {
        written.unwrap();
    }
    let page = |transaction: &Transaction<'_>| audit::page(transaction, 0, 0);
    let (lines, last) = base.store.read::<_, StoreError>(page).await.unwrap();
    assert_eq!((lines.len(), last), (24, 24));
    let mut verifier = AuditVerifier::new([]);
    lines.iter().for_each(|line| verifier.line(line));
    assert_eq!(verifier.finish().faults.len(), 0);
}

async fn what_is_notified_is_heard_once_it_is_committed(base: Base) {
    let other = base.other_replica();
    let mut heard = other.notices();
    // The schema is there before anybody listens.
    touch(&base.store).await;
    let listening = other.clone().listen();
    let speaking = async {
        if base.store.is_shared() {
            assert_eq!(heard.recv().await.unwrap(), Notice::Any);
        }
        let notify = |is_done: bool, node: &'static str| {
            move |transaction: &Transaction<'_>| {
                transaction.notify(Notice::Node(node.parse().unwrap()));
                match is_done {
                    true => Ok(()),
                    false => Err(StoreError::Stopped),
                }
            }
        };
        base.store.call(notify(false, "paris")).await.unwrap_err();
        base.store.call(notify(true, "berlin")).await.unwrap();
        let berlin = Notice::Node("berlin".parse().unwrap());
        assert_eq!(heard.recv().await.unwrap(), berlin);
    };
    tokio::select! {
        () = listening => panic!("it never ends"),
        () = speaking => {}
    }
}

async fn touch(store: &Store) {
    run(store, "UPDATE audit_chain SET chain = ''")
        .await
        .unwrap();
}

#[test]
fn a_database_of_a_newer_version_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("core.db");
    let connection = Sqlite::open(&path).unwrap();
    connection.pragma_update(None, "user_version", 99).unwrap();
    drop(connection);
    let error = Store::open(&path).unwrap_err().to_string();
    assert!(error.contains("schema 99"), "{error}");
}

#[tokio::test]
async fn a_schema_of_a_newer_version_is_refused() {
    let Some(base) = Base::postgres().await else {
        return;
    };
    run(&base.store, "UPDATE schema_version SET version = 99")
        .await
        .unwrap();
    let error = run(&base.other_replica(), INSERT).await.unwrap_err();
    assert!(error.to_string().contains("schema 99"), "{error}");
}

#[tokio::test]
async fn a_server_that_was_killed_is_used_again_when_it_is_back() {
    let Some(mut cluster) = Cluster::start("") else {
        return;
    };
    let database = cluster.database();
    let store = Store::on(database.server()).unwrap();
    run(&store, INSERT).await.unwrap();
    cluster.kill();
    // The first to call may still have its connection, and hear that it broke.
    let mut error = run(&store, INSERT).await.unwrap_err();
    while matches!(error, StoreError::Postgres(_)) {
        error = run(&store, INSERT).await.unwrap_err();
    }
    assert!(matches!(error, StoreError::Connect(_)), "{error:?}");
    cluster.resume();
    // Whoever calls at once may still hear of the last attempt.
    while let Err(error) = run(&store, "UPDATE audit_chain SET chain = ''").await {
        assert!(matches!(error, StoreError::Away), "{error:?}");
        tokio::task::yield_now().await;
    }
    assert_eq!(lines(&store).await, 1);
}
