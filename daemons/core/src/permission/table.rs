//! The table itself. docs/reference/permissions.md shows it to operators; a test keeps the two the same.

use super::Interface::{self, Control, Grpc, Rest};
use super::Who;
use hh_ipc::api::core::Role;

/// A method, and who may call it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) interface: Interface,
    pub(crate) method: &'static str,
    pub(crate) callers: Callers,
}

/// Sets of callers: all that there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Callers {
    /// With a token or without.
    Everybody,
    /// With a token, whatever it is for.
    Persons,
    /// Miners see their own accounts, core's operators all.
    AccountReaders,
    /// Node operators see their own nodes, core's operators all.
    NodeReaders,
    /// Likewise, and their tokens are not read-only.
    NodeChangers,
    CoreReaders,
    /// Core's operators whose tokens or sockets are not read-only.
    CoreChangers,
    Unenrolled,
    Nodes,
    Treasury,
}

impl Callers {
    pub(super) fn include(self, who: Who) -> bool {
        use super::Access::Full;
        match self {
            Self::Everybody => matches!(who, Who::Anyone | Who::Person(..)),
            Self::Persons => matches!(who, Who::Person(..)),
            Self::AccountReaders => {
                matches!(who, Who::Person(Role::Miner | Role::CoreOperator, _))
            }
            Self::NodeReaders => {
                matches!(who, Who::Person(Role::NodeOperator | Role::CoreOperator, _))
            }
            Self::NodeChangers => {
                matches!(
                    who,
                    Who::Person(Role::NodeOperator | Role::CoreOperator, Full)
                )
            }
            Self::CoreReaders => matches!(who, Who::Person(Role::CoreOperator, _)),
            Self::CoreChangers => who == Who::Person(Role::CoreOperator, Full),
            Self::Unenrolled => who == Who::Unenrolled,
            Self::Nodes => who == Who::Node,
            Self::Treasury => who == Who::Treasury,
        }
    }
}

const fn row(interface: Interface, method: &'static str, callers: Callers) -> Row {
    Row {
        interface,
        method,
        callers,
    }
}

/// What is not here is for nobody.
pub(crate) const ROWS: &[Row] = &[
    row(Control, "hello", Callers::CoreReaders),
    row(Control, "status", Callers::CoreReaders),
    row(Control, "nodes", Callers::CoreReaders),
    row(Control, "node", Callers::CoreReaders),
    row(Control, "revoke_node", Callers::CoreChangers),
    row(Control, "order_service", Callers::CoreChangers),
    row(Control, "order_node", Callers::CoreChangers),
    row(Control, "operations", Callers::CoreReaders),
    row(Control, "operation", Callers::CoreReaders),
    row(Control, "wait_for_operation", Callers::CoreReaders),
    row(Control, "cancel_operation", Callers::CoreChangers),
    row(Control, "create_token", Callers::CoreChangers),
    row(Control, "tokens", Callers::CoreReaders),
    row(Control, "revoke_token", Callers::CoreChangers),
    row(Control, "create_api_token", Callers::CoreChangers),
    row(Control, "api_tokens", Callers::CoreReaders),
    row(Control, "revoke_api_token", Callers::CoreChangers),
    row(Control, "records", Callers::CoreReaders),
    row(Control, "create_record", Callers::CoreChangers),
    row(Control, "revoke_record", Callers::CoreChangers),
    row(Control, "pki", Callers::CoreReaders),
    row(Control, "audit", Callers::CoreReaders),
    row(Control, "audit_checkpoint", Callers::CoreReaders),
    row(Control, "audit_witnesses", Callers::CoreReaders),
    row(Grpc, "Enrol", Callers::Unenrolled),
    row(Grpc, "Recover", Callers::Unenrolled),
    row(Grpc, "Session", Callers::Nodes),
    row(Grpc, "Renew", Callers::Nodes),
    row(Grpc, "PushTelemetry", Callers::Nodes),
    row(Grpc, "Relay", Callers::Nodes),
    row(Grpc, "Poll", Callers::Nodes),
    row(Grpc, "ExchangePayouts", Callers::Treasury),
    row(Rest, "GET /v1/openapi.json", Callers::Everybody),
    row(Rest, "GET /v1/public/pool", Callers::Everybody),
    row(Rest, "GET /v1/public/treasury", Callers::Everybody),
    row(Rest, "GET /v1/public/nodes", Callers::Everybody),
    row(Rest, "GET /v1/public/blocks", Callers::Everybody),
    row(Rest, "GET /v1/public/blocks/{hash}", Callers::Everybody),
    row(
        Rest,
        "GET /v1/public/blocks/{hash}/report",
        Callers::Everybody,
    ),
    row(Rest, "GET /v1/public/fees", Callers::Everybody),
    row(Rest, "GET /v1/public/payments", Callers::Everybody),
    row(Rest, "GET /v1/whoami", Callers::Persons),
    row(Rest, "GET /v1/accounts/{account}", Callers::AccountReaders),
    row(
        Rest,
        "GET /v1/accounts/{account}/proofs/{block}",
        Callers::AccountReaders,
    ),
    row(Rest, "GET /v1/nodes", Callers::NodeReaders),
    row(Rest, "GET /v1/nodes/{node}", Callers::NodeReaders),
    row(Rest, "POST /v1/nodes/{node}/revoke", Callers::CoreChangers),
    row(Rest, "GET /v1/operations", Callers::NodeReaders),
    row(Rest, "GET /v1/operations/{id}", Callers::NodeReaders),
    row(Rest, "POST /v1/operations", Callers::NodeChangers),
    row(Rest, "DELETE /v1/operations/{id}", Callers::NodeChangers),
    row(Rest, "GET /v1/status", Callers::CoreReaders),
    row(Rest, "GET /v1/directory", Callers::CoreReaders),
    row(Rest, "GET /v1/pki", Callers::CoreReaders),
    row(Rest, "GET /v1/audit", Callers::CoreReaders),
    row(Rest, "GET /v1/enrolment-tokens", Callers::CoreReaders),
    row(Rest, "POST /v1/enrolment-tokens", Callers::CoreChangers),
    row(
        Rest,
        "DELETE /v1/enrolment-tokens/{id}",
        Callers::CoreChangers,
    ),
];
