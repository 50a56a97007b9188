//! What operators ask on the control sockets.
//!
//! Owns: the translation of the daemon's state into the types of hh-ipc. Never: changes anything.

use bitcoin::Network;
use hh_daemon::Context as Daemon;
use hh_ipc::Context;
use hh_ipc::api::template_provider::{
    NodeStatus, TemplateProvider, TemplateProviderStatus, TemplateSummary,
};
use hh_ipc::api::{Hello, LinkStatus};
use hh_sv2::AuthorityPublicKey;
use std::net::SocketAddr;
use std::path::PathBuf;
use tokio::sync::watch;

use crate::node_watch::RpcLink;
use crate::session::Clients;
use crate::solution::Solutions;
use crate::templates::Templates;

/// Answers one connection; clones share everything.
#[derive(Debug, Clone)]
pub(crate) struct Control {
    pub(crate) daemon: Daemon,
    pub(crate) read_only: bool,
    pub(crate) chain: Network,
    pub(crate) listen_address: SocketAddr,
    pub(crate) authority_public_key: AuthorityPublicKey,
    pub(crate) ipc_socket: PathBuf,
    pub(crate) rpc_url: String,
    pub(crate) rpc_link: watch::Receiver<RpcLink>,
    pub(crate) templates: Templates,
    pub(crate) clients: Clients,
    pub(crate) solutions: Solutions,
}

impl TemplateProvider for Control {
    async fn hello(self, _: Context) -> Hello {
        self.daemon.hello(self.read_only)
    }

    async fn status(self, _: Context) -> TemplateProviderStatus {
        self.tp_status()
    }

    async fn templates(self, _: Context, limit: u32) -> Vec<TemplateSummary> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        self.templates
            .history
            .borrow()
            .iter()
            .take(limit)
            .cloned()
            .collect()
    }
}

impl Control {
    fn tp_status(&self) -> TemplateProviderStatus {
        TemplateProviderStatus {
            chain: self.chain.to_core_arg().to_owned(),
            listen_address: self.listen_address.to_string(),
            authority_public_key: self.authority_public_key.to_string(),
            node: self.node_status(),
            clients: self.clients.list(),
            templates_total: self.templates.board.borrow().templates_total,
            last_template: self.templates.history.borrow().front().cloned(),
            solutions: self.solutions.list(),
        }
    }

    fn node_status(&self) -> NodeStatus {
        let ipc = self.templates.board.borrow().link.clone();
        let rpc = self.rpc_link.borrow().clone();
        let info = rpc.info.as_ref().or(ipc.info.as_ref());
        NodeStatus {
            ipc: LinkStatus {
                address: self.ipc_socket.display().to_string(),
                state: ipc.state,
                since_at: ipc.since_at,
                last_error: ipc
                    .last_error
                    .map(|error| hh_daemon::Chain(&error).to_string()),
            },
            version: info.map(|info| info.version),
            initial_block_download: info.map(|info| info.initial_block_download),
            height: ipc
                .tip
                .map(|(height, _)| height)
                .or(info.map(|info| info.blocks)),
            tip_hash: ipc
                .tip
                .map(|(_, hash)| hash)
                .or(info.map(|info| info.best_block_hash))
                .map(|hash| hash.to_string()),
            rpc: LinkStatus {
                address: self.rpc_url.clone(),
                state: rpc.state,
                since_at: rpc.since_at,
                last_error: rpc.last_error,
            },
        }
    }
}
