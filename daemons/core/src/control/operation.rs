//! Commands for operators.

use super::node::no_such_node;
use super::{Control, MAX_LISTED, digest, store_error, timestamp, usage};
use crate::asker::Asker;
use crate::operation::{self, OperationRow};
use crate::operations::{OrderError, Wish, in_words};
use crate::store::StoreError;
use hh_ipc::api::core::{
    NodeAction, NodeOrder, Operation, OperationPage, OperationQuery, OperationState, ServiceAction,
    ServiceOrder, WaitForOperation,
};
use hh_ipc::{ApiError, ErrorKind};
use hh_trust::NodeId;
use hh_trust::command::{Command, CommandError, Digest, ServiceName};
use jiff::Timestamp;
use std::time::Duration;

/// Longest that one call waits; who wants to wait longer asks again.
const WAIT_MS_MAX: u32 = 60_000;

impl Control {
    pub(crate) async fn order_service(
        &self,
        asker: &Asker,
        order: ServiceOrder,
    ) -> Result<Operation, ApiError> {
        let service = service_name(&order.service)?;
        let command = match order.action {
            ServiceAction::Start => Command::ServiceStart { service },
            ServiceAction::Stop => Command::ServiceStop { service },
            ServiceAction::Restart => Command::ServiceRestart { service },
        };
        let request = digest(&order);
        self.order(asker, (&order.node, command), request, order.dry_run)
            .await
    }

    pub(crate) async fn order_node(
        &self,
        asker: &Asker,
        order: NodeOrder,
    ) -> Result<Operation, ApiError> {
        let request = digest(&order);
        let command = command(order.action)?;
        self.order(asker, (&order.node, command), request, order.dry_run)
            .await
    }

    async fn order(
        &self,
        asker: &Asker,
        (node, command): (&str, Command),
        request: Digest,
        dry_run: bool,
    ) -> Result<Operation, ApiError> {
        let node: NodeId = node.parse().ok().ok_or_else(|| no_such_node(node))?;
        if dry_run {
            let words = in_words(&command);
            command.check().map_err(|error| usage(error.to_string()))?;
            let checked = self.operations.check(node.clone()).await;
            checked.map_err(|error| order_error(&error))?;
            return Ok(would_be(&node, words, asker.name.clone()));
        }
        let wish = Wish {
            asker: asker.clone(),
            request,
            node,
            command,
        };
        let row = self.operations.order(wish).await;
        row.map(answer).map_err(|error| order_error(&error))
    }

    pub(super) async fn operations(
        &self,
        query: OperationQuery,
    ) -> Result<OperationPage, ApiError> {
        let limit = match query.limit {
            0 => MAX_LISTED,
            limit => limit.min(MAX_LISTED),
        };
        let read: Result<_, StoreError> = self
            .store
            .read(move |transaction| operation::list(transaction, query.node.as_deref(), limit))
            .await;
        let (rows, total) = read.map_err(|error| store_error(&error))?;
        Ok(OperationPage {
            operations: rows.into_iter().map(answer).collect(),
            total,
        })
    }

    /// At most so many before that one, newest first, of all nodes or `only` of these; none if there is no such one.
    pub(crate) async fn operation_page(
        &self,
        only: Option<Vec<String>>,
        after: Option<String>,
        limit: u32,
    ) -> Result<Option<Vec<Operation>>, ApiError> {
        let read: Result<_, StoreError> = self
            .store
            .read(move |transaction| {
                if let Some(after) = &after
                    && operation::get(transaction, after)?.is_none()
                {
                    return Ok(None);
                }
                let page = operation::page(transaction, only.as_deref(), after.as_deref(), limit);
                page.map(Some)
            })
            .await;
        let rows = read.map_err(|error| store_error(&error))?;
        Ok(rows.map(|rows| rows.into_iter().map(answer).collect()))
    }

    pub(crate) async fn operation(&self, id: String) -> Result<Operation, ApiError> {
        let found = self.operations.get(id.clone()).await;
        known(found, &id)
    }

    pub(crate) async fn wait_for_operation(
        &self,
        wait: WaitForOperation,
    ) -> Result<Operation, ApiError> {
        let limit = Duration::from_millis(wait.wait_ms.min(WAIT_MS_MAX).into());
        let found = self.operations.wait(wait.id.clone(), limit).await;
        known(found, &wait.id)
    }
}

fn known(found: Result<Option<OperationRow>, StoreError>, id: &str) -> Result<Operation, ApiError> {
    let found = found.map_err(|error| store_error(&error))?;
    found.map(answer).ok_or_else(|| no_such_operation(id))
}

pub(super) fn no_such_operation(id: &str) -> ApiError {
    let message = format!("there is no operation {id}; `hhctl operation list` shows them");
    ApiError::new(ErrorKind::NotFound, "HH5002", message)
}

fn order_error(error: &OrderError) -> ApiError {
    let message = error.to_string();
    match error {
        OrderError::UnknownNode(id) => no_such_node(id),
        OrderError::Revoked(_) => ApiError::new(ErrorKind::Failed, "HH5004", message),
        OrderError::Command(CommandError::Randomness) => {
            ApiError::new(ErrorKind::Failed, "HH5011", message)
        }
        OrderError::Command(_) => usage(message),
        OrderError::Store(error) => store_error(error),
    }
}

fn service_name(text: &str) -> Result<ServiceName, ApiError> {
    text.parse()
        .map_err(|error: CommandError| usage(error.to_string()))
}

fn command(action: NodeAction) -> Result<Command, ApiError> {
    Ok(match action {
        NodeAction::Ping => Command::Ping {},
        NodeAction::ServiceStatus { service } => Command::ServiceStatus {
            service: service_name(&service)?,
        },
        NodeAction::Logs {
            service,
            lines,
            after,
        } => Command::LogsTail {
            service: service_name(&service)?,
            lines,
            after,
        },
        NodeAction::ApplyConfig {
            service,
            generation,
            body,
        } => Command::ConfigApply {
            service: service_name(&service)?,
            generation,
            sha256: Digest::of(body.as_bytes()),
            body,
        },
        NodeAction::Drain { on } => Command::Drain { on },
        NodeAction::RenewCertificate => Command::CertificateRenew {},
        NodeAction::ReadWallet => Command::WalletRead {},
        NodeAction::MakeInvoice {
            amount_msat,
            description,
        } => Command::WalletInvoice {
            amount_msat,
            description,
        },
        NodeAction::Spend {
            invoice,
            amount_msat,
            fee_msat_max,
        } => Command::WalletSpend {
            destination: invoice,
            amount_msat,
            fee_msat_max,
        },
    })
}

fn would_be(node: &NodeId, command: String, by: String) -> Operation {
    let now = Timestamp::now();
    Operation {
        id: String::new(),
        node: node.to_string(),
        command,
        by,
        state: OperationState::Queued,
        created_at: now,
        expires_at: now,
        ended_at: None,
        code: None,
        detail: None,
    }
}

pub(super) fn answer(row: OperationRow) -> Operation {
    let waiting = match row.state {
        OperationState::Queued => Some("the node is away"),
        OperationState::Sent => Some("the node has not said that it has it"),
        OperationState::Taken => Some("the node has it, and has not said what came of it"),
        _ => None,
    };
    let detail = row.detail.filter(|detail| !detail.is_empty());
    Operation {
        id: row.id,
        node: row.node,
        command: row.command,
        by: row.asked_by,
        state: row.state,
        created_at: timestamp(row.created_at_ms),
        expires_at: timestamp(row.expires_at_ms),
        ended_at: row.ended_at_ms.map(timestamp),
        code: row.code,
        detail: detail.or_else(|| waiting.map(str::to_owned)),
    }
}
