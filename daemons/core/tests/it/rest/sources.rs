//! hh-pool and hh-treasury as core sees them: fixed answers in the frames of their view sockets.

use futures::{SinkExt, StreamExt};
use hh_ipc::ApiError;
use hh_ipc::ErrorKind;
use hh_ipc::api::treasury::{
    Account, BlockReport, Payout, PayoutPage, PayoutState, RewardBlock, RewardBlockPage,
    RewardBlockState, TreasuryStatus,
};
use hh_ipc::api::{LinkState, LinkStatus};
use hh_trust::ReportKey;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use std::path::Path;
use std::sync::Arc;
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio_util::bytes::Bytes;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

/// The one block of ours.
pub(crate) const BLOCK: &str = "00000000000000000001b2f6e7f0d9c8a1b2c3d4e5f60718293a4b5c6d7e8f90";

const REPORT: &str = r#"{"format":"hyperhash-block-report/1","fees_msat":"500000000","pool_fee_msat":"50000000","node_half_msat":"25000000","treasury_msat":"25000000","nodes":[{"node":"edge-1","score":"9","amount_msat":"20000000"}],"node_reserve":{"score":"2","amount_msat":"5000000"}}"#;

/// Both; they end with it.
pub(crate) struct Sources {
    _tasks: JoinSet<()>,
}

impl Sources {
    /// On the sockets that the site's configuration names.
    pub(crate) fn start(dir: &Path) -> Self {
        let key = Arc::new(ReportKey::generate().unwrap());
        let mut tasks = JoinSet::new();
        for name in ["hh-pool", "hh-treasury"] {
            let dir = dir.join(name);
            std::fs::create_dir_all(&dir).unwrap();
            let listener = UnixListener::bind(dir.join("view.sock")).unwrap();
            let key = Arc::clone(&key);
            tasks.spawn(async move {
                let mut connections = JoinSet::new();
                while let Ok((stream, _)) = listener.accept().await {
                    connections.spawn(serve(stream, name, Arc::clone(&key)));
                }
            });
        }
        Self { _tasks: tasks }
    }
}

async fn serve(stream: UnixStream, name: &'static str, key: Arc<ReportKey>) {
    let mut framed = Framed::new(stream, LengthDelimitedCodec::new());
    while let Some(Ok(frame)) = framed.next().await {
        let message: Value = serde_json::from_slice(&frame).unwrap();
        let Some(request) = message.get("Request") else {
            continue;
        };
        let (method, asked) = request["message"]
            .as_object()
            .unwrap()
            .iter()
            .next()
            .unwrap();
        let answer = match name {
            "hh-pool" => pool(method),
            _ => treasury(method, asked, &key),
        };
        let answer =
            json!({"request_id": request["id"], "message": {"Ok": {method.as_str(): answer}}});
        let sent = framed.send(Bytes::from(answer.to_string())).await;
        if sent.is_err() {
            return;
        }
    }
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

fn ok(value: impl Serialize) -> Value {
    json!({"Ok": value})
}

fn refused(kind: ErrorKind, code: &str) -> Value {
    json!({"Err": ApiError::new(kind, code, "there is none of that name")})
}

/// As `ipc` writes it down, which a test there holds.
fn pool(method: &str) -> Value {
    assert_eq!(method, "Status");
    let snapshot = include_str!("../../../../../ipc/tests/it/snapshots/it__wire__pool_status.snap");
    let json = snapshot.splitn(3, "---\n").nth(2).unwrap();
    serde_json::from_str(json).unwrap()
}

fn treasury(method: &str, asked: &Value, key: &ReportKey) -> Value {
    match method {
        "Status" => json!(status(key)),
        "Blocks" => ok(RewardBlockPage {
            blocks: vec![block()],
            total: 1,
        }),
        "Report" if asked["hash"] == BLOCK => ok(report(key)),
        "Report" => refused(ErrorKind::NotFound, "HH4004"),
        "Payouts" => ok(PayoutPage {
            payouts: vec![payout(2), payout(1)],
            next_before: None,
        }),
        "Account" if asked["name"] == "miner:alice" => ok(account()),
        "Account" => refused(ErrorKind::Usage, "HH4005"),
        "Proof" => refused(ErrorKind::NotFound, "HH4004"),
        other => panic!("core asks hh-treasury for {other}"),
    }
}

fn link() -> LinkStatus {
    LinkStatus {
        address: "127.0.0.1:1".into(),
        state: LinkState::Up,
        since_at: at(0),
        last_error: None,
    }
}

fn status(key: &ReportKey) -> TreasuryStatus {
    TreasuryStatus {
        chain: "signet".into(),
        bitcoin_nodes: Vec::new(),
        pool_ledger: link(),
        books: link(),
        lightning: link(),
        backend: "ldk-node".into(),
        height: Some(211),
        totals: None,
        balances: None,
        freeze: None,
        last_block: None,
        payouts_open: 0,
        payouts_waiting_for_operator: 0,
        last_verified_at: None,
        report_public_key: key.public_key().to_string(),
        reward_address: "tb1q".into(),
    }
}

fn block() -> RewardBlock {
    RewardBlock {
        hash: BLOCK.into(),
        height: 210,
        state: RewardBlockState::Payable,
        confirmations: 101,
        blocks_to_maturity: 0,
        value_msat: 5_500_000_000,
        subsidy_msat: 5_000_000_000,
        fees_msat: 500_000_000,
        finder: Some("alice".into()),
        found_at: at(1),
        split_at: Some(at(2)),
        reason: None,
        accounts: Some(3),
    }
}

fn report(key: &ReportKey) -> BlockReport {
    BlockReport {
        hash: BLOCK.into(),
        report: REPORT.into(),
        signature: key.sign(REPORT.as_bytes()),
    }
}

fn payout(id: u64) -> Payout {
    Payout {
        id,
        payee: "miner:alice".into(),
        amount_msat: 1_000,
        fee_msat: Some(1),
        state: PayoutState::Settled,
        reason: None,
        waiting_for: None,
        destination: "alice@example.com".into(),
        attempts: 1,
        created_at: at(3),
        next_try_at: None,
        settled_at: Some(at(4)),
        latency_seconds: Some(0.5),
        payment_hash: Some(format!("{id:064x}")),
        preimage: Some("ab".repeat(32)),
        approvals: Vec::new(),
        is_held: false,
    }
}

fn account() -> Account {
    Account {
        name: "miner:alice".into(),
        kind: "name".into(),
        immature_msat: 1,
        payable_msat: 2,
        in_payouts_msat: 3,
        paid_msat: 4,
        destination: None,
        pending_destination: None,
        is_claimed: true,
        held_reason: None,
        expected_msat: Some(5),
        realised_msat: None,
        luck_ratio: Some(0.5),
    }
}
