//! The parts that every JWS (RFC 7515) of this network has: Ed25519, base64url without padding, and nothing that is decided by
//! what a header asks for. What a header may say belongs to each kind of token.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde::de::DeserializeOwned;

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
