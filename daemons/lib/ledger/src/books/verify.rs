//! `Verification`: whether the books are sound, from what is written in them and nothing else.

use bitcoin::hashes::{Hash, sha256};

use super::session::{CallError, Session};
use super::value::Row;
use super::{Books, BooksError, totals};

/// Most findings of one check that are told one by one.
const FINDINGS_MAX: usize = 20;

/// What the books were found to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verification {
    /// How many entries there are.
    pub entries: u64,
    /// How many postings they have.
    pub postings: u64,
    /// What is wrong; nothing if the books are sound.
    pub findings: Vec<String>,
}

impl Verification {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        self.findings.is_empty()
    }
}

/// Queries that find nothing in sound books, and what it means if they do: `{}` stands for a column of a row that was found.
const CHECKS: [(&str, &str); 18] = [
    (
        "SELECT CAST(entry AS text), CAST(sum(amount_msat) AS text) FROM postings GROUP BY entry HAVING sum(amount_msat) <> 0
        ORDER BY entry",
        "entry {} sums to {} msat, not to zero",
    ),
    (
        "SELECT CAST(sum(amount_msat) AS text) FROM postings HAVING sum(amount_msat) <> 0",
        "all postings sum to {} msat, not to zero",
    ),
    (
        "SELECT kind, name, CAST(balance_msat AS text), CAST(coalesce(sum(amount_msat), 0) AS text)
        FROM accounts LEFT JOIN postings ON account = id GROUP BY id, kind, name, balance_msat
        HAVING balance_msat <> coalesce(sum(amount_msat), 0) ORDER BY kind, name",
        "account {}:{} has the balance {} msat, and postings of {} msat",
    ),
    (
        "SELECT CAST(entry AS text), kind, name FROM (
            SELECT entry, account, after_msat, sum(amount_msat) OVER (PARTITION BY account ORDER BY entry) AS sum_msat FROM postings
        ) AS running JOIN accounts ON id = account WHERE after_msat <> sum_msat ORDER BY entry, kind, name",
        "entry {} does not follow on the one before in account {}:{}",
    ),
    (
        "SELECT kind, name, CAST(balance_msat AS text) FROM accounts
        WHERE (kind IN ('immature', 'balance', 'payout', 'capital', 'income') AND balance_msat > 0)
            OR (kind IN ('coinbase', 'loss', 'fee', 'wallet', 'drawn') AND balance_msat < 0) ORDER BY kind, name",
        "account {}:{} has the impossible balance {} msat",
    ),
    (
        "SELECT CAST(sum(CASE WHEN kind = 'coinbase' THEN balance_msat ELSE 0 END) AS text),
            CAST(-sum(CASE WHEN kind = 'immature' THEN balance_msat ELSE 0 END) AS text)
        FROM accounts HAVING sum(CASE WHEN kind IN ('coinbase', 'immature') THEN balance_msat ELSE 0 END) <> 0",
        "coinbases are {} msat, and {} msat are owed of them",
    ),
    (
        "SELECT CAST(height AS text), state FROM blocks
        WHERE (split_entry IS NOT NULL AND state IN ('tracked', 'rejected', 'orphaned'))
            OR (maturity_entry IS NOT NULL) <> (state = 'payable')
            OR (maturity_entry IS NOT NULL AND split_entry IS NULL)
            OR (split_entry IS NOT NULL AND value_msat IS NULL) ORDER BY height, hash",
        "the block at height {} is {}, and its entries say something else",
    ),
    (
        "SELECT CAST(height AS text) FROM blocks WHERE split_entry IS NOT NULL AND value_msat <> coalesce((
            SELECT sum(amount_msat) FROM postings WHERE entry = split_entry AND amount_msat > 0
        ), 0) ORDER BY height, hash",
        "the split of the block at height {} is not over its value",
    ),
    (
        "SELECT CAST(entries.id AS text), CAST(reverses AS text) FROM entries JOIN blocks
            ON reverses = split_entry OR reverses = maturity_entry ORDER BY entries.id",
        "entry {} reverses entry {}, which its block says stands",
    ),
    (
        "SELECT CAST(payouts.id AS text), state, CAST(-coalesce(balance_msat, 0) AS text), CAST(amount_msat AS text) FROM payouts
            LEFT JOIN accounts ON kind = 'payout' AND name = CAST(payouts.id AS text)
        WHERE -coalesce(balance_msat, 0) <> CASE WHEN state IN ('settled', 'cancelled') THEN 0 ELSE amount_msat END
        ORDER BY payouts.id",
        "payout {} is {} and holds {} msat; its amount is {} msat",
    ),
    (
        "SELECT name FROM accounts WHERE kind = 'payout'
            AND NOT EXISTS (SELECT 1 FROM payouts WHERE CAST(payouts.id AS text) = name) ORDER BY name",
        "there is an account of payout {}, and no such payout",
    ),
    (
        "SELECT CAST(payouts.id AS text), state FROM payouts LEFT JOIN (
            SELECT payout, sum(CASE WHEN state IN ('prepared', 'dispatched', 'in_flight', 'unknown') THEN 1 ELSE 0 END) AS live,
                sum(CASE WHEN state = 'settled' THEN 1 ELSE 0 END) AS settled,
                sum(CASE WHEN state = 'settled_late' THEN 1 ELSE 0 END) AS late
            FROM attempts GROUP BY payout
        ) AS counts ON counts.payout = payouts.id
        WHERE coalesce(live, 0) + coalesce(settled, 0) > 1
            OR (state = 'paying' AND coalesce(live, 0) <> 1)
            OR (coalesce(live, 0) = 1 AND state NOT IN ('paying', 'needs_operator'))
            OR (coalesce(settled, 0) = 1 AND state <> 'settled')
            OR (state = 'settled' AND coalesce(settled, 0) + coalesce(late, 0) = 0)
        ORDER BY payouts.id",
        "payout {} is {}, and its attempts say something else",
    ),
    (
        "SELECT CAST(attempts.id AS text) FROM attempts JOIN payouts ON payouts.id = payout
        WHERE attempts.amount_msat <> payouts.amount_msat ORDER BY attempts.id",
        "attempt {} is over another amount than its payout",
    ),
    (
        "SELECT CAST(paid AS text), CAST(posted AS text) FROM (
            SELECT coalesce((SELECT sum(amount_msat + fee_msat) FROM attempts WHERE state IN ('settled', 'settled_late')), 0) AS paid,
                -coalesce((SELECT sum(amount_msat) FROM postings JOIN entries ON entries.id = entry
                    JOIN accounts ON accounts.id = account
                    WHERE accounts.kind = 'wallet' AND entries.kind IN ('payout_settled', 'payout_late')), 0) AS posted
        ) AS sums WHERE paid <> posted",
        "attempts have settled over {} msat, and {} msat were posted",
    ),
    (
        "SELECT CAST(booked AS text), CAST(posted AS text) FROM (
            SELECT coalesce((SELECT sum(balance_msat) FROM accounts WHERE kind = 'fee'), 0) AS booked,
                -coalesce((SELECT sum(amount_msat) FROM postings JOIN entries ON entries.id = entry
                    JOIN accounts ON accounts.id = account
                    WHERE accounts.kind = 'wallet' AND entries.kind IN ('onchain_fee', 'channel_fee', 'rebalance')), 0)
                + coalesce((SELECT sum(fee_msat) FROM attempts WHERE state IN ('settled', 'settled_late')), 0)
                + coalesce((SELECT sum(fee_msat) FROM withdrawals WHERE state = 'settled'), 0) AS posted
        ) AS sums WHERE booked <> posted",
        "fees are {} msat, and {} msat of them left the wallet",
    ),
    (
        "SELECT CAST(cost AS text), CAST(posted AS text) FROM (
            SELECT coalesce((SELECT sum(fee_msat) FROM rebalances WHERE state = 'settled'), 0) AS cost,
                -coalesce((SELECT sum(amount_msat) FROM postings JOIN entries ON entries.id = entry
                    JOIN accounts ON accounts.id = account
                    WHERE accounts.kind = 'wallet' AND entries.kind = 'rebalance'), 0) AS posted
        ) AS sums WHERE cost <> posted",
        "rebalances have cost {} msat, and {} msat were posted",
    ),
    (
        "SELECT CAST(gone AS text), CAST(drawn AS text), CAST(posted AS text) FROM (
            SELECT coalesce((SELECT sum(amount_msat + fee_msat) FROM withdrawals WHERE state = 'settled'), 0) AS gone,
                coalesce((SELECT sum(balance_msat) FROM accounts WHERE kind = 'drawn'), 0)
                    + coalesce((SELECT sum(fee_msat) FROM withdrawals WHERE state = 'settled'), 0) AS drawn,
                -coalesce((SELECT sum(amount_msat) FROM postings JOIN entries ON entries.id = entry
                    JOIN accounts ON accounts.id = account
                    WHERE accounts.kind = 'wallet' AND entries.kind = 'withdrawal'), 0) AS posted
        ) AS sums WHERE gone <> posted OR gone <> drawn",
        "withdrawals took {} msat with their fees; {} msat are drawn, and {} msat were posted",
    ),
    (
        "SELECT kind, name FROM accounts WHERE kind = 'coinbase' AND balance_msat <> 0 AND NOT EXISTS (
            SELECT 1 FROM postings JOIN blocks ON entry = split_entry
            WHERE account = accounts.id AND maturity_entry IS NULL AND value_msat = balance_msat
        ) ORDER BY name",
        "account {}:{} has a balance, and no split of its block stands that is not mature",
    ),
];

fn text(row: &Row) -> Result<Vec<String>, BooksError> {
    (0..row.0.len()).map(|column| row.get(column)).collect()
}

async fn verify(session: &mut Session) -> Result<Verification, CallError> {
    let mut findings = Vec::new();
    for (query, meaning) in CHECKS {
        let rows = session.query(query, &[]).await?;
        for row in rows.iter().take(FINDINGS_MAX) {
            let finding = text(row)?.iter().fold(meaning.to_owned(), |text, column| {
                text.replacen("{}", column, 1)
            });
            findings.push(finding);
        }
        if let Some(more @ 1..) = rows.len().checked_sub(FINDINGS_MAX) {
            findings.push(format!("and {more} more like this"));
        }
    }
    let query =
        "SELECT id, payment_hash, preimage FROM attempts WHERE preimage IS NOT NULL ORDER BY id";
    for row in session.query(query, &[]).await? {
        let (id, hash, preimage): (u64, [u8; 32], [u8; 32]) =
            (row.get(0)?, row.get(1)?, row.get(2)?);
        if sha256::Hash::hash(&preimage).to_byte_array() != hash {
            findings.push(format!(
                "the receipt of attempt {id} is not that of its payment hash"
            ));
        }
    }
    let difference = totals::read(session).await?.difference();
    if difference != 0 {
        findings.push(format!(
            "what came in and where it went differ by {difference} msat"
        ));
    }
    let count = "SELECT (SELECT count(*) FROM entries), (SELECT count(*) FROM postings)";
    let (entries, postings) = match session.find(count, &[]).await? {
        Some(row) => (row.get(0)?, row.get(1)?),
        None => (0, 0),
    };
    Ok(Verification {
        entries,
        postings,
        findings,
    })
}

impl Books {
    /// Looks at everything: that each entry and all of them sum to zero, that balances are the sums of their postings and of the
    /// right sign, that what is immature is the coinbases exactly, that payouts hold what their states say and none was paid
    /// twice, and that what came in is what went out and what is there.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn verify(&self) -> Result<Verification, BooksError> {
        self.read("verify the books", async |session| verify(session).await)
            .await
    }
}
