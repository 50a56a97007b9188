//! `hhctl ln channel`.

use crate::change::Plan;
use crate::cli::{OpenArgs, RebalanceArgs};
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::Session;
use hh_ipc::api::treasury::{
    Channel, ChannelCloseRequest, ChannelOpenRequest, ChannelState, RebalanceRequest,
};
use serde_json::json;

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

fn fields(channel: &Channel) -> Vec<(&'static str, Cell)> {
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
    let cost = match channel.cost_msat {
        Some(cost) => format!("about {} on the chain", text::sat(cost)),
        None => "not known before".to_owned(),
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
        ("Cost", cost.into()),
    ]
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

/// By force it is severe: dear, slow, and not to be taken back.
pub(super) async fn plan_close(
    session: &mut Session,
    id: &str,
    force: bool,
) -> Result<Plan, Failure> {
    let channel = call_close(session, id, force, true).await?;
    let ours = text::sat(channel.local_msat);
    let (question, note) = if force {
        (
            format!("Close channel {id} by force, with {ours} of ours in it"),
            "would close it without the peer: our side comes back after a delay of up to two weeks, and \
             payments on their way are settled on the chain"
                .to_owned(),
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

/// What it may cost at most, in msat, rounded down as the wallet does.
fn fee_at_most(args: &RebalanceArgs) -> u64 {
    let fee = u128::from(args.amount) * u128::from(args.max_fee_ppm) / 1_000_000;
    u64::try_from(fee).unwrap_or(u64::MAX)
}

pub(super) async fn plan_rebalance(
    session: &mut Session,
    args: &RebalanceArgs,
) -> Result<Plan, Failure> {
    let said = call_rebalance(session, args, true).await?;
    let (amount, fee) = (text::sat(args.amount), text::sat(fee_at_most(args)));
    let question = format!(
        "Move {amount} from channel {} to {} for at most {fee}",
        args.from, args.to
    );
    Ok(Plan {
        report: rebalance_report(args, said),
        question: Some(question),
        typed: None,
    })
}

pub(super) async fn rebalance(
    session: &mut Session,
    args: &RebalanceArgs,
) -> Result<Report, Failure> {
    let said = call_rebalance(session, args, false).await?;
    Ok(rebalance_report(args, said))
}

fn rebalance_report(args: &RebalanceArgs, said: String) -> Report {
    let most = fee_at_most(args);
    let item = json!({
        "from": args.from,
        "to": args.to,
        "amount_msat": args.amount,
        "max_fee_msat": most,
        "outcome": said,
    });
    let view = vec![
        Part::Fields(vec![
            ("From", args.from.as_str().into()),
            ("To", args.to.as_str().into()),
            ("Amount", text::sat(args.amount).into()),
            ("Fee at most", text::sat(most).into()),
        ]),
        Part::Note(said),
    ];
    Report::item("Rebalance", item, view)
}

async fn call_rebalance(
    session: &mut Session,
    args: &RebalanceArgs,
    dry_run: bool,
) -> Result<String, Failure> {
    let daemon = session.treasury_control().await?;
    let request = RebalanceRequest {
        from: args.from.clone(),
        to: args.to.clone(),
        amount_msat: args.amount,
        max_fee_ppm: args.max_fee_ppm,
        dry_run,
    };
    let answer = daemon.client.rebalance(daemon.call(), request).await;
    daemon.granted(answer)
}
