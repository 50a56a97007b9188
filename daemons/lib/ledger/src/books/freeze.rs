//! `Freeze`: no payout is opened and nothing is sent while one stands.

use super::error::bounded;
use super::session::{CallError, Session};
use super::value::{Row, values};
use super::{Books, BooksError, KEY_BYTES_MAX, TEXT_BYTES_MAX, TwoActors};

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

    /// Lifts every freeze that stands, and uses the two persons' word up; says whether there was one.
    ///
    /// # Errors
    /// [`BooksError::NotAgreed`].
    pub async fn unfreeze(
        &self,
        actors: TwoActors,
        reason: String,
        now_ms: i64,
    ) -> Result<bool, BooksError> {
        let reason = bounded("a reason", reason, TEXT_BYTES_MAX)?;
        self.write("unfreeze payouts", async move |session| {
            actors.take(session, now_ms).await?;
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
}
