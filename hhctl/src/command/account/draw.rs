//! `hhctl account draw`.

use super::one;
use crate::change::Plan;
use crate::cli::DrawArgs;
use crate::command::payout;
use crate::failure::Failure;
use crate::output::{Cell, Part, Report, State, text};
use crate::session::Session;
use bitcoin::Network;
use hh_ipc::api::treasury::{DestinationKind, DrawRequest, PayoutState};
use hh_trust::payment_order::draw_text;
use serde_json::json;

pub(super) async fn plan(session: &mut Session, args: &DrawArgs) -> Result<Plan, Failure> {
    let daemon = session.treasury_control().await?;
    let account = one(&daemon, &args.name).await?;
    let answer = daemon.client.status(daemon.call()).await;
    let chain = Network::from_core_arg(&daemon.answer(answer)?.chain);
    let chain = chain.map_err(|error| Failure::payment_order(error.to_string()))?;
    let name = args.name.trim_start_matches("miner:");
    let signed_text = draw_text(chain, name, &args.invoice.text());
    let active = account.destination.as_ref();
    let key = active.filter(|active| active.kind == DestinationKind::DrawingKey);
    let key = match key {
        Some(key) => Cell::from(key.text.as_str()),
        None => Cell::state(
            State::Warn,
            "none that counts now: see `hhctl account payout-address show`",
        ),
    };
    let amount = args.invoice.amount();
    let view = vec![
        Part::Fields(vec![
            ("Account", account.name.as_str().into()),
            ("Payable", text::signed_sat(account.payable_msat).into()),
            ("Draw", amount.as_str().into()),
            ("Expires", args.invoice.expiry(session.now())),
            ("Drawing key", key),
            ("Signed text", signed_text.as_str().into()),
        ]),
        Part::Note("it is paid if the drawing key has signed this text".to_owned()),
    ];
    let item = json!({
        "name": account.name,
        "payable_msat": account.payable_msat,
        "amount_msat": args.invoice.amount_msat(),
        "invoice": args.invoice.text(),
        "signed_text": signed_text,
    });
    Ok(Plan {
        report: Report::item("DrawPlan", item, view),
        question: Some(format!("Draw {amount} from {} by this invoice", args.name)),
        typed: None,
    })
}

pub(super) async fn draw(session: &mut Session, args: &DrawArgs) -> Result<Report, Failure> {
    let daemon = session.treasury_control().await?;
    let request = DrawRequest {
        name: args.name.clone(),
        invoice: args.invoice.text(),
        signature: args.signature.clone().unwrap_or_default(),
    };
    let answer = daemon.client.draw(daemon.call(), request).await;
    let drawn = daemon.granted(answer)?;
    let note = match drawn.state {
        PayoutState::Settled => "it is paid".to_owned(),
        PayoutState::Cancelled => {
            "it was given back, and an invoice draws once: draw with a new one".to_owned()
        }
        PayoutState::WaitingForApproval => {
            format!(
                "two operators have to approve it: `hhctl payout approve {}`",
                drawn.id
            )
        }
        _ => format!("`hhctl payout show {}` tells what becomes of it", drawn.id),
    };
    let view = vec![
        Part::Fields(payout::fields(&drawn, session.now())),
        Part::Note(note),
    ];
    Ok(Report::item("Payout", json!(drawn), view))
}
