//! What a log holds when it is opened. Reads segments from the newest backwards, cuts off a torn tail, refuses damage.
//! Never writes to a segment otherwise: an opened log goes on in a new one.
//!
//! Only the last segment can have a torn frame that nothing follows, and only one frame is ever under way. So an
//! invalid frame with a valid one behind it, or one in an earlier segment before the next segment's first record, is
//! damage to acknowledged records and stops the opening.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::segment::{self, Header};
use super::{Epoch, ExtranoncePrefix, Identity, LogError, Options, Record, SegmentRef};

/// What the log held when it was opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    /// The log's id; a new random one if the directory was empty.
    pub epoch: Epoch,
    /// Whether the log is new.
    pub is_new: bool,
    /// Sequence number of the first record that is kept; equal to `next_seq` if there is none.
    pub first_seq: u64,
    /// Sequence number of the next record.
    pub next_seq: u64,
    /// Time of the last record, milliseconds since 1970; `i64::MIN` if there never was one. No later record is earlier.
    pub last_at_ms: i64,
    /// Highest prefix ever bound in this epoch, compared byte by byte. Prefixes above it were never bound.
    pub highest_prefix: Option<ExtranoncePrefix>,
    /// Bytes cut off the end because their frame was not whole. It was not acknowledged.
    pub torn_bytes: u64,
    /// Highest index of a segment, 0 if there is none.
    pub(super) last_index: u64,
}

/// What a segment holds, and where it ends.
struct Scan {
    highest_prefix: Option<ExtranoncePrefix>,
    last_at_ms: Option<i64>,
    end_seq: u64,
    /// Where the frames end.
    end: u64,
    torn_bytes: u64,
}

/// Reads the log in `dir`.
pub(super) fn recover(
    dir: &Path,
    identity: &Identity,
    options: &Options,
) -> Result<(Recovered, VecDeque<SegmentRef>), LogError> {
    remove_prepared(dir)?;
    let headers = headers(dir, identity)?;
    let mut recovered = Recovered {
        epoch: headers
            .last()
            .map_or_else(rand::random, |(_, header)| header.epoch),
        is_new: headers.is_empty(),
        first_seq: headers.first().map_or(1, |(_, header)| header.first_seq),
        next_seq: 1,
        last_at_ms: i64::MIN,
        highest_prefix: None,
        torn_bytes: 0,
        last_index: headers.last().map_or(0, |(_, header)| header.index),
    };
    let mut checked = 0;
    let mut newest = None;
    let mut next_first_seq = None;
    for (path, header) in headers.iter().rev() {
        let scan = scan(path, header, next_first_seq)?;
        checked += scan.end_seq - header.first_seq;
        next_first_seq = Some(header.first_seq);
        newest.get_or_insert((path, header, scan));
        // Not before the newest: it tells where the log goes on.
        if checked >= options.checked_records_min {
            break;
        }
    }
    // Not before all was read: a log that is refused stays as it is.
    if let Some((path, header, scan)) = newest {
        recovered.take_last(header, &scan);
        truncate(path, scan.end)?;
    }
    let segments = headers.iter().map(|(_, h)| SegmentRef {
        index: h.index,
        first_seq: h.first_seq,
        last_at_ms: h.last_at_ms,
    });
    let segments = segments.collect();
    Ok((recovered, segments))
}

impl Recovered {
    /// Takes what only the newest segment knows.
    fn take_last(&mut self, header: &Header, scan: &Scan) {
        self.next_seq = scan.end_seq;
        self.torn_bytes = scan.torn_bytes;
        self.last_at_ms = scan.last_at_ms.unwrap_or(header.last_at_ms);
        self.highest_prefix = scan.highest_prefix.max(header.highest_prefix);
    }
}

impl Scan {
    fn take(&mut self, records: Vec<Record>) {
        self.last_at_ms = records
            .last()
            .map_or(self.last_at_ms, |record| Some(record.at_ms()));
        self.end_seq += records.len() as u64;
        for record in records {
            if let Record::Binding(binding) = record {
                self.highest_prefix = self.highest_prefix.max(Some(binding.extranonce_prefix));
            }
        }
    }
}

/// Deletes a segment that never got its name.
fn remove_prepared(dir: &Path) -> Result<(), LogError> {
    let path = dir.join(segment::PREPARED_NAME);
    match fs::remove_file(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(LogError::io("delete", &path, e)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The headers of all segments, oldest first, of one log and this pool.
fn headers(dir: &Path, identity: &Identity) -> Result<Vec<(PathBuf, Header)>, LogError> {
    let mut headers: Vec<(PathBuf, Header)> = Vec::new();
    for index in segment::list(dir)? {
        let path = segment::path(dir, index);
        let file = File::open(&path).map_err(|e| LogError::io("open", &path, e))?;
        let header = Header::read(&path, &file)?;
        if header.identity != *identity {
            return Err(LogError::Foreign {
                path,
                found_pool: header.identity.pool,
                found_server_id: header.identity.server_id,
                wanted: identity.clone(),
            });
        }
        let seq = header.first_seq;
        let fits = headers.last().is_none_or(|(_, before)| {
            before.epoch == header.epoch && before.first_seq <= header.first_seq
        });
        if header.index != index || !fits {
            let reason = "its header does not follow on the segment before";
            return Err(LogError::Damaged {
                path,
                offset: 0,
                seq,
                reason,
            });
        }
        headers.push((path, header));
    }
    Ok(headers)
}

/// Reads the records of a segment up to `next_first_seq`, or, in the last one, up to the end or a torn tail.
fn scan(path: &Path, header: &Header, next_first_seq: Option<u64>) -> Result<Scan, LogError> {
    let bytes = fs::read(path).map_err(|e| LogError::io("read", path, e))?;
    let mut scan = Scan {
        highest_prefix: None,
        last_at_ms: None,
        end_seq: header.first_seq,
        end: 0,
        torn_bytes: 0,
    };
    let mut offset = usize::try_from(segment::HEADER_BYTES).expect("4,096 is a usize");
    let damaged = |offset: usize, seq, reason| {
        Err(LogError::Damaged {
            path: path.to_owned(),
            offset: offset as u64,
            seq,
            reason,
        })
    };
    if bytes.len() < offset {
        return damaged(0, header.first_seq, "it is shorter than a header");
    }
    while let Some((frame, payload)) =
        segment::frame_at(&bytes, &header.epoch, header.index, offset)
    {
        if next_first_seq.is_some_and(|next| frame.end_seq() > next) {
            break; // Its sync failed, and it was given up for the next segment.
        }
        if frame.first_seq != scan.end_seq {
            return damaged(offset, scan.end_seq, "a frame with other records is there");
        }
        let Some(records) = segment::decode_records(payload, frame.count) else {
            return damaged(offset, scan.end_seq, "the frame's records can't be decoded");
        };
        scan.take(records);
        offset += frame.frame_bytes();
    }
    scan.end = offset as u64;
    match next_first_seq {
        Some(next) if scan.end_seq == next => Ok(scan),
        Some(_) => damaged(
            offset,
            scan.end_seq,
            "no valid frame is there, but later segments follow",
        ),
        None if segment::any_frame_from(&bytes, &header.epoch, header.index, offset) => damaged(
            offset,
            scan.end_seq,
            "no valid frame is there, but valid ones follow",
        ),
        None => {
            let end = segment::used_bytes(&bytes).max(offset);
            if bytes[offset..end].iter().any(|byte| *byte != 0) {
                scan.torn_bytes = (end - offset) as u64;
            }
            Ok(scan)
        }
    }
}

/// Cuts off what follows the last frame. Nothing is written to the segment any more, so its zeros go back to the file
/// system as well.
fn truncate(path: &Path, bytes: u64) -> Result<(), LogError> {
    let file = File::options().write(true).open(path);
    let file = file.map_err(|e| LogError::io("open", path, e))?;
    file.set_len(bytes)
        .map_err(|e| LogError::io("truncate", path, e))?;
    file.sync_all().map_err(|e| LogError::io("sync", path, e))
}
