//! A block in parts that fit a message, and whole again at the other end.

use super::RelayChunk;
use prost::bytes::Bytes;

/// Largest block in bytes: four million units of weight, of which a byte has one at least.
pub const MAX_BLOCK_BYTES: usize = 4_000_000;

/// Bytes of a block in one message: a block is some of them, and an announcement waits for one of them at most, 200 ms at 10 Mbit/s.
pub const CHUNK_BYTES: usize = 256 * 1024;

/// Most headers of one announcement: what a node may have missed of its own Bitcoin Core, which a second of downloads brings.
pub const MAX_RELAY_HEADERS: usize = 16;

/// A block that comes in parts.
#[derive(Clone, Debug)]
pub struct BlockAssembly {
    hash: [u8; 32],
    total: Option<usize>,
    bytes: Vec<u8>,
}

/// Why a part is not the next one of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChunkError {
    #[error("it is a part of another block")]
    OtherBlock,
    #[error("it is of a block of {0} bytes, and none has more than {max}", max = MAX_BLOCK_BYTES)]
    TooLarge(u32),
    #[error("it is empty")]
    Empty,
    #[error("it begins at {0}, where {1} bytes are there")]
    Gap(u32, usize),
    #[error("it goes beyond the end of its block, or moves it")]
    End,
}

impl BlockAssembly {
    /// Nothing yet of the block with this hash.
    #[must_use]
    pub fn new(hash: [u8; 32]) -> Self {
        Self {
            hash,
            total: None,
            bytes: Vec::new(),
        }
    }

    /// Of the block.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        self.hash
    }

    /// Takes the next part; true once the block is whole.
    ///
    /// # Errors
    /// It is not the next part of this block.
    pub fn push(&mut self, chunk: &RelayChunk) -> Result<bool, ChunkError> {
        if chunk.block_hash != self.hash {
            return Err(ChunkError::OtherBlock);
        }
        let total = usize::try_from(chunk.total_bytes).unwrap_or(usize::MAX);
        if total > MAX_BLOCK_BYTES {
            return Err(ChunkError::TooLarge(chunk.total_bytes));
        }
        if chunk.data.is_empty() {
            return Err(ChunkError::Empty);
        }
        if usize::try_from(chunk.offset) != Ok(self.bytes.len()) {
            return Err(ChunkError::Gap(chunk.offset, self.bytes.len()));
        }
        let is_moved = *self.total.get_or_insert(total) != total;
        if is_moved || chunk.data.len() > total - self.bytes.len() {
            return Err(ChunkError::End);
        }
        self.bytes.extend_from_slice(&chunk.data);
        Ok(self.bytes.len() == total)
    }

    /// What has come.
    #[must_use]
    pub fn into_bytes(self) -> Bytes {
        self.bytes.into()
    }
}

/// The parts of a block, which share its bytes.
pub fn chunks_of(hash: [u8; 32], block: &Bytes) -> impl Iterator<Item = RelayChunk> + Send + use<> {
    let block = block.clone();
    // No block has as many bytes as a u32 does not count.
    let total = u32::try_from(block.len()).unwrap_or(u32::MAX);
    (0..block.len()).step_by(CHUNK_BYTES).map(move |offset| {
        let end = block.len().min(offset.saturating_add(CHUNK_BYTES));
        RelayChunk {
            block_hash: hash.to_vec(),
            offset: u32::try_from(offset).unwrap_or(u32::MAX),
            total_bytes: total,
            data: block.slice(offset..end),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: [u8; 32] = [7; 32];

    fn block(length: usize) -> Bytes {
        let bytes = (0..length).map(|at| u8::try_from(at % 251).unwrap());
        bytes.collect::<Vec<u8>>().into()
    }

    #[test]
    fn a_block_comes_out_as_it_went_in_and_is_whole_with_its_last_part() {
        for length in [1, CHUNK_BYTES, CHUNK_BYTES + 1, MAX_BLOCK_BYTES] {
            let block = block(length);
            let parts: Vec<_> = chunks_of(HASH, &block).collect();
            assert_eq!(parts.len(), length.div_ceil(CHUNK_BYTES));
            let mut assembly = BlockAssembly::new(HASH);
            for (number, part) in parts.iter().enumerate() {
                assert_eq!(assembly.push(part), Ok(number + 1 == parts.len()));
            }
            assert_eq!(assembly.into_bytes(), block);
        }
        assert_eq!(chunks_of(HASH, &Bytes::new()).count(), 0);
    }

    #[track_caller]
    fn check_refused(change: impl FnOnce(&mut RelayChunk), expected: ChunkError) {
        let mut parts = chunks_of(HASH, &block(3 * CHUNK_BYTES));
        let mut assembly = BlockAssembly::new(HASH);
        assembly.push(&parts.next().unwrap()).unwrap();
        let mut part = parts.next().unwrap();
        change(&mut part);
        assert_eq!(assembly.push(&part), Err(expected));
    }

    #[test]
    fn a_part_that_is_not_the_next_one_is_refused() {
        check_refused(|part| part.block_hash = vec![8; 32], ChunkError::OtherBlock);
        check_refused(|part| part.data = Bytes::new(), ChunkError::Empty);
        check_refused(|part| part.offset = 0, ChunkError::Gap(0, CHUNK_BYTES));
        check_refused(
            |part| part.offset += 1,
            ChunkError::Gap(262_145, CHUNK_BYTES),
        );
        check_refused(|part| part.total_bytes -= 1, ChunkError::End);
        check_refused(
            |part| part.data = block(2 * CHUNK_BYTES + 1),
            ChunkError::End,
        );
        check_refused(
            |part| part.total_bytes = 4_000_001,
            ChunkError::TooLarge(4_000_001),
        );
        check_refused(
            |part| part.total_bytes = u32::MAX,
            ChunkError::TooLarge(u32::MAX),
        );
        check_refused(|part| part.total_bytes = 0, ChunkError::End);
    }
}
