//! References to secrets, and values that do not print themselves.
//!
//! A configuration file holds references only. What is opened here: files and systemd credentials. References to
//! encrypted files are understood, so that a daemon that can't open them says so instead of taking them for a name.

use serde::Deserialize;
use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Largest secret file in bytes: any key or token is far smaller, a wrong path may be a disk.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// Shown in the place of a text that may be a secret.
pub(crate) const HIDDEN: &str = "[hidden]";

/// A value that must not be shown. Debug prints `[secret]`; it has no Display and does not serialise.
#[derive(Clone)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Hides `value`.
    pub fn new(value: T) -> Self {
        Self(value)
    }

    /// The value; the caller must not log or store it.
    pub fn expose(&self) -> &T {
        &self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[secret]")
    }
}

/// Where a secret is, as written in a configuration file.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum SecretRef {
    /// `file:/PATH`: a file that only its owner may read.
    File(PathBuf),
    /// `cred:NAME`: a credential that systemd passes to the service.
    Credential(String),
    /// `age:///PATH`: a file encrypted with age.
    Age(PathBuf),
    /// `sops:///PATH#KEY`: a value in a file encrypted with SOPS.
    Sops { file: PathBuf, key: String },
}

/// Why a secret can't be named or had.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    #[error(
        "{0} is no reference to a secret; write file:/PATH, cred:NAME, age:///PATH or sops:///PATH#KEY"
    )]
    Syntax(String),
    #[error("can't read the secret {reference}")]
    Read {
        reference: SecretRef,
        source: io::Error,
    },
    #[error("the secret {0} can be read by others than its owner; run: chmod 600 {path}", path = .0.path())]
    Exposed(SecretRef),
    #[error("the secret {0} is no file of at most {MAX_SECRET_BYTES} bytes of UTF-8")]
    Content(SecretRef),
    #[error("the secret {0} is not passed by systemd; add LoadCredential= to the unit")]
    NoCredentials(SecretRef),
    #[error(
        "the secret {0} is encrypted in a way that is not supported by this daemon; use file: or cred:"
    )]
    Unsupported(SecretRef),
}

impl SecretRef {
    /// Reads the secret, without the line break at its end.
    ///
    /// # Errors
    /// The file is missing, can't be read, is open to others (mode & 077), or is no short text.
    pub fn read(&self) -> Result<Secret<String>, SecretError> {
        match self {
            Self::File(path) => self.read_file(path, true),
            Self::Credential(name) => {
                let dir = std::env::var_os("CREDENTIALS_DIRECTORY")
                    .ok_or_else(|| SecretError::NoCredentials(self.clone()))?;
                // systemd sets the mode, and gives access by an ACL that shows as group permissions.
                self.read_file(&Path::new(&dir).join(name), false)
            }
            Self::Age(_) | Self::Sops { .. } => Err(SecretError::Unsupported(self.clone())),
        }
    }

    fn read_file(&self, path: &Path, check_mode: bool) -> Result<Secret<String>, SecretError> {
        let read_error = |source| SecretError::Read {
            reference: self.clone(),
            source,
        };
        let file = std::fs::File::open(path).map_err(read_error)?;
        let metadata = file.metadata().map_err(read_error)?;
        if !metadata.is_file() || metadata.len() > MAX_SECRET_BYTES {
            return Err(SecretError::Content(self.clone()));
        }
        if check_mode && metadata.mode() & 0o077 != 0 {
            return Err(SecretError::Exposed(self.clone()));
        }
        match io::read_to_string(file) {
            Ok(text) => Ok(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned())),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(SecretError::Content(self.clone()))
            }
            Err(error) => Err(read_error(error)),
        }
    }

    fn path(&self) -> String {
        match self {
            Self::File(path) | Self::Age(path) | Self::Sops { file: path, .. } => {
                path.display().to_string()
            }
            Self::Credential(name) => name.clone(),
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Credential(name) => write!(f, "cred:{name}"),
            Self::Age(path) => write!(f, "age://{}", path.display()),
            Self::Sops { file, key } => write!(f, "sops://{}#{key}", file.display()),
        }
    }
}

impl TryFrom<String> for SecretRef {
    type Error = SecretError;

    fn try_from(text: String) -> Result<Self, SecretError> {
        text.parse()
    }
}

impl FromStr for SecretRef {
    type Err = SecretError;

    /// The error repeats a text without a scheme only in part: it may be the secret itself.
    fn from_str(text: &str) -> Result<Self, SecretError> {
        let absolute = |path: &str| path.starts_with('/').then(|| PathBuf::from(path));
        let parsed = if let Some(path) = text.strip_prefix("file:") {
            absolute(path).map(Self::File)
        } else if let Some(name) = text.strip_prefix("cred:") {
            let plain = !name.is_empty() && !name.contains('/') && name != "." && name != "..";
            plain.then(|| Self::Credential(name.to_owned()))
        } else if let Some(path) = text.strip_prefix("age://") {
            absolute(path).map(Self::Age)
        } else if let Some((path, key)) = text
            .strip_prefix("sops://")
            .and_then(|rest| rest.split_once('#'))
        {
            absolute(path)
                .filter(|_| !key.is_empty())
                .map(|file| Self::Sops {
                    file,
                    key: key.to_owned(),
                })
        } else {
            None
        };
        parsed.ok_or_else(|| {
            let known = ["file:", "cred:", "age:", "sops:"];
            let shown = if known.iter().any(|scheme| text.starts_with(scheme)) {
                text.to_owned()
            } else {
                HIDDEN.to_owned()
            };
            SecretError::Syntax(shown)
        })
    }
}

#[cfg(test)]
mod tests;
