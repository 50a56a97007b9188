//! When a peer's conduct is worth a ban. A pure rule: it is told the time.
//!
//! Only what no working client does counts, and only in numbers that no working client reaches. Who lags, or whose link does, is
//! slow and not hostile.

use crate::AddressRange;
use std::collections::HashMap;

/// What is counted together. A window begins with its first offence.
const WINDOW_MS: u64 = 60_000;

/// Connections in a window that began with no handshake: a device that is set up for another protocol tries again every few
/// seconds, and whoever looks at a port by hand comes a few times.
const GARBAGE_MAX: u32 = 20;

/// Connections in a window that broke the protocol after their setup: a firmware that is being written does it now and then.
const VIOLATIONS_MAX: u32 = 10;

/// Connections in a window that were ended for a flood of invalid messages: there is nothing to wait for.
const FLOODS_MAX: u32 = 1;

/// Peers remembered. When there are more, those whose window is over are forgotten, and then newcomers are not counted: at
/// 40 bytes each, 4 MB. The limit on connects has bounded what such a crowd can do.
const MAX_PEERS: usize = 100_000;

/// Pause between two searches for windows that are over: each goes through all peers, while connections wait to be let in.
const SEARCH_PAUSE_MS: u64 = 1_000;

/// What a peer did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offence {
    /// Its connection began with something that is no handshake and setup.
    Garbage,
    /// It broke the protocol later.
    Violation,
    /// It sent more invalid messages than the daemon takes.
    Flood,
}

impl Offence {
    fn max(self) -> u32 {
        match self {
            Self::Garbage => GARBAGE_MAX,
            Self::Violation => VIOLATIONS_MAX,
            Self::Flood => FLOODS_MAX,
        }
    }

    /// For the list of bans.
    pub(super) fn reason(self) -> String {
        let seconds = WINDOW_MS / 1000;
        match self {
            Self::Garbage => {
                format!("{GARBAGE_MAX} connections within {seconds} s that spoke another protocol")
            }
            Self::Violation => {
                format!("{VIOLATIONS_MAX} connections within {seconds} s that broke the protocol")
            }
            Self::Flood => "a flood of invalid messages".to_owned(),
        }
    }
}

/// The offences of peers.
#[derive(Debug, Default)]
pub(super) struct Conducts {
    peers: HashMap<AddressRange, Conduct>,
    search_from_ms: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Conduct {
    started_ms: u64,
    garbage: u32,
    violations: u32,
    floods: u32,
}

impl Conducts {
    /// Counts an offence, and says whether it was one too many; what was counted is forgotten then.
    pub(super) fn offend(&mut self, peer: AddressRange, offence: Offence, now_ms: u64) -> bool {
        if !self.peers.contains_key(&peer) && !self.has_room(now_ms) {
            return false;
        }
        let conduct = self.peers.entry(peer).or_insert(Conduct {
            started_ms: now_ms,
            ..Conduct::default()
        });
        if now_ms.saturating_sub(conduct.started_ms) >= WINDOW_MS {
            *conduct = Conduct {
                started_ms: now_ms,
                ..Conduct::default()
            };
        }
        let count = match offence {
            Offence::Garbage => &mut conduct.garbage,
            Offence::Violation => &mut conduct.violations,
            Offence::Flood => &mut conduct.floods,
        };
        *count += 1;
        let too_many = *count >= offence.max();
        if too_many {
            self.peers.remove(&peer);
        }
        too_many
    }

    fn has_room(&mut self, now_ms: u64) -> bool {
        if self.peers.len() >= MAX_PEERS && now_ms >= self.search_from_ms {
            self.peers
                .retain(|_, conduct| now_ms.saturating_sub(conduct.started_ms) < WINDOW_MS);
            self.search_from_ms = now_ms.saturating_add(SEARCH_PAUSE_MS);
        }
        self.peers.len() < MAX_PEERS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn peer(last: u8) -> AddressRange {
        AddressRange::of_peer([192, 0, 2, last].into())
    }

    /// Commits `count` offences with `gap_ms` between them, and gives which of them was one too many.
    fn after(offence: Offence, count: u32, gap_ms: u64) -> Option<u32> {
        let mut conducts = Conducts::default();
        (1..=count).find(|n| conducts.offend(peer(1), offence, 1_000 + u64::from(*n) * gap_ms))
    }

    #[test]
    fn each_offence_has_its_limit() {
        assert_eq!(after(Offence::Garbage, 100, 0), Some(GARBAGE_MAX));
        assert_eq!(after(Offence::Garbage, 100, 3_000), Some(GARBAGE_MAX));
        assert_eq!(after(Offence::Garbage, 1_000, 3_500), None);
        assert_eq!(after(Offence::Violation, 100, 0), Some(VIOLATIONS_MAX));
        assert_eq!(after(Offence::Violation, 1_000, 7_000), None);
        assert_eq!(after(Offence::Flood, 1, 0), Some(1));
    }

    #[test]
    fn nobody_is_charged_with_what_others_did() {
        let mut conducts = Conducts::default();
        for _ in 1..GARBAGE_MAX {
            assert!(!conducts.offend(peer(1), Offence::Garbage, 0));
            assert!(!conducts.offend(peer(2), Offence::Garbage, 0));
        }
        assert!(!conducts.offend(peer(1), Offence::Violation, 0));
        assert!(conducts.offend(peer(1), Offence::Garbage, 0));
        // It starts anew after its ban.
        assert!(!conducts.offend(peer(1), Offence::Garbage, 0));
    }

    #[test]
    fn a_crowd_has_windows_that_are_over_searched_once_a_second() {
        let mut conducts = Conducts::default();
        for number in 0..u32::try_from(MAX_PEERS).unwrap() {
            let peer = AddressRange::of_peer(std::net::Ipv4Addr::from_bits(number).into());
            assert!(!conducts.offend(peer, Offence::Garbage, 0));
        }
        let mut is_counted =
            |at_ms| conducts.offend(peer(1), Offence::Flood, WINDOW_MS - 1 + at_ms);
        assert!(!is_counted(0), "no window is over");
        assert!(!is_counted(SEARCH_PAUSE_MS - 1), "it was searched just now");
        assert!(is_counted(SEARCH_PAUSE_MS));
    }

    proptest! {
        #[test]
        fn whoever_offends_less_often_than_a_window_allows_is_never_too_many(
            gaps in prop::collection::vec(0_u64..20_000, 1..300),
        ) {
            let mut conducts = Conducts::default();
            let mut times: Vec<u64> = Vec::new();
            let mut now = 0;
            for gap in gaps {
                now += gap;
                times.push(now);
                let in_window = times.iter().filter(|at| now - **at < WINDOW_MS).count();
                let too_many = conducts.offend(peer(1), Offence::Garbage, now);
                prop_assert!(!too_many || in_window >= GARBAGE_MAX as usize);
            }
        }
    }
}
