//! Books for tests of payouts: a miner who has earned a block, and where he is paid.

use crate::clock::unix_ms;
use crate::config::TreasuryConfig;
use hh_ledger::Location;
use hh_ledger::books::{
    AccountLeaf, BookBlockState, Books, DestinationKind, NewBlock, NewDestination, Payee,
    SignedReport, Split, WindowBounds,
};
use hh_mining::sum_tree::pseudonym;
use hh_mining::{BlockHash, Credit, Division, Leaf, Network, Reward, Score, Window};
use std::path::Path;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config.example.toml");

/// Who has earned it.
pub(super) fn carol() -> Payee {
    Payee::Miner("carol".to_owned())
}

/// That of the example.
pub(super) fn config(dir: &Path) -> TreasuryConfig {
    let path = dir.join("hh-treasury.toml");
    std::fs::copy(EXAMPLE, &path).unwrap();
    hh_daemon::load::<TreasuryConfig>(&path).unwrap().1
}

/// Books in which a block of carol's is payable, and her destination counts.
pub(super) async fn books(dir: &Path, kind: DestinationKind, text: &str) -> Books {
    let location = Location::Sqlite(dir.join("treasury.db"));
    let books = Books::open(&location, &dir.join("witness")).unwrap();
    let (hash, now_ms) = (BlockHash::from_byte_array([1; 32]), unix_ms());
    let reward = Reward::of(5_000_000_000, 100, Network::Signet).unwrap();
    let block = NewBlock {
        hash,
        height: 100,
        finder: "carol".to_owned(),
        found_at_ms: now_ms,
        reward: Some(reward),
    };
    books.track_block(block).await.unwrap();
    let mature = books.set_block_state(hash, BookBlockState::Mature, 101, None, now_ms);
    mature.await.unwrap();
    let split = split(hash, reward, now_ms);
    books.post_split(split, now_ms).await.unwrap();
    books.mature(hash, now_ms).await.unwrap();
    let destination = NewDestination {
        payee: carol(),
        seq: 1,
        kind,
        text: text.to_owned(),
        proof: "signed".to_owned(),
        cooling_off_ms: 0,
    };
    books.set_destination(destination, now_ms).await.unwrap();
    books
}

/// All of it to carol.
fn split(hash: BlockHash, reward: Reward, now_ms: i64) -> Split {
    let mut window = Window::unbounded();
    window.take_share(Credit {
        account: "carol",
        node: None,
        score: Score(1),
    });
    let division = Division::of(reward, &window.into_credits(), "carol");
    let leaves = division.miners.iter().map(|part| AccountLeaf {
        account: part.name.clone(),
        leaf: Leaf {
            pseudonym: pseudonym(&[9; 32], hash, &part.name),
            score: part.score,
            amount: part.amount,
            minutes: [1; 32],
        },
    });
    Split {
        hash,
        leaves: leaves.collect(),
        window: WindowBounds {
            rule: "pplns 4".to_owned(),
            first_ms: None,
            last_ms: now_ms,
            score: division.score,
        },
        report: SignedReport {
            json: b"{}".to_vec(),
            jws: "a.b.c".to_owned(),
        },
        edge: Vec::new(),
        division,
    }
}
