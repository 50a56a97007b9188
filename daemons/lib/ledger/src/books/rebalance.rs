//! `Rebalance`: money that moves from one channel of ours to another, by a payment of the wallet to itself. It is written down before
//! the wallet is asked, so that the payment is known as ours; what it costs is booked when it has settled, once.
//!
//! ```text
//!  open -> settled | failed -> settled (it had settled after all)
//! ```

use bitcoin::hashes::{Hash, sha256};
use hh_mining::Msat;

use super::attempt;
use super::entry::{self, Draft, EntryKind};
use super::error::bounded;
use super::freeze;
use super::session::{CallError, Session};
use super::value::{Row, msat, values};
use super::{BookAccount, Books, BooksError, KEY_BYTES_MAX, TEXT_BYTES_MAX, names};

/// Most that are open at once: each may hold an HTLC slot of two channels for days.
const OPEN_MAX: u64 = 8;

/// Most channels that are noted with one: as with an attempt.
const CHANNELS_MAX: usize = 1_000;

/// How far a rebalance has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RebalanceState {
    /// It is written down; the wallet has been asked, or is about to be.
    Open,
    /// The money is in the other channel.
    Settled,
    /// Nothing was moved.
    Failed,
}

names!(RebalanceState, "state of a rebalance", {
    Open = "open",
    Settled = "settled",
    Failed = "failed",
});

/// A rebalance as it is to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRebalance {
    /// The request's: what comes again with it is the same.
    pub key: String,
    /// Of the wallet's own invoice.
    pub payment_hash: [u8; 32],
    /// The channel that it goes out by.
    pub from: String,
    /// The channel that it comes back by.
    pub into: String,
    /// How much comes back.
    pub amount: Msat,
    /// The most that routing may cost.
    pub max_fee: Msat,
    /// The most blocks that an HTLC of it may be locked.
    pub cltv_limit: u32,
    /// The id of the wallet's node: nobody else is asked what has become of it.
    pub wallet_node: String,
    /// The chain's height.
    pub height: u32,
    /// The wallet's channels.
    pub channels: Vec<String>,
    /// Who asked for it.
    pub actor: String,
}

/// A rebalance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebalance {
    /// Its number.
    pub id: u64,
    /// The request's key.
    pub key: String,
    /// Of the wallet's own invoice.
    pub payment_hash: [u8; 32],
    /// The channel that it goes out by.
    pub from: String,
    /// The channel that it comes back by.
    pub into: String,
    /// How much comes back.
    pub amount: Msat,
    /// The most that routing may cost.
    pub max_fee: Msat,
    /// The most blocks that an HTLC of it may be locked.
    pub cltv_limit: u32,
    /// The id of the wallet's node.
    pub wallet_node: String,
    /// The chain's height when it was written down.
    pub height: u32,
    /// The wallet's channels then.
    pub channels: Vec<String>,
    /// Who asked for it.
    pub actor: String,
    /// How far it has come.
    pub state: RebalanceState,
    /// When it was written down, milliseconds since 1970.
    pub opened_at_ms: i64,
    /// When it settled or failed.
    pub ended_at_ms: Option<i64>,
    /// What it has cost.
    pub fee: Option<Msat>,
    /// Why it failed.
    pub failure: Option<String>,
}

/// Whether a request is a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// It is written down: the wallet may be asked, once.
    New(Rebalance),
    /// It was written down before: the wallet must not be asked again.
    Known(Rebalance),
}

/// Reads rebalances `WHERE` ...
macro_rules! query {
    ($tail:literal) => {
        concat!(
            "SELECT id, key, payment_hash, from_channel, into_channel, amount_msat, max_fee_msat, cltv_limit, wallet_node, height,
                channels, actor, state, opened_at_ms, ended_at_ms, fee_msat, failure
            FROM rebalances WHERE ",
            $tail
        )
    };
}

fn from_row(row: &Row) -> Result<Rebalance, BooksError> {
    let channels: String = row.get(10)?;
    Ok(Rebalance {
        id: row.get(0)?,
        key: row.get(1)?,
        payment_hash: row.get(2)?,
        from: row.get(3)?,
        into: row.get(4)?,
        amount: row.get(5)?,
        max_fee: row.get(6)?,
        cltv_limit: row.get(7)?,
        wallet_node: row.get(8)?,
        height: row.get(9)?,
        channels: channels.split_whitespace().map(str::to_owned).collect(),
        actor: row.get(11)?,
        state: row.parse(12)?,
        opened_at_ms: row.get(13)?,
        ended_at_ms: row.get(14)?,
        fee: row.get(15)?,
        failure: row.get(16)?,
    })
}

async fn get(session: &mut Session, id: u64) -> Result<Rebalance, CallError> {
    let row = session.find(query!("id = $1"), &values![id]).await?;
    let row = row.ok_or(BooksError::NoRebalance { id })?;
    Ok(from_row(&row)?)
}

async fn by_key(session: &mut Session, key: &str) -> Result<Option<Rebalance>, CallError> {
    let row = session.find(query!("key = $1"), &values![key]).await?;
    Ok(row.as_ref().map(from_row).transpose()?)
}

/// Refuses a payment hash that is a rebalance's: it paid nobody.
///
/// # Errors
/// [`BooksError::HashTaken`].
pub(super) async fn refuse_known(
    session: &mut Session,
    payment_hash: [u8; 32],
) -> Result<(), CallError> {
    let query = "SELECT id FROM rebalances WHERE payment_hash = $1";
    match session.find(query, &values![payment_hash]).await? {
        Some(_) => Err(BooksError::HashTaken.into()),
        None => Ok(()),
    }
}

async fn open(session: &mut Session, new: &NewRebalance, now_ms: i64) -> Result<Opened, CallError> {
    if let Some(known) = by_key(session, &new.key).await? {
        let asked = (&new.from, &new.into, new.amount, new.max_fee);
        if asked != (&known.from, &known.into, known.amount, known.max_fee) {
            let key = new.key.clone();
            return Err(BooksError::KeyTaken { key }.into());
        }
        return Ok(Opened::Known(known));
    }
    freeze::refuse_frozen(session).await?;
    if msat(new.amount)? == 0 {
        return Err(BooksError::NoAmount.into());
    }
    if attempt::is_known(session, new.payment_hash).await? {
        return Err(BooksError::HashTaken.into());
    }
    refuse_known(session, new.payment_hash).await?;
    let count = "SELECT count(*) FROM rebalances WHERE state = 'open'";
    let count: u64 = match session.find(count, &[]).await? {
        Some(row) => row.get(0)?,
        None => 0,
    };
    if count >= OPEN_MAX {
        return Err(BooksError::TooManyRebalances { max: OPEN_MAX }.into());
    }
    let channels: Vec<&str> = new.channels.iter().map(String::as_str).collect();
    let channels = &channels[..channels.len().min(CHANNELS_MAX)];
    let insert = "INSERT INTO rebalances (id, key, payment_hash, from_channel, into_channel, amount_msat, max_fee_msat, cltv_limit,
            wallet_node, height, channels, actor, state, opened_at_ms)
        VALUES ((SELECT coalesce(max(id), 0) + 1 FROM rebalances), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, 'open', $12)
        RETURNING id";
    let values = values![
        new.key.as_str(),
        new.payment_hash,
        new.from.as_str(),
        new.into.as_str(),
        msat(new.amount)?,
        msat(new.max_fee)?,
        new.cltv_limit,
        new.wallet_node.as_str(),
        new.height,
        channels.join(" "),
        new.actor.as_str(),
        now_ms,
    ];
    let id: u64 = match session.find(insert, &values).await? {
        Some(row) => row.get(0)?,
        None => unreachable!("an insert returns its row"),
    };
    Ok(Opened::New(get(session, id).await?))
}

async fn settle(
    session: &mut Session,
    id: u64,
    preimage: [u8; 32],
    fee: Msat,
    now_ms: i64,
) -> Result<bool, CallError> {
    let known = get(session, id).await?;
    if sha256::Hash::hash(&preimage).to_byte_array() != known.payment_hash {
        return Err(BooksError::RebalancePreimage { id }.into());
    }
    if known.state == RebalanceState::Settled {
        return Ok(false);
    }
    let update = "UPDATE rebalances SET state = 'settled', fee_msat = $2, ended_at_ms = $3, failure = NULL WHERE id = $1";
    session
        .execute(update, &values![id, msat(fee)?, now_ms])
        .await?;
    if fee == Msat::ZERO {
        return Ok(true);
    }
    let mut draft = Draft::new(EntryKind::Rebalance, now_ms, format!("rebalance {id}"));
    draft.key = Some(format!("rebalance:{id}"));
    draft.debit(BookAccount::RoutingFees, fee);
    draft.credit(BookAccount::Wallet, fee);
    entry::post(session, draft).await?;
    Ok(true)
}

impl Books {
    /// Writes a rebalance down before the wallet is asked; when it returns that is on the disk, and in the witness. The same key
    /// opens one rebalance, however often it comes. `channels` are the wallet's, the first 1,000 of them.
    ///
    /// # Errors
    /// [`BooksError::Frozen`]; [`BooksError::KeyTaken`] if the key was used for another one; [`BooksError::HashTaken`];
    /// [`BooksError::TooManyRebalances`].
    pub async fn open_rebalance(
        &self,
        new: NewRebalance,
        now_ms: i64,
    ) -> Result<Opened, BooksError> {
        bounded("a key", new.key.clone(), KEY_BYTES_MAX)?;
        bounded("a wallet's id", new.wallet_node.clone(), KEY_BYTES_MAX)?;
        bounded("a channel", new.from.clone(), KEY_BYTES_MAX)?;
        bounded("a channel", new.into.clone(), KEY_BYTES_MAX)?;
        bounded("a person's name", new.actor.clone(), KEY_BYTES_MAX)?;
        self.write_witnessed("open a rebalance", async move |session| {
            open(session, &new, now_ms).await
        })
        .await
    }

    /// The money is in the other channel: what it cost is booked, once. From any state, and final. Says whether that was news.
    ///
    /// # Errors
    /// [`BooksError::NoRebalance`]; [`BooksError::RebalancePreimage`] if it is not that of the payment hash.
    pub async fn rebalance_settled(
        &self,
        id: u64,
        preimage: [u8; 32],
        fee: Msat,
        now_ms: i64,
    ) -> Result<bool, BooksError> {
        self.write("settle a rebalance", async move |session| {
            settle(session, id, preimage, fee, now_ms).await
        })
        .await
    }

    /// Nothing was moved, and nothing will be. Says whether that was news: what has settled stays so.
    ///
    /// # Errors
    /// [`BooksError::NoRebalance`].
    pub async fn rebalance_failed(
        &self,
        id: u64,
        why: String,
        now_ms: i64,
    ) -> Result<bool, BooksError> {
        let why = bounded("a reason", why, TEXT_BYTES_MAX)?;
        self.write("note a failure", async move |session| {
            if get(session, id).await?.state != RebalanceState::Open {
                return Ok(false);
            }
            let update =
                "UPDATE rebalances SET state = 'failed', failure = $2, ended_at_ms = $3 WHERE id = $1";
            session
                .execute(update, &values![id, why.as_str(), now_ms])
                .await?;
            Ok(true)
        })
        .await
    }

    /// The rebalance that a request has opened.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn rebalance_by_key(&self, key: String) -> Result<Option<Rebalance>, BooksError> {
        self.read("look a rebalance up", async move |session| {
            by_key(session, &key).await
        })
        .await
    }

    /// What may still settle, oldest first: what there is to look up after a start.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn open_rebalances(&self) -> Result<Vec<Rebalance>, BooksError> {
        self.read("list open rebalances", async |session| {
            let rows = session.query(query!("state = 'open' ORDER BY id"), &[]);
            let rows = rows.await?;
            rows.iter().map(|row| Ok(from_row(row)?)).collect()
        })
        .await
    }

    /// Those rebalances that have one of these payment hashes, in the order of the hashes; hashes that none has are left out.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn rebalances_by_hash(
        &self,
        hashes: Vec<[u8; 32]>,
    ) -> Result<Vec<Rebalance>, BooksError> {
        self.read("look rebalances up", async move |session| {
            let mut found = Vec::new();
            for hash in hashes {
                let query = query!("payment_hash = $1");
                let row = session.find(query, &values![hash]).await?;
                found.extend(row.as_ref().map(from_row).transpose()?);
            }
            Ok(found)
        })
        .await
    }
}
