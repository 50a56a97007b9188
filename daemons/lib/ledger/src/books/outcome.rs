//! What becomes of an attempt, and of its payout with it. What settles is final and beats whatever was believed before.

use bitcoin::hashes::{Hash, sha256};
use hh_mining::Msat;

use super::attempt::{self, Attempt, AttemptState, Step, wrong_state};
use super::entry::{self, Draft, EntryKind};
use super::error::bounded;
use super::payout::{self, Payout};
use super::session::{CallError, Session};
use super::value::{msat, values};
use super::{
    AttemptId, BookAccount, Books, BooksError, PayoutId, PayoutState, TEXT_BYTES_MAX, TwoActors,
};

/// What a settlement came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settlement {
    /// The payout is paid.
    Paid,
    /// The money had been given back, or another attempt pays it: the treasury has lost it.
    Loss,
    /// It was booked before.
    Known,
}

/// Why the failed attempt of a payout is no longer what decides.
const CLOSED: &str = "closed by operators";

/// The payout that an attempt is believed to be paying again, after it was thought to have ended.
///
/// # Errors
/// The payout has ended, or another attempt of it may settle.
async fn revived(
    session: &mut Session,
    attempt: &Attempt,
    now_ms: i64,
) -> Result<Payout, CallError> {
    let payout = payout::get(session, attempt.payout).await?;
    payout::refuse_ended(&payout)?;
    if let Some(other) = attempt::live(session, payout.id).await? {
        if other.state != AttemptState::Prepared {
            let (payout, attempt, state) = (payout.id, other.id, other.state);
            return Err(BooksError::LiveAttempt {
                payout,
                attempt,
                state,
            }
            .into());
        }
        give_up(
            session,
            &other,
            "an earlier attempt was sent after all",
            now_ms,
        )
        .await?;
    }
    Ok(payout)
}

/// Abandons a prepared attempt; its payout is left to whoever calls.
async fn give_up(
    session: &mut Session,
    attempt: &Attempt,
    why: &str,
    now_ms: i64,
) -> Result<(), CallError> {
    let to = Step {
        why: Some(why),
        ..Step::to(AttemptState::Abandoned)
    };
    attempt::step(session, attempt, to, now_ms).await
}

pub(super) async fn in_flight(
    session: &mut Session,
    attempt: AttemptId,
    now_ms: i64,
) -> Result<(), CallError> {
    let attempt = attempt::get(session, attempt).await?;
    match attempt.state {
        AttemptState::InFlight => return Ok(()),
        AttemptState::Dispatched | AttemptState::Unknown | AttemptState::Prepared => {}
        AttemptState::FailedFinal | AttemptState::Abandoned => {
            let payout = revived(session, &attempt, now_ms).await?;
            let to = payout::Step::to(PayoutState::Paying, "an attempt is in flight after all");
            payout::step(session, payout.id, to, now_ms).await?;
        }
        AttemptState::Settled | AttemptState::SettledLate => {
            return Err(wrong_state(&attempt, "that is final"));
        }
    }
    attempt::step(session, &attempt, Step::to(AttemptState::InFlight), now_ms).await
}

pub(super) async fn unknown(
    session: &mut Session,
    attempt: AttemptId,
    why: &str,
    now_ms: i64,
) -> Result<(), CallError> {
    let attempt = attempt::get(session, attempt).await?;
    match attempt.state {
        AttemptState::Unknown => return Ok(()),
        AttemptState::Dispatched | AttemptState::InFlight => {}
        _ => return Err(wrong_state(&attempt, "only one that was sent is unknown")),
    }
    let to = Step {
        why: Some(why),
        ..Step::to(AttemptState::Unknown)
    };
    attempt::step(session, &attempt, to, now_ms).await
}

pub(super) async fn never_sent(
    session: &mut Session,
    attempt: AttemptId,
    evidence: &str,
    now_ms: i64,
) -> Result<(), CallError> {
    let attempt = attempt::get(session, attempt).await?;
    if attempt.state != AttemptState::Unknown {
        return Err(wrong_state(&attempt, "only an unknown one is concluded"));
    }
    let to = Step {
        evidence: Some(evidence),
        ..Step::to(AttemptState::Prepared)
    };
    attempt::step(session, &attempt, to, now_ms).await?;
    let to = payout::Step::to(PayoutState::Paying, "the attempt was never sent");
    payout::step(session, attempt.payout, to, now_ms).await
}

/// Posts that an attempt was paid, from what `from` holds.
pub(super) async fn post_paid(
    session: &mut Session,
    kind: EntryKind,
    from: BookAccount,
    attempt: &Attempt,
    fee: Msat,
    now_ms: i64,
) -> Result<(), CallError> {
    let mut draft = Draft::new(kind, now_ms, format!("attempt {}", attempt.id));
    draft.payout = Some(attempt.payout);
    draft.debit(from, attempt.amount);
    draft.debit(BookAccount::RoutingFees, fee);
    draft.credit(BookAccount::Wallet, attempt.amount);
    draft.credit(BookAccount::Wallet, fee);
    entry::post(session, draft).await?;
    Ok(())
}

/// Writes the receipt down.
pub(super) async fn put_receipt(
    session: &mut Session,
    attempt: &Attempt,
    state: AttemptState,
    (preimage, fee): (&[u8; 32], Msat),
    now_ms: i64,
) -> Result<(), CallError> {
    // One statement: a row has a receipt if, and only if, it has settled.
    let update = "UPDATE attempts SET state = $2, preimage = $3, fee_msat = $4, ended_at_ms = $5 WHERE id = $1";
    let values = values![attempt.id, state.name(), *preimage, msat(fee)?, now_ms];
    session.execute(update, &values).await?;
    attempt::step(session, attempt, Step::to(state), now_ms).await
}

pub(super) async fn settled(
    session: &mut Session,
    attempt: AttemptId,
    preimage: [u8; 32],
    fee: Msat,
    now_ms: i64,
) -> Result<Settlement, CallError> {
    let attempt = attempt::get(session, attempt).await?;
    if sha256::Hash::hash(&preimage).to_byte_array() != attempt.payment_hash {
        let attempt = attempt.id;
        return Err(BooksError::Preimage { attempt }.into());
    }
    let payout = payout::get(session, attempt.payout).await?;
    let is_paid_by_it = match attempt.state {
        AttemptState::Settled | AttemptState::SettledLate => return Ok(Settlement::Known),
        state if state.is_live() => true,
        // It was believed to have failed.
        _ if payout.state.is_ended() => false,
        _ => match attempt::live(session, payout.id).await? {
            Some(other) if other.state != AttemptState::Prepared => false,
            Some(other) => {
                give_up(session, &other, "an earlier attempt settled", now_ms).await?;
                true
            }
            None => true,
        },
    };
    let receipt = (&preimage, fee);
    if !is_paid_by_it {
        put_receipt(
            session,
            &attempt,
            AttemptState::SettledLate,
            receipt,
            now_ms,
        )
        .await?;
        let (kind, from) = (EntryKind::PayoutLate, BookAccount::Loss);
        post_paid(session, kind, from, &attempt, fee, now_ms).await?;
        return Ok(Settlement::Loss);
    }
    put_receipt(session, &attempt, AttemptState::Settled, receipt, now_ms).await?;
    let (kind, from) = (EntryKind::PayoutSettled, BookAccount::Payout(payout.id));
    post_paid(session, kind, from, &attempt, fee, now_ms).await?;
    let to = payout::Step::to(PayoutState::Settled, "paid");
    payout::step(session, payout.id, to, now_ms).await?;
    Ok(Settlement::Paid)
}

/// What follows for a payout whose live attempt has failed: it is tried again, unless an attempt that was thought to have failed
/// had settled meanwhile. Then the payee has its money, and what was booked as a loss is paid from what the payout holds.
async fn go_on(
    session: &mut Session,
    payout: PayoutId,
    to: payout::Step<'_>,
    now_ms: i64,
) -> Result<(), CallError> {
    let query = "SELECT id FROM attempts WHERE payout = $1 AND state = 'settled_late'";
    if session.find(query, &values![payout]).await?.is_none() {
        return payout::step(session, payout, to, now_ms).await;
    }
    let amount = payout::get(session, payout).await?.amount;
    let what = "paid by an attempt that was thought to have failed";
    let mut draft = Draft::new(EntryKind::PayoutSettled, now_ms, what);
    draft.payout = Some(payout);
    draft.debit(BookAccount::Payout(payout), amount);
    draft.credit(BookAccount::Loss, amount);
    entry::post(session, draft).await?;
    let to = payout::Step::to(PayoutState::Settled, what);
    payout::step(session, payout, to, now_ms).await
}

async fn failed(
    session: &mut Session,
    attempt: &Attempt,
    to: Step<'_>,
    next_try_at_ms: i64,
    now_ms: i64,
) -> Result<(), CallError> {
    attempt::step(session, attempt, to, now_ms).await?;
    let what = format!("attempt {} failed: {}", attempt.id, to.why.unwrap_or("?"));
    let to = payout::Step {
        next_try_at_ms: Some(next_try_at_ms),
        is_try: true,
        actor: to.actor,
        ..payout::Step::to(PayoutState::RetryWait, &what)
    };
    go_on(session, attempt.payout, to, now_ms).await
}

async fn close(
    session: &mut Session,
    payout: PayoutId,
    actors: &TwoActors,
    reason: &str,
    (height, now_ms): (u32, i64),
) -> Result<(), CallError> {
    actors.take(session, now_ms).await?;
    let known = payout::get(session, payout).await?;
    let state = known.state;
    if state != PayoutState::NeedsOperator {
        let why = "only one that needs an operator is closed";
        return Err(BooksError::PayoutState { payout, state, why }.into());
    }
    let Some(attempt) = attempt::live(session, payout).await? else {
        let why = "no attempt of it is live: retry or cancel it";
        return Err(BooksError::PayoutState { payout, state, why }.into());
    };
    let Some(dispatch_height) = attempt.dispatch_height else {
        return Err(wrong_state(&attempt, "it was not sent: abandon it"));
    };
    let until_height = u64::from(dispatch_height) + u64::from(attempt.cltv_limit);
    if u64::from(height) <= until_height {
        let attempt = attempt.id;
        return Err(BooksError::TooEarly {
            attempt,
            until_height,
            height,
        }
        .into());
    }
    let actors = actors.named();
    let to = Step {
        why: Some(CLOSED),
        evidence: Some(reason),
        actor: Some(&actors),
        ..Step::to(AttemptState::FailedFinal)
    };
    failed(session, &attempt, to, now_ms, now_ms).await
}

impl Books {
    /// The wallet has the preimage: the payee has the money. From any state, and final. An attempt that was believed to have
    /// failed pays its payout where that still waits; where its money had been given back, or another attempt is on its way, it is
    /// the treasury's loss.
    ///
    /// # Errors
    /// [`BooksError::Preimage`] if it is not that of the payment hash.
    pub async fn settled(
        &self,
        attempt: AttemptId,
        preimage: [u8; 32],
        fee: Msat,
        now_ms: i64,
    ) -> Result<Settlement, BooksError> {
        self.write("settle an attempt", async move |session| {
            settled(session, attempt, preimage, fee, now_ms).await
        })
        .await
    }

    /// The wallet says that it can't be paid any more; the payout waits until `next_try_at_ms`. Says whether that was news: what
    /// has settled stays so.
    ///
    /// # Errors
    /// [`BooksError::AttemptState`] if it was not sent.
    pub async fn failed_final(
        &self,
        attempt: AttemptId,
        code: String,
        evidence: String,
        next_try_at_ms: i64,
        now_ms: i64,
    ) -> Result<bool, BooksError> {
        let code = bounded("a code", code, TEXT_BYTES_MAX)?;
        let evidence = bounded("evidence", evidence, TEXT_BYTES_MAX)?;
        self.write("note a failure", async move |session| {
            let attempt = attempt::get(session, attempt).await?;
            match attempt.state {
                AttemptState::Prepared => {
                    return Err(wrong_state(&attempt, "it was not sent: abandon it"));
                }
                state if !state.is_live() => return Ok(false),
                _ => {}
            }
            let to = Step {
                why: Some(&code),
                evidence: Some(&evidence),
                ..Step::to(AttemptState::FailedFinal)
            };
            failed(session, &attempt, to, next_try_at_ms, now_ms).await?;
            Ok(true)
        })
        .await
    }

    /// A prepared attempt is given up: the wallet was never asked. Its payout may be tried again at once.
    ///
    /// # Errors
    /// [`BooksError::AttemptState`] if it is not prepared.
    pub async fn abandoned(
        &self,
        attempt: AttemptId,
        why: String,
        now_ms: i64,
    ) -> Result<(), BooksError> {
        let why = bounded("a reason", why, TEXT_BYTES_MAX)?;
        self.write("abandon an attempt", async move |session| {
            let attempt = attempt::get(session, attempt).await?;
            if attempt.state != AttemptState::Prepared {
                return Err(wrong_state(&attempt, "only a prepared one is abandoned"));
            }
            give_up(session, &attempt, &why, now_ms).await?;
            let to = payout::Step {
                next_try_at_ms: Some(now_ms),
                ..payout::Step::to(PayoutState::RetryWait, &why)
            };
            go_on(session, attempt.payout, to, now_ms).await
        })
        .await
    }

    /// Two persons conclude that the live attempt of a payout in `needs_operator` will never settle; the payout may be tried
    /// again. If it settles after all, what is paid twice is the treasury's loss.
    ///
    /// # Errors
    /// [`BooksError::TooEarly`] while the chain has not passed the height of its dispatch and the limit of its timelock;
    /// [`BooksError::PayoutState`]; [`BooksError::NotAgreed`].
    pub async fn close_failed(
        &self,
        payout: PayoutId,
        actors: TwoActors,
        reason: String,
        chain_height: u32,
        now_ms: i64,
    ) -> Result<(), BooksError> {
        let reason = bounded("a reason", reason, TEXT_BYTES_MAX)?;
        self.write("close an attempt", async move |session| {
            close(session, payout, &actors, &reason, (chain_height, now_ms)).await
        })
        .await
    }
}
