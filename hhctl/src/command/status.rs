//! `hhctl status`: everything on one screen.

use super::health::{self, Health};
use super::{block, link};
use crate::Exit;
use crate::failure::{Failure, NOT_RUNNING};
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::Session;
use hh_ipc::api::Hello;
use hh_ipc::api::pool::PoolStatus;
use hh_ipc::api::template_provider::TemplateProviderStatus;
use hh_ipc::api::translator::TranslatorStatus;
use hh_ipc::api::treasury::TreasuryStatus;
use hh_ipc::locate::Daemon;
use jiff::Timestamp;
use serde_json::{Value, json};

/// What a daemon said, or why it said nothing.
type Answer<S> = Result<(Hello, S), Failure>;

pub(super) async fn report(session: &mut Session) -> Report {
    let tp = ask_tp(session).await;
    let pool = ask_pool(session).await;
    let translator = ask_translator(session).await;
    let treasury = ask_treasury(session).await;
    let now = session.now();
    let mut rows = Rows::new(now);
    rows.add(Daemon::Tp, &tp, health::of_tp, tp_summary);
    rows.add(Daemon::Pool, &pool, health::of_pool, pool_summary);
    rows.add(
        Daemon::Translator,
        &translator,
        health::of_translator,
        translator_summary,
    );
    rows.add(
        Daemon::Treasury,
        &treasury,
        health::of_treasury,
        treasury_summary,
    );
    let place = session.place();
    let heading = match &place.host {
        Some(host) => format!("host {host}"),
        None => format!(
            "context {} ({})",
            place.context.name,
            place.context.runtime_dir.display()
        ),
    };
    let mut view = vec![Part::Note(heading), Part::Table(rows.table)];
    if let Ok((_, status)) = &pool {
        view.push(Part::Fields(network(status, now)));
    }
    if let Ok((_, status)) = &treasury {
        view.push(Part::Fields(money(status)));
    }
    let item = json!({
        "context": place.context.name,
        "host": place.host,
        "state": rows.worst,
        "tp": rows.json.remove(0),
        "pool": rows.json.remove(0),
        "translator": rows.json.remove(0),
        "treasury": rows.json.remove(0),
    });
    let mut report = Report::item("Status", item, view);
    report.exit = match (rows.failures.first(), rows.worst) {
        (Some(first), _) if rows.failures.len() == Daemon::ALL.len() => first.exit,
        (_, State::Ok | State::Warn) => Exit::Done,
        (_, State::Fail | State::Unknown) => Exit::Degraded,
    };
    report.failures = rows.failures;
    let none_runs = report
        .failures
        .iter()
        .all(|failure| failure.code == NOT_RUNNING);
    if none_runs && report.failures.len() == Daemon::ALL.len() {
        report.failures = vec![Failure::nothing_runs(session.place())];
    }
    report
}

async fn ask_tp(session: &mut Session) -> Answer<TemplateProviderStatus> {
    let daemon = session.tp().await?;
    let status = daemon.client.status(daemon.call()).await;
    Ok((daemon.hello.clone(), daemon.answer(status)?))
}

async fn ask_pool(session: &mut Session) -> Answer<PoolStatus> {
    let daemon = session.pool().await?;
    let status = daemon.client.status(daemon.call()).await;
    Ok((daemon.hello.clone(), daemon.answer(status)?))
}

async fn ask_translator(session: &mut Session) -> Answer<TranslatorStatus> {
    let daemon = session.translator().await?;
    let status = daemon.client.status(daemon.call()).await;
    Ok((daemon.hello.clone(), daemon.answer(status)?))
}

async fn ask_treasury(session: &mut Session) -> Answer<TreasuryStatus> {
    let daemon = session.treasury().await?;
    let status = daemon.client.status(daemon.call()).await;
    Ok((daemon.hello.clone(), daemon.answer(status)?))
}

/// The table of daemons, as it grows.
struct Rows {
    now: Timestamp,
    table: Table,
    json: Vec<Value>,
    failures: Vec<Failure>,
    worst: State,
}

impl Rows {
    fn new(now: Timestamp) -> Self {
        let columns = ["DAEMON", "STATE", "VERSION", "UP", "SUMMARY"];
        Self {
            now,
            table: Table::new(columns.map(Column::left).to_vec(), ""),
            json: Vec::new(),
            failures: Vec::new(),
            worst: State::Ok,
        }
    }

    fn add<S: serde::Serialize>(
        &mut self,
        daemon: Daemon,
        answer: &Answer<S>,
        health: impl Fn(&S) -> Health,
        summary: impl Fn(&S) -> String,
    ) {
        let program = daemon.program();
        match answer {
            Ok((hello, status)) => {
                let (state, reason) = health(status);
                self.worst = self.worst.max(state);
                let summary = reason.clone().unwrap_or_else(|| summary(status));
                self.table.row(vec![
                    program.into(),
                    Cell::state(state, state.word()),
                    hello.version.as_str().into(),
                    text::age(self.now, hello.started_at).into(),
                    summary.into(),
                ]);
                self.json.push(json!({
                    "state": state, "reason": reason, "hello": hello, "status": status,
                }));
            }
            Err(failure) => {
                self.worst = State::Fail;
                let state = Cell::state(State::Fail, "unreachable");
                let why = failure.why.as_str().into();
                self.table
                    .row(vec![program.into(), state, "-".into(), "-".into(), why]);
                self.json.push(Value::Null);
                self.failures.push(failure.clone());
            }
        }
    }
}

fn tp_summary(status: &TemplateProviderStatus) -> String {
    let height = status
        .active_node()
        .and_then(|node| node.height)
        .map_or_else(|| "no height".to_owned(), |h| format!("height {h}"));
    let clients = status.clients.len() as u64;
    let templates = text::plural(status.templates_total, "template");
    format!("{height}, {templates}, {}", text::plural(clients, "client"))
}

fn pool_summary(status: &PoolStatus) -> String {
    let miners = text::plural(status.channels.into(), "miner");
    let hashrate = text::hashrate(status.hashrate_10m_hs);
    let shares = text::plural(status.shares.accepted, "share");
    let blocks = text::plural(status.blocks_found, "block");
    format!("{miners}, {hashrate} (10m), {shares}, {blocks}")
}

fn translator_summary(status: &TranslatorStatus) -> String {
    let miners = text::plural(status.connections.into(), "miner");
    let shares = text::plural(status.shares.accepted, "share");
    format!(
        "{miners}, {shares}, {} in flight",
        text::count(status.shares_in_flight)
    )
}

fn treasury_summary(status: &TreasuryStatus) -> String {
    let payable = status.totals.as_ref().map(|totals| totals.payable_msat);
    let payable = payable.map_or_else(|| "not known".to_owned(), text::signed_sat);
    let open = text::plural(status.payouts_open, "open payout");
    format!("{payable} payable, {open}")
}

/// One line for the treasury, and one for Lightning.
fn money(status: &TreasuryStatus) -> Vec<(&'static str, Cell)> {
    let treasury = match &status.totals {
        Some(totals) => format!(
            "{} payable, {} immature, {} paid out",
            text::signed_sat(totals.payable_msat),
            text::signed_sat(totals.immature_msat),
            text::signed_sat(totals.paid_msat)
        ),
        None => "the books can't be read now".to_owned(),
    };
    let lightning = match &status.balances {
        Some(balances) => format!(
            "{} in channels, {} on the chain ({})",
            text::sat(balances.channels_msat),
            text::sat(balances.on_chain_spendable_msat),
            status.backend
        ),
        None => format!("{} does not answer now", status.backend),
    };
    vec![
        ("Treasury", treasury.into()),
        ("Lightning", lightning.into()),
    ]
}

fn network(status: &PoolStatus, now: Timestamp) -> Vec<(&'static str, Cell)> {
    let work = match &status.work {
        Some(work) => format!("{}, mining block {}", status.chain, work.height),
        None => format!("{}, no template yet", status.chain),
    };
    let block = match &status.last_block {
        Some(block) => format!(
            "{} found, the last at height {} {} ({}) by {}",
            text::count(status.blocks_found),
            block.height,
            text::ago(now, Some(block.found_at)),
            block::word(block.state),
            block::finder(block),
        ),
        None => "none found yet".to_owned(),
    };
    vec![
        ("Chain", work.into()),
        (
            "Hashrate 10m",
            text::hashrate(status.hashrate_10m_hs).into(),
        ),
        ("Shares", link::shares(&status.shares).into()),
        ("Blocks", block.into()),
    ]
}
