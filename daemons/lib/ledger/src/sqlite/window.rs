//! Where a window begins, in SQLite.

use rusqlite::Connection;

use crate::window::{Step, WindowSearch};

/// The minute in which a window of `score` begins that ends in the minute `end` or later; none where it takes in all shares.
pub(super) fn start(
    connection: &Connection,
    end: i64,
    score: u128,
) -> rusqlite::Result<Option<i64>> {
    let first = "SELECT min(minute) FROM minute_sums";
    let Some(first) = connection.query_row(first, [], |row| row.get(0))? else {
        return Ok(None);
    };
    let look =
        "SELECT minute, score FROM minute_sums WHERE minute BETWEEN ? AND ? ORDER BY minute DESC";
    let mut look = connection.prepare(look)?;
    let mut search = WindowSearch::new(score, end, first);
    loop {
        let (from, to) = match search.step() {
            Step::BeginsIn(minute) => return Ok(Some(minute)),
            Step::TakesAll => return Ok(None),
            Step::Look(from, to) => (from, to),
        };
        let mut minutes: Vec<(i64, u128)> = Vec::new();
        let mut rows = look.query([from, to])?;
        while let Some(row) = rows.next()? {
            let (minute, score) = (row.get(0)?, u128::from_be_bytes(row.get(1)?));
            match minutes.last_mut().filter(|(last, _)| *last == minute) {
                Some((_, sum)) => *sum = sum.saturating_add(score),
                None => minutes.push((minute, score)),
            }
        }
        search.saw(from, minutes);
    }
}
