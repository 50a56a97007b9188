//! `hhctl block`.

mod edge;
pub(super) mod recount;
mod report;
pub(super) mod signed_report;

use super::answers::tell_missing;
use crate::cli::BlockCommand;
use crate::failure::{Failure, NOT_RUNNING};
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::Session;
use hh_ipc::api::pool::{Block, BlockSelector, BlockState, SubmissionPath};
use hh_ipc::api::treasury::{RewardBlock, RewardBlockState};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Blocks whose rewards are looked through for one of them; hh-treasury gives no more.
const REWARDS: u32 = 1_000;

/// What hh-treasury makes of blocks, by their hashes.
type Rewards = BTreeMap<String, RewardBlock>;

pub(super) async fn report(
    session: &mut Session,
    command: &BlockCommand,
) -> Result<Report, Failure> {
    match command {
        BlockCommand::List { limit } => list(session, *limit).await,
        BlockCommand::Show { block } => show(session, block.clone()).await,
        BlockCommand::Report { block, save } => report::show(session, block, save.as_deref()).await,
        BlockCommand::Verify { block, key, ledger } => {
            report::verify(session, block, *key, *ledger).await
        }
    }
}

/// What hh-treasury makes of blocks, by hash. Where none runs there is nothing to tell, and nothing wrong.
async fn rewards(session: &mut Session, limit: u32) -> Result<Rewards, Failure> {
    let daemon = match session.treasury().await {
        Ok(daemon) => daemon,
        Err(failure) if failure.code == NOT_RUNNING => return Ok(Rewards::new()),
        Err(failure) => return Err(failure),
    };
    let answer = daemon.client.blocks(daemon.call(), limit).await;
    let page = daemon.granted(answer)?;
    let blocks = page.blocks.into_iter();
    Ok(blocks.map(|block| (block.hash.clone(), block)).collect())
}

async fn list(session: &mut Session, limit: u32) -> Result<Report, Failure> {
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
    let (rewards, failures) = told(rewards(session, limit).await);
    let table = table(&blocks, &rewards, session.now(), &when_empty);
    let items: Vec<Value> = blocks.iter().map(|block| item(block, &rewards)).collect();
    let mut report = Report::list("BlockList", &items, vec![Part::Table(table)]);
    tell_missing(&mut report, failures);
    Ok(report)
}

/// What there is, and what is missing.
fn told(rewards: Result<Rewards, Failure>) -> (Rewards, Vec<Failure>) {
    match rewards {
        Ok(rewards) => (rewards, Vec::new()),
        Err(failure) => (Rewards::new(), vec![failure]),
    }
}

fn item(block: &Block, rewards: &Rewards) -> Value {
    let mut item = json!(block);
    item["reward"] = json!(rewards.get(&block.hash));
    item
}

async fn show(session: &mut Session, selector: BlockSelector) -> Result<Report, Failure> {
    let daemon = session.pool().await?;
    let answer = daemon.client.block(daemon.call(), selector).await;
    let block = daemon.granted(answer)?;
    let (rewards, failures) = told(rewards(session, REWARDS).await);
    let now = session.now();
    let mut fields = fields(&block, now);
    if let Some(reward) = rewards.get(&block.hash) {
        fields.extend(reward_fields(reward, now));
    }
    let view = vec![Part::Fields(fields), Part::Table(paths(&block.paths, now))];
    let mut report = Report::item("Block", item(&block, &rewards), view);
    tell_missing(&mut report, failures);
    Ok(report)
}

fn reward_fields(reward: &RewardBlock, now: Timestamp) -> [(&'static str, Cell); 4] {
    let fees_to = match &reward.finder {
        Some(finder) => format!("{} to {finder}", text::sat(reward.fees_msat)),
        None => text::sat(reward.fees_msat),
    };
    let split = match (reward.split_at, reward.accounts) {
        (Some(at), Some(accounts)) => format!(
            "{} among {}",
            text::ago(now, Some(at)),
            text::plural(accounts.into(), "account")
        ),
        _ => "not yet".to_owned(),
    };
    [
        ("Reward", reward_cell(reward)),
        ("Subsidy", text::sat(reward.subsidy_msat).into()),
        ("Fees", fees_to.into()),
        ("Split", split.into()),
    ]
}

fn reward_cell(reward: &RewardBlock) -> Cell {
    let state = match reward.state {
        RewardBlockState::Payable | RewardBlockState::Mature => State::Ok,
        RewardBlockState::Tracked | RewardBlockState::Accepted | RewardBlockState::Confirmed => {
            State::Unknown
        }
        RewardBlockState::Rejected | RewardBlockState::Orphaned => State::Fail,
    };
    Cell::state(state, reward_words(reward))
}

/// How far its reward is, such as `mature in 57 blocks`.
pub(super) fn reward_words(reward: &RewardBlock) -> String {
    let words = match reward.state {
        RewardBlockState::Payable => "payable".to_owned(),
        RewardBlockState::Mature => "mature".to_owned(),
        RewardBlockState::Tracked | RewardBlockState::Accepted | RewardBlockState::Confirmed => {
            let blocks = text::plural(reward.blocks_to_maturity.into(), "block");
            match reward.split_at {
                Some(_) => format!("mature in {blocks}"),
                None => format!("not split, mature in {blocks}"),
            }
        }
        RewardBlockState::Rejected => "rejected".to_owned(),
        RewardBlockState::Orphaned => "orphaned".to_owned(),
    };
    match &reward.reason {
        Some(reason) => format!("{words}: {reason}"),
        None => words,
    }
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

fn table(blocks: &[Block], rewards: &Rewards, now: Timestamp, when_empty: &str) -> Table {
    let columns = vec![
        Column::right("HEIGHT"),
        Column::left("STATE"),
        Column::right("CONF"),
        Column::left("FOUND"),
        Column::left("FINDER"),
        Column::left("NODE"),
        Column::right("VALUE (sat)"),
        Column::left("REWARD"),
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
            rewards
                .get(&block.hash)
                .map_or_else(|| "-".into(), reward_cell),
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
