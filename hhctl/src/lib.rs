//! The operator's command line: looks at the daemons of a context, here or over SSH, and prints tables or JSON.
//!
//! It owns the words and shapes that operators and their scripts see: commands, tables, JSON, errors, exit codes. It knows
//! the daemons by their control sockets alone. Only `output` prints.

mod change;
mod cli;
mod command;
mod exit;
mod failure;
mod invoice;
mod key_file;
mod output;
mod session;
mod ssh;
mod tail;

pub use exit::Exit;

use clap::{CommandFactory, FromArgMatches};
use cli::{Cli, Command, GlobalArgs};
use failure::Failure;
use output::{Output, Report};
use session::Session;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{BufRead, IsTerminal, Write};
use std::path::PathBuf;

/// What a run depends on besides its arguments, so that tests can have their own.
pub struct Surroundings {
    pub working_dir: PathBuf,
    pub now: fn() -> jiff::Timestamp,
    /// The environment, as far as it is text.
    pub variables: BTreeMap<String, String>,
    pub stdin: Box<dyn BufRead + Send>,
    pub stdout: Box<dyn Write + Send>,
    pub stderr: Box<dyn Write + Send>,
    pub stdin_is_terminal: bool,
    pub stdout_is_terminal: bool,
    pub stderr_is_terminal: bool,
    /// Columns that help is wrapped to; as wide as the terminal if it is not given.
    pub help_width: Option<usize>,
}

impl std::fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Surroundings")
            .field("working_dir", &self.working_dir)
            .field("stdout_is_terminal", &self.stdout_is_terminal)
            .finish_non_exhaustive()
    }
}

impl Surroundings {
    /// Those of this process.
    pub fn of_process() -> Self {
        Self {
            working_dir: std::env::current_dir().unwrap_or_default(),
            now: jiff::Timestamp::now,
            variables: std::env::vars_os().filter_map(text_variable).collect(),
            stdin: Box::new(std::io::BufReader::new(std::io::stdin())),
            stdout: Box::new(std::io::stdout()),
            stderr: Box::new(std::io::stderr()),
            stdin_is_terminal: std::io::stdin().is_terminal(),
            stdout_is_terminal: std::io::stdout().is_terminal(),
            stderr_is_terminal: std::io::stderr().is_terminal(),
            help_width: None,
        }
    }

    /// A variable of the environment that is not empty.
    fn variable(&self, name: &str) -> Option<&str> {
        let value = self.variables.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }

    /// The command line, as wide as help may be.
    fn command_line(&self) -> clap::Command {
        let command = Cli::command();
        match self.help_width {
            Some(width) => command.term_width(width),
            None => command,
        }
    }
}

fn text_variable((name, value): (OsString, OsString)) -> Option<(String, String)> {
    Some((name.into_string().ok()?, value.into_string().ok()?))
}

/// Runs one command. What it has to say is on the two streams when this returns.
pub async fn run(
    args: impl IntoIterator<Item = OsString>,
    surroundings: &mut Surroundings,
) -> Exit {
    let cli = surroundings
        .command_line()
        .try_get_matches_from(args)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let mut cli = match cli {
        Ok(cli) => cli,
        Err(error) => return output::print_usage(surroundings, &error),
    };
    match &mut cli.command {
        Command::Payout(cli::PayoutCommand::Run(args)) => args.name(),
        Command::Treasury(command) => command.name(),
        Command::Ln(command) => command.name(),
        _ => {}
    }
    let result = match &cli.command {
        Command::Help { words } => output::print_help(surroundings, words),
        Command::System(cli::SystemCommand::DialStdio { read_only }) => {
            command::dial_stdio::run(&cli.global, surroundings, *read_only).await
        }
        Command::Identity(command) => command::identity(command)
            .and_then(|report| print_once(&cli.global, &report, surroundings)),
        Command::Node(command) if command.is_about_files() => {
            let now = (surroundings.now)();
            command::node_files(command, now)
                .and_then(|report| print_once(&cli.global, &report, surroundings))
        }
        Command::Pki(command) if command.is_about_files() => {
            let now = (surroundings.now)();
            command::pki_files(command, now)
                .and_then(|report| print_once(&cli.global, &report, surroundings))
        }
        Command::Audit(command) if command.is_about_files() => command::audit_files(command)
            .and_then(|report| print_once(&cli.global, &report, surroundings)),
        Command::Ln(cli::LightningCommand::Invoice(cli::InvoiceArgs {
            what: Some(cli::InvoiceCommand::Decode { invoice }),
            ..
        })) => {
            let now = (surroundings.now)();
            print_once(&cli.global, &command::decoded(invoice, now), surroundings)
        }
        Command::Version { all: false } => {
            print_once(&cli.global, &command::own_version(), surroundings)
        }
        Command::Share(cli::ShareCommand::Tail(args)) => {
            tail::run(&cli.global, args, surroundings).await
        }
        command if command.changes_something() => {
            change::run(&cli.global, command, surroundings).await
        }
        command => report(&cli.global, command, surroundings).await,
    };
    match result {
        Ok(exit) => exit,
        Err(failure) => output::print_failure(surroundings, &failure),
    }
}

fn print_once(
    global: &GlobalArgs,
    report: &Report,
    surroundings: &mut Surroundings,
) -> Result<Exit, Failure> {
    let now = (surroundings.now)();
    Output::new(global, surroundings).print(report, now)
}

/// Makes the command's report and prints it; with `--watch`, again and again.
async fn report(
    global: &GlobalArgs,
    command: &Command,
    surroundings: &mut Surroundings,
) -> Result<Exit, Failure> {
    let mut session = Session::new(global, surroundings)?;
    loop {
        let made = command::report(command, &mut session).await;
        let mut output = Output::new(global, surroundings);
        let exit = match made {
            Ok(report) => output.print(&report, session.now())?,
            Err(failure) if global.watch.is_some() => {
                session.forget();
                output.print(&Report::failed(failure), session.now())?
            }
            Err(failure) => return Err(failure),
        };
        let Some(interval) = global.watch else {
            return Ok(exit);
        };
        tokio::time::sleep(interval).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_says_what_it_does_and_shows_an_example() {
        fn walk(command: &clap::Command, path: &str) {
            assert!(command.get_about().is_some(), "{path} has no about");
            let is_group = command.has_subcommands();
            if !is_group && !command.is_hide_set() && command.get_name() != "help" {
                let examples = command.get_after_help().map(ToString::to_string);
                let examples = examples.unwrap_or_default();
                assert!(examples.contains("hhctl "), "{path} has no example");
            }
            for inner in command.get_subcommands() {
                walk(inner, &format!("{path} {}", inner.get_name()));
            }
        }
        walk(&Cli::command(), "hhctl");
    }
}
