//! The ledger through its public interface: what both engines do, on both; then what only one has.
#![expect(clippy::unwrap_used, reason = "a test that can't go on panics")]

/// Makes a test for each engine of functions that take a [`Site`].
macro_rules! on_both_engines {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test]
            async fn $test() {
                super::$test(crate::Site::sqlite()).await;
            })*
        }
        mod postgres {
            $(#[tokio::test]
            async fn $test() {
                if let Some(site) = crate::Site::postgres() {
                    super::$test(site).await;
                }
            })*
        }
    };
}

mod answers;
mod blocks;
mod books;
mod claims;
mod cluster;
mod files;
mod pools;
mod pruning;
mod rounds;
mod server;
mod shipping;
mod windows;
mod workers;

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use cluster::{Cluster, Database};
use hh_ledger::{
    BindingRow, Books, Epoch, Ledger, LedgerReader, Location, Origin, ShareRow, Shipment,
};
use hh_mining::BlockHash;
use tempfile::TempDir;

const EPOCH: Epoch = [7; 16];
const NOW_MS: i64 = 1_700_000_000_000;

/// A ledger of its own.
struct Site {
    ledger: Ledger,
    place: Place,
    /// Where the witness of the books is.
    elsewhere: TempDir,
}

enum Place {
    Directory(TempDir),
    Database(Database),
}

impl Site {
    /// On SQLite, in a directory of its own.
    fn sqlite() -> Self {
        Self::new(Place::Directory(tempfile::tempdir().unwrap()))
    }

    /// On PostgreSQL, in a database of its own; none where there is no PostgreSQL.
    fn postgres() -> Option<Self> {
        Cluster::shared().map(|cluster| Self::new(Place::Database(cluster.database())))
    }

    fn new(place: Place) -> Self {
        let ledger = Ledger::open(&place.location(), "pool-1").unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        Self {
            ledger,
            place,
            elsewhere,
        }
    }

    /// An empty ledger on the same engine.
    fn another(&self) -> Self {
        match &self.place {
            Place::Directory(_) => Self::sqlite(),
            Place::Database(_) => Self::postgres().unwrap(),
        }
    }

    fn location(&self) -> Location {
        self.place.location()
    }

    /// The ledger as another pool opens it.
    fn ledger_of(&self, pool: &str) -> Ledger {
        Ledger::open(&self.location(), pool).unwrap()
    }

    /// The treasury's books in the same place.
    fn books(&self) -> Books {
        let location = match &self.place {
            Place::Directory(dir) => Location::Sqlite(dir.path().join("treasury.db")),
            Place::Database(database) => Location::Postgres(database.server()),
        };
        Books::open(&location, &self.elsewhere.path().join("books.witness")).unwrap()
    }

    /// The first row of a query on the books, its columns separated by `|`.
    fn raw_books(&self, query: &str) -> String {
        match &self.place {
            Place::Directory(dir) => raw_sqlite(&dir.path().join("treasury.db"), query),
            Place::Database(database) => {
                database.psql(&format!("SET search_path = treasury; {query}"))
            }
        }
    }

    /// A reader as another process has it.
    fn reader(&self) -> LedgerReader {
        LedgerReader::new(&self.location())
    }

    /// The first row of a query, its columns separated by `|`.
    fn raw(&self, query: &str) -> String {
        match &self.place {
            Place::Directory(dir) => raw_sqlite(&dir.path().join("pool.db"), query),
            Place::Database(database) => database.psql(query),
        }
    }
}

impl Place {
    fn location(&self) -> Location {
        match self {
            Self::Directory(dir) => Location::Sqlite(dir.path().join("pool.db")),
            Self::Database(database) => Location::Postgres(database.server()),
        }
    }
}

/// Says something where the test runner does not hide it.
fn say(text: &str) {
    io::stderr()
        .write_all(format!("{text}\n").as_bytes())
        .unwrap();
}

fn raw_sqlite(path: &PathBuf, query: &str) -> String {
    let raw = rusqlite::Connection::open(path).unwrap();
    let mut statement = raw.prepare(query).unwrap();
    let columns = statement.column_count();
    let text = |value| match value {
        rusqlite::types::Value::Integer(number) => number.to_string(),
        rusqlite::types::Value::Text(text) => text,
        other => panic!("{other:?} has no text"),
    };
    let row = statement.query_row([], |row| {
        (0..columns)
            .map(|column| Ok(text(row.get(column)?)))
            .collect::<Result<Vec<_>, _>>()
    });
    row.unwrap().join("|")
}

fn origin(account: &str, worker: &str) -> Arc<Origin> {
    Arc::new(Origin::new(account, worker, "core", "main").unwrap())
}

fn share(seq: u64, origin: &Arc<Origin>) -> ShareRow {
    let mut hash = [0; 32];
    hash[..8].copy_from_slice(&seq.to_le_bytes());
    ShareRow {
        seq,
        accepted_at_ms: NOW_MS + i64::try_from(seq).unwrap() * 7,
        origin: Arc::clone(origin),
        hash: BlockHash::from_byte_array(hash),
        extranonce_prefix: [0, 7, 0, 0, 0, 0, 0, 1],
        channel_id: u32::MAX,
        job_id: 2,
        nbits: 0x1d00_ffff,
        ntime: u32::MAX,
        nonce: u32::MAX,
        version: u32::MAX,
        work: u128::from(seq) << 80,
        score: u128::from(seq) << 90,
        is_block: seq.is_multiple_of(5),
    }
}

fn binding(seq: u64, prefix: u64, origin: &Arc<Origin>) -> BindingRow {
    BindingRow {
        seq,
        bound_at_ms: NOW_MS,
        extranonce_prefix: prefix.to_be_bytes(),
        origin: Arc::clone(origin),
    }
}

/// A shipment of these shares, which have no gap between them.
fn shipment(shares: Vec<ShareRow>) -> Shipment {
    Shipment {
        epoch: EPOCH,
        first_seq: shares.first().unwrap().seq,
        last_seq: shares.last().unwrap().seq,
        shares,
        bindings: Vec::new(),
        watermark_ms: None,
    }
}
