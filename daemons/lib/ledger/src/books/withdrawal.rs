//! `Withdrawal`: money of the operator's own that leaves the wallet on the chain. It is written down before the wallet is asked, so that
//! it is sent at most once; it is booked with its fee when its transaction is in a block, once.
//!
//! ```text
//!  open -> sent -> settled
//!    └──────┴─> failed
//! ```

use hh_mining::Msat;

use super::entry::{self, Draft, EntryKind};
use super::error::bounded;
use super::freeze;
use super::session::{CallError, Session};
use super::value::{Row, msat, values};
use super::{
    BookAccount, Books, BooksError, KEY_BYTES_MAX, Page, TEXT_BYTES_MAX, TwoActors, names, totals,
};

/// How far a withdrawal has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WithdrawalState {
    /// It is written down; the wallet has been asked, or is about to be.
    Open,
    /// Its transaction is known, and in no block yet.
    Sent,
    /// Its transaction is in a block.
    Settled,
    /// Nothing was sent, as the wallet says or two persons do.
    Failed,
}

names!(WithdrawalState, "state of a withdrawal", {
    Open = "open",
    Sent = "sent",
    Settled = "settled",
    Failed = "failed",
});

/// A withdrawal as it is to be written down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewWithdrawal {
    /// The request's: what comes again with it is the same.
    pub key: String,
    /// An address of the chain.
    pub address: String,
    /// What arrives there: whole satoshi.
    pub amount: Msat,
    /// What its transaction may cost, as far as that can be known before.
    pub max_fee: Msat,
    /// The id of the wallet's node: nobody else is asked what has become of it.
    pub wallet_node: String,
    /// The chain's height: its transaction is in no block up to there.
    pub height: u32,
    /// Who asked for it.
    pub actor: String,
}

/// A withdrawal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Withdrawal {
    /// Its number.
    pub id: u64,
    /// The request's key.
    pub key: String,
    /// Where it goes.
    pub address: String,
    /// What arrives there.
    pub amount: Msat,
    /// What its transaction may cost.
    pub max_fee: Msat,
    /// The id of the wallet's node.
    pub wallet_node: String,
    /// The chain's height when it was written down.
    pub height: u32,
    /// Who asked for it: two persons where two were needed.
    pub actor: String,
    /// How far it has come.
    pub state: WithdrawalState,
    /// When it was written down, milliseconds since 1970.
    pub opened_at_ms: i64,
    /// When it settled or failed.
    pub ended_at_ms: Option<i64>,
    /// Its transaction, in the byte order of a header.
    pub txid: Option<[u8; 32]>,
    /// The block that this is in.
    pub block_height: Option<u32>,
    /// What it has cost.
    pub fee: Option<Msat>,
    /// Why it failed, or what it waits for.
    pub reason: Option<String>,
}

/// Whether a request is a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OpenedWithdrawal {
    /// It is written down: the wallet may be asked, once.
    New(Withdrawal),
    /// It was written down before: the wallet must not be asked again.
    Known(Withdrawal),
}

/// Reads withdrawals `WHERE` ...
macro_rules! query {
    ($tail:literal) => {
        concat!(
            "SELECT id, key, address, amount_msat, max_fee_msat, wallet_node, height, actor, state, opened_at_ms, ended_at_ms, txid,
                block_height, fee_msat, reason
            FROM withdrawals WHERE ",
            $tail
        )
    };
}

fn from_row(row: &Row) -> Result<Withdrawal, BooksError> {
    Ok(Withdrawal {
        id: row.get(0)?,
        key: row.get(1)?,
        address: row.get(2)?,
        amount: row.get(3)?,
        max_fee: row.get(4)?,
        wallet_node: row.get(5)?,
        height: row.get(6)?,
        actor: row.get(7)?,
        state: row.parse(8)?,
        opened_at_ms: row.get(9)?,
        ended_at_ms: row.get(10)?,
        txid: row.get(11)?,
        block_height: row.get(12)?,
        fee: row.get(13)?,
        reason: row.get(14)?,
    })
}

async fn get(session: &mut Session, id: u64) -> Result<Withdrawal, CallError> {
    let row = session.find(query!("id = $1"), &values![id]).await?;
    let row = row.ok_or(BooksError::NoWithdrawal { id })?;
    Ok(from_row(&row)?)
}

async fn by_key(session: &mut Session, key: &str) -> Result<Option<Withdrawal>, CallError> {
    let row = session.find(query!("key = $1"), &values![key]).await?;
    Ok(row.as_ref().map(from_row).transpose()?)
}

/// Those that have not ended: one at most.
async fn open_ones(session: &mut Session) -> Result<Vec<Withdrawal>, CallError> {
    let query = query!("state IN ('open', 'sent') ORDER BY id");
    let rows = session.query(query, &[]).await?;
    Ok(rows.iter().map(from_row).collect::<Result<_, _>>()?)
}

/// Refuses what is not the operator's own, whatever the wallet has.
async fn refuse_others_money(session: &mut Session, wanted: Msat) -> Result<(), CallError> {
    let own = totals::read(session).await?.own();
    if own < wanted {
        return Err(BooksError::NotTheOperators { own, wanted }.into());
    }
    Ok(())
}

async fn open(
    session: &mut Session,
    new: &NewWithdrawal,
    actors: Option<&TwoActors>,
    now_ms: i64,
) -> Result<OpenedWithdrawal, CallError> {
    if let Some(known) = by_key(session, &new.key).await? {
        if (&new.address, new.amount) != (&known.address, known.amount) {
            let key = new.key.clone();
            return Err(BooksError::KeyTaken { key }.into());
        }
        return Ok(OpenedWithdrawal::Known(known));
    }
    freeze::refuse_frozen(session).await?;
    if msat(new.amount)? == 0 {
        return Err(BooksError::NoAmount.into());
    }
    if let Some(open) = open_ones(session).await?.first() {
        return Err(BooksError::OpenWithdrawal { id: open.id }.into());
    }
    let wanted = Msat(new.amount.0.saturating_add(new.max_fee.0));
    refuse_others_money(session, wanted).await?;
    let actor = match actors {
        Some(actors) => {
            actors.take(session, now_ms).await?;
            actors.named()
        }
        None => new.actor.clone(),
    };
    let insert = "INSERT INTO withdrawals (id, key, address, amount_msat, max_fee_msat, wallet_node, height, actor, state, opened_at_ms)
        VALUES ((SELECT coalesce(max(id), 0) + 1 FROM withdrawals), $1, $2, $3, $4, $5, $6, $7, 'open', $8) RETURNING id";
    let values = values![
        new.key.as_str(),
        new.address.as_str(),
        msat(new.amount)?,
        msat(new.max_fee)?,
        new.wallet_node.as_str(),
        new.height,
        actor,
        now_ms,
    ];
    let id: u64 = match session.find(insert, &values).await? {
        Some(row) => row.get(0)?,
        None => unreachable!("an insert returns its row"),
    };
    Ok(OpenedWithdrawal::New(get(session, id).await?))
}

async fn sent(session: &mut Session, id: u64, txid: [u8; 32]) -> Result<bool, CallError> {
    let known = get(session, id).await?;
    match (known.state, known.txid) {
        (WithdrawalState::Open, _) => {
            let update =
                "UPDATE withdrawals SET state = 'sent', txid = $2, reason = NULL WHERE id = $1";
            session.execute(update, &values![id, txid]).await?;
            Ok(true)
        }
        (_, Some(known)) if known == txid => Ok(false),
        (state, _) => Err(BooksError::WithdrawalState { id, state }.into()),
    }
}

async fn settle(
    session: &mut Session,
    id: u64,
    fee: Msat,
    block_height: u32,
    now_ms: i64,
) -> Result<bool, CallError> {
    let known = get(session, id).await?;
    match known.state {
        WithdrawalState::Settled => return Ok(false),
        WithdrawalState::Sent => {}
        state => return Err(BooksError::WithdrawalState { id, state }.into()),
    }
    let update = "UPDATE withdrawals SET state = 'settled', fee_msat = $2, block_height = $3, ended_at_ms = $4, reason = NULL
        WHERE id = $1";
    let values = values![id, msat(fee)?, block_height, now_ms];
    session.execute(update, &values).await?;
    let gone = Msat(known.amount.0.saturating_add(fee.0));
    let note = format!("withdrawal {id}");
    let mut draft = Draft::new(EntryKind::Withdrawal, now_ms, note);
    draft.key = Some(format!("withdrawal:{id}"));
    draft.debit(BookAccount::Drawn, known.amount);
    draft.debit(BookAccount::OnchainFees, fee);
    draft.credit(BookAccount::Wallet, gone);
    entry::post(session, draft).await?;
    Ok(true)
}

async fn fail(session: &mut Session, id: u64, why: &str, now_ms: i64) -> Result<bool, CallError> {
    match get(session, id).await?.state {
        WithdrawalState::Open | WithdrawalState::Sent => {}
        WithdrawalState::Failed => return Ok(false),
        state @ WithdrawalState::Settled => {
            return Err(BooksError::WithdrawalState { id, state }.into());
        }
    }
    let update =
        "UPDATE withdrawals SET state = 'failed', reason = $2, ended_at_ms = $3 WHERE id = $1";
    session.execute(update, &values![id, why, now_ms]).await?;
    Ok(true)
}

impl Books {
    /// Writes a withdrawal down before the wallet is asked; when it returns that is on the disk, and in the witness. The same key opens
    /// one withdrawal, however often it comes. There is one at a time: its transaction is known by where it goes and how much.
    ///
    /// # Errors
    /// [`BooksError::Frozen`]; [`BooksError::KeyTaken`] if the key was used for another one; [`BooksError::OpenWithdrawal`];
    /// [`BooksError::NotTheOperators`] if it is more than is the operator's own; [`BooksError::NotAgreed`].
    pub async fn open_withdrawal(
        &self,
        new: NewWithdrawal,
        actors: Option<TwoActors>,
        now_ms: i64,
    ) -> Result<OpenedWithdrawal, BooksError> {
        bounded("a key", new.key.clone(), KEY_BYTES_MAX)?;
        bounded("an address", new.address.clone(), KEY_BYTES_MAX)?;
        bounded("a wallet's id", new.wallet_node.clone(), KEY_BYTES_MAX)?;
        bounded("a person's name", new.actor.clone(), KEY_BYTES_MAX)?;
        self.write_witnessed("open a withdrawal", async move |session| {
            open(session, &new, actors.as_ref(), now_ms).await
        })
        .await
    }

    /// Its transaction is known. Says whether that was news.
    ///
    /// # Errors
    /// [`BooksError::NoWithdrawal`]; [`BooksError::WithdrawalState`] if it has failed, or has another transaction.
    pub async fn withdrawal_sent(&self, id: u64, txid: [u8; 32]) -> Result<bool, BooksError> {
        self.write("note a transaction", async move |session| {
            sent(session, id, txid).await
        })
        .await
    }

    /// Its transaction is in a block: amount and fee are booked, once. Says whether that was news.
    ///
    /// # Errors
    /// [`BooksError::NoWithdrawal`]; [`BooksError::WithdrawalState`] if it has no transaction, or has failed.
    pub async fn withdrawal_settled(
        &self,
        id: u64,
        fee: Msat,
        block_height: u32,
        now_ms: i64,
    ) -> Result<bool, BooksError> {
        self.write("settle a withdrawal", async move |session| {
            settle(session, id, fee, block_height, now_ms).await
        })
        .await
    }

    /// The wallet says that nothing was sent. Says whether that was news.
    ///
    /// # Errors
    /// [`BooksError::NoWithdrawal`]; [`BooksError::WithdrawalState`] if it has settled.
    pub async fn withdrawal_failed(
        &self,
        id: u64,
        why: String,
        now_ms: i64,
    ) -> Result<bool, BooksError> {
        let why = bounded("a reason", why, TEXT_BYTES_MAX)?;
        self.write("note a failure", async move |session| {
            fail(session, id, &why, now_ms).await
        })
        .await
    }

    /// Two persons say that nothing was sent, or that it never will be in a block; their word is used up. What leaves the wallet after
    /// all is unexplained then.
    ///
    /// # Errors
    /// [`BooksError::NoWithdrawal`]; [`BooksError::WithdrawalState`] if it has settled; [`BooksError::NotAgreed`].
    pub async fn close_withdrawal(
        &self,
        id: u64,
        why: String,
        actors: TwoActors,
        now_ms: i64,
    ) -> Result<(), BooksError> {
        let why = bounded("a reason", why, TEXT_BYTES_MAX)?;
        self.write("close a withdrawal", async move |session| {
            actors.take(session, now_ms).await?;
            let why = format!("closed by {}: {why}", actors.named());
            fail(session, id, &why, now_ms).await?;
            Ok(())
        })
        .await
    }

    /// Notes what one that has not ended waits for, if that is known. Says whether that was news.
    ///
    /// # Errors
    /// [`BooksError::NoWithdrawal`].
    pub async fn withdrawal_waits(&self, id: u64, why: Option<String>) -> Result<bool, BooksError> {
        let why = why
            .map(|why| bounded("a reason", why, TEXT_BYTES_MAX))
            .transpose()?;
        self.write("note what a withdrawal waits for", async move |session| {
            let known = get(session, id).await?;
            let is_open = matches!(known.state, WithdrawalState::Open | WithdrawalState::Sent);
            if !is_open || known.reason == why {
                return Ok(false);
            }
            let update = "UPDATE withdrawals SET reason = $2 WHERE id = $1";
            session.execute(update, &values![id, why]).await?;
            Ok(true)
        })
        .await
    }

    /// The withdrawal of this number.
    ///
    /// # Errors
    /// [`BooksError::NoWithdrawal`].
    pub async fn withdrawal(&self, id: u64) -> Result<Withdrawal, BooksError> {
        self.read("read a withdrawal", async move |session| {
            get(session, id).await
        })
        .await
    }

    /// The withdrawal that a request has opened.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn withdrawal_by_key(&self, key: String) -> Result<Option<Withdrawal>, BooksError> {
        self.read("look a withdrawal up", async move |session| {
            by_key(session, &key).await
        })
        .await
    }

    /// Those that have not ended: one at most.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn open_withdrawals(&self) -> Result<Vec<Withdrawal>, BooksError> {
        self.read("list open withdrawals", async |session| {
            open_ones(session).await
        })
        .await
    }

    /// All of them, newest first.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn withdrawals(&self, page: Page) -> Result<Vec<Withdrawal>, BooksError> {
        self.read("list withdrawals", async move |session| {
            let query = query!("id < $1 ORDER BY id DESC LIMIT $2");
            let values = values![page.bound(), page.limit()];
            let rows = session.query(query, &values).await?;
            Ok(rows.iter().map(from_row).collect::<Result<_, _>>()?)
        })
        .await
    }

    /// Whether a transaction is a withdrawal's.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn is_withdrawal(&self, txid: [u8; 32]) -> Result<bool, BooksError> {
        self.read("look a transaction up", async move |session| {
            let query = "SELECT id FROM withdrawals WHERE txid = $1";
            Ok(session.find(query, &values![txid]).await?.is_some())
        })
        .await
    }
}
