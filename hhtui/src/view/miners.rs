//! The open channels, most hash rate first.

use super::panel::{dim_old, titled};
use crate::figures::{NONE, Prefix, age, count, difficulty, fit, name, plural, worker};
use crate::model::{Model, Pane};
use crate::theme::Role;
use hh_ipc::api::pool::Miner;
use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Paragraph, Row, Table, TableState};

/// A column: its title, its width, and the least width of the screen that has it. The first one takes what is left.
struct Column {
    title: &'static str,
    width: u16,
    from_screen: u16,
    right: bool,
    cell: fn(&Model, Prefix, &Miner) -> String,
}

const fn column(
    title: &'static str,
    width: u16,
    right: bool,
    cell: fn(&Model, Prefix, &Miner) -> String,
) -> Column {
    Column {
        title,
        width,
        from_screen: 0,
        right,
        cell,
    }
}

impl Column {
    const fn from(self, from_screen: u16) -> Self {
        Self {
            from_screen,
            ..self
        }
    }
}

const COLUMNS: [Column; 12] = [
    column("MINER", 0, false, |model, _, miner| {
        worker(&miner.account, &miner.worker, model.symbols.ascii)
    }),
    column("LANE", 9, false, |model, _, miner| {
        name(&miner.lane, model.symbols.ascii)
    })
    .from(70),
    column("NODE", 9, false, |model, _, miner| {
        name(&miner.node, model.symbols.ascii)
    })
    .from(120),
    column("DEVICE", 24, false, |model, _, miner| {
        name(&miner.device, model.symbols.ascii)
    })
    .from(150),
    column("PEER", 21, false, |model, _, miner| {
        name(&miner.peer, model.symbols.ascii)
    })
    .from(180),
    column("CHANNEL", 8, false, |model, _, miner| {
        name(&miner.channel, model.symbols.ascii)
    })
    .from(80),
    column("H/s 1m", 7, true, |_, prefix, miner| {
        prefix.number(miner.hashrate_1m_hs)
    }),
    column("DIFF", 9, true, |_, _, miner| difficulty(miner.difficulty)),
    column("BEST", 9, true, |_, _, miner| {
        difficulty(miner.best_difficulty)
    })
    .from(120),
    column("OK/REJECTED", 11, true, |_, _, miner| {
        format!(
            "{}/{}",
            count(miner.shares.accepted),
            count(miner.shares.rejected_total())
        )
    }),
    column("SHARE", 6, true, |model, _, miner| {
        miner
            .last_share_at
            .map_or(NONE.to_owned(), |at| age(at, model.pool_time()))
    }),
    column("UP", 6, true, |model, _, miner| {
        age(miner.connected_at, model.pool_time())
    })
    .from(120),
];

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let old = model.pool.old(model.shown_at());
    let focus = if model.pane == Pane::Miners {
        model.symbols.focus
    } else {
        ""
    };
    let Some(page) = model.miners() else {
        titled(model, frame, area, format!("{focus}Miners"), old);
        return;
    };
    let listed = page.miners.len();
    let mut title = format!(
        "{focus}Miners {}, most hashrate first",
        count(page.total.into())
    );
    if u32::try_from(listed).is_ok_and(|listed| listed < page.total) {
        title = format!(
            "{focus}Miners, the first {listed} of {}",
            count(page.total.into())
        );
    }
    let inner = titled(model, frame, area, title, old);
    if page.miners.is_empty() {
        frame.render_widget(nobody(model), inner);
        dim_old(model, frame, inner, old);
        return;
    }
    let prefix = Prefix::of(
        page.miners
            .iter()
            .map(|miner| miner.hashrate_1m_hs)
            .fold(0.0, f64::max),
    );
    let columns: Vec<&Column> = COLUMNS
        .iter()
        .filter(|column| area.width >= column.from_screen)
        .collect();
    let rest = first_width(&columns, area.width);
    let rows = page
        .miners
        .iter()
        .map(|miner| row(model, &columns, rest, prefix, miner));
    let header = columns.iter().map(|column| {
        let title = match column.title {
            "H/s 1m" => format!("{}H/s 1m", prefix.symbol()),
            other => other.to_owned(),
        };
        aligned(title, column.right)
    });
    let widths = columns.iter().map(|column| match column.width {
        0 => Constraint::Length(rest),
        width => Constraint::Length(width),
    });
    let table = Table::new(rows, widths)
        .header(Row::new(header).style(model.theme.style(Role::Label)))
        .row_highlight_style(model.theme.style(Role::Selected));
    let selected = page
        .miners
        .iter()
        .position(|miner| Some(miner.id) == model.miner);
    let selected = selected.filter(|_| model.pane == Pane::Miners);
    let mut state = TableState::new().with_selected(selected);
    frame.render_stateful_widget(table, inner, &mut state);
    dim_old(model, frame, inner, old);
}

/// What the other columns and the spaces between them leave.
fn first_width(columns: &[&Column], width: u16) -> u16 {
    let fixed: u16 = columns.iter().map(|column| column.width).sum();
    let spaces = u16::try_from(columns.len()).unwrap_or(0).saturating_sub(1);
    width.saturating_sub(fixed + spaces)
}

fn row(
    model: &Model,
    columns: &[&Column],
    rest: u16,
    prefix: Prefix,
    miner: &Miner,
) -> Row<'static> {
    let cells = columns.iter().map(|column| {
        let width = if column.width == 0 {
            rest
        } else {
            column.width
        };
        let text = (column.cell)(model, prefix, miner);
        aligned(
            fit(&text, width.into(), model.symbols.ellipsis),
            column.right,
        )
    });
    let row = Row::new(cells.collect::<Vec<_>>());
    if miner.hashrate_1m_hs > 0.0 {
        row
    } else {
        row.style(model.theme.style(Role::Old))
    }
}

fn aligned(text: String, right: bool) -> Text<'static> {
    let line = Line::from(text);
    Text::from(if right { line.right_aligned() } else { line })
}

/// What to do about an empty table.
fn nobody(model: &Model) -> Paragraph<'static> {
    let lanes = model.pool.data.iter().flat_map(|pool| &pool.status.lanes);
    let lanes: Vec<_> = lanes
        .map(|lane| format!("{} (lane {})", lane.listen_address, lane.name))
        .collect();
    let up = model.translator.data.as_ref().map_or(0, |t| t.connections);
    let mut lines = vec![Line::raw(format!(
        "No miner has an open channel. SV2 miners connect to {}.",
        name(&lanes.join(", "), model.symbols.ascii)
    ))];
    if up > 0 {
        let miners = plural(up.into(), "miner");
        lines.push(Line::raw(format!(
            "The translator has {miners} waiting for its upstream."
        )));
    }
    Paragraph::new(lines)
}
