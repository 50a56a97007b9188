//! The answer to `retire`.

use super::{Control, timestamp, unavailable};
use crate::directory::unix_ms;
use hh_daemon::Caller;
use hh_ipc::api::pool::{RetireRequest, Retired};
use hh_ipc::{ApiError, ErrorKind};
use hh_ledger::{Refusal, RetireWhere, Retirement, Standing};
use serde_json::json;

impl Control {
    pub(super) async fn retire(
        &self,
        caller: &Caller,
        request: RetireRequest,
    ) -> Result<Retired, ApiError> {
        caller.may_change()?;
        let server_id = request.server_id;
        if server_id == self.server_id {
            return Err(own(server_id));
        }
        let standing = self.ledger.reader().standing(server_id).await;
        let standing = standing.map_err(|error| unavailable(&error))?;
        let standing = standing.ok_or_else(|| nobodys(server_id))?;
        let how = if request.lost {
            RetireWhere::Silent
        } else {
            RetireWhere::Complete
        };
        if let Some(refusal) = standing.refusal(how) {
            return Err(refused(server_id, &standing, refusal));
        }
        if request.dry_run {
            return Ok(answer(server_id, standing));
        }
        let call = "pool.retire";
        let arguments = json!({
            "server_id": server_id, "pool": standing.holder.pool, "epoch": hex::encode(standing.holder.epoch),
            "last_seq": standing.last_seq, "lost": request.lost,
        });
        let retire = self.free(server_id, standing, how);
        self.journal
            .record(&caller.peer, call, arguments, retire)
            .await
    }

    async fn free(
        &self,
        server_id: u16,
        seen: Standing,
        how: RetireWhere,
    ) -> Result<Retired, ApiError> {
        let epoch = seen.holder.epoch;
        let freed = self.ledger.retire_server_id(server_id, epoch, how).await;
        match freed.map_err(|error| unavailable(&error))? {
            Retirement::Retired(standing) => {
                let pool = &standing.holder.pool;
                let (last_seq, complete) = (standing.last_seq, standing.is_closed);
                tracing::info!(server_id, pool, last_seq, complete, "pool retired");
                Ok(answer(server_id, standing))
            }
            // It was heard of meanwhile.
            Retirement::Refused(standing, refusal) => Err(refused(server_id, &standing, refusal)),
            Retirement::NotHeld => Err(nobodys(server_id)),
        }
    }
}

fn answer(server_id: u16, standing: Standing) -> Retired {
    Retired {
        server_id,
        epoch: hex::encode(standing.holder.epoch),
        claimed_at: timestamp(standing.holder.since_ms),
        last_seq: standing.last_seq,
        shipped_through_at: standing.watermark_ms.map(timestamp),
        heard_at: timestamp(unix_ms() - standing.silent_ms),
        complete: standing.is_closed,
        pool: standing.holder.pool,
    }
}

fn own(server_id: u16) -> ApiError {
    let message = format!(
        "server id {server_id} is this pool's, which runs; stop it, and ask another pool on its ledger"
    );
    ApiError::new(ErrorKind::Failed, "HH2021", message)
}

fn nobodys(server_id: u16) -> ApiError {
    let message = format!("no share log holds server id {server_id}: it is free");
    ApiError::new(ErrorKind::NotFound, "HH2020", message)
}

fn refused(server_id: u16, standing: &Standing, refusal: Refusal) -> ApiError {
    let pool = &standing.holder.pool;
    let (code, message) = match refusal {
        Refusal::Running => {
            let seconds = standing.silent_ms.max(0) / 1_000;
            let message = format!(
                "{pool} was heard of {seconds} s ago and runs with server id {server_id}; stop it, and try again in a minute"
            );
            ("HH2022", message)
        }
        Refusal::Incomplete => {
            let place = match standing.watermark_ms {
                Some(at_ms) => format!("record {}, of {}", standing.last_seq, timestamp(at_ms)),
                None => "its first record".to_owned(),
            };
            let message = format!(
                "{pool} did not stop cleanly: its share log may have acknowledged shares from {place}, on, which the ledger has \
                not; start it once more, so that it ships them, or give them up with --lost"
            );
            ("HH2023", message)
        }
    };
    ApiError::new(ErrorKind::Failed, code, message)
}
