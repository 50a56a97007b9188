//! `Dues`: claims what the node is owed, by one invoice at a time, and keeps what became of them.
//!
//! What core says is a hint: by a false word of it the node makes an invoice that nobody pays, and no more. What hh-treasury has to
//! check, it checks on its own (the node's signature, the payee, the amount).

use super::book::{InvoiceRow, NewInvoice};
use super::plan::{self, Facts, NoInvoice};
use super::{AskError, WalletHandle};
use crate::database::DatabaseError;
use crate::dial::Channel;
use crate::identity::Enrolled;
use hh_daemon::{Chain, Failure};
use hh_ipc::agent::{NodeAccount, NodeInvoice, NodePayout, node_message, payout_state};
use hh_mining::Msat;
use hh_trust::NodeSecretKey;
use hh_trust::command::Digest;
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How often it is looked whether there is something to claim or to hand in again.
const LOOK_EVERY: Duration = Duration::from_secs(10);

/// Why nothing was claimed that should have been.
#[derive(Debug, thiserror::Error)]
enum ClaimError {
    #[error("the wallet made no invoice")]
    Ask(#[from] AskError),
    #[error("the book of invoices can't be used")]
    Database(#[from] DatabaseError),
}

/// The task.
pub(crate) struct Dues {
    pub(crate) wallet: WalletHandle,
    pub(crate) node_key: Arc<NodeSecretKey>,
    pub(crate) enrolled: watch::Receiver<Option<Enrolled>>,
    pub(crate) channel: watch::Receiver<Option<Channel>>,
    /// What core says of this node; none without a session.
    pub(crate) account: watch::Receiver<Option<NodeAccount>>,
    /// To the session.
    pub(crate) reports: mpsc::Sender<node_message::Body>,
    pub(crate) from: Msat,
    pub(crate) expiry: Duration,
    /// For operators.
    pub(crate) waits_for: watch::Sender<Option<NoInvoice>>,
}

impl Dues {
    /// Goes on until the agent stops.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Result<(), Failure> {
        let mut kept = None;
        let mut interval = tokio::time::interval(LOOK_EVERY);
        interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let event = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                changed = self.account.changed() => changed.is_ok(),
                _ = interval.tick() => true,
            };
            if !event {
                return Ok(());
            }
            if let Err(error) = self.look(&mut kept).await {
                let error = Chain(&error).to_string();
                tracing::warn!(error, "the node's dues are not claimed; it is tried again");
            }
        }
    }

    /// `kept` is the account whose reports are in the book.
    async fn look(&mut self, kept: &mut Option<NodeAccount>) -> Result<(), ClaimError> {
        let account = self.account.borrow_and_update().clone();
        let now_ms = Timestamp::now().as_millisecond();
        if let Some(account) = &account
            && kept.as_ref() != Some(account)
        {
            let payouts = known(&account.payouts);
            self.wallet.book.reported(payouts, now_ms).await?;
            *kept = Some(account.clone());
        }
        let newest = self.wallet.book.newest().await?;
        let open = newest.as_ref().filter(|newest| newest.is_open(now_ms));
        if let Some(open) = open
            && open.report.is_none()
        {
            self.hand_in(&open.new);
        }
        let facts = self.facts(account.as_ref(), newest.as_ref(), now_ms);
        let facts = facts.await?;
        let amount = plan::amount(&facts);
        self.waits_for.send_replace(amount.err());
        match amount {
            Ok(amount) => self.claim(amount, now_ms).await,
            Err(_said) => Ok(()),
        }
    }

    async fn facts(
        &self,
        account: Option<&NodeAccount>,
        newest: Option<&InvoiceRow>,
        now_ms: i64,
    ) -> Result<Facts, DatabaseError> {
        let state = self.wallet.state.borrow().clone();
        let seen = state.seen.filter(|seen| seen.treasury_channels > 0);
        let setback_ms = self.wallet.book.last_setback_ms().await?;
        Ok(Facts {
            dues: account.map(|account| plan::Dues {
                payable: Msat(account.payable_msat),
                min: Msat(account.invoice_msat_min),
                max: Msat(account.invoice_msat_max),
            }),
            from: self.from,
            receivable: seen.map(|seen| seen.receivable),
            has_open: newest.is_some_and(|newest| newest.is_open(now_ms)),
            newest_made_ms: newest.map(|newest| newest.new.made_at_ms),
            setback_ms: setback_ms.max(newest.and_then(InvoiceRow::unpaid_ms)),
            now_ms,
        })
    }

    /// Makes an invoice, signs it, writes it down, and hands it in.
    async fn claim(&self, amount: Msat, now_ms: i64) -> Result<(), ClaimError> {
        let Some(node) = self.enrolled.borrow().as_ref().map(|now| now.node.clone()) else {
            return Ok(());
        };
        let description = format!("dues of the node {node}");
        let invoice = self
            .wallet
            .invoice(amount, description, self.expiry)
            .await?;
        let bolt11 = invoice.to_string();
        let expires_at_ms = invoice.expires_at().map(|ends| ends.as_millis());
        let new = NewInvoice {
            id: Digest::of(bolt11.as_bytes()).to_string(),
            signature: self
                .node_key
                .sign_invoice(self.wallet.chain, &node, &bolt11),
            payment_hash: invoice.payment_hash().to_string(),
            bolt11,
            amount,
            made_at_ms: now_ms,
            expires_at_ms: expires_at_ms
                .and_then(|ends| i64::try_from(ends).ok())
                .unwrap_or(i64::MAX),
        };
        tracing::info!(
            amount_msat = amount.0,
            hash = new.payment_hash,
            "invoice made for the node's dues"
        );
        metrics::counter!("hyperhash_agent_invoices_total").increment(1);
        self.wallet.book.made(new.clone()).await?;
        self.hand_in(&new);
        Ok(())
    }

    /// Core keeps one of it however often it comes.
    fn hand_in(&self, new: &NewInvoice) {
        if self.channel.borrow().is_none() {
            return;
        }
        let message = NodeInvoice {
            invoice: new.bolt11.clone(),
            signature: new.signature.clone(),
        };
        // What finds no room is handed in at the next look.
        self.reports
            .try_send(node_message::Body::Invoice(message))
            .ok();
    }
}

/// Those whose state this agent knows, with texts that move no terminal.
fn known(payouts: &[NodePayout]) -> Vec<NodePayout> {
    let states = [
        payout_state::WAITING,
        payout_state::SETTLED,
        payout_state::CANCELLED,
        payout_state::REFUSED,
    ];
    let known = payouts
        .iter()
        .filter(|payout| states.contains(&payout.state.as_str()));
    let shortened = |text: &str| {
        let plain = text.chars().filter(|letter| !letter.is_control());
        plain
            .take(hh_ipc::agent::MAX_REASON_BYTES)
            .collect::<String>()
    };
    known
        .map(|payout| NodePayout {
            invoice_id: shortened(&payout.invoice_id),
            payment_hash: shortened(&payout.payment_hash),
            reason: shortened(&payout.reason),
            ..payout.clone()
        })
        .take(hh_ipc::agent::MAX_PAYOUTS)
        .collect()
}
