//! The command tree and its flags.

mod account;
mod amount;
mod api_token;
mod audit;
mod block;
mod consent;
mod downstream;
mod event;
mod job;
mod lightning;
mod miner;
mod node;
mod node_wallet;
mod operation;
mod operator;
mod payout;
mod pki;
mod share;
mod token;
mod treasury;
mod upstream;
mod withdrawal;
mod worker;

pub(crate) use account::{AccountCommand, DestinationArgs, DrawArgs, PayoutAddressCommand};
pub(crate) use api_token::{ApiTokenCommand, CreateApiTokenArgs};
pub(crate) use audit::{AuditCommand, AuditListArgs, AuditVerifyArgs};
pub(crate) use block::BlockCommand;
use clap::{Args, Parser, Subcommand, ValueEnum};
pub(crate) use consent::{AgentCommand, ConsentCommand};
pub(crate) use downstream::{DownstreamChoice, DownstreamCommand, LaneCommand};
pub(crate) use event::{EventCommand, JournalKeeper, VerifyArgs};
use hh_ipc::api::pool::RoundSelector;
pub(crate) use job::{CoinbaseCommand, JobCommand};
pub(crate) use lightning::{
    ChannelCommand, InvoiceArgs, InvoiceCommand, LightningCommand, OpenArgs, PaymentCommand,
    PeerCommand, RebalanceArgs,
};
pub(crate) use miner::{BanChoice, BanCommand, Gatekeeper, MinerChoice, MinerCommand};
pub(crate) use node::{
    CredentialCommand, IssueArgs, NodeCertificateCommand, NodeCommand, NodeConfigCommand,
    NodeKeyCommand, ServiceArgs,
};
pub(crate) use node_wallet::NodeWalletCommand;
pub(crate) use operation::OperationCommand;
pub(crate) use operator::{NodeRecordCommand, OperatorCommand, RecordArgs, SigningArgs};
pub(crate) use payout::{PayoutCommand, PayoutFilter, RunArgs, RunChoice, SubmitInvoiceArgs};
pub(crate) use pki::{PkiCommand, RotateArgs, Rotated};
pub(crate) use share::{ShareCommand, TailArgs};
use std::path::PathBuf;
use std::time::Duration;
pub(crate) use token::{CreateArgs, TokenCommand};
pub(crate) use treasury::TreasuryCommand;
pub(crate) use upstream::UpstreamCommand;
pub(crate) use withdrawal::{WithdrawArgs, WithdrawalCommand};
pub(crate) use worker::WorkerCommand;

/// Operate a Hyper Hash mining network.
#[derive(Debug, Parser)]
#[command(
    name = "hhctl",
    disable_help_subcommand = true,
    disable_version_flag = true,
    max_term_width = 100,
    after_help = "The daemons are those of --context, else of the devnet of the checkout around the working directory, else \
                  of /run/hyperhash.\n`hhctl help exit-codes` lists what the exit status means."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Flags of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// Context: `local`, the name of the devnet around the working directory, or the path of a context file
    #[arg(
        short,
        long,
        global = true,
        env = "HHCTL_CONTEXT",
        hide_env_values = true,
        value_name = "NAME|PATH"
    )]
    pub(crate) context: Option<String>,
    /// Run on another machine by SSH; HHCTL_SSH names another ssh program
    #[arg(short = 'H', long, global = true, value_name = "[USER@]HOST", value_parser = host)]
    pub(crate) host: Option<String>,
    /// Over SSH, dial sockets that only read
    #[arg(long, global = true, requires = "host")]
    pub(crate) read_only: bool,
    /// Output format
    #[arg(
        short,
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "table"
    )]
    pub(crate) output: Format,
    /// Colour of states; auto heeds NO_COLOR and CLICOLOR_FORCE
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub(crate) color: When,
    /// Leave out the first line of tables
    #[arg(long, global = true)]
    pub(crate) no_headers: bool,
    /// How long a daemon may take to answer, such as 10s or 500ms
    #[arg(long, global = true, value_name = "TIME", default_value = "10s", value_parser = time)]
    pub(crate) timeout: Duration,
    /// Print again every 2s, or every TIME
    #[arg(
        short,
        long,
        global = true,
        value_name = "TIME",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "2s",
        value_parser = time
    )]
    pub(crate) watch: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Table,
    Json,
    /// On one line each; what a stream prints for `json` as well.
    #[value(hide = true)]
    Jsonl,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum When {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// One screen: the daemons, the chain, the hashrate, the blocks
    #[command(
        after_help = "Examples:\n  hhctl status\n  hhctl status -w\n  hhctl -H ops@core1 status -o json"
    )]
    Status,
    /// The pool
    #[command(subcommand)]
    Pool(PoolCommand),
    /// Miners that are connected to the pool
    #[command(subcommand, alias = "miners")]
    Miner(MinerCommand),
    /// Addresses and accounts that are kept out
    #[command(subcommand, alias = "bans")]
    Ban(BanCommand),
    /// Hyper Nodes: edges that miners' shares come through
    #[command(subcommand, alias = "nodes")]
    Node(NodeCommand),
    /// On a node: commands of core that wait for the word of its owner
    #[command(subcommand, alias = "consents")]
    Consent(ConsentCommand),
    /// On a node: its agent
    #[command(subcommand)]
    Agent(AgentCommand),
    /// Tokens with which nodes enrol at core
    #[command(subcommand, alias = "tokens")]
    Token(TokenCommand),
    /// Tokens with which people and programs call core's REST interface
    #[command(subcommand, alias = "api-tokens")]
    ApiToken(ApiTokenCommand),
    /// Commands that nodes were given, and what came of them
    #[command(subcommand, alias = "operations")]
    Operation(OperationCommand),
    /// Operators: persons who sign with their own SSH keys
    #[command(subcommand, alias = "operators")]
    Operator(OperatorCommand),
    /// The certificates and keys of the control plane
    #[command(subcommand)]
    Pki(PkiCommand),
    /// The audit log of core
    #[command(subcommand)]
    Audit(AuditCommand),
    /// Workers of accounts, connected or not
    #[command(subcommand, alias = "workers")]
    Worker(WorkerCommand),
    /// Shares
    #[command(subcommand, alias = "shares")]
    Share(ShareCommand),
    /// Blocks that our miners found, and what came of their reward
    #[command(subcommand, alias = "blocks")]
    Block(BlockCommand),
    /// Rounds: the work between blocks of ours, and luck
    #[command(subcommand, alias = "rounds")]
    Round(RoundCommand),
    /// The treasury: what the blocks brought, who has it, and whether the books agree with the wallet
    #[command(subcommand)]
    Treasury(TreasuryCommand),
    /// Payouts over Lightning
    #[command(subcommand, alias = "payouts")]
    Payout(PayoutCommand),
    /// The treasury's Lightning node
    #[command(subcommand)]
    Ln(LightningCommand),
    /// Accounts: whose money it is, and where it is paid
    #[command(subcommand, alias = "accounts")]
    Account(AccountCommand),
    /// What operators changed, and whether the journals of it are whole
    #[command(subcommand, alias = "events")]
    Event(EventCommand),
    /// The template provider
    #[command(subcommand)]
    Tp(TpCommand),
    /// Block templates
    #[command(subcommand, alias = "templates")]
    Template(TemplateCommand),
    /// The translator
    #[command(subcommand)]
    Translator(TranslatorCommand),
    /// Lanes of the translator: listeners with their names and bounds of difficulty
    #[command(subcommand, alias = "lanes")]
    Lane(LaneCommand),
    /// Version of this program; with --all also of every daemon
    #[command(after_help = "Examples:\n  hhctl version\n  hhctl version --all")]
    Version {
        /// Ask every daemon
        #[arg(long)]
        all: bool,
    },
    /// Check everything that usually goes wrong, and say how to fix it
    #[command(
        after_help = "Examples:\n  hhctl doctor\n  hhctl doctor -o json\n\nExit status: 3 if a check failed; warnings leave it 0."
    )]
    Doctor,
    /// SV2 authority keys, by which a daemon's clients recognise it
    #[command(subcommand)]
    Identity(IdentityCommand),
    /// Help on a command, or on `exit-codes`
    Help {
        /// A command, or `exit-codes`
        words: Vec<String>,
    },
    /// For programs
    #[command(subcommand, hide = true)]
    System(SystemCommand),
}

impl Command {
    /// Whether it is to be planned and confirmed.
    pub(crate) fn changes_something(&self) -> bool {
        match self {
            Self::Treasury(command) => command.changes_something(),
            Self::Payout(command) => command.changes_something(),
            Self::Ln(command) => command.changes_something(),
            Self::Account(command) => command.changes_something(),
            Self::Node(NodeCommand::Record(command)) => command.confirmation().is_some(),
            Self::Operator(command) => command.confirmation().is_some(),
            Self::Node(command) => {
                command.order().is_some() || matches!(command, NodeCommand::Revoke { .. })
            }
            _ => matches!(
                self,
                Self::Miner(
                    MinerCommand::Kick { .. }
                        | MinerCommand::Ban { .. }
                        | MinerCommand::Unban { .. }
                ) | Self::Consent(ConsentCommand::Approve { .. } | ConsentCommand::Refuse { .. })
                    | Self::Operation(OperationCommand::Cancel { .. })
                    | Self::Token(TokenCommand::Create(_) | TokenCommand::Revoke { .. })
                    | Self::ApiToken(ApiTokenCommand::Revoke { .. })
                    | Self::Pool(
                        PoolCommand::Vardiff(VardiffCommand::Set { .. })
                            | PoolCommand::Retire { .. }
                    )
                    | Self::Translator(
                        TranslatorCommand::Downstream(DownstreamCommand::Kick { .. })
                            | TranslatorCommand::Upstream(UpstreamCommand::Switch { .. })
                    )
                    | Self::Lane(LaneCommand::Pause { .. } | LaneCommand::Resume { .. })
            ),
        }
    }
}

/// Flags of every command that changes something.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct Confirmation {
    /// Do it without asking
    #[arg(short, long)]
    pub(crate) yes: bool,
    /// Only show what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// Flags of commands that let money go: a yes is not enough, since it is the same in every context.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct NamedConfirmation {
    /// Do it without asking, in the context (with -H: on the host) of this name
    #[arg(long, value_name = "CONTEXT")]
    pub(crate) confirm: Option<String>,
    /// Only show what would be done
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum PoolCommand {
    /// Lanes, work, shares, share log, ledger and connections of the pool
    #[command(after_help = "Examples:\n  hhctl pool status\n  hhctl pool status --watch=5s")]
    Status,
    /// Jobs: what miners work on
    #[command(subcommand)]
    Job(JobCommand),
    /// The coinbase: whom a block of ours pays
    #[command(subcommand)]
    Coinbase(CoinbaseCommand),
    /// How often miners are to send shares, and between which difficulties
    #[command(subcommand)]
    Vardiff(VardiffCommand),
    /// Free the server id of a pool that will never come back, so that no round waits for it
    #[command(
        after_help = "Examples:\n  hhctl pool retire 3 --dry-run\n  hhctl pool retire 3\n  hhctl pool retire 3 --lost\n\nAsk any other \
                      pool on the same ledger. It refuses a pool that it heard of in the last minute, and one that did not stop \
                      cleanly: its share log may have acknowledged shares that the ledger has not. Make sure that it does not \
                      run: one that is cut off from the ledger mines on with its server id. This can't be taken back: the pool's \
                      share log is closed for good, and refused if it comes back; a new one may claim the server id."
    )]
    Retire {
        /// Its server id, as `hhctl round list` and its configuration show it
        #[arg(value_name = "ID")]
        server_id: u16,
        /// Give up the shares that it acknowledged and did not ship
        #[arg(long)]
        lost: bool,
        #[command(flatten)]
        confirmation: Confirmation,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum VardiffCommand {
    /// Shares per minute and the bounds of the difficulty: everybody's, of each lane, of accounts
    #[command(after_help = "Example:\n  hhctl pool vardiff show")]
    Show,
    /// Change them, for all miners or for an account; kept over restarts
    #[command(
        after_help = "Examples:\n  hhctl pool vardiff set --shares-per-minute 12\n  hhctl pool vardiff set --account alice --min \
                      1000 --max 1e6\n  hhctl pool vardiff set --account alice --reset\n\nOpen channels heed it with their \
                      next jobs; a job keeps the target it was sent with, so that no share is rejected for it. A \
                      lane's own bounds in hh-pool.toml go before everybody's, and an account's narrow them."
    )]
    Set {
        /// Only the bounds of this account
        #[arg(long, value_name = "NAME", conflicts_with = "shares_per_minute")]
        account: Option<String>,
        #[command(flatten)]
        settings: VardiffArgs,
        #[command(flatten)]
        confirmation: Confirmation,
    },
}

/// What to set.
#[derive(Clone, Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct VardiffArgs {
    /// How many shares a minute a channel is to send
    #[arg(long, value_name = "NUMBER")]
    pub(crate) shares_per_minute: Option<f64>,
    /// No job is easier than this difficulty (1 = 2^32 hashes)
    #[arg(long, value_name = "DIFFICULTY")]
    pub(crate) min: Option<f64>,
    /// No job is harder than this difficulty
    #[arg(long, value_name = "DIFFICULTY")]
    pub(crate) max: Option<f64>,
    /// Forget first what was set before: what hh-pool.toml says holds again
    #[arg(long)]
    pub(crate) reset: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RoundCommand {
    /// List the round that goes on and those that have ended, newest first
    #[command(
        after_help = "Examples:\n  hhctl round list\n  hhctl round list --limit 100 -o json\n\nA round ends with a block of ours \
                      that Bitcoin Core accepts. One that is rejected or orphaned ends none: its work counts for the next.\n\n\
                      EFFORT is the work in blocks: 100% is what one takes on average. LUCK is 1 / effort. LONGER says how many of \
                      all rounds take more work than this one, by chance alone."
    )]
    List {
        /// At most this many that have ended
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// One round, and who worked in it
    #[command(
        after_help = "Examples:\n  hhctl round show open\n  hhctl round show 1203\n  hhctl round show 000002a7d0c1b2a3...f3e4d5c6"
    )]
    Show {
        /// `open`, or the height or hash of the block that ended it
        #[arg(value_parser = round)]
        round: RoundSelector,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TpCommand {
    /// Bitcoin Core nodes, clients and solutions of the template provider
    #[command(after_help = "Example:\n  hhctl tp status")]
    Status,
}

#[derive(Debug, Subcommand)]
pub(crate) enum TemplateCommand {
    /// List templates, newest first
    #[command(after_help = "Examples:\n  hhctl template list\n  hhctl template list --limit 3")]
    List {
        /// At most this many
        #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,
    },
    /// One template: header fields, fees, the coinbase's own outputs
    #[command(after_help = "Example:\n  hhctl template show 1764072000123")]
    Show {
        /// Template id, as `hhctl template list` shows it
        id: u64,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum TranslatorCommand {
    /// Upstreams, miners and shares of the translator, and the key that SV2 miners pin
    #[command(
        after_help = "Example:\n  hhctl translator status\n\nOn a lane whose miners share channels each is in a class of difficulty, a power \
                      of two. ARRIVING are those on their way from another class, who work on its jobs until then. While no credential \
                      holds each miner has a channel of its own, whose difficulty is the pool's."
    )]
    Status,
    /// Miners that are connected to the translator
    #[command(subcommand, alias = "downstreams")]
    Downstream(DownstreamCommand),
    /// Pools behind the translator
    #[command(subcommand, alias = "upstreams")]
    Upstream(UpstreamCommand),
}

#[derive(Debug, Subcommand)]
pub(crate) enum IdentityCommand {
    /// Make a secret key, for its owner alone to read, and show its public key
    #[command(
        after_help = "Example:\n  hhctl identity generate /etc/hyperhash/hh-pool.key\n\nA file that exists is left alone."
    )]
    Generate {
        /// File to make
        file: PathBuf,
    },
    /// Show the public key of a secret key
    #[command(after_help = "Example:\n  hhctl identity show /etc/hyperhash/hh-pool.key")]
    Show {
        /// File with the secret key
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum SystemCommand {
    /// Carry calls to this machine's daemons over stdin and stdout: the far end of `hhctl -H`
    #[command(
        after_help = "To give a key no more than a look, in authorized_keys:\n  \
                            restrict,command=\"hhctl system dial-stdio --read-only\" ssh-ed25519 AAAA..."
    )]
    DialStdio {
        /// Dial sockets that only read
        #[arg(long)]
        read_only: bool,
    },
}

/// `open`, a height or a hash.
fn round(text: &str) -> Result<RoundSelector, String> {
    let is_hash = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match text.parse() {
        _ if text == "open" => Ok(RoundSelector::Open),
        _ if is_hash => Ok(RoundSelector::Hash(text.to_ascii_lowercase())),
        Ok(height) => Ok(RoundSelector::Height(height)),
        Err(_) => Err("write open, or the height or hash of a block of ours".to_owned()),
    }
}

/// ssh would take a host that starts with a dash for an option.
fn host(text: &str) -> Result<String, String> {
    let plain = !text.is_empty()
        && !text.starts_with('-')
        && text
            .chars()
            .all(|c| c.is_ascii_graphic() && !"'\"\\`$;&|<>()".contains(c));
    if plain {
        Ok(text.to_owned())
    } else {
        Err("write HOST or USER@HOST".to_owned())
    }
}

/// `500ms`, `10s`, `2m`; a bare number is in seconds.
fn time(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| !c.is_ascii_digit());
    let number: u64 = digits
        .parse()
        .map_err(|_error| "write a time such as 500ms, 10s or 2m".to_owned())?;
    let milliseconds = match &text[digits.len()..] {
        "ms" => Some(number),
        "" | "s" => number.checked_mul(1000),
        "m" => number.checked_mul(60_000),
        _ => None,
    };
    let longest = 600_000;
    match milliseconds {
        Some(milliseconds @ 1..) if milliseconds <= longest => {
            Ok(Duration::from_millis(milliseconds))
        }
        _ => Err("write a time from 1ms to 10m, such as 500ms, 10s or 2m".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit_and_an_end() {
        assert_eq!(time("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(time("10s"), Ok(Duration::from_secs(10)));
        assert_eq!(time("2"), Ok(Duration::from_secs(2)));
        assert_eq!(time("10m"), Ok(Duration::from_secs(600)));
        for text in [
            "",
            "s",
            "0s",
            "11m",
            "5h",
            "1.5s",
            "99999999999999999999s",
            "18446744073709551615m",
        ] {
            assert!(time(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_host_is_no_option_and_no_shell_code() {
        for text in [
            "core1",
            "ops@core1.example.org",
            "[2001:db8::1]",
            "ops@10.0.0.1",
        ] {
            assert_eq!(host(text).as_deref(), Ok(text));
        }
        for text in ["", "-oProxyCommand=x", "a b", "a;b", "$(id)", "a\n"] {
            assert!(host(text).is_err(), "{text}");
        }
    }
}
