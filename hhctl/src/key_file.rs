//! Files for their owner alone: secret keys, and what is signed with them.

use crate::failure::Failure;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// More than a key in hex and a line break.
const MAX_KEY_FILE_BYTES: u64 = 128;

/// Makes the file of a new secret key; one that exists is left alone.
///
/// # Errors
/// It can't be made; `show` is the command that shows the public key of one that is there.
pub(crate) fn make(path: &Path, secret_hex: &str, show: &str) -> Result<(), Failure> {
    let make = || {
        let mut options = OpenOptions::new();
        let options = options.write(true).create_new(true).mode(0o600);
        write(options.open(path)?, secret_hex)
    };
    make().map_err(|error: io::Error| {
        let fix = if error.kind() == io::ErrorKind::AlreadyExists {
            format!("show its public key: {show} {}", path.display())
        } else {
            "name a file in a folder that you can write to".to_owned()
        };
        let what = format!("can't make the secret key {}", path.display());
        Failure::key(what, error.to_string(), fix)
    })
}

/// Replaces a file by another one, whole or not at all, so that whoever reads it meanwhile has one of both.
///
/// # Errors
/// It can't be written; the one before is still there.
pub(crate) fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    let replace = || {
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        let mut options = OpenOptions::new();
        let options = options.write(true).create(true).truncate(true).mode(0o600);
        write(options.open(&new)?, text)?;
        std::fs::rename(&new, path)
    };
    replace().map_err(|error: io::Error| {
        let what = format!("can't write {}", path.display());
        let fix = "name a file in a folder that you can write to".to_owned();
        Failure::key(what, error.to_string(), fix)
    })
}

fn write(mut file: File, text: &str) -> io::Result<()> {
    writeln!(file, "{text}")?;
    file.sync_all()
}

/// The secret key in a file, as `parse` reads it; `expected` says what it must be, and `generate` is the command that
/// makes one.
///
/// # Errors
/// It can't be read, can be read by others than its owner, or is no such key.
pub(crate) fn read<T>(
    path: &Path,
    parse: impl FnOnce(&str) -> Option<T>,
    expected: &str,
    generate: &str,
) -> Result<T, Failure> {
    let failure = |why: String, fix: String| {
        let what = format!("can't use the secret key {}", path.display());
        Failure::key(what, why, fix)
    };
    let unreadable = |error: io::Error| {
        let fix = format!("make one: {generate} {}", path.display());
        failure(error.to_string(), fix)
    };
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    if metadata.mode() & 0o077 != 0 {
        let why = "others than its owner can read it".to_owned();
        return Err(failure(why, format!("run: chmod 600 {}", path.display())));
    }
    let mut text = String::new();
    file.take(MAX_KEY_FILE_BYTES)
        .read_to_string(&mut text)
        .map_err(unreadable)?;
    parse(text.trim()).ok_or_else(|| {
        let why = format!("it is not {expected}");
        failure(why, format!("name the file that `{generate}` made"))
    })
}
