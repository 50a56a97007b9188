//! The link to core: joins, dials, has a session, and dials again for ever, a little later each time.
//!
//! It owns the node's identity. A session is one task; what it can't do without core waits, and nothing of the node's own work does.

mod session;

use crate::backoff::Backoff;
use crate::dial::{self, Channel, DialError, Target};
use crate::enrol;
use crate::identity::{Enrolled, Identity, IdentityError};
use crate::supervisor::Supervisor;
use crate::worker::{ClockOffset, Ends};
use hh_daemon::{Chain, Failure, Tasks};
use hh_ipc::agent::{NodeAccount, RenewRequest, RenewResponse, path};
use hh_trust::pki::{ChannelError, KeySlot, RequestError};
use jiff::Timestamp;
use session::{Due, End, Session, Step};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

/// How often it is looked whether an operator has put a token there.
const TOKEN_POLL: Duration = Duration::from_secs(2);

/// A session that lasted so long was a good one: the next is not waited for.
const GOOD_SESSION: Duration = Duration::from_secs(60);

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("what core gave this node is damaged: enrol it with a new token")]
    Damaged,
    #[error("the certificate of this node ended {seconds} s ago: enrol it with a new token")]
    Expired { seconds: i64 },
    #[error("TLS can't be set up")]
    Tls(#[from] ChannelError),
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("no request for a certificate could be made")]
    Request(#[from] RequestError),
}

/// The task.
pub(crate) struct Link {
    pub(crate) identity: Identity,
    pub(crate) token_file: PathBuf,
    pub(crate) tasks: Tasks,
    pub(crate) worker: Ends,
    pub(crate) supervisor: Supervisor,
    pub(crate) clock: ClockOffset,
    pub(crate) renew: Arc<Notify>,
    /// What the worker is told of the identity.
    pub(crate) enrolled: watch::Sender<Option<Enrolled>>,
    /// The connection, for those who have calls of their own.
    pub(crate) channel: watch::Sender<Option<Channel>>,
    /// What core says that the node is owed.
    pub(crate) account: watch::Sender<Option<NodeAccount>>,
}

/// The identity, as TLS needs it.
struct Credentials {
    slot: Arc<KeySlot>,
    target: Target,
    renew_at: i64,
}

impl Link {
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), Failure> {
        let mut backoff = Backoff::default();
        loop {
            let began = tokio::time::Instant::now();
            let attempt = stop.run_until_cancelled(self.attempt()).await;
            self.channel.send_replace(None);
            self.account.send_replace(None);
            metrics::gauge!("hyperhash_agent_connected").set(0.0);
            match attempt {
                None => return Ok(()),
                Some(Ok(end)) => tracing::info!(why = %end, "session ended"),
                Some(Err(failure)) => tracing::warn!(error = %failure, "no session with core"),
            }
            if began.elapsed() >= GOOD_SESSION {
                backoff.reset();
            }
            let pause = tokio::time::sleep(backoff.dial_pause());
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = pause => {}
                // Whoever brings a token waits for what comes of it.
                () = self.token_appears() => backoff.reset(),
            }
        }
    }

    /// Joins if that is due, and has a session until it ends.
    async fn attempt(&mut self) -> Result<End, Failure> {
        if self.identity.enrolled().is_none() || enrol::has_token(&self.token_file) {
            let joining = enrol::enrol(&mut self.identity, &self.token_file, &self.tasks);
            match joining.await {
                Err(error) if self.identity.enrolled().is_some() => {
                    let error = chain(&error);
                    tracing::warn!(
                        error,
                        "the token is of no use; this node goes on as it has joined"
                    );
                }
                joined => joined?,
            }
        }
        self.enrolled
            .send_replace(self.identity.enrolled().cloned());
        let mut credentials = self.credentials()?;
        let channel = dial::dial(&credentials.target, &self.tasks).await?;
        if Timestamp::now().as_second() >= credentials.renew_at {
            self.renew_certificate(&mut credentials, &channel).await?;
        }
        let session = Session::open(&channel, &self.identity, &self.supervisor).await?;
        self.channel.send_replace(Some(channel.clone()));
        metrics::gauge!("hyperhash_agent_connected").set(1.0);
        Ok(self.follow(session, &channel, &mut credentials).await?)
    }

    async fn follow(
        &mut self,
        mut session: Session,
        channel: &Channel,
        credentials: &mut Credentials,
    ) -> Result<End, LinkError> {
        loop {
            let due = Due {
                renew_at: credentials.renew_at,
                renew: &self.renew,
            };
            let step = session.run(&mut self.worker, &self.clock, &self.supervisor, due);
            match step.await {
                Step::End(end) => return Ok(end),
                Step::KeySet(text) => {
                    if self.identity.take_key_set(&text)? {
                        tracing::info!("newer list of core's keys taken");
                        self.enrolled
                            .send_replace(self.identity.enrolled().cloned());
                    }
                }
                Step::Account(account) => {
                    self.account.send_replace(Some(account));
                }
                Step::Renew => self.renew_certificate(credentials, channel).await?,
            }
        }
    }

    fn credentials(&self) -> Result<Credentials, LinkError> {
        let enrolled = self.identity.enrolled().ok_or(LinkError::Damaged)?;
        let damaged = LinkError::Damaged;
        let (Some(chain), Some(key)) = (enrolled.chain(), enrolled.key()) else {
            return Err(damaged);
        };
        let (Some(root), Some(certificate)) = (enrolled.root(), enrolled.certificate()) else {
            return Err(damaged);
        };
        let now = Timestamp::now().as_second();
        let seconds = now - certificate.validity.not_after;
        if seconds >= 0 {
            return Err(LinkError::Expired { seconds });
        }
        let slot = Arc::new(KeySlot::new(chain, &key)?);
        let target = Target {
            address: enrolled.session_address.clone(),
            name: enrolled.domain.core_server_name(),
            tls: Arc::new(hh_trust::pki::session_client(&root, &slot)?),
        };
        Ok(Credentials {
            slot,
            target,
            renew_at: certificate.validity.renew_at(rand::random()),
        })
    }

    /// The one in use holds until it ends, so that an answer that is lost costs nothing.
    async fn renew_certificate(
        &mut self,
        credentials: &mut Credentials,
        channel: &Channel,
    ) -> Result<(), LinkError> {
        let key = self.identity.pending_key()?;
        let request = RenewRequest {
            csr_der: key.request()?,
        };
        let response: RenewResponse = channel.unary(path::RENEW, request).await?;
        let renewed = &response.certificates_der;
        let chain = renewed.iter().map(|one| one.clone().into()).collect();
        // An answer that is of no use leaves what there is.
        credentials.slot.replace(chain, &key)?;
        self.identity.renewed(renewed)?;
        let enrolled = self.identity.enrolled().ok_or(LinkError::Damaged)?;
        let certificate = enrolled.certificate().ok_or(LinkError::Damaged)?;
        credentials.renew_at = certificate.validity.renew_at(rand::random());
        tracing::info!(
            until = certificate.validity.not_after,
            "certificate renewed"
        );
        let enrolled = self.identity.enrolled().cloned();
        self.enrolled.send_replace(enrolled);
        Ok(())
    }

    /// Returns when a token is put where none was. One that core has refused is tried again at the pace of other attempts.
    async fn token_appears(&self) {
        if enrol::has_token(&self.token_file) {
            return std::future::pending().await;
        }
        while !enrol::has_token(&self.token_file) {
            tokio::time::sleep(TOKEN_POLL).await;
        }
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

/// For logs, where an end has a cause.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    Chain(error).to_string()
}
