//! What became of a payment, and when a wallet that does not know it may be taken to have never sent it.

use std::fmt;
use std::time::{Duration, SystemTime};

use bitcoin::secp256k1::PublicKey;
use hh_mining::Msat;
use ldk_node::lightning_types::payment::{PaymentHash, PaymentPreimage};

use crate::ChannelId;

/// What the caller wrote down before it handed a payment over.
#[derive(Clone, Debug)]
pub struct Dispatch {
    /// Node id of the wallet that was to pay. No other is asked: a swapped or restored one knows nothing of anything.
    pub wallet: PublicKey,
    pub hash: PaymentHash,
    /// Without the fee.
    pub amount: Msat,
    /// When the wallet was called.
    pub at: SystemTime,
    /// [`crate::PayRequest::timeout`].
    pub timeout: Duration,
    /// The channels that were usable then: the payment can be in these only.
    pub channels: Vec<ChannelId>,
}

/// What a wallet knows about a payment that it was to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Paid. The preimage has been checked against the hash, and is the receipt. This is final, whatever comes later.
    Settled {
        preimage: PaymentPreimage,
        /// Of routing; none where the wallet has forgotten it.
        fee: Option<Msat>,
    },
    /// It may still settle. `htlc_seen` is whether a channel has it now; where it has none for long, an operator should look.
    InFlight { htlc_seen: bool },
    /// It never will: the wallet says so, and no channel has it.
    Failed { code: FailureCode },
    /// The wallet does not know it.
    Absent(Absence),
}

/// What the absence of a payment means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Absence {
    /// It was never sent, and won't be: the same invoice may be sent again while it is valid.
    NeverSent,
    /// It may have been sent all the same. Ask again later.
    Unclear(Doubt),
}

/// Why absence does not tell yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// The call that hands it over has not returned.
    BeingHandedOver,
    /// It was handed over so short a time ago that it may be on its way to the wallet's books, or to another try.
    JustDispatched { seconds_left: u64 },
    /// The wallet has not had the time to learn from its peers and the chain.
    JustStarted { seconds_left: u64 },
    /// The wallet is behind the chain, or Bitcoin Core does not answer it.
    NotSynced,
    /// The peer of this channel has not been back since.
    ChannelAway(ChannelId),
    /// This channel is on its way to the chain, and may hold it.
    ChannelClosing(ChannelId),
    /// Payments too small to be seen are on their way, in which it may hide.
    TooSmallToSee,
    /// The wallet has news that nobody has taken yet: it may be among them.
    EventsWaiting,
}

impl fmt::Display for Doubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeingHandedOver => f.write_str("the wallet is just taking it"),
            Self::JustDispatched { seconds_left } => {
                write!(f, "it was sent just now: wait for another {seconds_left} s")
            }
            Self::JustStarted { seconds_left } => {
                write!(
                    f,
                    "the wallet started just now: wait for another {seconds_left} s"
                )
            }
            Self::NotSynced => f.write_str("the wallet is not in step with the chain"),
            Self::ChannelAway(id) => write!(f, "the peer of channel {id} is away"),
            Self::ChannelClosing(id) => write!(f, "channel {id} is closing, and may hold it"),
            Self::TooSmallToSee => {
                f.write_str("payments too small to be seen are on their way, and it may be one")
            }
            Self::EventsWaiting => f.write_str("events of the wallet wait to be taken"),
        }
    }
}

/// Why a payment failed, as far as the wallet tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureCode {
    /// No way with enough capacity, within the limits of fee and time.
    NoRoute,
    /// The wallet has tried for as long as it was to.
    TimedOut,
    /// The invoice ended meanwhile.
    Expired,
    /// The payee did not want it: unknown hash, wrong amount, too late.
    RejectedByPayee,
    /// Our side of the channels is too small.
    NoBalance,
    /// Somebody has cancelled it at the wallet.
    Cancelled,
    /// The wallet does not tell, or tells what we have no word for.
    Other,
}

impl FailureCode {
    /// As it stands in the journal and in metrics; it never changes.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NoRoute => "no_route",
            Self::TimedOut => "timed_out",
            Self::Expired => "expired",
            Self::RejectedByPayee => "rejected_by_payee",
            Self::NoBalance => "no_balance",
            Self::Cancelled => "cancelled",
            Self::Other => "other",
        }
    }
}

impl fmt::Display for FailureCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How much of `whole` is left when `past` of it has gone by, in whole seconds rounded up; none when it is over.
pub(crate) fn seconds_left(past: Duration, whole: Duration) -> Option<u64> {
    let left = whole.checked_sub(past).filter(|left| !left.is_zero())?;
    Some(left.as_secs() + u64::from(left.subsec_nanos() > 0))
}

/// Since then by the clock of the machine; nothing where it was set back, so that waiting is never cut short.
pub(crate) fn since(then: SystemTime) -> Duration {
    SystemTime::now().duration_since(then).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_of_a_wait_is_rounded_up() {
        let wait = Duration::from_secs(60);
        assert_eq!(seconds_left(Duration::ZERO, wait), Some(60));
        assert_eq!(seconds_left(Duration::from_millis(59_001), wait), Some(1));
        assert_eq!(seconds_left(wait, wait), None);
        assert_eq!(seconds_left(wait * 2, wait), None);
    }

    #[test]
    fn a_time_in_the_future_is_no_time_ago() {
        assert_eq!(
            since(SystemTime::now() + Duration::from_secs(60)),
            Duration::ZERO
        );
    }
}
