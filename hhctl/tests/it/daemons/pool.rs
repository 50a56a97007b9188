//! hh-pool with fixed answers.

use super::{Fake, job, journal_page, seconds_ago, tail};
use hh_ipc::api::pool::{
    Ban, BanPage, BanRequest, BanTarget, Banned, Block, BlockSelector, CoinbaseDetail, CurrentJob,
    DifficultyBounds, HyperNode, HyperNodePage, KickRequest, Kicked, KickedMiner, Miner, MinerPage,
    MinerQuery, MinerSelector, NodeRevocation, Pool, PoolStatus, RetireRequest, Retired,
    RevokeNodeRequest, RevokedNode, Round, RoundDetail, RoundPage, RoundSelector, SharePage,
    ShareQuery, ShareStats, UnbanRequest, VardiffChange, VardiffChanged, VardiffSettings,
    WorkerPage, WorkerQuery,
};
use hh_ipc::api::{Hello, JournalPage, JournalQuery};
use hh_ipc::{ApiError, Context, ErrorKind};

impl Pool for Fake {
    async fn hello(self, _: Context) -> Hello {
        Self::hello(&self)
    }

    async fn status(self, _: Context) -> PoolStatus {
        self.answers.pool.clone()
    }

    async fn current_job(self, _: Context) -> Result<CurrentJob, ApiError> {
        self.answers.job.clone().ok_or_else(job::none)
    }

    async fn coinbase(self, _: Context) -> Result<CoinbaseDetail, ApiError> {
        self.answers.coinbase.clone().ok_or_else(job::none)
    }

    async fn miners(self, _: Context, query: MinerQuery) -> MinerPage {
        let wanted = |miner: &&Miner| query.account.as_ref().is_none_or(|a| *a == miner.account);
        let miners: Vec<Miner> = self.answers.miners.iter().filter(wanted).cloned().collect();
        let total = u32::try_from(miners.len()).unwrap();
        let limit = usize::try_from(query.limit).unwrap();
        MinerPage {
            miners: miners.into_iter().take(limit).collect(),
            total,
        }
    }

    async fn miner(self, _: Context, id: u32) -> Result<Miner, ApiError> {
        let miner = self.answers.miners.iter().find(|miner| miner.id == id);
        miner.cloned().ok_or_else(|| {
            ApiError::new(
                ErrorKind::NotFound,
                "HH2004",
                format!("there is no channel {id}"),
            )
        })
    }

    async fn journal(self, _: Context, query: JournalQuery) -> Result<JournalPage, ApiError> {
        let path = "/var/lib/hyperhash/hh-pool/changes.jsonl";
        Ok(journal_page(&self.answers.journal, query, path))
    }

    async fn kick(self, _: Context, request: KickRequest) -> Result<Kicked, ApiError> {
        let kicked = self.kicked(&request.miners);
        if kicked.miners.is_empty() {
            let message = "no such miner is connected";
            return Err(ApiError::new(ErrorKind::NotFound, "HH2004", message));
        }
        if !request.dry_run {
            self.change(format!("kick {:?}", request.miners))?;
        }
        Ok(kicked)
    }

    async fn ban(self, _: Context, request: BanRequest) -> Result<Banned, ApiError> {
        let miners = match &request.target {
            BanTarget::Address(address) => MinerSelector::Address(address.clone()),
            BanTarget::Account(account) => MinerSelector::Account(account.clone()),
        };
        let kicked = self.kicked(&miners);
        if !request.dry_run {
            self.change(format!("{request:?}"))?;
        }
        let since_at = "2026-11-25T12:00:00Z".parse().unwrap();
        let seconds = request
            .seconds
            .map(|seconds| i64::try_from(seconds).unwrap());
        Ok(Banned {
            ban: Ban {
                target: request.target,
                reason: request.reason.unwrap_or_default(),
                automatic: false,
                since_at,
                until_at: seconds.map(|s| since_at + jiff::SignedDuration::from_secs(s)),
            },
            kicked,
        })
    }

    async fn unban(self, _: Context, request: UnbanRequest) -> Result<Ban, ApiError> {
        let bans = self.answers.bans.iter();
        let Some(ban) = bans.clone().find(|ban| ban.target == request.target) else {
            let message = "there is no ban for it";
            return Err(ApiError::new(ErrorKind::NotFound, "HH2031", message));
        };
        let ban = ban.clone();
        if !request.dry_run {
            self.change(format!("{request:?}"))?;
        }
        Ok(ban)
    }

    async fn bans(self, _: Context) -> BanPage {
        BanPage {
            bans: self.answers.bans.clone(),
            total: u32::try_from(self.answers.bans.len()).unwrap(),
        }
    }

    async fn hyper_nodes(self, _: Context) -> HyperNodePage {
        HyperNodePage {
            nodes: self.answers.hyper_nodes.clone(),
            total: u32::try_from(self.answers.hyper_nodes.len()).unwrap(),
        }
    }

    async fn revoke_node(
        self,
        _: Context,
        request: RevokeNodeRequest,
    ) -> Result<RevokedNode, ApiError> {
        let nodes: &[HyperNode] = &self.answers.hyper_nodes;
        let Some(node) = nodes.iter().find(|node| node.id == request.node) else {
            let message = "there is no such node in this pool's configuration";
            return Err(ApiError::new(ErrorKind::NotFound, "HH2032", message));
        };
        let mut node = node.clone();
        node.revoked = Some(NodeRevocation {
            reason: request.reason.clone().unwrap_or_default(),
            since_at: Some("2026-11-25T12:00:00Z".parse().unwrap()),
        });
        if !request.dry_run {
            self.change(format!("{request:?}"))?;
        }
        Ok(RevokedNode { node })
    }

    async fn vardiff(self, _: Context) -> VardiffSettings {
        self.answers.vardiff.clone()
    }

    async fn set_vardiff(
        self,
        _: Context,
        change: VardiffChange,
    ) -> Result<VardiffChanged, ApiError> {
        let mut settings = self.answers.vardiff.clone();
        if let Some(rate) = change.shares_per_minute {
            settings.shares_per_minute = rate;
            settings.set.push("shares_per_minute".to_owned());
        }
        if let Some(account) = &change.account {
            settings.accounts.push(DifficultyBounds {
                name: account.clone(),
                min_difficulty: change.min_difficulty,
                max_difficulty: change.max_difficulty,
            });
        }
        if !change.dry_run {
            self.change(format!("{change:?}"))?;
        }
        Ok(VardiffChanged {
            settings,
            channels: 2,
        })
    }

    async fn retire(self, _: Context, request: RetireRequest) -> Result<Retired, ApiError> {
        let Some(held) = self
            .answers
            .server_ids
            .iter()
            .find(|held| held.server_id == request.server_id)
        else {
            let message = "no share log holds server id 9: it is free";
            return Err(ApiError::new(ErrorKind::NotFound, "HH2020", message));
        };
        if !held.complete && !request.lost {
            let message = "pool-2 did not stop cleanly: give up what it did not ship with --lost";
            return Err(ApiError::new(ErrorKind::Failed, "HH2023", message));
        }
        if !request.dry_run {
            self.change(format!("retire {} lost {}", held.pool, request.lost))?;
        }
        Ok(held.clone())
    }

    async fn workers(self, _: Context, query: WorkerQuery) -> Result<WorkerPage, ApiError> {
        let mut workers = self.answers.workers.clone();
        workers.retain(|worker| query.account.as_ref().is_none_or(|a| *a == worker.account));
        let total = u32::try_from(workers.len()).unwrap();
        workers.truncate(usize::try_from(query.limit).unwrap());
        Ok(WorkerPage { workers, total })
    }

    async fn shares_since(self, _: Context, query: ShareQuery) -> Result<SharePage, ApiError> {
        tail::page(&self.answers.shares, &query)
    }

    async fn share_stats(self, _: Context) -> Result<ShareStats, ApiError> {
        Ok(self.answers.stats.clone())
    }

    async fn rounds(self, _: Context, limit: u32) -> Result<RoundPage, ApiError> {
        let mut page = self.answers.rounds.clone();
        page.rounds.truncate(usize::try_from(limit).unwrap() + 1);
        Ok(page)
    }

    async fn round(self, _: Context, round: RoundSelector) -> Result<RoundDetail, ApiError> {
        let wanted = |candidate: &&Round| match (&round, &candidate.block) {
            (RoundSelector::Open, None) => true,
            (RoundSelector::Height(height), Some(block)) => block.height == *height,
            (RoundSelector::Hash(hash), Some(block)) => block.hash == *hash,
            _ => false,
        };
        let page = &self.answers.rounds;
        let Some(found) = page.rounds.iter().find(wanted) else {
            let message = "no round ended with an accepted block of ours at height 7";
            return Err(ApiError::new(ErrorKind::NotFound, "HH2010", message));
        };
        Ok(RoundDetail {
            round: found.clone(),
            accounts: self.answers.round_accounts.clone(),
            lagging_pools: page.lagging_pools.clone(),
        })
    }

    async fn block(self, _: Context, selector: BlockSelector) -> Result<Block, ApiError> {
        let mut blocks = self.answers.blocks.iter();
        let found = blocks.find(|block| match &selector {
            BlockSelector::Height(height) => block.height == *height,
            BlockSelector::Hash(hash) => block.hash == *hash,
        });
        let message = "there is no block of ours at height 7";
        found
            .cloned()
            .ok_or_else(|| ApiError::new(ErrorKind::NotFound, "HH2014", message))
    }

    async fn blocks(self, _: Context, limit: u32) -> Result<Vec<Block>, ApiError> {
        let blocks = self.answers.blocks.iter().cloned();
        Ok(blocks.take(usize::try_from(limit).unwrap()).collect())
    }
}

/// A pool that stopped cleanly, and one that did not.
pub(super) fn server_ids() -> Vec<Retired> {
    let stopped = Retired {
        pool: "pool-3".to_owned(),
        server_id: 3,
        epoch: "000102030405060708090a0b0c0d0e0f".to_owned(),
        claimed_at: seconds_ago(900_000),
        last_seq: 1_842_000,
        shipped_through_at: Some(seconds_ago(21_000)),
        heard_at: seconds_ago(20_998),
        complete: true,
    };
    let crashed = Retired {
        pool: "pool-2".to_owned(),
        server_id: 2,
        complete: false,
        ..stopped.clone()
    };
    vec![stopped, crashed]
}

impl Fake {
    /// What a kick ends.
    fn kicked(&self, miners: &MinerSelector) -> Kicked {
        let wanted = |miner: &&Miner| match miners {
            MinerSelector::Channel(id) => miner.id == *id,
            MinerSelector::Account(account) => miner.account == *account,
            MinerSelector::Address(address) => miner.peer.starts_with(address),
        };
        let row = |miner: &Miner| KickedMiner {
            id: miner.id,
            account: miner.account.clone(),
            worker: miner.worker.clone(),
            peer: miner.peer.clone(),
            connection_stays: miner.id == 4,
        };
        let miners: Vec<_> = self.answers.miners.iter().filter(wanted).map(row).collect();
        let connections = miners.iter().filter(|miner| !miner.connection_stays);
        Kicked {
            connections: u32::try_from(connections.count()).unwrap(),
            channels: u32::try_from(miners.len()).unwrap(),
            miners,
        }
    }
}

pub(super) fn vardiff() -> VardiffSettings {
    VardiffSettings {
        shares_per_minute: 18.0,
        min_difficulty: Some(0.000_001),
        max_difficulty: Some(1e9),
        set: vec!["max_difficulty".to_owned()],
        lanes: vec![DifficultyBounds {
            name: "main".to_owned(),
            min_difficulty: Some(1000.0),
            max_difficulty: Some(1e9),
        }],
        accounts: vec![DifficultyBounds {
            name: "alice".to_owned(),
            min_difficulty: None,
            max_difficulty: Some(250_000.0),
        }],
        accounts_total: 1,
    }
}

pub(super) fn hyper_nodes() -> Vec<HyperNode> {
    let node = |id: &str, lanes: &[&str], connections| HyperNode {
        id: id.to_owned(),
        public_key: format!(
            "hhnode1{id}qqqsyqcyq5rqwzqfpg9scrgwpugpzysnzs23v9ccrydpk8qarc0jqgqw5dl"
        ),
        lanes: lanes.iter().map(|&lane| lane.to_owned()).collect(),
        connections,
        revoked: None,
    };
    let mut nodes = vec![
        node("berlin", &["asics", "gpus"], 2),
        node("oslo", &["asics"], 0),
        node("rome", &["asics"], 0),
    ];
    nodes[1].revoked = Some(NodeRevocation {
        reason: "by the configuration".to_owned(),
        since_at: None,
    });
    nodes[2].revoked = Some(NodeRevocation {
        reason: "key stolen".to_owned(),
        since_at: Some("2026-11-25T11:55:00Z".parse().unwrap()),
    });
    nodes
}

pub(super) fn bans() -> Vec<Ban> {
    let ban = |target, reason: &str, automatic, until: Option<&str>| Ban {
        target,
        reason: reason.to_owned(),
        automatic,
        since_at: "2026-11-25T11:55:00Z".parse().unwrap(),
        until_at: until.map(|until| until.parse().unwrap()),
    };
    vec![
        ban(
            BanTarget::Address("2001:db8:7::/64".to_owned()),
            "20 connections within 60 s that spoke another protocol",
            true,
            Some("2026-11-25T12:05:00Z"),
        ),
        ban(
            BanTarget::Address("203.0.113.0/24".to_owned()),
            "scans",
            false,
            None,
        ),
        ban(
            BanTarget::Account("mallory".to_owned()),
            "no reason given",
            false,
            Some("2026-12-02T11:55:00Z"),
        ),
    ]
}
