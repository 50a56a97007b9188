//! `hhctl api-token`: tokens with which people and programs call core's REST interface.

use crate::change::Plan;
use crate::cli::{ApiTokenCommand, CreateApiTokenArgs};
use crate::failure::Failure;
use crate::key_file;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::Session;
use hh_ipc::api::core::{ApiToken, ApiTokenState, CreateApiToken};
use jiff::Timestamp;
use serde_json::json;

pub(super) async fn report(
    session: &mut Session,
    command: &ApiTokenCommand,
) -> Result<Report, Failure> {
    match command {
        ApiTokenCommand::Create(args) => create(session, args).await,
        ApiTokenCommand::List => list(session).await,
        ApiTokenCommand::Revoke { .. } => unreachable!("run() has what changes something planned"),
    }
}

async fn create(session: &mut Session, args: &CreateApiTokenArgs) -> Result<Report, Failure> {
    let daemon = session.core_control().await?;
    let request = CreateApiToken {
        name: args.name.clone(),
        role: args.role.into(),
        read_only: args.read_only,
        nodes: args.nodes.clone(),
        accounts: args.accounts.clone(),
        valid_days: args.days,
    };
    let answer = daemon.client.create_api_token(daemon.call(), request).await;
    let issued = daemon.granted(answer)?;
    let mut json = json!(issued.token);
    let note = match &args.out {
        Some(path) => {
            key_file::replace(path, &issued.secret)?;
            format!("wrote {}, for {} alone to read", path.display(), args.name)
        }
        None => {
            json["secret"] = json!(issued.secret);
            issued.secret
        }
    };
    Ok(Report::item("ApiToken", json, vec![Part::Note(note)]))
}

async fn tokens(session: &mut Session) -> Result<(Vec<ApiToken>, u32), Failure> {
    let daemon = session.core().await?;
    let answer = daemon.client.api_tokens(daemon.call()).await;
    let page = daemon.granted(answer)?;
    Ok((page.tokens, page.total))
}

async fn list(session: &mut Session) -> Result<Report, Failure> {
    let (tokens, total) = tokens(session).await?;
    let mut view = vec![Part::Table(table(&tokens, session.now()))];
    view.extend(Part::cut(tokens.len(), total, ""));
    Ok(Report::list("ApiTokenList", &tokens, view))
}

/// What would be of no use any more.
pub(super) async fn plan(session: &mut Session, id: &str) -> Result<Plan, Failure> {
    let (tokens, _) = tokens(session).await?;
    let found: Vec<ApiToken> = tokens.into_iter().filter(|token| token.id == id).collect();
    let view = if found.is_empty() {
        let note = format!("the newest tokens don't have {id}: `hhctl api-token list` shows them");
        vec![Part::Note(note)]
    } else {
        vec![
            Part::Table(table(&found, session.now())),
            Part::Note("would let this token be of no use any more".to_owned()),
        ]
    };
    Ok(Plan {
        report: Report::list("ApiTokenList", &found, view),
        question: Some(format!("Revoke the token {id}")),
        typed: None,
    })
}

pub(super) async fn revoke(session: &mut Session, id: &str) -> Result<Report, Failure> {
    let daemon = session.core_control().await?;
    let answer = daemon
        .client
        .revoke_api_token(daemon.call(), id.to_owned())
        .await;
    let token = daemon.granted(answer)?;
    let tokens = std::slice::from_ref(&token);
    let view = vec![Part::Table(table(tokens, session.now()))];
    Ok(Report::item("ApiToken", json!(token), view))
}

fn table(tokens: &[ApiToken], now: Timestamp) -> Table {
    let columns = vec![
        Column::left("TOKEN"),
        Column::left("NAME"),
        Column::left("ROLE"),
        Column::left("OF"),
        Column::left("STATE"),
        Column::left("MADE BY"),
        Column::left("MADE"),
    ];
    let mut table = Table::new(
        columns,
        "no token was made yet; `hhctl api-token create` makes one",
    );
    for token in tokens {
        let of = [token.nodes.as_slice(), &token.accounts].concat();
        table.row(vec![
            token.id.as_str().into(),
            token.name.as_str().into(),
            role(token).into(),
            of.join(" ").into(),
            state(token, now),
            token.by.as_str().into(),
            text::ago(now, Some(token.created_at)).into(),
        ]);
    }
    table
}

fn role(token: &ApiToken) -> String {
    match token.read_only {
        true => format!("{}, reading", token.role),
        false => token.role.to_string(),
    }
}

fn state(token: &ApiToken, now: Timestamp) -> Cell {
    match token.state {
        ApiTokenState::Active => {
            let left = text::age(token.expires_at, now);
            Cell::state(State::Ok, format!("holds for {left}"))
        }
        ApiTokenState::Expired => Cell::state(State::Warn, "expired"),
        ApiTokenState::Revoked => Cell::state(State::Fail, "revoked"),
    }
}
