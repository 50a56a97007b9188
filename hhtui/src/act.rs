//! What can be changed from here: the same operations as hhctl's. What one would do is asked first, and it is done after a yes.

mod money;

use crate::figures::plural;
use crate::reach::{ControlReach, ReachError};
use hh_ipc::ApiError;
use hh_ipc::api::Hello;
use hh_ipc::api::pool::{KickRequest, Kicked, MinerSelector};
use hh_ipc::api::translator::{
    DownstreamSelector, KickDownstreams, KickedDownstreams, LaneDetail, PauseLane,
};
use hh_ipc::client::{self, RpcError};
use hh_ipc::locate::Daemon;
use std::time::Duration;

/// What stands in the journal of the daemon.
const REASON: &str = "from hhtui";

/// A daemon that does not answer for this long has not done it, as far as anybody here knows.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// Something to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Close a channel of hh-pool, with its connection if it is alone on it.
    KickChannel(u32),
    /// Close all channels of an account.
    KickAccount(String),
    /// Close the connection of one of hh-translator's miners.
    KickDownstream(u64),
    /// Let no new miner in on a lane of hh-translator, or all again.
    PauseLane {
        lane: String,
        paused: bool,
    },
    /// Stop payouts at once.
    Freeze,
    Unfreeze,
    /// Pay what the rules would pay. What that is, is in the next one.
    PlanPayouts,
    /// Pay this, and nothing else.
    RunPayouts {
        request_id: String,
        payees: Vec<String>,
        total_msat: u64,
    },
    /// Keep a payee from being paid, or let him be paid again.
    Hold {
        payee: String,
        is_held: bool,
    },
    /// Close a channel of hh-treasury's wallet, together with its peer.
    CloseChannel(String),
}

/// What an operation asks for before it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asks {
    /// Nothing: a stop button must be quick.
    Nothing,
    Yes,
    /// The name of the context: a yes is the same in every one, and money goes.
    Name,
}

/// What came of an operation, or would.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) words: String,
    /// What is to be done after a yes, where that follows from the plan.
    pub(crate) next: Option<Operation>,
}

impl From<String> for Outcome {
    fn from(words: String) -> Self {
        Self { words, next: None }
    }
}

/// Why nothing is known of an operation, or it was refused.
#[derive(Debug, thiserror::Error)]
enum ActError {
    #[error(transparent)]
    Reach(#[from] ReachError),
    #[error("{0} answers on its socket")]
    OtherDaemon(String),
    #[error("it lets this session look, and change nothing")]
    ReadOnly,
    #[error("{} ({})", .0.message, .0.code)]
    Refused(ApiError),
    #[error("{0}")]
    Nothing(String),
    #[error("no answer: {0}")]
    Call(#[from] RpcError),
}

impl Operation {
    pub(crate) fn daemon(&self) -> Daemon {
        match self {
            Self::KickChannel(_) | Self::KickAccount(_) => Daemon::Pool,
            Self::KickDownstream(_) | Self::PauseLane { .. } => Daemon::Translator,
            Self::Freeze
            | Self::Unfreeze
            | Self::PlanPayouts
            | Self::RunPayouts { .. }
            | Self::Hold { .. }
            | Self::CloseChannel(_) => Daemon::Treasury,
        }
    }

    pub(crate) fn asks(&self) -> Asks {
        match self {
            Self::Freeze => Asks::Nothing,
            Self::Unfreeze | Self::PlanPayouts | Self::RunPayouts { .. } => Asks::Name,
            Self::KickChannel(_)
            | Self::KickAccount(_)
            | Self::KickDownstream(_)
            | Self::PauseLane { .. }
            | Self::Hold { .. }
            | Self::CloseChannel(_) => Asks::Yes,
        }
    }

    /// What is behind `hhctl` on a command line that does the same.
    pub(crate) fn command(&self) -> String {
        match self {
            Self::KickChannel(id) => format!("miner kick {id}"),
            Self::KickAccount(account) => format!("miner kick --account {}", word(account)),
            Self::KickDownstream(id) => format!("translator downstream kick {id}"),
            Self::PauseLane { lane, paused: true } => format!("lane pause {}", word(lane)),
            Self::PauseLane { lane, .. } => format!("lane resume {}", word(lane)),
            Self::Freeze => format!("treasury freeze --reason {}", word(REASON)),
            Self::Unfreeze => format!("treasury unfreeze --reason {}", word(REASON)),
            Self::PlanPayouts => "payout run".to_owned(),
            Self::RunPayouts { request_id, .. } => format!("payout run --request-id {request_id}"),
            Self::Hold { payee, is_held } => {
                let verb = if *is_held { "hold" } else { "release" };
                format!("payout {verb} {} --reason {}", word(payee), word(REASON))
            }
            Self::CloseChannel(id) => format!("ln channel close {}", word(id)),
        }
    }

    /// Shown before it is known what would end by it.
    pub(crate) fn title(&self) -> String {
        match self {
            Self::KickChannel(id) => format!("Kick the miner of channel {id}"),
            Self::KickAccount(account) => format!("Kick all miners of {account}"),
            Self::KickDownstream(id) => format!("Kick the translator's miner {id}"),
            Self::PauseLane { lane, paused: true } => format!("Pause lane {lane}"),
            Self::PauseLane { lane, .. } => format!("Resume lane {lane}"),
            Self::Freeze => "Freeze payouts".to_owned(),
            Self::Unfreeze => "Unfreeze payouts".to_owned(),
            Self::PlanPayouts | Self::RunPayouts { .. } => "Run payouts".to_owned(),
            Self::Hold { payee, is_held } => {
                let verb = if *is_held { "Hold" } else { "Release" };
                format!("{verb} {payee}")
            }
            Self::CloseChannel(id) => format!("Close channel {id}"),
        }
    }

    /// Asks for a yes, with what the daemon said would come of it.
    pub(crate) fn question(&self, consequence: &str) -> String {
        match self {
            Self::KickChannel(_) | Self::KickAccount(_) | Self::KickDownstream(_) => {
                format!("Close {consequence}? Miners may come back.")
            }
            Self::PauseLane { lane, paused: true } => {
                format!("Let no new miner in on lane {lane}? {consequence}.")
            }
            Self::PauseLane { lane, .. } => format!("Let miners in on lane {lane} again?"),
            Self::Freeze => "Stop payouts?".to_owned(),
            Self::Unfreeze => format!("{consequence}. Let payouts go on?"),
            Self::PlanPayouts | Self::RunPayouts { .. } => format!("{consequence}. Open them?"),
            Self::Hold {
                payee,
                is_held: true,
            } => {
                format!("Keep {payee} from being paid? What it has stays its own.")
            }
            Self::Hold { payee, .. } => format!("Let {payee} be paid again?"),
            Self::CloseChannel(_) => format!("Close it together with the peer? {consequence}."),
        }
    }

    /// Tells what was done.
    pub(crate) fn done(&self, consequence: &str) -> String {
        match self {
            Self::KickChannel(_) | Self::KickAccount(_) | Self::KickDownstream(_) => {
                format!("Closed {consequence}.")
            }
            Self::PauseLane { lane, paused: true } => {
                format!("Lane {lane} lets no new miner in; {consequence}.")
            }
            Self::PauseLane { lane, .. } => format!("Lane {lane} lets miners in."),
            Self::Freeze => format!("No new payment is sent: {consequence}."),
            Self::Unfreeze => "Payouts go on.".to_owned(),
            Self::PlanPayouts | Self::RunPayouts { .. } => format!("Opened: {consequence}."),
            Self::Hold {
                payee,
                is_held: true,
            } => format!("{payee} is not paid until released."),
            Self::Hold { payee, .. } => format!("{payee} is paid again."),
            Self::CloseChannel(_) => format!("It is being closed: {consequence}."),
        }
    }

    /// Does it, or with `dry_run` only asks what it would do. Gives what came of it, or why there is nothing.
    pub(crate) async fn run(&self, reach: &ControlReach, dry_run: bool) -> Result<Outcome, String> {
        let answer = match self {
            Self::KickChannel(id) => kick(reach, MinerSelector::Channel(*id), dry_run).await,
            Self::KickAccount(account) => {
                kick(reach, MinerSelector::Account(account.clone()), dry_run).await
            }
            Self::KickDownstream(id) => kick_downstream(reach, *id, dry_run).await,
            Self::PauseLane { lane, paused } => {
                let request = PauseLane {
                    lane: lane.clone(),
                    paused: *paused,
                    dry_run,
                };
                pause(reach, request).await
            }
            Self::Freeze
            | Self::Unfreeze
            | Self::PlanPayouts
            | Self::RunPayouts { .. }
            | Self::Hold { .. }
            | Self::CloseChannel(_) => money::run(self, reach, dry_run).await,
        };
        answer.map_err(|error| format!("{}: {error}", self.daemon().program()))
    }
}

/// As it has to be written in a shell.
pub(crate) fn word(text: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_.@/:".contains(c);
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

async fn kick(
    reach: &ControlReach,
    miners: MinerSelector,
    dry_run: bool,
) -> Result<Outcome, ActError> {
    let opened = reach.open(Daemon::Pool).await?;
    let pool = client::pool(opened.stream);
    check(Daemon::Pool, &pool.hello(within()).await?)?;
    let request = KickRequest { miners, dry_run };
    let answer = pool.kick(within(), request).await?;
    answer
        .map(|kicked| ended(&kicked).into())
        .map_err(ActError::Refused)
}

async fn kick_downstream(
    reach: &ControlReach,
    id: u64,
    dry_run: bool,
) -> Result<Outcome, ActError> {
    let opened = reach.open(Daemon::Translator).await?;
    let translator = client::translator(opened.stream);
    check(Daemon::Translator, &translator.hello(within()).await?)?;
    let miners = DownstreamSelector::Id(id);
    let request = KickDownstreams { miners, dry_run };
    let answer = translator.kick_downstreams(within(), request).await?;
    answer
        .map(|kicked: KickedDownstreams| plural(kicked.connections.into(), "connection").into())
        .map_err(ActError::Refused)
}

async fn pause(reach: &ControlReach, request: PauseLane) -> Result<Outcome, ActError> {
    let opened = reach.open(Daemon::Translator).await?;
    let translator = client::translator(opened.stream);
    check(Daemon::Translator, &translator.hello(within()).await?)?;
    let answer = translator.pause_lane(within(), request).await?;
    answer
        .map(|lane: LaneDetail| match lane.connections {
            0 => "nobody is connected".to_owned().into(),
            1 => "1 connection stays".to_owned().into(),
            more => format!("{} stay", plural(more.into(), "connection")).into(),
        })
        .map_err(ActError::Refused)
}

fn ended(kicked: &Kicked) -> String {
    let connections = plural(kicked.connections.into(), "connection");
    let channels = plural(kicked.channels.into(), "channel");
    match (kicked.connections, kicked.channels) {
        (0, _) => channels,
        (_, 0) => connections,
        _ => format!("{connections} and {channels}"),
    }
}

fn check(daemon: Daemon, hello: &Hello) -> Result<(), ActError> {
    if hello.daemon != daemon.program() {
        return Err(ActError::OtherDaemon(hello.daemon.clone()));
    }
    if hello.read_only {
        return Err(ActError::ReadOnly);
    }
    Ok(())
}

fn within() -> hh_ipc::Context {
    client::within(CALL_TIMEOUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_command(operation: &Operation, expected: &str) {
        assert_eq!(operation.command(), expected);
    }

    #[test]
    fn operations_are_those_of_hhctl() {
        check_command(&Operation::KickChannel(3), "miner kick 3");
        let kick = |account: &str| Operation::KickAccount(account.to_owned());
        check_command(&kick("alice"), "miner kick --account alice");
        check_command(
            &kick("carol@example.org"),
            "miner kick --account carol@example.org",
        );
        check_command(
            &Operation::KickDownstream(5),
            "translator downstream kick 5",
        );
        let pause = |lane: &str, paused| Operation::PauseLane {
            lane: lane.to_owned(),
            paused,
        };
        check_command(&pause("main", true), "lane pause main");
        check_command(
            &pause("it's; rm -rf", false),
            r"lane resume 'it'\''s; rm -rf'",
        );
    }
}
