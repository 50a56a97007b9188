//! `hhctl token`: tokens with which nodes enrol.

use crate::change::Plan;
use crate::cli::{CreateArgs, TokenCommand};
use crate::failure::Failure;
use crate::key_file;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::Session;
use hh_ipc::api::core::{CreateToken, EnrolmentToken, TokenState};
use jiff::Timestamp;
use serde_json::json;

pub(super) async fn report(
    session: &mut Session,
    command: &TokenCommand,
) -> Result<Report, Failure> {
    match command {
        TokenCommand::List => list(session).await,
        TokenCommand::Create(_) | TokenCommand::Revoke { .. } => {
            unreachable!("{}", super::NOTHING_CHANGES)
        }
    }
}

pub(super) async fn create(session: &mut Session, args: &CreateArgs) -> Result<Report, Failure> {
    let daemon = session.core_control().await?;
    let request = CreateToken {
        node: args.node.to_string(),
        valid_seconds: args.hours * 3_600,
        public: args.public,
        replace: args.replace,
    };
    let answer = daemon.client.create_token(daemon.call(), request).await;
    let issued = daemon.granted(answer)?;
    let mut json = json!(issued.token);
    let note = match &args.out {
        Some(path) => {
            key_file::replace(path, &issued.secret)?;
            let path = path.display();
            let hours = text::plural(args.hours.into(), "hour");
            format!(
                "wrote {path}: put it on the node {} within {hours}",
                args.node
            )
        }
        None => {
            json["secret"] = json!(issued.secret);
            issued.secret
        }
    };
    Ok(Report::item("EnrolmentToken", json, vec![Part::Note(note)]))
}

async fn tokens(session: &mut Session) -> Result<(Vec<EnrolmentToken>, u32), Failure> {
    let daemon = session.core().await?;
    let answer = daemon.client.tokens(daemon.call()).await;
    let page = daemon.granted(answer)?;
    Ok((page.tokens, page.total))
}

async fn list(session: &mut Session) -> Result<Report, Failure> {
    let (tokens, total) = tokens(session).await?;
    let mut view = vec![Part::Table(table(&tokens, session.now()))];
    view.extend(Part::cut(tokens.len(), total, ""));
    Ok(Report::list("EnrolmentTokenList", &tokens, view))
}

/// What would be of no use any more.
pub(super) async fn plan(session: &mut Session, id: &str) -> Result<Plan, Failure> {
    let (tokens, _) = tokens(session).await?;
    let found: Vec<EnrolmentToken> = tokens.into_iter().filter(|token| token.id == id).collect();
    let view = if found.is_empty() {
        let note = format!("the newest tokens don't have {id}: `hhctl token list` shows them");
        vec![Part::Note(note)]
    } else {
        vec![
            Part::Table(table(&found, session.now())),
            Part::Note("would let this token be of no use any more".to_owned()),
        ]
    };
    Ok(Plan {
        report: Report::list("EnrolmentTokenList", &found, view),
        question: Some(format!("Revoke the token {id}")),
        typed: None,
    })
}

pub(super) async fn revoke(session: &mut Session, id: &str) -> Result<Report, Failure> {
    let daemon = session.core_control().await?;
    let answer = daemon
        .client
        .revoke_token(daemon.call(), id.to_owned())
        .await;
    let token = daemon.granted(answer)?;
    let tokens = std::slice::from_ref(&token);
    let view = vec![Part::Table(table(tokens, session.now()))];
    Ok(Report::item("EnrolmentToken", json!(token), view))
}

fn table(tokens: &[EnrolmentToken], now: Timestamp) -> Table {
    let columns = vec![
        Column::left("TOKEN"),
        Column::left("NODE"),
        Column::left("STATE"),
        Column::left("MADE BY"),
        Column::left("MADE"),
    ];
    let mut table = Table::new(
        columns,
        "no token was made yet; `hhctl token create` makes one",
    );
    for token in tokens {
        table.row(vec![
            token.id.as_str().into(),
            token.node.as_str().into(),
            state(token, now),
            token.by.as_str().into(),
            text::ago(now, Some(token.created_at)).into(),
        ]);
    }
    table
}

fn state(token: &EnrolmentToken, now: Timestamp) -> Cell {
    match token.state {
        TokenState::Open => {
            let left = text::age(token.expires_at, now);
            Cell::state(State::Ok, format!("open for {left}"))
        }
        TokenState::Used => Cell::new(format!("used {}", text::ago(now, token.used_at))),
        TokenState::Expired => Cell::state(State::Warn, "expired"),
        TokenState::Revoked => Cell::state(State::Fail, "revoked"),
    }
}
