//! `hh-miner`: the CPU miner of the test kit as a program. Prints a line of JSON for each event on stdout.
//!
//! It hashes really, throttled, and connects again for ever; for devnet and for tests, not for profit.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::Parser;
use hh_tests::miner::{ChannelKind, Event, Miner, MinerConfig, MinerUrl};
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

/// Events that may wait for stdout.
const EVENTS: usize = 1_024;

/// A CPU miner for Stratum V1 and V2.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// stratum+tcp://HOST:PORT or stratum2+tcp://HOST:PORT/AUTHORITYKEY
    #[arg(long)]
    url: MinerUrl,
    /// Account and worker: ACCOUNT[.WORKER]
    #[arg(long)]
    user: String,
    /// Hashes a second at most; k, M and G are understood
    #[arg(long, default_value = "300k", value_parser = hashrate)]
    hashrate: u64,
    /// Kind of channel (Stratum V2 only)
    #[arg(long, value_enum, default_value = "standard")]
    channel: ChannelKind,
    /// End when so many shares are accepted
    #[arg(long)]
    shares: Option<u64>,
    /// End when so many blocks are accepted
    #[arg(long)]
    blocks: Option<u64>,
}

/// An event with its time.
#[derive(Serialize)]
struct Line {
    /// Milliseconds since 1970.
    at_ms: u128,
    #[serde(flatten)]
    event: Event,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?
        .block_on(run(arguments))
}

async fn run(arguments: Arguments) -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (sender, mut events) = mpsc::channel(EVENTS);
    let miner = Miner::start(MinerConfig {
        channel: arguments.channel,
        hashrate_hs: arguments.hashrate,
        shares: arguments.shares,
        blocks: arguments.blocks,
        events: Some(sender),
        ..MinerConfig::new(arguments.url, &arguments.user)
    });
    // The last sender is the miner's: when it has finished, there are no more events.
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => print(event)?,
                None => return Ok(()),
            },
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
        }
    }
    miner.stop().await;
    while let Some(event) = events.recv().await {
        print(event)?;
    }
    Ok(())
}

fn print(event: Event) -> anyhow::Result<()> {
    let at_ms = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_millis();
    let line = serde_json::to_string(&Line { at_ms, event })?;
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{line}").context("stdout is closed")?;
    Ok(())
}

/// `300k` is 300,000.
fn hashrate(text: &str) -> Result<u64, String> {
    let (digits, factor) = match text.chars().last() {
        Some('k') => (&text[..text.len() - 1], 1_000),
        Some('M') => (&text[..text.len() - 1], 1_000_000),
        Some('G') => (&text[..text.len() - 1], 1_000_000_000),
        _ => (text, 1),
    };
    digits
        .parse::<u64>()
        .ok()
        .and_then(|number| number.checked_mul(factor))
        .ok_or_else(|| format!("{text:?} is not a whole number with k, M or G behind it"))
}
