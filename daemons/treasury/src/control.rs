//! The calls of `hh_ipc::api::treasury`, answered from the books, the wallet and the pool's ledger; and the conversion of our types to
//! those of the wire, which go no further than this folder.

mod account;
mod adoption;
mod approval;
mod block;
mod channel;
mod destination;
mod draw;
mod ledger;
mod liquidity;
mod money;
mod node_invoice;
mod payout;
mod peer;
mod rebalance;
mod refusal;
mod status;
mod track;
mod waiting;
mod wallet;
mod window;
mod withdrawal;

use crate::Stores;
use crate::actor;
use crate::audit::Audit;
use crate::chain::Chain;
use crate::destination::Destinations;
use crate::operators::Operators;
use crate::payouts::{Nudge, Opener, Payer, Waits};
use crate::rebalances::Rebalancer;
use crate::tip::Tip;
use crate::withdrawals::Withdrawer;
use hh_daemon::{Caller, Context, Failure};
use hh_ipc::api::treasury::{
    Account, AccountPage, AccountProofAnswer, AccountQuery, AdoptForeignRequest, AdoptRequest,
    ApprovalDraft, ApproveRequest, BlockReport, CancelDestinationRequest, CancelRequest, Channel,
    ChannelCloseRequest, ChannelFeesRequest, ChannelOpenRequest, ClaimRequest, ClaimToken,
    CloseFailedRequest, CloseWithdrawalRequest, CreateAccountRequest, DayYield, DepositRequest,
    DestinationChanged, DistributionRequest, DrawRequest, EdgePage, EdgePageQuery, Freeze,
    FreezeRequest, HoldRequest, InvoiceRequest, LedgerPage, LedgerQuery, LightningPayment,
    LightningStatus, Limits, Liquidity, NamesPage, NamesQuery, OnChain, PaymentTrack, Payout,
    PayoutDetail, PayoutPage, PayoutPlan, PayoutQuery, Peer, ProofRequest, Rebalance,
    RebalanceRequest, ReconcileReport, ReplaceOwnerKeyRequest, RewardBlockPage, RunRequest,
    SetDestinationRequest, Statement, StatementQuery, SubmitInvoiceRequest, Totals, Treasury,
    TreasuryStatus, UnfreezeRequest, VerifyReport, WindowPage, WindowPageQuery, WithdrawRequest,
    Withdrawal,
};
use hh_ipc::api::{Hello, JournalPage, JournalQuery};
use hh_ipc::{ApiError, Context as Call};
use hh_ledger::books::{Consent, TwoActors};
use hh_mining::Network;
use hh_trust::{ChangeJournal, ReportPublicKey, SaltSecret};
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// Longest list that is answered.
const MAX_LISTED: u32 = 500;

/// How long the first of two operators' words holds.
const CONSENT: Duration = Duration::from_secs(3_600);

/// Longest id of a request.
const REQUEST_ID_BYTES_MAX: usize = 64;

/// What the answers are made from.
#[derive(Clone, Debug)]
pub(crate) struct Control {
    pub context: Context,
    pub chain: Network,
    pub nodes: Chain,
    pub stores: Stores,
    pub tip: watch::Receiver<Option<Tip>>,
    pub opener: Opener,
    pub payer: Payer,
    pub rebalancer: Rebalancer,
    pub withdrawer: Withdrawer,
    pub destinations: Destinations,
    pub operators: Operators,
    pub audit: Audit,
    /// What the engine could not send, and why.
    pub waiting: watch::Receiver<Waits>,
    pub nudges: mpsc::Sender<Nudge>,
    pub report_key: ReportPublicKey,
    /// Where blocks pay.
    pub reward_address: bitcoin::Address,
    pub salts: Arc<SaltSecret>,
    /// What the rules leave on the chain.
    pub channel_reserve_sat: u64,
    pub cooling_off: Duration,
    /// Changes that operators make go through it.
    pub journal: ChangeJournal,
}

#[derive(Clone)]
struct Answers {
    control: Control,
    caller: Caller,
}

impl Control {
    /// Answers on both sockets until the daemon stops.
    ///
    /// # Errors
    /// The sockets can't be made.
    pub(crate) fn serve(self) -> Result<(), Failure> {
        self.context.clone().serve_control(move |caller, stream| {
            let control = self.clone();
            let answers = Answers { control, caller };
            Box::pin(hh_ipc::server::answer(stream, answers.serve()))
        })
    }

    /// Makes a change that an operator asked for, with both in the journal.
    fn change<T>(
        &self,
        caller: &Caller,
        call: &'static str,
        arguments: Value,
        change: impl Future<Output = Result<T, ApiError>>,
    ) -> impl Future<Output = Result<T, ApiError>> {
        // A call to the wallet has much state, and its callers are futures in turn.
        let change = Box::pin(change);
        async move {
            let changed = self.journal.record(&caller.peer, call, arguments, change);
            let changed = changed.await;
            // The engine looks at once whether there is something to do now.
            self.nudges.try_send(Nudge).ok();
            changed
        }
    }

    /// Two operators where two are needed: the first one's word waits for the other's over the same terms.
    ///
    /// # Errors
    /// HH4030: the caller's word is noted, and another operator's is missing.
    async fn two_actors(
        &self,
        caller: &Caller,
        subject: &str,
        terms: String,
    ) -> Result<TwoActors, ApiError> {
        let actor = actor::of(caller);
        let now_ms = crate::clock::unix_ms();
        let consent_ms = i64::try_from(CONSENT.as_millis()).unwrap_or(i64::MAX);
        let until_ms = now_ms.saturating_add(consent_ms);
        let consent = self
            .stores
            .books
            .consent(subject.to_owned(), terms, actor.clone(), until_ms, now_ms)
            .await;
        match consent.map_err(refusal::books)? {
            Consent::First => Err(refusal::second_operator(&actor, subject)),
            Consent::Both(actors) => Ok(actors),
        }
    }
}

impl Treasury for Answers {
    async fn hello(self, _: Call) -> Hello {
        self.control.context.hello(self.caller.read_only)
    }

    async fn status(self, _: Call) -> TreasuryStatus {
        self.control.status().await
    }

    async fn limits(self, _: Call) -> Result<Limits, ApiError> {
        self.control.limits().await
    }

    async fn journal(self, _: Call, query: JournalQuery) -> Result<JournalPage, ApiError> {
        self.control.journal.page(query).await
    }

    async fn blocks(self, _: Call, limit: u32) -> Result<RewardBlockPage, ApiError> {
        self.control.blocks(limit).await
    }

    async fn report(self, _: Call, hash: String) -> Result<BlockReport, ApiError> {
        self.control.report(&hash).await
    }

    async fn window_page(self, _: Call, query: WindowPageQuery) -> Result<WindowPage, ApiError> {
        self.control.window_page(query).await
    }

    async fn edge_page(self, _: Call, query: EdgePageQuery) -> Result<EdgePage, ApiError> {
        self.control.edge_page(query).await
    }

    async fn report_names(self, _: Call, query: NamesQuery) -> Result<NamesPage, ApiError> {
        self.control.report_names(query).await
    }

    async fn accounts(self, _: Call, query: AccountQuery) -> Result<AccountPage, ApiError> {
        self.control.accounts(query).await
    }

    async fn account(self, _: Call, name: String) -> Result<Account, ApiError> {
        self.control.account(&name).await
    }

    async fn statement(self, _: Call, query: StatementQuery) -> Result<Statement, ApiError> {
        self.control.statement(query).await
    }

    async fn proof(self, _: Call, request: ProofRequest) -> Result<AccountProofAnswer, ApiError> {
        self.control.proof(request).await
    }

    async fn create_account(
        self,
        _: Call,
        request: CreateAccountRequest,
    ) -> Result<ClaimToken, ApiError> {
        self.control.create_account(&self.caller, request).await
    }

    async fn claim(self, _: Call, request: ClaimRequest) -> Result<Account, ApiError> {
        self.control.claim(&self.caller, request).await
    }

    async fn set_destination(
        self,
        _: Call,
        request: SetDestinationRequest,
    ) -> Result<DestinationChanged, ApiError> {
        self.control.set_destination(&self.caller, request).await
    }

    async fn replace_owner_key(
        self,
        _: Call,
        request: ReplaceOwnerKeyRequest,
    ) -> Result<Account, ApiError> {
        self.control.replace_owner_key(&self.caller, request).await
    }

    async fn cancel_destination(
        self,
        _: Call,
        request: CancelDestinationRequest,
    ) -> Result<Account, ApiError> {
        self.control.cancel_destination(&self.caller, request).await
    }

    async fn payouts(self, _: Call, query: PayoutQuery) -> Result<PayoutPage, ApiError> {
        self.control.payouts(query).await
    }

    async fn payout(self, _: Call, id: u64) -> Result<PayoutDetail, ApiError> {
        self.control.payout(id).await
    }

    async fn payout_plan(self, _: Call, request: RunRequest) -> Result<PayoutPlan, ApiError> {
        self.control.payout_plan(request).await
    }

    async fn payout_run(self, _: Call, request: RunRequest) -> Result<PayoutPlan, ApiError> {
        self.control.payout_run(&self.caller, request).await
    }

    async fn payout_retry(self, _: Call, id: u64) -> Result<Payout, ApiError> {
        self.control.payout_retry(&self.caller, id).await
    }

    async fn payout_hold(self, _: Call, request: HoldRequest) -> Result<(), ApiError> {
        self.control.payout_hold(&self.caller, request).await
    }

    async fn payout_cancel(self, _: Call, request: CancelRequest) -> Result<Payout, ApiError> {
        self.control.payout_cancel(&self.caller, request).await
    }

    async fn payout_approve(self, _: Call, request: ApproveRequest) -> Result<Payout, ApiError> {
        self.control.payout_approve(&self.caller, request).await
    }

    async fn approval_draft(self, _: Call, id: u64) -> Result<Option<ApprovalDraft>, ApiError> {
        self.control.approval_draft(id).await
    }

    async fn payout_close_failed(
        self,
        _: Call,
        request: CloseFailedRequest,
    ) -> Result<Payout, ApiError> {
        self.control
            .payout_close_failed(&self.caller, request)
            .await
    }

    async fn submit_invoice(
        self,
        _: Call,
        request: SubmitInvoiceRequest,
    ) -> Result<Payout, ApiError> {
        self.control.submit_invoice(&self.caller, request).await
    }

    async fn draw(self, _: Call, request: DrawRequest) -> Result<Payout, ApiError> {
        self.control.draw(&self.caller, request).await
    }

    async fn payment(self, _: Call, hash: String) -> Result<PaymentTrack, ApiError> {
        self.control.payment(&hash).await
    }

    async fn freeze(self, _: Call, request: FreezeRequest) -> Result<Freeze, ApiError> {
        self.control.freeze(&self.caller, request).await
    }

    async fn unfreeze(self, _: Call, request: UnfreezeRequest) -> Result<(), ApiError> {
        self.control.unfreeze(&self.caller, request).await
    }

    async fn verify(self, _: Call) -> Result<VerifyReport, ApiError> {
        self.control.verify(&self.caller).await
    }

    async fn ledger(self, _: Call, query: LedgerQuery) -> Result<LedgerPage, ApiError> {
        self.control.ledger(query).await
    }

    async fn reconcile(self, _: Call) -> Result<ReconcileReport, ApiError> {
        self.control.reconcile().await
    }

    async fn adopt(self, _: Call, request: AdoptRequest) -> Result<Payout, ApiError> {
        self.control.adopt(&self.caller, request).await
    }

    async fn adopt_foreign(self, _: Call, request: AdoptForeignRequest) -> Result<(), ApiError> {
        self.control.adopt_foreign(&self.caller, request).await
    }

    async fn deposit(self, _: Call, request: DepositRequest) -> Result<Totals, ApiError> {
        self.control.deposit(&self.caller, request).await
    }

    async fn distribute_reserve(
        self,
        _: Call,
        request: DistributionRequest,
    ) -> Result<Totals, ApiError> {
        self.control.distribute_reserve(&self.caller, request).await
    }

    async fn on_chain(self, _: Call) -> Result<OnChain, ApiError> {
        self.control.on_chain().await
    }

    async fn withdraw(self, _: Call, request: WithdrawRequest) -> Result<Withdrawal, ApiError> {
        self.control.withdraw(&self.caller, request).await
    }

    async fn withdrawals(self, _: Call, limit: u32) -> Result<Vec<Withdrawal>, ApiError> {
        self.control.withdrawals(limit).await
    }

    async fn close_withdrawal(
        self,
        _: Call,
        request: CloseWithdrawalRequest,
    ) -> Result<Withdrawal, ApiError> {
        self.control.close_withdrawal(&self.caller, request).await
    }

    async fn lightning(self, _: Call) -> Result<LightningStatus, ApiError> {
        self.control.lightning().await
    }

    async fn address(self, _: Call) -> Result<String, ApiError> {
        self.control.address(&self.caller).await
    }

    async fn invoice(self, _: Call, request: InvoiceRequest) -> Result<String, ApiError> {
        self.control.invoice(&self.caller, request).await
    }

    async fn channels(self, _: Call) -> Result<Vec<Channel>, ApiError> {
        self.control.channels().await
    }

    async fn peers(self, _: Call) -> Result<Vec<Peer>, ApiError> {
        self.control.peers().await
    }

    async fn connect_peer(self, _: Call, peer: String) -> Result<Peer, ApiError> {
        self.control.connect_peer(&self.caller, &peer).await
    }

    async fn disconnect_peer(self, _: Call, node_id: String) -> Result<(), ApiError> {
        self.control.disconnect_peer(&self.caller, &node_id).await
    }

    async fn open_channel(self, _: Call, request: ChannelOpenRequest) -> Result<Channel, ApiError> {
        self.control.open_channel(&self.caller, request).await
    }

    async fn close_channel(
        self,
        _: Call,
        request: ChannelCloseRequest,
    ) -> Result<Channel, ApiError> {
        self.control.close_channel(&self.caller, request).await
    }

    async fn set_channel_fees(
        self,
        _: Call,
        request: ChannelFeesRequest,
    ) -> Result<Channel, ApiError> {
        self.control.set_channel_fees(&self.caller, request).await
    }

    async fn rebalance(self, _: Call, request: RebalanceRequest) -> Result<Rebalance, ApiError> {
        self.control.rebalance(&self.caller, request).await
    }

    async fn liquidity(self, _: Call) -> Result<Liquidity, ApiError> {
        self.control.liquidity().await
    }

    async fn day_yields(self, _: Call, days: u32) -> Result<Vec<DayYield>, ApiError> {
        self.control.day_yields(days).await
    }

    async fn lightning_payments(
        self,
        _: Call,
        limit: u32,
    ) -> Result<Vec<LightningPayment>, ApiError> {
        self.control.lightning_payments(limit).await
    }
}

/// An id by which a request is known when it comes again.
fn request_id(id: &str) -> Result<&str, ApiError> {
    if (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) {
        return Ok(id);
    }
    let message = format!("a request id has 1 to {REQUEST_ID_BYTES_MAX} bytes");
    Err(refusal::usage(message))
}

/// Rows of a page of which `limit` were asked for; 0 asks for as many as there may be.
fn page_rows(limit: u32) -> u32 {
    match limit {
        0 => MAX_LISTED,
        limit => limit.min(MAX_LISTED),
    }
}

/// The wire's amounts have a sign. No amount is beyond 2^63 msat.
fn signed(amount: hh_mining::Msat) -> i64 {
    i64::try_from(amount.0).unwrap_or(i64::MAX)
}
