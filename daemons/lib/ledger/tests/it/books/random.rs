//! Any sequence of what chains, wallets, operators and restarts do keeps the books whole.

mod believing;

use hh_ledger::books::{
    AdoptedPayment, Attempt, AttemptState, Held, Page, PayoutFilter, Settlement, WalletChange,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;

/// What may happen. Numbers choose among what there is.
#[derive(Debug, Clone)]
enum Event {
    Split(u8),
    Mature(u8),
    Reverse(u8),
    Unsplit(u8),
    Open(u8, u64),
    Cancel(usize),
    Prepare(usize),
    Dispatch(usize),
    InFlight(usize),
    Unknown(usize),
    NeverSent(usize),
    Settle(usize, u64),
    Fail(usize),
    Abandon(usize),
    NeedsOperator(usize),
    Close(usize),
    RetryNow(usize),
    Freeze,
    Unfreeze,
    Hold(u8),
    Release(u8),
    Book(u8, u64),
    Deposit(u64),
    Distribute(u64),
    Adopt(u8, u64),
    Reopen,
}

fn event() -> impl Strategy<Value = Event> {
    let block = 1_u8..4;
    let payee = 0_u8..4;
    let which = 0_usize..3;
    let part = 1_u64..5;
    prop_oneof![
        4 => block.clone().prop_map(Event::Split),
        5 => block.clone().prop_map(Event::Mature),
        2 => block.clone().prop_map(Event::Reverse),
        1 => block.prop_map(Event::Unsplit),
        8 => (payee.clone(), part.clone()).prop_map(|(payee, part)| Event::Open(payee, part)),
        2 => which.clone().prop_map(Event::Cancel),
        8 => which.clone().prop_map(Event::Prepare),
        8 => which.clone().prop_map(Event::Dispatch),
        2 => which.clone().prop_map(Event::InFlight),
        3 => which.clone().prop_map(Event::Unknown),
        2 => which.clone().prop_map(Event::NeverSent),
        6 => (which.clone(), 0_u64..9_000).prop_map(|(which, fee)| Event::Settle(which, fee)),
        5 => which.clone().prop_map(Event::Fail),
        2 => which.clone().prop_map(Event::Abandon),
        2 => which.clone().prop_map(Event::NeedsOperator),
        2 => which.clone().prop_map(Event::Close),
        2 => which.prop_map(Event::RetryNow),
        1 => Just(Event::Freeze),
        2 => Just(Event::Unfreeze),
        1 => payee.clone().prop_map(Event::Hold),
        2 => payee.clone().prop_map(Event::Release),
        2 => (0_u8..5, part.clone()).prop_map(|(kind, amount)| Event::Book(kind, amount)),
        1 => part.clone().prop_map(Event::Deposit),
        1 => part.clone().prop_map(Event::Distribute),
        1 => (payee, part).prop_map(|(payee, part)| Event::Adopt(payee, part)),
        1 => Just(Event::Reopen),
    ]
}

fn payee(n: u8) -> Payee {
    match n {
        0 => alice(),
        1 => bob(),
        2 => Payee::Treasury,
        _ => Payee::NodeReserve,
    }
}

/// Of payment `n`.
fn secret(n: u64) -> [u8; 32] {
    let mut preimage = [1; 32];
    preimage[..8].copy_from_slice(&n.to_be_bytes());
    preimage
}

fn secret_hash(n: u64) -> [u8; 32] {
    sha256::Hash::hash(&secret(n)).to_byte_array()
}

/// What a sum of money that everybody can count is.
#[derive(Debug, Default)]
struct Counted {
    received: i64,
    paid: i64,
    fees: i64,
}

/// A treasury, and what a bystander has counted.
struct World {
    desk: Desk,
    counted: Counted,
    payouts: Vec<PayoutId>,
    attempts: Vec<(AttemptId, u64)>,
    payable: Vec<u8>,
    number: u64,
}

/// Takes what was done; a refusal is no trouble, a database that objects is.
fn done<T>(result: Result<T, BooksError>) -> Option<T> {
    match result {
        Ok(done) => Some(done),
        Err(
            error @ (BooksError::Ledger(_)
            | BooksError::Unbalanced { .. }
            | BooksError::Witness { .. }),
        ) => {
            panic!("{error}: {error:?}")
        }
        Err(_) => None,
    }
}

fn from_end<T: Copy>(all: &[T], which: usize) -> Option<T> {
    let last = all.len().checked_sub(1)?;
    all.get(last.checked_sub(which)?).copied()
}

impl World {
    async fn new(site: Site) -> Self {
        let desk = Desk::new(site);
        let set = hh_ledger::books::NewDestination {
            payee: Payee::Treasury,
            seq: 1,
            kind: DestinationKind::LnAddress,
            text: "treasury".to_owned(),
            proof: "ann and ben".to_owned(),
            cooling_off_ms: 0,
        };
        desk.books.set_destination(set, NOW_MS).await.unwrap();
        Self {
            desk,
            counted: Counted::default(),
            payouts: Vec::new(),
            attempts: Vec::new(),
            payable: Vec::new(),
            number: 0,
        }
    }

    fn next(&mut self) -> u64 {
        self.number += 1;
        self.number
    }

    async fn split(&mut self, n: u8) {
        let books = &self.desk.books;
        done(books.track_block(new_block(n, "bob@example.org")).await);
        done(
            books
                .set_block_state(hash(n), BookBlockState::Accepted, 1, None, NOW_MS)
                .await,
        );
        let shares: [(&str, Option<&str>, u128); 2] = [
            (
                "alice@example.org",
                Some("oslo"),
                u128::from(self.number) + 1,
            ),
            ("bob@example.org", None, u128::from(n)),
        ];
        done(
            books
                .post_split(split(n, &shares, "bob@example.org"), NOW_MS)
                .await,
        );
    }

    async fn mature(&mut self, n: u8) {
        let books = &self.desk.books;
        done(
            books
                .set_block_state(hash(n), BookBlockState::Mature, 101, None, NOW_MS)
                .await,
        );
        if done(books.mature(hash(n), NOW_MS).await) == Some(true) {
            self.counted.received += i64::try_from(VALUE_SATS * 1_000).unwrap();
            self.payable.push(n);
        }
    }

    async fn reverse(&mut self, n: u8) {
        if done(
            self.desk
                .books
                .reverse(hash(n), "reorg".to_owned(), NOW_MS)
                .await,
        )
        .is_some()
            && self.payable.contains(&n)
        {
            self.payable.retain(|payable| *payable != n);
            self.counted.received -= i64::try_from(VALUE_SATS * 1_000).unwrap();
        }
    }

    async fn open(&mut self, n: u8, part: u64) {
        let payee = payee(n);
        let has = self.desk.balance(payee.clone()).await.payable;
        let key = format!("request {}", self.next());
        if let Some(id) = done(self.desk.open(payee, Msat(has.0 / part), &key).await) {
            self.payouts.push(id);
        }
    }

    async fn prepare(&mut self, which: usize) {
        let Some(id) = from_end(&self.payouts, which) else {
            return;
        };
        let n = self.next();
        let payout = self.desk.books.payout(id).await.unwrap().unwrap().payout;
        let new = NewAttempt {
            payment_hash: secret_hash(n),
            ..attempt(id, payout.amount, 0)
        };
        if let Some(attempt) = done(self.desk.books.prepare_attempt(new, NOW_MS).await) {
            self.attempts.push((attempt, n));
        }
    }

    async fn settle(&mut self, which: usize, fee: u64) {
        let Some((id, n)) = from_end(&self.attempts, which) else {
            return;
        };
        let found = self
            .desk
            .books
            .attempts_by_hash(vec![secret_hash(n)])
            .await
            .unwrap();
        let settled = self
            .desk
            .books
            .settled(id, secret(n), Msat(fee), NOW_MS)
            .await;
        if settled.unwrap() != Settlement::Known {
            self.counted.paid += i64::try_from(found[0].amount.0).unwrap();
            self.counted.fees += i64::try_from(fee).unwrap();
        }
    }

    async fn adopt(&mut self, n: u8, part: u64) {
        let payee = payee(n);
        let has = self.desk.balance(payee.clone()).await;
        let amount = Msat((has.payable.0 + has.held_by_payouts.0) / part);
        let n = self.next();
        let payment = AdoptedPayment {
            to: to(&payee),
            payee,
            payment_hash: secret_hash(n),
            preimage: secret(n),
            amount,
            fee: Msat(9),
            wallet_node: "02aa".to_owned(),
            evidence: "history".to_owned(),
        };
        if done(
            self.desk
                .books
                .adopt_payment(payment, self.desk.two().await, NOW_MS)
                .await,
        )
        .is_some()
        {
            self.counted.paid += i64::try_from(amount.0).unwrap();
            self.counted.fees += 9;
        }
    }

    async fn book(&mut self, kind: u8, amount: u64) {
        let key = format!("change {}", self.next());
        let amount = amount * 1_001;
        let (change, counted, change_of) = match (kind, Msat(amount)) {
            (0, amount) => (WalletChange::OnchainFee(amount), &mut self.counted.fees, 1),
            (1, amount) => (WalletChange::ChannelFee(amount), &mut self.counted.fees, 1),
            (2, amount) => (
                WalletChange::RoutingIncome(amount),
                &mut self.counted.received,
                1,
            ),
            (3, amount) => (
                WalletChange::UnexplainedIn(amount),
                &mut self.counted.received,
                1,
            ),
            (_, amount) => (
                WalletChange::UnexplainedOut(amount),
                &mut self.counted.received,
                -1,
            ),
        };
        if done(self.desk.book(change, &key).await).is_some() {
            *counted += change_of * i64::try_from(amount).unwrap();
        }
    }

    /// What operators and the wallet do to a payout or an attempt.
    async fn act(&mut self, event: &Event) {
        let books = &self.desk.books;
        let text = || "random".to_owned();
        let payout = |which: usize| from_end(&self.payouts, which);
        let attempt = |which: usize| from_end(&self.attempts, which).map(|(id, _)| id);
        match *event {
            Event::Cancel(which) => {
                if let Some(id) = payout(which) {
                    done(books.cancel_payout(id, text(), text(), NOW_MS).await);
                }
            }
            Event::NeedsOperator(which) => {
                if let Some(id) = payout(which) {
                    done(books.needs_operator(id, text(), NOW_MS).await);
                }
            }
            Event::Close(which) => {
                if let Some(id) = payout(which) {
                    done(
                        books
                            .close_failed(id, self.desk.two().await, text(), 701, NOW_MS)
                            .await,
                    );
                }
            }
            Event::RetryNow(which) => {
                if let Some(id) = payout(which) {
                    done(books.retry_now(id, text(), NOW_MS).await);
                }
            }
            Event::Dispatch(which) => {
                if let Some(id) = attempt(which) {
                    done(self.desk.dispatch(id).await);
                }
            }
            Event::InFlight(which) => {
                if let Some(id) = attempt(which) {
                    done(books.in_flight(id, NOW_MS).await);
                }
            }
            Event::Unknown(which) => {
                if let Some(id) = attempt(which) {
                    done(books.unknown(id, text(), NOW_MS).await);
                }
            }
            Event::NeverSent(which) => {
                if let Some(id) = attempt(which) {
                    done(books.never_sent(id, text(), NOW_MS).await);
                }
            }
            Event::Fail(which) => {
                if let Some(id) = attempt(which) {
                    done(books.failed_final(id, text(), text(), NOW_MS, NOW_MS).await);
                }
            }
            Event::Abandon(which) => {
                if let Some(id) = attempt(which) {
                    done(books.abandoned(id, text(), NOW_MS).await);
                }
            }
            _ => unreachable!("it has a method of its own"),
        }
    }

    async fn happen(mut self, event: &Event) -> Self {
        let text = || "random".to_owned();
        match *event {
            Event::Split(n) => self.split(n).await,
            Event::Mature(n) => self.mature(n).await,
            Event::Reverse(n) => self.reverse(n).await,
            Event::Unsplit(n) => {
                done(self.desk.books.unsplit(hash(n), text(), NOW_MS).await);
            }
            Event::Open(n, part) => self.open(n, part).await,
            Event::Prepare(which) => self.prepare(which).await,
            Event::Settle(which, fee) => self.settle(which, fee).await,
            Event::Freeze => {
                done(self.desk.books.freeze(text(), text(), NOW_MS).await);
            }
            Event::Unfreeze => {
                done(
                    self.desk
                        .books
                        .unfreeze(self.desk.two().await, text(), NOW_MS)
                        .await,
                );
            }
            Event::Hold(n) => {
                let held = Held::Payee(payee(n));
                done(self.desk.books.hold(held, text(), text(), NOW_MS).await);
            }
            Event::Release(n) => {
                let held = Held::Payee(payee(n));
                done(self.desk.books.release(held, text(), NOW_MS).await);
            }
            Event::Book(kind, amount) => self.book(kind, amount).await,
            Event::Deposit(amount) => {
                let key = format!("deposit {}", self.next());
                let deposit = self
                    .desk
                    .books
                    .deposit_capital(Msat(amount), text(), key, NOW_MS);
                done(deposit.await);
            }
            Event::Distribute(part) => {
                let has = self.desk.balance(Payee::NodeReserve).await.payable;
                let parts = vec![("oslo".to_owned(), Msat(has.0 / part))];
                done(
                    self.desk
                        .books
                        .distribute_reserve(parts, self.desk.two().await, NOW_MS)
                        .await,
                );
            }
            Event::Adopt(n, part) => self.adopt(n, part).await,
            Event::Reopen => self.desk = self.desk.reopened(),
            _ => self.act(event).await,
        }
        self
    }

    /// What holds at any time.
    async fn check(&self) {
        let books = &self.desk.books;
        let mut findings = books.verify().await.unwrap().findings;
        // An orphan takes its money from the wallet, also what was paid from it.
        findings
            .retain(|finding| !finding.starts_with("account wallet: has the impossible balance"));
        assert_eq!(findings, Vec::<String>::new());

        let totals = books.totals().await.unwrap();
        let Counted {
            received,
            paid,
            fees,
        } = self.counted;
        let of = |amount: Msat| i64::try_from(amount.0).unwrap();
        assert_eq!(
            (totals.received_msat, of(totals.paid), of(totals.fees())),
            (received, paid, fees)
        );
        assert_eq!(totals.wallet_msat, received - paid - fees);
        let owed = of(totals.payable) + of(totals.open_payouts) + of(totals.reserves);
        assert_eq!(
            received,
            paid + fees + owed + totals.suspense_msat + totals.treasury_msat
        );
        assert_eq!(totals.coinbase, totals.immature);

        let mut live: Vec<PayoutId> = Vec::new();
        for attempt in books.open_attempts().await.unwrap() {
            assert!(
                !live.contains(&attempt.payout),
                "two live attempts of payout {}",
                attempt.payout
            );
            live.push(attempt.payout);
        }
        for payout in books
            .payouts(PayoutFilter::default(), Page::first(1_000))
            .await
            .unwrap()
        {
            let story = books.payout(payout.id).await.unwrap().unwrap();
            let settled = |attempt: &&Attempt| attempt.state == AttemptState::Settled;
            assert!(
                story.attempts.iter().filter(settled).count() <= 1,
                "{story:?}"
            );
        }
    }
}

async fn anything(site: Site, events: &[Event]) {
    let mut world = World::new(site).await;
    for (event, number) in events.iter().zip(1..) {
        world = world.happen(event).await;
        if number % 16 == 0 {
            world.check().await;
        }
    }
    world.check().await;
}

/// A ledger in memory where there is such a place: no disk is tried here, and there are thousands of commits.
fn in_memory() -> Site {
    let memory = tempfile::tempdir_in("/dev/shm");
    let dir = memory.or_else(|_none| tempfile::tempdir()).unwrap();
    Site::new(crate::Place::Directory(dir))
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config {
        cases,
        failure_persistence: None,
        max_shrink_iters: 200,
        ..Config::default()
    })
}

#[test]
fn the_books_stay_whole_whatever_happens() {
    let run = |events: Vec<Event>| {
        runtime().block_on(anything(in_memory(), &events));
        Ok(())
    };
    runner(48).run(&vec(event(), 1..120), run).unwrap();
}

#[test]
fn the_books_stay_whole_on_postgres_too() {
    let run = |events: Vec<Event>| {
        if let Some(site) = Site::postgres() {
            runtime().block_on(anything(site, &events));
        }
        Ok(())
    };
    runner(6).run(&vec(event(), 60..120), run).unwrap();
}
