//! The whole screen from the model, and nothing else: no clock, no state of its own.
//!
//! Line 1 says what and when, below it a line for each daemon that is not live, then the screen, then the keys. Data that may
//! be no longer true is dimmed and its age is in the title.

mod blocks;
mod dialog;
mod help;
mod lanes;
mod lightning;
mod miners;
mod overview;
mod panel;
mod rewards;
mod table;
mod treasury;
mod workers;

use crate::figures::{fit, name, span};
use crate::keymap::{Action, Binding, KEYMAP};
use crate::link::Link;
use crate::model::{Model, View};
use crate::theme::{Health, Role};
use hh_ipc::locate::Daemon;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};

/// Below this size nothing useful fits.
const MIN_WIDTH: u16 = 60;
const MIN_HEIGHT: u16 = 15;

/// Draws `model`.
pub(crate) fn view(model: &Model, frame: &mut Frame<'_>) {
    let area = frame.area();
    if area.width < MIN_WIDTH || area.height < MIN_HEIGHT {
        let (width, height) = (area.width, area.height);
        let text = format!(
            "hhtui needs {MIN_WIDTH}x{MIN_HEIGHT}, this is {width}x{height}. \
             Make the window larger, or press q to quit."
        );
        frame.render_widget(Paragraph::new(text).wrap(Wrap { trim: true }), area);
        return;
    }
    let ribbon = ribbon(model, area.width);
    let ribbon_height = u16::try_from(ribbon.len()).unwrap_or(0);
    let [head, ribbon_area, body, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(ribbon_height),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(area);
    header(model, frame, head);
    frame.render_widget(Paragraph::new(ribbon), ribbon_area);
    match model.view {
        View::Overview => overview::draw(model, frame, body),
        View::Lanes => lanes::draw(model, frame, body),
        View::Miners => workers::draw(model, frame, body),
        View::Blocks => rewards::draw(model, frame, body),
        View::Treasury => treasury::draw(model, frame, body),
        View::Lightning => lightning::draw(model, frame, body),
    }
    footer(model, frame, foot);
    if model.help {
        // Over all of it: 24 lines are just enough.
        help::draw(model, frame, area);
    }
    if let Some(dialog) = &model.dialog {
        dialog::draw(model, frame, body, dialog);
    }
}

fn header(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let mut left = vec![context(model)];
    for daemon in Daemon::ALL {
        let health = health(&link(model, daemon));
        left.push(Span::raw("  "));
        left.push(symbol(model, health));
        left.push(Span::raw(format!(" {}", short(daemon))));
    }
    let mut right = Vec::new();
    if model.paused_at.is_some() {
        right.push(Span::styled("PAUSED  ", model.theme.style(Role::Warn)));
    }
    // What else there is room for.
    let room = |left: &[Span<'_>], right: &[Span<'_>], more: &[Span<'_>]| {
        let all = [left, right, more].into_iter().flatten();
        all.map(Span::width).sum::<usize>() < usize::from(area.width)
    };
    let clock = model.now.strftime("%H:%M:%S");
    let clocks = [format!("{clock} UTC"), clock.to_string()].map(|clock| [Span::raw(clock)]);
    right.extend(
        clocks
            .into_iter()
            .find(|clock| room(&left, &right, clock))
            .into_iter()
            .flatten(),
    );
    let height = height(model).map_or("-".to_owned(), |height| height.to_string());
    let height = [
        Span::styled("height ", model.theme.style(Role::Label)),
        Span::raw(format!("{height}  ")),
    ];
    if room(&left, &right, &height) {
        right.splice(0..0, height);
    }
    let program = [
        Span::styled("hhtui", model.theme.style(Role::Title)),
        Span::raw("  "),
    ];
    if room(&left, &right, &program) {
        left.splice(0..0, program);
    }
    frame.render_widget(Line::from(left), area);
    frame.render_widget(Line::from(right).right_aligned(), area);
}

/// The name of the context, alarming where its coins are worth something.
fn context(model: &Model) -> Span<'static> {
    let chain = model.pool.data.as_ref().map(|pool| &pool.status.chain);
    let chain = chain.or(model.tp.data.as_ref().map(|tp| &tp.chain));
    let name = name(&model.context, model.symbols.ascii);
    match chain.map(String::as_str) {
        Some("main") => Span::styled(
            format!("{name} MAINNET"),
            model.theme.style(Role::Production),
        ),
        Some(chain) => Span::raw(format!("{name} {chain}")),
        None => Span::raw(name),
    }
}

/// Height of the best chain as the node says, or as follows from the work of the miners.
fn height(model: &Model) -> Option<u32> {
    let node = model
        .tp
        .data
        .as_ref()
        .and_then(|tp| tp.active_node()?.height);
    let work = || model.pool.data.as_ref()?.status.work.as_ref();
    node.or_else(|| work()?.height.checked_sub(1))
}

fn ribbon(model: &Model, width: u16) -> Vec<Line<'static>> {
    Daemon::ALL
        .into_iter()
        .filter_map(|daemon| {
            let link = link(model, daemon);
            let text = match &link {
                Link::Live => return None,
                Link::Connecting => "connecting".to_owned(),
                Link::Stale { age } => format!("stale, its last answer is {} old", span(*age)),
                Link::Down {
                    since,
                    why,
                    retry_in,
                } => {
                    let retry = match retry_in {
                        0 => "now".to_owned(),
                        seconds => span(*seconds),
                    };
                    format!("down {}, retry {retry}: {why}", span(*since))
                }
            };
            let text = format!("{} {text}", daemon.program());
            let text = name(&text, model.symbols.ascii);
            let text = fit(&text, usize::from(width) - 2, model.symbols.ellipsis);
            let health = health(&link);
            let text = Span::styled(text, model.theme.style(health.role()));
            Some(Line::from(vec![
                symbol(model, health),
                Span::raw(" "),
                text,
            ]))
        })
        .collect()
}

/// The keys of this screen, in the order in which one looks for them; those that there is room for.
fn footer(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let here = KEYMAP
        .iter()
        .filter(|binding| binding.means_something_on(model.view));
    let is_first = |binding: &&Binding| matches!(binding.action, Action::Help | Action::Quit);
    let first = here.clone().filter(is_first);
    let own = here.clone().filter(|binding| binding.is_own());
    let rest = here.filter(|binding| !is_first(binding) && !binding.is_own());
    let mut spans = Vec::new();
    let mut used = 0;
    for binding in first.chain(own).chain(rest) {
        let Some(word) = binding.foot else { continue };
        let key = binding.keys_text.split(' ').next().unwrap_or_default();
        let space = if spans.is_empty() { "" } else { "  " };
        let wide = space.len() + key.len() + 1 + word.len();
        if used + wide > usize::from(area.width) {
            continue;
        }
        used += wide;
        spans.push(Span::raw(space));
        spans.push(Span::styled(key, model.theme.style(Role::Title)));
        let word = format!(" {word}");
        spans.push(Span::styled(word, model.theme.style(Role::Label)));
    }
    frame.render_widget(Line::from(spans), area);
}

fn link(model: &Model, daemon: Daemon) -> Link<'_> {
    let now = model.shown_at();
    match daemon {
        Daemon::Tp => model.tp.link(now),
        Daemon::Pool => model.pool.link(now),
        Daemon::Translator => model.translator.link(now),
        Daemon::Treasury => model.treasury.link(now),
        Daemon::Core | Daemon::NodeAgent => {
            unreachable!("the screens are those of Daemon::ALL")
        }
    }
}

fn health(link: &Link<'_>) -> Health {
    match link {
        Link::Connecting => Health::Unknown,
        Link::Live => Health::Good,
        Link::Stale { .. } => Health::Warn,
        Link::Down { .. } => Health::Bad,
    }
}

/// Without the prefix that all daemons have.
fn short(daemon: Daemon) -> &'static str {
    daemon.program().trim_start_matches("hh-")
}

fn symbol(model: &Model, health: Health) -> Span<'static> {
    Span::styled(model.symbols.of(health), model.theme.style(health.role()))
}

#[cfg(test)]
mod tests;
