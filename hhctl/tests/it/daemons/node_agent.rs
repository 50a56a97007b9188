//! hh-node-agent with one command that waits for the owner.

use super::{Fake, now, seconds_ago};
use hh_ipc::api::core::OperationState;
use hh_ipc::api::node_agent::{
    AuditSeen, ConsentDecision, ConsentDetail, DecidedConsent, DuesInvoice, DuesInvoiceState,
    NodeAgent, NodeAgentStatus, NodeWalletStatus, WaitingConsent, WalletPayment,
};
use hh_ipc::api::{Hello, JournalPage, JournalQuery};
use hh_ipc::{ApiError, Context, ErrorKind};
use jiff::SignedDuration;

/// The command that waits.
pub(crate) const WAITING: &str = "0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d0d";

fn waiting() -> WaitingConsent {
    WaitingConsent {
        id: WAITING.to_owned(),
        operator: "local:root".to_owned(),
        command: "config.apply hh-translator".to_owned(),
        question: "local:root asks to give hh-translator the configuration 7 (SHA-256 0101): it changes upstreams.0.address"
            .to_owned(),
        since_at: seconds_ago(600),
        expires_at: now() + SignedDuration::from_hours(23),
    }
}

fn found(id: &str) -> Result<WaitingConsent, ApiError> {
    let message =
        format!("no command {id} waits for the owner; `hhctl consent list` shows those that do");
    let unknown = ApiError::new(ErrorKind::NotFound, "HH6001", message);
    (id == WAITING).then(waiting).ok_or(unknown)
}

impl NodeAgent for Fake {
    async fn hello(self, _: Context) -> Hello {
        Self::hello(&self)
    }

    async fn status(self, _: Context) -> Result<NodeAgentStatus, ApiError> {
        Ok(NodeAgentStatus {
            node: Some("berlin".to_owned()),
            trust_domain: Some("hyperhash.example".to_owned()),
            core_address: Some("core.hyperhash.example:8445".to_owned()),
            is_connected: true,
            epoch: 1_763_000_000,
            clock_ahead_ms: -12,
            certificate_until_at: Some(now() + SignedDuration::from_hours(17)),
            services: super::core::services(),
            consents_waiting: 1,
            audit: AuditSeen {
                lines: 42,
                at: Some(seconds_ago(30)),
                fault: None,
            },
        })
    }

    async fn consents(self, _: Context) -> Result<Vec<WaitingConsent>, ApiError> {
        Ok(vec![waiting()])
    }

    async fn consent(self, _: Context, id: String) -> Result<ConsentDetail, ApiError> {
        Ok(ConsentDetail {
            consent: found(&id)?,
            changes: vec![
                "- upstreams.0.address = \"pool.example:34254\"".to_owned(),
                "+ upstreams.0.address = \"thief.example:34254\"".to_owned(),
            ],
        })
    }

    async fn decide(
        self,
        _: Context,
        decision: ConsentDecision,
    ) -> Result<DecidedConsent, ApiError> {
        let ConsentDecision { id, approve } = decision;
        let waiting = found(&id)?;
        self.change(format!("decide {approve}"))?;
        Ok(DecidedConsent {
            id,
            command: waiting.command,
            state: match approve {
                true => OperationState::Done,
                false => OperationState::Rejected,
            },
            code: if approve { "ok" } else { "owner-refused" }.to_owned(),
            detail: match approve {
                true => "7 is in place; hh-translator is running, process 4711".to_owned(),
                false => "the node's owner has refused it".to_owned(),
            },
        })
    }

    async fn wallet(self, _: Context) -> Result<NodeWalletStatus, ApiError> {
        let invoice = |id: &str, state, reason: Option<&str>| DuesInvoice {
            id: id.repeat(32),
            amount_msat: 900_000_123,
            payment_hash: id.repeat(32),
            made_at: seconds_ago(600),
            expires_at: now() + SignedDuration::from_hours(23),
            state,
            reported_at: Some(seconds_ago(300)),
            reason: reason.map(str::to_owned),
            received_msat: (state == DuesInvoiceState::Settled).then_some(900_000_123),
        };
        Ok(NodeWalletStatus {
            backend: "ldk-node".to_owned(),
            fault: None,
            node_id: Some(format!("02{}", "ab".repeat(32))),
            is_synced: true,
            onchain_sat: 250_000,
            in_channels_msat: 900_000_123,
            treasury_node_id: format!("03{}", "cd".repeat(32)),
            treasury_channels: 0,
            receivable_msat: 0,
            dues_msat: Some(12_345_678),
            invoice_waits_for: Some("there is no usable channel with hh-treasury".to_owned()),
            invoices: vec![
                invoice("0a", DuesInvoiceState::Settled, None),
                invoice(
                    "0b",
                    DuesInvoiceState::Refused,
                    Some("the invoice is for another chain"),
                ),
            ],
            payments: vec![WalletPayment {
                payment_hash: "0c".repeat(32),
                amount_msat: 21_000_000,
                fee_msat: Some(1_500),
                preimage: "0d".repeat(32),
                paid_at: seconds_ago(60),
            }],
        })
    }

    async fn journal(self, _: Context, _: JournalQuery) -> Result<JournalPage, ApiError> {
        Ok(JournalPage::default())
    }
}
