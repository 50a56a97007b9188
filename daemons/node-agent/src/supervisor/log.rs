//! Lines of a service's log, by cursor.
//!
//! A cursor is the file's inode and a place in it: a log that was put aside is another file, and is read from its beginning.
//!
//! A service writes its log itself, and goes on while the agent is gone. So a log that gets long can't be put aside under it: its older
//! part is given back to the disk as a hole. No line that comes meanwhile is lost, and every cursor holds.

use rustix::fs::{FallocateFlags, fallocate};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Read in one go: what a result holds, and some lines more.
const READ_BYTES_MAX: u64 = 15 * 1024;

/// Holes end at a multiple of this: no file system has larger blocks, of which a part would stay as zeros.
const HOLE_UNIT: u64 = 1 << 20;

/// As `st_blocks` counts, whatever the file system's blocks are.
const BLOCK_BYTES: u64 = 512;

/// Why there are no lines.
#[derive(Debug, thiserror::Error)]
pub(super) enum LogError {
    #[error("the log can't be read: {0}")]
    Read(#[from] io::Error),
    #[error("{0:?} is no cursor of a log")]
    Cursor(String),
    #[error("journalctl failed: {0}")]
    Journalctl(String),
    #[error("journalctl gave no answer in time")]
    Silent,
    #[error("there is nothing in it yet")]
    Empty,
}

/// At most so many whole lines after the cursor, or the last ones, with `cursor INODE:PLACE` before them.
pub(super) fn tail(path: &Path, lines: u16, after: Option<&str>) -> Result<String, LogError> {
    let mut file = File::open(path)?;
    let metadata = file.metadata()?;
    let (inode, length) = (metadata.ino(), metadata.len());
    let after = after.map(place_of).transpose()?;
    let after = after.map(|(of, place)| if of == inode { place.min(length) } else { 0 });
    let asked = after.unwrap_or(length.saturating_sub(READ_BYTES_MAX));
    let start = data_from(&file, asked);
    file.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    file.take(READ_BYTES_MAX).read_to_end(&mut bytes)?;
    // One that is just being written is no line yet.
    let whole = bytes
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    let all: Vec<&[u8]> = bytes[..whole]
        .split_inclusive(|byte| *byte == b'\n')
        .collect();
    let lines = usize::from(lines);
    let (skipped, shown) = match after {
        Some(_) => {
            // What comes after a hole begins with a part of a line.
            let first = usize::from(start > asked).min(all.len());
            let (skipped, rest) = all.split_at(first);
            (skipped, &rest[..rest.len().min(lines)])
        }
        None => {
            // Where it was cut in the middle, the first is a part of a line.
            let first = usize::from(start > 0).min(all.len());
            all.split_at(all.len().saturating_sub(lines).max(first))
        }
    };
    let read: usize = skipped.iter().chain(shown).map(|line| line.len()).sum();
    let place = start + u64::try_from(read).unwrap_or_default();
    let text = shown.concat();
    Ok(format!(
        "cursor {inode}:{place}\n{}",
        String::from_utf8_lossy(&text)
    ))
}

/// Gives the older part of a log back to the disk where it takes more than that of it; half of that stays at least.
///
/// # Errors
/// The file can't be opened, or the file system knows no holes: then the whole log is emptied.
pub(super) fn trim(path: &Path, bytes_max: u64) -> io::Result<()> {
    let metadata = std::fs::metadata(path)?;
    if metadata.blocks().saturating_mul(BLOCK_BYTES) <= bytes_max {
        return Ok(());
    }
    let file = File::options().write(true).open(path)?;
    let end = metadata.len().saturating_sub(bytes_max / 2);
    let end = end - end % HOLE_UNIT;
    if end == 0 {
        return Ok(());
    }
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    if let Err(error) = fallocate(&file, hole, 0, end) {
        file.set_len(0)?;
        return Err(error.into());
    }
    Ok(())
}

/// The first place from there on that is in no hole.
fn data_from(file: &File, place: u64) -> u64 {
    // At the end of the file there is none, and some file systems know no holes.
    rustix::fs::seek(file, rustix::fs::SeekFrom::Data(place)).unwrap_or(place)
}

fn place_of(cursor: &str) -> Result<(u64, u64), LogError> {
    let parsed = cursor
        .split_once(':')
        .and_then(|(inode, place)| Some((inode.parse().ok()?, place.parse().ok()?)));
    parsed.ok_or_else(|| LogError::Cursor(cursor.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn cursor(text: &str) -> String {
        let line = text.lines().next().unwrap();
        line.strip_prefix("cursor ").unwrap().to_owned()
    }

    fn lines(text: &str) -> Vec<&str> {
        text.lines().skip(1).collect()
    }

    #[test]
    fn a_cursor_goes_on_where_it_was_and_begins_again_in_a_new_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        std::fs::write(&path, "1\n2\n3\n4").unwrap();
        let last = tail(&path, 2, None).unwrap();
        assert_eq!(lines(&last), ["2", "3"]);
        std::fs::write(&path, "1\n2\n3\n4\n5\n6\n").unwrap();
        let next = tail(&path, 2, Some(&cursor(&last))).unwrap();
        assert_eq!(lines(&next), ["4", "5"]);
        let rest = tail(&path, 2, Some(&cursor(&next))).unwrap();
        assert_eq!(lines(&rest), ["6"]);
        std::fs::rename(&path, dir.path().join("a.log.1")).unwrap();
        std::fs::write(&path, "7\n").unwrap();
        let new = tail(&path, 2, Some(&cursor(&rest))).unwrap();
        assert_eq!(lines(&new), ["7"]);
        tail(&path, 2, Some("x")).unwrap_err();
    }

    #[test]
    fn a_log_that_gets_long_gives_its_older_part_back_and_its_cursors_hold() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let max = 4 * HOLE_UNIT;
        let mut log = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .unwrap();
        let mut number = 0;
        let mut write = |bytes: u64| {
            let text: String = std::iter::repeat_with(|| {
                number += 1;
                format!("line {number:07}\n")
            })
            .take(usize::try_from(bytes / 13).unwrap())
            .collect();
            log.write_all(text.as_bytes()).unwrap();
        };
        write(HOLE_UNIT);
        trim(&path, max).unwrap();
        let early = cursor(&tail(&path, 1, None).unwrap());
        for _ in 0..16 {
            write(HOLE_UNIT);
            trim(&path, max).unwrap();
            let metadata = std::fs::metadata(&path).unwrap();
            assert!(metadata.blocks() * BLOCK_BYTES <= max + HOLE_UNIT);
        }
        let metadata = std::fs::metadata(&path).unwrap();
        assert!(metadata.len() > 16 * HOLE_UNIT);
        // Where it was is a hole now: it goes on at the first whole line after it, and from there without gaps.
        let mut after = early;
        let mut next: Option<u64> = None;
        loop {
            let page = tail(&path, 500, Some(&after)).unwrap();
            let read = lines(&page);
            if read.is_empty() {
                break;
            }
            for line in read {
                let number: u64 = line.strip_prefix("line ").unwrap().parse().unwrap();
                assert_eq!(number, next.unwrap_or(number));
                next = Some(number + 1);
            }
            after = cursor(&page);
        }
        let last = tail(&path, 1, None).unwrap();
        assert_eq!(lines(&last), [format!("line {:07}", next.unwrap() - 1)]);
    }

    #[test]
    fn a_long_log_shows_its_last_whole_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        let text: String = (0..10_000)
            .map(|number| format!("line {number}\n"))
            .collect();
        std::fs::write(&path, text).unwrap();
        let last = tail(&path, 500, None).unwrap();
        assert_eq!(lines(&last).last(), Some(&"line 9999"));
        assert_eq!(lines(&last).len(), 500);
    }
}
