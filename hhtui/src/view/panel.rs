//! A titled part of the screen: a rule with the title in it, and lines of a label and what it is.

use super::symbol;
use crate::figures::{fit, span};
use crate::model::Model;
use crate::theme::{Health, Role};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Paragraph};

/// Room for the longest label and a space.
const LABEL_WIDTH: usize = 11;

/// Draws the rule of a panel and gives what is left of `area`. `old` is the age of its data, where that is too old to trust.
pub(super) fn titled(
    model: &Model,
    frame: &mut Frame<'_>,
    area: Rect,
    title: String,
    old: Option<u64>,
) -> Rect {
    let mut title = vec![
        Span::raw(" "),
        Span::styled(title, model.theme.style(Role::Title)),
        Span::raw(" "),
    ];
    if let Some(age) = old {
        let age = format!("({} old) ", span(age));
        title.push(Span::styled(age, model.theme.style(Role::Warn)));
    }
    let rule = Block::new()
        .borders(Borders::TOP)
        .border_set(model.symbols.border)
        .border_style(model.theme.style(Role::Label))
        .title_top(Line::from(title));
    let inner = rule.inner(area);
    frame.render_widget(rule, area);
    inner
}

/// Dims what was drawn in `area` if its data is old.
pub(super) fn dim_old(model: &Model, frame: &mut Frame<'_>, area: Rect, old: Option<u64>) {
    if old.is_some() {
        let style = model.theme.style(Role::Old);
        frame.buffer_mut().set_style(area, style);
    }
}

/// Draws `lines`; what is too long ends in an ellipsis.
pub(super) fn text(model: &Model, frame: &mut Frame<'_>, area: Rect, lines: Vec<Line<'static>>) {
    let width = usize::from(area.width);
    let cut = |mut line: Line<'static>| {
        let over = line.width().saturating_sub(width);
        if let (1.., Some(last)) = (over, line.spans.last_mut()) {
            let room = last.width().saturating_sub(over);
            *last = Span::styled(fit(&last.content, room, model.symbols.ellipsis), last.style);
        }
        line
    };
    let lines: Vec<_> = lines.into_iter().map(cut).collect();
    frame.render_widget(Paragraph::new(lines), area);
}

/// Cells for the words of a line beside its label.
pub(super) fn room(area: Rect) -> usize {
    usize::from(area.width).saturating_sub(LABEL_WIDTH)
}

/// `parts` with commas between them, as many as fit in `room` cells; the first one always.
pub(super) fn list(room: usize, parts: impl IntoIterator<Item = String>) -> String {
    let mut parts = parts.into_iter();
    let mut out = parts.next().unwrap_or_default();
    for part in parts {
        let longer = format!("{out}, {part}");
        if Span::raw(&longer).width() > room {
            break;
        }
        out = longer;
    }
    out
}

/// A line that begins with a label.
pub(super) fn labelled(
    model: &Model,
    label: &str,
    rest: impl IntoIterator<Item = Span<'static>>,
) -> Line<'static> {
    let label = Span::styled(
        format!("{label:LABEL_WIDTH$}"),
        model.theme.style(Role::Label),
    );
    std::iter::once(label).chain(rest).collect()
}

/// The same with a state: its symbol, then the words.
pub(super) fn state(
    model: &Model,
    label: &str,
    health: Health,
    words: impl Into<String>,
) -> Line<'static> {
    let words = match health {
        Health::Good | Health::Unknown => Span::raw(words.into()),
        Health::Warn | Health::Bad => Span::styled(words.into(), model.theme.style(health.role())),
    };
    labelled(model, label, [symbol(model, health), Span::raw(" "), words])
}
