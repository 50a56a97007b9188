//! What is in a file of the block journal. Owns the byte format; knows nothing of files.
//!
//! ```text
//! magic[8] version:u32 entry_length:u32 block_length:u32 zero[12] checksum[32], then the entry in JSON, then the block
//! ```
//! Numbers are little-endian. The checksum is a SHA-256 of the first 32 bytes, the entry and the block. The block is as Bitcoin
//! Core takes it; its length is 0 while its transactions are not known. What follows in the file means nothing.

use super::JournalEntry;
use bitcoin::hashes::{Hash, HashEngine, sha256};

/// Version of the format described above.
const FORMAT_VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"HHBLOCK\n";
const CHECKED_BYTES: usize = 32;
const HEADER_BYTES: usize = 64;

/// An entry with its block, if that is known.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) entry: JournalEntry,
    pub(super) block: Option<Vec<u8>>,
}

/// Why bytes are no content.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContentError {
    #[error("it is no file of the block journal")]
    Magic,
    #[error("it has format version {found}, newer than {FORMAT_VERSION}: run the newer program")]
    Newer { found: u32 },
    #[error("it is torn, or damaged: its checksum is wrong")]
    Checksum,
    #[error("its entry can't be read")]
    Entry(#[from] serde_json::Error),
    #[error("its block is no hex")]
    Hex(#[from] hex::FromHexError),
}

/// What earlier versions wrote, in JSON with the block in hex.
#[derive(serde::Deserialize)]
struct Old {
    #[serde(flatten)]
    entry: JournalEntry,
    block: Option<String>,
}

/// The bytes of a file.
///
/// # Errors
/// Never in practice: an entry is made of text and numbers.
pub(super) fn encode(
    entry: &JournalEntry,
    block: Option<&[u8]>,
) -> Result<Vec<u8>, serde_json::Error> {
    let (entry, block) = (serde_json::to_vec(entry)?, block.unwrap_or_default());
    let length = |part: &[u8]| u32::try_from(part.len()).expect("a block is 4 MB at most");
    let mut bytes = Vec::with_capacity(HEADER_BYTES + entry.len() + block.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
    bytes.extend_from_slice(&length(&entry).to_le_bytes());
    bytes.extend_from_slice(&length(block).to_le_bytes());
    bytes.resize(CHECKED_BYTES, 0);
    let checksum = checksum(&[&bytes, &entry, block]);
    bytes.extend_from_slice(&checksum);
    bytes.extend_from_slice(&entry);
    bytes.extend_from_slice(block);
    Ok(bytes)
}

/// Reads what [`encode`] wrote, or what earlier versions did.
///
/// # Errors
/// It is something else, torn, damaged or of a newer version.
pub(super) fn decode(bytes: &[u8]) -> Result<Content, ContentError> {
    if bytes.first() == Some(&b'{') {
        let Old { entry, block } = serde_json::from_slice(bytes)?;
        let block = block.map(hex::decode).transpose()?;
        return Ok(Content { entry, block });
    }
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Err(ContentError::Magic);
    };
    if header[..8] != MAGIC {
        return Err(ContentError::Magic);
    }
    let version = number(header, 8);
    if version > FORMAT_VERSION {
        return Err(ContentError::Newer { found: version });
    }
    let (entry_length, block_length) = (number(header, 12), number(header, 16));
    let parts = rest
        .split_at_checked(entry_length as usize)
        .and_then(|(entry, rest)| Some((entry, rest.get(..block_length as usize)?)));
    let Some((entry, block)) = parts else {
        return Err(ContentError::Checksum);
    };
    if header[CHECKED_BYTES..] != checksum(&[&header[..CHECKED_BYTES], entry, block]) {
        return Err(ContentError::Checksum);
    }
    Ok(Content {
        entry: serde_json::from_slice(entry)?,
        block: (!block.is_empty()).then(|| block.to_vec()),
    })
}

fn number(header: &[u8; HEADER_BYTES], at: usize) -> u32 {
    let bytes = [header[at], header[at + 1], header[at + 2], header[at + 3]];
    u32::from_le_bytes(bytes)
}

fn checksum(parts: &[&[u8]]) -> [u8; 32] {
    let mut engine = sha256::Hash::engine();
    for part in parts {
        engine.input(part);
    }
    sha256::Hash::from_engine(engine).to_byte_array()
}

#[cfg(test)]
mod tests {
    use super::super::tests::entry;
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_was_written_is_read_whatever_follows_it(block in prop::collection::vec(any::<u8>(), 0..300), zeros in 0..99_usize) {
            let known = (!block.is_empty()).then_some(block);
            let mut bytes = encode(&entry(7), known.as_deref()).unwrap();
            bytes.resize(bytes.len() + zeros, 0);
            let content = decode(&bytes).unwrap();
            prop_assert_eq!(content, Content { entry: entry(7), block: known });
        }

        #[test]
        fn no_changed_byte_and_no_cut_goes_unnoticed(at in any::<prop::sample::Index>(), bit in 0..8_u8, cut in any::<prop::sample::Index>()) {
            let whole = encode(&entry(7), Some(&[9; 99])).unwrap();
            let mut flipped = whole.clone();
            flipped[at.index(whole.len())] ^= 1 << bit;
            prop_assert!(decode(&flipped).is_err());
            prop_assert!(decode(&whole[..cut.index(whole.len())]).is_err());
        }

        #[test]
        fn garbage_is_refused_without_a_panic(mut bytes in prop::collection::vec(any::<u8>(), 0..200), is_ours in any::<bool>()) {
            if is_ours && bytes.len() > 12 {
                bytes[..8].copy_from_slice(&MAGIC);
                bytes[8..12].copy_from_slice(&1_u32.to_le_bytes());
            }
            prop_assert!(decode(&bytes).is_err());
        }
    }

    #[test]
    fn a_newer_format_is_called_so() {
        let mut bytes = encode(&entry(7), None).unwrap();
        bytes[8] = 2;
        let error = decode(&bytes).unwrap_err().to_string();
        assert!(error.contains("version 2"), "{error}");
    }

    #[test]
    fn what_earlier_versions_wrote_is_read() {
        let old = |block: &str| {
            let entry = serde_json::to_string(&entry(7)).unwrap();
            let fields = entry.strip_suffix('}').unwrap();
            format!("{fields},\"template_provider\":\"10.0.0.1:34250\",\"block\":{block}}}")
        };
        let content = decode(old("\"0102ff\"").as_bytes()).unwrap();
        assert_eq!(content.entry, entry(7));
        assert_eq!(content.block.unwrap(), [1, 2, 255]);
        assert_eq!(decode(old("null").as_bytes()).unwrap().block, None);
        decode(old("\"0g\"").as_bytes()).unwrap_err();
        decode(b"{").unwrap_err();
    }
}
