//! hh-treasury with fixed answers.

mod accounts;
mod answers;
mod ledger;
mod lightning;
mod money;
mod onchain;
mod payouts;

use super::{Fake, journal_page, seconds_ago};
use hh_ipc::api::treasury::{
    Account, AccountPage, AccountProofAnswer, AccountQuery, AdoptForeignRequest, AdoptRequest,
    ApproveRequest, BlockReport, CancelDestinationRequest, CancelRequest, Channel,
    ChannelCloseRequest, ChannelFeesRequest, ChannelOpenRequest, ClaimRequest, ClaimToken,
    CloseFailedRequest, CloseWithdrawalRequest, CreateAccountRequest, DayYield, DepositRequest,
    Destination, DestinationChanged, DistributionRequest, DrawRequest, EdgePage, EdgePageQuery,
    Freeze, FreezeRequest, HoldRequest, InvoiceRequest, LedgerPage, LedgerQuery, LightningPayment,
    LightningStatus, Limits, Liquidity, NamesPage, NamesQuery, OnChain, PaymentTrack, Payout,
    PayoutDetail, PayoutPage, PayoutPlan, PayoutQuery, Peer, ProofRequest, Rebalance,
    RebalanceRequest, ReconcileReport, ReplaceOwnerKeyRequest, ReportName, RewardBlockPage,
    RunRequest, SetDestinationRequest, Statement, StatementQuery, SubmitInvoiceRequest, Totals,
    Treasury, TreasuryStatus, UnfreezeRequest, VerifyReport, WindowPage, WindowPageQuery,
    WithdrawRequest, Withdrawal,
};
use hh_ipc::api::{Hello, JournalPage, JournalQuery};
use hh_ipc::{ApiError, Context, ErrorKind};

pub(crate) use answers::TreasuryAnswers;
pub(crate) use money::unmatched;
pub(crate) use payouts::MALLORY;

fn not_found(what: &str) -> ApiError {
    ApiError::new(ErrorKind::NotFound, "HH4004", format!("there is no {what}"))
}

impl Fake {
    fn payout_of(&self, id: u64) -> Result<Payout, ApiError> {
        let mut payouts = self.answers.treasury.payouts.iter();
        let found = payouts.find(|detail| detail.payout.id == id);
        let found = found.ok_or_else(|| not_found(&format!("payout {id}")))?;
        Ok(found.payout.clone())
    }

    fn account_of(&self, name: &str) -> Result<Account, ApiError> {
        let mut accounts = self.answers.treasury.accounts.iter();
        let found = accounts.find(|account| account.name == name);
        found
            .cloned()
            .ok_or_else(|| not_found(&format!("account {name}")))
    }

    fn channel_of(&self, id: &str) -> Result<Channel, ApiError> {
        let mut channels = self.answers.treasury.channels.iter();
        let found = channels.find(|channel| channel.id == id);
        found
            .cloned()
            .ok_or_else(|| not_found(&format!("channel {id}")))
    }

    fn totals(&self) -> Totals {
        self.answers.treasury.status.totals.unwrap_or_default()
    }
}

impl Treasury for Fake {
    async fn hello(self, _: Context) -> Hello {
        Self::hello(&self)
    }

    async fn status(self, _: Context) -> TreasuryStatus {
        self.answers.treasury.status.clone()
    }

    async fn limits(self, _: Context) -> Result<Limits, ApiError> {
        Ok(money::limits())
    }

    async fn journal(self, _: Context, query: JournalQuery) -> Result<JournalPage, ApiError> {
        let path = "/var/lib/hyperhash/hh-treasury/changes.jsonl";
        Ok(journal_page(&self.answers.treasury.journal, query, path))
    }

    async fn blocks(self, _: Context, limit: u32) -> Result<RewardBlockPage, ApiError> {
        let mut blocks = self.answers.treasury.blocks.clone();
        let total = blocks.len() as u64;
        blocks.truncate(usize::try_from(limit).unwrap());
        Ok(RewardBlockPage { blocks, total })
    }

    async fn report(self, _: Context, hash: String) -> Result<BlockReport, ApiError> {
        let mut reports = self.answers.treasury.reports.iter();
        let found = reports.find(|report| report.hash == hash);
        found
            .cloned()
            .ok_or_else(|| not_found(&format!("report of block {hash}")))
    }

    /// A line a page, so that pages are gone through.
    async fn window_page(self, _: Context, query: WindowPageQuery) -> Result<WindowPage, ApiError> {
        let mut windows = self.answers.treasury.windows.iter();
        let Some((_, lines)) = windows.find(|(hash, _)| *hash == query.hash) else {
            return Err(not_found(&format!("window of block {}", query.hash)));
        };
        let from: usize = query.cursor.map_or(0, |cursor| cursor.parse().unwrap());
        let is_wanted = |line: &&String| {
            let account = query.account.as_ref();
            account.is_none_or(|account| line.contains(&format!("\"account\":\"{account}\"")))
        };
        let lines: Vec<&String> = lines.iter().filter(is_wanted).collect();
        Ok(WindowPage {
            lines: lines
                .iter()
                .skip(from)
                .take(1)
                .map(|line| (*line).clone())
                .collect(),
            next: (from + 1 < lines.len()).then(|| (from + 1).to_string()),
        })
    }

    /// A line a page.
    async fn edge_page(self, _: Context, query: EdgePageQuery) -> Result<EdgePage, ApiError> {
        let mut edges = self.answers.treasury.edges.iter();
        let Some((_, lines)) = edges.find(|(hash, _)| *hash == query.hash) else {
            return Ok(EdgePage::default());
        };
        let from: usize = query.cursor.map_or(0, |cursor| cursor.parse().unwrap());
        Ok(EdgePage {
            lines: lines.iter().skip(from).take(1).cloned().collect(),
            next: (from + 1 < lines.len()).then(|| (from + 1).to_string()),
            is_kept: true,
        })
    }

    /// A name a page.
    async fn report_names(self, _: Context, query: NamesQuery) -> Result<NamesPage, ApiError> {
        let mut reports = self.answers.treasury.names.iter();
        let Some((_, finder, names)) = reports.find(|(hash, ..)| *hash == query.hash) else {
            return Err(not_found(&format!("report of block {}", query.hash)));
        };
        let is_next = |name: &&ReportName| {
            query
                .after
                .as_ref()
                .is_none_or(|after| name.account > *after)
        };
        let mut left = names.iter().filter(is_next).cloned();
        let names: Vec<ReportName> = left.by_ref().take(1).collect();
        let next = left.next().map(|_| names[0].account.clone());
        let finder = finder.clone();
        Ok(NamesPage {
            finder,
            names,
            next,
        })
    }

    async fn accounts(self, _: Context, query: AccountQuery) -> Result<AccountPage, ApiError> {
        let mut accounts = self.answers.treasury.accounts.clone();
        accounts.retain(|account| {
            query
                .prefix
                .as_ref()
                .is_none_or(|prefix| account.name.starts_with(prefix))
                && query
                    .after
                    .as_ref()
                    .is_none_or(|after| account.name > *after)
        });
        let limit = usize::try_from(query.limit).unwrap();
        let next = accounts
            .get(limit)
            .map(|_| accounts[limit - 1].name.clone());
        accounts.truncate(limit);
        Ok(AccountPage { accounts, next })
    }

    async fn account(self, _: Context, name: String) -> Result<Account, ApiError> {
        self.account_of(&name)
    }

    async fn statement(self, _: Context, query: StatementQuery) -> Result<Statement, ApiError> {
        self.account_of(&query.name)?;
        Ok(accounts::statement(query))
    }

    async fn proof(
        self,
        _: Context,
        request: ProofRequest,
    ) -> Result<AccountProofAnswer, ApiError> {
        let treasury = &self.answers.treasury;
        let mut proofs = treasury.proofs.iter();
        let found = proofs
            .find(|(name, block, _)| (name, block) == (&request.name, &request.block))
            .ok_or_else(|| not_found(&format!("leaf of {}", request.name)))?;
        let mut reports = treasury.reports.iter();
        let report = reports.find(|report| report.hash == request.block);
        Ok(AccountProofAnswer {
            proof: found.2.clone(),
            report: report.unwrap().clone(),
        })
    }

    async fn create_account(
        self,
        _: Context,
        request: CreateAccountRequest,
    ) -> Result<ClaimToken, ApiError> {
        self.change(format!("create {}", request.name))?;
        Ok(ClaimToken {
            name: request.name,
            token: request
                .owner_key
                .is_none()
                .then(|| "hhclaim-7f3c2a".to_owned()),
        })
    }

    async fn claim(self, _: Context, request: ClaimRequest) -> Result<Account, ApiError> {
        let account = self.account_of(&request.name)?;
        if request.token != "hhclaim-7f3c2a" {
            let message = "that is not the token of this account";
            return Err(ApiError::new(ErrorKind::Permission, "HH4021", message));
        }
        self.change(format!("claim {}", request.name))?;
        Ok(Account {
            is_claimed: true,
            ..account
        })
    }

    async fn set_destination(
        self,
        _: Context,
        request: SetDestinationRequest,
    ) -> Result<DestinationChanged, ApiError> {
        let account = self.account_of(&request.name)?;
        self.change(format!(
            "{:?} {} for {}",
            request.kind, request.text, request.name
        ))?;
        Ok(DestinationChanged {
            name: request.name,
            previous: account.destination,
            destination: Destination {
                kind: request.kind,
                text: request.text,
                set_at: seconds_ago(0),
                active_from: seconds_ago(-172_800),
                seq: request.seq,
            },
        })
    }

    async fn replace_owner_key(
        self,
        _: Context,
        request: ReplaceOwnerKeyRequest,
    ) -> Result<Account, ApiError> {
        let account = self.account_of(&request.name)?;
        self.change(format!(
            "replace the key of {} for {}",
            request.name, request.reason
        ))?;
        Ok(account)
    }

    async fn cancel_destination(
        self,
        _: Context,
        request: CancelDestinationRequest,
    ) -> Result<Account, ApiError> {
        let account = self.account_of(&request.name)?;
        let CancelDestinationRequest { name, seq, reason } = request;
        self.change(format!("cancel no. {seq} of {name} for {reason}"))?;
        Ok(account)
    }

    async fn payouts(self, _: Context, query: PayoutQuery) -> Result<PayoutPage, ApiError> {
        Ok(payouts::page(&self.answers.treasury.payouts, &query))
    }

    async fn payout(self, _: Context, id: u64) -> Result<PayoutDetail, ApiError> {
        let mut payouts = self.answers.treasury.payouts.iter();
        let found = payouts.find(|detail| detail.payout.id == id);
        found
            .cloned()
            .ok_or_else(|| not_found(&format!("payout {id}")))
    }

    async fn payout_plan(self, _: Context, request: RunRequest) -> Result<PayoutPlan, ApiError> {
        Ok(payouts::planned(&self.answers.treasury.plan, &request))
    }

    async fn payout_run(self, _: Context, request: RunRequest) -> Result<PayoutPlan, ApiError> {
        let payees = request.payees.join(" ");
        let most = request.total_msat_max.unwrap();
        self.change(format!(
            "run {} {payees} at most {most}",
            request.request_id
        ))?;
        let mut opened = payouts::planned(&self.answers.treasury.plan, &request);
        for (planned, id) in opened.planned.iter_mut().zip(500..) {
            planned.id = Some(id);
        }
        Ok(opened)
    }

    async fn payout_retry(self, _: Context, id: u64) -> Result<Payout, ApiError> {
        let payout = self.payout_of(id)?;
        self.change(format!("retry {id}"))?;
        Ok(payout)
    }

    async fn payout_hold(self, _: Context, request: HoldRequest) -> Result<(), ApiError> {
        self.change(format!(
            "hold {} {} for {}",
            request.target, request.is_held, request.reason
        ))
    }

    async fn payout_cancel(self, _: Context, request: CancelRequest) -> Result<Payout, ApiError> {
        let payout = self.payout_of(request.id)?;
        self.change(format!("cancel {} for {}", request.id, request.reason))?;
        Ok(payout)
    }

    async fn approval_draft(
        self,
        _: Context,
        _: u64,
    ) -> Result<Option<hh_ipc::api::treasury::ApprovalDraft>, ApiError> {
        Ok(None)
    }

    async fn payout_approve(self, _: Context, request: ApproveRequest) -> Result<Payout, ApiError> {
        let mut payout = self.payout_of(request.id)?;
        self.change(format!(
            "approve {} {} msat to {}",
            request.id, request.amount_msat, request.destination
        ))?;
        payout.approvals.push("bob".to_owned());
        Ok(payout)
    }

    async fn adopt(self, _: Context, request: AdoptRequest) -> Result<Payout, ApiError> {
        self.change(format!(
            "adopt {} of {} for {}",
            request.payment_hash, request.payee, request.evidence
        ))?;
        self.payout_of(412)
    }

    async fn adopt_foreign(self, _: Context, request: AdoptForeignRequest) -> Result<(), ApiError> {
        self.change(format!(
            "foreign {} for {}",
            request.payment_hashes.join(" "),
            request.evidence
        ))
    }

    async fn payout_close_failed(
        self,
        _: Context,
        request: CloseFailedRequest,
    ) -> Result<Payout, ApiError> {
        let payout = self.payout_of(request.id)?;
        self.change(format!("close {} for {}", request.id, request.reason))?;
        Ok(payout)
    }

    async fn submit_invoice(self, _: Context, _: SubmitInvoiceRequest) -> Result<Payout, ApiError> {
        Err(not_found("command of hhctl for this"))
    }

    async fn draw(self, _: Context, request: DrawRequest) -> Result<Payout, ApiError> {
        self.account_of(&request.name)?;
        self.change(format!("draw {} by {}", request.name, request.signature))?;
        Ok(payouts::drawn(request))
    }

    async fn payment(self, _: Context, hash: String) -> Result<PaymentTrack, ApiError> {
        Ok(payouts::track(&self.answers.treasury.payouts, &hash))
    }

    async fn freeze(self, _: Context, request: FreezeRequest) -> Result<Freeze, ApiError> {
        self.change(format!("freeze for {}", request.reason))?;
        Ok(Freeze {
            reason: request.reason,
            actor: "alice".to_owned(),
            since_at: seconds_ago(0),
        })
    }

    async fn unfreeze(self, _: Context, request: UnfreezeRequest) -> Result<(), ApiError> {
        if self.answers.treasury.status.freeze.is_none() {
            let message = "payouts are not frozen";
            return Err(ApiError::new(ErrorKind::Usage, "HH4012", message));
        }
        self.change(format!("unfreeze for {}", request.reason))
    }

    async fn verify(self, _: Context) -> Result<VerifyReport, ApiError> {
        self.change("verify".to_owned())?;
        Ok(self.answers.treasury.verified.clone())
    }

    async fn ledger(self, _: Context, query: LedgerQuery) -> Result<LedgerPage, ApiError> {
        Ok(ledger::page(&query))
    }

    async fn reconcile(self, _: Context) -> Result<ReconcileReport, ApiError> {
        self.change("reconcile".to_owned())?;
        Ok(self.answers.treasury.reconciled.clone())
    }

    async fn deposit(self, _: Context, request: DepositRequest) -> Result<Totals, ApiError> {
        self.change(format!(
            "deposit {} for {} as {}",
            request.amount_msat, request.note, request.request_id
        ))?;
        let amount = i64::try_from(request.amount_msat).unwrap();
        let mut totals = self.totals();
        totals.capital_msat += amount;
        totals.suspense_msat -= amount;
        Ok(totals)
    }

    async fn distribute_reserve(
        self,
        _: Context,
        request: DistributionRequest,
    ) -> Result<Totals, ApiError> {
        self.change(format!(
            "distribute {:?} for {}",
            request.parts, request.reason
        ))?;
        Ok(self.totals())
    }

    async fn on_chain(self, _: Context) -> Result<OnChain, ApiError> {
        Ok(self.answers.treasury.on_chain.clone())
    }

    async fn withdraw(self, _: Context, request: WithdrawRequest) -> Result<Withdrawal, ApiError> {
        if !request.dry_run {
            self.change(onchain::words(&request))?;
        }
        onchain::withdraw(&request)
    }

    async fn withdrawals(self, _: Context, _: u32) -> Result<Vec<Withdrawal>, ApiError> {
        Ok(onchain::withdrawals())
    }

    async fn close_withdrawal(
        self,
        _: Context,
        request: CloseWithdrawalRequest,
    ) -> Result<Withdrawal, ApiError> {
        if !request.dry_run {
            self.change(format!("close {} for {}", request.id, request.reason))?;
        }
        Ok(onchain::closed(&request))
    }

    async fn lightning(self, _: Context) -> Result<LightningStatus, ApiError> {
        Ok(self.answers.treasury.lightning.clone())
    }

    async fn address(self, _: Context) -> Result<String, ApiError> {
        self.change("address".to_owned())?;
        Ok("tb1q7cyrfmck2ffu2ud3rn5l5a8yv6f0chkp0zpemf".to_owned())
    }

    async fn invoice(self, _: Context, request: InvoiceRequest) -> Result<String, ApiError> {
        self.change(format!("invoice {:?}", request.amount_msat))?;
        Ok("lntbs500u1pj9hsw2pp5qqqsyqcyq5rqwzqf".to_owned())
    }

    async fn channels(self, _: Context) -> Result<Vec<Channel>, ApiError> {
        Ok(self.answers.treasury.channels.clone())
    }

    async fn peers(self, _: Context) -> Result<Vec<Peer>, ApiError> {
        Ok(lightning::peers(&self.answers.treasury.channels))
    }

    async fn connect_peer(self, _: Context, peer: String) -> Result<Peer, ApiError> {
        self.change(format!("connect {peer}"))?;
        let mut peers = lightning::peers(&self.answers.treasury.channels);
        Ok(peers.remove(0))
    }

    async fn disconnect_peer(self, _: Context, node_id: String) -> Result<(), ApiError> {
        self.change(format!("disconnect {node_id}"))
    }

    async fn open_channel(
        self,
        _: Context,
        request: ChannelOpenRequest,
    ) -> Result<Channel, ApiError> {
        if !request.dry_run {
            self.change(format!("open {} {}", request.peer, request.capacity_sat))?;
        }
        Ok(lightning::opening(&request))
    }

    async fn close_channel(
        self,
        _: Context,
        request: ChannelCloseRequest,
    ) -> Result<Channel, ApiError> {
        let channel = self.channel_of(&request.id)?;
        if !request.dry_run {
            self.change(format!("close {} forced {}", request.id, request.is_forced))?;
        }
        Ok(lightning::closing(channel, &request))
    }

    async fn set_channel_fees(
        self,
        _: Context,
        request: ChannelFeesRequest,
    ) -> Result<Channel, ApiError> {
        self.change(lightning::fee_words(&request))?;
        self.channel_of(&request.id)
    }

    async fn rebalance(self, _: Context, request: RebalanceRequest) -> Result<Rebalance, ApiError> {
        if !request.dry_run {
            let (from, to, id) = (&request.from, &request.to, &request.request_id);
            let amount = request.amount_msat;
            self.change(format!("rebalance {from} {to} {amount} as {id}"))?;
        }
        Ok(lightning::rebalance(&request))
    }

    async fn liquidity(self, _: Context) -> Result<Liquidity, ApiError> {
        Ok(money::liquidity())
    }

    async fn day_yields(self, _: Context, days: u32) -> Result<Vec<DayYield>, ApiError> {
        let mut known = money::day_yields();
        known.truncate(usize::try_from(days).unwrap());
        Ok(known)
    }

    async fn lightning_payments(
        self,
        _: Context,
        limit: u32,
    ) -> Result<Vec<LightningPayment>, ApiError> {
        let mut payments = self.answers.treasury.payments.clone();
        payments.truncate(usize::try_from(limit).unwrap());
        Ok(payments)
    }
}
