//! The Lightning screen: the wallet's node, its channels, and its payments.

use super::panel::{dim_old, labelled, list, room, state, titled};
use super::table::{self, Cells, figure, text};
use crate::figures::{NONE, age, name, plural, sat};
use crate::model::Model;
use crate::theme::{Health, Role};
use hh_ipc::api::treasury::{Channel, ChannelState, Htlc, LightningPayment, LightningStatus};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// Lines for the node, with the rule.
const NODE_HEIGHT: u16 = 5;

/// Cells of the bar that says how a channel's capacity is parted.
const BAR_WIDTH: usize = 14;

/// An HTLC that times out within so many blocks will close its channel on the chain if the peer stays away.
const HTLC_SOON_BLOCKS: u32 = 24;

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let channels = model
        .details()
        .and_then(|details| details.channels.as_ref().ok())
        .map_or(1, |channels| channels.len().max(1));
    let lines = u16::try_from(channels).unwrap_or(u16::MAX - 8) + 2;
    let rest = area.height.saturating_sub(NODE_HEIGHT);
    let [node, channels, payments] = Layout::vertical([
        Constraint::Length(NODE_HEIGHT),
        Constraint::Length(lines.min(rest / 2).max(3)),
        Constraint::Fill(1),
    ])
    .areas(area);
    draw_node(model, frame, node);
    draw_channels(model, frame, channels);
    draw_payments(model, frame, payments);
}

/// A titled part of what hh-treasury has in a list; why it can't tell, in the place of it.
fn part<T>(
    model: &Model,
    frame: &mut Frame<'_>,
    area: Rect,
    (title, found): (String, Option<&Result<T, String>>),
    draw: impl FnOnce(&mut Frame<'_>, Rect, &T),
) {
    let old = model.treasury.old(model.shown_at());
    let inner = titled(model, frame, area, title, old);
    match found {
        None => {}
        Some(Ok(found)) => draw(frame, inner, found),
        Some(Err(why)) => {
            let line = state(
                model,
                "unknown",
                Health::Bad,
                name(why, model.symbols.ascii),
            );
            super::panel::text(model, frame, inner, vec![line]);
        }
    }
    dim_old(model, frame, inner, old);
}

fn draw_node(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let found = model.details().map(|details| &details.lightning);
    let title = "Lightning node".to_owned();
    part(model, frame, area, (title, found), |frame, inner, node| {
        let lines = node_lines(model, inner, node);
        super::panel::text(model, frame, inner, lines);
    });
}

fn node_lines(model: &Model, area: Rect, node: &LightningStatus) -> Vec<Line<'static>> {
    let ascii = model.symbols.ascii;
    let words = |parts: Vec<String>| Span::raw(list(room(area), parts));
    let alias = node.alias.as_deref().unwrap_or("no alias");
    let (health, synced) = if node.is_synced {
        (Health::Good, "in sync")
    } else {
        (Health::Warn, "catching up")
    };
    let channels = format!(
        "{} of {} usable",
        node.channels_usable,
        plural(node.channels.into(), "channel")
    );
    let state_words = format!("{synced} at height {}, {channels}", node.block_height);
    let balances = &node.balances;
    vec![
        labelled(
            model,
            "node",
            [words(vec![
                name(&format!("{} {}", node.backend, node.version), ascii),
                name(alias, ascii),
                name(&node.node_id, ascii),
            ])],
        ),
        state(model, "state", health, state_words),
        labelled(
            model,
            "can send",
            [words(vec![
                format!("{} sat in channels", sat(balances.channels_msat)),
                format!("{} sat on chain", sat(balances.on_chain_spendable_msat)),
                format!("earned {} sat", sat(node.fees_earned_msat)),
            ])],
        ),
        labelled(
            model,
            "listens on",
            [words(
                node.listen_addresses
                    .iter()
                    .map(|address| name(address, ascii))
                    .collect(),
            )],
        ),
    ]
}

fn draw_channels(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let found = model.details().map(|details| &details.channels);
    let title = format!(
        "Channels, sat; {} ours {} theirs",
        model.symbols.bars.full, model.symbols.theirs
    );
    part(model, frame, area, (title, found), |frame, inner, all| {
        if all.is_empty() {
            frame.render_widget("None. hhctl ln channel open makes one.", inner);
            return;
        }
        let columns = [
            text("CHANNEL", 12, 0),
            text("STATE", 10, 0),
            text("PEER", 0, 0),
            text("OURS / THEIRS", 14, 0),
            figure("OURS", 12, 0),
            figure("THEIRS", 12, 100),
            figure("CAPACITY", 12, 90),
            figure("CAN SEND", 12, 120),
            text("HTLCS", 18, 110),
        ];
        let lines: Vec<Cells> = all.iter().map(|channel| line(model, channel)).collect();
        let selected = all
            .iter()
            .position(|channel| Some(&channel.id) == model.channel.as_ref());
        table::draw(model, frame, inner, &columns, (&lines, selected));
    });
}

fn line(model: &Model, channel: &Channel) -> Cells {
    let ascii = model.symbols.ascii;
    let (health, word) = match channel.state {
        ChannelState::Opening => (Health::Unknown, "opening"),
        ChannelState::Usable => (Health::Good, "usable"),
        ChannelState::Offline => (Health::Warn, "offline"),
        ChannelState::Closing => (Health::Warn, "closing"),
        ChannelState::Closed => (Health::Unknown, "closed"),
    };
    let (htlcs, is_soon) = htlcs(&channel.htlcs);
    let style = match health {
        _ if is_soon => model.theme.style(Role::Bad),
        Health::Warn | Health::Bad => model.theme.style(health.role()),
        Health::Good | Health::Unknown => Style::new(),
    };
    let texts = vec![
        name(&channel.id, ascii),
        format!("{} {word}", model.symbols.of(health)),
        name(&channel.peer, ascii),
        bar(model, channel),
        sat(channel.local_msat),
        sat(channel.remote_msat),
        sat(channel.capacity_sat.saturating_mul(1_000)),
        sat(channel.spendable_msat),
        htlcs,
    ];
    Cells { texts, style }
}

/// How many payments hang in a channel and in how many blocks the first of them times out; whether that is soon.
fn htlcs(htlcs: &[Htlc]) -> (String, bool) {
    if htlcs.is_empty() {
        return ("none".to_owned(), false);
    }
    let first = htlcs.iter().filter_map(|htlc| htlc.expires_in_blocks).min();
    match first {
        Some(blocks) => (
            format!("{}, {blocks} blocks", htlcs.len()),
            blocks <= HTLC_SOON_BLOCKS,
        ),
        None => (htlcs.len().to_string(), false),
    }
}

/// Our part of a channel as full cells, theirs as dots. What is anyone's shows at least one cell.
fn bar(model: &Model, channel: &Channel) -> String {
    let sum = channel.local_msat.saturating_add(channel.remote_msat);
    if sum == 0 {
        return NONE.to_owned();
    }
    let width = BAR_WIDTH as u128;
    let ours = u128::from(channel.local_msat) * width / u128::from(sum);
    let least = usize::from(channel.local_msat > 0);
    let most = BAR_WIDTH - usize::from(channel.remote_msat > 0);
    let ours = usize::try_from(ours)
        .unwrap_or(BAR_WIDTH)
        .clamp(least, most);
    let full = model.symbols.bars.full.repeat(ours);
    let rest = model.symbols.theirs.repeat(BAR_WIDTH - ours);
    full + &rest
}

fn draw_payments(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let found = model.details().map(|details| &details.payments);
    let title = "Payments, newest first".to_owned();
    part(model, frame, area, (title, found), |frame, inner, all| {
        if all.is_empty() {
            frame.render_widget("None yet.", inner);
            return;
        }
        let columns = [
            text("WAY", 4, 0),
            text("STATE", 14, 0),
            figure("SAT", 14, 0),
            figure("FEE SAT", 10, 0),
            figure("AGE", 7, 0),
            text("PAYMENT HASH", 0, 0),
        ];
        let lines: Vec<Cells> = all
            .iter()
            .map(|payment| payment_line(model, payment))
            .collect();
        table::draw(model, frame, inner, &columns, (&lines, None));
    });
}

fn payment_line(model: &Model, payment: &LightningPayment) -> Cells {
    let ascii = model.symbols.ascii;
    let known = |msat: Option<u64>| msat.map_or(NONE.to_owned(), sat);
    let age = |at| age(at, model.treasury_time());
    let hash = payment.payment_hash.as_deref().unwrap_or(NONE);
    let texts = vec![
        if payment.is_outgoing { "out" } else { "in" }.to_owned(),
        name(&payment.state, ascii),
        known(payment.amount_msat),
        known(payment.fee_msat),
        payment.at.map_or(NONE.to_owned(), age),
        name(hash, ascii),
    ];
    let style = match payment.state.as_str() {
        "failed" => model.theme.style(Role::Warn),
        _ => Style::new(),
    };
    Cells { texts, style }
}

/// One line for the overview: whether the wallet can pay.
pub(super) fn summary(model: &Model, area: Rect) -> Line<'static> {
    let lightning = model.details().map(|details| &details.lightning);
    let node = match lightning {
        None => return state(model, "lightning", Health::Unknown, "not known"),
        Some(Err(why)) => {
            return state(
                model,
                "lightning",
                Health::Bad,
                name(why, model.symbols.ascii),
            );
        }
        Some(Ok(node)) => node,
    };
    let health = match (node.is_synced, node.channels_usable) {
        (true, 1..) => Health::Good,
        _ => Health::Warn,
    };
    let mut parts = vec![
        format!("{} of {} channels", node.channels_usable, node.channels),
        format!("{} sat to send", sat(node.balances.channels_msat)),
    ];
    if !node.is_synced {
        parts.insert(0, "catching up".to_owned());
    }
    state(
        model,
        "lightning",
        health,
        list(room(area).saturating_sub(2), parts),
    )
}
