//! The answers to `accounts`, `account`, `statement` and `proof`.

use super::{Control, block, page_rows, refusal, signed};
use crate::clock::{timestamp, unix_ms};
use crate::earnings::Earnings;
use hh_ipc::ApiError;
use hh_ipc::api::treasury::{
    Account, AccountPage, AccountProofAnswer, AccountQuery, Destination, DestinationKind,
    ProofRequest, Statement, StatementLine, StatementQuery,
};
use hh_ledger::books::Payee;
use hh_ledger::books::{self, DestinationOf, EntryKind, Held, Page, PayeeBalance};
use hh_mining::{AccountProof, Msat, Reward, Score, SumTree};

impl Control {
    pub(super) async fn accounts(&self, query: AccountQuery) -> Result<AccountPage, ApiError> {
        let mut balances = self.stores.books.balances().await.map_err(refusal::books)?;
        balances.sort_by_cached_key(|balance| balance.payee.to_string());
        let prefix = query.prefix.unwrap_or_default();
        let after = query.after.unwrap_or_default();
        let mut wanted = balances.into_iter().filter(|balance| {
            let name = balance.payee.to_string();
            name.starts_with(&prefix) && name > after
        });
        let mut page = AccountPage::default();
        let rows = page_rows(query.limit) as usize;
        let earnings = self.earnings().await?;
        for balance in wanted.by_ref().take(rows) {
            let row = self.row(balance, &earnings).await?;
            page.accounts.push(row);
        }
        if wanted.next().is_some() {
            page.next = page.accounts.last().map(|account| account.name.clone());
        }
        Ok(page)
    }

    pub(super) async fn account(&self, name: &str) -> Result<Account, ApiError> {
        let payee = parse_payee(name)?;
        let balance = self.stores.books.balance(payee.clone()).await;
        let balance = balance.map_err(refusal::books)?;
        let earnings = self.earnings().await?;
        self.row(balance, &earnings).await
    }

    async fn row(&self, balance: PayeeBalance, earnings: &Earnings) -> Result<Account, ApiError> {
        let earned = earnings.of(&balance);
        let payee = balance.payee.clone();
        let now_ms = unix_ms();
        let of = self
            .stores
            .books
            .destination_of(payee.clone(), now_ms)
            .await;
        let (active, pending) = match of.map_err(refusal::books)? {
            DestinationOf::Active(destination) => (Some(destination), None),
            DestinationOf::CoolingOff(destination) => (None, Some(destination)),
            DestinationOf::None | DestinationOf::Cancelled(_) => (None, None),
        };
        let owner = match &payee {
            Payee::Miner(account) => self.stores.books.owner(account.clone()).await,
            Payee::Node(_) | Payee::NodeReserve | Payee::Treasury => Ok(None),
        };
        let is_own = matches!(
            kind(&payee, self.chain),
            "address" | "lightning_address" | "node"
        );
        let is_claimed = is_own || owner.map_err(refusal::books)?.is_some();
        let held_reason = self.held_reason(&payee, now_ms).await?;
        Ok(Account {
            name: payee.to_string(),
            kind: kind(&payee, self.chain).to_owned(),
            immature_msat: signed(balance.immature),
            payable_msat: signed(balance.payable),
            in_payouts_msat: signed(balance.held_by_payouts),
            paid_msat: signed(balance.paid),
            destination: active.map(wire_destination),
            pending_destination: pending.map(wire_destination),
            is_claimed,
            held_reason,
            expected_msat: earned.expected.map(signed),
            realised_msat: earned.realised.map(signed),
            luck_ratio: earned.luck(),
        })
    }

    /// Why it is not paid: an operator's hold, or that nobody knows where to.
    async fn held_reason(&self, payee: &Payee, now_ms: i64) -> Result<Option<String>, ApiError> {
        let holds = self.stores.books.holds().await.map_err(refusal::books)?;
        let mut holds = holds.into_iter();
        let held = holds.find(|hold| hold.what == Held::Payee(payee.clone()));
        if let Some(hold) = held {
            return Ok(Some(hold.reason));
        }
        if !matches!(payee, Payee::Miner(_)) {
            return Ok(None);
        }
        let destination = self.opener.destination(payee, now_ms).await;
        Ok(destination.map_err(refusal::books)?.err())
    }

    /// What accounts earn by their work: one read, whatever their number.
    async fn earnings(&self) -> Result<Earnings, ApiError> {
        let fees = self.stores.books.finders_fees().await;
        let fees = fees.map_err(refusal::books)?;
        let Some(tip) = *self.tip.borrow() else {
            return Ok(Earnings::new(None, Vec::new(), fees));
        };
        let sums = self.stores.ledger.account_sums(usize::MAX).await;
        let sums = sums.map_err(|error| refusal::ledger(&error))?;
        let scores = sums.into_iter().map(|sum| (sum.account, Score(sum.score)));
        let subsidy = hh_mining::reward::subsidy_sats(tip.height, self.chain);
        let reward = Reward::of(subsidy, tip.height, self.chain).ok();
        let of_a_block = reward.map(|reward| reward.miners_part());
        Ok(Earnings::new(of_a_block, scores.collect(), fees))
    }

    pub(super) async fn statement(&self, query: StatementQuery) -> Result<Statement, ApiError> {
        let payee = parse_payee(&query.name)?;
        let limit = page_rows(query.limit);
        let page = Page {
            before: query.before,
            limit,
        };
        let found = self.stores.books.statement(payee.clone(), page).await;
        let found = found.map_err(refusal::books)?;
        let next_before = found.last().map(|line| line.entry);
        let is_whole = found.len() < limit as usize;
        Ok(Statement {
            name: payee.to_string(),
            next_before: next_before.filter(|_| !is_whole),
            lines: found.iter().flat_map(wire_lines).collect(),
        })
    }

    pub(super) async fn proof(
        &self,
        request: ProofRequest,
    ) -> Result<AccountProofAnswer, ApiError> {
        let Payee::Miner(account) = parse_payee(&request.name)? else {
            let message = "only miners' accounts have a leaf in a report";
            return Err(refusal::usage(message));
        };
        let hash = block::parse_hash(&request.block)?;
        let report = self.report(&request.block).await?;
        let leaves = self
            .stores
            .books
            .leaves(hash)
            .await
            .map_err(refusal::books)?;
        let leaves = leaves.into_iter().map(|leaf| leaf.leaf).collect();
        let tree = SumTree::new(leaves).map_err(|error| refusal::failed(error.to_string()))?;
        let proof = AccountProof::of(hash, &account, self.salts.salt_of(&account), &tree);
        let nothing = || refusal::not_found(format!("{account} has nothing of block {hash}"));
        let proof = proof.ok_or_else(nothing)?;
        Ok(AccountProofAnswer {
            proof: String::from_utf8_lossy(&proof.to_json()).into_owned(),
            report,
        })
    }
}

/// `miner:` may be left out: it is what most are.
pub(super) fn parse_payee(name: &str) -> Result<Payee, ApiError> {
    let name = name.trim();
    let is_prefixed = name.contains(':') || name == "treasury";
    let full = if is_prefixed {
        name.to_owned()
    } else {
        format!("miner:{name}")
    };
    full.parse()
        .map_err(|_error| refusal::usage(format!("{name:?} is no account")))
}

fn kind(payee: &Payee, chain: hh_mining::Network) -> &'static str {
    match payee {
        Payee::Miner(account) => match hh_mining::Account::parse(account, chain) {
            Ok(hh_mining::Account::Address(_)) => "address",
            Ok(hh_mining::Account::LightningAddress(_)) => "lightning_address",
            Ok(hh_mining::Account::Name(_)) | Err(_) => "name",
        },
        Payee::Node(_) => "node",
        Payee::NodeReserve | Payee::Treasury => "reserve",
    }
}

pub(super) fn wire_destination(destination: books::Destination) -> Destination {
    Destination {
        kind: match destination.kind {
            books::DestinationKind::LnAddress => DestinationKind::LightningAddress,
            books::DestinationKind::NodeInvoice => DestinationKind::NodeInvoices,
            books::DestinationKind::Bolt11Draw => DestinationKind::DrawingKey,
            books::DestinationKind::Bolt12 => DestinationKind::Bolt12Offer,
        },
        text: destination.text,
        set_at: timestamp(destination.set_at_ms),
        active_from: timestamp(destination.active_from_ms),
        seq: destination.seq,
    }
}

/// One for each of the two books that an entry touches.
fn wire_lines(line: &books::StatementLine) -> Vec<StatementLine> {
    let note = Some(line.note.clone()).filter(|note| !note.is_empty());
    let wire = |book: &str, amount_msat, balance: Msat| StatementLine {
        entry: line.entry,
        at: timestamp(line.at_ms),
        kind: entry_kind(line.kind).to_owned(),
        book: book.to_owned(),
        amount_msat,
        balance_msat: signed(balance),
        block: line.block.map(|hash| hash.to_string()),
        payout: line.payout.map(|payout| payout.0),
        note: note.clone(),
    };
    let mut lines = Vec::new();
    if line.payable_msat != 0 {
        lines.push(wire("payable", line.payable_msat, line.payable_after));
    }
    if line.immature_msat != 0 {
        lines.push(wire("immature", line.immature_msat, line.immature_after));
    }
    lines
}

pub(super) fn entry_kind(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::Split => "split",
        EntryKind::Maturity => "maturity",
        EntryKind::Reversal => "reversal",
        EntryKind::PayoutOpen => "payout_open",
        EntryKind::PayoutCancelled => "payout_cancelled",
        EntryKind::PayoutSettled => "payout_settled",
        EntryKind::PayoutLate => "payout_late",
        EntryKind::OnchainFee => "onchain_fee",
        EntryKind::ChannelFee => "channel_fee",
        EntryKind::Rebalance => "rebalance",
        EntryKind::Withdrawal => "withdrawal",
        EntryKind::RoutingIncome => "routing_income",
        EntryKind::Unexplained => "unexplained",
        EntryKind::Capital => "capital",
        EntryKind::Reserve => "reserve",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_without_a_prefix_is_a_miners() {
        assert_eq!(
            parse_payee("alice").unwrap(),
            Payee::Miner("alice".to_owned())
        );
        assert_eq!(
            parse_payee("node:berlin-1").unwrap(),
            Payee::Node("berlin-1".to_owned())
        );
        assert_eq!(parse_payee("treasury").unwrap(), Payee::Treasury);
        assert!(parse_payee("nobody:x").is_err());
    }
}
