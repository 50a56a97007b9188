//! What a core may tell a node to do: a closed set, each with the types of what it takes, and the signed order that carries one.
//!
//! There is no shell, no path and no image in it. A service is a name of [`ServiceName`]'s letters, so that nothing that is made of
//! it can be another unit, an option or a path. What an order must pass on the node is in [`crate::command_gate`].

use std::fmt;
use std::str::FromStr;

use bitcoin::hashes::{Hash, sha256};
use ring::rand::SystemRandom;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::NodeId;
use crate::control_key::CommandKey;
use crate::jws;
use crate::pki::{Identity, TrustDomain};

/// Longest order in bytes: the largest configuration, in base64 twice, and a margin. More is not looked at.
pub const ORDER_BYTES_MAX: usize = 192 * 1024;

/// Largest configuration of a service in bytes.
pub const CONFIG_BYTES_MAX: usize = 64 * 1024;

/// Most lines of a log in one answer.
pub const LOG_LINES_MAX: u16 = 500;

/// An order holds for no longer, in seconds: what is stopped on its way must not work an hour later.
pub const ORDER_SECONDS_MAX: i64 = 300;

/// A command may run for no longer, in seconds.
pub const DEADLINE_SECONDS_MAX: u32 = 600;

/// The format of orders.
pub(crate) const VERSION: u32 = 1;

pub(crate) const TYPE: &str = "hh-command+jwt";

/// Longest texts in a command, in bytes: a cursor, an invoice's words, an invoice to pay.
const TEXT_BYTES_MAX: usize = 2_000;

/// Why a command is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// What it takes can't be.
    #[error("the command {command} takes {rule}")]
    Argument {
        /// Which one.
        command: &'static str,
        /// What it takes.
        rule: &'static str,
    },
    /// A text that is no name of a service.
    #[error("{0:?} is no service: write 1 to 64 of a-z, 0-9 and -, a letter first")]
    Service(String),
    /// A text that is no id or digest.
    #[error("it is no {0}")]
    Hex(&'static str),
    /// An order that would not be taken.
    #[error("the order has {0}")]
    Order(&'static str),
    /// The operating system gives no randomness.
    #[error("the operating system gives no randomness for an id")]
    Randomness,
}

/// A service of a node, by the name that its local policy has for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ServiceName(String);

/// The random name of an order: who sends it again sends the same one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct CommandId([u8; 16]);

/// A SHA-256.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Digest(pub [u8; 32]);

/// What a node is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", content = "args", deny_unknown_fields)]
pub enum Command {
    /// Nothing: to answer.
    #[serde(rename = "ping")]
    Ping {},
    /// To start a service.
    #[serde(rename = "service.start")]
    ServiceStart {
        /// Which one.
        service: ServiceName,
    },
    /// To stop a service.
    #[serde(rename = "service.stop")]
    ServiceStop {
        /// Which one.
        service: ServiceName,
    },
    /// To stop and start a service.
    #[serde(rename = "service.restart")]
    ServiceRestart {
        /// Which one.
        service: ServiceName,
    },
    /// To say how a service is.
    #[serde(rename = "service.status")]
    ServiceStatus {
        /// Which one.
        service: ServiceName,
    },
    /// To show lines of a service's log.
    #[serde(rename = "logs.tail")]
    LogsTail {
        /// Whose.
        service: ServiceName,
        /// How many at most.
        lines: u16,
        /// Those after this cursor; the last ones where there is none.
        after: Option<String>,
    },
    /// To give a service another configuration, and restart it.
    #[serde(rename = "config.apply")]
    ConfigApply {
        /// Which one.
        service: ServiceName,
        /// The number of this configuration, higher than the last one's.
        generation: u64,
        /// SHA-256 of the body.
        sha256: Digest,
        /// The TOML text.
        body: String,
    },
    /// To take no new miners and let those who are there go, or to end that.
    #[serde(rename = "node.drain")]
    Drain {
        /// Whether to begin.
        on: bool,
    },
    /// To have the node's certificate renewed now.
    #[serde(rename = "certificate.renew")]
    CertificateRenew {},
    /// To say what the node's wallet has.
    #[serde(rename = "wallet.read")]
    WalletRead {},
    /// To make an invoice for the node's dues.
    #[serde(rename = "wallet.invoice")]
    WalletInvoice {
        /// Of how much.
        amount_msat: u64,
        /// What it is for.
        description: String,
    },
    /// To pay from the node's wallet: with its owner's consent only.
    #[serde(rename = "wallet.spend")]
    WalletSpend {
        /// A BOLT11 invoice or a Bitcoin address.
        destination: String,
        /// How much.
        amount_msat: u64,
        /// What it may cost.
        fee_msat_max: u64,
    },
}

impl Command {
    /// Its name, as on the wire: for logs, metrics and the audit log.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Ping {} => "ping",
            Self::ServiceStart { .. } => "service.start",
            Self::ServiceStop { .. } => "service.stop",
            Self::ServiceRestart { .. } => "service.restart",
            Self::ServiceStatus { .. } => "service.status",
            Self::LogsTail { .. } => "logs.tail",
            Self::ConfigApply { .. } => "config.apply",
            Self::Drain { .. } => "node.drain",
            Self::CertificateRenew {} => "certificate.renew",
            Self::WalletRead {} => "wallet.read",
            Self::WalletInvoice { .. } => "wallet.invoice",
            Self::WalletSpend { .. } => "wallet.spend",
        }
    }

    /// The service that it is about.
    #[must_use]
    pub const fn service(&self) -> Option<&ServiceName> {
        match self {
            Self::ServiceStart { service }
            | Self::ServiceStop { service }
            | Self::ServiceRestart { service }
            | Self::ServiceStatus { service }
            | Self::LogsTail { service, .. }
            | Self::ConfigApply { service, .. } => Some(service),
            Self::Ping {}
            | Self::Drain { .. }
            | Self::CertificateRenew {}
            | Self::WalletRead {}
            | Self::WalletInvoice { .. }
            | Self::WalletSpend { .. } => None,
        }
    }

    /// Whether it may be carried out again when nobody knows whether it was.
    #[must_use]
    pub const fn is_repeatable(&self) -> bool {
        match self {
            Self::Ping {}
            | Self::ServiceStart { .. }
            | Self::ServiceStop { .. }
            | Self::ServiceStatus { .. }
            | Self::LogsTail { .. }
            | Self::ConfigApply { .. }
            | Self::Drain { .. }
            | Self::CertificateRenew {}
            | Self::WalletRead {} => true,
            // A second restart drops miners again, a second invoice is a second claim, a second payment is money.
            Self::ServiceRestart { .. } | Self::WalletInvoice { .. } | Self::WalletSpend { .. } => {
                false
            }
        }
    }

    /// What the types of its arguments do not say.
    ///
    /// # Errors
    /// What it takes.
    pub fn check(&self) -> Result<(), CommandError> {
        let command = self.name();
        let rule = |holds: bool, rule| match holds {
            true => Ok(()),
            false => Err(CommandError::Argument { command, rule }),
        };
        match self {
            Self::LogsTail { lines, after, .. } => {
                rule((1..=LOG_LINES_MAX).contains(lines), "1 to 500 lines")?;
                let is_cursor = after.as_deref().is_none_or(is_plain);
                rule(is_cursor, "a cursor of plain letters")
            }
            Self::ConfigApply {
                generation,
                sha256,
                body,
                ..
            } => {
                let is_kept = i64::try_from(*generation).is_ok();
                rule(is_kept, "a generation of at most 63 bits")?;
                rule(body.len() <= CONFIG_BYTES_MAX, "a body of at most 64 KiB")?;
                rule(
                    Digest::of(body.as_bytes()) == *sha256,
                    "the hash of its body",
                )
            }
            Self::WalletInvoice {
                amount_msat,
                description,
            } => {
                rule(*amount_msat > 0, "an amount above zero")?;
                let is_words = description.len() <= TEXT_BYTES_MAX
                    && !description.chars().any(char::is_control);
                rule(is_words, "a short description without control characters")
            }
            Self::WalletSpend {
                destination,
                amount_msat,
                fee_msat_max,
            } => {
                rule(*amount_msat > 0, "an amount above zero")?;
                let sum = amount_msat.checked_add(*fee_msat_max);
                rule(sum.is_some(), "an amount and a fee whose sum is one")?;
                rule(is_plain(destination), "a plain invoice or address")
            }
            Self::Ping {}
            | Self::ServiceStart { .. }
            | Self::ServiceStop { .. }
            | Self::ServiceRestart { .. }
            | Self::ServiceStatus { .. }
            | Self::Drain { .. }
            | Self::CertificateRenew {}
            | Self::WalletRead {} => Ok(()),
        }
    }

    /// SHA-256 of its JSON: what a consent is for.
    ///
    /// # Panics
    /// Never: texts and numbers have a JSON.
    #[must_use]
    pub fn digest(&self) -> Digest {
        let json = serde_json::to_vec(self).expect("texts and numbers have a JSON");
        Digest::of(&json)
    }
}

fn is_plain(text: &str) -> bool {
    (1..=TEXT_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// An order of the core to one node: a command and what makes it that node's, once and now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The network.
    pub domain: TrustDomain,
    /// Who is to carry it out.
    pub node: NodeId,
    /// The operator who asked for it.
    pub operator: String,
    /// Its name; the same when it is sent again.
    pub id: CommandId,
    /// When it was made, in Unix seconds.
    pub issued_at: i64,
    /// When it holds no more, in Unix seconds.
    pub expires_at: i64,
    /// The node's epoch: a new one when it is enrolled anew, or the core's database was restored.
    pub epoch: u64,
    /// Higher than that of each order before in this epoch.
    pub seq: u64,
    /// What to do.
    pub command: Command,
    /// Only if this is the generation of the service's configuration.
    pub if_generation: Option<u64>,
    /// For how long it may run, in seconds.
    pub deadline_seconds: u32,
    /// The audit log when it was made: what the core has told a node can't be taken out of it.
    pub audit: Option<AuditHead>,
}

/// How far an audit log went, and what was in it: the Merkle root over so many entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuditHead {
    /// Entries.
    pub size: u64,
    /// Their Merkle root (RFC 6962).
    pub root: Digest,
}

/// What an order's token says. The command is read only after everything around it was found right.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Claims {
    pub(crate) ver: u32,
    pub(crate) iss: String,
    pub(crate) aud: String,
    pub(crate) sub: String,
    pub(crate) jti: CommandId,
    pub(crate) iat: i64,
    pub(crate) nbf: i64,
    pub(crate) exp: i64,
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
    pub(crate) cmd: Box<RawValue>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) pre: Option<Precondition>,
    pub(crate) deadline_s: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) audit: Option<AuditHead>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Precondition {
    pub(crate) generation: u64,
}

/// Who orders: the core of a network, whichever replica.
pub(crate) fn core_name(domain: &TrustDomain) -> String {
    format!("spiffe://{domain}/core")
}

/// Who is ordered.
pub(crate) fn node_name(domain: &TrustDomain, node: &NodeId) -> String {
    Identity::Node(node.clone()).uri(domain)
}

impl Order {
    /// The order's text, signed.
    ///
    /// # Errors
    /// No node would take it.
    pub fn sign(&self, key: &CommandKey) -> Result<String, CommandError> {
        self.command.check()?;
        let seconds = self.expires_at.saturating_sub(self.issued_at);
        if !(1..=ORDER_SECONDS_MAX).contains(&seconds) {
            return Err(CommandError::Order("no life between 1 and 300 s"));
        }
        if !(1..=DEADLINE_SECONDS_MAX).contains(&self.deadline_seconds) {
            return Err(CommandError::Order("no deadline between 1 and 600 s"));
        }
        if !is_plain(&self.operator) {
            return Err(CommandError::Order("no plain name of an operator"));
        }
        let json = serde_json::to_string(&self.command);
        let json = json.expect("texts and numbers have a JSON");
        let claims = Claims {
            ver: VERSION,
            iss: core_name(&self.domain),
            aud: node_name(&self.domain, &self.node),
            sub: self.operator.clone(),
            jti: self.id,
            iat: self.issued_at,
            nbf: self.issued_at,
            exp: self.expires_at,
            epoch: self.epoch,
            seq: self.seq,
            cmd: RawValue::from_string(json).expect("it was just made"),
            pre: self
                .if_generation
                .map(|generation| Precondition { generation }),
            deadline_s: self.deadline_seconds,
            audit: self.audit,
        };
        let token = jws::compact(TYPE, key.public_key(), &claims, |bytes| key.sign(bytes));
        match token.len() <= ORDER_BYTES_MAX {
            true => Ok(token),
            false => Err(CommandError::Order("more bytes than a node reads")),
        }
    }
}

impl CommandId {
    /// A fresh one.
    ///
    /// # Errors
    /// [`CommandError::Randomness`].
    pub fn generate() -> Result<Self, CommandError> {
        let random = ring::rand::generate(&SystemRandom::new());
        let random = random.map_err(|_says_no_more| CommandError::Randomness)?;
        Ok(Self(random.expose()))
    }
}

impl Digest {
    /// The SHA-256 of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(sha256::Hash::hash(bytes).to_byte_array())
    }
}

impl FromStr for ServiceName {
    type Err = CommandError;

    fn from_str(text: &str) -> Result<Self, CommandError> {
        let takes = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_name = (1..=64).contains(&text.len()) && text.bytes().all(takes);
        if is_name && text.starts_with(|first: char| first.is_ascii_lowercase()) {
            return Ok(Self(text.to_owned()));
        }
        Err(CommandError::Service(text.chars().take(64).collect()))
    }
}

impl FromStr for CommandId {
    type Err = CommandError;

    fn from_str(text: &str) -> Result<Self, CommandError> {
        let mut bytes = [0; 16];
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) => Ok(Self(bytes)),
            Err(_) => Err(CommandError::Hex("id of a command (32 hex digits)")),
        }
    }
}

impl FromStr for Digest {
    type Err = CommandError;

    fn from_str(text: &str) -> Result<Self, CommandError> {
        let mut bytes = [0; 32];
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) => Ok(Self(bytes)),
            Err(_) => Err(CommandError::Hex("SHA-256 (64 hex digits)")),
        }
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for CommandId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

macro_rules! serde_form {
    ($name:ident) => {
        impl From<$name> for String {
            fn from(value: $name) -> Self {
                value.to_string()
            }
        }

        impl TryFrom<String> for $name {
            type Error = CommandError;

            fn try_from(text: String) -> Result<Self, CommandError> {
                text.parse()
            }
        }
    };
}
serde_form!(ServiceName);
serde_form!(CommandId);
serde_form!(Digest);

#[cfg(test)]
mod tests;
