//! The certificates of the control plane: an offline root, an online issuer for each kind of peer, and leaves of a day.
//!
//! A leaf says who a peer is and nothing else: what he may do is in the core's database, so that a demotion holds at once. Whoever
//! listens trusts the issuers of those who may call him and no other key, so that the issuer of servers can't make a node, nor that
//! of nodes a server. From a request for a certificate only the public key is used. Times are Unix seconds, and whoever asks
//! brings them.

mod authority;
mod certificate;
mod channel;
mod client_gate;
mod identity;
mod lifetime;
mod request;

pub use authority::{AuthorityError, IssuedCertificate, Issuer, IssuerKind, RevokedSerial, Root};
pub(crate) use certificate::has_signed;
pub use certificate::{CaPin, CertificateError, PeerCertificate, Serial};
pub use channel::{
    ChannelError, KeySlot, enrolment_client, enrolment_server, rest_client, rest_server,
    session_client, session_server,
};
pub use client_gate::{ClientGate, GateError, TrustedIssuer};
pub use identity::{Identity, IdentityError, PeerName, TrustDomain};
pub use lifetime::{RECOVERIES_MAX, RECOVERY_DAYS_MAX, RecoveryError, Validity, may_recover};
pub use request::{CertificateRequest, LeafKey, RequestError};

#[cfg(test)]
mod tests;
