//! A Lightning wallet behind one interface: an ldk-node inside this process, lnd, or Core Lightning.
//!
//! Owns: the calls to the three, what each of them can and cannot do ([`Capabilities`]), and the rules by which the fate of
//! a payment is concluded from what a wallet tells ([`Lookup`]). Never: decides who is paid, tries a payment again, or
//! keeps a journal; the caller has written down the payment hash before it calls [`Wallet::pay`], and looks it up by it.
//!
//! ```text
//!            ┌─ ldk   an ldk-node with threads of its own; Bitcoin Core by RPC; a directory under a lock
//!  Wallet ───┼─ lnd   gRPC over TLS to a node whose certificate we have, byte for byte
//!            └─ cln   JSON-RPC over the Unix socket of a lightningd, a connection per call
//! ```

mod balance;
mod channel;
pub mod cln;
pub mod config;
mod event;
mod invoice;
pub mod ldk;
pub mod lnd;
mod lookup;
mod offer;
mod output;
mod payment;
mod peer;
#[cfg(test)]
mod sample;
mod wallet;

use std::time::Duration;

pub use balance::{Balances, Closing};
pub use channel::{
    Channel, ChannelFees, ChannelId, ChannelIdError, ChannelState, CloseChannel, Htlc, OpenChannel,
    OpenedChannel,
};
pub use event::{Event, Events};
pub use invoice::{InvoiceDetails, InvoiceRequest, OfferRequest};
pub use lookup::{Absence, Dispatch, Doubt, FailureCode, Lookup};
pub use offer::{FetchInvoice, FetchedInvoice, PayFetched};
pub use output::{WalletOutput, WalletTransaction};
pub use payment::{
    OutgoingPayment, OutgoingState, PageCursor, PayError, PayRequest, Payable, PaymentPage,
    Rebalance, Refusal, SendOnChain,
};
pub use peer::Peer;
pub use wallet::{
    Backend, Backup, Capabilities, Capability, Forward, ForwardPage, NodeInfo, Wallet, WalletError,
};

pub use ldk_node::lightning::ln::msgs::SocketAddress;
pub use ldk_node::lightning::offers::offer::Offer;
pub use ldk_node::lightning_invoice::Bolt11Invoice;
pub use ldk_node::lightning_types::payment::{PaymentHash, PaymentPreimage};

/// A wallet stops within this. The embedded node takes milliseconds, also with payments in flight; a disk that hangs, or a
/// peer, may hold it up.
pub const STOP_LIMIT: Duration = Duration::from_secs(30);
