//! Segment files: their names, headers and frames. Owns the byte format; decides nothing about order or repair.
//!
//! ```text
//! segment: header (4,096 bytes), then frames one after the other, then zeros
//! header:  magic[8] version:u32 server_id:u16 has_prefix:u8 pool_length:u8 epoch[16] index:u64 first_seq:u64
//!          last_at_ms:i64 highest_prefix[8] pool[..64], zeros up to byte 240, checksum[16] of the first 240 bytes
//! frame:   magic[4] payload_length:u32 count:u32 zero:u32 first_seq:u64 checksum[16], then `count` records
//! ```
//! Numbers are little-endian. A checksum is the start of a SHA-256; a frame's covers the epoch, the segment's index, the
//! frame's offset, the frame's first 24 bytes and its payload.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use bitcoin::hashes::{Hash, HashEngine, sha256};

use super::{Epoch, ExtranoncePrefix, Identity, LogError, Record};
use crate::zeroed_file;

/// Version of the format described above.
pub(super) const FORMAT_VERSION: u32 = 1;

/// The header has a page of its own, so that no commit writes to it.
pub(super) const HEADER_BYTES: u64 = 4_096;

/// Bytes of a frame before its payload.
pub(super) const FRAME_HEADER_BYTES: usize = 40;

/// Most bytes of a frame: bounds a commit's time and the writer's buffer. A commit with more makes several.
pub(super) const FRAME_BYTES_MAX: usize = 4 << 20;

/// Where a segment is prepared before it has an index.
pub(super) const PREPARED_NAME: &str = "prepared.tmp";

const SEGMENT_MAGIC: [u8; 8] = *b"HHSHARES";
const FRAME_MAGIC: [u8; 4] = *b"HHf1";
const HEADER_FIELDS_BYTES: usize = 240;
const FIXED_FIELDS_BYTES: usize = 64;

/// What a segment says about itself and the log before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) identity: Identity,
    pub(super) epoch: Epoch,
    pub(super) index: u64,
    pub(super) first_seq: u64,
    /// Time of the last record before this segment.
    pub(super) last_at_ms: i64,
    /// Highest prefix bound before this segment.
    pub(super) highest_prefix: Option<ExtranoncePrefix>,
}

impl Header {
    /// The bytes of the header. The pool's name was checked when the log was opened.
    pub(super) fn encode(&self) -> Vec<u8> {
        let pool = self.identity.pool.as_bytes();
        let mut bytes = Vec::with_capacity(HEADER_FIELDS_BYTES + 16);
        bytes.extend_from_slice(&SEGMENT_MAGIC);
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&self.identity.server_id.to_le_bytes());
        bytes.push(u8::from(self.highest_prefix.is_some()));
        bytes.push(u8::try_from(pool.len()).expect("ShareLog::open refuses longer names"));
        bytes.extend_from_slice(&self.epoch);
        bytes.extend_from_slice(&self.index.to_le_bytes());
        bytes.extend_from_slice(&self.first_seq.to_le_bytes());
        bytes.extend_from_slice(&self.last_at_ms.to_le_bytes());
        bytes.extend_from_slice(&self.highest_prefix.unwrap_or_default());
        bytes.extend_from_slice(pool);
        bytes.resize(HEADER_FIELDS_BYTES, 0);
        let checksum = checksum(&[&bytes]);
        bytes.extend_from_slice(&checksum);
        bytes
    }

    /// Reads the header of the segment at `path`.
    pub(super) fn read(path: &Path, file: &File) -> Result<Self, LogError> {
        let damaged = |reason| LogError::Damaged {
            path: path.to_owned(),
            offset: 0,
            seq: 0,
            reason,
        };
        let mut bytes = [0; HEADER_FIELDS_BYTES + 16];
        match file.read_exact_at(&mut bytes, 0) {
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(damaged("it is shorter than a header"));
            }
            Err(e) => return Err(LogError::io("read", path, e)),
            Ok(()) => {}
        }
        if bytes[..8] != SEGMENT_MAGIC {
            return Err(damaged("it is no share log segment"));
        }
        let version = u32::from_le_bytes(field(&bytes, 8));
        if version > FORMAT_VERSION {
            return Err(LogError::NewerFormat {
                path: path.to_owned(),
                version,
            });
        }
        if bytes[HEADER_FIELDS_BYTES..] != checksum(&[&bytes[..HEADER_FIELDS_BYTES]]) {
            return Err(damaged("the header's checksum is wrong"));
        }
        let pool = bytes[FIXED_FIELDS_BYTES..]
            .get(..usize::from(bytes[15]))
            .and_then(|pool| String::from_utf8(pool.to_vec()).ok())
            .ok_or_else(|| damaged("the pool's name is no text"))?;
        Ok(Self {
            identity: Identity {
                pool,
                server_id: u16::from_le_bytes(field(&bytes, 12)),
            },
            epoch: field(&bytes, 16),
            index: u64::from_le_bytes(field(&bytes, 32)),
            first_seq: u64::from_le_bytes(field(&bytes, 40)),
            last_at_ms: i64::from_le_bytes(field(&bytes, 48)),
            highest_prefix: (bytes[14] != 0).then(|| field(&bytes, 56)),
        })
    }
}

/// A frame as it is being put together. Its buffer is kept from commit to commit.
#[derive(Debug)]
pub(super) struct FrameBuffer {
    bytes: Vec<u8>,
    count: u32,
}

impl FrameBuffer {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; FRAME_HEADER_BYTES],
            count: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn clear(&mut self) {
        self.truncate(FRAME_HEADER_BYTES, 0);
    }

    /// Takes off what was pushed since the frame had this length and count.
    pub(super) fn truncate(&mut self, len: usize, count: u32) {
        self.bytes.truncate(len);
        self.count = count;
    }

    pub(super) fn push(&mut self, record: &Record, at_ms: i64) {
        record.encode(at_ms, &mut self.bytes);
        self.count += 1;
    }

    /// Fills in the frame's header for its place; gives the bytes to write there.
    pub(super) fn seal(&mut self, epoch: &Epoch, index: u64, offset: u64, first_seq: u64) -> &[u8] {
        let payload_length = u32::try_from(self.bytes.len() - FRAME_HEADER_BYTES)
            .expect("the writer ends a frame at FRAME_BYTES_MAX");
        let (header, payload) = self.bytes.split_at_mut(FRAME_HEADER_BYTES);
        header[..4].copy_from_slice(&FRAME_MAGIC);
        header[4..8].copy_from_slice(&payload_length.to_le_bytes());
        header[8..12].copy_from_slice(&self.count.to_le_bytes());
        header[12..16].fill(0);
        header[16..24].copy_from_slice(&first_seq.to_le_bytes());
        let checksum = frame_checksum(epoch, index, offset, &header[..24], payload);
        header[24..].copy_from_slice(&checksum);
        &self.bytes
    }
}

/// A frame's header as it was read, not yet compared with the payload.
#[derive(Debug, Clone, Copy)]
pub(super) struct FrameHeader {
    bytes: [u8; FRAME_HEADER_BYTES],
    pub(super) payload_length: usize,
    pub(super) count: u32,
    pub(super) first_seq: u64,
}

impl FrameHeader {
    /// Parses the header; `None` if no frame starts here.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; FRAME_HEADER_BYTES] = *bytes.first_chunk()?;
        let payload_length = usize::try_from(u32::from_le_bytes(field(&bytes, 4))).ok()?;
        let plausible = bytes[..4] == FRAME_MAGIC && payload_length <= FRAME_BYTES_MAX;
        plausible.then(|| Self {
            payload_length,
            count: u32::from_le_bytes(field(&bytes, 8)),
            first_seq: u64::from_le_bytes(field(&bytes, 16)),
            bytes,
        })
    }

    /// Whether the payload belongs to this header at this place.
    pub(super) fn is_valid(&self, epoch: &Epoch, index: u64, offset: u64, payload: &[u8]) -> bool {
        self.bytes[24..] == frame_checksum(epoch, index, offset, &self.bytes[..24], payload)
    }

    /// Sequence number after the frame's last record.
    pub(super) fn end_seq(&self) -> u64 {
        self.first_seq.saturating_add(u64::from(self.count))
    }

    /// Bytes from this frame's start to the next one's.
    pub(super) fn frame_bytes(&self) -> usize {
        FRAME_HEADER_BYTES + self.payload_length
    }
}

/// Decodes the records of a frame; `None` if they are not exactly `count`.
pub(super) fn decode_records(mut payload: &[u8], count: u32) -> Option<Vec<Record>> {
    let mut records = Vec::with_capacity(usize::try_from(count).ok()?.min(payload.len()));
    for _ in 0..count {
        records.push(Record::decode(&mut payload)?);
    }
    payload.is_empty().then_some(records)
}

/// The whole frame at `offset` of a segment's bytes, if a valid one is there.
pub(super) fn frame_at<'a>(
    bytes: &'a [u8],
    epoch: &Epoch,
    index: u64,
    offset: usize,
) -> Option<(FrameHeader, &'a [u8])> {
    let rest = bytes.get(offset..)?;
    let header = FrameHeader::parse(rest)?;
    let payload = rest.get(FRAME_HEADER_BYTES..header.frame_bytes())?;
    let valid = header.is_valid(epoch, index, offset as u64, payload);
    valid.then_some((header, payload))
}

/// Whether a valid frame starts anywhere in `bytes[from..]`.
pub(super) fn any_frame_from(bytes: &[u8], epoch: &Epoch, index: u64, from: usize) -> bool {
    let end = used_bytes(bytes).max(from);
    let mut starts = bytes[from..end].windows(FRAME_MAGIC.len()).zip(from..);
    starts.any(|(w, offset)| w == FRAME_MAGIC && frame_at(bytes, epoch, index, offset).is_some())
}

/// Length without the zeros at the end, rounded up to a page.
pub(super) fn used_bytes(bytes: &[u8]) -> usize {
    const PAGE: usize = 4_096;
    let unused = bytes
        .rchunks(PAGE)
        .take_while(|page| zeroed_file::is_zero(page))
        .map(<[u8]>::len)
        .sum::<usize>();
    bytes.len() - unused
}

/// Path of the segment with this index.
pub(super) fn path(dir: &Path, index: u64) -> PathBuf {
    dir.join(format!("{index:020}.shares"))
}

/// Indexes of the segments in `dir`, lowest first.
pub(super) fn list(dir: &Path) -> Result<Vec<u64>, LogError> {
    let error = |e| LogError::io("list", dir, e);
    let mut indexes = Vec::new();
    for entry in fs::read_dir(dir).map_err(error)? {
        let name = entry.map_err(error)?.file_name();
        let index = name.to_str().and_then(|name| name.strip_suffix(".shares"));
        indexes.extend(index.and_then(|index| index.parse::<u64>().ok()));
    }
    indexes.sort_unstable();
    Ok(indexes)
}

/// Writes and syncs a file of `bytes` zeros that waits to become a segment.
pub(super) fn prepare(dir: &Path, bytes: u64) -> Result<File, LogError> {
    let path = dir.join(PREPARED_NAME);
    let written = zeroed_file::create(&path, bytes);
    if written.is_err() {
        // What there is of it takes room on a disk that has none.
        if let Err(e) = fs::remove_file(&path) {
            tracing::debug!(error = %e, "no unfinished share log segment to delete");
        }
    }
    written.map_err(|e| LogError::io("prepare", &path, e))
}

/// Makes a prepared file the segment that `header` describes: durable under its name when this returns.
pub(super) fn activate(dir: &Path, file: &File, header: &Header) -> Result<(), LogError> {
    let from = dir.join(PREPARED_NAME);
    let to = path(dir, header.index);
    file.write_all_at(&header.encode(), 0)
        .map_err(|e| LogError::io("write", &from, e))?;
    file.sync_data()
        .map_err(|e| LogError::io("sync", &from, e))?;
    fs::rename(&from, &to).map_err(|e| LogError::io("rename to", &to, e))?;
    let synced = File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|e| LogError::io("sync", dir, e))
}

fn frame_checksum(
    epoch: &Epoch,
    index: u64,
    offset: u64,
    header: &[u8],
    payload: &[u8],
) -> [u8; 16] {
    checksum(&[
        epoch,
        &index.to_le_bytes(),
        &offset.to_le_bytes(),
        header,
        payload,
    ])
}

fn checksum(parts: &[&[u8]]) -> [u8; 16] {
    let mut engine = sha256::Hash::engine();
    for part in parts {
        engine.input(part);
    }
    field(sha256::Hash::from_engine(engine).as_byte_array(), 0)
}

/// The `N` bytes at `offset`, which the caller knows to be there.
fn field<const N: usize>(bytes: &[u8], offset: usize) -> [u8; N] {
    *bytes[offset..]
        .first_chunk()
        .expect("fields lie within the header's fixed length")
}
