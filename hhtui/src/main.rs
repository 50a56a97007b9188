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
#[cfg(test)]
mod sample;
mod terminal;
mod theme;
mod view;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use hh_ipc::locate::Context;
use jiff::Timestamp;
use model::Model;
use std::io::IsTerminal;
use theme::{ASCII, Theme, UNICODE};

/// The pool on one screen: hashrate, shares, templates, miners and blocks, live
#[derive(Debug, Parser)]
#[command(version)]
struct Args {
    /// `local` (the daemons of this machine), the name of the devnet around this folder, or a context file's path
    #[arg(short, long, env = "HHCTL_CONTEXT")]
    context: Option<String>,

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
    let working_dir = std::env::current_dir().context("can't tell the working directory")?;
    let context = Context::find(args.context.as_deref(), &working_dir)?;
    let var = |name: &str| std::env::var(name).ok();
    let theme = args.theme.unwrap_or_else(|| Theme::from_env(var));
    let symbols = if args.ascii || !theme::locale_is_utf8(var) {
        &ASCII
    } else {
        &UNICODE
    };
    let model = Model::new(context.name.clone(), theme, symbols, Timestamp::now());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("can't start the runtime")?;
    runtime.block_on(app::run(model, &context))
}
