//! How often miners are to send shares, and between which difficulties their jobs may be: by the configuration, and by what
//! operators have set since, which is kept over restarts.
//!
//! Connections see a snapshot and look at their ticks whether there is a newer one; no share does. A setting changes the
//! targets of jobs to come, never of one that is out.

use crate::config::VardiffConfig;
use hh_daemon::{StateFile, StateFileError};
use hh_mining::{Bounds, Target};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// Shares a minute that can be asked for: from one in an hour and a half to more than a connection can carry.
pub(crate) const SHARES_PER_MINUTE: RangeInclusive<f64> = 0.01..=1e9;

/// Difficulties that can be set: below there is no hash that fails, above no target that can be met.
pub(crate) const DIFFICULTIES: RangeInclusive<f64> = 1e-12..=1e60;

/// Accounts with bounds of their own: exceptions that operators make by hand.
const MAX_ACCOUNTS: usize = 10_000;

/// Difficulties (1 = 2^32 hashes) that no job goes below and beyond; none where nothing says otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DifficultyRange {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<f64>,
}

/// What operators have set; what is none is the configuration's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Overrides {
    pub shares_per_minute: Option<f64>,
    pub range: DifficultyRange,
    pub accounts: BTreeMap<String, DifficultyRange>,
}

/// What holds now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DifficultySettings {
    pub shares_per_minute: f64,
    /// Of lanes that have no bound of their own.
    pub range: DifficultyRange,
    pub accounts: BTreeMap<String, DifficultyRange>,
}

/// What an operator wants changed; what is none stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Change {
    /// Only this account's bounds, instead of everybody's.
    pub account: Option<String>,
    pub shares_per_minute: Option<f64>,
    pub range: DifficultyRange,
    /// Forget what was set before.
    pub reset: bool,
}

/// Why a change is refused; nothing has changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChangeError {
    #[error("{0} is no rate of shares: write a number from {min} to {max}", min = SHARES_PER_MINUTE.start(), max = SHARES_PER_MINUTE.end())]
    SharesPerMinute(f64),
    #[error("{0} is no difficulty: write a number from {min:e} to {max:e}", min = DIFFICULTIES.start(), max = DIFFICULTIES.end())]
    Difficulty(f64),
    #[error("the smallest difficulty {min} is above the largest {max}")]
    Order { min: f64, max: f64 },
    #[error("shares per minute are set for all accounts or for none, not for {account}")]
    AccountRate { account: String },
    #[error("{MAX_ACCOUNTS} accounts have bounds of their own: reset one first")]
    TooManyAccounts,
    #[error(transparent)]
    File(#[from] StateFileError),
}

/// Where settings are kept and changed.
#[derive(Debug)]
pub(crate) struct DifficultyBoard {
    configured: VardiffConfig,
    file: StateFile,
    overrides: Mutex<Overrides>,
    sender: watch::Sender<Arc<DifficultySettings>>,
}

impl DifficultyRange {
    /// # Errors
    /// A number that is no difficulty, or the smallest above the largest.
    pub(crate) fn check(self) -> Result<(), ChangeError> {
        let given = [self.min, self.max].into_iter().flatten();
        if let Some(wrong) = given
            .into_iter()
            .find(|difficulty| !DIFFICULTIES.contains(difficulty))
        {
            return Err(ChangeError::Difficulty(wrong));
        }
        match (self.min, self.max) {
            (Some(min), Some(max)) if min > max => Err(ChangeError::Order { min, max }),
            _ => Ok(()),
        }
    }

    /// This range, and the other's bound where this has none.
    pub(crate) fn or(self, other: Self) -> Self {
        Self {
            min: self.min.or(other.min),
            max: self.max.or(other.max),
        }
    }

    fn is_empty(self) -> bool {
        self == Self::default()
    }

    fn bounds(self) -> Bounds {
        let easiest = self.min.map_or(Target::MAX, Target::from_difficulty);
        let hardest = self.max.map(Target::from_difficulty);
        let hardest = hardest.unwrap_or_else(|| Target::from_le_bytes([0; 32]));
        Bounds::new(easiest, hardest)
    }
}

impl DifficultySettings {
    fn new(configured: &VardiffConfig, overrides: &Overrides) -> Self {
        let rate = overrides.shares_per_minute;
        Self {
            shares_per_minute: rate.unwrap_or(configured.shares_per_minute),
            range: overrides.range.or(configured.range()),
            accounts: overrides.accounts.clone(),
        }
    }

    /// Between which targets a channel's may move: those of its lane, which are everybody's where it has none, narrowed by
    /// its account's and by what the client takes. Nothing is easier than any of them allows.
    pub(crate) fn bounds(
        &self,
        lane: DifficultyRange,
        account: &str,
        max_target: Target,
    ) -> Bounds {
        let of_lane = lane.or(self.range).bounds();
        let of_account = self.accounts.get(account).copied().unwrap_or_default();
        let of_account = of_account.bounds();
        let easiest = of_lane.easiest().min(of_account.easiest());
        let hardest = of_lane.hardest().max(of_account.hardest());
        Bounds::new(easiest, hardest).with_max_target(max_target)
    }

    /// As vardiff takes it.
    pub(crate) fn shares_per_minute(&self) -> f32 {
        #[expect(
            clippy::cast_possible_truncation,
            reason = "its range is checked, and six digits of a rate are more than it means"
        )]
        let rate = self.shares_per_minute as f32;
        rate
    }
}

impl DifficultyBoard {
    /// What `configured` says, under what was set and is in `file`.
    ///
    /// # Errors
    /// The file can't be read, or holds what can't be set.
    pub(crate) fn open(configured: VardiffConfig, file: StateFile) -> Result<Self, ChangeError> {
        let overrides: Overrides = file.read()?.unwrap_or_default();
        check(&configured, &overrides)?;
        let settings = Arc::new(DifficultySettings::new(&configured, &overrides));
        Ok(Self {
            configured,
            file,
            overrides: Mutex::new(overrides),
            sender: watch::Sender::new(settings),
        })
    }

    /// What holds now, and notice of what changes.
    pub(crate) fn subscribe(&self) -> watch::Receiver<Arc<DifficultySettings>> {
        self.sender.subscribe()
    }

    /// What operators have set.
    pub(crate) fn overrides(&self) -> Overrides {
        let overrides = self.overrides.lock();
        overrides.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What holds where operators have set `overrides`.
    pub(crate) fn settings(&self, overrides: &Overrides) -> DifficultySettings {
        DifficultySettings::new(&self.configured, overrides)
    }

    /// What operators would have set after `change`.
    ///
    /// # Errors
    /// It makes no sense.
    pub(crate) fn plan(&self, change: &Change) -> Result<Overrides, ChangeError> {
        let overrides = changed(self.overrides(), change)?;
        check(&self.configured, &overrides)?;
        Ok(overrides)
    }

    /// Makes a change, durably, and tells all connections; gives what operators have set then. Blocks for the disk.
    ///
    /// # Errors
    /// It makes no sense, or can't be written: nothing has changed then.
    pub(crate) fn set(&self, change: &Change) -> Result<Overrides, ChangeError> {
        // Held over the write, so that the file has the order of the changes. A panic in between leaves what was before.
        let mut current = self
            .overrides
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let overrides = changed(current.clone(), change)?;
        check(&self.configured, &overrides)?;
        self.file.write(&overrides)?;
        self.sender
            .send_replace(Arc::new(self.settings(&overrides)));
        *current = overrides.clone();
        Ok(overrides)
    }
}

fn changed(mut overrides: Overrides, change: &Change) -> Result<Overrides, ChangeError> {
    let Some(account) = &change.account else {
        if change.reset {
            overrides.shares_per_minute = None;
            overrides.range = DifficultyRange::default();
        }
        overrides.shares_per_minute = change.shares_per_minute.or(overrides.shares_per_minute);
        overrides.range = change.range.or(overrides.range);
        return Ok(overrides);
    };
    if change.shares_per_minute.is_some() {
        let account = account.clone();
        return Err(ChangeError::AccountRate { account });
    }
    let before = overrides.accounts.remove(account).unwrap_or_default();
    let kept = if change.reset {
        DifficultyRange::default()
    } else {
        before
    };
    let range = change.range.or(kept);
    if !range.is_empty() {
        overrides.accounts.insert(account.clone(), range);
    }
    if overrides.accounts.len() > MAX_ACCOUNTS {
        return Err(ChangeError::TooManyAccounts);
    }
    Ok(overrides)
}

fn check(configured: &VardiffConfig, overrides: &Overrides) -> Result<(), ChangeError> {
    if let Some(rate) = overrides.shares_per_minute
        && !SHARES_PER_MINUTE.contains(&rate)
    {
        return Err(ChangeError::SharesPerMinute(rate));
    }
    overrides.range.or(configured.range()).check()?;
    let mut accounts = overrides.accounts.values();
    accounts.try_for_each(|range| range.check())
}

#[cfg(test)]
mod tests;
