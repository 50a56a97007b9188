//! JSON frames for tarpc, with the one field checked that can hurt a server.
//!
//! tarpc adds the deadline of a request to the clock and panics when that overflows, so that one frame could end a
//! connection's task. It is clamped before tarpc sees it.

use serde_json::Value;
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
        let mut message: Value = serde_json::from_slice(frame)?;
        if let Some(request) = message.get_mut("Request") {
            clamp_deadline(request)?;
        }
        Ok(serde_json::from_value(message)?)
    }
}

impl<In, Out: serde::Serialize> Serializer<Out> for ClampedJson<In, Out> {
    type Error = io::Error;

    fn serialize(self: Pin<&mut Self>, item: &Out) -> io::Result<Bytes> {
        Ok(serde_json::to_vec(item)?.into())
    }
}

/// serde reads a structure from an array as well, where the deadline would go unseen: only objects are taken.
fn clamp_deadline(request: &mut Value) -> io::Result<()> {
    let context = request.get_mut("context").and_then(Value::as_object_mut);
    let context = context.ok_or_else(|| invalid("a request without a context object"))?;
    let Some(deadline) = context.get_mut("deadline") else {
        return Ok(()); // tarpc takes ten seconds then
    };
    let seconds = deadline
        .as_object()
        .and_then(|deadline| deadline.get("secs"))
        .and_then(Value::as_u64)
        .ok_or_else(|| invalid("a deadline without whole seconds"))?;
    if seconds >= MAX_DEADLINE_SECONDS {
        *deadline = serde_json::json!({"secs": MAX_DEADLINE_SECONDS, "nanos": 0});
    }
    Ok(())
}

fn invalid(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}
