//! The answers about upstreams.

use super::{Control, count, timestamp};
use crate::config::UpstreamConfig;
use crate::upstream::Command;
use crate::upstream::link::{LinkState, LinkView, Switched, Upstreams};
use crate::upstream::trial::{Trial, try_out};
use hh_daemon::Caller;
use hh_ipc::api::translator::{
    SwitchUpstream, SwitchedLane, SwitchedUpstream, Upstream, UpstreamState, UpstreamTest,
};
use hh_ipc::{ApiError, ErrorKind};
use serde_json::json;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// How long a switch waits for its connections; what operators wait for an answer is 10 s.
const SWITCH_GRACE: Duration = Duration::from_secs(8);

impl Control {
    pub(super) fn upstreams(&self) -> Vec<Upstream> {
        let lanes = self.miners.lanes().iter().zip(&self.upstreams);
        let mut all = Vec::new();
        for (lane, upstreams) in lanes {
            all.extend(of_lane(&lane.name, upstreams));
        }
        all
    }

    pub(super) async fn switch_upstream(
        &self,
        caller: &Caller,
        request: SwitchUpstream,
    ) -> Result<SwitchedUpstream, ApiError> {
        caller.may_change()?;
        let index = self.index_of(&request.address)?;
        if request.dry_run {
            return Ok(self.switched(request.address, Vec::new()));
        }
        let arguments = json!({ "address": request.address });
        let switch = self.switch(index, request.address);
        let call = "upstream.switch";
        self.journal
            .record(&caller.peer, call, arguments, switch)
            .await
    }

    /// On all lanes at once. It has failed if it has on every one.
    async fn switch(&self, index: usize, address: String) -> Result<SwitchedUpstream, ApiError> {
        let before = self.switched(address.clone(), Vec::new());
        let asked: Vec<_> = self.commands.iter().map(|lane| ask(lane, index)).collect();
        let mut outcomes = Vec::new();
        for outcome in asked {
            outcomes.push(outcome.await.err());
        }
        let failed: Vec<&String> = outcomes.iter().flatten().collect();
        if failed.len() == outcomes.len()
            && let Some(reason) = failed.first()
        {
            let message =
                format!("{address} can't be used, every lane stays where it is: {reason}");
            return Err(ApiError::new(ErrorKind::Unavailable, "HH3011", message));
        }
        tracing::info!(upstream = address, "switched by an operator");
        let lanes = before.lanes.into_iter().zip(outcomes);
        let lanes = lanes.map(|(lane, error)| SwitchedLane { error, ..lane });
        Ok(self.switched(address, lanes.collect()))
    }

    pub(super) async fn test_upstreams(
        &self,
        caller: &Caller,
        address: Option<String>,
    ) -> Result<Vec<UpstreamTest>, ApiError> {
        // It makes the daemon connect somewhere.
        caller.may_change()?;
        let tested = match address {
            Some(address) => vec![self.configs[self.index_of(&address)?].clone()],
            None => self.configs.clone(),
        };
        let mut trials = JoinSet::new();
        for (position, config) in tested.into_iter().enumerate() {
            trials
                .spawn(async move { (position, tested_upstream(&config, try_out(&config).await)) });
        }
        let mut tests = trials.join_all().await;
        tests.sort_by_key(|(position, _)| *position);
        Ok(tests.into_iter().map(|(_, test)| test).collect())
    }

    fn index_of(&self, address: &str) -> Result<usize, ApiError> {
        let mut configs = self.configs.iter();
        configs
            .position(|config| config.address == address)
            .ok_or_else(|| {
                let known = self.configs.iter().map(|config| config.address.as_str());
                let known = known.collect::<Vec<_>>().join(", ");
                let message = format!("{address:?} is not in [[upstreams]]; there is {known}");
                ApiError::new(ErrorKind::NotFound, "HH3010", message)
            })
    }

    fn switched(&self, address: String, lanes: Vec<SwitchedLane>) -> SwitchedUpstream {
        let all = self.miners.lanes().iter().zip(&self.upstreams);
        let connections = all.clone().map(|(lane, _)| lane.connections()).sum();
        let lanes = if lanes.is_empty() {
            all.map(|(lane, upstreams)| SwitchedLane {
                lane: lane.name.clone(),
                from: in_use(upstreams),
                error: None,
            })
            .collect()
        } else {
            lanes
        };
        SwitchedUpstream {
            address,
            lanes,
            connections,
        }
    }
}

/// Asks one lane; the answer is waited for by the caller.
fn ask(lane: &mpsc::Sender<Command>, index: usize) -> impl Future<Output = Switched> + use<> {
    let (done, answer) = oneshot::channel();
    let sent = lane.try_send(Command::Switch { index, done });
    async move {
        sent.map_err(|_full| "the lane is busy, try again".to_owned())?;
        match tokio::time::timeout(SWITCH_GRACE, answer).await {
            Ok(Ok(switched)) => switched,
            Ok(Err(_stopped)) => Err("the daemon stops".to_owned()),
            Err(_elapsed) => {
                let seconds = SWITCH_GRACE.as_secs();
                Err(format!(
                    "no connection within {seconds} s; miners are moved if it comes about"
                ))
            }
        }
    }
}

fn in_use(upstreams: &Upstreams) -> Option<String> {
    let links = upstreams.links().into_iter();
    links
        .filter(|link| link.state == LinkState::Up)
        .map(|link| link.address)
        .next()
}

fn of_lane(lane: &str, upstreams: &Upstreams) -> Vec<Upstream> {
    let switched_to = upstreams.switched_to();
    let mut links: Vec<(bool, LinkView)> = upstreams
        .links()
        .into_iter()
        .enumerate()
        .map(|(index, link)| (switched_to == Some(index), link))
        .collect();
    // The others keep their order.
    links.sort_by_key(|(is_switched_to, _)| !is_switched_to);
    let rows = links.into_iter().enumerate();
    rows.map(|(position, (switched_to, link))| Upstream {
        lane: lane.to_owned(),
        priority: count(position + 1),
        state: state(link.state),
        since_at: timestamp(link.since),
        switched_to,
        room: link.room.map(count),
        address: link.address,
        last_error: link.last_error,
    })
    .collect()
}

fn state(state: LinkState) -> UpstreamState {
    match state {
        LinkState::Standby => UpstreamState::Standby,
        LinkState::Connecting => UpstreamState::Connecting,
        LinkState::Returning => UpstreamState::Returning,
        LinkState::Up => UpstreamState::Up,
        LinkState::Down => UpstreamState::Down,
    }
}

fn tested_upstream(config: &UpstreamConfig, trial: Trial) -> UpstreamTest {
    let ms = |step: Option<Duration>| step.map(|step| step.as_secs_f64() * 1000.0);
    UpstreamTest {
        address: config.address.clone(),
        connect_ms: ms(trial.connect),
        handshake_ms: ms(trial.handshake),
        setup_ms: ms(trial.setup),
        error: trial.error,
    }
}
