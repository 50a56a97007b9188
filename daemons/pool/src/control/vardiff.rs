//! The answers to `vardiff` and `set_vardiff`.

use super::{Control, MAX_LISTED, count, failed};
use crate::difficulty::{Change, ChangeError, DifficultyRange, Overrides};
use hh_daemon::{Caller, Chain};
use hh_ipc::api::pool::{DifficultyBounds, VardiffChange, VardiffChanged, VardiffSettings};
use hh_ipc::{ApiError, ErrorKind};
use serde_json::json;
use std::sync::Arc;

impl Control {
    pub(super) fn vardiff(&self) -> VardiffSettings {
        self.settings(&self.difficulty.overrides())
    }

    pub(super) async fn set_vardiff(
        &self,
        caller: &Caller,
        request: VardiffChange,
    ) -> Result<VardiffChanged, ApiError> {
        caller.may_change()?;
        let change = self.change(&request)?;
        let overrides = if request.dry_run {
            let planned = self.difficulty.plan(&change);
            planned.map_err(|error| refused(&error))?
        } else {
            let (call, arguments) = ("pool.vardiff.set", json!(request));
            let set = self.set_difficulty(change);
            self.journal
                .record(&caller.peer, call, arguments, set)
                .await?
        };
        let channels = self.shared.directory.channels();
        let meant = channels.iter().filter(|channel| {
            let account = request.account.as_deref();
            account.is_none_or(|account| account == channel.origin().account())
        });
        Ok(VardiffChanged {
            channels: count(meant.count()),
            settings: self.settings(&overrides),
        })
    }

    async fn set_difficulty(&self, change: Change) -> Result<Overrides, ApiError> {
        let board = Arc::clone(&self.difficulty);
        let setting = tokio::task::spawn_blocking(move || {
            let set = board.set(&change);
            if set.is_ok() {
                tracing::info!(?change, "difficulty set");
            }
            set
        });
        let set = setting.await.map_err(|error| failed(error.to_string()))?;
        set.map_err(|error| refused(&error))
    }

    fn change(&self, request: &VardiffChange) -> Result<Change, ApiError> {
        if let Some(account) = &request.account {
            super::check_account(account, self.chain)?;
        }
        Ok(Change {
            account: request.account.clone(),
            shares_per_minute: request.shares_per_minute,
            range: DifficultyRange {
                min: request.min_difficulty,
                max: request.max_difficulty,
            },
            reset: request.reset,
        })
    }

    fn settings(&self, overrides: &Overrides) -> VardiffSettings {
        let settings = self.difficulty.settings(overrides);
        let is_set = [
            ("shares_per_minute", overrides.shares_per_minute.is_some()),
            ("min_difficulty", overrides.range.min.is_some()),
            ("max_difficulty", overrides.range.max.is_some()),
        ];
        let set = is_set.iter().filter(|(_, is_set)| *is_set);
        let lanes = self.shared.directory.lanes().iter();
        let lanes = lanes.map(|lane| bounds(&lane.name, lane.difficulty.or(settings.range)));
        let accounts = settings.accounts.iter().take(MAX_LISTED);
        VardiffSettings {
            shares_per_minute: settings.shares_per_minute,
            min_difficulty: settings.range.min,
            max_difficulty: settings.range.max,
            set: set.map(|(name, _)| (*name).to_owned()).collect(),
            lanes: lanes.collect(),
            accounts: accounts.map(|(name, range)| bounds(name, *range)).collect(),
            accounts_total: count(settings.accounts.len()),
        }
    }
}

fn bounds(name: &str, range: DifficultyRange) -> DifficultyBounds {
    DifficultyBounds {
        name: name.to_owned(),
        min_difficulty: range.min,
        max_difficulty: range.max,
    }
}

fn refused(error: &ChangeError) -> ApiError {
    match error {
        ChangeError::File(_) => failed(Chain(error).to_string()),
        _ => ApiError::new(ErrorKind::Usage, "HH2006", error.to_string()),
    }
}
