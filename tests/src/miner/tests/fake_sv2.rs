//! A pool for one SV2 miner: gives the work that a test says, and judges shares by the rules of the specification.

use std::collections::{BTreeMap, BTreeSet};

use hh_mining::{BlockHash, Header, Target, merkle_root_of};
use hh_sv2::message::{
    B064K, NewExtendedMiningJob, NewMiningJob, OpenExtendedMiningChannelSuccess,
    OpenStandardMiningChannelSuccess, Protocol, REQUIRES_STANDARD_JOBS, Reconnect, Seq0255,
    SetNewPrevHash, SetTarget, SubmitSharesError, SubmitSharesExtended, SubmitSharesSuccess,
    Sv2Option, U256,
};
use hh_sv2::setup::{SETUP_DEADLINE, server_setup};
use hh_sv2::{Authority, AuthoritySecretKey, Connection, Limits, Message};
use tokio::net::{TcpListener, TcpStream};

use super::super::MinerUrl;
use super::EASY;

const VERSION: u32 = 0x2000_0000;
const NTIME: u32 = 1_700_000_000;
const NTIME_MAX: u32 = NTIME + 7_200;
const ROLLABLE: u32 = 0x1fff_ffe0;
const CHANNEL: u32 = 5;
const GROUP: u32 = 6;
const EXTRANONCE_SIZE: usize = 8;
const PREFIX: [u8; 4] = [0xaa, 0xbb, 0xcc, 0xdd];
const COINBASE_PREFIX: [u8; 60] = [3; 60];
const COINBASE_SUFFIX: [u8; 40] = [4; 40];
const PATH: [[u8; 32]; 2] = [[5; 32], [6; 32]];

pub(super) struct FakeSv2 {
    listener: TcpListener,
    authority: Authority,
}

impl FakeSv2 {
    pub(super) async fn start() -> Self {
        let secret = AuthoritySecretKey::generate();
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            authority: Authority::new(secret, hh_sv2::authority::CERTIFICATE_VALIDITY),
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    pub(super) fn url(&self) -> MinerUrl {
        MinerUrl::StratumV2 {
            address: format!("127.0.0.1:{}", self.port()),
            authority: Some(self.authority.public_key()),
        }
    }

    /// Does the handshake with a miner, whatever it makes of it.
    pub(super) async fn accept_tcp(&self) {
        let (stream, _) = self.listener.accept().await.unwrap();
        drop(self.handshake(stream).await);
    }

    async fn handshake(&self, stream: TcpStream) -> Connection {
        Connection::accept(stream, &self.authority, &Limits::SERVER)
            .await
            .unwrap()
    }

    /// Takes the next miner and opens its channel.
    pub(super) async fn accept(&self) -> FakeSession {
        let (stream, _) = self.listener.accept().await.unwrap();
        let mut connection = self.handshake(stream).await;
        let protocol = Protocol::MiningProtocol;
        let supported = REQUIRES_STANDARD_JOBS;
        let setup = server_setup(&mut connection, protocol, supported, SETUP_DEADLINE)
            .await
            .unwrap();
        let target: U256 = EASY.to_le_bytes().into();
        let is_standard = match connection.recv().await.unwrap() {
            Message::OpenStandardMiningChannel(open) => {
                assert_eq!(open.user_identity.as_bytes(), b"alice.rig");
                let whole = [&PREFIX[..], &[7; EXTRANONCE_SIZE]].concat();
                let success = OpenStandardMiningChannelSuccess {
                    request_id: open.request_id,
                    channel_id: CHANNEL,
                    target,
                    extranonce_prefix: whole.try_into().unwrap(),
                    group_channel_id: GROUP,
                };
                connection.queue(success).unwrap();
                true
            }
            Message::OpenExtendedMiningChannel(open) => {
                let success = OpenExtendedMiningChannelSuccess {
                    request_id: open.request_id,
                    channel_id: CHANNEL,
                    target,
                    extranonce_size: 8,
                    extranonce_prefix: PREFIX.into_iter().collect::<Vec<_>>().try_into().unwrap(),
                    group_channel_id: GROUP,
                };
                connection.queue(success).unwrap();
                false
            }
            other => panic!("{other:?}"),
        };
        connection.flush().await.unwrap();
        FakeSession {
            connection,
            is_standard,
            wants_standard_jobs: setup.flags & REQUIRES_STANDARD_JOBS != 0,
            jobs: BTreeMap::new(),
            prev_hash: [0; 32],
            seen: BTreeSet::new(),
            last_sequence_number: 0,
            unsettled: 0,
        }
    }
}

pub(super) struct FakeSession {
    connection: Connection,
    is_standard: bool,
    wants_standard_jobs: bool,
    /// The block and the target of every job.
    jobs: BTreeMap<u32, ([u8; 32], Target)>,
    prev_hash: [u8; 32],
    seen: BTreeSet<BlockHash>,
    last_sequence_number: u32,
    unsettled: u32,
}

impl FakeSession {
    /// A future job and the block that it is for, as a pool sends them after a block and after an open.
    pub(super) async fn new_tip(&mut self, job_id: u32, prev_hash: [u8; 32], target: Target) {
        if self.wants_standard_jobs {
            let job = NewMiningJob {
                channel_id: CHANNEL,
                job_id,
                min_ntime: Sv2Option::new(None),
                version: VERSION,
                merkle_root: merkle_root(&[7; EXTRANONCE_SIZE]).into(),
            };
            self.connection.queue(job).unwrap();
        } else {
            let path = PATH.iter().map(|hash| U256::from(*hash)).collect();
            let job = NewExtendedMiningJob {
                channel_id: GROUP,
                job_id,
                min_ntime: Sv2Option::new(None),
                version: VERSION,
                version_rolling_allowed: true,
                merkle_path: Seq0255::new(path).unwrap(),
                coinbase_tx_prefix: B064K::new(COINBASE_PREFIX.to_vec()).unwrap(),
                coinbase_tx_suffix: B064K::new(COINBASE_SUFFIX.to_vec()).unwrap(),
            };
            self.connection.queue(job).unwrap();
        }
        let tip = SetNewPrevHash {
            channel_id: if self.wants_standard_jobs {
                CHANNEL
            } else {
                GROUP
            },
            job_id,
            prev_hash: prev_hash.into(),
            min_ntime: NTIME,
            nbits: 0x1d00_ffff,
        };
        self.connection.queue(tip).unwrap();
        self.connection.flush().await.unwrap();
        self.prev_hash = prev_hash;
        self.jobs.insert(job_id, (prev_hash, target));
    }

    pub(super) async fn set_target(&mut self, target: Target) {
        let message = SetTarget {
            channel_id: CHANNEL,
            maximum_target: target.to_le_bytes().into(),
        };
        self.connection.queue(message).unwrap();
        self.connection.flush().await.unwrap();
    }

    pub(super) async fn reconnect(mut self, new_port: u16) {
        let message = Reconnect {
            new_host: "".try_into().unwrap(),
            new_port,
        };
        self.connection.queue(message).unwrap();
        self.connection.close().await.unwrap();
    }

    /// Takes the next share and says what is wrong with it.
    pub(super) async fn share(&mut self) -> Result<(), &'static str> {
        let share = match self.connection.recv().await.unwrap() {
            Message::SubmitSharesStandard(m) if self.is_standard => SubmitSharesExtended {
                channel_id: m.channel_id,
                sequence_number: m.sequence_number,
                job_id: m.job_id,
                nonce: m.nonce,
                ntime: m.ntime,
                version: m.version,
                extranonce: [7; EXTRANONCE_SIZE].try_into().unwrap(),
            },
            Message::SubmitSharesExtended(m, None) if !self.is_standard => m,
            other => panic!("{other:?}"),
        };
        assert_eq!(share.channel_id, CHANNEL);
        assert_eq!(share.sequence_number, self.last_sequence_number + 1);
        self.last_sequence_number = share.sequence_number;
        self.unsettled += 1;
        self.check(&share)
    }

    fn check(&mut self, share: &SubmitSharesExtended) -> Result<(), &'static str> {
        let &(prev_hash, target) = self.jobs.get(&share.job_id).ok_or("invalid-job-id")?;
        if prev_hash != self.prev_hash {
            return Err("stale-share");
        }
        if share.extranonce.len() != EXTRANONCE_SIZE {
            return Err("bad-extranonce-size");
        }
        if (share.version ^ VERSION) & !ROLLABLE != 0 {
            return Err("invalid-non-rollable-version-bit");
        }
        if !(NTIME..=NTIME_MAX).contains(&share.ntime) {
            return Err("invalid-share");
        }
        let header = Header {
            version: share.version,
            prev_hash,
            merkle_root: merkle_root(share.extranonce.as_bytes()),
            ntime: share.ntime,
            nbits: 0x1d00_ffff,
            nonce: share.nonce,
        };
        let hash = header.hash();
        if !target.is_met_by(&hash) {
            return Err("difficulty-too-low");
        }
        match self.seen.insert(hash) {
            true => Ok(()),
            false => Err("duplicate-share"),
        }
    }

    /// Accepts all shares that came and were not answered, by one message.
    pub(super) async fn accept_all(&mut self) {
        let message = SubmitSharesSuccess {
            channel_id: CHANNEL,
            last_sequence_number: self.last_sequence_number,
            new_submits_accepted_count: self.unsettled,
            new_shares_sum: 1,
        };
        self.unsettled = 0;
        self.connection.queue(message).unwrap();
        self.connection.flush().await.unwrap();
    }

    /// Takes and answers so many shares.
    pub(super) async fn judge(&mut self, shares: usize) {
        for _ in 0..shares {
            match self.share().await {
                Ok(()) => self.accept_all().await,
                Err(code) => {
                    self.unsettled = 0;
                    let message = SubmitSharesError {
                        channel_id: CHANNEL,
                        sequence_number: self.last_sequence_number,
                        error_code: code.try_into().unwrap(),
                    };
                    self.connection.queue(message).unwrap();
                    self.connection.flush().await.unwrap();
                }
            }
        }
    }
}

fn merkle_root(rolled: &[u8]) -> [u8; 32] {
    let extranonce = [&PREFIX[..], rolled].concat();
    merkle_root_of(&COINBASE_PREFIX, &extranonce, &COINBASE_SUFFIX, &PATH)
}
