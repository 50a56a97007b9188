//! `hhtui`: the pool on one screen, live.
//!
//! It asks the daemons of a context over their control sockets, changes something there only by the user's yes, and stays when
//! they go. One direction only: what happens becomes a `Msg`, `update` changes the `Model`, `view` draws it.

mod act;
mod app;
mod backoff;
mod dialog;
mod feed;
mod figures;
mod history;
mod keymap;
mod link;
mod model;
#[cfg(test)]
#[expect(
    dead_code,
    reason = "shared with the tests of the binary, which use all of it"
)]
#[path = "../tests/it/pty.rs"]
mod pty;
mod reach;
#[cfg(test)]
mod sample;
mod terminal;
mod theme;
mod tree;
mod view;

use anyhow::{Context as _, Result, bail};
use app::Ways;
use clap::Parser;
use hh_ipc::locate::Context;
use jiff::Timestamp;
use model::Model;
use reach::{ControlReach, Reach};
use std::io::IsTerminal;
use theme::{ASCII, Theme, UNICODE};

/// The pool on one screen: hashrate, shares, templates, miners and blocks, live
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// `local` (the daemons of this machine), the name of the devnet around this folder, or a context file's path
    #[arg(short, long, env = "HHCTL_CONTEXT")]
    context: Option<String>,

    /// Show another machine's daemons, over SSH; HHCTL_SSH names another ssh program
    #[arg(short = 'H', long, value_name = "[USER@]HOST", value_parser = host)]
    host: Option<String>,

    /// Change nothing: kick nobody and pause no lane from here
    #[arg(long)]
    read_only: bool,

    /// Colours [default: from NO_COLOR, TERM and COLORFGBG]
    #[arg(long)]
    theme: Option<Theme>,

    /// Draw with ASCII characters only [default: unless the locale is UTF-8]
    #[arg(long)]
    ascii: bool,
}

fn main() -> Result<()> {
    let args = Args::parse();
    if !std::io::stdout().is_terminal() {
        bail!(
            "standard output is no terminal; use `hhctl status` for text or `hhctl status -o json`"
        );
    }
    let theme = args.theme.unwrap_or_else(|| Theme::from_env(var));
    let symbols = if args.ascii || !theme::locale_is_utf8(var) {
        &ASCII
    } else {
        &UNICODE
    };
    let hhctl = hhctl(args.context.as_deref(), args.host.as_deref());
    let host = args.host.clone();
    let (title, ways) = ways(args.context, args.host)?;
    let mut model = Model::new(title, theme, symbols, Timestamp::now());
    if let Some(host) = host {
        model.place = host;
    }
    model.hhctl = hhctl;
    model.read_only = args.read_only;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("can't start the runtime")?;
    runtime.block_on(app::run(model, ways))
}

/// The name to show for the daemons, and the ways to them.
fn ways(context: Option<String>, host: Option<String>) -> Result<(String, Ways)> {
    let Some(host) = host else {
        let working_dir = std::env::current_dir().context("can't tell the working directory")?;
        let context = Context::find(context.as_deref(), &working_dir)?;
        let ways = Ways {
            reach: Reach::Here(context.clone()),
            line: None,
            control: ControlReach::Here(context.clone()),
        };
        return Ok((context.name, ways));
    };
    let program = var("HHCTL_SSH").unwrap_or_else(|| "ssh".to_owned());
    let mut title = host.clone();
    let mut arguments = Vec::new();
    // A context is one of that machine, and is found there.
    if let Some(name) = context {
        title = format!("{host} {name}");
        arguments.extend(["--context".to_owned(), name]);
    }
    // What is open all the time only looks: the far end need not let it do more.
    let looking = [&["--read-only".to_owned()][..], &arguments].concat();
    let (reach, line) = Reach::over_ssh(program.clone(), host.clone(), looking);
    let control = ControlReach::There {
        program,
        host,
        arguments,
    };
    let line = Some(line);
    Ok((
        title,
        Ways {
            reach,
            line,
            control,
        },
    ))
}

/// How a command line of hhctl begins that is about the same daemons.
fn hhctl(context: Option<&str>, host: Option<&str>) -> String {
    let host = host.map(|host| format!(" -H {host}"));
    let context = context.map(|context| format!(" -c {}", act::word(context)));
    format!(
        "hhctl{}{}",
        host.unwrap_or_default(),
        context.unwrap_or_default()
    )
}

fn var(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// ssh would take a host that starts with a dash for an option.
fn host(text: &str) -> Result<String, String> {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "@.-_:[]%".contains(c);
    if text.is_empty() || text.starts_with('-') || !text.chars().all(harmless) {
        return Err("write HOST or USER@HOST".to_owned());
    }
    Ok(text.to_owned())
}
