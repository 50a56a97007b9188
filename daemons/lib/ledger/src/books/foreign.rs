//! `ForeignPayment`: a payment of the wallet that was to no payee: from before hh-treasury had it, to itself, or an operator's own.
//! Two persons say so; what it took from the wallet is booked where the wallet's balance is, not here.

use hh_mining::Msat;

use super::attempt;
use super::error::bounded;
use super::session::{CallError, Session};
use super::value::{msat, values};
use super::{Books, BooksError, TEXT_BYTES_MAX, TwoActors, rebalance};

/// A payment of the wallet that was to no payee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignPayment {
    /// Its payment hash.
    pub payment_hash: [u8; 32],
    /// How much, where the wallet tells.
    pub amount: Option<Msat>,
}

async fn adopt(
    session: &mut Session,
    payments: &[ForeignPayment],
    why: &str,
    actors: &TwoActors,
    now_ms: i64,
) -> Result<(), CallError> {
    actors.take(session, now_ms).await?;
    let actors = actors.named();
    for payment in payments {
        if attempt::is_known(session, payment.payment_hash).await? {
            return Err(BooksError::HashTaken.into());
        }
        rebalance::refuse_known(session, payment.payment_hash).await?;
        let insert =
            "INSERT INTO foreign_payments (payment_hash, amount_msat, why, given_by, at_ms)
            VALUES ($1, $2, $3, $4, $5) ON CONFLICT (payment_hash) DO NOTHING";
        let amount = payment.amount.map(msat).transpose()?;
        let values = values![payment.payment_hash, amount, why, actors.as_str(), now_ms];
        session.execute(insert, &values).await?;
    }
    Ok(())
}

/// Forgets that a payment was to no payee: it was.
pub(super) async fn forget(session: &mut Session, payment_hash: [u8; 32]) -> Result<(), CallError> {
    let delete = "DELETE FROM foreign_payments WHERE payment_hash = $1";
    session.execute(delete, &values![payment_hash]).await?;
    Ok(())
}

impl Books {
    /// Notes that payments were to no payee, all or none.
    ///
    /// # Errors
    /// [`BooksError::HashTaken`] if one is an attempt's or a rebalance's; [`BooksError::NotAgreed`].
    pub async fn adopt_foreign(
        &self,
        payments: Vec<ForeignPayment>,
        why: String,
        actors: TwoActors,
        now_ms: i64,
    ) -> Result<(), BooksError> {
        let why = bounded("evidence", why, TEXT_BYTES_MAX)?;
        self.write("adopt foreign payments", async move |session| {
            adopt(session, &payments, &why, &actors, now_ms).await
        })
        .await
    }

    /// Which of these payment hashes are known to be of payments to no payee.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn foreign_of(&self, hashes: Vec<[u8; 32]>) -> Result<Vec<[u8; 32]>, BooksError> {
        self.read("look foreign payments up", async move |session| {
            let mut found = Vec::new();
            for hash in hashes {
                let query = "SELECT 1 FROM foreign_payments WHERE payment_hash = $1";
                found.extend(session.find(query, &values![hash]).await?.map(|_| hash));
            }
            Ok(found)
        })
        .await
    }
}
