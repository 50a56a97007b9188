//! A payout in hand: sent, and followed closely while it is young.

use super::attempt::{NotSent, Payer, Progress};
use hh_ledger::books::{Attempt, AttemptId, BooksError, Payout};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A payment that takes longer is no reason to keep others waiting: it gives its place away, and is looked up from time to time.
const FOLLOWED_FOR: Duration = Duration::from_secs(60);

/// Between two look-ups: most payments take a few hundred milliseconds, others as long as their payee likes.
const LOOK_UP_FIRST: Duration = Duration::from_millis(20);
const LOOK_UP_LONGEST: Duration = Duration::from_secs(1);

/// How long a payout is left alone that can't be paid now: others may be smaller.
const NOT_NOW_PAUSE: Duration = Duration::from_secs(5);

/// How long one is left alone that the day's limit has no room for. Each try asks the payee's server for an invoice.
const DAY_LIMIT_PAUSE: Duration = Duration::from_secs(600);

/// A payout is due as before, and can't be sent now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pause {
    /// How long it is to be left alone.
    pub time: Duration,
    /// What it waits for, with the way out.
    pub why: String,
}

/// Sends a due payout and follows it; ends early when `stop` is cancelled, but never between a commit and its call. Says so where the
/// payout is due as before.
pub(crate) async fn run(payer: Payer, payout: Payout, stop: CancellationToken) -> Option<Pause> {
    let id = payout.id.0;
    match payer.send(&payout).await {
        Ok(attempt) => {
            if let Err(error) = follow(&payer, &payout, attempt, &stop).await {
                let error = hh_daemon::Chain(&error).to_string();
                tracing::warn!(
                    payout = id,
                    error,
                    "payout not followed; it is looked up again"
                );
            }
            None
        }
        Err(NotSent::NotReady(why)) => {
            let why = why.to_string();
            tracing::debug!(payout = id, why, "payout waits");
            Some(Pause {
                time: NOT_NOW_PAUSE,
                why,
            })
        }
        // It is in the books, and was told.
        Err(NotSent::NoInvoice(_)) => None,
        Err(NotSent::Books(error)) => {
            let text = hh_daemon::Chain(&error).to_string();
            tracing::warn!(payout = id, error = text, "payout not sent");
            Some(Pause {
                time: pause_after(&error),
                why: text,
            })
        }
    }
}

/// Never none: what the books refuse now they would refuse at once again.
fn pause_after(error: &BooksError) -> Duration {
    match error {
        BooksError::DayLimit { .. } => DAY_LIMIT_PAUSE,
        _ => NOT_NOW_PAUSE,
    }
}

/// Looks an attempt up that no session follows.
pub(crate) async fn look_up(payer: Payer, attempt: Attempt) {
    // One that can't go on now, as while payouts are frozen, holds up no other.
    if let Err(error) = payer.resolve(&attempt).await {
        let error = hh_daemon::Chain(&error).to_string();
        tracing::debug!(attempt = attempt.id.0, error, "attempt not resolved");
    }
}

async fn follow(
    payer: &Payer,
    payout: &Payout,
    attempt: AttemptId,
    stop: &CancellationToken,
) -> Result<(), BooksError> {
    let end = Instant::now() + FOLLOWED_FOR;
    let mut pause = LOOK_UP_FIRST;
    while Instant::now() < end {
        let waited = stop.run_until_cancelled(tokio::time::sleep(pause)).await;
        if waited.is_none() {
            return Ok(());
        }
        let Some(attempt) = current(payer, payout, attempt).await? else {
            return Ok(());
        };
        if payer.resolve(&attempt).await? == Progress::Ended {
            return Ok(());
        }
        pause = (pause * 2).min(LOOK_UP_LONGEST);
    }
    Ok(())
}

/// The attempt as the books have it, while its outcome is open.
async fn current(
    payer: &Payer,
    payout: &Payout,
    id: AttemptId,
) -> Result<Option<Attempt>, BooksError> {
    let story = payer.books.payout(payout.id).await?;
    let attempts = story.map(|story| story.attempts).unwrap_or_default();
    let mut found = attempts.into_iter().filter(|attempt| attempt.id == id);
    Ok(found.find(|attempt| is_open(attempt.state)))
}

fn is_open(state: hh_ledger::books::AttemptState) -> bool {
    use hh_ledger::books::AttemptState as State;
    matches!(
        state,
        State::Prepared | State::Dispatched | State::InFlight | State::Unknown
    )
}
