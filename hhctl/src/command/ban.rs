//! `hhctl ban`, `hhctl miner ban` and `hhctl miner unban`: at every daemon that keeps addresses out.

use super::answers::{Answers, tell_missing};
use super::{downstream, miner};
use crate::Exit;
use crate::change::Plan;
use crate::cli::{BanChoice, Gatekeeper};
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, Table, text};
use crate::session::Session;
use hh_ipc::api::pool::{Ban, BanPage, BanRequest, BanTarget, Kicked, UnbanRequest};
use hh_ipc::api::translator::{AddressBan, BanAddress, KickedDownstreams, UnbanAddress};
use hh_ipc::locate::Daemon;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};
use std::time::Duration;

/// What an operator wants banned, or not any more.
pub(super) struct Wish<'a> {
    target: &'a BanChoice,
    only: Option<Gatekeeper>,
    length: Option<Duration>,
    reason: Option<&'a str>,
}

/// What a ban closes, or has.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Closed {
    AtPool(Kicked),
    AtTranslator(KickedDownstreams),
}

impl<'a> Wish<'a> {
    pub(super) fn new(
        target: &'a BanChoice,
        length: Option<Duration>,
        reason: Option<&'a str>,
        only: Option<Gatekeeper>,
    ) -> Self {
        Self {
            target,
            only,
            length,
            reason,
        }
    }

    /// Accounts are hh-pool's to keep out, whatever they come through.
    fn gatekeepers(&self) -> Vec<Gatekeeper> {
        match (self.only, &self.target.account) {
            (_, Some(_)) => vec![Gatekeeper::Pool],
            (only, None) => gatekeepers(only),
        }
    }

    fn target(&self) -> BanTarget {
        match &self.target.account {
            Some(account) => BanTarget::Account(account.clone()),
            None => BanTarget::Address(self.address()),
        }
    }

    fn address(&self) -> String {
        self.target.address.clone().unwrap_or_default()
    }
}

fn gatekeepers(only: Option<Gatekeeper>) -> Vec<Gatekeeper> {
    only.map_or_else(|| Gatekeeper::ALL.to_vec(), |one| vec![one])
}

pub(super) async fn list(
    session: &mut Session,
    only: Option<Gatekeeper>,
) -> Result<Report, Failure> {
    let mut answers = Answers::none();
    for keeper in gatekeepers(only) {
        let page = match keeper {
            Gatekeeper::Pool => bans_of_pool(session).await,
            Gatekeeper::Translator => bans_of_translator(session).await,
        };
        answers.add(keeper.daemon(), page);
    }
    let answers = answers.or_failure()?;
    let total = answers.given.iter().map(|(_, page)| page.total).sum();
    let pages = answers.given.into_iter();
    let rows = pages.flat_map(|(daemon, page)| page.bans.into_iter().map(move |ban| (daemon, ban)));
    let mut bans: Vec<(Daemon, Ban)> = rows.collect();
    bans.sort_by_key(|(_, ban)| std::cmp::Reverse(ban.since_at));
    let mut view = vec![Part::Table(table(&bans, session.now()))];
    view.extend(Part::cut(bans.len(), total, ""));
    let items: Vec<Value> = bans
        .iter()
        .map(|(daemon, ban)| item(*daemon, ban))
        .collect();
    let mut report = Report::list("BanList", &items, view);
    tell_missing(&mut report, answers.failures);
    Ok(report)
}

async fn bans_of_pool(session: &mut Session) -> Result<BanPage, Failure> {
    let daemon = session.pool().await?;
    let answer = daemon.client.bans(daemon.call()).await;
    daemon.answer(answer)
}

async fn bans_of_translator(session: &mut Session) -> Result<BanPage, Failure> {
    let daemon = session.translator().await?;
    let answer = daemon.client.bans(daemon.call()).await;
    let page = daemon.answer(answer)?;
    Ok(BanPage {
        bans: page.bans.into_iter().map(of_address).collect(),
        total: page.total,
    })
}

/// A ban of hh-translator in the words of hh-pool.
fn of_address(ban: AddressBan) -> Ban {
    Ban {
        target: BanTarget::Address(ban.address),
        reason: ban.reason,
        automatic: ban.automatic,
        since_at: ban.since_at,
        until_at: ban.until_at,
    }
}

fn item(daemon: Daemon, ban: &Ban) -> Value {
    let mut item = json!(ban);
    item["daemon"] = daemon.program().into();
    item
}

fn table(bans: &[(Daemon, Ban)], now: Timestamp) -> Table {
    let columns = vec![
        Column::left("BANNED"),
        Column::left("AT"),
        Column::left("UNTIL"),
        Column::left("BY"),
        Column::left("SINCE"),
        Column::left("REASON"),
    ];
    let when_empty = "nobody is banned; `hhctl miner ban` keeps an address or an account out";
    let mut table = Table::new(columns, when_empty);
    for (daemon, ban) in bans {
        table.row(vec![
            target(&ban.target).into(),
            daemon.program().into(),
            until(now, ban).into(),
            by(ban).into(),
            text::ago(now, Some(ban.since_at)).into(),
            ban.reason.as_str().into(),
        ]);
    }
    table
}

/// What a ban would close. It is asked about in any case: whoever is kept out does not come back by itself.
pub(super) async fn plan(session: &mut Session, wish: &Wish<'_>) -> Result<Plan, Failure> {
    let answers = ban_everywhere(session, wish, true).await?;
    let (_, (ban, _)) = &answers.given[0];
    let (whom, closing) = (target(&ban.target), closing(&answers.given));
    let question = format!("Ban {whom} {} and close {closing}", length(ban));
    let summary = format!("would ban {whom} and close {closing}");
    Ok(Plan {
        report: banned_report(answers, session.now(), summary),
        question: Some(question),
        typed: None,
    })
}

pub(super) async fn ban(session: &mut Session, wish: &Wish<'_>) -> Result<Report, Failure> {
    let answers = ban_everywhere(session, wish, false).await?;
    let (_, (ban, _)) = &answers.given[0];
    let summary = format!(
        "banned {}; closed {}",
        target(&ban.target),
        closing(&answers.given)
    );
    Ok(banned_report(answers, session.now(), summary))
}

/// At every daemon that is meant; one answer at least.
async fn ban_everywhere(
    session: &mut Session,
    wish: &Wish<'_>,
    dry_run: bool,
) -> Result<Answers<(Ban, Closed)>, Failure> {
    let mut answers = Answers::none();
    for keeper in wish.gatekeepers() {
        let banned = match keeper {
            Gatekeeper::Pool => ban_at_pool(session, wish, dry_run).await,
            Gatekeeper::Translator => ban_at_translator(session, wish, dry_run).await,
        };
        answers.add(keeper.daemon(), banned);
    }
    answers.or_failure()
}

async fn ban_at_pool(
    session: &mut Session,
    wish: &Wish<'_>,
    dry_run: bool,
) -> Result<(Ban, Closed), Failure> {
    let daemon = session.pool_control().await?;
    let request = BanRequest {
        target: wish.target(),
        seconds: wish.length.map(|length| length.as_secs()),
        reason: wish.reason.map(str::to_owned),
        dry_run,
    };
    let answer = daemon.client.ban(daemon.call(), request).await;
    let banned = daemon.granted(answer)?;
    Ok((banned.ban, Closed::AtPool(banned.kicked)))
}

async fn ban_at_translator(
    session: &mut Session,
    wish: &Wish<'_>,
    dry_run: bool,
) -> Result<(Ban, Closed), Failure> {
    let daemon = session.translator_control().await?;
    let request = BanAddress {
        address: wish.address(),
        seconds: wish.length.map(|length| length.as_secs()),
        reason: wish.reason.map(str::to_owned),
        dry_run,
    };
    let answer = daemon.client.ban(daemon.call(), request).await;
    let banned = daemon.granted(answer)?;
    Ok((of_address(banned.ban), Closed::AtTranslator(banned.kicked)))
}

/// Which ban would be lifted. It is done without a question: nobody loses anything.
pub(super) async fn plan_lift(session: &mut Session, wish: &Wish<'_>) -> Result<Plan, Failure> {
    let lifted = lift_everywhere(session, wish, true).await?;
    Ok(Plan {
        report: lifted_report(lifted, session.now(), "would lift"),
        question: None,
        typed: None,
    })
}

pub(super) async fn lift(session: &mut Session, wish: &Wish<'_>) -> Result<Report, Failure> {
    let lifted = lift_everywhere(session, wish, false).await?;
    Ok(lifted_report(lifted, session.now(), "lifted"))
}

/// Wherever it holds; at one daemon at least.
async fn lift_everywhere(
    session: &mut Session,
    wish: &Wish<'_>,
    dry_run: bool,
) -> Result<Answers<Ban>, Failure> {
    let mut answers = Answers::none();
    for keeper in wish.gatekeepers() {
        let lifted = match keeper {
            Gatekeeper::Pool => lift_at_pool(session, wish, dry_run).await,
            Gatekeeper::Translator => lift_at_translator(session, wish, dry_run).await,
        };
        answers.add(keeper.daemon(), lifted);
    }
    // One that was not reached may have it.
    answers
        .failures
        .sort_by_key(|failure| failure.exit == Exit::NotFound);
    let mut answers = answers.or_failure()?;
    // The other one did not have it: nothing is left to do there.
    answers
        .failures
        .retain(|failure| failure.exit != Exit::NotFound);
    Ok(answers)
}

async fn lift_at_pool(
    session: &mut Session,
    wish: &Wish<'_>,
    dry_run: bool,
) -> Result<Ban, Failure> {
    let daemon = session.pool_control().await?;
    let request = UnbanRequest {
        target: wish.target(),
        dry_run,
    };
    let answer = daemon.client.unban(daemon.call(), request).await;
    daemon.granted(answer)
}

async fn lift_at_translator(
    session: &mut Session,
    wish: &Wish<'_>,
    dry_run: bool,
) -> Result<Ban, Failure> {
    let daemon = session.translator_control().await?;
    let request = UnbanAddress {
        address: wish.address(),
        dry_run,
    };
    let answer = daemon.client.unban(daemon.call(), request).await;
    daemon.granted(answer).map(of_address)
}

fn target(target: &BanTarget) -> String {
    match target {
        BanTarget::Address(range) => range.clone(),
        BanTarget::Account(account) => format!("account {account}"),
    }
}

fn by(ban: &Ban) -> &'static str {
    if ban.automatic { "conduct" } else { "operator" }
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

/// `1 connection and 1 channel at hh-pool, 3 connections at hh-translator`.
fn closing(given: &[(Daemon, (Ban, Closed))]) -> String {
    let parts = given.iter().map(|(daemon, (_, closed))| {
        let ended = match closed {
            Closed::AtPool(kicked) => miner::ended(kicked),
            Closed::AtTranslator(kicked) => downstream::connections(kicked),
        };
        format!("{ended} at {}", daemon.program())
    });
    parts.collect::<Vec<_>>().join(", ")
}

fn fields(ban: &Ban, now: Timestamp) -> Vec<(&'static str, Cell)> {
    vec![
        ("Banned", target(&ban.target).into()),
        ("Until", until(now, ban).into()),
        ("By", by(ban).into()),
        ("Reason", ban.reason.as_str().into()),
    ]
}

fn banned_report(answers: Answers<(Ban, Closed)>, now: Timestamp, summary: String) -> Report {
    let (_, (ban, _)) = &answers.given[0];
    let mut view = vec![Part::Fields(fields(ban, now))];
    for (daemon, (_, closed)) in &answers.given {
        let program = daemon.program();
        view.push(Part::Table(match closed {
            Closed::AtPool(kicked) => miner::kicked_table(kicked),
            Closed::AtTranslator(kicked) => {
                let nobody = format!("no miner of {program} is meant");
                downstream::table(&kicked.miners, now, nobody)
            }
        }));
    }
    view.push(Part::Note(summary));
    let items = answers.given.iter().map(
        |(daemon, (ban, closed))| json!({"daemon": daemon.program(), "ban": ban, "kicked": closed}),
    );
    let items: Vec<Value> = items.collect();
    let mut report = Report::list("BannedList", &items, view);
    tell_missing(&mut report, answers.failures);
    report
}

fn lifted_report(answers: Answers<Ban>, now: Timestamp, what: &str) -> Report {
    let (_, ban) = &answers.given[0];
    let places: Vec<&str> = answers
        .given
        .iter()
        .map(|(daemon, _)| daemon.program())
        .collect();
    let summary = format!(
        "{what} the ban of {} at {}",
        target(&ban.target),
        places.join(" and ")
    );
    let view = vec![Part::Fields(fields(ban, now)), Part::Note(summary)];
    let items: Vec<Value> = answers
        .given
        .iter()
        .map(|(daemon, ban)| item(*daemon, ban))
        .collect();
    let mut report = Report::list("BanList", &items, view);
    tell_missing(&mut report, answers.failures);
    report
}
