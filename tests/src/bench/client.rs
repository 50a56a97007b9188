//! One SV2 connection with one extended channel, as cheap as it can be: a thousand of them run on a part of one core.

use super::solver::{ChannelTerms, Solver, Tip};
use crate::sv1::Sv1Error;
use hh_mining::Target;
use hh_sv2::message::{
    NewExtendedMiningJob, OpenExtendedMiningChannel, Protocol, SetNewPrevHash, SubmitSharesError,
    SubmitSharesExtended, SubmitSharesSuccess,
};
use hh_sv2::setup::{ClientSetup, SETUP_DEADLINE, SetupError, client_setup};
use hh_sv2::{AuthorityPublicKey, Connection, ConnectionError, Limits, Message};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::net::TcpStream;

/// In hashes a second: so few that every server gives the easiest target that it has.
const NOMINAL_HASHRATE: f32 = 1e-3;

/// Servers refuse more than they have; eight bytes all of them have.
const EXTRANONCE_BYTES_MIN: u16 = 8;

/// Why a client can't work.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("could not connect")]
    Socket(#[from] std::io::Error),
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error(transparent)]
    Sv1(#[from] Sv1Error),
    #[error("the server refused the channel: {0}")]
    Refused(String),
    #[error(
        "the channel's target {target} is so near the network's that shares are blocks; the server's easiest target must be \
         near 2^256"
    )]
    TooHard { target: Target },
    #[error("the server has sent no job")]
    NoJob,
}

/// When clients had work on which block.
#[derive(Debug, Default)]
pub struct Arrivals(Mutex<Vec<([u8; 32], Instant)>>);

impl Arrivals {
    pub(super) fn push(&self, prev_hash: [u8; 32]) {
        let mut arrivals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        arrivals.push((prev_hash, Instant::now()));
    }

    /// When each of them had work on this block.
    #[must_use]
    pub fn on(&self, prev_hash: [u8; 32]) -> Vec<Instant> {
        let arrivals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let on = arrivals.iter().filter(|(hash, _)| *hash == prev_hash);
        on.map(|(_, at)| *at).collect()
    }
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    sequence_number: u32,
    due: Instant,
}

/// See the module.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    channel_id: u32,
    terms: ChannelTerms,
    jobs: BTreeMap<u32, NewExtendedMiningJob>,
    tip: Option<Tip>,
    solver: Option<Solver>,
    extranonce: u64,
    sequence_number: u32,
    in_flight: VecDeque<InFlight>,
    /// When the shares were due that have been settled since this was last taken.
    settled: Vec<Instant>,
    refused: u64,
    arrivals: Option<Arc<Arrivals>>,
}

impl Client {
    /// Connects, opens a channel and waits for its first job with the tip that it is for.
    ///
    /// # Errors
    /// The server is not there, or refuses.
    pub async fn open(
        address: SocketAddr,
        key: &AuthorityPublicKey,
        number: usize,
    ) -> Result<Self, ClientError> {
        let stream = TcpStream::connect(address).await?;
        let mut connection = Connection::initiate(stream, Some(key), &Limits::CLIENT).await?;
        let setup = client(Protocol::MiningProtocol, address);
        client_setup(&mut connection, &setup, SETUP_DEADLINE).await?;
        connection.queue(OpenExtendedMiningChannel {
            request_id: 1,
            user_identity: format!("bench.w{number}")
                .try_into()
                .expect("an identity is short"),
            nominal_hash_rate: NOMINAL_HASHRATE,
            max_target: Target::MAX.to_le_bytes().into(),
            min_extranonce_size: EXTRANONCE_BYTES_MIN,
        })?;
        connection.flush().await?;
        let mut client = Self::opened(connection).await?;
        while client.tip.is_none() {
            client.receive().await?;
        }
        Ok(client)
    }

    async fn opened(mut connection: Connection) -> Result<Self, ClientError> {
        loop {
            match connection.recv().await? {
                Message::OpenExtendedMiningChannelSuccess(success) => {
                    return Ok(Self {
                        connection,
                        channel_id: success.channel_id,
                        terms: ChannelTerms {
                            extranonce_prefix: success.extranonce_prefix.as_bytes().to_vec(),
                            extranonce_size: success.extranonce_size.into(),
                            target: Target::from_le_bytes(*success.target.as_array()),
                        },
                        jobs: BTreeMap::new(),
                        tip: None,
                        solver: None,
                        extranonce: 0,
                        sequence_number: 0,
                        in_flight: VecDeque::new(),
                        settled: Vec::new(),
                        refused: 0,
                        arrivals: None,
                    });
                }
                Message::OpenMiningChannelError(error) => {
                    return Err(ClientError::Refused(error.error_code.as_utf8_or_hex()));
                }
                _ => {}
            }
        }
    }

    /// From now on, notes when there is work on a new block.
    pub fn note_arrivals(&mut self, arrivals: &Arc<Arrivals>) {
        self.arrivals = Some(Arc::clone(arrivals));
    }

    /// Solves a share that was to be sent at `due`, and queues it.
    ///
    /// # Errors
    /// The target is too hard.
    pub fn queue_share(&mut self, due: Instant) -> Result<(), ClientError> {
        let solver = match &self.solver {
            Some(solver) => solver,
            None => self.solver.insert(self.make_solver()?),
        };
        let solved = solver.solve(self.extranonce);
        self.extranonce += 1;
        self.sequence_number = self.sequence_number.wrapping_add(1);
        self.in_flight.push_back(InFlight {
            sequence_number: self.sequence_number,
            due,
        });
        self.connection.queue(SubmitSharesExtended {
            channel_id: self.channel_id,
            sequence_number: self.sequence_number,
            job_id: solved.job_id,
            nonce: solved.nonce,
            ntime: solved.ntime,
            version: solved.version,
            extranonce: solved
                .extranonce
                .try_into()
                .expect("an extranonce has at most 32 bytes"),
        })?;
        Ok(())
    }

    fn make_solver(&self) -> Result<Solver, ClientError> {
        let tip = self.tip.as_ref().ok_or(ClientError::NoJob)?;
        let job = self.jobs.get(&tip.job_id).ok_or(ClientError::NoJob)?;
        let target = self.terms.target;
        Solver::new(job, tip, &self.terms).ok_or(ClientError::TooHard { target })
    }

    /// Sends what is queued.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        Ok(self.connection.flush().await?)
    }

    /// Waits for a message, and takes all that have come with it. Cancel-safe.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn receive(&mut self) -> Result<(), ClientError> {
        let mut next = Some(self.connection.recv().await?);
        while let Some(message) = next {
            self.on_message(message);
            next = self.connection.try_recv()?;
        }
        Ok(())
    }

    /// Shares without an answer.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// When the shares were due that have no answer.
    pub fn due_in_flight(&self) -> impl Iterator<Item = Instant> {
        self.in_flight.iter().map(|share| share.due)
    }

    /// Shares that were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }

    /// When the shares were due that have been settled since this was last called.
    pub fn take_settled(&mut self) -> impl Iterator<Item = Instant> {
        self.settled.drain(..)
    }

    fn on_message(&mut self, message: Message) {
        match message {
            Message::SubmitSharesSuccess(success) => self.on_success(success),
            Message::SubmitSharesError(error) => self.on_error(&error),
            Message::NewExtendedMiningJob(job) => self.on_job(job),
            Message::SetNewPrevHash(tip) => self.on_tip(&tip),
            Message::SetTarget(message) => {
                self.terms.target = Target::from_le_bytes(*message.maximum_target.as_array());
                self.solver = None;
            }
            _ => {}
        }
    }

    /// Settles all shares up to a sequence number; those among them that were refused have been told before.
    fn on_success(&mut self, success: SubmitSharesSuccess) {
        while let Some(oldest) = self.in_flight.front() {
            if oldest.sequence_number > success.last_sequence_number {
                break;
            }
            self.settled.push(oldest.due);
            self.in_flight.pop_front();
        }
    }

    fn on_error(&mut self, error: &SubmitSharesError) {
        self.refused += 1;
        let number = error.sequence_number;
        self.in_flight
            .retain(|share| share.sequence_number != number);
    }

    fn on_job(&mut self, job: NewExtendedMiningJob) {
        let id = job.job_id;
        let is_future = job.min_ntime.clone().into_inner().is_none();
        self.jobs.insert(id, job);
        if let (false, Some(tip)) = (is_future, &mut self.tip) {
            tip.job_id = id;
            self.solver = None;
        }
    }

    fn on_tip(&mut self, tip: &SetNewPrevHash) {
        self.jobs.retain(|id, _| *id == tip.job_id);
        let prev_hash = *tip.prev_hash.as_array();
        self.tip = Some(Tip {
            job_id: tip.job_id,
            prev_hash,
            min_ntime: tip.min_ntime,
            nbits: tip.nbits,
        });
        self.solver = None;
        if let (Some(arrivals), true) = (&self.arrivals, self.jobs.contains_key(&tip.job_id)) {
            arrivals.push(prev_hash);
        }
    }
}

/// What we tell about ourselves.
pub(super) fn client(protocol: Protocol, address: SocketAddr) -> ClientSetup {
    ClientSetup {
        protocol,
        flags: 0,
        endpoint_host: address.ip().to_string(),
        endpoint_port: address.port(),
        vendor: "hh-bench".to_owned(),
        hardware_version: String::new(),
        firmware: String::new(),
        device_id: String::new(),
    }
}
