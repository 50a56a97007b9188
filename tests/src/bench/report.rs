//! The table: every measure with its bar, what was measured, and whether it passes.

use super::samples::median;
use super::server::ServerKind;
use std::collections::BTreeMap;
use std::fmt::Write;

/// What a run has shown.
pub type Figures = Vec<(Row, f64)>;

/// A line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Row {
    FirstJob,
    Storm,
    Memory1000,
    Memory4000,
    CyclesRatio,
    CyclesMemory,
    SharesMax,
    CpuPerShare,
    LatencyP50,
    LatencyP99,
    NewBlockP50,
    NewBlockP99,
    LoadedBlockP50,
    LoadedBlockP99,
    Idle,
    TemplateP99,
    TemplateFull,
    Sv1FirstJob,
    Sv1Memory,
    Sv1BlockP50,
    Sv1BlockP99,
    Sv1Shares,
    Sv1Lead,
}

/// What must be reached.
#[derive(Clone, Copy, Debug)]
enum Bar {
    Below(f64),
    Above(f64),
    AtMost(f64),
    /// The peer's figure of the same session is less.
    AbovePeer,
    /// It explains another line.
    None,
}

struct Line {
    name: &'static str,
    unit: &'static str,
    bar: Bar,
}

impl Row {
    fn line(self) -> Line {
        use Bar::{Above, AbovePeer, AtMost, Below};
        let (name, unit, bar) = match self {
            Self::FirstJob => ("first job, 1 connection, p50", "ms", Below(5.0)),
            Self::Storm => ("first job, 1,000 at once, p99", "ms", Below(120.0)),
            Self::Memory1000 => ("memory per connection, 1,000 held", "kB", Below(20.0)),
            Self::Memory4000 => ("memory per connection, 4,000 held", "kB", Below(20.0)),
            Self::CyclesRatio => ("memory after 4 cycles, to the first", "x", Below(1.5)),
            Self::CyclesMemory => ("memory after 4 cycles of 1,000", "MB", Bar::None),
            Self::SharesMax => ("accepted shares, 100 connections", "1/s", Above(150_000.0)),
            Self::CpuPerShare => ("CPU per share at 2,000/s", "us", Below(40.0)),
            Self::LatencyP50 => ("submit to success at 2,000/s, p50", "ms", Bar::None),
            Self::LatencyP99 => ("submit to success at 2,000/s, p99", "ms", Below(12.0)),
            Self::NewBlockP50 => ("new block to job, 1,000, p50", "ms", Below(10.0)),
            Self::NewBlockP99 => ("new block to job, 1,000, p99", "ms", Below(20.0)),
            Self::LoadedBlockP50 => ("the same under 2,000 shares/s, p50", "ms", Bar::None),
            Self::LoadedBlockP99 => ("the same under 2,000 shares/s, p99", "ms", Bar::None),
            Self::Idle => ("idle without setup, dropped after", "s", Below(10.5)),
            Self::TemplateP99 => ("tip to template, empty mempool, p99", "ms", Below(5.0)),
            Self::TemplateFull => ("tip to template, 4,000 tx, mean", "ms", Below(50.0)),
            Self::Sv1FirstJob => ("SV1: first job, 1 miner, p50", "ms", Below(8.0)),
            Self::Sv1Memory => ("SV1: memory per connection, 1,000", "kB", Below(20.0)),
            Self::Sv1BlockP50 => ("SV1: new block to notify, 1,000, p50", "ms", Below(10.0)),
            Self::Sv1BlockP99 => ("SV1: new block to notify, 1,000, p99", "ms", Below(20.0)),
            Self::Sv1Shares => ("SV1: shares to the pool, 100 miners", "1/s", AbovePeer),
            Self::Sv1Lead => (
                "SV1: told as accepted, not at the pool",
                "shares",
                AtMost(0.0),
            ),
        };
        Line { name, unit, bar }
    }
}

impl Bar {
    fn text(self) -> String {
        match self {
            Self::Below(limit) => format!("< {}", number(limit)),
            Self::Above(limit) => format!("> {}", number(limit)),
            Self::AtMost(limit) => format!("<= {}", number(limit)),
            Self::AbovePeer => "> peer".to_owned(),
            Self::None => String::new(),
        }
    }

    /// Empty where there is nothing to pass.
    fn verdict(self, value: f64, of_peer: Option<f64>) -> &'static str {
        let passes = match self {
            Self::Below(limit) => value < limit,
            Self::Above(limit) => value > limit,
            Self::AtMost(limit) => value <= limit,
            Self::AbovePeer => match of_peer {
                Some(of_peer) => value > of_peer,
                None => return "",
            },
            Self::None => return "",
        };
        if passes { "pass" } else { "FAIL" }
    }
}

/// All that was measured.
#[derive(Debug, Default)]
pub struct Report {
    values: BTreeMap<(Row, ServerKind), Vec<(f64, bool)>>,
}

impl Report {
    /// Adds what one run has shown. A run is void where others used the machine, or the generator was at its limit.
    pub fn add(&mut self, kind: ServerKind, figures: Figures, is_void: bool) {
        for (row, value) in figures {
            let runs = self.values.entry((row, kind)).or_default();
            runs.push((value, is_void));
        }
    }

    /// Whether ours passes every bar that was measured.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.rows().iter().all(|row| self.verdict(*row) != "FAIL")
    }

    fn verdict(&self, row: Row) -> &'static str {
        let of_peer = self.value(row, ServerKind::Peer).map(|(value, _)| value);
        let of_ours = self.value(row, ServerKind::Ours);
        of_ours.map_or("", |(value, _)| row.line().bar.verdict(value, of_peer))
    }

    /// The table in Markdown. A star marks a figure of which every run was void.
    #[must_use]
    pub fn table(&self) -> String {
        const KINDS: [ServerKind; 3] = [ServerKind::Ours, ServerKind::Peer, ServerKind::PeerTens];
        let mut cells = vec![vec![
            "measure".to_owned(),
            "unit".to_owned(),
            "bar".to_owned(),
        ]];
        cells[0].extend(KINDS.map(|kind| kind.name().to_owned()));
        cells[0].push("ours".to_owned());
        for row in self.rows() {
            let Line { name, unit, bar } = row.line();
            let mut line = vec![name.to_owned(), unit.to_owned(), bar.text()];
            line.extend(KINDS.map(|kind| self.cell(row, kind)));
            line.push(self.verdict(row).to_owned());
            cells.push(line);
        }
        aligned(&cells)
    }

    fn rows(&self) -> Vec<Row> {
        let mut rows: Vec<Row> = self.values.keys().map(|(row, _)| *row).collect();
        rows.dedup();
        rows
    }

    fn cell(&self, row: Row, kind: ServerKind) -> String {
        let Some((value, is_void)) = self.value(row, kind) else {
            return String::new();
        };
        let star = if is_void { "*" } else { "" };
        format!("{}{star}", number(value))
    }

    /// The median of the runs that are not void, or of all where none is left.
    fn value(&self, row: Row, kind: ServerKind) -> Option<(f64, bool)> {
        let runs = self.values.get(&(row, kind))?;
        let all: Vec<f64> = runs.iter().map(|(value, _)| *value).collect();
        let good: Vec<f64> = runs
            .iter()
            .filter(|(_, is_void)| !is_void)
            .map(|(value, _)| *value)
            .collect();
        let is_void = good.is_empty();
        Some((median(if is_void { &all } else { &good }), is_void))
    }
}

/// With three digits that say something, and thousands in groups.
#[must_use]
pub fn number(value: f64) -> String {
    if value.is_infinite() {
        return "never".to_owned();
    }
    let digits = match value.abs() {
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if !fraction.is_empty() {
        grouped.push('.');
        grouped.push_str(fraction);
    }
    grouped
}

fn aligned(cells: &[Vec<String>]) -> String {
    let columns = cells.first().map_or(0, Vec::len);
    let widths: Vec<usize> = (0..columns)
        .map(|column| {
            cells
                .iter()
                .map(|line| line[column].len())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut table = String::new();
    for (index, line) in cells.iter().enumerate() {
        for (cell, width) in line.iter().zip(&widths) {
            write!(table, "| {cell:width$} ").expect("a string takes all");
        }
        table.push_str("|\n");
        if index == 0 {
            for width in &widths {
                write!(table, "|{:-<1$}", "", width + 2).expect("a string takes all");
            }
            table.push_str("|\n");
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_grouped() {
        assert_eq!(number(150_000.4), "150,000");
        assert_eq!(number(1_234_567.0), "1,234,567");
        assert_eq!(number(123.4), "123");
        assert_eq!(number(12.34), "12.3");
        assert_eq!(number(0.456), "0.46");
        assert_eq!(number(f64::INFINITY), "never");
    }

    #[test]
    fn a_void_run_counts_only_where_there_is_no_other() {
        let mut report = Report::default();
        report.add(ServerKind::Ours, vec![(Row::FirstJob, 9.0)], true);
        assert!(report.table().contains("9.00*"));
        assert!(!report.passes());
        report.add(ServerKind::Ours, vec![(Row::FirstJob, 3.0)], false);
        assert!(!report.table().contains('*'), "{}", report.table());
        assert!(report.passes());
    }

    #[test]
    fn the_peer_decides_nothing() {
        let mut report = Report::default();
        report.add(ServerKind::Peer, vec![(Row::Idle, f64::INFINITY)], false);
        assert!(report.passes());
        report.add(ServerKind::Ours, vec![(Row::SharesMax, 149_000.0)], false);
        assert!(!report.passes());
    }

    #[test]
    fn where_the_peer_is_the_bar_it_must_have_been_measured() {
        let mut report = Report::default();
        report.add(ServerKind::Ours, vec![(Row::Sv1Shares, 50.0)], false);
        assert!(report.passes());
        report.add(ServerKind::Peer, vec![(Row::Sv1Shares, 50.0)], false);
        assert!(!report.passes());
        report.add(ServerKind::Ours, vec![(Row::Sv1Shares, 52.0)], false);
        assert!(report.passes());
    }

    #[test]
    fn not_one_share_may_be_ahead_of_the_pool() {
        let mut report = Report::default();
        report.add(ServerKind::Ours, vec![(Row::Sv1Lead, 0.0)], false);
        assert!(report.passes());
        report.add(ServerKind::Ours, vec![(Row::Sv1Lead, 1.0)], false);
        assert!(!report.passes());
    }
}
