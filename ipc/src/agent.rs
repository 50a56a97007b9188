//! What hyperhash-core and the agents of nodes say to each other: gRPC, always dialled by the node.
//!
//! The messages are those of `proto/control.proto`, written down by hand with prost's derive: nobody who builds needs a
//! `protoc`. A test compares the two. Here are formats and limits only; the two ends of a connection are in the daemons.

mod message;
mod payout;

pub use message::{
    Command, CommandResult, CommandTaken, CoreMessage, EnrolRequest, EnrolResponse, Goodbye,
    Heartbeat, HeartbeatAnswer, NodeHello, NodeMessage, RenewRequest, RenewResponse, ResultTaken,
    Sample, ServiceReport, TelemetryAck, TelemetryBatch, Welcome, core_message, node_message,
};
pub use payout::{
    HandedIn, HandedInvoice, MAX_ACCOUNTS, MAX_INVOICE_BYTES, MAX_PAYOUTS, MAX_REASON_BYTES,
    NodeAccount, NodeInvoice, NodePayout, TREASURY, TreasuryReport, payout_state,
};

/// The calls, as gRPC names them.
pub mod path {
    pub const ENROL: &str = "/hyperhash.control.v1.Enrolment/Enrol";
    pub const SESSION: &str = "/hyperhash.control.v1.NodeControl/Session";
    pub const RENEW: &str = "/hyperhash.control.v1.NodeControl/Renew";
    pub const PUSH_TELEMETRY: &str = "/hyperhash.control.v1.NodeControl/PushTelemetry";
    pub const EXCHANGE_PAYOUTS: &str = "/hyperhash.control.v1.TreasuryControl/ExchangePayouts";
}

/// A call: what is decided for each is decided for all of them, or does not compile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Joins, by a token.
    Enrol,
    /// Commands out; what comes of them, and heartbeats, in.
    Session,
    /// Another certificate.
    Renew,
    /// Samples of a node's telemetry.
    PushTelemetry,
    /// What hh-treasury owes nodes and pays them, and their invoices.
    ExchangePayouts,
}

impl Method {
    /// All of them, as `control.proto` has them.
    pub const ALL: [Self; 5] = [
        Self::Enrol,
        Self::Session,
        Self::Renew,
        Self::PushTelemetry,
        Self::ExchangePayouts,
    ];

    /// As gRPC names it.
    pub fn path(self) -> &'static str {
        match self {
            Self::Enrol => path::ENROL,
            Self::Session => path::SESSION,
            Self::Renew => path::RENEW,
            Self::PushTelemetry => path::PUSH_TELEMETRY,
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

/// Largest message in bytes that either side takes: a hundred samples of a node with a dozen services are a tenth of it.
pub const MAX_MESSAGE_BYTES: usize = 1 << 20;

/// Most samples of one [`TelemetryBatch`]: eight minutes of a node that was cut off, a tenth of a message.
pub const MAX_SAMPLES: usize = 100;

/// Most services that a node reports; a site has a handful.
pub const MAX_SERVICES: usize = 64;
