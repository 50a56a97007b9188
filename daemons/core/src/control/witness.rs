//! The audit log's checkpoints and witnesses for operators.

use super::{Control, MAX_LISTED, store_error, timestamp};
use crate::checkpoint::CheckpointError;
use crate::fleet::Live;
use crate::lease;
use crate::store::StoreError;
use hh_ipc::api::core::{AuditCheckpoint, AuditWitness, AuditWitnessPage};
use hh_ipc::{ApiError, ErrorKind};
use hh_trust::NodeId;

impl Control {
    pub(crate) async fn audit_checkpoint(&self) -> Result<AuditCheckpoint, ApiError> {
        let taken = self.checkpoints.take().await;
        let signed = taken.map_err(|error| match &error {
            CheckpointError::NoKey => {
                ApiError::new(ErrorKind::Unavailable, "HH5080", error.to_string())
            }
            CheckpointError::Changed { .. } => {
                ApiError::new(ErrorKind::Failed, "HH5081", error.to_string())
            }
            CheckpointError::Store(error) => store_error(error),
        })?;
        let authority = &self.authority;
        let key = authority.audit_key.as_ref();
        Ok(AuditCheckpoint {
            trust_domain: authority.domain.to_string(),
            note: signed.note,
            key: key.map_or_else(String::new, |key| key.public_key().to_string()),
        })
    }

    pub(crate) async fn audit_witnesses(&self) -> Result<AuditWitnessPage, ApiError> {
        let read: Result<_, StoreError> = self
            .store
            .read(|transaction| lease::last_said(transaction, MAX_LISTED))
            .await;
        let said = read.map_err(|error| store_error(&error))?;
        let witnesses = said.into_iter().filter_map(|(node, live)| {
            // What was written down is a few seconds old.
            let live = self.fleet.get(&node).unwrap_or(live);
            witness(&node, live)
        });
        Ok(AuditWitnessPage {
            witnesses: witnesses.collect(),
        })
    }
}

fn witness(node: &NodeId, live: Live) -> Option<AuditWitness> {
    let seen = live.audit?;
    Some(AuditWitness {
        node: node.to_string(),
        lines: seen.size,
        root: (!seen.root.is_empty()).then(|| hex::encode(&seen.root)),
        fault: (!seen.fault.is_empty()).then_some(seen.fault),
        said_at: timestamp(live.seen_at_ms),
    })
}
