//! TLV fields behind a message (specification 3.4.3): finding and writing the one that is known, `user_identity` of
//! extension 0x0002.
//!
//! The specification says that integers are little-endian, prints its example big-endian, and SRI encodes little-endian: we
//! write little-endian and read both, which cannot be confused for extension 0x0002. It never judges a value.

use super::EXTENSION_WORKER_HASHRATE;

/// Longest `user_identity` that extension 0x0002 allows, in bytes.
pub const USER_IDENTITY_BYTES_MAX: usize = 32;

const FIELD_USER_IDENTITY: u8 = 0x01;
/// Extension type, field type and length in front of each value.
const HEADER_BYTES: usize = 5;

/// Bytes that [`write_user_identity`] needs.
pub(super) fn user_identity_len(value: &str) -> usize {
    HEADER_BYTES + value.len()
}

/// Writes the field to the start of `out` and returns its length, or 0 when it does not fit or is longer than a TLV can be.
pub(super) fn write_user_identity(value: &str, out: &mut [u8]) -> usize {
    let Ok(length) = u16::try_from(value.len()) else {
        return 0;
    };
    let Some(out) = out.get_mut(..user_identity_len(value)) else {
        return 0;
    };
    out[..2].copy_from_slice(&EXTENSION_WORKER_HASHRATE.to_le_bytes());
    out[2] = FIELD_USER_IDENTITY;
    out[3..HEADER_BYTES].copy_from_slice(&length.to_le_bytes());
    out[HEADER_BYTES..].copy_from_slice(value.as_bytes());
    out.len()
}

/// The first `user_identity` among the TLVs in `tail`. Other fields and what is no TLV are passed over.
pub(super) fn find_user_identity(mut tail: &[u8]) -> Option<String> {
    while let Some((header, rest)) = tail.split_first_chunk::<HEADER_BYTES>() {
        let [type_0, type_1, field, length_0, length_1] = *header;
        let little_endian = (
            u16::from_le_bytes([type_0, type_1]),
            u16::from_le_bytes([length_0, length_1]),
        );
        let big_endian = (
            u16::from_be_bytes([type_0, type_1]),
            u16::from_be_bytes([length_0, length_1]),
        );
        let is_ours = |(extension, _): (u16, u16)| {
            extension == EXTENSION_WORKER_HASHRATE && field == FIELD_USER_IDENTITY
        };
        let found = [little_endian, big_endian]
            .into_iter()
            .find(|&t| is_ours(t));
        let length = usize::from(found.unwrap_or(little_endian).1);
        let value = rest.get(..length)?;
        if found.is_some() {
            return Some(String::from_utf8_lossy(value).into_owned());
        }
        tail = &rest[length..];
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(tail: &[u8], expected: Option<&str>) {
        assert_eq!(find_user_identity(tail).as_deref(), expected, "{tail:02x?}");
    }

    #[test]
    fn the_example_of_the_specification_and_what_the_reference_sends_are_both_read() {
        check(b"\x00\x02\x01\x00\x0aWorker_001", Some("Worker_001"));
        check(b"\x02\x00\x01\x0a\x00Worker_001", Some("Worker_001"));
        check(b"\x02\x00\x01\x00\x00", Some(""));
    }

    #[test]
    fn we_write_what_the_reference_reads() {
        let mut out = [0; 32];
        let written = write_user_identity("rig", &mut out);
        assert_eq!(written, user_identity_len("rig"));
        let tlv = stratum_core::parsers_sv2::Tlv::decode(&out[..written]).unwrap();
        assert_eq!(tlv.value, b"rig");
        assert_eq!(tlv.r#type.extension_type, EXTENSION_WORKER_HASHRATE);
        assert_eq!(tlv.r#type.field_type, FIELD_USER_IDENTITY);
    }

    #[test]
    fn fields_of_other_extensions_are_passed_over() {
        check(b"\x01\x40\x01\x02\x00xx\x02\x00\x01\x01\x00a", Some("a"));
        check(b"\x02\x00\x02\x01\x00b\x02\x00\x01\x01\x00a", Some("a"));
    }

    #[test]
    fn what_is_no_tlv_is_no_identity() {
        check(b"", None);
        check(b"\x02\x00\x01\x01", None);
        check(b"\x02\x00\x01\x05\x00abcd", None);
        check(b"\xff\xff\xff\xff\xffabcd", None);
    }

    #[test]
    fn bytes_that_are_no_text_become_replacement_characters() {
        check(b"\x02\x00\x01\x02\x00\xffa", Some("\u{fffd}a"));
    }
}
