//! Who a miner says he is: `ACCOUNT[.WORKER]`, the `user_identity` of SV2 and the user name of SV1.
//!
//! Parsing proves the form, never the ownership. Case tells accounts apart in base58 addresses only: names, bech32 addresses
//! and Lightning addresses are folded to lower case, so that one spelling is one account everywhere.

use std::fmt;

use bitcoin::address::NetworkUnchecked;
use bitcoin::{Address, AddressType, Network};

/// The longest identity: SV2's STR0_255.
pub const MAX_IDENTITY_SIZE: usize = 255;
/// The longest account name; every Bitcoin address is longer, which tells the two apart.
pub const MAX_NAME_SIZE: usize = 20;
/// The longest worker name: room for host names and for what proxies append, small enough for a table.
pub const MAX_WORKER_SIZE: usize = 64;
/// The longest host name (RFC 1035, without the root's dot) and its longest label.
const MAX_HOST_SIZE: usize = 253;
const MAX_LABEL_SIZE: usize = 63;
/// The longest user of a Lightning address, as for the local part of mail (RFC 5321).
const MAX_USER_SIZE: usize = 64;

/// An account and, where given, one of its workers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    pub account: Account,
    pub worker: Option<WorkerName>,
}

impl Identity {
    /// Parses `ACCOUNT[.WORKER]`, or `user@domain[/WORKER]` for a Lightning address, of the chain `network`.
    ///
    /// A Lightning address ends at `/`; without one, a last label `.minerN` is the worker, as SRI's translator appends it. A
    /// separator with nothing after it is an identity without a worker.
    ///
    /// # Errors
    /// With the reason for the miner's operator, if it is no account of this chain that can be paid, or no worker name.
    pub fn parse(identity: &str, network: Network) -> Result<Self, IdentityError> {
        if identity.len() > MAX_IDENTITY_SIZE {
            return Err(IdentityError::Size {
                size: identity.len(),
            });
        }
        let (account, worker) = match identity.find('@') {
            Some(at) => split_lightning(identity, at),
            None => identity.split_once('.').unwrap_or((identity, "")),
        };
        let account = Account::parse(account, network)?;
        let worker = if worker.is_empty() {
            None
        } else {
            Some(WorkerName::parse(worker)?)
        };
        Ok(Self { account, worker })
    }
}

/// Who is credited. `Display` is its one spelling, which [`Account::parse`] takes back.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Account {
    /// Made by first use; what it earns is held until it is claimed.
    Name(AccountName),
    /// P2WPKH, P2TR or P2SH of the chain. A P2SH address is taken as P2SH-P2WPKH: the address does not tell, and one that is
    /// not can never prove its owner.
    Address(Address),
    /// Its own destination.
    LightningAddress(LightningAddress),
}

impl Account {
    /// Parses an account without a worker.
    ///
    /// # Errors
    /// With the reason, if it is no account of the chain `network` that can be paid.
    pub fn parse(account: &str, network: Network) -> Result<Self, IdentityError> {
        if account.contains('@') {
            return LightningAddress::parse(account).map(Self::LightningAddress);
        }
        if account.len() <= MAX_NAME_SIZE {
            return AccountName::parse(account).map(Self::Name);
        }
        parse_address(account, network).map(Self::Address)
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => name.fmt(f),
            Self::Address(address) => address.fmt(f),
            Self::LightningAddress(address) => address.fmt(f),
        }
    }
}

/// 1 to 20 of `a-z 0-9 _ -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AccountName(Box<str>);

impl AccountName {
    /// Takes upper case as lower case.
    ///
    /// # Errors
    /// [`IdentityError::Name`].
    pub fn parse(name: &str) -> Result<Self, IdentityError> {
        let name = name.to_ascii_lowercase();
        let in_set =
            |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte);
        if name.is_empty() || name.len() > MAX_NAME_SIZE || !name.bytes().all(in_set) {
            return Err(IdentityError::Name { name });
        }
        Ok(Self(name.into()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// `user@domain` (LUD-16), in lower case; the domain is a host name of two labels or more, never an IP address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LightningAddress(Box<str>);

impl LightningAddress {
    /// Takes upper case as lower case.
    ///
    /// # Errors
    /// [`IdentityError::LightningUser`] or [`IdentityError::LightningDomain`].
    pub fn parse(address: &str) -> Result<Self, IdentityError> {
        let address = address.to_ascii_lowercase();
        let (user, domain) = address.split_once('@').unwrap_or((&address, ""));
        // LUD-16 names a-z 0-9 - _ . and, for tags, +
        let in_set = |byte: u8| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.+".contains(&byte)
        };
        if user.is_empty() || user.len() > MAX_USER_SIZE || !user.bytes().all(in_set) {
            return Err(IdentityError::LightningUser {
                user: user.to_owned(),
            });
        }
        if !is_host_name(domain) {
            return Err(IdentityError::LightningDomain {
                domain: domain.to_owned(),
            });
        }
        Ok(Self(address.into()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LightningAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A worker of an account: 1 to 64 of `A-Z a-z 0-9 _ - . : + = # /`, case kept. Only a label: nobody is paid by it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerName(Box<str>);

impl WorkerName {
    /// Takes the name as it is.
    ///
    /// # Errors
    /// [`IdentityError::Worker`].
    pub fn parse(worker: &str) -> Result<Self, IdentityError> {
        let in_set = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.:+=#/".contains(&byte);
        if worker.is_empty() || worker.len() > MAX_WORKER_SIZE || !worker.bytes().all(in_set) {
            return Err(IdentityError::Worker {
                worker: worker.to_owned(),
            });
        }
        Ok(Self(worker.into()))
    }

    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for WorkerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Splits what has an `@` at `at` into address and worker.
fn split_lightning(identity: &str, at: usize) -> (&str, &str) {
    if let Some(slash) = identity[at..].find('/') {
        return (&identity[..at + slash], &identity[at + slash + 1..]);
    }
    match identity.rsplit_once('.') {
        Some((address, label)) if is_miner_label(label) => (address, label),
        _ => (identity, ""),
    }
}

/// `minerN`, as SRI's translator numbers its downstreams.
fn is_miner_label(label: &str) -> bool {
    label.strip_prefix("miner").is_some_and(|number| {
        !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
    })
}

/// RFC 1123: labels of letters, digits and inner hyphens; the last one is not all digits, or it would be an IPv4 address.
/// Two labels at least: a single one is a name of a local network.
fn is_host_name(host: &str) -> bool {
    let is_label = |label: &str| {
        (1..=MAX_LABEL_SIZE).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    host.len() <= MAX_HOST_SIZE
        && host.split('.').all(is_label)
        && host
            .rsplit_once('.')
            .is_some_and(|(_, last)| !is_number(last))
}

/// An address of the chain whose owner can be proven by a BIP322 signature.
fn parse_address(text: &str, network: Network) -> Result<Address, IdentityError> {
    let address =
        text.parse::<Address<NetworkUnchecked>>()
            .map_err(|error| IdentityError::Address {
                text: text.to_owned(),
                reason: error.to_string(),
            })?;
    let address =
        address
            .require_network(network)
            .map_err(|_wrong_network| IdentityError::Chain {
                address: text.to_owned(),
                network,
            })?;
    match address.address_type() {
        Some(AddressType::P2wpkh | AddressType::P2tr | AddressType::P2sh) => Ok(address),
        Some(kind) => Err(IdentityError::AddressKind {
            address: text.to_owned(),
            kind: kind.to_string().to_uppercase(),
        }),
        None => Err(IdentityError::AddressKind {
            address: text.to_owned(),
            kind: "an unknown kind".to_owned(),
        }),
    }
}

/// Why an identity is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    #[error("the user identity has {size} bytes, at most 255 are allowed")]
    Size { size: usize },
    #[error("`{name}` is not an account name: 1 to 20 of a-z, 0-9, _ and -")]
    Name { name: String },
    #[error("`{text}` is too long for an account name and not a Bitcoin address: {reason}")]
    Address { text: String, reason: String },
    #[error("the address `{address}` is not of this chain, {network}")]
    Chain { address: String, network: Network },
    #[error(
        "the address `{address}` is {kind}; only P2WPKH, P2TR and P2SH-P2WPKH addresses can prove their owner"
    )]
    AddressKind { address: String, kind: String },
    #[error("`{user}` is not the user of a Lightning address: 1 to 64 of a-z, 0-9, -, _, . and +")]
    LightningUser { user: String },
    #[error("`{domain}` is not the domain of a Lightning address; a worker's name goes after a /")]
    LightningDomain { domain: String },
    #[error("`{worker}` is not a worker name: 1 to 64 of A-Z, a-z, 0-9 and _-.:+=#/")]
    Worker { worker: String },
}

#[cfg(test)]
mod tests;
