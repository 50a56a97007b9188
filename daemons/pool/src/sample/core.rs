//! A Bitcoin Core that knows the calls about blocks, and can be made to forget what it accepted: the real one does so when it is
//! killed, which the end-to-end tests do.

use bitcoin::hashes::{Hash, sha256d};
use hh_bitcoin::{Rpc, RpcAuth};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// See the module. Its thread ends with the process.
#[derive(Clone)]
pub(crate) struct FakeCore {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// On its best chain, as it prints them.
    blocks: HashSet<String>,
    submissions: u32,
    /// What it says of any block, where it does not accept it.
    refusal: Option<&'static str>,
    is_away: bool,
    confirmations: u32,
}

impl FakeCore {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let core = Self {
            address: listener.local_addr().unwrap(),
            state: Arc::default(),
        };
        core.set_confirmations(1);
        let state = Arc::clone(&core.state);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                serve(&stream.unwrap(), &state);
            }
        });
        core
    }

    pub(crate) fn rpc(&self) -> Rpc {
        let auth = RpcAuth::CookieFile("/dev/null".into());
        Rpc::new(&format!("http://{}", self.address), auth).unwrap()
    }

    pub(crate) fn has(&self, hash: &str) -> bool {
        self.state.lock().unwrap().blocks.contains(hash)
    }

    pub(crate) fn submissions(&self) -> u32 {
        self.state.lock().unwrap().submissions
    }

    /// As after `kill -9`.
    pub(crate) fn forget(&self) {
        self.state.lock().unwrap().blocks.clear();
    }

    pub(crate) fn set_away(&self, is_away: bool) {
        self.state.lock().unwrap().is_away = is_away;
    }

    pub(crate) fn refuse(&self, reason: &'static str) {
        self.state.lock().unwrap().refusal = Some(reason);
    }

    /// Of every block that it has.
    pub(crate) fn set_confirmations(&self, confirmations: u32) {
        self.state.lock().unwrap().confirmations = confirmations;
    }
}

fn serve(stream: &TcpStream, state: &Mutex<State>) {
    if state.lock().unwrap().is_away {
        return;
    }
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap_or_default();
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    // A client that went away sends none, or not all of it.
    if reader.read_exact(&mut body).is_err() || body.is_empty() {
        return;
    }
    let request: Value = serde_json::from_slice(&body).unwrap();
    let (result, error) = answer(&request, &mut state.lock().unwrap());
    let body = json!({ "result": result, "error": error, "id": request["id"] }).to_string();
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
    let mut stream = stream;
    stream.write_all((head + &body).as_bytes()).ok();
}

fn answer(request: &Value, state: &mut State) -> (Value, Value) {
    let param = request["params"][0].as_str().unwrap_or_default();
    match request["method"].as_str().unwrap() {
        "getblockheader" if state.blocks.contains(param) => (
            json!({ "hash": param, "height": 1, "confirmations": state.confirmations, "time": 0, "nTx": 1 }),
            Value::Null,
        ),
        "getblockheader" => (
            Value::Null,
            json!({ "code": -5, "message": "Block not found" }),
        ),
        "submitblock" => {
            state.submissions += 1;
            let block = hex::decode(param).unwrap();
            let hash = sha256d::Hash::hash(&block[..80]);
            let mut shown = hash.to_byte_array();
            shown.reverse();
            match state.refusal {
                Some(reason) => (reason.into(), Value::Null),
                None if state.blocks.insert(hex::encode(shown)) => (Value::Null, Value::Null),
                None => ("duplicate".into(), Value::Null),
            }
        }
        // A proposal, about a block that it has.
        "getblocktemplate" => ("duplicate".into(), Value::Null),
        other => panic!("the fake Bitcoin Core does not know {other}"),
    }
}
