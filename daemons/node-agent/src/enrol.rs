//! How this node joins: by a token that says where core is and by which root it is known.

use crate::dial::{self, DialError, Target};
use crate::identity::{Identity, IdentityError, Joined};
use hh_daemon::{SecretError, SecretRef, Tasks};
use hh_ipc::agent::{EnrolRequest, EnrolResponse, path};
use hh_trust::enrolment::{EnrolmentToken, Possession, TokenError};
use hh_trust::key_set::{KeySet, KeySetError};
use hh_trust::pki::{ChannelError, RequestError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Why the node has not joined.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EnrolError {
    #[error(
        "this node has not joined, and there is no token; make one with `hhctl token create` and put it into {}", path.display()
    )]
    NoToken { path: PathBuf },
    #[error(transparent)]
    Secret(#[from] SecretError),
    #[error("the token in the file can't be used")]
    Token(#[from] TokenError),
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("no request for a certificate could be made")]
    Request(#[from] RequestError),
    #[error("TLS can't be set up")]
    Channel(#[from] ChannelError),
    #[error("core's list of keys is not signed by the network's key that the token names")]
    Keys(#[from] KeySetError),
    #[error("core has taken this node in as {named}, and the token is for {expected}")]
    OtherNode { named: String, expected: String },
}

/// Whether a token waits to be used.
pub(crate) fn has_token(path: &Path) -> bool {
    path.exists()
}

/// By which a token in the file is told from another one that takes its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TokenMark {
    written_at: SystemTime,
    bytes: u64,
}

/// None if there is no token.
pub(crate) fn token_mark(path: &Path) -> Option<TokenMark> {
    let file = path.metadata().ok()?;
    Some(TokenMark {
        written_at: file.modified().ok()?,
        bytes: file.len(),
    })
}

/// Joins by the token in the file, which is removed then.
///
/// # Errors
/// There is no token, or core does not take it; to be tried again later.
pub(crate) async fn enrol(
    identity: &mut Identity,
    token_file: &Path,
    tasks: &Tasks,
) -> Result<(), EnrolError> {
    if !has_token(token_file) {
        let path = token_file.to_owned();
        return Err(EnrolError::NoToken { path });
    }
    let secret = SecretRef::File(token_file.to_owned()).read()?;
    let text = secret.expose().trim();
    let token = EnrolmentToken::read_unverified(text)?;
    if identity.has_joined_by(token.jti) {
        remove(token_file);
        return Ok(());
    }
    let target = Target {
        address: address_of(&token.url).to_owned(),
        name: token.domain.core_server_name(),
        tls: Arc::new(hh_trust::pki::enrolment_client(token.ca)?),
    };
    let channel = dial::dial(&target, tasks).await?;
    let key = identity.pending_key()?;
    let csr_der = key.request()?;
    let possession = Possession::Enrol(token.jti);
    let node_key = identity.node_key();
    let request = EnrolRequest {
        token: text.to_owned(),
        node_key: node_key.public_key().to_string(),
        proof: node_key
            .prove(possession, &channel.binding, &csr_der)
            .to_vec(),
        csr_der,
        agent_version: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let response: EnrolResponse = channel.unary(path::ENROL, request).await?;
    let joined = joined(token, response)?;
    let (node, epoch) = (joined.node.to_string(), joined.epoch);
    identity.join(joined)?;
    tracing::info!(node, epoch, "node enrolled");
    remove(token_file);
    Ok(())
}

/// It is of no use any more, and no harm: it is known as used, here and at core.
fn remove(token_file: &Path) {
    if let Err(error) = std::fs::remove_file(token_file) {
        let path = token_file.display();
        tracing::warn!(%path, %error, "the used token can't be removed; remove it");
    }
}

fn address_of(url: &str) -> &str {
    let rest = url.strip_prefix("https://").unwrap_or(url);
    rest.trim_end_matches('/')
}

/// The answer, held against what the token has said.
fn joined(token: EnrolmentToken, response: EnrolResponse) -> Result<Joined, EnrolError> {
    KeySet::verify(&response.key_set, &token.network, &token.domain, 0)?;
    if response.node_id != token.node.as_str() {
        return Err(EnrolError::OtherNode {
            named: response.node_id.chars().take(64).collect(),
            expected: token.node.to_string(),
        });
    }
    if !token.ca.matches(&response.root_der) {
        // TLS has found the pinned root on this connection; core sends another one.
        return Err(TokenError::Key.into());
    }
    Ok(Joined {
        token: token.jti,
        node: token.node,
        domain: token.domain,
        epoch: response.epoch,
        session_address: response.session_address,
        enrolment_address: address_of(&token.url).to_owned(),
        network: token.network,
        key_set: response.key_set,
        root: response.root_der,
        chain: response.certificates_der,
    })
}
