//! `hhctl audit`.

use clap::{Args, Subcommand};
use hh_trust::control_key::CheckpointPublicKey;
use jiff::{SignedDuration, Timestamp};
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// List who asked for what and what came of it, newest first
    #[command(
        after_help = "Examples:\n  hhctl audit list\n  hhctl audit list --since 2h --actor alice\n  hhctl audit list --target node:berlin-1 -o json\n\n\
                      What operators changed at other daemons is in it as core has taken it in, under the name of the daemon. LINE \
                      is the line of the log."
    )]
    List(AuditListArgs),
    /// Check that no line of the audit log was changed, removed, inserted or moved
    #[command(
        after_help = "Examples:\n  hhctl audit verify\n  hhctl audit verify --witness\n  hhctl audit verify --file audit.jsonl --key hhaudit1...\n\n\
                      Each line has the hash of the line before, and its intent an outcome. Whoever may write core's database may \
                      write all of it anew: that only shows beside what was kept elsewhere. With --witness it is held against what \
                      the nodes have seen of it, each of which keeps the newest checkpoint that core has signed. Core's own log has \
                      every line, too.\n\nExit status: 3 if it was tampered with."
    )]
    Verify(AuditVerifyArgs),
    /// Write the audit log to a file, with a signed checkpoint at its end
    #[command(
        after_help = "Example:\n  hhctl audit export audit-2026.jsonl\n\nA line of the log is a line of the file, to the byte. The last \
                      line has the checkpoint. `hhctl audit verify --file` checks it, anywhere and without core.\n\nExit status: 3 \
                      if the log was tampered with; it is written all the same."
    )]
    Export {
        /// File to make
        file: PathBuf,
    },
}

/// Which lines.
#[derive(Clone, Debug, Args)]
pub(crate) struct AuditListArgs {
    /// Only from then on: a time ago, such as 30m, 2h or 7d, or a point in time such as 2026-11-30T00:00:00Z
    #[arg(long, value_name = "TIME")]
    pub(crate) since: Option<Since>,
    /// Only what was asked for by those in whose name this is, such as alice or node:berlin-1
    #[arg(long, value_name = "TEXT")]
    pub(crate) actor: Option<String>,
    /// Only what was done to those in whose name this is, such as node:berlin-1 or hh-pool
    #[arg(long, value_name = "TEXT")]
    pub(crate) target: Option<String>,
    /// At most this many
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) limit: u32,
}

/// What to check, and against what.
#[derive(Clone, Debug, Args)]
pub(crate) struct AuditVerifyArgs {
    /// Check a file of `hhctl audit export`, and ask no daemon
    #[arg(long, value_name = "FILE", conflicts_with = "witness")]
    pub(crate) file: Option<PathBuf>,
    /// The key that has to have signed the checkpoint, as `hhctl pki status` shows it
    #[arg(long, value_name = "KEY")]
    pub(crate) key: Option<CheckpointPublicKey>,
    /// Hold it against what nodes have seen of it
    #[arg(long)]
    pub(crate) witness: bool,
}

impl AuditCommand {
    /// Whether it is about a file, and no daemon is asked.
    pub(crate) fn is_about_files(&self) -> bool {
        matches!(self, Self::Verify(AuditVerifyArgs { file: Some(_), .. }))
    }
}

/// A point in time, or how long ago it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    At(Timestamp),
    Ago(SignedDuration),
}

impl Since {
    /// The point in time; the first that there is where it is too long ago.
    pub(crate) fn at(self, now: Timestamp) -> Timestamp {
        match self {
            Self::At(at) => at,
            Self::Ago(ago) => now.checked_sub(ago).unwrap_or(Timestamp::MIN),
        }
    }
}

impl std::str::FromStr for Since {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(at) = text.parse() {
            return Ok(Self::At(at));
        }
        let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
        let unit: Option<i64> = match &text[digits.len()..] {
            "s" => Some(1),
            "m" => Some(60),
            "h" => Some(3_600),
            "d" => Some(86_400),
            _ => None,
        };
        let seconds = digits.parse::<u32>().ok().zip(unit);
        let seconds = seconds.map(|(number, unit)| i64::from(number) * unit);
        seconds
            .map(|seconds| Self::Ago(SignedDuration::from_secs(seconds)))
            .ok_or_else(|| {
                "write a time ago such as 30m, 2h or 7d, or 2026-11-30T00:00:00Z".to_owned()
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_point_or_so_long_ago() {
        let now: Timestamp = "2026-11-30T12:00:00Z".parse().unwrap();
        let at = |text: &str| text.parse::<Since>().map(|since| since.at(now).to_string());
        assert_eq!(at("2h"), Ok("2026-11-30T10:00:00Z".to_owned()));
        assert_eq!(at("7d"), Ok("2026-11-23T12:00:00Z".to_owned()));
        assert_eq!(
            at("2026-11-01T00:00:00Z"),
            Ok("2026-11-01T00:00:00Z".to_owned())
        );
        assert!(at("4294967295d").is_ok());
        for text in ["", "h", "2", "2w", "-1h", "1.5h", "yesterday", "2ä"] {
            assert!(at(text).is_err(), "{text}");
        }
    }
}
