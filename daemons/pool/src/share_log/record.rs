//! What the share log keeps, and its encoding. Owns the byte format of a record; knows nothing of files.
//!
//! A record is a length (u16, of what follows), a kind (u8) and its fields in the order of the struct, little-endian.
//! Who sent a share stands in the share itself, so that a record is read without any other and segments can go as soon
//! as they are shipped.

use std::sync::Arc;

use hh_ledger::Origin;

use super::ExtranoncePrefix;

const KIND_SHARE: u8 = 1;
const KIND_BINDING: u8 = 2;
const KIND_WATERMARK: u8 = 3;

/// An accepted share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShareRecord {
    /// When it was accepted, milliseconds since 1970. The writer raises it to that of the record before.
    pub accepted_at_ms: i64,
    /// Hash of the header, in the byte order of the header (little-endian as a number).
    pub hash: [u8; 32],
    /// The channel's extranonce prefix, as it was bound.
    pub extranonce_prefix: ExtranoncePrefix,
    /// The SV2 channel id on its connection.
    pub channel_id: u32,
    /// The SV2 job id in that channel.
    pub job_id: u32,
    /// The job's nBits.
    pub nbits: u32,
    /// The header's time.
    pub ntime: u32,
    /// The header's nonce.
    pub nonce: u32,
    /// The header's version, rolled bits included.
    pub version: u32,
    /// Expected hashes of the target that the job was sent with.
    pub work: u128,
    /// Work x 2^96 / network work of the job's nBits.
    pub score: u128,
    /// Whether it meets the network's target.
    pub is_block: bool,
    /// Who is credited.
    pub origin: Arc<Origin>,
}

impl ShareRecord {
    /// The record in the encoding of the log, for whoever keeps one elsewhere.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        Record::Share(self.clone()).encode(self.accepted_at_ms, &mut bytes);
        bytes
    }

    /// Reads what [`ShareRecord::to_bytes`] gave; `None` if the bytes are something else.
    #[must_use]
    pub fn from_bytes(mut bytes: &[u8]) -> Option<Self> {
        let record = Record::decode(&mut bytes)?;
        match record {
            Record::Share(share) if bytes.is_empty() => Some(share),
            Record::Share(_) | Record::Binding(_) | Record::Watermark { .. } => None,
        }
    }
}

/// A channel's extranonce prefix and the account to which it belongs; logged before the channel's first job is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// When, milliseconds since 1970. The writer raises it to that of the record before.
    pub bound_at_ms: i64,
    /// The prefix; never bound twice in an epoch.
    pub extranonce_prefix: ExtranoncePrefix,
    /// Whose it is.
    pub origin: Arc<Origin>,
}

/// A record of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// An accepted share.
    Share(ShareRecord),
    /// A prefix and its account.
    Binding(Binding),
    /// No record after this one has an earlier time; milliseconds since 1970, raised as the others are.
    Watermark {
        /// That time.
        at_ms: i64,
    },
}

impl Record {
    /// The record's time, milliseconds since 1970.
    #[must_use]
    pub fn at_ms(&self) -> i64 {
        match self {
            Self::Share(share) => share.accepted_at_ms,
            Self::Binding(binding) => binding.bound_at_ms,
            Self::Watermark { at_ms } => *at_ms,
        }
    }

    /// Appends the record to `out` with `at_ms` in place of its own time.
    pub(super) fn encode(&self, at_ms: i64, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&[0, 0]);
        match self {
            Self::Share(share) => {
                out.push(KIND_SHARE);
                out.extend_from_slice(&at_ms.to_le_bytes());
                encode_share(share, out);
            }
            Self::Binding(binding) => {
                out.push(KIND_BINDING);
                out.extend_from_slice(&at_ms.to_le_bytes());
                out.extend_from_slice(&binding.extranonce_prefix);
                encode_origin(&binding.origin, out);
            }
            Self::Watermark { .. } => {
                out.push(KIND_WATERMARK);
                out.extend_from_slice(&at_ms.to_le_bytes());
            }
        }
        let length = u16::try_from(out.len() - start - 2)
            .expect("four names of 255 bytes and 130 bytes of numbers are less than 64 KiB");
        out[start..start + 2].copy_from_slice(&length.to_le_bytes());
    }

    /// Takes the first record off `bytes`; `None` if they do not start with a whole record.
    pub(super) fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let length = usize::from(u16::from_le_bytes(take(bytes)?));
        let (mut body, rest) = bytes.split_at_checked(length)?;
        let [kind] = take(&mut body)?;
        let at_ms = i64::from_le_bytes(take(&mut body)?);
        let record = match kind {
            KIND_SHARE => Self::Share(decode_share(at_ms, &mut body)?),
            KIND_BINDING => Self::Binding(Binding {
                bound_at_ms: at_ms,
                extranonce_prefix: take(&mut body)?,
                origin: decode_origin(&mut body)?,
            }),
            KIND_WATERMARK => Self::Watermark { at_ms },
            _ => return None,
        };
        *bytes = rest;
        body.is_empty().then_some(record)
    }
}

fn encode_share(share: &ShareRecord, out: &mut Vec<u8>) {
    out.extend_from_slice(&share.hash);
    out.extend_from_slice(&share.extranonce_prefix);
    let numbers = [
        share.channel_id,
        share.job_id,
        share.nbits,
        share.ntime,
        share.nonce,
        share.version,
    ];
    for number in numbers {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&share.work.to_le_bytes());
    out.extend_from_slice(&share.score.to_le_bytes());
    out.push(u8::from(share.is_block));
    encode_origin(&share.origin, out);
}

fn decode_share(accepted_at_ms: i64, body: &mut &[u8]) -> Option<ShareRecord> {
    Some(ShareRecord {
        accepted_at_ms,
        hash: take(body)?,
        extranonce_prefix: take(body)?,
        channel_id: u32::from_le_bytes(take(body)?),
        job_id: u32::from_le_bytes(take(body)?),
        nbits: u32::from_le_bytes(take(body)?),
        ntime: u32::from_le_bytes(take(body)?),
        nonce: u32::from_le_bytes(take(body)?),
        version: u32::from_le_bytes(take(body)?),
        work: u128::from_le_bytes(take(body)?),
        score: u128::from_le_bytes(take(body)?),
        is_block: match take(body)? {
            [0] => false,
            [1] => true,
            [_] => return None,
        },
        origin: decode_origin(body)?,
    })
}

fn encode_origin(origin: &Origin, out: &mut Vec<u8>) {
    for name in origin.names() {
        out.push(u8::try_from(name.len()).expect("Origin::new refuses longer names"));
        out.extend_from_slice(name.as_bytes());
    }
}

fn decode_origin(body: &mut &[u8]) -> Option<Arc<Origin>> {
    let mut name = || -> Option<String> {
        let [length] = take(body)?;
        let (name, rest) = body.split_at_checked(usize::from(length))?;
        *body = rest;
        String::from_utf8(name.to_vec()).ok()
    };
    Origin::new(name()?, name()?, name()?, name()?)
        .ok()
        .map(Arc::new)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}
