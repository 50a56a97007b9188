//! The messages of lnd that we send and read, with the field numbers of its protocol files (`lnrpc/*.proto`, MIT, 0.21).
//!
//! Written down by hand and not generated: a hundred fields of some two thousand, no protoc, and no crate that links OpenSSL
//! (ADR 0015). A field that is left out is skipped when it is read, and has its default when it is sent.

pub(super) mod onchain;
pub(super) mod policy;

use prost::{Enumeration, Message, Oneof};

/// Where a call goes.
pub(super) mod path {
    pub(crate) const GET_INFO: &str = "/lnrpc.Lightning/GetInfo";
    pub(crate) const NEW_ADDRESS: &str = "/lnrpc.Lightning/NewAddress";
    pub(crate) const ADD_INVOICE: &str = "/lnrpc.Lightning/AddInvoice";
    pub(crate) const LIST_PAYMENTS: &str = "/lnrpc.Lightning/ListPayments";
    pub(crate) const WALLET_BALANCE: &str = "/lnrpc.Lightning/WalletBalance";
    pub(crate) const LIST_UNSPENT: &str = "/lnrpc.Lightning/ListUnspent";
    pub(crate) const GET_TRANSACTIONS: &str = "/lnrpc.Lightning/GetTransactions";
    pub(crate) const LIST_CHANNELS: &str = "/lnrpc.Lightning/ListChannels";
    pub(crate) const GET_CHAN_INFO: &str = "/lnrpc.Lightning/GetChanInfo";
    pub(crate) const UPDATE_POLICY: &str = "/lnrpc.Lightning/UpdateChannelPolicy";
    pub(crate) const PENDING_CHANNELS: &str = "/lnrpc.Lightning/PendingChannels";
    pub(crate) const CONNECT_PEER: &str = "/lnrpc.Lightning/ConnectPeer";
    pub(crate) const LIST_PEERS: &str = "/lnrpc.Lightning/ListPeers";
    pub(crate) const DISCONNECT_PEER: &str = "/lnrpc.Lightning/DisconnectPeer";
    pub(crate) const OPEN_CHANNEL: &str = "/lnrpc.Lightning/OpenChannelSync";
    pub(crate) const CLOSE_CHANNEL: &str = "/lnrpc.Lightning/CloseChannel";
    pub(crate) const SEND_COINS: &str = "/lnrpc.Lightning/SendCoins";
    pub(crate) const FORWARDING_HISTORY: &str = "/lnrpc.Lightning/ForwardingHistory";
    pub(crate) const EXPORT_BACKUPS: &str = "/lnrpc.Lightning/ExportAllChannelBackups";
    pub(crate) const CHANNEL_EVENTS: &str = "/lnrpc.Lightning/SubscribeChannelEvents";
    pub(crate) const INVOICES: &str = "/lnrpc.Lightning/SubscribeInvoices";
    pub(crate) const SEND_PAYMENT: &str = "/routerrpc.Router/SendPaymentV2";
    pub(crate) const TRACK_PAYMENT: &str = "/routerrpc.Router/TrackPaymentV2";
    pub(crate) const TRACK_PAYMENTS: &str = "/routerrpc.Router/TrackPayments";
}

/// For calls that take nothing or answer nothing that we need.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Empty {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetInfoResponse {
    /// Hex.
    #[prost(string, tag = "1")]
    pub(super) identity_pubkey: String,
    #[prost(string, tag = "2")]
    pub(super) alias: String,
    #[prost(uint32, tag = "6")]
    pub(super) block_height: u32,
    #[prost(bool, tag = "9")]
    pub(super) synced_to_chain: bool,
    #[prost(string, tag = "14")]
    pub(super) version: String,
    #[prost(message, repeated, tag = "16")]
    pub(super) chains: Vec<Chain>,
    #[prost(bool, tag = "23")]
    pub(super) wallet_synced: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Chain {
    #[prost(string, tag = "2")]
    pub(super) network: String,
}

/// Its type stays 0: P2WPKH.
#[derive(Clone, PartialEq, Message)]
pub(super) struct NewAddressRequest {}

#[derive(Clone, PartialEq, Message)]
pub(super) struct NewAddressResponse {
    #[prost(string, tag = "1")]
    pub(super) address: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Invoice {
    #[prost(string, tag = "1")]
    pub(super) memo: String,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) r_hash: Vec<u8>,
    #[prost(bytes = "vec", tag = "10")]
    pub(super) description_hash: Vec<u8>,
    #[prost(int64, tag = "11")]
    pub(super) expiry: i64,
    /// With hints for channels that are not public.
    #[prost(bool, tag = "15")]
    pub(super) private: bool,
    #[prost(int64, tag = "20")]
    pub(super) amt_paid_msat: i64,
    #[prost(enumeration = "InvoiceState", tag = "21")]
    pub(super) state: i32,
    #[prost(int64, tag = "23")]
    pub(super) value_msat: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
pub(super) enum InvoiceState {
    Open = 0,
    Settled = 1,
    Canceled = 2,
    Accepted = 3,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct AddInvoiceResponse {
    #[prost(string, tag = "2")]
    pub(super) payment_request: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SendPaymentRequest {
    #[prost(string, tag = "5")]
    pub(super) payment_request: String,
    #[prost(int32, tag = "6")]
    pub(super) timeout_seconds: i32,
    /// 0 is no limit.
    #[prost(int32, tag = "9")]
    pub(super) cltv_limit: i32,
    /// Only where the invoice names none.
    #[prost(int64, tag = "12")]
    pub(super) amt_msat: i64,
    /// 0 allows free routes only.
    #[prost(int64, tag = "13")]
    pub(super) fee_limit_msat: i64,
    #[prost(bytes = "vec", tag = "14")]
    pub(super) last_hop_pubkey: Vec<u8>,
    #[prost(bool, tag = "15")]
    pub(super) allow_self_payment: bool,
    #[prost(uint32, tag = "17")]
    pub(super) max_parts: u32,
    #[prost(uint64, repeated, tag = "19")]
    pub(super) outgoing_chan_ids: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TrackPaymentRequest {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) payment_hash: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TrackPaymentsRequest {
    #[prost(bool, tag = "1")]
    pub(super) no_inflight_updates: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Payment {
    /// Hex.
    #[prost(string, tag = "1")]
    pub(super) payment_hash: String,
    /// Hex.
    #[prost(string, tag = "6")]
    pub(super) payment_preimage: String,
    #[prost(int64, tag = "8")]
    pub(super) value_msat: i64,
    #[prost(enumeration = "PaymentStatus", tag = "10")]
    pub(super) status: i32,
    #[prost(int64, tag = "12")]
    pub(super) fee_msat: i64,
    #[prost(int64, tag = "13")]
    pub(super) creation_time_ns: i64,
    #[prost(enumeration = "PaymentFailureReason", tag = "16")]
    pub(super) failure_reason: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
pub(super) enum PaymentStatus {
    Unknown = 0,
    InFlight = 1,
    Succeeded = 2,
    Failed = 3,
    Initiated = 4,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
pub(super) enum PaymentFailureReason {
    None = 0,
    Timeout = 1,
    NoRoute = 2,
    Error = 3,
    IncorrectPaymentDetails = 4,
    InsufficientBalance = 5,
    Canceled = 6,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ListPaymentsRequest {
    #[prost(bool, tag = "1")]
    pub(super) include_incomplete: bool,
    #[prost(uint64, tag = "2")]
    pub(super) index_offset: u64,
    #[prost(uint64, tag = "3")]
    pub(super) max_payments: u64,
    #[prost(bool, tag = "8")]
    pub(super) omit_hops: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ListPaymentsResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) payments: Vec<Payment>,
    #[prost(uint64, tag = "3")]
    pub(super) last_index_offset: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WalletBalanceResponse {
    #[prost(int64, tag = "1")]
    pub(super) total_balance: i64,
    #[prost(int64, tag = "2")]
    pub(super) confirmed_balance: i64,
    #[prost(int64, tag = "6")]
    pub(super) reserved_balance_anchor_chan: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct GetTransactionsRequest {
    #[prost(int32, tag = "1")]
    pub(super) start_height: i32,
    /// -1: the newest, and what is not confirmed.
    #[prost(int32, tag = "2")]
    pub(super) end_height: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct TransactionDetails {
    #[prost(message, repeated, tag = "1")]
    pub(super) transactions: Vec<Transaction>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Transaction {
    /// As it is shown.
    #[prost(string, tag = "1")]
    pub(super) tx_hash: String,
    #[prost(int32, tag = "3")]
    pub(super) num_confirmations: i32,
    /// 0 or less before it is in a block.
    #[prost(int32, tag = "5")]
    pub(super) block_height: i32,
    #[prost(message, repeated, tag = "11")]
    pub(super) output_details: Vec<OutputDetail>,
    #[prost(message, repeated, tag = "12")]
    pub(super) previous_outpoints: Vec<PreviousOutPoint>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OutputDetail {
    #[prost(int64, tag = "4")]
    pub(super) output_index: i64,
    #[prost(int64, tag = "5")]
    pub(super) amount: i64,
    #[prost(bool, tag = "6")]
    pub(super) is_our_address: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PreviousOutPoint {
    /// `TXID:INDEX`.
    #[prost(string, tag = "1")]
    pub(super) outpoint: String,
    #[prost(bool, tag = "2")]
    pub(super) is_our_output: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ChanInfoRequest {
    #[prost(uint64, tag = "1")]
    pub(super) chan_id: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ChannelEdge {
    /// Hex.
    #[prost(string, tag = "4")]
    pub(super) node1_pub: String,
    /// Of what goes out of node 1, as far as it is known.
    #[prost(message, optional, tag = "7")]
    pub(super) node1_policy: Option<Empty>,
    #[prost(message, optional, tag = "8")]
    pub(super) node2_policy: Option<Empty>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ListChannelsResponse {
    #[prost(message, repeated, tag = "11")]
    pub(super) channels: Vec<Channel>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Channel {
    #[prost(bool, tag = "1")]
    pub(super) active: bool,
    #[prost(string, tag = "2")]
    pub(super) remote_pubkey: String,
    /// `TXID:INDEX`.
    #[prost(string, tag = "3")]
    pub(super) channel_point: String,
    #[prost(uint64, tag = "4")]
    pub(super) chan_id: u64,
    #[prost(int64, tag = "5")]
    pub(super) capacity: i64,
    #[prost(int64, tag = "6")]
    pub(super) local_balance: i64,
    #[prost(int64, tag = "7")]
    pub(super) remote_balance: i64,
    #[prost(int64, tag = "11")]
    pub(super) unsettled_balance: i64,
    #[prost(message, repeated, tag = "15")]
    pub(super) pending_htlcs: Vec<Htlc>,
    #[prost(bool, tag = "17")]
    pub(super) private: bool,
    #[prost(bool, tag = "18")]
    pub(super) initiator: bool,
    #[prost(message, optional, tag = "29")]
    pub(super) local_constraints: Option<ChannelConstraints>,
    #[prost(message, optional, tag = "30")]
    pub(super) remote_constraints: Option<ChannelConstraints>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Htlc {
    #[prost(bool, tag = "1")]
    pub(super) incoming: bool,
    #[prost(int64, tag = "2")]
    pub(super) amount: i64,
    #[prost(bytes = "vec", tag = "3")]
    pub(super) hash_lock: Vec<u8>,
    #[prost(uint32, tag = "4")]
    pub(super) expiration_height: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ChannelConstraints {
    /// Blocks for which that side is locked after it has closed by force.
    #[prost(uint32, tag = "1")]
    pub(super) csv_delay: u32,
    #[prost(uint64, tag = "2")]
    pub(super) chan_reserve_sat: u64,
    /// How much that side may have on its way at once.
    #[prost(uint64, tag = "4")]
    pub(super) max_pending_amt_msat: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PendingChannelsResponse {
    #[prost(message, repeated, tag = "2")]
    pub(super) pending_open_channels: Vec<PendingOpenChannel>,
    #[prost(message, repeated, tag = "4")]
    pub(super) pending_force_closing_channels: Vec<ForceClosedChannel>,
    #[prost(message, repeated, tag = "5")]
    pub(super) waiting_close_channels: Vec<WaitingCloseChannel>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PendingChannel {
    #[prost(string, tag = "1")]
    pub(super) remote_node_pub: String,
    #[prost(string, tag = "2")]
    pub(super) channel_point: String,
    #[prost(int64, tag = "3")]
    pub(super) capacity: i64,
    #[prost(int64, tag = "4")]
    pub(super) local_balance: i64,
    #[prost(int64, tag = "5")]
    pub(super) remote_balance: i64,
    #[prost(int64, tag = "6")]
    pub(super) local_chan_reserve_sat: i64,
    /// 1: we have opened it.
    #[prost(int32, tag = "8")]
    pub(super) initiator: i32,
    #[prost(bool, tag = "12")]
    pub(super) private: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PendingOpenChannel {
    #[prost(message, optional, tag = "1")]
    pub(super) channel: Option<PendingChannel>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct WaitingCloseChannel {
    #[prost(message, optional, tag = "1")]
    pub(super) channel: Option<PendingChannel>,
    #[prost(int64, tag = "2")]
    pub(super) limbo_balance: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ForceClosedChannel {
    #[prost(message, optional, tag = "1")]
    pub(super) channel: Option<PendingChannel>,
    #[prost(int64, tag = "3")]
    pub(super) limbo_balance: i64,
    #[prost(uint32, tag = "4")]
    pub(super) maturity_height: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ConnectPeerRequest {
    #[prost(message, optional, tag = "1")]
    pub(super) addr: Option<LightningAddress>,
    #[prost(bool, tag = "2")]
    pub(super) perm: bool,
    /// Seconds.
    #[prost(uint64, tag = "3")]
    pub(super) timeout: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct LightningAddress {
    #[prost(string, tag = "1")]
    pub(super) pubkey: String,
    #[prost(string, tag = "2")]
    pub(super) host: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ListPeersResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) peers: Vec<Peer>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct Peer {
    /// Hex.
    #[prost(string, tag = "1")]
    pub(super) pub_key: String,
    /// `HOST:PORT`.
    #[prost(string, tag = "3")]
    pub(super) address: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct DisconnectPeerRequest {
    /// Hex.
    #[prost(string, tag = "1")]
    pub(super) pub_key: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct OpenChannelRequest {
    #[prost(uint64, tag = "1")]
    pub(super) sat_per_vbyte: u64,
    #[prost(bytes = "vec", tag = "2")]
    pub(super) node_pubkey: Vec<u8>,
    #[prost(int64, tag = "4")]
    pub(super) local_funding_amount: i64,
    #[prost(bool, tag = "8")]
    pub(super) private: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ChannelPoint {
    #[prost(oneof = "FundingTxid", tags = "1, 2")]
    pub(super) funding_txid: Option<FundingTxid>,
    #[prost(uint32, tag = "3")]
    pub(super) output_index: u32,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum FundingTxid {
    /// As it is hashed.
    #[prost(bytes, tag = "1")]
    Bytes(Vec<u8>),
    /// As it is shown: the other way round.
    #[prost(string, tag = "2")]
    Text(String),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct CloseChannelRequest {
    #[prost(message, optional, tag = "1")]
    pub(super) channel_point: Option<ChannelPoint>,
    #[prost(bool, tag = "2")]
    pub(super) force: bool,
    /// With payments pending it begins all the same, and ends when they have.
    #[prost(bool, tag = "8")]
    pub(super) no_wait: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SendCoinsRequest {
    #[prost(string, tag = "1")]
    pub(super) addr: String,
    #[prost(int64, tag = "2")]
    pub(super) amount: i64,
    #[prost(uint64, tag = "4")]
    pub(super) sat_per_vbyte: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct SendCoinsResponse {
    #[prost(string, tag = "1")]
    pub(super) txid: String,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ForwardingHistoryRequest {
    #[prost(uint64, tag = "1")]
    pub(super) start_time: u64,
    #[prost(uint64, tag = "2")]
    pub(super) end_time: u64,
    #[prost(uint32, tag = "3")]
    pub(super) index_offset: u32,
    #[prost(uint32, tag = "4")]
    pub(super) num_max_events: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ForwardingHistoryResponse {
    #[prost(message, repeated, tag = "1")]
    pub(super) forwarding_events: Vec<ForwardingEvent>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ForwardingEvent {
    #[prost(uint64, tag = "2")]
    pub(super) chan_id_in: u64,
    #[prost(uint64, tag = "4")]
    pub(super) chan_id_out: u64,
    #[prost(uint64, tag = "8")]
    pub(super) fee_msat: u64,
    #[prost(uint64, tag = "10")]
    pub(super) amt_out_msat: u64,
    #[prost(uint64, tag = "11")]
    pub(super) timestamp_ns: u64,
    #[prost(uint64, optional, tag = "14")]
    pub(super) incoming_htlc_id: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ChanBackupSnapshot {
    #[prost(message, optional, tag = "2")]
    pub(super) multi_chan_backup: Option<MultiChanBackup>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct MultiChanBackup {
    #[prost(bytes = "vec", tag = "2")]
    pub(super) multi_chan_backup: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ChannelEventUpdate {
    #[prost(oneof = "ChannelNews", tags = "1, 2, 6")]
    pub(super) channel: Option<ChannelNews>,
}

#[derive(Clone, PartialEq, Oneof)]
pub(super) enum ChannelNews {
    #[prost(message, tag = "1")]
    Open(Channel),
    #[prost(message, tag = "2")]
    Closed(ChannelCloseSummary),
    #[prost(message, tag = "6")]
    PendingOpen(PendingUpdate),
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct ChannelCloseSummary {
    #[prost(string, tag = "1")]
    pub(super) channel_point: String,
    #[prost(enumeration = "ClosureType", tag = "10")]
    pub(super) close_type: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Enumeration)]
pub(super) enum ClosureType {
    Cooperative = 0,
    LocalForce = 1,
    RemoteForce = 2,
    Breach = 3,
    FundingCanceled = 4,
    Abandoned = 5,
}

#[derive(Clone, PartialEq, Message)]
pub(super) struct PendingUpdate {
    #[prost(bytes = "vec", tag = "1")]
    pub(super) txid: Vec<u8>,
    #[prost(uint32, tag = "2")]
    pub(super) output_index: u32,
}
