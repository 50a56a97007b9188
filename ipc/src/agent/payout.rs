//! The messages of `proto/control.proto` about what nodes are paid, where each is explained.

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub struct NodeInvoice {
    #[prost(string, tag = "1")]
    pub invoice: String,
    #[prost(string, tag = "2")]
    pub signature: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct NodeAccount {
    #[prost(string, tag = "1")]
    pub node: String,
    #[prost(uint64, tag = "2")]
    pub payable_msat: u64,
    #[prost(uint64, tag = "3")]
    pub invoice_msat_min: u64,
    #[prost(uint64, tag = "4")]
    pub invoice_msat_max: u64,
    #[prost(message, repeated, tag = "5")]
    pub payouts: Vec<NodePayout>,
}

#[derive(Clone, PartialEq, Message)]
pub struct NodePayout {
    #[prost(string, tag = "1")]
    pub invoice_id: String,
    /// One of [`payout_state`].
    #[prost(string, tag = "2")]
    pub state: String,
    #[prost(uint64, tag = "3")]
    pub amount_msat: u64,
    #[prost(string, tag = "4")]
    pub payment_hash: String,
    #[prost(int64, tag = "5")]
    pub at_unix_ms: i64,
    #[prost(string, tag = "6")]
    pub reason: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct TreasuryReport {
    #[prost(message, repeated, tag = "1")]
    pub accounts: Vec<NodeAccount>,
}

#[derive(Clone, PartialEq, Message)]
pub struct HandedIn {
    #[prost(message, repeated, tag = "1")]
    pub invoices: Vec<HandedInvoice>,
}

#[derive(Clone, PartialEq, Message)]
pub struct HandedInvoice {
    #[prost(string, tag = "1")]
    pub node: String,
    #[prost(string, tag = "2")]
    pub invoice: String,
    #[prost(string, tag = "3")]
    pub signature: String,
}

/// What a [`NodePayout`] may be.
pub mod payout_state {
    pub const WAITING: &str = "waiting";
    pub const SETTLED: &str = "settled";
    pub const CANCELLED: &str = "cancelled";
    pub const REFUSED: &str = "refused";
}

/// Longest invoice in bytes: as the books of hh-treasury keep one.
pub const MAX_INVOICE_BYTES: usize = 2_000;

/// Most accounts of one [`TreasuryReport`]: with all of their payouts a third of a message.
pub const MAX_ACCOUNTS: usize = 100;

/// Most payouts of one [`NodeAccount`]: of a node one is open at a time, the others are for its owner to see.
pub const MAX_PAYOUTS: usize = 8;

/// Longest text of a [`NodePayout`] in bytes.
pub const MAX_REASON_BYTES: usize = 200;

/// The service that [`super::Method::ExchangePayouts`] is for, as its certificate names it.
pub const TREASURY: &str = "hh-treasury";
