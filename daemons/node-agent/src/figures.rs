//! What the node's own daemons say of themselves: the lanes of its translator, and which versions run.
//!
//! They are asked over their view sockets, which change nothing, every five seconds. A daemon that does not answer, or is not here, has
//! no figures: an old one is never told as a new one.

use hh_daemon::{Chain, Failure};
use hh_ipc::agent::{LaneReport, MAX_LANES, MAX_PROGRAMS, ProgramVersion};
use hh_ipc::api::translator::LaneDetail;
use hh_ipc::client::{self, RpcError};
use hh_ipc::locate::Daemon;
use hh_trust::LaneName;
use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How often they are asked: as often as the node is measured.
const INTERVAL: Duration = Duration::from_secs(5);

/// For a daemon's answers: it makes them of what it has in memory.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// Why a daemon has no figures.
#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("can't open {}", path.display())]
    Dial { path: PathBuf, source: io::Error },
    #[error("no answer")]
    Call(#[from] RpcError),
    #[error("no answer in time")]
    Late(#[from] tokio::time::error::Elapsed),
}

impl AskError {
    /// The daemon is not one of this node, or does not run now.
    fn is_absence(&self) -> bool {
        let Self::Dial { source, .. } = self else {
            return false;
        };
        matches!(
            source.kind(),
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused
        )
    }
}

/// What they said last.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Figures {
    /// By name.
    pub(crate) lanes: Vec<LaneReport>,
    /// By name.
    pub(crate) programs: Vec<ProgramVersion>,
}

/// The task that asks.
#[derive(Debug)]
pub(crate) struct Asking {
    runtime_dir: PathBuf,
    figures: watch::Sender<Figures>,
    /// Daemons that are there and don't answer, each told once.
    told: BTreeSet<&'static str>,
}

impl Asking {
    /// Of the daemons whose sockets are below `runtime_dir`, and where their figures will be.
    pub(crate) fn new(runtime_dir: &Path) -> (Self, watch::Receiver<Figures>) {
        let (figures, seen) = watch::channel(Figures::default());
        let asking = Self {
            runtime_dir: runtime_dir.to_owned(),
            figures,
            told: BTreeSet::new(),
        };
        (asking, seen)
    }

    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), Failure> {
        stop.run_until_cancelled(self.ask_for_ever()).await;
        Ok(())
    }

    async fn ask_for_ever(&mut self) {
        let mut interval = tokio::time::interval(INTERVAL);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            interval.tick().await;
            let figures = self.ask().await;
            self.figures.send_replace(figures);
        }
    }

    async fn ask(&mut self) -> Figures {
        let translator = tokio::time::timeout(ANSWER_LIMIT, translator(&self.runtime_dir));
        let provider = tokio::time::timeout(ANSWER_LIMIT, template_provider(&self.runtime_dir));
        let (translator, provider) = tokio::join!(translator, provider);
        let translator = translator.unwrap_or_else(|late| Err(late.into()));
        let provider = provider.unwrap_or_else(|late| Err(late.into()));
        let (lanes, translator) = self
            .answered(Daemon::Translator, translator)
            .unwrap_or_default();
        let mut programs = self.answered(Daemon::Tp, provider).unwrap_or_default();
        programs.extend(translator);
        programs.sort();
        programs.truncate(MAX_PROGRAMS);
        Figures { lanes, programs }
    }

    fn answered<T>(&mut self, daemon: Daemon, answer: Result<T, AskError>) -> Option<T> {
        let program = daemon.program();
        match answer {
            Ok(answer) => {
                self.told.remove(program);
                Some(answer)
            }
            Err(error) => {
                if !error.is_absence() && self.told.insert(program) {
                    let error = Chain(&error).to_string();
                    tracing::warn!(daemon = program, error, "no figures of a daemon here");
                }
                None
            }
        }
    }
}

async fn dial(runtime_dir: &Path, daemon: Daemon) -> Result<UnixStream, AskError> {
    let path = runtime_dir.join(daemon.program()).join("view.sock");
    let stream = client::dial(&path).await;
    stream.map_err(|source| AskError::Dial { path, source })
}

async fn translator(
    runtime_dir: &Path,
) -> Result<(Vec<LaneReport>, Option<ProgramVersion>), AskError> {
    let translator = client::translator(dial(runtime_dir, Daemon::Translator).await?);
    let hello = translator.hello(client::within(ANSWER_LIMIT)).await?;
    let lanes = translator.lanes(client::within(ANSWER_LIMIT)).await?;
    Ok((reports(&lanes), Some(program(hello.daemon, hello.version))))
}

/// With the Bitcoin Core that it is connected to: each version once.
async fn template_provider(runtime_dir: &Path) -> Result<Vec<ProgramVersion>, AskError> {
    let provider = client::template_provider(dial(runtime_dir, Daemon::Tp).await?);
    let hello = provider.hello(client::within(ANSWER_LIMIT)).await?;
    let status = provider.status(client::within(ANSWER_LIMIT)).await?;
    let nodes = status.nodes.iter().filter_map(|node| node.version);
    let versions: BTreeSet<u32> = nodes.collect();
    let nodes = versions.into_iter().map(core_version);
    let mut programs: Vec<_> = nodes
        .map(|version| program("bitcoin-core".to_owned(), version))
        .collect();
    programs.push(program(hello.daemon, hello.version));
    Ok(programs)
}

fn program(name: String, version: String) -> ProgramVersion {
    ProgramVersion { name, version }
}

/// 310000 is 31.0, 310001 is 31.0.1.
fn core_version(version: u32) -> String {
    let (major, minor, build) = (version / 10_000, version / 100 % 100, version % 100);
    match build {
        0 => format!("{major}.{minor}"),
        build => format!("{major}.{minor}.{build}"),
    }
}

/// A lane that core would not take, by its name or because there are too many, is left out here.
fn reports(lanes: &[LaneDetail]) -> Vec<LaneReport> {
    let named = lanes
        .iter()
        .filter(|lane| lane.name.parse::<LaneName>().is_ok());
    let reports = named.map(|lane| LaneReport {
        name: lane.name.clone(),
        hashrate_10m_hs: lane.hashrate_10m_hs,
        miners: lane.connections,
        shares_accepted: lane.shares.accepted,
        shares_rejected: lane.shares.rejected_total(),
    });
    let mut reports: Vec<_> = reports.collect();
    reports.sort_by(|one, other| one.name.cmp(&other.name));
    reports.truncate(MAX_LANES);
    reports
}

#[cfg(test)]
mod tests {
    use super::*;
    use hh_ipc::api::ShareCounts;
    use std::collections::BTreeMap;

    fn lane(name: &str) -> LaneDetail {
        let rejected = [("stale-share".to_owned(), 2), ("duplicate".to_owned(), 1)];
        LaneDetail {
            name: name.to_owned(),
            protocol: "sv1".to_owned(),
            listen_address: "127.0.0.1:3333".to_owned(),
            paused_at: None,
            connections: 7,
            min_difficulty: None,
            max_difficulty: None,
            nominal_hashrate_hs: 1.0,
            hashrate_10m_hs: 42.5,
            shares: ShareCounts {
                accepted: 9,
                rejected: rejected.into(),
            },
            shares_in_flight: 0,
            shares_unsettled: 0,
            ended: BTreeMap::new(),
        }
    }

    #[test]
    fn lanes_are_reported_as_far_as_core_takes_them() {
        let mut lanes: Vec<LaneDetail> = (0..40).map(|number| lane(&format!("{number}"))).collect();
        lanes.push(lane("asics"));
        lanes.push(lane("with a blank"));
        let all = reports(&lanes);
        assert_eq!(all.len(), MAX_LANES);
        assert_eq!(
            reports(&lanes[40..]),
            [LaneReport {
                name: "asics".to_owned(),
                hashrate_10m_hs: 42.5,
                miners: 7,
                shares_accepted: 9,
                shares_rejected: 3,
            }]
        );
    }

    #[test]
    fn a_version_of_bitcoin_core_is_written_as_it_writes_it() {
        assert_eq!(core_version(310_000), "31.0");
        assert_eq!(core_version(290_101), "29.1.1");
    }

    #[tokio::test]
    async fn who_is_not_here_has_no_figures_and_is_no_trouble() {
        let dir = tempfile::tempdir().unwrap();
        let (mut asking, _seen) = Asking::new(dir.path());
        assert_eq!(asking.ask().await, Figures::default());
        assert!(asking.told.is_empty());
    }
}
