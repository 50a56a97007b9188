//! `hhctl doctor`: what usually goes wrong, looked at in the order in which one thing needs another.

mod checks;
mod machine;
mod money;

use super::version;
use crate::Exit;
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, State, Table};
use crate::session::Session;
use hh_ipc::api::pool::PoolStatus;
use hh_ipc::api::template_provider::TemplateProviderStatus;
use hh_ipc::api::translator::TranslatorStatus;
use hh_ipc::api::treasury::TreasuryStatus;
use hh_ipc::locate::Daemon;
use serde::Serialize;

/// One thing that was looked at.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct Check {
    name: String,
    state: State,
    /// What was seen.
    found: String,
    /// What to do about it; none where it is ok.
    fix: Option<String>,
}

impl Check {
    fn ok(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(name, State::Ok, found, None)
    }

    fn unknown(name: impl Into<String>, found: impl Into<String>) -> Self {
        Self::new(name, State::Unknown, found, None)
    }

    fn warn(name: impl Into<String>, found: impl Into<String>, fix: &str) -> Self {
        Self::new(name, State::Warn, found, Some(fix.to_owned()))
    }

    fn fail(name: impl Into<String>, found: impl Into<String>, fix: &str) -> Self {
        Self::new(name, State::Fail, found, Some(fix.to_owned()))
    }

    fn new(
        name: impl Into<String>,
        state: State,
        found: impl Into<String>,
        fix: Option<String>,
    ) -> Self {
        Self {
            name: name.into(),
            state,
            found: found.into(),
            fix,
        }
    }

    fn failure(name: impl Into<String>, failure: &Failure) -> Self {
        let found = format!("{} ({})", failure.why, failure.code);
        Self::fail(name, found, &failure.fix)
    }
}

pub(super) async fn report(session: &mut Session) -> Report {
    let mut checks = vec![context(session)];
    for daemon in Daemon::ALL {
        let name = daemon.program();
        checks.push(match version::hello(session, daemon).await {
            Ok(hello) => checks::version(name, &hello),
            Err(failure) => Check::failure(name, &failure),
        });
    }
    let tp = tp(session).await;
    let pool = pool(session).await;
    let translator = translator(session).await;
    let treasury = treasury(session).await;
    let now = session.now();
    if let Ok(tp) = &tp {
        checks.push(checks::bitcoin_core(tp));
        checks.push(checks::template_age(tp, now));
    }
    if let (Ok(tp), Ok(pool)) = (&tp, &pool) {
        checks.push(checks::height(tp, pool));
    }
    if let Ok(pool) = &pool {
        checks.push(checks::block_paths(pool));
        checks.push(checks::shares(pool));
        checks.push(checks::share_log(pool));
        checks.push(checks::ledger(pool, now));
    }
    checks.extend(translator.as_ref().ok().map(checks::upstreams));
    if let Ok(treasury) = &treasury {
        checks.extend(money::checks(treasury, now));
    }
    checks.push(checks::clock(tp.as_ref().ok(), pool.as_ref().ok(), now));
    if session.place().host.is_none() {
        checks.push(machine::clock_source().await);
        checks.extend(
            pool.as_ref()
                .ok()
                // PostgreSQL's disk may be on another machine.
                .filter(|pool| pool.ledger.path.starts_with('/'))
                .map(|pool| machine::disk(&pool.ledger.path)),
        );
    }
    let failed = checks.iter().any(|check| check.state == State::Fail);
    let mut report = Report::list("CheckList", &checks, view(&checks));
    if failed {
        report.exit = Exit::Degraded;
    }
    report
}

async fn tp(session: &mut Session) -> Result<TemplateProviderStatus, Failure> {
    let daemon = session.tp().await?;
    let answer = daemon.client.status(daemon.call()).await;
    daemon.answer(answer)
}

async fn pool(session: &mut Session) -> Result<PoolStatus, Failure> {
    let daemon = session.pool().await?;
    let answer = daemon.client.status(daemon.call()).await;
    daemon.answer(answer)
}

async fn translator(session: &mut Session) -> Result<TranslatorStatus, Failure> {
    let daemon = session.translator().await?;
    let answer = daemon.client.status(daemon.call()).await;
    daemon.answer(answer)
}

async fn treasury(session: &mut Session) -> Result<TreasuryStatus, Failure> {
    let daemon = session.treasury().await?;
    let answer = daemon.client.status(daemon.call()).await;
    daemon.answer(answer)
}

/// A context that was not found has ended the command before this.
fn context(session: &Session) -> Check {
    let place = session.place();
    let found = match &place.host {
        Some(host) => format!("daemons of {host}, over SSH"),
        None => format!(
            "{} in {}",
            place.context.name,
            place.context.runtime_dir.display()
        ),
    };
    Check::ok("context", found)
}

fn view(checks: &[Check]) -> Vec<Part> {
    let columns = ["CHECK", "STATE", "FOUND"];
    let mut table = Table::new(columns.map(Column::left).to_vec(), "");
    for check in checks {
        table.row(vec![
            check.name.as_str().into(),
            Cell::state(check.state, check.state.word()),
            check.found.as_str().into(),
        ]);
    }
    let fixes = checks.iter().filter_map(|check| {
        let fix = check.fix.as_ref()?;
        Some(format!("  {}: {fix}", check.name))
    });
    let fixes: Vec<String> = fixes.collect();
    let advice = if fixes.is_empty() {
        "nothing to fix".to_owned()
    } else {
        format!("To fix:\n{}", fixes.join("\n"))
    };
    vec![Part::Table(table), Part::Note(advice)]
}
