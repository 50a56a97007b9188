//! The nodes that have enrolled at core.

use crate::Exit;
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::Session;
use hh_ipc::api::core::{
    FleetNode, FleetNodeDetail, FleetPage, NodeHealth, NodeInventory, NodeLane, NodeService,
    NodeState,
};
use jiff::Timestamp;
use serde_json::json;

/// A clock further off than this keeps the node from taking commands.
const CLOCK_OFF_MS_MAX: u64 = 30_000;

pub(super) async fn page(session: &mut Session) -> Result<FleetPage, Failure> {
    let daemon = session.core().await?;
    let answer = daemon.client.nodes(daemon.call()).await;
    daemon.granted(answer)
}

pub(super) fn table(nodes: &[FleetNode], now: Timestamp) -> Table {
    let columns = vec![
        Column::left("ENROLLED"),
        Column::left("STATE"),
        Column::left("SEEN"),
        Column::right("SERVICES"),
        Column::right("HASHRATE 10m"),
        Column::right("MINERS"),
        Column::left("AGENT"),
        Column::left("SERVES"),
        Column::left("CERTIFICATE"),
    ];
    let when_empty = "no node has enrolled at core; `hhctl token create` is how one does";
    let mut table = Table::new(columns, when_empty);
    let hashrates = nodes.iter().filter_map(|node| node.hashrate_10m_hs);
    let largest = hashrates.fold(0.0, f64::max);
    for node in nodes {
        let hashrate = node.hashrate_10m_hs;
        let hashrate = hashrate.map(|value| text::hashrate_like(value, largest));
        let miners = node.miners.map(|miners| text::count(miners.into()));
        table.row(vec![
            node.id.as_str().into(),
            state(node.state),
            text::ago(now, node.last_seen_at).into(),
            services(node),
            hashrate.unwrap_or_default().into(),
            miners.unwrap_or_default().into(),
            node.agent_version.as_str().into(),
            serves(node).into(),
            until(now, node.certificate_until_at),
        ]);
    }
    table
}

pub(super) fn report(detail: &FleetNodeDetail, now: Timestamp) -> Report {
    let mut view = vec![
        Part::Fields(fields(detail, now)),
        Part::Table(service_table(&detail.services, now)),
    ];
    if !detail.lanes.is_empty() {
        view.push(Part::Table(lane_table(&detail.lanes)));
    }
    Report::item("FleetNode", json!(detail), view)
}

/// What keeps a node from being well.
pub(super) fn health(detail: &FleetNodeDetail, now: Timestamp) -> Report {
    let node = &detail.node;
    let mut faults = Vec::new();
    if node.state != NodeState::Connected {
        faults.push(format!("it is {}", word(node.state)));
    }
    let ahead = detail.clock_ahead_ms.unwrap_or_default().unsigned_abs();
    if ahead > CLOCK_OFF_MS_MAX {
        faults.push(format!("its clock is {} ms off", text::count(ahead)));
    }
    if node.certificate_until_at <= now {
        faults.push("its certificate has ended".to_owned());
    }
    let services = detail.services.iter();
    let down = services.filter(|service| service.state != "running");
    faults.extend(down.map(|service| format!("{} is {}", service.name, service.state)));
    let state = match faults.is_empty() {
        true => Cell::state(State::Ok, "well"),
        false => Cell::state(State::Fail, faults.join("; ")),
    };
    let json = json!({"node": node.id, "is_well": faults.is_empty(), "faults": faults});
    let fields = vec![("Node", node.id.as_str().into()), ("State", state)];
    let mut report = Report::item("NodeHealth", json, vec![Part::Fields(fields)]);
    if !faults.is_empty() {
        report.exit = Exit::Degraded;
    }
    report
}

fn fields(detail: &FleetNodeDetail, now: Timestamp) -> Vec<(&'static str, Cell)> {
    let node = &detail.node;
    let since = |at| format!("{} for {}", word(node.state), text::age(now, at));
    let mut fields = vec![
        ("Node", node.id.as_str().into()),
        (
            "State",
            match detail.connected_at {
                Some(at) => Cell::state(State::Ok, since(at)),
                None => state(node.state),
            },
        ),
        ("Address", detail.peer.clone().unwrap_or_default().into()),
        ("Seen", text::ago(now, node.last_seen_at).into()),
        ("Clock", clock(detail.clock_ahead_ms)),
        ("Serves", serves(node).into()),
        ("Agent", node.agent_version.as_str().into()),
        ("Public key", node.public_key.as_str().into()),
        ("Enrolled", text::ago(now, Some(node.enrolled_at)).into()),
        ("Certificate", until(now, node.certificate_until_at)),
        (
            "Commands",
            format!("{} in epoch {}", text::count(detail.last_seq), detail.epoch).into(),
        ),
    ];
    if let Some(inventory) = &detail.inventory {
        fields.extend(inventory_fields(inventory));
    }
    if let Some(revocation) = &detail.revocation {
        let ago = text::ago(now, Some(revocation.since_at));
        fields.push(("Revoked", format!("{ago}: {}", revocation.reason).into()));
    }
    if let Some(health) = &detail.health {
        fields.extend(machine(health, now));
    }
    fields
}

fn inventory_fields(inventory: &NodeInventory) -> Vec<(&'static str, Cell)> {
    let NodeInventory {
        os,
        kernel,
        architecture,
        cpus,
        ..
    } = inventory;
    let cpus = text::plural(u64::from(*cpus), "CPU");
    let programs = inventory.programs.iter();
    let programs: Vec<String> = programs
        .map(|program| format!("{} {}", program.name, program.version))
        .collect();
    vec![
        ("System", os.as_str().into()),
        (
            "Machine",
            format!("Linux {kernel}, {architecture}, {cpus}").into(),
        ),
        ("Programs", programs.join(", ").into()),
    ]
}

fn lane_table(lanes: &[NodeLane]) -> Table {
    let columns = vec![
        Column::left("LANE"),
        Column::right("HASHRATE 10m"),
        Column::right("MINERS"),
        Column::right("ACCEPTED"),
        Column::right("REJECTED"),
    ];
    let mut table = Table::new(columns, "");
    let hashrates = lanes.iter().map(|lane| lane.hashrate_10m_hs);
    let largest = hashrates.fold(0.0, f64::max);
    for lane in lanes {
        table.row(vec![
            lane.name.as_str().into(),
            text::hashrate_like(lane.hashrate_10m_hs, largest).into(),
            text::count(lane.miners.into()).into(),
            text::count(lane.shares_accepted).into(),
            text::count(lane.shares_rejected).into(),
        ]);
    }
    table
}

fn machine(health: &NodeHealth, now: Timestamp) -> Vec<(&'static str, Cell)> {
    let free = |available, total| {
        format!(
            "{} of {} free",
            text::si_bytes(available),
            text::si_bytes(total)
        )
    };
    let dropped = match health.dropped_total {
        0 => String::new(),
        dropped => format!("; {} never sent", text::plural(dropped, "sample")),
    };
    let load = f64::from(health.load_1m_milli) / 1_000.0;
    vec![
        (
            "Measured",
            format!("{}{dropped}", text::ago(now, Some(health.at))).into(),
        ),
        ("Load", format!("{load:.2}").into()),
        (
            "Memory",
            free(health.memory_available_bytes, health.memory_total_bytes).into(),
        ),
        (
            "Disk",
            free(health.disk_available_bytes, health.disk_total_bytes).into(),
        ),
    ]
}

pub(in crate::command) fn service_table(services: &[NodeService], now: Timestamp) -> Table {
    let columns = vec![
        Column::left("SERVICE"),
        Column::left("STATE"),
        Column::left("FOR"),
        Column::right("PROCESS"),
        Column::right("MEMORY"),
        Column::right("RESTARTS"),
        Column::left("LAST ERROR"),
    ];
    let mut table = Table::new(columns, "the agent of this node looks after no service");
    for service in services {
        let state = match service.state.as_str() {
            "running" => State::Ok,
            "waiting" => State::Fail,
            _ => State::Warn,
        };
        let pid = service.pid.map(|pid| pid.to_string());
        table.row(vec![
            service.name.as_str().into(),
            Cell::state(state, service.state.as_str()),
            text::age(now, service.since_at).into(),
            pid.unwrap_or_default().into(),
            text::si_bytes(service.memory_bytes).into(),
            text::count(service.restarts).into(),
            service.last_error.clone().unwrap_or_default().into(),
        ]);
    }
    table
}

fn state(state: NodeState) -> Cell {
    let mark = match state {
        NodeState::Connected => State::Ok,
        NodeState::Away => State::Warn,
        NodeState::Revoked => State::Fail,
    };
    Cell::state(mark, word(state))
}

fn word(state: NodeState) -> &'static str {
    match state {
        NodeState::Connected => "connected",
        NodeState::Away => "away",
        NodeState::Revoked => "revoked",
    }
}

fn services(node: &FleetNode) -> Cell {
    let all = node.services == node.services_running;
    let shown = format!("{}/{}", node.services_running, node.services);
    Cell::state(if all { State::Ok } else { State::Warn }, shown)
}

fn serves(node: &FleetNode) -> &'static str {
    match node.public {
        true => "miners of others",
        false => "its own accounts",
    }
}

fn clock(ahead_ms: Option<i64>) -> Cell {
    let Some(ahead_ms) = ahead_ms else {
        return "unknown".into();
    };
    let direction = if ahead_ms < 0 { "behind" } else { "ahead" };
    let shown = format!("{} ms {direction}", text::count(ahead_ms.unsigned_abs()));
    match ahead_ms.unsigned_abs() > CLOCK_OFF_MS_MAX {
        true => Cell::state(
            State::Fail,
            format!("{shown}; it takes no commands until it is set"),
        ),
        false => shown.into(),
    }
}

pub(in crate::command) fn until(now: Timestamp, at: Timestamp) -> Cell {
    match at > now {
        true => format!("for {}", text::age(at, now)).into(),
        false => Cell::state(State::Fail, format!("ended {}", text::ago(now, Some(at)))),
    }
}
