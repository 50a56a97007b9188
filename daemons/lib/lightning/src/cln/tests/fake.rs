//! A lightningd of a few lines: a Unix socket, JSON-RPC, and answers that a test has laid down for each method.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

/// What the fake does when it is called.
#[derive(Clone, Debug)]
pub(super) enum Reply {
    Result(Value),
    Error(i32, &'static str),
    /// The connection breaks off.
    Cut,
    /// No answer, ever.
    Never,
}

#[derive(Debug, Default)]
struct State {
    replies: BTreeMap<&'static str, VecDeque<Reply>>,
    calls: Vec<(String, Value)>,
}

/// The fake; it ends when it is dropped.
pub(super) struct FakeCln {
    state: Arc<Mutex<State>>,
    dir: tempfile::TempDir,
    _serving: JoinSet<()>,
}

impl FakeCln {
    pub(super) fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("hh-cln").tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("lightning-rpc")).unwrap();
        let state = Arc::new(Mutex::new(State::default()));
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

    /// Lays down what the next call of `method` gets; the last one is for all that come after it.
    pub(super) fn on(&self, method: &'static str, reply: Reply) {
        let mut state = self.state.lock().unwrap();
        state.replies.entry(method).or_default().push_back(reply);
    }

    /// From now on, whatever was laid down before.
    pub(super) fn always(&self, method: &'static str, reply: Reply) {
        let mut state = self.state.lock().unwrap();
        state.replies.insert(method, VecDeque::from([reply]));
    }

    /// What the last call of the method was given.
    pub(super) fn last(&self, method: &str) -> Value {
        let state = self.state.lock().unwrap();
        let call = state.calls.iter().rfind(|(called, _)| called == method);
        call.unwrap().1.clone()
    }

    pub(super) fn was_called(&self, method: &str) -> bool {
        self.times(method) > 0
    }

    /// How often the method was called.
    pub(super) fn times(&self, method: &str) -> usize {
        let state = self.state.lock().unwrap();
        let calls = state.calls.iter().filter(|(called, _)| called == method);
        calls.count()
    }
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
        let reply = {
            let mut state = state.lock().unwrap();
            let params = request["params"].clone();
            state.calls.push((method.clone(), params));
            let replies = state.replies.get_mut(method.as_str());
            replies.and_then(|replies| {
                if replies.len() > 1 {
                    replies.pop_front()
                } else {
                    replies.front().cloned()
                }
            })
        };
        let id = &request["id"];
        let answer = match reply.unwrap_or(Reply::Error(-32_601, "not laid down")) {
            Reply::Result(result) => json!({ "jsonrpc": "2.0", "id": id, "result": result }),
            Reply::Error(code, message) => {
                let error = json!({ "code": code, "message": message });
                json!({ "jsonrpc": "2.0", "id": id, "error": error })
            }
            Reply::Cut => return,
            Reply::Never => std::future::pending().await,
        };
        let text = format!("{answer}\n\n");
        if stream.write_all(text.as_bytes()).await.is_err() {
            return;
        }
    }
}
