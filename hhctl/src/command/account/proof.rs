//! `hhctl account proof`.

use crate::command::block::recount::check_own;
use crate::command::block::signed_report::{check, hash_of};
use crate::failure::Failure;
use crate::output::{Cell, Part, Report, State, text};
use crate::session::Session;
use hh_ipc::api::pool::BlockSelector;
use hh_ipc::api::treasury::ProofRequest;
use hh_mining::AccountProof;
use hh_trust::ReportPublicKey;
use serde_json::{Value, json};

pub(super) async fn show(
    session: &mut Session,
    name: &str,
    block: &BlockSelector,
    key: Option<ReportPublicKey>,
) -> Result<Report, Failure> {
    let daemon = session.treasury().await?;
    let request = ProofRequest {
        name: name.to_owned(),
        block: hash_of(&daemon, block).await?,
    };
    let answer = daemon.client.proof(daemon.call(), request).await;
    let answer = daemon.granted(answer)?;
    let checked = check(&daemon, answer.report, key).await?;
    let failure = |why: String| Failure::report(&checked.signed.hash, why);
    let proof = AccountProof::parse(answer.proof.as_bytes());
    let proof = proof.map_err(|error| failure(error.to_string()))?;
    let proven = proof.verify(&checked.report);
    let proven = proven.map_err(|error| failure(error.to_string()))?;
    let (hash, leaf) = (&checked.signed.hash, &proven.leaf);
    let entries = check_own(&daemon, hash, &proven.account, leaf).await?;
    let text: Value =
        serde_json::from_str(&answer.proof).map_err(|error| failure(error.to_string()))?;
    let amount = text::sat(proven.leaf.amount.0);
    let finder = if proven.is_finder {
        "yes: the fees are in it"
    } else {
        "no"
    };
    let score = proven.leaf.score.0;
    let all = checked.report.score.0;
    let view = vec![Part::Fields(vec![
        ("Account", proven.account.as_str().into()),
        (
            "Block",
            format!(
                "{} at height {}",
                checked.report.block, checked.report.height
            )
            .into(),
        ),
        ("Amount", amount.into()),
        ("Score", format!("{score} of {all}").into()),
        (
            "Entries",
            Cell::state(
                State::Ok,
                format!(
                    "{} of its own, which make this score",
                    text::plural_of(entries, "entry", "entries")
                ),
            ),
        ),
        ("Finder", finder.into()),
        (
            "Proof",
            Cell::state(
                State::Ok,
                format!("leads to the report that {} has signed", checked.key),
            ),
        ),
    ])];
    let item = json!({ "proof": text, "report": checked.signed, "amount_msat": proven.leaf.amount.0, "entries": entries });
    Ok(Report::item("AccountProof", item, view))
}
