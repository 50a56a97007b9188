//! Core Lightning's side of the wallet against a fake at the socket.

mod channels;
mod fake;
mod outputs;

use std::time::{Duration, SystemTime};

use bitcoin::{Address, Amount, Network};
use hh_daemon::Tasks;
use hh_mining::Msat;
use serde_json::{Value, json};

use super::calls::{ClnConfig, ClnError, ClnWallet};
use crate::sample::{self, hash, invoice, node, preimage, request};
use crate::{
    Absence, ChannelId, ChannelState, CloseChannel, Dispatch, Doubt, Event, FailureCode,
    FetchInvoice, Lookup, Offer, OutgoingState, PageCursor, PayError, PayFetched, Refusal,
    SendOnChain, Wallet, WalletError,
};
use fake::{FakeCln, Reply};

const CHANNEL: &str = "0101010101010101010101010101010101010101010101010101010101010101";
const ADDRESS: &str = "bcrt1qfpskx8dl7jcwpxvuscdq7vgc9wl0a47xy9v8sr";
const OFFER: &str = "lno1pg257enxv4ezqcneype82um50ynhxgrwdajx293pqglnyxw6q0hzngfdusg8umzuxe8kquuz7pjl90ldj8wadwgs0xlmc";

fn dispatch(seconds_ago: u64) -> Dispatch {
    sample::dispatch(seconds_ago, CHANNEL.parse().unwrap())
}

fn info() -> Value {
    json!({
        "id": node(9).to_string(), "alias": "till", "color": "000000", "num_peers": 1,
        "num_pending_channels": 0, "num_active_channels": 1, "num_inactive_channels": 0,
        "address": [], "binding": [], "version": "v26.06.6", "blockheight": 123,
        "network": "regtest", "fees_collected_msat": 0, "lightning-dir": "/nowhere",
    })
}

fn pay(status: &str) -> Value {
    let mut pay = json!({
        "payment_hash": hex::encode(hash().0), "status": status, "created_at": 1_700_000_000,
        "created_index": 7, "amount_msat": 5_000, "amount_sent_msat": 5_007,
    });
    if status == "complete" {
        pay["preimage"] = json!(hex::encode(preimage().0));
        pay["completed_at"] = json!(1_700_000_009);
    }
    pay
}

fn part(status: &str) -> Value {
    json!({
        "payment_hash": hex::encode(hash().0), "status": status, "created_at": 1_700_000_000,
        "created_index": 9, "id": 9, "groupid": 1, "partid": 1,
        "amount_msat": 5_000, "amount_sent_msat": 5_007,
    })
}

fn channel() -> Value {
    json!({
        "peer_id": node(7).to_string(), "peer_connected": true, "reestablished": true,
        "state": "CHANNELD_NORMAL", "opener": "local", "features": [], "channel_id": CHANNEL,
        "short_channel_id": "103x1x0", "funding_txid": CHANNEL, "funding_outnum": 1,
        "private": true, "to_us_msat": 600_000_000, "total_msat": 1_000_000_000,
        "our_reserve_msat": 10_000_000, "their_reserve_msat": 10_000_000,
        "spendable_msat": 580_000_000, "receivable_msat": 390_000_000,
        "their_max_htlc_value_in_flight_msat": 100_000_000,
        "last_tx_fee_msat": 2_000_000, "htlcs": [],
    })
}

fn with_htlc(mut channel: Value) -> Value {
    channel["htlcs"] = json!([{
        "direction": "out", "id": 1, "amount_msat": 5_007, "expiry": 200,
        "payment_hash": hex::encode(hash().0), "state": "SENT_ADD_ACK_REVOCATION",
    }]);
    channel
}

/// In a block, or in none at height 0, with outputs of so many satoshi.
fn transaction(hash: &str, height: u32, inputs: &[(String, u64)], sats: &[u64]) -> Value {
    let inputs: Vec<Value> = inputs
        .iter()
        .map(|(txid, index)| json!({ "txid": txid, "index": index, "sequence": 0 }))
        .collect();
    let outputs: Vec<Value> = (0_u32..)
        .zip(sats)
        .map(|(index, sats)| json!({ "index": index, "amount_msat": sats * 1_000, "scriptPubKey": "0014" }))
        .collect();
    json!({
        "hash": hash, "blockheight": height, "inputs": inputs, "outputs": outputs, "rawtx": "", "txindex": 1,
        "locktime": 0, "version": 2,
    })
}

impl FakeCln {
    fn channels(&self, channels: &[Value]) {
        let result = json!({ "channels": channels });
        self.always("listpeerchannels", Reply::Result(result));
    }

    fn transactions(&self, transactions: &[Value]) {
        let result = json!({ "transactions": transactions });
        self.always("listtransactions", Reply::Result(result));
    }

    fn books(&self, pays: &[Value], parts: &[Value]) {
        self.always("listpays", Reply::Result(json!({ "pays": pays })));
        let parts = json!({ "payments": parts });
        self.always("listsendpays", Reply::Result(parts));
    }
}

/// A fake with one channel and nothing in its books, and the wallet on it.
async fn start() -> (FakeCln, Wallet) {
    let fake = FakeCln::start();
    fake.always("getinfo", Reply::Result(info()));
    let set = json!({ "config": { "config": "xpay-slow-mode", "dynamic": true } });
    fake.always("setconfig", Reply::Result(set));
    fake.channels(&[channel()]);
    fake.books(&[], &[]);
    let config = ClnConfig {
        socket: fake.socket(),
        network: Network::Regtest,
    };
    let wallet = ClnWallet::start(config, &Tasks::default()).await.unwrap();
    (fake, Wallet::Cln(wallet))
}

#[tokio::test]
async fn it_is_told_to_wait_for_every_part() {
    let (fake, wallet) = start().await;
    let set = fake.last("setconfig");
    assert_eq!(set["config"], "xpay-slow-mode");
    assert_eq!(
        (&set["val"], &set["transient"]),
        (&json!("true"), &json!(true))
    );
    let info = wallet.info().await.unwrap();
    assert_eq!((info.node_id, info.is_synced), (node(9), true));
}

#[tokio::test]
async fn one_that_is_too_old_or_on_another_chain_is_refused() {
    for (field, value) in [("version", "v25.12.1"), ("network", "bitcoin")] {
        let fake = FakeCln::start();
        let mut wrong = info();
        wrong[field] = json!(value);
        fake.always("getinfo", Reply::Result(wrong));
        let config = ClnConfig {
            socket: fake.socket(),
            network: Network::Regtest,
        };
        let error = ClnWallet::start(config, &Tasks::default())
            .await
            .unwrap_err();
        assert!(error.is_config(), "{error}");
    }
    let nowhere = ClnConfig {
        socket: "/nowhere/lightning-rpc".into(),
        network: Network::Regtest,
    };
    let error = ClnWallet::start(nowhere, &Tasks::default())
        .await
        .unwrap_err();
    assert!(
        matches!(error, WalletError::Cln(ClnError::Connect { .. })),
        "{error}"
    );
}

#[tokio::test]
async fn a_payment_is_handed_over_with_its_limits() {
    let (fake, wallet) = start().await;
    // It is tried for as long as it takes.
    fake.always("xpay", Reply::Never);
    wallet.pay(&request(invoice(7, Some(5_000)))).await.unwrap();
    let sent = fake.last("xpay");
    assert_eq!(
        (&sent["maxfee"], &sent["maxdelay"]),
        (&json!("3000msat"), &json!(432))
    );
    assert_eq!(
        (&sent["retry_for"], &sent["amount_msat"]),
        (&json!(25), &Value::Null)
    );
    let mut open_amount = request(invoice(7, None));
    open_amount.amount = Some(Msat(9_000));
    wallet.pay(&open_amount).await.unwrap();
    assert_eq!(fake.last("xpay")["amount_msat"], json!("9000msat"));
}

#[tokio::test]
async fn an_error_of_any_kind_leaves_the_payment_unknown() {
    for reply in [
        Reply::Error(203, "the payee refused"),
        Reply::Error(205, "no route"),
        Reply::Error(219, "already paid"),
        Reply::Error(-32_602, "payment in progress"),
        Reply::Cut,
    ] {
        let (fake, wallet) = start().await;
        fake.always("xpay", reply.clone());
        let error = wallet
            .pay(&request(invoice(7, Some(5_000))))
            .await
            .unwrap_err();
        assert!(
            matches!(error, PayError::Unknown { .. }),
            "{reply:?}: {error}"
        );
    }
    let (fake, wallet) = start().await;
    std::fs::remove_file(fake.socket()).unwrap();
    let error = wallet
        .pay(&request(invoice(7, Some(5_000))))
        .await
        .unwrap_err();
    assert!(
        matches!(error, PayError::Refused(Refusal::NotTaken(_))),
        "{error}"
    );
}

#[track_caller]
fn check(found: Result<Lookup, WalletError>, expected: Lookup) {
    assert_eq!(found.unwrap(), expected);
}

#[tokio::test]
async fn a_payment_is_what_the_books_say_once_it_has_had_its_time() {
    let (fake, wallet) = start().await;
    // A hash that was tried before: one entry has failed, and one is complete.
    fake.books(&[pay("failed"), pay("complete")], &[part("complete")]);
    let settled = Lookup::Settled {
        preimage: preimage(),
        fee: Some(Msat(7)),
    };
    check(wallet.lookup(&dispatch(0)).await, settled);
    let in_flight = Lookup::InFlight { htlc_seen: false };
    fake.books(&[pay("pending")], &[]);
    check(wallet.lookup(&dispatch(3_600)).await, in_flight);
    // Failed, they say, while a part of it is under way.
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let mut young = part("pending");
    young["created_at"] = json!(now.unwrap().as_secs());
    fake.books(&[pay("failed")], &[part("failed"), young]);
    check(wallet.lookup(&dispatch(3_600)).await, in_flight);
    // Between two tries, or after the last: 25 s and half a minute later it is clear.
    fake.books(&[pay("failed")], &[part("failed")]);
    check(wallet.lookup(&dispatch(50)).await, in_flight);
    let code = FailureCode::Other;
    check(wallet.lookup(&dispatch(56)).await, Lookup::Failed { code });
    fake.channels(&[with_htlc(channel())]);
    let in_channel = Lookup::InFlight { htlc_seen: true };
    check(wallet.lookup(&dispatch(3_600)).await, in_channel);
    let mut forged = pay("complete");
    forged["preimage"] = json!(hex::encode([6; 32]));
    fake.books(&[forged], &[]);
    let error = wallet.lookup(&dispatch(0)).await.unwrap_err();
    assert!(matches!(error, WalletError::Answer { .. }), "{error}");
}

#[tokio::test]
async fn a_part_that_was_written_down_and_never_sent_has_failed() {
    let (fake, wallet) = start().await;
    let code = FailureCode::Other;
    let in_flight = Lookup::InFlight { htlc_seen: false };
    fake.books(&[pay("pending")], &[part("pending")]);
    check(wallet.lookup(&dispatch(50)).await, in_flight);
    check(wallet.lookup(&dispatch(56)).await, Lookup::Failed { code });
    // The peer has not told what it has, or it is between two tries, or one has arrived.
    let mut away = channel();
    away["reestablished"] = json!(false);
    fake.channels(&[away]);
    check(wallet.lookup(&dispatch(3_600)).await, in_flight);
    fake.channels(&[channel()]);
    fake.books(&[pay("pending")], &[part("failed")]);
    check(wallet.lookup(&dispatch(3_600)).await, in_flight);
    fake.books(&[pay("pending")], &[part("pending"), part("complete")]);
    check(wallet.lookup(&dispatch(3_600)).await, in_flight);
    fake.books(&[pay("pending")], &[part("pending")]);
    fake.channels(&[with_htlc(channel())]);
    let in_channel = Lookup::InFlight { htlc_seen: true };
    check(wallet.lookup(&dispatch(3_600)).await, in_channel);
}

#[tokio::test]
async fn absence_is_proof_only_when_every_channel_has_told_what_it_has() {
    let (fake, wallet) = start().await;
    let unclear = |doubt| Lookup::Absent(Absence::Unclear(doubt));
    let id: ChannelId = CHANNEL.parse().unwrap();
    let found = wallet.lookup(&dispatch(0)).await.unwrap();
    assert!(
        matches!(
            found,
            Lookup::Absent(Absence::Unclear(Doubt::JustDispatched { .. }))
        ),
        "{found:?}"
    );
    let never = Lookup::Absent(Absence::NeverSent);
    check(wallet.lookup(&dispatch(3_600)).await, never);
    let mut away = channel();
    away["reestablished"] = json!(false);
    fake.channels(&[away]);
    check(
        wallet.lookup(&dispatch(3_600)).await,
        unclear(Doubt::ChannelAway(id)),
    );
    let mut closing = channel();
    closing["state"] = json!("ONCHAIN");
    fake.channels(&[closing]);
    check(
        wallet.lookup(&dispatch(3_600)).await,
        unclear(Doubt::ChannelClosing(id)),
    );
    fake.channels(&[]);
    check(wallet.lookup(&dispatch(3_600)).await, never);
    let mut behind = info();
    behind["warning_lightningd_sync"] = json!("still loading blocks");
    fake.always("getinfo", Reply::Result(behind));
    check(
        wallet.lookup(&dispatch(3_600)).await,
        unclear(Doubt::NotSynced),
    );
    let mut other = info();
    other["id"] = json!(node(3).to_string());
    fake.always("getinfo", Reply::Result(other));
    let error = wallet.lookup(&dispatch(3_600)).await.unwrap_err();
    assert!(matches!(error, WalletError::OtherWallet { .. }), "{error}");
}

#[tokio::test]
async fn what_has_changed_is_told_and_a_failure_is_looked_up() {
    let (fake, wallet) = start().await;
    let changed = |index: u64, status: &str| {
        Reply::Result(json!({
            "subsystem": "sendpays", "updated": index,
            "sendpays": { "status": status, "payment_hash": hex::encode(hash().0), "partid": 1, "groupid": 1 },
        }))
    };
    // Both numbers first, then the answers to whatever is asked for: the fake does not look at what it is.
    fake.on(
        "wait",
        Reply::Result(json!({ "subsystem": "sendpays", "updated": 4 })),
    );
    fake.on(
        "wait",
        Reply::Result(json!({ "subsystem": "invoices", "updated": 2 })),
    );
    let mut events = wallet.events().unwrap();
    assert_eq!(events.next().await.unwrap(), Event::Missed);
    events.handled().await.unwrap();
    fake.books(&[pay("complete")], &[part("complete")]);
    fake.always("wait", changed(5, "complete"));
    let settled = Event::PaymentSettled {
        hash: hash(),
        preimage: preimage(),
        fee: Some(Msat(7)),
    };
    let mut told = events.next().await.unwrap();
    while told == Event::Missed {
        events.handled().await.unwrap();
        told = events.next().await.unwrap();
    }
    assert_eq!(told, settled);
    events.handled().await.unwrap();
    fake.always("wait", changed(6, "failed"));
    let mut told = events.next().await.unwrap();
    while told == settled {
        events.handled().await.unwrap();
        told = events.next().await.unwrap();
    }
    assert_eq!(told, Event::Missed);
}

#[tokio::test]
async fn an_offers_invoice_is_known_before_it_is_paid() {
    let (fake, wallet) = start().await;
    let fetched = json!({ "invoice": "lni1fetched", "changes": {} });
    fake.always("fetchinvoice", Reply::Result(fetched));
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let offer: Offer = OFFER.parse().unwrap();
    let issuer = offer.issuer_signing_pubkey().unwrap();
    let mut decoded = json!({
        "type": "bolt12 invoice", "valid": true, "invoice_amount_msat": 5_000,
        "invoice_payment_hash": hex::encode(hash().0), "invoice_node_id": issuer.to_string(),
        "invoice_created_at": now.unwrap().as_secs(), "invoice_relative_expiry": 600,
    });
    fake.always("decode", Reply::Result(decoded.clone()));
    let wanted = FetchInvoice {
        offer,
        amount: Msat(5_000),
        note: None,
    };
    let invoice = wallet.fetch_invoice(&wanted).await.unwrap();
    assert_eq!((invoice.hash, invoice.amount), (hash(), Msat(5_000)));
    let asked = fake.last("fetchinvoice");
    assert_eq!(asked["amount_msat"], json!("5000msat"));
    assert_eq!(asked["timeout"], json!(null), "a float is refused");
    fake.always("xpay", Reply::Never);
    let payment = PayFetched {
        invoice,
        max_fee: Msat(3_000),
        cltv_limit: 432,
        timeout: Duration::from_secs(25),
    };
    wallet.pay_fetched(&payment).await.unwrap();
    assert_eq!(fake.last("xpay")["invstring"], json!("lni1fetched"));
    // For another amount, of another payee, or one that lightningd itself finds wrong.
    for (field, wrong) in [
        ("invoice_amount_msat", json!(6_000)),
        ("invoice_node_id", json!(node(7).to_string())),
        ("valid", json!(false)),
    ] {
        let right = std::mem::replace(&mut decoded[field], wrong);
        fake.always("decode", Reply::Result(decoded.clone()));
        let error = wallet.fetch_invoice(&wanted).await.unwrap_err();
        assert!(
            matches!(error, WalletError::Answer { .. }),
            "{field}: {error}"
        );
        decoded[field] = right;
    }
}

#[tokio::test]
async fn the_history_comes_in_pages() {
    let (fake, wallet) = start().await;
    let mut first_part = part("complete");
    first_part["created_index"] = json!(7);
    fake.books(&[pay("complete")], &[first_part, part("complete")]);
    let first = wallet.outgoing_payments(None).await.unwrap();
    assert_eq!(first.payments[0].state, OutgoingState::Settled(preimage()));
    assert_eq!(first.payments[0].fee, Some(Msat(7)));
    // After its last part, and not after its first.
    fake.books(&[], &[]);
    let last = wallet.outgoing_payments(first.next.as_ref()).await.unwrap();
    assert!(last.payments.is_empty() && last.next.is_none());
    let sent = fake.last("listsendpays");
    assert_eq!(
        (&sent["index"], &sent["start"]),
        (&json!("created"), &json!(10))
    );
}

#[tokio::test]
async fn a_payment_that_a_page_cuts_is_on_that_of_its_first_part() {
    let (fake, wallet) = start().await;
    let cursor = PageCursor("8".to_owned());
    // From its second part on, which has failed, it looks as if all of it had.
    let mut rest = pay("failed");
    rest["created_index"] = json!(9);
    let mut another = pay("complete");
    another["created_index"] = json!(10);
    let mut last = part("complete");
    last["created_index"] = json!(10);
    fake.always(
        "listsendpays",
        Reply::Result(json!({ "payments": [part("failed"), last] })),
    );
    fake.always(
        "listpays",
        Reply::Result(json!({ "pays": [rest, another.clone()] })),
    );
    // Asked for by its hash, it began before the page.
    fake.on(
        "listpays",
        Reply::Result(json!({ "pays": [pay("complete"), another] })),
    );
    fake.on("listsendpays", Reply::Result(json!({ "payments": [] })));
    let page = wallet.outgoing_payments(Some(&cursor)).await.unwrap();
    assert_eq!(page.payments.len(), 1, "{page:?}");
    assert_eq!(page.payments[0].state, OutgoingState::Settled(preimage()));
    assert_eq!(page.next, Some(PageCursor("11".to_owned())));
}

#[tokio::test]
async fn one_that_was_away_is_told_again_to_wait_for_every_part() {
    let (fake, wallet) = start().await;
    fake.on("wait", Reply::Cut);
    fake.on(
        "wait",
        Reply::Result(json!({ "subsystem": "sendpays", "updated": 4 })),
    );
    let mut events = wallet.events().unwrap();
    assert_eq!(events.next().await.unwrap(), Event::Missed);
    assert_eq!(fake.times("setconfig"), 2);
}
