//! A file of zeros whose room on the disk is its own: what is written into it later needs no more, and a sync of that need not
//! touch the file's metadata.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// How much is zeroed between two syncs: one that is large would hold up what else is synced on that disk.
static CHUNK: [u8; 1 << 20] = [0; 1 << 20];

/// Makes the file, or makes it anew, of `bytes` zeros on the disk. Blocks.
///
/// # Errors
/// There is no room, or the disk refuses; what there is of the file stays.
pub(crate) fn create(path: &Path, bytes: u64) -> io::Result<File> {
    let file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o640)
        .open(path)?;
    // Asks for the room before a byte is written; a file system that can't answer finds out while it is zeroed.
    let allocated = rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes);
    if let Err(e @ rustix::io::Errno::NOSPC) = allocated {
        return Err(e.into());
    }
    let mut offset = 0;
    while offset < bytes {
        let length = usize::try_from(bytes - offset)
            .unwrap_or(usize::MAX)
            .min(CHUNK.len());
        file.write_all_at(&CHUNK[..length], offset)?;
        file.sync_data()?;
        offset += length as u64;
    }
    file.sync_all()?;
    Ok(file)
}

/// Whether there is nothing but zeros.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    bytes
        .chunks(CHUNK.len())
        .all(|chunk| *chunk == CHUNK[..chunk.len()])
}
