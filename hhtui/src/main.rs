//! `hhtui`: the pool on one screen, live.
//!
//! It asks the daemons of a context over their control sockets, changes nothing there, and stays when they go. One
//! direction only: what happens becomes a `Msg`, `update` changes the `Model`, `view` draws it.

mod app;
mod backoff;
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
use clap::Parser;
use hh_ipc::locate::Context;
use jiff::Timestamp;
use model::Model;
use reach::{Line, Reach};
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
    let (title, reach, line) = way(args.context, args.host)?;
    let model = Model::new(title, theme, symbols, Timestamp::now());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("can't start the runtime")?;
    runtime.block_on(app::run(model, &reach, line))
}

/// The name to show for the daemons, and the way to them.
fn way(context: Option<String>, host: Option<String>) -> Result<(String, Reach, Option<Line>)> {
    let Some(host) = host else {
        let working_dir = std::env::current_dir().context("can't tell the working directory")?;
        let context = Context::find(context.as_deref(), &working_dir)?;
        return Ok((context.name.clone(), Reach::Here(context), None));
    };
    let program = var("HHCTL_SSH").unwrap_or_else(|| "ssh".to_owned());
    // Only looks: the far end need not let it do more. A context is one of that machine, and is found there.
    let mut arguments = vec!["--read-only".to_owned()];
    let mut title = host.clone();
    if let Some(name) = context {
        title = format!("{host} {name}");
        arguments.extend(["--context".to_owned(), name]);
    }
    let (reach, line) = Reach::over_ssh(program, host, arguments);
    Ok((title, reach, Some(line)))
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
