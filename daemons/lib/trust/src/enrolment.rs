//! How a node joins: a token that an operator hands over, and the proof that who shows it has the keys that it brings.
//!
//! A token is `hhn1.` and a compact JWS of the core's key for enrolment. It tells the node where the core is, and by which root and
//! which key it knows the network. The node can't check the signature, as it has no key yet: what the pins are worth is what the way
//! is worth by which the token came. It is used once, and the core keeps only its hash, so that who reads the database joins nothing.

use std::fmt;
use std::str::FromStr;

use bitcoin::hashes::{Hash, sha256};
use ring::rand::SystemRandom;
use serde::{Deserialize, Serialize};

use crate::NodeId;
use crate::control_key::{EnrolKey, EnrolPublicKey, NetworkPublicKey};
use crate::jws::{self, JwsError, Presented};
use crate::node_key::{NodePublicKey, NodeSecretKey};
use crate::pki::{self, CaPin, LeafKey, RequestError, TrustDomain};

/// Longest life of a token: who has not used it in a day asks again.
pub const TOKEN_SECONDS_MAX: i64 = 86_400;

/// Life of a token where its operator says nothing.
pub const TOKEN_SECONDS_DEFAULT: i64 = 3_600;

/// For so long the same node gets the same answer again: it was lost on its way.
pub const AGAIN_SECONDS: i64 = 600;

/// Longest token in bytes: its longest names and URL, and a margin.
pub const TOKEN_BYTES_MAX: usize = 4 * 1024;

/// Longest URL of a core, and longest name of an operator, in bytes.
const TEXT_BYTES_MAX: usize = 512;

/// How far the clock of the replica that signed may be ahead of that of the one that checks.
const CLOCK_AHEAD_SECONDS: i64 = 60;

/// In front of every token, so that one is known where it lies about.
const PREFIX: &str = "hhn1.";
const TYPE: &str = "hh-enrol+jwt";

/// Under which name both ends of a connection take bytes out of its keys (RFC 8446, 7.5), for [`ChannelBinding`].
pub const EXPORTER_LABEL: &[u8] = b"EXPORTER-hh-enrol";

/// Why a token is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is none.
    #[error("it is no token of enrolment")]
    Malformed(#[source] JwsError),
    /// It begins in another way.
    #[error("it is no token of enrolment, which begins with {PREFIX} (cut off?)")]
    Prefix,
    /// What it says can't be.
    #[error("the token has {0}")]
    Claim(&'static str),
    /// Signed by a key that the core does not have.
    #[error("the token is not signed by this network's key for enrolment")]
    Key,
    /// Its time is over.
    #[error("the token ended {seconds} s ago: create another one with hhctl token create")]
    Expired {
        /// Since it ended.
        seconds: i64,
    },
    /// Its time has not come.
    #[error("the token begins in {seconds} s: compare the clocks of the core's replicas")]
    Early {
        /// Until it begins.
        seconds: i64,
    },
    /// The core has not made it, or has forgotten it.
    #[error("the core knows no such token: create one with hhctl token create")]
    Unknown,
    /// An operator has taken it back.
    #[error("the token was revoked")]
    Revoked,
    /// Somebody else has used it.
    #[error(
        "the token was used by another key before: whoever handed it over must know why; revoke that node if it is not his"
    )]
    Reused,
    /// The operating system gives no randomness.
    #[error("the operating system gives no randomness for a token")]
    Randomness,
}

impl TokenError {
    /// What a machine takes it by.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) | Self::Prefix | Self::Claim(_) => "malformed",
            Self::Key => "wrong-key",
            Self::Expired { .. } => "expired",
            Self::Early { .. } => "not-yet-valid",
            Self::Unknown => "unknown",
            Self::Revoked => "revoked",
            Self::Reused => "token-reused",
            Self::Randomness => "randomness",
        }
    }
}

/// The random name of a token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct TokenId([u8; 16]);

/// SHA-256 of a token's text: what the core keeps of it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TokenHash([u8; 32]);

/// Whether a node serves others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Visibility {
    /// It serves miners of others, and is listed.
    Public,
    /// It serves its own accounts, and is not listed.
    Private,
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolmentToken {
    aud: Audience,
    /// Its name.
    pub jti: TokenId,
    /// Unix seconds from which on it holds.
    pub nbf: i64,
    /// Unix seconds at which it holds no more.
    pub exp: i64,
    /// The network.
    pub domain: TrustDomain,
    /// Which node may join by it.
    pub node: NodeId,
    /// Whether it will serve others.
    pub visibility: Visibility,
    /// Where the core enrols: `https://HOST:PORT`.
    pub url: String,
    /// The root of the network's certificates.
    pub ca: CaPin,
    /// The key that signs the list of the core's keys.
    pub network: NetworkPublicKey,
    /// The operator who made it.
    pub by: String,
}

/// What all tokens are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Audience {
    #[serde(rename = "hyperhash-enrol")]
    Enrolment,
}

/// What an operator asks a token for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRequest {
    /// The network.
    pub domain: TrustDomain,
    /// Which node may join by it.
    pub node: NodeId,
    /// Whether it will serve others.
    pub visibility: Visibility,
    /// Where the core enrols: `https://HOST:PORT`.
    pub url: String,
    /// The root of the network's certificates.
    pub ca: CaPin,
    /// The key that signs the list of the core's keys.
    pub network: NetworkPublicKey,
    /// The operator who asks.
    pub by: String,
    /// For how long it holds.
    pub seconds: i64,
}

impl EnrolmentToken {
    /// A new token, at `now`. Its text is shown once and kept nowhere: the core keeps [`TokenHash::of`] it.
    ///
    /// # Errors
    /// What is asked for can't be.
    pub fn create(
        request: TokenRequest,
        key: &EnrolKey,
        now: i64,
    ) -> Result<(Self, String), TokenError> {
        let random = ring::rand::generate(&SystemRandom::new());
        let random = random.map_err(|_says_no_more| TokenError::Randomness)?;
        let token = Self {
            aud: Audience::Enrolment,
            jti: TokenId(random.expose()),
            nbf: now,
            exp: now.saturating_add(request.seconds),
            domain: request.domain,
            node: request.node,
            visibility: request.visibility,
            url: request.url,
            ca: request.ca,
            network: request.network,
            by: request.by,
        };
        token.check_form()?;
        let jws = jws::compact(TYPE, key.public_key(), &token, |bytes| key.sign(bytes));
        Ok((token, format!("{PREFIX}{jws}")))
    }

    /// What a token says, for the node that joins by it and can't check it.
    ///
    /// # Errors
    /// It is no token.
    pub fn read_unverified(text: &str) -> Result<Self, TokenError> {
        let token: Self = presented(text)?.claims().map_err(TokenError::Malformed)?;
        token.check_form()?;
        Ok(token)
    }

    /// What a token says, if one of `keys` has signed it and it holds at `now`. That it is used once is for
    /// [`TokenRecord::redeem`].
    ///
    /// # Errors
    /// The first that is wrong. The signature is looked at before what was signed.
    pub fn verify(text: &str, keys: &[EnrolPublicKey], now: i64) -> Result<Self, TokenError> {
        let presented = presented(text)?;
        let key = keys.iter().find(|key| **key == presented.kid);
        let key = key.ok_or(TokenError::Key)?;
        if !key.has_signed(presented.signed.as_bytes(), &presented.signature) {
            return Err(TokenError::Key);
        }
        let token: Self = presented.claims().map_err(TokenError::Malformed)?;
        token.check_form()?;
        let early = token.nbf.saturating_sub(now);
        if early > CLOCK_AHEAD_SECONDS {
            return Err(TokenError::Early { seconds: early });
        }
        if now >= token.exp {
            let seconds = now.saturating_sub(token.exp);
            return Err(TokenError::Expired { seconds });
        }
        Ok(token)
    }

    /// What can be wrong with it whoever asks, and whenever.
    fn check_form(&self) -> Result<(), TokenError> {
        let seconds = self.exp.saturating_sub(self.nbf);
        if !(1..=TOKEN_SECONDS_MAX).contains(&seconds) {
            return Err(TokenError::Claim("no life between a second and a day"));
        }
        let is_plain = |text: &str| {
            (1..=TEXT_BYTES_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_graphic())
        };
        if !is_plain(&self.url) || !self.url.starts_with("https://") {
            return Err(TokenError::Claim("no URL of a core, https://HOST:PORT"));
        }
        if !is_plain(&self.by) {
            return Err(TokenError::Claim("no plain name of an operator"));
        }
        Ok(())
    }
}

fn presented(text: &str) -> Result<Presented<EnrolPublicKey>, TokenError> {
    let jws = text.trim().strip_prefix(PREFIX).ok_or(TokenError::Prefix)?;
    Presented::parse(jws, TYPE, TOKEN_BYTES_MAX).map_err(TokenError::Malformed)
}

/// What the core knows of a token: its row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenRecord {
    /// When it ends, in Unix seconds.
    pub exp: i64,
    /// Whether an operator has taken it back.
    pub is_revoked: bool,
    /// Who has used it.
    pub used: Option<TokenUse>,
}

/// Who has used a token, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenUse {
    /// In Unix seconds.
    pub at: i64,
    /// SHA-256 of the public key that got a certificate.
    pub tls_key_hash: [u8; 32],
    /// The node's own key.
    pub node_key: NodePublicKey,
}

/// What becomes of a token that is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Redemption {
    /// It is used now: the row is changed where it is still unused, in the transaction that makes the node.
    First(TokenUse),
    /// It was used by the same keys a moment ago: the same certificate is given again.
    Again,
}

impl TokenRecord {
    /// Whether it may be used at `now` by these keys.
    ///
    /// # Errors
    /// Why not; after [`TokenError::Reused`] somebody has a copy of it.
    pub fn redeem(
        &self,
        tls_key_hash: [u8; 32],
        node_key: NodePublicKey,
        now: i64,
    ) -> Result<Redemption, TokenError> {
        if self.is_revoked {
            return Err(TokenError::Revoked);
        }
        if let Some(used) = self.used {
            let is_same = used.tls_key_hash == tls_key_hash && used.node_key == node_key;
            let since = now.saturating_sub(used.at);
            return match is_same && since <= AGAIN_SECONDS {
                true => Ok(Redemption::Again),
                false => Err(TokenError::Reused),
            };
        }
        if now >= self.exp {
            let seconds = now.saturating_sub(self.exp);
            return Err(TokenError::Expired { seconds });
        }
        Ok(Redemption::First(TokenUse {
            at: now,
            tls_key_hash,
            node_key,
        }))
    }
}

/// What both ends of one TLS connection know and nobody else ([`EXPORTER_LABEL`], no context): a proof that is bound to it can't be
/// shown on another one.
#[derive(Clone, Copy)]
pub struct ChannelBinding(pub [u8; 32]);

impl fmt::Debug for ChannelBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ChannelBinding([secret])")
    }
}

/// What a node proves that it has its keys for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Possession<'a> {
    /// To join by this token.
    Enrol(TokenId),
    /// To get a certificate after its last one has ended, as this node.
    Recover(&'a NodeId),
}

impl Possession<'_> {
    /// What is signed: what it is for, on which connection, and the request whose key gets the certificate.
    fn message(&self, channel: &ChannelBinding, request: &[u8]) -> Vec<u8> {
        let (tag, name) = match self {
            Self::Enrol(token) => ("hh-enrol-v1", token.to_string()),
            Self::Recover(node) => ("hh-recover-v1", node.to_string()),
        };
        let request = sha256::Hash::hash(request);
        let channel = hex::encode(channel.0);
        format!("{tag}\n{channel}\n{name}\n{request}").into_bytes()
    }
}

impl NodeSecretKey {
    /// Proves on this connection that the node has this key, with its request for a certificate (PKCS #10, DER).
    #[must_use]
    pub fn prove(
        &self,
        what: Possession<'_>,
        channel: &ChannelBinding,
        request: &[u8],
    ) -> [u8; 64] {
        self.sign(&what.message(channel, request))
    }
}

impl NodePublicKey {
    /// Whether `proof` is this key's, on this connection and for this request.
    #[must_use]
    pub fn has_proved(
        &self,
        what: Possession<'_>,
        channel: &ChannelBinding,
        request: &[u8],
        proof: &[u8],
    ) -> bool {
        self.has_signed(&what.message(channel, request), proof)
    }
}

impl LeafKey {
    /// Proves on this connection that the node has the key of a certificate that it was given.
    ///
    /// # Errors
    /// The key does not sign.
    pub fn prove(
        &self,
        what: Possession<'_>,
        channel: &ChannelBinding,
        request: &[u8],
    ) -> Result<Vec<u8>, RequestError> {
        self.sign(&what.message(channel, request))
    }
}

/// Whether `proof` is that of the key of a certificate in DER, on this connection and for this request.
#[must_use]
pub fn certificate_has_proved(
    certificate: &[u8],
    what: Possession<'_>,
    channel: &ChannelBinding,
    request: &[u8],
    proof: &[u8],
) -> bool {
    pki::has_signed(certificate, &what.message(channel, request), proof)
}

impl TokenHash {
    /// The hash of a token's text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        Self(sha256::Hash::hash(text.trim().as_bytes()).to_byte_array())
    }

    /// As the core keeps it.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for TokenId {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<Self, TokenError> {
        let mut bytes = [0; 16];
        match hex::decode_to_slice(text, &mut bytes) {
            Ok(()) => Ok(Self(bytes)),
            Err(_) => Err(TokenError::Claim("no id of 32 hex digits")),
        }
    }
}

impl From<TokenId> for String {
    fn from(id: TokenId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for TokenId {
    type Error = TokenError;

    fn try_from(text: String) -> Result<Self, TokenError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests;
