//! `hhctl ln payment track`.

use crate::Exit;
use crate::command::payout;
use crate::failure::Failure;
use crate::output::{Cell, Part, Report, State, text};
use crate::session::Session;
use hh_ipc::api::treasury::{PaymentTrack, WalletSight, WalletSightState};
use serde_json::json;

pub(super) async fn show(session: &mut Session, payment_hash: &str) -> Result<Report, Failure> {
    let daemon = session.treasury().await?;
    let answer = daemon
        .client
        .payment(daemon.call(), payment_hash.to_owned());
    let track = daemon.granted(answer.await)?;
    let is_known = track.payout.is_some() || track.wallet.state != WalletSightState::Absent;
    let mut report = Report::item("PaymentTrack", json!(track), view(&track, session));
    if !is_known {
        report.exit = Exit::NotFound;
    }
    Ok(report)
}

fn view(track: &PaymentTrack, session: &Session) -> Vec<Part> {
    let now = session.now();
    let mut fields = vec![
        ("Payment", Cell::from(track.payment_hash.as_str())),
        ("Wallet", sight(&track.wallet)),
    ];
    let Some(detail) = &track.payout else {
        let words =
            "don't know it; `hhctl treasury reconcile` lists what the wallet paid beside them";
        fields.push(("Books", Cell::state(State::Warn, words)));
        return vec![Part::Fields(fields)];
    };
    vec![
        Part::Fields(fields),
        Part::Fields(payout::fields(&detail.payout, now)),
        Part::Table(payout::attempts(&detail.attempts, now)),
        Part::Table(payout::history(&detail.history)),
    ]
}

fn sight(wallet: &WalletSight) -> Cell {
    let (mark, word) = match wallet.state {
        WalletSightState::Settled => (State::Ok, "settled"),
        WalletSightState::InFlight => (State::Unknown, "in flight"),
        WalletSightState::Failed => (State::Fail, "failed"),
        WalletSightState::Absent => (State::Unknown, "has never sent it"),
        WalletSightState::Unclear => (State::Warn, "does not know it, and may have sent it"),
        WalletSightState::NoAnswer => (State::Warn, "does not answer"),
    };
    let mut words = word.to_owned();
    if let Some(fee) = wallet.fee_msat {
        words += &format!(", for a fee of {}", text::sat(fee));
    }
    if let Some(note) = &wallet.note {
        words += &format!(": {note}");
    }
    Cell::state(mark, words)
}
