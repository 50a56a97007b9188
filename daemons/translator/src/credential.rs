//! The file with the node's credential: read at the start, and again when it changes.
//!
//! Owns what stands in it. Nothing here is believed by anybody: the pool checks it (hh-trust). A file that is missing, or is no
//! credential, stops nothing: work is credited to `core` until there is one.

use crate::config::CredentialConfig;
use hh_trust::node_credential::CREDENTIAL_BYTES_MAX;
use hh_trust::{CredentialError, NodeCredential, PresentedCredential};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the file is looked at. It is renewed hours before it ends; an operator who has just issued one waits for it.
const CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// What is known of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CredentialState {
    /// None is configured.
    Off,
    /// In words, why there is none.
    Unusable(String),
    Read(Arc<Credential>),
}

/// A credential as it is presented.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Credential {
    pub text: String,
    pub says: NodeCredential,
}

/// Why a file holds no credential.
#[derive(Debug, thiserror::Error)]
enum FileError {
    #[error("can't read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{} is no credential", path.display())]
    Content {
        path: PathBuf,
        source: CredentialError,
    },
}

/// See the module.
#[derive(Debug)]
pub(crate) struct CredentialFile {
    path: Option<PathBuf>,
    state: watch::Sender<CredentialState>,
}

impl CredentialFile {
    /// That of the configuration, read once.
    pub(crate) fn open(config: Option<&CredentialConfig>) -> Self {
        let path = config.map(|config| config.file.clone());
        let state = path.as_deref().map_or(CredentialState::Off, look);
        log(&state);
        Self {
            path,
            state: watch::Sender::new(state),
        }
    }

    /// What stands in it, and notice of changes.
    pub(crate) fn subscribe(&self) -> watch::Receiver<CredentialState> {
        self.state.subscribe()
    }

    /// Looks after it until `stop` is cancelled.
    pub(crate) async fn follow(self, stop: CancellationToken) {
        let Some(path) = self.path else {
            return stop.cancelled().await;
        };
        let pause = || tokio::time::sleep(CHECK_INTERVAL);
        while stop.run_until_cancelled(pause()).await.is_some() {
            let path = path.clone();
            let Ok(state) = tokio::task::spawn_blocking(move || look(&path)).await else {
                return;
            };
            self.state.send_if_modified(|before| {
                let changed = *before != state;
                if changed {
                    log(&state);
                    *before = state;
                }
                changed
            });
        }
    }
}

fn look(path: &Path) -> CredentialState {
    match read(path) {
        Ok(credential) => CredentialState::Read(Arc::new(credential)),
        Err(error) => CredentialState::Unusable(hh_daemon::Chain(&error).to_string()),
    }
}

fn read(path: &Path) -> Result<Credential, FileError> {
    let read = || {
        let mut text = String::new();
        // With its line break, and a byte to see that there is more.
        let file = std::fs::File::open(path)?;
        file.take(CREDENTIAL_BYTES_MAX as u64 + 2)
            .read_to_string(&mut text)?;
        Ok(text)
    };
    let text = read().map_err(|source| FileError::Read {
        path: path.to_owned(),
        source,
    })?;
    let text = text.trim_end().to_owned();
    let presented = PresentedCredential::parse(text.as_bytes());
    let says = presented.and_then(|presented| presented.unverified());
    let says = says.map_err(|source| FileError::Content {
        path: path.to_owned(),
        source,
    })?;
    Ok(Credential { text, says })
}

fn log(state: &CredentialState) {
    match state {
        CredentialState::Off => {}
        CredentialState::Unusable(error) => {
            tracing::warn!(error, "no credential: work is credited to core");
        }
        CredentialState::Read(credential) => {
            let NodeCredential {
                node, not_after, ..
            } = &credential.says;
            tracing::info!(%node, not_after_unix = not_after, "credential read");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hh_trust::{NodeSecretKey, PoolAuthority};

    fn signed(not_after: i64) -> String {
        let credential = NodeCredential {
            node: "berlin".parse().unwrap(),
            lanes: ["asics".parse().unwrap()].into(),
            pool: PoolAuthority::from_bytes([1; 32]),
            not_before: not_after - 3_600,
            not_after,
        };
        credential
            .sign(&NodeSecretKey::generate().unwrap())
            .unwrap()
    }

    #[tokio::test]
    async fn a_file_that_comes_changes_or_goes_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("node.credential");
        let config = CredentialConfig { file: path.clone() };
        let file = CredentialFile::open(Some(&config));
        let mut state = file.subscribe();
        let absent = state.borrow_and_update().clone();
        assert!(
            matches!(&absent, CredentialState::Unusable(why) if why.contains("node.credential")),
            "{absent:?}"
        );
        let stop = CancellationToken::new();
        let changes = async {
            for not_after in [7_200, 10_800] {
                std::fs::write(&path, signed(not_after) + "\n").unwrap();
                let changed = |state: &CredentialState| matches!(state, CredentialState::Read(c) if c.says.not_after == not_after);
                state.wait_for(changed).await.unwrap();
            }
            std::fs::write(&path, "half a creden").unwrap();
            let broken = |state: &CredentialState| matches!(state, CredentialState::Unusable(_));
            state.wait_for(broken).await.unwrap();
            stop.cancel();
        };
        tokio::join!(file.follow(stop.clone()), changes);
    }

    #[test]
    fn none_is_configured_and_none_is_missed() {
        let file = CredentialFile::open(None);
        assert_eq!(*file.subscribe().borrow(), CredentialState::Off);
    }
}
