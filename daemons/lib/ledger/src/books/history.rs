//! `HistoryLine`: one line for each transition of a payout and of its attempts. Lines are only added.

use super::session::{CallError, Session};
use super::value::{Row, values};
use super::{AttemptId, PayoutId};

/// Something that happened to a payout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryLine {
    /// When, milliseconds since 1970.
    pub at_ms: i64,
    /// The attempt that it happened to, if it was one.
    pub attempt: Option<AttemptId>,
    /// The state that the payout, or the attempt, was in from then on.
    pub state: String,
    /// What happened.
    pub what: String,
    /// The person who did it, if one did.
    pub actor: Option<String>,
}

/// Adds a line.
pub(super) async fn add(
    session: &mut Session,
    payout: PayoutId,
    line: HistoryLine,
) -> Result<(), CallError> {
    let insert = "INSERT INTO payout_history (payout, seq, at_ms, attempt, state, what, actor) VALUES
        ($1, (SELECT coalesce(max(seq), 0) + 1 FROM payout_history WHERE payout = $1), $2, $3, $4, $5, $6)";
    let values = values![
        payout,
        line.at_ms,
        line.attempt,
        line.state,
        line.what,
        line.actor,
    ];
    session.execute(insert, &values).await?;
    Ok(())
}

/// The lines of a payout, oldest first.
pub(super) async fn of(
    session: &mut Session,
    payout: PayoutId,
) -> Result<Vec<HistoryLine>, CallError> {
    let query = "SELECT at_ms, attempt, state, what, actor FROM payout_history WHERE payout = $1 ORDER BY seq";
    let rows = session.query(query, &values![payout]).await?;
    let line = |row: &Row| {
        Ok(HistoryLine {
            at_ms: row.get(0)?,
            attempt: row.get(1)?,
            state: row.get(2)?,
            what: row.get(3)?,
            actor: row.get(4)?,
        })
    };
    rows.iter().map(line).collect()
}
