//! The newest blocks that our miners found, and what became of them.

use super::panel::{dim_old, titled};
use super::symbol;
use crate::figures::{age, amount, fit, name, worker};
use crate::model::{Model, Pane};
use crate::theme::{Health, Role};
use hh_ipc::api::pool::{Block, BlockState};
use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::text::{Line, Span, Text};
use ratatui::widgets::{Row, Table, TableState};

/// From these widths on there is room for the end of the hash, and for the whole one.
const NARROW: u16 = 80;
const WIDE: u16 = 150;

/// Lines with the title and the header: for what there is, at most a fifth of `screen`, at least one row.
pub(super) fn height(model: &Model, screen: u16) -> u16 {
    let rows = model.blocks().map_or(1, |blocks| blocks.len().max(1));
    let rows = u16::try_from(rows).unwrap_or(u16::MAX);
    2 + rows.min((screen / 5).saturating_sub(2).max(1))
}

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let old = model.pool.old(model.shown_at());
    let focus = if model.pane == Pane::Blocks {
        model.symbols.focus
    } else {
        ""
    };
    let Some(pool) = &model.pool.data else {
        titled(model, frame, area, format!("{focus}Blocks"), old);
        return;
    };
    let title = format!("{focus}Blocks, newest first");
    let inner = titled(model, frame, area, title, old);
    match &pool.blocks {
        Err(why) => {
            let line = Line::from(vec![
                symbol(model, Health::Bad),
                Span::raw(format!(" {}", name(why, model.symbols.ascii))),
            ]);
            frame.render_widget(line, inner);
        }
        Ok(blocks) if blocks.is_empty() => frame.render_widget("None yet.", inner),
        Ok(blocks) => table(model, frame, inner, blocks),
    }
    dim_old(model, frame, inner, old);
}

fn table(model: &Model, frame: &mut Frame<'_>, area: Rect, blocks: &[Block]) {
    let hash_width = match area.width {
        ..NARROW => 0,
        NARROW..WIDE => 16,
        WIDE.. => 64,
    };
    let (height, state, value, found) = (8, 11, 16, 7);
    let spaces = 5;
    let finder = area
        .width
        .saturating_sub(height + state + value + found + hash_width + spaces);
    let widths = [height, state, finder, value, found, hash_width].map(Constraint::Length);
    let header = ["HEIGHT", "STATE", "FINDER", "VALUE", "FOUND", "HASH"];
    let rows = blocks
        .iter()
        .map(|block| row(model, block, finder, hash_width));
    let table = Table::new(rows, widths)
        .header(Row::new(header).style(model.theme.style(Role::Label)))
        .row_highlight_style(model.theme.style(Role::Selected));
    let selected = blocks
        .iter()
        .position(|block| Some(&block.hash) == model.block.as_ref());
    let selected = selected.filter(|_| model.pane == Pane::Blocks);
    let mut state = TableState::new().with_selected(selected);
    frame.render_stateful_widget(table, area, &mut state);
}

fn row(model: &Model, block: &Block, finder_width: u16, hash_width: u16) -> Row<'static> {
    let ascii = model.symbols.ascii;
    let (health, word) = match block.state {
        BlockState::Found => (Health::Unknown, "found"),
        BlockState::Submitted => (Health::Unknown, "submitted"),
        BlockState::Accepted => (Health::Good, "accepted"),
        BlockState::Rejected => (Health::Bad, "rejected"),
        BlockState::Orphaned => (Health::Warn, "orphaned"),
    };
    let mut finder = worker(&block.account, &block.worker, ascii);
    if let Some(reason) = &block.reason {
        finder = format!("{finder}: {}", name(reason, ascii));
    }
    let hash = name(&block.hash, ascii);
    Row::new([
        Text::raw(block.height.to_string()),
        Text::from(Line::from(vec![
            symbol(model, health),
            Span::raw(format!(" {word}")),
        ])),
        Text::raw(fit(&finder, finder_width.into(), model.symbols.ellipsis)),
        Text::raw(amount(block.value_sat)),
        Text::raw(age(block.found_at, model.pool_time())),
        Text::raw(tail(&hash, hash_width.into(), model.symbols.ellipsis)),
    ])
}

/// The end of a hash: its beginning is zeros.
fn tail(hash: &str, width: usize, ellipsis: &str) -> String {
    let length = hash.chars().count();
    if length <= width {
        return hash.to_owned();
    }
    if width == 0 {
        return String::new();
    }
    let end: String = hash.chars().skip(length + 1 - width).collect();
    format!("{ellipsis}{end}")
}
