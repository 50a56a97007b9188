use super::*;
use crate::chain::ChainError;
use std::os::unix::fs::PermissionsExt;
use tempfile::TempDir;

const PEER: Peer = Peer {
    uid: 0,
    gid: 0,
    pid: Some(42),
};

struct Site {
    dir: TempDir,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        Self { dir }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("changes.jsonl")
    }

    fn journal(&self) -> ChangeJournal {
        ChangeJournal::new(self.path(), "hh-pool")
    }

    fn text(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }

    /// What is in the file, and what is wrong with it.
    fn follow(&self) -> Vec<Result<Entry, ChainError>> {
        let mut chain = Chain::new();
        self.text().lines().map(|line| chain.follow(line)).collect()
    }

    fn faults(&self) -> Vec<ChainError> {
        self.follow().into_iter().filter_map(Result::err).collect()
    }
}

async fn change(journal: &ChangeJournal, n: u32) -> Result<u32, ApiError> {
    let arguments = json!({ "id": n });
    journal
        .record(&PEER, "miner.kick", arguments, async { Ok(n) })
        .await
}

fn refusal() -> ApiError {
    ApiError::new(
        ErrorKind::NotFound,
        "HH2004",
        "no channel with id 7 is open",
    )
}

#[tokio::test]
async fn a_change_is_written_before_it_is_made_and_its_outcome_after() {
    let site = Site::new();
    let journal = site.journal();
    let seen = async { Ok(site.text().lines().count()) };
    let lines_then = journal.record(&PEER, "miner.kick", json!({"id": 3}), seen);
    assert_eq!(lines_then.await, Ok(1));
    let refused = async { Err::<(), _>(refusal()) };
    let refused = journal.record(&PEER, "miner.kick", json!({"id": 7}), refused);
    assert_eq!(refused.await, Err(refusal()));
    let entries: Vec<_> = site.follow().into_iter().map(Result::unwrap).collect();
    assert_eq!(entries.len(), 4);
    let Event::Intent {
        uid, user, call, ..
    } = &entries[0].event
    else {
        panic!("{entries:?}");
    };
    assert_eq!(
        (*uid, user.as_deref(), &**call),
        (0, Some("root"), "miner.kick")
    );
    let outcome = |of, refused: Option<&str>| Event::Outcome {
        of,
        refused: refused.map(str::to_owned),
    };
    assert_eq!(entries[1].event, outcome(1, None));
    assert_eq!(
        entries[3].event,
        outcome(3, Some("no channel with id 7 is open"))
    );
    let mode = fs::metadata(site.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
}

#[tokio::test]
async fn the_chain_goes_on_after_a_restart_and_a_crash_in_the_middle_of_a_line() {
    let site = Site::new();
    change(&site.journal(), 1).await.unwrap();
    let mut file = File::options().append(true).open(site.path()).unwrap();
    file.write_all(b"{\"seq\":3,\"at\"").unwrap();
    change(&site.journal(), 2).await.unwrap();
    assert_eq!(site.follow().len(), 4);
    assert_eq!(site.faults(), []);
}

#[tokio::test]
async fn changes_at_once_have_one_order() {
    let site = Site::new();
    let journal = site.journal();
    let changes = (0..20).map(|n| change(&journal, n));
    for done in futures::future::join_all(changes).await {
        done.unwrap();
    }
    assert_eq!(site.follow().len(), 40);
    assert_eq!(site.faults(), []);
}

#[tokio::test]
async fn nothing_is_changed_while_the_journal_can_not_be_written() {
    let site = Site::new();
    fs::create_dir(site.path()).unwrap();
    let journal = site.journal();
    let error = change(&journal, 1).await.unwrap_err();
    assert_eq!(
        (&*error.code, error.kind),
        ("HH0202", ErrorKind::Unavailable)
    );
    assert!(error.message.contains("changes.jsonl: "), "{error}");
    let made = std::cell::Cell::new(false);
    let make = async {
        made.set(true);
        Ok(())
    };
    let refused = journal.record(&PEER, "miner.kick", Value::Null, make);
    assert!(refused.await.is_err());
    assert!(!made.get());
    fs::remove_dir(site.path()).unwrap();
    change(&journal, 2).await.unwrap();
    assert_eq!(site.follow().len(), 2);
}

#[tokio::test]
async fn what_others_did_to_the_file_stays_to_be_seen() {
    let site = Site::new();
    let journal = site.journal();
    change(&journal, 1).await.unwrap();
    change(&journal, 2).await.unwrap();
    let tampered = site.text().replacen("\"id\":1", "\"id\":9", 1);
    fs::write(site.path(), tampered).unwrap();
    change(&journal, 3).await.unwrap();
    assert_eq!(site.follow().len(), 6);
    assert_eq!(site.faults(), [ChainError::Broken { line: 2 }]);
    // Lines of another writer are followed.
    change(&site.journal(), 4).await.unwrap();
    change(&journal, 5).await.unwrap();
    assert_eq!(site.faults(), [ChainError::Broken { line: 2 }]);
    // A file that was taken away is made anew.
    fs::remove_file(site.path()).unwrap();
    change(&journal, 6).await.unwrap();
    assert_eq!(site.follow().len(), 2);
}

#[tokio::test]
async fn lines_are_given_in_pages() {
    let site = Site::new();
    let journal = site.journal();
    let page = async |after_seq, limit| {
        let query = JournalQuery { after_seq, limit };
        journal.page(query).await.unwrap()
    };
    assert_eq!(page(0, 0).await.lines, [""; 0]);
    for n in 0..3 {
        change(&journal, n).await.unwrap();
    }
    let text = site.text();
    let all: Vec<&str> = text.lines().collect();
    let first = page(0, 4).await;
    assert_eq!(
        (first.lines, first.last_seq),
        (all[..4].iter().map(ToString::to_string).collect(), 6)
    );
    let rest = page(4, 0).await;
    assert_eq!(rest.lines, all[4..]);
    assert_eq!(page(6, 0).await.lines.len(), 0);
}

#[tokio::test]
async fn a_line_never_outgrows_a_page() {
    let site = Site::new();
    let journal = site.journal();
    let long = "x".repeat(1 << 20);
    let refused = ApiError::new(ErrorKind::Failed, "HH2000", format!("é{long}"));
    let change = async { Err::<(), _>(refused) };
    let change = journal.record(&PEER, "miner.kick", json!({"account": long}), change);
    change.await.unwrap_err();
    let longest = site.text().lines().map(str::len).max().unwrap();
    assert!(
        longest < hh_ipc::MAX_FRAME_BYTES / 2 / PAGE_LINES_MAX,
        "{longest}"
    );
    assert!(site.text().contains("left_out_bytes"));
}
