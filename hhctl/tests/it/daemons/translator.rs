//! hh-translator with fixed answers.

use super::{Fake, chained, counts, intent, journal_page, outcome, seconds_ago, up};
use hh_ipc::api::translator::{
    AddressBan, AddressBanPage, BanAddress, BannedAddress, DifficultyClass, DownstreamDetail,
    DownstreamMiner, DownstreamPage, DownstreamQuery, DownstreamSelector, KickDownstreams,
    KickedDownstreams, LaneCredential, LaneDetail, PauseLane, SwitchUpstream, SwitchedLane,
    SwitchedUpstream, Translator, TranslatorLane, TranslatorStatus, UnbanAddress, Upstream,
    UpstreamState, UpstreamTest,
};
use hh_ipc::api::{Hello, JournalPage, JournalQuery};
use hh_ipc::{ApiError, Context, ErrorKind};

impl Translator for Fake {
    async fn hello(self, _: Context) -> Hello {
        Self::hello(&self)
    }

    async fn status(self, _: Context) -> TranslatorStatus {
        self.answers.translator.clone()
    }

    async fn downstreams(self, _: Context, query: DownstreamQuery) -> DownstreamPage {
        let lane = query.lane.map(DownstreamSelector::Lane);
        let user = query.user.map(DownstreamSelector::User);
        let mut miners = self.answers.translator.miners.clone();
        miners.retain(|miner| {
            lane.iter()
                .chain(&user)
                .all(|wanted| is_meant(miner, wanted))
        });
        let total = u32::try_from(miners.len()).unwrap();
        miners.truncate(usize::try_from(query.limit).unwrap());
        DownstreamPage { miners, total }
    }

    async fn downstream(self, _: Context, id: u64) -> Result<DownstreamDetail, ApiError> {
        let miners = self.answers.translator.miners.iter();
        let miner = miners
            .clone()
            .find(|miner| miner.id == id)
            .ok_or_else(nobody)?;
        Ok(DownstreamDetail {
            miner: miner.clone(),
            users: vec![miner.user_name.clone(), "carol.s9-2".to_owned()],
            channel_id: Some(7),
            shares_unsettled: 2,
        })
    }

    async fn kick_downstreams(
        self,
        _: Context,
        request: KickDownstreams,
    ) -> Result<KickedDownstreams, ApiError> {
        let miners = self.selected(&request.miners);
        if miners.is_empty() {
            return Err(nobody());
        }
        if !request.dry_run {
            self.change(format!("kick {:?}", request.miners))?;
        }
        Ok(KickedDownstreams {
            connections: u32::try_from(miners.len()).unwrap(),
            miners,
        })
    }

    async fn lanes(self, _: Context) -> Vec<LaneDetail> {
        self.answers.lanes.clone()
    }

    async fn lane(self, _: Context, name: String) -> Result<LaneDetail, ApiError> {
        let mut lanes = self.answers.lanes.iter();
        let lane = lanes.find(|lane| lane.name == name);
        lane.cloned().ok_or_else(|| {
            let message = format!("there is no lane {name:?}; there is main, tls");
            ApiError::new(ErrorKind::NotFound, "HH3002", message)
        })
    }

    async fn pause_lane(self, call: Context, request: PauseLane) -> Result<LaneDetail, ApiError> {
        let mut lane = self.clone().lane(call, request.lane).await?;
        if !request.dry_run {
            self.change(format!("lane {} paused {}", lane.name, request.paused))?;
            lane.paused_at = request.paused.then(|| seconds_ago(0));
        }
        Ok(lane)
    }

    async fn upstreams(self, _: Context) -> Vec<Upstream> {
        upstreams()
    }

    async fn switch_upstream(
        self,
        _: Context,
        request: SwitchUpstream,
    ) -> Result<SwitchedUpstream, ApiError> {
        known(&request.address)?;
        if !request.dry_run {
            self.change(format!("switch to {}", request.address))?;
        }
        let lane = |lane: &str, from: Option<&str>| SwitchedLane {
            lane: lane.to_owned(),
            from: from.map(str::to_owned),
            error: None,
        };
        Ok(SwitchedUpstream {
            lanes: vec![lane("main", Some(FIRST)), lane("tls", None)],
            address: request.address,
            connections: 1_402,
        })
    }

    async fn test_upstreams(
        self,
        _: Context,
        address: Option<String>,
    ) -> Result<Vec<UpstreamTest>, ApiError> {
        let mut tests = vec![
            UpstreamTest {
                address: FIRST.to_owned(),
                connect_ms: Some(0.4),
                handshake_ms: Some(1.25),
                setup_ms: Some(0.31),
                error: None,
            },
            UpstreamTest {
                address: SECOND.to_owned(),
                connect_ms: Some(18.2),
                handshake_ms: None,
                setup_ms: None,
                error: Some("the pool's authority key is not the configured one".to_owned()),
            },
        ];
        if let Some(address) = address {
            known(&address)?;
            tests.retain(|test| test.address == address);
        }
        Ok(tests)
    }

    async fn journal(self, _: Context, query: JournalQuery) -> Result<JournalPage, ApiError> {
        let path = "/var/lib/hyperhash/hh-translator/changes.jsonl";
        Ok(journal_page(&self.answers.translator_journal, query, path))
    }

    async fn ban(self, _: Context, request: BanAddress) -> Result<BannedAddress, ApiError> {
        let miners = self.selected(&DownstreamSelector::Address(request.address.clone()));
        if !request.dry_run {
            self.change(format!("{request:?}"))?;
        }
        let seconds = request
            .seconds
            .map(|seconds| i64::try_from(seconds).unwrap());
        Ok(BannedAddress {
            ban: AddressBan {
                address: request.address,
                reason: request.reason.unwrap_or_default(),
                automatic: false,
                since_at: seconds_ago(0),
                until_at: seconds.map(|seconds| seconds_ago(-seconds)),
            },
            kicked: KickedDownstreams {
                connections: u32::try_from(miners.len()).unwrap(),
                miners,
            },
        })
    }

    async fn unban(self, _: Context, request: UnbanAddress) -> Result<AddressBan, ApiError> {
        let mut bans = self.answers.address_bans.iter();
        let Some(ban) = bans.find(|ban| ban.address == request.address) else {
            let message = "there is no ban for it";
            return Err(ApiError::new(ErrorKind::NotFound, "HH3021", message));
        };
        let ban = ban.clone();
        if !request.dry_run {
            self.change(format!("{request:?}"))?;
        }
        Ok(ban)
    }

    async fn bans(self, _: Context) -> AddressBanPage {
        AddressBanPage {
            bans: self.answers.address_bans.clone(),
            total: u32::try_from(self.answers.address_bans.len()).unwrap(),
        }
    }
}

impl Fake {
    fn selected(&self, selector: &DownstreamSelector) -> Vec<DownstreamMiner> {
        let mut miners = self.answers.translator.miners.clone();
        miners.retain(|miner| is_meant(miner, selector));
        miners
    }
}

/// One that an operator made for a network, and one that an address brought upon itself.
pub(super) fn bans() -> Vec<AddressBan> {
    let scans = AddressBan {
        address: "203.0.113.0/24".to_owned(),
        reason: "scans".to_owned(),
        automatic: false,
        since_at: seconds_ago(290),
        until_at: None,
    };
    let garbage = AddressBan {
        address: "198.51.100.7".to_owned(),
        reason: "20 connections within 60 s that spoke another protocol".to_owned(),
        automatic: true,
        since_at: seconds_ago(400),
        until_at: Some(seconds_ago(-200)),
    };
    vec![scans, garbage]
}

/// A lane that was paused.
pub(super) fn journal() -> Vec<String> {
    let pause = serde_json::json!({"lane": "tls"});
    let events = [
        intent(125, (1000, Some("alice")), "lane.pause", pause),
        outcome(125, 1, None),
    ];
    chained("hh-translator", events)
}

fn is_meant(miner: &DownstreamMiner, selector: &DownstreamSelector) -> bool {
    match selector {
        DownstreamSelector::Id(id) => miner.id == *id,
        DownstreamSelector::User(user) => miner.user_name.split('.').next() == Some(user),
        DownstreamSelector::Address(address) => miner.peer.starts_with(address),
        DownstreamSelector::Lane(lane) => miner.lane == *lane,
    }
}

const FIRST: &str = "127.0.0.1:34254";
const SECOND: &str = "pool2.example.net:34254";

fn known(address: &str) -> Result<(), ApiError> {
    if [FIRST, SECOND].contains(&address) {
        return Ok(());
    }
    let message = format!("{address:?} is not in [[upstreams]]; there is {FIRST}, {SECOND}");
    Err(ApiError::new(ErrorKind::NotFound, "HH3010", message))
}

/// One in use for what another can't be, and one that is not needed.
fn upstreams() -> Vec<Upstream> {
    let upstream = |lane: &str, priority, address: &str, state| Upstream {
        lane: lane.to_owned(),
        priority,
        address: address.to_owned(),
        state,
        since_at: seconds_ago(65),
        switched_to: false,
        room: Some(8),
        last_error: None,
    };
    let mut upstreams = vec![
        upstream("main", 1, SECOND, UpstreamState::Returning),
        upstream("main", 2, FIRST, UpstreamState::Up),
        upstream("tls", 1, FIRST, UpstreamState::Up),
        upstream("tls", 2, SECOND, UpstreamState::Standby),
    ];
    upstreams[0].switched_to = true;
    upstreams[0].last_error = Some("192.0.2.4:34254: closed by the peer".to_owned());
    upstreams[3].room = None;
    upstreams
}

fn nobody() -> ApiError {
    let message = "no miner with id 99 is connected";
    ApiError::new(ErrorKind::NotFound, "HH3001", message)
}

/// An open one, and one under TLS that lets nobody in.
pub(super) fn lanes() -> Vec<LaneDetail> {
    let main = LaneDetail {
        name: "main".to_owned(),
        protocol: "sv1".to_owned(),
        listen_address: "0.0.0.0:3333".to_owned(),
        paused_at: None,
        connections: 1,
        min_difficulty: None,
        max_difficulty: None,
        nominal_hashrate_hs: 1e11,
        hashrate_10m_hs: 1.2e12,
        shares: counts(30, &[("stale-share", 1)]),
        shares_in_flight: 1,
        shares_unsettled: 2,
        ended: [("closed".to_owned(), 1_204), ("malformed".to_owned(), 3)].into(),
    };
    let tls = LaneDetail {
        name: "tls".to_owned(),
        protocol: "sv1-tls".to_owned(),
        listen_address: "0.0.0.0:3443".to_owned(),
        paused_at: Some(seconds_ago(125)),
        connections: 0,
        min_difficulty: Some(1024.0),
        max_difficulty: Some(1e9),
        hashrate_10m_hs: 0.0,
        shares: counts(0, &[]),
        shares_in_flight: 0,
        shares_unsettled: 0,
        ended: [].into(),
        ..main.clone()
    };
    vec![main, tls]
}

pub(super) fn status() -> TranslatorStatus {
    TranslatorStatus {
        lanes: vec![TranslatorLane {
            name: "main".to_owned(),
            listen_address: "0.0.0.0:3333".to_owned(),
            connections: 1,
            protocol: "sv2".to_owned(),
            paused: false,
            aggregated: false,
        }],
        upstreams: vec![up("127.0.0.1:34254")],
        miners: vec![DownstreamMiner {
            id: 1,
            peer: "192.0.2.9:50000".to_owned(),
            lane: "main".to_owned(),
            protocol: "sv2".to_owned(),
            user_name: "carol.s9".to_owned(),
            user_agent: "cgminer/4.12".to_owned(),
            connected_at: seconds_ago(100),
            difficulty: 0.5,
            hashrate_10m_hs: 1.2e12,
            version_rolling: true,
            shares: counts(30, &[]),
            last_share_at: Some(seconds_ago(2)),
        }],
        connections: 1,
        shares: counts(30, &[]),
        shares_in_flight: 1,
        shares_unsettled: 0,
        authority_public_key: Some(
            "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72".to_owned(),
        ),
        credentials: vec![
            LaneCredential {
                lane: "main".to_owned(),
                node: "berlin".to_owned(),
                until_at: Some(seconds_ago(-3_600)),
                reason: None,
            },
            LaneCredential {
                lane: "gpus".to_owned(),
                node: "core".to_owned(),
                until_at: None,
                reason: Some("the pool refused the credential: unknown-lane".to_owned()),
            },
        ],
        classes: Vec::new(),
    }
}

/// With a lane whose miners share channels.
pub(crate) fn with_classes() -> TranslatorStatus {
    let class = |difficulty, miners, arriving| DifficultyClass {
        lane: "farm".to_owned(),
        difficulty,
        accounts: 3,
        channels: 4,
        miners,
        arriving,
    };
    let mut status = status();
    status.lanes.push(TranslatorLane {
        name: "farm".to_owned(),
        listen_address: "0.0.0.0:3334".to_owned(),
        connections: 1_402,
        protocol: "sv1".to_owned(),
        paused: false,
        aggregated: true,
    });
    status.classes = vec![
        class(None, 1, 0),
        class(Some(32_768.0), 1_000, 2),
        class(Some(65_536.0), 400, 0),
    ];
    status
}
