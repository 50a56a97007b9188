//! `Witness`: a small file outside the database that knows how far the books have come.
//!
//! It holds the database's random generation and the number of its last commit. Where the database that is connected to
//! is another one, or has fewer commits, it was restored from a copy, or a standby that lagged took over: payments may have
//! left the wallet that it knows nothing of. The file may lag behind the database, after a power failure; never the other
//! way round, for it is written after the commit.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::BooksError;
use super::value::Hex;

/// How far a database has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    /// Which database it is.
    pub(super) generation: [u8; 16],
    /// How many transactions were committed.
    pub(super) commits: u64,
}

/// Whether a commit must be in the file before anything follows on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sync {
    /// It may be lost with the machine's power, which no database is restored by.
    Later,
    /// Money leaves next.
    Now,
}

#[derive(Debug)]
pub(super) struct Witness {
    path: PathBuf,
    file: Option<File>,
    seen: Option<Progress>,
}

impl Witness {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            file: None,
            seen: None,
        }
    }

    /// Why a database that is here now is not the one that was written to, if it is not. `is_used`: whether it has ever paid.
    ///
    /// # Errors
    /// The file can't be opened.
    pub(super) fn objection(
        &mut self,
        found: Progress,
        is_used: bool,
    ) -> Result<Option<String>, BooksError> {
        if self.file.is_none() {
            self.open()?;
        }
        let commits = found.commits;
        Ok(match self.seen {
            None if is_used => Some(format!(
                "restored: the database has commit {commits}, and there is no witness {} of it",
                self.path.display()
            )),
            None => None,
            Some(seen) if seen.generation != found.generation => Some(format!(
                "restored: the database is not the one whose commit {} was seen last",
                seen.commits
            )),
            Some(seen) if seen.commits > commits => Some(format!(
                "restored: the database has commit {commits}, and commit {} was seen",
                seen.commits
            )),
            Some(_) => None,
        })
    }

    /// Takes note of a commit.
    ///
    /// # Errors
    /// The file can't be written.
    pub(super) fn note(&mut self, commit: Progress, sync: Sync) -> Result<(), BooksError> {
        self.seen = Some(commit);
        let Some(file) = &self.file else {
            return Ok(());
        };
        let line = format!("{} {:020}\n", Hex(&commit.generation), commit.commits);
        let written = file
            .write_all_at(line.as_bytes(), 0)
            .and_then(|()| match sync {
                Sync::Later => Ok(()),
                Sync::Now => file.sync_data(),
            });
        written.map_err(|source| self.failed("write", source))
    }

    fn open(&mut self) -> Result<(), BooksError> {
        let opened = (|| {
            if let Some(dir) = self.path.parent() {
                fs::create_dir_all(dir)?;
            }
            let file = File::options()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o640)
                .open(&self.path)?;
            let mut text = vec![0; usize::try_from(file.metadata()?.len()).unwrap_or(0).min(64)];
            file.read_exact_at(&mut text, 0)?;
            Ok((file, text))
        })();
        let (file, text) = opened.map_err(|source| self.failed("open", source))?;
        self.seen = self.seen.or_else(|| seen(&text));
        self.file = Some(file);
        Ok(())
    }

    fn failed(&self, action: &'static str, source: io::Error) -> BooksError {
        BooksError::Witness {
            action,
            path: self.path.clone(),
            source,
        }
    }
}

/// What a file tells; none if it is new. One that can't be read tells of a database that there is not: that is looked into.
fn seen(text: &[u8]) -> Option<Progress> {
    if text.is_empty() {
        return None;
    }
    let parsed = (|| {
        let (generation, commits) = std::str::from_utf8(text).ok()?.trim_end().split_once(' ')?;
        let mut bytes = [0; 16];
        if generation.len() != 2 * bytes.len() {
            return None;
        }
        for (index, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(generation.get(2 * index..2 * index + 2)?, 16).ok()?;
        }
        let commits = commits.parse().ok()?;
        Some(Progress {
            generation: bytes,
            commits,
        })
    })();
    Some(parsed.unwrap_or(Progress {
        generation: [0; 16],
        commits: u64::MAX,
    }))
}
