//! `NewDraw`: what a miner's account may be paid, or a part of it, by an invoice that was handed in with the signature of its drawing
//! key. Whoever calls has checked the invoice and the signature. A payment hash draws once, whatever becomes of it: a request that
//! comes again gives the payout that it opened, and nothing else.

use hh_mining::Msat;

use super::destination::{self, DestinationKind, DestinationOf};
use super::error::bounded;
use super::opening::{self, NewPayout};
use super::payout::{self, PayTo};
use super::session::{CallError, Session};
use super::value::{Hex, values};
use super::{Books, BooksError, Payee, PayoutId, TEXT_BYTES_MAX, attempt, invoice, rebalance};

/// A draw as it is to be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDraw {
    /// Whose balance.
    pub payee: Payee,
    /// The key that has signed: the text of the payee's destination now.
    pub drawing_key: String,
    /// The invoice.
    pub bolt11: String,
    /// Its payment hash.
    pub payment_hash: [u8; 32],
    /// Its amount.
    pub amount: Msat,
    /// When it expires, milliseconds since 1970.
    pub expires_at_ms: i64,
    /// How many persons have to approve it before anything is sent.
    pub approvals_needed: u32,
}

/// The key of the payout that a draw opens.
fn key(payment_hash: [u8; 32]) -> String {
    format!("draw:{}", Hex(&payment_hash))
}

/// Whether somebody has drawn by that payment hash.
pub(super) async fn is_drawn(
    session: &mut Session,
    payment_hash: [u8; 32],
) -> Result<bool, CallError> {
    let drawn = payout::by_key(session, &key(payment_hash)).await?;
    Ok(drawn.is_some())
}

async fn open(session: &mut Session, new: NewDraw, now_ms: i64) -> Result<PayoutId, CallError> {
    let payout = NewPayout {
        payee: new.payee,
        amount: new.amount,
        to: PayTo {
            kind: DestinationKind::Bolt11Draw,
            text: new.bolt11,
        },
        key: key(new.payment_hash),
        rule: "draw by invoice".to_owned(),
        approvals_needed: new.approvals_needed,
    };
    if let Some(known) = payout::by_key(session, &payout.key).await? {
        let is_same =
            (&known.payee, known.amount, &known.to) == (&payout.payee, payout.amount, &payout.to);
        return if is_same {
            Ok(known.id)
        } else {
            Err(BooksError::HashTaken.into())
        };
    }
    // The key that the signature was checked with may have been replaced since.
    match destination::of(session, &payout.payee, now_ms).await? {
        DestinationOf::Active(active)
            if active.kind == DestinationKind::Bolt11Draw && active.text == new.drawing_key => {}
        _ => {
            let (payee, why) = (payout.payee, "that is not its drawing key now");
            return Err(BooksError::Destination { payee, why }.into());
        }
    }
    if new.expires_at_ms <= now_ms {
        return Err(BooksError::Expired.into());
    }
    let hash = new.payment_hash;
    if attempt::is_known(session, hash).await? || invoice::is_submitted(session, hash).await? {
        return Err(BooksError::HashTaken.into());
    }
    rebalance::refuse_known(session, hash).await?;
    opening::open(session, payout, now_ms).await
}

/// The payout that pays a hash, or was to.
async fn of_hash(
    session: &mut Session,
    payment_hash: [u8; 32],
) -> Result<Option<PayoutId>, CallError> {
    if let Some(attempt) = attempt::with_hash(session, payment_hash).await? {
        return Ok(Some(attempt::get(session, attempt).await?.payout));
    }
    if let Some(drawn) = payout::by_key(session, &key(payment_hash)).await? {
        return Ok(Some(drawn.id));
    }
    let query = "SELECT payout FROM invoices WHERE payment_hash = $1";
    match session.find(query, &values![payment_hash]).await? {
        Some(row) => Ok(row.get(0)?),
        None => Ok(None),
    }
}

impl Books {
    /// Opens a payout by the invoice that was handed in, as [`Books::open_payout`]; the same draw gives the same payout again.
    ///
    /// # Errors
    /// As of [`Books::open_payout`]; [`BooksError::Destination`] if the key is not the payee's drawing key now;
    /// [`BooksError::HashTaken`] if another draw, an attempt or a node's invoice has the payment hash; [`BooksError::Expired`].
    pub async fn open_draw(&self, draw: NewDraw, now_ms: i64) -> Result<PayoutId, BooksError> {
        bounded("an invoice", draw.bolt11.clone(), TEXT_BYTES_MAX)?;
        self.write("open a draw", async move |session| {
            open(session, draw, now_ms).await
        })
        .await
    }

    /// The payout that has tried to pay a payment hash, or is to: by an attempt, a draw or a node's invoice.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn payout_of_hash(
        &self,
        payment_hash: [u8; 32],
    ) -> Result<Option<PayoutId>, BooksError> {
        self.read("look a payment hash up", async move |session| {
            of_hash(session, payment_hash).await
        })
        .await
    }
}
