//! What a miner knows of its channels, all of it from the wire, and what each of its shares is worth by the rules of the
//! SV2 specification: a second opinion for the tests of credit. It shares no code with the pool's own rules for jobs, shares
//! and work.

use bitcoin::Target;
use bitcoin::hashes::{Hash, sha256d};
use hh_sv2::Message;
use hh_sv2::message::{
    NewExtendedMiningJob, NewMiningJob, SetNewPrevHash, SetTarget, SubmitSharesExtended,
    SubmitSharesStandard, U256,
};
use std::collections::{BTreeMap, HashSet};

/// A double SHA-256, in the byte order of a header.
pub(crate) type HeaderHash = [u8; 32];

/// The version bits that a miner may roll (BIP323).
const ROLLABLE_BITS: u32 = 0x1fff_ffe0;

/// What a client knows of a chain tip.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KnownTip {
    prev_hash: [u8; 32],
    pub min_ntime: u32,
    nbits: u32,
}

/// Where a job's merkle root comes from.
#[derive(Clone, Debug)]
enum Root {
    /// NewMiningJob has it.
    Given([u8; 32]),
    /// NewExtendedMiningJob has what it is made of.
    Coinbase {
        prefix: Vec<u8>,
        suffix: Vec<u8>,
        path: Vec<[u8; 32]>,
    },
}

/// A job as its channel was given it.
#[derive(Clone, Debug)]
pub(crate) struct KnownJob {
    pub id: u32,
    pub version: u32,
    root: Root,
    target: Target,
    /// None while it is a future job.
    tip: Option<KnownTip>,
}

/// A channel as its client knows it.
#[derive(Clone, Debug)]
pub(crate) struct KnownChannel {
    pub id: u32,
    pub is_standard: bool,
    group: u32,
    /// The extranonce that the pool sets; all of it for a standard channel.
    pub prefix: Vec<u8>,
    pub rollable_bytes: usize,
    pub target: Target,
    tip: Option<KnownTip>,
    /// Those that shares may be sent for, the newest last.
    pub jobs: Vec<KnownJob>,
    /// Those that a new tip has ended.
    pub stale: Vec<KnownJob>,
}

/// A share as it is sent. No extranonce: by SubmitSharesStandard.
#[derive(Clone, Debug)]
pub(crate) struct Share {
    pub channel_id: u32,
    pub sequence_number: u32,
    pub job_id: u32,
    pub nonce: u32,
    pub ntime: u32,
    pub version: u32,
    pub extranonce: Option<Vec<u8>>,
}

/// What a share is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Worth {
    /// Work, proven by this hash.
    Work { hash: HeaderHash, work: u128 },
    /// Nothing; one of these codes says why.
    Nothing(&'static [&'static str]),
}

/// The client's end of a connection: what it was told.
#[derive(Debug, Default)]
pub(crate) struct Witness {
    pub channels: BTreeMap<u32, KnownChannel>,
}

impl Witness {
    /// Takes a message of the pool's.
    pub(crate) fn on_message(&mut self, message: &Message) {
        match message {
            Message::OpenStandardMiningChannelSuccess(open) => self.open(KnownChannel {
                id: open.channel_id,
                is_standard: true,
                group: open.group_channel_id,
                prefix: open.extranonce_prefix.as_ref().to_vec(),
                rollable_bytes: 0,
                target: target(&open.target),
                tip: None,
                jobs: Vec::new(),
                stale: Vec::new(),
            }),
            Message::OpenExtendedMiningChannelSuccess(open) => self.open(KnownChannel {
                id: open.channel_id,
                is_standard: false,
                group: open.group_channel_id,
                prefix: open.extranonce_prefix.as_ref().to_vec(),
                rollable_bytes: open.extranonce_size.into(),
                target: target(&open.target),
                tip: None,
                jobs: Vec::new(),
                stale: Vec::new(),
            }),
            Message::NewExtendedMiningJob(job) => self.on_extended_job(job),
            Message::NewMiningJob(job) => self.on_standard_job(job),
            Message::SetNewPrevHash(tip) => self.on_tip(tip),
            Message::SetTarget(set) => self.on_target(set),
            Message::CloseChannel(close) => {
                self.channels.remove(&close.channel_id);
            }
            _ => {}
        }
    }

    fn open(&mut self, channel: KnownChannel) {
        let known = self.channels.insert(channel.id, channel);
        assert!(known.is_none(), "a channel id is given out twice");
    }

    fn addressed(&mut self, id: u32) -> impl Iterator<Item = &mut KnownChannel> {
        let channels = self.channels.values_mut();
        channels.filter(move |channel| channel.id == id || (channel.group == id && id != 0))
    }

    fn on_extended_job(&mut self, job: &NewExtendedMiningJob) {
        let root = Root::Coinbase {
            prefix: job.coinbase_tx_prefix.as_ref().to_vec(),
            suffix: job.coinbase_tx_suffix.as_ref().to_vec(),
            path: job
                .merkle_path
                .clone()
                .into_inner()
                .iter()
                .map(bytes)
                .collect(),
        };
        let min_ntime = job.min_ntime.clone().into_inner();
        for channel in self.addressed(job.channel_id) {
            channel.add(job.job_id, job.version, root.clone(), min_ntime);
        }
    }

    fn on_standard_job(&mut self, job: &NewMiningJob) {
        let min_ntime = job.min_ntime.clone().into_inner();
        for channel in self.addressed(job.channel_id) {
            assert!(channel.is_standard, "NewMiningJob on an extended channel");
            let root = Root::Given(bytes(&job.merkle_root));
            channel.add(job.job_id, job.version, root, min_ntime);
        }
    }

    fn on_tip(&mut self, tip: &SetNewPrevHash) {
        let known = KnownTip {
            prev_hash: bytes(&tip.prev_hash),
            min_ntime: tip.min_ntime,
            nbits: tip.nbits,
        };
        for channel in self.addressed(tip.channel_id) {
            channel.tip = Some(known);
            let of_it = |job: &KnownJob| job.id == tip.job_id && job.tip.is_none();
            let at = channel.jobs.iter().position(of_it);
            let mut job = channel
                .jobs
                .remove(at.expect("a tip names a future job that was sent"));
            job.tip = Some(known);
            job.target = channel.target;
            channel
                .stale
                .extend(std::mem::replace(&mut channel.jobs, vec![job]));
        }
    }

    fn on_target(&mut self, set: &SetTarget) {
        let target = target(&set.maximum_target);
        for channel in self.addressed(set.channel_id) {
            channel.target = target;
        }
    }

    /// What `share` is worth if it is sent now, after shares with the hashes in `credited`.
    pub(crate) fn judge(
        &self,
        share: &Share,
        credited: &HashSet<HeaderHash>,
        ntime_max: u32,
    ) -> Worth {
        let channel = match self.channels.get(&share.channel_id) {
            Some(channel) if channel.is_standard == share.extranonce.is_none() => channel,
            _ => return Worth::Nothing(&["invalid-channel-id"]),
        };
        let rolled = share.extranonce.as_deref().unwrap_or_default();
        if rolled.len() != channel.rollable_bytes {
            return Worth::Nothing(&["bad-extranonce-size"]);
        }
        let of_it = |job: &&KnownJob| job.id == share.job_id;
        let job = channel.jobs.iter().find(of_it);
        let Some((job, tip)) = job.and_then(|job| Some((job, job.tip?))) else {
            return Worth::Nothing(&["stale-share", "invalid-job-id"]);
        };
        if (share.version ^ job.version) & !ROLLABLE_BITS != 0 {
            return Worth::Nothing(&["invalid-non-rollable-version-bit"]);
        }
        if !(tip.min_ntime..=ntime_max).contains(&share.ntime) {
            return Worth::Nothing(&["invalid-share"]);
        }
        let hash = header_hash(channel, job, &tip, share, rolled);
        if Target::from_le_bytes(hash) > job.target {
            return Worth::Nothing(&["difficulty-too-low"]);
        }
        if credited.contains(&hash) {
            return Worth::Nothing(&["duplicate-share"]);
        }
        let work = work(job.target);
        Worth::Work { hash, work }
    }
}

impl KnownJob {
    /// It may be worked on.
    pub(crate) fn is_current(&self) -> bool {
        self.tip.is_some()
    }
}

impl KnownChannel {
    fn add(&mut self, id: u32, version: u32, root: Root, min_ntime: Option<u32>) {
        let known = self.jobs.iter().any(|job| job.id == id);
        assert!(!known, "job {id} is sent twice to channel {}", self.id);
        let tip = min_ntime.map(|min_ntime| KnownTip {
            min_ntime,
            ..self.tip.expect("a job for now needs a tip")
        });
        self.jobs.push(KnownJob {
            id,
            version,
            root,
            target: self.target,
            tip,
        });
    }

    /// The tip that its next job for now is on.
    pub(crate) fn tip(&self) -> Option<KnownTip> {
        self.tip
    }

    /// Whether some header belongs to this channel and to `other`.
    pub(crate) fn meets(&self, other: &Self) -> bool {
        self.prefix.starts_with(&other.prefix) || other.prefix.starts_with(&self.prefix)
    }
}

impl Share {
    /// The message that carries it.
    pub(crate) fn message(&self) -> Message {
        let Self {
            channel_id,
            sequence_number,
            job_id,
            nonce,
            ntime,
            version,
            ref extranonce,
        } = *self;
        match extranonce {
            None => SubmitSharesStandard {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
            }
            .into(),
            Some(extranonce) => SubmitSharesExtended {
                channel_id,
                sequence_number,
                job_id,
                nonce,
                ntime,
                version,
                extranonce: extranonce.clone().try_into().unwrap(),
            }
            .into(),
        }
    }
}

fn header_hash(
    channel: &KnownChannel,
    job: &KnownJob,
    tip: &KnownTip,
    share: &Share,
    rolled: &[u8],
) -> HeaderHash {
    let root = match &job.root {
        Root::Given(root) => *root,
        Root::Coinbase {
            prefix,
            suffix,
            path,
        } => {
            let coinbase = [prefix, &channel.prefix[..], rolled, suffix].concat();
            let txid = sha256d::Hash::hash(&coinbase).to_byte_array();
            path.iter().fold(txid, |left, right| {
                sha256d::Hash::hash(&[left, *right].concat()).to_byte_array()
            })
        }
    };
    let header = [
        &share.version.to_le_bytes()[..],
        &tip.prev_hash,
        &root,
        &share.ntime.to_le_bytes(),
        &tip.nbits.to_le_bytes(),
        &share.nonce.to_le_bytes(),
    ]
    .concat();
    sha256d::Hash::hash(&header).to_byte_array()
}

/// floor(2^256 / (target + 1)).
pub(crate) fn work(target: Target) -> u128 {
    let bytes = target.to_work().to_be_bytes();
    let (high, low) = bytes.split_at(16);
    assert_eq!(high, [0; 16], "no target of a test is that hard");
    u128::from_be_bytes(low.try_into().unwrap())
}

fn target(value: &U256) -> Target {
    Target::from_le_bytes(bytes(value))
}

fn bytes(value: &U256) -> [u8; 32] {
    *value.as_array()
}
