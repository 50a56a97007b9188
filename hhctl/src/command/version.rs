//! `hhctl version`.

use crate::Exit;
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::Session;
use hh_ipc::api::Hello;
use hh_ipc::locate::Daemon;
use serde_json::{Value, json};

/// Of this program.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

fn own_item() -> Value {
    json!({"program": "hhctl", "version": VERSION, "protocol": hh_ipc::PROTOCOL})
}

pub(super) fn own() -> Report {
    let view = vec![Part::Note(format!("hhctl {VERSION}"))];
    Report::list("VersionList", &[own_item()], view)
}

pub(super) async fn of_all(session: &mut Session) -> Report {
    let columns = ["PROGRAM", "VERSION", "PROTOCOL", "UP", "PID"];
    let mut table = Table::new(columns.map(Column::left).to_vec(), "");
    let protocol = hh_ipc::PROTOCOL.to_string();
    table.row(vec![
        "hhctl".into(),
        VERSION.into(),
        protocol.into(),
        "-".into(),
        "-".into(),
    ]);
    let mut items = vec![own_item()];
    let mut failures = Vec::new();
    for daemon in Daemon::ALL {
        match hello(session, daemon).await {
            Ok(hello) => {
                table.row(row(&hello, session));
                items.push(json!({
                    "program": hello.daemon,
                    "version": hello.version,
                    "protocol": hello.protocol,
                    "pid": hello.pid,
                    "started_at": hello.started_at,
                }));
            }
            Err(failure) => {
                let state = Cell::state(State::Fail, "unreachable");
                table.row(vec![
                    daemon.program().into(),
                    state,
                    "-".into(),
                    "-".into(),
                    "-".into(),
                ]);
                failures.push(failure);
            }
        }
    }
    let mut report = Report::list("VersionList", &items, vec![Part::Table(table)]);
    report.exit = match failures.first() {
        None => Exit::Done,
        Some(first) if failures.len() == Daemon::ALL.len() => first.exit,
        Some(_) => Exit::Partial,
    };
    report.failures = failures;
    report
}

fn row(hello: &Hello, session: &Session) -> Vec<Cell> {
    let version = if hello.version == VERSION {
        Cell::new(&hello.version)
    } else {
        Cell::state(State::Warn, format!("{} (not {VERSION})", hello.version))
    };
    vec![
        hello.daemon.as_str().into(),
        version,
        hello.protocol.to_string().into(),
        text::age(session.now(), hello.started_at).into(),
        hello.pid.to_string().into(),
    ]
}

/// Who answers on a daemon's socket.
pub(super) async fn hello(session: &mut Session, daemon: Daemon) -> Result<Hello, Failure> {
    Ok(match daemon {
        Daemon::Tp => session.tp().await?.hello,
        Daemon::Pool => session.pool().await?.hello,
        Daemon::Translator => session.translator().await?.hello,
        Daemon::Treasury => session.treasury().await?.hello,
        Daemon::Core => session.core().await?.hello,
        Daemon::NodeAgent => session.node_agent().await?.hello,
    })
}
