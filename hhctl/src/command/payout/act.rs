//! What an operator does about one payout or one payee.

use super::{detail, fields};
use crate::change::Plan;
use crate::cli::SubmitInvoiceArgs;
use crate::command::{node, signature};
use crate::failure::Failure;
use crate::output::{Part, Report, text};
use crate::session::Session;
use bitcoin::Network;
use hh_ipc::api::treasury::{
    ApprovalDraft, ApproveRequest, CancelRequest, CloseFailedRequest, HoldRequest, Payout,
    SignedApproval, SubmitInvoiceRequest,
};
use hh_trust::operator_key::OperatorKey;
use hh_trust::statement::{Approval, Signed};
use jiff::Timestamp;
use serde_json::json;
use std::path::Path;

fn report(payout: &Payout, now: Timestamp, note: String) -> Report {
    let view = vec![Part::Fields(fields(payout, now)), Part::Note(note)];
    Report::item("Payout", json!(payout), view)
}

/// `4,200 sat to alice@wallet.example for miner:alice`.
fn words(payout: &Payout) -> String {
    format!(
        "{} to {} for {}",
        text::sat(payout.amount_msat),
        payout.destination,
        payout.payee
    )
}

pub(super) async fn retry(session: &mut Session, id: u64) -> Result<Report, Failure> {
    let daemon = session.treasury_control().await?;
    let answer = daemon.client.payout_retry(daemon.call(), id).await;
    let payout = daemon.granted(answer)?;
    let note = "it is tried again now".to_owned();
    Ok(report(&payout, session.now(), note))
}

pub(super) async fn plan_release(
    session: &mut Session,
    target: &str,
    reason: &str,
) -> Result<Plan, Failure> {
    let note = format!("would let {target} be paid again");
    let view = vec![
        Part::Fields(vec![("Held", target.into()), ("Reason", reason.into())]),
        Part::Note(note),
    ];
    // Whoever may not do it need not be asked.
    session.treasury_control().await?;
    let item = json!({ "target": target, "is_held": false, "reason": reason });
    Ok(Plan {
        report: Report::item("Hold", item, view),
        question: Some(format!("Let {target} be paid again")),
        typed: None,
    })
}

pub(super) async fn hold(
    session: &mut Session,
    target: &str,
    is_held: bool,
    reason: &str,
) -> Result<Report, Failure> {
    let daemon = session.treasury_control().await?;
    let request = HoldRequest {
        target: target.to_owned(),
        is_held,
        reason: reason.to_owned(),
    };
    let item = json!(request);
    let answer = daemon.client.payout_hold(daemon.call(), request).await;
    daemon.granted(answer)?;
    let note = if is_held {
        format!("{target} is not paid until `hhctl payout release`; what it has stays its own")
    } else {
        format!("{target} is paid again")
    };
    Ok(Report::item("Hold", item, vec![Part::Note(note)]))
}

pub(super) async fn plan_cancel(
    session: &mut Session,
    id: u64,
    reason: &str,
) -> Result<Plan, Failure> {
    let daemon = session.treasury_control().await?;
    let payout = detail(&daemon, id).await?.payout;
    let note = format!("would cancel it for: {reason}");
    Ok(Plan {
        question: Some(format!("Cancel payout {id}, {}", words(&payout))),
        report: report(&payout, session.now(), note),
        typed: None,
    })
}

pub(super) async fn cancel(
    session: &mut Session,
    id: u64,
    reason: &str,
) -> Result<Report, Failure> {
    let daemon = session.treasury_control().await?;
    let request = CancelRequest {
        id,
        reason: reason.to_owned(),
    };
    let answer = daemon.client.payout_cancel(daemon.call(), request).await;
    let payout = daemon.granted(answer)?;
    let note = format!(
        "cancelled; {} is in the balance of {} again",
        text::sat(payout.amount_msat),
        payout.payee
    );
    Ok(report(&payout, session.now(), note))
}

pub(super) async fn plan_approval(session: &mut Session, id: u64) -> Result<Plan, Failure> {
    let daemon = session.treasury_control().await?;
    let payout = detail(&daemon, id).await?.payout;
    let note = "would give your word for exactly this amount and destination".to_owned();
    Ok(Plan {
        question: Some(format!("Give your word for {}", words(&payout))),
        report: report(&payout, session.now(), note),
        typed: Some(session.place().name().to_owned()),
    })
}

/// The word is for what is there now; hh-treasury refuses it where that has changed before it arrives.
pub(super) async fn approve(
    session: &mut Session,
    id: u64,
    sign_with: Option<&Path>,
) -> Result<Report, Failure> {
    let daemon = session.treasury_control().await?;
    let payout = detail(&daemon, id).await?.payout;
    let draft = daemon.client.approval_draft(daemon.call(), id).await;
    let signed = match daemon.granted(draft)? {
        Some(draft) => Some(signed(&draft, &payout, sign_with)?),
        None => None,
    };
    let request = ApproveRequest {
        id,
        amount_msat: payout.amount_msat,
        destination: payout.destination,
        signed,
    };
    let answer = daemon.client.payout_approve(daemon.call(), request).await;
    let payout = daemon.granted(answer)?;
    let note = format!("approved by {}", payout.approvals.join(", "));
    Ok(report(&payout, session.now(), note))
}

/// Signs a draft that is about what was shown, by a key that counts.
fn signed(
    draft: &ApprovalDraft,
    payout: &Payout,
    sign_with: Option<&Path>,
) -> Result<SignedApproval, Failure> {
    let text = draft.text.clone();
    let unsigned = Signed {
        text: text.clone(),
        signatures: Vec::new(),
    };
    let approval = unsigned.unverified::<Approval>();
    let approval = approval.map_err(|error| Failure::record(error.to_string()))?;
    let said = (approval.amount_msat, &approval.destination);
    if approval.payout != payout.id.to_string() || said != (payout.amount_msat, &payout.destination)
    {
        let why = "hh-treasury has another payout to sign than the one that it shows".to_owned();
        return Err(Failure::record(why));
    }
    let keys: Vec<OperatorKey> = draft
        .keys
        .iter()
        .filter_map(|key| key.parse().ok())
        .collect();
    let signature = signature::sign::<Approval>(&text, sign_with, Some(&keys))?;
    Ok(SignedApproval { text, signature })
}

pub(super) async fn plan_close_failed(
    session: &mut Session,
    id: u64,
    reason: &str,
) -> Result<Plan, Failure> {
    let daemon = session.treasury_control().await?;
    let payout = detail(&daemon, id).await?.payout;
    let note = format!(
        "would close it as failed for: {reason}\nIt is done when two operators have asked for the same. If it is settled after all, {} is \
         the treasury's loss.",
        text::sat(payout.amount_msat)
    );
    Ok(Plan {
        question: Some(format!("Close payout {id} as failed, {}", words(&payout))),
        report: report(&payout, session.now(), note),
        typed: Some(session.place().name().to_owned()),
    })
}

pub(super) async fn close_failed(
    session: &mut Session,
    id: u64,
    reason: &str,
) -> Result<Report, Failure> {
    let daemon = session.treasury_control().await?;
    let request = CloseFailedRequest {
        id,
        reason: reason.to_owned(),
    };
    let answer = daemon.client.payout_close_failed(daemon.call(), request);
    let payout = daemon.granted(answer.await)?;
    let note = format!(
        "closed; if it is settled after all, {} is the treasury's loss",
        text::sat(payout.amount_msat)
    );
    Ok(report(&payout, session.now(), note))
}

pub(super) async fn submit_invoice(
    session: &mut Session,
    args: &SubmitInvoiceArgs,
) -> Result<Report, Failure> {
    let key = node::key::read(&args.key)?;
    let daemon = session.treasury_control().await?;
    let answer = daemon.client.status(daemon.call()).await;
    let chain = daemon.answer(answer)?.chain;
    let chain = Network::from_core_arg(&chain);
    let chain = chain.map_err(|error| Failure::payment_order(error.to_string()))?;
    let request = SubmitInvoiceRequest {
        node: args.node.to_string(),
        signature: key.sign_invoice(chain, &args.node, &args.invoice),
        invoice: args.invoice.clone(),
    };
    let answer = daemon.client.submit_invoice(daemon.call(), request).await;
    let payout = daemon.granted(answer)?;
    let note = format!("taken as payout {}", payout.id);
    Ok(report(&payout, session.now(), note))
}
