//! What a block's window is made of, read from the ledger: sums of minutes, and the shares of the minute in which it is full.
//!
//! A window is read newest first. What lies in the minute of the winning share up to that share is in the block's cut; then come whole
//! minutes, a few thousand rows of sums at a time; a minute that does not go in as a whole is taken share by share. A round ends
//! where the cut of the block before says, so it needs no rows of shares at all, whichever are pruned. The order of everything is
//! by names, never by ids, so that both engines, and two databases on one, give the same to the byte.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};

use hh_mining::window_bounds::minute_of;
use hh_mining::{
    BlockHash, EdgeShare, EntryOrigin, Oldest, PartMinute, Score, Tally, WholeMinute, WindowBounds,
    WindowEntry, WindowSize, WindowTotals, Work,
};

use crate::cut::Position;
use crate::snapshot::{CutTimes, LogName, MinuteRow, Minutes, Snapshot};
use crate::sums::minute;
use crate::{LedgerError, Origin, Sum};

/// Minutes that are looked through for an account's own in one call: a day's sums are some hundred thousand rows.
const MINUTES_AT_ONCE: i64 = 1_440;

/// A window that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowRead {
    /// Its place among all shares.
    pub bounds: WindowBounds,
    /// What everybody has of it, and what that was made of.
    pub totals: WindowTotals,
}

/// Which window's entries are wanted: what its report says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowPlace {
    /// The block.
    pub block: BlockHash,
    /// Which shares it is split over.
    pub size: WindowSize,
    /// Where the window ends on the old side.
    pub oldest: Oldest,
}

/// Where the next page of a window's entries begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowCursor {
    /// With entries of this minute (since 1970), or of an older one if it has none.
    pub minute: i64,
    /// After so many of that minute.
    pub skip: u64,
}

/// Some of a window's entries, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowPage {
    /// The entries; there may be none though more follow.
    pub entries: Vec<WindowEntry<'static>>,
    /// Where the next page begins; none after the last.
    pub next: Option<WindowCursor>,
}

/// Reads the window of a block; none while it, or the block that a round begins with, has no cut.
pub(crate) async fn read(
    snapshot: &mut Snapshot,
    block: BlockHash,
    size: WindowSize,
) -> Result<Option<WindowRead>, LedgerError> {
    let Some(frame) = Frame::open(snapshot, block, size, None).await? else {
        return Ok(None);
    };
    let newest = snapshot.position(&block, frame.cut).await?;
    let mut tally = Tally::new(size);
    let head = frame.head(snapshot).await?;
    let edge = if tally.take_minute(&head) {
        take_older(snapshot, &frame, &mut tally).await?
    } else {
        Some((newest.clone(), sum_of(&head)?))
    };
    if let Some((last, expected)) = edge {
        let shares = frame.shares(snapshot, &last).await?;
        frame.check_edge(last.minute(), expected, &shares)?;
        for share in shares {
            if tally.is_full() {
                break;
            }
            tally.take_share(share);
        }
    }
    let totals = tally.finish();
    let bounds = WindowBounds {
        newest: newest.into(),
        oldest: totals.oldest.clone(),
        is_full: totals.is_full,
    };
    Ok(Some(WindowRead { bounds, totals }))
}

/// Takes in what lies before the minute of the winning share; gives the end of the minute that did not go in, and what it has.
async fn take_older(
    snapshot: &mut Snapshot,
    frame: &Frame,
    tally: &mut Tally,
) -> Result<Option<(Position, Sum)>, LedgerError> {
    let mut minutes = Minutes::new(frame.first_whole(), frame.minute(), None);
    while !tally.is_full()
        && let Some(rows) = minutes.next(snapshot).await?
    {
        let entries = frame.minute_entries(&rows)?;
        if !tally.take_minute(&entries) {
            let minute = rows[0].minute;
            return Ok(Some((Position::end_of(minute), sum_of(&entries)?)));
        }
    }
    let tail = frame.tail(snapshot).await?;
    if tally.take_minute(&tail) {
        return Ok(None);
    }
    // Only a round has one, and there is room in a round for all that fits in an integer.
    let what = "the score of a round";
    Err(LedgerError::OutOfRange { what })
}

/// Reads at most `limit` entries of a window from `from` on, all or those of an account.
pub(crate) async fn page(
    snapshot: &mut Snapshot,
    place: &WindowPlace,
    account: Option<&str>,
    from: Option<WindowCursor>,
    limit: usize,
) -> Result<Option<WindowPage>, LedgerError> {
    let Some(frame) = Frame::open(snapshot, place.block, place.size, account).await? else {
        return Ok(None);
    };
    let start = from.unwrap_or(WindowCursor {
        minute: frame.minute(),
        skip: 0,
    });
    let mut page = PageInMaking {
        start,
        limit,
        entries: Vec::new(),
    };
    let edge = Edge::of(&place.oldest);
    let has_head = !matches!(place.oldest, Oldest::Minute { minute } if minute > frame.minute());
    if has_head && start.minute >= frame.minute() {
        let head = match &edge {
            Some(edge) if edge.minute == frame.minute() => {
                let newest = snapshot.position(&place.block, frame.cut).await?;
                edge.entries(frame.shares(snapshot, &newest).await?)
            }
            _ => frame.head(snapshot).await?,
        };
        if let Some(next) = page.take(frame.minute(), head) {
            return Ok(Some(page.ended(Some(next))));
        }
    }
    let lowest = match &place.oldest {
        Oldest::Share { at_ms, .. } => minute_of(*at_ms).saturating_add(1),
        Oldest::Minute { minute } => *minute,
        Oldest::Block { .. } => frame.first_whole(),
        Oldest::All => snapshot.first_minute().await?.unwrap_or(i64::MAX),
    };
    let before = frame.minute().min(start.minute.saturating_add(1));
    let searched = match account {
        Some(_) => before.saturating_sub(MINUTES_AT_ONCE).max(lowest),
        None => lowest,
    };
    let mut minutes = Minutes::new(searched, before, account.map(str::to_owned));
    while let Some(rows) = minutes.next(snapshot).await? {
        let entries = frame.minute_entries(&rows)?;
        if let Some(next) = page.take(rows[0].minute, entries) {
            return Ok(Some(page.ended(Some(next))));
        }
    }
    if searched > lowest {
        let (minute, skip) = (searched.saturating_sub(1), 0);
        return Ok(Some(page.ended(Some(WindowCursor { minute, skip }))));
    }
    let (minute, tail) = match edge {
        Some(edge) if edge.minute < frame.minute() => {
            let last = Position::end_of(edge.minute);
            let shares = frame.shares(snapshot, &last).await?;
            (edge.minute, edge.entries(shares))
        }
        _ => (
            frame.first_whole().saturating_sub(1),
            frame.tail(snapshot).await?,
        ),
    };
    let next = page.take(minute, tail);
    Ok(Some(page.ended(next)))
}

/// A page that is being filled.
struct PageInMaking {
    start: WindowCursor,
    limit: usize,
    entries: Vec<WindowEntry<'static>>,
}

impl PageInMaking {
    /// Takes the entries of the next older minute; says where the next page begins once this one has no room.
    fn take(&mut self, minute: i64, entries: Vec<WindowEntry<'_>>) -> Option<WindowCursor> {
        let skip = if minute == self.start.minute {
            self.start.skip
        } else {
            0
        };
        let rest = entries
            .into_iter()
            .skip(usize::try_from(skip).unwrap_or(usize::MAX));
        for (skip, entry) in (skip..).zip(rest) {
            if self.entries.len() >= self.limit {
                return Some(WindowCursor { minute, skip });
            }
            self.entries.push(entry.into_owned());
        }
        None
    }

    fn ended(self, next: Option<WindowCursor>) -> WindowPage {
        WindowPage {
            entries: self.entries,
            next,
        }
    }
}

/// The minute in which a window is full, and the oldest share that counts in it.
struct Edge<'a> {
    minute: i64,
    last: (i64, &'a str, [u8; 16], u64),
    counted: Score,
}

impl<'a> Edge<'a> {
    fn of(oldest: &'a Oldest) -> Option<Self> {
        match oldest {
            Oldest::Share {
                at_ms,
                pool,
                epoch,
                seq,
                counted,
                ..
            } => Some(Self {
                minute: minute_of(*at_ms),
                last: (*at_ms, pool, *epoch, *seq),
                counted: *counted,
            }),
            Oldest::Minute { .. } | Oldest::Block { .. } | Oldest::All => None,
        }
    }

    /// Those of the minute's shares that count.
    fn entries<'b>(&self, shares: Vec<EdgeShare<'b>>) -> Vec<WindowEntry<'b>> {
        let key = |share: &EdgeShare<'_>| {
            let name = (share.at_ms, &*share.pool, share.epoch, share.seq);
            name.cmp(&self.last)
        };
        let counting = shares.into_iter().filter(|share| key(share).is_ge());
        let entry = |mut share: EdgeShare<'b>| {
            if key(&share).is_eq() {
                share.counted = self.counted;
            }
            WindowEntry::Share(share)
        };
        counting.map(entry).collect()
    }
}

/// Where the cuts of a window lie, and the names of everything in it.
struct Frame {
    block: BlockHash,
    cut: CutTimes,
    /// The block that a round begins with.
    previous: Option<(BlockHash, CutTimes)>,
    /// By id, with their rank in the order of names.
    logs: HashMap<i64, (usize, LogName)>,
    origins: HashMap<i64, (usize, Origin)>,
    /// Whether these are the origins of one account only.
    is_of_account: bool,
}

impl Frame {
    async fn open(
        snapshot: &mut Snapshot,
        block: BlockHash,
        size: WindowSize,
        account: Option<&str>,
    ) -> Result<Option<Self>, LedgerError> {
        let Some(cut) = snapshot.cut(&block).await? else {
            return Ok(None);
        };
        let mut previous = None;
        if let WindowSize::Round {
            previous: Some(hash),
        } = size
        {
            let Some(times) = snapshot.cut(&hash).await? else {
                return Ok(None);
            };
            if minute(times.at_ms) > minute(cut.at_ms) {
                return Err(LedgerError::RoundBackwards {
                    previous: hash,
                    block,
                });
            }
            previous = Some((hash, times));
        }
        let mut logs = snapshot.logs().await?;
        logs.sort_by(|a, b| (&a.pool, a.epoch).cmp(&(&b.pool, b.epoch)));
        let mut origins = snapshot.origins(account).await?;
        origins.sort_by(|(_, a), (_, b)| a.names().cmp(&b.names()));
        let logs = logs.into_iter().enumerate();
        let origins = origins.into_iter().enumerate();
        Ok(Some(Self {
            block,
            cut,
            previous,
            logs: logs.map(|(rank, log)| (log.id, (rank, log))).collect(),
            origins: origins
                .map(|(rank, (id, origin))| (id, (rank, origin)))
                .collect(),
            is_of_account: account.is_some(),
        }))
    }

    /// The minute of the winning share.
    fn minute(&self) -> i64 {
        minute(self.cut.at_ms)
    }

    /// The first minute that may lie in the window as a whole.
    fn first_whole(&self) -> i64 {
        let previous = self.previous.map(|(_, times)| minute(times.at_ms));
        previous.map_or(i64::MIN, |minute| minute.saturating_add(1))
    }

    /// What lies in the minute of the winning share, up to it.
    async fn head(&self, snapshot: &mut Snapshot) -> Result<Vec<WindowEntry<'_>>, LedgerError> {
        let mut parts: BTreeMap<i64, Sum> =
            snapshot.cut_parts(&self.block).await?.into_iter().collect();
        if let Some((hash, times)) = self.previous
            && minute(times.at_ms) == self.minute()
        {
            self.take_away(&mut parts, snapshot.cut_parts(&hash).await?)?;
        }
        self.part_entries(self.minute(), &parts)
    }

    /// What lies in the minute of the block before, after it; nothing where a round does not begin in an older minute.
    async fn tail(&self, snapshot: &mut Snapshot) -> Result<Vec<WindowEntry<'_>>, LedgerError> {
        let Some((hash, times)) = self.previous else {
            return Ok(Vec::new());
        };
        let minute = minute(times.at_ms);
        if minute == self.minute() {
            return Ok(Vec::new());
        }
        let mut parts = BTreeMap::<i64, Sum>::new();
        let mut minutes = Minutes::new(minute, minute.saturating_add(1), None);
        for row in minutes.next(snapshot).await?.unwrap_or_default() {
            let part = parts.entry(row.origin).or_default();
            *part = part.plus(row.sum)?;
        }
        self.take_away(&mut parts, snapshot.cut_parts(&hash).await?)?;
        self.part_entries(minute, &parts)
    }

    /// Takes what lies up to the block before from a minute's sums.
    fn take_away(
        &self,
        parts: &mut BTreeMap<i64, Sum>,
        earlier: Vec<(i64, Sum)>,
    ) -> Result<(), LedgerError> {
        for (origin, sum) in earlier {
            let part = parts.entry(origin).or_default();
            *part = part.minus(sum).map_err(|_of_more| {
                let previous = self.previous.map_or(self.block, |(hash, _)| hash);
                let block = self.block;
                LedgerError::RoundBackwards { previous, block }
            })?;
        }
        Ok(())
    }

    fn part_entries(
        &self,
        minute: i64,
        parts: &BTreeMap<i64, Sum>,
    ) -> Result<Vec<WindowEntry<'_>>, LedgerError> {
        let mut ranked = Vec::with_capacity(parts.len());
        for (id, sum) in parts.iter().filter(|(_, sum)| sum.shares > 0) {
            if let Some((rank, origin)) = self.origin(*id)? {
                ranked.push((rank, origin, sum));
            }
        }
        ranked.sort_unstable_by_key(|(rank, ..)| *rank);
        let entries = ranked.into_iter().map(|(_, origin, sum)| {
            WindowEntry::Part(PartMinute {
                minute,
                origin: entry_origin(origin),
                shares: sum.shares,
                work: Work(sum.work),
                score: Score(sum.score),
            })
        });
        Ok(entries.collect())
    }

    /// The entries of a whole minute.
    fn minute_entries(&self, rows: &[MinuteRow]) -> Result<Vec<WindowEntry<'_>>, LedgerError> {
        let mut ranked = Vec::with_capacity(rows.len());
        for row in rows {
            let (rank, log) = self.log(row.log)?;
            if let Some((of_origin, origin)) = self.origin(row.origin)? {
                ranked.push(((rank, of_origin), log, origin, row));
            }
        }
        ranked.sort_unstable_by_key(|(rank, ..)| *rank);
        let entries = ranked.into_iter().map(|(_, log, origin, row)| {
            WindowEntry::Minute(WholeMinute {
                minute: row.minute,
                pool: Cow::Borrowed(&log.pool),
                epoch: log.epoch,
                origin: entry_origin(origin),
                shares: row.sum.shares,
                work: Work(row.sum.work),
                score: Score(row.sum.score),
                chain: row.chain,
            })
        });
        Ok(entries.collect())
    }

    /// The shares of a minute up to a place in it, newest first.
    async fn shares(
        &self,
        snapshot: &mut Snapshot,
        last: &Position,
    ) -> Result<Vec<EdgeShare<'_>>, LedgerError> {
        let rows = snapshot.shares(last).await?;
        let mut ranked = Vec::with_capacity(rows.len());
        for row in &rows {
            let (rank, log) = self.log(row.log)?;
            if let Some((_, origin)) = self.origin(row.origin)? {
                ranked.push(((row.at_ms, rank, row.seq), log, origin, row));
            }
        }
        ranked.sort_unstable_by_key(|(key, ..)| std::cmp::Reverse(*key));
        let shares = ranked.into_iter().map(|(_, log, origin, row)| EdgeShare {
            at_ms: row.at_ms,
            pool: Cow::Borrowed(&log.pool),
            epoch: log.epoch,
            seq: row.seq,
            origin: entry_origin(origin),
            score: Score(row.score),
            counted: Score(row.score),
        });
        Ok(shares.collect())
    }

    /// Refuses a minute whose rows are not what its sums are of: it could begin anywhere.
    fn check_edge(
        &self,
        minute: i64,
        expected: Sum,
        shares: &[EdgeShare<'_>],
    ) -> Result<(), LedgerError> {
        let mut scores = shares.iter().map(|share| share.score.0);
        let score = scores.try_fold(0_u128, u128::checked_add);
        let found = u64::try_from(shares.len()).unwrap_or(u64::MAX);
        if (found, score) == (expected.shares, Some(expected.score)) {
            return Ok(());
        }
        Err(LedgerError::EdgeIncomplete {
            block: self.block,
            minute,
            expected: expected.shares,
            found,
        })
    }

    fn log(&self, id: i64) -> Result<(usize, &LogName), LedgerError> {
        let what = "the id of a share log";
        let found = self.logs.get(&id).ok_or(LedgerError::OutOfRange { what });
        found.map(|(rank, log)| (*rank, log))
    }

    /// An origin and its rank; none of another account, where only one's are wanted.
    fn origin(&self, id: i64) -> Result<Option<(usize, &Origin)>, LedgerError> {
        let what = "the id of an origin";
        match self.origins.get(&id) {
            Some((rank, origin)) => Ok(Some((*rank, origin))),
            None if self.is_of_account => Ok(None),
            None => Err(LedgerError::OutOfRange { what }),
        }
    }
}

fn entry_origin(origin: &Origin) -> EntryOrigin<'_> {
    let [account, worker, node, lane] = origin.names().map(Cow::Borrowed);
    EntryOrigin {
        account,
        worker,
        node,
        lane,
    }
}

/// What a minute's entries have together.
fn sum_of(entries: &[WindowEntry<'_>]) -> Result<Sum, LedgerError> {
    entries.iter().try_fold(Sum::default(), |sum, entry| {
        let (shares, work, score) = match entry {
            WindowEntry::Part(part) => (part.shares, part.work, part.score),
            WindowEntry::Minute(minute) => (minute.shares, minute.work, minute.score),
            WindowEntry::Share(share) => (1, Work(0), share.score),
        };
        sum.plus(Sum {
            shares,
            work: work.0,
            score: score.0,
        })
    })
}
