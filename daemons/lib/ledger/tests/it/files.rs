use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use hh_ledger::{Ledger, LedgerError, LedgerReader, Location};

use crate::{Place, Site, origin, share, shipment};

/// Where the test below, started again as another user, finds the database.
const DATABASE_VARIABLE: &str = "HH_LEDGER_TEST_DATABASE";

/// A user and group with no rights of their own: nobody, nogroup.
const OTHER_ID: u32 = 65_534;

async fn ship_one(ledger: &Ledger, seq: u64) {
    let shipment = shipment(vec![share(seq, &origin("alice", "rig1"))]);
    ledger.ship(Arc::new(shipment)).await.unwrap();
}

/// The ledger in the file at `path`, as its pool opens it.
fn open(path: &Path) -> Ledger {
    Ledger::open(&sqlite(path), "pool-1").unwrap()
}

fn reader(path: &Path) -> LedgerReader {
    LedgerReader::new(&sqlite(path))
}

fn sqlite(path: &Path) -> Location {
    Location::Sqlite(path.to_owned())
}

fn dir(site: &Site) -> &Path {
    match &site.place {
        Place::Directory(dir) => dir.path(),
        Place::Database(_) => panic!("these tests are SQLite's"),
    }
}

fn file(site: &Site) -> PathBuf {
    dir(site).join("pool.db")
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

/// Drops the handle and waits until the writer has closed the file.
fn close(site: Site) -> (tempfile::TempDir, PathBuf) {
    let path = file(&site);
    let Site { place, ledger, .. } = site;
    let Place::Directory(dir) = place else {
        panic!("these tests are SQLite's");
    };
    drop(ledger);
    // Its checkpoint is the last thing it does before.
    while fs::metadata(beside(&path, "-wal")).unwrap().len() > 0 {
        std::thread::yield_now();
    }
    (dir, path)
}

#[tokio::test]
async fn only_owner_and_group_may_read_the_files() {
    let site = Site::sqlite();
    ship_one(&site.ledger, 1).await;
    for suffix in ["", "-wal", "-shm"] {
        let metadata = fs::metadata(beside(&file(&site), suffix)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o640, "{suffix}");
    }
}

#[tokio::test]
async fn a_closed_ledger_is_whole_in_one_file_and_can_be_read() {
    let site = Site::sqlite();
    ship_one(&site.ledger, 1).await;
    let (dir, path) = close(site);
    assert!(beside(&path, "-shm").exists());
    assert_eq!(reader(&path).share_count().await.unwrap(), 1);
    let copy = dir.path().join("copy.db");
    fs::copy(&path, &copy).unwrap();
    let raw = rusqlite::Connection::open(&copy).unwrap();
    let count: u64 = raw
        .query_row("SELECT count(*) FROM shares", [], |row| row.get(0))
        .unwrap();
    assert_eq!(count, 1);
    let ledger = open(&path);
    ship_one(&ledger, 2).await;
    assert_eq!(reader(&path).share_count().await.unwrap(), 2);
}

#[tokio::test]
async fn readers_write_nothing() {
    let site = Site::sqlite();
    ship_one(&site.ledger, 1).await;
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let raw = rusqlite::Connection::open_with_flags(file(&site), flags).unwrap();
    assert!(raw.execute("DELETE FROM shares", []).is_err());
    let absent = reader(&dir(&site).join("absent.db"));
    assert!(absent.share_count().await.is_err());
    assert!(!dir(&site).join("absent.db").exists());
}

#[tokio::test]
async fn a_newer_schema_is_refused() {
    let site = Site::sqlite();
    ship_one(&site.ledger, 1).await;
    let raw = rusqlite::Connection::open(file(&site)).unwrap();
    raw.pragma_update(None, "user_version", 99).unwrap();
    let newer = |error| {
        matches!(
            error,
            LedgerError::NewerSchema {
                found: 99,
                known: 4,
                ..
            }
        )
    };
    assert!(newer(site.reader().logs().await.unwrap_err()));
    let ledger = open(&file(&site));
    assert!(newer(ledger.last_seq([0; 16]).await.unwrap_err()));
}

#[tokio::test]
async fn a_ledger_that_can_not_be_opened_is_tried_again_by_the_next_call() {
    let dir = tempfile::tempdir().unwrap();
    let blocked = dir.path().join("state");
    fs::write(&blocked, "not a directory").unwrap();
    let ledger = open(&blocked.join("pool.db"));
    let error = ledger.last_seq([0; 16]).await.unwrap_err();
    assert!(matches!(error, LedgerError::File { .. }), "{error}");
    assert!(ledger.blocks(1).await.is_err());
    fs::remove_file(&blocked).unwrap();
    ship_one(&ledger, 1).await;
    assert_eq!(ledger.blocks(1).await.unwrap(), []);
}

/// Run by the test below as another user.
#[tokio::test]
async fn another_user_reads() {
    let Some(path) = std::env::var_os(DATABASE_VARIABLE) else {
        return;
    };
    assert_eq!(rustix_uid(), OTHER_ID);
    let path = PathBuf::from(path);
    assert_eq!(reader(&path).share_count().await.unwrap(), 1);
    assert!(fs::File::options().write(true).open(&path).is_err());
}

fn rustix_uid() -> u32 {
    fs::metadata("/proc/self").unwrap().uid()
}

/// As the treasury reads the pool's ledger: in its group, while the pool is up, stopped or killed.
#[tokio::test]
async fn another_user_of_the_group_reads_with_the_writer_up_stopped_and_killed() {
    if rustix_uid() != 0 {
        println!("skipped: only root can become another user");
        return;
    }
    let site = Site::sqlite();
    ship_one(&site.ledger, 1).await;
    let program = dir(&site).join("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let open_to_the_group = |dir: &Path| {
        fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
        for suffix in ["", "-wal", "-shm"] {
            let file = beside(&dir.join("pool.db"), suffix);
            std::os::unix::fs::chown(file, None, Some(OTHER_ID)).unwrap();
        }
    };
    let check_reads = |dir: &Path, writer: &str| {
        let read = Command::new(&program)
            .args(["--exact", "files::another_user_reads"])
            .env(DATABASE_VARIABLE, dir.join("pool.db"))
            .current_dir("/")
            .uid(OTHER_ID)
            .gid(OTHER_ID)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&read.stdout);
        assert!(
            read.status.success() && said.contains("1 passed"),
            "writer {writer}: {said}"
        );
    };
    open_to_the_group(dir(&site));
    check_reads(dir(&site), "up");

    // What a killed writer leaves behind is what is there now.
    let killed = tempfile::tempdir().unwrap();
    for suffix in ["", "-wal", "-shm"] {
        let from = beside(&file(&site), suffix);
        fs::copy(&from, killed.path().join(from.file_name().unwrap())).unwrap();
    }
    open_to_the_group(killed.path());
    check_reads(killed.path(), "killed");

    let (dir, _) = close(site);
    check_reads(dir.path(), "stopped");
}
