//! `hhctl event`.

use clap::{Args, Subcommand, ValueEnum};
use hh_ipc::locate::Daemon;
use hh_trust::Head;

#[derive(Debug, Subcommand)]
pub(crate) enum EventCommand {
    /// List the changes that operators made at all daemons, newest first
    #[command(
        after_help = "Examples:\n  hhctl event list\n  hhctl event list --daemon hh-translator --limit 5 -o json\n\nLINE is the line \
                      of the journal of that daemon."
    )]
    List {
        /// At most this many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
        /// Only those at this daemon
        #[arg(long, value_name = "NAME")]
        daemon: Option<JournalKeeper>,
    },
    /// Check that no line of a journal was changed, removed, inserted or moved
    #[command(
        after_help = "Examples:\n  hhctl event verify\n  hhctl event verify --daemon hh-pool --kept 12:6f0c...\n\nEach line has the \
                      hash of the line before. Whoever may write the file may also write all of it anew, or cut its end off: \
                      that only shows beside a line that was kept elsewhere, such as those in the daemon's log (`head`).\n\n\
                      Exit status: 3 if one was tampered with."
    )]
    Verify(VerifyArgs),
}

/// Which journals to check, and against what.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct VerifyArgs {
    /// Only the journal of this daemon
    #[arg(long, value_name = "NAME")]
    pub(crate) daemon: Option<JournalKeeper>,
    /// A line that was kept elsewhere: its number and hash
    #[arg(long, value_name = "LINE:HASH", requires = "daemon")]
    pub(crate) kept: Option<Head>,
}

/// A daemon that writes down what operators change there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum JournalKeeper {
    #[value(name = "hh-pool", alias = "pool")]
    Pool,
    #[value(name = "hh-translator", alias = "translator")]
    Translator,
    #[value(name = "hh-treasury", alias = "treasury")]
    Treasury,
    #[value(name = "hh-node-agent", alias = "agent")]
    NodeAgent,
}

impl JournalKeeper {
    /// Those of a site; a node's agent is named.
    pub(crate) const ALL: [Self; 3] = [Self::Pool, Self::Translator, Self::Treasury];

    pub(crate) fn daemon(self) -> Daemon {
        match self {
            Self::Pool => Daemon::Pool,
            Self::Translator => Daemon::Translator,
            Self::Treasury => Daemon::Treasury,
            Self::NodeAgent => Daemon::NodeAgent,
        }
    }
}
