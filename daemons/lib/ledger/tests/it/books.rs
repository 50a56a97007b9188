//! The treasury's books.

mod attempts;
mod blocks;
mod destinations;
mod draws;
mod engines;
mod finders;
mod freezing;
mod outcomes;
mod owners;
mod payouts;
mod random;
mod rebalances;
mod restores;
mod tampering;
mod wallet;
mod withdrawals;

use bitcoin::hashes::{Hash, sha256};
use hh_ledger::books::{
    AccountLeaf, AttemptId, BookBlockState, Books, BooksError, Consent, DestinationKind,
    NewAttempt, NewBlock, NewPayout, PayTo, Payee, PayeeBalance, PayoutId, PayoutState, Settlement,
    SignedReport, Split, TwoActors, WindowBounds,
};
use hh_mining::{
    BlockHash, Credit, Division, Leaf, Msat, Network, Reward, Score, Window, sum_tree::pseudonym,
};

use std::sync::atomic::{AtomicI64, Ordering};

use crate::{NOW_MS, Site};

/// What a block of the tests pays: a subsidy of 50 BTC and 0.1 BTC of fees, of which nothing has a round share.
const VALUE_SATS: u64 = 5_010_000_007;

/// Who mined, through which node, with what score.
type Shares<'a> = &'a [(&'a str, Option<&'a str>, u128)];

/// Two miners, a node, and work that came straight to the pool.
const SHARES: Shares<'static> = &[
    ("alice@example.org", Some("oslo"), 3),
    ("bob@example.org", None, 4),
];

fn hash(n: u8) -> BlockHash {
    BlockHash::from_byte_array([n; 32])
}

fn miner(account: &str) -> Payee {
    Payee::Miner(account.to_owned())
}

fn alice() -> Payee {
    miner("alice@example.org")
}

fn bob() -> Payee {
    miner("bob@example.org")
}

fn reward(n: u8) -> Reward {
    Reward::of(VALUE_SATS, 100 + u32::from(n), Network::Signet).unwrap()
}

fn new_block(n: u8, finder: &str) -> NewBlock {
    NewBlock {
        hash: hash(n),
        height: 100 + u32::from(n),
        finder: finder.to_owned(),
        found_at_ms: NOW_MS + i64::from(n),
        reward: Some(reward(n)),
    }
}

fn split(n: u8, shares: Shares<'_>, finder: &str) -> Split {
    let mut window = Window::unbounded();
    for (account, node, score) in shares {
        let (node, score) = (*node, Score(*score));
        window.take_share(Credit {
            account,
            node,
            score,
        });
    }
    let credits = window.into_credits();
    let division = Division::of(reward(n), &credits, finder);
    let leaf = |part: &hh_mining::reward::Part| AccountLeaf {
        account: part.name.clone(),
        leaf: Leaf {
            pseudonym: pseudonym(&[9; 32], hash(n), &part.name),
            score: part.score,
            amount: part.amount,
            minutes: [n; 32],
        },
    };
    Split {
        hash: hash(n),
        leaves: division.miners.iter().map(leaf).collect(),
        window: WindowBounds {
            rule: "pplns 4".to_owned(),
            first_ms: Some(NOW_MS - 1_000),
            last_ms: NOW_MS,
            score: division.score,
        },
        report: SignedReport {
            json: format!(r#"{{"block":{n}}}"#).into_bytes(),
            jws: "a.b.c".to_owned(),
        },
        edge: Vec::new(),
        division,
    }
}

/// How often somebody has agreed to something.
static SPOKEN: AtomicI64 = AtomicI64::new(0);

/// The treasury's desk: the books, and what the tests do with them again and again.
struct Desk {
    books: Books,
    site: Site,
}

impl Desk {
    fn new(site: Site) -> Self {
        let books = site.books();
        Self { books, site }
    }

    async fn set(&self, n: u8, state: BookBlockState, confirmations: u32) {
        let set = self
            .books
            .set_block_state(hash(n), state, confirmations, None, NOW_MS);
        set.await.unwrap();
    }

    /// A block on the best chain, split.
    async fn split(&self, n: u8) {
        let tracked = self.books.track_block(new_block(n, "bob@example.org"));
        tracked.await.unwrap();
        self.set(n, BookBlockState::Accepted, 1).await;
        let split = split(n, SHARES, "bob@example.org");
        assert!(self.books.post_split(split, NOW_MS).await.unwrap());
    }

    /// A block whose money is payable.
    async fn payable(&self, n: u8) {
        self.split(n).await;
        self.set(n, BookBlockState::Mature, 101).await;
        assert!(self.books.mature(hash(n), NOW_MS).await.unwrap());
    }

    async fn balance(&self, payee: Payee) -> PayeeBalance {
        self.books.balance(payee).await.unwrap()
    }

    async fn open(&self, payee: Payee, amount: Msat, key: &str) -> Result<PayoutId, BooksError> {
        self.books
            .open_payout(payout(payee, amount, key), NOW_MS)
            .await
    }

    async fn consent(&self, terms: &str, actor: &str) -> Consent {
        let (terms, actor) = (terms.to_owned(), actor.to_owned());
        let subject = "the tests".to_owned();
        // Nobody speaks twice in a millisecond.
        let at_ms = NOW_MS + SPOKEN.fetch_add(1, Ordering::Relaxed);
        let consent = self
            .books
            .consent(subject, terms, actor, i64::MAX, at_ms)
            .await;
        consent.unwrap()
    }

    /// The word of two persons, fresh.
    async fn two(&self) -> TwoActors {
        self.consent("all", "ann").await;
        match self.consent("all", "ben").await {
            Consent::Both(two) => two,
            Consent::First => panic!("ann has agreed"),
        }
    }

    /// A payout to alice with a prepared attempt.
    async fn prepared(&self, amount: Msat, n: u8) -> (PayoutId, AttemptId) {
        let payout = self
            .open(alice(), amount, &format!("prepared {n}"))
            .await
            .unwrap();
        let attempt = attempt(payout, amount, n);
        let attempt = self.books.prepare_attempt(attempt, NOW_MS).await.unwrap();
        (payout, attempt)
    }

    /// A payout to alice with an attempt that was sent.
    async fn sent(&self, amount: Msat, n: u8) -> (PayoutId, AttemptId) {
        let (payout, attempt) = self.prepared(amount, n).await;
        self.dispatch(attempt).await.unwrap();
        (payout, attempt)
    }

    async fn dispatch(&self, attempt: AttemptId) -> Result<(), BooksError> {
        let channels = vec!["1x1x1".to_owned(), "2x2x2".to_owned()];
        self.books.dispatched(attempt, 300, channels, NOW_MS).await
    }

    async fn fail(&self, attempt: AttemptId) -> bool {
        let failed = self.books.failed_final(
            attempt,
            "no_route".to_owned(),
            "the wallet says failed".to_owned(),
            NOW_MS + 60_000,
            NOW_MS,
        );
        failed.await.unwrap()
    }

    async fn prepare(
        &self,
        payout: PayoutId,
        amount: Msat,
        n: u8,
    ) -> Result<AttemptId, BooksError> {
        let attempt = attempt(payout, amount, n);
        self.books.prepare_attempt(attempt, NOW_MS).await
    }

    async fn settle(&self, attempt: AttemptId, n: u8, fee: u64) -> Settlement {
        let settled = self.books.settled(attempt, preimage(n), Msat(fee), NOW_MS);
        settled.await.unwrap()
    }

    async fn freeze(&self) {
        let freeze = self
            .books
            .freeze("look".to_owned(), "ann".to_owned(), NOW_MS);
        freeze.await.unwrap();
    }

    async fn unfreeze(&self) {
        let unfreeze = self
            .books
            .unfreeze(self.two().await, "seen".to_owned(), NOW_MS);
        assert!(unfreeze.await.unwrap());
    }

    async fn cancel(&self, payout: PayoutId) -> Result<(), BooksError> {
        let (actor, reason) = ("ann".to_owned(), "by mistake".to_owned());
        let cancelled = self.books.cancel_payout(payout, actor, reason, NOW_MS + 1);
        cancelled.await
    }

    async fn state(&self, payout: PayoutId) -> PayoutState {
        let story = self.books.payout(payout).await.unwrap().unwrap();
        story.payout.state
    }

    /// The books are sound.
    async fn check(&self) {
        let verification = self.books.verify().await.unwrap();
        assert_eq!(verification.findings, Vec::<String>::new());
    }
}

fn to(payee: &Payee) -> PayTo {
    let text = payee.to_string();
    PayTo {
        kind: DestinationKind::LnAddress,
        text: text.strip_prefix("miner:").unwrap_or(&text).to_owned(),
    }
}

fn payout(payee: Payee, amount: Msat, key: &str) -> NewPayout {
    NewPayout {
        to: to(&payee),
        payee,
        amount,
        key: key.to_owned(),
        rule: "threshold".to_owned(),
        approvals_needed: 0,
    }
}

fn preimage(n: u8) -> [u8; 32] {
    [n; 32]
}

fn payment_hash(n: u8) -> [u8; 32] {
    sha256::Hash::hash(&preimage(n)).to_byte_array()
}

fn attempt(payout: PayoutId, amount: Msat, n: u8) -> NewAttempt {
    NewAttempt {
        payout,
        payment_hash: payment_hash(n),
        invoice: format!("lnbc{n}"),
        amount,
        max_fee: Msat(5_000),
        cltv_limit: 400,
        wallet_node: "02aa".to_owned(),
        invoice_expires_at_ms: NOW_MS + 3_600_000,
        day_limit: None,
    }
}

/// What the call was refused with.
#[track_caller]
fn refusal<T: std::fmt::Debug>(result: Result<T, BooksError>) -> String {
    let error = result.unwrap_err();
    assert!(!matches!(error, BooksError::Ledger(_)), "{error:?}");
    error.to_string()
}
