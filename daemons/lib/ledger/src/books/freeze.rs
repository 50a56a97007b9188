//! `Freeze`: no payout is opened and nothing is sent while one stands. And `TwoActors`: what one person alone may not do.

use super::error::bounded;
use super::session::{CallError, Session};
use super::value::{Row, values};
use super::{Books, BooksError, KEY_BYTES_MAX, TEXT_BYTES_MAX};

/// Why payouts are frozen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freeze {
    /// Why.
    pub reason: String,
    /// By whom: a person, or hh-treasury itself.
    pub actor: String,
    /// Since when, milliseconds since 1970.
    pub at_ms: i64,
}

/// Two different persons.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TwoActors {
    first: String,
    second: String,
}

impl TwoActors {
    /// Puts them together.
    ///
    /// # Errors
    /// [`BooksError::SamePerson`], or a name that is none.
    pub fn new(first: impl Into<String>, second: impl Into<String>) -> Result<Self, BooksError> {
        let first = bounded("a person's name", first.into(), KEY_BYTES_MAX)?;
        let second = bounded("a person's name", second.into(), KEY_BYTES_MAX)?;
        if first == second {
            return Err(BooksError::SamePerson { actor: first });
        }
        Ok(Self { first, second })
    }

    /// Both, for people.
    pub(super) fn named(&self) -> String {
        format!("{} and {}", self.first, self.second)
    }
}

/// Freezes payouts, unless the same reason stands.
pub(super) async fn put(
    session: &mut Session,
    reason: &str,
    actor: &str,
    now_ms: i64,
) -> Result<(), CallError> {
    let standing = "SELECT id FROM freezes WHERE reason = $1 AND lifted_at_ms IS NULL";
    if session.find(standing, &values![reason]).await?.is_some() {
        return Ok(());
    }
    let insert = "INSERT INTO freezes (id, reason, actor, at_ms)
        VALUES ((SELECT coalesce(max(id), 0) + 1 FROM freezes), $1, $2, $3)";
    let values = values![reason, actor, now_ms];
    session.execute(insert, &values).await?;
    Ok(())
}

/// Refuses what is not done while payouts are frozen.
///
/// # Errors
/// [`BooksError::Frozen`].
pub(super) async fn refuse_frozen(session: &mut Session) -> Result<(), CallError> {
    match standing(session).await?.into_iter().next() {
        Some(Freeze { reason, actor, .. }) => Err(BooksError::Frozen { reason, actor }.into()),
        None => Ok(()),
    }
}

/// Those that stand, oldest first.
pub(super) async fn standing(session: &mut Session) -> Result<Vec<Freeze>, CallError> {
    let query = "SELECT reason, actor, at_ms FROM freezes WHERE lifted_at_ms IS NULL ORDER BY id";
    let rows = session.query(query, &[]).await?;
    let freeze = |row: &Row| {
        Ok(Freeze {
            reason: row.get(0)?,
            actor: row.get(1)?,
            at_ms: row.get(2)?,
        })
    };
    rows.iter().map(freeze).collect()
}

impl Books {
    /// Freezes payouts. Several freezes may stand at once; one with the same reason stands once.
    ///
    /// # Errors
    /// The books are not writable.
    pub async fn freeze(
        &self,
        reason: String,
        actor: String,
        now_ms: i64,
    ) -> Result<(), BooksError> {
        let reason = bounded("a reason", reason, TEXT_BYTES_MAX)?;
        let actor = bounded("a person's name", actor, KEY_BYTES_MAX)?;
        self.write("freeze payouts", async move |session| {
            put(session, &reason, &actor, now_ms).await
        })
        .await
    }

    /// Lifts every freeze that stands; says whether there was one.
    ///
    /// # Errors
    /// The books are not writable.
    pub async fn unfreeze(
        &self,
        actors: TwoActors,
        reason: String,
        now_ms: i64,
    ) -> Result<bool, BooksError> {
        let reason = bounded("a reason", reason, TEXT_BYTES_MAX)?;
        self.write("unfreeze payouts", async move |session| {
            let update = "UPDATE freezes SET lifted_at_ms = $1, lifted_by = $2, lifted_why = $3
                WHERE lifted_at_ms IS NULL";
            let values = values![now_ms, actors.named(), reason];
            Ok(session.execute(update, &values).await? > 0)
        })
        .await
    }

    /// The oldest freeze that stands.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn frozen(&self) -> Result<Option<Freeze>, BooksError> {
        Ok(self.freezes().await?.into_iter().next())
    }

    /// The freezes that stand, oldest first.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn freezes(&self) -> Result<Vec<Freeze>, BooksError> {
        self.read("list freezes", async |session| standing(session).await)
            .await
    }

    /// Notes that `actor` agrees to exactly these terms until `until_ms`, and gives all who do now: where two persons are
    /// needed, the first one waits here for the second. A person agrees to one set of terms about a subject at a time.
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
    ) -> Result<Vec<String>, BooksError> {
        let subject = bounded("a subject", subject, KEY_BYTES_MAX)?;
        let terms = bounded("terms", terms, TEXT_BYTES_MAX)?;
        let actor = bounded("a person's name", actor, KEY_BYTES_MAX)?;
        self.write("note a consent", async move |session| {
            let upsert = "INSERT INTO consents (subject, actor, terms, at_ms, until_ms) VALUES ($1, $2, $3, $4, $5)
                ON CONFLICT (subject, actor) DO UPDATE SET terms = excluded.terms, at_ms = excluded.at_ms,
                    until_ms = excluded.until_ms";
            let values = values![subject.as_str(), actor, terms.as_str(), now_ms, until_ms];
            session.execute(upsert, &values).await?;
            let query = "SELECT actor FROM consents WHERE subject = $1 AND terms = $2 AND until_ms > $3
                ORDER BY at_ms, actor";
            let rows = session.query(query, &values![subject, terms, now_ms]).await?;
            rows.iter().map(|row| Ok(row.get(0)?)).collect()
        })
        .await
    }

    /// Forgets all consents about a subject: what they were for is done, or given up.
    ///
    /// # Errors
    /// The books are not writable.
    pub async fn take_consents(&self, subject: String) -> Result<(), BooksError> {
        self.write("forget consents", async move |session| {
            let delete = "DELETE FROM consents WHERE subject = $1";
            session.execute(delete, &values![subject]).await?;
            Ok(())
        })
        .await
    }
}
