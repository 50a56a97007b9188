//! What an order must pass before a node does anything: one pure function over the node's keys, its policy, what it has done and
//! its clock.
//!
//! The order of the checks is part of it. Nothing of an order is read before its signature was found right, and nothing of the command
//! before it is known that it is for this node, now, and new. `seq` stops what was seen before for ever and in one number; the id
//! lets the same order come twice and be carried out once.

use serde::{Deserialize, Serialize};

use crate::NodeId;
use crate::command::{self, AuditHead, Claims, Command, CommandId};
use crate::control_key::CommandPublicKey;
use crate::jws::{JwsError, Presented};
use crate::key_set::KeySet;
use crate::local_policy::{LocalPolicy, Permission, PolicyError};
use crate::pki::TrustDomain;

/// How far the core's clock may be ahead of the node's, in seconds.
pub const CLOCK_AHEAD_SECONDS: i64 = 30;

/// How far a node's clock may be from the core's for it to take orders, in seconds: a wrong clock is told, the window is never
/// made wider.
pub const CLOCK_OFFSET_SECONDS_MAX: i64 = 30;

/// Why an order is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderRefusal {
    /// It is none.
    #[error("it is no order")]
    Malformed(#[source] JwsError),
    /// Its key is none of the core's now.
    #[error("it names a key that is none of the core's for commands now")]
    UnknownKey,
    /// Its key has not signed it.
    #[error("its key has not signed it")]
    Signature,
    /// Its format.
    #[error("it has the format {0}, and this node knows {known}", known = command::VERSION)]
    Version(u32),
    /// Not of this network's core.
    #[error("it is not of the core of this network")]
    Issuer,
    /// For another node.
    #[error("it is for another node")]
    Audience,
    /// The node's clock is wrong.
    #[error("the node's clock is {0} s from the core's: set it (chrony, systemd-timesyncd)")]
    ClockSkew(i64),
    /// From the future.
    #[error("it was made {0} s from now")]
    Early(i64),
    /// Its time is over.
    #[error("it ended {0} s ago")]
    Expired(i64),
    /// It would hold for too long, or ends before it begins.
    #[error("it would hold for {0} s")]
    Lifetime(i64),
    /// Of another time of this node's.
    #[error(
        "it is of the epoch {order}, and the node is in {own}: the core's database is older than this, or the node was enrolled anew"
    )]
    Epoch {
        /// In the order.
        order: u64,
        /// The node's.
        own: u64,
    },
    /// An old one.
    #[error("it has the number {seq}, and {last} was carried out")]
    StaleSequence {
        /// In the order.
        seq: u64,
        /// The last one.
        last: u64,
    },
    /// Not in the set.
    #[error("this node knows no such command")]
    UnknownCommand,
    /// What the command takes.
    #[error("its command can't be carried out")]
    Argument(#[source] command::CommandError),
    /// The owner does not allow it.
    #[error("its command is not allowed here")]
    Policy(#[source] PolicyError),
    /// The configuration is another one by now.
    #[error(
        "it is for the generation {wanted} of the configuration, and that of the node is {own}"
    )]
    Generation {
        /// In the order.
        wanted: u64,
        /// The node's.
        own: u64,
    },
}

impl OrderRefusal {
    /// What a machine takes it by: in a result, and as a label of a metric.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(JwsError::TooLong) => "too-long",
            Self::Malformed(JwsError::Kind) => "wrong-kind",
            Self::Malformed(_) => "malformed",
            Self::UnknownKey => "unknown-key",
            Self::Signature => "wrong-signature",
            Self::Version(_) => "unknown-version",
            Self::Issuer => "wrong-issuer",
            Self::Audience => "wrong-audience",
            Self::ClockSkew(_) => "clock-skew",
            Self::Early(_) => "not-yet-valid",
            Self::Expired(_) => "expired",
            Self::Lifetime(_) => "lifetime",
            Self::Epoch { .. } => "wrong-epoch",
            Self::StaleSequence { .. } => "stale-sequence",
            Self::UnknownCommand => "unknown-command",
            Self::Argument(_) => "argument",
            Self::Policy(_) => "policy",
            Self::Generation { .. } => "generation",
        }
    }

    /// Whether the order is proved to be the core's for this node, so that its result may be told by its id.
    #[must_use]
    pub const fn is_of_a_true_order(&self) -> bool {
        matches!(
            self,
            Self::ClockSkew(_)
                | Self::Early(_)
                | Self::Expired(_)
                | Self::Lifetime(_)
                | Self::Epoch { .. }
                | Self::StaleSequence { .. }
                | Self::UnknownCommand
                | Self::Argument(_)
                | Self::Policy(_)
                | Self::Generation { .. }
        )
    }
}

/// What a node remembers of the orders before. It is on the disk before a command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderState {
    /// The node's epoch, which the core set when it was enrolled.
    pub epoch: u64,
    /// The number of the last order that was taken in this epoch; 0 if there is none.
    pub last_seq: u64,
    /// When the newest order that was taken was made, in Unix seconds: a clock that is set back opens no old window.
    pub newest_iat: i64,
}

/// The node's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeClock {
    /// Unix seconds.
    pub now: i64,
    /// How far it is ahead of the core's, as the core's last word says, in seconds.
    pub offset: i64,
}

/// Everything that an order is held against.
#[derive(Clone, Copy, Debug)]
pub struct CommandGate<'a> {
    /// The network.
    pub domain: &'a TrustDomain,
    /// This node.
    pub node: &'a NodeId,
    /// The core's keys.
    pub keys: &'a KeySet,
    /// What the owner allows.
    pub policy: &'a LocalPolicy,
    /// What was done before.
    pub state: OrderState,
    /// The clock.
    pub clock: NodeClock,
}

/// What the node knows of a service's configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CurrentConfig<'a> {
    /// Its generation; 0 if none was ever applied.
    pub generation: u64,
    /// Its text; none if it can't be read.
    pub text: Option<&'a str>,
}

/// An order that passed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedOrder {
    /// Its name.
    pub id: CommandId,
    /// Its number; what lies between the last one and it was lost or kept back, and is told.
    pub seq: u64,
    /// The operator who asked for it.
    pub operator: String,
    /// What to do.
    pub command: Command,
    /// When it must be done, in seconds from its start.
    pub deadline_seconds: u32,
    /// The audit log when it was made.
    pub audit: Option<AuditHead>,
    /// How many orders are missing before it.
    pub missing: u64,
    /// What to remember once it is written down.
    pub state: OrderState,
}

/// What becomes of an order that is not refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It came before: its result is told again, and nothing is done.
    Known(CommandId),
    /// It is carried out.
    Run(AcceptedOrder),
    /// It waits until the owner has consented, for this reason.
    AskOwner(AcceptedOrder, String),
}

impl CommandGate<'_> {
    /// Holds an order against all that it must pass. `is_known` says whether an order of that id was taken before, `config` what the
    /// configuration of a service is.
    ///
    /// # Errors
    /// The first that is wrong, in the order of the module's text.
    pub fn check<'c>(
        &self,
        order: &str,
        is_known: impl FnOnce(CommandId) -> bool,
        config: impl FnOnce(&command::ServiceName) -> CurrentConfig<'c>,
    ) -> Result<Verdict, OrderRefusal> {
        let claims = self.signed_claims(order)?;
        self.check_names(&claims)?;
        self.check_window(&claims)?;
        if claims.epoch != self.state.epoch {
            let (order, own) = (claims.epoch, self.state.epoch);
            return Err(OrderRefusal::Epoch { order, own });
        }
        if is_known(claims.jti) {
            return Ok(Verdict::Known(claims.jti));
        }
        let (seq, last) = (claims.seq, self.state.last_seq);
        // A journal of SQLite keeps no number above that.
        if seq <= last || i64::try_from(seq).is_err() {
            return Err(OrderRefusal::StaleSequence { seq, last });
        }
        let command = serde_json::from_str::<Command>(claims.cmd.get());
        let command = command.map_err(|_shows_a_part| OrderRefusal::UnknownCommand)?;
        command.check().map_err(OrderRefusal::Argument)?;
        let config = command.service().map(config).unwrap_or_default();
        let permission = self.policy.judge(&command, config.text);
        let permission = permission.map_err(OrderRefusal::Policy)?;
        check_generation(&command, &claims, config.generation)?;
        let accepted = self.accepted(claims, command);
        Ok(match permission {
            Permission::Allowed => Verdict::Run(accepted),
            Permission::AskOwner(why) => Verdict::AskOwner(accepted, why),
        })
    }

    /// Size, header, key, signature; then the claims.
    fn signed_claims(&self, order: &str) -> Result<Claims, OrderRefusal> {
        let presented =
            Presented::<CommandPublicKey>::parse(order, command::TYPE, command::ORDER_BYTES_MAX);
        let presented = presented.map_err(OrderRefusal::Malformed)?;
        let key = presented.kid;
        if !self.keys.commands_by(&key, self.now()) {
            return Err(OrderRefusal::UnknownKey);
        }
        if !key.has_signed(presented.signed.as_bytes(), &presented.signature) {
            return Err(OrderRefusal::Signature);
        }
        let claims: Claims = presented.claims().map_err(OrderRefusal::Malformed)?;
        // A node's journal has numbers of 63 bits.
        let numbers = [claims.seq, claims.epoch];
        if numbers.iter().any(|number| i64::try_from(*number).is_err()) {
            return Err(OrderRefusal::Malformed(JwsError::Claims));
        }
        Ok(claims)
    }

    fn check_names(&self, claims: &Claims) -> Result<(), OrderRefusal> {
        if claims.ver != command::VERSION {
            return Err(OrderRefusal::Version(claims.ver));
        }
        if claims.iss != command::core_name(self.domain) {
            return Err(OrderRefusal::Issuer);
        }
        if claims.aud != command::node_name(self.domain, self.node) {
            return Err(OrderRefusal::Audience);
        }
        Ok(())
    }

    fn check_window(&self, claims: &Claims) -> Result<(), OrderRefusal> {
        let offset = self.clock.offset;
        if offset.unsigned_abs() > CLOCK_OFFSET_SECONDS_MAX.unsigned_abs() {
            return Err(OrderRefusal::ClockSkew(offset));
        }
        let begin = claims.iat.max(claims.nbf);
        let early = begin.saturating_sub(self.clock.now);
        if early > CLOCK_AHEAD_SECONDS {
            return Err(OrderRefusal::Early(early));
        }
        let life = claims.exp.saturating_sub(claims.iat.min(claims.nbf));
        if !(1..=command::ORDER_SECONDS_MAX).contains(&life) {
            return Err(OrderRefusal::Lifetime(life));
        }
        if self.now() >= claims.exp {
            return Err(OrderRefusal::Expired(self.now().saturating_sub(claims.exp)));
        }
        Ok(())
    }

    /// The time, which never goes back behind an order that was taken.
    fn now(&self) -> i64 {
        self.clock.now.max(self.state.newest_iat)
    }

    fn accepted(&self, claims: Claims, command: Command) -> AcceptedOrder {
        AcceptedOrder {
            id: claims.jti,
            seq: claims.seq,
            operator: claims.sub,
            command,
            deadline_seconds: claims.deadline_s.min(command::DEADLINE_SECONDS_MAX),
            audit: claims.audit,
            missing: claims.seq - self.state.last_seq - 1,
            state: OrderState {
                epoch: self.state.epoch,
                last_seq: claims.seq,
                newest_iat: self.state.newest_iat.max(claims.iat),
            },
        }
    }
}

/// Whether the configuration is the one that the order is for, and the new one is newer.
fn check_generation(command: &Command, claims: &Claims, own: u64) -> Result<(), OrderRefusal> {
    if let Some(wanted) = claims.pre.as_ref().map(|pre| pre.generation)
        && wanted != own
    {
        return Err(OrderRefusal::Generation { wanted, own });
    }
    if let Command::ConfigApply { generation, .. } = command
        && *generation <= own
    {
        let wanted = *generation;
        return Err(OrderRefusal::Generation { wanted, own });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
