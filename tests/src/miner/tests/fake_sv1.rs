//! A pool for one SV1 miner, built on lines of JSON alone: gives the work that a test says, and judges shares.

use std::collections::{BTreeMap, BTreeSet};

use hh_mining::{BlockHash, Header, Target, merkle_root_of};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

use super::super::MinerUrl;
use super::EASY;

const VERSION: u32 = 0x2000_0000;
const NTIME: u32 = 1_700_000_000;
const COINBASE_1: [u8; 60] = [3; 60];
const COINBASE_2: [u8; 40] = [4; 40];
const BRANCH: [[u8; 32]; 2] = [[5; 32], [6; 32]];

pub(super) struct FakeSv1 {
    listener: TcpListener,
    /// Version bits that are granted; with `None` mining.configure is unknown.
    mask: Option<u32>,
}

impl FakeSv1 {
    pub(super) async fn start(mask: Option<u32>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self { listener, mask }
    }

    pub(super) fn url(&self) -> MinerUrl {
        MinerUrl::StratumV1 {
            address: self.listener.local_addr().unwrap().to_string(),
        }
    }

    /// Takes the next miner and answers until it is authorized.
    pub(super) async fn accept(&self) -> FakeSession {
        let (stream, _) = self.listener.accept().await.unwrap();
        let mut session = FakeSession {
            stream: BufReader::new(stream),
            mask: self.mask.unwrap_or_default(),
            extranonce_1: vec![1, 2, 3, 4],
            extranonce_2_size: 4,
            jobs: BTreeMap::new(),
            prev_hash: [0; 32],
            seen: BTreeSet::new(),
        };
        let difficulty = EASY.difficulty();
        loop {
            let request = session.read().await;
            let (result, error) = match request["method"].as_str().unwrap() {
                "mining.configure" => match self.mask {
                    Some(mask) => (
                        json!({"version-rolling": true, "version-rolling.mask": format!("{mask:08x}")}),
                        Value::Null,
                    ),
                    None => (Value::Null, json!([20, "unknown method", null])),
                },
                "mining.subscribe" => (
                    json!([[["mining.notify", "1"]], "01020304", 4]),
                    Value::Null,
                ),
                "mining.suggest_difficulty" => (json!(true), Value::Null),
                "mining.authorize" => {
                    assert_eq!(request["params"][0], "alice.rig");
                    (json!(true), Value::Null)
                }
                other => panic!("{other}"),
            };
            let is_last = request["method"] == "mining.authorize";
            if is_last {
                // As most pools do, before the answer that lets the miner work.
                session
                    .notify_with("mining.set_difficulty", json!([difficulty]))
                    .await;
            }
            let answer = json!({"id": request["id"], "result": result, "error": error});
            session.write(&answer).await;
            if is_last {
                return session;
            }
        }
    }
}

pub(super) struct FakeSession {
    stream: BufReader<TcpStream>,
    mask: u32,
    extranonce_1: Vec<u8>,
    extranonce_2_size: usize,
    /// The block that each job is for.
    jobs: BTreeMap<String, [u8; 32]>,
    prev_hash: [u8; 32],
    seen: BTreeSet<BlockHash>,
}

impl FakeSession {
    async fn read(&mut self) -> Value {
        let mut line = String::new();
        self.stream.read_line(&mut line).await.unwrap();
        serde_json::from_str(&line).unwrap()
    }

    async fn write(&mut self, message: &Value) {
        let line = format!("{message}\n");
        self.stream
            .get_mut()
            .write_all(line.as_bytes())
            .await
            .unwrap();
    }

    async fn notify_with(&mut self, method: &str, params: Value) {
        let message = json!({"id": null, "method": method, "params": params});
        self.write(&message).await;
    }

    pub(super) async fn notify(&mut self, job_id: &str, prev_hash: [u8; 32], clean: bool) {
        // The bytes of each of the eight words are turned around.
        let words = prev_hash.chunks(4).flat_map(|word| word.iter().rev());
        let swapped: Vec<u8> = words.copied().collect();
        let branch: Vec<_> = BRANCH.iter().map(hex::encode).collect();
        let params = json!([
            job_id,
            hex::encode(swapped),
            hex::encode(COINBASE_1),
            hex::encode(COINBASE_2),
            branch,
            format!("{VERSION:08x}"),
            "1d00ffff",
            format!("{NTIME:08x}"),
            clean,
        ]);
        self.notify_with("mining.notify", params).await;
        self.jobs.insert(job_id.to_owned(), prev_hash);
        self.prev_hash = prev_hash;
    }

    pub(super) async fn set_extranonce(&mut self, first: &[u8], second_size: usize) {
        let params = json!([hex::encode(first), second_size]);
        self.notify_with("mining.set_extranonce", params).await;
        self.extranonce_1 = first.to_vec();
        self.extranonce_2_size = second_size;
    }

    pub(super) async fn ping(&mut self) -> Value {
        let message = json!({"id": 77, "method": "mining.ping", "params": []});
        self.write(&message).await;
        loop {
            let answer = self.read().await;
            if answer["id"] == 77 && answer["method"].is_null() {
                return answer["result"].clone();
            }
        }
    }

    pub(super) async fn reconnect(mut self) {
        self.notify_with("client.reconnect", json!([])).await;
    }

    /// Takes the next share: its request's number, and what is wrong with it.
    pub(super) async fn share(&mut self) -> (u64, Result<(), &'static str>) {
        loop {
            let request = self.read().await;
            if request["method"] == "mining.submit" {
                let id = request["id"].as_u64().unwrap();
                return (id, self.check(&request["params"]));
            }
            assert_eq!(request["method"], "mining.extranonce.subscribe");
            let answer = json!({"id": request["id"], "result": true, "error": null});
            self.write(&answer).await;
        }
    }

    fn check(&mut self, params: &Value) -> Result<(), &'static str> {
        let text = |index: usize| params[index].as_str().unwrap();
        let number = |index: usize| u32::from_str_radix(text(index), 16).unwrap();
        assert_eq!(text(0), "alice.rig");
        let &prev_hash = self.jobs.get(text(1)).ok_or("21: job not found")?;
        if prev_hash != self.prev_hash {
            return Err("21: stale");
        }
        let extranonce_2 = hex::decode(text(2)).unwrap();
        if extranonce_2.len() != self.extranonce_2_size {
            return Err("20: extranonce");
        }
        assert_eq!(params[5].is_null(), self.mask == 0);
        let bits = if self.mask == 0 { 0 } else { number(5) };
        if bits & !self.mask != 0 {
            return Err("20: version");
        }
        if !(NTIME..=NTIME + 7_200).contains(&number(3)) {
            return Err("20: time");
        }
        let extranonce = [self.extranonce_1.as_slice(), &extranonce_2].concat();
        let header = Header {
            version: VERSION & !self.mask | bits,
            prev_hash,
            merkle_root: merkle_root_of(&COINBASE_1, &extranonce, &COINBASE_2, &BRANCH),
            ntime: number(3),
            nbits: 0x1d00_ffff,
            nonce: number(4),
        };
        let hash = header.hash();
        if !Target::from_difficulty(EASY.difficulty()).is_met_by(&hash) {
            return Err("23: low difficulty");
        }
        match self.seen.insert(hash) {
            true => Ok(()),
            false => Err("22: duplicate"),
        }
    }

    pub(super) async fn answer(&mut self, id: u64, fault: Result<(), &str>) {
        let answer = match fault.map_err(|fault| fault.split_once(": ").unwrap()) {
            Ok(()) => json!({"id": id, "result": true, "error": null}),
            Err((number, text)) => {
                let number: u32 = number.parse().unwrap();
                json!({"id": id, "result": null, "error": [number, text, null]})
            }
        };
        self.write(&answer).await;
    }

    /// Takes and answers so many shares.
    pub(super) async fn judge(&mut self, shares: usize) {
        for _ in 0..shares {
            let (id, fault) = self.share().await;
            self.answer(id, fault).await;
        }
    }
}
