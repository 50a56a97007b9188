//! The answers about single miners.

use super::{Control, MAX_LISTED, count, miner_status};
use crate::miners::Miner;
use hh_daemon::{AddressRange, Caller};
use hh_ipc::api::translator::{
    DownstreamDetail, DownstreamMiner, DownstreamPage, DownstreamQuery, DownstreamSelector,
    KickDownstreams, KickedDownstreams,
};
use hh_ipc::{ApiError, ErrorKind};
use serde_json::json;
use std::collections::HashSet;
use std::sync::Arc;

impl Control {
    pub(super) fn downstreams(&self, query: &DownstreamQuery) -> DownstreamPage {
        let is_meant = |miner: &Miner| {
            let on_lane = query
                .lane
                .as_ref()
                .is_none_or(|lane| miner.lane.name == *lane);
            on_lane && query.user.as_ref().is_none_or(|user| miner.is_of(user))
        };
        let miners = self.miners.select(is_meant);
        let limit = match query.limit as usize {
            0 => MAX_LISTED,
            limit => limit.min(MAX_LISTED),
        };
        let page = miners.iter().skip(query.offset as usize).take(limit);
        DownstreamPage {
            total: count(miners.len()),
            miners: page.map(|miner| miner_status(miner)).collect(),
        }
    }

    pub(super) fn downstream(&self, id: u64) -> Result<DownstreamDetail, ApiError> {
        let miner = self.miners.find(id);
        let miner = miner.ok_or_else(|| nobody(&DownstreamSelector::Id(id)))?;
        let state = miner.state();
        let first = Some(state.user_name).filter(|name| !name.is_empty());
        Ok(DownstreamDetail {
            miner: miner_status(&miner),
            users: first.into_iter().chain(state.other_users).collect(),
            channel_id: state.channel_id,
            shares_unsettled: state.shares.unsettled,
        })
    }

    pub(super) async fn kick(
        &self,
        caller: &Caller,
        request: KickDownstreams,
    ) -> Result<KickedDownstreams, ApiError> {
        caller.may_change()?;
        let arguments = json!(request.miners);
        let chosen = self.chosen(&request.miners)?;
        if chosen.is_empty() {
            return Err(nobody(&request.miners));
        }
        let kicked = KickedDownstreams {
            connections: count(connections(&chosen)),
            miners: listed(&chosen),
        };
        if request.dry_run {
            return Ok(kicked);
        }
        let kick = async {
            chosen.iter().for_each(|miner| miner.kicked.notify_one());
            let connections = kicked.connections;
            tracing::info!(miners = ?request.miners, connections, "miners kicked");
            Ok(kicked)
        };
        let call = "downstream.kick";
        self.journal
            .record(&caller.peer, call, arguments, kick)
            .await
    }

    /// The miners from these addresses.
    pub(super) fn miners_from(&self, range: AddressRange) -> Vec<Arc<Miner>> {
        self.miners.select(|miner| range.contains(miner.peer.ip()))
    }

    fn chosen(&self, selector: &DownstreamSelector) -> Result<Vec<Arc<Miner>>, ApiError> {
        Ok(match selector {
            DownstreamSelector::Id(id) => self.miners.find(*id).into_iter().collect(),
            DownstreamSelector::User(user) => self.miners.select(|miner| miner.is_of(user)),
            DownstreamSelector::Address(text) => self.miners_from(range(text)?),
            DownstreamSelector::Lane(name) => {
                self.find_lane(name)?;
                self.miners.select(|miner| miner.lane.name == *name)
            }
        })
    }
}

/// An address or range as an operator wrote it.
pub(super) fn range(text: &str) -> Result<AddressRange, ApiError> {
    let parsed = text.parse::<AddressRange>();
    parsed.map_err(|error| ApiError::new(ErrorKind::Usage, "HH3003", error.to_string()))
}

/// As many of them as are answered.
pub(super) fn listed(miners: &[Arc<Miner>]) -> Vec<DownstreamMiner> {
    let listed = miners.iter().take(MAX_LISTED);
    listed.map(|miner| miner_status(miner)).collect()
}

/// Several SV2 miners may be on one connection.
fn connections(miners: &[Arc<Miner>]) -> usize {
    let connections = miners.iter().map(|miner| Arc::as_ptr(&miner.kicked));
    connections.collect::<HashSet<_>>().len()
}

fn nobody(selector: &DownstreamSelector) -> ApiError {
    let message = match selector {
        DownstreamSelector::Id(id) => format!("no miner with id {id} is connected"),
        DownstreamSelector::User(user) => format!("no miner of {user} is connected"),
        DownstreamSelector::Address(range) => format!("nobody is connected from {range}"),
        DownstreamSelector::Lane(lane) => format!("nobody is connected on lane {lane}"),
    };
    ApiError::new(ErrorKind::NotFound, "HH3001", message)
}
