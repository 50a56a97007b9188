//! hh-treasury as an operator sees it. Amounts are millisatoshi, unless a field's name says `_sat`.

mod account;
mod block;
mod ledger;
mod lightning;
mod money;
mod onchain;
mod payout;

pub use account::{
    Account, AccountPage, AccountProofAnswer, AccountQuery, CancelDestinationRequest, ClaimRequest,
    ClaimToken, CreateAccountRequest, Destination, DestinationChanged, DestinationKind,
    ProofRequest, ReplaceOwnerKeyRequest, SetDestinationRequest, Statement, StatementLine,
    StatementQuery,
};
pub use block::{
    BlockReport, EdgePage, EdgePageQuery, NamesPage, NamesQuery, ReportName, RewardBlock,
    RewardBlockPage, RewardBlockState, WindowPage, WindowPageQuery,
};
pub use ledger::{BookChange, LedgerEntry, LedgerPage, LedgerQuery};
pub use lightning::{
    Channel, ChannelCloseRequest, ChannelFeesRequest, ChannelOpenRequest, ChannelState, DayYield,
    ForceCloseCost, Htlc, InvoiceRequest, LightningPayment, LightningStatus, Liquidity,
    LiquidityAdvice, Peer, Rebalance, RebalanceRequest, RebalanceState,
};
pub use money::{
    AdoptForeignRequest, AdoptRequest, Balances, DepositRequest, DistributionRequest, Finding,
    Freeze, FreezeRequest, Limits, ReconcileReport, Totals, TreasuryStatus, UnfreezeRequest,
    Unmatched, VerifyReport,
};
pub use onchain::{
    CloseWithdrawalRequest, ImmatureCoinbase, OnChain, WalletOutput, WithdrawRequest, Withdrawal,
    WithdrawalLimits, WithdrawalState,
};
pub use payout::{
    ApprovalDraft, ApproveRequest, Attempt, AttemptState, CancelRequest, CloseFailedRequest,
    DrawRequest, HoldRequest, PaymentTrack, Payout, PayoutDetail, PayoutEvent, PayoutPage,
    PayoutPlan, PayoutQuery, PayoutState, PlannedPayout, RunRequest, SignedApproval,
    SubmitInvoiceRequest, WalletSight, WalletSightState,
};

use super::{Hello, JournalPage, JournalQuery};
use crate::ApiError;

/// Answered on hh-treasury's sockets. Methods that change something are refused on `view.sock`.
#[tarpc::service]
pub trait Treasury {
    /// Who answers.
    async fn hello() -> Hello;
    /// One look at everything.
    async fn status() -> TreasuryStatus;
    /// What may be paid by itself, and how much of that is left today.
    async fn limits() -> Result<Limits, ApiError>;
    /// What operators have changed, as the daemon's journal has it.
    async fn journal(query: JournalQuery) -> Result<JournalPage, ApiError>;

    /// Blocks of ours on their way to being payable, newest first; at most `limit` and never more than 1,000.
    async fn blocks(limit: u32) -> Result<RewardBlockPage, ApiError>;
    /// The signed report of a block, by its hash in hex.
    async fn report(hash: String) -> Result<BlockReport, ApiError>;
    /// What the report was computed from, in pages: for those who compute it again.
    async fn window_page(query: WindowPageQuery) -> Result<WindowPage, ApiError>;
    /// The shares of the edge of a report's window, under pseudonyms and in pages: anybody may hold them against the report's hash.
    async fn edge_page(query: EdgePageQuery) -> Result<EdgePage, ApiError>;
    /// The accounts behind a report's pseudonyms, in pages: for the same.
    async fn report_names(query: NamesQuery) -> Result<NamesPage, ApiError>;

    /// Accounts with balances, by name.
    async fn accounts(query: AccountQuery) -> Result<AccountPage, ApiError>;
    /// One of them.
    async fn account(name: String) -> Result<Account, ApiError>;
    /// What moved on an account, newest first.
    async fn statement(query: StatementQuery) -> Result<Statement, ApiError>;
    /// What an account has of a block, and the path that proves it.
    async fn proof(request: ProofRequest) -> Result<AccountProofAnswer, ApiError>;
    /// Makes an account before its first use, with a claim token or an owner key.
    async fn create_account(request: CreateAccountRequest) -> Result<ClaimToken, ApiError>;
    /// Makes a name one's own with the token that an operator gave out.
    async fn claim(request: ClaimRequest) -> Result<Account, ApiError>;
    /// Sets where an account is paid, after a proof that one may; in force after the cooling-off period.
    async fn set_destination(
        request: SetDestinationRequest,
    ) -> Result<DestinationChanged, ApiError>;

    /// Makes another key the owner's of an account that has one; two operators.
    async fn replace_owner_key(request: ReplaceOwnerKeyRequest) -> Result<Account, ApiError>;
    /// Takes a destination back; two operators.
    async fn cancel_destination(request: CancelDestinationRequest) -> Result<Account, ApiError>;

    /// Payouts, newest first.
    async fn payouts(query: PayoutQuery) -> Result<PayoutPage, ApiError>;
    /// One payout with its attempts and its history.
    async fn payout(id: u64) -> Result<PayoutDetail, ApiError>;
    /// What a run would pay now, and why it leaves out whom it leaves out. Changes nothing.
    async fn payout_plan(request: RunRequest) -> Result<PayoutPlan, ApiError>;
    /// Opens the payouts of a plan. Idempotent by its request id.
    async fn payout_run(request: RunRequest) -> Result<PayoutPlan, ApiError>;
    /// Tries a payout again now that waits.
    async fn payout_retry(id: u64) -> Result<Payout, ApiError>;
    /// Keeps a payee or a payout from being paid, or lets it be paid again.
    async fn payout_hold(request: HoldRequest) -> Result<(), ApiError>;
    /// Ends a payout without a live attempt; the amount goes back to the balance.
    async fn payout_cancel(request: CancelRequest) -> Result<Payout, ApiError>;
    /// What an operator signs as his word for a payout; none where this treasury lists no operators' keys, and two users are two.
    async fn approval_draft(id: u64) -> Result<Option<ApprovalDraft>, ApiError>;
    /// One operator's word for a payout above the limit, over its exact amount and destination.
    async fn payout_approve(request: ApproveRequest) -> Result<Payout, ApiError>;
    /// Two operators close what can't be concluded, once the chain has passed its CLTV limit.
    async fn payout_close_failed(request: CloseFailedRequest) -> Result<Payout, ApiError>;
    /// A node's invoice for its dues.
    async fn submit_invoice(request: SubmitInvoiceRequest) -> Result<Payout, ApiError>;
    /// An invoice that a miner's account is drawn by. The same one opens nothing twice.
    async fn draw(request: DrawRequest) -> Result<Payout, ApiError>;
    /// What has become of a payment hash, in hex: by the books, and by the wallet, which is asked.
    async fn payment(hash: String) -> Result<PaymentTrack, ApiError>;

    /// Stops new payouts at once. Never asks, works twice.
    async fn freeze(request: FreezeRequest) -> Result<Freeze, ApiError>;
    /// Lets payouts go on; refused while the books or the wallet's history don't agree.
    async fn unfreeze(request: UnfreezeRequest) -> Result<(), ApiError>;
    /// Adds the books up and compares them with the wallet; freezes payouts where they don't agree.
    async fn verify() -> Result<VerifyReport, ApiError>;
    /// What the books are made of, entry by entry, newest first.
    async fn ledger(query: LedgerQuery) -> Result<LedgerPage, ApiError>;
    /// Matches the wallet's outgoing payments to attempts.
    async fn reconcile() -> Result<ReconcileReport, ApiError>;
    /// Says whose an unmatched payment was; two operators. It settles the payee's open payout of that amount, or comes off the balance.
    async fn adopt(request: AdoptRequest) -> Result<Payout, ApiError>;
    /// Says that unmatched payments were to no payee; two operators.
    async fn adopt_foreign(request: AdoptForeignRequest) -> Result<(), ApiError>;
    /// Books the operator's capital out of what arrived unexplained.
    async fn deposit(request: DepositRequest) -> Result<Totals, ApiError>;
    /// Gives a part of the reserve to nodes; two operators.
    async fn distribute_reserve(request: DistributionRequest) -> Result<Totals, ApiError>;

    /// What the wallet has on the chain: its outputs where it lists them, and what may be withdrawn.
    async fn on_chain() -> Result<OnChain, ApiError>;
    /// Sends money of the operator's own to an address; above the limit of approval two operators ask for the same. Idempotent by its
    /// request id; `dry_run` says whether it would be sent, and what it may cost.
    async fn withdraw(request: WithdrawRequest) -> Result<Withdrawal, ApiError>;
    /// Withdrawals, newest first; at most `limit`, and never more than 500.
    async fn withdrawals(limit: u32) -> Result<Vec<Withdrawal>, ApiError>;
    /// Two operators say that one whose transaction nobody has is not to be waited for, once a day's blocks have passed.
    async fn close_withdrawal(request: CloseWithdrawalRequest) -> Result<Withdrawal, ApiError>;

    /// The Lightning node.
    async fn lightning() -> Result<LightningStatus, ApiError>;
    /// A fresh on-chain address of the wallet.
    async fn address() -> Result<String, ApiError>;
    /// An invoice of the wallet.
    async fn invoice(request: InvoiceRequest) -> Result<String, ApiError>;
    /// Its channels with their pending HTLCs.
    async fn channels() -> Result<Vec<Channel>, ApiError>;
    /// The nodes that it is connected to or has channels with.
    async fn peers() -> Result<Vec<Peer>, ApiError>;
    /// Connects to `NODE_ID@HOST:PORT`, and keeps it in mind.
    async fn connect_peer(peer: String) -> Result<Peer, ApiError>;
    /// Ends the connection to a node, by its id.
    async fn disconnect_peer(node_id: String) -> Result<(), ApiError>;
    /// Opens one; `dry_run` says what it would cost.
    async fn open_channel(request: ChannelOpenRequest) -> Result<Channel, ApiError>;
    /// Closes one.
    async fn close_channel(request: ChannelCloseRequest) -> Result<Channel, ApiError>;
    /// Sets what routing out by a channel costs others.
    async fn set_channel_fees(request: ChannelFeesRequest) -> Result<Channel, ApiError>;
    /// Moves balance between channels where the backend can; `dry_run` says whether both sides have enough and what it may cost.
    async fn rebalance(request: RebalanceRequest) -> Result<Rebalance, ApiError>;
    /// What an operator could do about the channels, the most urgent first.
    async fn liquidity() -> Result<Liquidity, ApiError>;
    /// What each day of the last so many, at most 400, has earned, cost and paid, newest first; days without anything are left out.
    async fn day_yields(days: u32) -> Result<Vec<DayYield>, ApiError>;
    /// The wallet's newest payments, newest first.
    async fn lightning_payments(limit: u32) -> Result<Vec<LightningPayment>, ApiError>;
}
