//! How many connections may come in a minute, in all and of one address (an IPv6 address counts with its /64).
//!
//! A pure rule: it is told the time. Each count is a bucket that holds a minute's connections and fills again evenly, so
//! that who was away comes back at once and who hammers is held to the rate. What is over it costs an accept and a close.

use crate::AddressRange;
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

/// What a bucket holds.
const MINUTE_US: u64 = 60_000_000;

/// Addresses remembered before those whose buckets are full again are forgotten: at 40 bytes each, some 10 MB. The limit in
/// all bounds how many can be younger than that.
const SWEEP_ABOVE: usize = 1 << 18;

/// See the module.
#[derive(Debug)]
pub struct ConnectRate {
    in_all: Limit,
    of_address: Limit,
    all: Bucket,
    by_address: HashMap<AddressRange, Bucket>,
    sweep_above: usize,
}

/// Which limit a connection is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMany {
    /// In all.
    #[error("more than {0} connections came within a minute")]
    Total(u32),
    /// For the address.
    #[error("more than {0} connections came from its address within a minute")]
    Address(u32),
}

/// So many a minute.
#[derive(Clone, Copy, Debug)]
struct Limit {
    per_minute: u32,
    /// Microseconds between two at that rate.
    interval_us: u64,
}

/// The microsecond at which it is full again.
#[derive(Clone, Copy, Debug, Default)]
struct Bucket(u64);

impl ConnectRate {
    /// At most `per_minute` connections in all and `per_minute_of_address` of one address; 0 lets nobody in.
    #[must_use]
    pub fn new(per_minute: u32, per_minute_of_address: u32) -> Self {
        Self {
            in_all: Limit::new(per_minute),
            of_address: Limit::new(per_minute_of_address),
            all: Bucket::default(),
            by_address: HashMap::new(),
            sweep_above: SWEEP_ABOVE,
        }
    }

    /// Counts a connection from `address` that came `now` after some fixed moment. One that is refused is not counted: who
    /// keeps knocking is let in as soon as who waits.
    ///
    /// # Errors
    /// Which limit it is over.
    pub fn admit(&mut self, address: IpAddr, now: Duration) -> Result<(), TooMany> {
        let now_us = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        let address = AddressRange::of_peer(address);
        let known = self.by_address.get(&address).copied().unwrap_or_default();
        let per_minute = self.of_address.per_minute;
        let next = known.take(self.of_address, now_us);
        let next = next.ok_or(TooMany::Address(per_minute))?;
        let all = self.all.take(self.in_all, now_us);
        self.all = all.ok_or(TooMany::Total(self.in_all.per_minute))?;
        if self.by_address.len() >= self.sweep_above {
            self.by_address.retain(|_, bucket| bucket.0 > now_us);
            self.sweep_above = SWEEP_ABOVE.max(2 * self.by_address.len());
        }
        self.by_address.insert(address, next);
        Ok(())
    }
}

impl Limit {
    fn new(per_minute: u32) -> Self {
        Self {
            per_minute,
            interval_us: MINUTE_US
                .checked_div(per_minute.into())
                .unwrap_or(u64::MAX)
                .max(1),
        }
    }
}

impl Bucket {
    /// What is left after one more; none if there is none left.
    fn take(self, limit: Limit, now_us: u64) -> Option<Self> {
        let full_at = self.0.max(now_us).checked_add(limit.interval_us)?;
        (full_at - now_us <= MINUTE_US).then_some(Self(full_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HERE: &str = "192.0.2.1";

    fn admit(rate: &mut ConnectRate, address: &str, seconds: u64) -> Result<(), TooMany> {
        rate.admit(address.parse().unwrap(), Duration::from_secs(seconds))
    }

    #[test]
    fn a_minutes_connections_come_at_once_and_then_evenly() {
        let mut rate = ConnectRate::new(100, 6);
        for _ in 0..6 {
            admit(&mut rate, HERE, 1_000).unwrap();
        }
        assert_eq!(admit(&mut rate, HERE, 1_000), Err(TooMany::Address(6)));
        assert_eq!(admit(&mut rate, HERE, 1_009), Err(TooMany::Address(6)));
        admit(&mut rate, HERE, 1_010).unwrap();
        assert_eq!(admit(&mut rate, HERE, 1_010), Err(TooMany::Address(6)));
        for _ in 0..6 {
            admit(&mut rate, HERE, 1_100).unwrap();
        }
    }

    #[test]
    fn others_come_in_while_one_hammers_until_all_are_too_many() {
        let mut rate = ConnectRate::new(4, 2);
        for _ in 0..100 {
            admit(&mut rate, HERE, 0).ok();
        }
        admit(&mut rate, "192.0.2.2", 0).unwrap();
        admit(&mut rate, "2001:db8::1", 0).unwrap();
        assert_eq!(admit(&mut rate, "2001:db8::2", 0), Err(TooMany::Total(4)));
        admit(&mut rate, "2001:db8::2", 15).unwrap();
        assert_eq!(
            admit(&mut rate, "2001:db8::3", 15),
            Err(TooMany::Address(2)),
            "its /64 has had two"
        );
    }

    #[test]
    fn a_limit_of_none_lets_nobody_in() {
        assert!(admit(&mut ConnectRate::new(0, 5), HERE, 7).is_err());
        assert!(admit(&mut ConnectRate::new(5, 0), HERE, 7).is_err());
    }

    #[test]
    fn addresses_are_forgotten_when_they_may_do_all_again() {
        let mut rate = ConnectRate::new(u32::MAX, 10);
        rate.sweep_above = 100;
        for last in 0..100_u8 {
            admit(&mut rate, &format!("192.0.2.{last}"), 0).unwrap();
        }
        admit(&mut rate, "198.51.100.1", 120).unwrap();
        assert_eq!(rate.by_address.len(), 1);
    }

    proptest! {
        #[test]
        fn in_no_minute_come_more_than_two_minutes_worth(
            gaps in prop::collection::vec(0_u64..20_000, 1..400),
            per_minute in 1_u32..30,
        ) {
            let mut rate = ConnectRate::new(u32::MAX, per_minute);
            let mut now = Duration::ZERO;
            let mut let_in = Vec::new();
            for gap in gaps {
                now += Duration::from_millis(gap);
                if rate.admit(HERE.parse().unwrap(), now).is_ok() {
                    let_in.push(now);
                }
            }
            for first in &let_in {
                let minute = *first..*first + Duration::from_secs(60);
                let came = let_in.iter().filter(|at| minute.contains(at)).count();
                prop_assert!(came <= 2 * per_minute as usize, "{came} of {per_minute}");
            }
        }

        #[test]
        fn who_keeps_to_the_rate_is_never_refused(per_minute in 1_u32..1_000, count in 1_u32..2_000) {
            let mut rate = ConnectRate::new(u32::MAX, per_minute);
            for index in 0..count {
                let now = Duration::from_secs(60) * index / per_minute;
                prop_assert!(rate.admit(HERE.parse().unwrap(), now).is_ok(), "{index}");
            }
        }
    }
}
