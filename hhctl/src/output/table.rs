//! Tables: columns as wide as their widest cell, two spaces apart.

use super::{Cell, Style};

/// Rows under headings, or a sentence that says what it means that there are none.
#[derive(Debug)]
pub(crate) struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<Cell>>,
    when_empty: String,
}

/// A heading, and on which side its cells are.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    heading: String,
    right: bool,
    /// It is no narrower than that.
    least: usize,
}

impl Column {
    pub(crate) fn left(heading: impl Into<String>) -> Self {
        Self {
            heading: heading.into(),
            right: false,
            least: 0,
        }
    }

    /// For numbers.
    pub(crate) fn right(heading: impl Into<String>) -> Self {
        Self {
            heading: heading.into(),
            right: true,
            least: 0,
        }
    }

    /// As wide as that at least, for tables that go on below each other.
    pub(crate) fn at_least(self, width: usize) -> Self {
        Self {
            least: width,
            ..self
        }
    }
}

impl Table {
    /// A table without rows yet.
    pub(crate) fn new(columns: Vec<Column>, when_empty: impl Into<String>) -> Self {
        Self {
            columns,
            rows: Vec::new(),
            when_empty: when_empty.into(),
        }
    }

    /// Adds a row, a cell per column.
    pub(crate) fn row(&mut self, cells: Vec<Cell>) {
        assert_eq!(cells.len(), self.columns.len(), "a cell per column");
        self.rows.push(cells);
    }

    pub(super) fn draw(&self, style: Style) -> String {
        if self.rows.is_empty() {
            return format!("{}\n", self.when_empty);
        }
        let headings = self.columns.iter().map(|column| {
            let heading = column.heading.clone();
            let width = heading.chars().count();
            (heading, width)
        });
        let mut drawn: Vec<Vec<(String, usize)>> = Vec::with_capacity(self.rows.len() + 1);
        if style.headers {
            drawn.push(headings.collect());
        }
        let rows = self.rows.iter();
        drawn.extend(rows.map(|row| row.iter().map(|cell| style.draw(cell)).collect()));
        let width = |index: usize| {
            let widest = drawn.iter().map(|row| row[index].1).max();
            widest.unwrap_or(0).max(self.columns[index].least)
        };
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut text = String::new();
        for row in &drawn {
            let mut line = String::new();
            for ((column, (cell, used)), width) in self.columns.iter().zip(row).zip(&widths) {
                let padding = " ".repeat(width - used);
                if column.right {
                    line += &padding;
                    line += cell;
                } else {
                    line += cell;
                    line += &padding;
                }
                line += "  ";
            }
            text += line.trim_end();
            text.push('\n');
        }
        text
    }
}
