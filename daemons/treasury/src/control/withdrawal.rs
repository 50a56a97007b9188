//! The answers to `on_chain`, `withdraw`, `withdrawals` and `close_withdrawal`.

use super::{Control, page_rows, refusal, request_id};
use crate::actor;
use crate::clock::{timestamp, unix_ms};
use crate::withdrawals::{Free, NotBegun, NotClosed, NotPossible, Planned, Wanted};
use bitcoin::address::{Address, NetworkUnchecked};
use bitcoin::constants::COINBASE_MATURITY;
use bitcoin::hashes::Hash;
use bitcoin::{FeeRate, Network, Txid};
use hh_daemon::Caller;
use hh_ipc::ApiError;
use hh_ipc::api::treasury::{
    CloseWithdrawalRequest, ImmatureCoinbase, OnChain, WalletOutput, WithdrawRequest, Withdrawal,
    WithdrawalLimits, WithdrawalState,
};
use hh_ledger::books::{self, BookBlock, BookBlockState, BooksError, Page, TwoActors};
use hh_mining::Msat;
use serde_json::json;

/// Blocks of ours that may be immature: a day's of a chain of our own.
const BLOCKS_MAX: u32 = 2_000;

impl Control {
    pub(super) async fn on_chain(&self) -> Result<OnChain, ApiError> {
        let wallet = self.stores.wallet.wallet();
        let no_list = wallet.capabilities().lists_outputs.err();
        let outputs = match no_list {
            Some(_) => Vec::new(),
            None => self
                .stores
                .wallet
                .noted(wallet.outputs().await)
                .map_err(refusal::wallet)?,
        };
        let seen = self.audit.seen().await.map_err(refusal::wallet)?;
        let free = self.withdrawer.free(&seen).await;
        let free = free.map_err(refusal::books)?;
        let blocks = self.stores.books.blocks(BLOCKS_MAX).await;
        let blocks = blocks.map_err(refusal::books)?;
        let height = self.tip.borrow().as_ref().map_or(0, |tip| tip.height);
        let wire = |output: &hh_lightning::WalletOutput| wire_output(output, self.chain, height);
        Ok(OnChain {
            outputs: outputs.iter().map(wire).collect(),
            no_list_because: no_list.map(str::to_owned),
            balances: super::status::wire_balances(&seen),
            immature: blocks.iter().filter_map(immature).collect(),
            free_sat: free.amount().0 / 1_000,
            limits: self.withdrawal_limits(free),
        })
    }

    pub(super) async fn withdraw(
        &self,
        caller: &Caller,
        request: WithdrawRequest,
    ) -> Result<Withdrawal, ApiError> {
        caller.may_change()?;
        let wanted = self.wanted(&request)?;
        if request.dry_run {
            let known = self.withdrawer.known(&wanted, &request.request_id).await;
            if let Some(known) = known.map_err(refusal::books)? {
                return Ok(self.wire_withdrawal(known));
            }
            let planned = self.withdrawer.plan(&wanted).await.map_err(refused)?;
            return Ok(self.told_plan(&wanted, &planned));
        }
        let key = request_id(&request.request_id)?.to_owned();
        let arguments = json!(request);
        let send = async {
            let known = self.withdrawer.known(&wanted, &key).await;
            let opened = match known.map_err(refusal::books)? {
                Some(known) => known,
                None => self.begin_withdrawal(caller, &wanted, &key).await?,
            };
            let followed = self.withdrawer.follow(opened).await;
            Ok(self.wire_withdrawal(followed.map_err(refusal::books)?))
        };
        self.change(caller, "treasury.withdraw", arguments, send)
            .await
    }

    pub(super) async fn withdrawals(&self, limit: u32) -> Result<Vec<Withdrawal>, ApiError> {
        let page = Page::first(page_rows(limit));
        let found = self.stores.books.withdrawals(page).await;
        let found = found.map_err(refusal::books)?.into_iter();
        Ok(found.map(|found| self.wire_withdrawal(found)).collect())
    }

    pub(super) async fn close_withdrawal(
        &self,
        caller: &Caller,
        request: CloseWithdrawalRequest,
    ) -> Result<Withdrawal, ApiError> {
        caller.may_change()?;
        if request.dry_run {
            let open = self.withdrawer.may_close(request.id).await;
            return Ok(self.wire_withdrawal(open.map_err(not_closed)?));
        }
        let arguments = json!(request);
        let close = async {
            let id = request.id;
            let open = self.withdrawer.may_close(id).await.map_err(not_closed)?;
            let (subject, terms) = (format!("withdrawal close-failed {id}"), open.key);
            let actors = self.two_actors(caller, &subject, terms).await?;
            let books = &self.stores.books;
            let closed = books.close_withdrawal(id, request.reason, actors, unix_ms());
            closed.await.map_err(refusal::books)?;
            tracing::warn!(withdrawal = id, "withdrawal closed by two operators");
            crate::exported::withdrawal_ended("failed");
            let closed = books.withdrawal(id).await.map_err(refusal::books)?;
            Ok(self.wire_withdrawal(closed))
        };
        self.change(caller, "treasury.withdrawal.close_failed", arguments, close)
            .await
    }

    async fn begin_withdrawal(
        &self,
        caller: &Caller,
        wanted: &Wanted,
        key: &str,
    ) -> Result<books::Withdrawal, ApiError> {
        let planned = self.withdrawer.plan(wanted).await.map_err(refused)?;
        let actors = self
            .withdrawal_actors(caller, wanted, &planned, key)
            .await?;
        let actor = actor::of(caller);
        let asked = (wanted, &planned);
        let begun = self.withdrawer.begin(asked, key, &actor, actors).await;
        begun.map_err(refused)
    }

    /// Above the limit two operators, over this amount, this address and this request.
    async fn withdrawal_actors(
        &self,
        caller: &Caller,
        wanted: &Wanted,
        planned: &Planned,
        key: &str,
    ) -> Result<Option<TwoActors>, ApiError> {
        if !self.needs_approval(planned.amount, planned.max_fee) {
            return Ok(None);
        }
        let (address, sat) = (&wanted.address, planned.amount.0 / 1_000);
        let mut subject = format!("treasury withdraw {address} {sat}sat --request-id {key}");
        if let Some(rate) = wanted.fee_rate {
            let rate = rate.to_sat_per_vb_ceil();
            subject.push_str(&format!(" --fee-rate {rate}"));
        }
        let actors = self.two_actors(caller, &subject, subject.clone()).await?;
        Ok(Some(actors))
    }

    /// What leaves counts, the fee with it: who has found the next block gets that.
    fn needs_approval(&self, amount: Msat, max_fee: Msat) -> bool {
        let leaves = Msat(amount.0.saturating_add(max_fee.0));
        self.opener.approvals_for(leaves) > 0
    }

    fn wanted(&self, request: &WithdrawRequest) -> Result<Wanted, ApiError> {
        let address = request.address.parse::<Address<NetworkUnchecked>>();
        let address = address.map_err(|error| refusal::wrong(&error))?;
        let network = self.chain;
        let address = address.require_network(network).map_err(|_other| {
            let message = format!("{} is no address of {network}", request.address);
            refusal::usage(message)
        })?;
        if address == self.reward_address {
            let message = format!("{address} is the treasury's own: blocks pay it");
            return Err(refusal::usage(message));
        }
        let too_much = || refusal::usage("that is more than all the bitcoin there will be");
        let amount = match request.amount_sat {
            Some(sat) => Some(Msat::from_sats(sat).ok_or_else(too_much)?),
            None => None,
        };
        let fee_rate = match request.fee_rate_sat_per_vb {
            Some(rate) => Some(FeeRate::from_sat_per_vb(rate).ok_or_else(too_much)?),
            None => None,
        };
        Ok(Wanted {
            address,
            amount,
            fee_rate,
        })
    }

    fn withdrawal_limits(&self, free: Free) -> WithdrawalLimits {
        WithdrawalLimits {
            own_sat: free.own.0 / 1_000,
            spare_sat: free.spare.0 / 1_000,
            on_chain_sat: free.on_chain.0 / 1_000,
            stays_sat: free.stays.0 / 1_000,
            approval_above_sat: self.opener.rules.approval_above.0 / 1_000,
        }
    }

    fn told_plan(&self, wanted: &Wanted, planned: &Planned) -> Withdrawal {
        Withdrawal {
            id: None,
            request_id: None,
            address: wanted.address.to_string(),
            amount_sat: planned.amount.0 / 1_000,
            max_fee_sat: planned.max_fee.0 / 1_000,
            fee_rate_sat_per_kvb: Some(planned.fee_rate.to_sat_per_kwu().saturating_mul(4)),
            is_rate_known: Some(planned.is_rate_known),
            needs_approval: self.needs_approval(planned.amount, planned.max_fee),
            state: WithdrawalState::Planned,
            fee_sat: None,
            txid: None,
            block_height: None,
            opened_at: None,
            ended_at: None,
            actor: None,
            reason: None,
            limits: Some(self.withdrawal_limits(planned.free)),
        }
    }

    fn wire_withdrawal(&self, found: books::Withdrawal) -> Withdrawal {
        Withdrawal {
            id: Some(found.id),
            request_id: Some(found.key),
            address: found.address,
            amount_sat: found.amount.0 / 1_000,
            max_fee_sat: found.max_fee.0 / 1_000,
            fee_rate_sat_per_kvb: None,
            is_rate_known: None,
            needs_approval: self.needs_approval(found.amount, found.max_fee),
            state: match found.state {
                books::WithdrawalState::Open => WithdrawalState::Open,
                books::WithdrawalState::Sent => WithdrawalState::Sent,
                books::WithdrawalState::Settled => WithdrawalState::Settled,
                books::WithdrawalState::Failed => WithdrawalState::Failed,
            },
            fee_sat: found.fee.map(|fee| fee.0 / 1_000),
            txid: found
                .txid
                .map(|txid| Txid::from_byte_array(txid).to_string()),
            block_height: found.block_height,
            opened_at: Some(timestamp(found.opened_at_ms)),
            ended_at: found.ended_at_ms.map(timestamp),
            actor: Some(found.actor),
            reason: found.reason,
            limits: None,
        }
    }
}

fn refused(error: NotBegun) -> ApiError {
    match error {
        NotBegun::NotPossible(error @ NotPossible::Dust { .. }) => refusal::wrong(&error),
        NotBegun::Wallet(why) => refusal::wallet(why),
        NotBegun::Books(error) => books_refused(error),
        error @ (NotBegun::NotPossible(NotPossible::TooMuch { .. })
        | NotBegun::Behind
        | NotBegun::Node(_)) => refusal::not_now(error.to_string()),
    }
}

fn books_refused(error: BooksError) -> ApiError {
    match error {
        BooksError::NoWithdrawal { .. } => refusal::not_found(error.to_string()),
        BooksError::OpenWithdrawal { .. } | BooksError::NotTheOperators { .. } => {
            refusal::not_now(error.to_string())
        }
        error => refusal::books(error),
    }
}

fn not_closed(error: NotClosed) -> ApiError {
    match error {
        NotClosed::Books(error) => books_refused(error),
        error => refusal::not_now(error.to_string()),
    }
}

fn wire_output(output: &hh_lightning::WalletOutput, network: Network, height: u32) -> WalletOutput {
    let address = Address::from_script(&output.script, network).ok();
    let deep = |at: u32| height.saturating_add(1).saturating_sub(at);
    WalletOutput {
        outpoint: output.outpoint.to_string(),
        address: address.map(|address| address.to_string()),
        amount_sat: output.amount.to_sat(),
        height: output.height,
        confirmations: output.height.map_or(0, deep),
        is_immature: output.is_immature,
        is_reserved: output.is_reserved,
    }
}

/// A block of ours whose coinbase the wallet has and can't spend.
fn immature(block: &BookBlock) -> Option<ImmatureCoinbase> {
    let is_immature = matches!(
        block.state,
        BookBlockState::Accepted | BookBlockState::Confirmed
    );
    let value = block.value.filter(|_| is_immature)?;
    Some(ImmatureCoinbase {
        block: block.hash.to_string(),
        height: block.height,
        amount_sat: value.0 / 1_000,
        mature_at_height: block.height.saturating_add(COINBASE_MATURITY),
    })
}
