//! The messages of `proto/control.proto`, where each is explained.

use super::payout::{NodeAccount, NodeInvoice};
use prost::{Message, Oneof};

/// Its Debug leaves the token out, which whoever has it may use.
#[derive(Clone, PartialEq, Message)]
#[prost(skip_debug)]
pub struct EnrolRequest {
    /// As an operator was given it.
    #[prost(string, tag = "1")]
    pub token: String,
    /// PKCS#10. Only the public key in it counts.
    #[prost(bytes = "vec", tag = "2")]
    pub csr_der: Vec<u8>,
    /// The key that signs the node's results and credentials: hhnode1...
    #[prost(string, tag = "3")]
    pub node_key: String,
    /// Its signature over the token, the request and this TLS connection.
    #[prost(bytes = "vec", tag = "4")]
    pub proof: Vec<u8>,
    #[prost(string, tag = "5")]
    pub agent_version: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct EnrolResponse {
    #[prost(string, tag = "1")]
    pub node_id: String,
    /// The node's first, then the issuer's.
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub certificates_der: Vec<Vec<u8>>,
    /// What the node checks core's certificates against from now on.
    #[prost(bytes = "vec", tag = "3")]
    pub root_der: Vec<u8>,
    /// HOST:PORT of NodeControl.
    #[prost(string, tag = "4")]
    pub session_address: String,
    /// Of the node's commands: another one at every enrolment.
    #[prost(uint64, tag = "5")]
    pub epoch: u64,
    /// The keys whose commands count, signed by the network's offline key: a JWS.
    #[prost(string, tag = "6")]
    pub key_set: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct RecoverRequest {
    /// Which node asks.
    #[prost(string, tag = "1")]
    pub node_id: String,
    /// PKCS#10, as in an EnrolRequest.
    #[prost(bytes = "vec", tag = "2")]
    pub csr_der: Vec<u8>,
    /// By the node's key: its signature over the node, the request and this TLS connection.
    #[prost(bytes = "vec", tag = "3")]
    pub proof: Vec<u8>,
    /// The same, signed by the key of the node's last certificate. Where an answer to a renewal was lost the node does not know which
    /// one that is, and signs with both.
    #[prost(bytes = "vec", repeated, tag = "4")]
    pub tls_proofs: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub struct RecoverResponse {
    /// As in an EnrolResponse.
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub certificates_der: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub struct RenewRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub csr_der: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub struct RenewResponse {
    #[prost(bytes = "vec", repeated, tag = "1")]
    pub certificates_der: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub struct NodeMessage {
    #[prost(oneof = "node_message::Body", tags = "1, 2, 3, 4, 40")]
    pub body: Option<node_message::Body>,
}

/// What a [`NodeMessage`] is.
pub mod node_message {
    use super::Oneof;

    #[derive(Clone, PartialEq, Oneof)]
    pub enum Body {
        #[prost(message, tag = "1")]
        Hello(super::NodeHello),
        #[prost(message, tag = "2")]
        Taken(super::CommandTaken),
        #[prost(message, tag = "3")]
        Result(super::CommandResult),
        #[prost(message, tag = "4")]
        Heartbeat(super::Heartbeat),
        #[prost(message, tag = "40")]
        Invoice(super::NodeInvoice),
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct NodeHello {
    #[prost(string, tag = "1")]
    pub agent_version: String,
    #[prost(uint64, tag = "2")]
    pub epoch: u64,
    /// Of the last command that it has taken; 0 before the first.
    #[prost(uint64, tag = "3")]
    pub last_seq: u64,
    #[prost(message, repeated, tag = "4")]
    pub services: Vec<ServiceReport>,
    /// Not there in what older agents say.
    #[prost(message, optional, tag = "60")]
    pub audit: Option<AuditSeen>,
}

/// The command is in the node's journal.
#[derive(Clone, PartialEq, Message)]
pub struct CommandTaken {
    #[prost(string, tag = "1")]
    pub command_id: String,
}

/// Signed by the node's key.
#[derive(Clone, PartialEq, Message)]
pub struct CommandResult {
    #[prost(string, tag = "1")]
    pub jws: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct Heartbeat {
    #[prost(int64, tag = "1")]
    pub sent_at_unix_ms: i64,
    #[prost(message, repeated, tag = "2")]
    pub services: Vec<ServiceReport>,
    #[prost(message, repeated, tag = "70")]
    pub lanes: Vec<LaneReport>,
    /// Where it is another one than this session was told last.
    #[prost(message, optional, tag = "71")]
    pub inventory: Option<Inventory>,
    #[prost(message, optional, tag = "60")]
    pub audit: Option<AuditSeen>,
}

/// What the node has seen of core's audit log. A newer checkpoint is sent to it with a proof from there.
#[derive(Clone, PartialEq, Message)]
pub struct AuditSeen {
    /// 0 if it has seen none.
    #[prost(uint64, tag = "1")]
    pub size: u64,
    /// The Merkle root over these lines.
    #[prost(bytes = "vec", tag = "2")]
    pub root: Vec<u8>,
    /// Why it has refused what it was shown; empty if it has not.
    #[prost(string, tag = "3")]
    pub fault: String,
}

/// A service that the node's policy names.
#[derive(Clone, PartialEq, Message)]
pub struct ServiceReport {
    #[prost(string, tag = "1")]
    pub name: String,
    /// running, starting, stopped, waiting (it ended and is started again later).
    #[prost(string, tag = "2")]
    pub state: String,
    #[prost(int64, tag = "3")]
    pub since_unix_ms: i64,
    /// Starts again after it ended by itself, since the agent started.
    #[prost(uint64, tag = "4")]
    pub restarts: u64,
    /// 0 where it does not run.
    #[prost(uint32, tag = "5")]
    pub pid: u32,
    /// Empty if there is nothing to tell.
    #[prost(string, tag = "6")]
    pub last_error: String,
    #[prost(uint64, tag = "7")]
    pub memory_bytes: u64,
    #[prost(uint64, tag = "8")]
    pub cpu_ms: u64,
}

/// A lane of the node's translator.
#[derive(Clone, PartialEq, Message)]
pub struct LaneReport {
    #[prost(string, tag = "1")]
    pub name: String,
    /// Of accepted shares over the last 10 minutes, in hashes a second.
    #[prost(double, tag = "2")]
    pub hashrate_10m_hs: f64,
    /// Connections of miners.
    #[prost(uint32, tag = "3")]
    pub miners: u32,
    /// Since the translator started; a pool has said so.
    #[prost(uint64, tag = "4")]
    pub shares_accepted: u64,
    /// Since the translator started, for all reasons.
    #[prost(uint64, tag = "5")]
    pub shares_rejected: u64,
}

/// What the node is. How large its memory and its disk are is in each Sample.
#[derive(Clone, PartialEq, Message)]
pub struct Inventory {
    /// As its os-release has it.
    #[prost(string, tag = "1")]
    pub os: String,
    #[prost(string, tag = "2")]
    pub kernel: String,
    /// As Rust names it, such as x86_64.
    #[prost(string, tag = "3")]
    pub architecture: String,
    #[prost(uint32, tag = "4")]
    pub cpus: u32,
    /// Those that answer the agent, by name; bitcoin-core is what hh-tp is connected to.
    #[prost(message, repeated, tag = "5")]
    pub programs: Vec<ProgramVersion>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Message)]
pub struct ProgramVersion {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(string, tag = "2")]
    pub version: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct CoreMessage {
    #[prost(oneof = "core_message::Body", tags = "1, 2, 3, 4, 5, 40, 60")]
    pub body: Option<core_message::Body>,
}

/// What a [`CoreMessage`] is.
pub mod core_message {
    use super::Oneof;

    #[derive(Clone, PartialEq, Oneof)]
    pub enum Body {
        #[prost(message, tag = "1")]
        Welcome(super::Welcome),
        #[prost(message, tag = "2")]
        Command(super::Command),
        #[prost(message, tag = "3")]
        ResultTaken(super::ResultTaken),
        #[prost(message, tag = "4")]
        Heartbeat(super::HeartbeatAnswer),
        #[prost(message, tag = "5")]
        Goodbye(super::Goodbye),
        #[prost(message, tag = "60")]
        Audit(super::AuditCheckpoint),
        #[prost(message, tag = "40")]
        Account(super::NodeAccount),
    }
}

#[derive(Clone, PartialEq, Message)]
pub struct Welcome {
    #[prost(int64, tag = "1")]
    pub core_unix_ms: i64,
    #[prost(uint32, tag = "2")]
    pub heartbeat_seconds: u32,
    #[prost(uint32, tag = "3")]
    pub telemetry_seconds: u32,
    /// As in an EnrolResponse; the node takes it if it is newer than the one that it has.
    #[prost(string, tag = "4")]
    pub key_set: String,
}

/// Signed by a command key.
#[derive(Clone, PartialEq, Message)]
pub struct Command {
    #[prost(string, tag = "1")]
    pub jws: String,
    /// The id that is in it: what was taken before is known by it, before anything else is looked at.
    #[prost(string, tag = "2")]
    pub command_id: String,
}

/// The result is in core's database; the node need not send it again.
#[derive(Clone, PartialEq, Message)]
pub struct ResultTaken {
    #[prost(string, tag = "1")]
    pub command_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct HeartbeatAnswer {
    /// As in the heartbeat.
    #[prost(int64, tag = "1")]
    pub sent_at_unix_ms: i64,
    #[prost(int64, tag = "2")]
    pub core_unix_ms: i64,
}

/// Core ends the session; the node may come back.
#[derive(Clone, PartialEq, Message)]
pub struct Goodbye {
    #[prost(string, tag = "1")]
    pub reason: String,
    /// [`super::REVOKED`] where the node has to be enrolled anew; else empty.
    #[prost(string, tag = "20")]
    pub code: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct PollRequest {
    /// As they would be on the stream, the hello first. At most 64.
    #[prost(message, repeated, tag = "1")]
    pub messages: Vec<NodeMessage>,
    /// For how long core may wait for something to send; it waits for 10 at most.
    #[prost(uint32, tag = "2")]
    pub wait_seconds: u32,
    /// The last command that came by an earlier poll: only what follows it is sent. Empty at first.
    #[prost(string, tag = "3")]
    pub after_command: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct PollResponse {
    /// As they would be on the stream.
    #[prost(message, repeated, tag = "1")]
    pub messages: Vec<CoreMessage>,
}

/// How far core's audit log goes.
#[derive(Clone, PartialEq, Message)]
pub struct AuditCheckpoint {
    /// A signed note (C2SP tlog-checkpoint), by a key of the list of keys.
    #[prost(string, tag = "1")]
    pub note: String,
    /// The lines that the node has seen, as it has said.
    #[prost(uint64, tag = "2")]
    pub from_size: u64,
    /// That the log went on from there: a consistency proof of RFC 6962.
    #[prost(bytes = "vec", repeated, tag = "3")]
    pub proof: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub struct TelemetryBatch {
    /// Another one when the node's spool is new.
    #[prost(uint64, tag = "1")]
    pub stream: u64,
    #[prost(message, repeated, tag = "2")]
    pub samples: Vec<Sample>,
    /// Samples that the spool had no room for since the stream began.
    #[prost(uint64, tag = "3")]
    pub dropped_total: u64,
}

#[derive(Clone, PartialEq, Message)]
pub struct Sample {
    /// From 1 on, without gaps but for those that were dropped.
    #[prost(uint64, tag = "1")]
    pub seq: u64,
    #[prost(int64, tag = "2")]
    pub at_unix_ms: i64,
    #[prost(uint64, tag = "3")]
    pub uptime_seconds: u64,
    #[prost(uint32, tag = "4")]
    pub load_1m_milli: u32,
    #[prost(uint64, tag = "5")]
    pub memory_total_bytes: u64,
    #[prost(uint64, tag = "6")]
    pub memory_available_bytes: u64,
    #[prost(uint64, tag = "7")]
    pub disk_total_bytes: u64,
    #[prost(uint64, tag = "8")]
    pub disk_available_bytes: u64,
    #[prost(message, repeated, tag = "9")]
    pub services: Vec<ServiceReport>,
    #[prost(message, repeated, tag = "70")]
    pub lanes: Vec<LaneReport>,
}

#[derive(Clone, PartialEq, Message)]
pub struct TelemetryAck {
    /// All up to this one are in core's database.
    #[prost(uint64, tag = "1")]
    pub through_seq: u64,
}

impl std::fmt::Debug for EnrolRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EnrolRequest")
            .field("node_key", &self.node_key)
            .field("agent_version", &self.agent_version)
            .finish_non_exhaustive()
    }
}
