//! Who this node is: its keys, which never leave it, and what core gave it when it joined.
//!
//! All of it is one file, `identity.json`, for the agent alone to read, and is replaced as a whole: there is never a certificate
//! without its key.

use crate::config::AgentConfig;
use hh_daemon::Failure;
use hh_trust::control_key::NetworkPublicKey;
use hh_trust::enrolment::TokenId;
use hh_trust::key_set::KeySet;
use hh_trust::pki::{LeafKey, PeerCertificate, TrustDomain};
use hh_trust::{NodeId, NodeSecretKey};
use rustls::pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IdentityError {
    #[error("can't {action} {}", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{} holds {what}; restore it, or enrol this node anew", path.display())]
    Damaged { path: PathBuf, what: String },
    #[error("a key could not be made")]
    Key(#[from] hh_trust::pki::RequestError),
    #[error(transparent)]
    NodeKey(#[from] hh_trust::NodeKeyError),
}

/// What core gave this node.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Enrolled {
    pub(crate) node: NodeId,
    pub(crate) domain: TrustDomain,
    pub(crate) epoch: u64,
    /// `HOST:PORT`.
    pub(crate) session_address: String,
    /// Where the node has joined, and comes back after its certificate has ended.
    #[serde(default)]
    pub(crate) enrolment_address: Option<String>,
    pub(crate) network: NetworkPublicKey,
    /// Signed by the network's key.
    pub(crate) key_set: String,
    root: String,
    chain: Vec<String>,
    key_pem: String,
    /// The one that core has taken this node in by.
    #[serde(default)]
    token: Option<TokenId>,
}

/// The file's content.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    /// The node's own key, where the configuration names none.
    node_key: Option<String>,
    /// Of a request for a certificate whose answer is not here yet: it is asked again with the same one.
    pending_key_pem: Option<String>,
    enrolled: Option<Enrolled>,
}

/// The identity of this node.
pub(crate) struct Identity {
    path: PathBuf,
    kept: Kept,
    node_key: Arc<NodeSecretKey>,
}

/// What is put together when core has answered.
pub(crate) struct Joined {
    pub(crate) node: NodeId,
    pub(crate) domain: TrustDomain,
    pub(crate) epoch: u64,
    pub(crate) session_address: String,
    pub(crate) enrolment_address: String,
    pub(crate) network: NetworkPublicKey,
    pub(crate) key_set: String,
    pub(crate) root: Vec<u8>,
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) token: TokenId,
}

impl Identity {
    /// Reads the file, or makes one with a new key.
    ///
    /// # Errors
    /// It can't be read or written, or is damaged.
    pub(crate) fn open(config: &AgentConfig) -> Result<Self, Failure> {
        let path = config.data_dir.join("identity.json");
        let mut kept = read(&path)?;
        let node_key = match (&config.node_key, &kept.node_key) {
            (Some(reference), _) => {
                let text = reference.read().map_err(Failure::secret)?;
                text.expose().parse().map_err(Failure::config)?
            }
            (None, Some(text)) => text.parse()?,
            (None, None) => {
                let key = NodeSecretKey::generate()?;
                kept.node_key = Some(key.to_secret_hex());
                write(&path, &kept)?;
                key
            }
        };
        Ok(Self {
            path,
            kept,
            node_key: Arc::new(node_key),
        })
    }

    /// The key that signs results.
    pub(crate) fn node_key(&self) -> Arc<NodeSecretKey> {
        Arc::clone(&self.node_key)
    }

    /// What core gave this node; none before it has joined.
    pub(crate) fn enrolled(&self) -> Option<&Enrolled> {
        self.kept.enrolled.as_ref()
    }

    /// Whether that token was the one that core has taken this node in by.
    pub(crate) fn has_joined_by(&self, token: TokenId) -> bool {
        let enrolled = self.enrolled();
        enrolled.is_some_and(|enrolled| enrolled.token == Some(token))
    }

    /// The key for the next certificate. It is on the disk before it is used, so that an answer that was lost can be asked for again.
    ///
    /// # Errors
    /// It can't be made or written.
    pub(crate) fn pending_key(&mut self) -> Result<LeafKey, IdentityError> {
        if let Some(text) = &self.kept.pending_key_pem {
            return Ok(LeafKey::from_pem(text)?);
        }
        let key = LeafKey::generate()?;
        self.kept.pending_key_pem = Some(key.to_secret_pem());
        write(&self.path, &self.kept)?;
        Ok(key)
    }

    /// Core has taken this node in, with a certificate for the pending key.
    ///
    /// # Errors
    /// It can't be written.
    pub(crate) fn join(&mut self, joined: Joined) -> Result<(), IdentityError> {
        let key_pem = self.kept.pending_key_pem.take();
        self.kept.enrolled = Some(Enrolled {
            node: joined.node,
            domain: joined.domain,
            epoch: joined.epoch,
            session_address: joined.session_address,
            enrolment_address: Some(joined.enrolment_address),
            network: joined.network,
            key_set: joined.key_set,
            root: hex::encode(joined.root),
            chain: joined.chain.iter().map(hex::encode).collect(),
            key_pem: key_pem.unwrap_or_default(),
            token: Some(joined.token),
        });
        write(&self.path, &self.kept)
    }

    /// Core has renewed the certificate, for the pending key.
    ///
    /// # Errors
    /// It can't be written.
    pub(crate) fn renewed(&mut self, chain: &[Vec<u8>]) -> Result<(), IdentityError> {
        let key_pem = self.kept.pending_key_pem.take();
        if let Some(enrolled) = &mut self.kept.enrolled {
            enrolled.chain = chain.iter().map(hex::encode).collect();
            enrolled.key_pem = key_pem.unwrap_or_default();
        }
        write(&self.path, &self.kept)
    }

    /// Takes a newer list of core's keys. Gives whether it was one.
    ///
    /// # Errors
    /// It can't be written.
    pub(crate) fn take_key_set(&mut self, text: &str) -> Result<bool, IdentityError> {
        let Some(enrolled) = &mut self.kept.enrolled else {
            return Ok(false);
        };
        if enrolled.key_set == text {
            return Ok(false);
        }
        let known = enrolled.keys().map_or(0, |keys| keys.version);
        let newer = KeySet::verify(text, &enrolled.network, &enrolled.domain, known);
        if let Err(error) = newer {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "list of core's keys refused"
            );
            return Ok(false);
        }
        enrolled.key_set = text.to_owned();
        write(&self.path, &self.kept)?;
        Ok(true)
    }
}

impl Enrolled {
    /// Of a node that takes orders and has no certificate.
    #[cfg(test)]
    pub(crate) fn of_test(
        node: NodeId,
        domain: TrustDomain,
        epoch: u64,
        network: NetworkPublicKey,
        key_set: String,
    ) -> Self {
        Self {
            node,
            domain,
            epoch,
            session_address: String::new(),
            enrolment_address: None,
            network,
            key_set,
            root: String::new(),
            chain: Vec::new(),
            key_pem: String::new(),
            token: None,
        }
    }

    /// Core's keys, as the network's key has signed them.
    pub(crate) fn keys(&self) -> Option<KeySet> {
        KeySet::verify(&self.key_set, &self.network, &self.domain, 0).ok()
    }

    /// The root that core's certificates come from.
    pub(crate) fn root(&self) -> Option<CertificateDer<'static>> {
        hex::decode(&self.root).ok().map(Into::into)
    }

    /// The node's certificate, with its issuer.
    pub(crate) fn chain(&self) -> Option<Vec<CertificateDer<'static>>> {
        let chain = self.chain.iter().map(|one| hex::decode(one).ok());
        chain.map(|one| one.map(Into::into)).collect()
    }

    /// The key of the certificate.
    pub(crate) fn key(&self) -> Option<LeafKey> {
        LeafKey::from_pem(&self.key_pem).ok()
    }

    /// What the certificate says.
    pub(crate) fn certificate(&self) -> Option<PeerCertificate> {
        let chain = self.chain()?;
        PeerCertificate::from_der(chain.first()?, &self.domain).ok()
    }
}

fn read(path: &Path) -> Result<Kept, IdentityError> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| damaged(path, &error)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Kept::default()),
        Err(source) => Err(IdentityError::File {
            action: "read",
            path: path.to_owned(),
            source,
        }),
    }
}

/// The error says where, not what: the file holds keys.
fn damaged(path: &Path, error: &serde_json::Error) -> IdentityError {
    let what: &dyn Display = &error.line();
    IdentityError::Damaged {
        path: path.to_owned(),
        what: format!("something else than an identity in line {what}"),
    }
}

fn write(path: &Path, kept: &Kept) -> Result<(), IdentityError> {
    let replace = || {
        let new = path.with_extension("new");
        let mut file = File::options()
            .create(true)
            .truncate(true)
            .write(true)
            .mode(0o600)
            .open(&new)?;
        serde_json::to_writer_pretty(&mut file, kept)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        let dir = path.parent().unwrap_or(Path::new("/"));
        File::open(dir)?.sync_all()
    };
    replace().map_err(|source: io::Error| IdentityError::File {
        action: "write",
        path: path.to_owned(),
        source,
    })
}
