//! `hhctl share tail`: shares as they come, until the operator or the pool ends it.
//!
//! What goes beside the shares (that some were missed, that there is none yet) is told on stderr; a program that reads JSON is
//! told of what it misses by a line of another kind.

use crate::cli::{GlobalArgs, TailArgs};
use crate::failure::Failure;
use crate::output::{Cell, Column, Output, State, Table, text};
use crate::session::Session;
use crate::{Exit, Surroundings};
use hh_ipc::api::pool::{ShareEvent, SharePage, ShareQuery};
use serde_json::{Value, json};
use std::time::Duration;

/// Most shares of an answer; the pool gives no more.
const PAGE: u32 = 500;

/// How long the pool waits for a share before it answers with none; less than a call may take.
const WAIT_MAX: Duration = Duration::from_secs(5);

/// Between two answers: a screen that changes five times a second is fast enough, and so is a pool's operator.
const PAUSE: Duration = Duration::from_millis(200);

/// Prints until something ends it.
pub(crate) async fn run(
    global: &GlobalArgs,
    args: &TailArgs,
    surroundings: &mut Surroundings,
) -> Result<Exit, Failure> {
    if global.watch.is_some() {
        return Err(Failure::watched_stream());
    }
    let mut session = Session::new(global, surroundings)?;
    let daemon = session.pool().await?;
    let wait = (global.timeout / 2).min(WAIT_MAX);
    let mut query = ShareQuery {
        cursor: None,
        max: args.last,
        wait_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
        account: args.account.clone(),
        worker: args.worker.clone(),
        lane: args.lane.clone(),
        rejected_only: args.rejected,
    };
    let mut shown = 0;
    loop {
        let answer = daemon.client.shares_since(daemon.call(), query.clone());
        let page = daemon.granted(answer.await)?;
        let mut output = Output::new(global, surroundings);
        if query.cursor.is_none() && page.shares.is_empty() {
            let waiting = if args.no_follow {
                ""
            } else {
                "; waiting for one"
            };
            output.note(&format!("no such share lately{waiting}"))?;
        }
        print(&mut output, &page, shown == 0)?;
        shown += page.shares.len();
        if args.no_follow {
            return Ok(Exit::Done);
        }
        query.cursor = Some(page.cursor);
        query.max = PAGE;
        tokio::time::sleep(PAUSE).await;
    }
}

fn print(output: &mut Output<'_>, page: &SharePage, is_first: bool) -> Result<(), Failure> {
    if page.missed > 0 {
        let records = text::plural(page.missed, "record");
        output.note(&format!(
            "fell behind: {records} of the pool were passed over (shares of all miners)"
        ))?;
        let missed = json!({ "records": page.missed });
        output.stream("Missed", &[missed], None, false)?;
    }
    if page.shares.is_empty() {
        return Ok(());
    }
    let items: Vec<Value> = page.shares.iter().map(|share| json!(share)).collect();
    output.stream("Share", &items, Some(&table(&page.shares)), is_first)
}

/// With columns as wide as most pages need, so that they stand below each other.
fn table(shares: &[ShareEvent]) -> Table {
    let columns = vec![
        Column::left("TIME (UTC)").at_least(12),
        Column::left("RESULT").at_least(20),
        Column::left("ACCOUNT").at_least(14),
        Column::left("WORKER").at_least(10),
        Column::left("NODE").at_least(6),
        Column::left("LANE").at_least(6),
        Column::right("CHANNEL").at_least(7),
        Column::right("DIFFICULTY").at_least(10),
        Column::right("OF HASH").at_least(9),
    ];
    let mut table = Table::new(columns, "");
    let or_dash = |difficulty: Option<f64>| difficulty.map_or_else(|| "-".to_owned(), text::si);
    for share in shares {
        table.row(vec![
            share.at.strftime("%H:%M:%S%.3f").to_string().into(),
            result(share),
            share.account.as_str().into(),
            share.worker.as_str().into(),
            share.node.as_str().into(),
            share.lane.as_str().into(),
            share.channel.to_string().into(),
            or_dash(share.difficulty).into(),
            or_dash(share.hash_difficulty).into(),
        ]);
    }
    table
}

fn result(share: &ShareEvent) -> Cell {
    match share.result.as_str() {
        "accepted" if share.is_block => Cell::state(State::Ok, "accepted, a block"),
        "accepted" => Cell::state(State::Ok, "accepted"),
        code => Cell::state(State::Warn, code),
    }
}
