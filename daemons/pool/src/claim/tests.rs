use super::*;
use hh_ledger::Location;
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const EPOCH: Epoch = [7; 16];

/// A data directory, and a ledger that may be another's.
struct Site {
    dir: TempDir,
    ledger: PathBuf,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let ledger = dir.path().join("ledger/pool.db");
        Self { dir, ledger }
    }

    fn with_ledger_of(other: &Self) -> Self {
        Self {
            ledger: other.ledger.clone(),
            ..Self::new()
        }
    }

    fn claim(&self, epoch: Epoch) -> ServerIdClaim {
        let location = Location::Sqlite(self.ledger.clone());
        ServerIdClaim {
            ledger: Ledger::open(&location, "pool-3").unwrap(),
            server_id: 3,
            epoch,
            file: StateFile::new(self.note()),
            check_interval: Duration::from_millis(10),
        }
    }

    fn note(&self) -> PathBuf {
        self.dir.path().join("claim")
    }
}

fn context(start_timeout_seconds: u64) -> Context {
    let settings = hh_daemon::Settings {
        start_timeout_seconds,
        ..hh_daemon::Settings::default()
    };
    Context::new("hh-pool", "0", settings)
}

/// A file where the ledger's directory should be.
fn block(ledger: &Path) {
    fs::write(ledger.parent().unwrap(), "").unwrap();
}

#[track_caller]
fn check_taken(result: Result<(), ClaimError>) {
    let failure = result.unwrap_err().failure();
    assert_eq!(failure.status(), hh_daemon::ExitStatus::Config);
    let text = failure.to_string();
    assert!(
        text.contains("server id 3 is claimed by the share log 0707"),
        "{text}"
    );
    assert!(text.contains("of pool-3 since 20"), "{text}");
}

#[tokio::test]
async fn a_second_log_is_refused_and_the_first_starts_again() {
    let site = Site::new();
    site.claim(EPOCH).hold(&context(30)).await.unwrap();
    let other = Site::with_ledger_of(&site);
    check_taken(other.claim([8; 16]).hold(&context(30)).await);
    assert!(!other.note().exists());
    site.claim(EPOCH).hold(&context(30)).await.unwrap();
}

#[tokio::test]
async fn a_log_that_holds_its_claim_starts_without_the_ledger() {
    let site = Site::new();
    site.claim(EPOCH).hold(&context(30)).await.unwrap();
    fs::remove_dir_all(site.ledger.parent().unwrap()).unwrap();
    block(&site.ledger);
    let context_with = context(0);
    site.claim(EPOCH).hold(&context_with).await.unwrap();
    // Another log has got the server id meanwhile: told when the ledger is back.
    fs::remove_file(site.ledger.parent().unwrap()).unwrap();
    let other = Site::with_ledger_of(&site);
    let other = other.claim([8; 16]);
    if other.ledger.claim_server_id(3, [8; 16], 0).await.unwrap() != Claim::Ours {
        retire(&other.ledger, EPOCH).await;
        other.ledger.claim_server_id(3, [8; 16], 0).await.unwrap();
    }
    let failure = context_with.tasks.failure().await;
    assert_eq!(failure.status(), hh_daemon::ExitStatus::Config);
}

async fn retire(ledger: &Ledger, epoch: Epoch) {
    let retire = ledger.retire_server_id(3, epoch, RetireWhere::Replaced);
    retire.await.unwrap();
}

/// The daemon ends because its log has lost the server id, and says what to do.
async fn check_lost(context: &Context) {
    let failure = context.tasks.failure().await;
    assert_eq!(failure.status(), hh_daemon::ExitStatus::Config);
    let text = failure.to_string();
    assert!(
        text.contains("server id 3 of this share log was retired at 20"),
        "{text}"
    );
    assert!(
        text.contains("move the share log's directory away"),
        "{text}"
    );
}

#[tokio::test]
async fn a_pool_that_runs_ends_when_its_claim_is_retired() {
    let site = Site::new();
    let context = context(30);
    let claim = site.claim(EPOCH);
    let ledger = claim.ledger.clone();
    claim.hold(&context).await.unwrap();
    retire(&ledger, EPOCH).await;
    check_lost(&context).await;
}

#[tokio::test]
async fn a_retired_log_is_refused_at_its_start_and_a_new_one_gets_the_id() {
    let site = Site::new();
    site.claim(EPOCH).hold(&context(30)).await.unwrap();
    retire(&site.claim(EPOCH).ledger, EPOCH).await;
    let with_note = context(30);
    site.claim(EPOCH).hold(&with_note).await.unwrap();
    check_lost(&with_note).await;
    let copied = Site::with_ledger_of(&site);
    let refused = copied.claim(EPOCH).hold(&context(30)).await.unwrap_err();
    assert!(matches!(refused, ClaimError::Retired { .. }), "{refused}");
    assert!(!copied.note().exists());
    site.claim([9; 16]).hold(&context(30)).await.unwrap();
}

#[tokio::test]
async fn a_new_log_without_a_ledger_is_given_up_after_a_while() {
    let site = Site::new();
    block(&site.ledger);
    let error = site.claim(EPOCH).hold(&context(0)).await.unwrap_err();
    assert!(matches!(error, ClaimError::Unanswered { .. }), "{error}");
    assert_eq!(error.failure().status(), hh_daemon::ExitStatus::Unavailable);
}

#[tokio::test]
async fn a_log_that_takes_the_place_of_another_takes_over_its_claim() {
    let site = Site::new();
    site.claim(EPOCH).hold(&context(30)).await.unwrap();
    let new = site.claim([9; 16]);
    new.clone().hold(&context(30)).await.unwrap();
    assert_eq!(new.file.read().unwrap(), Some(new.note()));
    // The old one, wherever it is now, has lost it.
    let old = Site::with_ledger_of(&site)
        .claim(EPOCH)
        .hold(&context(30))
        .await;
    assert!(matches!(old, Err(ClaimError::Retired { .. })));
}

#[tokio::test]
async fn a_note_that_is_none_stops_the_start() {
    let site = Site::new();
    fs::write(site.note(), "{}").unwrap();
    let error = site.claim(EPOCH).hold(&context(30)).await.unwrap_err();
    assert!(
        matches!(error, ClaimError::Note(StateFileError::Malformed { .. })),
        "{error}"
    );
}
