//! `DayYield`: what each day has earned, cost and paid, from the books alone.

use hh_mining::Msat;

use super::session::CallError;
use super::value::values;
use super::{Books, BooksError};

/// Of a day of UTC.
const DAY_MS: i64 = 86_400_000;

/// Days that are told at once.
pub const DAYS_MAX: u32 = 400;

/// What a day has brought and cost. Losses and what nobody has explained are not in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DayYield {
    /// Its first millisecond since 1970, UTC.
    pub from_ms: i64,
    /// Fees earned by routing for others.
    pub income_routing: Msat,
    /// Routing fees paid.
    pub fees_routing: Msat,
    /// Fees of transactions and of channels.
    pub fees_onchain: Msat,
    /// What payouts have paid, without fees.
    pub paid: Msat,
}

impl DayYield {
    /// Earned less what was paid for it, in msat; payouts are no cost.
    #[must_use]
    pub fn net_msat(&self) -> i128 {
        let income = i128::from(self.income_routing.0);
        income - i128::from(self.fees_routing.0) - i128::from(self.fees_onchain.0)
    }
}

impl Books {
    /// The days from the one of `since_ms` to the one of `now_ms` on which something happened, newest first; at most [`DAYS_MAX`].
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn days(&self, since_ms: i64, now_ms: i64) -> Result<Vec<DayYield>, BooksError> {
        let first = since_ms
            .div_euclid(DAY_MS)
            .max(now_ms.div_euclid(DAY_MS) - i64::from(DAYS_MAX) + 1);
        self.read("add days up", async move |session| {
            let mut days: Vec<DayYield> = Vec::new();
            let query = "SELECT entries.at_ms / 86400000 AS day, accounts.kind || ':' || accounts.name AS what,
                    CAST(sum(amount_msat) AS bigint)
                FROM entries JOIN postings ON postings.entry = entries.id JOIN accounts ON accounts.id = postings.account
                WHERE entries.at_ms >= $1 AND accounts.kind IN ('fee', 'income')
                GROUP BY 1, 2 ORDER BY 1 DESC, 2";
            let from_ms = first.saturating_mul(DAY_MS);
            for row in session.query(query, &values![from_ms]).await? {
                let (day, what, sum): (i64, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
                let amount = Msat(sum.unsigned_abs());
                let day = of(&mut days, day);
                match what.as_str() {
                    "income:routing" => day.income_routing = amount,
                    "fee:routing" => day.fees_routing = amount,
                    _ => day.fees_onchain = Msat(day.fees_onchain.0.saturating_add(amount.0)),
                }
            }
            let query = "SELECT ended_at_ms / 86400000, CAST(sum(amount_msat) AS bigint) FROM attempts
                WHERE state IN ('settled', 'settled_late') AND ended_at_ms >= $1 GROUP BY 1";
            for row in session.query(query, &values![from_ms]).await? {
                let (day, sum): (i64, i64) = (row.get(0)?, row.get(1)?);
                of(&mut days, day).paid = Msat(sum.unsigned_abs());
            }
            days.sort_by_key(|day| std::cmp::Reverse(day.from_ms));
            Ok::<_, CallError>(days)
        })
        .await
    }
}

/// The day with this number since 1970.
fn of(days: &mut Vec<DayYield>, day: i64) -> &mut DayYield {
    let from_ms = day.saturating_mul(DAY_MS);
    let index = match days.iter().position(|known| known.from_ms == from_ms) {
        Some(index) => index,
        None => {
            days.push(DayYield {
                from_ms,
                ..DayYield::default()
            });
            days.len() - 1
        }
    };
    &mut days[index]
}
