//! `hhctl ln channel`.

use crate::Exit;
use crate::change::Plan;
use crate::cli::OpenArgs;
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::Session;
use hh_ipc::api::treasury::{
    Channel, ChannelCloseRequest, ChannelFeesRequest, ChannelOpenRequest, ChannelState,
    ForceCloseCost,
};
use serde_json::{Value, json};

pub(super) async fn list(session: &mut Session) -> Result<Report, Failure> {
    let daemon = session.treasury().await?;
    let answer = daemon.client.channels(daemon.call()).await;
    let channels = daemon.granted(answer)?;
    let mut view = vec![Part::Table(table(&channels))];
    if channels.iter().any(|channel| !channel.htlcs.is_empty()) {
        view.push(Part::Table(htlcs(&channels)));
    }
    Ok(Report::list("ChannelList", &channels, view))
}

pub(super) async fn show(session: &mut Session, id: &str) -> Result<Report, Failure> {
    let daemon = session.treasury().await?;
    let answer = daemon.client.channels(daemon.call()).await;
    let mut channels = daemon.granted(answer)?;
    channels.retain(|channel| channel.id == id);
    let Some(channel) = channels.first() else {
        let note = format!("the wallet has no channel {id}: see `hhctl ln channel list`");
        let mut report = Report::item("Channel", Value::Null, vec![Part::Note(note)]);
        report.exit = Exit::NotFound;
        return Ok(report);
    };
    let mut shown = side_by_side(channel);
    let who = if channel.is_public {
        "public: the network knows of it"
    } else {
        "private"
    };
    shown.extend([
        ("Can send", text::sat(channel.spendable_msat).into()),
        ("Can receive", text::sat(channel.receivable_msat).into()),
        ("Announced", who.into()),
    ]);
    let mut view = vec![Part::Fields(shown)];
    if !channel.htlcs.is_empty() {
        view.push(Part::Table(htlcs(&channels)));
    }
    Ok(Report::item("Channel", json!(channels.first()), view))
}

fn table(channels: &[Channel]) -> Table {
    let columns = vec![
        Column::left("ID"),
        Column::left("STATE"),
        Column::left("PEER"),
        Column::right("CAPACITY (sat)"),
        Column::right("OURS"),
        Column::right("THEIRS"),
        Column::right("CAN SEND"),
        Column::right("CAN RECEIVE"),
        Column::right("ON THEIR WAY"),
    ];
    let when_empty = "no channel; `hhctl ln channel open` opens one";
    let mut table = Table::new(columns, when_empty);
    for channel in channels {
        table.row(vec![
            channel.id.as_str().into(),
            state(channel),
            channel.peer.as_str().into(),
            text::count(channel.capacity_sat).into(),
            text::sat_figure(channel.local_msat).into(),
            text::sat_figure(channel.remote_msat).into(),
            text::sat_figure(channel.spendable_msat).into(),
            text::sat_figure(channel.receivable_msat).into(),
            text::count(channel.htlcs.len() as u64).into(),
        ]);
    }
    table
}

fn state(channel: &Channel) -> Cell {
    match channel.state {
        ChannelState::Opening => Cell::state(State::Unknown, "opening"),
        ChannelState::Usable => Cell::state(State::Ok, "usable"),
        ChannelState::Offline => Cell::state(State::Warn, "peer away"),
        ChannelState::Closing => Cell::state(State::Warn, "closing"),
        ChannelState::Closed => Cell::state(State::Unknown, "closed"),
    }
}

/// Payments on their way, channel by channel.
fn htlcs(channels: &[Channel]) -> Table {
    let columns = vec![
        Column::left("ON ITS WAY"),
        Column::left("CHANNEL"),
        Column::right("AMOUNT (sat)"),
        Column::left("TIMES OUT"),
    ];
    let mut table = Table::new(columns, "");
    for channel in channels {
        for htlc in &channel.htlcs {
            let way = if htlc.is_outgoing { "out" } else { "in" };
            let expires = match htlc.expires_in_blocks {
                Some(blocks) => format!("in {}", text::plural(blocks.into(), "block")),
                None => "-".to_owned(),
            };
            table.row(vec![
                format!("{way} {}", htlc.payment_hash).into(),
                channel.id.as_str().into(),
                text::sat_figure(htlc.amount_msat).into(),
                expires.into(),
            ]);
        }
    }
    table
}

/// What it is, and what is on either side.
fn side_by_side(channel: &Channel) -> Vec<(&'static str, Cell)> {
    let pending = channel.htlcs.iter().map(|htlc| htlc.amount_msat);
    let pending = pending.fold(0_u64, u64::saturating_add);
    let on_their_way = match channel.htlcs.len() {
        0 => "none".to_owned(),
        n => format!(
            "{}, {}",
            text::plural(n as u64, "payment"),
            text::sat(pending)
        ),
    };
    vec![
        ("Channel", channel.id.as_str().into()),
        ("State", state(channel)),
        ("Peer", channel.peer.as_str().into()),
        (
            "Capacity",
            text::sat(channel.capacity_sat.saturating_mul(1_000)).into(),
        ),
        ("Ours", text::sat(channel.local_msat).into()),
        ("Theirs", text::sat(channel.remote_msat).into()),
        ("On their way", on_their_way.into()),
    ]
}

fn fields(channel: &Channel) -> Vec<(&'static str, Cell)> {
    let cost = match channel.cost_msat {
        Some(cost) => format!("about {} on the chain", text::sat(cost)),
        None => "not known before".to_owned(),
    };
    let mut fields = side_by_side(channel);
    fields.push(("Cost", cost.into()));
    if let Some(close) = &channel.force_close {
        fields.extend(close_fields(close));
    }
    fields
}

/// What a close by force is made of.
fn close_fields(close: &ForceCloseCost) -> Vec<(&'static str, Cell)> {
    let rate = format!(
        "{}.{:03} sat/vB",
        close.fee_rate_sat_per_kvb / 1_000,
        close.fee_rate_sat_per_kvb % 1_000
    );
    let rate = if close.is_estimated {
        Cell::from(format!("{rate}, Bitcoin Core's estimate"))
    } else {
        let what =
            "the least that is relayed: Bitcoin Core has no estimate, and it may be much more";
        Cell::state(State::Warn, format!("{rate}, {what}"))
    };
    let payments = match close.htlcs {
        0 => "none on their way".to_owned(),
        count => format!(
            "{} for {}",
            text::sat(close.htlc_fee_msat),
            text::plural(count.into(), "payment")
        ),
    };
    vec![
        ("  commitment", text::sat(close.commitment_fee_msat).into()),
        (
            "  to confirm it",
            format!(
                "{}, from the anchor reserve",
                text::sat(close.bump_fee_msat)
            )
            .into(),
        ),
        ("  to fetch ours", text::sat(close.sweep_fee_msat).into()),
        ("  payments", payments.into()),
        ("Fee rate", rate),
        ("Comes back", text::sat(close.returned_msat).into()),
        ("Locked for", locked(close).into()),
    ]
}

/// Blocks come every ten minutes.
fn locked(close: &ForceCloseCost) -> String {
    match close.delay_blocks {
        Some(blocks) => format!(
            "{}, about {}",
            text::plural(blocks.into(), "block"),
            text::long_time(f64::from(blocks) * 600.0)
        ),
        None => "up to two weeks: the wallet does not tell".to_owned(),
    }
}

fn report(channel: &Channel, note: String) -> Report {
    let view = vec![Part::Fields(fields(channel)), Part::Note(note)];
    Report::item("Channel", json!(channel), view)
}

pub(super) async fn plan_open(session: &mut Session, args: &OpenArgs) -> Result<Plan, Failure> {
    let channel = call_open(session, args, true).await?;
    let amount = text::sat(args.capacity.saturating_mul(1_000));
    let who = if args.public { "public" } else { "private" };
    let question = format!("Open a {who} channel of {amount} to {}", args.peer);
    let note = format!("would open a {who} channel of {amount} to {}", args.peer);
    Ok(Plan {
        report: report(&channel, note),
        question: Some(question),
        typed: None,
    })
}

pub(super) async fn open(session: &mut Session, args: &OpenArgs) -> Result<Report, Failure> {
    let channel = call_open(session, args, false).await?;
    let note = "it can be used once its transaction is deep enough: `hhctl ln channel list`";
    Ok(report(&channel, note.to_owned()))
}

async fn call_open(
    session: &mut Session,
    args: &OpenArgs,
    dry_run: bool,
) -> Result<Channel, Failure> {
    let daemon = session.treasury_control().await?;
    let request = ChannelOpenRequest {
        peer: args.peer.clone(),
        capacity_sat: args.capacity,
        is_public: args.public,
        dry_run,
    };
    let answer = daemon.client.open_channel(daemon.call(), request).await;
    daemon.granted(answer)
}

/// A base fee and parts per million, in words.
fn fee_words(base_msat: u32, ppm: u32) -> String {
    let base = text::sat(base_msat.into());
    format!("{base} and {} parts per million", text::count(ppm.into()))
}

pub(super) async fn plan_fees(
    session: &mut Session,
    id: &str,
    base_msat: u32,
    ppm: u32,
) -> Result<Plan, Failure> {
    let daemon = session.treasury_control().await?;
    let answer = daemon.client.channels(daemon.call()).await;
    let channels = daemon.granted(answer)?;
    let what = format!(
        "{} for a payment of others out by channel {id}",
        fee_words(base_msat, ppm)
    );
    let mut view = Vec::new();
    let known = channels.iter().find(|channel| channel.id == id);
    view.extend(known.map(|channel| Part::Fields(side_by_side(channel))));
    view.push(Part::Note(format!("would take {what}")));
    let item = json!({ "id": id, "base_msat": base_msat, "ppm": ppm, "channel": known });
    Ok(Plan {
        report: Report::item("ChannelFees", item, view),
        question: Some(format!("Take {what}")),
        typed: None,
    })
}

pub(super) async fn set_fees(
    session: &mut Session,
    id: &str,
    base_msat: u32,
    ppm: u32,
) -> Result<Report, Failure> {
    let daemon = session.treasury_control().await?;
    let request = ChannelFeesRequest {
        id: id.to_owned(),
        base_msat,
        ppm,
    };
    let item = json!(request);
    let answer = daemon.client.set_channel_fees(daemon.call(), request);
    let channel = daemon.granted(answer.await)?;
    let note = format!("it takes {} from now on", fee_words(base_msat, ppm));
    let view = vec![Part::Fields(side_by_side(&channel)), Part::Note(note)];
    Ok(Report::item("ChannelFees", item, view))
}

/// By force it is severe: dear, slow, and not to be taken back.
pub(super) async fn plan_close(
    session: &mut Session,
    id: &str,
    force: bool,
) -> Result<Plan, Failure> {
    let channel = call_close(session, id, force, true).await?;
    let ours = text::sat(channel.local_msat);
    let (question, note) = if force {
        let what = match &channel.force_close {
            Some(close) => format!(
                "it costs about {}, and our side is locked for {}",
                text::sat(channel.cost_msat.unwrap_or_default()),
                locked(close)
            ),
            None => "our side comes back after a delay of up to two weeks".to_owned(),
        };
        (
            format!("Close channel {id} by force, with {ours} of ours in it: {what}"),
            format!(
                "would close it without the peer: {what}; payments on their way are settled on the chain. Together with the peer it is \
                 cheaper and quicker: leave --force out while the peer answers"
            ),
        )
    } else {
        (
            format!("Close channel {id}, with {ours} of ours in it"),
            "would close it together with the peer".to_owned(),
        )
    };
    Ok(Plan {
        report: report(&channel, note),
        question: Some(question),
        typed: force.then(|| session.place().name().to_owned()),
    })
}

pub(super) async fn close(session: &mut Session, id: &str, force: bool) -> Result<Report, Failure> {
    let channel = call_close(session, id, force, false).await?;
    let note = "it is being closed: `hhctl ln channel list` shows it until its money is back";
    Ok(report(&channel, note.to_owned()))
}

async fn call_close(
    session: &mut Session,
    id: &str,
    is_forced: bool,
    dry_run: bool,
) -> Result<Channel, Failure> {
    let daemon = session.treasury_control().await?;
    let request = ChannelCloseRequest {
        id: id.to_owned(),
        is_forced,
        dry_run,
    };
    let answer = daemon.client.close_channel(daemon.call(), request).await;
    daemon.granted(answer)
}
