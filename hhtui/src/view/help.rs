//! What the keys of this screen and the symbols mean, over the screen.

use super::symbol;
use crate::keymap::KEYMAP;
use crate::model::Model;
use crate::theme::{Health, Role};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};

const WIDTH: u16 = 58;

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let here = KEYMAP
        .iter()
        .filter(|binding| binding.means_something_on(model.view));
    let mut lines: Vec<Line<'_>> = here
        .map(|binding| {
            let keys = format!(" {:10}", binding.keys_text);
            Line::from(vec![
                Span::styled(keys, model.theme.style(Role::Title)),
                Span::raw(binding.help),
            ])
        })
        .collect();
    let mut legend = vec![Span::raw(" ")];
    let meanings = [
        (Health::Good, "good"),
        (Health::Warn, "look at it"),
        (Health::Bad, "down"),
        (Health::Unknown, "not known yet"),
    ];
    for (health, meaning) in meanings {
        legend.push(symbol(model, health));
        legend.push(Span::raw(format!(" {meaning}   ")));
    }
    lines.push(Line::from(legend));
    let height = u16::try_from(lines.len())
        .unwrap_or(u16::MAX)
        .saturating_add(2);
    let popup = area.centered(
        ratatui::layout::Constraint::Length(WIDTH),
        ratatui::layout::Constraint::Length(height),
    );
    let block = Block::bordered()
        .border_set(model.symbols.border)
        .title_top(Line::styled(" Keys ", model.theme.style(Role::Title)));
    frame.render_widget(Clear, popup);
    frame.render_widget(Paragraph::new(lines).block(block), popup);
}
