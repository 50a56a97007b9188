//! What a lane's connection is to its pool: a node's, by its credential, or nobody's in particular, and why.
//!
//! Presents the credential on a new connection, and says what became of it. It never judges one: the pool does. What it finds out
//! itself (another pool's, another lane's, one that has ended) it only spares the pool.

use crate::credential::{Credential, CredentialState};
use hh_sv2::extensions::{CredentialAnswer, EXTENSIONS_DEADLINE, present_credential, request};
use hh_sv2::message::{EXTENSION_NODE_CREDENTIAL, EXTENSION_WORKER_HASHRATE, PresentCredential};
use hh_sv2::{AuthorityPublicKey, Connection, ConnectionError};
use hh_trust::PoolAuthority;
use metrics::{describe_gauge, gauge};
use std::collections::VecDeque;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::watch;

/// The pool's word for a node that it lets in no more.
const REVOKED: &str = "revoked";

/// Why a pool is no use to shared channels, or what comes over it is credited to `core`.
const NO_CREDENTIALS: &str = "the pool does not know of credentials";

/// For how long after its end a credential is taken to hold. The pool sees the end by its own clock, and where that is behind ours, a
/// channel whose difficulty we give back too early is made as easy as its miner takes. Clocks that are kept differ by far less.
const CLOCKS_SECONDS: i64 = 10;

/// To whom the pool credits what comes over a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// There is no connection.
    Away,
    /// To `core`, and why; none where no credential is configured.
    Core(Option<String>),
    /// To a node, until this time in Unix seconds.
    Node { node: String, not_after_unix: i64 },
}

impl Standing {
    fn core(reason: &str) -> Self {
        Self::Core(Some(reason.to_owned()))
    }
}

/// Why a connection is not used, other than that it failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum IntroductionError {
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error(
        "the pool has revoked this node; give it another key, or take [credential] out of the configuration"
    )]
    Revoked,
    #[error(
        "channels = \"aggregated\" needs a pool that leaves the difficulty to this node: {0}; see to that, or write channels = \"separate\""
    )]
    NotOurs(&'static str),
}

/// A connection to a pool, and what it is to it.
pub(crate) struct Wire {
    connection: Connection,
    pub standing: Standing,
    /// A credential may be presented on it: the pool knows of them.
    may_present: bool,
    /// A share on it may name a worker of its channel's account.
    pub names_workers: bool,
    /// What was presented last.
    shown: Option<Arc<Credential>>,
    /// Credentials that are not answered yet.
    pending: VecDeque<Arc<Credential>>,
}

impl Deref for Wire {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl DerefMut for Wire {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.connection
    }
}

impl Wire {
    /// Credited to `core`, and granted nothing.
    fn new(connection: Connection) -> Self {
        Self {
            connection,
            standing: Standing::Core(None),
            may_present: false,
            names_workers: false,
            shown: None,
            pending: VecDeque::new(),
        }
    }

    /// Whether the pool has no vardiff on this connection and leaves it to us, or is about to.
    pub(super) fn is_ours(&self) -> bool {
        self.is_node() || !self.pending.is_empty()
    }

    fn is_node(&self) -> bool {
        matches!(self.standing, Standing::Node { .. })
    }

    /// Why channels could never be shared on it, if they couldn't: each would have to have exactly the target that is asked for, and
    /// each share to name its worker.
    fn why_not_shared(&self) -> Option<&'static str> {
        match (self.may_present, self.names_workers) {
            (false, _) => Some(NO_CREDENTIALS),
            (true, false) => Some("the pool does not take workers' names (extension 0x0002)"),
            (true, true) => None,
        }
    }

    /// What there is to present now to `pool`, if anything; the caller queues it.
    pub(super) fn take_credential(
        &mut self,
        introduction: &Introduction,
        pool: &AuthorityPublicKey,
    ) -> Option<PresentCredential> {
        if !self.may_present {
            return None;
        }
        match introduction.message(pool) {
            Ok((credential, _)) if self.shown.as_ref() == Some(&credential) => None,
            Ok((credential, message)) => {
                self.shown = Some(Arc::clone(&credential));
                self.pending.push_back(credential);
                Some(message)
            }
            Err(reason) => {
                tracing::warn!(reason, "credential not presented");
                // One that was taken holds until its end.
                if !self.is_node() {
                    self.standing = Standing::Core(Some(reason));
                }
                None
            }
        }
    }

    /// The pool's answer to the oldest credential that it has not answered.
    pub(super) fn on_answer(&mut self, answer: CredentialAnswer) {
        let Some(credential) = self.pending.pop_front() else {
            return;
        };
        match standing(&credential, answer) {
            // One that was taken holds until its end.
            Standing::Core(reason) if self.is_node() => {
                tracing::warn!(reason, "credential not renewed");
            }
            standing => self.standing = standing,
        }
    }

    /// Whether the credential that was taken has ended, by anybody's clock: the pool credits `core` since.
    pub(super) fn has_ended(&mut self) -> bool {
        let Standing::Node { not_after_unix, .. } = self.standing else {
            return false;
        };
        // One that is presented now may go on where that one ends.
        let end = not_after_unix.saturating_add(CLOCKS_SECONDS);
        let ended = end <= now_unix() && self.pending.is_empty();
        if ended {
            self.standing = Standing::core("the credential has ended");
        }
        ended
    }
}

/// What one lane presents, to any pool.
#[derive(Clone, Debug)]
pub(crate) struct Introduction {
    lane: String,
    /// Miners of the lane share channels.
    shares_channels: bool,
    state: watch::Receiver<CredentialState>,
}

impl Introduction {
    pub(crate) fn new(lane: &str, state: watch::Receiver<CredentialState>) -> Self {
        describe_gauge!(
            "hyperhash_translator_credential_end_timestamp_seconds",
            "When the credential ends that the pool has taken, by lane; 0 where work is credited to core"
        );
        let introduction = Self {
            lane: lane.to_owned(),
            shares_channels: false,
            state,
        };
        introduction.export(&Standing::Core(None));
        introduction
    }

    /// The same for a lane whose miners share channels: a pool that could never leave the difficulty to us is of no use to it. One that
    /// does not just now is: each miner has a channel of its own then.
    pub(crate) fn for_shared_channels(self) -> Self {
        Self {
            shares_channels: true,
            ..self
        }
    }

    /// On a connection that is set up, before its first channel. A pool that does not know of credentials is mined at without,
    /// unless miners are to share channels; one that takes ours not is mined at in any case.
    ///
    /// # Errors
    /// The connection failed, or the pool does not want this node, or is of no use to the lane.
    pub(super) async fn introduce(
        &self,
        connection: Connection,
        pool: &AuthorityPublicKey,
    ) -> Result<Wire, IntroductionError> {
        let wire = self.present(connection, pool).await?;
        match wire.why_not_shared().filter(|_| self.shares_channels) {
            Some(reason) => Err(IntroductionError::NotOurs(reason)),
            None => Ok(wire),
        }
    }

    async fn present(
        &self,
        connection: Connection,
        pool: &AuthorityPublicKey,
    ) -> Result<Wire, IntroductionError> {
        let mut wire = Wire::new(connection);
        let is_off = *self.state.borrow() == CredentialState::Off;
        let wanted: &[u16] = if is_off {
            &[EXTENSION_WORKER_HASHRATE]
        } else {
            &[EXTENSION_NODE_CREDENTIAL, EXTENSION_WORKER_HASHRATE]
        };
        let granted = request(&mut wire, wanted, EXTENSIONS_DEADLINE).await?;
        wire.names_workers = granted.contains(&EXTENSION_WORKER_HASHRATE);
        wire.may_present = granted.contains(&EXTENSION_NODE_CREDENTIAL);
        if is_off {
            return Ok(wire);
        }
        if !wire.may_present {
            wire.standing = Standing::core(NO_CREDENTIALS);
            return Ok(wire);
        }
        let (credential, message) = match self.message(pool) {
            Ok(message) => message,
            Err(reason) => {
                wire.standing = Standing::Core(Some(reason));
                return Ok(wire);
            }
        };
        let answer = present_credential(&mut wire, message, EXTENSIONS_DEADLINE).await?;
        if answer == CredentialAnswer::Refused(REVOKED.to_owned()) {
            return Err(IntroductionError::Revoked);
        }
        wire.standing = standing(&credential, answer);
        wire.shown = Some(credential);
        Ok(wire)
    }

    /// Shows until when work is credited to a node.
    pub(super) fn export(&self, standing: &Standing) {
        let end = match standing {
            Standing::Away | Standing::Core(_) => 0,
            Standing::Node { not_after_unix, .. } => *not_after_unix,
        };
        #[expect(clippy::cast_precision_loss, reason = "seconds of this millennium")]
        let end = end as f64;
        let lane = self.lane.clone();
        gauge!("hyperhash_translator_credential_end_timestamp_seconds", "lane" => lane).set(end);
    }

    /// There may be something to present: on another connection than the last.
    pub(super) fn mark_changed(&mut self) {
        self.state.mark_changed();
    }

    /// Resolves when there is another credential, or none any more.
    pub(super) async fn changed(&mut self) {
        if self.state.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// What to present to this pool now.
    ///
    /// # Errors
    /// In words, why nothing.
    fn message(
        &self,
        pool: &AuthorityPublicKey,
    ) -> Result<(Arc<Credential>, PresentCredential), String> {
        let credential = match &*self.state.borrow() {
            CredentialState::Off => return Err("no credential is configured".to_owned()),
            CredentialState::Unusable(why) => return Err(why.clone()),
            CredentialState::Read(credential) => Arc::clone(credential),
        };
        let says = &credential.says;
        if says.pool != PoolAuthority::from_bytes(pool.to_bytes()) {
            return Err(format!("the credential is for the pool {}", says.pool));
        }
        if !says.lanes.iter().any(|lane| lane.as_str() == self.lane) {
            return Err("the credential is not for this lane".to_owned());
        }
        if says.not_after <= now_unix() {
            return Err("the credential has ended".to_owned());
        }
        let text = credential.text.clone().into_bytes();
        let message = PresentCredential {
            credential: text
                .try_into()
                .expect("a credential is shorter than 64 KiB"),
            lane: self
                .lane
                .as_str()
                .try_into()
                .expect("a credential's lanes are shorter than 255 bytes"),
        };
        Ok((credential, message))
    }
}

/// What the pool's answer to `credential` makes of a connection.
fn standing(credential: &Credential, answer: CredentialAnswer) -> Standing {
    match answer {
        CredentialAnswer::Taken => Standing::Node {
            node: credential.says.node.to_string(),
            not_after_unix: credential.says.not_after,
        },
        CredentialAnswer::Refused(code) => {
            Standing::Core(Some(format!("the pool refused the credential: {code}")))
        }
        CredentialAnswer::None => Standing::core("the pool did not answer the credential"),
    }
}

/// Unix time in seconds, as the system's clock tells it now.
fn now_unix() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
}
