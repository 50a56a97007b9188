//! `hhctl treasury limits`.

use crate::failure::Failure;
use crate::output::{Cell, Part, Report, State, text};
use crate::session::Session;
use hh_ipc::api::treasury::Limits;
use jiff::Timestamp;
use serde_json::json;

pub(super) async fn report(session: &mut Session) -> Result<Report, Failure> {
    let daemon = session.treasury().await?;
    let answer = daemon.client.limits(daemon.call()).await;
    let limits = daemon.granted(answer)?;
    let view = vec![Part::Fields(fields(&limits, session.now()))];
    Ok(Report::item("Limits", json!(limits), view))
}

fn fields(limits: &Limits, now: Timestamp) -> Vec<(&'static str, Cell)> {
    let fee = format!(
        "{} and {} parts per million of the amount",
        text::sat(limits.max_fee_base_msat),
        text::count(limits.max_fee_ppm.into())
    );
    vec![
        ("Minimum payout", text::sat(limits.minimum_msat).into()),
        ("Largest payout", text::sat(limits.max_payout_msat).into()),
        (
            "Two operators",
            format!("above {}", text::sat(limits.approval_above_msat)).into(),
        ),
        (
            "Each payee",
            format!(
                "at most every {}",
                text::long_time(seconds(limits.interval_seconds))
            )
            .into(),
        ),
        ("In 24 hours", text::sat(limits.max_day_msat).into()),
        ("Used of it", used(limits, now)),
        ("Left of it", text::sat(limits.left_day_msat).into()),
        ("Routing fee", fee.into()),
        (
            "Locked for",
            format!(
                "at most {}",
                text::plural(limits.cltv_limit_blocks.into(), "block")
            )
            .into(),
        ),
        (
            "Cooling off",
            text::long_time(seconds(limits.cooling_off_seconds)).into(),
        ),
        (
            "Stays on the chain",
            text::sat(limits.channel_reserve_sat.saturating_mul(1_000)).into(),
        ),
    ]
}

/// What counts today, and when it counts no more.
fn used(limits: &Limits, now: Timestamp) -> Cell {
    let used = text::sat(limits.used_day_msat);
    let (Some(frees), Some(resets)) = (limits.day_frees_at, limits.day_resets_at) else {
        return used.into();
    };
    let words = format!(
        "{used} with fees; some is free again in {}, all in {}",
        text::age(frees, now),
        text::age(resets, now)
    );
    // Not even one more of the largest.
    if limits.left_day_msat < limits.max_payout_msat {
        Cell::state(State::Warn, words)
    } else {
        words.into()
    }
}

/// A configured time: of years at most.
fn seconds(seconds: u64) -> f64 {
    f64::from(u32::try_from(seconds).unwrap_or(u32::MAX))
}
