//! What operators ask on the control sockets.
//!
//! Owns: the translation of the daemon's state into the types of hh-ipc. Never: changes anything.

use std::net::SocketAddr;

use bitcoin::Network;
use hh_daemon::Context as Daemon;
use hh_ipc::api::template_provider::{
    NodeCondition, NodeStatus, TemplateDetail, TemplateProvider, TemplateProviderStatus,
    TemplateSummary,
};
use hh_ipc::api::{Hello, LinkStatus};
use hh_ipc::{ApiError, Context, ErrorKind};
use hh_sv2::AuthorityPublicKey;
use tokio::sync::watch;

use crate::clients::Clients;
use crate::nodes::{Condition, Link, NodeView};
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
    pub(crate) nodes: watch::Receiver<Vec<NodeView>>,
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
        self.newest_templates(limit)
    }

    async fn template(self, _: Context, template_id: u64) -> Result<TemplateDetail, ApiError> {
        self.template_detail(template_id)
    }
}

impl Control {
    fn tp_status(&self) -> TemplateProviderStatus {
        let history = self.templates.history.borrow();
        let last_template = history.front().map(|detail| detail.summary.clone());
        TemplateProviderStatus {
            chain: self.chain.to_core_arg().to_owned(),
            listen_address: self.listen_address.to_string(),
            authority_public_key: self.authority_public_key.to_string(),
            nodes: nodes(&self.nodes.borrow()),
            clients: self.clients.list(),
            templates_total: self.templates.board.borrow().templates_total,
            last_template,
            solutions: self.solutions.list(),
        }
    }

    fn newest_templates(&self, limit: u32) -> Vec<TemplateSummary> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let history = self.templates.history.borrow();
        let newest = history.iter().take(limit);
        newest.map(|detail| detail.summary.clone()).collect()
    }

    fn template_detail(&self, template_id: u64) -> Result<TemplateDetail, ApiError> {
        let history = self.templates.history.borrow();
        let known = history
            .iter()
            .find(|detail| detail.summary.template_id == template_id);
        let Some(detail) = known else {
            let message = format!("template {template_id} is not kept any more, or never was");
            return Err(ApiError::new(ErrorKind::NotFound, "HH1001", message));
        };
        Ok(TemplateDetail {
            validity: self.templates.board.borrow().validity(template_id),
            ..detail.clone()
        })
    }
}

fn nodes(views: &[NodeView]) -> Vec<NodeStatus> {
    let status = |view: &NodeView| {
        let info = view.info.as_ref();
        NodeStatus {
            name: view.name.to_string(),
            active: view.active,
            condition: condition(view.condition),
            since_at: view.since_at,
            reason: view.reason(views),
            templates: link(&view.templates),
            rpc: link(&view.rpc),
            version: info.map(|info| info.version),
            height: view.tip.map(|(height, _)| height),
            tip_hash: view.tip.map(|(_, hash)| hash.to_string()),
            initial_block_download: info.map(|info| info.initial_block_download),
            latency_seconds: view.latency.map(|latency| latency.as_secs_f64()),
        }
    };
    views.iter().map(status).collect()
}

fn condition(condition: Condition) -> NodeCondition {
    match condition {
        Condition::Connecting => NodeCondition::Connecting,
        Condition::Healthy => NodeCondition::Healthy,
        Condition::Lagging => NodeCondition::Lagging,
        Condition::InitialDownload => NodeCondition::InitialDownload,
        Condition::Silent => NodeCondition::Silent,
        Condition::Down => NodeCondition::Down,
    }
}

fn link(link: &Link) -> LinkStatus {
    LinkStatus {
        address: link.address.clone(),
        state: link.state,
        since_at: link.since_at,
        last_error: link.last_error.clone(),
    }
}
