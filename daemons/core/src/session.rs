//! The port where nodes have their sessions: who is let in, and what may be called.
//!
//! TLS has verified that a certificate is of the node issuer and in its time. Whether it is of the node as it is now is asked of the
//! database at every call: a node that joined anew, or that was revoked, is refused whatever it shows.

mod incoming;
mod invoice_pace;
mod talk;
mod told_inventory;

use crate::authority::Authority;
use crate::checkpoint::Checkpoints;
use crate::fleet::{Fleet, Measured};
use crate::grpc::{self, Answer, Call, Messages};
use crate::listener::{Peer, Service};
use crate::node::{self, Admission, NodeRow};
use crate::operations::Operations;
use crate::payout_inbox::PayoutInbox;
use crate::permission::Who;
use crate::relay::Relay;
use crate::store::{Store, StoreError};
use crate::telemetry::Intake;
use futures::future::BoxFuture;
use hh_daemon::Tasks;
use hh_ipc::agent::{
    CoreMessage, MAX_POLL_MESSAGES, Method, NodeMessage, POLL_BYTES, PollRequest, PollResponse,
    REVOKED, RenewRequest, RenewResponse, TREASURY, TelemetryBatch, node_message,
};
use hh_trust::pki::{CertificateRequest, Identity, PeerCertificate};
use incoming::Incoming;
use jiff::Timestamp;
use prost::Message;
use std::sync::Arc;
use std::time::Duration;
use talk::Talk;
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

/// Messages to a node that wait for its connection: a delivery of commands, and a few words more.
const OUTGOING_QUEUE: usize = 128;

/// A poll waits for so long at most: networks that cut streams cut what is silent, too, and a node is taken to be gone after 16 s.
const POLL_WAIT_MAX: Duration = Duration::from_secs(10);

/// What answers on the port.
#[derive(Clone)]
pub(crate) struct Sessions {
    pub(crate) authority: Arc<Authority>,
    pub(crate) store: Store,
    pub(crate) fleet: Fleet,
    pub(crate) operations: Operations,
    pub(crate) inbox: PayoutInbox,
    pub(crate) telemetry: Intake,
    /// None where blocks are not relayed.
    pub(crate) relay: Option<Relay>,
    pub(crate) checkpoints: Checkpoints,
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
                    let last = Measured::last_of(&batch);
                    let ack = self.telemetry.push(node.id.clone(), batch).await?;
                    if let Some(last) = last {
                        self.fleet.measured(&node.id, last);
                    }
                    Ok::<_, Status>(ack)
                };
                grpc::unary(call, push).await
            }
            Method::Renew => {
                let renew = move |request| async move { self.renew(node, request).await };
                grpc::unary(call, renew).await
            }
            Method::Relay => match self.relay {
                Some(relay) => {
                    let open = move |incoming| relay.open(&node, incoming);
                    grpc::streaming(call, open).await
                }
                None => Status::unavailable("no blocks are relayed here").into_http(),
            },
            Method::Poll => {
                let poll = move |request| async move { self.poll(&peer, node, request).await };
                grpc::unary(call, poll).await
            }
            // The permission table has refused them.
            Method::Enrol | Method::Recover | Method::ExchangePayouts => {
                grpc::not_here().into_http()
            }
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
        let found: Result<Option<(NodeRow, Admission)>, StoreError> = self
            .store
            .read(move |transaction| {
                let known = node::get(transaction, &id)?;
                let Some(known) = known else {
                    return Ok(None);
                };
                let admission = node::admission(transaction, &known, &certificate)?;
                Ok(Some((known, admission)))
            })
            .await;
        match found {
            Ok(Some((node, Admission::Admitted))) => Ok(node),
            Ok(Some((node, Admission::Revoked))) => {
                tracing::warn!(address = %peer.address, node = %node.id, "node refused: it is revoked");
                // The operator's reason is his own.
                let text =
                    "this node was revoked; enrol it with a new token that was made with --replace";
                Err(Status::permission_denied(format!("{REVOKED}: {text}")))
            }
            Ok(Some((_, Admission::Stranger)) | None) => {
                tracing::warn!(address = %peer.address, "node refused: unknown, or from before it joined anew");
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
        let incoming = Incoming::stream(incoming);
        let talk = Talk::new(self, peer.address, node, incoming, outgoing);
        self.tasks.spawn_session("node session", talk.run());
        Messages(messages)
    }

    /// A session that lasts for one call. The next one takes its place.
    async fn poll(
        &self,
        peer: &Peer,
        node: NodeRow,
        request: PollRequest,
    ) -> Result<PollResponse, Status> {
        if request.messages.len() > MAX_POLL_MESSAGES {
            let text = "more messages than a poll may have";
            return Err(Status::invalid_argument(text));
        }
        let first = request.messages.first();
        let first = first.and_then(|message| message.body.as_ref());
        if !matches!(first, Some(node_message::Body::Hello(_))) {
            let text = "the first message of a poll is a hello";
            return Err(Status::invalid_argument(text));
        }
        let wait = Duration::from_secs(request.wait_seconds.into()).min(POLL_WAIT_MAX);
        let incoming = Incoming::poll(request.messages, wait);
        let (outgoing, sent) = mpsc::channel(OUTGOING_QUEUE);
        let talk = Talk::new(self, peer.address, node, incoming, outgoing);
        let talk = talk.after(request.after_command);
        self.tasks.spawn_session("node poll", talk.run());
        let messages = collected(sent).await;
        Ok(PollResponse { messages })
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
        let written: Result<bool, StoreError> = self
            .store
            .call(move |transaction| {
                // It may have been revoked, or have joined anew, since it was let in.
                let known = node::get(transaction, &node.id)?;
                if !known.is_some_and(|known| known.is_still(&node)) {
                    return Ok(false);
                }
                let of = (&node.id, node.epoch);
                let (key_hash, at_ms) = (request.key_hash(), now.as_millisecond());
                node::put_certificate(transaction, of, key_hash, &issued, at_ms)?;
                node::set_recoveries(transaction, &node.id, 0)?;
                Ok(true)
            })
            .await;
        let is_written = written.map_err(|error| {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "certificate not written"
            );
            Status::unavailable("the database can't be written now")
        })?;
        if !is_written {
            return Err(Status::permission_denied("not the node that it was"));
        }
        tracing::info!(node = %id, "certificate renewed");
        Ok(RenewResponse { certificates_der })
    }
}

/// What goes into the answer to a poll. What finds no room comes by the next one; it is taken all the same, as what the node has said
/// is heard to its end only if what is said to it goes somewhere.
async fn collected(mut sent: mpsc::Receiver<CoreMessage>) -> Vec<CoreMessage> {
    let (mut messages, mut bytes) = (Vec::new(), 0);
    while let Some(message) = sent.recv().await {
        if bytes < POLL_BYTES {
            bytes += message.encoded_len();
            messages.push(message);
        }
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;
    use hh_ipc::agent::{Goodbye, core_message};

    #[tokio::test]
    async fn whoever_fills_the_answer_to_a_poll_is_heard_to_the_end() {
        let long = CoreMessage {
            body: Some(core_message::Body::Goodbye(Goodbye {
                reason: "x".repeat(POLL_BYTES / 2),
                code: String::new(),
            })),
        };
        let (outgoing, sent) = mpsc::channel(1);
        let saying = async move {
            for _ in 0..10 {
                outgoing.send(long.clone()).await.unwrap();
            }
        };
        let ((), messages) = tokio::join!(saying, collected(sent));
        assert_eq!(messages.len(), 2);
    }
}
