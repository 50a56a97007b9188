//! Reading a log that is being written. Owns a place in the log; never gives a record that is not durable, and never
//! waits.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use tokio::sync::watch;

use super::segment::{self, FRAME_HEADER_BYTES, FrameHeader};
use super::{LogError, Record, SegmentRef, Shared};

/// A record and its sequence number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The record's place in the epoch.
    pub seq: u64,
    /// The record.
    pub record: Record,
}

/// Reads durable records in order. Blocks for file reads only.
#[derive(Debug)]
pub struct LogReader {
    shared: Arc<Shared>,
    durable: watch::Receiver<u64>,
    /// Where the next frame is; none before the first read.
    place: Option<Place>,
    /// First record of the next frame.
    frame_seq: u64,
    /// Records before this one are passed over.
    from_seq: u64,
    /// Read but not given yet.
    entries: VecDeque<Entry>,
}

#[derive(Debug)]
struct Place {
    index: u64,
    file: File,
    offset: u64,
}

impl LogReader {
    pub(super) fn new(
        shared: Arc<Shared>,
        durable: watch::Receiver<u64>,
        seq: u64,
    ) -> Result<Self, LogError> {
        let first_seq = shared
            .segments()
            .front()
            .map_or(seq, |segment| segment.first_seq);
        if seq < first_seq {
            return Err(LogError::Released { seq, first_seq });
        }
        let entries = VecDeque::new();
        Ok(Self {
            shared,
            durable,
            place: None,
            frame_seq: seq,
            from_seq: seq,
            entries,
        })
    }

    /// Sequence number of the record that [`LogReader::read`] gives next.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.entries
            .front()
            .map_or(self.frame_seq.max(self.from_seq), |entry| entry.seq)
    }

    /// The next durable records, at most `records_max`; none if all were read. After an error the same records are
    /// tried again.
    ///
    /// # Errors
    /// [`LogError::Io`]; [`LogError::Damaged`] if a durable record is not there; [`LogError::Released`] if it was
    /// released before it was read.
    pub fn read(&mut self, records_max: usize) -> Result<Vec<Entry>, LogError> {
        let durable = *self.durable.borrow();
        while self.entries.len() < records_max && self.frame_seq.max(self.from_seq) <= durable {
            self.read_frame()?;
        }
        let count = records_max.min(self.entries.len());
        Ok(self.entries.drain(..count).collect())
    }

    fn read_frame(&mut self) -> Result<(), LogError> {
        let mut place = self.find_place()?;
        let read = self.read_frame_at(&mut place);
        self.place = Some(place);
        read
    }

    /// The place of the next frame: where the last one ended, or the start of the next segment if that begins with it.
    fn find_place(&mut self) -> Result<Place, LogError> {
        let (segment, oldest) = {
            let segments = self.shared.segments();
            let segment = segments
                .iter()
                .rev()
                .find(|s| s.first_seq <= self.frame_seq)
                .copied();
            (segment, segments.front().copied())
        };
        let Some(SegmentRef {
            index, first_seq, ..
        }) = segment
        else {
            let first_seq = oldest.map_or(0, |oldest| oldest.first_seq);
            return Err(LogError::Released {
                seq: self.frame_seq,
                first_seq,
            });
        };
        if let Some(place) = self.place.take_if(|place| place.index == index) {
            return Ok(place);
        }
        let path = self.shared.path(index);
        let file = File::open(&path).map_err(|e| LogError::io("open", &path, e))?;
        self.frame_seq = first_seq;
        Ok(Place {
            index,
            file,
            offset: segment::HEADER_BYTES,
        })
    }

    fn read_frame_at(&mut self, place: &mut Place) -> Result<(), LogError> {
        let path = self.shared.path(place.index);
        let (offset, seq) = (place.offset, self.frame_seq);
        let read = frame_bytes(&place.file, offset).map_err(|e| LogError::io("read", &path, e))?;
        let damaged = |reason| LogError::Damaged {
            path,
            offset,
            seq,
            reason,
        };
        let Some((frame, payload)) = read.filter(|(frame, payload)| {
            frame.is_valid(&self.shared.epoch, place.index, offset, payload)
        }) else {
            return Err(damaged("a durable frame is not valid"));
        };
        if frame.first_seq != seq {
            return Err(damaged("a frame with other records is there"));
        }
        let Some(records) = segment::decode_records(&payload, frame.count) else {
            return Err(damaged("the frame's records can't be decoded"));
        };
        let entries = (seq..)
            .zip(records)
            .map(|(seq, record)| Entry { seq, record });
        self.entries
            .extend(entries.skip_while(|entry| entry.seq < self.from_seq));
        place.offset += frame.frame_bytes() as u64;
        self.frame_seq = frame.end_seq();
        Ok(())
    }
}

/// A frame's header and payload, unchecked; `None` if the file has no header or too few bytes there.
fn frame_bytes(file: &File, offset: u64) -> io::Result<Option<(FrameHeader, Vec<u8>)>> {
    let mut header = [0; FRAME_HEADER_BYTES];
    if !read_exact_at(file, &mut header, offset)? {
        return Ok(None);
    }
    let Some(header) = FrameHeader::parse(&header) else {
        return Ok(None);
    };
    let mut payload = vec![0; header.payload_length];
    let whole = read_exact_at(file, &mut payload, offset + FRAME_HEADER_BYTES as u64)?;
    Ok(whole.then_some((header, payload)))
}

/// Fills `bytes`; false if the file ends before.
fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> io::Result<bool> {
    match file.read_exact_at(bytes, offset) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(e) => Err(e),
    }
}
