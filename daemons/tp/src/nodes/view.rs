//! What everybody may know of a node.
//!
//! Owns: the words for what is wrong with one. Never: changes by itself, it is a copy.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::BlockHash;
use hh_bitcoin::{NodeInfo, SourceError};
use hh_ipc::api::LinkState;
use jiff::Timestamp;

use super::Condition;

/// A connection to a node.
#[derive(Debug, Clone)]
pub(crate) struct Link {
    pub(crate) address: String,
    pub(crate) state: LinkState,
    pub(crate) since_at: Timestamp,
    pub(crate) last_error: Option<String>,
}

impl Link {
    pub(super) fn new(address: String) -> Self {
        Self {
            address,
            state: LinkState::Connecting,
            since_at: Timestamp::now(),
            last_error: None,
        }
    }

    /// Whether it was in another state before.
    pub(super) fn set(&mut self, state: LinkState) -> bool {
        let changed = self.state != state;
        if changed {
            self.state = state;
            self.since_at = Timestamp::now();
        }
        changed
    }
}

/// What everybody may know of a node.
#[derive(Debug, Clone)]
pub(crate) struct NodeView {
    pub(crate) name: Arc<str>,
    pub(crate) active: bool,
    pub(crate) condition: Condition,
    pub(crate) since_at: Timestamp,
    /// Where templates come from.
    pub(crate) templates: Link,
    /// Why there were none the last time.
    pub(crate) error: Option<Arc<SourceError>>,
    pub(crate) rpc: Link,
    /// How long the RPC took for its last answer.
    pub(crate) latency: Option<Duration>,
    /// The last answer.
    pub(crate) info: Option<NodeInfo>,
    /// Height and hash of its tip, as a template or its RPC told last.
    pub(crate) tip: Option<(u32, BlockHash)>,
    /// Tip of a chain with more work that it holds for invalid.
    pub(crate) refuses: Option<BlockHash>,
}

impl NodeView {
    /// Why it is not healthy; `all` are the nodes that it is compared with.
    pub(crate) fn reason(&self, all: &[Self]) -> Option<String> {
        let told = |link: &Link, else_say: &str| {
            let error = link.last_error.clone();
            error.unwrap_or_else(|| else_say.to_owned())
        };
        match self.condition {
            Condition::Healthy => self.refusal(all),
            Condition::Connecting => Some("it has given no template yet".to_owned()),
            Condition::Down => Some(told(&self.templates, "it gives no templates")),
            Condition::Silent => Some(told(&self.rpc, "its RPC does not answer")),
            Condition::InitialDownload => {
                let info = self.info.as_ref();
                let (blocks, headers) = info.map_or((0, 0), |info| (info.blocks, info.headers));
                Some(format!("it has {blocks} of {headers} blocks"))
            }
            Condition::Lagging => Some(self.lag(all)),
        }
    }

    fn refusal(&self, all: &[Self]) -> Option<String> {
        let tip = |node: &&Self| node.info.as_ref().map(|info| info.best_block_hash);
        let other = all
            .iter()
            .find(|node| self.refuses.is_some() && tip(node) == self.refuses)?;
        Some(format!(
            "a block that {} follows is invalid to it",
            other.name
        ))
    }

    fn lag(&self, all: &[Self]) -> String {
        let work = |node: &Self| node.info.as_ref().map(|info| info.chain_work);
        let ahead = all.iter().max_by_key(|node| work(node));
        let ahead = ahead.filter(|ahead| work(ahead) > work(self));
        let blocks = |node: &Self| node.info.as_ref().map_or(0, |info| info.blocks);
        match ahead {
            Some(ahead) => format!(
                "it is at height {}, {} has more work at height {}",
                blocks(self),
                ahead.name,
                blocks(ahead)
            ),
            None => "its templates are not of its own tip".to_owned(),
        }
    }
}
