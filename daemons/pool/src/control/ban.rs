//! The answers to `ban`, `unban` and `bans`.

use super::{Control, MAX_LISTED, count, failed, timestamp};
use crate::directory::unix_ms;
use crate::kick::{Chosen, Selector};
use hh_daemon::ban::{Ban, BanBook, BanError, Target};
use hh_daemon::{Caller, Chain};
use hh_ipc::api::pool::{BanPage, BanRequest, BanTarget, Banned, UnbanRequest};
use hh_ipc::{ApiError, ErrorKind};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// The reason where the operator gave none.
const NO_REASON: &str = "no reason given";

impl Control {
    pub(super) async fn ban(
        &self,
        caller: &Caller,
        request: BanRequest,
    ) -> Result<Banned, ApiError> {
        caller.may_change()?;
        let arguments = json!(request);
        let target = self.target(request.target)?;
        let reason = request.reason.unwrap_or_else(|| NO_REASON.to_owned());
        let length = request.seconds.map(Duration::from_secs);
        let ban = Ban::new(target, reason, length, unix_ms()).map_err(|error| refused(&error))?;
        if request.dry_run {
            return Ok(banned(&ban, &self.chosen(&ban.target)));
        }
        let set = async {
            let made = ban.clone();
            self.on_file(move |bans| bans.set(made)).await?;
            // From here on nobody comes in; who is in goes.
            let chosen = self.chosen(&ban.target);
            chosen.end();
            let banned = banned(&ban, &chosen);
            let target = ban.target.to_string();
            let reason = ban.reason.as_str();
            let connections = banned.kicked.connections;
            tracing::info!(
                target,
                reason,
                until_ms = ban.until_ms,
                connections,
                "banned"
            );
            Ok(banned)
        };
        let call = "miner.ban";
        self.journal
            .record(&caller.peer, call, arguments, set)
            .await
    }

    pub(super) async fn unban(
        &self,
        caller: &Caller,
        request: UnbanRequest,
    ) -> Result<hh_ipc::api::pool::Ban, ApiError> {
        caller.may_change()?;
        let arguments = json!(request);
        let target = self.target(request.target)?;
        let found = self.shared.bans.find(&target, unix_ms());
        let ban = found.map_err(|error| refused(&error))?;
        if request.dry_run {
            return Ok(wire(ban));
        }
        let lift = async {
            let lifted = self.on_file(move |bans| bans.lift(&target, unix_ms()));
            let ban = lifted.await?;
            tracing::info!(target = %ban.target, "ban lifted");
            Ok(wire(ban))
        };
        let call = "miner.unban";
        self.journal
            .record(&caller.peer, call, arguments, lift)
            .await
    }

    pub(super) fn bans(&self) -> BanPage {
        let bans = self.shared.bans.list(unix_ms());
        BanPage {
            total: count(bans.len()),
            bans: bans.into_iter().take(MAX_LISTED).map(wire).collect(),
        }
    }

    /// A change of the bans, off the tasks that have to be quick.
    async fn on_file<T: Send + 'static>(
        &self,
        change: impl FnOnce(&BanBook) -> Result<T, BanError> + Send + 'static,
    ) -> Result<T, ApiError> {
        let bans = Arc::clone(&self.shared.bans);
        let changed = tokio::task::spawn_blocking(move || change(&bans)).await;
        let changed = changed.map_err(|error| failed(error.to_string()))?;
        changed.map_err(|error| refused(&error))
    }

    fn chosen(&self, target: &Target) -> Chosen {
        let selector = match target {
            Target::Address(range) => Selector::Address(*range),
            Target::Account(account) => Selector::Account(account.clone()),
        };
        Chosen::find(&selector, &self.shared.directory, &self.admission)
    }

    fn target(&self, target: BanTarget) -> Result<Target, ApiError> {
        Ok(match target {
            BanTarget::Address(text) => Target::Address(super::kick::range(&text)?),
            BanTarget::Account(account) => {
                super::check_account(&account, self.chain)?;
                Target::Account(account)
            }
        })
    }
}

fn banned(ban: &Ban, chosen: &Chosen) -> Banned {
    Banned {
        ban: wire(ban.clone()),
        kicked: super::kick::answer(chosen),
    }
}

fn wire(ban: Ban) -> hh_ipc::api::pool::Ban {
    hh_ipc::api::pool::Ban {
        target: match ban.target {
            Target::Address(range) => BanTarget::Address(range.to_string()),
            Target::Account(account) => BanTarget::Account(account),
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
        BanError::NotBanned { .. } | BanError::BannedWith { .. } => (ErrorKind::NotFound, "HH2031"),
        BanError::TooMany | BanError::LongReason(_) | BanError::TooLong => {
            (ErrorKind::Usage, "HH2030")
        }
    };
    ApiError::new(kind, code, error.to_string())
}
