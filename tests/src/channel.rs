//! An SV2 extended channel that a test drives share by share, and that remembers what became of each.
//!
//! For what a miner never does on its own account: one share at a time, a window of many, a connection that is cut with
//! shares in flight. What mines by itself is the miner.

use crate::miner::hasher::solve;
use bitcoin::hashes::Hash;
use hh_mining::{BlockHash, Header, Target, merkle_root_of};
use hh_sv2::message::{
    NewExtendedMiningJob, OpenExtendedMiningChannel, Protocol, SetNewPrevHash, SubmitSharesExtended,
};
use hh_sv2::setup::{ClientSetup, SETUP_DEADLINE, SetupError, client_setup};
use hh_sv2::{AuthorityPublicKey, Connection, ConnectionError, Limits, Message};
use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// Why a channel was not opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the socket")]
    Socket(#[from] std::io::Error),
    #[error("the connection")]
    Connection(#[from] ConnectionError),
    #[error("the setup")]
    Setup(#[from] SetupError),
    #[error("the server said {0}")]
    Refused(String),
}

/// A share that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sent {
    sequence_number: u32,
    hash: BlockHash,
}

/// A share that is a block, found and not sent.
#[derive(Debug)]
pub struct FoundBlock {
    pub hash: BlockHash,
    share: SubmitSharesExtended,
}

/// The tip, and the job that is to be worked on.
#[derive(Clone, Debug)]
struct Active {
    job_id: u32,
    prev_hash: [u8; 32],
    min_ntime: u32,
    nbits: u32,
}

/// See the module.
#[derive(Debug)]
pub struct Channel {
    connection: Connection,
    pub local_address: SocketAddr,
    id: u32,
    extranonce_prefix: Vec<u8>,
    extranonce_size: usize,
    /// What jobs from here on must meet.
    target: Target,
    /// Every job with the target it was sent with.
    jobs: BTreeMap<u32, (NewExtendedMiningJob, Target)>,
    active: Option<Active>,
    /// Counts the extranonces: each is searched for one share, so that none is found twice.
    extranonce: u64,
    next_sequence_number: u32,
    in_flight: VecDeque<Sent>,
    /// Shares that the pool has acknowledged, in the order of their submission.
    pub acknowledged: Vec<BlockHash>,
    /// Shares that it has refused, with its code.
    pub refused: Vec<(BlockHash, String)>,
}

impl Channel {
    /// Connects, opens one channel, and waits for its first job.
    ///
    /// # Errors
    /// The server is not there, is another one than `key` says, or refuses.
    pub async fn open(
        address: SocketAddr,
        key: &AuthorityPublicKey,
        user_identity: &str,
    ) -> Result<Self, OpenError> {
        let stream = TcpStream::connect(address).await?;
        let local_address = stream.local_addr()?;
        let mut connection = Connection::initiate(stream, Some(key), &Limits::CLIENT).await?;
        let setup = ClientSetup {
            protocol: Protocol::MiningProtocol,
            flags: 0,
            endpoint_host: address.ip().to_string(),
            endpoint_port: address.port(),
            vendor: "hh-tests".to_owned(),
            hardware_version: String::new(),
            firmware: String::new(),
            device_id: String::new(),
        };
        client_setup(&mut connection, &setup, SETUP_DEADLINE).await?;
        connection.queue(OpenExtendedMiningChannel {
            request_id: 1,
            user_identity: user_identity.try_into().expect("an identity is short"),
            // So little that the pool gives its easiest target.
            nominal_hash_rate: 1.0,
            max_target: Target::MAX.to_le_bytes().into(),
            min_extranonce_size: 8,
        })?;
        connection.flush().await?;
        let mut channel = Self::opened(connection, local_address).await?;
        while channel.active.is_none() {
            channel.receive().await?;
        }
        Ok(channel)
    }

    async fn opened(
        mut connection: Connection,
        local_address: SocketAddr,
    ) -> Result<Self, OpenError> {
        loop {
            match connection.recv().await? {
                Message::OpenExtendedMiningChannelSuccess(success) => {
                    return Ok(Self {
                        connection,
                        local_address,
                        id: success.channel_id,
                        extranonce_prefix: success.extranonce_prefix.as_bytes().to_vec(),
                        extranonce_size: success.extranonce_size.into(),
                        target: Target::from_le_bytes(*success.target.as_array()),
                        jobs: BTreeMap::new(),
                        active: None,
                        extranonce: 0,
                        next_sequence_number: 1,
                        in_flight: VecDeque::new(),
                        acknowledged: Vec::new(),
                        refused: Vec::new(),
                    });
                }
                Message::OpenMiningChannelError(error) => {
                    return Err(OpenError::Refused(error.error_code.as_utf8_or_hex()));
                }
                _ => {}
            }
        }
    }

    #[must_use]
    pub fn in_flight(&self) -> Vec<BlockHash> {
        self.in_flight.iter().map(|sent| sent.hash).collect()
    }

    /// Finds `count` shares and sends them in one write.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn submit(&mut self, count: usize) -> Result<(), ConnectionError> {
        for _ in 0..count {
            let (share, hash) = self.solve();
            self.in_flight.push_back(Sent {
                sequence_number: share.sequence_number,
                hash,
            });
            self.connection.queue(share)?;
        }
        self.connection.flush().await
    }

    /// Finds a share that is a block, and sends it; the share is the last one in flight then.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn submit_block(&mut self) -> Result<BlockHash, ConnectionError> {
        let block = self.find_block();
        self.send_block(block).await
    }

    /// Finds a share that is a block, which takes seconds, and keeps it. It is to be sent before any other share.
    ///
    /// # Panics
    /// Never: an open channel has work.
    pub fn find_block(&mut self) -> FoundBlock {
        let nbits = self
            .active
            .as_ref()
            .expect("an open channel has work")
            .nbits;
        let network = Target::from_compact(nbits).expect("a chain's nBits are a target");
        let (share, hash) = self.solve_for(network);
        FoundBlock { hash, share }
    }

    /// Sends a block that was found.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn send_block(&mut self, block: FoundBlock) -> Result<BlockHash, ConnectionError> {
        let FoundBlock { hash, share } = block;
        self.in_flight.push_back(Sent {
            sequence_number: share.sequence_number,
            hash,
        });
        self.connection.queue(share)?;
        self.connection.flush().await?;
        Ok(hash)
    }

    /// Receives until at most `remaining` shares are without an answer.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn settle(&mut self, remaining: usize) -> Result<(), ConnectionError> {
        while self.in_flight.len() > remaining {
            self.receive().await?;
        }
        Ok(())
    }

    /// Receives until the pool has given work on another block than `prev_hash` (as Bitcoin Core prints it).
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn wait_for_new_block(
        &mut self,
        prev_hash: bitcoin::BlockHash,
    ) -> Result<(), ConnectionError> {
        while self.prev_hash() == prev_hash {
            self.receive().await?;
        }
        Ok(())
    }

    /// The block that is being built on.
    ///
    /// # Panics
    /// Never: an open channel has work.
    #[must_use]
    pub fn prev_hash(&self) -> bitcoin::BlockHash {
        let active = self.active.as_ref().expect("an open channel has work");
        bitcoin::BlockHash::from_byte_array(active.prev_hash)
    }

    fn solve(&mut self) -> (SubmitSharesExtended, BlockHash) {
        self.solve_for(Target::MAX)
    }

    /// A share that also meets `target`.
    fn solve_for(&mut self, target: Target) -> (SubmitSharesExtended, BlockHash) {
        let active = self.active.as_ref().expect("an open channel has work");
        let (job, of_job) = &self.jobs[&active.job_id];
        let target = target.min(*of_job);
        self.extranonce += 1;
        let mut rolled = vec![0; self.extranonce_size];
        let counter = self.extranonce.to_be_bytes();
        let from = rolled.len() - counter.len();
        rolled[from..].copy_from_slice(&counter);
        let extranonce = [self.extranonce_prefix.as_slice(), &rolled].concat();
        let path: Vec<[u8; 32]> = job
            .merkle_path
            .iter()
            .map(|hash| *hash.as_array())
            .collect();
        let header = Header {
            version: job.version,
            prev_hash: active.prev_hash,
            merkle_root: merkle_root_of(
                job.coinbase_tx_prefix.as_bytes(),
                &extranonce,
                job.coinbase_tx_suffix.as_bytes(),
                &path,
            ),
            ntime: active.min_ntime,
            nbits: active.nbits,
            nonce: 0,
        };
        let (header, hash) = solve(header, &target);
        let share = SubmitSharesExtended {
            channel_id: self.id,
            sequence_number: self.next_sequence_number,
            job_id: active.job_id,
            nonce: header.nonce,
            ntime: header.ntime,
            version: header.version,
            extranonce: rolled
                .try_into()
                .expect("an extranonce has at most 32 bytes"),
        };
        self.next_sequence_number += 1;
        (share, hash)
    }

    async fn receive(&mut self) -> Result<(), ConnectionError> {
        match self.connection.recv().await? {
            Message::NewExtendedMiningJob(job) => self.on_job(job),
            Message::SetNewPrevHash(tip) => self.on_tip(&tip),
            Message::SetTarget(message) => {
                self.target = Target::from_le_bytes(*message.maximum_target.as_array());
            }
            // With the jobs before it nobody works on: a proxy says it when it has another pool, and gives other work.
            Message::SetExtranoncePrefix(message) => {
                self.extranonce_prefix = message.extranonce_prefix.into_bytes();
            }
            Message::SubmitSharesSuccess(success) => {
                self.on_success(
                    success.last_sequence_number,
                    success.new_submits_accepted_count,
                );
            }
            Message::SubmitSharesError(error) => {
                self.on_error(error.sequence_number, &error.error_code.as_utf8_or_hex());
            }
            _ => {}
        }
        Ok(())
    }

    fn on_job(&mut self, job: NewExtendedMiningJob) {
        let id = job.job_id;
        let min_ntime = job.min_ntime.clone().into_inner();
        self.jobs.insert(id, (job, self.target));
        // One without a time is for a tip that is still to come.
        if let (Some(min_ntime), Some(active)) = (min_ntime, &mut self.active) {
            active.job_id = id;
            active.min_ntime = min_ntime;
        }
    }

    /// The future job that it names gets the target of now; all other jobs are void.
    fn on_tip(&mut self, tip: &SetNewPrevHash) {
        self.jobs.retain(|id, _| *id == tip.job_id);
        for (_, target) in self.jobs.values_mut() {
            *target = self.target;
        }
        self.active = Some(Active {
            job_id: tip.job_id,
            prev_hash: *tip.prev_hash.as_array(),
            min_ntime: tip.min_ntime,
            nbits: tip.nbits,
        });
    }

    /// Settles all shares up to a sequence number; those in between that were refused have been told before.
    fn on_success(&mut self, last: u32, count: u32) {
        let settled = self
            .in_flight
            .iter()
            .take_while(|sent| sent.sequence_number <= last)
            .count();
        assert_eq!(
            settled, count as usize,
            "a success up to {last} counts other shares than were sent"
        );
        let hashes = self.in_flight.drain(..settled).map(|sent| sent.hash);
        self.acknowledged.extend(hashes);
    }

    fn on_error(&mut self, sequence_number: u32, code: &str) {
        let position = self
            .in_flight
            .iter()
            .position(|sent| sent.sequence_number == sequence_number);
        let sent = position.and_then(|position| self.in_flight.remove(position));
        let sent = sent.expect("the pool refuses a share that it was sent");
        self.refused.push((sent.hash, code.to_owned()));
    }
}
