//! The link to core: joins, dials, has a session, and dials again for ever, a little later each time.
//!
//! It owns the node's identity. A session is one task; what it can't do without core waits, and nothing of the node's own work does.

mod poller;
mod session;
mod way;

pub(crate) use way::Way;

use crate::backoff::Backoff;
use crate::dial::{self, Channel, DialError, Target};
use crate::enrol::{self, TokenMark};
use crate::identity::{Enrolled, Identity, IdentityError};
use crate::recovery::{self, RecoverError};
use crate::report::Reporter;
use crate::witness::LogWitness;
use crate::worker::{ClockOffset, Ends};
use hh_daemon::{Chain, Failure, Tasks};
use hh_ipc::agent::{AuditCheckpoint, NodeAccount, RenewRequest, RenewResponse, path};
use hh_trust::pki::{ChannelError, KeySlot, RequestError};
use jiff::Timestamp;
use session::{Due, End, Session, Speaker, Step};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often it is looked whether an operator has put a token there.
const TOKEN_POLL: Duration = Duration::from_secs(2);

/// A session that lasted so long was a good one: the next is not waited for.
const GOOD_SESSION: Duration = Duration::from_secs(60);

/// Between attempts of a node that core has revoked: nothing but a new token, which is noticed at once, or a core that was restored from
/// a backup lets it in.
const REVOKED_PAUSE: Duration = Duration::from_secs(600);

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
enum LinkError {
    #[error("what core gave this node is damaged: enrol it with a new token")]
    Damaged,
    #[error("the certificate of this node ended {seconds} s ago by this machine's clock")]
    Expired { seconds: i64 },
    #[error("the certificate of this node has ended, and core gave it no other one")]
    Recover(#[from] RecoverError),
    #[error("TLS can't be set up")]
    Tls(#[from] ChannelError),
    #[error(transparent)]
    Dial(#[from] DialError),
    #[error(transparent)]
    Identity(#[from] IdentityError),
    #[error("no request for a certificate could be made")]
    Request(#[from] RequestError),
}

impl LinkError {
    fn is_revoked(&self) -> bool {
        match self {
            Self::Dial(error) | Self::Recover(RecoverError::Dial(error)) => error.is_revoked(),
            _ => false,
        }
    }
}

/// The task.
pub(crate) struct Link {
    pub(crate) identity: Identity,
    pub(crate) witness: LogWitness,
    pub(crate) token_file: PathBuf,
    pub(crate) tasks: Tasks,
    pub(crate) worker: Ends,
    pub(crate) reporter: Reporter,
    pub(crate) clock: ClockOffset,
    pub(crate) renew: Arc<Notify>,
    /// What the worker is told of the identity.
    pub(crate) enrolled: watch::Sender<Option<Enrolled>>,
    /// The connection, for those who have calls of their own.
    pub(crate) channel: watch::Sender<Option<Channel>>,
    /// Where core is while there is a session, for those who have connections of their own.
    pub(crate) target: watch::Sender<Option<Target>>,
    /// Core has revoked this node, which was told.
    pub(crate) is_revoked: bool,
    pub(crate) way: Way,
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
            let began = Instant::now();
            let token = enrol::token_mark(&self.token_file);
            let attempt = stop.run_until_cancelled(self.attempt()).await;
            self.channel.send_replace(None);
            self.target.send_replace(None);
            self.account.send_replace(None);
            metrics::gauge!("hyperhash_agent_connected").set(0.0);
            match attempt {
                None => return Ok(()),
                Some(Ok(End::Revoked)) => self.tell_revoked(),
                Some(Ok(end)) => tracing::info!(why = %end, "session ended"),
                Some(Err(failure)) => tracing::warn!(error = %failure, "no session with core"),
            }
            if began.elapsed() >= GOOD_SESSION {
                backoff.reset();
            }
            let pause = match self.is_revoked {
                true => REVOKED_PAUSE,
                false => backoff.dial_pause(),
            };
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
                // Whoever brings a token waits for what comes of it.
                () = self.token_appears(token) => backoff.reset(),
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
                joined => {
                    joined?;
                    self.is_revoked = false;
                }
            }
        }
        self.enrolled
            .send_replace(self.identity.enrolled().cloned());
        match self.session().await {
            Err(error) if error.is_revoked() => Ok(End::Revoked),
            ended => Ok(ended?),
        }
    }

    /// Has a session until it ends.
    async fn session(&mut self) -> Result<End, LinkError> {
        let mut credentials = match self.credentials() {
            Err(LinkError::Expired { seconds }) => {
                tracing::warn!(
                    seconds,
                    "the certificate of this node has ended; asking core for another one"
                );
                recovery::recover(&mut self.identity, &self.tasks).await?;
                let enrolled = self.identity.enrolled().cloned();
                self.enrolled.send_replace(enrolled);
                self.credentials()?
            }
            credentials => credentials?,
        };
        let channel = dial::dial(&credentials.target, &self.tasks).await?;
        if Timestamp::now().as_second() >= credentials.renew_at {
            self.renew_certificate(&mut credentials, &channel).await?;
        }
        let (began, polls_until) = (Instant::now(), self.way.polls_until(Instant::now()));
        let session = self.open(&channel, polls_until).await?;
        self.channel.send_replace(Some(channel.clone()));
        self.target.send_replace(Some(credentials.target.clone()));
        self.is_revoked = false;
        metrics::gauge!("hyperhash_agent_revoked").set(0.0);
        metrics::gauge!("hyperhash_agent_connected").set(1.0);
        let end = self.follow(session, &channel, &mut credentials).await?;
        if polls_until.is_none() {
            match end.is_of_the_connection() {
                true => self.way.cut(began.elapsed(), Instant::now()),
                false => self.way.held(),
            }
        }
        Ok(end)
    }

    async fn open(
        &mut self,
        channel: &Channel,
        polls_until: Option<Instant>,
    ) -> Result<Session, DialError> {
        if let Some(until) = polls_until {
            return Session::poll(channel, self.speaker(), &self.tasks, until).await;
        }
        let opened = Session::open(channel, self.speaker()).await;
        if opened.as_ref().is_err_and(DialError::is_cut) {
            self.way.cut(Duration::ZERO, Instant::now());
        }
        opened
    }

    fn speaker(&self) -> Speaker<'_> {
        Speaker {
            identity: &self.identity,
            reporter: self.reporter.clone(),
            audit: self.witness.seen(),
        }
    }

    /// Says once what it means, until there is a session again.
    fn tell_revoked(&mut self) {
        if !self.is_revoked {
            tracing::error!(
                retry_seconds = REVOKED_PAUSE.as_secs(),
                "core has revoked this node: its services run on, and it takes no orders and reports nothing until an operator lets it \
                 join anew (hhctl token create NODE --replace)"
            );
        }
        self.is_revoked = true;
        metrics::gauge!("hyperhash_agent_revoked").set(1.0);
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
            let step = session.run(&mut self.worker, &self.clock, due);
            match step.await {
                Step::End(end) => return Ok(end),
                Step::KeySet(text) => {
                    if self.identity.take_key_set(&text)? {
                        tracing::info!("newer list of core's keys taken");
                        self.enrolled
                            .send_replace(self.identity.enrolled().cloned());
                    }
                }
                Step::Audit(shown) => self.see(&shown),
                Step::Account(account) => {
                    self.account.send_replace(Some(account));
                }
                Step::Renew => self.renew_certificate(credentials, channel).await?,
            }
        }
    }

    /// What can't be kept now is shown again with the next heartbeat.
    fn see(&mut self, shown: &AuditCheckpoint) {
        let Some(enrolled) = self.identity.enrolled() else {
            return;
        };
        if let Err(error) = self.witness.hear(enrolled, shown) {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "checkpoint of the audit log not kept"
            );
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

    /// Returns when a token is put where none was, or in the place of one that core has refused: that one is tried again at the pace of
    /// other attempts.
    async fn token_appears(&self, before: Option<TokenMark>) {
        loop {
            tokio::time::sleep(TOKEN_POLL).await;
            let now = enrol::token_mark(&self.token_file);
            if now.is_some() && now != before {
                return;
            }
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
