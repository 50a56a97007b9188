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

/// Sends a due payout and follows it; ends early when `stop` is cancelled, but never between a commit and its call. Says whether the
/// wallet could not pay it now.
pub(crate) async fn run(payer: Payer, payout: Payout, stop: CancellationToken) -> bool {
    let id = payout.id.0;
    let sent = payer.send(&payout).await;
    let is_to_wait = matches!(sent, Err(NotSent::NotReady(_)));
    match sent {
        Ok(attempt) => {
            if let Err(error) = follow(&payer, &payout, attempt, &stop).await {
                let error = hh_daemon::Chain(&error).to_string();
                tracing::warn!(
                    payout = id,
                    error,
                    "payout not followed; it is looked up again"
                );
            }
        }
        Err(NotSent::NotReady(why)) => tracing::debug!(payout = id, why, "payout waits"),
        // It is in the books, and was told.
        Err(NotSent::NoInvoice(_)) => {}
        Err(NotSent::Books(error)) => {
            let error = hh_daemon::Chain(&error).to_string();
            tracing::warn!(payout = id, error, "payout not sent");
        }
    }
    is_to_wait
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
