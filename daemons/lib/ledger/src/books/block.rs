//! `BookBlock`: a block of ours and how far its money has come. The chain is followed by whoever calls.

use hh_mining::{BlockHash, Msat, Reward};

use super::error::bounded;
use super::session::{CallError, Session};
use super::split::WindowBounds;
use super::value::{Row, msat, values};
use super::{Books, BooksError, KEY_BYTES_MAX, PAGE_ROWS_MAX, TEXT_BYTES_MAX, names};

/// A coinbase can be spent when so many blocks are on top of it (Bitcoin Core, `COINBASE_MATURITY`).
const MATURITY_DEPTH: u32 = 100;

/// How far a block has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BookBlockState {
    /// The pool has found it.
    Tracked,
    /// It is on the best chain.
    Accepted,
    /// It has the confirmations after which it is split.
    Confirmed,
    /// Its coinbase can be spent.
    Mature,
    /// Its money is in the payees' balances.
    Payable,
    /// Bitcoin Core refused it.
    Rejected,
    /// It was on the best chain and is no longer.
    Orphaned,
}

names!(BookBlockState, "state of a block", {
    Tracked = "tracked",
    Accepted = "accepted",
    Confirmed = "confirmed",
    Mature = "mature",
    Payable = "payable",
    Rejected = "rejected",
    Orphaned = "orphaned",
});

/// A block that the pool has found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewBlock {
    /// Its hash, the key.
    pub hash: BlockHash,
    /// Its height.
    pub height: u32,
    /// The account on whose channel it was found, as far as that is known; the split decides.
    pub finder: String,
    /// When it was found, milliseconds since 1970.
    pub found_at_ms: i64,
    /// What it pays, if the accepted block itself has been read.
    pub reward: Option<Reward>,
}

/// A block in the books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BookBlock {
    /// Its hash.
    pub hash: BlockHash,
    /// Its height.
    pub height: u32,
    /// How far it has come.
    pub state: BookBlockState,
    /// How many blocks deep it was when somebody last looked, itself included.
    pub confirmations: u32,
    /// Why it was refused, or is no longer on the best chain.
    pub reason: Option<String>,
    /// When its state was last noted, milliseconds since 1970.
    pub noted_at_ms: i64,
    /// The finder's account.
    pub finder: String,
    /// When it was found, milliseconds since 1970.
    pub found_at_ms: i64,
    /// All that its coinbase pays us.
    pub value: Option<Msat>,
    /// The part of it that the block created.
    pub subsidy: Option<Msat>,
    /// The part of it that its transactions paid.
    pub fees: Option<Msat>,
    /// When the split that stands was posted.
    pub split_at_ms: Option<i64>,
    /// When the money became payable.
    pub mature_at_ms: Option<i64>,
    /// What the split that stands was made by.
    pub window: Option<WindowBounds>,
    /// Whether there is a signed report.
    pub has_report: bool,
}

/// The columns of a [`Tracked`].
macro_rules! columns {
    () => {
        "hash, height, state, confirmations, reason, finder, found_at_ms, value_msat, subsidy_msat, fees_msat,
        split_at_ms, mature_at_ms, window_rule, window_first_ms, window_last_ms, window_score,
        CASE WHEN report IS NULL THEN 0 ELSE 1 END, split_entry, maturity_entry, noted_at_ms"
    };
}

/// A block with what only the books need to know of it.
#[derive(Debug)]
pub(super) struct Tracked {
    pub(super) block: BookBlock,
    pub(super) split: Option<u64>,
    pub(super) maturity: Option<u64>,
}

fn from_row(row: &Row) -> Result<Tracked, BooksError> {
    let window = match row.get::<Option<String>>(12)? {
        Some(rule) => Some(WindowBounds {
            rule,
            first_ms: row.get(13)?,
            last_ms: row.get(14)?,
            score: row.get(15)?,
        }),
        None => None,
    };
    Ok(Tracked {
        block: BookBlock {
            hash: row.get(0)?,
            height: row.get(1)?,
            state: row.parse(2)?,
            confirmations: row.get(3)?,
            reason: row.get(4)?,
            noted_at_ms: row.get(19)?,
            finder: row.get(5)?,
            found_at_ms: row.get(6)?,
            value: row.get(7)?,
            subsidy: row.get(8)?,
            fees: row.get(9)?,
            split_at_ms: row.get(10)?,
            mature_at_ms: row.get(11)?,
            window,
            has_report: row.get::<i64>(16)? != 0,
        },
        split: row.get(17)?,
        maturity: row.get(18)?,
    })
}

/// A block.
///
/// # Errors
/// [`BooksError::NoBlock`].
pub(super) async fn get(session: &mut Session, hash: BlockHash) -> Result<Tracked, CallError> {
    let found = find(session, hash).await?;
    Ok(found.ok_or(BooksError::NoBlock { hash })?)
}

async fn find(session: &mut Session, hash: BlockHash) -> Result<Option<Tracked>, CallError> {
    let query = concat!("SELECT ", columns!(), " FROM blocks WHERE hash = $1");
    let row = session.find(query, &values![hash]).await?;
    Ok(row.as_ref().map(from_row).transpose()?)
}

/// Writes down what a block pays.
///
/// # Errors
/// [`BooksError::AnotherBlock`] if something else is known.
pub(super) async fn put_reward(
    session: &mut Session,
    block: &BookBlock,
    reward: &Reward,
) -> Result<(), CallError> {
    let parts = [reward.value(), reward.subsidy(), reward.fees()];
    let known = [block.value, block.subsidy, block.fees];
    if known == parts.map(Some) {
        return Ok(());
    }
    if known != [None; 3] {
        let (hash, what) = (block.hash, "reward");
        return Err(BooksError::AnotherBlock { hash, what }.into());
    }
    let [value, subsidy, fees] = parts;
    let update =
        "UPDATE blocks SET value_msat = $2, subsidy_msat = $3, fees_msat = $4 WHERE hash = $1";
    let values = values![block.hash, msat(value)?, msat(subsidy)?, msat(fees)?];
    session.execute(update, &values).await?;
    Ok(())
}

async fn track(session: &mut Session, new: NewBlock) -> Result<bool, CallError> {
    let hash = new.hash;
    let finder = bounded("a finder", new.finder, KEY_BYTES_MAX)?;
    let insert =
        "INSERT INTO blocks (hash, height, state, confirmations, noted_at_ms, finder, found_at_ms)
        VALUES ($1, $2, 'tracked', 0, $4, $3, $4) ON CONFLICT (hash) DO NOTHING";
    let values = values![hash, new.height, finder, new.found_at_ms];
    let is_new = session.execute(insert, &values).await? > 0;
    let known = get(session, hash).await?.block;
    if known.height != new.height {
        let what = "height";
        return Err(BooksError::AnotherBlock { hash, what }.into());
    }
    if let Some(reward) = &new.reward {
        put_reward(session, &known, reward).await?;
    }
    Ok(is_new)
}

/// Why a block may not go into that state.
fn objection(block: &Tracked, to: BookBlockState, confirmations: u32) -> Option<&'static str> {
    match to {
        _ if block.maturity.is_some() => {
            Some("its money is in balances, which only a reversal takes back")
        }
        BookBlockState::Payable => Some("it becomes payable when its maturity is posted"),
        BookBlockState::Orphaned | BookBlockState::Rejected | BookBlockState::Tracked
            if block.split.is_some() =>
        {
            Some("its split stands, and has to be reversed")
        }
        BookBlockState::Mature if confirmations < MATURITY_DEPTH => {
            Some("it is not deep enough to be mature")
        }
        _ => None,
    }
}

impl Books {
    /// Takes a block up, in the state `tracked`; says whether it is new. Idempotent: a later call adds the reward, if that was
    /// not known.
    ///
    /// # Errors
    /// [`BooksError::AnotherBlock`] if it is known with another height or reward.
    pub async fn track_block(&self, block: NewBlock) -> Result<bool, BooksError> {
        self.write("track a block", async move |session| {
            track(session, block).await
        })
        .await
    }

    /// Notes how far a block has come. An orphan may be accepted again. `Payable` is what [`Books::mature`] makes it.
    ///
    /// # Errors
    /// [`BooksError::BlockState`]: its money is in the way (see [`Books::reverse`]), or it has less than 100 confirmations and
    /// should be mature.
    pub async fn set_block_state(
        &self,
        hash: BlockHash,
        state: BookBlockState,
        confirmations: u32,
        reason: Option<String>,
        now_ms: i64,
    ) -> Result<(), BooksError> {
        self.write("note a block's state", async move |session| {
            let known = get(session, hash).await?;
            if let Some(why) = objection(&known, state, confirmations) {
                let state = known.block.state;
                return Err(BooksError::BlockState { hash, state, why }.into());
            }
            let reason = reason.map(|reason| bounded("a reason", reason, TEXT_BYTES_MAX));
            let reason = reason.transpose()?;
            let update =
                "UPDATE blocks SET state = $2, confirmations = $3, reason = $4, noted_at_ms = $5 WHERE hash = $1";
            let values = values![hash, state.name(), confirmations, reason, now_ms];
            session.execute(update, &values).await?;
            Ok(())
        })
        .await
    }

    /// A block.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn block(&self, hash: BlockHash) -> Result<Option<BookBlock>, BooksError> {
        self.read("look a block up", async move |session| {
            let found = find(session, hash).await?;
            Ok(found.map(|tracked| tracked.block))
        })
        .await
    }

    /// The highest blocks, highest first, at most `limit`.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn blocks(&self, limit: u32) -> Result<Vec<BookBlock>, BooksError> {
        let limit = limit.min(PAGE_ROWS_MAX);
        self.read("list blocks", async move |session| {
            let query = concat!(
                "SELECT ",
                columns!(),
                " FROM blocks ORDER BY height DESC, hash LIMIT $1"
            );
            list(session, query, limit).await
        })
        .await
    }

    /// The blocks whose fate is open: those that are not rejected, orphaned or payable. Lowest first, at most 10,000.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn open_blocks(&self) -> Result<Vec<BookBlock>, BooksError> {
        self.read("list open blocks", async move |session| {
            let query = concat!(
                "SELECT ",
                columns!(),
                " FROM blocks WHERE state IN ('tracked', 'accepted', 'confirmed', 'mature')
                ORDER BY height, hash LIMIT $1"
            );
            list(session, query, PAGE_ROWS_MAX).await
        })
        .await
    }
}

async fn list(
    session: &mut Session,
    query: &'static str,
    limit: u32,
) -> Result<Vec<BookBlock>, CallError> {
    let rows = session.query(query, &values![limit]).await?;
    let blocks = rows.iter().map(|row| Ok(from_row(row)?.block));
    blocks.collect()
}
