//! `Split`: a block's money on its way to the payees, and back where the block is orphaned.
//!
//! ```text
//!  split:     + coinbase:HASH    - immature:PAYEE ...
//!  maturity:  - coinbase:HASH    + wallet            + immature:PAYEE ...    - balance:PAYEE ...
//! ```
//! A reversal posts the opposite. What a payee has spent by then can't be taken back: that is a loss, never a negative
//! balance. It is remembered as arrears of the same block, so that a block that comes back pays nobody twice.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use hh_mining::{BlockHash, Division, EdgeShare, Msat, Score};

use super::block::{self, Tracked};
use super::entry::{self, Draft, EntryKind, Posting};
use super::error::bounded;
use super::proof::{self, AccountLeaf, SignedReport};
use super::session::{CallError, RowStatement, Session};
use super::value::{Value, msat, values};
use super::{
    BookAccount, BookBlockState, Books, BooksError, KEY_BYTES_MAX, Payee, PayoutId, TEXT_BYTES_MAX,
    edge, opening,
};

/// What a block is split by; the whole of it is in the report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowBounds {
    /// The rule: `pplns 4`, `round`.
    pub rule: String,
    /// When its oldest share was accepted, milliseconds since 1970; none if it has no share.
    pub first_ms: Option<i64>,
    /// When its newest share was accepted: the winning one.
    pub last_ms: i64,
    /// All the score in it.
    pub score: Score,
}

/// A block's split as it is to be posted.
#[derive(Debug, Clone)]
pub struct Split {
    /// The block.
    pub hash: BlockHash,
    /// Who gets how much.
    pub division: Division,
    /// What it was made by.
    pub window: WindowBounds,
    /// The report about it.
    pub report: SignedReport,
    /// The leaves of the report's sum tree.
    pub leaves: Vec<AccountLeaf>,
    /// The shares of the window's edge, newest first: those that the report has the hash of.
    pub edge: Vec<EdgeShare<'static>>,
}

/// What a reversal came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reversed {
    /// The block's value, if a split stood.
    pub amount: Msat,
    /// What payees could not give back.
    pub loss: Msat,
    /// Payouts that nothing had been sent for, cancelled so that their money could be given back.
    pub cancelled: Vec<PayoutId>,
}

/// What everybody gets, by payee; the parts are the whole.
fn parts(hash: BlockHash, division: &Division) -> Result<BTreeMap<Payee, Msat>, BooksError> {
    let mut parts: BTreeMap<Payee, Msat> = BTreeMap::new();
    let mut give = |payee: Payee, amount: Msat| {
        let part = parts.entry(payee.checked()?).or_default();
        let sum = part.checked_add(amount);
        *part = sum.ok_or(BooksError::TooMuch { amount })?;
        Ok::<_, BooksError>(())
    };
    for part in &division.miners {
        give(Payee::Miner(part.name.clone()), part.amount)?;
    }
    for part in &division.nodes {
        give(Payee::Node(part.name.clone()), part.amount)?;
    }
    give(Payee::NodeReserve, division.node_reserve.amount)?;
    give(Payee::Treasury, division.treasury)?;
    let finder = Payee::Miner(division.finder.clone());
    give(finder.clone(), division.reward.fees())?;
    give(finder, division.residue)?;
    let value = division.reward.value();
    let sum = parts.values().copied().sum::<Option<Msat>>();
    match sum.unwrap_or(Msat(u64::MAX)) {
        sum if sum == value => Ok(parts),
        sum => Err(BooksError::Division { hash, sum, value }),
    }
}

async fn post(session: &mut Session, split: Split, now_ms: i64) -> Result<bool, CallError> {
    let hash = split.hash;
    let parts = parts(hash, &split.division)?;
    let known = block::get(session, hash).await?;
    block::put_reward(session, &known.block, &split.division.reward).await?;
    let mut draft = Draft::new(EntryKind::Split, now_ms, split.window.rule.clone());
    draft.block = Some(hash);
    draft.debit(BookAccount::Coinbase(hash), split.division.reward.value());
    for (payee, amount) in parts {
        draft.credit(BookAccount::Immature(payee), amount);
    }
    if let Some(standing) = known.split {
        let postings = entry::postings_of(session, standing).await?;
        let posted = postings
            .into_iter()
            .map(|posting| (posting.account, posting.amount_msat));
        return if posted.eq(draft.changes()?) {
            Ok(false)
        } else {
            Err(BooksError::AnotherSplit { hash }.into())
        };
    }
    let state = known.block.state;
    if !matches!(
        state,
        BookBlockState::Accepted | BookBlockState::Confirmed | BookBlockState::Mature
    ) {
        let why = "only a block on the best chain is split";
        return Err(BooksError::BlockState { hash, state, why }.into());
    }
    let rule = bounded("a rule", split.window.rule, KEY_BYTES_MAX)?;
    let id = entry::post(session, draft).await?;
    let update =
        "UPDATE blocks SET split_entry = $2, split_at_ms = $3, finder = $4, window_rule = $5,
            window_first_ms = $6, window_last_ms = $7, window_score = $8
        WHERE hash = $1";
    let values = values![
        hash,
        id,
        now_ms,
        split.division.finder,
        rule,
        split.window.first_ms,
        split.window.last_ms,
        split.window.score,
    ];
    session.execute(update, &values).await?;
    proof::put(session, hash, split.report, &split.leaves).await?;
    edge::put(session, hash, &split.edge).await?;
    Ok(true)
}

/// What payees owe of this very block since it was orphaned before.
async fn arrears(
    session: &mut Session,
    hash: BlockHash,
) -> Result<BTreeMap<Payee, Msat>, CallError> {
    let query = "SELECT payee, amount_msat FROM arrears WHERE block = $1 AND amount_msat > 0";
    let rows = session.query(query, &values![hash]).await?;
    let arrears = rows.iter().map(|row| Ok((row.parse(0)?, row.get(1)?)));
    arrears.collect()
}

async fn put_arrears(
    session: &mut Session,
    hash: BlockHash,
    arrears: &BTreeMap<Payee, Msat>,
) -> Result<(), CallError> {
    let delete = "DELETE FROM arrears WHERE block = $1";
    session.execute(delete, &values![hash]).await?;
    let rows = arrears.iter().map(|(payee, amount)| {
        let amount = msat(*amount)?;
        Ok(values![hash, payee.to_string(), amount].to_vec())
    });
    let rows = rows.collect::<Result<Vec<_>, BooksError>>()?;
    session.query_rows(&ADD_ARREARS, &rows).await?;
    Ok(())
}

static ADD_ARREARS: LazyLock<RowStatement> = LazyLock::new(|| {
    let before = "INSERT INTO arrears (block, payee, amount_msat) VALUES ";
    RowStatement::new(before, "($, $, $)", "")
});

async fn mature(session: &mut Session, hash: BlockHash, now_ms: i64) -> Result<bool, CallError> {
    let known = block::get(session, hash).await?;
    let state = known.block.state;
    let split = known.split.ok_or(BooksError::NoSplit { hash })?;
    if known.maturity.is_some() {
        return Ok(false);
    }
    if state != BookBlockState::Mature {
        let why = "its coinbase can't be spent";
        return Err(BooksError::BlockState { hash, state, why }.into());
    }
    let mut arrears = arrears(session, hash).await?;
    let mut draft = Draft::new(EntryKind::Maturity, now_ms, "");
    draft.block = Some(hash);
    for Posting {
        account,
        amount_msat,
        ..
    } in entry::postings_of(session, split).await?
    {
        let amount = Msat(amount_msat.unsigned_abs());
        match account {
            BookAccount::Immature(payee) => {
                let owed = arrears.entry(payee.clone()).or_default();
                let due = amount.min(*owed);
                *owed = Msat(owed.0 - due.0);
                let paid = Msat(amount.0 - due.0);
                draft.debit(BookAccount::Immature(payee.clone()), amount);
                draft.credit(BookAccount::Balance(payee), paid);
                draft.credit(BookAccount::Loss, due);
            }
            coinbase => {
                draft.credit(coinbase, amount);
                draft.debit(BookAccount::Wallet, amount);
            }
        }
    }
    // A split that is made again may give somebody less, or nothing: then he still owes the rest.
    arrears.retain(|_, owed| *owed > Msat::ZERO);
    put_arrears(session, hash, &arrears).await?;
    let id = entry::post(session, draft).await?;
    let update = "UPDATE blocks SET state = 'payable', maturity_entry = $2, mature_at_ms = $3 WHERE hash = $1";
    session.execute(update, &values![hash, id, now_ms]).await?;
    Ok(true)
}

/// Takes the maturity of a block back; says what payees could not give, and whose payouts were cancelled for it.
async fn reverse_maturity(
    session: &mut Session,
    known: &Tracked,
    (maturity, split): (u64, u64),
    reason: &str,
    now_ms: i64,
) -> Result<(Msat, Vec<PayoutId>), CallError> {
    let hash = known.block.hash;
    let mut draft = Draft::new(EntryKind::Reversal, now_ms, reason);
    (draft.block, draft.reverses) = (Some(hash), Some(maturity));
    let mut arrears = arrears(session, hash).await?;
    for posting in entry::postings_of(session, split).await? {
        if let BookAccount::Immature(payee) = posting.account {
            // Until it is given back, below.
            let owed = arrears.entry(payee).or_default();
            *owed = Msat(owed.0.saturating_add(posting.amount_msat.unsigned_abs()));
        }
    }
    let (mut loss, mut cancelled) = (Msat::ZERO, Vec::new());
    for posting in entry::postings_of(session, maturity).await? {
        let amount = Msat(posting.amount_msat.unsigned_abs());
        match posting.account {
            BookAccount::Balance(payee) => {
                let account = BookAccount::Balance(payee.clone());
                let mut has = entry::owed(session, &account).await?;
                if has < amount
                    && let Some(payout) =
                        opening::cancel_unsent(session, &payee, reason, now_ms).await?
                {
                    cancelled.push(payout);
                    has = entry::owed(session, &account).await?;
                }
                let given = has.min(amount);
                let lost = Msat(amount.0 - given.0);
                draft.debit(account, given);
                draft.debit(BookAccount::Loss, lost);
                loss = Msat(loss.0.saturating_add(lost.0));
                let owed = arrears.entry(payee).or_default();
                *owed = Msat(owed.0.saturating_sub(given.0));
            }
            // Arrears that were paid with this block are owed again.
            BookAccount::Loss => {
                draft.debit(BookAccount::Loss, amount);
                loss = Msat(loss.0.saturating_add(amount.0));
            }
            account if posting.amount_msat > 0 => draft.credit(account, amount),
            account => draft.debit(account, amount),
        }
    }
    arrears.retain(|_, owed| *owed > Msat::ZERO);
    put_arrears(session, hash, &arrears).await?;
    entry::post(session, draft).await?;
    Ok((loss, cancelled))
}

/// Takes a split back that is not mature, or no longer.
async fn reverse_split(
    session: &mut Session,
    hash: BlockHash,
    split: u64,
    reason: &str,
    now_ms: i64,
) -> Result<(), CallError> {
    let mut draft = Draft::new(EntryKind::Reversal, now_ms, reason);
    (draft.block, draft.reverses) = (Some(hash), Some(split));
    for posting in entry::postings_of(session, split).await? {
        let amount = Msat(posting.amount_msat.unsigned_abs());
        if posting.amount_msat > 0 {
            draft.credit(posting.account, amount);
        } else {
            draft.debit(posting.account, amount);
        }
    }
    entry::post(session, draft).await?;
    Ok(())
}

/// Takes back what stands of a block, and puts it into `state`.
async fn reverse(
    session: &mut Session,
    known: Tracked,
    state: BookBlockState,
    reason: String,
    now_ms: i64,
) -> Result<Reversed, CallError> {
    let hash = known.block.hash;
    let reason = bounded("a reason", reason, TEXT_BYTES_MAX)?;
    let mut reversed = Reversed {
        amount: Msat::ZERO,
        loss: Msat::ZERO,
        cancelled: Vec::new(),
    };
    if let Some(split) = known.split {
        if let Some(maturity) = known.maturity {
            let entries = (maturity, split);
            let done = reverse_maturity(session, &known, entries, &reason, now_ms).await?;
            (reversed.loss, reversed.cancelled) = done;
        }
        reverse_split(session, hash, split, &reason, now_ms).await?;
        reversed.amount = known.block.value.unwrap_or_default();
    }
    let update = "UPDATE blocks SET state = $2, reason = CASE WHEN $2 = 'orphaned' THEN $3 ELSE reason END,
            split_entry = NULL, split_at_ms = NULL, maturity_entry = NULL, mature_at_ms = NULL, window_rule = NULL,
            window_first_ms = NULL, window_last_ms = NULL, window_score = NULL, report = NULL, signature = NULL
        WHERE hash = $1";
    let values: [Value; 3] = values![hash, state.name(), reason];
    session.execute(update, &values).await?;
    let delete = "DELETE FROM leaves WHERE block = $1";
    session.execute(delete, &values![hash]).await?;
    edge::delete(session, hash).await?;
    Ok(reversed)
}

impl Books {
    /// Posts who gets how much of a block, with the report about it; says whether that is new. The money is not mature.
    ///
    /// # Errors
    /// [`BooksError::AnotherSplit`] if another split stands; [`BooksError::BlockState`] if the block is not on the best chain;
    /// [`BooksError::Division`] if the parts are not the whole.
    pub async fn post_split(&self, split: Split, now_ms: i64) -> Result<bool, BooksError> {
        self.write("post a split", async move |session| {
            post(session, split, now_ms).await
        })
        .await
    }

    /// Moves a block's money from its coinbase to the wallet, and every part from immature to balance; the block is payable
    /// then. Says whether that is new.
    ///
    /// # Errors
    /// [`BooksError::NoSplit`]; [`BooksError::BlockState`] if it was not noted to be mature.
    pub async fn mature(&self, hash: BlockHash, now_ms: i64) -> Result<bool, BooksError> {
        self.write("post a maturity", async move |session| {
            mature(session, hash, now_ms).await
        })
        .await
    }

    /// Takes back what stands of a block that is no longer on the best chain, and notes that it is orphaned. Where its money was
    /// payable, payees give back what they have, first of all what waits in payouts that nothing was sent for; the rest is the
    /// treasury's loss. The report is gone; the entries stay.
    ///
    /// # Errors
    /// [`BooksError::NoBlock`].
    pub async fn reverse(
        &self,
        hash: BlockHash,
        reason: String,
        now_ms: i64,
    ) -> Result<Reversed, BooksError> {
        self.write("reverse a block", async move |session| {
            let known = block::get(session, hash).await?;
            reverse(session, known, BookBlockState::Orphaned, reason, now_ms).await
        })
        .await
    }

    /// Takes back a split that is not mature, so that it can be made again: that of a round whose beginning has moved. The block
    /// stays in its state.
    ///
    /// # Errors
    /// [`BooksError::NoSplit`]; [`BooksError::BlockState`] if its money is payable.
    pub async fn unsplit(
        &self,
        hash: BlockHash,
        reason: String,
        now_ms: i64,
    ) -> Result<Reversed, BooksError> {
        self.write("take a split back", async move |session| {
            let known = block::get(session, hash).await?;
            let state = known.block.state;
            if known.split.is_none() {
                return Err(BooksError::NoSplit { hash }.into());
            }
            if known.maturity.is_some() {
                let why = "its split is final";
                return Err(BooksError::BlockState { hash, state, why }.into());
            }
            reverse(session, known, state, reason, now_ms).await
        })
        .await
    }
}
