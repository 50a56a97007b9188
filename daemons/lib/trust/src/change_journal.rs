//! The journal of a daemon: every change that an operator makes over its control socket, in a file of its data directory.
//!
//! An intent is on the disk before the change is made, and its outcome before it is answered. While the journal can't be
//! written nothing is changed by operators; the daemon's own work does not wait for it. The file only grows, by half a
//! kilobyte a change; what an attacker of the daemon could do to it shows as [`crate::chain`] says.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use hh_ipc::api::{JournalPage, JournalQuery};
use hh_ipc::server::Peer;
use hh_ipc::{ApiError, ErrorKind};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::chain::{Chain, Entry, Event, Head};

/// Longest arguments or refusal in a line, in bytes. Larger ones are left out: an operator's command is small, and a page of
/// lines must fit a frame.
const TEXT_BYTES_MAX: usize = 2_048;

/// Most lines of a page: with the longest lines half of a frame.
const PAGE_LINES_MAX: usize = 200;

/// Why nothing could be written or read.
#[derive(Debug, thiserror::Error)]
pub enum ChangeJournalError {
    /// The file system refused.
    #[error("could not {action} the journal of changes {}", path.display())]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The thread that wrote it is gone, because the daemon stops.
    #[error("the daemon stops")]
    Stopped,
}

/// The journal of one daemon. Clones share it.
#[derive(Clone, Debug)]
pub struct ChangeJournal(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    path: PathBuf,
    daemon: &'static str,
    /// None before the first line, and after a failure.
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// The length of the file, all of it in the chain.
    length: u64,
    chain: Chain,
}

impl ChangeJournal {
    /// The journal in the file at `path`, which is made and checked when it is first needed.
    #[must_use]
    pub fn new(path: PathBuf, daemon: &'static str) -> Self {
        Self(Arc::new(Inner {
            path,
            daemon,
            open: Mutex::default(),
        }))
    }

    /// Makes a change that `peer` asked for as `call`, and writes down both. The arguments must hold no secret.
    ///
    /// # Errors
    /// HH0202 if the journal can't be written, and nothing is changed then; or that of the change. Where only its outcome
    /// can't be written, the change is answered as it came, and the daemon's log tells of it.
    pub async fn record<T>(
        &self,
        peer: &Peer,
        call: &'static str,
        arguments: Value,
        change: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        let intent = intent(peer, call, arguments);
        let of = match self.write(intent).await {
            Ok(head) => head.seq,
            Err(error) => {
                tracing::error!(
                    call,
                    error = &error as &dyn std::error::Error,
                    "change refused"
                );
                return Err(not_written(&error));
            }
        };
        let done = change.await;
        let refused = done
            .as_ref()
            .err()
            .map(|error| shortened(error.to_string()));
        if let Err(error) = self.write(Event::Outcome { of, refused }).await {
            let error = &error as &dyn std::error::Error;
            tracing::error!(call, of, error, "outcome of a change not written");
        }
        done
    }

    /// Lines as they are in the file, for those who check them.
    ///
    /// # Errors
    /// HH0203 if the file can't be read.
    pub async fn page(&self, query: JournalQuery) -> Result<JournalPage, ApiError> {
        let inner = Arc::clone(&self.0);
        let read = tokio::task::spawn_blocking(move || inner.page(&query)).await;
        read.unwrap_or(Err(ChangeJournalError::Stopped))
            .map_err(|error| {
                let message = chain_of(&error);
                ApiError::new(ErrorKind::Failed, "HH0203", message)
            })
    }

    /// Writes a line; it is on the disk when this returns.
    async fn write(&self, event: Event) -> Result<Head, ChangeJournalError> {
        let inner = Arc::clone(&self.0);
        let written = tokio::task::spawn_blocking(move || inner.write(event)).await;
        written.unwrap_or(Err(ChangeJournalError::Stopped))
    }
}

impl Inner {
    fn write(&self, event: Event) -> Result<Head, ChangeJournalError> {
        // Whoever panicked left a place that is checked below like any other.
        let mut slot = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let mut open = match slot.take() {
            Some(open) if open.is_still_at(&self.path) => open,
            Some(_) => {
                tracing::error!(path = %self.path.display(), "journal of changes was moved or written to by somebody else");
                self.open()?
            }
            None => self.open()?,
        };
        let head = open.append(&self.path, self.daemon, event)?;
        *slot = Some(open);
        Ok(head)
    }

    /// Opens the file and follows its chain. A fault in it is told and stays there to be seen: the lines after it prove
    /// themselves all the same.
    fn open(&self) -> Result<Open, ChangeJournalError> {
        let failed = |action| move |source| self.failed(action, source);
        let is_new = !self.path.exists();
        let file = File::options()
            .create(true)
            .append(true)
            .read(true)
            .mode(0o640)
            .open(&self.path)
            .map_err(failed("open"))?;
        if is_new && let Some(dir) = self.path.parent() {
            let synced = File::open(dir).and_then(|dir| dir.sync_all());
            synced.map_err(failed("sync the directory of"))?;
        }
        let (mut chain, mut length) = (Chain::new(), 0);
        let mut lines = BufReader::new(&file);
        let mut line = String::new();
        while lines.read_line(&mut line).map_err(failed("read"))? > 0 {
            let Some(whole) = line.strip_suffix('\n') else {
                // Never answered: a crash in the middle of a write.
                tracing::warn!(path = %self.path.display(), "torn last line of the journal of changes cut off");
                file.set_len(length).map_err(failed("truncate"))?;
                break;
            };
            length += line.len() as u64;
            if let Err(fault) = chain.follow(whole) {
                let path = self.path.display();
                tracing::error!(%path, %fault, "journal of changes was tampered with");
            }
            line.clear();
        }
        Ok(Open {
            file,
            length,
            chain,
        })
    }

    fn page(&self, query: &JournalQuery) -> Result<JournalPage, ChangeJournalError> {
        let mut page = JournalPage {
            path: self.path.display().to_string(),
            ..JournalPage::default()
        };
        let file = match File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(page),
            Err(source) => return Err(self.failed("open", source)),
        };
        let limit = match query.limit as usize {
            0 => PAGE_LINES_MAX,
            limit => limit.min(PAGE_LINES_MAX),
        };
        let mut lines = BufReader::new(file);
        let mut line = String::new();
        loop {
            line.clear();
            let read = lines.read_line(&mut line);
            read.map_err(|source| self.failed("read", source))?;
            // One that is just being written is no line yet.
            let Some(whole) = line.strip_suffix('\n') else {
                return Ok(page);
            };
            page.last_seq += 1;
            if page.last_seq > query.after_seq && page.lines.len() < limit {
                page.lines.push(whole.to_owned());
            }
        }
    }

    fn failed(&self, action: &'static str, source: io::Error) -> ChangeJournalError {
        ChangeJournalError::Io {
            action,
            path: self.path.clone(),
            source,
        }
    }
}

impl Open {
    /// Whether the file at `path` is the one that is open, and as long as it was left.
    fn is_still_at(&self, path: &Path) -> bool {
        let same = || {
            let (there, ours) = (fs::metadata(path)?, self.file.metadata()?);
            let is_same = (there.dev(), there.ino()) == (ours.dev(), ours.ino());
            Ok::<_, io::Error>(is_same && there.len() == self.length)
        };
        same().unwrap_or(false)
    }

    fn append(
        &mut self,
        path: &Path,
        daemon: &str,
        event: Event,
    ) -> Result<Head, ChangeJournalError> {
        let failed = |source| ChangeJournalError::Io {
            action: "write to",
            path: path.to_owned(),
            source,
        };
        let entry = self.chain.next(Timestamp::now(), daemon, event);
        let line = serde_json::to_string(&entry).map_err(|error| failed(error.into()))?;
        let written = self.file.write_all(format!("{line}\n").as_bytes());
        if let Err(error) = written.and_then(|()| self.file.sync_data()) {
            // If this fails as well, the next one who opens it cuts the torn line off.
            self.file.set_len(self.length).ok();
            return Err(failed(error));
        }
        self.length += line.len() as u64 + 1;
        if let Err(fault) = self.chain.follow(&line) {
            unreachable!("a line of ours is the next one: {fault}");
        }
        let head = self.chain.head();
        tell(&entry, head);
        Ok(head)
    }
}

/// Each line in the daemon's log, with its hash: a copy out of reach of whoever may write the file.
fn tell(entry: &Entry, head: Head) {
    match &entry.event {
        Event::Intent {
            uid,
            user,
            call,
            arguments,
            ..
        } => {
            let user = user.as_deref().unwrap_or_default();
            tracing::info!(%head, uid, user, call, %arguments, "operator asks for a change");
        }
        Event::Outcome { of, refused: None } => tracing::info!(%head, of, "change made"),
        Event::Outcome {
            of,
            refused: Some(reason),
        } => tracing::info!(%head, of, reason, "change refused"),
    }
}

fn intent(peer: &Peer, call: &'static str, arguments: Value) -> Event {
    let length = arguments.to_string().len();
    let arguments = if length > TEXT_BYTES_MAX {
        json!({ "left_out_bytes": length })
    } else {
        arguments
    };
    Event::Intent {
        uid: peer.uid,
        user: user_name(peer.uid),
        pid: peer.pid,
        call: call.to_owned(),
        arguments,
    }
}

fn shortened(mut text: String) -> String {
    let end = text.floor_char_boundary(TEXT_BYTES_MAX);
    text.truncate(end);
    text
}

/// The name of a user of this machine.
pub(crate) fn user_name(uid: u32) -> Option<String> {
    let users = fs::read_to_string("/etc/passwd").ok()?;
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        (id.parse() == Ok(uid)).then(|| name.to_owned())
    })
}

fn not_written(error: &ChangeJournalError) -> ApiError {
    let why = chain_of(error);
    let message =
        format!("nothing was changed, because what operators change must be written down: {why}");
    ApiError::new(ErrorKind::Unavailable, "HH0202", message)
}

/// An error with its cause.
fn chain_of(error: &ChangeJournalError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
