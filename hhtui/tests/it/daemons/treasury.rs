//! hh-treasury with a payout to make.

use super::{Fake, hello, unasked, up};
use hh_ipc::api::treasury::{
    Account, AccountPage, AccountProofAnswer, AccountQuery, AdoptForeignRequest, ApproveRequest,
    BlockReport, CancelDestinationRequest, CancelRequest, Channel, ChannelCloseRequest,
    ChannelFeesRequest, ChannelOpenRequest, ClaimRequest, ClaimToken, CloseFailedRequest,
    CloseWithdrawalRequest, CreateAccountRequest, DayYield, DepositRequest, DestinationChanged,
    DistributionRequest, DrawRequest, EdgePage, EdgePageQuery, Freeze, FreezeRequest, HoldRequest,
    InvoiceRequest, LedgerPage, LedgerQuery, LightningPayment, LightningStatus, Limits, Liquidity,
    NamesPage, NamesQuery, OnChain, PaymentTrack, Payout, PayoutDetail, PayoutPage, PayoutPlan,
    PayoutQuery, Peer, PlannedPayout, ProofRequest, Rebalance, RebalanceRequest, ReconcileReport,
    ReplaceOwnerKeyRequest, RewardBlockPage, RunRequest, SetDestinationRequest, Statement,
    StatementQuery, SubmitInvoiceRequest, Totals, Treasury, TreasuryStatus, UnfreezeRequest,
    VerifyReport, WindowPage, WindowPageQuery, WithdrawRequest, Withdrawal,
};
use hh_ipc::api::{Hello, JournalPage, JournalQuery};
use hh_ipc::locate::Daemon;
use hh_ipc::{ApiError, Context};
use jiff::Timestamp;

/// What is due.
const DUE_MSAT: u64 = 4_200_456;

fn plan(id: Option<u64>) -> PayoutPlan {
    PayoutPlan {
        planned: vec![PlannedPayout {
            id,
            payee: "miner:alice".into(),
            amount_msat: DUE_MSAT,
            destination: "alice@wallet.example".into(),
            needs_approval: false,
            max_fee_msat: Some(42_000),
        }],
        total_msat: DUE_MSAT,
        day_limit_left_msat: Some(10_000_000),
        ..PayoutPlan::default()
    }
}

impl Treasury for Fake {
    async fn hello(self, _: Context) -> Hello {
        hello(Daemon::Treasury, false)
    }

    async fn status(self, _: Context) -> TreasuryStatus {
        TreasuryStatus {
            chain: "signet".into(),
            bitcoin_nodes: vec![up("http://127.0.0.1:38332")],
            pool_ledger: up("/var/lib/hyperhash/hh-pool/pool.db"),
            books: up("/var/lib/hyperhash/hh-treasury/treasury.db"),
            lightning: up("ldk-node"),
            backend: "ldk-node".into(),
            height: Some(210),
            totals: Some(Totals {
                payable_msat: i64::try_from(DUE_MSAT).unwrap(),
                ..Totals::default()
            }),
            balances: None,
            freeze: None,
            last_block: None,
            payouts_open: 0,
            payouts_waiting_for_operator: 0,
            last_verified_at: None,
            report_public_key: String::new(),
            reward_address: String::new(),
        }
    }

    async fn limits(self, _: Context) -> Result<Limits, ApiError> {
        Err(unasked())
    }

    async fn journal(self, _: Context, _: JournalQuery) -> Result<JournalPage, ApiError> {
        Err(unasked())
    }

    async fn blocks(self, _: Context, _: u32) -> Result<RewardBlockPage, ApiError> {
        Ok(RewardBlockPage::default())
    }

    async fn report(self, _: Context, _: String) -> Result<BlockReport, ApiError> {
        Err(unasked())
    }

    async fn window_page(self, _: Context, _: WindowPageQuery) -> Result<WindowPage, ApiError> {
        Err(unasked())
    }

    async fn edge_page(self, _: Context, _: EdgePageQuery) -> Result<EdgePage, ApiError> {
        Err(unasked())
    }

    async fn report_names(self, _: Context, _: NamesQuery) -> Result<NamesPage, ApiError> {
        Err(unasked())
    }

    async fn accounts(self, _: Context, _: AccountQuery) -> Result<AccountPage, ApiError> {
        Err(unasked())
    }

    async fn account(self, _: Context, _: String) -> Result<Account, ApiError> {
        Err(unasked())
    }

    async fn statement(self, _: Context, _: StatementQuery) -> Result<Statement, ApiError> {
        Err(unasked())
    }

    async fn proof(self, _: Context, _: ProofRequest) -> Result<AccountProofAnswer, ApiError> {
        Err(unasked())
    }

    async fn create_account(
        self,
        _: Context,
        _: CreateAccountRequest,
    ) -> Result<ClaimToken, ApiError> {
        Err(unasked())
    }

    async fn claim(self, _: Context, _: ClaimRequest) -> Result<Account, ApiError> {
        Err(unasked())
    }

    async fn set_destination(
        self,
        _: Context,
        _: SetDestinationRequest,
    ) -> Result<DestinationChanged, ApiError> {
        Err(unasked())
    }

    async fn replace_owner_key(
        self,
        _: Context,
        _: ReplaceOwnerKeyRequest,
    ) -> Result<Account, ApiError> {
        Err(unasked())
    }

    async fn cancel_destination(
        self,
        _: Context,
        _: CancelDestinationRequest,
    ) -> Result<Account, ApiError> {
        Err(unasked())
    }

    async fn payouts(self, _: Context, _: PayoutQuery) -> Result<PayoutPage, ApiError> {
        Ok(PayoutPage::default())
    }

    async fn payout(self, _: Context, _: u64) -> Result<PayoutDetail, ApiError> {
        Err(unasked())
    }

    async fn payout_plan(self, _: Context, _: RunRequest) -> Result<PayoutPlan, ApiError> {
        Ok(plan(None))
    }

    /// Opens what was shown, and nothing else.
    async fn payout_run(self, _: Context, request: RunRequest) -> Result<PayoutPlan, ApiError> {
        let is_as_shown =
            request.payees == ["miner:alice"] && request.total_msat_max == Some(DUE_MSAT);
        if request.request_id.is_empty() || !is_as_shown {
            return Err(unasked());
        }
        Ok(plan(Some(416)))
    }

    async fn payout_retry(self, _: Context, _: u64) -> Result<Payout, ApiError> {
        Err(unasked())
    }

    async fn payout_hold(self, _: Context, _: HoldRequest) -> Result<(), ApiError> {
        Err(unasked())
    }

    async fn payout_cancel(self, _: Context, _: CancelRequest) -> Result<Payout, ApiError> {
        Err(unasked())
    }

    async fn approval_draft(
        self,
        _: Context,
        _: u64,
    ) -> Result<Option<hh_ipc::api::treasury::ApprovalDraft>, ApiError> {
        Err(unasked())
    }

    async fn payout_approve(self, _: Context, _: ApproveRequest) -> Result<Payout, ApiError> {
        Err(unasked())
    }

    async fn adopt(
        self,
        _: Context,
        _: hh_ipc::api::treasury::AdoptRequest,
    ) -> Result<Payout, ApiError> {
        Err(unasked())
    }

    async fn adopt_foreign(self, _: Context, _: AdoptForeignRequest) -> Result<(), ApiError> {
        Err(unasked())
    }

    async fn payout_close_failed(
        self,
        _: Context,
        _: CloseFailedRequest,
    ) -> Result<Payout, ApiError> {
        Err(unasked())
    }

    async fn submit_invoice(self, _: Context, _: SubmitInvoiceRequest) -> Result<Payout, ApiError> {
        Err(unasked())
    }

    async fn draw(self, _: Context, _: DrawRequest) -> Result<Payout, ApiError> {
        Err(unasked())
    }

    async fn payment(self, _: Context, _: String) -> Result<PaymentTrack, ApiError> {
        Err(unasked())
    }

    async fn freeze(self, _: Context, request: FreezeRequest) -> Result<Freeze, ApiError> {
        Ok(Freeze {
            reason: request.reason,
            actor: "alice".into(),
            since_at: Timestamp::now(),
        })
    }

    async fn unfreeze(self, _: Context, _: UnfreezeRequest) -> Result<(), ApiError> {
        Err(unasked())
    }

    async fn verify(self, _: Context) -> Result<VerifyReport, ApiError> {
        Err(unasked())
    }

    async fn ledger(self, _: Context, _: LedgerQuery) -> Result<LedgerPage, ApiError> {
        Err(unasked())
    }

    async fn reconcile(self, _: Context) -> Result<ReconcileReport, ApiError> {
        Err(unasked())
    }

    async fn deposit(self, _: Context, _: DepositRequest) -> Result<Totals, ApiError> {
        Err(unasked())
    }

    async fn distribute_reserve(
        self,
        _: Context,
        _: DistributionRequest,
    ) -> Result<Totals, ApiError> {
        Err(unasked())
    }

    async fn lightning(self, _: Context) -> Result<LightningStatus, ApiError> {
        Err(unasked())
    }

    async fn address(self, _: Context) -> Result<String, ApiError> {
        Err(unasked())
    }

    async fn invoice(self, _: Context, _: InvoiceRequest) -> Result<String, ApiError> {
        Err(unasked())
    }

    async fn channels(self, _: Context) -> Result<Vec<Channel>, ApiError> {
        Ok(Vec::new())
    }

    async fn peers(self, _: Context) -> Result<Vec<Peer>, ApiError> {
        Err(unasked())
    }

    async fn connect_peer(self, _: Context, _: String) -> Result<Peer, ApiError> {
        Err(unasked())
    }

    async fn disconnect_peer(self, _: Context, _: String) -> Result<(), ApiError> {
        Err(unasked())
    }

    async fn open_channel(self, _: Context, _: ChannelOpenRequest) -> Result<Channel, ApiError> {
        Err(unasked())
    }

    async fn close_channel(self, _: Context, _: ChannelCloseRequest) -> Result<Channel, ApiError> {
        Err(unasked())
    }

    async fn set_channel_fees(
        self,
        _: Context,
        _: ChannelFeesRequest,
    ) -> Result<Channel, ApiError> {
        Err(unasked())
    }

    async fn rebalance(self, _: Context, _: RebalanceRequest) -> Result<Rebalance, ApiError> {
        Err(unasked())
    }

    async fn on_chain(self, _: Context) -> Result<OnChain, ApiError> {
        Err(unasked())
    }

    async fn withdraw(self, _: Context, _: WithdrawRequest) -> Result<Withdrawal, ApiError> {
        Err(unasked())
    }

    async fn withdrawals(self, _: Context, _: u32) -> Result<Vec<Withdrawal>, ApiError> {
        Err(unasked())
    }

    async fn close_withdrawal(
        self,
        _: Context,
        _: CloseWithdrawalRequest,
    ) -> Result<Withdrawal, ApiError> {
        Err(unasked())
    }

    async fn liquidity(self, _: Context) -> Result<Liquidity, ApiError> {
        Err(unasked())
    }

    async fn day_yields(self, _: Context, _: u32) -> Result<Vec<DayYield>, ApiError> {
        Err(unasked())
    }

    async fn lightning_payments(
        self,
        _: Context,
        _: u32,
    ) -> Result<Vec<LightningPayment>, ApiError> {
        Ok(Vec::new())
    }
}
