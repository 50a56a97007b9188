//! References to secrets, and values that do not print themselves.
//!
//! A configuration file holds references only. What is opened here: files, systemd credentials, files encrypted with age, by an
//! identity that is a credential, and values in files of SOPS, by the operator's own `sops`.

mod sops;

use serde::Deserialize;
use std::fmt;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

pub use sops::SopsError;

/// Largest secret file in bytes: any key or token is far smaller, a wrong path may be a disk.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// The credential that encrypted files are opened with: an identity file of age.
const AGE_IDENTITY: &str = "age-identity";

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
    /// `age:///PATH`: a file encrypted with age, armored or not, to the identity in the credential `age-identity`.
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
        "the secret {0} is encrypted, and there is no credential {AGE_IDENTITY} to open it with; add LoadCredential={AGE_IDENTITY}:/PATH \
         to the unit"
    )]
    NoIdentity(SecretRef),
    #[error(
        "can't open the secret {0} with the credential {AGE_IDENTITY}: that is no identity file of age; make one with age-keygen"
    )]
    Identity(SecretRef),
    #[error(
        "can't open the secret {reference} with the credential {AGE_IDENTITY}; encrypt it to that identity: age -r age1... -o {path}",
        path = reference.path()
    )]
    Decrypt {
        reference: SecretRef,
        source: age::DecryptError,
    },
    #[error(transparent)]
    Sops(#[from] SopsError),
}

impl SecretError {
    /// Whether it may be another time, without another configuration: what is asked for it did not answer.
    #[must_use]
    pub fn is_unavailable(&self) -> bool {
        matches!(self, Self::Sops(error) if error.is_unavailable())
    }
}

impl SecretRef {
    /// Reads the secret, without the line break at its end. One of SOPS may take as long as its key service, half a minute at most.
    ///
    /// # Errors
    /// The file is missing, can't be read or decrypted, is open to others (mode & 077), or is no short text.
    pub fn read(&self) -> Result<Secret<String>, SecretError> {
        let credentials = std::env::var_os("CREDENTIALS_DIRECTORY").map(PathBuf::from);
        self.read_with(credentials.as_deref())
    }

    /// With the directory of systemd's credentials, if there is one.
    fn read_with(&self, credentials: Option<&Path>) -> Result<Secret<String>, SecretError> {
        let content = match self {
            Self::File(path) => self.read_file(path, true)?,
            Self::Credential(name) => {
                let dir = credentials.ok_or_else(|| SecretError::NoCredentials(self.clone()))?;
                // systemd sets the mode, and gives access by an ACL that shows as group permissions.
                self.read_file(&dir.join(name), false)?
            }
            Self::Age(path) => self.decrypt(path, credentials)?,
            Self::Sops { file, key } => return Ok(sops::read(self, file, key)?),
        };
        let text = std::str::from_utf8(content.expose());
        let text = text.map_err(|_error| SecretError::Content(self.clone()))?;
        Ok(Secret::new(text.trim_end_matches(['\r', '\n']).to_owned()))
    }

    /// Opens an encrypted file, which others may read.
    fn decrypt(
        &self,
        path: &Path,
        credentials: Option<&Path>,
    ) -> Result<Secret<Vec<u8>>, SecretError> {
        let identity = credentials.map(|dir| dir.join(AGE_IDENTITY));
        let identity = identity.filter(|file| file.exists());
        let identity = identity.ok_or_else(|| SecretError::NoIdentity(self.clone()))?;
        let identity = self.read_file(&identity, false)?;
        let identities = age::IdentityFile::from_buffer(identity.expose().as_slice())
            .ok()
            .and_then(|file| file.into_identities().ok())
            .filter(|identities| !identities.is_empty())
            .ok_or_else(|| SecretError::Identity(self.clone()))?;
        let encrypted = self.read_file(path, false)?;
        let failed = |source| SecretError::Decrypt {
            reference: self.clone(),
            source,
        };
        let armored = age::armor::ArmoredReader::new(encrypted.expose().as_slice());
        let identities = identities
            .iter()
            .map(|identity| &**identity as &dyn age::Identity);
        let opened = age::Decryptor::new_buffered(armored)
            .and_then(|decryptor| decryptor.decrypt(identities));
        let mut content = Vec::new();
        let read = opened.and_then(|mut reader| Ok(reader.read_to_end(&mut content)?));
        read.map_err(failed)?;
        Ok(Secret::new(content))
    }

    fn read_file(&self, path: &Path, check_mode: bool) -> Result<Secret<Vec<u8>>, SecretError> {
        let read_error = |source| SecretError::Read {
            reference: self.clone(),
            source,
        };
        let mut file = std::fs::File::open(path).map_err(read_error)?;
        let metadata = file.metadata().map_err(read_error)?;
        if !metadata.is_file() || metadata.len() > MAX_SECRET_BYTES {
            return Err(SecretError::Content(self.clone()));
        }
        if check_mode && metadata.mode() & 0o077 != 0 {
            return Err(SecretError::Exposed(self.clone()));
        }
        let mut content = Vec::new();
        file.read_to_end(&mut content).map_err(read_error)?;
        Ok(Secret::new(content))
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
