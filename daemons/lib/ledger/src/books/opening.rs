//! How a payout begins, and how it ends without having paid.

use hh_mining::Msat;

use super::attempt;
use super::destination::{self, DestinationKind, DestinationOf};
use super::entry::{self, Draft, EntryKind};
use super::error::bounded;
use super::freeze::refuse_frozen;
use super::history::{self, HistoryLine};
use super::hold::refuse_held;
use super::payout::{self, PayTo, Payout, PayoutState, Step};
use super::session::{CallError, Session};
use super::value::{msat, values};
use super::{
    BookAccount, Books, BooksError, KEY_BYTES_MAX, Payee, PayoutId, TEXT_BYTES_MAX, balance,
    invoice,
};

/// A payout as it is to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewPayout {
    /// Whom.
    pub payee: Payee,
    /// How much.
    pub amount: Msat,
    /// Where.
    pub to: PayTo,
    /// The request's own: the same key gives the same payout.
    pub key: String,
    /// The rule, or the person, that asks for it.
    pub rule: String,
    /// How many persons have to approve it before anything is sent.
    pub approvals_needed: u32,
}

/// Refuses a destination that is not the payee's now, for a payout that was opened at `opened_at_ms`. A node's invoice is looked at
/// when the payout takes it. What was drawn with a key that counts no more is not paid with the next one's word.
pub(super) async fn refuse_other_destination(
    session: &mut Session,
    (payee, to): (&Payee, &PayTo),
    opened_at_ms: i64,
    now_ms: i64,
) -> Result<(), CallError> {
    let why = match destination::of(session, payee, now_ms).await? {
        _ if to.kind == DestinationKind::NodeInvoice => return Ok(()),
        DestinationOf::Active(active) => match to.kind {
            kind if kind != active.kind => "its destination is of another kind",
            DestinationKind::Bolt11Draw if active.active_from_ms > opened_at_ms => {
                "its drawing key is another one by now"
            }
            DestinationKind::Bolt11Draw => return Ok(()),
            _ if to.text != active.text => "its destination is another one",
            _ => return Ok(()),
        },
        DestinationOf::CoolingOff(_) => "its new destination is cooling off",
        DestinationOf::Cancelled(_) => "its destination was cancelled",
        DestinationOf::None => "it has no destination",
    };
    let payee = payee.clone();
    Err(BooksError::Destination { payee, why }.into())
}

/// The payout with that key, if it is the same request.
async fn with_key(session: &mut Session, new: &NewPayout) -> Result<Option<PayoutId>, CallError> {
    let Some(known) = payout::by_key(session, &new.key).await? else {
        return Ok(None);
    };
    if (&known.payee, known.amount, &known.to) == (&new.payee, new.amount, &new.to) {
        Ok(Some(known.id))
    } else {
        let key = new.key.clone();
        Err(BooksError::KeyTaken { key }.into())
    }
}

/// Adds the row of a payout, which holds nothing yet.
pub(super) async fn insert(
    session: &mut Session,
    new: &NewPayout,
    state: PayoutState,
    now_ms: i64,
) -> Result<PayoutId, CallError> {
    let insert = "INSERT INTO payouts (id, key, payee, amount_msat, to_kind, to_text, rule, approvals_needed, state,
            next_try_at_ms, tries, created_at_ms)
        VALUES ((SELECT coalesce(max(id), 0) + 1 FROM payouts), $1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $9) RETURNING id";
    let values = values![
        new.key.as_str(),
        new.payee.to_string(),
        msat(new.amount)?,
        new.to.kind.name(),
        new.to.text.as_str(),
        new.rule.as_str(),
        new.approvals_needed,
        state.name(),
        now_ms,
    ];
    match session.find(insert, &values).await? {
        Some(row) => Ok(row.get(0)?),
        None => unreachable!("an insert returns its row"),
    }
}

pub(super) async fn open(
    session: &mut Session,
    new: NewPayout,
    now_ms: i64,
) -> Result<PayoutId, CallError> {
    if let Some(known) = with_key(session, &new).await? {
        return Ok(known);
    }
    let (payee, amount) = (&new.payee, new.amount);
    if msat(amount)? == 0 {
        return Err(BooksError::NoAmount.into());
    }
    if *payee == Payee::NodeReserve {
        let payee = payee.clone();
        return Err(BooksError::NotPayable { payee }.into());
    }
    refuse_frozen(session).await?;
    refuse_held(session, payee, None).await?;
    if let Some(open) = payout::open_of(session, payee).await? {
        let (payee, payout) = (payee.clone(), open.id);
        return Err(BooksError::OpenPayout { payee, payout }.into());
    }
    refuse_other_destination(session, (payee, &new.to), now_ms, now_ms).await?;
    let has = balance::available(session, payee).await?;
    if has < amount {
        let account = BookAccount::Balance(payee.clone());
        let wanted = amount;
        return Err(BooksError::TooSmall {
            account,
            has,
            wanted,
        }
        .into());
    }
    let id = insert(session, &new, PayoutState::Queued, now_ms).await?;
    if new.to.kind == DestinationKind::NodeInvoice {
        invoice::take(session, (payee, &new.to.text, amount), id, now_ms).await?;
    }
    let mut draft = Draft::new(EntryKind::PayoutOpen, now_ms, new.rule.clone());
    draft.payout = Some(id);
    draft.debit(BookAccount::Balance(payee.clone()), amount);
    draft.credit(BookAccount::Payout(id), amount);
    entry::post(session, draft).await?;
    let line = HistoryLine {
        at_ms: now_ms,
        attempt: None,
        state: PayoutState::Queued.to_string(),
        what: format!("opened by {}", new.rule),
        actor: None,
    };
    history::add(session, id, line).await?;
    Ok(id)
}

/// Gives the amount back to the payee. The payout is open, and none of its attempts is live.
async fn cancel(
    session: &mut Session,
    payout: &Payout,
    what: &str,
    actor: Option<&str>,
    now_ms: i64,
) -> Result<(), CallError> {
    let mut draft = Draft::new(EntryKind::PayoutCancelled, now_ms, what);
    draft.payout = Some(payout.id);
    draft.debit(BookAccount::Payout(payout.id), payout.amount);
    draft.credit(BookAccount::Balance(payout.payee.clone()), payout.amount);
    entry::post(session, draft).await?;
    invoice::give_back(session, payout.id).await?;
    let to = Step {
        actor,
        ..Step::to(PayoutState::Cancelled, what)
    };
    payout::step(session, payout.id, to, now_ms).await
}

/// Cancels the payee's open payout, if nothing that was sent for it can settle.
pub(super) async fn cancel_unsent(
    session: &mut Session,
    payee: &Payee,
    reason: &str,
    now_ms: i64,
) -> Result<Option<PayoutId>, CallError> {
    let Some(payout) = payout::open_of(session, payee).await? else {
        return Ok(None);
    };
    if attempt::live(session, payout.id).await?.is_some() {
        return Ok(None);
    }
    let what = format!("a block that it was paid from was reversed: {reason}");
    cancel(session, &payout, &what, None, now_ms).await?;
    Ok(Some(payout.id))
}

impl Books {
    /// Opens a payout: the amount goes from the payee's balance into it. The same request with the same key gives the same
    /// payout, whatever has become of it.
    ///
    /// # Errors
    /// [`BooksError::Frozen`]; [`BooksError::Held`]; [`BooksError::NotPayable`] for a reserve; [`BooksError::OpenPayout`];
    /// [`BooksError::Destination`] if it is not where the payee is paid now; [`BooksError::TooSmall`] if it has less;
    /// [`BooksError::KeyTaken`].
    pub async fn open_payout(
        &self,
        payout: NewPayout,
        now_ms: i64,
    ) -> Result<PayoutId, BooksError> {
        bounded("a key", payout.key.clone(), KEY_BYTES_MAX)?;
        bounded("a rule", payout.rule.clone(), KEY_BYTES_MAX)?;
        bounded("a destination", payout.to.text.clone(), TEXT_BYTES_MAX)?;
        self.write("open a payout", async move |session| {
            open(session, payout, now_ms).await
        })
        .await
    }

    /// Gives a payout's amount back to the payee.
    ///
    /// # Errors
    /// [`BooksError::LiveAttempt`] if something that was sent may settle; [`BooksError::PayoutState`] if it has ended.
    pub async fn cancel_payout(
        &self,
        payout: PayoutId,
        actor: String,
        reason: String,
        now_ms: i64,
    ) -> Result<(), BooksError> {
        let actor = bounded("a person's name", actor, KEY_BYTES_MAX)?;
        let reason = bounded("a reason", reason, TEXT_BYTES_MAX)?;
        self.write("cancel a payout", async move |session| {
            let payout = payout::get(session, payout).await?;
            payout::refuse_ended(&payout)?;
            payout::refuse_live(session, payout.id).await?;
            cancel(session, &payout, &reason, Some(&actor), now_ms).await
        })
        .await
    }
}
