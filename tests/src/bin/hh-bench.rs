//! `hh-bench`: measures our pool and translator and the reference implementation's side by side, and prints one table.
//!
//! `scripts/bench` builds what it needs and runs it. Progress goes to stderr, the table to stdout; the exit status is 1 where
//! ours misses a bar.

use anyhow::Context;
use clap::{Parser, ValueEnum};
use hh_tests::bench::report::{Figures, Report, Row, number};
use hh_tests::bench::server::{Server, ServerKind, Stage};
use hh_tests::bench::shares::Outcome;
use hh_tests::bench::sv1::translator::Translator;
use hh_tests::bench::usage::{Usage, UsageMeter};
use hh_tests::bench::{blocks, connects, shares, sv1, templates};
use hh_tests::bitcoin_core::Chain;
use std::io::Write;
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// A run is void where others used more of the machine.
const OTHERS_CORES_MAX: f64 = 0.2;

/// A run is void where the generator used more of its core: it was the limit then, not the server.
const GENERATOR_CORES_MAX: f64 = 0.7;

/// Attempts at a run that is not void.
const ATTEMPTS: usize = 3;

/// How long the machine is looked at before a run.
const LOOK: Duration = Duration::from_secs(1);

/// Measures hh-pool, hh-tp, hh-translator, pool_sv2 and translator_sv2 on this machine.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// What to measure; all of it by default
    #[arg(long, value_enum, value_delimiter = ',')]
    measure: Vec<Measure>,
    /// Whose servers, of those that a measure is for
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "ours,peer,peer-tens"
    )]
    server: Vec<ServerKind>,
    /// Runs of each measure; the median counts
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Shorter runs, for a look
    #[arg(long)]
    quick: bool,
    /// Seconds to wait before each run for others on this machine to be quiet
    #[arg(long, default_value_t = 30)]
    patience: u64,
}

/// What is measured on one server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Measure {
    /// Accepted shares a second at most
    SharesMax,
    /// CPU time of a share and latency at 2,000 shares a second
    SharesPaced,
    /// First job with one connection
    FirstJob,
    /// First job with 1,000 connections at once, memory of them, memory after four cycles
    Connects,
    /// Memory of 4,000 connections
    Memory,
    /// New block to the job at 1,000 connections
    NewBlock,
    /// The same with 2,000 shares a second
    NewBlockLoaded,
    /// Connections without SetupConnection
    Idle,
    /// New tip to the template of hh-tp
    Template,
    /// The same with 4,000 transactions in the mempool
    TemplateFull,
    /// First job of an SV1 miner behind a translator
    Sv1FirstJob,
    /// Memory of 1,000 SV1 connections
    Sv1Memory,
    /// New block to mining.notify at 1,000 SV1 connections
    Sv1NewBlock,
    /// SV1 shares that reach the pool a second at most, and those told as accepted that have not
    Sv1Shares,
}

/// What is measured: started anew for each run.
enum Subject {
    Pool(Server),
    Translator(Translator),
}

impl Measure {
    fn is_for(self, kind: ServerKind) -> bool {
        match self {
            Self::SharesMax | Self::SharesPaced => true,
            // hh-tp's: the peer has none.
            Self::Template | Self::TemplateFull => kind == ServerKind::Ours,
            _ => kind != ServerKind::PeerTens,
        }
    }

    /// Whether a translator is measured, not a pool.
    fn is_of_sv1(self) -> bool {
        matches!(
            self,
            Self::Sv1FirstJob | Self::Sv1Memory | Self::Sv1NewBlock | Self::Sv1Shares
        )
    }

    /// Whether the generator works as hard as it can: it must not be the limit.
    fn is_load(self) -> bool {
        matches!(self, Self::SharesMax | Self::SharesPaced | Self::Sv1Shares)
    }

    fn name(self) -> String {
        self.to_possible_value()
            .map_or_else(String::new, |value| value.get_name().to_owned())
    }
}

impl Subject {
    async fn start(measure: Measure, kind: ServerKind, stage: &Stage) -> Self {
        if measure.is_of_sv1() {
            Self::Translator(Translator::start(kind, stage).await)
        } else {
            Self::Pool(Server::start(kind, stage).await)
        }
    }

    fn meter(&self, stage: &Stage) -> UsageMeter {
        match self {
            Self::Pool(server) => UsageMeter::start(server.pid, &stage.bystanders()),
            Self::Translator(translator) => {
                UsageMeter::start(translator.pid, &translator.bystanders(stage))
            }
        }
    }
}

/// What one run has shown.
struct Run {
    figures: Figures,
    usage: Usage,
    lost: u64,
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments = Arguments::parse();
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start a runtime")?
        .block_on(bench(&arguments))
}

async fn bench(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let measures = match arguments.measure.as_slice() {
        [] => Measure::value_variants(),
        some => some,
    };
    let stage = Stage::start().await;
    let mut report = Report::default();
    for measure in measures {
        for run in 1..=arguments.runs {
            // Round by round, so that what drifts on the machine drifts for all of them.
            for kind in arguments
                .server
                .iter()
                .filter(|kind| measure.is_for(**kind))
            {
                say(&format!("{} run {run}, {}", measure.name(), kind.name()))?;
                let (run, is_void) = attempt(*measure, *kind, &stage, arguments).await?;
                report.add(*kind, run.figures, is_void);
            }
        }
    }
    let mut stdout = std::io::stdout().lock();
    writeln!(stdout, "{}", report.table())?;
    Ok(ExitCode::from(u8::from(!report.passes())))
}

/// Runs a measure until a run is not void, and gives the last one.
async fn attempt(
    measure: Measure,
    kind: ServerKind,
    stage: &Stage,
    arguments: &Arguments,
) -> anyhow::Result<(Run, bool)> {
    // translator_sv2 tells no target above 2^255, and on regtest all that meets that is a block.
    let signet = match measure {
        Measure::Sv1Shares => Some(Stage::start_on(Chain::Signet).await),
        _ => None,
    };
    let stage = signet.as_ref().unwrap_or(stage);
    let mut attempts = 1;
    loop {
        let subject = Subject::start(measure, kind, stage).await;
        wait_for_quiet(&subject, stage, arguments.patience).await;
        let run = match &subject {
            Subject::Pool(server) => measured(measure, server, stage, arguments.quick).await,
            Subject::Translator(translator) => {
                measured_sv1(measure, translator, stage, arguments.quick).await
            }
        };
        let run = run.with_context(|| format!("{} of {}", measure.name(), kind.name()))?;
        let usage = run.usage;
        let is_void = usage.others_cores > OTHERS_CORES_MAX
            || measure.is_load() && usage.generator_cores > GENERATOR_CORES_MAX;
        say(&described(&run, is_void))?;
        if !is_void || attempts == ATTEMPTS {
            return Ok((run, is_void));
        }
        attempts += 1;
    }
}

fn described(run: &Run, is_void: bool) -> String {
    let figures = run.figures.iter().map(|(row, value)| {
        let row: Row = *row;
        format!("{row:?} {}", number(*value))
    });
    let figures: Vec<String> = figures.collect();
    let Usage {
        generator_cores,
        others_cores,
        ..
    } = run.usage;
    format!(
        "  {}; cores: server {:.2}, generator {generator_cores:.2}, others {others_cores:.2}; shares lost {}{}",
        figures.join(", "),
        run.usage.server_cores(),
        run.lost,
        if is_void { "; VOID" } else { "" }
    )
}

async fn measured(
    measure: Measure,
    server: &Server,
    stage: &Stage,
    quick: bool,
) -> anyhow::Result<Run> {
    // On its own: nothing empties a mempool.
    let full = match measure {
        Measure::TemplateFull => Some(Stage::start().await),
        _ => None,
    };
    let stage = full.as_ref().unwrap_or(stage);
    let mut meter = UsageMeter::start(server.pid, &stage.bystanders());
    let seconds = |long, short| Duration::from_secs(if quick { short } else { long });
    let count = |long, short| if quick { short } else { long };
    let figures = match measure {
        Measure::SharesMax => {
            return Ok(shares::at_full_rate(server, stage, seconds(8, 4))
                .await?
                .into());
        }
        Measure::SharesPaced => {
            return Ok(shares::at_given_rate(server, stage, seconds(15, 5))
                .await?
                .into());
        }
        Measure::FirstJob => connects::first_job(server, count(200, 50)).await?,
        Measure::Connects => connects::storm(server, 1_000).await?,
        Measure::Memory => connects::memory(server, 4_000).await?,
        Measure::NewBlock => blocks::new_blocks(server, stage, 1_000, count(8, 4)).await?,
        Measure::NewBlockLoaded => {
            blocks::new_blocks_under_shares(server, stage, 1_000, count(8, 4)).await?
        }
        Measure::Idle => connects::idle(server).await?,
        Measure::Template => templates::empty(stage, count(200, 10)).await?,
        Measure::TemplateFull => templates::full(stage, count(20, 5), 4_000).await?,
        _ => anyhow::bail!("it is a measure of translators"),
    };
    Ok(Run {
        figures,
        usage: meter.usage(),
        lost: 0,
    })
}

async fn measured_sv1(
    measure: Measure,
    translator: &Translator,
    stage: &Stage,
    quick: bool,
) -> anyhow::Result<Run> {
    let mut meter = UsageMeter::start(translator.pid, &translator.bystanders(stage));
    let figures = match measure {
        Measure::Sv1FirstJob => sv1::first_job(translator, if quick { 50 } else { 200 }).await?,
        Measure::Sv1Memory => sv1::memory(translator, 1_000).await?,
        Measure::Sv1NewBlock => {
            sv1::new_blocks(translator, stage, 1_000, if quick { 4 } else { 8 }).await?
        }
        Measure::Sv1Shares => {
            let counted = Duration::from_secs(if quick { 4 } else { 8 });
            return Ok(sv1::shares::at_full_rate(translator, stage, counted)
                .await?
                .into());
        }
        _ => anyhow::bail!("it is a measure of pools"),
    };
    Ok(Run {
        figures,
        usage: meter.usage(),
        lost: 0,
    })
}

impl From<Outcome> for Run {
    fn from(outcome: Outcome) -> Self {
        let Outcome {
            figures,
            usage,
            lost,
        } = outcome;
        Self {
            figures,
            usage,
            lost,
        }
    }
}

/// Waits until others leave the machine alone, but not for ever.
async fn wait_for_quiet(subject: &Subject, stage: &Stage, patience: u64) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(patience) {
        let mut meter = subject.meter(stage);
        tokio::time::sleep(LOOK).await;
        if meter.usage().others_cores < OTHERS_CORES_MAX {
            return;
        }
    }
}

fn say(text: &str) -> std::io::Result<()> {
    writeln!(std::io::stderr().lock(), "bench: {text}")
}
