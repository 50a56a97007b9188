//! The lanes' screen: where miners connect, to hh-pool and to hh-translator, and the upstreams of the latter.

use super::panel::{dim_old, labelled, list, room, state, titled};
use super::table::{self, Cells, figure, text};
use crate::figures::{NONE, age, count, difficulty, name, percent, si};
use crate::model::Model;
use crate::theme::{Health, Role};
use hh_ipc::api::translator::{LaneDetail, TranslatorLane, TranslatorStatus};
use hh_ipc::api::{LinkState, LinkStatus};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// Lines of a part beside its rows: a rule and the heads of the columns.
const FRAME_LINES: u16 = 2;

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let pool_rows = model
        .pool
        .data
        .as_ref()
        .map_or(1, |pool| pool.status.lanes.len());
    let translator = model.translator.data.as_ref();
    let translator_rows = translator.map_or(1, |translator| translator.lanes.len());
    let lines = |rows: usize| FRAME_LINES + u16::try_from(rows.max(1)).unwrap_or(u16::MAX - 8);
    let [pool, translator, upstreams] = Layout::vertical([
        Constraint::Max(lines(pool_rows)),
        Constraint::Max(lines(translator_rows)),
        Constraint::Fill(1),
    ])
    .areas(area);
    draw_pool(model, frame, pool);
    draw_translator(model, frame, translator);
    draw_upstreams(model, frame, upstreams);
}

fn plain(texts: Vec<String>) -> Cells {
    Cells {
        texts,
        style: Style::new(),
    }
}

fn draw_pool(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let old = model.pool.old(model.shown_at());
    let inner = titled(model, frame, area, "Lanes of the pool, SV2".to_owned(), old);
    let Some(pool) = &model.pool.data else {
        return;
    };
    let columns = [
        text("LANE", 12, 0),
        text("LISTENS ON", 0, 0),
        figure("CONNECTIONS", 11, 0),
        figure("CHANNELS", 8, 0),
        figure("HASHRATE 10m", 13, 0),
    ];
    let ascii = model.symbols.ascii;
    let lines: Vec<Cells> = pool
        .status
        .lanes
        .iter()
        .map(|lane| {
            plain(vec![
                name(&lane.name, ascii),
                name(&lane.listen_address, ascii),
                count(lane.connections.into()),
                count(lane.channels.into()),
                si(lane.hashrate_10m_hs, "H/s"),
            ])
        })
        .collect();
    table::draw(model, frame, inner, &columns, (&lines, None));
    dim_old(model, frame, inner, old);
}

fn draw_translator(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let old = model.translator.old(model.shown_at());
    let title = "Lanes of the translator".to_owned();
    let inner = titled(model, frame, area, title, old);
    let Some(translator) = &model.translator.data else {
        return;
    };
    let columns = [
        text("LANE", 12, 0),
        text("STATE", 6, 0),
        text("PROTOCOL", 8, 70),
        text("LISTENS ON", 0, 0),
        figure("DIFFICULTY", 20, 110),
        figure("OK/REJECTED", 11, 90),
        figure("CONNECTIONS", 11, 0),
        figure("HASHRATE 10m", 13, 0),
    ];
    let lines = translator.lanes.iter();
    let selected = lines
        .clone()
        .position(|lane| Some(&lane.name) == model.lane.as_ref());
    let lines: Vec<Cells> = lines.map(|lane| line(model, lane)).collect();
    table::draw(model, frame, inner, &columns, (&lines, selected));
    dim_old(model, frame, inner, old);
}

fn line(model: &Model, lane: &TranslatorLane) -> Cells {
    let ascii = model.symbols.ascii;
    let detail = model.lanes.iter().find(|detail| detail.name == lane.name);
    let known = |text: fn(&LaneDetail) -> String| detail.map_or(NONE.to_owned(), text);
    let (word, style) = if lane.paused {
        ("paused", model.theme.style(Role::Warn))
    } else {
        ("open", Style::new())
    };
    let texts = vec![
        name(&lane.name, ascii),
        word.to_owned(),
        name(&lane.protocol, ascii),
        name(&lane.listen_address, ascii),
        known(bounds),
        known(|lane| {
            let rejected = count(lane.shares.rejected_total());
            format!("{}/{rejected}", count(lane.shares.accepted))
        }),
        count(lane.connections.into()),
        known(|lane| si(lane.hashrate_10m_hs, "H/s")),
    ];
    Cells { texts, style }
}

/// Between which difficulties the jobs of a lane stay.
fn bounds(lane: &LaneDetail) -> String {
    match (lane.min_difficulty, lane.max_difficulty) {
        (None, None) => "any".to_owned(),
        (Some(min), None) => format!("from {}", difficulty(min)),
        (None, Some(max)) => format!("to {}", difficulty(max)),
        (Some(min), Some(max)) => format!("{} to {}", difficulty(min), difficulty(max)),
    }
}

fn draw_upstreams(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let old = model.translator.old(model.shown_at());
    let title = "Upstreams of the translator".to_owned();
    let inner = titled(model, frame, area, title, old);
    let Some(translator) = &model.translator.data else {
        return;
    };
    let mut lines: Vec<Line<'static>> = translator
        .upstreams
        .iter()
        .map(|link| upstream(model, link))
        .collect();
    lines.extend(shares(model, inner, translator));
    super::panel::text(model, frame, inner, lines);
    dim_old(model, frame, inner, old);
}

fn upstream(model: &Model, link: &LinkStatus) -> Line<'static> {
    let ascii = model.symbols.ascii;
    let since = age(link.since_at, model.translator.as_of(model.shown_at()));
    let address = name(&link.address, ascii);
    let (health, words) = match link.state {
        LinkState::Up => (Health::Good, format!("{address} up {since}")),
        LinkState::Connecting => (Health::Warn, format!("{address} connecting {since}")),
        LinkState::Down => {
            let why = link.last_error.as_deref().unwrap_or("not in use");
            let why = name(why, ascii);
            (Health::Warn, format!("{address} down {since}: {why}"))
        }
    };
    state(model, "upstream", health, words)
}

/// What came of the shares, and of those that the pool never settled.
fn shares(model: &Model, area: Rect, translator: &TranslatorStatus) -> Vec<Line<'static>> {
    let rejected = translator.shares.rejected_total();
    let all = translator.shares.accepted.saturating_add(rejected);
    let unsettled = translator.shares_unsettled;
    let words = list(
        room(area),
        [
            format!("{} accepted", count(translator.shares.accepted)),
            format!("{} rejected ({})", count(rejected), percent(rejected, all)),
            format!("{} in flight", count(translator.shares_in_flight)),
        ],
    );
    let mut lines = vec![labelled(model, "shares", [Span::raw(words)])];
    if unsettled > 0 {
        let words = format!(
            "{} lost with an upstream before it settled them",
            count(unsettled)
        );
        let style = model.theme.style(Role::Warn);
        lines.push(labelled(model, "unsettled", [Span::styled(words, style)]));
    }
    lines
}
