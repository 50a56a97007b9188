//! `Approval`: what a person says about exactly one payout, so that nothing larger is sent on one's word alone. And whether a
//! payout is ready to be sent for.

use hh_mining::Msat;
use std::collections::BTreeSet;

use super::error::bounded;
use super::freeze::refuse_frozen;
use super::hold::refuse_held;
use super::opening::refuse_other_destination;
use super::payout::{self, PayTo, Payout};
use super::session::{CallError, Session};
use super::value::{Row, msat, values};
use super::{Books, BooksError, KEY_BYTES_MAX, PayoutId};

/// A person's approval of exactly this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// The payout.
    pub payout: PayoutId,
    /// Who approves.
    pub actor: String,
    /// How much.
    pub amount: Msat,
    /// Where.
    pub to: PayTo,
    /// Until when it counts, milliseconds since 1970.
    pub until_ms: i64,
}

/// How many valid approvals of different persons a payout has.
async fn approvals(session: &mut Session, payout: &Payout, now_ms: i64) -> Result<u32, CallError> {
    let query = "SELECT count(*) FROM approvals
        WHERE payout = $1 AND amount_msat = $2 AND to_kind = $3 AND to_text = $4 AND until_ms > $5";
    let values = values![
        payout.id,
        msat(payout.amount)?,
        payout.to.kind.name(),
        payout.to.text.as_str(),
        now_ms,
    ];
    let row = session.find(query, &values).await?;
    Ok(row.map_or(Ok(0), |row| row.get(0))?)
}

/// Refuses what is not sent now: anything while payouts are frozen; what is held, not approved, or no longer to be paid there.
pub(super) async fn refuse_unready(
    session: &mut Session,
    payout: &Payout,
    now_ms: i64,
) -> Result<(), CallError> {
    refuse_frozen(session).await?;
    refuse_held(session, &payout.payee, Some(payout.id)).await?;
    let (found, needed) = (
        approvals(session, payout, now_ms).await?,
        payout.approvals_needed,
    );
    if found < needed {
        let payout = payout.id;
        return Err(BooksError::NotApproved {
            payout,
            found,
            needed,
        }
        .into());
    }
    let to = (&payout.payee, &payout.to);
    refuse_other_destination(session, to, payout.created_at_ms, now_ms).await
}

async fn approve(session: &mut Session, approval: Approval, now_ms: i64) -> Result<u32, CallError> {
    let payout = payout::get(session, approval.payout).await?;
    payout::refuse_ended(&payout)?;
    if (approval.amount, &approval.to) != (payout.amount, &payout.to) {
        let payout = payout.id;
        return Err(BooksError::AnotherPayout { payout }.into());
    }
    let actor = bounded("a person's name", approval.actor, KEY_BYTES_MAX)?;
    let upsert = "INSERT INTO approvals (payout, actor, amount_msat, to_kind, to_text, at_ms, until_ms)
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        ON CONFLICT (payout, actor) DO UPDATE SET amount_msat = excluded.amount_msat, to_kind = excluded.to_kind,
            to_text = excluded.to_text, at_ms = excluded.at_ms, until_ms = excluded.until_ms";
    let values = values![
        payout.id,
        actor.as_str(),
        msat(approval.amount)?,
        approval.to.kind.name(),
        approval.to.text,
        now_ms,
        approval.until_ms,
    ];
    session.execute(upsert, &values).await?;
    let what = format!("approved until {}", approval.until_ms);
    payout::note(session, payout.id, &what, &actor, now_ms).await?;
    approvals(session, &payout, now_ms).await
}

async fn strike(
    session: &mut Session,
    payout: PayoutId,
    holding: &BTreeSet<String>,
    now_ms: i64,
) -> Result<(), CallError> {
    let approvals = of(session, payout).await?;
    let gone = approvals
        .iter()
        .filter(|approval| approval.until_ms > now_ms && !holding.contains(&approval.actor));
    for Approval { actor, .. } in gone {
        let update = "UPDATE approvals SET until_ms = $3 WHERE payout = $1 AND actor = $2";
        let values = values![payout, actor.as_str(), now_ms];
        session.execute(update, &values).await?;
        let what = "approval struck out: it is no operator's any more";
        payout::note(session, payout, what, actor, now_ms).await?;
    }
    Ok(())
}

/// All approvals of a payout, oldest first.
pub(super) async fn of(
    session: &mut Session,
    payout: PayoutId,
) -> Result<Vec<Approval>, CallError> {
    let query = "SELECT actor, amount_msat, to_kind, to_text, until_ms FROM approvals
        WHERE payout = $1 ORDER BY at_ms, actor";
    let rows = session.query(query, &values![payout]).await?;
    let approval = |row: &Row| {
        Ok(Approval {
            payout,
            actor: row.get(0)?,
            amount: row.get(1)?,
            to: PayTo {
                kind: row.parse(2)?,
                text: row.get(3)?,
            },
            until_ms: row.get(4)?,
        })
    };
    rows.iter().map(approval).collect()
}

impl Books {
    /// Notes a person's approval, in the place of an earlier one of his; says how many different persons' are valid now.
    ///
    /// # Errors
    /// [`BooksError::AnotherPayout`] if it is not over the payout's amount and destination; [`BooksError::PayoutState`] if that
    /// has ended.
    pub async fn approve_payout(&self, approval: Approval, now_ms: i64) -> Result<u32, BooksError> {
        self.write("approve a payout", async move |session| {
            approve(session, approval, now_ms).await
        })
        .await
    }

    /// Ends the approvals of a payout by whoever is not among those whose word counts now.
    ///
    /// # Errors
    /// The books can't be written.
    pub async fn strike_approvals(
        &self,
        payout: PayoutId,
        holding: BTreeSet<String>,
        now_ms: i64,
    ) -> Result<(), BooksError> {
        self.write("strike approvals", async move |session| {
            strike(session, payout, &holding, now_ms).await
        })
        .await
    }
}
