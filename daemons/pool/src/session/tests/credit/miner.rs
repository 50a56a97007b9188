//! A miner of the test, honest and hostile by turns.

use super::steps::{Aim, Bits, Ntime, Shot, Wrong};
use super::{AHEAD_SECONDS, TOO_FAR_AHEAD_SECONDS};
use crate::sample::server::TestMiner;
use crate::sample::witness::{KnownChannel, KnownJob, Share, Witness, Worth};
use hh_mining::Target;
use hh_sv2::Message;
use hh_sv2::message::{
    CloseChannel, OpenExtendedMiningChannel, OpenStandardMiningChannel, SubmitSharesStandard, U256,
    UpdateChannel,
};
use proptest::sample::Index;
use std::collections::{BTreeMap, HashSet};
use std::time::{SystemTime, UNIX_EPOCH};

/// No channel has this id.
const NO_CHANNEL: u32 = u32::MAX;

/// A connection, what it was told, and what it still has to hear.
pub(super) struct Peer {
    pub(super) miner: TestMiner,
    pub(super) witness: Witness,
    pub(super) next_number: u32,
}

impl Peer {
    pub(super) async fn try_recv(&mut self) -> Option<Message> {
        let message = self.miner.recv().await?;
        self.witness.on_message(&message);
        Some(message)
    }

    pub(super) async fn recv(&mut self) -> Message {
        self.try_recv().await.expect("the pool stays connected")
    }

    fn number(&mut self) -> u32 {
        self.next_number += 1;
        self.next_number
    }

    pub(super) async fn open(&mut self, is_standard: bool, hardness: u8) {
        if is_standard {
            self.miner
                .send(OpenStandardMiningChannel {
                    request_id: 1,
                    user_identity: "alice".try_into().unwrap(),
                    nominal_hash_rate: 0.0,
                    max_target: max_target(hardness),
                })
                .await;
        } else {
            self.miner
                .send(OpenExtendedMiningChannel {
                    request_id: 1,
                    user_identity: "bob.rig".try_into().unwrap(),
                    nominal_hash_rate: 0.0,
                    max_target: max_target(hardness),
                    min_extranonce_size: 8,
                })
                .await;
        }
        let before = self.witness.channels.len();
        loop {
            if matches!(self.recv().await, Message::OpenMiningChannelError(_)) {
                return;
            }
            // Its first job, and the tip that makes it current.
            let has_work = |channel: &KnownChannel| channel.jobs.iter().any(KnownJob::is_current);
            let channels = &self.witness.channels;
            if channels.len() > before && channels.values().all(has_work) {
                return;
            }
        }
    }

    pub(super) async fn close(&mut self, channel: &Index) {
        let Some(channel_id) = self.channel_id(channel) else {
            return;
        };
        self.miner
            .send(CloseChannel {
                channel_id,
                reason_code: "test".try_into().unwrap(),
            })
            .await;
        self.witness.channels.remove(&channel_id);
    }

    pub(super) async fn update(&mut self, channel: &Index, hardness: u8) {
        let Some(channel_id) = self.channel_id(channel) else {
            return;
        };
        self.miner
            .send(UpdateChannel {
                channel_id,
                nominal_hash_rate: 0.0,
                maximum_target: max_target(hardness),
            })
            .await;
        // What comes of it is before the answer to the next message.
        let sequence_number = self.number();
        self.miner
            .send(SubmitSharesStandard {
                channel_id: NO_CHANNEL,
                sequence_number,
                job_id: 0,
                nonce: 0,
                ntime: 0,
                version: 0,
            })
            .await;
        assert_eq!(self.answers(1).await.len(), 1);
    }

    fn channel_id(&self, index: &Index) -> Option<u32> {
        let ids: Vec<u32> = self.witness.channels.keys().copied().collect();
        (!ids.is_empty()).then(|| *index.get(&ids))
    }

    /// Waits until as many shares as `count` are answered: which were refused, and why.
    pub(super) async fn answers(&mut self, count: usize) -> BTreeMap<u32, String> {
        let (mut accepted, mut refused) = (0, BTreeMap::new());
        while accepted + refused.len() < count {
            match self.recv().await {
                Message::SubmitSharesSuccess(success) => {
                    accepted += success.new_submits_accepted_count as usize;
                }
                Message::SubmitSharesError(error) => {
                    let code = error.error_code.as_utf8_or_hex();
                    let known = refused.insert(error.sequence_number, code);
                    assert!(known.is_none(), "a share is refused twice");
                }
                _ => {}
            }
        }
        assert_eq!(accepted + refused.len(), count, "each is answered once");
        refused
    }

    /// The share that `shot` stands for now; none where there is no channel.
    pub(super) fn aim(&mut self, shot: &Shot) -> Option<Share> {
        let channel_id = self.channel_id(&shot.channel)?;
        let sequence_number = self.number();
        let channel = &self.witness.channels[&channel_id];
        let (valid, stale) = (&channel.jobs, &channel.stale);
        let newest = valid.last()?;
        let job = match &shot.job {
            Aim::Valid(index) => index.get(valid),
            Aim::Stale(index) if !stale.is_empty() => index.get(stale),
            _ => newest,
        };
        let min_ntime = channel.tip()?.min_ntime;
        let ntime = match shot.ntime {
            Ntime::Early => min_ntime - 1,
            Ntime::Least => min_ntime,
            Ntime::Rolled => min_ntime + 1,
            Ntime::Ahead => now() + AHEAD_SECONDS - 60,
            Ntime::TooFarAhead => now() + TOO_FAR_AHEAD_SECONDS,
        };
        let version = match shot.version {
            Bits::AsSent => job.version,
            Bits::Rolled => job.version ^ 0x0000_2000,
            Bits::AllRolled => job.version ^ 0x1fff_ffe0,
            Bits::NotRollable => job.version ^ 1,
        };
        let extranonce = match shot.wrong {
            Wrong::ExtranonceSize(size) => Some(vec![shot.extranonce; size.into()]),
            Wrong::Kind if channel.is_standard => Some(vec![0; 8]),
            Wrong::Kind => None,
            _ if channel.is_standard => None,
            _ => Some(vec![shot.extranonce; channel.rollable_bytes]),
        };
        let mut share = Share {
            channel_id: match shot.wrong {
                Wrong::Channel => channel_id + 1_000,
                _ => channel_id,
            },
            sequence_number,
            job_id: match shot.job {
                Aim::Unknown => newest.id + 1_000,
                _ => job.id,
            },
            nonce: shot.nonce.into(),
            ntime,
            version,
            extranonce,
        };
        if shot.is_ground {
            self.grind(&mut share);
        }
        Some(share)
    }

    /// Searches the nonce with which a share is good, as an honest miner does.
    fn grind(&self, share: &mut Share) {
        let nobody = HashSet::new();
        let too_low = Worth::Nothing(&["difficulty-too-low"]);
        while self.witness.judge(share, &nobody, u32::MAX) == too_low {
            share.nonce += 1;
        }
    }

    pub(super) fn replay(
        &mut self,
        sent: &[Share],
        share: &Index,
        channel: Option<&Index>,
        newest_job: bool,
    ) -> Option<Share> {
        if sent.is_empty() {
            return None;
        }
        let mut share = share.get(sent).clone();
        share.sequence_number = self.number();
        if let Some(channel) = channel {
            share.channel_id = self.channel_id(channel)?;
        }
        if newest_job && let Some(channel) = self.witness.channels.get(&share.channel_id) {
            share.job_id = channel.jobs.last()?.id;
        }
        Some(share)
    }
}

/// Targets of 1, 4, 16 or 64 expected hashes.
fn max_target(hardness: u8) -> U256 {
    let mut bytes = Target::MAX.to_le_bytes();
    bytes[31] >>= 2 * (hardness % 4);
    bytes.into()
}

pub(super) fn now() -> u32 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    since.as_secs().try_into().unwrap()
}

/// The payload of a share as the specification has it, and then spoilt.
pub(super) fn mutilated(
    share: &Share,
    damage: &[(Index, u8)],
    keep: Option<&Index>,
    tail: &[u8],
) -> Vec<u8> {
    let fields = [
        share.channel_id,
        share.sequence_number,
        share.job_id,
        share.nonce,
        share.ntime,
        share.version,
    ];
    let mut payload: Vec<u8> = fields
        .iter()
        .flat_map(|field| field.to_le_bytes())
        .collect();
    if let Some(extranonce) = &share.extranonce {
        payload.push(extranonce.len().try_into().unwrap());
        payload.extend(extranonce);
    }
    for (at, byte) in damage {
        let at = at.index(payload.len());
        // Its number stays, so that its answer is known.
        if !(4..8).contains(&at) {
            payload[at] = *byte;
        }
    }
    if let Some(keep) = keep {
        payload.truncate(keep.index(payload.len() + 1));
    }
    payload.extend(tail);
    payload
}

/// The share that a payload is, by the specification.
pub(super) fn parse(payload: &[u8], is_standard: bool) -> Option<Share> {
    let (fields, rest) = payload.split_at_checked(24)?;
    let field = |at: usize| u32::from_le_bytes(fields[4 * at..4 * at + 4].try_into().unwrap());
    let extranonce = if is_standard {
        None
    } else {
        let (length, rest) = rest.split_first()?;
        // B0_32
        let extranonce = rest.get(..usize::from(*length))?;
        (extranonce.len() <= 32).then_some(())?;
        Some(extranonce.to_vec())
    };
    Some(Share {
        channel_id: field(0),
        sequence_number: field(1),
        job_id: field(2),
        nonce: field(3),
        ntime: field(4),
        version: field(5),
        extranonce,
    })
}
