//! The blocks' screen: what our miners found, how far the rewards are, and by which ways the selected block went out.

use super::panel::{dim_old, labelled, list, room, state, titled};
use super::table::{self, Cells, figure, text};
use crate::figures::{NONE, age, amount, name, plural, sat, worker};
use crate::model::Model;
use crate::theme::{Health, Role};
use hh_ipc::api::pool::{Block, BlockState, SubmissionPath};
use hh_ipc::api::treasury::{RewardBlock, RewardBlockState};
use jiff::Timestamp;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// Lines for what is known of one block, with a rule: all of it and four ways out.
const DETAIL_HEIGHT: u16 = 10;

/// The list keeps at least this many lines.
const LIST_HEIGHT: u16 = 6;

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let detail_height = DETAIL_HEIGHT.min(area.height.saturating_sub(LIST_HEIGHT));
    let [list, detail] =
        Layout::vertical([Constraint::Fill(1), Constraint::Length(detail_height)]).areas(area);
    draw_list(model, frame, list);
    draw_detail(model, frame, detail);
}

fn draw_list(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let old = model.pool.old(model.shown_at());
    let title = "Blocks, newest first".to_owned();
    let inner = titled(model, frame, area, title, old);
    match model.pool.data.as_ref().map(|pool| &pool.blocks) {
        None => {}
        Some(Err(why)) => {
            let line = state(model, "blocks", Health::Bad, name(why, model.symbols.ascii));
            super::panel::text(model, frame, inner, vec![line]);
        }
        Some(Ok(blocks)) if blocks.is_empty() => frame.render_widget("None yet.", inner),
        Some(Ok(blocks)) => draw_table(model, frame, inner, blocks),
    }
    dim_old(model, frame, inner, old);
}

fn draw_table(model: &Model, frame: &mut Frame<'_>, area: Rect, blocks: &[Block]) {
    let columns = [
        figure("HEIGHT", 8, 0),
        text("STATE", 11, 0),
        text("REWARD", 22, 0),
        text("FINDER", 0, 0),
        figure("VALUE", 16, 0),
        figure("ACCOUNTS", 8, 110),
        figure("FOUND", 7, 0),
        text("HASH", 64, 190),
    ];
    let lines: Vec<Cells> = blocks.iter().map(|block| line(model, block)).collect();
    let selected = blocks
        .iter()
        .position(|block| Some(&block.hash) == model.block.as_ref());
    table::draw(model, frame, area, &columns, (&lines, selected));
}

fn line(model: &Model, block: &Block) -> Cells {
    let ascii = model.symbols.ascii;
    let (health, word) = block_state(block.state);
    let reward = model.reward(&block.hash);
    let lost = reward.is_some_and(|reward| reward_health(reward.state) == Health::Bad);
    let style = match health {
        Health::Warn | Health::Bad => model.theme.style(health.role()),
        Health::Good | Health::Unknown if lost => model.theme.style(Role::Bad),
        Health::Good | Health::Unknown => Style::new(),
    };
    let accounts = reward.and_then(|reward| reward.accounts);
    let texts = vec![
        block.height.to_string(),
        format!("{} {word}", model.symbols.of(health)),
        reward.map_or(NONE.to_owned(), reward_words),
        worker(&block.account, &block.worker, ascii),
        amount(block.value_sat),
        accounts.map_or(NONE.to_owned(), |accounts| accounts.to_string()),
        age(block.found_at, model.pool_time()),
        name(&block.hash, ascii),
    ];
    Cells { texts, style }
}

pub(super) fn block_state(state: BlockState) -> (Health, &'static str) {
    match state {
        BlockState::Found => (Health::Unknown, "found"),
        BlockState::Submitted => (Health::Unknown, "submitted"),
        BlockState::Accepted => (Health::Good, "accepted"),
        BlockState::Rejected => (Health::Bad, "rejected"),
        BlockState::Orphaned => (Health::Warn, "orphaned"),
    }
}

fn reward_health(state: RewardBlockState) -> Health {
    match state {
        RewardBlockState::Tracked | RewardBlockState::Accepted | RewardBlockState::Confirmed => {
            Health::Unknown
        }
        RewardBlockState::Mature | RewardBlockState::Payable => Health::Good,
        RewardBlockState::Rejected | RewardBlockState::Orphaned => Health::Bad,
    }
}

/// How far a reward is: `in 57 blocks`, `payable`, `lost: orphaned`.
pub(super) fn reward_words(reward: &RewardBlock) -> String {
    match reward.state {
        RewardBlockState::Tracked | RewardBlockState::Accepted | RewardBlockState::Confirmed => {
            let blocks = plural(reward.blocks_to_maturity.into(), "block");
            match reward.split_at {
                Some(_) => format!("in {blocks}"),
                None => format!("no split, {blocks}"),
            }
        }
        RewardBlockState::Mature => "mature".to_owned(),
        RewardBlockState::Payable => "payable".to_owned(),
        RewardBlockState::Rejected => "lost: rejected".to_owned(),
        RewardBlockState::Orphaned => "lost: orphaned".to_owned(),
    }
}

/// The selected block, the newest where none is.
fn draw_detail(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let blocks = model.blocks().unwrap_or_default();
    let selected = blocks
        .iter()
        .find(|block| Some(&block.hash) == model.block.as_ref());
    let Some(block) = selected.or(blocks.first()) else {
        return;
    };
    let old = model.pool.old(model.shown_at());
    let title = format!("Block {}", block.height);
    let inner = titled(model, frame, area, title, old);
    let mut lines = block_lines(model, block);
    match model.reward(&block.hash) {
        Some(reward) => lines.extend(reward_lines(model, inner, reward)),
        None => lines.push(state(model, "reward", Health::Unknown, no_reward(model))),
    }
    lines.extend(block.paths.iter().map(|path| path_line(model, block, path)));
    super::panel::text(model, frame, inner, lines);
    dim_old(model, frame, inner, old);
}

fn no_reward(model: &Model) -> String {
    let ascii = model.symbols.ascii;
    match model.details().map(|details| &details.blocks) {
        None => "not known without hh-treasury".to_owned(),
        Some(Err(why)) => format!("hh-treasury can't tell: {}", name(why, ascii)),
        Some(Ok(_)) => "hh-treasury does not know this block".to_owned(),
    }
}

fn block_lines(model: &Model, block: &Block) -> Vec<Line<'static>> {
    let ascii = model.symbols.ascii;
    let (health, word) = block_state(block.state);
    let mut words = word.to_owned();
    if let Some(confirmations) = block.confirmations {
        words += &format!(", {}", plural(confirmations.into(), "confirmation"));
    }
    if let Some(reason) = &block.reason {
        words += &format!(": {}", name(reason, ascii));
    }
    let finder = format!(
        "{} on {}, lane {}",
        worker(&block.account, &block.worker, ascii),
        name(&block.node, ascii),
        name(&block.lane, ascii)
    );
    vec![
        labelled(model, "hash", [Span::raw(name(&block.hash, ascii))]),
        state(model, "state", health, words),
        labelled(model, "finder", [Span::raw(finder)]),
    ]
}

fn reward_lines(model: &Model, area: Rect, reward: &RewardBlock) -> [Line<'static>; 2] {
    let ascii = model.symbols.ascii;
    let health = reward_health(reward.state);
    let mut words = reward_words(reward);
    if let Some(reason) = &reward.reason {
        words += &format!(": {}", name(reason, ascii));
    }
    let split = match (reward.split_at, reward.accounts) {
        (Some(at), Some(accounts)) => format!(
            "among {} {} ago",
            plural(accounts.into(), "account"),
            age(at, model.treasury_time())
        ),
        _ => "not yet".to_owned(),
    };
    let mut fees = format!("fees {} sat", sat(reward.fees_msat));
    if let Some(finder) = &reward.finder {
        fees += &format!(" to {}", name(finder, ascii));
    }
    let subsidy = format!("subsidy {} sat", sat(reward.subsidy_msat));
    let words_of_split = list(room(area), [split, fees, subsidy]);
    [
        state(model, "reward", health, words),
        labelled(model, "split", [Span::raw(words_of_split)]),
    ]
}

/// One way that it went out, and how long after it was found.
fn path_line(model: &Model, block: &Block, path: &SubmissionPath) -> Line<'static> {
    let ascii = model.symbols.ascii;
    let after = after(block.found_at, path.at);
    let words = format!(
        "{} {}, after {after}",
        name(&path.path, ascii),
        name(&path.outcome, ascii)
    );
    labelled(model, "sent by", [Span::raw(words)])
}

fn after(found: Timestamp, at: Timestamp) -> String {
    let ms = at.as_millisecond().saturating_sub(found.as_millisecond());
    match ms.max(0) {
        ms @ ..10_000 => format!("{ms} ms"),
        ms => format!("{} s", ms / 1000),
    }
}
