//! `hhctl identity`: the key pair that a daemon's clients recognise it by.
//!
//! The secret key is 32 bytes in hex in a file for its owner alone; the public key is base58check over the version [1, 0]
//! and the x coordinate (Stratum V2 specification 4.7).

use crate::failure::Failure;
use crate::key_file;
use crate::output::{Part, Report};
use bitcoin::base58;
use bitcoin::secp256k1::{Keypair, Secp256k1, SecretKey, rand};
use serde_json::json;
use std::path::Path;

/// In front of the public key.
const KEY_VERSION: [u8; 2] = [1, 0];

pub(super) fn generate(file: &Path) -> Result<Report, Failure> {
    let secret = SecretKey::new(&mut rand::thread_rng());
    let hex = secret.display_secret().to_string();
    key_file::make(file, &hex, "hhctl identity show")?;
    Ok(report(file, &secret))
}

pub(super) fn show(file: &Path) -> Result<Report, Failure> {
    let expected = "64 hex digits that make a secp256k1 key";
    let parse = |text: &str| text.parse().ok();
    let secret = key_file::read(file, parse, expected, "hhctl identity generate")?;
    Ok(report(file, &secret))
}

fn report(file: &Path, secret: &SecretKey) -> Report {
    let public = public_key(secret);
    let item = json!({"file": file, "public_key": public});
    Report::item("Identity", item, vec![Part::Note(public)])
}

fn public_key(secret: &SecretKey) -> String {
    let pair = Keypair::from_secret_key(&Secp256k1::signing_only(), secret);
    let mut bytes = [0; 34];
    bytes[..2].copy_from_slice(&KEY_VERSION);
    bytes[2..].copy_from_slice(&pair.x_only_public_key().0.serialize());
    base58::encode_check(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    /// The key pair that the reference implementation has in its example configurations.
    #[test]
    fn the_public_key_of_a_known_secret_key_is_known() {
        let secret =
            base58::decode_check("mkDLTBBRxdBv998612qipDYoTK3YUrqLe8uWw7gu3iXbSrn2n").unwrap();
        let secret = SecretKey::from_slice(&secret).unwrap();
        assert_eq!(
            public_key(&secret),
            "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72"
        );
    }

    #[test]
    fn a_key_is_made_once_for_its_owner_alone_and_shown_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.key");
        generate(&path).unwrap();
        let made = std::fs::read_to_string(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        show(&path).unwrap();
        assert_eq!(generate(&path).unwrap_err().code, "HH0160");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), made);
    }
}
