//! `TwoActors`: what one person alone may not do. Each agrees to the same terms, and what is done on their word uses it up in the
//! transaction that does it, so that it is done once.

use bitcoin::hashes::{Hash, HashEngine, sha256};

use super::error::bounded;
use super::session::{CallError, Session};
use super::value::{Hex, values};
use super::{Books, BooksError, KEY_BYTES_MAX, TEXT_BYTES_MAX};

/// Two different persons who have agreed to the same terms. [`Books::consent`] makes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwoActors {
    subject: String,
    terms: String,
    first: String,
    second: String,
}

/// What has come of a person's word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Consent {
    /// It waits for another person's.
    First,
    /// Two have agreed.
    Both(TwoActors),
}

impl TwoActors {
    /// Both, for people.
    pub(super) fn named(&self) -> String {
        format!("{} and {}", self.first, self.second)
    }

    /// Uses their word up, with every other one about the subject; gives a text that no other word of theirs has.
    ///
    /// # Errors
    /// [`BooksError::NotAgreed`] if it was used before, has expired, or one of them has agreed to something else since.
    pub(super) async fn take(
        &self,
        session: &mut Session,
        now_ms: i64,
    ) -> Result<String, CallError> {
        let query = "SELECT actor, at_ms FROM consents
            WHERE subject = $1 AND terms = $2 AND until_ms > $3 AND actor IN ($4, $5) ORDER BY actor";
        let values = values![
            self.subject.as_str(),
            self.terms.as_str(),
            now_ms,
            self.first.as_str(),
            self.second.as_str()
        ];
        let rows = session.query(query, &values).await?;
        if rows.len() != 2 {
            let subject = self.subject.clone();
            return Err(BooksError::NotAgreed { subject }.into());
        }
        let mut word = sha256::Hash::engine();
        for text in [&self.subject, &self.terms] {
            word.input(text.as_bytes());
            word.input(&[0]);
        }
        for row in &rows {
            let (actor, at_ms): (String, i64) = (row.get(0)?, row.get(1)?);
            word.input(actor.as_bytes());
            word.input(&[0]);
            word.input(&at_ms.to_be_bytes());
        }
        let delete = "DELETE FROM consents WHERE subject = $1";
        let values = values![self.subject.as_str()];
        session.execute(delete, &values).await?;
        let word = sha256::Hash::from_engine(word).to_byte_array();
        Ok(Hex(&word).to_string())
    }
}

impl Books {
    /// Notes that `actor` agrees to exactly these terms until `until_ms`: where two persons are needed, the first one waits here
    /// for the second. A person agrees to one set of terms about a subject at a time.
    ///
    /// # Errors
    /// The books are not writable.
    pub async fn consent(
        &self,
        subject: String,
        terms: String,
        actor: String,
        until_ms: i64,
        now_ms: i64,
    ) -> Result<Consent, BooksError> {
        let subject = bounded("a subject", subject, KEY_BYTES_MAX)?;
        let terms = bounded("terms", terms, TEXT_BYTES_MAX)?;
        let actor = bounded("a person's name", actor, KEY_BYTES_MAX)?;
        self.write("note a consent", async move |session| {
            let upsert = "INSERT INTO consents (subject, actor, terms, at_ms, until_ms) VALUES ($1, $2, $3, $4, $5)
                ON CONFLICT (subject, actor) DO UPDATE SET terms = excluded.terms, at_ms = excluded.at_ms,
                    until_ms = excluded.until_ms";
            let (by, to) = (actor.as_str(), terms.as_str());
            let values = values![subject.as_str(), by, to, now_ms, until_ms];
            session.execute(upsert, &values).await?;
            let query = "SELECT actor FROM consents
                WHERE subject = $1 AND terms = $2 AND until_ms > $3 AND actor <> $4 ORDER BY at_ms, actor LIMIT 1";
            let values = values![subject.as_str(), to, now_ms, by];
            let Some(row) = session.find(query, &values).await? else {
                return Ok(Consent::First);
            };
            let first = row.get(0)?;
            Ok(Consent::Both(TwoActors {
                subject,
                terms,
                first,
                second: actor,
            }))
        })
        .await
    }
}
