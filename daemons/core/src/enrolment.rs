//! The port where a node joins: a token of an operator against a certificate.
//!
//! All of it is one transaction: a token is used up with the node that it makes, or not at all. The same request again within ten
//! minutes gets the same certificate, because an answer may be lost on its way. A node whose certificate has ended comes here as well
//! (`recovery`).

mod recovery;

use crate::audit::{self, Asked, Ended};
use crate::authority::Authority;
use crate::grpc::{self, Answer, Call};
use crate::listener::{Peer, Service};
use crate::node::{self, Joining};
use crate::permission::Who;
use crate::store::{Store, StoreError, Transaction};
use crate::{lease, operations, token};
use futures::future::BoxFuture;
use hh_daemon::ConnectRate;
use hh_ipc::agent::{EnrolRequest, EnrolResponse, Method};
use hh_trust::audit::{Actor, Detail};
use hh_trust::command::{CommandError, CommandId, Digest};
use hh_trust::enrolment::{
    ChannelBinding, EnrolmentToken, Possession, Redemption, TokenError, TokenHash, TokenUse,
    Visibility,
};
use hh_trust::pki::{CertificateRequest, Identity};
use hh_trust::{NodeId, NodePublicKey};
use jiff::Timestamp;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tonic::Status;

/// For a connection that enrols: it takes one call.
const LIFETIME: Duration = Duration::from_secs(30);

/// Enrolments of one address in a minute, whatever comes of them: a site of some racks that is set up by a script. Each that is refused
/// and has a token of ours is two lines of the audit log.
const PER_MINUTE_OF_ADDRESS: u32 = 30;

/// And of all.
const PER_MINUTE: u32 = 300;

/// Why commands of a node that joins anew are given up: for the audit log, and in words.
const GIVEN_UP: (&str, &str) = ("joined-anew", "the node joined anew");

/// Longest version of an agent that is written down, in bytes.
const VERSION_BYTES_MAX: usize = 64;

/// Why a node may not join.
#[derive(Debug, thiserror::Error)]
enum Refusal {
    #[error("{0}")]
    Token(#[from] TokenError),
    #[error("the token is of another network")]
    Network,
    #[error("{0}")]
    Request(#[from] hh_trust::pki::RequestError),
    #[error("the node's key is none, or has not signed this request on this connection")]
    Proof,
    #[error(
        "there is a node {0} already; to let it join anew, run: hhctl token create {0} --replace"
    )]
    NameTaken(NodeId),
    #[error("the key of this node is that of the node {0}; each has its own")]
    KeyTaken(String),
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
            Self::Token(error) => error.code(),
            Self::Network => "wrong-network",
            Self::Request(_) => "request",
            Self::Proof => "proof",
            Self::NameTaken(_) => "name-taken",
            Self::KeyTaken(_) => "key-taken",
            Self::Store(_) => "store",
            Self::Authority(_) | Self::Name(_) => "authority",
        }
    }

    fn status(&self) -> Status {
        let text = format!("{}: {self}", self.code());
        match self {
            Self::Store(_) | Self::Authority(_) | Self::Name(_) => Status::unavailable(text),
            Self::NameTaken(_) | Self::KeyTaken(_) => Status::already_exists(text),
            Self::Token(_) | Self::Network | Self::Request(_) | Self::Proof => {
                Status::permission_denied(text)
            }
        }
    }
}

/// What answers on the port.
#[derive(Clone)]
pub(crate) struct Enrolment {
    authority: Arc<Authority>,
    store: Store,
    /// Where nodes have their sessions.
    session_address: String,
    rate: Arc<Mutex<ConnectRate>>,
    started: Instant,
    recoveries_refused: recovery::Told,
}

impl Service for Enrolment {
    fn answer(&self, peer: Peer, call: Call) -> BoxFuture<'static, Answer> {
        let this = self.clone();
        let refused = match grpc::called(&call, Who::Unenrolled) {
            Ok(Method::Enrol) => {
                let enrol = move |request| async move { this.enrol(&peer, request).await };
                return Box::pin(grpc::unary(call, enrol));
            }
            Ok(Method::Recover) => {
                let recover = move |request| async move { this.recover(&peer, request).await };
                return Box::pin(grpc::unary(call, recover));
            }
            Ok(_) => grpc::not_here(),
            Err(status) => status,
        };
        Box::pin(std::future::ready(refused.into_http()))
    }

    fn lifetime(&self, _peer: &Peer) -> Option<Duration> {
        Some(LIFETIME)
    }
}

/// A request of which everything was found right that needs no database.
struct Applicant {
    token: EnrolmentToken,
    hash: TokenHash,
    request: CertificateRequest,
    node_key: NodePublicKey,
    agent_version: String,
    now: Timestamp,
    /// For the audit log.
    asked: Asked,
}

impl Enrolment {
    pub(crate) fn new(authority: Arc<Authority>, store: Store, session_address: String) -> Self {
        let rate = ConnectRate::new(PER_MINUTE, PER_MINUTE_OF_ADDRESS);
        Self {
            authority,
            store,
            session_address,
            rate: Arc::new(Mutex::new(rate)),
            started: Instant::now(),
            recoveries_refused: recovery::Told::default(),
        }
    }

    fn take_turn(&self, peer: &Peer) -> Result<(), Status> {
        let mut rate = self.rate.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = rate.admit(peer.address.ip(), self.started.elapsed());
        taken.map_err(|too_many| {
            metrics::counter!("hyperhash_fleet_enrolments_total", "outcome" => "too-many")
                .increment(1);
            Status::resource_exhausted(format!("too-many: {too_many}; try again in a minute"))
        })
    }

    async fn enrol(&self, peer: &Peer, request: EnrolRequest) -> Result<EnrolResponse, Status> {
        self.take_turn(peer)?;
        let joined = match self.applicant(peer, &request) {
            Ok(applicant) => self.admit(applicant).await,
            Err(refusal) => Err(refusal),
        };
        let address = peer.address;
        match joined {
            Ok(response) => {
                tracing::info!(node = response.node_id, %address, "node enrolled");
                metrics::counter!("hyperhash_fleet_enrolments_total", "outcome" => "enrolled")
                    .increment(1);
                Ok(response)
            }
            Err(refusal) => {
                let code = refusal.code();
                if matches!(refusal, Refusal::Token(TokenError::Reused)) {
                    tracing::error!(%address, "token was shown again by another key: somebody has a copy of it");
                }
                tracing::warn!(%address, code, error = &refusal as &dyn std::error::Error, "enrolment refused");
                metrics::counter!("hyperhash_fleet_enrolments_total", "outcome" => code)
                    .increment(1);
                Err(refusal.status())
            }
        }
    }

    fn applicant(&self, peer: &Peer, request: &EnrolRequest) -> Result<Applicant, Refusal> {
        let now = Timestamp::now();
        let keys = self.authority.enrolment_keys();
        let token = EnrolmentToken::verify(&request.token, &keys, now.as_second())?;
        if token.domain != self.authority.domain {
            return Err(Refusal::Network);
        }
        let node_key: NodePublicKey = request.node_key.parse().ok().ok_or(Refusal::Proof)?;
        let binding = ChannelBinding(peer.exported);
        let possession = Possession::Enrol(token.jti);
        if !node_key.has_proved(possession, &binding, &request.csr_der, &request.proof) {
            return Err(Refusal::Proof);
        }
        let plain = request.agent_version.chars().filter(char::is_ascii_graphic);
        let asked = Asked {
            op: CommandId::generate()?,
            actor: Actor::Unknown,
            via: "grpc",
            source: Some(peer.address.to_string()),
            action: "node.enrol",
            target: format!("node:{}", token.node),
            request: Digest::of(&request.csr_der),
            detail: Detail::default()
                .with("token", token.jti)
                .with("token_made_by", &token.by)
                .with("node_key", node_key),
        };
        Ok(Applicant {
            asked,
            hash: TokenHash::of(&request.token),
            request: CertificateRequest::from_der(&request.csr_der)?,
            agent_version: plain.take(VERSION_BYTES_MAX).collect(),
            token,
            node_key,
            now,
        })
    }

    async fn admit(&self, applicant: Applicant) -> Result<EnrolResponse, Refusal> {
        let authority = Arc::clone(&self.authority);
        let session_address = self.session_address.clone();
        let asked = applicant.asked.clone();
        let admitted = self
            .store
            .call(move |transaction| admit(transaction, &authority, &applicant))
            .await;
        if let Err(refusal) = &admitted {
            self.write_down(asked, refusal.code()).await?;
        }
        let (node, epoch, certificates_der) = admitted?;
        Ok(EnrolResponse {
            node_id: node.to_string(),
            certificates_der,
            root_der: self.authority.root.to_vec(),
            session_address,
            epoch,
            key_set: self.authority.key_set.clone(),
        })
    }
}

impl Enrolment {
    /// A token of ours that is refused is a mistake of an operator, or somebody's who should not have it.
    async fn write_down(&self, asked: Asked, code: &'static str) -> Result<(), StoreError> {
        let core = self.authority.replica.clone();
        let write = move |transaction: &Transaction<'_>| {
            let here = (&core, Timestamp::now());
            audit::intent(transaction, here, &asked)?;
            audit::outcome(transaction, here, asked.op, Ended::refused(code))
        };
        self.store.call(write).await
    }
}

type Admitted = (NodeId, u64, Vec<Vec<u8>>);

fn admit(
    transaction: &Transaction<'_>,
    authority: &Authority,
    applicant: &Applicant,
) -> Result<Admitted, Refusal> {
    let row = token::shown(transaction, applicant.hash)?.ok_or(TokenError::Unknown)?;
    let key_hash = applicant.request.key_hash();
    let now = applicant.now.as_second();
    let known = node::get(transaction, &row.node)?;
    match row.record.redeem(key_hash, applicant.node_key, now)? {
        Redemption::Again => {
            let known = known.ok_or(TokenError::Unknown)?;
            let chain = node::chain_for_key(transaction, (&known.id, known.epoch), key_hash)?;
            let chain = chain.ok_or(TokenError::Reused)?;
            Ok((known.id, known.epoch, chain))
        }
        Redemption::First(used) => {
            if known.is_some() && !row.may_replace {
                return Err(Refusal::NameTaken(row.node));
            }
            let with_key = node::with_key(transaction, applicant.node_key)?;
            if let Some(other) = with_key.filter(|other| *other != row.node.as_str()) {
                return Err(Refusal::KeyTaken(other));
            }
            if !token::use_up(transaction, row.id, &used)? {
                return Err(TokenError::Reused.into());
            }
            let last_epoch = known.map_or(0, |known| known.epoch);
            join(transaction, authority, applicant, (&used, last_epoch))
        }
    }
}

fn join(
    transaction: &Transaction<'_>,
    authority: &Authority,
    applicant: &Applicant,
    (used, last_epoch): (&TokenUse, u64),
) -> Result<Admitted, Refusal> {
    let id = applicant.token.node.clone();
    let at_ms = applicant.now.as_millisecond();
    // The time, so that a database that was restored from a backup never gives an epoch out twice.
    let epoch = u64::try_from(used.at)
        .unwrap_or_default()
        .max(last_epoch + 1);
    let here = (&authority.replica, applicant.now);
    operations::give_up(transaction, here, &id, GIVEN_UP)?;
    let joining = Joining {
        id: id.clone(),
        epoch,
        public_key: applicant.node_key,
        is_public: applicant.token.visibility == Visibility::Public,
        agent_version: applicant.agent_version.clone(),
        at_ms,
    };
    node::join(transaction, &joining)?;
    // What a node of that name has left has another certificate.
    lease::end(transaction, &id)?;
    let identity = Identity::Node(id.clone());
    let issued = authority
        .node_issuer
        .issue(&identity, &applicant.request, used.at)?;
    let key_hash = applicant.request.key_hash();
    node::put_certificate(transaction, (&id, epoch), key_hash, &issued, at_ms)?;
    audit::intent(transaction, here, &applicant.asked)?;
    let detail = Detail::default()
        .with("epoch", epoch)
        .with("serial", issued.serial);
    let ended = Ended {
        detail,
        ..Ended::done()
    };
    audit::outcome(transaction, here, applicant.asked.op, ended)?;
    let chain = issued.chain.iter().map(|one| one.to_vec()).collect();
    Ok((id, epoch, chain))
}

#[cfg(test)]
mod tests;
