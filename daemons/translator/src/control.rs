//! The calls of `hh_ipc::api::translator`, and the conversion of our types to those of the wire, which go no further than
//! this file.

mod ban;
mod downstream;
mod lane;
mod upstream;

use crate::aggregate::ClassView;
use crate::bans::Bans;
use crate::config::UpstreamConfig;
use crate::miners::{Lane, Miner, Miners};
use crate::upstream::Command;
use crate::upstream::link::{LinkState, LinkView, Upstreams};
use crate::upstream::standing::Standing;
use hh_daemon::{Caller, Context, Failure};
use hh_ipc::api::translator::{
    AddressBan, AddressBanPage, BanAddress, BannedAddress, DifficultyClass, DownstreamDetail,
    DownstreamMiner, DownstreamPage, DownstreamQuery, KickDownstreams, KickedDownstreams,
    LaneCredential, LaneDetail, PauseLane, SwitchUpstream, SwitchedUpstream, Translator,
    TranslatorLane, TranslatorStatus, UnbanAddress, Upstream, UpstreamTest,
};
use hh_ipc::api::{Hello, JournalPage, JournalQuery, LinkStatus, ShareCounts};
use hh_ipc::{ApiError, Context as Call};
use hh_sv2::AuthorityPublicKey;
use hh_trust::ChangeJournal;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// Longest list that is answered: a thousand miners are a tenth of a frame.
const MAX_LISTED: usize = 1_000;

/// What the answers are made from.
#[derive(Clone, Debug)]
pub(crate) struct Control {
    pub context: Context,
    pub miners: Miners,
    pub bans: Bans,
    /// Of each lane.
    pub upstreams: Vec<Upstreams>,
    /// Of each lane, to its upstream.
    pub commands: Vec<mpsc::Sender<Command>>,
    pub configs: Vec<UpstreamConfig>,
    /// Of each lane, what classes its miners are in; none where each has its own channel.
    pub classes: Vec<Option<watch::Receiver<Vec<ClassView>>>>,
    /// What SV2 miners pin.
    pub authority_public_key: Option<AuthorityPublicKey>,
    /// Changes that operators make go through it.
    pub journal: ChangeJournal,
}

#[derive(Clone)]
struct Answers {
    control: Arc<Control>,
    caller: Caller,
}

impl Control {
    /// Answers on both sockets until the daemon stops.
    ///
    /// # Errors
    /// The sockets can't be made.
    pub(crate) fn serve(self) -> Result<(), Failure> {
        let control = Arc::new(self);
        control
            .context
            .clone()
            .serve_control(move |caller, stream| {
                let control = Arc::clone(&control);
                Box::pin(hh_ipc::server::answer(
                    stream,
                    Answers { control, caller }.serve(),
                ))
            })
    }

    fn status(&self) -> TranslatorStatus {
        let lanes = self.miners.lanes();
        // Nobody waits for one that is not needed.
        let links = self.upstreams.iter().flat_map(Upstreams::links);
        let links = links.filter(|link| link.state != LinkState::Standby);
        TranslatorStatus {
            lanes: lanes
                .iter()
                .zip(&self.classes)
                .map(|(lane, classes)| lane_status(lane, classes.is_some()))
                .collect(),
            upstreams: links.map(link_status).collect(),
            miners: self
                .miners
                .oldest(MAX_LISTED)
                .iter()
                .map(|miner| miner_status(miner))
                .collect(),
            connections: lanes.iter().map(|lane| lane.connections()).sum(),
            shares: sum(lanes.iter().map(|lane| share_counts(lane.shares()))),
            shares_in_flight: lanes.iter().map(|lane| lane.in_flight()).sum(),
            shares_unsettled: lanes.iter().map(|lane| lane.shares().unsettled).sum(),
            authority_public_key: self.authority_public_key.map(|key| key.to_string()),
            credentials: lanes
                .iter()
                .zip(&self.upstreams)
                .map(|(lane, upstreams)| lane_credential(lane, upstreams.standing()))
                .collect(),
            classes: self.difficulty_classes(),
        }
    }

    fn difficulty_classes(&self) -> Vec<DifficultyClass> {
        let lanes = self.miners.lanes().iter().zip(&self.classes);
        let mut all = Vec::new();
        for (lane, classes) in lanes {
            let classes = classes.iter().flat_map(|classes| classes.borrow().clone());
            all.extend(classes.map(|class| difficulty_class(&lane.name, &class)));
        }
        all
    }
}

impl Translator for Answers {
    async fn hello(self, _: Call) -> Hello {
        self.control.context.hello(self.caller.read_only)
    }

    async fn status(self, _: Call) -> TranslatorStatus {
        self.control.status()
    }

    async fn downstreams(self, _: Call, query: DownstreamQuery) -> DownstreamPage {
        self.control.downstreams(&query)
    }

    async fn downstream(self, _: Call, id: u64) -> Result<DownstreamDetail, ApiError> {
        self.control.downstream(id)
    }

    async fn kick_downstreams(
        self,
        _: Call,
        request: KickDownstreams,
    ) -> Result<KickedDownstreams, ApiError> {
        self.control.kick(&self.caller, request).await
    }

    async fn ban(self, _: Call, request: BanAddress) -> Result<BannedAddress, ApiError> {
        self.control.ban(&self.caller, request).await
    }

    async fn unban(self, _: Call, request: UnbanAddress) -> Result<AddressBan, ApiError> {
        self.control.unban(&self.caller, request).await
    }

    async fn bans(self, _: Call) -> AddressBanPage {
        self.control.bans()
    }

    async fn lanes(self, _: Call) -> Vec<LaneDetail> {
        self.control.lanes()
    }

    async fn lane(self, _: Call, name: String) -> Result<LaneDetail, ApiError> {
        self.control.lane(&name)
    }

    async fn pause_lane(self, _: Call, request: PauseLane) -> Result<LaneDetail, ApiError> {
        self.control.pause_lane(&self.caller, request).await
    }

    async fn upstreams(self, _: Call) -> Vec<Upstream> {
        self.control.upstreams()
    }

    async fn switch_upstream(
        self,
        _: Call,
        request: SwitchUpstream,
    ) -> Result<SwitchedUpstream, ApiError> {
        self.control.switch_upstream(&self.caller, request).await
    }

    async fn test_upstreams(
        self,
        _: Call,
        address: Option<String>,
    ) -> Result<Vec<UpstreamTest>, ApiError> {
        self.control.test_upstreams(&self.caller, address).await
    }

    async fn journal(self, _: Call, query: JournalQuery) -> Result<JournalPage, ApiError> {
        self.control.journal.page(query).await
    }
}

fn lane_status(lane: &Lane, aggregated: bool) -> TranslatorLane {
    TranslatorLane {
        name: lane.name.clone(),
        listen_address: lane.listen_address.to_string(),
        connections: lane.connections(),
        protocol: lane.protocol.name().to_owned(),
        paused: lane.paused_at().is_some(),
        aggregated,
    }
}

fn difficulty_class(lane: &str, class: &ClassView) -> DifficultyClass {
    DifficultyClass {
        lane: lane.to_owned(),
        difficulty: class.difficulty,
        accounts: count(class.accounts),
        channels: count(class.channels),
        miners: count(class.miners),
        arriving: count(class.arriving),
    }
}

fn lane_credential(lane: &Lane, standing: Standing) -> LaneCredential {
    let core = |reason| LaneCredential {
        lane: lane.name.clone(),
        node: "core".to_owned(),
        until_at: None,
        reason,
    };
    match standing {
        Standing::Away => core(Some("the pool is away".to_owned())),
        Standing::Core(reason) => core(reason),
        Standing::Node {
            node,
            not_after_unix,
        } => LaneCredential {
            lane: lane.name.clone(),
            node,
            until_at: Timestamp::from_second(not_after_unix).ok(),
            reason: None,
        },
    }
}

fn link_status(link: LinkView) -> LinkStatus {
    LinkStatus {
        address: link.address,
        state: match link.state {
            LinkState::Connecting | LinkState::Returning => hh_ipc::api::LinkState::Connecting,
            LinkState::Up => hh_ipc::api::LinkState::Up,
            LinkState::Down | LinkState::Standby => hh_ipc::api::LinkState::Down,
        },
        since_at: timestamp(link.since),
        last_error: link.last_error,
    }
}

fn miner_status(miner: &Miner) -> DownstreamMiner {
    let state = miner.state();
    DownstreamMiner {
        id: miner.id,
        peer: miner.peer.to_string(),
        lane: miner.lane.name.clone(),
        protocol: miner.lane.protocol.name().to_owned(),
        user_name: state.user_name,
        user_agent: state.user_agent,
        connected_at: timestamp(miner.connected_at),
        difficulty: state.difficulty,
        version_rolling: state.version_rolling,
        hashrate_10m_hs: state.hashrate.hashes_per_second(Instant::now()),
        shares: share_counts(state.shares),
        last_share_at: state.last_share_at.map(timestamp),
    }
}

fn share_counts(counts: crate::miners::ShareCounts) -> ShareCounts {
    let rejected = counts.rejected.into_iter();
    ShareCounts {
        accepted: counts.accepted,
        rejected: rejected
            .map(|(code, count)| (code.to_owned(), count))
            .collect(),
    }
}

fn sum(counts: impl Iterator<Item = ShareCounts>) -> ShareCounts {
    counts.fold(ShareCounts::default(), |mut sum, counts| {
        sum.accepted += counts.accepted;
        for (code, count) in counts.rejected {
            *sum.rejected.entry(code).or_default() += count;
        }
        sum
    })
}

/// A count for the wire.
fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

/// A clock before 1970 or after 9999 shows as 1970.
fn timestamp(time: SystemTime) -> Timestamp {
    Timestamp::try_from(time).unwrap_or_default()
}
