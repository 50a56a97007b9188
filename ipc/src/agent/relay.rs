//! The messages of block relay, as `proto/control.proto` has them, where each is explained.

use prost::bytes::Bytes;
use prost::{Message, Oneof};

#[derive(Clone, PartialEq, Message)]
pub struct RelayNodeMessage {
    #[prost(oneof = "relay_node_message::Body", tags = "1, 2, 3, 4")]
    pub body: Option<relay_node_message::Body>,
}

/// What a [`RelayNodeMessage`] is.
pub mod relay_node_message {
    use super::Oneof;

    #[derive(Clone, PartialEq, Oneof)]
    pub enum Body {
        #[prost(message, tag = "1")]
        Announce(super::RelayAnnounce),
        #[prost(message, tag = "2")]
        Want(super::RelayWant),
        #[prost(message, tag = "3")]
        Chunk(super::RelayChunk),
        #[prost(message, tag = "4")]
        Have(super::RelayHave),
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct RelayCoreMessage {
    #[prost(oneof = "relay_core_message::Body", tags = "1, 2, 3, 4, 5")]
    pub body: Option<relay_core_message::Body>,
}

/// What a [`RelayCoreMessage`] is.
pub mod relay_core_message {
    use super::Oneof;

    #[derive(Clone, PartialEq, Oneof)]
    pub enum Body {
        #[prost(message, tag = "1")]
        Announce(super::RelayAnnounce),
        #[prost(message, tag = "2")]
        Want(super::RelayWant),
        #[prost(message, tag = "3")]
        Chunk(super::RelayChunk),
        #[prost(message, tag = "4")]
        Throttled(super::RelayThrottled),
        #[prost(message, tag = "5")]
        Refused(super::RelayRefused),
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct RelayAnnounce {
    /// 80 bytes each, each the parent of the next one.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub headers: Vec<Vec<u8>>,
    /// Of the last one, as its node has it; for logs, since nobody can check it.
    #[prost(uint32, tag = "2")]
    pub height: u32,
}

/// The block itself is asked for.
#[derive(Clone, PartialEq, Message)]
pub struct RelayWant {
    /// 32 bytes, in the order of a header.
    #[prost(bytes = "vec", tag = "1")]
    pub block_hash: Vec<u8>,
}

/// A part of a block that was asked for; they come in order, and those of one block before those of the next.
#[derive(Clone, PartialEq, Message)]
pub struct RelayChunk {
    #[prost(bytes = "vec", tag = "1")]
    pub block_hash: Vec<u8>,
    /// Of the first byte in here.
    #[prost(uint32, tag = "2")]
    pub offset: u32,
    /// Of the whole block.
    #[prost(uint32, tag = "3")]
    pub total_bytes: u32,
    #[prost(bytes = "bytes", tag = "4")]
    pub data: Bytes,
}

/// The node has the block by another way.
#[derive(Clone, PartialEq, Message)]
pub struct RelayHave {
    #[prost(bytes = "vec", tag = "1")]
    pub block_hash: Vec<u8>,
}

/// What the node has sent was more than its budget, and is dropped; nothing more is read until then.
#[derive(Clone, PartialEq, Message)]
pub struct RelayThrottled {
    #[prost(string, tag = "1")]
    pub what: String,
    #[prost(uint64, tag = "2")]
    pub retry_ms: u64,
}

/// A header is not taken.
#[derive(Clone, PartialEq, Message)]
pub struct RelayRefused {
    /// As it was announced.
    #[prost(bytes = "vec", tag = "1")]
    pub header: Vec<u8>,
    #[prost(string, tag = "2")]
    pub reason: String,
}
