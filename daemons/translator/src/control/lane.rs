//! The answers about single lanes.

use super::{Control, share_counts, timestamp};
use crate::miners::Lane;
use hh_daemon::Caller;
use hh_ipc::api::translator::{LaneDetail, PauseLane};
use hh_ipc::{ApiError, ErrorKind};
use serde_json::json;
use std::sync::Arc;

impl Control {
    pub(super) fn lanes(&self) -> Vec<LaneDetail> {
        self.miners
            .lanes()
            .iter()
            .map(|lane| detail(lane))
            .collect()
    }

    pub(super) fn lane(&self, name: &str) -> Result<LaneDetail, ApiError> {
        self.find_lane(name).map(|lane| detail(lane))
    }

    pub(super) async fn pause_lane(
        &self,
        caller: &Caller,
        request: PauseLane,
    ) -> Result<LaneDetail, ApiError> {
        caller.may_change()?;
        let lane = self.find_lane(&request.lane)?;
        if request.dry_run {
            return Ok(detail(lane));
        }
        let paused = request.paused;
        let pause = async {
            lane.pause(paused);
            tracing::info!(lane = lane.name, paused, "lane paused or resumed");
            Ok(detail(lane))
        };
        let call = if paused { "lane.pause" } else { "lane.resume" };
        let arguments = json!({ "lane": request.lane });
        self.journal
            .record(&caller.peer, call, arguments, pause)
            .await
    }

    pub(super) fn find_lane(&self, name: &str) -> Result<&Arc<Lane>, ApiError> {
        let lanes = self.miners.lanes();
        lanes.iter().find(|lane| lane.name == name).ok_or_else(|| {
            let names: Vec<&str> = lanes.iter().map(|lane| lane.name.as_str()).collect();
            let message = format!("there is no lane {name:?}; there is {}", names.join(", "));
            ApiError::new(ErrorKind::NotFound, "HH3002", message)
        })
    }
}

fn detail(lane: &Lane) -> LaneDetail {
    let shares = lane.shares();
    LaneDetail {
        name: lane.name.clone(),
        protocol: lane.protocol.name().to_owned(),
        listen_address: lane.listen_address.to_string(),
        paused_at: lane.paused_at().map(timestamp),
        connections: lane.connections(),
        min_difficulty: lane.difficulty.min,
        max_difficulty: lane.difficulty.max,
        nominal_hashrate_hs: lane.difficulty.nominal_hashrate_hs.into(),
        hashrate_10m_hs: lane.hashrate_hs(),
        shares_in_flight: lane.in_flight(),
        shares_unsettled: shares.unsettled,
        shares: share_counts(shares),
        ended: lane
            .ended()
            .into_iter()
            .map(|(reason, count)| (reason.to_owned(), count))
            .collect(),
    }
}
