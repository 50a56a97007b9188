//! `EarnedForward`: what routing for others has earned, each once, and up to where the wallet's list of it has been read.

use hh_mining::Msat;

use super::entry;
use super::error::bounded;
use super::session::{CallError, Session};
use super::value::values;
use super::wallet::draft;
use super::{Books, BooksError, KEY_BYTES_MAX, TEXT_BYTES_MAX, WalletChange};

/// A payment of somebody else that went through the wallet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EarnedForward {
    /// What names it among all of this wallet: it is booked once.
    pub key: String,
    /// What it earned. Nothing is not booked.
    pub fee: Msat,
    /// For whoever reads the entry.
    pub evidence: String,
}

impl Books {
    /// Up to where the forwards of a wallet are booked, as [`Self::book_forwards`] was told last.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn forwards_place(&self, wallet: String) -> Result<Option<String>, BooksError> {
        self.read("find the place in the forwards", async move |session| {
            let query = "SELECT place FROM wallet_places WHERE wallet = $1";
            let row = session.find(query, &values![wallet.clone()]).await?;
            Ok(row.map(|row| row.get(0)).transpose()?)
        })
        .await
    }

    /// Books forwards of a wallet (its node id) and up to where that goes, all or nothing. Says how many are new.
    ///
    /// # Errors
    /// [`BooksError::KeyTaken`] if something else was booked with the key of one.
    pub async fn book_forwards(
        &self,
        wallet: String,
        forwards: Vec<EarnedForward>,
        place: String,
        now_ms: i64,
    ) -> Result<usize, BooksError> {
        let wallet = bounded("a wallet", wallet, KEY_BYTES_MAX)?;
        let place = bounded("a place", place, TEXT_BYTES_MAX)?;
        let mut drafts = Vec::new();
        for EarnedForward { key, fee, evidence } in forwards {
            if fee == Msat::ZERO {
                continue;
            }
            let evidence = bounded("evidence", evidence, TEXT_BYTES_MAX)?;
            let key = bounded("a key", format!("forward:{wallet}:{key}"), KEY_BYTES_MAX)?;
            drafts.push((key, fee, evidence));
        }
        self.write("book forwards", async move |session| {
            let mut new = 0;
            for (key, fee, evidence) in &drafts {
                let income = WalletChange::RoutingIncome(*fee);
                let mut draft = draft(income, evidence.clone(), now_ms)?;
                draft.key = Some(key.clone());
                new += usize::from(entry::post_once(session, draft).await?);
            }
            keep_place(session, &wallet, &place).await?;
            Ok(new)
        })
        .await
    }
}

async fn keep_place(session: &mut Session, wallet: &str, place: &str) -> Result<(), CallError> {
    let query = "INSERT INTO wallet_places (wallet, place) VALUES ($1, $2)
        ON CONFLICT (wallet) DO UPDATE SET place = excluded.place";
    let row = values![wallet.to_owned(), place.to_owned()];
    session.execute(query, &row).await?;
    Ok(())
}
