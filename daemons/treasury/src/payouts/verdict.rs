//! What may be concluded about an attempt whose outcome is not known (design 5).
//!
//! A mistake here pays twice or never. The wallet concludes what it can know (`hh_lightning::Lookup`: settled, failed, never sent);
//! what is left for here is what follows from that, and when waiting has no sense any more. Silence, an error, or a wallet that is
//! not the one of the record conclude nothing.

use hh_lightning::{Absence, FailureCode, Lookup, PaymentPreimage};
use hh_mining::Msat;

/// Blocks beyond the CLTV limit of the dispatch after which no HTLC of it can be left, with a margin for reorganisations.
const LIMIT_MARGIN_BLOCKS: u32 = 6;

/// What the recorded wallet says about a payment hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Wallet(Lookup),
    /// Another wallet answers than the one that was to pay.
    AnotherWallet(String),
    /// It does not answer.
    None(String),
}

/// Where the chain is, beside where it was when the payment was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ChainPlace {
    /// None where no node tells.
    pub height: Option<u32>,
    pub dispatch_height: u32,
    /// The longest that an HTLC of it may have been locked, in blocks.
    pub cltv_limit: u32,
}

/// What to do about the attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Paid. Final, and beats any failure.
    Settled {
        preimage: PaymentPreimage,
        fee: Option<Msat>,
    },
    /// The wallet has it: ask again.
    InFlight,
    /// Given up by the wallet: a new invoice may be paid.
    FailedFinal(FailureCode),
    /// Nothing was sent: the same invoice may be sent again, if it is still valid.
    NeverSent,
    /// Nothing can be concluded yet.
    Wait(String),
    /// Nothing will be concluded by waiting: a person has to look.
    NeedsOperator(String),
}

impl Answer {
    /// What follows from it.
    pub(crate) fn verdict(&self, place: ChainPlace) -> Verdict {
        match self {
            Self::Wallet(Lookup::Settled { preimage, fee }) => Verdict::Settled {
                preimage: *preimage,
                fee: *fee,
            },
            Self::Wallet(Lookup::Failed { code }) => Verdict::FailedFinal(*code),
            Self::Wallet(Lookup::Absent(Absence::NeverSent)) => Verdict::NeverSent,
            Self::Wallet(Lookup::Absent(Absence::Unclear(doubt))) => {
                place.wait(format!("the wallet does not know it, but {doubt}"))
            }
            Self::Wallet(Lookup::InFlight { htlc_seen: true }) => Verdict::InFlight,
            Self::Wallet(Lookup::InFlight { htlc_seen: false }) if place.is_past_limit() => {
                let why = "the wallet says that it is in flight, but nothing on its channels carries it any more";
                Verdict::NeedsOperator(why.to_owned())
            }
            Self::Wallet(Lookup::InFlight { htlc_seen: false }) => Verdict::InFlight,
            Self::AnotherWallet(why) => Verdict::NeedsOperator(why.clone()),
            Self::None(why) => place.wait(why.clone()),
        }
    }
}

impl ChainPlace {
    fn wait(&self, why: String) -> Verdict {
        if self.is_past_limit() {
            Verdict::NeedsOperator(why)
        } else {
            Verdict::Wait(why)
        }
    }

    /// Whether the chain has passed the last block at which an HTLC of the dispatch can be locked: only then may two operators
    /// close it as failed.
    pub(crate) fn is_past_limit(&self) -> bool {
        let last = self
            .dispatch_height
            .saturating_add(self.cltv_limit)
            .saturating_add(LIMIT_MARGIN_BLOCKS);
        self.height.is_some_and(|height| height > last)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hh_lightning::Doubt;
    use proptest::prelude::*;

    const EARLY: ChainPlace = ChainPlace {
        height: Some(1_000),
        dispatch_height: 1_000,
        cltv_limit: 432,
    };
    const LATE: ChainPlace = ChainPlace {
        height: Some(1_439),
        ..EARLY
    };

    #[test]
    fn silence_is_no_failure_however_long_it_lasts() {
        let silent = Answer::None("away".to_owned());
        assert_eq!(silent.verdict(EARLY), Verdict::Wait("away".to_owned()));
        let needs = Verdict::NeedsOperator("away".to_owned());
        assert_eq!(silent.verdict(LATE), needs);
        let unknown_height = ChainPlace {
            height: None,
            ..LATE
        };
        assert_eq!(
            silent.verdict(unknown_height),
            Verdict::Wait("away".to_owned())
        );
    }

    #[test]
    fn another_wallet_knows_nothing() {
        let other = Answer::AnotherWallet("node 02..".to_owned());
        assert!(matches!(other.verdict(EARLY), Verdict::NeedsOperator(_)));
    }

    #[test]
    fn what_is_in_flight_without_an_htlc_waits_for_the_limit_and_then_for_a_person() {
        let lookup = |htlc_seen| Answer::Wallet(Lookup::InFlight { htlc_seen });
        assert_eq!(lookup(false).verdict(EARLY), Verdict::InFlight);
        assert!(matches!(
            lookup(false).verdict(LATE),
            Verdict::NeedsOperator(_)
        ));
        assert_eq!(lookup(true).verdict(LATE), Verdict::InFlight);
    }

    fn lookups() -> impl Strategy<Value = Lookup> {
        prop_oneof![
            any::<[u8; 32]>().prop_map(|preimage| Lookup::Settled {
                preimage: PaymentPreimage(preimage),
                fee: None,
            }),
            any::<bool>().prop_map(|htlc_seen| Lookup::InFlight { htlc_seen }),
            Just(Lookup::Failed {
                code: FailureCode::NoRoute
            }),
            Just(Lookup::Absent(Absence::NeverSent)),
            Just(Lookup::Absent(Absence::Unclear(Doubt::NotSynced))),
        ]
    }

    proptest! {
        /// After these verdicts money may be sent once more.
        #[test]
        fn money_is_sent_again_only_on_the_recorded_wallets_word(
            lookup in lookups(),
            says in 0..3_u8,
            height in prop::option::of(0..3_000_u32),
        ) {
            let answer = match says {
                0 => Answer::None(String::new()),
                1 => Answer::AnotherWallet(String::new()),
                _ => Answer::Wallet(lookup),
            };
            let place = ChainPlace { height, dispatch_height: 1_000, cltv_limit: 432 };
            let is_word = matches!(
                answer,
                Answer::Wallet(Lookup::Failed { .. } | Lookup::Absent(Absence::NeverSent))
            );
            let may_send = matches!(
                answer.verdict(place),
                Verdict::FailedFinal(_) | Verdict::NeverSent
            );
            prop_assert_eq!(is_word, may_send);
        }
    }
}
