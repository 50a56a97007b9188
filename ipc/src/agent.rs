//! What hyperhash-core and the agents of nodes say to each other: gRPC, always dialled by the node.
//!
//! The messages are those of `proto/control.proto`, written down by hand with prost's derive: nobody who builds needs a
//! `protoc`. A test compares the two. Here are formats and limits only; the two ends of a connection are in the daemons.

mod block_chunks;
mod message;
mod payout;
mod relay;

pub use message::{
    AuditCheckpoint, AuditSeen, Command, CommandResult, CommandTaken, CoreMessage, EnrolRequest,
    EnrolResponse, Goodbye, Heartbeat, HeartbeatAnswer, Inventory, LaneReport, NodeHello,
    NodeMessage, PollRequest, PollResponse, ProgramVersion, RecoverRequest, RecoverResponse,
    RenewRequest, RenewResponse, ResultTaken, Sample, ServiceReport, TelemetryAck, TelemetryBatch,
    Welcome, core_message, node_message,
};

pub use block_chunks::{
    BlockAssembly, CHUNK_BYTES, ChunkError, MAX_BLOCK_BYTES, MAX_RELAY_HEADERS, chunks_of,
};
pub use payout::{
    HandedIn, HandedInvoice, MAX_ACCOUNTS, MAX_INVOICE_BYTES, MAX_PAYOUTS, MAX_REASON_BYTES,
    NodeAccount, NodeInvoice, NodePayout, TREASURY, TreasuryReport, payout_state,
};
pub use relay::{
    RelayAnnounce, RelayChunk, RelayCoreMessage, RelayHave, RelayNodeMessage, RelayRefused,
    RelayThrottled, RelayWant, relay_core_message, relay_node_message,
};

/// The calls, as gRPC names them.
pub mod path {
    pub const ENROL: &str = "/hyperhash.control.v1.Enrolment/Enrol";
    pub const RECOVER: &str = "/hyperhash.control.v1.Enrolment/Recover";
    pub const SESSION: &str = "/hyperhash.control.v1.NodeControl/Session";
    pub const RENEW: &str = "/hyperhash.control.v1.NodeControl/Renew";
    pub const PUSH_TELEMETRY: &str = "/hyperhash.control.v1.NodeControl/PushTelemetry";
    pub const RELAY: &str = "/hyperhash.control.v1.NodeControl/Relay";
    pub const POLL: &str = "/hyperhash.control.v1.NodeControl/Poll";
    pub const EXCHANGE_PAYOUTS: &str = "/hyperhash.control.v1.TreasuryControl/ExchangePayouts";
}

/// A call: what is decided for each is decided for all of them, or does not compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Joins, by a token.
    Enrol,
    /// Another certificate after the last one has ended.
    Recover,
    /// Commands out; what comes of them, and heartbeats, in.
    Session,
    /// Another certificate.
    Renew,
    /// Samples of a node's telemetry.
    PushTelemetry,
    /// New blocks, both ways.
    Relay,
    /// As a session, by one call after the other.
    Poll,
    /// What hh-treasury owes nodes and pays them, and their invoices.
    ExchangePayouts,
}

impl Method {
    /// All of them, as `control.proto` has them.
    pub const ALL: [Self; 8] = [
        Self::Enrol,
        Self::Recover,
        Self::Session,
        Self::Renew,
        Self::PushTelemetry,
        Self::Relay,
        Self::Poll,
        Self::ExchangePayouts,
    ];

    /// As gRPC names it.
    pub fn path(self) -> &'static str {
        match self {
            Self::Enrol => path::ENROL,
            Self::Recover => path::RECOVER,
            Self::Session => path::SESSION,
            Self::Renew => path::RENEW,
            Self::PushTelemetry => path::PUSH_TELEMETRY,
            Self::Relay => path::RELAY,
            Self::Poll => path::POLL,
            Self::ExchangePayouts => path::EXCHANGE_PAYOUTS,
        }
    }

    /// The one that gRPC names so.
    pub fn of_path(path: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|method| method.path() == path)
    }

    /// Without its service: the name in `control.proto`.
    pub fn name(self) -> &'static str {
        let path = self.path();
        path.rsplit_once('/').map_or(path, |(_, name)| name)
    }
}

/// What core says to a node that was revoked: the code of its [`Goodbye`], and what the text of a refusal begins with, before a colon.
pub const REVOKED: &str = "node-revoked";

/// Most `tls_proofs` of a [`RecoverRequest`]: by the key in use, and by one whose renewal was under way.
pub const MAX_TLS_PROOFS: usize = 2;

/// Largest message in bytes that either side takes: a hundred samples of a node with a dozen services are a tenth of it.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// Most messages of one [`PollRequest`]: a burst of results, and all of what a node has to say at other times.
pub const MAX_POLL_MESSAGES: usize = 64;

/// Most bytes of messages that are put into one [`PollRequest`] or [`PollResponse`]; the one that exceeds it is the last.
pub const POLL_BYTES: usize = MAX_MESSAGE_BYTES / 2;

/// Most samples of one [`TelemetryBatch`]: eight minutes of a node that was cut off, a tenth of a message.
pub const MAX_SAMPLES: usize = 100;

/// Most services that a node reports; a site has a handful.
pub const MAX_SERVICES: usize = 64;

/// Most lanes that a node reports; a translator has one for each protocol, or two.
pub const MAX_LANES: usize = 32;

/// Most programs whose versions a node reports: those of this project, and what they are connected to.
pub const MAX_PROGRAMS: usize = 16;
