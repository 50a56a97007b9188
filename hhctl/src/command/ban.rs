//! `hhctl ban`, `hhctl miner ban` and `hhctl miner unban`.

use super::miner;
use crate::change::Plan;
use crate::cli::BanChoice;
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, Table, text};
use crate::session::Session;
use hh_ipc::api::pool::{Ban, BanRequest, BanTarget, Banned, UnbanRequest};
use jiff::Timestamp;
use serde_json::json;
use std::time::Duration;

/// What an operator wants banned.
pub(super) struct Wish<'a> {
    target: &'a BanChoice,
    length: Option<Duration>,
    reason: Option<&'a str>,
}

impl<'a> Wish<'a> {
    pub(super) fn new(
        target: &'a BanChoice,
        length: Option<Duration>,
        reason: Option<&'a str>,
    ) -> Self {
        Self {
            target,
            length,
            reason,
        }
    }
}

pub(super) async fn list(session: &mut Session) -> Result<Report, Failure> {
    let daemon = session.pool().await?;
    let answer = daemon.client.bans(daemon.call()).await;
    let page = daemon.answer(answer)?;
    let columns = vec![
        Column::left("BANNED"),
        Column::left("UNTIL"),
        Column::left("BY"),
        Column::left("SINCE"),
        Column::left("REASON"),
    ];
    let when_empty = "nobody is banned; `hhctl miner ban` keeps an address or an account out";
    let mut table = Table::new(columns, when_empty);
    let now = session.now();
    for ban in &page.bans {
        table.row(vec![
            target(&ban.target).into(),
            until(now, ban).into(),
            by(ban).into(),
            text::ago(now, Some(ban.since_at)).into(),
            ban.reason.as_str().into(),
        ]);
    }
    let mut view = vec![Part::Table(table)];
    view.extend(Part::cut(page.bans.len(), page.total, ""));
    Ok(Report::list("BanList", &page.bans, view))
}

/// What a ban would close. It is asked about in any case: whoever is kept out does not come back by itself.
pub(super) async fn plan(session: &mut Session, wish: &Wish<'_>) -> Result<Plan, Failure> {
    let banned = call_ban(session, wish, true).await?;
    let whom = target(&banned.ban.target);
    let closing = miner::ended(&banned.kicked);
    let length = length(&banned.ban);
    let question = format!("Ban {whom} {length} and close {closing}");
    let summary = format!("would ban {whom} and close {closing}");
    Ok(Plan {
        report: report(&banned, session.now(), summary),
        question: Some(question),
        typed: None,
    })
}

pub(super) async fn ban(session: &mut Session, wish: &Wish<'_>) -> Result<Report, Failure> {
    let banned = call_ban(session, wish, false).await?;
    let whom = target(&banned.ban.target);
    let summary = format!("banned {whom}; closed {}", miner::ended(&banned.kicked));
    Ok(report(&banned, session.now(), summary))
}

/// Which ban would be lifted. It is done without a question: nobody loses anything.
pub(super) async fn plan_lift(session: &mut Session, choice: &BanChoice) -> Result<Plan, Failure> {
    let ban = call_unban(session, choice, true).await?;
    let summary = format!("would lift the ban of {}", target(&ban.target));
    Ok(Plan {
        report: lifted(&ban, session.now(), summary),
        question: None,
        typed: None,
    })
}

pub(super) async fn lift(session: &mut Session, choice: &BanChoice) -> Result<Report, Failure> {
    let ban = call_unban(session, choice, false).await?;
    let summary = format!("lifted the ban of {}", target(&ban.target));
    Ok(lifted(&ban, session.now(), summary))
}

async fn call_ban(
    session: &mut Session,
    wish: &Wish<'_>,
    dry_run: bool,
) -> Result<Banned, Failure> {
    let daemon = session.pool_control().await?;
    let request = BanRequest {
        target: wire(wish.target),
        seconds: wish.length.map(|length| length.as_secs()),
        reason: wish.reason.map(str::to_owned),
        dry_run,
    };
    let answer = daemon.client.ban(daemon.call(), request).await;
    daemon.granted(answer)
}

async fn call_unban(
    session: &mut Session,
    choice: &BanChoice,
    dry_run: bool,
) -> Result<Ban, Failure> {
    let daemon = session.pool_control().await?;
    let request = UnbanRequest {
        target: wire(choice),
        dry_run,
    };
    let answer = daemon.client.unban(daemon.call(), request).await;
    daemon.granted(answer)
}

fn wire(choice: &BanChoice) -> BanTarget {
    match &choice.account {
        Some(account) => BanTarget::Account(account.clone()),
        None => BanTarget::Address(choice.address.clone().unwrap_or_default()),
    }
}

fn target(target: &BanTarget) -> String {
    match target {
        BanTarget::Address(range) => range.clone(),
        BanTarget::Account(account) => format!("account {account}"),
    }
}

fn by(ban: &Ban) -> &'static str {
    if ban.automatic { "pool" } else { "operator" }
}

fn until(now: Timestamp, ban: &Ban) -> String {
    match ban.until_at {
        Some(until) => format!("in {}", text::age(until, now)),
        None => "lifted".to_owned(),
    }
}

fn length(ban: &Ban) -> String {
    match ban.until_at {
        Some(until) => format!("for {}", text::age(until, ban.since_at)),
        None => "until the ban is lifted".to_owned(),
    }
}

fn fields(ban: &Ban, now: Timestamp) -> Vec<(&'static str, Cell)> {
    vec![
        ("Banned", target(&ban.target).into()),
        ("Until", until(now, ban).into()),
        ("By", by(ban).into()),
        ("Reason", ban.reason.as_str().into()),
    ]
}

fn report(banned: &Banned, now: Timestamp, summary: String) -> Report {
    let view = vec![
        Part::Fields(fields(&banned.ban, now)),
        Part::Table(miner::kicked_table(&banned.kicked)),
        Part::Note(summary),
    ];
    Report::item("Banned", json!(banned), view)
}

fn lifted(ban: &Ban, now: Timestamp, summary: String) -> Report {
    let view = vec![Part::Fields(fields(ban, now)), Part::Note(summary)];
    Report::item("Ban", json!(ban), view)
}
