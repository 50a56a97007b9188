//! Looks at the node's JSON-RPC now and then, so that operators and metrics know of it before a block needs it.
//!
//! Owns: the state of that link. Never: anything that templates wait for.

use std::time::Duration;

use bitcoin::Network;
use hh_bitcoin::{NodeInfo, Rpc, check_node};
use hh_daemon::Chain;
use hh_ipc::api::LinkState;
use jiff::Timestamp;
use metrics::gauge;
use tokio::sync::watch;
use tracing::{info, warn};

/// Often enough for a person who watches; nothing for the node.
const INTERVAL: Duration = Duration::from_secs(10);

/// What is known of the link.
#[derive(Debug, Clone)]
pub(crate) struct RpcLink {
    pub(crate) state: LinkState,
    pub(crate) since_at: Timestamp,
    pub(crate) last_error: Option<String>,
    /// The last answer.
    pub(crate) info: Option<NodeInfo>,
}

/// The task.
pub(crate) struct NodeWatch {
    rpc: Rpc,
    chain: Network,
    publish: watch::Sender<RpcLink>,
}

impl NodeWatch {
    pub(crate) fn new(rpc: Rpc, chain: Network) -> (Self, watch::Receiver<RpcLink>) {
        let (publish, link) = watch::channel(RpcLink {
            state: LinkState::Connecting,
            since_at: Timestamp::now(),
            last_error: None,
            info: None,
        });
        (
            Self {
                rpc,
                chain,
                publish,
            },
            link,
        )
    }

    /// Never ends.
    pub(crate) async fn run(self) {
        let mut interval = tokio::time::interval(INTERVAL);
        loop {
            interval.tick().await;
            match check_node(&self.rpc, self.chain).await {
                Ok(node) => {
                    gauge!("hyperhash_chain_headers_height").set(node.headers);
                    gauge!("hyperhash_chain_peers").set(node.peers);
                    self.set(LinkState::Up, |link| link.info = Some(node));
                }
                Err(error) => {
                    let text = Chain(&error).to_string();
                    self.set(LinkState::Down, |link| link.last_error = Some(text));
                }
            }
        }
    }

    fn set(&self, state: LinkState, change: impl FnOnce(&mut RpcLink)) {
        self.publish.send_modify(|link| {
            change(link);
            if link.state == state {
                return;
            }
            link.state = state;
            link.since_at = Timestamp::now();
            match state {
                LinkState::Down => warn!(error = link.last_error, "node's RPC does not answer"),
                LinkState::Up | LinkState::Connecting => info!("node's RPC answers"),
            }
        });
    }
}
