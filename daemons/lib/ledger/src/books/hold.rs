//! `Hold`: one payee or one payout for which nothing is opened or sent until an operator releases it.

use std::fmt;
use std::str::FromStr;

use super::error::bounded;
use super::session::{CallError, Session};
use super::value::{Row, values};
use super::{Books, BooksError, KEY_BYTES_MAX, Payee, PayoutId, TEXT_BYTES_MAX, payout};

/// What can be held. Displayed and parsed as `payout:ID` or as the payee.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Held {
    /// All that is owed to a payee.
    Payee(Payee),
    /// One payout.
    Payout(PayoutId),
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Payee(payee) => payee.fmt(f),
            Self::Payout(id) => write!(f, "payout:{id}"),
        }
    }
}

impl FromStr for Held {
    type Err = BooksError;

    fn from_str(text: &str) -> Result<Self, BooksError> {
        match text.split_once(':') {
            Some(("payout", id)) => {
                let id = id.parse().or(Err(BooksError::Unknown {
                    what: "payout",
                    name: text.to_owned(),
                }));
                Ok(Self::Payout(PayoutId(id?)))
            }
            _ => text.parse().map(Self::Payee),
        }
    }
}

/// A hold that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// What is held.
    pub what: Held,
    /// Why.
    pub reason: String,
    /// By whom.
    pub actor: String,
    /// Since when, milliseconds since 1970.
    pub at_ms: i64,
}

fn from_row(row: &Row) -> Result<Hold, CallError> {
    Ok(Hold {
        what: row.parse(0)?,
        reason: row.get(1)?,
        actor: row.get(2)?,
        at_ms: row.get(3)?,
    })
}

/// The holds on a payee and, if there is one yet, a payout.
pub(super) async fn on(
    session: &mut Session,
    payee: &Payee,
    payout: Option<PayoutId>,
) -> Result<Vec<Hold>, CallError> {
    let query = "SELECT subject, reason, actor, at_ms FROM holds WHERE subject IN ($1, $2) ORDER BY subject";
    let payout = payout.map(|id| Held::Payout(id).to_string());
    let values = values![payee.to_string(), payout];
    let rows = session.query(query, &values).await?;
    rows.iter().map(from_row).collect()
}

/// Refuses what is not done while a payee or a payout is held.
///
/// # Errors
/// [`BooksError::Held`].
pub(super) async fn refuse_held(
    session: &mut Session,
    payee: &Payee,
    payout: Option<PayoutId>,
) -> Result<(), CallError> {
    match on(session, payee, payout).await?.into_iter().next() {
        Some(Hold { what, reason, .. }) => Err(BooksError::Held { what, reason }.into()),
        None => Ok(()),
    }
}

impl Books {
    /// Holds a payee or a payout; a new reason takes the place of an old one.
    ///
    /// # Errors
    /// [`BooksError::NoPayout`].
    pub async fn hold(
        &self,
        what: Held,
        reason: String,
        actor: String,
        now_ms: i64,
    ) -> Result<(), BooksError> {
        let reason = bounded("a reason", reason, TEXT_BYTES_MAX)?;
        let actor = bounded("a person's name", actor, KEY_BYTES_MAX)?;
        self.write("hold a payout", async move |session| {
            match &what {
                Held::Payout(id) => {
                    let what = format!("held: {reason}");
                    payout::note(session, *id, &what, &actor, now_ms).await?;
                }
                Held::Payee(payee) => drop(payee.clone().checked()?),
            }
            let upsert = "INSERT INTO holds (subject, reason, actor, at_ms) VALUES ($1, $2, $3, $4)
                ON CONFLICT (subject) DO UPDATE SET reason = excluded.reason, actor = excluded.actor, at_ms = excluded.at_ms";
            let values = values![what.to_string(), reason, actor, now_ms];
            session.execute(upsert, &values).await?;
            Ok(())
        })
        .await
    }

    /// Releases it; says whether it was held.
    ///
    /// # Errors
    /// The books are not writable.
    pub async fn release(
        &self,
        what: Held,
        actor: String,
        now_ms: i64,
    ) -> Result<bool, BooksError> {
        let actor = bounded("a person's name", actor, KEY_BYTES_MAX)?;
        self.write("release a payout", async move |session| {
            let delete = "DELETE FROM holds WHERE subject = $1";
            let changed = session.execute(delete, &values![what.to_string()]).await?;
            if let (1.., Held::Payout(id)) = (changed, &what) {
                payout::note(session, *id, "released", &actor, now_ms).await?;
            }
            Ok(changed > 0)
        })
        .await
    }

    /// The holds that stand, oldest first.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn holds(&self) -> Result<Vec<Hold>, BooksError> {
        self.read("list holds", async |session| {
            let query = "SELECT subject, reason, actor, at_ms FROM holds ORDER BY at_ms, subject";
            let rows = session.query(query, &[]).await?;
            rows.iter().map(from_row).collect()
        })
        .await
    }
}
