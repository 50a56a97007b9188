//! A node whose certificate has ended comes back by itself: it proves that it has its own key and that of its last certificate.
//!
//! So a site that was off for weeks needs no operator, and no secret that somebody keeps for the case. What a thief of one of both keys
//! gets is nothing, and who has both has the node: it is for an operator to revoke it, or to let it join anew.

use super::Enrolment;
use crate::audit::{self, Asked, Ended};
use crate::authority::Authority;
use crate::listener::Peer;
use crate::node::{self, LastCertificate, NodeRow};
use crate::store::{StoreError, Transaction};
use hh_ipc::agent::{MAX_TLS_PROOFS, REVOKED, RecoverRequest, RecoverResponse};
use hh_trust::NodeId;
use hh_trust::audit::{Actor, Detail};
use hh_trust::command::{CommandError, CommandId, Digest};
use hh_trust::enrolment::{ChannelBinding, Possession, certificate_has_proved};
use hh_trust::pki::{CertificateRequest, Identity, RecoveryError, may_recover};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tonic::Status;

/// A node that is refused for the same reason is in the audit log once in this time: its agent tries again and again, and who has its key
/// may try more often. The metric counts each.
const TELL_AGAIN: Duration = Duration::from_secs(600);

/// Which refusals are in the audit log, and since when.
#[derive(Clone, Debug, Default)]
pub(super) struct Told(Arc<Mutex<BTreeMap<(NodeId, &'static str), Instant>>>);

impl Told {
    fn is_news(&self, node: &NodeId, code: &'static str) -> bool {
        let now = Instant::now();
        // Nothing in between can panic.
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, at| now.duration_since(*at) < TELL_AGAIN);
        let key = (node.clone(), code);
        if told.contains_key(&key) {
            return false;
        }
        told.insert(key, now);
        true
    }
}

/// Why a node does not get another certificate.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    /// Whether there is such a node is nobody's business.
    #[error("no node of that name has signed this request with its key on this connection")]
    Proof,
    #[error("this node was revoked; enrol it with a new token that was made with --replace")]
    Revoked,
    #[error(
        "the request is not signed by the key of the last certificate that this node was given; enrol it with a new token"
    )]
    NotItsLast,
    #[error("{0}")]
    Request(#[from] hh_trust::pki::RequestError),
    #[error("{0}")]
    Recovery(#[from] RecoveryError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("no certificate could be made")]
    Authority(#[from] hh_trust::pki::AuthorityError),
    #[error(transparent)]
    Name(#[from] CommandError),
}

impl Refusal {
    /// What a machine takes it by.
    fn code(&self) -> &'static str {
        match self {
            Self::Proof => "proof",
            Self::Revoked => REVOKED,
            Self::NotItsLast => "not-its-last-certificate",
            Self::Request(_) => "request",
            Self::Recovery(RecoveryError::NotExpired { .. }) => "not-expired",
            Self::Recovery(RecoveryError::TooLate { .. }) => "too-late",
            Self::Recovery(RecoveryError::TooOften) => "too-often",
            Self::Store(_) => "store",
            Self::Authority(_) | Self::Name(_) => "authority",
        }
    }

    /// Whether the node itself was refused. What strangers try fills no audit log.
    fn is_of_the_node(&self) -> bool {
        matches!(
            self,
            Self::Revoked | Self::NotItsLast | Self::Recovery(_) | Self::Authority(_)
        )
    }

    fn status(&self) -> Status {
        let text = format!("{}: {self}", self.code());
        match self {
            Self::Store(_) | Self::Authority(_) | Self::Name(_) => Status::unavailable(text),
            Self::Proof
            | Self::Revoked
            | Self::NotItsLast
            | Self::Request(_)
            | Self::Recovery(_) => Status::permission_denied(text),
        }
    }
}

/// A request that needs the database to be checked.
struct Claimant {
    node: NodeId,
    request: CertificateRequest,
    /// As it was signed.
    csr_der: Vec<u8>,
    proof: Vec<u8>,
    tls_proofs: Vec<Vec<u8>>,
    binding: ChannelBinding,
    now: Timestamp,
    /// For the audit log.
    asked: Asked,
}

impl Enrolment {
    pub(super) async fn recover(
        &self,
        peer: &Peer,
        request: RecoverRequest,
    ) -> Result<RecoverResponse, Status> {
        self.take_turn(peer)?;
        let address = peer.address;
        let recovered = match Claimant::new(peer, request) {
            Ok(claimant) => self.let_back(claimant).await,
            Err(refusal) => Err(refusal),
        };
        let outcome = match &recovered {
            Ok(_) => "recovered",
            Err(refusal) => refusal.code(),
        };
        metrics::counter!("hyperhash_fleet_recoveries_total", "outcome" => outcome).increment(1);
        match recovered {
            Ok((node, certificates_der)) => {
                tracing::info!(%node, %address, "certificate made for a node whose last one had ended");
                Ok(RecoverResponse { certificates_der })
            }
            Err(refusal) => {
                tracing::warn!(%address, code = outcome, error = &refusal as &dyn std::error::Error, "recovery refused");
                Err(refusal.status())
            }
        }
    }

    async fn let_back(&self, claimant: Claimant) -> Result<(NodeId, Vec<Vec<u8>>), Refusal> {
        let authority = Arc::clone(&self.authority);
        let (asked, node) = (claimant.asked.clone(), claimant.node.clone());
        let recovered: Result<Vec<Vec<u8>>, Refusal> = self
            .store
            .call(move |transaction| recover(transaction, &authority, &claimant))
            .await;
        if let Err(refusal) = &recovered
            && refusal.is_of_the_node()
            && self.recoveries_refused.is_news(&node, refusal.code())
        {
            self.write_down(asked, refusal.code()).await?;
        }
        recovered.map(|chain| (node, chain))
    }
}

impl Claimant {
    fn new(peer: &Peer, request: RecoverRequest) -> Result<Self, Refusal> {
        let node: NodeId = request.node_id.parse().ok().ok_or(Refusal::Proof)?;
        let asked = Asked {
            op: CommandId::generate()?,
            actor: Actor::Unknown,
            via: "grpc",
            source: Some(peer.address.to_string()),
            action: "node.recover",
            target: format!("node:{node}"),
            request: Digest::of(&request.csr_der),
            detail: Detail::default(),
        };
        Ok(Self {
            node,
            request: CertificateRequest::from_der(&request.csr_der)?,
            csr_der: request.csr_der,
            proof: request.proof,
            tls_proofs: request.tls_proofs,
            binding: ChannelBinding(peer.exported),
            now: Timestamp::now(),
            asked,
        })
    }

    fn is_signed_by_node(&self, node: &NodeRow) -> bool {
        let what = Possession::Recover(&self.node);
        let key = node.public_key;
        key.has_proved(what, &self.binding, &self.csr_der, &self.proof)
    }

    fn is_signed_by_last(&self, last: &LastCertificate) -> bool {
        let what = Possession::Recover(&self.node);
        let leaf = last.chain.first();
        let mut proofs = self.tls_proofs.iter().take(MAX_TLS_PROOFS);
        leaf.is_some_and(|leaf| {
            proofs.any(|proof| {
                certificate_has_proved(leaf, what, &self.binding, &self.csr_der, proof)
            })
        })
    }
}

/// Who it is first; then whether it may.
fn recover(
    transaction: &Transaction<'_>,
    authority: &Authority,
    claimant: &Claimant,
) -> Result<Vec<Vec<u8>>, Refusal> {
    let node = node::get(transaction, &claimant.node)?.ok_or(Refusal::Proof)?;
    if !claimant.is_signed_by_node(&node) {
        return Err(Refusal::Proof);
    }
    if node.revoked.is_some() {
        return Err(Refusal::Revoked);
    }
    let last = node::last_certificate(transaction, (&node.id, node.epoch))?;
    let last = last.ok_or(Refusal::NotItsLast)?;
    if !claimant.is_signed_by_last(&last) {
        return Err(Refusal::NotItsLast);
    }
    let now = claimant.now.as_second();
    let not_after = last.until_ms / 1_000;
    // The answer to this very request, or to a renewal with the same key, was lost on its way.
    if last.key_hash == claimant.request.key_hash() && now < not_after {
        return Ok(last.chain);
    }
    may_recover(not_after, now, node.recoveries)?;
    issue(transaction, authority, claimant, (&node, &last))
}

fn issue(
    transaction: &Transaction<'_>,
    authority: &Authority,
    claimant: &Claimant,
    (node, last): (&NodeRow, &LastCertificate),
) -> Result<Vec<Vec<u8>>, Refusal> {
    let (request, now) = (&claimant.request, claimant.now);
    let identity = Identity::Node(node.id.clone());
    let issued = authority
        .node_issuer
        .issue(&identity, request, now.as_second())?;
    let of = (&node.id, node.epoch);
    node::put_certificate(
        transaction,
        of,
        request.key_hash(),
        &issued,
        now.as_millisecond(),
    )?;
    let recoveries = node.recoveries.saturating_add(1);
    node::set_recoveries(transaction, &node.id, recoveries)?;
    let here = (&authority.replica, now);
    let asked = Asked {
        actor: Actor::Node {
            node: node.id.clone(),
            serial: last.serial.clone(),
        },
        ..claimant.asked.clone()
    };
    audit::intent(transaction, here, &asked)?;
    let detail = Detail::default()
        .with("epoch", node.epoch)
        .with("serial", issued.serial)
        .with("recoveries_in_a_row", recoveries);
    let ended = Ended {
        detail,
        ..Ended::done()
    };
    audit::outcome(transaction, here, asked.op, ended)?;
    Ok(issued.chain.iter().map(|one| one.to_vec()).collect())
}

#[cfg(test)]
mod tests;
