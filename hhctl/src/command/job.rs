//! `hhctl pool job`.

use super::link;
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::Session;
use hh_ipc::api::pool::{CurrentJob, FutureTemplate};
use jiff::Timestamp;
use serde_json::json;

pub(super) async fn current(session: &mut Session) -> Result<Report, Failure> {
    let daemon = session.pool().await?;
    let answer = daemon.client.current_job(daemon.call()).await;
    let job = daemon.granted(answer)?;
    let now = session.now();
    let mut view = vec![Part::Fields(fields(&job, now)), Part::Table(channels(&job))];
    if job.channels_behind > 0 {
        let behind = text::plural(job.channels_behind.into(), "channel");
        view.push(Part::Note(format!(
            "{behind} on a job of an earlier template"
        )));
    }
    if !job.future_templates.is_empty() {
        view.push(Part::Table(future(&job.future_templates, now)));
    }
    Ok(Report::item("Job", json!(job), view))
}

fn fields(job: &CurrentJob, now: Timestamp) -> Vec<(&'static str, Cell)> {
    let came = format!("{} ago", text::age(now, job.received_at));
    let min_ntime = Timestamp::from_second(job.min_ntime.into());
    let min_ntime = min_ntime.map_or_else(
        |_error| job.min_ntime.to_string(),
        |time| format!("{} ({time})", job.min_ntime),
    );
    vec![
        ("Job", job.job_id.to_string().into()),
        ("Template", job.template_id.to_string().into()),
        ("Template provider", provider(job, now)),
        ("Template came", came.into()),
        ("Height", job.height.to_string().into()),
        ("Previous block", job.prev_hash.as_str().into()),
        ("Bits", job.nbits.as_str().into()),
        (
            "Network difficulty",
            text::si(job.network_difficulty).into(),
        ),
        ("Earliest time", min_ntime.into()),
        ("Version", job.version.as_str().into()),
        ("Transactions", transactions(job)),
        ("Value", text::bitcoin(job.value_sat).into()),
        (
            "Merkle path",
            text::plural_of(job.merkle_path_length.into(), "hash", "hashes").into(),
        ),
    ]
}

/// Its state now, which may be another than when the template came.
fn provider(job: &CurrentJob, now: Timestamp) -> Cell {
    let link = &job.template_provider;
    let state = link::state(link);
    let since = link::words(link, now);
    let mut words = format!("{}, {since}", link.address);
    if let (Some(error), false) = (&link.last_error, state == State::Ok) {
        words += &format!(": {error}");
    }
    if job.template_connection_up {
        return Cell::state(State::Ok, words);
    }
    words +=
        "; the template came over a connection that has ended: a block goes to the nodes alone";
    Cell::state(state.max(State::Warn), words)
}

fn transactions(job: &CurrentJob) -> Cell {
    match (job.coinbase_only, job.transactions) {
        (true, _) => "none: the coinbase only".into(),
        (false, Some(count)) => text::count(count.into()).into(),
        (false, None) => Cell::state(
            State::Warn,
            "not sent by the template provider yet: a block could go by it alone",
        ),
    }
}

fn channels(job: &CurrentJob) -> Table {
    let columns = vec![Column::right("JOB"), Column::right("CHANNELS")];
    let mut table = Table::new(columns, "no channel has got a job of this template");
    for row in &job.jobs {
        table.row(vec![
            row.job_id.to_string().into(),
            text::count(row.channels.into()).into(),
        ]);
    }
    table
}

fn future(templates: &[FutureTemplate], now: Timestamp) -> Table {
    let columns = vec![
        Column::right("FUTURE TEMPLATE"),
        Column::right("HEIGHT"),
        Column::left("CAME"),
    ];
    let mut table = Table::new(columns, "");
    for template in templates {
        table.row(vec![
            template.template_id.to_string().into(),
            template.height.to_string().into(),
            text::ago(now, Some(template.received_at)).into(),
        ]);
    }
    table
}
