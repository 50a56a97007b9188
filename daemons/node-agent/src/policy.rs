//! The node's own policy: the file of its administrator that says what core may order here.
//!
//! Nothing that comes over the network changes it. It is refused where another user than root or the agent's own could have written it.

use hh_trust::local_policy::LocalPolicy;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Largest policy in bytes: a site has a handful of services.
const MAX_BYTES: u64 = 256 * 1024;

/// Why there is no policy.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PolicyError {
    #[error("can't read the policy {}; an empty file allows nothing", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("the policy {} belongs to the user {uid}; give it to root: chown root {0}", path.display())]
    Owner { path: PathBuf, uid: u32 },
    #[error("the policy {} can be written by others than its owner; run: chmod go-w {0}", path.display())]
    Exposed { path: PathBuf },
    #[error("the policy {} has {bytes} bytes, more than a policy needs", path.display())]
    TooLarge { path: PathBuf, bytes: u64 },
    #[error("the policy {} is none", path.display())]
    Parse {
        path: PathBuf,
        source: Box<toml::de::Error>,
    },
}

/// Reads the policy.
///
/// # Errors
/// It can't be read, others could have written it, or it makes no sense.
pub(crate) fn load(path: &Path) -> Result<LocalPolicy, PolicyError> {
    let path = path.to_owned();
    let metadata = match fs::metadata(&path) {
        Ok(metadata) => metadata,
        Err(source) => return Err(PolicyError::Read { path, source }),
    };
    let own = rustix::process::geteuid().as_raw();
    let uid = metadata.uid();
    if ![0, own].contains(&uid) {
        return Err(PolicyError::Owner { path, uid });
    }
    if metadata.mode() & 0o022 != 0 {
        return Err(PolicyError::Exposed { path });
    }
    let bytes = metadata.len();
    if bytes > MAX_BYTES {
        return Err(PolicyError::TooLarge { path, bytes });
    }
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(source) => return Err(PolicyError::Read { path, source }),
    };
    toml::from_str(&text).map_err(|source| PolicyError::Parse {
        path,
        source: Box::new(source),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_policy_that_others_could_have_written_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("policy.toml");
        fs::write(&path, "[services.a]\nallow = [\"restart\"]\n").unwrap();
        let set = |mode| fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        set(0o666);
        let error = load(&path).unwrap_err().to_string();
        assert!(error.contains("chmod go-w"), "{error}");
        set(0o644);
        assert_eq!(load(&path).unwrap().services.len(), 1);
        fs::write(&path, "shell = true").unwrap();
        assert!(load(&path).unwrap_err().to_string().contains("is none"));
    }
}
