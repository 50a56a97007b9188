//! What a wallet tells by itself.

use bitcoin::secp256k1::PublicKey;
use hh_mining::Msat;
use ldk_node::lightning_types::payment::{PaymentHash, PaymentPreimage};

use crate::{ChannelId, FailureCode, WalletError, cln, ldk, lnd};

/// News of a wallet. Each may come more than once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A payment of ours was settled. The preimage has been checked against the hash.
    PaymentSettled {
        hash: PaymentHash,
        preimage: PaymentPreimage,
        fee: Option<Msat>,
    },
    /// A payment of ours failed for good.
    PaymentFailed {
        hash: PaymentHash,
        code: FailureCode,
    },
    /// Somebody paid an invoice of ours.
    Received { hash: PaymentHash, amount: Msat },
    /// Somebody's payment went through us. Only the embedded node tells it, which keeps no history of these: what is not
    /// written down is lost. It names them by nothing: see [`Events::may_be_old`]. The others' are in
    /// [`crate::Wallet::forwards`].
    Forwarded {
        from: ChannelId,
        to: ChannelId,
        /// What we earned; none where a channel that closed by force has it.
        fee: Option<Msat>,
        /// What went out.
        amount: Option<Msat>,
    },
    /// A channel's funding transaction is made.
    ChannelOpening { id: ChannelId, peer: PublicKey },
    /// A channel can be used. Also after a splice.
    ChannelReady { id: ChannelId },
    /// A channel is closed, or was given up before it was open.
    ChannelClosed { id: ChannelId, reason: String },
    /// The connection to the wallet was not there for a while, and it does not tell again what happened meanwhile: what is in
    /// flight has to be looked up.
    Missed,
}

/// The events of a wallet, one after the other. Only one of these exists for a wallet at a time.
#[derive(Debug)]
pub struct Events(pub(crate) Source);

#[derive(Debug)]
pub(crate) enum Source {
    Ldk(ldk::LdkEvents),
    Lnd(Box<lnd::LndEvents>),
    Cln(cln::ClnEvents),
}

impl Events {
    /// The next one, the same until [`Self::handled`] is called. Waits until there is one; to give up waiting loses nothing.
    ///
    /// # Errors
    /// Where the wallet has been stopped.
    pub async fn next(&mut self) -> Result<Event, WalletError> {
        match &mut self.0 {
            Source::Ldk(events) => events.next().await,
            Source::Lnd(events) => events.next().await,
            Source::Cln(events) => events.next().await,
        }
    }

    /// Whether the event that [`Self::next`] gave may have been given, and the caller have booked it, in an earlier life of the
    /// wallet or of this process: only the first one of a life may.
    #[must_use]
    pub fn may_be_old(&self) -> bool {
        match &self.0 {
            Source::Ldk(events) => events.may_be_old(),
            // They tell nothing twice.
            Source::Lnd(_) | Source::Cln(_) => false,
        }
    }

    /// The event that [`Self::next`] gave is in the caller's books, and need not come again.
    ///
    /// # Errors
    /// None that the caller can do anything about but log: the event may come again.
    pub async fn handled(&mut self) -> Result<(), WalletError> {
        match &mut self.0 {
            Source::Ldk(events) => events.handled().await,
            Source::Lnd(events) => {
                events.handled();
                Ok(())
            }
            Source::Cln(events) => {
                events.handled();
                Ok(())
            }
        }
    }
}
