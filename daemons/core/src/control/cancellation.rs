//! Taking commands back, for operators.

use super::operation::{answer, no_such_operation};
use super::{Control, digest, operation_id, store_error};
use crate::asker::Asker;
use crate::audit::{self, Asked, Ended};
use crate::operation::{self, OperationRow, name_of};
use crate::store::{StoreError, Transaction};
use hh_ipc::api::core::Operation;
use hh_ipc::{ApiError, ErrorKind};
use hh_trust::audit::Detail;
use hh_trust::pki::PeerName;
use jiff::Timestamp;

impl Control {
    /// Only what was never sent: of everything else its node alone can say what came of it.
    pub(crate) async fn cancel_operation(
        &self,
        asker: &Asker,
        id: String,
    ) -> Result<Operation, ApiError> {
        let op = operation_id()?;
        let asked = asker.asks(op, "operation.cancel", String::new(), digest(&id));
        let (core, now) = (self.authority.replica.clone(), Timestamp::now());
        let named = id.clone();
        let cancel =
            move |transaction: &Transaction<'_>| cancel(transaction, (&core, now), &named, asked);
        let found: Result<Option<Found>, StoreError> = self.store.call(cancel).await;
        let found = found.map_err(|error| store_error(&error))?;
        let found = found.ok_or_else(|| no_such_operation(&id))?;
        match found.is_cancelled {
            true => Ok(answer(found.row)),
            false => Err(refused(&found.row)),
        }
    }
}

/// An operation as it is then, and whether it was taken back by this.
struct Found {
    row: OperationRow,
    is_cancelled: bool,
}

/// None if there is no such operation.
fn cancel(
    transaction: &Transaction<'_>,
    here: (&PeerName, Timestamp),
    id: &str,
    asked: Asked,
) -> Result<Option<Found>, StoreError> {
    let Some(row) = operation::get(transaction, id)? else {
        return Ok(None);
    };
    let asked = Asked {
        target: format!("node:{}", row.node),
        detail: Detail::default()
            .with("operation", &row.id)
            .with("command", &row.command),
        ..asked
    };
    audit::intent(transaction, here, &asked)?;
    let cancelled = operation::cancel(transaction, id, here.1.as_millisecond())?;
    let ended = match cancelled {
        Some(command) => {
            audit::outcome(transaction, here, command, Ended::refused("cancelled"))?;
            Ended::done()
        }
        None => Ended::refused("not-queued"),
    };
    audit::outcome(transaction, here, asked.op, ended)?;
    let row = operation::get(transaction, id)?;
    Ok(row.map(|row| Found {
        row,
        is_cancelled: cancelled.is_some(),
    }))
}

fn refused(row: &OperationRow) -> ApiError {
    let (id, node) = (&row.id, &row.node);
    let (code, message) = match row.state.is_final() {
        false => (
            "HH5041",
            format!(
                "the operation {id} was sent to the node {node}, which may be at it; `hhctl operation wait {id}` tells what comes of it"
            ),
        ),
        true => (
            "HH5042",
            format!("the operation {id} has ended: {}", name_of(row.state)),
        ),
    };
    ApiError::new(ErrorKind::Failed, code, message)
}
