//! The treasury's screen: whether payouts go, what the books and the wallet have, and the payouts.

use super::panel::{dim_old, labelled, list, room, state, titled};
use super::table::{self, Cells, figure, text};
use crate::figures::{NONE, age, name, plural, sat, seconds_since, signed_sat, span};
use crate::model::Model;
use crate::theme::{Health, Role};
use hh_ipc::api::treasury::{Payout, PayoutState, Totals, TreasuryStatus};
use hh_ipc::api::{LinkState, LinkStatus};
use jiff::Timestamp;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// From this width on the three panels stand in a row.
const WIDE: u16 = 150;

/// Lines of a panel with its title.
const PANEL_HEIGHT: u16 = 8;

/// The lines of the state of payouts, on a screen that is not wide.
const STATE_HEIGHT: u16 = 4;

/// With less height the panels of the books and the wallet leave their place to the payouts.
const LOW: u16 = 20;

/// An open payout that is older than this is late: Lightning takes seconds, and retries some hours.
const LATE_SECONDS: u64 = 86_400;

/// Books that nobody has added up for longer than this are worth a look; hh-treasury does it by itself several times a day.
const VERIFIED_SECONDS: u64 = 86_400;

pub(super) fn draw(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    if area.width >= WIDE {
        let [panels, payouts] =
            Layout::vertical([Constraint::Length(PANEL_HEIGHT), Constraint::Fill(1)]).areas(area);
        let [first, second, third] = Layout::horizontal([Constraint::Fill(1); 3])
            .spacing(2)
            .areas(panels);
        draw_state(model, frame, first);
        draw_books(model, frame, second);
        draw_wallet(model, frame, third);
        draw_payouts(model, frame, payouts);
        return;
    }
    let panel_height = if area.height < LOW { 0 } else { PANEL_HEIGHT };
    let [first, panels, payouts] = Layout::vertical([
        Constraint::Length(STATE_HEIGHT),
        Constraint::Length(panel_height),
        Constraint::Fill(1),
    ])
    .areas(area);
    let [books, wallet] = Layout::horizontal([Constraint::Fill(1); 2])
        .spacing(2)
        .areas(panels);
    draw_state(model, frame, first);
    draw_books(model, frame, books);
    draw_wallet(model, frame, wallet);
    draw_payouts(model, frame, payouts);
}

/// Draws a panel of what hh-treasury said of itself.
fn panel(
    model: &Model,
    frame: &mut Frame<'_>,
    area: Rect,
    title: &str,
    lines: impl FnOnce(&TreasuryStatus, Rect) -> Vec<Line<'static>>,
) {
    if area.height == 0 {
        return;
    }
    let old = model.treasury.old(model.shown_at());
    let inner = titled(model, frame, area, title.to_owned(), old);
    if let Some(answer) = &model.treasury.data {
        let lines = lines(&answer.status, inner);
        super::panel::text(model, frame, inner, lines);
    }
    dim_old(model, frame, inner, old);
}

fn draw_state(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    panel(model, frame, area, "Payouts go", |status, _| {
        let mut lines = vec![freeze_line(model, status), open_line(model, status)];
        lines.push(verified_line(model, status));
        let links = [
            ("books", &status.books),
            ("ledger", &status.pool_ledger),
            ("lightning", &status.lightning),
        ];
        let links = links
            .into_iter()
            .chain(status.bitcoin_nodes.iter().map(|link| ("node", link)));
        lines.extend(links.map(|(label, link)| link_line(model, label, link)));
        lines
    });
}

fn freeze_line(model: &Model, status: &TreasuryStatus) -> Line<'static> {
    let Some(freeze) = &status.freeze else {
        return state(model, "payouts", Health::Good, "go");
    };
    let ascii = model.symbols.ascii;
    let words = format!(
        "FROZEN {} by {}: {}",
        age(freeze.since_at, model.treasury_time()),
        name(&freeze.actor, ascii),
        name(&freeze.reason, ascii)
    );
    state(model, "payouts", Health::Bad, words)
}

fn open_line(model: &Model, status: &TreasuryStatus) -> Line<'static> {
    let mut words = format!("{} open", status.payouts_open);
    if let Some(oldest) = oldest_open(model) {
        words += &format!(", the oldest for {}", span(oldest));
    }
    let health = match (status.payouts_waiting_for_operator, oldest_open(model)) {
        (1.., _) | (_, Some(LATE_SECONDS..)) => Health::Warn,
        _ => Health::Good,
    };
    if status.payouts_waiting_for_operator > 0 {
        words += &format!(", {} for a person", status.payouts_waiting_for_operator);
    }
    state(model, "open", health, words)
}

/// Age in seconds of the payout that has been on its way for longest, of those that are listed.
fn oldest_open(model: &Model) -> Option<u64> {
    let payouts = model.details()?.payouts.as_ref().ok()?;
    let open = payouts.iter().filter(|payout| is_open(payout.state));
    let oldest = open.map(|payout| payout.created_at).min()?;
    Some(seconds_since(oldest, model.treasury_time()))
}

fn is_open(state: PayoutState) -> bool {
    match state {
        PayoutState::WaitingForApproval
        | PayoutState::Queued
        | PayoutState::Resolving
        | PayoutState::Ready
        | PayoutState::Paying
        | PayoutState::RetryWait
        | PayoutState::NeedsOperator => true,
        PayoutState::Settled | PayoutState::Cancelled | PayoutState::Failed => false,
    }
}

fn verified_line(model: &Model, status: &TreasuryStatus) -> Line<'static> {
    let Some(at) = status.last_verified_at else {
        return state(model, "verified", Health::Unknown, "not yet");
    };
    let seconds = seconds_since(at, model.treasury_time());
    let health = if seconds > VERIFIED_SECONDS {
        Health::Warn
    } else {
        Health::Good
    };
    state(model, "verified", health, format!("{} ago", span(seconds)))
}

fn link_line(model: &Model, label: &str, link: &LinkStatus) -> Line<'static> {
    let ascii = model.symbols.ascii;
    let address = name(&link.address, ascii);
    let since = age(link.since_at, model.treasury_time());
    let (health, words) = match link.state {
        LinkState::Up => (Health::Good, format!("up {since}, {address}")),
        LinkState::Connecting => (Health::Warn, format!("connecting {since}, {address}")),
        LinkState::Down => {
            let why = link.last_error.as_deref().unwrap_or("not in use");
            (Health::Bad, format!("down {since}: {}", name(why, ascii)))
        }
    };
    state(model, label, health, words)
}

fn draw_books(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    panel(model, frame, area, "Books, sat", |status, area| {
        let Some(totals) = &status.totals else {
            return vec![state(model, "books", Health::Unknown, "not added up yet")];
        };
        books(totals)
            .into_iter()
            .map(|(label, msat)| money(model, area, label, msat))
            .collect()
    });
}

/// What is owed and to whom, before what is the treasury's own.
fn books(totals: &Totals) -> [(&'static str, i64); 7] {
    [
        ("immature", totals.immature_msat),
        ("payable", totals.payable_msat),
        ("in payouts", totals.in_payouts_msat),
        ("paid", totals.paid_msat),
        ("reserve", totals.node_reserve_msat),
        ("treasury", totals.treasury_msat),
        ("suspense", totals.suspense_msat),
    ]
}

/// A label, and an amount at the right of the panel.
fn money(model: &Model, area: Rect, label: &str, msat: i64) -> Line<'static> {
    let figures = signed_sat(msat);
    let width = room(area).min(24);
    labelled(model, label, [Span::raw(format!("{figures:>width$}"))])
}

fn draw_wallet(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    panel(model, frame, area, "Wallet, sat", |status, area| {
        let Some(balances) = &status.balances else {
            let words = format!("{} has not answered yet", status.backend);
            return vec![state(model, "wallet", Health::Unknown, words)];
        };
        let rows = [
            ("on chain", balances.on_chain_spendable_msat),
            ("pending", balances.on_chain_unconfirmed_msat),
            ("immature", balances.on_chain_immature_msat),
            ("channels", balances.channels_msat),
            ("in HTLCs", balances.htlcs_outgoing_msat),
            ("closing", balances.closing_msat),
            ("anchors", balances.anchor_reserve_msat),
        ];
        let rows = rows.into_iter().map(|(label, msat)| {
            money(model, area, label, i64::try_from(msat).unwrap_or(i64::MAX))
        });
        rows.collect()
    });
}

fn draw_payouts(model: &Model, frame: &mut Frame<'_>, area: Rect) {
    let old = model.treasury.old(model.shown_at());
    let title = "Payouts, newest first".to_owned();
    let inner = titled(model, frame, area, title, old);
    match model.details().map(|details| &details.payouts) {
        None => {}
        Some(Err(why)) => {
            let line = state(
                model,
                "payouts",
                Health::Bad,
                name(why, model.symbols.ascii),
            );
            super::panel::text(model, frame, inner, vec![line]);
        }
        Some(Ok(payouts)) if payouts.is_empty() => frame.render_widget("None yet.", inner),
        Some(Ok(payouts)) => draw_table(model, frame, inner, payouts),
    }
    dim_old(model, frame, inner, old);
}

fn draw_table(model: &Model, frame: &mut Frame<'_>, area: Rect, payouts: &[Payout]) {
    let columns = [
        figure("ID", 6, 0),
        text("STATE", 18, 0),
        text("PAYEE", 20, 0),
        figure("SAT", 14, 0),
        figure("FEE SAT", 10, 110),
        text("DESTINATION", 26, 140),
        figure("TRIES", 5, 100),
        figure("AGE", 7, 0),
        text("WHY", 0, 0),
    ];
    let lines: Vec<Cells> = payouts.iter().map(|payout| line(model, payout)).collect();
    let selected = payouts
        .iter()
        .position(|payout| Some(payout.id) == model.payout);
    table::draw(model, frame, area, &columns, (&lines, selected));
}

fn line(model: &Model, payout: &Payout) -> Cells {
    let ascii = model.symbols.ascii;
    let (health, word) = payout_state(payout, model.treasury_time());
    let style = match health {
        Health::Warn | Health::Bad => model.theme.style(health.role()),
        Health::Good => Style::new(),
        Health::Unknown => model.theme.style(Role::Label),
    };
    let texts = vec![
        payout.id.to_string(),
        format!("{} {word}", model.symbols.of(health)),
        name(&payout.payee, ascii),
        sat(payout.amount_msat),
        payout.fee_msat.map_or(NONE.to_owned(), sat),
        name(&payout.destination, ascii),
        payout.attempts.to_string(),
        age(payout.created_at, model.treasury_time()),
        name(&why(model, payout), ascii),
    ];
    Cells { texts, style }
}

fn payout_state(payout: &Payout, now: Timestamp) -> (Health, &'static str) {
    let late = seconds_since(payout.created_at, now) > LATE_SECONDS;
    let on_its_way = if late { Health::Warn } else { Health::Good };
    match payout.state {
        _ if payout.is_held && is_open(payout.state) => (Health::Warn, "held"),
        PayoutState::WaitingForApproval => (Health::Warn, "needs approval"),
        PayoutState::Queued if payout.waiting_for.is_some() => (Health::Warn, "queued"),
        PayoutState::Queued => (on_its_way, "queued"),
        PayoutState::Resolving => (on_its_way, "resolving"),
        PayoutState::Ready => (on_its_way, "ready"),
        PayoutState::Paying => (on_its_way, "paying"),
        PayoutState::RetryWait => (Health::Warn, "waits to retry"),
        PayoutState::NeedsOperator => (Health::Bad, "needs operator"),
        PayoutState::Settled => (Health::Good, "settled"),
        PayoutState::Cancelled => (Health::Unknown, "cancelled"),
        PayoutState::Failed => (Health::Bad, "failed"),
    }
}

/// Its reason, or when it is tried again, or how long it took.
fn why(model: &Model, payout: &Payout) -> String {
    let mut parts = Vec::new();
    if let Some(reason) = &payout.reason {
        parts.push(reason.clone());
    }
    // For the other states the lines below say it.
    if let (PayoutState::Queued | PayoutState::Resolving | PayoutState::Ready, Some(waiting)) =
        (payout.state, &payout.waiting_for)
    {
        parts = vec![format!("for {waiting}")];
    }
    if let (PayoutState::RetryWait, Some(at)) = (payout.state, payout.next_try_at) {
        let left = span(seconds_since(model.treasury_time(), at));
        parts.push(format!("next try in {left}"));
    }
    if payout.state == PayoutState::WaitingForApproval && !payout.approvals.is_empty() {
        parts.push(format!("approved by {}", payout.approvals.join(", ")));
    }
    if let (PayoutState::Settled, Some(seconds)) = (payout.state, payout.latency_seconds) {
        parts.push(format!("took {}", crate::figures::duration(seconds)));
    }
    parts.join(", ")
}

/// One line for the overview: whether payouts go, and what is owed.
pub(super) fn summary(model: &Model, area: Rect) -> Line<'static> {
    let Some(answer) = &model.treasury.data else {
        return state(model, "treasury", Health::Unknown, "not known");
    };
    let status = &answer.status;
    if status.freeze.is_some() {
        return freeze_line(model, status);
    }
    let waiting = status.payouts_waiting_for_operator;
    let mut parts = vec![plural(status.payouts_open, "open payout")];
    if waiting > 0 {
        parts.push(format!("{waiting} for a person"));
    }
    if let Some(totals) = &status.totals {
        parts.push(format!("{} sat payable", signed_sat(totals.payable_msat)));
    }
    let health = if waiting > 0 {
        Health::Warn
    } else {
        Health::Good
    };
    state(
        model,
        "treasury",
        health,
        list(room(area).saturating_sub(2), parts),
    )
}
