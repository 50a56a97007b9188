//! `Attempt`: one try to pay a payout, by one payment hash. Every step is committed before the next one is taken.
//!
//! ```text
//!  prepared -> dispatched -> in_flight -> settled | failed_final
//!      \           \------------\-> unknown -> in_flight | settled | failed_final | prepared (it was never sent)
//!       \-> abandoned
//! ```
//! While one is live (prepared, dispatched, in flight or unknown) or has settled, the payout gets no other: an index of the
//! database holds that. What has settled is final, whatever was believed before.

use std::fmt;

use hh_mining::Msat;

use super::error::bounded;
use super::history::{self, HistoryLine};
use super::payout::{self, Payout};
use super::session::{CallError, Session};
use super::value::{Row, msat, values};
use super::{
    AttemptId, Books, BooksError, DestinationKind, KEY_BYTES_MAX, Payee, PayoutId, PayoutState,
    TEXT_BYTES_MAX, approval, names, outcome, rebalance,
};

/// Most channels that are noted with an attempt: what a wallet of ours can have.
const CHANNELS_MAX: usize = 1_000;

/// What is sent within so long counts against the day's limit.
const DAY_MS: i64 = 24 * 60 * 60 * 1_000;

/// How far an attempt has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AttemptState {
    /// It is written down, and the wallet knows nothing of it.
    Prepared,
    /// The wallet is being asked to pay.
    Dispatched,
    /// The wallet says that it is on its way.
    InFlight,
    /// Nobody knows, until the wallet that was asked says what has become of it.
    Unknown,
    /// It is paid.
    Settled,
    /// It can't be paid any more.
    FailedFinal,
    /// It was given up before the wallet was asked.
    Abandoned,
    /// It was paid after its money had been given back, or paid by another attempt: a loss.
    SettledLate,
}

names!(AttemptState, "state of an attempt", {
    Prepared = "prepared",
    Dispatched = "dispatched",
    InFlight = "in_flight",
    Unknown = "unknown",
    Settled = "settled",
    FailedFinal = "failed_final",
    Abandoned = "abandoned",
    SettledLate = "settled_late",
});

impl AttemptState {
    /// Whether it may still settle, as far as the books know.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(
            self,
            Self::Prepared | Self::Dispatched | Self::InFlight | Self::Unknown
        )
    }
}

/// What proves a payment: who shows it says that he has paid. So `Debug` does not show it, and logs don't.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Preimage([u8; 32]);

impl Preimage {
    /// The preimage, for those who ask for the receipt.
    #[must_use]
    pub fn expose(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Preimage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Preimage(..)")
    }
}

/// An attempt as it is to be prepared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAttempt {
    /// The payout that it is to pay.
    pub payout: PayoutId,
    /// The invoice's payment hash.
    pub payment_hash: [u8; 32],
    /// The invoice.
    pub invoice: String,
    /// The invoice's amount: the payout's.
    pub amount: Msat,
    /// The most that routing may cost.
    pub max_fee: Msat,
    /// The most blocks that an HTLC of it may be locked.
    pub cltv_limit: u32,
    /// The id of the wallet's node: nobody else is asked what has become of it.
    pub wallet_node: String,
    /// When the invoice expires, milliseconds since 1970.
    pub invoice_expires_at_ms: i64,
    /// The most that may be sent in 24 hours, this one and the fee limits included.
    pub day_limit: Option<Msat>,
}

/// An attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// Its number.
    pub id: AttemptId,
    /// The payout that it is to pay.
    pub payout: PayoutId,
    /// Whom.
    pub payee: Payee,
    /// The invoice's payment hash.
    pub payment_hash: [u8; 32],
    /// The invoice.
    pub invoice: String,
    /// The invoice's amount.
    pub amount: Msat,
    /// The most that routing may cost.
    pub max_fee: Msat,
    /// The most blocks that an HTLC of it may be locked.
    pub cltv_limit: u32,
    /// The id of the wallet's node.
    pub wallet_node: String,
    /// When the invoice expires, milliseconds since 1970.
    pub invoice_expires_at_ms: i64,
    /// How far it has come.
    pub state: AttemptState,
    /// When it was prepared, milliseconds since 1970.
    pub prepared_at_ms: i64,
    /// When the wallet was last asked to pay.
    pub dispatched_at_ms: Option<i64>,
    /// The chain's height then.
    pub dispatch_height: Option<u32>,
    /// The wallet's channels then.
    pub channels: Vec<String>,
    /// When it settled, failed or was abandoned.
    pub ended_at_ms: Option<i64>,
    /// The receipt.
    pub preimage: Option<Preimage>,
    /// What routing has cost.
    pub fee: Option<Msat>,
    /// Why it failed, or is unknown.
    pub failure: Option<String>,
    /// What that was concluded from.
    pub evidence: Option<String>,
}

/// Reads attempts `WHERE` ...
macro_rules! query {
    ($tail:literal) => {
        concat!(
            "SELECT attempts.id, payout, payee, payment_hash, invoice, attempts.amount_msat, max_fee_msat, cltv_limit,
                wallet_node, invoice_expires_at_ms, attempts.state, prepared_at_ms, dispatched_at_ms, dispatch_height,
                attempts.ended_at_ms, preimage, fee_msat, failure, evidence
            FROM attempts JOIN payouts ON payouts.id = payout WHERE ",
            $tail
        )
    };
}

fn from_row(row: &Row) -> Result<Attempt, BooksError> {
    Ok(Attempt {
        id: row.get(0)?,
        payout: row.get(1)?,
        payee: row.parse(2)?,
        payment_hash: row.get(3)?,
        invoice: row.get(4)?,
        amount: row.get(5)?,
        max_fee: row.get(6)?,
        cltv_limit: row.get(7)?,
        wallet_node: row.get(8)?,
        invoice_expires_at_ms: row.get(9)?,
        state: row.parse(10)?,
        prepared_at_ms: row.get(11)?,
        dispatched_at_ms: row.get(12)?,
        dispatch_height: row.get(13)?,
        channels: Vec::new(),
        ended_at_ms: row.get(14)?,
        preimage: row.get::<Option<_>>(15)?.map(Preimage),
        fee: row.get(16)?,
        failure: row.get(17)?,
        evidence: row.get(18)?,
    })
}

async fn with_channels(session: &mut Session, rows: Vec<Row>) -> Result<Vec<Attempt>, CallError> {
    let mut attempts = Vec::with_capacity(rows.len());
    for row in &rows {
        let mut attempt = from_row(row)?;
        let query = "SELECT channel FROM attempt_channels WHERE attempt = $1 ORDER BY channel";
        let channels = session.query(query, &values![attempt.id]).await?;
        let channels = channels.iter().map(|row| row.get(0));
        attempt.channels = channels.collect::<Result<_, _>>()?;
        attempts.push(attempt);
    }
    Ok(attempts)
}

/// An attempt.
///
/// # Errors
/// [`BooksError::NoAttempt`].
pub(super) async fn get(session: &mut Session, attempt: AttemptId) -> Result<Attempt, CallError> {
    let row = session
        .find(query!("attempts.id = $1"), &values![attempt])
        .await?;
    let row = row.ok_or(BooksError::NoAttempt { attempt })?;
    Ok(from_row(&row)?)
}

/// The attempt of a payout that may still settle.
pub(super) async fn live(
    session: &mut Session,
    payout: PayoutId,
) -> Result<Option<Attempt>, CallError> {
    let query = query!(
        "payout = $1 AND attempts.state IN ('prepared', 'dispatched', 'in_flight', 'unknown')"
    );
    let row = session.find(query, &values![payout]).await?;
    Ok(row.as_ref().map(from_row).transpose()?)
}

/// All attempts of a payout, oldest first.
pub(super) async fn of_payout(
    session: &mut Session,
    payout: PayoutId,
) -> Result<Vec<Attempt>, CallError> {
    let query = query!("payout = $1 ORDER BY attempts.id");
    let rows = session.query(query, &values![payout]).await?;
    with_channels(session, rows).await
}

/// Whether an attempt with that payment hash is known.
pub(super) async fn is_known(
    session: &mut Session,
    payment_hash: [u8; 32],
) -> Result<bool, CallError> {
    Ok(with_hash(session, payment_hash).await?.is_some())
}

/// The attempt with that payment hash.
pub(super) async fn with_hash(
    session: &mut Session,
    payment_hash: [u8; 32],
) -> Result<Option<AttemptId>, CallError> {
    let query = "SELECT id FROM attempts WHERE payment_hash = $1";
    let row = session.find(query, &values![payment_hash]).await?;
    Ok(row.map(|row| row.get(0)).transpose()?)
}

/// A transition of an attempt.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step<'a> {
    pub(super) to: AttemptState,
    /// Why, where it is not clear from the state.
    pub(super) why: Option<&'a str>,
    /// What that was concluded from.
    pub(super) evidence: Option<&'a str>,
    /// The person who did it.
    pub(super) actor: Option<&'a str>,
}

impl Step<'_> {
    pub(super) fn to(to: AttemptState) -> Self {
        Self {
            to,
            why: None,
            evidence: None,
            actor: None,
        }
    }
}

/// Takes an attempt from one state to another.
pub(super) async fn step(
    session: &mut Session,
    attempt: &Attempt,
    step: Step<'_>,
    now_ms: i64,
) -> Result<(), CallError> {
    let update = "UPDATE attempts SET state = $2, failure = coalesce($3, failure), evidence = coalesce($4, evidence),
            ended_at_ms = CASE WHEN $2 IN ('prepared', 'dispatched', 'in_flight', 'unknown') THEN NULL
                ELSE CAST($5 AS bigint) END
        WHERE id = $1";
    let values = values![attempt.id, step.to.name(), step.why, step.evidence, now_ms];
    session.execute(update, &values).await?;
    let what = [step.why, step.evidence];
    let what: Vec<&str> = what.into_iter().flatten().collect();
    let line = HistoryLine {
        at_ms: now_ms,
        attempt: Some(attempt.id),
        state: step.to.to_string(),
        what: what.join("; "),
        actor: step.actor.map(ToOwned::to_owned),
    };
    history::add(session, attempt.payout, line).await
}

pub(super) fn wrong_state(attempt: &Attempt, why: &'static str) -> CallError {
    let (attempt, state) = (attempt.id, attempt.state);
    BooksError::AttemptState {
        attempt,
        state,
        why,
    }
    .into()
}

/// Refuses an attempt that would pass the day's limit.
async fn refuse_beyond_limit(
    session: &mut Session,
    new: &NewAttempt,
    now_ms: i64,
) -> Result<(), CallError> {
    let Some(limit) = new.day_limit else {
        return Ok(());
    };
    let query = "SELECT CAST(coalesce(sum(amount_msat + coalesce(fee_msat, max_fee_msat)), 0) AS bigint) FROM attempts
        WHERE state NOT IN ('failed_final', 'abandoned') AND prepared_at_ms > $1";
    let since_ms = now_ms.saturating_sub(DAY_MS);
    let row = session.find(query, &values![since_ms]).await?;
    let sent: Msat = row.map_or(Ok(Msat::ZERO), |row| row.get(0))?;
    let wanted = Msat(new.amount.0.saturating_add(new.max_fee.0));
    if sent.0.saturating_add(wanted.0) > limit.0 {
        return Err(BooksError::DayLimit {
            sent,
            wanted,
            limit,
        }
        .into());
    }
    Ok(())
}

/// Refuses an invoice that does not pay the payout.
async fn refuse_invoice(
    session: &mut Session,
    payout: &Payout,
    new: &NewAttempt,
    now_ms: i64,
) -> Result<(), CallError> {
    if new.amount != payout.amount {
        let (invoice, payout) = (new.amount, payout.amount);
        return Err(BooksError::AnotherAmount { invoice, payout }.into());
    }
    let is_invoice = matches!(
        payout.to.kind,
        DestinationKind::NodeInvoice | DestinationKind::Bolt11Draw
    );
    if is_invoice && new.invoice != payout.to.text {
        let (payee, why) = (payout.payee.clone(), "the invoice is another one");
        return Err(BooksError::Destination { payee, why }.into());
    }
    if new.invoice_expires_at_ms <= now_ms {
        return Err(BooksError::Expired.into());
    }
    if is_known(session, new.payment_hash).await? {
        return Err(BooksError::HashTaken.into());
    }
    rebalance::refuse_known(session, new.payment_hash).await?;
    // What a node has submitted is paid as its own only.
    let query = "SELECT bolt11 FROM invoices WHERE payment_hash = $1";
    match session.find(query, &values![new.payment_hash]).await? {
        Some(row) if row.get::<String>(0)? != payout.to.text => Err(BooksError::HashTaken.into()),
        Some(_) | None => Ok(()),
    }
}

/// Adds the row of an attempt.
pub(super) async fn insert(
    session: &mut Session,
    new: &NewAttempt,
    now_ms: i64,
) -> Result<AttemptId, CallError> {
    let insert = "INSERT INTO attempts (id, payout, payment_hash, invoice, amount_msat, max_fee_msat, cltv_limit,
            wallet_node, invoice_expires_at_ms, state, prepared_at_ms)
        VALUES ((SELECT coalesce(max(id), 0) + 1 FROM attempts), $1, $2, $3, $4, $5, $6, $7, $8, 'prepared', $9)
        RETURNING id";
    let values = values![
        new.payout,
        new.payment_hash,
        new.invoice.as_str(),
        msat(new.amount)?,
        msat(new.max_fee)?,
        new.cltv_limit,
        new.wallet_node.as_str(),
        new.invoice_expires_at_ms,
        now_ms,
    ];
    let id = match session.find(insert, &values).await? {
        Some(row) => row.get(0)?,
        None => unreachable!("an insert returns its row"),
    };
    let line = HistoryLine {
        at_ms: now_ms,
        attempt: Some(id),
        state: AttemptState::Prepared.to_string(),
        what: format!("at the wallet {}", new.wallet_node),
        actor: None,
    };
    history::add(session, new.payout, line).await?;
    Ok(id)
}

async fn prepare(
    session: &mut Session,
    new: NewAttempt,
    now_ms: i64,
) -> Result<AttemptId, CallError> {
    let payout = payout::get(session, new.payout).await?;
    payout::refuse_live(session, payout.id).await?;
    payout::refuse_unpayable(&payout)?;
    approval::refuse_unready(session, &payout, now_ms).await?;
    refuse_invoice(session, &payout, &new, now_ms).await?;
    refuse_beyond_limit(session, &new, now_ms).await?;
    let id = insert(session, &new, now_ms).await?;
    let to = payout::Step::to(PayoutState::Paying, "an attempt was prepared");
    payout::step(session, payout.id, to, now_ms).await?;
    Ok(id)
}

async fn dispatch(
    session: &mut Session,
    attempt: AttemptId,
    height: u32,
    channels: Vec<String>,
    now_ms: i64,
) -> Result<(), CallError> {
    let attempt = get(session, attempt).await?;
    if attempt.state != AttemptState::Prepared {
        return Err(wrong_state(&attempt, "only a prepared one is sent"));
    }
    if attempt.invoice_expires_at_ms <= now_ms {
        return Err(BooksError::Expired.into());
    }
    let payout = payout::get(session, attempt.payout).await?;
    approval::refuse_unready(session, &payout, now_ms).await?;
    let delete = "DELETE FROM attempt_channels WHERE attempt = $1";
    session.execute(delete, &values![attempt.id]).await?;
    for channel in channels.into_iter().take(CHANNELS_MAX) {
        let insert = "INSERT INTO attempt_channels (attempt, channel) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        session
            .execute(insert, &values![attempt.id, channel])
            .await?;
    }
    let update = "UPDATE attempts SET dispatched_at_ms = $2, dispatch_height = $3 WHERE id = $1";
    session
        .execute(update, &values![attempt.id, now_ms, height])
        .await?;
    step(
        session,
        &attempt,
        Step::to(AttemptState::Dispatched),
        now_ms,
    )
    .await
}

impl Books {
    /// Writes an attempt down before anything is sent; the payout is `paying` then.
    ///
    /// # Errors
    /// [`BooksError::Frozen`], [`BooksError::Held`], [`BooksError::NotApproved`], [`BooksError::Destination`];
    /// [`BooksError::LiveAttempt`] or [`BooksError::PayoutState`] if the payout is not waiting to be paid; an invoice over
    /// [`BooksError::AnotherAmount`], [`BooksError::Expired`], or with a payment hash that was used:
    /// [`BooksError::HashTaken`]; [`BooksError::DayLimit`].
    pub async fn prepare_attempt(
        &self,
        attempt: NewAttempt,
        now_ms: i64,
    ) -> Result<AttemptId, BooksError> {
        bounded("an invoice", attempt.invoice.clone(), TEXT_BYTES_MAX)?;
        bounded("a wallet's id", attempt.wallet_node.clone(), KEY_BYTES_MAX)?;
        self.write("prepare an attempt", async move |session| {
            prepare(session, attempt, now_ms).await
        })
        .await
    }

    /// Notes that the wallet is asked next. When it returns this is on the disk, and in the witness. `channels` are the wallet's,
    /// the first 1,000 of them.
    ///
    /// # Errors
    /// [`BooksError::AttemptState`] if it is not prepared; what [`Books::prepare_attempt`] refuses and what has changed since.
    pub async fn dispatched(
        &self,
        attempt: AttemptId,
        height: u32,
        channels: Vec<String>,
        now_ms: i64,
    ) -> Result<(), BooksError> {
        self.write_witnessed("dispatch an attempt", async move |session| {
            dispatch(session, attempt, height, channels, now_ms).await
        })
        .await
    }

    /// The wallet says that it is on its way. That is believed of an attempt which was thought to have failed, too, where no other
    /// is live: a restored ledger may have forgotten that it was sent.
    ///
    /// # Errors
    /// [`BooksError::AttemptState`] if it has settled; [`BooksError::PayoutState`] if the payout has ended.
    pub async fn in_flight(&self, attempt: AttemptId, now_ms: i64) -> Result<(), BooksError> {
        self.write("note an attempt's step", async move |session| {
            outcome::in_flight(session, attempt, now_ms).await
        })
        .await
    }

    /// Nobody knows what has become of it: the call failed, took too long, or was cut off by a restart.
    ///
    /// # Errors
    /// [`BooksError::AttemptState`] if it was not sent, or has ended.
    pub async fn unknown(
        &self,
        attempt: AttemptId,
        why: String,
        now_ms: i64,
    ) -> Result<(), BooksError> {
        let why = bounded("a reason", why, TEXT_BYTES_MAX)?;
        self.write("note an attempt's step", async move |session| {
            outcome::unknown(session, attempt, &why, now_ms).await
        })
        .await
    }

    /// It was concluded that the wallet never sent it (design.md 5): it is prepared again, so that the same invoice may be
    /// dispatched once more, or the attempt abandoned.
    ///
    /// # Errors
    /// [`BooksError::AttemptState`] if it is not unknown.
    pub async fn never_sent(
        &self,
        attempt: AttemptId,
        evidence: String,
        now_ms: i64,
    ) -> Result<(), BooksError> {
        let evidence = bounded("evidence", evidence, TEXT_BYTES_MAX)?;
        self.write("note an attempt's step", async move |session| {
            outcome::never_sent(session, attempt, &evidence, now_ms).await
        })
        .await
    }

    /// What may still settle, oldest first: what there is to look up after a start.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn open_attempts(&self) -> Result<Vec<Attempt>, BooksError> {
        self.read("list open attempts", async |session| {
            let query = query!(
                "attempts.state IN ('prepared', 'dispatched', 'in_flight', 'unknown') ORDER BY attempts.id"
            );
            let rows = session.query(query, &[]).await?;
            with_channels(session, rows).await
        })
        .await
    }

    /// Those attempts that have one of these payment hashes, in the order of the hashes; hashes that none has are left out.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn attempts_by_hash(
        &self,
        hashes: Vec<[u8; 32]>,
    ) -> Result<Vec<Attempt>, BooksError> {
        self.read("look attempts up", async move |session| {
            let mut rows = Vec::new();
            for hash in hashes {
                rows.extend(
                    session
                        .find(query!("payment_hash = $1"), &values![hash])
                        .await?,
                );
            }
            with_channels(session, rows).await
        })
        .await
    }
}
