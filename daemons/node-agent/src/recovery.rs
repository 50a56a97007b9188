//! How this node comes back after its certificate has ended: at the port where it has joined, by its own key and that of the certificate.

use crate::dial::{self, DialError, Target};
use crate::identity::{Enrolled, Identity, IdentityError};
use hh_daemon::Tasks;
use hh_ipc::agent::{RecoverRequest, RecoverResponse, path};
use hh_trust::enrolment::Possession;
use hh_trust::pki::{CaPin, ChannelError, KeySlot, LeafKey, RequestError};
use std::sync::Arc;

/// Why there is no other certificate.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecoverError {
    #[error("this node has joined before it wrote down where: enrol it with a new token")]
    Nowhere,
    #[error("what core gave this node is damaged: enrol it with a new token")]
    Damaged,
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("no request for a certificate could be made")]
    Request(#[from] RequestError),
    #[error("TLS can't be set up, or core's answer is for another key")]
    Channel(#[from] ChannelError),
}

/// Gets another certificate for this node, which is written down.
///
/// # Errors
/// Core is not there, or does not let this node back.
pub(crate) async fn recover(identity: &mut Identity, tasks: &Tasks) -> Result<(), RecoverError> {
    let enrolled = identity.enrolled().cloned();
    let enrolled = enrolled.ok_or(RecoverError::Damaged)?;
    let last_key = enrolled.key().ok_or(RecoverError::Damaged)?;
    let channel = dial::dial(&target(&enrolled)?, tasks).await?;
    // Where the answer to a renewal was lost this one may be the last that core knows of.
    let key = identity.pending_key()?;
    let csr_der = key.request()?;
    let (what, binding) = (Possession::Recover(&enrolled.node), &channel.binding);
    let prove = |key: &LeafKey| key.prove(what, binding, &csr_der);
    let request = RecoverRequest {
        node_id: enrolled.node.to_string(),
        proof: identity.node_key().prove(what, binding, &csr_der).to_vec(),
        tls_proofs: vec![prove(&last_key)?, prove(&key)?],
        csr_der: csr_der.clone(),
    };
    let response: RecoverResponse = channel.unary(path::RECOVER, request).await?;
    let recovered = response.certificates_der;
    // An answer that is of no use leaves what there is.
    let chain = recovered.iter().map(|one| one.clone().into()).collect();
    KeySlot::new(chain, &key)?;
    identity.renewed(&recovered)?;
    tracing::info!("another certificate was made for this node");
    Ok(())
}

/// Where the node has joined.
fn target(enrolled: &Enrolled) -> Result<Target, RecoverError> {
    let address = enrolled.enrolment_address.clone();
    let root = enrolled.root().ok_or(RecoverError::Damaged)?;
    let pin = CaPin::of(&root).ok().ok_or(RecoverError::Damaged)?;
    Ok(Target {
        address: address.ok_or(RecoverError::Nowhere)?,
        name: enrolled.domain.core_server_name(),
        tls: Arc::new(hh_trust::pki::enrolment_client(pin)?),
    })
}
