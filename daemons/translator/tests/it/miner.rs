//! A miner's end: lines out, lines in.

use crate::DEADLINE;
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::net::SocketAddr;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// TCP, or TLS over it.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

pub(crate) struct Miner {
    stream: BufReader<Box<dyn Stream>>,
    /// Notifications that came while an answer was waited for.
    notifications: VecDeque<Value>,
}

impl Miner {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.unwrap())
    }

    /// A miner on a connection that is there.
    pub(crate) fn over(stream: impl Stream + 'static) -> Self {
        Self {
            stream: BufReader::new(Box::new(stream)),
            notifications: VecDeque::new(),
        }
    }

    /// Sends bytes as they are.
    pub(crate) async fn send_raw(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends a request without waiting for its answer.
    pub(crate) async fn send(&mut self, id: Value, method: &str, params: Value) {
        let request = json!({ "id": id, "method": method, "params": params });
        self.send_raw(format!("{request}\n")).await;
    }

    /// The next line, whatever it is.
    pub(crate) async fn line(&mut self) -> Value {
        serde_json::from_str(&self.raw_line().await).unwrap()
    }

    /// The next line, as it was written.
    pub(crate) async fn raw_line(&mut self) -> String {
        let mut line = String::new();
        let read = timeout(DEADLINE, self.stream.read_line(&mut line)).await;
        let length = read.expect("the translator sends a line").unwrap();
        assert_ne!(length, 0, "the translator closed the connection");
        line
    }

    /// The next answer; notifications before it are kept.
    pub(crate) async fn answer(&mut self) -> Value {
        loop {
            let line = self.line().await;
            if line.get("method").is_none() {
                return line;
            }
            self.notifications.push_back(line);
        }
    }

    /// Sends a request and gives its answer.
    pub(crate) async fn call(&mut self, method: &str, params: Value) -> Value {
        self.send(json!(1), method, params).await;
        self.answer().await
    }

    /// The next notification: its method and its parameters.
    pub(crate) async fn notification(&mut self) -> (String, Value) {
        let line = match self.notifications.pop_front() {
            Some(line) => line,
            None => self.line().await,
        };
        assert_eq!(line["id"], Value::Null, "not a notification: {line}");
        (
            line["method"].as_str().unwrap().to_owned(),
            line["params"].clone(),
        )
    }

    /// The parameters of the next notify; what comes before it may be a difficulty or a mask.
    pub(crate) async fn notify(&mut self) -> Value {
        loop {
            let (method, params) = self.notification().await;
            if method == "mining.notify" {
                return params;
            }
            assert!(
                method == "mining.set_difficulty" || method == "mining.set_version_mask",
                "{method}"
            );
        }
    }

    /// Waits for the end of the connection; lines before it are dropped.
    pub(crate) async fn closed(&mut self) {
        let mut line = String::new();
        while timeout(DEADLINE, self.stream.read_line(&mut line))
            .await
            .expect("the translator closes the connection")
            .is_ok_and(|length| length > 0)
        {
            line.clear();
        }
    }

    /// Subscribes and sends authorize, without waiting for the answer to that.
    pub(crate) async fn begin(&mut self, user_name: &str) {
        let answer = self.call("mining.subscribe", json!(["test/1"])).await;
        assert_eq!(answer["result"][2], 7);
        self.send(json!("auth"), "mining.authorize", json!([user_name, "x"]))
            .await;
    }

    /// Takes the answer to authorize.
    pub(crate) async fn authorized(&mut self) {
        let answer = self.answer().await;
        assert_eq!(
            answer,
            json!({ "id": "auth", "result": true, "error": null })
        );
    }

    /// Sends a share on the job of a notify; `extranonce2` is what tells it from others.
    pub(crate) async fn submit(
        &mut self,
        id: Value,
        user_name: &str,
        notify: &Value,
        extranonce2: u32,
    ) {
        let params = json!([
            user_name,
            notify[0],
            format!("{extranonce2:014x}"),
            notify[7],
            "0000002a"
        ]);
        self.send(id, "mining.submit", params).await;
    }
}

/// The code of an answer's error.
#[track_caller]
pub(crate) fn error_code(answer: &Value) -> u64 {
    assert_eq!(answer["result"], Value::Null, "{answer}");
    assert_eq!(answer["error"][2], Value::Null, "{answer}");
    answer["error"][0].as_u64().unwrap()
}
