//! A session that a test drives share by share, and that remembers what became of each.

use super::{Answer, Job, Sv1Connection, Sv1Error};
use crate::miner::hasher::solve;
use hh_mining::{BlockHash, Target};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::block_in_place;

/// A share that was sent.
#[derive(Clone, Debug)]
pub struct Share {
    pub hash: BlockHash,
    /// Expected hashes of the target that its job was sent with.
    work: u128,
    job_id: String,
    extranonce_2: Vec<u8>,
    version: u32,
    ntime: u32,
    nonce: u32,
    sent_at: Instant,
}

/// See the module.
#[derive(Debug)]
pub struct Session {
    connection: Sv1Connection,
    /// Every job that was worked on, by its id.
    jobs: BTreeMap<String, Arc<Job>>,
    /// Counts the extranonces: each is searched for one share, so that none is found twice.
    extranonce: u64,
    in_flight: BTreeMap<u64, Share>,
    /// Shares that were answered with `true`.
    pub accepted: Vec<BlockHash>,
    /// What these are worth by what the server has told: expected hashes.
    pub accepted_work: u128,
    /// All others that were answered, with `NUMBER: TEXT`.
    pub refused: Vec<(BlockHash, String)>,
    /// The longest wait for an answer.
    pub slowest: Duration,
}

impl Session {
    /// Connects, authorizes and waits for work.
    ///
    /// # Errors
    /// The server is not there, or refuses.
    pub async fn open(address: SocketAddr, user: &str) -> Result<Self, Sv1Error> {
        Ok(Self {
            connection: Sv1Connection::open(address, user).await?,
            jobs: BTreeMap::new(),
            extranonce: 0,
            in_flight: BTreeMap::new(),
            accepted: Vec::new(),
            accepted_work: 0,
            refused: Vec::new(),
            slowest: Duration::ZERO,
        })
    }

    /// Where the server sees it.
    #[must_use]
    pub fn local_address(&self) -> SocketAddr {
        self.connection.local_address
    }

    /// Shares without an answer.
    #[must_use]
    pub fn in_flight(&self) -> Vec<Share> {
        self.in_flight.values().cloned().collect()
    }

    /// How many these are.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.in_flight.len()
    }

    /// The block that is being built on.
    ///
    /// # Panics
    /// Never: an open session has work.
    #[must_use]
    pub fn prev_hash(&self) -> [u8; 32] {
        self.job().prev_hash
    }

    /// Finds `count` shares for the newest job and sends them in one write.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn submit(&mut self, count: usize) -> Result<(), Sv1Error> {
        for _ in 0..count {
            let share = self.solve();
            self.queue(share);
        }
        self.connection.flush().await
    }

    /// Finds a share that is a block, which takes seconds, and sends it.
    ///
    /// # Errors
    /// The connection is gone.
    ///
    /// # Panics
    /// Never: an open session has work.
    pub async fn submit_block(&mut self) -> Result<BlockHash, Sv1Error> {
        let nbits = self.job().nbits;
        let network = Target::from_compact(nbits).expect("a chain's nBits are a target");
        let share = block_in_place(|| self.solve_for(network));
        let hash = share.hash;
        self.queue(share);
        self.connection.flush().await?;
        Ok(hash)
    }

    /// Sends a share of another session once more, word for word, as some miners do after a reconnect.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn resend(&mut self, share: &Share) -> Result<(), Sv1Error> {
        let mut share = share.clone();
        self.remember_job();
        // Under a job of this session with that id it is another share, good or bad by chance.
        if let Some(job) = self.jobs.get(&share.job_id) {
            let extranonce = [self.connection.extranonce_1(), &share.extranonce_2].concat();
            share.hash = job.header(&extranonce, share.ntime, share.nonce).hash();
        }
        self.queue(share);
        self.connection.flush().await
    }

    /// Waits for something from the server and takes it in. Cancel-safe.
    ///
    /// # Errors
    /// The connection is gone.
    ///
    /// # Panics
    /// If the server answers a share that it was not sent, or one twice.
    pub async fn receive(&mut self) -> Result<(), Sv1Error> {
        let mut answers = Vec::new();
        let received = self.connection.receive(&mut answers).await;
        for Answer { id, refused } in answers {
            let share = self.in_flight.remove(&id);
            let share = share.unwrap_or_else(|| panic!("no share {id} waits for an answer"));
            self.slowest = self.slowest.max(share.sent_at.elapsed());
            match refused {
                None => {
                    self.accepted.push(share.hash);
                    self.accepted_work += share.work;
                }
                Some(reason) => self.refused.push((share.hash, reason)),
            }
        }
        received
    }

    /// Receives until at most `remaining` shares are without an answer.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn settle(&mut self, remaining: usize) -> Result<(), Sv1Error> {
        while self.in_flight.len() > remaining {
            self.receive().await?;
        }
        Ok(())
    }

    fn job(&self) -> &Arc<Job> {
        self.connection.job().expect("an open session has work")
    }

    fn remember_job(&mut self) {
        let job = Arc::clone(self.job());
        self.jobs.entry(job.id.clone()).or_insert(job);
    }

    fn queue(&mut self, share: Share) {
        let Share {
            ref job_id,
            ref extranonce_2,
            version,
            ntime,
            nonce,
            ..
        } = share;
        let id = self
            .connection
            .queue_submit(job_id, extranonce_2, (version, ntime, nonce));
        self.in_flight.insert(id, share);
    }

    fn solve(&mut self) -> Share {
        let target = self.job().target;
        self.solve_for(target)
    }

    fn solve_for(&mut self, target: Target) -> Share {
        self.remember_job();
        self.extranonce += 1;
        let job = self.job();
        let mut extranonce_2 = vec![0; self.connection.extranonce_2_size()];
        let counter = self.extranonce.to_be_bytes();
        let size = extranonce_2.len().min(counter.len());
        let from = extranonce_2.len() - size;
        extranonce_2[from..].copy_from_slice(&counter[counter.len() - size..]);
        let extranonce = [self.connection.extranonce_1(), &extranonce_2].concat();
        let (header, hash) = solve(job.header(&extranonce, job.ntime, 0), &target);
        Share {
            hash,
            work: job.target.work().0,
            job_id: job.id.clone(),
            extranonce_2,
            version: header.version,
            ntime: header.ntime,
            nonce: header.nonce,
            sent_at: Instant::now(),
        }
    }
}
