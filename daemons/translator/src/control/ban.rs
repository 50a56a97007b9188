//! The answers to `ban`, `unban` and `bans`.

use super::downstream::{listed, range};
use super::{Control, MAX_LISTED, count};
use crate::bans::unix_ms;
use hh_daemon::ban::{Ban, BanBook, BanError, Target};
use hh_daemon::{AddressRange, Caller, Chain};
use hh_ipc::api::translator::{
    AddressBan, AddressBanPage, BanAddress, BannedAddress, KickedDownstreams, UnbanAddress,
};
use hh_ipc::{ApiError, ErrorKind};
use jiff::Timestamp;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// The reason where the operator gave none.
const NO_REASON: &str = "no reason given";

impl Control {
    pub(super) async fn ban(
        &self,
        caller: &Caller,
        request: BanAddress,
    ) -> Result<BannedAddress, ApiError> {
        caller.may_change()?;
        let arguments = json!(request);
        let range = range(&request.address)?;
        let reason = request.reason.unwrap_or_else(|| NO_REASON.to_owned());
        let length = request.seconds.map(Duration::from_secs);
        let ban = Ban::new(Target::Address(range), reason, length, unix_ms());
        let ban = ban.map_err(|error| refused(&error))?;
        if request.dry_run {
            return Ok(BannedAddress {
                ban: wire(ban),
                kicked: self.kicked_by(range).0,
            });
        }
        let set = async {
            let made = ban.clone();
            self.on_file(move |book| book.set(made)).await?;
            // From here on nobody comes in; who is in goes.
            let (kicked, ends) = self.kicked_by(range);
            ends.iter().for_each(|end| end.notify_one());
            let target = range.to_string();
            let reason = ban.reason.as_str();
            let connections = kicked.connections;
            tracing::info!(
                target,
                reason,
                until_ms = ban.until_ms,
                connections,
                "banned"
            );
            Ok(BannedAddress {
                ban: wire(ban),
                kicked,
            })
        };
        let call = "address.ban";
        self.journal
            .record(&caller.peer, call, arguments, set)
            .await
    }

    pub(super) async fn unban(
        &self,
        caller: &Caller,
        request: UnbanAddress,
    ) -> Result<AddressBan, ApiError> {
        caller.may_change()?;
        let arguments = json!(request);
        let target = Target::Address(range(&request.address)?);
        let found = self.bans.book().find(&target, unix_ms());
        let ban = found.map_err(|error| refused(&error))?;
        if request.dry_run {
            return Ok(wire(ban));
        }
        let lift = async {
            let lifted = self.on_file(move |book| book.lift(&target, unix_ms()));
            let ban = lifted.await?;
            tracing::info!(target = %ban.target, "ban lifted");
            Ok(wire(ban))
        };
        let call = "address.unban";
        self.journal
            .record(&caller.peer, call, arguments, lift)
            .await
    }

    pub(super) fn bans(&self) -> AddressBanPage {
        let bans = self.bans.book().list(unix_ms());
        AddressBanPage {
            total: count(bans.len()),
            bans: bans.into_iter().take(MAX_LISTED).map(wire).collect(),
        }
    }

    /// What ends by a ban, and what tells it to.
    fn kicked_by(&self, range: AddressRange) -> (KickedDownstreams, Vec<Arc<Notify>>) {
        let ends = self.miners.ends_from(range);
        let kicked = KickedDownstreams {
            connections: count(ends.len()),
            miners: listed(&self.miners_from(range)),
        };
        (kicked, ends)
    }

    /// A change of the bans, off the tasks that have to be quick.
    async fn on_file<T: Send + 'static>(
        &self,
        change: impl FnOnce(&BanBook) -> Result<T, BanError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let book = self.bans.book();
        let changed = tokio::task::spawn_blocking(move || change(&book)).await;
        let changed = changed.map_err(|error| failed(error.to_string()))?;
        changed.map_err(|error| refused(&error))
    }
}

fn wire(ban: Ban) -> AddressBan {
    AddressBan {
        address: match ban.target {
            Target::Address(range) => range.to_string(),
            // One in a file that was copied from hh-pool; nobody looks accounts up here.
            account @ Target::Account(_) => account.to_string(),
        },
        reason: ban.reason,
        automatic: ban.automatic,
        since_at: timestamp(ban.since_ms),
        until_at: ban.until_ms.map(timestamp),
    }
}

fn refused(error: &BanError) -> ApiError {
    let (kind, code) = match error {
        BanError::File(_) => return failed(Chain(error).to_string()),
        BanError::NotBanned { .. } | BanError::BannedWith { .. } => (ErrorKind::NotFound, "HH3021"),
        BanError::TooMany | BanError::LongReason(_) | BanError::TooLong => {
            (ErrorKind::Usage, "HH3020")
        }
    };
    ApiError::new(kind, code, error.to_string())
}

/// Something that should have worked.
fn failed(message: String) -> ApiError {
    ApiError::new(ErrorKind::Failed, "HH3022", message)
}

/// A time before 1970 or after 9999 shows as 1970.
fn timestamp(unix_ms: i64) -> Timestamp {
    Timestamp::from_millisecond(unix_ms).unwrap_or_default()
}
