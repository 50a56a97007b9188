//! Miners, and who of them is kept out.

use super::Confirmation;
use clap::{Args, Subcommand, ValueEnum};
use hh_ipc::locate::Daemon;
use std::time::Duration;

#[derive(Debug, Subcommand)]
pub(crate) enum MinerCommand {
    /// List the open channels
    #[command(
        after_help = "Examples:\n  hhctl miner list\n  hhctl miner list --account alice -o json"
    )]
    List {
        /// Only this account's
        #[arg(long)]
        account: Option<String>,
        /// At most this many
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// One open channel
    #[command(after_help = "Example:\n  hhctl miner show 3")]
    Show {
        /// Channel id, as `hhctl miner list` shows it
        id: u32,
    },
    /// Close the connections of miners, once the pool has answered what it has accepted; they may come back
    #[command(
        after_help = "Examples:\n  hhctl miner kick 3\n  hhctl miner kick --account alice\n  hhctl miner kick --address 203.0.113.0/24 \
                      --dry-run\n\nOn a connection that carries other miners as well, such as a translator's, only the channels that \
                      are meant are closed."
    )]
    Kick {
        #[command(flatten)]
        miners: MinerChoice,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Keep an address, a network or an account out, and close what is open of it; kept over restarts
    #[command(
        after_help = "Examples:\n  hhctl miner ban 203.0.113.7 --for 1h --reason \"port scan\"\n  hhctl miner ban 203.0.113.0/24\n  hhctl \
                      miner ban --account mallory\n\nA connection from a banned address is closed before anything is read. A banned \
                      account can open no channel. Without --for it holds until `hhctl miner unban`; one that is made again \
                      takes the place of the first.\n\nAn address is kept out by hh-pool and by hh-translator, an account by hh-pool, \
                      whatever it comes through. Where one of the two is not reached the ban is made at the other, and the exit \
                      status is 8."
    )]
    Ban {
        #[command(flatten)]
        target: BanChoice,
        /// How long, such as 30m, 1h or 7d
        #[arg(long = "for", value_name = "TIME", value_parser = long_time)]
        length: Option<Duration>,
        /// Why, for those who read the list
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// Only at this daemon
        #[arg(long, value_name = "NAME", conflicts_with = "account")]
        daemon: Option<Gatekeeper>,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Lift a ban
    #[command(
        after_help = "Examples:\n  hhctl miner unban 203.0.113.7\n  hhctl miner unban --account mallory\n\nA ban is lifted by what it \
                      was made for, as `hhctl ban list` shows it: an address that is banned with its network, by the network. It \
                      is lifted wherever it holds."
    )]
    Unban {
        #[command(flatten)]
        target: BanChoice,
        /// Only at this daemon
        #[arg(long, value_name = "NAME", conflicts_with = "account")]
        daemon: Option<Gatekeeper>,
        #[command(flatten)]
        confirmation: Confirmation,
    },
}

/// Whom a ban is for.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct BanChoice {
    /// An address, or a network such as 203.0.113.0/24
    #[arg(value_name = "ADDRESS|CIDR")]
    pub(crate) address: Option<String>,
    /// An account
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<String>,
}

/// A daemon that keeps addresses out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Gatekeeper {
    #[value(name = "hh-pool", alias = "pool")]
    Pool,
    #[value(name = "hh-translator", alias = "translator")]
    Translator,
}

impl Gatekeeper {
    pub(crate) const ALL: [Self; 2] = [Self::Pool, Self::Translator];

    pub(crate) fn daemon(self) -> Daemon {
        match self {
            Self::Pool => Daemon::Pool,
            Self::Translator => Daemon::Translator,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum BanCommand {
    /// List the bans that hold, the newest first
    #[command(
        after_help = "Examples:\n  hhctl ban list\n  hhctl ban list --daemon hh-translator -o json\n\nBY is operator (hhctl miner ban), or \
                      conduct: one that the daemon made itself for misbehaviour, for minutes, as [auto_ban] in its \
                      configuration says."
    )]
    List {
        /// Only those of this daemon
        #[arg(long, value_name = "NAME")]
        daemon: Option<Gatekeeper>,
    },
}

/// Whom a command is about.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct MinerChoice {
    /// Channel id, as `hhctl miner list` shows it
    pub(crate) id: Option<u32>,
    /// All miners of an account
    #[arg(long, value_name = "NAME")]
    pub(crate) account: Option<String>,
    /// All connections from an address, or from a range such as 203.0.113.0/24
    #[arg(long, value_name = "ADDRESS|CIDR")]
    pub(crate) address: Option<String>,
}

/// `30m`, `1h`, `7d`; a unit is asked for, since a bare number could be any.
fn long_time(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let unit = match &text[digits.len()..] {
        "s" => Some(1),
        "m" => Some(60),
        "h" => Some(3_600),
        "d" => Some(86_400),
        _ => None,
    };
    let number = digits.parse().ok().filter(|number: &u64| *number > 0);
    match unit.zip(number).and_then(|(unit, n)| n.checked_mul(unit)) {
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => Err("write a time such as 30m, 1h or 7d".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_times_have_a_unit() {
        assert_eq!(long_time("30m"), Ok(Duration::from_secs(1_800)));
        assert_eq!(long_time("7d"), Ok(Duration::from_secs(604_800)));
        for text in [
            "",
            "1",
            "h",
            "0h",
            "-1h",
            "1.5h",
            "1w",
            "18446744073709551615d",
        ] {
            assert!(long_time(text).is_err(), "{text}");
        }
    }
}
