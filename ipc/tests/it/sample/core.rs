//! The types of hyperhash-core.

use super::at;
use hh_ipc::api::core::{
    ApiToken, ApiTokenPage, ApiTokenState, AuditCheckpoint, AuditPage, AuditQuery, AuditWitness,
    AuditWitnessPage, CoreStatus, CreateApiToken, CreateToken, EnrolmentToken, FleetNode,
    FleetNodeDetail, FleetPage, FleetRevocation, IssuedApiToken, IssuedToken, IssuerStatus,
    NodeAction, NodeHealth, NodeInventory, NodeLane, NodeOrder, NodeProgram, NodeService,
    NodeState, Operation, OperationPage, OperationQuery, OperationState, PkiStatus,
    RevokeFleetNode, RevokedFleetNode, Role, ServiceAction, ServiceOrder, SigningKeyStatus,
    TokenPage, TokenState, WaitForOperation,
};

pub(crate) fn core_status() -> CoreStatus {
    CoreStatus {
        trust_domain: "hyperhash.example".into(),
        enrolment_address: "0.0.0.0:8444".into(),
        session_address: "0.0.0.0:8445".into(),
        nodes: 12,
        nodes_connected: 11,
        hashrate_10m_hs: 42.5,
        miners: 42,
        operations_open: 1,
        audit_head: "7:ab".into(),
    }
}

fn fleet_node(state: NodeState) -> FleetNode {
    FleetNode {
        id: "berlin-1".into(),
        state,
        public: true,
        enrolled_at: at(1),
        last_seen_at: Some(at(2)),
        agent_version: "0.1.0".into(),
        public_key: "hhnode1q".into(),
        certificate_until_at: at(3),
        services: 2,
        services_running: 1,
        hashrate_10m_hs: Some(21.25),
        miners: Some(17),
    }
}

pub(crate) fn fleet_page() -> FleetPage {
    let states = [NodeState::Connected, NodeState::Away, NodeState::Revoked];
    FleetPage {
        nodes: states.map(fleet_node).into(),
        total: 4,
    }
}

pub(crate) fn fleet_node_detail() -> FleetNodeDetail {
    FleetNodeDetail {
        node: fleet_node(NodeState::Connected),
        peer: Some("192.0.2.1:40000".into()),
        connected_at: Some(at(4)),
        clock_ahead_ms: Some(-3),
        epoch: 1_790_000_001,
        last_seq: 41,
        services: vec![NodeService {
            name: "hh-translator".into(),
            state: "running".into(),
            since_at: at(5),
            restarts: 6,
            pid: Some(7),
            last_error: Some("it ended by itself".into()),
            memory_bytes: 8,
        }],
        health: Some(NodeHealth {
            at: at(9),
            uptime_seconds: 10,
            load_1m_milli: 11,
            memory_total_bytes: 12,
            memory_available_bytes: 13,
            disk_total_bytes: 14,
            disk_available_bytes: 15,
            dropped_total: 16,
        }),
        lanes: vec![NodeLane {
            name: "asics".into(),
            hashrate_10m_hs: 21.25,
            miners: 17,
            shares_accepted: 18,
            shares_rejected: 19,
        }],
        inventory: Some(NodeInventory {
            told_at: at(20),
            os: "Debian GNU/Linux 12 (bookworm)".into(),
            kernel: "6.1.0-18-amd64".into(),
            architecture: "x86_64".into(),
            cpus: 21,
            programs: vec![NodeProgram {
                name: "hh-translator".into(),
                version: "0.1.0".into(),
            }],
        }),
        revocation: Some(fleet_revocation()),
    }
}

fn fleet_revocation() -> FleetRevocation {
    FleetRevocation {
        reason: "stolen".into(),
        since_at: at(10),
    }
}

pub(crate) fn revoke_fleet_node() -> RevokeFleetNode {
    RevokeFleetNode {
        node: "berlin-1".into(),
        reason: Some("stolen".into()),
        dry_run: true,
    }
}

pub(crate) fn revoked_fleet_node() -> RevokedFleetNode {
    RevokedFleetNode {
        node: fleet_node(NodeState::Revoked),
        revocation: fleet_revocation(),
        was_connected: true,
        operations_given_up: 2,
        tokens_revoked: 1,
    }
}

pub(crate) fn service_orders() -> Vec<ServiceOrder> {
    let actions = [
        ServiceAction::Start,
        ServiceAction::Stop,
        ServiceAction::Restart,
    ];
    let order = |action| ServiceOrder {
        node: "berlin-1".into(),
        service: "hh-translator".into(),
        action,
        dry_run: true,
    };
    actions.map(order).into()
}

pub(crate) fn node_orders() -> Vec<NodeOrder> {
    let service = || "hh-translator".into();
    let actions = [
        NodeAction::Ping,
        NodeAction::ServiceStatus { service: service() },
        NodeAction::Logs {
            service: service(),
            lines: 50,
            after: Some("1:2".into()),
        },
        NodeAction::ApplyConfig {
            service: service(),
            generation: 7,
            body: "a = 1\n".into(),
        },
        NodeAction::Drain { on: true },
        NodeAction::RenewCertificate,
        NodeAction::ReadWallet,
        NodeAction::MakeInvoice {
            amount_msat: 250_000_000,
            description: "dues".into(),
        },
        NodeAction::Spend {
            invoice: "lnbc1".into(),
            amount_msat: 1_000,
            fee_msat_max: 10,
        },
    ];
    let order = |action| NodeOrder {
        node: "berlin-1".into(),
        action,
        dry_run: false,
    };
    actions.map(order).into()
}

pub(crate) fn operation_query() -> OperationQuery {
    OperationQuery {
        node: Some("berlin-1".into()),
        limit: 20,
    }
}

pub(crate) fn operation_page() -> OperationPage {
    let states = [
        OperationState::Queued,
        OperationState::Sent,
        OperationState::Taken,
        OperationState::Done,
        OperationState::Failed,
        OperationState::Rejected,
        OperationState::Indeterminate,
        OperationState::Expired,
        OperationState::Cancelled,
    ];
    let operation = |state| Operation {
        id: "0a".into(),
        node: "berlin-1".into(),
        command: "service.restart hh-translator".into(),
        by: "local:root".into(),
        state,
        created_at: at(20),
        expires_at: at(21),
        ended_at: Some(at(22)),
        code: Some("ok".into()),
        detail: Some("it is running".into()),
    };
    OperationPage {
        operations: states.map(operation).into(),
        total: 9,
    }
}

pub(crate) fn wait_for_operation() -> WaitForOperation {
    WaitForOperation {
        id: "0a".into(),
        wait_ms: 1_000,
    }
}

pub(crate) fn create_token() -> CreateToken {
    CreateToken {
        node: "berlin-1".into(),
        valid_seconds: 3_600,
        public: true,
        replace: true,
    }
}

fn token(state: TokenState) -> EnrolmentToken {
    EnrolmentToken {
        id: "0b".into(),
        node: "berlin-1".into(),
        state,
        by: "local:root".into(),
        created_at: at(30),
        expires_at: at(31),
        used_at: Some(at(32)),
    }
}

pub(crate) fn issued_token() -> IssuedToken {
    IssuedToken {
        token: token(TokenState::Open),
        secret: "hhn1.a.b.c".into(),
    }
}

pub(crate) fn token_page() -> TokenPage {
    let states = [
        TokenState::Open,
        TokenState::Used,
        TokenState::Expired,
        TokenState::Revoked,
    ];
    TokenPage {
        tokens: states.map(token).into(),
        total: 5,
    }
}

pub(crate) fn create_api_token() -> CreateApiToken {
    CreateApiToken {
        name: "bob".into(),
        role: Role::NodeOperator,
        read_only: true,
        nodes: vec!["berlin-1".into()],
        accounts: vec!["miner:bob".into()],
        valid_days: 90,
    }
}

fn api_token(role: Role, state: ApiTokenState) -> ApiToken {
    ApiToken {
        id: "0d".into(),
        name: "bob".into(),
        role,
        read_only: true,
        nodes: vec!["berlin-1".into()],
        accounts: vec!["miner:bob".into()],
        state,
        by: "local:root".into(),
        created_at: at(33),
        expires_at: at(34),
    }
}

pub(crate) fn issued_api_token() -> IssuedApiToken {
    IssuedApiToken {
        token: api_token(Role::CoreOperator, ApiTokenState::Active),
        secret: "hha1.ab".into(),
    }
}

pub(crate) fn api_token_page() -> ApiTokenPage {
    let states = [
        ApiTokenState::Active,
        ApiTokenState::Expired,
        ApiTokenState::Revoked,
    ];
    let tokens = Role::ALL.into_iter().zip(states);
    ApiTokenPage {
        tokens: tokens.map(|(role, state)| api_token(role, state)).collect(),
        total: 4,
    }
}

pub(crate) fn pki_status() -> PkiStatus {
    PkiStatus {
        trust_domain: "hyperhash.example".into(),
        root_pin: "sha256:ab".into(),
        issuers: vec![IssuerStatus {
            name: "node-issuer".into(),
            until_at: at(40),
        }],
        keys: vec![SigningKeyStatus {
            purpose: "commands".into(),
            id: "hhcommand1q".into(),
        }],
    }
}

pub(crate) fn audit_query() -> AuditQuery {
    AuditQuery {
        after_seq: 3,
        limit: 50,
    }
}

pub(crate) fn audit_page() -> AuditPage {
    AuditPage {
        lines: vec!["{}".into()],
        last_seq: 4,
    }
}

pub(crate) fn audit_checkpoint() -> AuditCheckpoint {
    AuditCheckpoint {
        trust_domain: "hyperhash.example".into(),
        note: "hyperhash.example/audit\n4\nAA==\n\n".into(),
        key: "hhaudit1q".into(),
    }
}

pub(crate) fn audit_witnesses() -> AuditWitnessPage {
    AuditWitnessPage {
        witnesses: vec![AuditWitness {
            node: "berlin-1".into(),
            lines: 3,
            root: Some("ab".into()),
            fault: Some("there are two logs".into()),
            said_at: at(12),
        }],
    }
}
