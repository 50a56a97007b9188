//! The miners' screen: accounts, their workers, and the sessions of each.

use super::panel::{dim_old, titled};
use super::table::{self, Cells, figure, text};
use crate::figures::{NONE, Prefix, age, count, difficulty, name};
use crate::model::Model;
use crate::theme::Role;
use crate::tree::{Row, Sum};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::{Paragraph, Wrap};

/// Columns.
const COLUMNS: usize = 11;

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let old = model.pool.old(model.shown_at());
    if model.pool.data.is_none() && model.translator.data.is_none() {
        titled(
            model,
            frame,
            area,
            "Accounts, workers, sessions".to_owned(),
            old,
        );
        return;
    }
    let rows = model.tree();
    let accounts = rows.iter().filter(|row| matches!(row, Row::Account(..)));
    let accounts = count(accounts.count() as u64);
    let title = match cut(model) {
        None => format!("Accounts {accounts}, workers, sessions; most hashrate first"),
        Some((listed, total)) => {
            format!("Accounts {accounts} of the first {listed} of {total} sessions")
        }
    };
    let inner = titled(model, frame, area, title, old);
    if rows.is_empty() {
        let nobody = "Nobody mines. What connects is here from its first job on; screen 4 tells where to connect.";
        frame.render_widget(Paragraph::new(nobody).wrap(Wrap { trim: true }), inner);
        return;
    }
    let largest = rows.iter().map(hashrate_10m_hs).fold(0.0, f64::max);
    let prefix = Prefix::of(largest);
    let columns = [
        text("ACCOUNT, WORKER, SESSION", 0, 0),
        text("LANE", 9, 100),
        text("NODE", 9, 140),
        text("DEVICE", 24, 160),
        figure("SESS", 5, 0),
        figure(format!("{}H/s 1m", prefix.symbol()), 7, 70),
        figure(format!("{}H/s 10m", prefix.symbol()), 8, 0),
        figure("DIFF", 9, 80),
        figure("BEST", 9, 120),
        figure("OK/REJECTED", 11, 0),
        figure("SHARE", 6, 0),
    ];
    let lines: Vec<Cells> = rows.iter().map(|row| line(model, prefix, row)).collect();
    let selected = model.row.as_ref();
    let selected = rows.iter().position(|row| Some(&row.key()) == selected);
    table::draw(model, frame, inner, &columns, (&lines, selected));
    dim_old(model, frame, inner, old);
}

/// How many sessions are listed of how many, where that is not all: the daemons list a thousand.
fn cut(model: &Model) -> Option<(String, String)> {
    let translator = model.translator.data.as_ref();
    let pool = model.miners().map(|page| (page.miners.len(), page.total));
    let translator = translator.map(|status| (status.miners.len(), status.connections));
    [pool, translator]
        .into_iter()
        .flatten()
        .find(|(listed, total)| (*listed as u64) < u64::from(*total))
        .map(|(listed, total)| (count(listed as u64), count(total.into())))
}

fn hashrate_10m_hs(row: &Row<'_>) -> f64 {
    match row {
        Row::Account(_, sum, _) | Row::Worker(_, _, sum, _) => sum.hashrate_10m_hs,
        Row::Channel(miner) => miner.hashrate_10m_hs,
        Row::Downstream(miner) => miner.hashrate_10m_hs,
    }
}

fn line(model: &Model, prefix: Prefix, row: &Row<'_>) -> Cells {
    let ascii = model.symbols.ascii;
    let mark = |is_open: &bool| {
        if *is_open {
            model.symbols.open
        } else {
            model.symbols.closed
        }
    };
    let texts = match row {
        Row::Account(account, sum, is_open) => {
            let label = format!("{} {}", mark(is_open), name(account, ascii));
            summed(model, prefix, label, sum)
        }
        Row::Worker(_, worker, sum, is_open) => {
            let worker = if worker.is_empty() {
                "(no worker named)".to_owned()
            } else {
                name(worker, ascii)
            };
            summed(model, prefix, format!("  {} {worker}", mark(is_open)), sum)
        }
        Row::Channel(miner) => [
            format!("      SV2 {}", name(&miner.peer, ascii)),
            name(&miner.lane, ascii),
            name(&miner.node, ascii),
            name(&miner.device, ascii),
            String::new(),
            prefix.number(miner.hashrate_1m_hs),
            prefix.number(miner.hashrate_10m_hs),
            difficulty(miner.difficulty),
            difficulty(miner.best_difficulty),
            shares(miner.shares.accepted, miner.shares.rejected_total()),
            since(model, miner.last_share_at),
        ],
        Row::Downstream(miner) => [
            format!(
                "      {} {}",
                name(&miner.protocol, ascii).to_uppercase(),
                name(&miner.peer, ascii)
            ),
            name(&miner.lane, ascii),
            String::new(),
            name(&miner.user_agent, ascii),
            String::new(),
            NONE.to_owned(),
            prefix.number(miner.hashrate_10m_hs),
            difficulty(miner.difficulty),
            NONE.to_owned(),
            shares(miner.shares.accepted, miner.shares.rejected_total()),
            since(model, miner.last_share_at),
        ],
    };
    let style = if hashrate_10m_hs(row) > 0.0 {
        Style::new()
    } else {
        model.theme.style(Role::Old)
    };
    Cells {
        texts: texts.into(),
        style,
    }
}

fn summed(model: &Model, prefix: Prefix, label: String, sum: &Sum) -> [String; COLUMNS] {
    [
        label,
        String::new(),
        String::new(),
        String::new(),
        count(sum.sessions as u64),
        sum.hashrate_1m_hs
            .map_or(NONE.to_owned(), |hashrate| prefix.number(hashrate)),
        prefix.number(sum.hashrate_10m_hs),
        String::new(),
        String::new(),
        shares(sum.accepted, sum.rejected),
        since(model, sum.last_share_at),
    ]
}

fn shares(accepted: u64, rejected: u64) -> String {
    format!("{}/{}", count(accepted), count(rejected))
}

fn since(model: &Model, at: Option<jiff::Timestamp>) -> String {
    at.map_or(NONE.to_owned(), |at| age(at, model.pool_time()))
}
