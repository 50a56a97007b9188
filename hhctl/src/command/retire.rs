//! `hhctl pool retire`.

use crate::change::Plan;
use crate::failure::Failure;
use crate::output::{Cell, Part, Report, State, text};
use crate::session::Session;
use hh_ipc::api::pool::{RetireRequest, Retired};
use jiff::Timestamp;
use serde_json::json;

pub(super) async fn plan(
    session: &mut Session,
    server_id: u16,
    lost: bool,
) -> Result<Plan, Failure> {
    let retired = call_retire(session, (server_id, lost), true).await?;
    let consequence = if retired.complete {
        "its share log ends here: the ledger has all of it".to_owned()
    } else {
        format!("shares {} are given up", not_shipped(&retired))
    };
    let note = format!(
        "would free server id {server_id}; {consequence}. {} is refused if it comes back",
        retired.pool
    );
    Ok(Plan {
        report: report(&retired, session.now(), note),
        question: Some(format!("Retire {}", retired.pool)),
        typed: Some(retired.pool),
    })
}

pub(super) async fn retire(
    session: &mut Session,
    server_id: u16,
    lost: bool,
) -> Result<Report, Failure> {
    let retired = call_retire(session, (server_id, lost), false).await?;
    let mut note = format!("retired; server id {server_id} is free for a new share log");
    if !retired.complete {
        note += &format!("; shares {} are given up", not_shipped(&retired));
    }
    Ok(report(&retired, session.now(), note))
}

async fn call_retire(
    session: &mut Session,
    (server_id, lost): (u16, bool),
    dry_run: bool,
) -> Result<Retired, Failure> {
    let daemon = session.pool_control().await?;
    let request = RetireRequest {
        server_id,
        lost,
        dry_run,
    };
    let answer = daemon.client.retire(daemon.call(), request).await;
    daemon.granted(answer)
}

/// What of a pool's shares the ledger will never have.
fn not_shipped(retired: &Retired) -> String {
    let pool = &retired.pool;
    match retired.shipped_through_at {
        Some(at) => {
            format!("that {pool} acknowledged after {at:.0}, and that only its own log may have,")
        }
        None => format!("that {pool} acknowledged, all of which only its own log may have,"),
    }
}

fn report(retired: &Retired, now: Timestamp, note: String) -> Report {
    let time = |at: Timestamp| format!("{at:.0} ({})", text::ago(now, Some(at)));
    let shipped = retired.shipped_through_at.map(time);
    let ended = if retired.complete {
        Cell::state(State::Ok, "cleanly: the ledger has all of its records")
    } else {
        Cell::state(
            State::Warn,
            "not cleanly: it may have records that the ledger has not",
        )
    };
    let fields: Vec<(&'static str, Cell)> = vec![
        ("Pool", retired.pool.as_str().into()),
        ("Server id", retired.server_id.to_string().into()),
        ("Share log", retired.epoch.as_str().into()),
        ("Claimed", time(retired.claimed_at).into()),
        ("Last record", text::count(retired.last_seq).into()),
        (
            "Shipped through",
            shipped.unwrap_or_else(|| "nothing".to_owned()).into(),
        ),
        ("Heard of", text::ago(now, Some(retired.heard_at)).into()),
        ("Stopped", ended),
    ];
    let view = vec![Part::Fields(fields), Part::Note(note)];
    Report::item("Retired", json!(retired), view)
}
