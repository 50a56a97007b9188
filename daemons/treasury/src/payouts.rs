//! Payouts: who is paid by which rules, and what happens to each until its receipt is there.
//!
//! ```text
//!  opener ── rules ──► Books: a payout takes its amount from the balance          control: run, retry, hold, approve
//!                        │ due                                                        │
//!  engine (one task) ────┴── session, one per payout, 16 at once: invoice ► prepare ► dispatched ► Wallet::pay ► follow
//!     └── resolver: every attempt whose outcome is open and that no session follows is looked up at its wallet
//! ```
//!
//! Each arrow is a commit before the next one begins; `docs/adr` says why nothing in between can pay twice.

mod attempt;
mod backoff;
mod engine;
mod opener;
mod order;
mod rules;
#[cfg(test)]
mod sample;
mod session;
mod verdict;

use hh_ledger::books::PayoutState;

pub(crate) use attempt::Payer;
pub(crate) use backoff::Backoff;
pub(crate) use engine::{Engine, NUDGES_MAX, Nudge, Waits};
pub(crate) use opener::{Opener, is_open};
pub(crate) use rules::{Ask, Plan, Planned, Rules};
pub(crate) use verdict::{Answer, ChainPlace, Verdict};

/// Of a payout that is neither settled nor ended.
pub(crate) const OPEN_STATES: [PayoutState; 6] = [
    PayoutState::Queued,
    PayoutState::Resolving,
    PayoutState::Ready,
    PayoutState::Paying,
    PayoutState::RetryWait,
    PayoutState::NeedsOperator,
];

/// Who acts where nobody asked.
pub(crate) const ACTOR: &str = "hh-treasury";
