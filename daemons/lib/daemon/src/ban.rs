//! Who is kept out: addresses and accounts that operators ban, kept over restarts, and addresses that ban themselves by what
//! they do, for minutes.
//!
//! Listeners look an address up before they read anything, which takes a look into a table for each length of network that
//! is banned; who opens something for an account looks that up then.

mod conduct;

use crate::{AddressRange, Mistakes, StateFile, StateFileError};
use conduct::Conducts;
pub use conduct::Offence;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Bans that operators may have made: by hand, or by a script from a list. At 200 bytes each, a file of 2 MB.
const MAX_BANS: usize = 10_000;

/// Bans that a daemon may have made itself; when there are more it makes none until one ends. The limits on connections hold
/// all the same.
const MAX_AUTOMATIC_BANS: usize = 10_000;

/// Longest reason in bytes: a line of a table.
const MAX_REASON_BYTES: usize = 200;

/// Longest ban that has an end: beyond, one without an end is meant.
const MAX_LENGTH: Duration = Duration::from_secs(100 * 365 * 86_400);

/// An automatic ban is short: it is made without anybody looking. A day at most.
const AUTO_BAN_MINUTES: RangeInclusive<u16> = 1..=1_440;

/// When an address is banned by itself, for what no working client does.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AutoBan {
    pub enabled: bool,
    /// How long.
    pub minutes: u16,
    /// Never these: proxies, farms.
    pub exempt: Vec<AddressRange>,
}

impl Default for AutoBan {
    fn default() -> Self {
        let loopback: [IpAddr; 2] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        Self {
            enabled: true,
            // Longer than a script is patient, shorter than the trouble of a device that is set up wrongly.
            minutes: 10,
            // Other daemons and proxies on this machine.
            exempt: vec![
                AddressRange::around(loopback[0], 8),
                AddressRange::around(loopback[1], 128),
            ],
        }
    }
}

impl AutoBan {
    /// Adds what is wrong with the table `key` of a configuration.
    pub fn check(&self, key: &str, mistakes: &mut Mistakes) {
        if !AUTO_BAN_MINUTES.contains(&self.minutes) {
            let (min, max) = (AUTO_BAN_MINUTES.start(), AUTO_BAN_MINUTES.end());
            let what = format!("{} minutes are no short ban", self.minutes);
            let fix = format!("write {min} to {max}, or `enabled = false`");
            mistakes.add(format!("{key}.minutes"), what, fix);
        }
    }
}

/// Whom a ban keeps out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    Address(AddressRange),
    Account(String),
}

/// One ban.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ban {
    pub target: Target,
    pub reason: String,
    /// Unix time in milliseconds.
    pub since_ms: i64,
    /// None until it is lifted.
    pub until_ms: Option<i64>,
    /// Made by the daemon itself. Such a one is in no file: a restart forgives.
    #[serde(skip)]
    pub automatic: bool,
}

/// Why a ban is not made or lifted; nothing has changed.
#[derive(Debug, thiserror::Error)]
pub enum BanError {
    #[error("{MAX_BANS} bans hold already: lift one first, or ban a network that holds several")]
    TooMany,
    #[error("a reason has at most {MAX_REASON_BYTES} bytes, this one has {0}")]
    LongReason(usize),
    #[error("a ban has an end within 100 years, or none: leave its length out")]
    TooLong,
    #[error("there is no ban for {target}")]
    NotBanned { target: Target },
    #[error("{target} is banned with {wider}: lift that ban")]
    BannedWith { target: Target, wider: AddressRange },
    #[error(transparent)]
    File(#[from] StateFileError),
}

/// All bans of a process.
#[derive(Debug)]
pub struct BanBook {
    file: StateFile,
    auto: AutoBan,
    /// Held over a write of the file, so that changes come one after another.
    changes: Mutex<()>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bans: BTreeMap<Target, Ban>,
    /// How many banned ranges there are of each kind and length.
    lengths: BTreeMap<(bool, u8), usize>,
    conducts: Conducts,
}

impl Ban {
    /// One that an operator makes at `now_ms`.
    ///
    /// # Errors
    /// The reason or the ban is too long.
    pub fn new(
        target: Target,
        reason: String,
        length: Option<Duration>,
        now_ms: i64,
    ) -> Result<Self, BanError> {
        if reason.len() > MAX_REASON_BYTES {
            return Err(BanError::LongReason(reason.len()));
        }
        if length.is_some_and(|length| length > MAX_LENGTH) {
            return Err(BanError::TooLong);
        }
        Ok(Self {
            target,
            reason,
            since_ms: now_ms,
            until_ms: length.map(|length| after(now_ms, length)),
            automatic: false,
        })
    }

    fn holds(&self, now_ms: i64) -> bool {
        self.until_ms.is_none_or(|until| now_ms < until)
    }
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(range) => range.fmt(f),
            Self::Account(account) => write!(f, "account {account}"),
        }
    }
}

impl BanBook {
    /// The bans that are in `file` and hold at `now_ms`.
    ///
    /// # Errors
    /// The file can't be read.
    pub fn open(auto: AutoBan, file: StateFile, now_ms: i64) -> Result<Self, StateFileError> {
        let bans: Vec<Ban> = file.read()?.unwrap_or_default();
        let mut state = State::default();
        let hold = bans.into_iter().filter(|ban| ban.holds(now_ms));
        hold.for_each(|ban| state.insert(ban));
        Ok(Self {
            file,
            auto,
            changes: Mutex::default(),
            state: Mutex::new(state),
        })
    }

    /// The ban that keeps `address` out, if there is one.
    pub fn of_address(&self, address: IpAddr, now_ms: i64) -> Option<AddressRange> {
        self.lock().range_of(address, now_ms)
    }

    /// Whether nothing may be opened for `account`.
    pub fn is_account_banned(&self, account: &str, now_ms: i64) -> bool {
        let state = self.lock();
        if state.bans.is_empty() {
            return false;
        }
        let ban = state.bans.get(&Target::Account(account.to_owned()));
        ban.is_some_and(|ban| ban.holds(now_ms))
    }

    /// Makes an operator's ban, in place of one for the same target. Blocks for the disk.
    ///
    /// # Errors
    /// There are too many, or the file can't be written; nothing has changed.
    pub fn set(&self, ban: Ban) -> Result<(), BanError> {
        let _one_at_a_time = self.changes();
        let now_ms = ban.since_ms;
        let mut bans = self.operators(now_ms);
        bans.retain(|other| other.target != ban.target);
        bans.push(ban.clone());
        if bans.len() > MAX_BANS {
            return Err(BanError::TooMany);
        }
        self.file.write(&bans)?;
        self.lock().insert(ban);
        Ok(())
    }

    /// The ban for exactly this target.
    ///
    /// # Errors
    /// There is none; if its addresses are banned with others, the error says so.
    pub fn find(&self, target: &Target, now_ms: i64) -> Result<Ban, BanError> {
        let state = self.lock();
        if let Some(ban) = state.bans.get(target).filter(|ban| ban.holds(now_ms)) {
            return Ok(ban.clone());
        }
        let target = target.clone();
        let wider = match &target {
            Target::Address(range) => state.range_of(range.first(), now_ms),
            Target::Account(_) => None,
        };
        Err(match wider {
            Some(wider) => BanError::BannedWith { target, wider },
            None => BanError::NotBanned { target },
        })
    }

    /// Lifts the ban for exactly this target, and gives it. Blocks for the disk.
    ///
    /// # Errors
    /// As [`Self::find`], or the file can't be written; nothing has changed.
    pub fn lift(&self, target: &Target, now_ms: i64) -> Result<Ban, BanError> {
        let _one_at_a_time = self.changes();
        let ban = self.find(target, now_ms)?;
        if !ban.automatic {
            let mut bans = self.operators(now_ms);
            bans.retain(|other| other.target != *target);
            self.file.write(&bans)?;
        }
        self.lock().remove(target);
        Ok(ban)
    }

    /// The bans that hold, the newest first.
    pub fn list(&self, now_ms: i64) -> Vec<Ban> {
        let mut state = self.lock();
        state.forget_what_is_over(now_ms);
        let mut bans: Vec<Ban> = state.bans.values().cloned().collect();
        drop(state);
        bans.sort_by_key(|ban| std::cmp::Reverse(ban.since_ms));
        bans
    }

    /// How many bans hold.
    pub fn count(&self, now_ms: i64) -> usize {
        let mut state = self.lock();
        state.forget_what_is_over(now_ms);
        state.bans.len()
    }

    /// Counts an offence of `address`, and bans it if that was one too many; gives the ban. Whoever `works` here at the same
    /// address is not banned for another: a farm behind one address has a broken device among many.
    pub fn on_offence(
        &self,
        address: IpAddr,
        offence: Offence,
        times: Times,
        works: impl FnOnce(AddressRange) -> bool,
    ) -> Option<Ban> {
        if !self.auto.enabled || self.auto.exempt.iter().any(|range| range.contains(address)) {
            return None;
        }
        let peer = AddressRange::of_peer(address);
        let too_many = self
            .lock()
            .conducts
            .offend(peer, offence, times.since_start_ms);
        if !too_many || works(peer) {
            return None;
        }
        let length = Duration::from_secs(60 * u64::from(self.auto.minutes));
        let ban = Ban {
            target: Target::Address(peer),
            reason: offence.reason(),
            since_ms: times.unix_ms,
            until_ms: Some(after(times.unix_ms, length)),
            automatic: true,
        };
        let mut state = self.lock();
        state.forget_what_is_over(times.unix_ms);
        let automatic = state.bans.values().filter(|ban| ban.automatic).count();
        // An operator's ban holds for longer.
        if automatic >= MAX_AUTOMATIC_BANS || state.range_of(address, times.unix_ms).is_some() {
            return None;
        }
        state.insert(ban.clone());
        Some(ban)
    }

    fn operators(&self, now_ms: i64) -> Vec<Ban> {
        let state = self.lock();
        let bans = state.bans.values();
        bans.filter(|ban| !ban.automatic && ban.holds(now_ms))
            .cloned()
            .collect()
    }

    fn changes(&self) -> MutexGuard<'_, ()> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic in between could leave a length counted that no ban has, which costs a look in vain.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The same moment by two clocks: one that never goes back, and one that other processes know.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    pub since_start_ms: u64,
    pub unix_ms: i64,
}

impl State {
    fn insert(&mut self, ban: Ban) {
        self.remove(&ban.target);
        if let Target::Address(range) = &ban.target {
            *self.lengths.entry(length_of(range)).or_default() += 1;
        }
        self.bans.insert(ban.target.clone(), ban);
    }

    fn remove(&mut self, target: &Target) {
        if self.bans.remove(target).is_none() {
            return;
        }
        if let Target::Address(range) = target
            && let Some(count) = self.lengths.get_mut(&length_of(range))
        {
            *count -= 1;
            if *count == 0 {
                self.lengths.remove(&length_of(range));
            }
        }
    }

    /// The widest banned range that `address` is in.
    fn range_of(&self, address: IpAddr, now_ms: i64) -> Option<AddressRange> {
        let address = address.to_canonical();
        let lengths = self.lengths.keys();
        let lengths = lengths.filter(|(is_ipv4, _)| *is_ipv4 == address.is_ipv4());
        lengths
            .map(|(_, bits)| AddressRange::around(address, *bits))
            .find(|range| {
                let ban = self.bans.get(&Target::Address(*range));
                ban.is_some_and(|ban| ban.holds(now_ms))
            })
    }

    fn forget_what_is_over(&mut self, now_ms: i64) {
        let over = self.bans.values().filter(|ban| !ban.holds(now_ms));
        let over: Vec<Target> = over.map(|ban| ban.target.clone()).collect();
        for target in &over {
            self.remove(target);
        }
    }
}

fn length_of(range: &AddressRange) -> (bool, u8) {
    (range.is_ipv4(), range.prefix_bits())
}

fn after(now_ms: i64, length: Duration) -> i64 {
    let length_ms = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
    now_ms.saturating_add(length_ms)
}

#[cfg(test)]
mod tests;
