//! Opens payouts: by the rules when they are due, by hand as an operator's plan says, and for invoices that nodes have sent. Ends those
//! whose one invoice has expired.

use super::attempt::is_one_invoice;
use super::{ACTOR, Ask, Plan, Planned, Rules, rules::Candidate};
use hh_ledger::books::{self, Payee};
use hh_ledger::books::{
    Books, BooksError, Destination, DestinationKind, DestinationOf, Held, NewPayout,
    NodeInvoiceRow, Page, PayTo, Payout, PayoutFilter, PayoutId, PayoutState,
};
use hh_mining::identity::LightningAddress;
use hh_mining::{Account, Msat, Network};
use std::collections::BTreeMap;

/// Of a day's limit.
const DAY_MS: i64 = 86_400_000;

/// Payouts that are read at once.
const PAGE: u32 = 500;

/// How many persons a payout above the limit waits for.
const APPROVALS: u32 = 2;

/// Of payouts that no attempt is under way for.
const NOTHING_SENT: [PayoutState; 4] = [
    PayoutState::Queued,
    PayoutState::Resolving,
    PayoutState::Ready,
    PayoutState::RetryWait,
];

/// Why a planned payout was not opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotOpened {
    #[error("its destination is not the planned one any more; plan again")]
    OtherDestination,
    #[error("{0}")]
    NoDestination(String),
    #[error(transparent)]
    Books(#[from] BooksError),
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Opener {
    pub books: Books,
    pub rules: Rules,
    pub chain: Network,
}

/// What the last 24 hours have taken of the day's limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct DayUse {
    /// Amounts, and what routing them may cost.
    pub used: Msat,
    /// When the first of it counts no more and when the last does, milliseconds since 1970; none where there is nothing.
    pub ends_ms: Option<(i64, i64)>,
}

impl DayUse {
    fn take(&mut self, amount: Msat, at_ms: i64) {
        self.used = Msat(self.used.0.saturating_add(amount.0));
        let ends_ms = at_ms.saturating_add(DAY_MS);
        let (first, last) = self.ends_ms.unwrap_or((ends_ms, ends_ms));
        self.ends_ms = Some((first.min(ends_ms), last.max(ends_ms)));
    }
}

/// Whether a payout is neither settled nor ended.
pub(crate) fn is_open(state: PayoutState) -> bool {
    super::OPEN_STATES.contains(&state)
}

impl Opener {
    /// What the rules would pay, and what the day's limit leaves before that.
    ///
    /// # Errors
    /// The books don't answer.
    pub(crate) async fn plan(&self, ask: &Ask, now_ms: i64) -> Result<(Plan, Msat), BooksError> {
        let mut held = BTreeMap::new();
        for hold in self.books.holds().await? {
            if let Held::Payee(payee) = hold.what {
                held.insert(payee, hold.reason);
            }
        }
        let mut candidates = Vec::new();
        for balance in self.books.balances().await? {
            let is_miner = matches!(balance.payee, Payee::Miner(_));
            let is_asked =
                matches!(ask, Ask::Payees { payees, .. } if payees.contains(&balance.payee));
            if !is_miner && !is_asked {
                continue;
            }
            // Of those who get nothing in any case nothing else is asked.
            if balance.payable < self.rules.minimum && !is_asked {
                continue;
            }
            let held = held.remove(&balance.payee);
            candidates.push(
                self.candidate(balance.payee, balance.payable, held, now_ms)
                    .await?,
            );
        }
        let day_left = self.day_left(now_ms).await?;
        Ok((self.rules.plan(candidates, ask, day_left, now_ms), day_left))
    }

    async fn candidate(
        &self,
        payee: Payee,
        payable: Msat,
        held: Option<String>,
        now_ms: i64,
    ) -> Result<Candidate, BooksError> {
        let last = self.last_payout(&payee).await?;
        let destination = self.destination(&payee, now_ms).await?;
        Ok(Candidate {
            payable,
            destination: destination.map(|to| to.text),
            held,
            has_open: last.as_ref().is_some_and(|last| is_open(last.state)),
            last_opened_ms: last.map(|last| last.created_at_ms),
            payee,
        })
    }

    /// The newest payout of a payee.
    pub(crate) async fn last_payout(&self, payee: &Payee) -> Result<Option<Payout>, BooksError> {
        let filter = PayoutFilter {
            payee: Some(payee.clone()),
            states: Vec::new(),
        };
        let newest = Page {
            before: None,
            limit: 1,
        };
        Ok(self.books.payouts(filter, newest).await?.pop())
    }

    /// Where a payee is paid now, or why nowhere.
    pub(crate) async fn destination(
        &self,
        payee: &Payee,
        now_ms: i64,
    ) -> Result<Result<PayTo, String>, BooksError> {
        let Payee::Miner(account) = payee else {
            return Ok(Err("it is paid by invoice only".to_owned()));
        };
        if let Ok(Account::LightningAddress(address)) = Account::parse(account, self.chain) {
            return Ok(Ok(lightning_address(&address)));
        }
        Ok(
            match self.books.destination_of(payee.clone(), now_ms).await? {
                DestinationOf::Active(Destination {
                    kind: DestinationKind::Bolt11Draw,
                    ..
                }) => Err("its owner draws it by invoice: `hhctl account draw`".to_owned()),
                DestinationOf::Active(destination) => Ok(PayTo {
                    kind: destination.kind,
                    text: destination.text,
                }),
                DestinationOf::None => Err("no destination is set".to_owned()),
                DestinationOf::CoolingOff(destination) => {
                    let from = crate::clock::timestamp(destination.active_from_ms);
                    Err(format!("its new destination counts from {from} on"))
                }
                DestinationOf::Cancelled(_) => Err("its destination was cancelled".to_owned()),
            },
        )
    }

    /// What may still be sent of the day's limit.
    ///
    /// # Errors
    /// The books don't answer.
    pub(crate) async fn day_left(&self, now_ms: i64) -> Result<Msat, BooksError> {
        let used = self.day(now_ms).await?.used;
        Ok(self.rules.max_day.checked_sub(used).unwrap_or_default())
    }

    /// What counts against the day's limit: payouts of the last 24 hours with what routing them may cost, whatever became of them but
    /// cancelled.
    ///
    /// # Errors
    /// The books don't answer.
    pub(crate) async fn day(&self, now_ms: i64) -> Result<DayUse, BooksError> {
        let mut day = DayUse::default();
        let mut before = None;
        loop {
            let filter = PayoutFilter {
                payee: None,
                states: Vec::new(),
            };
            let limit = PAGE;
            let page = self.books.payouts(filter, Page { before, limit }).await?;
            let Some(last) = page.last() else { break };
            before = Some(last.id.0);
            let is_recent = |payout: &&Payout| {
                payout.state != PayoutState::Cancelled
                    && payout.created_at_ms > now_ms.saturating_sub(DAY_MS)
            };
            for payout in page.iter().filter(is_recent) {
                day.take(self.rules.most_spent(payout.amount), payout.created_at_ms);
            }
            if last.created_at_ms <= now_ms.saturating_sub(DAY_MS) {
                break;
            }
        }
        Ok(day)
    }

    /// Opens a planned payout. The same `run` and payee open one payout, however often they come.
    ///
    /// # Errors
    /// Its destination was changed or cancelled since the plan was made, or the books refuse: frozen, held, or another one was
    /// opened meanwhile.
    pub(crate) async fn open(
        &self,
        planned: &Planned,
        run: &str,
        rule: &str,
        now_ms: i64,
    ) -> Result<PayoutId, NotOpened> {
        let to = match self.destination(&planned.payee, now_ms).await? {
            Ok(to) if to.text == planned.destination => to,
            Ok(_) => return Err(NotOpened::OtherDestination),
            Err(why) => return Err(NotOpened::NoDestination(why)),
        };
        let payout = NewPayout {
            payee: planned.payee.clone(),
            amount: planned.amount,
            to,
            key: format!("{run}:{}", planned.payee),
            rule: rule.to_owned(),
            approvals_needed: if planned.needs_approval { APPROVALS } else { 0 },
        };
        Ok(self.books.open_payout(payout, now_ms).await?)
    }

    /// How many persons a payout of that amount waits for.
    pub(crate) fn approvals_for(&self, amount: Msat) -> u32 {
        if amount > self.rules.approval_above {
            APPROVALS
        } else {
            0
        }
    }

    /// Opens a payout for a node's invoice.
    ///
    /// # Errors
    /// The books refuse: frozen, held, more than its balance, or another one is open.
    pub(crate) async fn open_invoice(
        &self,
        invoice: &books::NodeInvoice,
        now_ms: i64,
    ) -> Result<PayoutId, BooksError> {
        let payout = NewPayout {
            payee: Payee::Node(invoice.node.clone()),
            amount: invoice.amount,
            to: PayTo {
                kind: DestinationKind::NodeInvoice,
                text: invoice.bolt11.clone(),
            },
            key: format!("invoice:{}", hex::encode(invoice.payment_hash)),
            rule: "node invoice".to_owned(),
            approvals_needed: self.approvals_for(invoice.amount),
        };
        self.books.open_payout(payout, now_ms).await
    }

    /// Gives back what waits with an invoice that nobody can pay any more: its payee would get nothing else meanwhile. Where an
    /// attempt may settle, or an operator holds it, it stays.
    async fn give_back_expired(&self, now_ms: i64) -> Result<(), BooksError> {
        let filter = PayoutFilter {
            payee: None,
            states: NOTHING_SENT.to_vec(),
        };
        let mut page = Page::first(PAGE);
        loop {
            let found = self.books.payouts(filter.clone(), page).await?;
            let Some(last) = found.last() else { break };
            page.before = Some(last.id.0);
            let has_expired = |payout: &&Payout| {
                expires_at_ms(payout).is_some_and(|expires_at_ms| expires_at_ms <= now_ms)
            };
            for payout in found.iter().filter(has_expired) {
                self.give_back(payout.id, now_ms).await?;
            }
        }
        Ok(())
    }

    async fn give_back(&self, id: PayoutId, now_ms: i64) -> Result<(), BooksError> {
        let story = self.books.payout(id).await?;
        if story.is_none_or(|story| !story.holds.is_empty()) {
            return Ok(());
        }
        let (actor, reason) = (ACTOR.to_owned(), "its invoice has expired".to_owned());
        match self.books.cancel_payout(id, actor, reason, now_ms).await {
            // A session has prepared an attempt meanwhile, or ended it.
            Err(BooksError::LiveAttempt { .. } | BooksError::PayoutState { .. }) => Ok(()),
            Err(error) => Err(error),
            Ok(()) => {
                tracing::warn!(payout = id.0, "payout given back: its invoice has expired");
                Ok(())
            }
        }
    }

    /// Opens what is due: accounts whose interval has passed, and invoices that nodes have sent while another payout of theirs
    /// was open.
    ///
    /// # Errors
    /// The books don't answer.
    pub(crate) async fn open_due(&self, now_ms: i64) -> Result<u32, BooksError> {
        if self.books.frozen().await?.is_some() {
            return Ok(0);
        }
        self.give_back_expired(now_ms).await?;
        let mut opened = 0;
        let (plan, _) = self.plan(&Ask::Due, now_ms).await?;
        for planned in &plan.planned {
            let run = format!("due-{now_ms}");
            opened += told(
                &planned.payee,
                self.open(planned, &run, "due", now_ms).await,
            );
        }
        for NodeInvoiceRow {
            invoice, payout, ..
        } in self.books.open_invoices(now_ms, PAGE).await?
        {
            if payout.is_none() && !self.was_given_back(&invoice).await? {
                let payee = Payee::Node(invoice.node.clone());
                opened += told(&payee, self.open_invoice(&invoice, now_ms).await);
            }
        }
        Ok(opened)
    }

    /// Whether a payout for an invoice has ended without trying it. An invoice has one payout for ever: it would be found again, and
    /// told as opened, at every turn until the invoice expires.
    async fn was_given_back(&self, invoice: &books::NodeInvoice) -> Result<bool, BooksError> {
        let filter = PayoutFilter {
            payee: Some(Payee::Node(invoice.node.clone())),
            states: vec![PayoutState::Cancelled],
        };
        let newest = Page {
            before: None,
            limit: PAGE,
        };
        let ended = self.books.payouts(filter, newest).await?;
        Ok(ended.iter().any(|payout| payout.to.text == invoice.bolt11))
    }
}

/// When the invoice of a payout expires that has one only.
fn expires_at_ms(payout: &Payout) -> Option<i64> {
    let invoice = is_one_invoice(payout).then(|| crate::destination::parse(&payout.to.text));
    let invoice = invoice?.ok()?;
    Some(crate::destination::expires_at_ms(&invoice))
}

/// The one spelling of a Lightning address as a destination.
pub(crate) fn lightning_address(address: &LightningAddress) -> PayTo {
    PayTo {
        kind: DestinationKind::LnAddress,
        text: address.to_string(),
    }
}

fn told<E: std::error::Error + 'static>(payee: &Payee, opened: Result<PayoutId, E>) -> u32 {
    match opened {
        Ok(PayoutId(payout)) => {
            tracing::info!(%payee, payout, "payout opened");
            1
        }
        Err(error) => {
            let error = hh_daemon::Chain(&error).to_string();
            tracing::debug!(%payee, error, "payout not opened");
            0
        }
    }
}

#[cfg(test)]
mod tests;
