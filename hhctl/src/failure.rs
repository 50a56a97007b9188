//! Errors in three parts: what failed, why, and what to do. The codes HH01nn are in here only.

mod fixes;

use crate::Exit;
use hh_ipc::client::RpcError;
use hh_ipc::locate::{Context, Daemon, LocateError};
use hh_ipc::{ApiError, ErrorKind};
use std::error::Error;
use std::io;
use std::time::Duration;

/// Code of a daemon that has no socket.
pub(crate) const NOT_RUNNING: &str = "HH0120";

/// Why a command, or a part of it, has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// `HH01nn`, or the code that a daemon gave.
    pub(crate) code: String,
    pub(crate) exit: Exit,
    /// What failed, with the names and addresses in it.
    pub(crate) what: String,
    /// Why, in the words of whoever knows.
    pub(crate) why: String,
    /// What to do about it, a command where there is one.
    pub(crate) fix: String,
}

impl Failure {
    fn new(code: &str, exit: Exit, what: String, why: String, fix: String) -> Self {
        Self {
            code: code.to_owned(),
            exit,
            what,
            why: without_errno(&why),
            fix,
        }
    }

    /// No context.
    pub(crate) fn locate(error: &LocateError) -> Self {
        let (exit, fix) = match error {
            LocateError::Unknown { .. } => (
                Exit::Usage,
                "name one of those with --context or HHCTL_CONTEXT, or write the path of a context file with a slash",
            ),
            LocateError::Read { .. } | LocateError::Parse { .. } => (
                Exit::Failed,
                "make it again (scripts/devnet up), or name another with --context; --context local means the daemons \
                 installed on this machine",
            ),
        };
        let why = error
            .source()
            .map_or_else(|| error.to_string(), without_excerpt);
        let what = match error.source() {
            Some(_) => error.to_string(),
            None => "can't tell which daemons are meant".to_owned(),
        };
        Self::new("HH0110", exit, what, one_line(&why), fix.to_owned())
    }

    /// A daemon's socket can't be opened; `reason` names it.
    pub(crate) fn dial(
        daemon: Daemon,
        place: &Place,
        access: Access,
        kind: io::ErrorKind,
        reason: String,
    ) -> Self {
        let program = daemon.program();
        let what = format!("can't reach {program} of {place}");
        let start = place.start_hint(daemon);
        match kind {
            io::ErrorKind::NotFound => Self::new(
                NOT_RUNNING,
                Exit::Unreachable,
                what,
                format!("{reason}: it is not running"),
                start,
            ),
            io::ErrorKind::ConnectionRefused => Self::new(
                "HH0121",
                Exit::Unreachable,
                what,
                format!("{reason}: it has stopped without tidying up"),
                start,
            ),
            io::ErrorKind::PermissionDenied => Self::new(
                "HH0122",
                Exit::Permission,
                what,
                reason,
                format!(
                    "join the group of the socket (hyperhash-view reads, hyperhash-admin changes): sudo usermod -aG \
                     {} $USER, then log in again",
                    access.group()
                ),
            ),
            _ => Self::new("HH0123", Exit::Unreachable, what, reason, start),
        }
    }

    /// None of the daemons is running, so that one message does for all.
    pub(crate) fn nothing_runs(place: &Place) -> Self {
        let why = match &place.host {
            Some(_) => "there are no sockets".to_owned(),
            None => format!(
                "there are no sockets in {}",
                place.context.runtime_dir.display()
            ),
        };
        let fix = if place.is_installed() {
            "start them: sudo systemctl start hh-tp hh-pool hh-translator hh-treasury; or name another context with --context"
        } else {
            "start them: scripts/devnet up; or name another context with --context"
        };
        let what = format!("no daemon of {place} is running");
        Self::new(NOT_RUNNING, Exit::Unreachable, what, why, fix.to_owned())
    }

    /// A call got no answer.
    pub(crate) fn call(daemon: Daemon, place: &Place, timeout: Duration, error: &RpcError) -> Self {
        let program = daemon.program();
        let what = format!("{program} of {place} did not answer");
        match error {
            RpcError::DeadlineExceeded => Self::timed_out(daemon, place, timeout),
            RpcError::Server(error) => Self::new(
                "HH0126",
                Exit::Protocol,
                what,
                format!("it refused the request: {error}"),
                "use the hhctl of the daemon's version; `hhctl version --all` compares them"
                    .to_owned(),
            ),
            RpcError::Shutdown | RpcError::Send(_) | RpcError::Channel(_) => Self::new(
                "HH0124",
                Exit::Unreachable,
                what,
                format!("the connection broke: {error}"),
                format!(
                    "try again; if it stays, read its log: {}",
                    place.log_hint(daemon)
                ),
            ),
        }
    }

    /// Connecting or a call took longer than --timeout.
    pub(crate) fn timed_out(daemon: Daemon, place: &Place, timeout: Duration) -> Self {
        let program = daemon.program();
        Self::new(
            "HH0125",
            Exit::Unreachable,
            format!("{program} of {place} did not answer"),
            format!("nothing came within {timeout:?} (--timeout)"),
            format!("read its log: {}", place.log_hint(daemon)),
        )
    }

    /// A daemon that speaks another protocol.
    pub(crate) fn protocol(daemon: Daemon, place: &Place, theirs: u32, version: &str) -> Self {
        let ours = hh_ipc::PROTOCOL;
        let program = daemon.program();
        let older = if theirs < ours {
            format!("upgrade {program}")
        } else {
            "upgrade hhctl".to_owned()
        };
        Self::new(
            "HH0130",
            Exit::Protocol,
            format!("can't talk to {program} {version} of {place}"),
            format!("it speaks protocol {theirs}, this hhctl speaks {ours}"),
            older,
        )
    }

    /// Another program answers on a daemon's socket.
    pub(crate) fn other_daemon(daemon: Daemon, place: &Place, name: &str) -> Self {
        let program = daemon.program();
        Self::new(
            "HH0131",
            Exit::Failed,
            format!("can't talk to {program} of {place}"),
            format!("{name} answers on its socket"),
            "correct runtime_dir in the configuration of both".to_owned(),
        )
    }

    /// A daemon refused what was asked.
    pub(crate) fn api(daemon: Daemon, place: &Place, error: &ApiError) -> Self {
        let (exit, fix) = match error.kind {
            ErrorKind::Usage => (Exit::Usage, "correct the arguments; --help shows them"),
            ErrorKind::NotFound => (Exit::NotFound, where_to_look(&error.code)),
            ErrorKind::Permission => (Exit::Permission, "use a control socket, not a view socket"),
            ErrorKind::Unavailable => (
                Exit::Failed,
                "see what is missing with `hhctl doctor`, then try again",
            ),
            ErrorKind::Failed => (Exit::Failed, "look for the cause with `hhctl doctor`"),
        };
        let exit = match &*error.code {
            // The act waits for somebody else's yes.
            "HH4030" => Exit::NotConfirmed,
            _ => exit,
        };
        let what = format!("{} of {place} refused", daemon.program());
        Self::new(
            &error.code,
            exit,
            what,
            error.message.clone(),
            fixes::of(&error.code).unwrap_or(fix).to_owned(),
        )
    }

    /// A key file can't be made or used.
    pub(crate) fn key(what: String, why: String, fix: String) -> Self {
        Self::new("HH0160", Exit::Failed, what, why, fix)
    }

    /// An order to pay an account elsewhere that nobody can sign.
    pub(crate) fn payment_order(why: String) -> Self {
        let what = "can't make up the text that the owner signs".to_owned();
        let fix = "correct the destination or --until, seconds since 1970".to_owned();
        Self::new("HH0108", Exit::Usage, what, why, fix)
    }

    /// A record that can't be made up.
    pub(crate) fn record(why: String) -> Self {
        let what = "can't make up the text that an operator signs".to_owned();
        let fix = "add what is missing; --help shows the flags".to_owned();
        Self::new("HH0109", Exit::Usage, what, why, fix)
    }

    /// An operator's key that does not sign.
    pub(crate) fn signature(why: String, fix: String) -> Self {
        let what = "nothing was signed".to_owned();
        Self::new("HH0163", Exit::Failed, what, why, fix)
    }

    /// A block's report, or a proof that leads to it, is not what it should be.
    pub(crate) fn report(hash: &str, why: String) -> Self {
        let what = format!("the report of block {hash} proves nothing");
        let fix = "don't pay or count by it; ask the operator of the treasury for the report again"
            .to_owned();
        Self::new("HH0161", Exit::Failed, what, why, fix)
    }

    /// A file of the audit log can't be made or used, or a checkpoint of it.
    pub(crate) fn audit(what: String, why: String, fix: &str) -> Self {
        Self::new("HH0163", Exit::Failed, what, why, fix.to_owned())
    }

    /// No block of ours is at this height.
    pub(crate) fn no_report_at(height: u32) -> Self {
        let what = format!("no report of a block at height {height}");
        let why = "hh-treasury has no block of ours there".to_owned();
        let fix = "hhctl block list".to_owned();
        Self::new("HH0162", Exit::NotFound, what, why, fix)
    }

    /// No SSH session.
    pub(crate) fn ssh(host: &str, why: String, fix: impl Into<String>) -> Self {
        let what = format!("can't reach {host} by SSH");
        Self::new(
            "HH0140",
            Exit::Unreachable,
            what,
            one_line(&why),
            fix.into(),
        )
    }

    /// What was to be printed could not be.
    pub(crate) fn print(error: &io::Error) -> Self {
        let exit = if error.kind() == io::ErrorKind::BrokenPipe {
            Exit::BrokenPipe
        } else {
            Exit::Failed
        };
        let what = "can't write the output".to_owned();
        Self::new(
            "HH0150",
            exit,
            what,
            error.to_string(),
            "make room, or write elsewhere".to_owned(),
        )
    }

    /// The session that `system dial-stdio` carries has failed.
    pub(crate) fn relay(error: &io::Error) -> Self {
        let what = "the session that carries calls over stdin and stdout failed".to_owned();
        let fix = "run the same version of hhctl at both ends".to_owned();
        Self::new("HH0151", Exit::Failed, what, error.to_string(), fix)
    }

    /// A question that can't be asked.
    pub(crate) fn nobody_to_ask(flag: &str) -> Self {
        Self::new(
            "HH0102",
            Exit::NotConfirmed,
            "nothing was changed".to_owned(),
            "this has to be confirmed, and there is no terminal to ask on".to_owned(),
            format!("see with --dry-run what would change, then add {flag}"),
        )
    }

    /// A question that was answered with something else than yes.
    pub(crate) fn not_confirmed(typed: Option<&str>, flag: &str) -> Self {
        let (wanted, answer) = match typed {
            Some(word) => (word, word),
            None => ("yes", "y"),
        };
        Self::new(
            "HH0103",
            Exit::NotConfirmed,
            "nothing was changed".to_owned(),
            format!("the answer was not {wanted}"),
            format!("run it again, and answer {answer} or add {flag}"),
        )
    }

    /// A change that was confirmed for another place.
    pub(crate) fn another_place(place: &Place, confirmed: &str) -> Self {
        Self::new(
            "HH0106",
            Exit::NotConfirmed,
            "nothing was changed".to_owned(),
            format!("it was confirmed for {confirmed:?}, and this is {place}"),
            format!(
                "name the other one with --context or -H, or this one with --confirm {}",
                place.name()
            ),
        )
    }

    /// A change that would be made again and again.
    pub(crate) fn watched_change() -> Self {
        Self::new(
            "HH0104",
            Exit::Usage,
            "nothing was changed".to_owned(),
            "--watch repeats a command, and this one changes something".to_owned(),
            "leave --watch out".to_owned(),
        )
    }

    /// An answer that has no end in sight.
    pub(crate) fn too_much(most: usize) -> Self {
        Self::new(
            "HH0107",
            Exit::Failed,
            "nothing was printed".to_owned(),
            format!("there are more than {most}"),
            "ask for fewer, such as those of one payee".to_owned(),
        )
    }

    /// A stream that would be begun again and again.
    pub(crate) fn watched_stream() -> Self {
        Self::new(
            "HH0105",
            Exit::Usage,
            "nothing was shown".to_owned(),
            "--watch repeats a command, and this one goes on by itself".to_owned(),
            "leave --watch out".to_owned(),
        )
    }

    /// A daemon that lets us look, but not change anything.
    pub(crate) fn read_only(daemon: Daemon, place: &Place) -> Self {
        let program = daemon.program();
        Self::new(
            "HH0127",
            Exit::Permission,
            format!("{program} of {place} changes nothing for you"),
            "this session reaches its view socket only".to_owned(),
            "leave --read-only out, or use a user of the group hyperhash-admin".to_owned(),
        )
    }

    /// A help topic that does not exist.
    pub(crate) fn no_such_topic(words: &str) -> Self {
        Self::new(
            "HH0101",
            Exit::Usage,
            format!("no help on {words:?}"),
            "there is no such command or topic".to_owned(),
            "run hhctl --help".to_owned(),
        )
    }
}

/// What to do where a daemon does not know what was named, by the code of its refusal.
fn where_to_look(code: &str) -> &'static str {
    match code {
        "HH1001" => "see what is kept with `hhctl template list`: the oldest go first",
        "HH2004" => "see who is connected with `hhctl miner list`; it may have left meanwhile",
        "HH2010" => "see the rounds with `hhctl round list`",
        "HH2011" => {
            "see what hh-tp says with `hhctl tp status`, or correct [[template_providers]] in hh-pool.toml"
        }
        "HH2014" => "see the blocks with `hhctl block list`",
        "HH2020" => "nothing has to be freed; see with `hhctl pool status` which id this pool has",
        "HH2031" | "HH3021" => "see the bans with `hhctl ban list`; it may have ended meanwhile",
        "HH2032" => {
            "see the nodes with `hhctl node list`, or add it to [[hyper_nodes]] in hh-pool.toml"
        }
        "HH5001" => "see the nodes that have enrolled with `hhctl node list`",
        "HH5002" => "see the operations with `hhctl operation list`",
        "HH5003" => "see the tokens with `hhctl token list`",
        "HH5007" => "see the tokens with `hhctl api-token list`",
        "HH5050" => {
            "see what was signed with `hhctl node record list`, or `hhctl operator list` for operators"
        }
        "HH3001" => {
            "see who is connected with `hhctl translator downstream list`; it may have left meanwhile"
        }
        "HH3002" => "see the lanes with `hhctl lane list`",
        "HH3010" => "see the upstreams with `hhctl translator upstream list`",
        _ => "list what there is; it may have gone meanwhile",
    }
}

/// A TOML error without the lines that show the place in the file.
fn without_excerpt(error: &dyn Error) -> String {
    let text = error.to_string();
    let lines: Vec<&str> = text.lines().filter(|line| !line.contains(" |")).collect();
    lines.join("\n")
}

/// Rust's errors of the operating system end in ` (os error 2)`, which tells an operator nothing.
pub(crate) fn without_errno(text: &str) -> String {
    let Some((before, rest)) = text.split_once(" (os error ") else {
        return text.to_owned();
    };
    let after = rest.split_once(')').map_or("", |(_, after)| after);
    format!("{before}{after}")
}

fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .filter(|l| !l.is_empty())
        .collect();
    lines.join("; ")
}

/// What a session is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Look,
    Change,
}

impl Access {
    fn group(self) -> &'static str {
        match self {
            Self::Look => "hyperhash-view",
            Self::Change => "hyperhash-admin",
        }
    }
}

/// Where daemons are, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) context: Context,
    pub(crate) host: Option<String>,
}

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.host {
            Some(host) => write!(f, "host {host:?}"),
            None => write!(f, "context {:?}", self.context.name),
        }
    }
}

impl Place {
    /// What is typed where an act is confirmed by its place.
    pub(crate) fn name(&self) -> &str {
        self.host.as_deref().unwrap_or(&self.context.name)
    }

    /// Installed daemons are services; others were started by devnet.
    fn is_installed(&self) -> bool {
        self.host.is_some() || self.context.name == hh_ipc::locate::LOCAL
    }

    fn start_hint(&self, daemon: Daemon) -> String {
        let program = daemon.program();
        if self.is_installed() {
            format!(
                "start it: sudo systemctl start {program}; or name another context with --context"
            )
        } else {
            "start it: scripts/devnet up; or name another context with --context".to_owned()
        }
    }

    fn log_hint(&self, daemon: Daemon) -> String {
        let program = daemon.program();
        if self.is_installed() {
            format!("journalctl -u {program} -n 50")
        } else {
            format!("scripts/devnet logs {program}")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::Parser;

    /// With those that daemons refuse with as `ErrorKind::NotFound`.
    #[test]
    fn what_is_not_found_is_looked_for_with_a_command_that_there_is() {
        for code in [
            "HH1001", "HH2004", "HH2010", "HH2011", "HH2014", "HH2020", "HH2031", "HH2032",
            "HH3001", "HH3002", "HH3010", "HH3021", "HH5001", "HH5002", "HH5003", "HH5050",
        ] {
            let mut parts = where_to_look(code).split('`');
            let command = parts.nth(1).expect("a command in backticks");
            let parsed = Cli::try_parse_from(command.split(' '));
            assert!(parsed.is_ok(), "{code}: {command}");
        }
    }
}
