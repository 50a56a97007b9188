//! The first screen: how the pool does, what it works on, what it rests on, who mines, what was found.

use super::panel::{dim_old, labelled, list, room, state, text, titled};
use super::{blocks, lightning, miners, treasury};
use crate::feed::PoolAnswer;
use crate::figures::{
    age, amount, core_version, count, duration, name, percent, plural, seconds_since, si,
};
use crate::model::{Model, hashrate_window};
use crate::theme::{Health, Role};
use hh_ipc::api::pool::PoolStatus;
use hh_ipc::api::template_provider::{
    NodeCondition, NodeStatus, TemplateProviderStatus, TemplateSummary,
};
use hh_ipc::api::translator::TranslatorStatus;
use hh_ipc::api::{LinkState, LinkStatus, ShareCounts};
use jiff::Timestamp;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Sparkline, SparklineBar};
use std::collections::VecDeque;

/// From this width on the four panels stand in a row.
const WIDE: u16 = 150;

/// With less height the lower panels give their place to the tables.
const LOW: u16 = 18;

/// Lines of a panel with its title.
const PANEL_HEIGHT: u16 = 6;

/// Lines of the part about money, where there is a treasury and room beside the miners.
const MONEY_HEIGHT: u16 = 3;
const MONEY_FROM_HEIGHT: u16 = 26;

/// Shares that wait for the ledger longer than this mean that it does not take them.
const SHIPPING_LATE_SECONDS: u64 = 60;

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let blocks_height = blocks::height(model, area.height);
    let has_money = model.treasury.data.is_some() && area.height >= MONEY_FROM_HEIGHT;
    let money_height = if has_money { MONEY_HEIGHT } else { 0 };
    if area.width >= WIDE {
        let [panels, money_area, miners, blocks] = Layout::vertical([
            Constraint::Length(PANEL_HEIGHT),
            Constraint::Length(money_height),
            Constraint::Fill(1),
            Constraint::Length(blocks_height),
        ])
        .areas(area);
        let [first, second, third, fourth] = Layout::horizontal([Constraint::Fill(1); 4])
            .spacing(2)
            .areas(panels);
        hashrate(model, frame, first);
        template(model, frame, second);
        shares(model, frame, third);
        services(model, frame, fourth);
        money(model, frame, money_area);
        miners::draw(model, frame, miners);
        blocks::draw(model, frame, blocks);
        return;
    }
    let lower_height = if area.height < LOW { 0 } else { PANEL_HEIGHT };
    let [upper, lower, money_area, miners, blocks] = Layout::vertical([
        Constraint::Length(PANEL_HEIGHT),
        Constraint::Length(lower_height),
        Constraint::Length(money_height),
        Constraint::Fill(1),
        Constraint::Length(blocks_height),
    ])
    .areas(area);
    let halves = Layout::horizontal([Constraint::Fill(1); 2]).spacing(2);
    let [left, right] = halves.areas(upper);
    hashrate(model, frame, left);
    template(model, frame, right);
    let [left, right] = halves.areas(lower);
    shares(model, frame, left);
    services(model, frame, right);
    money(model, frame, money_area);
    miners::draw(model, frame, miners);
    blocks::draw(model, frame, blocks);
}

/// One line of the treasury and one of its wallet.
fn money(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    if area.height == 0 {
        return;
    }
    let old = model.treasury.old(model.shown_at());
    let inner = titled(model, frame, area, "Money".to_owned(), old);
    let lines = vec![
        treasury::summary(model, inner),
        lightning::summary(model, inner),
    ];
    text(model, frame, inner, lines);
    dim_old(model, frame, inner, old);
}

fn hashrate(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let old = model.pool.old(model.shown_at());
    let window = model.pool.data.as_ref().map_or_else(
        || "10m".to_owned(),
        |pool| hashrate_window(pool, model.pool_time()),
    );
    let title = format!("Pool hashrate {window}");
    let inner = titled(model, frame, area, title, old);
    let [figures, bars, scale] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Fill(1),
        Constraint::Length(1),
    ])
    .areas(inner);
    if let Some(PoolAnswer { status, .. }) = &model.pool.data {
        let line = Line::from(vec![
            Span::styled(
                si(status.hashrate_10m_hs, "H/s"),
                model.theme.style(Role::Figure),
            ),
            Span::raw(format!(
                "  {}, {}",
                plural(status.channels.into(), "channel"),
                plural(status.connections.into(), "connection")
            )),
        ]);
        frame.render_widget(line, figures);
    } else {
        frame.render_widget(waiting(model), figures);
    }
    sparkline(model, frame, bars);
    let peak = model.history.peak();
    let words = if peak > 0.0 {
        format!("last hour seen here, peak {}", si(peak, "H/s"))
    } else {
        "last hour seen here".to_owned()
    };
    frame.render_widget(Line::styled(words, model.theme.style(Role::Label)), scale);
    dim_old(model, frame, inner, old);
}

fn sparkline(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let columns = model.history.columns(area.width.into(), model.shown_at());
    let peak = model.history.peak();
    let bars = columns.into_iter().map(|value| {
        // A bar has at most a few dozen steps; a thousandth is exact enough.
        let part = value.map(|value| {
            if peak > 0.0 {
                value / peak * 1000.0
            } else {
                0.0
            }
        });
        SparklineBar::from(part.map(thousandths))
    });
    let widget = Sparkline::default()
        .data(bars)
        .max(1000)
        .bar_set(model.symbols.bars.clone())
        .absent_value_symbol(model.symbols.gap)
        .absent_value_style(model.theme.style(Role::Label));
    frame.render_widget(widget, area);
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rounded and clamped to what fits; not a number becomes 0"
)]
fn thousandths(value: f64) -> u64 {
    value.round().clamp(0.0, 1000.0) as u64
}

fn template(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let old = model.tp.old(model.shown_at());
    let inner = titled(model, frame, area, "Template and node".to_owned(), old);
    let lines = match &model.tp.data {
        None => vec![waiting(model)],
        Some(TemplateProviderStatus {
            nodes,
            last_template,
            ..
        }) => {
            let mut lines = last_template.as_ref().map_or_else(
                || vec![state(model, "template", Health::Unknown, "none yet")],
                |template| template_lines(model, inner, template),
            );
            lines.push(node_line(model, nodes));
            lines
        }
    };
    text(model, frame, inner, lines);
    dim_old(model, frame, inner, old);
}

fn template_lines(model: &Model, area: Rect, template: &TemplateSummary) -> Vec<Line<'static>> {
    let line =
        |label, parts: Vec<String>| labelled(model, label, [Span::raw(list(room(area), parts))]);
    let made = age(template.created_at, model.tp.as_of(model.shown_at()));
    let (id, height) = (template.template_id, template.height);
    let fees = amount(template.fees_sat);
    let trigger = name(&template.trigger, model.symbols.ascii);
    vec![
        line(
            "template",
            vec![
                id.to_string(),
                format!("height {height}"),
                format!("{made} old"),
            ],
        ),
        line("value", vec![amount(template.value_sat)]),
        line(
            "fees",
            vec![fees, plural(template.transactions.into(), "tx")],
        ),
        line(
            "made in",
            vec![duration(template.generation_seconds), trigger],
        ),
    ]
}

/// The node that templates come from, and how many of the others could not take over.
fn node_line(model: &Model, nodes: &[NodeStatus]) -> Line<'static> {
    let Some(active) = nodes.iter().find(|node| node.active) else {
        let now = model.tp.as_of(model.shown_at());
        return nodes.first().map_or_else(
            || state(model, "node", Health::Unknown, "none"),
            |preferred| link_line(model, now, "node", &preferred.templates),
        );
    };
    let version = active.version.map_or("-".to_owned(), core_version);
    let height = active
        .height
        .map_or("-".to_owned(), |height| height.to_string());
    let (mut health, word) = match active.condition {
        NodeCondition::Healthy => (Health::Good, "in sync"),
        NodeCondition::InitialDownload => (Health::Warn, "still catching up (IBD)"),
        NodeCondition::Lagging => (Health::Warn, "lagging"),
        NodeCondition::Silent => (Health::Warn, "its RPC is silent"),
        NodeCondition::Connecting | NodeCondition::Down => (Health::Warn, "no templates"),
    };
    let mut words = format!("{version} height {height}, {word}");
    let unwell = |node: &&NodeStatus| !node.active && node.condition != NodeCondition::Healthy;
    let unwell = nodes.iter().filter(unwell).count();
    if unwell > 0 {
        health = Health::Warn;
        words += &format!(", {unwell} of {} unwell", nodes.len());
    }
    state(model, "node", health, words)
}

fn shares(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let old = model.pool.old(model.shown_at());
    let inner = titled(model, frame, area, "Shares and lanes".to_owned(), old);
    let lines = match &model.pool.data {
        None => vec![waiting(model)],
        Some(PoolAnswer { status, .. }) => share_lines(model, inner, &status.shares)
            .into_iter()
            .chain(lane_lines(model, inner, status))
            .collect(),
    };
    text(model, frame, inner, lines);
    dim_old(model, frame, inner, old);
}

fn share_lines(model: &Model, area: Rect, shares: &ShareCounts) -> Vec<Line<'static>> {
    let rejected = shares.rejected_total();
    let all = shares.accepted.saturating_add(rejected);
    let mut reasons: Vec<_> = shares.rejected.iter().collect();
    reasons.sort_by_key(|(_, number)| std::cmp::Reverse(**number));
    let mut reasons: VecDeque<_> = reasons
        .into_iter()
        .map(|(reason, number)| format!("{} {}", name(reason, model.symbols.ascii), count(*number)))
        .collect();
    let sum = format!("{} ({})", count(rejected), percent(rejected, all));
    reasons.push_front(sum);
    let mut lines = vec![labelled(
        model,
        "accepted",
        [Span::raw(count(shares.accepted))],
    )];
    for label in ["rejected", ""] {
        let words = list(room(area), reasons.iter().cloned());
        let taken = words.matches(", ").count() + 1;
        reasons.drain(..taken.min(reasons.len()));
        lines.push(labelled(model, label, [Span::raw(words)]));
        if reasons.is_empty() {
            break;
        }
    }
    lines
}

fn lane_lines(
    model: &Model,
    area: Rect,
    status: &PoolStatus,
) -> impl Iterator<Item = Line<'static>> {
    status.lanes.iter().map(move |lane| {
        let name = name(&lane.name, model.symbols.ascii);
        let words = list(
            room(area),
            [
                format!("{name} {}", si(lane.hashrate_10m_hs, "H/s")),
                plural(lane.channels.into(), "channel"),
                lane.listen_address.clone(),
            ],
        );
        labelled(model, "lane", [Span::raw(words)])
    })
}

fn services(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let old = model.pool.old(model.shown_at());
    let inner = titled(model, frame, area, "Services".to_owned(), old);
    let [pool_area, translator_area] =
        Layout::vertical([Constraint::Fill(1), Constraint::Length(1)]).areas(inner);
    let lines = match &model.pool.data {
        None => vec![waiting(model)],
        Some(PoolAnswer { status, .. }) => pool_lines(model, status),
    };
    text(model, frame, pool_area, lines);
    dim_old(model, frame, pool_area, old);

    let Some(translator) = &model.translator.data else {
        return;
    };
    let line = upstream_line(model, translator_area, translator);
    text(model, frame, translator_area, vec![line]);
    let old = model.translator.old(model.shown_at());
    dim_old(model, frame, translator_area, old);
}

fn pool_lines(model: &Model, status: &PoolStatus) -> Vec<Line<'static>> {
    vec![
        links_line(
            model,
            model.pool_time(),
            "templates",
            &status.template_providers,
        ),
        links_line(model, model.pool_time(), "nodes", &status.nodes),
        share_log_line(model, status),
        ledger_line(model, status),
    ]
}

fn share_log_line(model: &Model, status: &PoolStatus) -> Line<'static> {
    let log = &status.share_log;
    if let Some(why) = &log.last_error {
        return state(
            model,
            "share log",
            Health::Bad,
            name(why, model.symbols.ascii),
        );
    }
    if let Some(why) = &log.warning {
        let why = name(why, model.symbols.ascii);
        return state(model, "share log", Health::Warn, why);
    }
    let words = format!(
        "{} durable, {} to ship",
        count(log.durable_seq),
        count(log.not_shipped())
    );
    state(model, "share log", Health::Good, words)
}

fn ledger_line(model: &Model, status: &PoolStatus) -> Line<'static> {
    let now = model.pool_time();
    let shipped = status.ledger.last_shipped_at;
    let when = shipped.map_or("nothing shipped yet".to_owned(), |at| {
        format!("shipped {} ago", age(at, now))
    });
    if let Some(why) = &status.ledger.last_error {
        let why = name(why, model.symbols.ascii);
        return state(model, "ledger", Health::Bad, format!("{why}, {when}"));
    }
    let waits = status.share_log.not_shipped() > 0;
    let late = shipped.is_some_and(|at| seconds_since(at, now) > SHIPPING_LATE_SECONDS);
    let health = if waits && late {
        Health::Warn
    } else {
        Health::Good
    };
    state(model, "ledger", health, when)
}

fn upstream_line(model: &Model, area: Rect, translator: &TranslatorStatus) -> Line<'static> {
    let label = "translator";
    let Some(first) = translator.upstreams.first() else {
        return state(model, label, Health::Warn, "no upstream");
    };
    if translator
        .upstreams
        .iter()
        .any(|link| link.state != LinkState::Up)
    {
        return links_line(
            model,
            model.translator.as_of(model.shown_at()),
            label,
            &translator.upstreams,
        );
    }
    let unsettled = translator.shares_unsettled;
    let mut parts = vec![
        plural(translator.connections.into(), "miner"),
        format!("{} in flight", count(translator.shares_in_flight)),
    ];
    if unsettled > 0 {
        parts.push(format!("{} unsettled", count(unsettled)));
    }
    parts.push(format!(
        "upstream {}",
        name(&first.address, model.symbols.ascii)
    ));
    let room = room(area).saturating_sub(2);
    state(model, label, Health::Good, list(room, parts))
}

/// The first link that is not up, or the first one.
fn links_line(model: &Model, as_of: Timestamp, label: &str, links: &[LinkStatus]) -> Line<'static> {
    let up = links
        .iter()
        .filter(|link| link.state == LinkState::Up)
        .count();
    match links {
        [] => state(model, label, Health::Unknown, "none configured"),
        [only] => link_line(model, as_of, label, only),
        _ if up == links.len() => state(model, label, Health::Good, format!("all {up} up")),
        _ => {
            let broken = links.iter().find(|link| link.state != LinkState::Up);
            let first = broken.unwrap_or(&links[0]);
            let words = format!(
                "{up} of {} up, {}",
                links.len(),
                link_words(model, as_of, first)
            );
            state(model, label, Health::Warn, words)
        }
    }
}

fn link_line(model: &Model, as_of: Timestamp, label: &str, link: &LinkStatus) -> Line<'static> {
    let health = match link.state {
        LinkState::Up => Health::Good,
        LinkState::Connecting => Health::Unknown,
        LinkState::Down => Health::Bad,
    };
    state(model, label, health, link_words(model, as_of, link))
}

fn link_words(model: &Model, as_of: Timestamp, link: &LinkStatus) -> String {
    let address = name(&link.address, model.symbols.ascii);
    let since = age(link.since_at, as_of);
    match link.state {
        LinkState::Up => address,
        LinkState::Connecting => format!("connecting to {address}"),
        LinkState::Down => {
            let why = link.last_error.as_deref().unwrap_or("no reason known");
            format!(
                "down {since}: {} ({address})",
                name(why, model.symbols.ascii)
            )
        }
    }
}

fn waiting(model: &Model) -> Line<'static> {
    Line::styled(
        format!("waiting for an answer{}", model.symbols.ellipsis),
        model.theme.style(Role::Label),
    )
}
