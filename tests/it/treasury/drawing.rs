//! A miner whose account is a name draws what he has earned by invoices of his own wallet, with the key that he has set for that.

use super::world::World;
use hh_ipc::ApiError;
use hh_ipc::api::treasury::{
    CancelRequest, CreateAccountRequest, DestinationKind, DrawRequest, HoldRequest, InvoiceRequest,
    Payout, PayoutQuery, PayoutState, SetDestinationRequest, TreasuryClient, WalletSightState,
};
use hh_ipc::client::within;
use hh_lightning::InvoiceDetails;
use hh_mining::{Msat, Network as ChainName};
use hh_tests::bitcoin_core::Chain;
use hh_tests::network::CALL;
use hh_trust::PaymentOrder;
use hh_trust::payment_order::draw_text;
use ring::signature::{Ed25519KeyPair, KeyPair};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const CONFIG: &str = "[payouts]\napproval_above_sat = 300000\ncooling_off_seconds = 0\n";

/// Below what waits for two operators.
const SMALL_MSAT: u64 = 250_000_123;

/// Above it, and less than one payout may have.
const LARGE_MSAT: u64 = 400_000_000;

const HOUR: Duration = Duration::from_secs(3_600);

struct Key(Ed25519KeyPair);

impl Key {
    fn new(n: u8) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[n; 32]).unwrap())
    }

    fn public(&self) -> String {
        hex::encode(self.0.public_key().as_ref())
    }

    fn sign(&self, text: &str) -> String {
        hex::encode(self.0.sign(text.as_bytes()).as_ref())
    }
}

/// Alice, with her wallet: the one of the node that the treasury has a channel with.
struct Alice<'a> {
    world: &'a World,
    client: TreasuryClient,
    owner: Key,
    drawing: Key,
}

impl Alice<'_> {
    /// Lets a key draw, with the owner's signature.
    async fn lets_draw(&self, key: &Key, seq: u64) -> Result<(), ApiError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let until = i64::try_from(now.as_secs()).unwrap() + 3_600;
        let text = key.public();
        let order = PaymentOrder::new(ChainName::Regtest, "alice", &text, seq, until).unwrap();
        let request = SetDestinationRequest {
            name: "alice".to_owned(),
            kind: DestinationKind::DrawingKey,
            text,
            seq,
            until,
            signature: self.owner.sign(order.text()),
        };
        let set = self.client.set_destination(within(CALL), request).await;
        set.unwrap().map(|_| ())
    }

    async fn invoice(&self, msat: u64, expiry: Duration) -> String {
        let request = hh_lightning::InvoiceRequest {
            amount: Some(Msat(msat)),
            details: InvoiceDetails::Text("what alice has earned".to_owned()),
            expiry,
        };
        let invoice = self.world.wallet.wallet.invoice(&request).await;
        invoice.unwrap().to_string()
    }

    async fn draw_with(&self, key: &Key, invoice: &str) -> Result<Payout, ApiError> {
        let text = draw_text(ChainName::Regtest, "alice", invoice);
        let request = DrawRequest {
            name: "alice".to_owned(),
            invoice: invoice.to_owned(),
            signature: key.sign(&text),
        };
        self.client.draw(within(CALL), request).await.unwrap()
    }

    async fn draw(&self, invoice: &str) -> Result<Payout, ApiError> {
        self.draw_with(&self.drawing, invoice).await
    }

    #[track_caller]
    fn is_refused(drawn: Result<Payout, ApiError>, code: &str, words: &str) {
        let error = drawn.unwrap_err();
        assert_eq!(error.code, code, "{error:?}");
        assert!(error.message.contains(words), "{error:?}");
    }

    async fn payouts(&self) -> Vec<Payout> {
        let query = PayoutQuery {
            payee: Some("miner:alice".to_owned()),
            ..PayoutQuery::default()
        };
        let page = self.client.payouts(within(CALL), query).await;
        page.unwrap().unwrap().payouts
    }

    async fn payable(&self) -> i64 {
        let account = self.client.account(within(CALL), "alice".to_owned()).await;
        account.unwrap().unwrap().payable_msat
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_miner_draws_by_invoice_once_with_the_key_that_he_has_set() {
    let world = World::start_with(Chain::Regtest, async |_, _| CONFIG.to_owned()).await;
    let client = world.treasury.client().await;
    let alice = Alice {
        world: &world,
        client: world.treasury.client().await,
        owner: Key::new(1),
        drawing: Key::new(2),
    };
    let create = CreateAccountRequest {
        name: "alice".to_owned(),
        owner_key: Some(alice.owner.public()),
    };
    let created = client.create_account(within(CALL), create).await;
    created.unwrap().unwrap();
    let hash = world.find_block().await;
    world.mature(hash).await;
    world.open_channel(&client).await;

    who_may_draw(&alice).await;
    let paid = an_invoice_is_paid_once(&alice).await;
    what_can_not_be_paid_is_not_taken(&alice).await;
    one_that_is_large_waits_for_two_operators(&alice).await;

    // The hash leads to all of it.
    let track = client.payment(within(CALL), paid.payment_hash.clone().unwrap());
    let track = track.await.unwrap().unwrap();
    assert_eq!(track.payout.unwrap().payout.id, paid.id);
    assert_eq!(track.wallet.state, WalletSightState::Settled);
    let unknown = client.payment(within(CALL), "07".repeat(32)).await;
    let unknown = unknown.unwrap().unwrap();
    assert!(unknown.payout.is_none(), "{unknown:?}");
    assert_eq!(unknown.wallet.state, WalletSightState::Absent);
    let totals = world.wait_until_books_balance().await;
    assert_eq!(totals.paid_msat, i64::try_from(SMALL_MSAT).unwrap());
}

/// Nobody before a key is set, and then whoever has that key: not the owner's, which says where the account is paid.
async fn who_may_draw(alice: &Alice<'_>) {
    let invoice = alice.invoice(SMALL_MSAT, HOUR).await;
    let early = alice.draw(&invoice).await;
    Alice::is_refused(early, "HH4032", "has no drawing key");
    let own = alice.lets_draw(&alice.owner, 1).await.unwrap_err();
    assert!(own.message.contains("does not draw"), "{own:?}");
    alice.lets_draw(&alice.drawing, 1).await.unwrap();
    for key in [&alice.owner, &Key::new(3)] {
        let refused = alice.draw_with(key, &invoice).await;
        Alice::is_refused(refused, "HH4020", "the drawing key");
    }
    assert_eq!(alice.payouts().await, [], "no rule pays her either");
}

async fn an_invoice_is_paid_once(alice: &Alice<'_>) -> Payout {
    let before = alice.payable().await;
    let invoice = alice.invoice(SMALL_MSAT, HOUR).await;
    let drawn = alice.draw(&invoice).await.unwrap();
    let paid = alice.world.treasury.wait_until_settled(drawn.id).await;
    assert_eq!((paid.amount_msat, paid.attempts), (SMALL_MSAT, 1));
    // As where the first answer was lost.
    let again = alice.draw(&invoice).await.unwrap();
    assert_eq!((again.id, again.state), (drawn.id, PayoutState::Settled));
    assert_eq!(alice.world.received(SMALL_MSAT), 1);
    let taken = before - alice.payable().await;
    assert_eq!(taken, i64::try_from(SMALL_MSAT).unwrap());
    paid
}

async fn what_can_not_be_paid_is_not_taken(alice: &Alice<'_>) {
    let minute = Duration::from_secs(60);
    for (invoice, words) in [
        (alice.invoice(1_000_001_000, HOUR).await, "at most"),
        (alice.invoice(999_999, HOUR).await, "at least"),
        (
            alice.invoice(SMALL_MSAT, minute).await,
            "another 10 minutes",
        ),
        (alice.invoice(LARGE_MSAT, HOUR).await, "two operators"),
    ] {
        Alice::is_refused(alice.draw(&invoice).await, "HH4021", words);
    }
    let own = InvoiceRequest {
        amount_msat: Some(SMALL_MSAT),
        description: "to itself".to_owned(),
        expiry_seconds: 3_600,
    };
    let own = alice.client.invoice(within(CALL), own).await;
    let own = alice.draw(&own.unwrap().unwrap()).await;
    Alice::is_refused(own, "HH4021", "our own wallet's");
    let shouted = alice.invoice(SMALL_MSAT, HOUR).await.to_uppercase();
    Alice::is_refused(alice.draw(&shouted).await, "HH4005", "is written lnbcrt");
    let hold = |is_held| HoldRequest {
        target: "miner:alice".to_owned(),
        is_held,
        reason: "disputed".to_owned(),
    };
    let invoice = alice.invoice(SMALL_MSAT, HOUR).await;
    let held = alice.client.payout_hold(within(CALL), hold(true)).await;
    held.unwrap().unwrap();
    Alice::is_refused(alice.draw(&invoice).await, "HH4012", "disputed");
    let released = alice.client.payout_hold(within(CALL), hold(false)).await;
    released.unwrap().unwrap();
    assert_eq!(alice.payouts().await.len(), 1, "nothing was opened");
}

async fn one_that_is_large_waits_for_two_operators(alice: &Alice<'_>) {
    let invoice = alice.invoice(LARGE_MSAT, 24 * HOUR).await;
    let drawn = alice.draw(&invoice).await.unwrap();
    assert_eq!(drawn.state, PayoutState::WaitingForApproval);
    let second = alice.invoice(SMALL_MSAT, HOUR).await;
    let second = alice.draw(&second).await;
    Alice::is_refused(second, "HH4032", "is open");
    let cancel = CancelRequest {
        id: drawn.id,
        reason: "asked for by alice".to_owned(),
    };
    let cancelled = alice.client.payout_cancel(within(CALL), cancel).await;
    cancelled.unwrap().unwrap();
    // An invoice draws once, whatever came of it.
    let again = alice.draw(&invoice).await.unwrap();
    assert_eq!((again.id, again.state), (drawn.id, PayoutState::Cancelled));
    assert_eq!(alice.world.received(LARGE_MSAT), 0);
}
