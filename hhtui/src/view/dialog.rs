//! The question whether something is to be changed, over the screen.

use crate::act::Asks;
use crate::dialog::{Dialog, Stage};
use crate::figures::name;
use crate::model::Model;
use crate::theme::{Health, Role};
use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};

/// Wide enough for a command line, and less than the smallest screen.
const WIDTH: u16 = 58;

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect, dialog: &Dialog) {
    let title = match dialog {
        Dialog::Act { operation, .. } => operation.title(),
        Dialog::Told(_) => "Nothing is changed".to_owned(),
    };
    let title = format!(" {} ", name(&title, model.symbols.ascii));
    let block = Block::bordered()
        .border_set(model.symbols.border)
        .title_top(Line::styled(title, model.theme.style(Role::Title)));
    let lines = lines(model, dialog);
    let height = u16::try_from(lines.len()).unwrap_or(u16::MAX);
    let popup = area.centered(
        Constraint::Length(WIDTH),
        Constraint::Length(height.saturating_add(2)),
    );
    frame.render_widget(Clear, popup);
    frame.render_widget(Paragraph::new(lines).block(block), popup);
}

fn lines(model: &Model, dialog: &Dialog) -> Vec<Line<'static>> {
    let close = [("Esc", "close")];
    let (operation, stage, typed) = match dialog {
        Dialog::Act {
            operation,
            stage,
            typed,
        } => (operation, stage, typed),
        Dialog::Told(why) => {
            let mut lines = paragraph(model, why, Style::new());
            lines.extend([Line::raw(""), keys(model, &close)]);
            return lines;
        }
    };
    let ellipsis = model.symbols.ellipsis;
    let (words, health, keys) = match stage {
        Stage::Planning => {
            let asking = format!("Asking {}{ellipsis}", operation.daemon().program());
            (asking, None, keys(model, &[("Esc", "leave it")]))
        }
        Stage::Asked(consequence) => {
            let question = operation.question(consequence);
            (question, None, choice(model, operation.asks(), typed))
        }
        Stage::Doing => (format!("Doing it{ellipsis}"), None, Line::raw("")),
        Stage::Done(consequence) => {
            let done = operation.done(consequence);
            (done, Some(Health::Good), keys(model, &close))
        }
        Stage::Failed(why) => (why.clone(), Some(Health::Bad), keys(model, &close)),
    };
    let mut lines = vec![Line::from(vec![Span::raw("On "), super::context(model)])];
    let words = match health {
        Some(health) => format!("{} {words}", model.symbols.of(health)),
        None => words,
    };
    let style = health.map_or(Style::new(), |health| model.theme.style(health.role()));
    lines.extend(paragraph(model, &words, style));
    lines.push(Line::raw(""));
    let command = format!("{} {}", model.hhctl, operation.command());
    lines.extend(paragraph(model, &command, model.theme.style(Role::Label)));
    lines.extend([Line::raw(""), keys]);
    lines
}

/// The keys that answer, or what is typed of the name that is asked for.
fn choice(model: &Model, asks: Asks, typed: &str) -> Line<'static> {
    if asks == Asks::Name {
        let typed = format!(
            "{}{}",
            name(typed, model.symbols.ascii),
            model.symbols.cursor
        );
        return Line::from(vec![
            Span::raw(format!(
                "type {}: ",
                name(&model.place, model.symbols.ascii)
            )),
            Span::styled(typed, model.theme.style(Role::Title)),
        ]);
    }
    keys(model, &[("y", "do it"), ("n", "leave it")])
}

/// `text` in lines that fit, broken between words where that is possible.
fn paragraph(model: &Model, text: &str, style: Style) -> Vec<Line<'static>> {
    let width = usize::from(WIDTH - 2);
    let mut lines = Vec::new();
    let mut line = String::new();
    for word in name(text, model.symbols.ascii).split_whitespace() {
        let longer = format!("{line} {word}");
        if line.is_empty() {
            line = word.to_owned();
        } else if Span::raw(&longer).width() <= width {
            line = longer;
        } else {
            lines.push(std::mem::replace(&mut line, word.to_owned()));
        }
        // What is a whole line and more by itself: an address, a path.
        while Span::raw(&line).width() > width {
            let rest = line.split_off(cut(&line, width));
            lines.push(std::mem::replace(&mut line, rest));
        }
    }
    lines.push(line);
    lines
        .into_iter()
        .map(|line| Line::styled(line, style))
        .collect()
}

/// Where the first `width` cells of `text` end.
fn cut(text: &str, width: usize) -> usize {
    let fits = |end: &usize| Span::raw(&text[..*end]).width() <= width;
    let ends = text.char_indices().map(|(index, c)| index + c.len_utf8());
    // A character that is wider than the line goes on it all the same, or this would never end.
    let first = text.chars().next().map_or(0, char::len_utf8);
    ends.take_while(fits).last().unwrap_or(first)
}

fn keys(model: &Model, keys: &[(&'static str, &'static str)]) -> Line<'static> {
    let mut spans = Vec::new();
    for (key, meaning) in keys {
        spans.push(Span::styled(*key, model.theme.style(Role::Title)));
        spans.push(Span::raw(format!(" {meaning}   ")));
    }
    Line::from(spans)
}
