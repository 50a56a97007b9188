//! The resolving step for an offer: its invoice is fetched, checked, and then paid by its hash like any other.

mod fake_cln;

use super::*;
use crate::payouts::sample::{books, carol, config};
use fake_cln::{Answer as PayeesAnswer, FakeCln, node};
use hh_daemon::Tasks;
use hh_ledger::books::{Approval, NewPayout, PayTo, PayoutState};
use hh_lightning::Wallet;
use hh_lightning::cln::{ClnConfig, ClnWallet};
use hh_trust::directory_feed::TrustConfig;
use hh_trust::operator_key::OperatorList;
use std::sync::Arc;
use tempfile::TempDir;

const OFFER: &str = "lno1pg257enxv4ezqcneype82um50ynhxgrwdajx293pqglnyxw6q0hzngfdusg8umzuxe8kquuz7pjl90ldj8wadwgs0xlmc";

const AMOUNT: Msat = Msat(5_000_000);

/// alice, of the configuration; none where it has no keys.
fn operators(keys: &[(&str, &str)]) -> Operators {
    let keys = keys.iter();
    let keys = keys.map(|(name, key)| (name.parse().unwrap(), key.parse().unwrap()));
    let listed = OperatorList::new(keys.collect()).unwrap();
    let domain = "hyperhash.test".parse().unwrap();
    let trust = TrustConfig {
        domain: Some(&domain),
        operators: &listed,
        directory: None,
    };
    Operators::new(&trust, "signet", watch::channel(Arc::default()).1)
}

fn issuer() -> PublicKey {
    let offer: Offer = OFFER.parse().unwrap();
    offer.issuer_signing_pubkey().unwrap()
}

/// An invoice as it should be.
fn good(n: u8) -> PayeesAnswer {
    PayeesAnswer {
        amount_msat: AMOUNT.0,
        hash: [n; 32],
        payee: issuer(),
        expiry_s: 600,
    }
}

struct Desk {
    payer: Payer,
    cln: FakeCln,
    _dir: TempDir,
}

impl Desk {
    async fn new(answer: PayeesAnswer) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = config(dir.path());
        let cln = FakeCln::start(answer);
        let wallet = ClnConfig {
            socket: cln.socket(),
            network: Network::Signet,
        };
        let wallet = ClnWallet::start(wallet, &Tasks::default()).await.unwrap();
        let payer = Payer {
            books: books(dir.path(), DestinationKind::Bolt12, OFFER).await,
            wallet: WalletLink::of(Wallet::Cln(wallet)),
            destinations: Destinations::new(&config).unwrap(),
            operators: operators(&[]),
            tip: watch::channel(None).1,
            chain: Network::Signet,
            backoff: config.payouts.backoff(),
            rules: config.payouts.rules(),
            cltv_limit: config.payouts.cltv_limit_blocks,
        };
        Self {
            payer,
            cln,
            _dir: dir,
        }
    }

    async fn open(&self, key: &str) -> Payout {
        self.open_for(key, 0).await
    }

    /// One that waits for so many approvals.
    async fn open_for(&self, key: &str, approvals_needed: u32) -> Payout {
        let new = NewPayout {
            payee: carol(),
            amount: AMOUNT,
            to: PayTo {
                kind: DestinationKind::Bolt12,
                text: OFFER.to_owned(),
            },
            key: key.to_owned(),
            rule: "due".to_owned(),
            approvals_needed,
        };
        let id = self.payer.books.open_payout(new, unix_ms()).await.unwrap();
        self.payer.payout(id).await.unwrap().unwrap()
    }

    async fn attempt(&self, payout: PayoutId) -> Attempt {
        let story = self.payer.books.payout(payout).await.unwrap().unwrap();
        let mut attempts = story.attempts;
        assert_eq!(attempts.len(), 1, "{attempts:?}");
        attempts.remove(0)
    }
}

#[tokio::test]
async fn an_approval_of_who_is_no_operator_any_more_sends_nothing() {
    let mut desk = Desk::new(good(3)).await;
    let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIqI4910CfGV/VLbLTy6XXLKZwm/HZQSG/N0iAG0D29c";
    desk.payer.operators = operators(&[("alice", key)]);
    let payout = desk.open_for("p", 1).await;
    let approve = async |actor: &str| {
        let approval = Approval {
            payout: payout.id,
            actor: actor.to_owned(),
            amount: AMOUNT,
            to: payout.to.clone(),
            until_ms: unix_ms() + 60_000,
        };
        let approved = desk.payer.books.approve_payout(approval, unix_ms());
        approved.await.unwrap();
    };
    // His key was revoked since; and a user of the machine, from before keys were listed.
    approve("key:eve").await;
    approve("ann").await;
    let refused = desk.payer.send(&payout).await.unwrap_err();
    let is_not_approved = matches!(
        refused,
        NotSent::Books(BooksError::NotApproved { found: 0, .. })
    );
    assert!(is_not_approved, "{refused}");
    assert_eq!(desk.cln.calls_of("xpay").len(), 0);
    approve("key:alice").await;
    desk.payer.send(&payout).await.unwrap();
}

#[tokio::test]
async fn an_offers_invoice_is_written_down_with_its_hash_before_it_is_paid() {
    let desk = Desk::new(good(3)).await;
    let payout = desk.open("p").await;
    desk.payer.send(&payout).await.unwrap();
    let attempt = desk.attempt(payout.id).await;
    assert_eq!(attempt.payment_hash, [3; 32]);
    assert_eq!(attempt.state, AttemptState::InFlight);
    assert_eq!(attempt.invoice, "lni1fetched");
    let fetched = desk.cln.calls_of("fetchinvoice");
    assert_eq!((fetched.len(), &fetched[0]["offer"]), (1, &OFFER.into()));
    assert_eq!(fetched[0]["amount_msat"], "5000000msat");
    let paid = desk.cln.calls_of("xpay");
    assert_eq!(
        (paid.len(), &paid[0]["invstring"]),
        (1, &"lni1fetched".into())
    );
    assert_eq!(paid[0]["maxfee"], format!("{}msat", attempt.max_fee.0));
    // While it may settle there is no other.
    let refused = desk.payer.send(&payout).await.unwrap_err();
    assert!(matches!(refused, NotSent::Books(_)), "{refused}");
    assert_eq!(desk.cln.calls_of("xpay").len(), 1);
}

#[tokio::test]
async fn an_invoice_that_is_not_the_offers_or_not_payable_is_fetched_again_later() {
    let desk = Desk::new(good(3)).await;
    let payout = desk.open("p").await;
    for (wrong, words) in [
        (
            PayeesAnswer {
                amount_msat: AMOUNT.0 + 1,
                ..good(3)
            },
            "an invoice for 5000.001 sat",
        ),
        (
            PayeesAnswer {
                payee: node(7),
                ..good(3)
            },
            "whose offer it is",
        ),
        (
            PayeesAnswer {
                expiry_s: 30,
                ..good(3)
            },
            "less than",
        ),
    ] {
        desk.cln.answers(wrong);
        let error = desk.payer.send(&payout).await.unwrap_err();
        assert!(matches!(error, NotSent::NoInvoice(_)), "{error:?}");
        let text = hh_daemon::Chain(&error).to_string();
        assert!(text.contains(words), "{text}");
        let state = desk.payer.payout(payout.id).await.unwrap().unwrap().state;
        assert_eq!(state, PayoutState::RetryWait);
    }
    assert!(desk.cln.calls_of("xpay").is_empty());
}

#[tokio::test]
async fn a_hash_that_was_tried_is_not_paid_again() {
    let desk = Desk::new(good(3)).await;
    let first = desk.open("p").await;
    desk.payer.send(&first).await.unwrap();
    let attempt = desk.attempt(first.id).await;
    let payer = &desk.payer;
    payer
        .fail(attempt.id, &first, "other", "it failed")
        .await
        .unwrap();
    let again = payer.send(&first).await.unwrap_err();
    assert!(
        matches!(again, NotSent::NoInvoice(NoInvoice::Used)),
        "{again:?}"
    );
    desk.cln.answers(good(4));
    payer.send(&first).await.unwrap();
    assert_eq!(desk.cln.calls_of("xpay").len(), 2);
}

/// After a crash before the call: the invoice is not sent, and another one is fetched.
#[tokio::test]
async fn one_that_was_prepared_and_not_sent_is_given_up() {
    let desk = Desk::new(good(3)).await;
    let payout = desk.open("p").await;
    let ready = desk.payer.wallet.readiness(AMOUNT, None).await.unwrap();
    let order = desk.payer.order(&payout, &ready).await.unwrap();
    let prepared = desk.payer.attempt(&payout, &order, &ready);
    let books = &desk.payer.books;
    let id = books.prepare_attempt(prepared, unix_ms()).await.unwrap();
    let attempt = desk.attempt(payout.id).await;
    assert_eq!((attempt.id, attempt.state), (id, AttemptState::Prepared));
    let progress = desk.payer.resolve(&attempt).await.unwrap();
    assert_eq!(progress, Progress::Ended);
    let attempt = desk.attempt(payout.id).await;
    assert_eq!(attempt.state, AttemptState::Abandoned);
    assert!(desk.cln.calls_of("xpay").is_empty());
}
