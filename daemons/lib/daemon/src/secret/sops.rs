//! Secrets in files of SOPS, opened by the operator's own `sops`, so that every key service that it knows works.
//!
//! The plaintext comes through a pipe: it is in no file, in no argument and in no log. The program sees of our environment only what
//! it needs to find its keys, so that none of it names another program to be run. What can't be opened stops the daemon's start.
//!
//! A value is opened once in a process, and again when its file has changed: some are read at every connection, and a key service that
//! goes away later stops nothing. What it can't open then, because that does not answer, is what it was.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

use super::{AGE_IDENTITY, Secret, SecretRef};
use rustix::process::{Pid, Signal, kill_process_group};

/// Largest secret in bytes: any key or token is far smaller.
const SECRET_BYTES_MAX: u64 = 64 * 1024;

/// Of what the program says when it fails so much is shown, in bytes: the reason, and no page of it.
const REASON_BYTES_MAX: usize = 512;

/// For so long the program may ask its key service. A start waits for it.
const OPEN_TIME_MAX: Duration = Duration::from_secs(30);

/// A changed file that could not be opened is not tried again for so long: each try may take as long, and each connection asks.
const RETRY_PAUSE: Duration = Duration::from_secs(30);

/// Where the program is looked for: where packages and administrators put programs, and nowhere that a user can write to.
const PLACES: [&str; 3] = [
    "/usr/local/bin/sops",
    "/usr/bin/sops",
    "/opt/hyperhash/bin/sops",
];

/// What of our environment the program sees: where its keys, its accounts and its proxy are. `SOPS_AGE_KEY_CMD` and whatever else
/// names a program is left out.
const ENVIRONMENT: [&str; 34] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_CA_BUNDLE",
    "AWS_CONFIG_FILE",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_KMS",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_ROLE_ARN",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_SHARED_CREDENTIALS_FILE",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AZURE_CLIENT_ID",
    "AZURE_CLIENT_SECRET",
    "AZURE_FEDERATED_TOKEN_FILE",
    "AZURE_TENANT_ID",
    "GNUPGHOME",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "HOME",
    "HTTPS_PROXY",
    "NO_PROXY",
    "SOPS_AGE_KEY",
    "SOPS_AGE_KEY_FILE",
    "SOPS_AGE_SSH_PRIVATE_KEY_FILE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
    "VAULT_ADDR",
    "VAULT_CACERT",
    "VAULT_TOKEN",
    "XDG_CONFIG_HOME",
];

/// What the program ends with when it had the file and got no key for it: refused by a key service, or not answered.
const NO_DATA_KEY: i32 = 128;

/// What was opened, as long as its file is the one that it was. There are as many as configurations name.
static OPENED: Mutex<Opened> = Mutex::new(BTreeMap::new());

/// By file and key.
type Opened = BTreeMap<(PathBuf, String), Value>;

/// One of them.
#[derive(Clone)]
struct Value {
    version: Version,
    secret: Secret<String>,
    /// Its file has changed since and could not be opened: until then it counts as it was.
    until: Option<Instant>,
}

/// By which a file that was changed is told: where it is on the disk, its length, and when it was changed.
type Version = (u64, u64, u64, i64, i64);

/// Why a secret can't be had.
#[derive(Debug, thiserror::Error)]
pub enum SopsError {
    /// There is no such program.
    #[error("can't open {reference}: there is no sops at {places}; install it there", places = PLACES.join(", "))]
    NoProgram {
        /// The secret.
        reference: SecretRef,
    },
    /// Others could have put it there.
    #[error("can't open {reference}: {} can be written by others than root and this user; run: chmod go-w {}", program.display(), program.display())]
    Exposed {
        /// The secret.
        reference: SecretRef,
        /// The program.
        program: PathBuf,
    },
    /// A key that is none.
    #[error(
        "{reference} names no value: write its key as words of letters, digits, _ and - with dots between, such as #db.password"
    )]
    Key {
        /// The secret.
        reference: SecretRef,
    },
    /// Its file is not there.
    #[error("can't read the file of {reference}")]
    File {
        /// The secret.
        reference: SecretRef,
        /// The system's answer.
        source: io::Error,
    },
    /// It could not be run.
    #[error("can't open {reference}: could not run {}", program.display())]
    Run {
        /// The secret.
        reference: SecretRef,
        /// The program.
        program: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// It failed.
    #[error("can't open {reference}: sops ended with {status}: {reason}")]
    Failed {
        /// The secret.
        reference: SecretRef,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        reason: String,
    },
    /// It hangs.
    #[error("can't open {reference}: sops did not end within {} s; is its key service there?", OPEN_TIME_MAX.as_secs())]
    TimedOut {
        /// The secret.
        reference: SecretRef,
    },
    /// It gave something that is no secret.
    #[error("{reference} is empty, is no text, or is longer than {SECRET_BYTES_MAX} bytes")]
    Content {
        /// The secret.
        reference: SecretRef,
    },
}

impl SopsError {
    /// Whether it may be another time: a key service that did not answer, or refused.
    pub(super) fn is_unavailable(&self) -> bool {
        match self {
            Self::TimedOut { .. } | Self::Run { .. } => true,
            Self::Failed { status, .. } => status.code().is_none_or(|code| code == NO_DATA_KEY),
            Self::NoProgram { .. }
            | Self::Exposed { .. }
            | Self::Key { .. }
            | Self::File { .. }
            | Self::Content { .. } => false,
        }
    }
}

/// A value of a file, opened now or before.
pub(super) fn read(
    reference: &SecretRef,
    file: &Path,
    key: &str,
) -> Result<Secret<String>, SopsError> {
    Sops::installed().read(reference, file, key)
}

/// The program that opens files of SOPS.
#[derive(Clone)]
struct Sops {
    program: Option<PathBuf>,
    environment: Vec<(OsString, OsString)>,
    time_max: Duration,
}

impl Sops {
    /// The one that is installed, with the environment that it needs of ours.
    fn installed() -> Self {
        let kept = ENVIRONMENT.iter().filter_map(|name| {
            let value = std::env::var_os(name)?;
            Some((OsString::from(name), value))
        });
        let mut environment: Vec<_> = kept.collect();
        let has_identity = environment
            .iter()
            .any(|(name, _)| name.to_string_lossy().starts_with("SOPS_AGE_"));
        let identity = std::env::var_os("CREDENTIALS_DIRECTORY")
            .map(|dir| Path::new(&dir).join(AGE_IDENTITY))
            .filter(|identity| !has_identity && identity.exists());
        if let Some(identity) = identity {
            environment.push(("SOPS_AGE_KEY_FILE".into(), identity.into()));
        }
        let program = PLACES.iter().map(PathBuf::from).find(|path| path.exists());
        Self {
            program,
            environment,
            time_max: OPEN_TIME_MAX,
        }
    }

    fn read(
        &self,
        reference: &SecretRef,
        file: &Path,
        key: &str,
    ) -> Result<Secret<String>, SopsError> {
        let version = std::fs::metadata(file).map(|found| version(&found));
        let version = version.map_err(|source| SopsError::File {
            reference: reference.clone(),
            source,
        })?;
        let name = (file.to_owned(), key.to_owned());
        let known = opened().get(&name).cloned();
        let is_good = |known: &&Value| {
            known.version == version || known.until.is_some_and(|until| Instant::now() < until)
        };
        if let Some(known) = known.as_ref().filter(is_good) {
            return Ok(known.secret.clone());
        }
        let value = match (self.open(reference, file, key), known) {
            (Ok(secret), _) => Value {
                version,
                secret,
                until: None,
            },
            (Err(error), Some(known)) if error.is_unavailable() => {
                let error = crate::Chain(&error).to_string();
                tracing::warn!(
                    error,
                    "the file of a secret has changed and can't be opened: what it was before counts"
                );
                Value {
                    until: Some(Instant::now() + RETRY_PAUSE),
                    ..known
                }
            }
            (Err(error), _) => return Err(error),
        };
        let secret = value.secret.clone();
        opened().insert(name, value);
        Ok(secret)
    }

    fn open(
        &self,
        reference: &SecretRef,
        file: &Path,
        key: &str,
    ) -> Result<Secret<String>, SopsError> {
        let reference = reference.clone();
        let Some(path) = extract_path(key) else {
            return Err(SopsError::Key { reference });
        };
        let Some(program) = &self.program else {
            return Err(SopsError::NoProgram { reference });
        };
        let failed = |source| SopsError::Run {
            reference: reference.clone(),
            program: program.clone(),
            source,
        };
        if !is_ours(program).map_err(failed)? {
            let program = program.clone();
            return Err(SopsError::Exposed { reference, program });
        }
        let mut command = Command::new(program);
        command
            .args([OsStr::new("decrypt"), OsStr::new("--extract")])
            .args([OsStr::new(&path), file.as_os_str()])
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .current_dir("/");
        let Some(done) = run(command, self.time_max).map_err(failed)? else {
            return Err(SopsError::TimedOut { reference });
        };
        if !done.status.success() {
            return Err(SopsError::Failed {
                reference,
                status: done.status,
                reason: reason_of(&done.errors),
            });
        }
        secret_of(done.output).ok_or(SopsError::Content { reference })
    }
}

impl std::fmt::Debug for Sops {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The environment may have tokens in it.
        f.debug_struct("Sops")
            .field("program", &self.program)
            .finish_non_exhaustive()
    }
}

fn opened() -> MutexGuard<'static, Opened> {
    // Nothing in between can panic.
    OPENED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn version(found: &Metadata) -> Version {
    (
        found.dev(),
        found.ino(),
        found.len(),
        found.mtime(),
        found.mtime_nsec(),
    )
}

/// The key as the program takes it; none if it is no key, so that nothing in it is ever read as something else.
fn extract_path(key: &str) -> Option<String> {
    let takes = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(takes);
    let mut parts = key.split('.');
    let mut path = String::new();
    parts
        .all(|part| {
            path.push_str(&format!("[\"{part}\"]"));
            is_part(part)
        })
        .then_some(path)
}

/// Whether nobody can have put another program there but root and this user.
fn is_ours(program: &Path) -> io::Result<bool> {
    let metadata = std::fs::metadata(program)?;
    let own = rustix::process::geteuid().as_raw();
    let is_owned = metadata.uid() == 0 || metadata.uid() == own;
    Ok(metadata.is_file() && is_owned && metadata.mode() & 0o022 == 0)
}

struct Done {
    status: ExitStatus,
    output: Vec<u8>,
    errors: Vec<u8>,
}

/// Runs a program and takes what it writes, a little more than a secret may have; none if it does not end in time.
fn run(mut command: Command, time_max: Duration) -> io::Result<Option<Done>> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // With what it starts itself: all of it is ended where it hangs.
        .process_group(0)
        .spawn()?;
    let group = Pid::from_child(&child);
    let (output, errors) = (child.stdout.take(), child.stderr.take());
    let (sender, receiver) = mpsc::sync_channel(1);
    let errors = std::thread::spawn(move || read_all(errors));
    std::thread::spawn(move || {
        let output = read_all(output);
        let errors = errors.join().unwrap_or_default();
        let done = child.wait().map(|status| Done {
            status,
            output,
            errors,
        });
        // Nobody waits any more once the time is over.
        sender.send(done).ok();
    });
    match receiver.recv_timeout(time_max) {
        Ok(done) => done.map(Some),
        Err(_) => {
            kill_process_group(group, Signal::KILL).ok();
            Ok(None)
        }
    }
}

/// What comes, up to its limit; the rest is read and left aside, so that who writes it does not hang.
fn read_all(pipe: Option<impl Read>) -> Vec<u8> {
    let Some(mut pipe) = pipe else {
        return Vec::new();
    };
    let mut kept = Vec::new();
    let read = pipe
        .by_ref()
        .take(SECRET_BYTES_MAX + 2)
        .read_to_end(&mut kept);
    if read.is_ok() {
        io::copy(&mut pipe, &mut io::sink()).ok();
    }
    kept
}

fn secret_of(output: Vec<u8>) -> Option<Secret<String>> {
    let text = String::from_utf8(output).ok()?;
    let text = text.trim_end_matches(['\r', '\n']);
    let is_secret = !text.is_empty() && text.len() as u64 <= SECRET_BYTES_MAX;
    is_secret.then(|| Secret::new(text.to_owned()))
}

/// What the program said, in one line.
fn reason_of(errors: &[u8]) -> String {
    let errors = String::from_utf8_lossy(errors);
    let words: Vec<&str> = errors.split_whitespace().collect();
    let mut reason = words.join(" ");
    // What would move a terminal, or turn a line around.
    reason.retain(|letter| {
        let turns = matches!(letter, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        !letter.is_control() && !turns
    });
    reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
    reason
}

#[cfg(test)]
mod tests;
