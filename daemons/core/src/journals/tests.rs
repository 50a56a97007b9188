use super::*;
use crate::store::tests::{Base, on_both_engines};
use hh_trust::Event;
use hh_trust::audit::{AuditEntry, AuditVerifier};

on_both_engines!(
    lines_are_in_the_log_once_and_in_their_order,
    a_journal_that_was_changed_is_told_in_the_log,
    replicas_that_read_the_same_page_write_it_once,
);

fn journal(store: &Store) -> Journal {
    Journal {
        store: store.clone(),
        core: "core-1".parse().unwrap(),
        config: JournalConfig {
            daemon: JournalKeeper::Pool,
            socket: "/nowhere/view.sock".into(),
        },
    }
}

/// As a daemon writes them.
fn lines(count: u64) -> Vec<String> {
    let mut chain = Chain::new();
    let write = |of| {
        let event = Event::Outcome { of, refused: None };
        let entry = chain.next(Timestamp::UNIX_EPOCH, "hh-pool", event);
        let line = serde_json::to_string(&entry).unwrap();
        chain.follow(&line).unwrap();
        line
    };
    (1..=count).map(write).collect()
}

/// As a daemon answers, with two lines a page.
async fn take(journal: &Journal, lines: &[String]) -> Head {
    loop {
        let before = journal.taken().await.unwrap();
        let after = usize::try_from(before.seq).unwrap().min(lines.len());
        let page = JournalPage {
            lines: lines[after..].iter().take(2).cloned().collect(),
            last_seq: lines.len() as u64,
            path: String::new(),
        };
        if page.lines.is_empty() && page.last_seq >= before.seq {
            return before;
        }
        journal.take(before, page).await.unwrap();
    }
}

/// What was taken in, the faults marked. The log is whole.
async fn log(store: &Store) -> Vec<String> {
    let page = |transaction: &Transaction<'_>| audit::page(transaction, 0, 0);
    let (written, _) = store.read::<_, StoreError>(page).await.unwrap();
    let mut verifier = AuditVerifier::new([]);
    written.iter().for_each(|line| verifier.line(line));
    assert_eq!(verifier.finish().faults, []);
    let text = |line: &String| match serde_json::from_str::<AuditEntry>(line).unwrap().event {
        AuditEvent::Journal { source, line } => {
            assert_eq!(source.daemon, "hh-pool");
            line
        }
        AuditEvent::JournalFault { fault, .. } => format!("! {fault}"),
        other => panic!("{other:?}"),
    };
    written.iter().map(text).collect()
}

async fn lines_are_in_the_log_once_and_in_their_order(base: Base) {
    let lines = lines(7);
    let journal = journal(&base.store);
    take(&journal, &lines[..3]).await;
    take(&journal, &lines[..3]).await;
    let head = take(&journal, &lines).await;
    assert_eq!(head.seq, 7);
    assert_eq!(log(&base.store).await, lines);
}

async fn a_journal_that_was_changed_is_told_in_the_log(base: Base) {
    let lines = lines(5);
    let journal = journal(&base.store);
    take(&journal, &lines[..3]).await;
    // The line that was taken in last was another one when the next was written.
    let mut changed = Chain::new();
    for line in &lines[..2] {
        changed.follow(line).unwrap();
    }
    changed
        .follow(&lines[2].replace("hh-pool", "hh-pooh"))
        .unwrap();
    let mut forged = lines[..3].to_vec();
    for of in [4, 5] {
        let event = Event::Outcome { of, refused: None };
        let entry = changed.next(Timestamp::UNIX_EPOCH, "hh-pool", event);
        forged.push(serde_json::to_string(&entry).unwrap());
        changed.follow(forged.last().unwrap()).unwrap();
    }
    let before = journal.taken().await.unwrap();
    let page = JournalPage {
        lines: forged[3..].to_vec(),
        last_seq: 5,
        path: String::new(),
    };
    let is_whole = journal.take(before, page).await.unwrap();
    assert!(!is_whole, "it is looked at again after a while only");
    let told = log(&base.store).await;
    assert_eq!(told[..3], forged[..3]);
    assert!(told[3].starts_with("! line 4 of the journal"), "{told:?}");
    assert_eq!(told[4..], forged[3..]);
    // Cut off.
    take(&journal, &lines[..2]).await;
    let told = log(&base.store).await;
    assert!(told[6].contains("2 lines, and 5"), "{told:?}");
    assert_eq!(told[7..], lines[..2]);
}

async fn replicas_that_read_the_same_page_write_it_once(base: Base) {
    let lines = lines(2);
    let journals = [journal(&base.store), journal(&base.other_replica())];
    let before = Chain::new().head();
    let page = JournalPage {
        lines: lines.clone(),
        last_seq: 2,
        path: String::new(),
    };
    let taken = journals
        .iter()
        .map(|journal| journal.take(before, page.clone()));
    for taken in futures::future::join_all(taken).await {
        taken.unwrap();
    }
    assert_eq!(log(&base.store).await, lines);
}

#[test]
fn a_page_that_no_daemon_gives_is_not_taken_in() {
    let page = |lines: usize, bytes: usize| JournalPage {
        lines: vec!["x".repeat(bytes); lines],
        last_seq: 1,
        path: String::new(),
    };
    assert!(checked("hh-pool", page(PAGE_LINES_MAX, LINE_BYTES_MAX)).is_ok());
    let many = checked("hh-pool", page(PAGE_LINES_MAX + 1, 1));
    assert!(matches!(many, Err(IntakeError::TooMany { lines: 201, .. })));
    let long = checked("hh-pool", page(1, LINE_BYTES_MAX + 1));
    assert!(matches!(long, Err(IntakeError::TooLong { .. })));
}

/// One page of the log is one answer, however long the lines in it are.
#[tokio::test]
async fn a_page_of_long_lines_is_no_longer_than_an_answer() {
    let base = Base::sqlite();
    let journal = journal(&base.store);
    let long = "\"".repeat(LINE_BYTES_MAX);
    let page = JournalPage {
        lines: vec![long; 40],
        last_seq: 40,
        path: String::new(),
    };
    let before = Chain::new().head();
    journal.take(before, page).await.unwrap();
    let mut read = 0;
    loop {
        let after = read;
        let page = move |transaction: &Transaction<'_>| audit::page(transaction, after, 0);
        let (lines, last) = base.store.read::<_, StoreError>(page).await.unwrap();
        let answer = serde_json::to_vec(&lines).unwrap();
        assert!(answer.len() < hh_ipc::MAX_FRAME_BYTES, "{}", answer.len());
        if lines.is_empty() {
            // Each of them is no entry, which is a line, too.
            assert_eq!((read, last), (80, 80));
            break;
        }
        read += lines.len() as u64;
    }
}
