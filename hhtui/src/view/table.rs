//! Tables whose columns come with the width of the screen; a column of width 0 takes what the others leave.

use crate::figures::fit;
use crate::model::Model;
use crate::theme::Role;
use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Text};
use ratatui::widgets::{Row, Table, TableState};

/// A column: its title, its width, the least width of the screen that has it, and whether its figures stand at the right.
#[derive(Clone, Debug)]
pub(super) struct Column {
    pub(super) title: String,
    width: u16,
    from_screen: u16,
    right: bool,
}

/// One with words.
pub(super) fn text(title: &str, width: u16, from_screen: u16) -> Column {
    Column {
        title: title.to_owned(),
        width,
        from_screen,
        right: false,
    }
}

/// One with figures.
pub(super) fn figure(title: impl Into<String>, width: u16, from_screen: u16) -> Column {
    Column {
        title: title.into(),
        width,
        from_screen,
        right: true,
    }
}

/// A line: what stands in each of the columns, whether there is room for them or not.
#[derive(Clone, Debug)]
pub(super) struct Cells {
    pub(super) texts: Vec<String>,
    pub(super) style: Style,
}

/// Draws the lines; the selected one stands out, and in view.
pub(super) fn draw(
    model: &Model,
    frame: &mut Frame<'_>,
    area: Rect,
    columns: &[Column],
    (lines, selected): (&[Cells], Option<usize>),
) {
    let has_room = |column: &&Column| area.width >= column.from_screen;
    let fixed: u16 = columns.iter().filter(has_room).map(|c| c.width).sum();
    let count = columns.iter().filter(has_room).count();
    let spaces = u16::try_from(count).unwrap_or(0).saturating_sub(1);
    let rest = area.width.saturating_sub(fixed + spaces);
    let width = |column: &Column| match column.width {
        0 => rest,
        width => width,
    };
    let rows = lines.iter().map(|line| {
        let cells = line.texts.iter().zip(columns);
        let cells = cells.filter(|(_, column)| has_room(column));
        let cells = cells.map(|(text, column)| {
            let text = fit(text, width(column).into(), model.symbols.ellipsis);
            aligned(text, column.right)
        });
        Row::new(cells.collect::<Vec<_>>()).style(line.style)
    });
    let shown = || columns.iter().filter(has_room);
    let header = shown().map(|column| aligned(column.title.clone(), column.right));
    let widths = shown().map(|column| Constraint::Length(width(column)));
    let table = Table::new(rows, widths)
        .header(Row::new(header).style(model.theme.style(Role::Label)))
        .row_highlight_style(model.theme.style(Role::Selected));
    let mut state = TableState::new().with_selected(selected);
    frame.render_stateful_widget(table, area, &mut state);
}

fn aligned(text: String, right: bool) -> Text<'static> {
    let line = Line::from(text);
    Text::from(if right { line.right_aligned() } else { line })
}
