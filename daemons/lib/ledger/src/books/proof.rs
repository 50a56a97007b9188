//! What lets others check a split: the signed report of a block and the leaves of its sum tree.

use std::sync::LazyLock;

use hh_mining::{BlockHash, Leaf, Score};

use super::session::{CallError, RowStatement, Session};
use super::value::{Row, msat, values};
use super::{Books, BooksError, PAGE_ROWS_MAX};

/// The report of a block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedReport {
    /// Exactly what is signed.
    pub json: Vec<u8>,
    /// The signature with the report key: a compact JWS.
    pub jws: String,
}

/// What an account has of a block, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountLeaf {
    /// The account.
    pub account: String,
    /// Its leaf in the block's sum tree.
    pub leaf: Leaf,
}

/// Writes the report and the leaves of a block in the place of those that were there.
pub(super) async fn put(
    session: &mut Session,
    hash: BlockHash,
    report: SignedReport,
    leaves: &[AccountLeaf],
) -> Result<(), CallError> {
    let update = "UPDATE blocks SET report = $2, signature = $3 WHERE hash = $1";
    let values = values![hash, report.json.as_slice(), report.jws];
    session.execute(update, &values).await?;
    let delete = "DELETE FROM leaves WHERE block = $1";
    session.execute(delete, &values![hash]).await?;
    let rows = leaves.iter().map(|AccountLeaf { account, leaf }| {
        let amount = msat(leaf.amount)?;
        Ok(values![
            hash,
            account.as_str(),
            leaf.pseudonym,
            leaf.score,
            amount,
            leaf.minutes,
        ]
        .to_vec())
    });
    let rows = rows.collect::<Result<Vec<_>, BooksError>>()?;
    session.query_rows(&ADD_LEAVES, &rows).await?;
    Ok(())
}

static ADD_LEAVES: LazyLock<RowStatement> = LazyLock::new(|| {
    RowStatement::new(
        "INSERT INTO leaves (block, account, pseudonym, score, amount_msat, minutes) VALUES ",
        "($, $, $, $, $, $)",
        "",
    )
});

fn leaf(row: &Row) -> Result<(BlockHash, AccountLeaf), BooksError> {
    let leaf = Leaf {
        pseudonym: row.get(2)?,
        score: row.get::<Score>(3)?,
        amount: row.get(4)?,
        minutes: row.get(5)?,
    };
    let account = row.get(1)?;
    Ok((row.get(0)?, AccountLeaf { account, leaf }))
}

impl Books {
    /// The report of a block, if it has one.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn report(&self, hash: BlockHash) -> Result<Option<SignedReport>, BooksError> {
        self.read("read a report", async move |session| {
            let query =
                "SELECT report, signature FROM blocks WHERE hash = $1 AND report IS NOT NULL";
            let Some(row) = session.find(query, &values![hash]).await? else {
                return Ok(None);
            };
            let (json, jws) = (row.get(0)?, row.get(1)?);
            Ok(Some(SignedReport { json, jws }))
        })
        .await
    }

    /// The report of the split that was posted last, of those that stand. Times would not do: two splits may be of one millisecond.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn newest_report(&self) -> Result<Option<SignedReport>, BooksError> {
        self.read("read the newest report", async move |session| {
            let query = "SELECT report, signature FROM blocks WHERE report IS NOT NULL
                ORDER BY split_entry DESC LIMIT 1";
            let Some(row) = session.find(query, &[]).await? else {
                return Ok(None);
            };
            let (json, jws) = (row.get(0)?, row.get(1)?);
            Ok(Some(SignedReport { json, jws }))
        })
        .await
    }

    /// The leaves of a block's sum tree, in the order of accounts.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn leaves(&self, hash: BlockHash) -> Result<Vec<AccountLeaf>, BooksError> {
        self.read("list leaves", async move |session| {
            let query = "SELECT block, account, pseudonym, score, amount_msat, minutes FROM leaves
                WHERE block = $1 ORDER BY account";
            let rows = session.query(query, &values![hash]).await?;
            let leaves = rows.iter().map(|row| Ok(leaf(row)?.1));
            leaves.collect()
        })
        .await
    }

    /// What an account has of the highest blocks, highest first, at most `limit`.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn leaves_of(
        &self,
        account: String,
        limit: u32,
    ) -> Result<Vec<(BlockHash, AccountLeaf)>, BooksError> {
        let limit = limit.min(PAGE_ROWS_MAX);
        self.read("list an account's leaves", async move |session| {
            let query = "SELECT block, account, pseudonym, score, amount_msat, minutes
                FROM leaves JOIN blocks ON blocks.hash = block
                WHERE account = $1 ORDER BY height DESC, block LIMIT $2";
            let rows = session.query(query, &values![account, limit]).await?;
            let leaves = rows.iter().map(|row| Ok(leaf(row)?));
            leaves.collect()
        })
        .await
    }
}
