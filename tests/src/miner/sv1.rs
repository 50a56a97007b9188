//! A session of Stratum V1: JSON-RPC, a line each.

use std::time::Duration;

use anyhow::{Context, bail, ensure};
use futures::{SinkExt, StreamExt};
use hh_mining::{Header, Target, merkle_root_of};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_util::codec::{Framed, LinesCodec};

use super::hasher::Assignment;
use super::rig::{Rig, ToSubmit};
use super::{Ended, MinerUrl};

/// Longest line that is read: a job's transactions are hashes, its coinbase some hundred bytes.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// For the connect and each answer of the opening.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);
/// Version bits that are asked for in mining.configure (BIP 320).
const VERSION_MASK_WANTED: u32 = 0x1fff_e000;
/// Shares a minute that mining.suggest_difficulty aims at; the pool decides.
const SHARES_A_MINUTE: f64 = 18.0;

/// mining.notify.
struct Job {
    id: String,
    prev_hash: [u8; 32],
    coinbase_1: Vec<u8>,
    coinbase_2: Vec<u8>,
    merkle_branch: Vec<[u8; 32]>,
    version: u32,
    nbits: u32,
    ntime: u32,
}

struct Session<'a> {
    rig: &'a mut Rig,
    lines: Framed<TcpStream, LinesCodec>,
    next_id: u64,
    extranonce_1: Vec<u8>,
    extranonce_2_size: usize,
    version_mask: u32,
    /// For the jobs that come from here on.
    target: Target,
    /// Came before the extranonce was known, or is the one of now.
    job: Option<Job>,
    is_subscribed: bool,
    moved: Option<MinerUrl>,
}

/// Mines until the connection fails, the pool sends the miner away, or it has found enough.
pub(super) async fn mine(rig: &mut Rig, address: &str) -> anyhow::Result<Ended> {
    let stream = timeout(ANSWER_DEADLINE, TcpStream::connect(address))
        .await
        .context("connecting takes too long")?
        .with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    let mut session = Session {
        rig,
        lines: Framed::new(stream, LinesCodec::new_with_max_length(LINE_BYTES_MAX)),
        next_id: 1,
        extranonce_1: Vec::new(),
        extranonce_2_size: 0,
        version_mask: 0,
        target: Target::from_difficulty(1.0),
        job: None,
        is_subscribed: false,
        moved: None,
    };
    session.open(address).await?;
    loop {
        tokio::select! {
            line = session.lines.next() => session.on_line(line).await?,
            next = session.rig.next() => {
                if let Some(share) = session.rig.share_for(next).await {
                    session.submit(share).await?;
                }
            }
        }
        if let Some(to) = session.moved.take() {
            return Ok(Ended::Moved(to));
        }
        if session.rig.is_done() {
            return Ok(Ended::Done);
        }
    }
}

impl Session<'_> {
    async fn open(&mut self, address: &str) -> anyhow::Result<()> {
        let wanted = json!([
            ["version-rolling"],
            {"version-rolling.mask": format!("{VERSION_MASK_WANTED:08x}"), "version-rolling.min-bit-count": 2},
        ]);
        // A pool without mining.configure refuses it, and then no version is rolled.
        if let Ok(configured) = self.call("mining.configure", wanted).await? {
            let mask = configured["version-rolling.mask"].as_str();
            if configured["version-rolling"].as_bool() == Some(true) {
                self.version_mask = u32_from_hex(mask)? & VERSION_MASK_WANTED;
            }
        }
        let agent = json!([concat!("hh-miner/", env!("CARGO_PKG_VERSION"))]);
        let subscribed = self
            .call("mining.subscribe", agent)
            .await?
            .map_err(|reason| anyhow::anyhow!("mining.subscribe is refused: {reason}"))?;
        self.set_extranonce(&subscribed[1], &subscribed[2])?;
        #[expect(clippy::cast_precision_loss, reason = "a suggestion need not be exact")]
        let hashrate = self.rig.config.hashrate_hs as f64;
        let suggested = Target::from_hashrate(hashrate, SHARES_A_MINUTE).difficulty();
        if self.rig.config.hashrate_hs > 0 {
            self.request("mining.suggest_difficulty", json!([suggested]))
                .await?;
        }
        let user = json!([self.rig.config.user, "x"]);
        match self.call("mining.authorize", user).await? {
            Ok(Value::Bool(true)) => {}
            Ok(other) => bail!(
                "the pool does not authorize {}: {other}",
                self.rig.config.user
            ),
            Err(reason) => bail!(
                "the pool does not authorize {}: {reason}",
                self.rig.config.user
            ),
        }
        // What is not supported is refused, and the extranonce then stays what it is.
        self.request("mining.extranonce.subscribe", json!([]))
            .await?;
        let difficulty = self.target.difficulty();
        self.rig.connected(address, &self.extranonce_1, difficulty);
        self.is_subscribed = true;
        self.work();
        Ok(())
    }

    /// Sends a request and gives its number.
    async fn request(&mut self, method: &str, params: Value) -> anyhow::Result<u64> {
        let id = self.next_id;
        self.next_id += 1;
        let line = json!({"id": id, "method": method, "params": params}).to_string();
        self.lines.send(line).await?;
        Ok(id)
    }

    /// Sends a request and waits for its answer: the result, or the error as text.
    async fn call(&mut self, method: &str, params: Value) -> anyhow::Result<Result<Value, String>> {
        let id = self.request(method, params).await?;
        let answer = async {
            loop {
                let line = self.lines.next().await;
                let message = parse(line)?;
                if message["method"].is_null() && message["id"].as_u64() == Some(id) {
                    return anyhow::Ok(result_of(&message));
                }
                self.on_message(&message).await?;
            }
        };
        timeout(ANSWER_DEADLINE, answer)
            .await
            .with_context(|| format!("no answer to {method}"))?
    }

    async fn on_line(
        &mut self,
        line: Option<Result<String, tokio_util::codec::LinesCodecError>>,
    ) -> anyhow::Result<()> {
        let message = parse(line)?;
        self.on_message(&message).await
    }

    async fn on_message(&mut self, message: &Value) -> anyhow::Result<()> {
        let params = &message["params"];
        match message["method"].as_str() {
            Some("mining.notify") => {
                self.job = Some(Job::parse(params).context("mining.notify")?);
                self.work();
            }
            Some("mining.set_difficulty") => {
                let difficulty = params[0].as_f64().context("mining.set_difficulty")?;
                self.target = Target::from_difficulty(difficulty);
            }
            Some("mining.set_extranonce") => {
                self.set_extranonce(&params[0], &params[1])?;
            }
            Some("mining.set_version_mask") => {
                self.version_mask = u32_from_hex(params[0].as_str())? & VERSION_MASK_WANTED;
            }
            Some("client.reconnect") => self.moved = Some(self.reconnect_to(params)?),
            Some(other) => self.answer(message, other).await?,
            None => self.on_answer(message),
        }
        Ok(())
    }

    /// The pool asks something.
    async fn answer(&mut self, message: &Value, method: &str) -> anyhow::Result<()> {
        if message["id"].is_null() {
            return Ok(());
        }
        let result = match method {
            "mining.ping" => json!("pong"),
            "client.get_version" => json!(concat!("hh-miner/", env!("CARGO_PKG_VERSION"))),
            _ => Value::Null,
        };
        let line = json!({"id": message["id"], "result": result, "error": null}).to_string();
        self.lines.send(line).await?;
        Ok(())
    }

    /// The answer to a share; to other requests it says nothing.
    fn on_answer(&mut self, message: &Value) {
        let Some(id) = message["id"].as_u64() else {
            return;
        };
        match result_of(message) {
            Ok(Value::Bool(true)) => self.rig.accepted(id),
            Ok(other) => self.rig.rejected(id, &other.to_string()),
            Err(reason) => self.rig.rejected(id, &reason),
        }
    }

    fn set_extranonce(&mut self, first: &Value, second_size: &Value) -> anyhow::Result<()> {
        self.extranonce_1 = hex::decode(first.as_str().context("no extranonce1")?)?;
        let size = second_size.as_u64().context("no extranonce2 size")?;
        self.extranonce_2_size = usize::try_from(size)?;
        ensure!(self.extranonce_2_size <= 32, "extranonce2 of {size} bytes");
        Ok(())
    }

    /// Works on the job of now.
    fn work(&mut self) {
        let (true, Some(job)) = (self.is_subscribed, &self.job) else {
            return;
        };
        let extranonce_2: Vec<u8> = (0..self.extranonce_2_size)
            .map(|_| rand::random())
            .collect();
        let mask = self.version_mask;
        let header = Header {
            version: job.version & !mask | rand::random::<u32>() & mask,
            prev_hash: job.prev_hash,
            merkle_root: merkle_root_of(
                &job.coinbase_1,
                &[self.extranonce_1.as_slice(), &extranonce_2].concat(),
                &job.coinbase_2,
                &job.merkle_branch,
            ),
            ntime: job.ntime,
            nbits: job.nbits,
            nonce: rand::random(),
        };
        self.rig.assign(Assignment {
            session: self.rig.session(),
            job_id: job.id.clone(),
            extranonce: extranonce_2,
            header,
            target: self.target,
            // What is no target is met by nothing.
            network_target: Target::from_compact(job.nbits)
                .unwrap_or(Target::from_be_bytes([0; 32])),
        });
    }

    async fn submit(&mut self, share: ToSubmit) -> anyhow::Result<()> {
        let header = share.found.header;
        let mut params = vec![
            json!(self.rig.config.user),
            json!(share.job_id),
            json!(hex::encode(&share.extranonce)),
            json!(format!("{:08x}", header.ntime)),
            json!(format!("{:08x}", header.nonce)),
        ];
        if self.version_mask != 0 {
            // A probe may have changed a bit outside of the mask: it goes along, to be refused.
            let changed = header.version ^ share.found.assignment.header.version;
            let bits = header.version & self.version_mask | changed;
            params.push(json!(format!("{bits:08x}")));
        }
        let id = self.request("mining.submit", Value::Array(params)).await?;
        self.rig.sent(id, share);
        Ok(())
    }

    fn reconnect_to(&self, params: &Value) -> anyhow::Result<MinerUrl> {
        let MinerUrl::StratumV1 { address } = &self.rig.config.url else {
            bail!("client.reconnect in a session of another protocol");
        };
        let (host, port) = address.rsplit_once(':').context("no port")?;
        let host = params[0].as_str().filter(|h| !h.is_empty()).unwrap_or(host);
        let port = match &params[1] {
            Value::Number(port) => port.to_string(),
            Value::String(text) => text.clone(),
            _ => port.to_owned(),
        };
        Ok(format!("stratum+tcp://{host}:{port}").parse()?)
    }
}

impl Job {
    fn parse(params: &Value) -> anyhow::Result<Self> {
        let text = |index: usize| params[index].as_str().context("a parameter is missing");
        let merkle_branch = params[4].as_array().context("no merkle branch")?;
        Ok(Self {
            id: text(0)?.to_owned(),
            prev_hash: unswap(hash_from_hex(text(1)?)?),
            coinbase_1: hex::decode(text(2)?)?,
            coinbase_2: hex::decode(text(3)?)?,
            merkle_branch: merkle_branch
                .iter()
                .map(|hash| hash_from_hex(hash.as_str().unwrap_or_default()))
                .collect::<anyhow::Result<_>>()?,
            version: u32_from_hex(params[5].as_str())?,
            nbits: u32_from_hex(params[6].as_str())?,
            ntime: u32_from_hex(params[7].as_str())?,
        })
    }
}

/// SV1 sends the previous hash with the bytes of each of its eight words turned around.
fn unswap(mut hash: [u8; 32]) -> [u8; 32] {
    for word in hash.chunks_exact_mut(4) {
        word.reverse();
    }
    hash
}

fn hash_from_hex(text: &str) -> anyhow::Result<[u8; 32]> {
    let mut hash = [0; 32];
    hex::decode_to_slice(text, &mut hash).context("a hash is not 64 hex digits")?;
    Ok(hash)
}

fn u32_from_hex(text: Option<&str>) -> anyhow::Result<u32> {
    let text = text.context("a number is missing")?;
    u32::from_str_radix(text, 16).with_context(|| format!("{text:?} is no hex number"))
}

fn parse(
    line: Option<Result<String, tokio_util::codec::LinesCodecError>>,
) -> anyhow::Result<Value> {
    let line = line.context("closed by the pool")??;
    serde_json::from_str(&line).with_context(|| format!("the pool sent no JSON: {line:?}"))
}

/// The result of an answer, or its error as `NUMBER: TEXT`.
fn result_of(message: &Value) -> Result<Value, String> {
    match &message["error"] {
        Value::Null => Ok(message["result"].clone()),
        Value::Array(error) => {
            let text = error.get(1).and_then(Value::as_str).unwrap_or_default();
            let number = error.first().unwrap_or(&Value::Null);
            Err(format!("{number}: {text}"))
        }
        other => Err(other.to_string()),
    }
}
