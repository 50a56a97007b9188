//! What the exit status says.

use std::process::ExitCode;

/// The exit status of a run; `hhctl help exit-codes` prints them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    Done = 0,
    Failed = 1,
    Usage = 2,
    Degraded = 3,
    NotFound = 4,
    Unreachable = 5,
    Permission = 6,
    Partial = 8,
    /// Something would be changed, and nobody said yes.
    NotConfirmed = 9,
    Protocol = 10,
    /// The reader of stdout has gone, as with `| head`.
    BrokenPipe = 141,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// `hhctl help exit-codes`.
pub(crate) const HELP: &str = "\
Exit status of hhctl:

    0  done
    1  failed
    2  wrong usage: a flag, an argument or a context that does not exist
    3  degraded: status, doctor or a check found something that does not work, or what came of an order is not known
    4  not found
    5  unreachable: no socket, nobody listens on it, no SSH session, or no answer in time
    6  permission denied
    8  partly failed: some daemons answered, others did not
    9  not confirmed: nothing was changed; --yes or --confirm confirms, for some acts a second operator
   10  the daemon speaks another protocol version
  130  interrupted (SIGINT)
  141  the reader of stdout has gone
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_status_is_in_the_help() {
        for exit in [
            Exit::Done,
            Exit::Failed,
            Exit::Usage,
            Exit::Degraded,
            Exit::NotFound,
            Exit::Unreachable,
            Exit::Permission,
            Exit::Partial,
            Exit::NotConfirmed,
            Exit::Protocol,
            Exit::BrokenPipe,
        ] {
            let line = format!("\n  {:>3}  ", exit as u8);
            assert!(HELP.contains(&line), "{exit:?}");
        }
    }
}
