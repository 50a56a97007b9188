//! The port where nodes have their sessions: who is let in, and what may be called.
//!
//! TLS has verified that a certificate is of the node issuer and in its time. Whether it is of the node as it is now is asked of the
//! database at every call: a node that joined anew, or that was revoked, is refused whatever it shows.

mod talk;

use crate::authority::Authority;
use crate::fleet::Fleet;
use crate::grpc::{self, Answer, Call, Messages};
use crate::listener::{Peer, Service};
use crate::node::{self, NodeRow};
use crate::operations::Operations;
use crate::payout_inbox::PayoutInbox;
use crate::permission::Who;
use crate::store::{Store, StoreError};
use crate::telemetry::Intake;
use futures::future::BoxFuture;
use hh_daemon::Tasks;
use hh_ipc::agent::{
    CoreMessage, Method, NodeMessage, RenewRequest, RenewResponse, TREASURY, TelemetryBatch,
};
use hh_trust::pki::{CertificateRequest, Identity, PeerCertificate};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use talk::Talk;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

/// Messages to a node that wait for its connection: a delivery of commands, and a few words more.
const OUTGOING_QUEUE: usize = 128;

/// What answers on the port.
#[derive(Clone)]
pub(crate) struct Sessions {
    pub(crate) authority: Arc<Authority>,
    pub(crate) store: Store,
    pub(crate) fleet: Fleet,
    pub(crate) operations: Operations,
    pub(crate) inbox: PayoutInbox,
    pub(crate) telemetry: Intake,
    pub(crate) tasks: Tasks,
}

impl Service for Sessions {
    fn answer(&self, peer: Peer, call: Call) -> BoxFuture<'static, Answer> {
        let this = self.clone();
        Box::pin(async move {
            if this.is_treasury(&peer) {
                return this.answer_treasury(call).await;
            }
            match this.admit(&peer).await {
                Ok(node) => this.answer_node(peer, node, call).await,
                Err(status) => status.into_http(),
            }
        })
    }

    /// Until the certificate ends: nobody stays in with one that would not let him in.
    fn lifetime(&self, peer: &Peer) -> Option<Duration> {
        let certificate = self.certificate(peer)?;
        let left = certificate.validity.not_after - Timestamp::now().as_second();
        u64::try_from(left).ok().map(Duration::from_secs)
    }
}

impl Sessions {
    async fn answer_node(self, peer: Peer, node: NodeRow, call: Call) -> Answer {
        let method = match grpc::called(&call, Who::Node) {
            Ok(method) => method,
            Err(status) => return status.into_http(),
        };
        match method {
            Method::Session => {
                let open = move |incoming| self.open(&peer, node, incoming);
                grpc::streaming(call, open).await
            }
            Method::PushTelemetry => {
                let push = move |batch: TelemetryBatch| async move {
                    self.telemetry.push(node.id, batch).await
                };
                grpc::unary(call, push).await
            }
            Method::Renew => {
                let renew = move |request| async move { self.renew(node, request).await };
                grpc::unary(call, renew).await
            }
            // The permission table has refused them.
            Method::Enrol | Method::ExchangePayouts => grpc::not_here().into_http(),
        }
    }

    async fn answer_treasury(self, call: Call) -> Answer {
        match grpc::called(&call, Who::Treasury) {
            Ok(Method::ExchangePayouts) => {
                let exchange = move |report| async move { self.inbox.exchange(report).await };
                grpc::unary(call, exchange).await
            }
            Ok(_) => grpc::not_here().into_http(),
            Err(status) => status.into_http(),
        }
    }

    /// Whether hh-treasury calls: TLS has verified that its certificate is of the service issuer and in its time.
    fn is_treasury(&self, peer: &Peer) -> bool {
        let certificate = self.certificate(peer);
        let identity = certificate.map(|certificate| certificate.identity);
        matches!(identity, Some(Identity::Service(name)) if name.to_string() == TREASURY)
    }

    fn certificate(&self, peer: &Peer) -> Option<PeerCertificate> {
        let shown = peer.certificate.as_ref()?;
        PeerCertificate::from_der(shown, &self.authority.domain).ok()
    }

    /// The node that calls, if it may.
    async fn admit(&self, peer: &Peer) -> Result<NodeRow, Status> {
        let certificate = self.certificate(peer);
        let certificate = certificate
            .ok_or_else(|| Status::permission_denied("no certificate of this network"))?;
        let Identity::Node(id) = certificate.identity.clone() else {
            return Err(Status::permission_denied("not a node's certificate"));
        };
        let found: Result<Option<NodeRow>, StoreError> = self
            .store
            .read(move |transaction| {
                let known = node::get(transaction, &id)?;
                let Some(known) = known else {
                    return Ok(None);
                };
                let is_admitted = node::admits(transaction, &known, &certificate)?;
                Ok(is_admitted.then_some(known))
            })
            .await;
        match found {
            Ok(Some(node)) => Ok(node),
            Ok(None) => {
                tracing::warn!(address = %peer.address, "node refused: revoked, unknown, or from before it joined anew");
                Err(Status::permission_denied(
                    "certificate-not-known: enrol this node with a new token",
                ))
            }
            Err(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "node can't be looked up"
                );
                Err(Status::unavailable("the database can't be read now"))
            }
        }
    }

    fn open(
        &self,
        peer: &Peer,
        node: NodeRow,
        incoming: Streaming<NodeMessage>,
    ) -> Messages<CoreMessage> {
        let (outgoing, messages) = mpsc::channel(OUTGOING_QUEUE);
        let talk = Talk::new(self, peer.address, node, incoming, outgoing);
        self.tasks.spawn_session("node session", talk.run());
        Messages(messages)
    }

    /// Another certificate for the node, for a key that it has made anew or kept.
    async fn renew(&self, node: NodeRow, request: RenewRequest) -> Result<RenewResponse, Status> {
        let request = CertificateRequest::from_der(&request.csr_der)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let now = Timestamp::now();
        let identity = Identity::Node(node.id.clone());
        let issued = self
            .authority
            .node_issuer
            .issue(&identity, &request, now.as_second());
        let issued = issued.map_err(|error| {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "certificate not renewed"
            );
            Status::unavailable("no certificate can be made now")
        })?;
        let certificates_der = issued.chain.iter().map(|one| one.to_vec()).collect();
        let id = node.id.clone();
        let written: Result<(), StoreError> = self
            .store
            .call(move |transaction| {
                let of = (&node.id, node.epoch);
                let key_hash = request.key_hash();
                node::put_certificate(transaction, of, key_hash, &issued, now.as_millisecond())
            })
            .await;
        written.map_err(|error| {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "certificate not written"
            );
            Status::unavailable("the database can't be written now")
        })?;
        tracing::info!(node = %id, "certificate renewed");
        Ok(RenewResponse { certificates_der })
    }
}
