//! A session of Stratum V2: one channel on one connection.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use hh_mining::{Header, Target, merkle_root_of};
use hh_sv2::message::{
    NewExtendedMiningJob, NewMiningJob, OpenExtendedMiningChannel,
    OpenExtendedMiningChannelSuccess, OpenStandardMiningChannel, Protocol, REQUIRES_STANDARD_JOBS,
    SetNewPrevHash, Str0255, SubmitSharesExtended, SubmitSharesStandard, U256,
};
use hh_sv2::setup::{ClientSetup, SETUP_DEADLINE, client_setup, printable};
use hh_sv2::{AuthorityPublicKey, Connection, Limits, Message};
use tokio::time::timeout;

use super::hasher::Assignment;
use super::rig::{Rig, ToSubmit};
use super::{ChannelKind, Ended, MinerUrl};

/// Version bits that a miner rolls here: those of BIP 320, which are among those of BIP 323.
const ROLLED_VERSION_BITS: u32 = 0x1fff_e000;
/// SetupConnection.Success flag: the version may not be rolled.
const REQUIRES_FIXED_VERSION: u32 = 1 << 0;
/// Extranonce bytes that an extended channel asks for.
const MIN_EXTRANONCE_SIZE: u16 = 4;
/// Identifies the one channel's opening.
const REQUEST_ID: u32 = 1;

/// A job as it was sent, with what was valid when it was.
struct Job {
    version: u32,
    may_roll_version: bool,
    work: Work,
}

enum Work {
    Standard {
        merkle_root: [u8; 32],
    },
    Extended {
        job: Box<NewExtendedMiningJob>,
        prefix: Vec<u8>,
    },
}

/// The block to build on.
struct Tip {
    prev_hash: [u8; 32],
    nbits: u32,
}

struct Session<'a> {
    rig: &'a mut Rig,
    connection: Connection,
    fixed_version: bool,
    channel_id: u32,
    group_channel_id: Option<u32>,
    extranonce_prefix: Vec<u8>,
    /// What the miner fills in itself; none on a standard channel.
    extranonce_size: usize,
    target: Target,
    jobs: BTreeMap<u32, Job>,
    tip: Option<Tip>,
    sequence_number: u32,
}

/// Mines until the connection fails, the pool sends the miner away, or it has found enough.
pub(super) async fn mine(
    rig: &mut Rig,
    address: &str,
    authority: Option<&AuthorityPublicKey>,
) -> anyhow::Result<Ended> {
    let mut connection = Connection::connect(address, authority, &Limits::CLIENT).await?;
    let (host, port) = address.rsplit_once(':').context("no port")?;
    let is_standard = rig.config.channel == ChannelKind::Standard;
    let setup = ClientSetup {
        protocol: Protocol::MiningProtocol,
        flags: if is_standard {
            REQUIRES_STANDARD_JOBS
        } else {
            0
        },
        endpoint_host: host.to_owned(),
        endpoint_port: port.parse()?,
        vendor: "hh-miner".to_owned(),
        hardware_version: "cpu".to_owned(),
        firmware: env!("CARGO_PKG_VERSION").to_owned(),
        device_id: String::new(),
    };
    let success = client_setup(&mut connection, &setup, SETUP_DEADLINE).await?;
    let fixed_version = success.flags & REQUIRES_FIXED_VERSION != 0;
    let mut session = timeout(SETUP_DEADLINE, open(rig, connection, fixed_version))
        .await
        .context("the pool does not open the channel")??;
    loop {
        tokio::select! {
            message = session.connection.recv() => {
                if let Some(to) = session.on_message(message?)? {
                    return Ok(Ended::Moved(to));
                }
            }
            next = session.rig.next() => {
                if let Some(share) = session.rig.share_for(next).await {
                    session.submit(share)?;
                }
            }
        }
        while let Some(message) = session.connection.try_recv()? {
            if let Some(to) = session.on_message(message)? {
                return Ok(Ended::Moved(to));
            }
        }
        session.connection.flush().await?;
        if session.rig.is_done() {
            session.connection.close().await?;
            return Ok(Ended::Done);
        }
    }
}

async fn open(
    rig: &mut Rig,
    mut connection: Connection,
    fixed_version: bool,
) -> anyhow::Result<Session<'_>> {
    connection.queue(open_request(rig)?)?;
    connection.flush().await?;
    let opened = loop {
        match connection.recv().await? {
            Message::OpenStandardMiningChannelSuccess(m) => {
                // A standard channel is an extended one of which nothing is left to roll.
                break OpenExtendedMiningChannelSuccess {
                    request_id: m.request_id,
                    channel_id: m.channel_id,
                    target: m.target,
                    extranonce_size: 0,
                    extranonce_prefix: m.extranonce_prefix,
                    group_channel_id: m.group_channel_id,
                };
            }
            Message::OpenExtendedMiningChannelSuccess(m) => break m,
            Message::OpenMiningChannelError(error) => {
                let code = printable(error.error_code.as_bytes());
                bail!("the pool refuses the channel: {code}");
            }
            _ => {}
        }
    };
    let target = Target::from_le_bytes(opened.target.to_array());
    let extranonce_prefix = opened.extranonce_prefix.into_bytes();
    let peer = connection.peer().to_string();
    rig.connected(&peer, &extranonce_prefix, target.difficulty());
    Ok(Session {
        rig,
        connection,
        fixed_version,
        channel_id: opened.channel_id,
        group_channel_id: Some(opened.group_channel_id),
        extranonce_prefix,
        extranonce_size: opened.extranonce_size.into(),
        target,
        jobs: BTreeMap::new(),
        tip: None,
        sequence_number: 0,
    })
}

fn open_request(rig: &Rig) -> anyhow::Result<Message> {
    let user_identity: Str0255 = rig
        .config
        .user
        .as_str()
        .try_into()
        .map_err(|error| anyhow::anyhow!("the user name does not fit: {error}"))?;
    #[expect(
        clippy::cast_precision_loss,
        reason = "a nominal hashrate is an estimate"
    )]
    let nominal_hash_rate = rig.config.hashrate_hs as f32;
    let max_target: U256 = Target::MAX.to_le_bytes().into();
    Ok(match rig.config.channel {
        ChannelKind::Standard | ChannelKind::Group => OpenStandardMiningChannel {
            request_id: REQUEST_ID,
            user_identity,
            nominal_hash_rate,
            max_target,
        }
        .into(),
        ChannelKind::Extended => OpenExtendedMiningChannel {
            request_id: REQUEST_ID,
            user_identity,
            nominal_hash_rate,
            max_target,
            min_extranonce_size: MIN_EXTRANONCE_SIZE,
        }
        .into(),
    })
}

impl Session<'_> {
    /// Obeys a message of the pool. Gives the place where to connect next, if it is asked to go.
    fn on_message(&mut self, message: Message) -> anyhow::Result<Option<MinerUrl>> {
        match message {
            Message::NewMiningJob(job) if job.channel_id == self.channel_id => {
                self.on_standard_job(&job);
            }
            Message::NewExtendedMiningJob(job) if self.is_ours(job.channel_id) => {
                self.on_extended_job(job);
            }
            Message::SetNewPrevHash(tip) if self.is_ours(tip.channel_id) => self.on_tip(&tip)?,
            Message::SetTarget(m) if self.is_ours(m.channel_id) => {
                self.target = Target::from_le_bytes(m.maximum_target.to_array());
            }
            Message::SetExtranoncePrefix(m) if m.channel_id == self.channel_id => {
                self.extranonce_prefix = m.extranonce_prefix.into_bytes();
            }
            Message::SetGroupChannel(m)
                if m.channel_ids.iter().any(|id| *id == self.channel_id) =>
            {
                self.group_channel_id = Some(m.group_channel_id);
            }
            Message::SubmitSharesSuccess(m) if m.channel_id == self.channel_id => {
                self.rig.accepted_up_to(m.last_sequence_number.into());
            }
            Message::SubmitSharesError(m) if m.channel_id == self.channel_id => {
                let reason = printable(m.error_code.as_bytes());
                self.rig.rejected(m.sequence_number.into(), &reason);
            }
            Message::CloseChannel(m) if self.is_ours(m.channel_id) => {
                bail!(
                    "the pool closes the channel: {}",
                    printable(m.reason_code.as_bytes())
                );
            }
            Message::Reconnect(m) => {
                let host = printable(m.new_host.as_bytes());
                return Ok(Some(self.moved(&host, m.new_port)));
            }
            _ => {}
        }
        Ok(None)
    }

    fn is_ours(&self, channel_id: u32) -> bool {
        channel_id == self.channel_id || Some(channel_id) == self.group_channel_id
    }

    fn on_standard_job(&mut self, job: &NewMiningJob) {
        let work = Work::Standard {
            merkle_root: job.merkle_root.to_array(),
        };
        let kept = Job {
            version: job.version,
            may_roll_version: !self.fixed_version,
            work,
        };
        self.jobs.insert(job.job_id, kept);
        if let Some(min_ntime) = job.min_ntime.as_ref() {
            self.activate(job.job_id, *min_ntime);
        }
    }

    fn on_extended_job(&mut self, job: NewExtendedMiningJob) {
        let (job_id, min_ntime) = (job.job_id, job.min_ntime.as_ref().copied());
        let kept = Job {
            version: job.version,
            may_roll_version: job.version_rolling_allowed && !self.fixed_version,
            work: Work::Extended {
                job: Box::new(job),
                prefix: self.extranonce_prefix.clone(),
            },
        };
        self.jobs.insert(job_id, kept);
        if let Some(min_ntime) = min_ntime {
            self.activate(job_id, min_ntime);
        }
    }

    fn on_tip(&mut self, tip: &SetNewPrevHash) -> anyhow::Result<()> {
        self.jobs.retain(|job_id, _| *job_id == tip.job_id);
        if self.jobs.is_empty() {
            bail!(
                "SetNewPrevHash names job {}, which was not sent",
                tip.job_id
            );
        }
        self.tip = Some(Tip {
            prev_hash: tip.prev_hash.to_array(),
            nbits: tip.nbits,
        });
        self.activate(tip.job_id, tip.min_ntime);
        Ok(())
    }

    /// Works on a job from now on. A job that comes before the first tip waits for it.
    fn activate(&mut self, job_id: u32, min_ntime: u32) {
        let (Some(job), Some(tip)) = (self.jobs.get(&job_id), &self.tip) else {
            return;
        };
        let extranonce: Vec<u8> = (0..self.extranonce_size).map(|_| rand::random()).collect();
        let merkle_root = match &job.work {
            Work::Standard { merkle_root } => *merkle_root,
            Work::Extended { job, prefix } => {
                let path: Vec<_> = job.merkle_path.iter().map(U256::to_array).collect();
                merkle_root_of(
                    job.coinbase_tx_prefix.as_bytes(),
                    &[prefix.as_slice(), &extranonce].concat(),
                    job.coinbase_tx_suffix.as_bytes(),
                    &path,
                )
            }
        };
        let rolled = match job.may_roll_version {
            true => ROLLED_VERSION_BITS,
            false => 0,
        };
        self.rig.assign(Assignment {
            session: self.rig.session(),
            job_id: job_id.to_string(),
            extranonce,
            header: Header {
                version: job.version & !rolled | rand::random::<u32>() & rolled,
                prev_hash: tip.prev_hash,
                merkle_root,
                ntime: min_ntime,
                nbits: tip.nbits,
                nonce: rand::random(),
            },
            target: self.target,
            // What is no target is met by nothing.
            network_target: Target::from_compact(tip.nbits)
                .unwrap_or(Target::from_be_bytes([0; 32])),
        });
    }

    fn submit(&mut self, share: ToSubmit) -> anyhow::Result<()> {
        self.sequence_number += 1;
        let header = share.found.header;
        let job_id = share.job_id.parse()?;
        let (channel_id, sequence_number) = (self.channel_id, self.sequence_number);
        if self.extranonce_size == 0 {
            self.connection.queue(SubmitSharesStandard {
                channel_id,
                sequence_number,
                job_id,
                nonce: header.nonce,
                ntime: header.ntime,
                version: header.version,
            })?;
        } else {
            let extranonce = share.extranonce.clone().try_into();
            self.connection.queue(SubmitSharesExtended {
                channel_id,
                sequence_number,
                job_id,
                nonce: header.nonce,
                ntime: header.ntime,
                version: header.version,
                extranonce: extranonce
                    .map_err(|error| anyhow::anyhow!("the extranonce does not fit: {error}"))?,
            })?;
        }
        self.rig.sent(sequence_number.into(), share);
        Ok(())
    }

    /// Where Reconnect points to: an empty host is this one (specification 3.6.5). The authority stays the same.
    fn moved(&self, host: &str, port: u16) -> MinerUrl {
        let here = self.connection.peer();
        let host = match host {
            "" => here.ip().to_string(),
            host => host.to_owned(),
        };
        let port = if port == 0 { here.port() } else { port };
        let address = format!("{host}:{port}");
        match &self.rig.config.url {
            MinerUrl::StratumV2 { authority, .. } => MinerUrl::StratumV2 {
                address,
                authority: *authority,
            },
            MinerUrl::StratumV1 { .. } => MinerUrl::StratumV1 { address },
        }
    }
}
