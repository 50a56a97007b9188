//! What only PostgreSQL has: a server that goes away, roles, TLS.

use std::sync::Arc;

use hh_ledger::{Ledger, LedgerError, LedgerReader, Location, PostgresServer, ServerOptions};

use crate::cluster::{Cluster, Database};
use crate::{EPOCH, Site, origin, say, share, shipment};

/// What an operator is told to run.
const RUNBOOK: &str = include_str!("../../../../../docs/runbooks/ledger-on-postgresql.md");

fn open(server: PostgresServer) -> Ledger {
    Ledger::open(&Location::Postgres(server), "pool-1").unwrap()
}

fn reader(server: PostgresServer) -> LedgerReader {
    LedgerReader::new(&Location::Postgres(server))
}

async fn ship(ledger: &Ledger, seq: u64) -> Result<(), LedgerError> {
    ledger
        .ship(Arc::new(shipment(vec![share(
            seq,
            &origin("alice", "rig1"),
        )])))
        .await
}

#[tokio::test]
async fn a_server_that_was_killed_is_used_again_when_it_is_back() {
    let Some(mut cluster) = Cluster::start("") else {
        return;
    };
    let database = cluster.database();
    let ledger = open(database.server());
    ship(&ledger, 1).await.unwrap();
    assert_eq!(ledger.blocks(1).await.unwrap(), []);
    cluster.kill();
    for _ in 0..2 {
        let error = ship(&ledger, 2).await.unwrap_err();
        assert!(matches!(error, LedgerError::Postgres { .. }), "{error}");
        assert!(ledger.blocks(1).await.is_err());
    }
    cluster.resume();
    ship(&ledger, 2).await.unwrap();
    assert_eq!(ledger.blocks(1).await.unwrap(), []);
    cluster.kill();
    cluster.resume();
    // Nobody has noticed that it was away.
    ship(&ledger, 3).await.unwrap();
    assert_eq!(ledger.reader().share_count().await.unwrap(), 3);
}

#[tokio::test]
async fn a_connection_cut_off_in_a_transaction_leaves_nothing_half_done() {
    let Some(site) = Site::postgres() else { return };
    ship(&site.ledger, 1).await.unwrap();
    let crate::Place::Database(database) = &site.place else {
        unreachable!()
    };
    // The shipment waits for this lock when it has shipped half.
    let blocker = std::thread::scope(|scope| {
        let locked = scope.spawn(|| {
            database.psql(
                "BEGIN; LOCK TABLE minute_sums; DO $$ BEGIN
                    WHILE NOT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'minute_sums'::regclass) LOOP
                        PERFORM pg_sleep(0.01);
                    END LOOP;
                    PERFORM pg_terminate_backend(pid) FROM pg_locks WHERE NOT granted AND relation = 'minute_sums'::regclass;
                END $$; COMMIT; SELECT 'cut'",
            )
        });
        let ledger = site.ledger.clone();
        let waiting = scope.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            let mut seq = 2;
            runtime.block_on(async {
                while ship(&ledger, seq).await.is_ok() {
                    seq += 1;
                }
            });
            seq
        });
        assert_eq!(locked.join().unwrap(), "cut");
        waiting.join().unwrap()
    });
    assert_eq!(
        site.ledger.last_seq(EPOCH).await.unwrap(),
        Some(blocker - 1)
    );
    let alice = site.reader().account_sums(1).await.unwrap().remove(0);
    assert_eq!(alice.shares, blocker - 1);
    ship(&site.ledger, blocker).await.unwrap();
    assert_eq!(site.reader().share_count().await.unwrap(), blocker);
}

#[tokio::test]
async fn pools_that_start_at_once_migrate_once() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let database = cluster.database();
    let pools: Vec<_> = (0..8).map(|_| open(database.server())).collect();
    let calls = pools.iter().map(|pool| pool.last_seq(EPOCH));
    for answer in futures::future::join_all(calls).await {
        assert_eq!(answer.unwrap(), None);
    }
    assert_eq!(
        database.psql("SELECT version FROM pool.schema_version"),
        "3"
    );
}

#[tokio::test]
async fn a_newer_schema_and_another_encoding_are_refused() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let database = cluster.database();
    ship(&open(database.server()), 1).await.unwrap();
    database.psql("UPDATE pool.schema_version SET version = 99");
    let newer = |error| {
        matches!(
            error,
            LedgerError::NewerSchema {
                found: 99,
                known: 3,
                ..
            }
        )
    };
    assert!(newer(ship(&open(database.server()), 2).await.unwrap_err()));
    assert!(newer(reader(database.server()).logs().await.unwrap_err()));

    let latin = cluster.database_with("ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0");
    let error = ship(&open(latin.server()), 1).await.unwrap_err();
    assert!(
        matches!(&error, LedgerError::Encoding { found, .. } if found == "LATIN1"),
        "{error}"
    );
}

#[tokio::test]
async fn a_commit_is_durable_whatever_the_database_says() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let database = cluster.database();
    database.psql("DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET synchronous_commit = off', current_database()); END $$");
    let ledger = open(database.server());
    ship(&ledger, 1).await.unwrap();
    database.psql(
        "CREATE FUNCTION pool.told() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            RAISE EXCEPTION 'synchronous_commit is %', current_setting('synchronous_commit');
        END $$;
        CREATE TRIGGER told BEFORE INSERT ON pool.origins EXECUTE FUNCTION pool.told()",
    );
    let bob = shipment(vec![share(2, &origin("bob", ""))]);
    let error = ledger.ship(Arc::new(bob)).await.unwrap_err();
    let LedgerError::Postgres { source, .. } = error else {
        panic!("{error}")
    };
    let said = source.as_db_error().unwrap().message();
    assert_eq!(said, "synchronous_commit is on");
}

/// The statements of the runbook, for this database.
fn run_the_runbook(database: &Database) {
    let name = database.psql("SELECT current_database()");
    let blocks = RUNBOOK
        .split("```sql\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap());
    for block in blocks.filter(|block| !block.contains("CREATE DATABASE")) {
        database.psql(&block.replace("DATABASE hyperhash ", &format!("DATABASE {name} ")));
    }
}

#[tokio::test]
async fn the_roles_of_the_runbook_may_do_what_they_need_and_no_more() {
    let Some(cluster) = Cluster::start("") else {
        return;
    };
    let database = cluster.database();
    run_the_runbook(&database);
    let ledger = open(database.server_as("hh-pool"));
    ship(&ledger, 1).await.unwrap();
    assert_eq!(ledger.blocks(1).await.unwrap(), []);
    database.psql("CREATE ROLE stranger LOGIN");

    let treasury = reader(database.server_as("hh-treasury"));
    assert_eq!(treasury.share_count().await.unwrap(), 1);
    let refused = async |role: &str| {
        let error = ship(&open(database.server_as(role)), 2).await.unwrap_err();
        let LedgerError::Postgres { source, .. } = error else {
            panic!("{role}: {error}")
        };
        let code = source.as_db_error().unwrap().code().code().to_owned();
        assert_eq!(code, "42501", "{role}: {source:?}");
    };
    refused("hh-treasury").await;
    refused("stranger").await;
    assert!(
        reader(database.server_as("stranger"))
            .share_count()
            .await
            .is_err()
    );
    assert_eq!(treasury.share_count().await.unwrap(), 1);
}

#[tokio::test]
async fn over_tls_the_server_must_be_who_its_certificate_says() {
    let certificates = tempfile::tempdir().unwrap();
    let file = |name: &str| certificates.path().join(name);
    let openssl = std::process::Command::new("openssl")
        .args([
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-nodes",
            "-days",
            "2",
        ])
        .args([
            "-subj",
            "/CN=localhost",
            "-addext",
            "subjectAltName=DNS:localhost",
            "-addext",
            "basicConstraints=critical,CA:FALSE",
        ])
        .arg("-keyout")
        .arg(file("key.pem"))
        .arg("-out")
        .arg(file("certificate.pem"))
        .output();
    if !openssl.is_ok_and(|output| output.status.success()) {
        say("skipped: there is no openssl here");
        return;
    }
    let Some(mut cluster) = Cluster::start("") else {
        return;
    };
    let database = cluster.database();
    ship(&open(database.server()), 1).await.unwrap();
    database.psql("ALTER ROLE postgres PASSWORD 'secret'");
    cluster.kill();
    cluster.speak_tls(&file("key.pem"), &file("certificate.pem"));
    cluster.resume();

    let options = |host: &str| ServerOptions {
        host: host.to_owned(),
        port: cluster.port(),
        root_certificates: Some(file("certificate.pem")),
        ..database.options("postgres")
    };
    let tls = |host: &str| PostgresServer::new(&options(host), Some("secret")).unwrap();
    let ledger = open(tls("localhost"));
    ship(&ledger, 2).await.unwrap();
    assert_eq!(ledger.reader().share_count().await.unwrap(), 2);
    // The same server by a name that its certificate doesn't have.
    let error = open(tls("127.0.0.1")).last_seq(EPOCH).await.unwrap_err();
    assert!(matches!(error, LedgerError::Postgres { .. }), "{error}");
    // It takes nothing else than TLS.
    let plain = ServerOptions {
        root_certificates: None,
        ..options("localhost")
    };
    let plain = open(PostgresServer::new(&plain, Some("secret")).unwrap());
    assert!(plain.last_seq(EPOCH).await.is_err());
}
