//! Addresses that are kept out: those that operators ban, over restarts, and those that ban themselves for minutes by what they
//! do, as at hh-pool (`hh_daemon::ban`).
//!
//! Who is banned is closed before anything is read.

use crate::config::TranslatorConfig;
use crate::miners::Miners;
use hh_daemon::ban::{BanBook, Offence, Target, Times};
use hh_daemon::{AddressRange, Failure, StateFile};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// The bans of a process. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Bans {
    book: Arc<BanBook>,
    started_at: Instant,
}

impl Bans {
    /// As configured.
    ///
    /// # Errors
    /// A file with bans is there that can't be read.
    pub(crate) fn open(config: &TranslatorConfig) -> Result<Self, Failure> {
        metrics::describe_counter!(
            "hyperhash_miner_automatic_bans_total",
            "Addresses that were banned by what they did"
        );
        metrics::counter!("hyperhash_miner_automatic_bans_total").absolute(0);
        let file = StateFile::new(config.data_dir.join("bans.json"));
        let book = BanBook::open(config.auto_ban.clone(), file, unix_ms());
        Ok(Self {
            book: Arc::new(book.map_err(Failure::config)?),
            started_at: Instant::now(),
        })
    }

    /// The ban that keeps `address` out, if there is one.
    pub(crate) fn of_address(&self, address: IpAddr) -> Option<AddressRange> {
        self.book.of_address(address, unix_ms())
    }

    /// All of them, for operators to change.
    pub(crate) fn book(&self) -> Arc<BanBook> {
        Arc::clone(&self.book)
    }

    /// Counts what `peer` did, and bans it if that was one too many, unless somebody at its address works: then all of its
    /// connections are closed.
    pub(crate) fn judge(&self, miners: &Miners, peer: IpAddr, offence: Offence) {
        let elapsed_ms = self.started_at.elapsed().as_millis();
        let times = Times {
            since_start_ms: u64::try_from(elapsed_ms).unwrap_or(u64::MAX),
            unix_ms: unix_ms(),
        };
        let works = |range: AddressRange| {
            let miners = miners.select(|miner| range.contains(miner.peer.ip()));
            miners.iter().any(|miner| miner.state().shares.accepted > 0)
        };
        let Some(ban) = self.book.on_offence(peer, offence, times, works) else {
            return;
        };
        metrics::counter!("hyperhash_miner_automatic_bans_total").increment(1);
        let Target::Address(range) = ban.target else {
            return;
        };
        let (target, reason) = (range.to_string(), ban.reason);
        tracing::warn!(
            target,
            reason,
            until_ms = ban.until_ms,
            "banned by its conduct"
        );
        for end in miners.ends_from(range) {
            end.notify_one();
        }
    }
}

/// A clock before 1970 is one at 1970.
pub(crate) fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let ms = since.map_or(0, |since| since.as_millis());
    i64::try_from(ms).unwrap_or(i64::MAX)
}
