//! `hhctl block`.

use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::Session;
use hh_ipc::api::pool::{Block, BlockSelector, BlockState, SubmissionPath};
use jiff::Timestamp;
use serde_json::json;

pub(super) async fn list(session: &mut Session, limit: u32) -> Result<Report, Failure> {
    let daemon = session.pool().await?;
    let answer = daemon.client.blocks(daemon.call(), limit).await;
    let blocks = daemon.granted(answer)?;
    let when_empty = if blocks.is_empty() {
        // The chance of a block is no more than a hint: a pool that can't be asked for it just has none.
        let status = daemon.client.status(daemon.call()).await;
        let status = daemon.answer(status)?;
        let difficulty = status.work.as_ref().map(|work| work.network_difficulty);
        no_blocks(status.hashrate_10m_hs, difficulty)
    } else {
        String::new()
    };
    let view = vec![Part::Table(table(&blocks, session.now(), &when_empty))];
    Ok(Report::list("BlockList", &blocks, view))
}

pub(super) async fn show(
    session: &mut Session,
    selector: BlockSelector,
) -> Result<Report, Failure> {
    let daemon = session.pool().await?;
    let answer = daemon.client.block(daemon.call(), selector).await;
    let block = daemon.granted(answer)?;
    let now = session.now();
    let view = vec![
        Part::Fields(fields(&block, now)),
        Part::Table(paths(&block.paths, now)),
    ];
    Ok(Report::item("Block", json!(block), view))
}

fn fields(block: &Block, now: Timestamp) -> Vec<(&'static str, Cell)> {
    let found = format!(
        "{:.0} ({})",
        block.found_at,
        text::ago(now, Some(block.found_at))
    );
    vec![
        ("Block", format!("{} {}", block.height, block.hash).into()),
        ("State", state(block)),
        ("Confirmations", confirmations(block).into()),
        ("Found", found.into()),
        ("Finder", finder(block).into()),
        (
            "Node, lane",
            format!("{}, {}", block.node, block.lane).into(),
        ),
        (
            "Value",
            format!("{} sat", text::count(block.value_sat)).into(),
        ),
    ]
}

fn paths(paths: &[SubmissionPath], now: Timestamp) -> Table {
    let columns = vec![
        Column::left("PATH"),
        Column::left("OUTCOME"),
        Column::left("WHEN"),
    ];
    let mut table = Table::new(columns, "no way to Bitcoin Core has answered yet");
    for path in paths {
        table.row(vec![
            path.path.as_str().into(),
            path.outcome.as_str().into(),
            text::ago(now, Some(path.at)).into(),
        ]);
    }
    table
}

fn confirmations(block: &Block) -> String {
    let count = block.confirmations;
    count.map_or_else(|| "-".to_owned(), |count| text::count(count.into()))
}

/// How long one takes at this hashrate.
fn no_blocks(hashrate_hs: f64, difficulty: Option<f64>) -> String {
    let hashes_per_difficulty = 4_294_967_296.0;
    match difficulty {
        Some(difficulty) if hashrate_hs > 0.0 => {
            let seconds = difficulty * hashes_per_difficulty / hashrate_hs;
            format!(
                "no blocks yet; at {} one takes {} on average",
                text::hashrate(hashrate_hs),
                text::long_time(seconds)
            )
        }
        Some(_) => "no blocks yet; no hashrate: see `hhctl miner list`".to_owned(),
        None => "no blocks yet; no work: see `hhctl tp status`".to_owned(),
    }
}

fn table(blocks: &[Block], now: Timestamp, when_empty: &str) -> Table {
    let columns = vec![
        Column::right("HEIGHT"),
        Column::left("STATE"),
        Column::right("CONF"),
        Column::left("FOUND"),
        Column::left("FINDER"),
        Column::left("NODE"),
        Column::right("VALUE (sat)"),
        Column::left("HASH"),
    ];
    let mut table = Table::new(columns, when_empty);
    for block in blocks {
        table.row(vec![
            block.height.to_string().into(),
            state(block),
            confirmations(block).into(),
            text::ago(now, Some(block.found_at)).into(),
            finder(block).into(),
            block.node.as_str().into(),
            text::count(block.value_sat).into(),
            block.hash.as_str().into(),
        ]);
    }
    table
}

/// Account and worker, as a miner writes them.
pub(super) fn finder(block: &Block) -> String {
    if block.worker.is_empty() {
        block.account.clone()
    } else {
        format!("{}.{}", block.account, block.worker)
    }
}

/// How far a block has come, in a word.
pub(super) fn word(state: BlockState) -> &'static str {
    match state {
        BlockState::Found => "found",
        BlockState::Submitted => "submitted",
        BlockState::Accepted => "accepted",
        BlockState::Rejected => "rejected",
        BlockState::Orphaned => "orphaned",
    }
}

fn state(block: &Block) -> Cell {
    let word = word(block.state);
    let state = match block.state {
        BlockState::Found | BlockState::Submitted => State::Warn,
        BlockState::Accepted => State::Ok,
        BlockState::Rejected | BlockState::Orphaned => State::Fail,
    };
    match &block.reason {
        Some(reason) => Cell::state(state, format!("{word}: {reason}")),
        None => Cell::state(state, word),
    }
}
