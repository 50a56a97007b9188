//! Who a certificate says that its holder is: one SPIFFE-shaped URI, and for the core's servers the host name that goes with it.

use std::fmt;
use std::str::FromStr;

use rustls::pki_types::ServerName;
use serde::{Deserialize, Serialize};

use crate::NodeId;

/// Longest trust domain in bytes: with the longest label in front it stays a host name.
const DOMAIN_BYTES_MAX: usize = 128;

/// Longest name of a replica or a service in bytes: one label.
const PEER_NAME_BYTES_MAX: usize = 63;

/// Why a text names nobody.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// The network's name.
    #[error(
        "{0:?} is no trust domain: write a host name of a-z, 0-9, - and dots of at most {DOMAIN_BYTES_MAX} bytes, such as hyperhash.example"
    )]
    Domain(String),
    /// A replica's or a service's name.
    #[error(
        "{0:?} is no name of a replica or a service: write 1 to {PEER_NAME_BYTES_MAX} of a-z, 0-9 and -, a letter or a digit first and last"
    )]
    Name(String),
    /// A URI that is none of ours.
    #[error("{0:?} names no node, service or core of the trust domain {1}")]
    Uri(String, TrustDomain),
}

/// The network that an operator runs, as a host name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TrustDomain(String);

/// The name of a core's replica, or of a daemon at the core's site: one label of a host name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct PeerName(String);

/// Who a peer is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Identity {
    /// A replica of hyperhash-core; it answers, and never calls.
    Core(PeerName),
    /// A Hyper Node.
    Node(NodeId),
    /// A daemon at the core's site that calls the core, such as hh-treasury.
    Service(PeerName),
}

impl TrustDomain {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// By which name every replica of the core is called, whatever address it is at.
    ///
    /// # Panics
    /// Never: a trust domain is a host name, and so it is with a label more.
    #[must_use]
    pub fn core_server_name(&self) -> ServerName<'static> {
        let name = ServerName::try_from(self.core_host());
        name.expect("a label in front of a host name is one")
    }

    pub(super) fn core_host(&self) -> String {
        format!("core.{self}")
    }
}

impl Identity {
    /// The URI of a certificate.
    #[must_use]
    pub fn uri(&self, domain: &TrustDomain) -> String {
        match self {
            Self::Core(replica) => format!("spiffe://{domain}/core/{replica}"),
            Self::Node(node) => format!("spiffe://{domain}/node/{node}"),
            Self::Service(service) => format!("spiffe://{domain}/service/{service}"),
        }
    }

    /// Reads a URI, byte for byte as [`Self::uri`] writes it.
    ///
    /// # Errors
    /// It is of another network, or names nothing here.
    pub fn from_uri(uri: &str, domain: &TrustDomain) -> Result<Self, IdentityError> {
        let error = || IdentityError::Uri(shortened(uri), domain.clone());
        let rest = uri.strip_prefix("spiffe://").ok_or_else(error)?;
        let rest = rest.strip_prefix(domain.as_str()).ok_or_else(error)?;
        let rest = rest.strip_prefix('/').ok_or_else(error)?;
        let (kind, name) = rest.split_once('/').ok_or_else(error)?;
        let identity = match kind {
            "core" => name.parse().ok().map(Self::Core),
            "node" => name.parse().ok().map(Self::Node),
            "service" => name.parse().ok().map(Self::Service),
            _ => None,
        };
        identity.ok_or_else(error)
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(DOMAIN_BYTES_MAX).collect()
}

fn is_label(text: &str) -> bool {
    let takes = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=PEER_NAME_BYTES_MAX).contains(&text.len())
        && text.bytes().all(takes)
        && !text.starts_with('-')
        && !text.ends_with('-')
}

impl FromStr for TrustDomain {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        // A last label of digits only would be taken for a part of an IP address.
        let last = text.rsplit('.').next().unwrap_or_default();
        let is_host = text.len() <= DOMAIN_BYTES_MAX && text.split('.').all(is_label);
        if is_host && !last.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Self(text.to_owned()));
        }
        Err(IdentityError::Domain(shortened(text)))
    }
}

impl FromStr for PeerName {
    type Err = IdentityError;

    fn from_str(text: &str) -> Result<Self, IdentityError> {
        if is_label(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(IdentityError::Name(shortened(text)))
    }
}

macro_rules! text_form {
    ($name:ident) => {
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdentityError;

            fn try_from(text: String) -> Result<Self, IdentityError> {
                text.parse()
            }
        }
    };
}
text_form!(TrustDomain);
text_form!(PeerName);

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn domain() -> TrustDomain {
        "hyperhash.example".parse().unwrap()
    }

    #[test]
    fn what_is_no_host_name_is_no_trust_domain() {
        for text in [
            "", ".", "a..b", "-a", "a-", "A", "a b", "a/b", "1.2.3.4", "a_b", "a.",
        ] {
            assert!(text.parse::<TrustDomain>().is_err(), "{text:?}");
        }
        assert!("a".repeat(64).parse::<TrustDomain>().is_err());
        assert_eq!(
            domain().core_server_name().to_str(),
            "core.hyperhash.example"
        );
    }

    #[test]
    fn a_uri_of_another_network_or_kind_names_nobody() {
        for uri in [
            "",
            "spiffe://hyperhash.example",
            "spiffe://hyperhash.example/node/",
            "spiffe://hyperhash.example/node/core",
            "spiffe://hyperhash.example/node/a/b",
            "spiffe://hyperhash.example/node/a?role=admin",
            "spiffe://hyperhash.example/node/a%2fb",
            "spiffe://hyperhash.example//node/a",
            "spiffe://hyperhash.example.evil/node/a",
            "spiffe://evil/node/a",
            "SPIFFE://hyperhash.example/node/a",
            "https://hyperhash.example/node/a",
            "spiffe://hyperhash.example/operator/a",
        ] {
            assert!(Identity::from_uri(uri, &domain()).is_err(), "{uri}");
        }
    }

    proptest! {
        #[test]
        fn an_identity_is_read_as_it_is_written(node in "[a-z0-9][a-z0-9._-]{0,20}", peer in "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?") {
            prop_assume!(node != "core");
            for identity in [
                Identity::Node(node.parse().unwrap()),
                Identity::Core(peer.parse().unwrap()),
                Identity::Service(peer.parse().unwrap()),
            ] {
                prop_assert_eq!(Identity::from_uri(&identity.uri(&domain()), &domain()), Ok(identity));
            }
        }
    }
}
