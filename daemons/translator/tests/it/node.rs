//! A Hyper Node, and the file of its credential.

use crate::pool::Pool;
use crate::translator::Translator;
use hh_translator::config::{CredentialConfig, TranslatorConfig};
use hh_trust::{NodeCredential, NodeSecretKey, PoolAuthority};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};
use tempfile::TempDir;

/// The node `berlin` with the lane `main`.
pub(crate) struct Node {
    dir: TempDir,
    pool: PoolAuthority,
}

impl Node {
    pub(crate) fn new(pool: &Pool) -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            pool: PoolAuthority::from_bytes(pool.public_key().to_bytes()),
        }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("node.credential")
    }

    /// Writes a credential that ends in `seconds`, and gives its text.
    pub(crate) fn issue(&self, seconds: i64) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let now = i64::try_from(now.as_secs()).unwrap();
        let credential = NodeCredential {
            node: "berlin".parse().unwrap(),
            lanes: ["main".parse().unwrap()].into(),
            pool: self.pool,
            // One that has ended has begun before.
            not_before: now + seconds.min(0) - 1,
            not_after: now + seconds,
        };
        let text = credential
            .sign(&NodeSecretKey::generate().unwrap())
            .unwrap();
        let new = self.file().with_extension("new");
        std::fs::write(&new, format!("{text}\n")).unwrap();
        std::fs::rename(&new, self.file()).unwrap();
        text
    }

    /// With its credential, and what else a test wants of the configuration.
    pub(crate) async fn translator(
        &self,
        pool: &Pool,
        change: impl FnOnce(&mut TranslatorConfig),
    ) -> Translator {
        let file = self.file();
        Translator::start_as(pool, |config| {
            config.credential = Some(CredentialConfig { file });
            change(config);
        })
        .await
    }
}
