//! No two channels search the same headers: of all that several pools on one ledger ever open, whatever is closed, dropped or
//! restarted in between.

use crate::sample::cases;
use crate::sample::server::{Options, TestMiner, TestPool};
use crate::sample::witness::{KnownChannel, Witness};
use crate::share_log::Record;
use hh_mining::extranonce::EXTRANONCE_SIZE;
use hh_mining::{ExtranoncePrefix, Target};
use hh_sv2::Message;
use hh_sv2::message::{
    CloseChannel, OpenExtendedMiningChannel, OpenStandardMiningChannel, REQUIRES_STANDARD_JOBS,
};
use proptest::prelude::*;
use proptest::sample::Index;
use std::collections::HashMap;

/// Connections that one pool has at a time.
const MAX_MINERS: usize = 4;

#[derive(Clone, Debug)]
enum Step {
    Connect {
        standard_jobs: bool,
    },
    Disconnect {
        miner: Index,
    },
    /// Opens sent in one go.
    Open {
        miner: Index,
        kinds: Vec<bool>,
    },
    Close {
        miner: Index,
        channel: Index,
    },
    /// CloseChannel with the id of the group.
    CloseGroup {
        miner: Index,
    },
    Restart {
        killed: bool,
    },
}

fn any_step() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    prop_oneof![
        3 => any::<bool>().prop_map(|standard_jobs| Step::Connect { standard_jobs }),
        1 => index().prop_map(|miner| Step::Disconnect { miner }),
        6 => (index(), prop::collection::vec(any::<bool>(), 1..5))
            .prop_map(|(miner, kinds)| Step::Open { miner, kinds }),
        2 => (index(), index()).prop_map(|(miner, channel)| Step::Close { miner, channel }),
        1 => index().prop_map(|miner| Step::CloseGroup { miner }),
        2 => any::<bool>().prop_map(|killed| Step::Restart { killed }),
    ]
}

struct Site {
    pool: TestPool,
    server_id: u16,
    peers: Vec<(TestMiner, Witness)>,
}

impl Site {
    /// Gives the channels that were opened.
    async fn step(mut self, step: Step) -> (Self, Vec<KnownChannel>) {
        let count = self.peers.len();
        let mut opened = Vec::new();
        match step {
            Step::Restart { killed } => {
                self.peers.clear();
                self.pool = if killed {
                    self.pool.restart_after_kill().await
                } else {
                    self.pool.restart().await
                };
            }
            Step::Connect { standard_jobs } if count < MAX_MINERS => {
                let flags = if standard_jobs {
                    REQUIRES_STANDARD_JOBS
                } else {
                    0
                };
                let miner = self.pool.connect_with(flags).await;
                self.peers.push((miner, Witness::default()));
            }
            _ if count == 0 => {}
            Step::Connect { .. } => {}
            Step::Disconnect { miner } => drop(self.peers.swap_remove(miner.index(count))),
            Step::Open { miner, kinds } => {
                opened = open(&mut self.peers[miner.index(count)], &kinds).await;
            }
            Step::Close { miner, channel } => {
                let (miner, witness) = &mut self.peers[miner.index(count)];
                let ids: Vec<u32> = witness.channels.keys().copied().collect();
                if !ids.is_empty() {
                    close(miner, *channel.get(&ids)).await;
                }
            }
            Step::CloseGroup { miner } => {
                let (miner, _) = &mut self.peers[miner.index(count)];
                close(miner, crate::group::GROUP_CHANNEL_ID).await;
            }
        }
        (self, opened)
    }
}

/// Opens standard (true) and extended channels, and gives those that are granted.
async fn open(peer: &mut (TestMiner, Witness), kinds: &[bool]) -> Vec<KnownChannel> {
    let (miner, witness) = peer;
    for is_standard in kinds {
        let user_identity = "alice".try_into().unwrap();
        let max_target = Target::MAX.to_le_bytes().into();
        let message: Message = if *is_standard {
            OpenStandardMiningChannel {
                request_id: 1,
                user_identity,
                nominal_hash_rate: 0.0,
                max_target,
            }
            .into()
        } else {
            OpenExtendedMiningChannel {
                request_id: 1,
                user_identity,
                nominal_hash_rate: 0.0,
                max_target,
                min_extranonce_size: 0,
            }
            .into()
        };
        miner.connection.queue(message).unwrap();
    }
    miner.connection.flush().await.unwrap();
    let (mut opened, mut answered) = (Vec::new(), 0);
    while answered < kinds.len() {
        let message = miner.recv().await.expect("an answer to each open");
        witness.on_message(&message);
        let id = match &message {
            Message::OpenStandardMiningChannelSuccess(success) => success.channel_id,
            Message::OpenExtendedMiningChannelSuccess(success) => success.channel_id,
            Message::OpenMiningChannelError(_) => {
                answered += 1;
                continue;
            }
            _ => continue,
        };
        answered += 1;
        opened.push(witness.channels[&id].clone());
    }
    opened
}

async fn close(miner: &mut TestMiner, channel_id: u32) {
    let reason_code = "test".try_into().unwrap();
    miner
        .send(CloseChannel {
            channel_id,
            reason_code,
        })
        .await;
}

/// Each prefix that was given out is bound once in the log, to the account that asked for it.
async fn check_bindings(site: Site, spaces: &[(u16, KnownChannel)]) {
    let Site {
        pool,
        server_id,
        peers,
    } = site;
    drop(peers);
    let mut bound = HashMap::new();
    for record in pool.logged().await {
        if let Record::Binding(binding) = record {
            let account = binding.origin.account().to_owned();
            let before = bound.insert(binding.extranonce_prefix, account);
            assert_eq!(before, None, "a prefix is bound twice");
        }
    }
    for (_, channel) in spaces.iter().filter(|(server, _)| *server == server_id) {
        let prefix = channel.prefix[..8].try_into().unwrap();
        let account = bound.get(&prefix).map(String::as_str);
        assert_eq!(account, Some("alice"), "{channel:?}");
        let prefix = ExtranoncePrefix::from_bytes(prefix);
        assert_eq!(prefix.server_id().0, server_id);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        max_shrink_iters: 300,
        ..ProptestConfig::with_cases(cases(24, 500))
    })]

    #[test]
    fn two_channels_never_share_a_search_space(
        servers in prop::collection::hash_set(any::<u16>(), 1..4),
        steps in prop::collection::vec((any::<Index>(), any_step()), 1..60),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut sites = Vec::new();
            for server_id in servers {
                let pool = TestPool::start(Options { server_id, ..Options::default() }).await;
                sites.push(Site { pool, server_id, peers: Vec::new() });
            }
            let mut spaces: Vec<(u16, KnownChannel)> = Vec::new();
            for (site, step) in steps {
                let site = sites.swap_remove(site.index(sites.len()));
                let (site, opened) = site.step(step).await;
                for channel in opened {
                    assert_eq!(channel.prefix.len() + channel.rollable_bytes, EXTRANONCE_SIZE);
                    let taken = spaces.iter().find(|(_, other)| channel.meets(other));
                    assert!(taken.is_none(), "{channel:?} of {} and {taken:?}", site.server_id);
                    spaces.push((site.server_id, channel));
                }
                sites.push(site);
            }
            for site in sites {
                check_bindings(site, &spaces).await;
            }
        });
    }
}
