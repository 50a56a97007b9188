//! JSON frames for tarpc, with the one field checked that can hurt a server.
//!
//! tarpc adds the deadline of a request to the clock and panics when that overflows, so that one frame could end a
//! connection's task. It is clamped before tarpc sees it.

use std::io;
use std::marker::PhantomData;
use std::pin::Pin;
use tarpc::tokio_serde::{Deserializer, Serializer};
use tokio_util::bytes::{Bytes, BytesMut};

/// Longest deadline in seconds that a request may ask for: no call takes longer than a long poll of ten minutes.
const MAX_DEADLINE_SECONDS: u64 = 600;

/// Reads `In` and writes `Out` as JSON.
pub(crate) struct ClampedJson<In, Out>(PhantomData<fn() -> (In, Out)>);

impl<In, Out> Default for ClampedJson<In, Out> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<In: serde::de::DeserializeOwned, Out> Deserializer<In> for ClampedJson<In, Out> {
    type Error = io::Error;

    fn deserialize(self: Pin<&mut Self>, frame: &BytesMut) -> io::Result<In> {
        let mut value: serde_json::Value = serde_json::from_slice(frame)?;
        if let Some(deadline) = value.pointer_mut("/Request/context/deadline") {
            clamp(deadline);
        }
        Ok(serde_json::from_value(value)?)
    }
}

impl<In, Out: serde::Serialize> Serializer<Out> for ClampedJson<In, Out> {
    type Error = io::Error;

    fn serialize(self: Pin<&mut Self>, item: &Out) -> io::Result<Bytes> {
        Ok(serde_json::to_vec(item)?.into())
    }
}

fn clamp(deadline: &mut serde_json::Value) {
    let seconds = deadline.get("secs").and_then(serde_json::Value::as_u64);
    if seconds.is_some_and(|s| s > MAX_DEADLINE_SECONDS) {
        *deadline = serde_json::json!({"secs": MAX_DEADLINE_SECONDS, "nanos": 0});
    }
}
