//! `Recount`: adds a window up again from its entries, as somebody serves them in pages, and believes none of them to be in their
//! place before it has looked.

use std::cmp::Ordering;

use crate::{EdgeShare, Score, SharePosition, Tally, WindowEntry, WindowSize, WindowTotals};

/// Why entries are not those of a window.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecountError {
    /// An entry is not older than the one before it.
    #[error("entry {number} is not behind the one before it in the order of a window")]
    Order {
        /// Which one, from 0 on.
        number: u64,
    },
    /// It is newer than the winning share.
    #[error("entry {number} lies after the winning share")]
    TooNew {
        /// Which one, from 0 on.
        number: u64,
    },
    /// A part of a minute that no block cuts, a whole one where one does, or entries of two kinds in one minute.
    #[error("entry {number} is of a kind that the minute {minute} does not have in this window")]
    Kind {
        /// Which one, from 0 on.
        number: u64,
        /// Its minute.
        minute: i64,
    },
    /// The minute has more than goes in, so that its shares would have to be there.
    #[error("the minute {minute} does not go into the window as a whole")]
    TooLarge {
        /// Which minute.
        minute: i64,
    },
    /// There is more though the window is full.
    #[error("entry {number} lies before the window, which is full")]
    Full {
        /// Which one, from 0 on.
        number: u64,
    },
    /// A share counts as another amount than it says.
    #[error("entry {number} counts {} and not {}", counts.0, says.0)]
    Counted {
        /// Which one, from 0 on.
        number: u64,
        /// What it counts.
        counts: Score,
        /// What it says.
        says: Score,
    },
    /// Shares are there one by one, of which the last did not fill the window.
    #[error("the shares of the minute in which the window begins do not fill it")]
    NotFull,
}

/// See the module.
#[derive(Debug)]
pub struct Recount {
    tally: Tally,
    size: WindowSize,
    newest: SharePosition,
    /// Entries of the minute that may go on.
    minute: Vec<WindowEntry<'static>>,
    /// The last share, where they come one by one.
    share: Option<EdgeShare<'static>>,
    /// The minute of the last entry.
    last_minute: Option<i64>,
    /// Whether a round has been cut at its old end, behind which there is nothing.
    is_cut: bool,
    number: u64,
}

impl Recount {
    /// Of a window of this size that ends with the share at `newest`.
    #[must_use]
    pub fn new(size: WindowSize, newest: SharePosition) -> Self {
        Self {
            tally: Tally::new(size),
            size,
            newest,
            minute: Vec::new(),
            share: None,
            last_minute: None,
            is_cut: false,
            number: 0,
        }
    }

    /// Takes the next entry.
    ///
    /// # Errors
    /// It can't be the next one.
    pub fn add(&mut self, entry: WindowEntry<'static>) -> Result<(), RecountError> {
        let minute = entry.minute();
        if minute > self.newest.minute() {
            let number = self.number;
            return Err(RecountError::TooNew { number });
        }
        match entry {
            WindowEntry::Share(share) => self.add_share(share)?,
            entry => self.add_sum(entry)?,
        }
        self.last_minute = Some(minute);
        self.number += 1;
        Ok(())
    }

    /// What all entries come to.
    ///
    /// # Errors
    /// The last minute does not go in, or there are shares missing.
    pub fn finish(mut self) -> Result<WindowTotals, RecountError> {
        self.end_minute()?;
        if self.share.is_some() && !self.tally.is_full() {
            return Err(RecountError::NotFull);
        }
        Ok(self.tally.finish())
    }

    fn add_sum(&mut self, entry: WindowEntry<'static>) -> Result<(), RecountError> {
        let (number, minute) = (self.number, entry.minute());
        if self.share.is_some() {
            return Err(RecountError::Order { number });
        }
        let is_next = match self.minute.last() {
            Some(last) if last.minute() == minute => {
                if order_in_minute(last, &entry) != Some(Ordering::Less) {
                    return Err(RecountError::Order { number });
                }
                false
            }
            _ => true,
        };
        if is_next {
            if self.last_minute.is_some_and(|last| last <= minute) {
                return Err(RecountError::Order { number });
            }
            self.end_minute()?;
            if self.tally.is_full() {
                return Err(RecountError::Full { number });
            }
            let is_part = matches!(entry, WindowEntry::Part(_));
            let at_newest = minute == self.newest.minute();
            let may_cut = matches!(self.size, WindowSize::Round { previous: Some(_) });
            if self.is_cut || (is_part != at_newest && !(is_part && may_cut)) {
                return Err(RecountError::Kind { number, minute });
            }
            self.is_cut = is_part && !at_newest;
        }
        self.minute.push(entry);
        Ok(())
    }

    fn add_share(&mut self, share: EdgeShare<'static>) -> Result<(), RecountError> {
        let (number, id) = (self.number, share.id());
        let minute = crate::window_bounds::minute_of(share.at_ms);
        match &self.share {
            Some(last) => {
                let is_older = (share.at_ms, &id) < (last.at_ms, &last.id());
                if !is_older || self.last_minute != Some(minute) {
                    return Err(RecountError::Order { number });
                }
            }
            None if self.last_minute.is_some_and(|last| last <= minute) => {
                return Err(RecountError::Order { number });
            }
            None => self.end_minute()?,
        }
        if !self.newest.includes(share.at_ms, &id) {
            return Err(RecountError::TooNew { number });
        }
        if matches!(self.size, WindowSize::Round { .. }) {
            return Err(RecountError::Kind { number, minute });
        }
        if self.tally.is_full() {
            return Err(RecountError::Full { number });
        }
        let (says, counts) = (share.counted, share.score.min(self.tally.room()));
        if says != counts {
            return Err(RecountError::Counted {
                number,
                counts,
                says,
            });
        }
        self.tally.take_share(share.clone());
        self.share = Some(share);
        Ok(())
    }

    fn end_minute(&mut self) -> Result<(), RecountError> {
        let minute = std::mem::take(&mut self.minute);
        if self.tally.take_minute(&minute) {
            return Ok(());
        }
        let minute = minute.first().map_or(0, WindowEntry::minute);
        Err(RecountError::TooLarge { minute })
    }
}

/// How two sums of one minute follow on each other; none for two kinds.
fn order_in_minute(one: &WindowEntry<'_>, other: &WindowEntry<'_>) -> Option<Ordering> {
    match (one, other) {
        (WindowEntry::Part(one), WindowEntry::Part(other)) => Some(one.origin.cmp(&other.origin)),
        (WindowEntry::Minute(one), WindowEntry::Minute(other)) => {
            let of_log = (&one.pool, one.epoch).cmp(&(&other.pool, other.epoch));
            Some(of_log.then_with(|| one.origin.cmp(&other.origin)))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests;
