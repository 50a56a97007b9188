//! The types of hh-node-agent.

use super::at;
use hh_ipc::api::core::{NodeService, OperationState};
use hh_ipc::api::node_agent::{
    AuditSeen, ConsentDecision, ConsentDetail, DecidedConsent, DuesInvoice, DuesInvoiceState,
    NodeAgentStatus, NodeWalletStatus, WaitingConsent, WalletPayment,
};

pub(crate) fn node_agent_status() -> NodeAgentStatus {
    NodeAgentStatus {
        node: Some("berlin-1".into()),
        trust_domain: Some("hyperhash.example".into()),
        core_address: Some("core.hyperhash.example:8445".into()),
        is_connected: true,
        epoch: 1_763_000_000,
        clock_ahead_ms: -12,
        certificate_until_at: Some(at(10)),
        services: vec![NodeService {
            name: "hh-translator".into(),
            state: "running".into(),
            since_at: at(10),
            restarts: 0,
            pid: Some(4_711),
            last_error: None,
            memory_bytes: 48_000_000,
        }],
        consents_waiting: 1,
        audit: AuditSeen {
            lines: 42,
            at: Some(at(11)),
            fault: Some("there are two logs".into()),
        },
    }
}

fn waiting_consent() -> WaitingConsent {
    WaitingConsent {
        id: "0a".repeat(16),
        operator: "local:root".into(),
        command: "config.apply hh-translator".into(),
        question: "local:root asks to give hh-translator the configuration 7".into(),
        since_at: at(10),
        expires_at: at(10),
    }
}

pub(crate) fn waiting_consents() -> Vec<WaitingConsent> {
    vec![waiting_consent()]
}

pub(crate) fn consent_detail() -> ConsentDetail {
    ConsentDetail {
        consent: waiting_consent(),
        changes: vec!["- a = 1".into(), "+ a = 2".into()],
    }
}

pub(crate) fn consent_decision() -> ConsentDecision {
    ConsentDecision {
        id: "0a".repeat(16),
        approve: true,
    }
}

pub(crate) fn decided_consent() -> DecidedConsent {
    DecidedConsent {
        id: "0a".repeat(16),
        command: "config.apply hh-translator".into(),
        state: OperationState::Done,
        code: "ok".into(),
        detail: "7 is in place".into(),
    }
}

pub(crate) fn node_wallet_status() -> NodeWalletStatus {
    let states = [
        DuesInvoiceState::Sent,
        DuesInvoiceState::Waiting,
        DuesInvoiceState::Settled,
        DuesInvoiceState::Cancelled,
        DuesInvoiceState::Refused,
        DuesInvoiceState::Expired,
    ];
    let invoice = |state| DuesInvoice {
        id: "0a".repeat(32),
        amount_msat: 900_000_123,
        payment_hash: "0b".repeat(32),
        made_at: at(10),
        expires_at: at(20),
        state,
        reported_at: Some(at(11)),
        reason: Some("no way to the payee".into()),
        received_msat: Some(900_000_123),
    };
    NodeWalletStatus {
        backend: "ldk-node".into(),
        fault: Some("it is starting".into()),
        node_id: Some("02".repeat(33)),
        is_synced: true,
        onchain_sat: 250_000,
        in_channels_msat: 1_000,
        treasury_node_id: "03".repeat(33),
        treasury_channels: 1,
        receivable_msat: 2_000,
        dues_msat: Some(3_000),
        invoice_waits_for: Some("the last invoice is open".into()),
        invoices: states.map(invoice).into(),
        payments: vec![WalletPayment {
            payment_hash: "0c".repeat(32),
            amount_msat: 21_000_000,
            fee_msat: Some(1_500),
            preimage: "0d".repeat(32),
            paid_at: at(30),
        }],
    }
}
