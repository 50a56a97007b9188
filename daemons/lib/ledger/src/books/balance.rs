//! `PayeeBalance` and `StatementLine`: what a payee has, and how it came to have it.

use std::collections::BTreeMap;

use hh_mining::{BlockHash, Msat};

use super::session::{CallError, Session};
use super::value::{Row, values};
use super::{BookAccount, Books, BooksError, EntryKind, Page, Payee, PayoutId, entry, totals};

/// What a payee has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayeeBalance {
    /// Whose it is.
    pub payee: Payee,
    /// Its parts of blocks that are not mature.
    pub immature: Msat,
    /// What it can be paid.
    pub payable: Msat,
    /// What its open payout holds.
    pub held_by_payouts: Msat,
    /// What it was paid in all.
    pub paid: Msat,
}

impl PayeeBalance {
    fn new(payee: Payee) -> Self {
        Self {
            payee,
            immature: Msat::ZERO,
            payable: Msat::ZERO,
            held_by_payouts: Msat::ZERO,
            paid: Msat::ZERO,
        }
    }
}

/// An entry as it concerns a payee.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementLine {
    /// The entry.
    pub entry: u64,
    /// Why money moved.
    pub kind: EntryKind,
    /// When it was posted, milliseconds since 1970.
    pub at_ms: i64,
    /// The block that it is about.
    pub block: Option<BlockHash>,
    /// The payout that it is about.
    pub payout: Option<PayoutId>,
    /// What whoever caused it said.
    pub note: String,
    /// What came to the immature part, or went.
    pub immature_msat: i64,
    /// The immature part after that.
    pub immature_after: Msat,
    /// What came to the payable part, or went.
    pub payable_msat: i64,
    /// The payable part after that.
    pub payable_after: Msat,
}

/// What is owed of a balance: claims are negative.
fn owed(balance_msat: i64) -> Msat {
    Msat(balance_msat.min(0).unsigned_abs())
}

/// The parts of balances, of those that `$of` of each table says: whose, which part, and how much as a claim.
macro_rules! parts {
    ($of_name:literal, $of_payee:literal) => {
        [
            concat!(
                "SELECT name, kind, balance_msat FROM accounts WHERE kind IN ('immature', 'balance')",
                $of_name
            ),
            concat!(
                "SELECT payee, 'held', -amount_msat FROM payouts WHERE state NOT IN ('settled', 'cancelled')",
                $of_payee
            ),
            concat!(
                "SELECT payee, 'paid', CAST(-sum(attempts.amount_msat) AS bigint) FROM attempts
                JOIN payouts ON payouts.id = payout WHERE attempts.state IN ('settled', 'settled_late')",
                $of_payee,
                " GROUP BY payee"
            ),
        ]
    };
}

/// The balances of one payee, or of all.
async fn balances(
    session: &mut Session,
    payee: Option<&Payee>,
) -> Result<BTreeMap<Payee, PayeeBalance>, CallError> {
    let (queries, of) = match payee {
        Some(payee) => {
            let queries = parts!(" AND name = $1", " AND payee = $1");
            (queries, values![payee.to_string()].to_vec())
        }
        None => (parts!("", ""), Vec::new()),
    };
    let mut balances = BTreeMap::new();
    for query in queries {
        for row in session.query(query, &of).await? {
            let payee: Payee = row.parse(0)?;
            let part = owed(row.get(2)?);
            let balance = balances
                .entry(payee.clone())
                .or_insert_with(|| PayeeBalance::new(payee));
            match row.get::<String>(1)?.as_str() {
                "immature" => balance.immature = part,
                "balance" => balance.payable = part,
                "held" => balance.held_by_payouts = part,
                _ => balance.paid = part,
            }
        }
    }
    Ok(balances)
}

/// What a payee can be paid now: its balance. The treasury no more than what is left of its own, without the capital, after
/// what was spent and what is missing: the rest of its balance is in fees.
pub(super) async fn available(session: &mut Session, payee: &Payee) -> Result<Msat, CallError> {
    let balance = entry::owed(session, &BookAccount::Balance(payee.clone())).await?;
    if *payee != Payee::Treasury {
        return Ok(balance);
    }
    let totals = totals::read(session).await?;
    let earned = i128::from(totals.treasury_msat) - i128::from(totals.capital.0);
    let left = earned + i128::from(totals.suspense_msat.min(0));
    Ok(balance.min(Msat(u64::try_from(left.max(0)).unwrap_or(u64::MAX))))
}

/// The number of an account of a payee, or one that no account has.
async fn account_id(session: &mut Session, kind: &str, payee: &Payee) -> Result<i64, CallError> {
    let query = "SELECT id FROM accounts WHERE kind = $1 AND name = $2";
    let row = session
        .find(query, &values![kind, payee.to_string()])
        .await?;
    Ok(row.map_or(Ok(-1), |row| row.get(0))?)
}

fn line(row: &Row) -> Result<StatementLine, BooksError> {
    Ok(StatementLine {
        entry: row.get(0)?,
        kind: row.parse(1)?,
        at_ms: row.get(2)?,
        block: row.get(3)?,
        payout: row.get(4)?,
        note: row.get(5)?,
        immature_msat: -row.get::<i64>(6)?,
        immature_after: owed(row.get(7)?),
        payable_msat: -row.get::<i64>(8)?,
        payable_after: owed(row.get(9)?),
    })
}

impl Books {
    /// What finders were given of the fees of the blocks that they found, by account: of those splits that stand.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn finders_fees(&self) -> Result<BTreeMap<String, Msat>, BooksError> {
        self.read("sum finders' fees", async |session| {
            let query = "SELECT finder, CAST(sum(fees_msat) AS bigint) FROM blocks
                WHERE split_entry IS NOT NULL AND fees_msat IS NOT NULL GROUP BY finder";
            let rows = session.query(query, &[]).await?;
            rows.iter()
                .map(|row| Ok((row.get(0)?, row.get(1)?)))
                .collect()
        })
        .await
    }

    /// What every payee has that has ever had something, in the order of payees.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn balances(&self) -> Result<Vec<PayeeBalance>, BooksError> {
        self.read("list balances", async |session| {
            Ok(balances(session, None).await?.into_values().collect())
        })
        .await
    }

    /// What a payee has.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn balance(&self, payee: Payee) -> Result<PayeeBalance, BooksError> {
        self.read("look a balance up", async move |session| {
            let found = balances(session, Some(&payee)).await?.remove(&payee);
            Ok(found.unwrap_or_else(|| PayeeBalance::new(payee)))
        })
        .await
    }

    /// The entries that changed what a payee has, newest first, with what it had after each.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn statement(
        &self,
        payee: Payee,
        page: Page,
    ) -> Result<Vec<StatementLine>, BooksError> {
        self.read("make a statement", async move |session| {
            let immature = account_id(session, "immature", &payee).await?;
            let payable = account_id(session, "balance", &payee).await?;
            let query = "SELECT id, kind, at_ms, block, payout, note,
                    coalesce((SELECT amount_msat FROM postings WHERE entry = id AND account = $1), 0),
                    coalesce((SELECT after_msat FROM postings WHERE entry <= id AND account = $1
                        ORDER BY entry DESC LIMIT 1), 0),
                    coalesce((SELECT amount_msat FROM postings WHERE entry = id AND account = $2), 0),
                    coalesce((SELECT after_msat FROM postings WHERE entry <= id AND account = $2
                        ORDER BY entry DESC LIMIT 1), 0)
                FROM (
                    SELECT DISTINCT entry FROM postings WHERE account IN ($1, $2) AND entry < $3
                    ORDER BY entry DESC LIMIT $4
                ) AS concerned JOIN entries ON entries.id = concerned.entry ORDER BY id DESC";
            let values = values![immature, payable, page.bound(), page.limit()];
            let rows = session.query(query, &values).await?;
            rows.iter().map(|row| Ok(line(row)?)).collect()
        })
        .await
    }
}
