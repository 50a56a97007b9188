//! `NodeInvoice`: what a Hyper Node asks to be paid with for its dues. Whoever calls has checked the invoice and whose it is.

use hh_mining::Msat;

use super::error::bounded;
use super::session::{CallError, Session};
use super::value::{Row, msat, values};
use super::{
    Books, BooksError, PAGE_ROWS_MAX, Page, Payee, PayoutId, TEXT_BYTES_MAX, attempt, draw,
};

/// An invoice of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInvoice {
    /// The node's id.
    pub node: String,
    /// The invoice.
    pub bolt11: String,
    /// Its payment hash.
    pub payment_hash: [u8; 32],
    /// Its amount.
    pub amount: Msat,
    /// When it expires, milliseconds since 1970.
    pub expires_at_ms: i64,
}

/// An invoice that was submitted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeInvoiceRow {
    /// Its number.
    pub id: u64,
    /// The invoice.
    pub invoice: NodeInvoice,
    /// When it was submitted, milliseconds since 1970.
    pub submitted_at_ms: i64,
    /// The payout that is to pay it, or has.
    pub payout: Option<PayoutId>,
}

fn from_row(row: &Row) -> Result<NodeInvoiceRow, BooksError> {
    Ok(NodeInvoiceRow {
        id: row.get(0)?,
        invoice: NodeInvoice {
            node: row.get(1)?,
            bolt11: row.get(2)?,
            payment_hash: row.get(3)?,
            amount: row.get(4)?,
            expires_at_ms: row.get(5)?,
        },
        submitted_at_ms: row.get(6)?,
        payout: row.get(7)?,
    })
}

/// Ties the invoice with that text to the payout that is to pay it.
///
/// # Errors
/// [`BooksError::Destination`] if it is not that node's, is over another amount, has expired or is some other payout's.
pub(super) async fn take(
    session: &mut Session,
    (payee, bolt11, amount): (&Payee, &str, Msat),
    payout: PayoutId,
    now_ms: i64,
) -> Result<(), CallError> {
    let refused = |why| BooksError::Destination {
        payee: payee.clone(),
        why,
    };
    let Payee::Node(node) = payee else {
        return Err(refused("only nodes submit invoices").into());
    };
    let query =
        "SELECT id, node, bolt11, payment_hash, amount_msat, expires_at_ms, submitted_at_ms, payout
        FROM invoices WHERE node = $1 AND bolt11 = $2";
    let row = session.find(query, &values![node.as_str(), bolt11]).await?;
    let row = row.ok_or_else(|| refused("it has submitted no such invoice"))?;
    let row = from_row(&row)?;
    if row.payout.is_some() {
        return Err(refused("that invoice is another payout's").into());
    }
    if row.invoice.expires_at_ms <= now_ms {
        return Err(BooksError::Expired.into());
    }
    if row.invoice.amount != amount {
        let (invoice, payout) = (row.invoice.amount, amount);
        return Err(BooksError::AnotherAmount { invoice, payout }.into());
    }
    let update = "UPDATE invoices SET payout = $2 WHERE id = $1";
    session.execute(update, &values![row.id, payout]).await?;
    Ok(())
}

/// Whether a node has submitted an invoice with that payment hash.
pub(super) async fn is_submitted(
    session: &mut Session,
    payment_hash: [u8; 32],
) -> Result<bool, CallError> {
    let query = "SELECT id FROM invoices WHERE payment_hash = $1";
    let row = session.find(query, &values![payment_hash]).await?;
    Ok(row.is_some())
}

/// Gives an invoice back that its payout has not tried to pay.
pub(super) async fn give_back(session: &mut Session, payout: PayoutId) -> Result<(), CallError> {
    let update = "UPDATE invoices SET payout = NULL WHERE payout = $1
        AND NOT EXISTS (SELECT 1 FROM attempts WHERE attempts.payment_hash = invoices.payment_hash)";
    session.execute(update, &values![payout]).await?;
    Ok(())
}

async fn submit(session: &mut Session, new: NodeInvoice, now_ms: i64) -> Result<bool, CallError> {
    let amount = msat(new.amount)?;
    if amount == 0 {
        return Err(BooksError::NoAmount.into());
    }
    Payee::Node(new.node.clone()).checked()?;
    let bolt11 = bounded("an invoice", new.bolt11, TEXT_BYTES_MAX)?;
    let query = "SELECT node, bolt11 FROM invoices WHERE payment_hash = $1";
    if let Some(row) = session.find(query, &values![new.payment_hash]).await? {
        let known: (String, String) = (row.get(0)?, row.get(1)?);
        return if known == (new.node, bolt11) {
            Ok(false)
        } else {
            Err(BooksError::HashTaken.into())
        };
    }
    let hash = new.payment_hash;
    if attempt::is_known(session, hash).await? || draw::is_drawn(session, hash).await? {
        return Err(BooksError::HashTaken.into());
    }
    if new.expires_at_ms <= now_ms {
        return Err(BooksError::Expired.into());
    }
    let insert = "INSERT INTO invoices (id, node, payment_hash, bolt11, amount_msat, expires_at_ms, submitted_at_ms)
        VALUES ((SELECT coalesce(max(id), 0) + 1 FROM invoices), $1, $2, $3, $4, $5, $6)";
    let values = values![
        new.node,
        new.payment_hash,
        bolt11,
        amount,
        new.expires_at_ms,
        now_ms,
    ];
    session.execute(insert, &values).await?;
    Ok(true)
}

impl Books {
    /// Takes an invoice of a node; says whether it is new.
    ///
    /// # Errors
    /// [`BooksError::HashTaken`] if another invoice or an attempt has its payment hash; [`BooksError::Expired`].
    pub async fn submit_invoice(
        &self,
        invoice: NodeInvoice,
        now_ms: i64,
    ) -> Result<bool, BooksError> {
        self.write("take an invoice", async move |session| {
            submit(session, invoice, now_ms).await
        })
        .await
    }

    /// The invoices of a node, newest first.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn invoices(
        &self,
        node: String,
        page: Page,
    ) -> Result<Vec<NodeInvoiceRow>, BooksError> {
        self.read("list a node's invoices", async move |session| {
            let query = "SELECT id, node, bolt11, payment_hash, amount_msat, expires_at_ms, submitted_at_ms, payout
                FROM invoices WHERE node = $1 AND id < $2 ORDER BY id DESC LIMIT $3";
            let values = values![node, page.bound(), page.limit()];
            let rows = session.query(query, &values).await?;
            rows.iter().map(|row| Ok(from_row(row)?)).collect()
        })
        .await
    }

    /// The invoices of all nodes that no payout has taken and that have not expired, oldest first, at most `limit`.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn open_invoices(
        &self,
        now_ms: i64,
        limit: u32,
    ) -> Result<Vec<NodeInvoiceRow>, BooksError> {
        let limit = limit.min(PAGE_ROWS_MAX);
        self.read("list open invoices", async move |session| {
            let query = "SELECT id, node, bolt11, payment_hash, amount_msat, expires_at_ms, submitted_at_ms, payout
                FROM invoices WHERE payout IS NULL AND expires_at_ms > $1 ORDER BY id LIMIT $2";
            let rows = session.query(query, &values![now_ms, limit]).await?;
            rows.iter().map(|row| Ok(from_row(row)?)).collect()
        })
        .await
    }
}
