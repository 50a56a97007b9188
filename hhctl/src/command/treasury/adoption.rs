//! Saying whose a payment of the wallet was that the books don't agree to.

use super::books;
use crate::change::Plan;
use crate::command::TWO_OPERATORS;
use crate::failure::Failure;
use crate::output::{Part, Report, text};
use crate::session::Session;
use hh_ipc::api::treasury::{AdoptForeignRequest, AdoptRequest, Unmatched};
use serde_json::json;

/// What `reconcile` shows of these payments.
async fn found(session: &mut Session, hashes: &[String]) -> Result<Vec<Unmatched>, Failure> {
    let daemon = session.treasury_control().await?;
    let answer = daemon.client.reconcile(daemon.call()).await;
    let mut unmatched = daemon.granted(answer)?.unmatched;
    unmatched.retain(|payment| hashes.contains(&payment.payment_hash));
    Ok(unmatched)
}

pub(super) async fn plan_adopt(
    session: &mut Session,
    payment_hash: &str,
    payee: &str,
    evidence: &str,
) -> Result<Plan, Failure> {
    let found = found(session, &[payment_hash.to_owned()]).await?;
    let view = vec![
        Part::Table(books::unmatched(&found, session.now())),
        Part::Fields(vec![("Paid", payee.into()), ("Evidence", evidence.into())]),
        Part::Note(TWO_OPERATORS.to_owned()),
    ];
    let item = json!({ "payments": found, "payee": payee, "evidence": evidence });
    Ok(Plan {
        report: Report::item("AdoptionPlan", item, view),
        question: Some(format!("Book this payment as paid to {payee}")),
        typed: Some(session.place().name().to_owned()),
    })
}

pub(super) async fn adopt(
    session: &mut Session,
    payment_hash: &str,
    payee: &str,
    evidence: &str,
) -> Result<Report, Failure> {
    let daemon = session.treasury_control().await?;
    let request = AdoptRequest {
        payment_hash: payment_hash.to_owned(),
        payee: payee.to_owned(),
        evidence: evidence.to_owned(),
    };
    let answer = daemon.client.adopt(daemon.call(), request).await;
    let payout = daemon.granted(answer)?;
    let view = vec![Part::Fields(vec![
        ("Payout", payout.id.to_string().into()),
        ("Payee", payout.payee.as_str().into()),
        ("Amount", text::sat(payout.amount_msat).into()),
    ])];
    Ok(Report::item("Payout", json!(payout), view))
}

pub(super) async fn plan_adopt_foreign(
    session: &mut Session,
    payment_hashes: &[String],
    evidence: &str,
) -> Result<Plan, Failure> {
    let found = found(session, payment_hashes).await?;
    let view = vec![
        Part::Table(books::unmatched(&found, session.now())),
        Part::Fields(vec![("Evidence", evidence.into())]),
        Part::Note(TWO_OPERATORS.to_owned()),
    ];
    let item = json!({ "payments": found, "evidence": evidence });
    let payments = text::plural(payment_hashes.len() as u64, "payment");
    Ok(Plan {
        report: Report::item("ForeignPlan", item, view),
        question: Some(format!("Take {payments} as paid to no payee")),
        typed: Some(session.place().name().to_owned()),
    })
}

pub(super) async fn adopt_foreign(
    session: &mut Session,
    payment_hashes: &[String],
    evidence: &str,
) -> Result<Report, Failure> {
    let daemon = session.treasury_control().await?;
    let request = AdoptForeignRequest {
        payment_hashes: payment_hashes.to_vec(),
        evidence: evidence.to_owned(),
    };
    let answer = daemon.client.adopt_foreign(daemon.call(), request).await;
    daemon.granted(answer)?;
    let payments = text::plural(payment_hashes.len() as u64, "payment");
    let view = vec![Part::Note(format!(
        "{payments} of the wallet paid no payee"
    ))];
    let item = json!({ "payment_hashes": payment_hashes, "evidence": evidence });
    Ok(Report::item("Foreign", item, view))
}
