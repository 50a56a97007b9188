//! What a node lets its core do: a file of the node's owner, which no command changes.
//!
//! What is not in it is refused. What touches money, keys or where work and pay go is asked of the owner each time, whatever the file
//! says: a stolen core must not be able to use up a permission that was meant for something else.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use toml::Value;

use crate::command::{Command, ServiceName};

/// In no part of a configuration that is changed without its owner is one of these words: where work and pay go, who is believed,
/// what is run or written.
const OWNERS_WORDS: [&str; 18] = [
    "address",
    "authority",
    "command",
    "credential",
    "destination",
    "dir",
    "file",
    "key",
    "listen",
    "password",
    "path",
    "payout",
    "policy",
    "secret",
    "socket",
    "token",
    "trust",
    "wallet",
];

/// Deepest key of a configuration that is compared: ours are three deep, and what is deeper is its owner's.
const DEPTH_MAX: usize = 8;

/// What a policy refuses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The service is none of those that it lists.
    #[error("the node's policy has no service {0}")]
    Service(ServiceName),
    /// The service is one, and this may not be done to it.
    #[error("the node's policy does not let the core {verb} {service}")]
    Verb {
        /// Which service.
        service: ServiceName,
        /// What was to be done.
        verb: &'static str,
    },
    /// Something about the node or its wallet.
    #[error("the node's policy does not let the core {0}")]
    Refused(&'static str),
    /// More than it lets be claimed.
    #[error(
        "the node's policy lets the core ask for invoices of up to {max} msat, and not {asked}"
    )]
    Amount {
        /// What was asked for.
        asked: u64,
        /// What is allowed.
        max: u64,
    },
    /// No unit of systemd.
    #[error(
        "{0:?} is no unit: write one such as hh-translator.service, of letters, digits and @._-"
    )]
    Unit(String),
    /// The new configuration is none.
    #[error("the configuration is no TOML")]
    Config,
}

/// What may be done to a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verb {
    /// Start it.
    Start,
    /// Stop it.
    Stop,
    /// Restart it.
    Restart,
    /// Ask how it is.
    Status,
    /// Read its log.
    Logs,
    /// Change its configuration.
    Config,
}

/// The owner's file, as TOML.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LocalPolicy {
    /// The services that the core may touch.
    pub services: BTreeMap<ServiceName, ServicePolicy>,
    /// Whether the core may drain the node.
    pub drain: bool,
    /// The node's wallet.
    pub wallet: WalletPolicy,
}

/// A service unit of systemd, by a name in which nothing is a path, an option or a pattern.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct UnitName(String);

impl UnitName {
    /// As systemd has it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for UnitName {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let takes = |byte: u8| byte.is_ascii_alphanumeric() || b"@._-".contains(&byte);
        let stem = text.strip_suffix(".service").unwrap_or_default();
        let is_unit = (1..=200).contains(&stem.len())
            && stem.bytes().all(takes)
            && stem.starts_with(|first: char| first.is_ascii_alphanumeric());
        match is_unit {
            true => Ok(Self(text.to_owned())),
            false => Err(PolicyError::Unit(text.chars().take(64).collect())),
        }
    }
}

impl TryFrom<String> for UnitName {
    type Error = PolicyError;

    fn try_from(text: String) -> Result<Self, PolicyError> {
        text.parse()
    }
}

/// What may be done to one service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServicePolicy {
    /// The unit of systemd that it is; none where it is a child process of the agent's own configuration.
    pub unit: Option<UnitName>,
    /// By the core alone.
    pub allow: BTreeSet<Verb>,
    /// Keys of its configuration that may be changed without asking the owner, such as `lanes.*.difficulty`; a star stands for
    /// one part, and what lies below a key is meant as well.
    pub config_keys: Vec<String>,
}

/// What may be done with the wallet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WalletPolicy {
    /// Whether the core may ask what it has.
    pub read: bool,
    /// Up to how much an invoice may be; none where there is none.
    pub invoice_msat_max: Option<u64>,
    /// Whether the core may ask to pay from it. The owner is asked each time.
    pub spend: bool,
}

/// What a policy says of a command that it does not refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Permission {
    /// The core may.
    Allowed,
    /// The owner is asked, for this reason.
    AskOwner(String),
}

impl LocalPolicy {
    /// Whether the core may have `command` carried out. `current` is the configuration of the service that a command changes; none
    /// if it can't be read.
    ///
    /// # Errors
    /// It may not.
    pub fn judge(
        &self,
        command: &Command,
        current: Option<&str>,
    ) -> Result<Permission, PolicyError> {
        match command {
            Command::Ping {} | Command::CertificateRenew {} => Ok(Permission::Allowed),
            Command::ServiceStart { service } => self.verb(service, Verb::Start),
            Command::ServiceStop { service } => self.verb(service, Verb::Stop),
            Command::ServiceRestart { service } => self.verb(service, Verb::Restart),
            Command::ServiceStatus { service } => self.verb(service, Verb::Status),
            Command::LogsTail { service, .. } => self.verb(service, Verb::Logs),
            Command::ConfigApply { service, body, .. } => {
                self.verb(service, Verb::Config)?;
                let keys = &self.services[service].config_keys;
                let body: toml::Table =
                    body.parse().map_err(|_shows_a_part| PolicyError::Config)?;
                let current = current.and_then(|text| text.parse::<toml::Table>().ok());
                let Some(current) = current else {
                    let why = "the configuration that it replaces can't be read";
                    return Ok(Permission::AskOwner(why.to_owned()));
                };
                let asked = owners_changes(&current, &body, keys);
                if asked.is_empty() {
                    return Ok(Permission::Allowed);
                }
                let asked: Vec<String> = asked.into_iter().collect();
                Ok(Permission::AskOwner(format!(
                    "it changes {} of {service}",
                    asked.join(", ")
                )))
            }
            Command::Drain { .. } => allowed(self.drain, "drain it"),
            Command::WalletRead {} => allowed(self.wallet.read, "read its wallet"),
            Command::WalletInvoice { amount_msat, .. } => {
                let max = self.wallet.invoice_msat_max;
                let max = max.ok_or(PolicyError::Refused("ask for invoices"))?;
                let asked = *amount_msat;
                match asked <= max {
                    true => Ok(Permission::Allowed),
                    false => Err(PolicyError::Amount { asked, max }),
                }
            }
            Command::WalletSpend { .. } => {
                allowed(self.wallet.spend, "ask to pay from its wallet")?;
                Ok(Permission::AskOwner("it pays from the wallet".to_owned()))
            }
        }
    }

    fn verb(&self, service: &ServiceName, verb: Verb) -> Result<Permission, PolicyError> {
        let policy = self.services.get(service);
        let policy = policy.ok_or_else(|| PolicyError::Service(service.clone()))?;
        if policy.allow.contains(&verb) {
            return Ok(Permission::Allowed);
        }
        Err(PolicyError::Verb {
            service: service.clone(),
            verb: match verb {
                Verb::Start => "start",
                Verb::Stop => "stop",
                Verb::Restart => "restart",
                Verb::Status => "see the state of",
                Verb::Logs => "read the log of",
                Verb::Config => "configure",
            },
        })
    }
}

fn allowed(is_allowed: bool, what: &'static str) -> Result<Permission, PolicyError> {
    match is_allowed {
        true => Ok(Permission::Allowed),
        false => Err(PolicyError::Refused(what)),
    }
}

/// The keys that change and are their owner's.
fn owners_changes(
    current: &toml::Table,
    next: &toml::Table,
    allowed: &[String],
) -> BTreeSet<String> {
    let mut changed = BTreeSet::new();
    compare_tables(current, next, &mut Vec::new(), &mut changed);
    let is_free = |path: &Vec<String>| {
        let mut patterns = allowed.iter();
        let mut parts = path.iter();
        patterns.any(|pattern| covers(pattern, path)) && !parts.any(|part| is_owners(part))
    };
    let owners = changed.iter().filter(|path| !is_free(path));
    owners.map(|path| path.join(".")).collect()
}

fn is_owners(part: &str) -> bool {
    let part = part.to_ascii_lowercase();
    OWNERS_WORDS.iter().any(|word| part.contains(word))
}

/// Whether a pattern is for this key or one above it.
fn covers(pattern: &str, path: &[String]) -> bool {
    let pattern: Vec<&str> = pattern.split('.').collect();
    let mut pairs = pattern.iter().zip(path);
    pattern.len() <= path.len() && pairs.all(|(wanted, part)| *wanted == "*" || wanted == part)
}

fn compare_tables(
    current: &toml::Table,
    next: &toml::Table,
    path: &mut Vec<String>,
    changed: &mut BTreeSet<Vec<String>>,
) {
    let keys: BTreeSet<&String> = current.keys().chain(next.keys()).collect();
    for key in keys {
        path.push(key.clone());
        compare(current.get(key), next.get(key), path, changed);
        path.pop();
    }
}

/// Writes down which keys differ, as deep as both sides have tables. A table that comes or goes is written with all that is in it.
fn compare(
    current: Option<&Value>,
    next: Option<&Value>,
    path: &mut Vec<String>,
    changed: &mut BTreeSet<Vec<String>>,
) {
    if current == next {
        return;
    }
    let nothing = toml::Table::new();
    let is_deep = path.len() >= DEPTH_MAX;
    match (current, next) {
        (Some(Value::Table(current)), Some(Value::Table(next))) if !is_deep => {
            compare_tables(current, next, path, changed);
        }
        (Some(Value::Array(current)), Some(Value::Array(next)))
            if !is_deep && current.len() == next.len() =>
        {
            for (at, (current, next)) in current.iter().zip(next).enumerate() {
                path.push(at.to_string());
                compare(Some(current), Some(next), path, changed);
                path.pop();
            }
        }
        (None, Some(Value::Table(table))) | (Some(Value::Table(table)), None)
            if !is_deep && !table.is_empty() =>
        {
            compare_tables(&nothing, table, path, changed);
        }
        _ => {
            changed.insert(path.clone());
        }
    }
}

#[cfg(test)]
mod tests;
