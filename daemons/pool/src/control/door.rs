//! Who is at the door, for the status.

use super::{Control, count};
use crate::directory::unix_ms;
use crate::disconnect;
use hh_ipc::api::pool::DoorStatus;
use std::collections::BTreeMap;

impl Control {
    pub(super) fn door(&self) -> DoorStatus {
        let mut sums: BTreeMap<&str, u64> = BTreeMap::new();
        for lane in self.shared.directory.lanes() {
            for (reason, count) in lane.disconnects() {
                *sums.entry(reason).or_default() += count;
            }
        }
        let of = |labels: &[&str]| {
            let counted = labels.iter().filter_map(|label| {
                let count = sums.get(label).copied().filter(|count| *count > 0)?;
                Some(((*label).to_owned(), count))
            });
            counted.collect()
        };
        DoorStatus {
            half_open: count(self.admission.half_open()),
            turned_away: of(&disconnect::TURNED_AWAY),
            dropped: of(&disconnect::DROPPED),
            bans: count(self.shared.bans.count(unix_ms())),
        }
    }
}
