//! Core Lightning's news: it is asked what has changed since the last answer, and answers when something has.
//!
//! It numbers the changes of its payments, so that none is missed as long as we go on. A failure is not told as one: it may be
//! between two tries. What is told is that something may have been missed, so that it is looked up.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bitcoin::hashes::Hash;
use cln_rpc::model::requests::{self, WaitIndexname, WaitSubsystem};
use cln_rpc::model::responses::{WaitInvoicesStatus, WaitResponse, WaitSendpaysStatus};
use hh_mining::Msat;
use ldk_node::lightning_types::payment::PaymentHash;

use super::calls::{CALL_LIMIT, ClnError, ClnWallet};
use super::pay::settled;
use crate::{Event, Lookup, WalletError};

/// A question that is not answered for so long is asked again, on a new connection: the old one may be gone without a word.
const ASK_AGAIN: Duration = Duration::from_secs(600);
/// lightningd is back within seconds after a restart: look soon, then less often.
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(15);

/// Gives the events out one by one.
#[derive(Debug)]
pub(crate) struct ClnEvents {
    wallet: ClnWallet,
    /// The last changes that we have seen of payments and of invoices; none before the first answer.
    seen: Option<(u64, u64)>,
    retry: Duration,
    /// It did not answer: it may have been started again since.
    was_away: bool,
    current: Option<Event>,
}

impl Drop for ClnEvents {
    fn drop(&mut self) {
        let taken = &self.wallet.inner.are_events_taken;
        taken.store(false, Ordering::Release);
    }
}

impl ClnEvents {
    pub(super) fn new(wallet: ClnWallet) -> Self {
        Self {
            wallet,
            seen: None,
            retry: RETRY_FIRST,
            was_away: false,
            current: None,
        }
    }

    pub(crate) fn handled(&mut self) {
        self.current = None;
    }

    pub(crate) async fn next(&mut self) -> Result<Event, WalletError> {
        loop {
            if let Some(event) = &self.current {
                return Ok(event.clone());
            }
            self.wallet.check_running()?;
            match self.ask().await {
                Ok(event) => {
                    self.retry = RETRY_FIRST;
                    self.current = event;
                }
                Err(ClnError::TimedOut { .. }) => {}
                Err(error) => {
                    tracing::debug!(error = %hh_daemon::Chain(&error), "Core Lightning's events can't be had");
                    self.was_away = true;
                    tokio::time::sleep(self.retry).await;
                    self.retry = (self.retry * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// The next change; none where it is nothing that anybody needs. To give up waiting loses nothing: it is asked for again.
    async fn ask(&mut self) -> Result<Option<Event>, ClnError> {
        if self.was_away {
            self.wallet.greet_again().await?;
            self.was_away = false;
        }
        let Some((payments, invoices)) = self.seen else {
            let payments = self.changed(WaitSubsystem::SENDPAYS, 0).await?;
            let invoices = self.changed(WaitSubsystem::INVOICES, 0).await?;
            self.seen = Some((payments.updated.unwrap_or(0), invoices.updated.unwrap_or(0)));
            return Ok(Some(Event::Missed));
        };
        // The book-keeping after the answer: nothing of it is lost where the caller gives up waiting in it.
        tokio::select! {
            payment = self.changed(WaitSubsystem::SENDPAYS, payments.saturating_add(1)) => {
                let payment = payment?;
                let event = self.payment_event(&payment).await;
                self.seen = Some((payment.updated.unwrap_or(payments), invoices));
                Ok(event)
            }
            invoice = self.changed(WaitSubsystem::INVOICES, invoices.saturating_add(1)) => {
                let invoice = invoice?;
                let event = self.invoice_event(&invoice).await?;
                self.seen = Some((payments, invoice.updated.unwrap_or(invoices)));
                Ok(event)
            }
        }
    }

    /// The change of this number or a later one, at once where there is one; for 0 the number of the last.
    async fn changed(
        &self,
        subsystem: WaitSubsystem,
        number: u64,
    ) -> Result<WaitResponse, ClnError> {
        let message = requests::WaitRequest {
            subsystem,
            indexname: WaitIndexname::UPDATED,
            nextvalue: number,
        };
        self.wallet.request(&message, ASK_AGAIN).await
    }

    async fn payment_event(&self, changed: &WaitResponse) -> Option<Event> {
        // It tells no more than the number where the change came while nobody was waiting.
        let Some(part) = &changed.sendpays else {
            return Some(Event::Missed);
        };
        match (part.status, part.payment_hash) {
            (Some(WaitSendpaysStatus::PENDING), _) => None,
            (Some(WaitSendpaysStatus::COMPLETE), Some(hash)) => {
                Some(self.settled(PaymentHash(hash.to_byte_array())).await)
            }
            _ => Some(Event::Missed),
        }
    }

    /// What the books have of it; a part that has arrived is not yet the whole.
    async fn settled(&self, hash: PaymentHash) -> Event {
        let books = self.wallet.books(hash).await;
        match books.and_then(|(pays, _)| settled(hash, &pays)) {
            Ok(Some(Lookup::Settled { preimage, fee })) => Event::PaymentSettled {
                hash,
                preimage,
                fee,
            },
            Ok(_) => Event::Missed,
            Err(error) => {
                tracing::warn!(%error, "what Core Lightning has settled can't be read");
                Event::Missed
            }
        }
    }

    async fn invoice_event(&self, changed: &WaitResponse) -> Result<Option<Event>, ClnError> {
        let Some(invoice) = &changed.invoices else {
            return Ok(Some(Event::Missed));
        };
        if invoice.status != Some(WaitInvoicesStatus::PAID) {
            return Ok(None);
        }
        let message = requests::ListinvoicesRequest {
            label: invoice.label.clone(),
            index: None,
            invstring: None,
            limit: None,
            offer_id: None,
            payment_hash: None,
            start: None,
        };
        let found = self.wallet.request(&message, CALL_LIMIT).await?;
        let paid = found.invoices.into_iter().next();
        Ok(paid.and_then(|paid| {
            Some(Event::Received {
                hash: PaymentHash(paid.payment_hash.to_byte_array()),
                amount: Msat(paid.amount_received_msat?.msat()),
            })
        }))
    }
}
