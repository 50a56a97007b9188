//! The messages of our own extension, with which a client says through which node its shares come.
//!
//! ```text
//! type  channel_msg  message                     payload
//! 0x00  0            PresentCredential           credential B0_64K, lane STR0_255       client to server
//! 0x01  0            PresentCredential.Success   -                                      server to client
//! 0x02  0            PresentCredential.Error     error_code STR0_255                    server to client
//! ```
//!
//! A client that was granted the extension presents its credential before it opens a channel, and again at any time to renew it.
//! Each one is answered, in their order. Owns the layout; what a credential says is hh-trust's.

use stratum_core::binary_sv2::{Error, GetSize, encodable::EncodableField};

use super::{B064K, Str0255};

/// "I am a node, and what comes on this connection comes through this lane of mine."
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentCredential {
    /// The credential's text.
    pub credential: B064K,
    /// The lane of the node that this connection serves.
    pub lane: Str0255,
}

/// Every share after this is credited to the node and the lane.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentCredentialSuccess {}

/// The credential is not taken. What was taken before it still holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentCredentialError {
    /// Why.
    pub error_code: Str0255,
}

impl GetSize for PresentCredential {
    fn get_size(&self) -> usize {
        self.credential.get_size() + self.lane.get_size()
    }
}

impl GetSize for PresentCredentialSuccess {
    fn get_size(&self) -> usize {
        0
    }
}

impl GetSize for PresentCredentialError {
    fn get_size(&self) -> usize {
        self.error_code.get_size()
    }
}

impl From<PresentCredential> for EncodableField<'_> {
    fn from(message: PresentCredential) -> Self {
        Self::Struct(vec![message.credential.into(), message.lane.into()])
    }
}

impl From<PresentCredentialSuccess> for EncodableField<'_> {
    fn from(_: PresentCredentialSuccess) -> Self {
        Self::Struct(Vec::new())
    }
}

impl From<PresentCredentialError> for EncodableField<'_> {
    fn from(message: PresentCredentialError) -> Self {
        Self::Struct(vec![message.error_code.into()])
    }
}

impl PresentCredential {
    pub(super) fn from_bytes(payload: &mut [u8]) -> Result<Self, Error> {
        let payload = &mut &*payload;
        Ok(Self {
            credential: take::<2>(payload)?.try_into()?,
            lane: take::<1>(payload)?.try_into()?,
        })
    }

    pub(super) fn into_owned(self) -> Self {
        self
    }
}

impl PresentCredentialSuccess {
    #[expect(clippy::unnecessary_wraps, reason = "as all messages are read")]
    pub(super) fn from_bytes(_: &mut [u8]) -> Result<Self, Error> {
        Ok(Self {})
    }

    pub(super) fn into_owned(self) -> Self {
        self
    }
}

impl PresentCredentialError {
    pub(super) fn from_bytes(payload: &mut [u8]) -> Result<Self, Error> {
        let error_code = take::<1>(&mut &*payload)?.try_into()?;
        Ok(Self { error_code })
    }

    pub(super) fn into_owned(self) -> Self {
        self
    }
}

/// Takes a value with a length of `LENGTH_BYTES` in front off `payload`.
fn take<const LENGTH_BYTES: usize>(payload: &mut &[u8]) -> Result<Vec<u8>, Error> {
    let (length, rest) = payload
        .split_first_chunk::<LENGTH_BYTES>()
        .ok_or(Error::ReadError(payload.len(), LENGTH_BYTES))?;
    let mut bytes = [0; 8];
    bytes[..LENGTH_BYTES].copy_from_slice(length);
    let length = usize::try_from(u64::from_le_bytes(bytes)).unwrap_or(usize::MAX);
    let (value, rest) = rest
        .split_at_checked(length)
        .ok_or(Error::ReadError(rest.len(), length))?;
    *payload = rest;
    Ok(value.to_vec())
}
