//! The parts that every JWS (RFC 7515) of this network has: Ed25519, base64url without padding, and nothing that is decided by
//! what a header asks for. What a header may say belongs to each kind of token.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Ed25519's name in a header (RFC 8037).
pub(crate) const ALGORITHM: &str = "EdDSA";

/// A part's text.
pub(crate) fn text(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The text of a part's JSON.
pub(crate) fn encode(part: &impl Serialize) -> String {
    text(&serde_json::to_vec(part).expect("texts and numbers have a JSON"))
}

/// What a part's text says; none if it is not the JSON of that.
pub(crate) fn decode<T: DeserializeOwned>(part: &str) -> Option<T> {
    let json = URL_SAFE_NO_PAD.decode(part).ok()?;
    serde_json::from_slice(&json).ok()
}

/// A signature's 64 bytes; none if the text is no signature. No two texts are the same one.
pub(crate) fn signature(text: &str) -> Option<[u8; 64]> {
    URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()
}

/// Why a text is no token of the kind that is asked for. Nothing of it is repeated: it may be anybody's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JwsError {
    /// More than any has.
    #[error("it is too long")]
    TooLong,
    /// Not three parts, or one of them is no base64url without padding.
    #[error("it does not have three parts of base64url with dots between")]
    Shape,
    /// Not the one header that these tokens have.
    #[error("its header is another than these tokens have")]
    Header,
    /// It was made for something else.
    #[error("it is a token for something else")]
    Kind,
    /// What was signed is not what such a token says.
    #[error("its claims are not those of such a token")]
    Claims,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header<K> {
    alg: String,
    kid: K,
    typ: String,
}

/// Signs `claims` as a token of the kind `typ` under the key `kid`: a compact JWS, ASCII, no line break.
pub(crate) fn compact<K: Serialize>(
    typ: &str,
    kid: K,
    claims: &impl Serialize,
    sign: impl FnOnce(&[u8]) -> [u8; 64],
) -> String {
    let header = Header {
        alg: ALGORITHM.to_owned(),
        kid,
        typ: typ.to_owned(),
    };
    let signed = format!("{}.{}", encode(&header), encode(claims));
    let signature = text(&sign(signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// A token that somebody has shown, taken apart as far as it must be known whose key should have signed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Presented<K> {
    /// Whose it says that it is.
    pub(crate) kid: K,
    /// Header and claims as they were signed.
    pub(crate) signed: String,
    pub(crate) signature: [u8; 64],
}

impl<K: DeserializeOwned> Presented<K> {
    /// Takes a token of the kind `typ` of at most `bytes_max` apart. The header is closed: no field of it asks for another key
    /// or another rule.
    pub(crate) fn parse(token: &str, typ: &str, bytes_max: usize) -> Result<Self, JwsError> {
        if token.len() > bytes_max {
            return Err(JwsError::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(JwsError::Shape)?;
        let (header, claims) = signed.split_once('.').ok_or(JwsError::Shape)?;
        let signature = self::signature(signature).ok_or(JwsError::Shape)?;
        let json = URL_SAFE_NO_PAD.decode(header).ok();
        let json = json.ok_or(JwsError::Shape)?;
        URL_SAFE_NO_PAD.decode(claims).ok().ok_or(JwsError::Shape)?;
        let header: Header<K> = serde_json::from_slice(&json).ok().ok_or(JwsError::Header)?;
        if header.alg != ALGORITHM {
            return Err(JwsError::Header);
        }
        if header.typ != typ {
            return Err(JwsError::Kind);
        }
        Ok(Self {
            kid: header.kid,
            signed: signed.to_owned(),
            signature,
        })
    }
}

impl<K> Presented<K> {
    /// What was signed. It is believed by nobody before its signature is.
    pub(crate) fn claims<T: DeserializeOwned>(&self) -> Result<T, JwsError> {
        let claims = self.signed.split_once('.').map(|(_header, claims)| claims);
        claims.and_then(decode).ok_or(JwsError::Claims)
    }
}

#[cfg(test)]
mod tests;
