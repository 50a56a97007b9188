//! Servers of Lightning addresses and nodes that want more than their due, against a hh-treasury that runs: whatever they answer or
//! send, nothing moves but what is owed, once, and the payout says why it waits.

mod nodes;

use super::world::World;
use bitcoin::secp256k1::{Secp256k1, SecretKey};
use hh_ipc::api::treasury::{
    AttemptState, Payout, PayoutQuery, PayoutState, RunRequest, TreasuryClient,
};
use hh_ipc::client::within;
use hh_tests::bitcoin_core::Chain;
use hh_tests::forged_invoice::Forgery;
use hh_tests::lightning_address::{DOMAIN, LightningAddresses, METADATA, Manner, offer};
use hh_tests::network::CALL;
use hh_tests::treasury::DEADLINE;
use hh_tests::wait::{wait_for, wait_until};
use hh_trust::NodeSecretKey;
use lightning_invoice::Currency;
use serde_json::{Value, json};
use std::os::unix::process::ExitStatusExt;
use std::time::Duration;

/// Of each payout: the most that one has here, and all have more.
const AMOUNT_SAT: u64 = 20_000;
const AMOUNT_MSAT: u64 = AMOUNT_SAT * 1_000;

/// Longer than the test takes: what is tried again is tried because the test says so.
const RETRY: Duration = Duration::from_secs(3_600);

/// What its process ends with.
const SIGABRT: i32 = 6;

/// Who is paid without a fuss, whose invoice others show again.
const HONEST: &str = "honest";

/// Whose invoice is for a payment that the payee refuses, always the same.
const STALE: &str = "stale";

/// What a server does to one of its users.
struct Case {
    user: &'static str,
    manner: Manner,
    /// What the payout says then.
    says: &'static str,
}

fn case(user: &'static str, manner: Manner, says: &'static str) -> Case {
    Case { user, manner, says }
}

/// What a server may send for an invoice.
fn invoices(payee: &SecretKey, treasury: &SecretKey) -> Vec<Case> {
    let honest = || Forgery {
        purpose: METADATA.to_owned(),
        ..Forgery::of(AMOUNT_MSAT)
    };
    let forged =
        |user, forgery: Forgery, says| case(user, Manner::Invoice(forgery.signed(payee)), says);
    let of = |amount_msat| Forgery {
        amount_msat,
        ..honest()
    };
    let (other_purpose, other_chain) = (Forgery::of(AMOUNT_MSAT), Currency::Bitcoin);
    vec![
        forged(
            "more",
            of(Some(AMOUNT_MSAT + 1)),
            "Some(20000001) msat, not for",
        ),
        forged(
            "less",
            of(Some(AMOUNT_MSAT - 1_000)),
            "Some(19999000) msat, not",
        ),
        forged("blank", of(None), "None msat, not for"),
        forged("purpose", other_purpose, "does not commit to what"),
        forged(
            "chain",
            Forgery {
                chain: other_chain,
                ..honest()
            },
            "for another chain than regtest",
        ),
        forged(
            "expired",
            Forgery {
                age: Duration::from_secs(7_200),
                ..honest()
            },
            "the invoice ends at",
        ),
        forged(
            "ending",
            Forgery {
                expiry: Duration::from_secs(60),
                ..honest()
            },
            "the invoice ends at",
        ),
        forged(
            "locking",
            Forgery {
                blocks: 2_000,
                ..honest()
            },
            "wants 2000 blocks for its last hop",
        ),
        // The payee does not know it: this one is tried, and fails.
        forged(STALE, honest(), "failed: rejected_by_payee"),
        case(
            "ours",
            Manner::Invoice(honest().signed(treasury)),
            "our own wallet's",
        ),
        case(
            "junk",
            Manner::Invoice("lnbcrt1".to_owned()),
            "can't be read",
        ),
    ]
}

/// What it may answer before.
fn answers() -> Vec<Case> {
    let with = |user, key: &str, value: Value| {
        let mut offer = offer(user);
        offer[key] = value;
        Manner::Offer(offer)
    };
    let redirect =
        "HTTP/1.1 302 Found\r\nlocation: https://127.0.0.1/\r\ncontent-length: 0\r\n\r\n";
    let not_json = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
    vec![
        case(
            "above",
            with("above", "minSendable", json!(AMOUNT_MSAT + 1)),
            "takes 20000.001 to",
        ),
        case(
            "below",
            with("below", "maxSendable", json!(AMOUNT_MSAT - 1)),
            "to 19999.999 sat, not 20000.000 sat",
        ),
        case(
            "inside",
            with("inside", "callback", json!("https://127.0.0.1:8442/x")),
            "127.0.0.1 is not on the internet",
        ),
        case(
            "cloud",
            with("cloud", "callback", json!("https://169.254.169.254/x")),
            "169.254.169.254 is not on the internet",
        ),
        case(
            "plain",
            with("plain", "callback", json!("http://example.com/x")),
            "is no https address",
        ),
        case("moved", Manner::Bytes(redirect), "with the status 302"),
        case("text", Manner::Bytes(not_json), "is none of LNURL-pay"),
        case("endless", Manner::Endless, "longer than 65536 bytes"),
        case("slow", Manner::Slow, "took longer than 10 s"),
    ]
}

fn payee(user: &str) -> String {
    format!("miner:{user}@{DOMAIN}")
}

async fn newest(client: &TreasuryClient, user: &str) -> Option<Payout> {
    let query = PayoutQuery {
        payee: Some(payee(user)),
        limit: 1,
        ..PayoutQuery::default()
    };
    let page = client.payouts(within(CALL), query).await.ok()?.ok()?;
    page.payouts.into_iter().next()
}

/// His newest payout as soon as it is in this state.
async fn wait_for_payout(client: &TreasuryClient, user: &str, state: PayoutState) -> Payout {
    let what = format!("the payout of {user} is {state:?}");
    wait_for(&what, DEADLINE, async || {
        newest(client, user)
            .await
            .filter(|payout| payout.state == state)
    })
    .await
}

/// What somebody has been credited, wherever it is now, and how much of that was paid; in msat.
async fn owed(client: &TreasuryClient, name: &str) -> (i64, i64) {
    let account = client.account(within(CALL), name.to_owned()).await;
    let account = account.unwrap().unwrap();
    let (payable, in_payouts) = (account.payable_msat, account.in_payouts_msat);
    (payable + in_payouts + account.paid_msat, account.paid_msat)
}

async fn attempts(client: &TreasuryClient, payout: u64) -> Vec<AttemptState> {
    let detail = client.payout(within(CALL), payout).await.unwrap().unwrap();
    detail
        .attempts
        .iter()
        .map(|attempt| attempt.state)
        .collect()
}

/// A treasury with miners whose addresses a hostile server has, and with a node that is owed something.
struct Hostile {
    world: World,
    client: TreasuryClient,
    addresses: LightningAddresses,
    cases: Vec<Case>,
    /// Of the node `paris`, which is owed nothing, and of its wallet, which does not run.
    other_key: NodeSecretKey,
    other_wallet: SecretKey,
    /// Payments that were due so far.
    paid: usize,
}

impl Hostile {
    async fn start() -> Self {
        let other_key = NodeSecretKey::generate().unwrap();
        let other_wallet = SecretKey::from_slice(&[7; 32]).expect("it is a key");
        let mut addresses = None;
        let world = World::start_with(Chain::Regtest, async |_, wallet| {
            let started = LightningAddresses::start(wallet.wallet.clone()).await;
            let config = started.config();
            addresses = Some(started);
            let id = other_wallet.public_key(&Secp256k1::new());
            let key = other_key.public_key();
            let retry = RETRY.as_secs();
            format!(
                "{config}[[hyper_nodes]]\nid = \"paris\"\npublic_key = \"{key}\"\nlightning_node_id = \"{id}\"\n\
                 [payouts]\nmax_payout_sat = {AMOUNT_SAT}\nretry_seconds = {retry}\ninterval_seconds = 86400\n"
            )
        })
        .await;
        let addresses = addresses.expect("the configuration was made");
        let mut cases = invoices(&world.wallet.key, &world.treasury.key);
        cases.extend(answers());
        for case in &cases {
            addresses.treat(case.user, case.manner.clone());
        }
        world.mine_through_node(1).await;
        let users = cases.iter().map(|case| case.user).chain([HONEST]);
        let miners: Vec<String> = users.map(|user| format!("{user}@{DOMAIN}/rig")).collect();
        let last = world.find_blocks(&miners).await;
        world.mature(last).await;
        let client = world.treasury.client().await;
        Self {
            world,
            client,
            addresses,
            cases,
            other_key,
            other_wallet,
            paid: 0,
        }
    }

    /// So many payments have come in, all books are whole, and the payouts can go on.
    async fn check_books(&self) {
        let paid_msat = i64::try_from(self.paid).unwrap() * i64::try_from(AMOUNT_MSAT).unwrap();
        assert_eq!(self.world.received(AMOUNT_MSAT), self.paid);
        let verified = self.client.verify(within(CALL)).await.unwrap().unwrap();
        assert!(verified.is_solvent, "{verified:?}");
        assert_eq!(verified.totals.paid_msat, paid_msat, "{verified:?}");
    }

    /// The server answers each of its users as it likes: all wait, with the reason, and for as long as is configured.
    async fn no_answer_moves_money(&mut self) {
        let client = &self.client;
        for case in &self.cases {
            let before = owed(client, &payee(case.user)).await;
            let payout = wait_for_payout(client, case.user, PayoutState::RetryWait).await;
            let reason = payout.reason.unwrap_or_default();
            assert!(reason.contains(case.says), "{}: {reason}", case.user);
            let waits = payout
                .next_try_at
                .map(|next| next.duration_since(payout.created_at));
            let waits = waits.map_or(0.0, |waits| waits.as_secs_f64());
            assert!(waits >= RETRY.as_secs_f64(), "{}: {waits} s", case.user);
            let tried = usize::from(case.user == STALE);
            let states = vec![AttemptState::FailedFinal; tried];
            assert_eq!(attempts(client, payout.id).await, states, "{}", case.user);
            assert_eq!(owed(client, &payee(case.user)).await, before);
            assert_eq!(before.1, 0, "{}", case.user);
        }
        wait_for_payout(client, HONEST, PayoutState::Settled).await;
        self.paid = 1;
        self.check_books().await;
    }

    /// An invoice that was paid, and one that was tried, come again.
    async fn no_invoice_is_paid_twice(&self) {
        let honest = newest(&self.client, HONEST).await.expect("he was paid");
        let detail = self.client.payout(within(CALL), honest.id).await;
        let paid = detail.unwrap().unwrap().attempts[0].invoice.clone();
        self.addresses.treat("more", Manner::Invoice(paid));
        for user in ["more", STALE] {
            let payout = newest(&self.client, user).await.expect("it waits");
            let before = attempts(&self.client, payout.id).await;
            self.retry(&payout).await;
            wait_until("the invoice is known", DEADLINE, async || {
                let payout = newest(&self.client, user).await;
                let reason = payout.and_then(|payout| payout.reason).unwrap_or_default();
                reason.contains("paid or tried before")
            })
            .await;
            assert_eq!(attempts(&self.client, payout.id).await, before, "{user}");
        }
        self.check_books().await;
    }

    async fn retry(&self, payout: &Payout) {
        let retried = self.client.payout_retry(within(CALL), payout.id).await;
        retried.unwrap().unwrap();
    }

    /// The server has come to its senses: each payout goes on, and is paid once.
    async fn honest_answers_are_paid_once(&mut self) {
        for case in &self.cases {
            self.addresses.treat(case.user, Manner::Honest);
            let payout = newest(&self.client, case.user).await.expect("it waits");
            self.retry(&payout).await;
        }
        for case in &self.cases {
            let payout = wait_for_payout(&self.client, case.user, PayoutState::Settled).await;
            let states = attempts(&self.client, payout.id).await;
            let settled = states
                .iter()
                .filter(|state| **state == AttemptState::Settled);
            assert_eq!(settled.count(), 1, "{}: {states:?}", case.user);
        }
        self.paid += self.cases.len();
        self.check_books().await;
    }

    /// hh-treasury dies where an attempt fails; the payout gets another invoice, and is paid once.
    async fn a_failure_that_is_cut_off_is_tried_again(&mut self) {
        for point in ["attempt.fail.before", "attempt.failed"] {
            let forged = Forgery {
                purpose: METADATA.to_owned(),
                ..Forgery::of(AMOUNT_MSAT)
            };
            let forged = forged.signed(&self.world.wallet.key);
            self.addresses.treat(STALE, Manner::Invoice(forged));
            self.world.treasury.daemon.terminate();
            self.restart(&[("HH_TREASURY_CRASH_AT", point)]).await;
            self.world.wait_for_channel(&self.client).await;
            self.run(STALE, point).await;
            let status = self.world.treasury.daemon.wait_for_exit();
            assert_eq!(status.signal(), Some(SIGABRT), "{point}: {status}");

            self.addresses.treat(STALE, Manner::Honest);
            self.restart(&[]).await;
            let payout = wait_for_payout(&self.client, STALE, PayoutState::RetryWait).await;
            let states = attempts(&self.client, payout.id).await;
            assert_eq!(states, [AttemptState::FailedFinal], "{point}");
            self.retry(&payout).await;
            wait_for_payout(&self.client, STALE, PayoutState::Settled).await;
            self.paid += 1;
            self.check_books().await;
        }
    }

    async fn restart(&mut self, environment: &[(&str, &str)]) {
        let daemon = &mut self.world.treasury.daemon;
        daemon.restart_with(environment);
        daemon.wait_until_ready().await;
        self.client = self.world.treasury.client().await;
    }

    /// An operator has a user paid now.
    async fn run(&self, user: &str, request_id: &str) {
        let request = RunRequest {
            request_id: request_id.to_owned(),
            payees: vec![payee(user)],
            ..RunRequest::default()
        };
        let plan = self.client.payout_run(within(CALL), request).await;
        let plan = plan.unwrap().unwrap();
        assert_eq!(plan.planned.len(), 1, "{plan:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_servers_and_nodes_get_their_due_and_no_more() {
    let mut hostile = Hostile::start().await;
    hostile.world.open_channel(&hostile.client).await;
    hostile.no_answer_moves_money().await;
    hostile.no_invoice_is_paid_twice().await;
    hostile.honest_answers_are_paid_once().await;
    hostile.no_invoice_of_a_node_takes_more_than_is_due().await;
    hostile.a_failure_that_is_cut_off_is_tried_again().await;
    hostile.world.wait_until_books_balance().await;
}
