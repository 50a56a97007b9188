//! A lightningd of a few lines at its socket: one channel, nothing in its books, and the invoice that a test has its payee make.

use bitcoin::secp256k1::{PublicKey, Secp256k1, SecretKey};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

/// What the payee of an offer answers with.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) amount_msat: u64,
    pub(super) hash: [u8; 32],
    pub(super) payee: PublicKey,
    pub(super) expiry_s: u32,
}

#[derive(Debug)]
struct State {
    answer: Answer,
    calls: Vec<(String, Value)>,
}

/// It ends when it is dropped.
pub(super) struct FakeCln {
    state: Arc<Mutex<State>>,
    dir: TempDir,
    _serving: JoinSet<()>,
}

pub(super) fn node(byte: u8) -> PublicKey {
    let key = SecretKey::from_slice(&[byte; 32]).unwrap();
    key.public_key(&Secp256k1::new())
}

impl FakeCln {
    pub(super) fn start(answer: Answer) -> Self {
        let dir = tempfile::Builder::new().prefix("hh-cln").tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("lightning-rpc")).unwrap();
        let calls = Vec::new();
        let state = Arc::new(Mutex::new(State { answer, calls }));
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, Arc::clone(&state)));
        Self {
            state,
            dir,
            _serving: serving,
        }
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.dir.path().join("lightning-rpc")
    }

    pub(super) fn answers(&self, answer: Answer) {
        self.state.lock().unwrap().answer = answer;
    }

    /// What it was called with, oldest first.
    pub(super) fn calls_of(&self, method: &str) -> Vec<Value> {
        let state = self.state.lock().unwrap();
        let calls = state.calls.iter().filter(|(called, _)| called == method);
        calls.map(|(_, params)| params.clone()).collect()
    }
}

/// None where it takes its time.
fn result(method: &str, answer: &Answer) -> Option<Value> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Some(match method {
        "getinfo" => json!({
            "id": node(9).to_string(), "alias": "till", "color": "000000", "num_peers": 1,
            "num_pending_channels": 0, "num_active_channels": 1, "num_inactive_channels": 0,
            "address": [], "binding": [], "version": "v26.06.6", "blockheight": 123,
            "network": "signet", "fees_collected_msat": 0, "lightning-dir": "/nowhere",
        }),
        "setconfig" => json!({ "config": { "config": "xpay-slow-mode", "dynamic": true } }),
        "listpeerchannels" => json!({ "channels": [{
            "peer_id": node(7).to_string(), "peer_connected": true, "reestablished": true,
            "state": "CHANNELD_NORMAL", "opener": "local", "features": [], "channel_id": "01".repeat(32),
            "short_channel_id": "103x1x0", "funding_txid": "01".repeat(32), "funding_outnum": 1,
            "private": true, "to_us_msat": 600_000_000, "total_msat": 1_000_000_000,
            "our_reserve_msat": 10_000_000, "their_reserve_msat": 10_000_000,
            "spendable_msat": 580_000_000, "receivable_msat": 390_000_000,
            "last_tx_fee_msat": 2_000_000, "htlcs": [],
        }] }),
        "listpays" => json!({ "pays": [] }),
        "listsendpays" => json!({ "payments": [] }),
        "fetchinvoice" => json!({ "invoice": "lni1fetched", "changes": {} }),
        "decode" => json!({
            "type": "bolt12 invoice", "valid": true, "invoice_amount_msat": answer.amount_msat,
            "invoice_payment_hash": hex::encode(answer.hash), "invoice_node_id": answer.payee.to_string(),
            "invoice_created_at": now.as_secs(), "invoice_relative_expiry": answer.expiry_s,
        }),
        // A payment is tried for as long as it takes.
        "xpay" => return None,
        _ => json!({}),
    })
}

async fn serve(listener: UnixListener, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.spawn(answer(stream, Arc::clone(&state)));
    }
}

/// Requests follow each other without a line break between them.
async fn answer(mut stream: UnixStream, state: Arc<Mutex<State>>) {
    let mut read = Vec::new();
    loop {
        let mut requests = serde_json::Deserializer::from_slice(&read).into_iter::<Value>();
        let Some(Ok(request)) = requests.next() else {
            if stream.read_buf(&mut read).await.unwrap_or(0) == 0 {
                return;
            }
            continue;
        };
        let taken = requests.byte_offset();
        read.drain(..taken);
        let method = request["method"].as_str().unwrap().to_owned();
        let result = {
            let mut state = state.lock().unwrap();
            state
                .calls
                .push((method.clone(), request["params"].clone()));
            result(&method, &state.answer)
        };
        let Some(result) = result else {
            return std::future::pending().await;
        };
        let text = format!(
            "{}\n\n",
            json!({ "jsonrpc": "2.0", "id": request["id"], "result": result })
        );
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}
