//! Reports of blocks and proofs from them: what is checked here, and that nothing false passes.

use crate::commands::check_of;
use crate::daemons::{Answers, Devnet, HASH};
use crate::operator::Operator;
use hh_ipc::api::treasury::{BlockReport, ReportName};
use hh_mining::{
    AccountProof, BlockHash, Division, EdgeShare, EntryOrigin, Network, PartMinute, Recount,
    ReportParts, ReportedBlock, Reward, Score, ShareId, SharePosition, SumTree, WholeMinute,
    WindowEntry, WindowSize, Work,
};
use hh_trust::ReportKey;
use hhctl::Exit;

const MINUTE: i64 = 28_333_333;

fn key() -> ReportKey {
    "07".repeat(32).parse().unwrap()
}

fn origin(account: &'static str) -> EntryOrigin<'static> {
    EntryOrigin {
        account: account.into(),
        worker: "rig".into(),
        node: "core".into(),
        lane: "main".into(),
    }
}

/// What is before and in the minute of the winning share.
fn entries() -> Vec<WindowEntry<'static>> {
    let part = |account, score| {
        WindowEntry::Part(PartMinute {
            minute: MINUTE,
            origin: origin(account),
            shares: 1,
            work: Work(score),
            score: Score(score),
        })
    };
    let whole = |account, score| {
        WindowEntry::Minute(WholeMinute {
            minute: MINUTE - 1,
            pool: "pool-1".into(),
            epoch: [7; 16],
            origin: origin(account),
            shares: 2,
            work: Work(score),
            score: Score(score),
            chain: [8; 32],
        })
    };
    vec![part("alice", 3), part("bob", 1), whole("alice", 5)]
}

fn salt(account: &str) -> [u8; 32] {
    let mut salt = [9; 32];
    salt[..account.len()].copy_from_slice(account.as_bytes());
    salt
}

/// Alice's shares of the minute before, of which the older one counts in part.
fn edge() -> [WindowEntry<'static>; 2] {
    let share = |seq, counted| {
        WindowEntry::Share(EdgeShare {
            at_ms: MINUTE * 60_000 - 10,
            pool: "pool-1".into(),
            epoch: [7; 16],
            seq,
            origin: origin("alice"),
            score: Score(2),
            counted: Score(counted),
        })
    };
    [share(8, 2), share(7, 1)]
}

/// A block that alice found, with its report over a window that has all there is.
fn answers() -> Answers {
    answers_of(100, entries())
}

/// The same, over a window that begins within a minute.
fn answers_with_edge() -> Answers {
    let head = entries().into_iter().take(2);
    answers_of(7, head.chain(edge()).collect())
}

fn answers_of(score: u128, entries: Vec<WindowEntry<'static>>) -> Answers {
    let size = WindowSize::Pplns {
        score: Score(score),
    };
    let newest = SharePosition {
        at_ms: MINUTE * 60_000 + 5,
        share: Some(ShareId {
            pool: "pool-1".to_owned(),
            epoch: [7; 16],
            seq: 9,
        }),
    };
    let mut recount = Recount::new(size, newest.clone());
    for entry in &entries {
        recount.add(entry.clone()).unwrap();
    }
    let totals = recount.finish().unwrap();
    let reward = Reward::of(5_000_000_700, 101, Network::Signet).unwrap();
    let division = Division::of(reward, &totals.credits, "alice");
    let core: bitcoin::BlockHash = HASH.parse().unwrap();
    let hash = BlockHash::from_byte_array(*AsRef::<[u8; 32]>::as_ref(&core));
    let block = ReportedBlock {
        network: Network::Signet,
        hash,
        height: 101,
        window: size,
        newest,
        previous_report: None,
    };
    let parts = ReportParts::of(&block, &division, &totals, salt).unwrap();
    let json = parts.report.to_json();
    let leaves = parts.leaves.iter().map(|(_, leaf)| *leaf).collect();
    let tree = SumTree::new(leaves).unwrap();
    let proof = AccountProof::of(hash, "alice", salt("alice"), &tree).unwrap();
    let mut answers = Answers::good();
    let treasury = &mut answers.treasury;
    treasury.status.report_public_key = key().public_key().to_string();
    treasury.reports = vec![BlockReport {
        hash: HASH.to_owned(),
        signature: key().sign(&json),
        report: text(json),
    }];
    let alice = "alice".to_owned();
    treasury.proofs = vec![(
        format!("miner:{alice}"),
        HASH.to_owned(),
        text(proof.to_json()),
    )];
    let lines = entries.iter().map(|entry| text(entry.to_json()));
    treasury.windows = vec![(HASH.to_owned(), lines.collect())];
    let edge = parts.edge.iter().map(|row| text(row.to_json()));
    treasury.edges = vec![(HASH.to_owned(), edge.collect())];
    let names = ["alice", "bob"].map(|account| ReportName {
        account: account.to_owned(),
        salt: salt(account)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect(),
    });
    treasury.names = vec![(HASH.to_owned(), alice, names.to_vec())];
    answers
}

fn text(json: Vec<u8>) -> String {
    String::from_utf8(json).unwrap()
}

/// What is typed fails, and says why.
async fn check_false(answers: Answers, line: &str, why: &str) {
    let devnet = Devnet::start(answers);
    let told = Operator::at(&devnet).types(line).await;
    assert_eq!(told.exit, Exit::Failed, "{told:?}");
    assert!(told.stderr.contains(why), "{told:?}");
}

#[tokio::test]
async fn a_report_is_counted_again_from_the_ledger() {
    let line = format!("hhctl block verify {HASH} --ledger");
    check_of(answers(), "block_verify_ledger", &line).await;
}

#[tokio::test]
async fn a_report_that_is_not_what_the_ledger_makes_is_told() {
    let line = format!("hhctl block verify {HASH} --ledger");
    let mut fewer = answers();
    fewer.treasury.windows[0].1.pop();
    check_false(
        fewer,
        &line,
        "counted again it is another report: the score differs",
    )
    .await;
    let mut swapped = answers();
    swapped.treasury.windows[0].1.swap(0, 1);
    check_false(swapped, &line, "entry 1 is not behind the one before it").await;
    let mut other = answers();
    other.treasury.names[0].1 = "bob".to_owned();
    check_false(other, &line, "differs").await;
    let mut unsalted = answers();
    unsalted.treasury.names[0].2.pop();
    check_false(unsalted, &line, "the sum tree differs").await;
}

#[tokio::test]
async fn a_proof_has_the_accounts_own_entries_and_the_key_that_is_trusted() {
    let line = format!("hhctl account proof alice {HASH}");
    let named = format!("{line} --key {}", key().public_key());
    check_of(answers(), "account_proof", &named).await;
    let mut fewer = answers();
    fewer.treasury.windows[0].1.pop();
    let why = "the 1 entries of alice in the pool's ledger are not those that it was paid for";
    check_false(fewer, &line, why).await;
    let other: ReportKey = "08".repeat(32).parse().unwrap();
    let other = format!("{line} --key {}", other.public_key());
    check_false(answers(), &other, "proves nothing").await;
}

#[tokio::test]
async fn the_edge_of_a_window_has_the_hash_that_is_signed() {
    let line = format!("hhctl block verify {HASH}");
    let with_ledger = format!("{line} --ledger");
    check_of(answers_with_edge(), "block_verify_edge", &with_ledger).await;
    let others = "these are not the 2 shares of the edge that the report was made from";
    let mut fewer = answers_with_edge();
    fewer.treasury.edges[0].1.pop();
    check_false(fewer, &line, others).await;
    let mut more = answers_with_edge();
    let last = more.treasury.edges[0].1[1].clone();
    more.treasury.edges[0]
        .1
        .push(last.replace(r#""seq":"7""#, r#""seq":"6""#));
    let devnet = Devnet::start(more);
    // What lies behind it is not asked for.
    let told = Operator::at(&devnet).types(&line).await;
    assert_eq!(told.exit, Exit::Done, "{told:?}");
    for (found, other) in [
        (r#""seq":"8""#, r#""seq":"9""#),
        (r#""score":"2""#, r#""score":"3""#),
        (r#""epoch":"07"#, r#""epoch":"08"#),
    ] {
        let mut changed = answers_with_edge();
        let row = &mut changed.treasury.edges[0].1[0];
        *row = row.replace(found, other);
        check_false(changed, &line, others).await;
    }
    // A share of the window that is another than was split over.
    let mut moved = answers_with_edge();
    let share = &mut moved.treasury.windows[0].1[2];
    *share = share.replace(r#""seq":"8""#, r#""seq":"9""#);
    check_false(moved, &with_ledger, "counted again it is another report").await;
}

#[tokio::test]
async fn a_treasury_that_has_only_the_hash_of_an_edge_says_so() {
    let mut without = answers_with_edge();
    without.treasury.edges.clear();
    let devnet = Devnet::start(without);
    let line = format!("hhctl block verify {HASH}");
    let told = Operator::at(&devnet).types(&line).await;
    assert_eq!(told.exit, Exit::Done, "{told:?}");
    assert!(told.stdout.contains("only the hash of its shares"));
}

#[tokio::test]
async fn a_saved_report_has_its_signature_and_its_edge_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("report.json");
    let line = format!("hhctl block report {HASH} --save {}", file.display());
    let answers = answers_with_edge();
    let (signed, lines) = (
        answers.treasury.reports[0].clone(),
        answers.treasury.edges[0].1.clone(),
    );
    let devnet = Devnet::start(answers);
    let told = Operator::at(&devnet).types(&line).await;
    assert_eq!(told.exit, Exit::Done, "{told:?}");
    let read = |extension: &str| {
        let name = format!("report.json{extension}");
        std::fs::read_to_string(dir.path().join(name)).unwrap()
    };
    assert_eq!(read(""), signed.report);
    assert_eq!(read(".jws"), signed.signature);
    let saved = read(".edge.jsonl");
    assert_eq!(saved.lines().collect::<Vec<_>>(), lines);
}
