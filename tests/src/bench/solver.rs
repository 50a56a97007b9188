//! Finds shares that a server accepts and that are no blocks, at half a microsecond each.
//!
//! On regtest half of all hashes are blocks, so a share is a hash between the network's target and the channel's. What is the
//! same for all shares of a job is hashed once.

use bitcoin::hashes::{Hash, HashEngine, sha256, sha256d};
use hh_mining::{Header, Target};
use hh_sv2::message::NewExtendedMiningJob;

/// A share is found in at most so many hashes on average, or the generator would measure itself.
const HASHES_A_SHARE_MAX: u128 = 16;

/// The tip that a job is worked on.
#[derive(Clone, Copy, Debug)]
pub struct Tip {
    pub job_id: u32,
    pub prev_hash: [u8; 32],
    pub min_ntime: u32,
    pub nbits: u32,
}

/// What a channel was given: by its opening, and by SetTarget.
#[derive(Clone, Debug)]
pub struct ChannelTerms {
    pub extranonce_prefix: Vec<u8>,
    pub extranonce_size: usize,
    pub target: Target,
}

/// What of a share is sent.
#[derive(Clone, Debug)]
pub struct Solved {
    pub job_id: u32,
    pub extranonce: Vec<u8>,
    pub version: u32,
    pub ntime: u32,
    pub nonce: u32,
}

/// See the module.
#[derive(Clone)]
pub struct Solver {
    job_id: u32,
    /// Of the coinbase up to the part of the extranonce that is ours.
    coinbase: sha256::HashEngine,
    extranonce_size: usize,
    suffix: Vec<u8>,
    path: Vec<[u8; 32]>,
    header: Header,
    target: Target,
    network_target: Target,
}

impl Solver {
    /// None where the channel's target leaves too little room above the network's.
    #[must_use]
    pub fn new(job: &NewExtendedMiningJob, tip: &Tip, terms: &ChannelTerms) -> Option<Self> {
        let network_target = Target::from_compact(tip.nbits).ok()?;
        if !has_room(network_target, terms.target) {
            return None;
        }
        let mut coinbase = sha256::Hash::engine();
        coinbase.input(job.coinbase_tx_prefix.as_bytes());
        coinbase.input(&terms.extranonce_prefix);
        Some(Self {
            job_id: tip.job_id,
            coinbase,
            extranonce_size: terms.extranonce_size,
            suffix: job.coinbase_tx_suffix.as_bytes().to_vec(),
            path: job
                .merkle_path
                .iter()
                .map(|hash| *hash.as_array())
                .collect(),
            header: Header {
                version: job.version,
                prev_hash: tip.prev_hash,
                merkle_root: [0; 32],
                ntime: tip.min_ntime,
                nbits: tip.nbits,
                nonce: 0,
            },
            target: terms.target,
            network_target,
        })
    }

    /// The share with this extranonce; two different ones are never the same share.
    #[must_use]
    pub fn solve(&self, extranonce: u64) -> Solved {
        let mut rolled = vec![0; self.extranonce_size];
        let counter = extranonce.to_be_bytes();
        let length = rolled.len().min(counter.len());
        let from = rolled.len() - length;
        rolled[from..].copy_from_slice(&counter[counter.len() - length..]);

        let mut header = self.header;
        header.merkle_root = self.merkle_root(&rolled);
        loop {
            let hash = header.hash();
            if self.target.is_met_by(&hash) && !self.network_target.is_met_by(&hash) {
                return Solved {
                    job_id: self.job_id,
                    extranonce: rolled,
                    version: header.version,
                    ntime: header.ntime,
                    nonce: header.nonce,
                };
            }
            header.nonce = header.nonce.wrapping_add(1);
        }
    }

    fn merkle_root(&self, extranonce: &[u8]) -> [u8; 32] {
        let mut coinbase = self.coinbase.clone();
        coinbase.input(extranonce);
        coinbase.input(&self.suffix);
        let mut root = sha256d::Hash::from_engine(coinbase).to_byte_array();
        for sibling in &self.path {
            let mut pair = sha256d::Hash::engine();
            pair.input(&root);
            pair.input(sibling);
            root = sha256d::Hash::from_engine(pair).to_byte_array();
        }
        root
    }
}

impl std::fmt::Debug for Solver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Solver")
            .field("job_id", &self.job_id)
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

/// Whether of [`HASHES_A_SHARE_MAX`] hashes one lies between the two.
fn has_room(network_target: Target, target: Target) -> bool {
    let top = |target: Target| {
        let bytes = target.to_be_bytes();
        u128::from_be_bytes(*bytes.first_chunk().expect("a target has 32 bytes"))
    };
    top(target).saturating_sub(top(network_target)) > u128::MAX / HASHES_A_SHARE_MAX
}

#[cfg(test)]
mod tests {
    use super::*;
    use hh_mining::merkle_root_of;
    use hh_sv2::message::{Seq0255, Sv2Option};

    const REGTEST_NBITS: u32 = 0x207f_ffff;

    fn job() -> NewExtendedMiningJob {
        NewExtendedMiningJob {
            channel_id: 1,
            job_id: 7,
            min_ntime: Sv2Option::new(None),
            version: 0x2000_0000,
            version_rolling_allowed: true,
            merkle_path: Seq0255::new(vec![[3; 32].into(), [4; 32].into()]).unwrap(),
            coinbase_tx_prefix: vec![1; 70].try_into().unwrap(),
            coinbase_tx_suffix: vec![2; 90].try_into().unwrap(),
        }
    }

    fn tip() -> Tip {
        Tip {
            job_id: 7,
            prev_hash: [9; 32],
            min_ntime: 1_700_000_000,
            nbits: REGTEST_NBITS,
        }
    }

    fn terms(target: Target) -> ChannelTerms {
        ChannelTerms {
            extranonce_prefix: vec![5; 8],
            extranonce_size: 8,
            target,
        }
    }

    #[test]
    fn a_share_meets_the_channels_target_and_not_the_networks() {
        let solver = Solver::new(&job(), &tip(), &terms(Target::MAX)).unwrap();
        let network = Target::from_compact(REGTEST_NBITS).unwrap();
        for extranonce in 0..100u64 {
            let solved = solver.solve(extranonce);
            assert_eq!(solved.extranonce, extranonce.to_be_bytes());
            let whole = [&[5; 8][..], &solved.extranonce].concat();
            let header = Header {
                version: solved.version,
                prev_hash: [9; 32],
                merkle_root: merkle_root_of(&[1; 70], &whole, &[2; 90], &[[3; 32], [4; 32]]),
                ntime: solved.ntime,
                nbits: REGTEST_NBITS,
                nonce: solved.nonce,
            };
            assert!(!network.is_met_by(&header.hash()));
        }
    }

    #[test]
    fn a_target_whose_shares_are_all_blocks_is_refused() {
        let network = Target::from_compact(REGTEST_NBITS).unwrap();
        assert!(Solver::new(&job(), &tip(), &terms(network)).is_none());
        assert!(Solver::new(&job(), &tip(), &terms(Target::from_difficulty(1.0))).is_none());
    }
}
