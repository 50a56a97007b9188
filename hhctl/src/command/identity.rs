//! `hhctl identity`: the key pair that a daemon's clients recognise it by.
//!
//! The secret key is 32 bytes in hex in a file for its owner alone; the public key is base58check over the version [1, 0]
//! and the x coordinate (Stratum V2 specification 4.7).

use crate::failure::Failure;
use crate::output::{Part, Report};
use bitcoin::base58;
use bitcoin::secp256k1::{Keypair, Secp256k1, SecretKey, rand};
use serde_json::json;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// In front of the public key.
const KEY_VERSION: [u8; 2] = [1, 0];

/// More than a key in hex and a line break.
const MAX_KEY_FILE_BYTES: u64 = 128;

pub(super) fn generate(file: &Path) -> Result<Report, Failure> {
    let secret = SecretKey::new(&mut rand::thread_rng());
    write(file, &secret).map_err(|error| {
        let fix = if error.kind() == io::ErrorKind::AlreadyExists {
            format!(
                "show its public key: hhctl identity show {}",
                file.display()
            )
        } else {
            "name a file in a folder that you can write to".to_owned()
        };
        let what = format!("can't make the secret key {}", file.display());
        Failure::key(what, error.to_string(), fix)
    })?;
    Ok(report(file, &secret))
}

fn write(path: &Path, secret: &SecretKey) -> io::Result<()> {
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    writeln!(file, "{}", secret.display_secret())?;
    file.sync_all()
}

pub(super) fn show(file: &Path) -> Result<Report, Failure> {
    let secret = read(file).map_err(|(why, fix)| {
        Failure::key(
            format!("can't use the secret key {}", file.display()),
            why,
            fix,
        )
    })?;
    Ok(report(file, &secret))
}

/// The error says why, and what to do.
fn read(path: &Path) -> Result<SecretKey, (String, String)> {
    let unreadable = |error: io::Error| {
        let fix = format!("make one: hhctl identity generate {}", path.display());
        (error.to_string(), fix)
    };
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if metadata.mode() & 0o077 != 0 {
        let why = "others than its owner can read it".to_owned();
        return Err((why, format!("run: chmod 600 {}", path.display())));
    }
    let mut text = String::new();
    file.take(MAX_KEY_FILE_BYTES)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    text.trim().parse().map_err(|_not_a_key| {
        let why = "it is not 64 hex digits that make a secp256k1 key".to_owned();
        (
            why,
            "name the file that `hhctl identity generate` made".to_owned(),
        )
    })
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
