//! Making an account somebody's, and setting where it is paid.

use super::{destination_words, fields, one};
use crate::change::Plan;
use crate::cli::DestinationArgs;
use crate::command::TWO_OPERATORS;
use crate::failure::Failure;
use crate::output::{Part, Report, text};
use crate::session::Session;
use bitcoin::Network;
use hh_ipc::api::treasury::{
    CancelDestinationRequest, ClaimRequest, CreateAccountRequest, Destination,
    ReplaceOwnerKeyRequest, SetDestinationRequest,
};
use hh_trust::PaymentOrder;
use serde_json::json;
use std::io::{self, Read};
use std::path::Path;

/// More than a token and a line break.
const MAX_TOKEN_BYTES: u64 = 256;

/// Nothing is lost by a name that is made: it is done without a question.
pub(super) async fn plan_create(
    session: &mut Session,
    name: &str,
    owner_key: Option<&str>,
) -> Result<Plan, Failure> {
    session.treasury_control().await?;
    let how = match owner_key {
        Some(key) => format!("would make {name} for the owner of the key {key}"),
        None => format!("would make {name}, and show the token by which its owner claims it"),
    };
    let item = json!({ "name": name, "owner_key": owner_key });
    Ok(Plan {
        report: Report::item("AccountPlan", item, vec![Part::Note(how)]),
        question: None,
        typed: None,
    })
}

pub(super) async fn create(
    session: &mut Session,
    name: &str,
    owner_key: Option<&str>,
) -> Result<Report, Failure> {
    let daemon = session.treasury_control().await?;
    let request = CreateAccountRequest {
        name: name.to_owned(),
        owner_key: owner_key.map(str::to_owned),
    };
    let answer = daemon.client.create_account(daemon.call(), request).await;
    let made = daemon.granted(answer)?;
    let view = match &made.token {
        Some(token) => vec![
            Part::Fields(vec![
                ("Account", made.name.as_str().into()),
                ("Token", token.as_str().into()),
            ]),
            Part::Note(
                "it is not shown again: give it to the account's owner, and to nobody else"
                    .to_owned(),
            ),
        ],
        None => vec![Part::Fields(vec![("Account", made.name.as_str().into())])],
    };
    Ok(Report::item("ClaimToken", json!(made), view))
}

pub(super) async fn plan_claim(
    session: &mut Session,
    name: &str,
    owner_key: &str,
) -> Result<Plan, Failure> {
    let daemon = session.treasury_control().await?;
    let account = one(&daemon, name).await?;
    let note = format!("would make it the owner's of the key {owner_key}, for good");
    let view = vec![
        Part::Fields(fields(&account, session.now())),
        Part::Note(note),
    ];
    let item = json!({ "account": account, "owner_key": owner_key });
    Ok(Plan {
        report: Report::item("ClaimPlan", item, view),
        question: Some(format!(
            "Make {name}, with {} payable, the owner's of the key {owner_key}",
            text::signed_sat(account.payable_msat)
        )),
        typed: None,
    })
}

pub(super) async fn claim(
    session: &mut Session,
    name: &str,
    token_file: &Path,
    owner_key: &str,
) -> Result<Report, Failure> {
    let token = token(token_file)?;
    let daemon = session.treasury_control().await?;
    let request = ClaimRequest {
        name: name.to_owned(),
        token,
        owner_key: owner_key.to_owned(),
    };
    let answer = daemon.client.claim(daemon.call(), request).await;
    let account = daemon.granted(answer)?;
    let view = vec![Part::Fields(fields(&account, session.now()))];
    Ok(Report::item("Account", json!(account), view))
}

fn token(file: &Path) -> Result<String, Failure> {
    let read = || -> io::Result<String> {
        let mut token = String::new();
        if file == Path::new("-") {
            let mut stdin = io::stdin().lock().take(MAX_TOKEN_BYTES);
            stdin.read_to_string(&mut token)?;
        } else {
            let file = std::fs::File::open(file)?;
            file.take(MAX_TOKEN_BYTES).read_to_string(&mut token)?;
        }
        Ok(token.trim().to_owned())
    };
    let failure = |why: String| {
        let what = format!("can't read the token {}", file.display());
        let fix = "name the file that the token of `hhctl account create` was put into".to_owned();
        Failure::key(what, why, fix)
    };
    match read() {
        Ok(token) if token.is_empty() => Err(failure("it is empty".to_owned())),
        Ok(token) => Ok(token),
        Err(error) => Err(failure(error.to_string())),
    }
}

pub(super) async fn plan_destination(
    session: &mut Session,
    args: &DestinationArgs,
) -> Result<Plan, Failure> {
    let daemon = session.treasury_control().await?;
    let account = one(&daemon, &args.name).await?;
    let answer = daemon.client.status(daemon.call()).await;
    let order = order(&daemon.answer(answer)?.chain, args)?;
    let now = session.now();
    let before = destination_words(account.destination.as_ref(), now);
    let view = vec![
        Part::Fields(vec![
            ("Account", account.name.as_str().into()),
            ("Paid to", before.into()),
            ("Then", args.destination.as_str().into()),
            ("Signed text", order.text().into()),
        ]),
        Part::Note(
            "it counts after the cooling-off period, if the owner has signed this text".to_owned(),
        ),
    ];
    let item = json!({
        "name": account.name,
        "previous": account.destination,
        "destination": args.destination,
        "seq": args.seq,
        "signed_text": order.text(),
    });
    Ok(Plan {
        report: Report::item("DestinationPlan", item, view),
        question: Some(format!("Have {} paid to {}", args.name, args.destination)),
        typed: None,
    })
}

/// What the owner has to sign, as hh-treasury will make it up too.
fn order(chain: &str, args: &DestinationArgs) -> Result<PaymentOrder, Failure> {
    let account = args.name.trim_start_matches("miner:");
    let order = Network::from_core_arg(chain)
        .map_err(|error| error.to_string())
        .and_then(|chain| {
            let (text, seq) = (&args.destination, args.seq);
            let order = PaymentOrder::new(chain, account, text, seq, args.until);
            order.map_err(|error| error.to_string())
        });
    order.map_err(Failure::payment_order)
}

pub(super) async fn set_destination(
    session: &mut Session,
    args: &DestinationArgs,
) -> Result<Report, Failure> {
    let daemon = session.treasury_control().await?;
    let request = SetDestinationRequest {
        name: args.name.clone(),
        kind: args.kind(),
        text: args.destination.clone(),
        seq: args.seq,
        until: args.until,
        signature: args.signature.clone().unwrap_or_default(),
    };
    let answer = daemon.client.set_destination(daemon.call(), request).await;
    let changed = daemon.granted(answer)?;
    let now = session.now();
    let words = |destination: Option<&Destination>| destination_words(destination, now);
    let view = vec![Part::Fields(vec![
        ("Account", changed.name.as_str().into()),
        ("Before", words(changed.previous.as_ref()).into()),
        ("Paid to", words(Some(&changed.destination)).into()),
    ])];
    Ok(Report::item("DestinationChanged", json!(changed), view))
}

pub(super) async fn plan_replace(
    session: &mut Session,
    name: &str,
    owner_key: &str,
    reason: &str,
) -> Result<Plan, Failure> {
    let daemon = session.treasury_control().await?;
    let account = one(&daemon, name).await?;
    let view = vec![
        Part::Fields(fields(&account, session.now())),
        Part::Fields(vec![
            ("New key", owner_key.into()),
            ("Reason", reason.into()),
        ]),
        Part::Note(TWO_OPERATORS.to_owned()),
    ];
    let item = json!({ "account": account, "owner_key": owner_key, "reason": reason });
    Ok(Plan {
        report: Report::item("OwnerPlan", item, view),
        question: Some(format!(
            "Give {name}, with {} payable, to the owner of the key {owner_key}",
            text::signed_sat(account.payable_msat)
        )),
        typed: Some(session.place().name().to_owned()),
    })
}

pub(super) async fn replace(
    session: &mut Session,
    name: &str,
    owner_key: &str,
    reason: &str,
) -> Result<Report, Failure> {
    let daemon = session.treasury_control().await?;
    let request = ReplaceOwnerKeyRequest {
        name: name.to_owned(),
        owner_key: owner_key.to_owned(),
        reason: reason.to_owned(),
    };
    let answer = daemon.client.replace_owner_key(daemon.call(), request);
    let account = daemon.granted(answer.await)?;
    let view = vec![Part::Fields(fields(&account, session.now()))];
    Ok(Report::item("Account", json!(account), view))
}

pub(super) async fn plan_cancel(
    session: &mut Session,
    name: &str,
    seq: u64,
    reason: &str,
) -> Result<Plan, Failure> {
    let daemon = session.treasury_control().await?;
    let account = one(&daemon, name).await?;
    let view = vec![
        Part::Fields(fields(&account, session.now())),
        Part::Fields(vec![
            ("Cancel", format!("destination no. {seq}").into()),
            ("Reason", reason.into()),
        ]),
        Part::Note(TWO_OPERATORS.to_owned()),
    ];
    let item = json!({ "account": account, "seq": seq, "reason": reason });
    Ok(Plan {
        report: Report::item("DestinationPlan", item, view),
        question: Some(format!("Cancel the destination no. {seq} of {name}")),
        typed: Some(session.place().name().to_owned()),
    })
}

pub(super) async fn cancel_destination(
    session: &mut Session,
    name: &str,
    seq: u64,
    reason: &str,
) -> Result<Report, Failure> {
    let daemon = session.treasury_control().await?;
    let request = CancelDestinationRequest {
        name: name.to_owned(),
        seq,
        reason: reason.to_owned(),
    };
    let answer = daemon.client.cancel_destination(daemon.call(), request);
    let account = daemon.granted(answer.await)?;
    let view = vec![Part::Fields(fields(&account, session.now()))];
    Ok(Report::item("Account", json!(account), view))
}
