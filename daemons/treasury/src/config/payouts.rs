//! The rules of payouts in the configuration.

use crate::payouts::{Backoff, Rules};
use hh_daemon::Mistakes;
use hh_mining::Msat;
use serde::Deserialize;
use std::time::Duration;

/// Lightning payments of less than this cost more to route than they carry.
const MINIMUM_SAT_LEAST: u64 = 1;

/// The longest that lightning nodes lock money for (BOLT 4's usual maximum, two weeks).
const CLTV_LIMIT_MOST: u32 = 2_016;

/// Below, no route of several hops is found.
const CLTV_LIMIT_LEAST: u32 = 144;

/// The `[payouts]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PayoutsConfig {
    /// Smaller balances carry over.
    pub minimum_sat: u64,
    /// Between two payouts to one account.
    pub interval_seconds: u64,
    /// What routing may cost: this much,
    pub max_fee_base_sat: u64,
    /// and so many parts per million of the amount.
    pub max_fee_ppm: u32,
    /// Most that one payout has.
    pub max_payout_sat: u64,
    /// Most that is sent in 24 hours, fees included.
    pub max_day_sat: u64,
    /// Payouts of more than this wait for two operators.
    pub approval_above_sat: u64,
    /// How long a new destination has to be known before it is paid to.
    pub cooling_off_seconds: u64,
    /// How long to wait after the first failure; doubled after each further one,
    pub retry_seconds: u64,
    /// up to this,
    pub retry_seconds_max: u64,
    /// and so often.
    pub tries_max: u32,
    /// Most blocks for which a payment may lock our money.
    pub cltv_limit_blocks: u32,
}

impl Default for PayoutsConfig {
    fn default() -> Self {
        Self {
            // What most Lightning addresses take at least.
            minimum_sat: 1_000,
            interval_seconds: 3_600,
            max_fee_base_sat: 10,
            // Half a percent.
            max_fee_ppm: 5_000,
            // What single payments of the network find a way for.
            max_payout_sat: 1_000_000,
            max_day_sat: 50_000_000,
            // A fifth of a payout at most: what is large for one person waits for two.
            approval_above_sat: 200_000,
            // Time for the owner to notice.
            cooling_off_seconds: 172_800,
            retry_seconds: 60,
            retry_seconds_max: 86_400,
            // With the waits above, ten days.
            tries_max: 20,
            // Three days: who holds an invoice open locks our money for no longer.
            cltv_limit_blocks: 432,
        }
    }
}

impl PayoutsConfig {
    pub(crate) fn rules(&self) -> Rules {
        let msat = |sat| Msat::from_sats(sat).unwrap_or(Msat::MAX_MONEY);
        Rules {
            minimum: msat(self.minimum_sat),
            interval: Duration::from_secs(self.interval_seconds),
            max_payout: msat(self.max_payout_sat),
            max_day: msat(self.max_day_sat),
            max_fee_base: msat(self.max_fee_base_sat),
            max_fee_ppm: self.max_fee_ppm,
            approval_above: msat(self.approval_above_sat),
        }
    }

    pub(crate) fn backoff(&self) -> Backoff {
        Backoff {
            first: Duration::from_secs(self.retry_seconds),
            longest: Duration::from_secs(self.retry_seconds_max),
            tries_max: self.tries_max,
        }
    }

    pub(super) fn check(&self, mistakes: &mut Mistakes) {
        let mut refuse = |key: &str, what: String, fix: &str| {
            mistakes.add(format!("payouts.{key}"), what, fix);
        };
        if self.minimum_sat < MINIMUM_SAT_LEAST {
            let what = "nothing can't be paid".to_owned();
            refuse("minimum_sat", what, "write at least 1, such as 1000");
        }
        if self.max_payout_sat < self.minimum_sat {
            let what = format!("less than the minimum of {} sat", self.minimum_sat);
            refuse("max_payout_sat", what, "write more than minimum_sat");
        }
        let rules = self.rules();
        if rules.max_day < rules.most_spent(rules.max_payout) {
            let what = format!(
                "less than one payout of {} sat and what routing it may cost",
                self.max_payout_sat
            );
            refuse(
                "max_day_sat",
                what,
                "write more than max_payout_sat and its fees",
            );
        }
        if self.retry_seconds == 0 || self.retry_seconds_max < self.retry_seconds {
            let what = format!(
                "{} to {} s are no times to wait",
                self.retry_seconds, self.retry_seconds_max
            );
            let fix = "write at least 1, and a retry_seconds_max that is no less";
            refuse("retry_seconds", what, fix);
        }
        if self.tries_max == 0 {
            refuse("tries_max", "0 pays nobody".to_owned(), "write at least 1");
        }
        if !(CLTV_LIMIT_LEAST..=CLTV_LIMIT_MOST).contains(&self.cltv_limit_blocks) {
            let what = format!("{} blocks are too few or too many", self.cltv_limit_blocks);
            let fix = format!("write {CLTV_LIMIT_LEAST} to {CLTV_LIMIT_MOST}");
            refuse("cltv_limit_blocks", what, &fix);
        }
    }
}
