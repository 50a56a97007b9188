//! `Payout`: an amount on its way to a payee, from its balance to the preimage that proves it paid. One at a time for each.
//!
//! ```text
//!  queued -> resolving -> ready -> paying -> settled
//!      \__________________________/  |  \-> needs_operator
//!              retry_wait  <---------/         (cancelled: from any of these while nothing can settle)
//! ```

use std::fmt;

use hh_mining::Msat;

use super::approval::{self, Approval};
use super::attempt::{self, Attempt};
use super::destination::DestinationKind;
use super::error::bounded;
use super::history::{self, HistoryLine};
use super::hold::{self, Hold};
use super::session::{CallError, Session};
use super::value::{Row, values};
use super::{
    Books, BooksError, KEY_BYTES_MAX, PAGE_ROWS_MAX, Page, Payee, PayoutId, TEXT_BYTES_MAX, names,
};

/// How far a payout has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PayoutState {
    /// It holds its amount, and nothing has been done yet.
    Queued,
    /// Its invoice is being fetched.
    Resolving,
    /// Its invoice is at hand.
    Ready,
    /// An attempt is live.
    Paying,
    /// It is paid.
    Settled,
    /// It is tried again later.
    RetryWait,
    /// A person has to look at it; an attempt may be live.
    NeedsOperator,
    /// It was given up: the amount is the payee's again.
    Cancelled,
}

names!(PayoutState, "state of a payout", {
    Queued = "queued",
    Resolving = "resolving",
    Ready = "ready",
    Paying = "paying",
    Settled = "settled",
    RetryWait = "retry_wait",
    NeedsOperator = "needs_operator",
    Cancelled = "cancelled",
});

impl PayoutState {
    /// Whether nothing follows any more.
    #[must_use]
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Settled | Self::Cancelled)
    }

    /// Whether an attempt may be opened.
    fn is_payable(self) -> bool {
        matches!(
            self,
            Self::Queued | Self::Resolving | Self::Ready | Self::RetryWait
        )
    }
}

/// What a payout pays to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayTo {
    /// Its kind.
    pub kind: DestinationKind,
    /// The address or the offer; the invoice where a node has submitted it or a miner draws.
    pub text: String,
}

impl fmt::Display for PayTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind, self.text)
    }
}

/// A payout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payout {
    /// Its number.
    pub id: PayoutId,
    /// The request's.
    pub key: String,
    /// Whom.
    pub payee: Payee,
    /// How much.
    pub amount: Msat,
    /// Where.
    pub to: PayTo,
    /// The rule, or the person, that asked for it.
    pub rule: String,
    /// How many persons have to approve it before anything is sent.
    pub approvals_needed: u32,
    /// How far it has come.
    pub state: PayoutState,
    /// From when on it is tried, where it waits for that: milliseconds since 1970.
    pub next_try_at_ms: Option<i64>,
    /// How often it was tried without success.
    pub tries: u32,
    /// When it was opened, milliseconds since 1970.
    pub created_at_ms: i64,
    /// When it was settled or cancelled.
    pub ended_at_ms: Option<i64>,
    /// Why it is in this state, where that needs a word.
    pub reason: Option<String>,
}

/// Which payouts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PayoutFilter {
    /// Those of one payee.
    pub payee: Option<Payee>,
    /// Those in one of these states; in any if there is none.
    pub states: Vec<PayoutState>,
}

/// All about a payout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayoutStory {
    /// The payout.
    pub payout: Payout,
    /// Its attempts, oldest first.
    pub attempts: Vec<Attempt>,
    /// What has happened to it, oldest first.
    pub history: Vec<HistoryLine>,
    /// Its approvals, those that have expired too.
    pub approvals: Vec<Approval>,
    /// What holds it.
    pub holds: Vec<Hold>,
}

/// The columns of a [`Payout`].
macro_rules! columns {
    () => {
        "id, key, payee, amount_msat, to_kind, to_text, rule, approvals_needed, state, next_try_at_ms, tries,
        created_at_ms, ended_at_ms, reason"
    };
}

fn from_row(row: &Row) -> Result<Payout, BooksError> {
    let state: PayoutState = row.parse(8)?;
    let next_try_at_ms = row.get(9)?;
    Ok(Payout {
        id: row.get(0)?,
        key: row.get(1)?,
        payee: row.parse(2)?,
        amount: row.get(3)?,
        to: PayTo {
            kind: row.parse(4)?,
            text: row.get(5)?,
        },
        rule: row.get(6)?,
        approvals_needed: row.get(7)?,
        state,
        next_try_at_ms: state.is_payable().then_some(next_try_at_ms),
        tries: row.get(10)?,
        created_at_ms: row.get(11)?,
        ended_at_ms: row.get(12)?,
        reason: row.get(13)?,
    })
}

/// A payout.
///
/// # Errors
/// [`BooksError::NoPayout`].
pub(super) async fn get(session: &mut Session, payout: PayoutId) -> Result<Payout, CallError> {
    let query = concat!("SELECT ", columns!(), " FROM payouts WHERE id = $1");
    let row = session.find(query, &values![payout]).await?;
    let row = row.ok_or(BooksError::NoPayout { payout })?;
    Ok(from_row(&row)?)
}

/// The payout that was opened with that key, if one was.
pub(super) async fn by_key(session: &mut Session, key: &str) -> Result<Option<Payout>, CallError> {
    let query = concat!("SELECT ", columns!(), " FROM payouts WHERE key = $1");
    let row = session.find(query, &values![key]).await?;
    Ok(row.as_ref().map(from_row).transpose()?)
}

/// The open payout of a payee, if it has one.
pub(super) async fn open_of(
    session: &mut Session,
    payee: &Payee,
) -> Result<Option<Payout>, CallError> {
    let query = concat!(
        "SELECT ",
        columns!(),
        " FROM payouts WHERE payee = $1 AND state NOT IN ('settled', 'cancelled')"
    );
    let row = session.find(query, &values![payee.to_string()]).await?;
    Ok(row.as_ref().map(from_row).transpose()?)
}

/// A transition of a payout.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step<'a> {
    pub(super) to: PayoutState,
    /// What happened.
    pub(super) what: &'a str,
    /// The person who did it.
    pub(super) actor: Option<&'a str>,
    /// When it is tried again; as before if none.
    pub(super) next_try_at_ms: Option<i64>,
    /// Whether it was tried in vain.
    pub(super) is_try: bool,
}

impl<'a> Step<'a> {
    pub(super) fn to(to: PayoutState, what: &'a str) -> Self {
        Self {
            to,
            what,
            actor: None,
            next_try_at_ms: None,
            is_try: false,
        }
    }
}

/// Takes a payout from one state to another.
pub(super) async fn step(
    session: &mut Session,
    payout: PayoutId,
    step: Step<'_>,
    now_ms: i64,
) -> Result<(), CallError> {
    let update = "UPDATE payouts SET state = $2, next_try_at_ms = coalesce($3, next_try_at_ms), tries = tries + $4,
            reason = $5, ended_at_ms = CASE WHEN $2 IN ('settled', 'cancelled') THEN CAST($6 AS bigint) END
        WHERE id = $1";
    let values = values![
        payout,
        step.to.name(),
        step.next_try_at_ms,
        u32::from(step.is_try),
        step.what,
        now_ms,
    ];
    session.execute(update, &values).await?;
    let line = HistoryLine {
        at_ms: now_ms,
        attempt: None,
        state: step.to.to_string(),
        what: step.what.to_owned(),
        actor: step.actor.map(ToOwned::to_owned),
    };
    history::add(session, payout, line).await
}

/// Writes down what somebody did to a payout that stays in its state.
pub(super) async fn note(
    session: &mut Session,
    payout: PayoutId,
    what: &str,
    actor: &str,
    now_ms: i64,
) -> Result<(), CallError> {
    let state = get(session, payout).await?.state;
    let line = HistoryLine {
        at_ms: now_ms,
        attempt: None,
        state: state.to_string(),
        what: what.to_owned(),
        actor: Some(actor.to_owned()),
    };
    history::add(session, payout, line).await
}

fn wrong_state(payout: &Payout, why: &'static str) -> CallError {
    let (payout, state) = (payout.id, payout.state);
    BooksError::PayoutState { payout, state, why }.into()
}

/// Refuses a payout for which no attempt may be opened now.
pub(super) fn refuse_unpayable(payout: &Payout) -> Result<(), CallError> {
    if payout.state.is_payable() {
        Ok(())
    } else {
        Err(wrong_state(payout, "it is not waiting to be paid"))
    }
}

/// Refuses a payout for which nothing follows.
pub(super) fn refuse_ended(payout: &Payout) -> Result<(), CallError> {
    if payout.state.is_ended() {
        Err(wrong_state(payout, "it has ended"))
    } else {
        Ok(())
    }
}

/// Refuses a payout that something may still settle for.
pub(super) async fn refuse_live(session: &mut Session, payout: PayoutId) -> Result<(), CallError> {
    match attempt::live(session, payout).await? {
        Some(attempt) => {
            let (attempt, state) = (attempt.id, attempt.state);
            Err(BooksError::LiveAttempt {
                payout,
                attempt,
                state,
            }
            .into())
        }
        None => Ok(()),
    }
}

async fn story(session: &mut Session, payout: Payout) -> Result<PayoutStory, CallError> {
    Ok(PayoutStory {
        attempts: attempt::of_payout(session, payout.id).await?,
        history: history::of(session, payout.id).await?,
        approvals: approval::of(session, payout.id).await?,
        holds: hold::on(session, &payout.payee, Some(payout.id)).await?,
        payout,
    })
}

/// A transition that leaves money and attempts as they are: from states that `may` allow it.
async fn go(
    session: &mut Session,
    payout: PayoutId,
    to: Step<'_>,
    may: impl Fn(PayoutState) -> bool,
    now_ms: i64,
) -> Result<(), CallError> {
    let payout = get(session, payout).await?;
    if !may(payout.state) {
        return Err(wrong_state(
            &payout,
            "it does not go on like that from there",
        ));
    }
    step(session, payout.id, to, now_ms).await
}

impl Books {
    /// An invoice is being fetched for it.
    ///
    /// # Errors
    /// [`BooksError::PayoutState`] if it is not waiting to be paid.
    pub async fn resolving(&self, payout: PayoutId, now_ms: i64) -> Result<(), BooksError> {
        self.write("note a payout's step", async move |session| {
            let to = Step::to(PayoutState::Resolving, "an invoice is being fetched");
            go(session, payout, to, PayoutState::is_payable, now_ms).await
        })
        .await
    }

    /// Its invoice is at hand.
    ///
    /// # Errors
    /// [`BooksError::PayoutState`] if it is not waiting to be paid.
    pub async fn ready(&self, payout: PayoutId, now_ms: i64) -> Result<(), BooksError> {
        self.write("note a payout's step", async move |session| {
            let to = Step::to(PayoutState::Ready, "the invoice is at hand");
            go(session, payout, to, PayoutState::is_payable, now_ms).await
        })
        .await
    }

    /// No attempt could be opened, as where no invoice was to be had: it is tried again later, and this counts as a try.
    ///
    /// # Errors
    /// [`BooksError::PayoutState`] if it is not waiting to be paid.
    pub async fn retry_later(
        &self,
        payout: PayoutId,
        reason: String,
        next_try_at_ms: i64,
        now_ms: i64,
    ) -> Result<(), BooksError> {
        let reason = bounded("a reason", reason, TEXT_BYTES_MAX)?;
        self.write("note a payout's step", async move |session| {
            let to = Step {
                next_try_at_ms: Some(next_try_at_ms),
                is_try: true,
                ..Step::to(PayoutState::RetryWait, &reason)
            };
            go(session, payout, to, PayoutState::is_payable, now_ms).await
        })
        .await
    }

    /// An operator has it tried again at once.
    ///
    /// # Errors
    /// [`BooksError::LiveAttempt`] if something that was sent may settle; [`BooksError::PayoutState`] if it does not wait.
    pub async fn retry_now(
        &self,
        payout: PayoutId,
        actor: String,
        now_ms: i64,
    ) -> Result<(), BooksError> {
        let actor = bounded("a person's name", actor, KEY_BYTES_MAX)?;
        self.write("retry a payout", async move |session| {
            refuse_live(session, payout).await?;
            let to = Step {
                next_try_at_ms: Some(now_ms),
                actor: Some(&actor),
                ..Step::to(PayoutState::RetryWait, "to be tried again at once")
            };
            let may = |state| matches!(state, PayoutState::NeedsOperator | PayoutState::RetryWait);
            go(session, payout, to, may, now_ms).await
        })
        .await
    }

    /// A person has to look at it; a live attempt stays as it is.
    ///
    /// # Errors
    /// [`BooksError::PayoutState`] if it has ended.
    pub async fn needs_operator(
        &self,
        payout: PayoutId,
        reason: String,
        now_ms: i64,
    ) -> Result<(), BooksError> {
        let reason = bounded("a reason", reason, TEXT_BYTES_MAX)?;
        self.write("note a payout's step", async move |session| {
            let to = Step::to(PayoutState::NeedsOperator, &reason);
            go(session, payout, to, |state| !state.is_ended(), now_ms).await
        })
        .await
    }

    /// The payouts that an attempt may be opened for now, longest due first, at most `limit`; none while payouts are frozen.
    /// Those that were being resolved at a stop are among them: whoever calls knows which it has in hand.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn due_payouts(&self, now_ms: i64, limit: u32) -> Result<Vec<Payout>, BooksError> {
        let limit = limit.min(PAGE_ROWS_MAX);
        self.read("list due payouts", async move |session| {
            let query = concat!(
                "SELECT ",
                columns!(),
                " FROM payouts WHERE state IN ('queued', 'resolving', 'ready', 'retry_wait') AND next_try_at_ms <= $1
                    AND NOT EXISTS (SELECT 1 FROM freezes WHERE lifted_at_ms IS NULL)
                    AND NOT EXISTS (SELECT 1 FROM holds WHERE subject IN (payee, 'payout:' || CAST(payouts.id AS text)))
                    AND approvals_needed <= (SELECT count(*) FROM approvals
                        WHERE payout = payouts.id AND approvals.amount_msat = payouts.amount_msat
                            AND approvals.to_kind = payouts.to_kind AND approvals.to_text = payouts.to_text
                            AND until_ms > $1)
                ORDER BY next_try_at_ms, id LIMIT $2"
            );
            let rows = session.query(query, &values![now_ms, limit]).await?;
            rows.iter().map(|row| Ok(from_row(row)?)).collect()
        })
        .await
    }

    /// Payouts, newest first.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn payouts(
        &self,
        filter: PayoutFilter,
        page: Page,
    ) -> Result<Vec<Payout>, BooksError> {
        self.read("list payouts", async move |session| {
            let query = concat!(
                "SELECT ",
                columns!(),
                " FROM payouts WHERE id < $1 AND (CAST($2 AS text) IS NULL OR payee = $2)
                    AND state IN ($4, $5, $6, $7, $8, $9, $10, $11)
                ORDER BY id DESC LIMIT $3"
            );
            let payee = filter.payee.map(|payee| payee.to_string());
            let mut values = values![page.bound(), payee, page.limit()].to_vec();
            let is_meant =
                |state: &&PayoutState| filter.states.is_empty() || filter.states.contains(*state);
            // As many as there are parameters, some of them twice.
            let states = PayoutState::ALL.iter().filter(is_meant);
            let states = states.cycle().take(PayoutState::ALL.len());
            values.extend(states.map(|state| state.name().into()));
            let rows = session.query(query, &values).await?;
            rows.iter().map(|row| Ok(from_row(row)?)).collect()
        })
        .await
    }

    /// All about a payout.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn payout(&self, payout: PayoutId) -> Result<Option<PayoutStory>, BooksError> {
        self.read("look a payout up", async move |session| {
            match get(session, payout).await {
                Ok(payout) => Ok(Some(story(session, payout).await?)),
                Err(CallError::Refused(BooksError::NoPayout { .. })) => Ok(None),
                Err(error) => Err(error),
            }
        })
        .await
    }
}
