//! The same for Stratum V1: a proxy between a miner and hh-translator.
//!
//! Each share that it sees it submits first on a connection of its own, then on the miner's under its own name, and at last there
//! as another worker of the miner's account, which it has authorized beside the miner. All else it passes on as it is.

use crate::sv1::{Answer, Sv1Connection, Sv1Error};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// The worker whom it makes of the miner.
pub const WORKER: &str = "mallory";

/// Ids of what it says on the miner's connection: no miner has such.
const AUTHORIZE: &str = "edge-authorize";
const SUBMIT: &str = "edge-submit";

/// What the translator said to the shares that it submitted as its own.
#[derive(Clone, Debug, Default)]
pub struct Sv1Loot {
    pub accepted: u32,
    /// What was said to the others, on its own connection.
    pub refused: Vec<String>,
    /// What was said on the miner's connection.
    pub refused_beside: Vec<String>,
}

/// See the module; ends when it is dropped.
#[derive(Debug)]
pub struct Sv1Edge {
    /// Where its miner connects.
    pub address: SocketAddr,
    loot: Arc<Mutex<Sv1Loot>>,
    _running: JoinSet<Result<(), Sv1Error>>,
}

impl Sv1Edge {
    /// Connects to the lane as `user_name`, and waits for one miner.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn start(lane: SocketAddr, user_name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("the kernel has a port");
        let address = listener.local_addr().expect("it is bound");
        let loot = Arc::default();
        let mut running = JoinSet::new();
        running.spawn(run(listener, lane, user_name.to_owned(), Arc::clone(&loot)));
        Self {
            address,
            loot,
            _running: running,
        }
    }

    /// What it got.
    ///
    /// # Panics
    /// Never: nobody panics with it.
    #[must_use]
    pub fn loot(&self) -> Sv1Loot {
        self.loot.lock().expect("nobody panics with it").clone()
    }
}

struct Relay {
    miner: OwnedWriteHalf,
    lane: OwnedWriteHalf,
    own: Sv1Connection,
    user_name: String,
    loot: Arc<Mutex<Sv1Loot>>,
}

async fn run(
    listener: TcpListener,
    lane: SocketAddr,
    user_name: String,
    loot: Arc<Mutex<Sv1Loot>>,
) -> Result<(), Sv1Error> {
    let own = Sv1Connection::open(lane, &user_name).await?;
    let (mut from_miner, miner) = ends(listener.accept().await?.0);
    let (mut from_lane, lane) = ends(TcpStream::connect(lane).await?);
    let mut relay = Relay {
        miner,
        lane,
        own,
        user_name,
        loot,
    };
    let mut answers = Vec::new();
    loop {
        tokio::select! {
            line = from_miner.next_line() => match line? {
                Some(line) => relay.on_miner(&line).await?,
                None => return Ok(()),
            },
            line = from_lane.next_line() => match line? {
                Some(line) => relay.on_lane(line).await?,
                None => return Ok(()),
            },
            received = relay.own.receive(&mut answers) => {
                received?;
                relay.on_own(answers.drain(..));
            }
        }
    }
}

fn ends(stream: TcpStream) -> (Lines<BufReader<OwnedReadHalf>>, OwnedWriteHalf) {
    let (reads, writes) = stream.into_split();
    (BufReader::new(reads).lines(), writes)
}

impl Relay {
    async fn on_miner(&mut self, line: &str) -> Result<(), Sv1Error> {
        let call: Value = serde_json::from_str(line)?;
        let user_name = call["params"][0].as_str().unwrap_or_default();
        let (account, _) = user_name.split_once('.').unwrap_or((user_name, ""));
        let worker = format!("{account}.{WORKER}");
        match call["method"].as_str() {
            Some("mining.authorize") => {
                say(&mut self.lane, &call).await?;
                let params = json!([worker, "x"]);
                let other =
                    json!({ "id": AUTHORIZE, "method": "mining.authorize", "params": params });
                say(&mut self.lane, &other).await
            }
            Some("mining.submit") => {
                self.submit_as_own(&call["params"]).await?;
                let mut stolen = call.clone();
                stolen["id"] = SUBMIT.into();
                stolen["params"][0] = self.user_name.as_str().into();
                say(&mut self.lane, &stolen).await?;
                let mut renamed = call;
                renamed["params"][0] = worker.into();
                say(&mut self.lane, &renamed).await
            }
            _ => say(&mut self.lane, &call).await,
        }
    }

    async fn submit_as_own(&mut self, params: &Value) -> Result<(), Sv1Error> {
        let unreadable = || Sv1Error::Message("a share");
        let text = |index: usize| params[index].as_str().ok_or_else(unreadable);
        let number = |index| {
            let number = u32::from_str_radix(text(index)?, 16);
            number.ok().ok_or_else(unreadable)
        };
        let extranonce_2 = hex::decode(text(2)?).ok().ok_or_else(unreadable)?;
        // A miner that rolls no version tells none.
        let header = (number(5).unwrap_or_default(), number(3)?, number(4)?);
        let job = self.own.job().expect("an open connection has work");
        let job_id = job.id.clone();
        self.own.queue_submit(&job_id, &extranonce_2, header);
        self.own.flush().await
    }

    async fn on_lane(&mut self, line: String) -> Result<(), Sv1Error> {
        let said: Value = serde_json::from_str(&line)?;
        match said["id"].as_str() {
            Some(AUTHORIZE) => Ok(()),
            Some(SUBMIT) => {
                let mut loot = self.loot.lock().expect("nobody panics with it");
                if said["result"] == true {
                    loot.accepted += 1;
                } else {
                    loot.refused_beside.push(said["error"].to_string());
                }
                Ok(())
            }
            _ => say(&mut self.miner, &said).await,
        }
    }

    fn on_own(&mut self, answers: impl Iterator<Item = Answer>) {
        let mut loot = self.loot.lock().expect("nobody panics with it");
        for answer in answers {
            match answer.refused {
                None => loot.accepted += 1,
                Some(reason) => loot.refused.push(reason),
            }
        }
    }
}

async fn say(to: &mut OwnedWriteHalf, message: &Value) -> Result<(), Sv1Error> {
    Ok(to.write_all(format!("{message}\n").as_bytes()).await?)
}
