//! The configuration of a service: read, checked by the service's own program, put in place as a whole, and taken back.
//!
//! Which file that is and how it is checked only the agent's own configuration says. What it replaces is kept beside it as
//! `FILE.previous`; what was never in place is gone when the agent is done with it.

use crate::config::ConfigFileConfig;
use hh_trust::command::CONFIG_BYTES_MAX;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// For a check: a daemon of ours reads its file and the secrets that it names.
const CHECK_LIMIT: Duration = Duration::from_secs(30);

/// Mode of a file that is not there yet: it may name a secret, and holds none.
const NEW_MODE: u32 = 0o640;

/// What a check says is told as far as this, in bytes: all mistakes of a file of ours are.
const SAID_BYTES_MAX: usize = 8 * 1024;

/// Why a configuration was not put in place. Everything is as it was.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigFileError {
    #[error("could not {action} {}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("its program does not take it: {0}")]
    Refused(String),
    #[error("its program did not check it within {} s", CHECK_LIMIT.as_secs())]
    Silent,
}

/// The file of one service.
#[derive(Clone, Debug)]
pub(crate) struct ConfigFile {
    path: PathBuf,
    check: Vec<String>,
}

impl ConfigFile {
    pub(crate) fn new(config: &ConfigFileConfig) -> Self {
        Self {
            path: config.file.clone(),
            check: config.check.clone(),
        }
    }

    /// Its text; none if it can't be read, or is larger than what could replace it.
    pub(crate) fn text(&self) -> Option<String> {
        let mut text = String::new();
        let limit = u64::try_from(CONFIG_BYTES_MAX).unwrap_or(u64::MAX);
        let file = File::open(&self.path).ok()?;
        file.take(limit + 1).read_to_string(&mut text).ok()?;
        (text.len() <= CONFIG_BYTES_MAX).then_some(text)
    }

    /// Has the program check a text, and puts it in place of what is there, which is kept.
    ///
    /// # Errors
    /// The program does not take it, or the disk refuses; the file is as it was.
    pub(crate) async fn replace(&self, body: &str) -> Result<(), ConfigFileError> {
        let next = self.beside("next");
        self.write_next(&next, body)?;
        let placed = match self.checked(&next).await {
            Ok(()) => self.place(&next),
            Err(error) => Err(error),
        };
        if placed.is_err() {
            fs::remove_file(&next).ok();
        }
        placed
    }

    /// Puts back what was there before.
    ///
    /// # Errors
    /// The disk refuses.
    pub(crate) fn take_back(&self) -> Result<(), ConfigFileError> {
        let previous = self.beside("previous");
        let renamed = fs::rename(&previous, &self.path);
        renamed.map_err(self.io("put back"))?;
        self.sync_dir()
    }

    /// A whole new file with the owner and the mode of the old one, on the disk.
    fn write_next(&self, next: &Path, body: &str) -> Result<(), ConfigFileError> {
        // One that a crash has left.
        fs::remove_file(next).ok();
        let old = fs::symlink_metadata(&self.path);
        let old = old.map_err(self.io("find what it replaces at"))?;
        if !old.is_file() {
            let source = io::Error::other("it is no plain file");
            return Err(self.io("replace")(source));
        }
        let write = || {
            let mut file = File::options()
                .create_new(true)
                .write(true)
                .mode(NEW_MODE)
                .open(next)?;
            if file.metadata()?.uid() != old.uid() || file.metadata()?.gid() != old.gid() {
                fchown(&file, Some(old.uid()), Some(old.gid()))?;
            }
            file.set_permissions(old.permissions())?;
            file.write_all(body.as_bytes())?;
            file.sync_all()
        };
        write().map_err(self.io("write the new version of"))
    }

    async fn checked(&self, next: &Path) -> Result<(), ConfigFileError> {
        let Some((program, arguments)) = self.check.split_first() else {
            return Ok(());
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .arg(next)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("LANG", "C.UTF-8")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        let ended = tokio::time::timeout(CHECK_LIMIT, command.output()).await;
        let ended = ended.map_err(|_elapsed| ConfigFileError::Silent)?;
        let output = ended.map_err(self.io("have the check of"))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.trim();
        let end = said.floor_char_boundary(SAID_BYTES_MAX);
        Err(ConfigFileError::Refused(format!(
            "{}: {}",
            output.status,
            &said[..end]
        )))
    }

    fn place(&self, next: &Path) -> Result<(), ConfigFileError> {
        let previous = self.beside("previous");
        let place = || {
            match fs::remove_file(&previous) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            // A second name, so that the file is never missing.
            fs::hard_link(&self.path, &previous)?;
            fs::rename(next, &self.path)
        };
        place().map_err(self.io("replace"))?;
        self.sync_dir()
    }

    fn sync_dir(&self) -> Result<(), ConfigFileError> {
        let dir = self.path.parent().unwrap_or(Path::new("/"));
        let synced = File::open(dir).and_then(|dir| dir.sync_all());
        synced.map_err(self.io("sync the folder of"))
    }

    /// In the same folder, so that it takes its place in one step.
    fn beside(&self, what: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(".");
        path.push(what);
        path.into()
    }

    fn io(&self, action: &'static str) -> impl FnOnce(io::Error) -> ConfigFileError {
        let path = self.path.clone();
        move |source| ConfigFileError::Io {
            action,
            path,
            source,
        }
    }
}

#[cfg(test)]
mod tests;
