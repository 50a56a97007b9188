//! A template source on a node.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use bitcoin::{Address, Network};
use hh_bitcoin::{
    NodeTemplate, Rpc, SourceConfig, SourceError, SourceEvent, TemplateSource, Trigger,
};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::node::{Node, START, anyone, bytes};

pub(crate) struct Source {
    pub(crate) handle: TemplateSource,
    pub(crate) events: mpsc::Receiver<SourceEvent>,
    _stop: DropGuard,
}

impl Source {
    /// By mining IPC.
    pub(crate) fn start(node: &Node) -> Self {
        Self::with(node, Network::Regtest, 1000, Duration::ZERO)
    }

    pub(crate) fn with(
        node: &Node,
        chain: Network,
        fee_delta_sats: u64,
        interval: Duration,
    ) -> Self {
        let config = Self::config(Some(node.socket()), node.rpc());
        Self::of(SourceConfig {
            chain,
            fee_delta_sats,
            refresh_interval: interval,
            ..config
        })
    }

    /// By `getblocktemplate`.
    pub(crate) fn without_ipc(rpc: Rpc) -> Self {
        Self::of(Self::config(None, rpc))
    }

    /// One that looks at no fees, after its first template.
    pub(crate) async fn quiet(socket: Option<PathBuf>, rpc: Rpc) -> Self {
        let mut source = Self::of(SourceConfig {
            refresh_interval: Duration::from_secs(3600),
            ..Self::config(socket, rpc)
        });
        let mut first = source.template().await;
        first.block.arrived().await.unwrap();
        source
    }

    pub(crate) fn config(socket: Option<PathBuf>, rpc: Rpc) -> SourceConfig {
        SourceConfig {
            socket,
            rpc,
            chain: Network::Regtest,
            fee_delta_sats: 1000,
            refresh_interval: Duration::ZERO,
        }
    }

    pub(crate) fn of(config: SourceConfig) -> Self {
        let stop = CancellationToken::new();
        let (handle, events, _thread) = TemplateSource::start(config, stop.clone()).unwrap();
        Self {
            handle,
            events,
            _stop: stop.drop_guard(),
        }
    }

    /// Makes a block again and again; the templates on them are for these heights.
    pub(crate) async fn follows_each_block(&mut self, node: &Node, heights: Range<u32>) {
        for height in heights {
            let tip = node.generate(1).await[0];
            let template = self.template().await;
            assert_eq!(
                (template.trigger, template.height),
                (Trigger::NewBlock, height)
            );
            assert_eq!(template.tip.prev_hash, bytes(tip));
        }
    }

    pub(crate) async fn event(&mut self) -> SourceEvent {
        tokio::time::timeout(START, self.events.recv())
            .await
            .unwrap()
            .unwrap()
    }

    pub(crate) async fn template(&mut self) -> NodeTemplate {
        loop {
            match self.event().await {
                SourceEvent::Template(template) => return *template,
                SourceEvent::Connected(_) => {}
                SourceEvent::Unavailable(error) => panic!("{error:?}"),
            }
        }
    }

    pub(crate) async fn error(&mut self) -> SourceError {
        loop {
            if let SourceEvent::Unavailable(error) = self.event().await {
                return error;
            }
        }
    }
}

/// One block that leaves the mempool as it is.
pub(crate) async fn generate_without_mempool(node: &Node) {
    let address = Address::from_script(&anyone(), Network::Regtest).unwrap();
    let params = vec![json!(address.to_string()), json!([])];
    let _hash = node.call("generateblock", params).await;
}
