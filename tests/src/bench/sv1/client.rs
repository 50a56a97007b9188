//! One SV1 miner, as cheap as it can be.

use crate::bench::client::{Arrivals, ClientError};
use crate::bench::solver::{ChannelTerms, Solver, Tip};
use crate::sv1::{Answer, Job, Sv1Connection};
use hh_sv2::message::{NewExtendedMiningJob, Seq0255, Sv2Option};
use std::net::SocketAddr;
use std::sync::Arc;

/// See the module.
#[derive(Debug)]
pub struct Sv1Client {
    connection: Sv1Connection,
    /// Of the newest job.
    solver: Option<(Arc<Job>, Solver)>,
    extranonce: u64,
    in_flight: usize,
    answers: Vec<Answer>,
    accepted: u64,
    refused: u64,
}

impl Sv1Client {
    /// Connects, authorizes and waits for the first job.
    ///
    /// # Errors
    /// The translator is not there, or refuses.
    pub async fn open(address: SocketAddr, number: usize) -> Result<Self, ClientError> {
        Ok(Self {
            connection: Sv1Connection::open(address, &format!("bench.w{number}")).await?,
            solver: None,
            extranonce: 0,
            in_flight: 0,
            answers: Vec::new(),
            accepted: 0,
            refused: 0,
        })
    }

    /// Notes when there is work on a new block, and does nothing else.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn listen(mut self, arrivals: Arc<Arrivals>) -> Result<(), ClientError> {
        let mut last = self.connection.job().map(|job| job.prev_hash);
        loop {
            let prev_hash = self.connection.next_prev_hash().await?;
            if last.replace(prev_hash) != Some(prev_hash) {
                arrivals.push(prev_hash);
            }
        }
    }

    /// Solves a share and queues it.
    ///
    /// # Errors
    /// The target is too hard.
    pub fn queue_share(&mut self) -> Result<(), ClientError> {
        let job = self.connection.job().ok_or(ClientError::NoJob)?;
        let is_newest = |(of, _): &mut (Arc<Job>, Solver)| Arc::ptr_eq(of, job);
        if self.solver.as_mut().is_none_or(|solver| !is_newest(solver)) {
            self.solver = Some((Arc::clone(job), self.make_solver(job)?));
        }
        let (job, solver) = self.solver.as_ref().ok_or(ClientError::NoJob)?;
        let solved = solver.solve(self.extranonce);
        self.extranonce += 1;
        self.in_flight += 1;
        let header = (solved.version, solved.ntime, solved.nonce);
        self.connection
            .queue_submit(&job.id, &solved.extranonce, header);
        Ok(())
    }

    fn make_solver(&self, job: &Job) -> Result<Solver, ClientError> {
        let path = job.merkle_branch.iter().map(|hash| (*hash).into());
        let bytes = |bytes: &[u8]| {
            let bytes = bytes.to_vec().try_into();
            bytes.expect("a part of a coinbase is far below 64 KiB")
        };
        let extended = NewExtendedMiningJob {
            channel_id: 0,
            job_id: 0,
            min_ntime: Sv2Option::new(Some(job.ntime)),
            version: job.version,
            version_rolling_allowed: false,
            merkle_path: Seq0255::new(path.collect()).expect("a path has at most 32 hashes"),
            coinbase_tx_prefix: bytes(&job.coinbase_1),
            coinbase_tx_suffix: bytes(&job.coinbase_2),
        };
        let tip = Tip {
            job_id: 0,
            prev_hash: job.prev_hash,
            min_ntime: job.ntime,
            nbits: job.nbits,
        };
        let terms = ChannelTerms {
            extranonce_prefix: self.connection.extranonce_1().to_vec(),
            extranonce_size: self.connection.extranonce_2_size(),
            target: job.target,
        };
        let target = job.target;
        Solver::new(&extended, &tip, &terms).ok_or(ClientError::TooHard { target })
    }

    /// Sends what is queued.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn flush(&mut self) -> Result<(), ClientError> {
        Ok(self.connection.flush().await?)
    }

    /// Waits for something, and takes all that has come with it. Cancel-safe.
    ///
    /// # Errors
    /// The connection is gone.
    pub async fn receive(&mut self) -> Result<(), ClientError> {
        self.connection.receive(&mut self.answers).await?;
        for answer in self.answers.drain(..) {
            self.in_flight = self.in_flight.saturating_sub(1);
            match answer.refused {
                None => self.accepted += 1,
                Some(_) => self.refused += 1,
            }
        }
        Ok(())
    }

    /// Shares without an answer.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Shares that were answered as accepted since this was last called.
    pub fn take_accepted(&mut self) -> u64 {
        std::mem::take(&mut self.accepted)
    }

    /// Shares that were refused.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused
    }
}
