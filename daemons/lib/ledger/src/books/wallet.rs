//! `WalletChange`: what happens to the wallet beside coinbases and payouts; and the operator's capital and the nodes' reserve.

use hh_mining::Msat;

use super::entry::{self, Draft, EntryKind};
use super::error::bounded;
use super::session::{CallError, Session};
use super::value::msat;
use super::{BookAccount, Books, BooksError, KEY_BYTES_MAX, Payee, TEXT_BYTES_MAX, TwoActors};

/// What happened to the wallet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WalletChange {
    /// A transaction's fee was paid.
    OnchainFee(Msat),
    /// Opening, closing or keeping a channel cost something.
    ChannelFee(Msat),
    /// Payments were routed for others.
    RoutingIncome(Msat),
    /// Something arrived, and nobody knows why: a stranger's, or the operator's capital before it is booked as such.
    UnexplainedIn(Msat),
    /// Something is gone, and nobody knows why.
    UnexplainedOut(Msat),
}

pub(super) fn draft(
    change: WalletChange,
    evidence: String,
    now_ms: i64,
) -> Result<Draft, BooksError> {
    use BookAccount::{ChannelFees, OnchainFees, RoutingIncome, Suspense, Wallet};
    let (kind, to, from, amount) = match change {
        WalletChange::OnchainFee(amount) => (EntryKind::OnchainFee, OnchainFees, Wallet, amount),
        WalletChange::ChannelFee(amount) => (EntryKind::ChannelFee, ChannelFees, Wallet, amount),
        WalletChange::RoutingIncome(amount) => {
            (EntryKind::RoutingIncome, Wallet, RoutingIncome, amount)
        }
        WalletChange::UnexplainedIn(amount) => (EntryKind::Unexplained, Wallet, Suspense, amount),
        WalletChange::UnexplainedOut(amount) => (EntryKind::Unexplained, Suspense, Wallet, amount),
    };
    if msat(amount)? == 0 {
        return Err(BooksError::NoAmount);
    }
    let mut draft = Draft::new(kind, now_ms, evidence);
    draft.debit(to, amount);
    draft.credit(from, amount);
    Ok(draft)
}

/// Refuses to take more from a claim than it has.
async fn refuse_too_small(
    session: &mut Session,
    account: BookAccount,
    wanted: Msat,
) -> Result<(), CallError> {
    let has = entry::owed(session, &account).await?;
    if has < wanted {
        return Err(BooksError::TooSmall {
            account,
            has,
            wanted,
        }
        .into());
    }
    Ok(())
}

/// Posts an entry with a key that takes `amount` from `account`, once.
async fn take(
    session: &mut Session,
    draft: Draft,
    (account, amount): (BookAccount, Msat),
) -> Result<bool, CallError> {
    let key = draft.key.clone().unwrap_or_default();
    if entry::with_key(session, &key).await?.is_none() {
        refuse_too_small(session, account, amount).await?;
    }
    entry::post_once(session, draft).await
}

impl Books {
    /// Books what happened to the wallet. `key` says what it was, so that it is booked once: a transaction's id, a channel's and
    /// its event, the period of an income. Says whether it is new.
    ///
    /// # Errors
    /// [`BooksError::KeyTaken`] if something else was booked with that key.
    pub async fn book_wallet_change(
        &self,
        change: WalletChange,
        evidence: String,
        key: String,
        now_ms: i64,
    ) -> Result<bool, BooksError> {
        let evidence = bounded("evidence", evidence, TEXT_BYTES_MAX)?;
        let key = bounded("a key", key, KEY_BYTES_MAX)?;
        let mut draft = draft(change, evidence, now_ms)?;
        draft.key = Some(format!("wallet:{key}"));
        self.write("book a change of the wallet", async move |session| {
            entry::post_once(session, draft).await
        })
        .await
    }

    /// Books what has arrived unexplained as the operator's capital. Says whether that is new; `key` is the request's.
    ///
    /// # Errors
    /// [`BooksError::TooSmall`] if less has arrived; [`BooksError::KeyTaken`].
    pub async fn deposit_capital(
        &self,
        amount: Msat,
        actor: String,
        key: String,
        now_ms: i64,
    ) -> Result<bool, BooksError> {
        let actor = bounded("a person's name", actor, KEY_BYTES_MAX)?;
        let key = bounded("a key", key, KEY_BYTES_MAX)?;
        if msat(amount)? == 0 {
            return Err(BooksError::NoAmount);
        }
        let mut draft = Draft::new(EntryKind::Capital, now_ms, format!("by {actor}"));
        draft.key = Some(format!("capital:{key}"));
        draft.debit(BookAccount::Suspense, amount);
        draft.credit(BookAccount::Capital, amount);
        self.write("book a deposit", async move |session| {
            take(session, draft, (BookAccount::Suspense, amount)).await
        })
        .await
    }

    /// Gives nodes parts of the reserve `node-network`, once for the two persons' word, which is used up.
    ///
    /// # Errors
    /// [`BooksError::TooSmall`] if the reserve has less; [`BooksError::NotAgreed`].
    pub async fn distribute_reserve(
        &self,
        parts: Vec<(String, Msat)>,
        actors: TwoActors,
        now_ms: i64,
    ) -> Result<(), BooksError> {
        let note = format!("approved by {}", actors.named());
        let mut draft = Draft::new(EntryKind::Reserve, now_ms, note);
        let reserve = BookAccount::Balance(Payee::NodeReserve);
        let mut sum = Msat::ZERO;
        for (node, amount) in parts {
            if msat(amount)? == 0 {
                return Err(BooksError::NoAmount);
            }
            sum = Msat(sum.0.saturating_add(amount.0));
            let payee = Payee::Node(node).checked()?;
            draft.credit(BookAccount::Balance(payee), amount);
            draft.debit(reserve.clone(), amount);
        }
        if sum == Msat::ZERO {
            return Err(BooksError::NoAmount);
        }
        self.write("distribute the reserve", async move |session| {
            let word = actors.take(session, now_ms).await?;
            let key = format!("reserve:{word}");
            if entry::with_key(session, &key).await?.is_some() {
                return Err(BooksError::KeyTaken { key }.into());
            }
            draft.key = Some(key);
            refuse_too_small(session, reserve, sum).await?;
            entry::post(session, draft).await?;
            Ok(())
        })
        .await
    }
}
