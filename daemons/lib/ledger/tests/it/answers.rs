//! What a pool has when PostgreSQL commits and the answer never comes: it ships again, and every record is in once.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use hh_ledger::{Ledger, LedgerError, Location, PostgresServer, ServerOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

use crate::cluster::Cluster;
use crate::{EPOCH, NOW_MS, binding, origin, share, shipment};

/// What commits a transaction, as it is on the wire: a simple query.
const COMMIT: &[u8] = b"COMMIT\0";

/// A socket before the server's that loses the answer to the next commit, with the connection, while `loses` is set.
struct Proxy {
    dir: tempfile::TempDir,
    loses: Arc<AtomicBool>,
    _task: tokio::task::JoinSet<()>,
}

impl Proxy {
    fn start(cluster: &Cluster) -> Self {
        let socket = |dir: &Path| dir.join(format!(".s.PGSQL.{}", cluster.port()));
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(socket(dir.path())).unwrap();
        let (server, loses) = (socket(cluster.path()), Arc::new(AtomicBool::new(false)));
        let mut task = tokio::task::JoinSet::new();
        let lose = Arc::clone(&loses);
        task.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = UnixStream::connect(&server).await.unwrap();
                relay(client, server, &lose).await;
            }
        });
        Self {
            dir,
            loses,
            _task: task,
        }
    }
}

/// Carries bytes both ways, one connection at a time.
async fn relay(mut client: UnixStream, mut server: UnixStream, loses: &AtomicBool) {
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let mut committing = false;
    loop {
        tokio::select! {
            read = client.read(&mut asked) => match read {
                Ok(length @ 1..) => {
                    let bytes = &asked[..length];
                    committing = bytes.windows(COMMIT.len()).any(|part| part == COMMIT);
                    server.write_all(bytes).await.unwrap();
                }
                Ok(0) | Err(_) => return,
            },
            read = server.read(&mut answered) => match read {
                Ok(length @ 1..) => {
                    if committing && loses.swap(false, Ordering::Relaxed) {
                        return;
                    }
                    client.write_all(&answered[..length]).await.unwrap();
                }
                Ok(0) | Err(_) => return,
            },
        }
    }
}

#[tokio::test]
async fn a_commit_whose_answer_is_lost_is_shipped_again_and_is_in_once() {
    let Some(cluster) = Cluster::shared() else {
        return;
    };
    let database = cluster.database();
    let proxy = Proxy::start(cluster);
    let options = ServerOptions {
        host: proxy.dir.path().to_str().unwrap().to_owned(),
        ..database.options("postgres")
    };
    let server = PostgresServer::new(&options, None).unwrap();
    let ledger = Ledger::open(&Location::Postgres(server), "pool-1").unwrap();
    assert_eq!(ledger.last_seq(EPOCH).await.unwrap(), None);
    let alice = origin("alice", "rig1");
    for round in 0..5 {
        let first = round * 3 + 1;
        let shares = vec![share(first + 1, &alice), share(first + 2, &alice)];
        let mut shipment = shipment(shares);
        shipment.first_seq = first;
        shipment.bindings = vec![binding(first, round, &alice)];
        shipment.watermark_ms = Some(NOW_MS);
        let shipment = Arc::new(shipment);
        proxy.loses.store(true, Ordering::Relaxed);
        let lost = ledger.ship(Arc::clone(&shipment)).await.unwrap_err();
        assert!(matches!(lost, LedgerError::Postgres { .. }), "{lost}");
        assert!(!proxy.loses.load(Ordering::Relaxed), "it was committed");
        assert_eq!(ledger.last_seq(EPOCH).await.unwrap(), Some(first + 2));
        ledger.ship(shipment).await.unwrap();
    }
    let counted = "SELECT (SELECT count(*) FROM shares), (SELECT sum(shares) FROM totals), (SELECT sum(shares) FROM minute_sums),
        (SELECT count(*) FROM bindings)";
    assert_eq!(database.psql(counted), "10|10|10|5");

    // So is a claim.
    proxy.loses.store(true, Ordering::Relaxed);
    ledger.claim_server_id(1, EPOCH, NOW_MS).await.unwrap_err();
    let again = ledger.claim_server_id(1, EPOCH, NOW_MS + 1).await.unwrap();
    assert_eq!(again, hh_ledger::Claim::Ours);
}
