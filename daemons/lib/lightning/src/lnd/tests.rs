//! lnd's side of the wallet against a fake at the socket.

mod fake;
mod outputs;
mod rebalance;

use bitcoin::{Amount, Network};
use hh_daemon::{Secret, Tasks};
use hh_mining::Msat;
use ldk_node::lightning_invoice::Bolt11Invoice;
use tonic::Code;

use super::calls::{LndConfig, LndError, LndWallet};
use super::link::LinkError;
use super::message::{self, ChannelNews, PaymentFailureReason, PaymentStatus, path};
use crate::sample::{self, hash, invoice, node, preimage, request};
use crate::{
    Absence, ChannelId, ChannelState, CloseChannel, Dispatch, Doubt, Event, FailureCode, Lookup,
    OutgoingState, PayError, Rebalance, Refusal, Wallet, WalletError,
};
use fake::{FakeLnd, Reply, pem};

const MACAROON: &str = "0201036c6e6402deadbeefcafe";
const FUNDING: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff:1";

fn channel_id() -> ChannelId {
    ChannelId::of_funding(FUNDING.parse().unwrap()).unwrap()
}

fn info() -> message::GetInfoResponse {
    message::GetInfoResponse {
        identity_pubkey: node(9).to_string(),
        alias: "till".to_owned(),
        block_height: 123,
        synced_to_chain: true,
        version: "0.21.2-beta commit=v0.21.2-beta".to_owned(),
        chains: vec![message::Chain {
            network: "regtest".to_owned(),
        }],
        wallet_synced: true,
    }
}

fn payment(status: PaymentStatus) -> message::Payment {
    message::Payment {
        payment_hash: hex::encode(hash().0),
        payment_preimage: hex::encode(preimage().0),
        value_msat: 5_000,
        status: status.into(),
        fee_msat: 7,
        creation_time_ns: 1_700_000_000_000_000_000,
        failure_reason: PaymentFailureReason::None.into(),
    }
}

fn channel() -> message::Channel {
    message::Channel {
        active: true,
        remote_pubkey: node(7).to_string(),
        channel_point: FUNDING.to_owned(),
        chan_id: 77,
        capacity: 1_000_000,
        local_balance: 600_000,
        remote_balance: 390_000,
        unsettled_balance: 5_000,
        pending_htlcs: vec![message::Htlc {
            incoming: false,
            amount: 5_000,
            hash_lock: hash().0.to_vec(),
            expiration_height: 200,
        }],
        private: true,
        initiator: true,
        local_constraints: Some(message::ChannelConstraints {
            csv_delay: 144,
            chan_reserve_sat: 10_000,
            max_pending_amt_msat: 100_000_000,
        }),
        remote_constraints: None,
    }
}

fn dispatch(seconds_ago: u64) -> Dispatch {
    sample::dispatch(seconds_ago, channel_id())
}

fn config(fake: &FakeLnd) -> LndConfig {
    LndConfig {
        address: fake.address.to_string(),
        certificate: pem("lnd.crt"),
        macaroon: Secret::new(MACAROON.to_owned()),
        network: Network::Regtest,
    }
}

/// The channel as lnd's router has it.
fn edge() -> message::ChannelEdge {
    message::ChannelEdge {
        node1_pub: node(7).to_string(),
        node1_policy: Some(message::Empty {}),
        node2_policy: Some(message::Empty {}),
    }
}

/// A fake with one channel and nothing in its books, and the wallet on it.
async fn start() -> (FakeLnd, Wallet) {
    let fake = FakeLnd::start("lnd").await;
    fake.always(path::GET_INFO, Reply::one(&info()));
    let mut quiet = channel();
    quiet.pending_htlcs.clear();
    let channels = message::ListChannelsResponse {
        channels: vec![quiet],
    };
    fake.always(path::LIST_CHANNELS, Reply::one(&channels));
    let pending = message::PendingChannelsResponse::default();
    fake.always(path::PENDING_CHANNELS, Reply::one(&pending));
    fake.always(path::GET_CHAN_INFO, Reply::one(&edge()));
    let nothing = Reply::Status(Code::NotFound, "payment isn't initiated");
    fake.always(path::TRACK_PAYMENT, nothing);
    let wallet = LndWallet::start(config(&fake), &Tasks::default())
        .await
        .unwrap();
    (fake, Wallet::Lnd(wallet))
}

async fn start_error(fake: &FakeLnd) -> LndError {
    match LndWallet::start(config(fake), &Tasks::default()).await {
        Err(WalletError::Lnd(error)) => error,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_impostor_is_refused_before_the_macaroon_is_sent() {
    let fake = FakeLnd::start("impostor").await;
    fake.always(path::GET_INFO, Reply::one(&info()));
    let error = start_error(&fake).await;
    assert!(
        matches!(error, LndError::Link(LinkError::Handshake { .. })),
        "{error}"
    );
    assert!(fake.calls().is_empty(), "{:?}", fake.calls());
}

#[tokio::test]
async fn the_pinned_certificate_is_given_the_macaroon() {
    let (fake, wallet) = start().await;
    let info = wallet.info().await.unwrap();
    assert_eq!(info.node_id, node(9));
    assert_eq!((info.block_height, info.is_synced), (123, true));
    let calls = fake.calls();
    assert!(calls.iter().all(|call| call.macaroon == MACAROON));
    assert!(!format!("{wallet:?}").contains(MACAROON));
}

#[tokio::test]
async fn an_lnd_that_is_too_old_or_on_another_chain_is_refused() {
    let fake = FakeLnd::start("lnd").await;
    let mut old = info();
    old.version = "0.20.1-beta".to_owned();
    fake.always(path::GET_INFO, Reply::one(&old));
    let error = start_error(&fake).await;
    assert!(matches!(error, LndError::TooOld { .. }), "{error}");
    let mut elsewhere = info();
    elsewhere.chains[0].network = "mainnet".to_owned();
    fake.always(path::GET_INFO, Reply::one(&elsewhere));
    let error = start_error(&fake).await;
    assert!(matches!(error, LndError::WrongChain { .. }), "{error}");
    assert!(error.is_config());
}

#[tokio::test]
async fn a_payment_is_handed_over_with_its_limits() {
    let (fake, wallet) = start().await;
    // It is in the books, and nothing more is told for now.
    let taken = Reply::open(&[payment(PaymentStatus::Initiated)]);
    fake.always(path::SEND_PAYMENT, taken);
    wallet.pay(&request(invoice(7, Some(5_000)))).await.unwrap();
    let sent: message::SendPaymentRequest = fake.last(path::SEND_PAYMENT);
    assert_eq!(sent.payment_request, invoice_text(&sent));
    assert_eq!((sent.fee_limit_msat, sent.cltv_limit), (3_000, 432));
    assert_eq!((sent.timeout_seconds, sent.amt_msat), (25, 0));
    assert!(!sent.allow_self_payment);

    let mut open_amount = request(invoice(7, None));
    open_amount.amount = Some(Msat(9_000));
    wallet.pay(&open_amount).await.unwrap();
    let sent: message::SendPaymentRequest = fake.last(path::SEND_PAYMENT);
    assert_eq!(sent.amt_msat, 9_000);
}

/// The same invoice, read and written again.
fn invoice_text(sent: &message::SendPaymentRequest) -> String {
    let invoice: Bolt11Invoice = sent.payment_request.parse().unwrap();
    assert_eq!(invoice.payment_hash().as_ref() as &[u8], hash().0);
    invoice.to_string()
}

#[tokio::test]
async fn what_is_wrong_from_the_start_never_reaches_lnd() {
    let (fake, wallet) = start().await;
    let mut unlimited = request(invoice(7, Some(5_000)));
    unlimited.cltv_limit = 0;
    for wrong in [request(invoice(9, Some(5_000))), unlimited] {
        let error = wallet.pay(&wrong).await.unwrap_err();
        assert!(matches!(error, PayError::Refused(_)), "{error}");
    }
    let calls = fake.calls();
    assert!(calls.iter().all(|call| call.path != path::SEND_PAYMENT));
}

#[tokio::test]
async fn an_error_of_any_kind_leaves_the_payment_unknown() {
    for reply in [
        Reply::Status(Code::AlreadyExists, "payment is in transition"),
        Reply::Status(Code::Unavailable, "shutting down"),
        Reply::Status(Code::InvalidArgument, "no"),
        Reply::Messages(Vec::new()),
        Reply::Cut,
    ] {
        let (fake, wallet) = start().await;
        fake.always(path::SEND_PAYMENT, reply.clone());
        let request = request(invoice(7, Some(5_000)));
        let error = wallet.pay(&request).await.unwrap_err();
        assert!(
            matches!(error, PayError::Unknown { .. }),
            "{reply:?}: {error}"
        );
        // The next call connects again if it has to.
        let settled = Reply::open(&[payment(PaymentStatus::Succeeded)]);
        fake.always(path::TRACK_PAYMENT, settled);
        let found = wallet.lookup(&dispatch(0)).await.unwrap();
        assert!(matches!(found, Lookup::Settled { .. }), "{found:?}");
    }
}

#[track_caller]
fn check(found: Result<Lookup, WalletError>, expected: Lookup) {
    assert_eq!(found.unwrap(), expected);
}

#[tokio::test]
async fn a_payment_is_what_lnds_books_say() {
    let (fake, wallet) = start().await;
    let tracked = |payment| fake.always(path::TRACK_PAYMENT, Reply::open(&[payment]));
    tracked(payment(PaymentStatus::Succeeded));
    let settled = Lookup::Settled {
        preimage: preimage(),
        fee: Some(Msat(7)),
    };
    check(wallet.lookup(&dispatch(0)).await, settled);
    for status in [PaymentStatus::InFlight, PaymentStatus::Initiated] {
        tracked(payment(status));
        let in_flight = Lookup::InFlight { htlc_seen: false };
        check(wallet.lookup(&dispatch(3_600)).await, in_flight);
    }
    let mut failed = payment(PaymentStatus::Failed);
    failed.failure_reason = PaymentFailureReason::NoRoute.into();
    tracked(failed);
    let code = FailureCode::NoRoute;
    check(wallet.lookup(&dispatch(0)).await, Lookup::Failed { code });
    let mut forged = payment(PaymentStatus::Succeeded);
    forged.payment_preimage = hex::encode([6; 32]);
    tracked(forged);
    let error = wallet.lookup(&dispatch(0)).await.unwrap_err();
    assert!(matches!(error, WalletError::Answer { .. }), "{error}");
}

#[tokio::test]
async fn what_lnd_does_not_know_is_not_soon_taken_for_never_sent() {
    let (fake, wallet) = start().await;
    let found = wallet.lookup(&dispatch(0)).await.unwrap();
    assert!(
        matches!(
            found,
            Lookup::Absent(Absence::Unclear(Doubt::JustDispatched { .. }))
        ),
        "{found:?}"
    );
    let found = wallet.lookup(&dispatch(3_600)).await.unwrap();
    assert!(
        matches!(
            found,
            Lookup::Absent(Absence::Unclear(Doubt::JustStarted { .. }))
        ),
        "{found:?}"
    );
    let channels = message::ListChannelsResponse {
        channels: vec![channel()],
    };
    fake.always(path::LIST_CHANNELS, Reply::one(&channels));
    let in_flight = Lookup::InFlight { htlc_seen: true };
    check(wallet.lookup(&dispatch(3_600)).await, in_flight);
    // An error is no answer.
    let down = Reply::Status(Code::Unavailable, "the books are closed");
    fake.always(path::TRACK_PAYMENT, down);
    let error = wallet.lookup(&dispatch(3_600)).await.unwrap_err();
    assert!(matches!(error, WalletError::Call { .. }), "{error}");
}

#[tokio::test]
async fn another_node_behind_the_same_address_is_asked_nothing() {
    let (fake, wallet) = start().await;
    let mut other = info();
    other.identity_pubkey = node(3).to_string();
    fake.always(path::GET_INFO, Reply::one(&other));
    let error = wallet.lookup(&dispatch(3_600)).await.unwrap_err();
    assert!(matches!(error, WalletError::OtherWallet { .. }), "{error}");
}

#[tokio::test]
async fn events_that_may_be_missed_are_told_as_such() {
    let (fake, wallet) = start().await;
    let settled = payment(PaymentStatus::Succeeded);
    fake.on(
        path::TRACK_PAYMENTS,
        Reply::open(std::slice::from_ref(&settled)),
    );
    fake.on(
        path::TRACK_PAYMENTS,
        Reply::open(&[settled.clone(), settled]),
    );
    let closed = message::ChannelEventUpdate {
        channel: Some(ChannelNews::Closed(message::ChannelCloseSummary {
            channel_point: FUNDING.to_owned(),
            close_type: message::ClosureType::RemoteForce.into(),
        })),
    };
    fake.on(path::CHANNEL_EVENTS, Reply::open(&[] as &[message::Empty]));
    fake.on(path::CHANNEL_EVENTS, Reply::open(&[closed]));
    fake.always(path::INVOICES, Reply::open(&[] as &[message::Empty]));
    let mut events = wallet.events().unwrap();
    assert_eq!(events.next().await.unwrap(), Event::Missed);
    // The same, until it is handled.
    assert_eq!(events.next().await.unwrap(), Event::Missed);
    events.handled().await.unwrap();
    fake.cut();
    assert_eq!(events.next().await.unwrap(), Event::Missed);
    events.handled().await.unwrap();
    let mut told = Vec::new();
    while told.len() < 2 {
        told.push(events.next().await.unwrap());
        events.handled().await.unwrap();
    }
    let closed = Event::ChannelClosed {
        id: channel_id(),
        reason: "RemoteForce".to_owned(),
    };
    let settled = Event::PaymentSettled {
        hash: hash(),
        preimage: preimage(),
        fee: Some(Msat(7)),
    };
    // One of the three was under way while it was connected.
    assert!(
        told.iter()
            .all(|event| *event == closed || *event == settled)
    );
}

#[tokio::test]
async fn a_channel_and_the_money_are_counted_once() {
    let (fake, wallet) = start().await;
    let channels = message::ListChannelsResponse {
        channels: vec![channel()],
    };
    fake.always(path::LIST_CHANNELS, Reply::one(&channels));
    let balance = message::WalletBalanceResponse {
        total_balance: 900_000,
        confirmed_balance: 800_000,
        reserved_balance_anchor_chan: 10_000,
    };
    fake.always(path::WALLET_BALANCE, Reply::one(&balance));
    let transactions = message::TransactionDetails {
        transactions: recent_transactions(),
    };
    fake.always(path::GET_TRANSACTIONS, Reply::one(&transactions));
    fake.always(path::PENDING_CHANNELS, Reply::one(&opening()));
    let found = wallet.channels().await.unwrap();
    assert_eq!(found.len(), 2);
    assert_eq!(found[0].state, ChannelState::Opening);
    let found = &found[1..];
    // What the fee of the commitment transaction takes is ours: we have opened it.
    assert_eq!(found[0].local, Msat(605_000_000));
    assert_eq!(found[0].on_close, Msat(600_000_000));
    assert_eq!(found[0].remote, Msat(390_000_000));
    assert_eq!(found[0].pending_htlcs.len(), 1);
    // A tenth of it at once, of which a part is on its way.
    assert_eq!(found[0].spendable, Msat(95_000_000));
    assert!(found[0].pending_htlcs[0].is_outgoing && !found[0].is_public);
    let balances = wallet.balances().await.unwrap();
    // With the coinbase of which lnd's own total knows nothing.
    assert_eq!(balances.onchain_total, Amount::from_sat(950_000));
    assert_eq!(balances.onchain_immature, Amount::from_sat(50_000));
    assert_eq!(balances.onchain_spendable, Amount::from_sat(790_000));
    assert_eq!(balances.onchain_change, Amount::from_sat(700));
    // The channel that opens is ours too: 300,000, of which its commitment takes 4,000 and the reserve 3,000.
    assert_eq!(balances.in_channels, Msat(905_000_000));
    assert_eq!(balances.in_channels_free, Msat(883_000_000));
}

/// A coinbase that is not mature and one that is; the change of ours, what was made of some of it, and what a stranger sends.
fn recent_transactions() -> Vec<message::Transaction> {
    let nowhere = "0000000000000000000000000000000000000000000000000000000000000000:4294967295";
    let transaction =
        |name: u8, num_confirmations, spent: &[(&str, bool)], paid: &[(i64, bool)]| {
            let spent = spent
                .iter()
                .map(|(outpoint, is_ours)| message::PreviousOutPoint {
                    outpoint: (*outpoint).to_owned(),
                    is_our_output: *is_ours,
                });
            let paid =
                (0..)
                    .zip(paid)
                    .map(|(output_index, (amount, is_ours))| message::OutputDetail {
                        output_index,
                        amount: *amount,
                        is_our_address: *is_ours,
                    });
            message::Transaction {
                tx_hash: hex::encode([name; 32]),
                num_confirmations,
                block_height: 0,
                output_details: paid.collect(),
                previous_outpoints: spent.collect(),
            }
        };
    let made = format!("{}:1", hex::encode([3; 32]));
    vec![
        transaction(1, 99, &[(nowhere, false)], &[(50_000, true), (9, false)]),
        transaction(2, 100, &[(nowhere, false)], &[(60_000, true)]),
        transaction(
            3,
            0,
            &[(FUNDING, true)],
            &[(90, false), (500, true), (300, true)],
        ),
        transaction(4, 0, &[(&made, true)], &[(400, true)]),
        transaction(5, 0, &[(FUNDING, false)], &[(7_000, true)]),
        transaction(6, 1, &[(FUNDING, true)], &[(8_000, true)]),
    ]
}

/// A channel of 300,000 sat that we open.
fn opening() -> message::PendingChannelsResponse {
    message::PendingChannelsResponse {
        pending_open_channels: vec![message::PendingOpenChannel {
            channel: Some(message::PendingChannel {
                remote_node_pub: node(7).to_string(),
                channel_point: FUNDING.replace(":1", ":2"),
                capacity: 300_000,
                local_balance: 296_000,
                local_chan_reserve_sat: 3_000,
                initiator: 1,
                ..message::PendingChannel::default()
            }),
        }],
        ..message::PendingChannelsResponse::default()
    }
}

#[tokio::test]
async fn a_channel_is_usable_once_lnds_router_has_it_with_our_policy() {
    let (fake, wallet) = start().await;
    let is_usable = async || wallet.channels().await.unwrap()[0].is_usable;
    let not_there = Reply::Status(Code::NotFound, "edge not found");
    fake.always(path::GET_CHAN_INFO, not_there);
    assert!(!is_usable().await);
    let mut half = edge();
    half.node2_policy = None;
    fake.always(path::GET_CHAN_INFO, Reply::one(&half));
    assert!(!is_usable().await, "it has the peer's policy only");
    fake.always(path::GET_CHAN_INFO, Reply::one(&edge()));
    assert!(is_usable().await);
    // Asked no more than once.
    let calls = fake.calls().len();
    assert!(is_usable().await);
    assert_eq!(fake.calls().len(), calls + 2);
    let asked: message::ChanInfoRequest = fake.last(path::GET_CHAN_INFO);
    assert_eq!(asked.chan_id, 77);
}

#[tokio::test]
async fn a_peer_is_connected_when_lnd_lists_it() {
    let (fake, wallet) = start().await;
    fake.always(path::CONNECT_PEER, Reply::one(&message::Empty {}));
    let nobody = message::ListPeersResponse::default();
    fake.on(path::LIST_PEERS, Reply::one(&nobody));
    let there = message::ListPeersResponse {
        peers: vec![message::Peer {
            pub_key: node(7).to_string(),
            address: "127.0.0.1:9735".to_owned(),
        }],
    };
    fake.on(path::LIST_PEERS, Reply::one(&there));
    let address = "127.0.0.1:9735".parse().unwrap();
    wallet.connect(node(7), address).await.unwrap();
    let asked = fake.calls();
    let asked = asked.iter().filter(|call| call.path == path::LIST_PEERS);
    assert_eq!(asked.count(), 2);
}

#[tokio::test]
async fn only_a_channel_that_there_is_is_closed() {
    let (fake, wallet) = start().await;
    fake.always(path::CLOSE_CHANNEL, Reply::open(&[message::Empty {}]));
    let mut request = CloseChannel {
        id: ChannelId([1; 32]),
        force: false,
    };
    let error = wallet.close_channel(&request).await.unwrap_err();
    assert!(
        matches!(error, WalletError::UnknownChannel { .. }),
        "{error}"
    );
    request.id = channel_id();
    wallet.close_channel(&request).await.unwrap();
    let sent: message::CloseChannelRequest = fake.last(path::CLOSE_CHANNEL);
    assert!(sent.no_wait && !sent.force);
    assert_eq!(sent.channel_point.unwrap().output_index, 1);
}

#[tokio::test]
async fn the_history_comes_in_pages() {
    let (fake, wallet) = start().await;
    let page = message::ListPaymentsResponse {
        payments: vec![payment(PaymentStatus::Succeeded); 500],
        last_index_offset: 612,
    };
    fake.on(path::LIST_PAYMENTS, Reply::one(&page));
    let rest = message::ListPaymentsResponse {
        payments: vec![payment(PaymentStatus::Failed)],
        last_index_offset: 613,
    };
    fake.on(path::LIST_PAYMENTS, Reply::one(&rest));
    let first = wallet.outgoing_payments(None).await.unwrap();
    assert_eq!(first.payments.len(), 500);
    assert_eq!(first.payments[0].at_s, 1_700_000_000);
    let second = wallet.outgoing_payments(first.next.as_ref()).await.unwrap();
    assert_eq!(second.payments[0].state, OutgoingState::Failed);
    assert_eq!(second.next, None);
    let sent: message::ListPaymentsRequest = fake.last(path::LIST_PAYMENTS);
    assert_eq!((sent.index_offset, sent.max_payments), (612, 500));
    assert!(sent.include_incomplete && sent.omit_hops);
}

#[test]
fn the_runbook_names_every_right_that_a_macaroon_needs() {
    let runbook = include_str!("../../../../../docs/runbooks/lightning.md");
    let paths = include_str!("message.rs").split('"');
    let paths: Vec<&str> = paths
        .filter(|text| text.starts_with("/lnrpc.") || text.starts_with("/routerrpc."))
        .collect();
    assert!(paths.len() > 20, "{paths:?}");
    for path in paths {
        let right = format!("uri:{path}");
        assert!(
            runbook.split_whitespace().any(|word| word == right),
            "{right}"
        );
    }
}
