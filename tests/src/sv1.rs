//! A Stratum V1 connection from the miner's side, for load and for tests that drive it themselves. What mines by itself is the
//! miner.
//!
//! It reads and writes many lines at once and looks into each no further than it must: a thousand of them run on a part of one
//! core.

mod job;
mod session;

pub use job::Job;
pub use session::{Session, Share};

use hh_mining::Target;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Room for one read: a hundred answers.
const READ_BYTES: usize = 8 * 1024;

/// What firmware asks for (BIP 310). No version is rolled here: what is hashed is the job's, and told so.
const CONFIGURE: &str = r#"[["version-rolling"],{"version-rolling.mask":"1fffe000","version-rolling.min-bit-count":2}]"#;

/// Why a connection can't be worked with.
#[derive(Debug, thiserror::Error)]
pub enum Sv1Error {
    #[error("the socket")]
    Socket(#[from] io::Error),
    #[error("a line that is no JSON-RPC")]
    Line(#[from] serde_json::Error),
    #[error("{0} that can't be read")]
    Message(&'static str),
    #[error("the server said {0}")]
    Refused(String),
}

/// What the server said to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub id: u64,
    /// `NUMBER: TEXT` where it is not `true`.
    pub refused: Option<String>,
}

/// One line, as far as anybody needs it.
#[derive(Debug, Deserialize)]
struct Line<'line> {
    #[serde(default)]
    id: Option<u64>,
    #[serde(borrow, default)]
    method: Option<&'line str>,
    #[serde(borrow, default)]
    params: Option<&'line RawValue>,
    #[serde(borrow, default)]
    result: Option<&'line RawValue>,
    #[serde(borrow, default)]
    error: Option<&'line RawValue>,
}

/// See the module.
#[derive(Debug)]
pub struct Sv1Connection {
    stream: TcpStream,
    pub local_address: SocketAddr,
    user: String,
    input: Vec<u8>,
    output: Vec<u8>,
    last_id: u64,
    extranonce_1: Vec<u8>,
    extranonce_2_size: usize,
    /// The version bits that each share is to tell; none where the server rolls none.
    version_mask: Option<u32>,
    /// For the jobs to come.
    target: Target,
    job: Option<Arc<Job>>,
}

impl Sv1Connection {
    /// Connects, says all that firmware says, and waits for the first job.
    ///
    /// # Errors
    /// The server is not there, or refuses.
    pub async fn open(address: SocketAddr, user: &str) -> Result<Self, Sv1Error> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut connection = Self {
            local_address: stream.local_addr()?,
            stream,
            user: user.to_owned(),
            input: Vec::new(),
            output: Vec::new(),
            last_id: 0,
            extranonce_1: Vec::new(),
            extranonce_2_size: 0,
            version_mask: None,
            target: Target::from_difficulty(1.0),
            job: None,
        };
        let configured = connection.call("mining.configure", CONFIGURE).await?;
        connection.version_mask = configured["version-rolling.mask"]
            .as_str()
            .filter(|_| configured["version-rolling"] == true)
            .and_then(|mask| u32::from_str_radix(mask, 16).ok());
        let subscribed = connection
            .call("mining.subscribe", r#"["hh-tests"]"#)
            .await?;
        connection.set_extranonce(&subscribed[1], &subscribed[2])?;
        let authorize = format!(r#"["{user}","x"]"#);
        let authorized = connection.call("mining.authorize", &authorize).await?;
        if authorized != Value::Bool(true) {
            return Err(Sv1Error::Refused(authorized.to_string()));
        }
        while connection.job.is_none() {
            connection.receive(&mut Vec::new()).await?;
        }
        Ok(connection)
    }

    /// The newest job; there is one in an open connection.
    #[must_use]
    pub fn job(&self) -> Option<&Arc<Job>> {
        self.job.as_ref()
    }

    /// What the server fixed of the extranonce.
    #[must_use]
    pub fn extranonce_1(&self) -> &[u8] {
        &self.extranonce_1
    }

    /// Bytes of the extranonce that are ours.
    #[must_use]
    pub fn extranonce_2_size(&self) -> usize {
        self.extranonce_2_size
    }

    /// Queues `mining.submit` of a header with this version, time and nonce, and gives its id.
    pub fn queue_submit(
        &mut self,
        job_id: &str,
        extranonce_2: &[u8],
        (version, ntime, nonce): (u32, u32, u32),
    ) -> u64 {
        let mut digits = [0; 64];
        let digits = &mut digits[..extranonce_2.len() * 2];
        hex::encode_to_slice(extranonce_2, digits).expect("an extranonce has at most 32 bytes");
        self.last_id += 1;
        let id = self.last_id;
        let user = &self.user;
        write!(
            self.output,
            r#"{{"id":{id},"method":"mining.submit","params":["{user}","{job_id}",""#
        )
        .expect("a vector takes all");
        self.output.extend_from_slice(digits);
        write!(self.output, r#"","{ntime:08x}","{nonce:08x}""#).expect("a vector takes all");
        if let Some(mask) = self.version_mask {
            write!(self.output, r#","{:08x}""#, version & mask).expect("a vector takes all");
        }
        self.output.extend_from_slice(b"]}\n");
        id
    }

    /// Sends what is queued.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn flush(&mut self) -> Result<(), Sv1Error> {
        self.stream.write_all(&self.output).await?;
        self.output.clear();
        Ok(())
    }

    /// Waits for something, takes all that has come with it, and adds answers to `answers`. Cancel-safe.
    ///
    /// # Errors
    /// The connection is gone, or the server sends what is no SV1.
    pub async fn receive(&mut self, answers: &mut Vec<Answer>) -> Result<(), Sv1Error> {
        let received = self.read().await?;
        for line in lines(&received) {
            let line = line?;
            match (line.method, line.id) {
                (Some(method), _) => self.on_notification(method, line.params)?,
                (None, Some(id)) => {
                    let refused = line.refused();
                    answers.push(Answer { id, refused });
                }
                (None, None) => {}
            }
        }
        Ok(())
    }

    /// Waits for a job on another block than that of the last job, and tells on which. Looks at nothing else. Cancel-safe.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn next_prev_hash(&mut self) -> Result<[u8; 32], Sv1Error> {
        loop {
            let received = self.read().await?;
            if let Some(prev_hash) = job::prev_hash_in(&received) {
                return Ok(prev_hash);
            }
        }
    }

    /// Sends a request and waits for its result.
    async fn call(&mut self, method: &str, params: &str) -> Result<Value, Sv1Error> {
        self.last_id += 1;
        let id = self.last_id;
        writeln!(
            self.output,
            r#"{{"id":{id},"method":"{method}","params":{params}}}"#
        )
        .expect("a vector takes all");
        self.flush().await?;
        loop {
            let received = self.read().await?;
            let mut result = None;
            for line in lines(&received) {
                let line = line?;
                match line.method {
                    Some(method) => self.on_notification(method, line.params)?,
                    None if line.id == Some(id) => result = Some(line.into_result()?),
                    None => {}
                }
            }
            if let Some(result) = result {
                return Ok(result);
            }
        }
    }

    /// What has come of whole lines; nothing where none is whole yet.
    async fn read(&mut self) -> Result<Vec<u8>, Sv1Error> {
        self.input.reserve(READ_BYTES);
        if self.stream.read_buf(&mut self.input).await? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        let Some(end) = self.input.iter().rposition(|byte| *byte == b'\n') else {
            return Ok(Vec::new());
        };
        let rest = self.input.split_off(end + 1);
        Ok(std::mem::replace(&mut self.input, rest))
    }

    fn on_notification(&mut self, method: &str, params: Option<&RawValue>) -> Result<(), Sv1Error> {
        let params = params.map_or("[]", RawValue::get);
        match method {
            "mining.notify" => self.job = Some(Arc::new(Job::parse(params, self.target)?)),
            "mining.set_difficulty" => {
                let [difficulty] = serde_json::from_str(params)?;
                self.target = Target::from_difficulty(difficulty);
            }
            "mining.set_extranonce" => {
                let params: Value = serde_json::from_str(params)?;
                self.set_extranonce(&params[0], &params[1])?;
            }
            _ => {}
        }
        Ok(())
    }

    fn set_extranonce(&mut self, first: &Value, second_size: &Value) -> Result<(), Sv1Error> {
        const UNREADABLE: Sv1Error = Sv1Error::Message("an extranonce");
        let first = first.as_str().and_then(|first| hex::decode(first).ok());
        self.extranonce_1 = first.ok_or(UNREADABLE)?;
        let size = second_size.as_u64().and_then(|size| size.try_into().ok());
        self.extranonce_2_size = size.filter(|size| *size <= 32).ok_or(UNREADABLE)?;
        Ok(())
    }
}

impl Line<'_> {
    /// What is said where the result is not `true`.
    fn refused(&self) -> Option<String> {
        let result = self.result.map_or("null", RawValue::get);
        (self.error.is_some() || result != "true").then(|| {
            let error = self
                .error
                .and_then(|error| serde_json::from_str::<(i64, String, Value)>(error.get()).ok());
            error.map_or_else(
                || self.error.map_or(result, RawValue::get).to_owned(),
                |(number, text, _)| format!("{number}: {text}"),
            )
        })
    }

    fn into_result(self) -> Result<Value, Sv1Error> {
        match (self.error, self.result) {
            (None, Some(result)) => Ok(serde_json::from_str(result.get())?),
            (None, None) => Ok(Value::Null),
            (Some(error), _) => Err(Sv1Error::Refused(error.get().to_owned())),
        }
    }
}

fn lines(received: &[u8]) -> impl Iterator<Item = Result<Line<'_>, serde_json::Error>> {
    received
        .split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(serde_json::from_slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_accepted_only_if_it_says_so() {
        let check = |line: &str, refused: Option<&str>| {
            let line: Line<'_> = serde_json::from_str(line).unwrap();
            assert_eq!(line.refused().as_deref(), refused);
        };
        check(r#"{"id":1,"result":true,"error":null}"#, None);
        check(r#"{"id":1,"result":true}"#, None);
        check(r#"{"id":1,"result":false,"error":null}"#, Some("false"));
        check(r#"{"id":1,"result":null,"error":null}"#, Some("null"));
        check(
            r#"{"id":1,"result":null,"error":[21,"job not found",null]}"#,
            Some("21: job not found"),
        );
        check(r#"{"id":1,"error":"no"}"#, Some("\"no\""));
    }
}
