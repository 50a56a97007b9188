//! The control sockets ask the permission table here, before any method is called.

use crate::permission::{self, Interface, Who};
use hh_ipc::api::core::{CoreRequest, CoreResponse};
use hh_ipc::server::method;

/// The answer to a request that is refused; none if it is not. A method that is added does not compile until it is here.
pub(super) fn refusal(request: &CoreRequest, read_only: bool) -> Option<CoreResponse> {
    let who = Who::local(read_only);
    let error = permission::refusal(Interface::Control, method(request), who)?;
    let refused = match request {
        // Its answer knows no error. It has a row for all who can open a socket.
        CoreRequest::Hello { .. } => return None,
        CoreRequest::Status { .. } => CoreResponse::Status(Err(error)),
        CoreRequest::Nodes { .. } => CoreResponse::Nodes(Err(error)),
        CoreRequest::Node { .. } => CoreResponse::Node(Err(error)),
        CoreRequest::RevokeNode { .. } => CoreResponse::RevokeNode(Err(error)),
        CoreRequest::OrderService { .. } => CoreResponse::OrderService(Err(error)),
        CoreRequest::OrderNode { .. } => CoreResponse::OrderNode(Err(error)),
        CoreRequest::Operations { .. } => CoreResponse::Operations(Err(error)),
        CoreRequest::Operation { .. } => CoreResponse::Operation(Err(error)),
        CoreRequest::WaitForOperation { .. } => CoreResponse::WaitForOperation(Err(error)),
        CoreRequest::CancelOperation { .. } => CoreResponse::CancelOperation(Err(error)),
        CoreRequest::CreateToken { .. } => CoreResponse::CreateToken(Err(error)),
        CoreRequest::Tokens { .. } => CoreResponse::Tokens(Err(error)),
        CoreRequest::RevokeToken { .. } => CoreResponse::RevokeToken(Err(error)),
        CoreRequest::CreateApiToken { .. } => CoreResponse::CreateApiToken(Err(error)),
        CoreRequest::ApiTokens { .. } => CoreResponse::ApiTokens(Err(error)),
        CoreRequest::RevokeApiToken { .. } => CoreResponse::RevokeApiToken(Err(error)),
        CoreRequest::Records { .. } => CoreResponse::Records(Err(error)),
        CoreRequest::CreateRecord { .. } => CoreResponse::CreateRecord(Err(error)),
        CoreRequest::RevokeRecord { .. } => CoreResponse::RevokeRecord(Err(error)),
        CoreRequest::Pki { .. } => CoreResponse::Pki(Err(error)),
        CoreRequest::Audit { .. } => CoreResponse::Audit(Err(error)),
        CoreRequest::AuditCheckpoint { .. } => CoreResponse::AuditCheckpoint(Err(error)),
        CoreRequest::AuditWitnesses { .. } => CoreResponse::AuditWitnesses(Err(error)),
    };
    Some(refused)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hh_ipc::api::core::{
        AuditQuery, CreateApiToken, CreateToken, NodeAction, NodeOrder, OperationQuery, RecordKind,
        RecordQuery, RevokeFleetNode, RevokeRecord, Role, ServiceAction, ServiceOrder,
        SignedRecord, WaitForOperation,
    };
    use std::collections::BTreeSet;

    /// A request for every method.
    fn requests() -> Vec<CoreRequest> {
        let id = || "00".to_owned();
        let order = ServiceOrder {
            node: id(),
            service: id(),
            action: ServiceAction::Stop,
            dry_run: true,
        };
        let node_order = NodeOrder {
            node: id(),
            action: NodeAction::Ping,
            dry_run: true,
        };
        let revoke = RevokeFleetNode {
            node: id(),
            reason: None,
            dry_run: true,
        };
        let token = CreateToken {
            node: id(),
            valid_seconds: 60,
            public: false,
            replace: false,
        };
        let api_token = CreateApiToken {
            name: id(),
            role: Role::CoreOperator,
            read_only: false,
            nodes: Vec::new(),
            accounts: Vec::new(),
            valid_days: 1,
        };
        let wait = WaitForOperation {
            id: id(),
            wait_ms: 1,
        };
        vec![
            CoreRequest::Hello {},
            CoreRequest::Status {},
            CoreRequest::Nodes {},
            CoreRequest::Node { id: id() },
            CoreRequest::RevokeNode { request: revoke },
            CoreRequest::OrderService { order },
            CoreRequest::OrderNode { order: node_order },
            CoreRequest::Operations {
                query: OperationQuery::default(),
            },
            CoreRequest::Operation { id: id() },
            CoreRequest::WaitForOperation { wait },
            CoreRequest::CancelOperation { id: id() },
            CoreRequest::CreateToken { request: token },
            CoreRequest::Tokens {},
            CoreRequest::RevokeToken { id: id() },
            CoreRequest::CreateApiToken { request: api_token },
            CoreRequest::ApiTokens {},
            CoreRequest::RevokeApiToken { id: id() },
            CoreRequest::Pki {},
            CoreRequest::Audit {
                query: AuditQuery::default(),
            },
            CoreRequest::AuditCheckpoint {},
            CoreRequest::AuditWitnesses {},
        ]
    }

    /// Likewise, of what operators sign.
    fn record_requests() -> Vec<CoreRequest> {
        let (kind, text) = (RecordKind::Node, || "00".to_owned());
        vec![
            CoreRequest::Records {
                query: RecordQuery {
                    kind,
                    name: None,
                    after: None,
                },
            },
            CoreRequest::CreateRecord {
                record: SignedRecord {
                    kind,
                    text: text(),
                    signatures: Vec::new(),
                },
            },
            CoreRequest::RevokeRecord {
                request: RevokeRecord {
                    kind,
                    name: text(),
                    reason: text(),
                },
            },
        ]
    }

    #[test]
    fn both_sockets_refuse_what_the_table_refuses_and_nothing_else() {
        let mut requests = requests();
        requests.extend(record_requests());
        let named: BTreeSet<&str> = requests.iter().map(method).collect();
        let rows = permission::ROWS.iter();
        let rows = rows.filter(|row| row.interface == Interface::Control);
        assert_eq!(named, rows.map(|row| row.method).collect());
        for read_only in [true, false] {
            for request in &requests {
                let who = Who::local(read_only);
                let may = permission::allows(Interface::Control, method(request), who);
                let refused = refusal(request, read_only);
                assert_eq!(refused.is_none(), may, "{request:?}");
                let Some(refused) = refused else { continue };
                let refused = format!("{refused:?}");
                assert!(refused.contains("HH0201"), "{refused}");
            }
        }
    }
}
