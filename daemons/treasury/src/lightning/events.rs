//! What the wallet tells by itself, into the books.

use super::WalletLink;
use super::forwards::{Told, ToldForwards};
use crate::clock::unix_ms;
use crate::payouts::{Nudge, Payer};
use hh_daemon::Chain;
use hh_ledger::books::BooksError;
use hh_lightning::{Event, WalletError};
use hh_mining::Msat;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// After an error: the books or the wallet come back by themselves.
const PAUSE: Duration = Duration::from_secs(1);

/// Takes events until `stop` is cancelled; each stays with the wallet until what follows from it is in the books.
pub(crate) async fn follow(
    wallet: WalletLink,
    payer: Payer,
    nudges: mpsc::Sender<Nudge>,
    stop: CancellationToken,
) {
    loop {
        // On the heap: what an event sets off is a large future.
        let taken = Box::pin(take(&wallet, &payer, &nudges));
        match stop.run_until_cancelled(taken).await {
            None => return,
            Some(Err(error)) => {
                let error = Chain(&error).to_string();
                tracing::debug!(error, "no events of the wallet");
            }
            Some(Ok(())) => {}
        }
        let pause = tokio::time::sleep(PAUSE);
        if stop.run_until_cancelled(pause).await.is_none() {
            return;
        }
    }
}

async fn take(
    wallet: &WalletLink,
    payer: &Payer,
    nudges: &mpsc::Sender<Nudge>,
) -> Result<(), WalletError> {
    let node = wallet.wallet().info().await?.node_id.to_string();
    let forwards = ToldForwards::new(payer.books.clone(), node);
    let mut events = wallet.wallet().events()?;
    loop {
        let event = events.next().await?;
        let mut may_be_old = events.may_be_old();
        while let Err(error) = book(&event, payer, (&forwards, may_be_old), nudges).await {
            // It may be in the books all the same.
            may_be_old = true;
            let error = Chain(&error).to_string();
            tracing::warn!(
                error,
                "an event of the wallet not booked; it is tried again"
            );
            tokio::time::sleep(PAUSE).await;
        }
        if let Err(error) = events.handled().await {
            let error = Chain(&error).to_string();
            tracing::warn!(error, "an event of the wallet may come again");
        } else if let Event::Forwarded { fee: Some(_), .. } = event
            && let Err(error) = forwards.forgotten().await
        {
            let error = Chain(&error).to_string();
            tracing::debug!(error, "that a forward is booked and forgotten is not noted");
        }
    }
}

/// What a rebalance has cost is booked from what says it: where the event does not, the look-up does.
async fn settle_rebalances(
    payer: &Payer,
    hash: [u8; 32],
    preimage: [u8; 32],
    fee: Option<Msat>,
) -> Result<(), BooksError> {
    let Some(fee) = fee else {
        return Ok(());
    };
    for rebalance in payer.books.rebalances_by_hash(vec![hash]).await? {
        let settled = payer
            .books
            .rebalance_settled(rebalance.id, preimage, fee, unix_ms());
        if settled.await? {
            let (id, fee_msat) = (rebalance.id, fee.0);
            tracing::info!(rebalance = id, fee_msat, "rebalance settled");
        }
    }
    Ok(())
}

async fn book(
    event: &Event,
    payer: &Payer,
    (forwards, may_be_old): (&ToldForwards, bool),
    nudges: &mpsc::Sender<Nudge>,
) -> Result<(), BooksError> {
    match event {
        Event::PaymentSettled {
            hash,
            preimage,
            fee,
        } => {
            // A look-up tells it too, but for a payment whose record the wallet has lost in a crash.
            for attempt in payer.books.attempts_by_hash(vec![hash.0]).await? {
                let fee = fee.unwrap_or_default();
                payer.settle(&attempt, preimage.0, fee).await?;
            }
            settle_rebalances(payer, hash.0, preimage.0, *fee).await?;
        }
        Event::PaymentFailed { hash, code } => {
            let hash = hex::encode(hash.0);
            tracing::info!(
                hash,
                code = code.as_str(),
                "the wallet has given a payment up"
            );
            nudges.try_send(Nudge).ok();
        }
        Event::Forwarded {
            from,
            to,
            fee: Some(fee),
            amount,
        } => {
            let amount_msat = amount.map(|amount| amount.0);
            tracing::info!(%from, %to, fee_msat = fee.0, amount_msat, "routing fee earned");
            let told = Told {
                from: *from,
                to: *to,
                fee: *fee,
                amount: *amount,
            };
            forwards.book(told, may_be_old).await?;
        }
        Event::Forwarded { fee: None, .. } => {
            tracing::info!(
                "a forwarded payment was claimed on the chain; what it earned is not known"
            );
        }
        Event::Received { hash, amount } => {
            let hash = hex::encode(hash.0);
            tracing::info!(hash, amount_msat = amount.0, "an invoice of ours was paid");
        }
        Event::ChannelOpening { id, peer } => tracing::info!(%id, %peer, "channel is opening"),
        Event::ChannelReady { id } => {
            tracing::info!(%id, "channel is ready");
            nudges.try_send(Nudge).ok();
        }
        Event::ChannelClosed { id, reason } => tracing::warn!(%id, reason, "channel closed"),
        Event::Missed => tracing::warn!("the wallet was away; what is in flight is looked up"),
    }
    Ok(())
}
