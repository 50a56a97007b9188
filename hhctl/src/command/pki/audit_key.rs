//! `hhctl pki add-audit-key`: a key for checkpoints of the audit log, where there was none or its time is over.

use super::{other, secret, timed};
use crate::failure::Failure;
use crate::output::{Part, Report};
use hh_trust::control_key::{CheckpointKey, CheckpointPublicKey, NetworkKey, NetworkPublicKey};
use hh_trust::key_set::KeySet;
use jiff::Timestamp;
use serde_json::json;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::str::FromStr;

pub(super) fn add(
    dir: &Path,
    offline: &Path,
    name: &str,
    now: Timestamp,
) -> Result<Report, Failure> {
    let file = dir.join(name);
    let added = make(dir, offline, &file, now.as_second());
    let public = added.map_err(|error| {
        let what = format!("can't add a key for the audit log in {}", dir.display());
        let fix = "name the folder that `hhctl pki init` has made, where its offline keys are, and with --name a file that is not there"
            .to_owned();
        Failure::key(what, error.to_string(), fix)
    })?;
    let note = format!(
        "made {file}; write into hyperhash-core.toml, under [pki]:\n\naudit_key = \"file:{file}\"\n\nand restart hyperhash-core",
        file = file.display()
    );
    let json = json!({ "file": file, "key": public });
    Ok(Report::item("AuditKey", json, vec![Part::Note(note)]))
}

/// Makes the key, and then the list that has it: a key without a list is of no use, and does no harm.
fn make(dir: &Path, offline: &Path, file: &Path, now: i64) -> io::Result<CheckpointPublicKey> {
    let network: NetworkPublicKey = parse(&dir.join("network.pub"))?;
    let signing: NetworkKey = parse(&offline.join("network.key"))?;
    if signing.public_key() != network {
        let path = offline.join("network.key");
        return Err(other(format!(
            "{} is the key of another network",
            path.display()
        )));
    }
    let list = dir.join("key-set.jws");
    let mut keys = read_list(&list, &network)?;
    keys.version += 1;
    // One that counts no more only takes room.
    keys.checkpoints.retain(|known| now < known.exp);
    let key = CheckpointKey::generate().map_err(other)?;
    keys.checkpoints.push(timed(key.public_key(), now));
    let signed = keys.sign(&signing).map_err(other)?;
    secret(file, &key.to_secret_hex()).map_err(|error| named(file, &error))?;
    replace(&list, &signed).map_err(|error| named(&list, &error))?;
    // Core's user reads them, whoever has made them.
    let owner = fs::metadata(dir.join("root.crt"))?;
    for path in [file, list.as_path()] {
        let owned = chown(path, Some(owner.uid()), Some(owner.gid()));
        owned.map_err(|error| named(path, &error))?;
    }
    Ok(key.public_key())
}

/// The list as it is, of whatever domain: the network's key has signed it.
fn read_list(path: &Path, network: &NetworkPublicKey) -> io::Result<KeySet> {
    let text = fs::read_to_string(path).map_err(|error| named(path, &error))?;
    let verified = KeySet::signed_by(text.trim(), network);
    verified.map_err(|error| other(format!("{}: {error}", path.display())))
}

fn parse<T: FromStr>(path: &Path) -> io::Result<T>
where
    T::Err: std::fmt::Display,
{
    let text = fs::read_to_string(path).map_err(|error| named(path, &error))?;
    text.trim()
        .parse()
        .map_err(|error| other(format!("{}: {error}", path.display())))
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    other(format!("{}: {error}", path.display()))
}

/// There is always a whole list.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension("new");
    let mut file = File::create(&new)?;
    writeln!(file, "{text}")?;
    file.sync_all()?;
    fs::rename(&new, path)
}
