//! SIGNATURES ONLY IN THIS COMMIT: bodies follow, names and types stay. `hh_ledger::Books` and `hh_ledger::books::*`.
//!
//! The treasury's double-entry books: `treasury.db` on SQLite, the schema `treasury` on PostgreSQL. One writer: hh-treasury.
//!
//! Every method is one transaction. What it refuses is a [`BooksError`], and nothing of the call is in the books then. All
//! money is `hh_mining::Msat`, times are milliseconds since 1970 (`now_ms` is the caller's clock), block hashes
//! `hh_mining::BlockHash`, payment hashes and preimages `[u8; 32]`.

/// Handle to the books; clones share the writer.
pub struct Books;

impl Books {
    /// Starts the writer. The books are opened, made and migrated by the first call.
    ///
    /// `witness` is a small file outside the database (hh-treasury: `data_dir/books.witness`) that holds the database's random
    /// generation and the number of the last commit. Where a database that is connected to has another generation, or fewer
    /// commits than the witness has seen, it was restored or a standby that lagged took over: the books freeze themselves
    /// (reason `restored`) in the same moment. A missing witness beside a database that has attempts freezes as well.
    pub fn open(location: &Location, witness: &Path) -> Result<Self, BooksError>;
    /// Makes and migrates (`hh-treasury --migrate`); else the first call does.
    pub async fn migrate(&self) -> Result<(), BooksError>;
    /// SQLite: moves the write-ahead log into the database; before a stop.
    pub async fn checkpoint(&self) -> Result<(), BooksError>;

    // ---- blocks (books/block.rs)
    /// Ok(true) if it is new. Idempotent; a later call fills in a reward that was not known.
    pub async fn track_block(&self, block: NewBlock) -> Result<bool, BooksError>;
    /// Refused: `Payable` (only `mature` sets it), `Orphaned`/`Rejected` where a split stands (`reverse` first, it sets the state),
    /// `Mature` below 100 confirmations. An orphan may be accepted again.
    pub async fn set_block_state(&self, hash: BlockHash, state: BookBlockState, confirmations: u32, reason: Option<String>, now_ms: i64) -> Result<(), BooksError>;
    /// Ok(false) if the same division stands already; BooksError::AnotherSplit if another one does.
    pub async fn post_split(&self, split: Split, now_ms: i64) -> Result<bool, BooksError>;
    /// Coinbase to wallet, immature to balance; the block is payable then. Needs a split that stands and the state `Mature`.
    /// Ok(false) if that was done.
    pub async fn mature(&self, hash: BlockHash, now_ms: i64) -> Result<bool, BooksError>;
    /// Takes split and maturity of an orphan back, sets `Orphaned`. What payees have spent is posted to loss; what waits in their
    /// payouts without a live attempt is taken back first (those payouts are cancelled).
    pub async fn reverse(&self, hash: BlockHash, reason: String, now_ms: i64) -> Result<Reversed, BooksError>;
    /// Takes an immature split back so that it can be made again (`round`); the state stays.
    pub async fn unsplit(&self, hash: BlockHash, reason: String, now_ms: i64) -> Result<Reversed, BooksError>;
    pub async fn block(&self, hash: BlockHash) -> Result<Option<BookBlock>, BooksError>;
    /// Newest (highest) first.
    pub async fn blocks(&self, limit: u32) -> Result<Vec<BookBlock>, BooksError>;
    /// Those that are not rejected, orphaned or payable: what there is to follow. Lowest first.
    pub async fn open_blocks(&self) -> Result<Vec<BookBlock>, BooksError>;
    pub async fn report(&self, hash: BlockHash) -> Result<Option<SignedReport>, BooksError>;
    /// The leaves of a block's sum tree with whose they are, in the order of accounts.
    pub async fn leaves(&self, hash: BlockHash) -> Result<Vec<AccountLeaf>, BooksError>;
    /// What the account has of the last blocks, newest first.
    pub async fn leaves_of(&self, account: String, limit: u32) -> Result<Vec<(BlockHash, AccountLeaf)>, BooksError>;
    /// Keeps a salt for each account that has none, and gives those that are kept. The proposals are random.
    pub async fn salts(&self, proposals: Vec<(String, [u8; 32])>) -> Result<Vec<(String, [u8; 32])>, BooksError>;

    // ---- what there is (books/balance.rs, books/verify.rs)
    pub async fn balances(&self) -> Result<Vec<PayeeBalance>, BooksError>;
    pub async fn balance(&self, payee: Payee) -> Result<PayeeBalance, BooksError>;
    /// Newest first.
    pub async fn statement(&self, payee: Payee, page: Page) -> Result<Vec<StatementLine>, BooksError>;
    /// All entries with their postings, newest first.
    pub async fn entries(&self, page: Page) -> Result<Vec<Entry>, BooksError>;
    pub async fn totals(&self) -> Result<Totals, BooksError>;
    pub async fn verify(&self) -> Result<Verification, BooksError>;

    // ---- the wallet, capital, reserve (books/wallet.rs)
    /// Ok(false) if `key` was booked with the same content; an error if with another.
    pub async fn book_wallet_change(&self, change: WalletChange, evidence: String, key: String, now_ms: i64) -> Result<bool, BooksError>;
    /// From suspense to capital. `key`: of the request, idempotent.
    pub async fn deposit_capital(&self, amount: Msat, actor: String, key: String, now_ms: i64) -> Result<bool, BooksError>;
    /// From the reserve `node-network` to nodes.
    pub async fn distribute_reserve(&self, parts: Vec<(String, Msat)>, actors: TwoActors, key: String, now_ms: i64) -> Result<bool, BooksError>;

    // ---- freezing, holds, consents (books/freeze.rs)
    /// Never asks. Several may stand at once; one with the same reason stands once.
    pub async fn freeze(&self, reason: String, actor: String, now_ms: i64) -> Result<(), BooksError>;
    /// Lifts all of them; Ok(false) if none stood.
    pub async fn unfreeze(&self, actors: TwoActors, reason: String, now_ms: i64) -> Result<bool, BooksError>;
    /// The oldest that stands.
    pub async fn frozen(&self) -> Result<Option<Freeze>, BooksError>;
    pub async fn freezes(&self) -> Result<Vec<Freeze>, BooksError>;
    pub async fn hold(&self, what: Held, reason: String, actor: String, now_ms: i64) -> Result<(), BooksError>;
    /// Ok(false) if it was not held.
    pub async fn release(&self, what: Held, actor: String, now_ms: i64) -> Result<bool, BooksError>;
    pub async fn holds(&self) -> Result<Vec<Hold>, BooksError>;
    /// Notes that `actor` agrees to exactly these terms until `until_ms`, and gives all who do now: the first of two persons
    /// waits here. `subject`: what it is about (`unfreeze`, `close:7`, ...); used up by `take_consents`.
    pub async fn consent(&self, subject: String, terms: String, actor: String, until_ms: i64, now_ms: i64) -> Result<Vec<String>, BooksError>;
    pub async fn take_consents(&self, subject: String) -> Result<(), BooksError>;

    // ---- destinations, owners, invoices (books/destination.rs, books/claim.rs)
    pub async fn set_destination(&self, destination: NewDestination, now_ms: i64) -> Result<Destination, BooksError>;
    /// Ok(false) if there is none with that number or it is cancelled.
    pub async fn cancel_destination(&self, payee: Payee, seq: u64, actor: String, now_ms: i64) -> Result<bool, BooksError>;
    /// The last one set decides: active, cooling off (nothing is paid then), cancelled or none. A Lightning address account is its
    /// own destination.
    pub async fn destination_of(&self, payee: Payee, now_ms: i64) -> Result<DestinationOf, BooksError>;
    pub async fn destinations(&self, payee: Payee) -> Result<Vec<Destination>, BooksError>;
    /// Ok(false) if this node has submitted it before.
    pub async fn submit_invoice(&self, invoice: NodeInvoice, now_ms: i64) -> Result<bool, BooksError>;
    /// Newest first.
    pub async fn invoices(&self, node: String, page: Page) -> Result<Vec<NodeInvoiceRow>, BooksError>;
    /// Unexpired and never paid or tried, oldest first, of all nodes.
    pub async fn open_invoices(&self, now_ms: i64, limit: u32) -> Result<Vec<NodeInvoiceRow>, BooksError>;
    /// A new token takes the place of an unused one. Names only; refused where the account has an owner.
    pub async fn put_claim_token(&self, account: String, token_sha256: [u8; 32], by: String, now_ms: i64) -> Result<(), BooksError>;
    /// Uses the token up and makes `owner_key` (Ed25519) the account's owner.
    pub async fn claim(&self, account: String, token: Vec<u8>, owner_key: [u8; 32], now_ms: i64) -> Result<(), BooksError>;
    /// An operator gives out the owner's key himself; refused where the account has an owner.
    pub async fn put_owner_key(&self, account: String, owner_key: [u8; 32], by: String, now_ms: i64) -> Result<(), BooksError>;
    /// Another owner's key for an account that has one: two persons.
    pub async fn replace_owner_key(&self, account: String, owner_key: [u8; 32], actors: TwoActors, reason: String, now_ms: i64) -> Result<(), BooksError>;
    pub async fn owner(&self, account: String) -> Result<Option<Owner>, BooksError>;

    // ---- payouts (books/payout.rs)
    /// Moves the amount from the payee's balance into the payout. The same key with the same content gives the same payout.
    pub async fn open_payout(&self, payout: NewPayout, now_ms: i64) -> Result<PayoutId, BooksError>;
    /// Says how many different persons' valid approvals it has now; `amount` and `destination` must be the payout's.
    pub async fn approve_payout(&self, approval: Approval, now_ms: i64) -> Result<u32, BooksError>;
    /// queued | ready | retry_wait -> resolving (an invoice is being fetched).
    pub async fn resolving(&self, payout: PayoutId, now_ms: i64) -> Result<(), BooksError>;
    /// -> ready (the invoice is at hand).
    pub async fn ready(&self, payout: PayoutId, now_ms: i64) -> Result<(), BooksError>;
    /// -> retry_wait without an attempt: no invoice was to be had. Counts as a try.
    pub async fn retry_later(&self, payout: PayoutId, reason: String, next_try_at_ms: i64, now_ms: i64) -> Result<(), BooksError>;
    /// An operator's: needs_operator or retry_wait, without a live attempt -> retry_wait, due now.
    pub async fn retry_now(&self, payout: PayoutId, actor: String, now_ms: i64) -> Result<(), BooksError>;
    /// -> needs_operator.
    pub async fn needs_operator(&self, payout: PayoutId, reason: String, now_ms: i64) -> Result<(), BooksError>;
    /// Back to the balance; only without a live attempt.
    pub async fn cancel_payout(&self, payout: PayoutId, actor: String, reason: String, now_ms: i64) -> Result<(), BooksError>;
    /// The live attempt of a payout in needs_operator becomes failed_final, on the word of two. `chain_height` must be at
    /// least dispatch_height + cltv_limit.
    pub async fn close_failed(&self, payout: PayoutId, actors: TwoActors, reason: String, chain_height: u32, now_ms: i64) -> Result<(), BooksError>;
    /// queued, resolving, ready or retry_wait and due; not held, approved, not frozen. Longest due first.
    pub async fn due_payouts(&self, now_ms: i64, limit: u32) -> Result<Vec<Payout>, BooksError>;
    pub async fn payouts(&self, filter: PayoutFilter, page: Page) -> Result<Vec<Payout>, BooksError>;
    pub async fn payout(&self, payout: PayoutId) -> Result<Option<PayoutStory>, BooksError>;

    // ---- attempts (books/attempt.rs)
    /// Committed before anything is sent; the payout is `paying` then. Refused when frozen, held, not approved, the destination is no
    /// longer the payee's, another attempt is live, the hash is known, the amount is another, the invoice has expired, or the day's limit
    /// would be passed.
    pub async fn prepare_attempt(&self, attempt: NewAttempt, now_ms: i64) -> Result<AttemptId, BooksError>;
    /// Committed (and the witness synced) before the call. From prepared only; refused when frozen, held or the invoice has expired.
    pub async fn dispatched(&self, attempt: AttemptId, height: u32, channels: Vec<String>, now_ms: i64) -> Result<(), BooksError>;
    /// From dispatched or unknown.
    pub async fn in_flight(&self, attempt: AttemptId, now_ms: i64) -> Result<(), BooksError>;
    /// From dispatched or in_flight.
    pub async fn unknown(&self, attempt: AttemptId, why: String, now_ms: i64) -> Result<(), BooksError>;
    /// It was concluded that the wallet never sent it (design.md 5): unknown -> prepared, so that the same invoice may be sent again.
    pub async fn never_sent(&self, attempt: AttemptId, evidence: String, now_ms: i64) -> Result<(), BooksError>;
    /// Final, from any state. Ok(Settlement::Loss) where the money had been given back or paid otherwise meanwhile.
    pub async fn settled(&self, attempt: AttemptId, preimage: [u8; 32], fee: Msat, now_ms: i64) -> Result<Settlement, BooksError>;
    /// From dispatched, in_flight or unknown (Ok(false) if it has settled or failed before); the payout waits until `next_try_at_ms`.
    pub async fn failed_final(&self, attempt: AttemptId, code: String, evidence: String, next_try_at_ms: i64, now_ms: i64) -> Result<bool, BooksError>;
    /// From prepared only; the payout is ready to be tried again at once.
    pub async fn abandoned(&self, attempt: AttemptId, why: String, now_ms: i64) -> Result<(), BooksError>;
    /// Prepared, dispatched, in_flight and unknown: what there is to resolve after a start. Oldest first.
    pub async fn open_attempts(&self) -> Result<Vec<Attempt>, BooksError>;
    /// Those of these payment hashes that the books know.
    pub async fn attempts_by_hash(&self, hashes: Vec<[u8; 32]>) -> Result<Vec<Attempt>, BooksError>;
    /// A payment of the wallet's history that the books don't know (a restored ledger): two persons say whose it was. Settles the payee's
    /// open payout of that amount where it has no live attempt; else takes it from the balance, and what that lacks is a loss.
    pub async fn adopt_payment(&self, payment: AdoptedPayment, actors: TwoActors, now_ms: i64) -> Result<PayoutId, BooksError>;
}

// ------------------------------------------------------------------ types

/// Who can be owed money. Display and FromStr: `miner:ACCOUNT`, `node:ID`, `reserve:node-network`, `treasury`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Payee { Miner(String), Node(String), NodeReserve, Treasury }

/// An account of the books. Display and FromStr: `coinbase:BLOCKHASH`, `wallet`, `immature:PAYEE`, `balance:PAYEE`, `payout:ID`,
/// `suspense`, `capital`, `loss`, `fee:routing`, `fee:onchain`, `fee:channel`, `income:routing`. Assets, expenses and losses are
/// positive, claims on us and income negative.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BookAccount { Coinbase(BlockHash), Wallet, Immature(Payee), Balance(Payee), Payout(PayoutId), Suspense, Capital, Loss, RoutingFees, OnchainFees, ChannelFees, RoutingIncome }

pub struct PayoutId(pub u64);
pub struct AttemptId(pub u64);

/// Two different persons.
pub struct TwoActors { /* first, second */ }
impl TwoActors { pub fn new(first: impl Into<String>, second: impl Into<String>) -> Result<Self, BooksError>; }

/// Newest first: rows with an id below `before` (none: from the newest on), at most `limit`.
pub struct Page { pub before: Option<u64>, pub limit: u32 }

pub enum BookBlockState { Tracked, Accepted, Confirmed, Mature, Payable, Rejected, Orphaned }
pub struct NewBlock { pub hash: BlockHash, pub height: u32, pub finder: String, pub found_at_ms: i64, pub reward: Option<Reward> }
pub struct BookBlock {
    pub hash: BlockHash, pub height: u32, pub state: BookBlockState, pub value: Option<Msat>, pub subsidy: Option<Msat>, pub fees: Option<Msat>,
    pub finder: String, pub found_at_ms: i64, pub split_at_ms: Option<i64>, pub mature_at_ms: Option<i64>, pub confirmations: u32,
    pub reason: Option<String>, pub window: Option<WindowBounds>, pub has_report: bool,
}
/// What a block is split by.
pub struct Split { pub hash: BlockHash, pub division: Division, pub window: WindowBounds, pub report: SignedReport, pub leaves: Vec<AccountLeaf> }
/// `rule`: `pplns 4` or `round`; times of the oldest and the newest share in it.
pub struct WindowBounds { pub rule: String, pub first_ms: Option<i64>, pub last_ms: i64, pub score: Score }
/// `json`: the exact bytes that are signed; `jws`: compact, with the report key.
pub struct SignedReport { pub json: Vec<u8>, pub jws: String }
/// hh_mining::Leaf of an account.
pub struct AccountLeaf { pub account: String, pub leaf: Leaf }
/// `loss`: what payees could not give back.
pub struct Reversed { pub amount: Msat, pub loss: Msat, pub cancelled: Vec<PayoutId> }

pub struct PayeeBalance { pub payee: Payee, pub immature: Msat, pub payable: Msat, pub held_by_payouts: Msat, pub paid: Msat }
/// A change of what the payee has: `immature` and `payable` are signed changes, `*_after` what there was then.
pub struct StatementLine { pub entry: u64, pub kind: EntryKind, pub at_ms: i64, pub block: Option<BlockHash>, pub payout: Option<PayoutId>, pub note: String,
    pub immature_msat: i64, pub immature_after: Msat, pub payable_msat: i64, pub payable_after: Msat }
pub enum EntryKind { Split, Maturity, Reversal, PayoutOpen, PayoutCancelled, PayoutSettled, PayoutLate, OnchainFee, ChannelFee, RoutingIncome, Unexplained, Capital, Reserve }
pub struct Entry { pub id: u64, pub kind: EntryKind, pub at_ms: i64, pub block: Option<BlockHash>, pub payout: Option<PayoutId>, pub reverses: Option<u64>, pub note: String, pub postings: Vec<Posting> }
pub struct Posting { pub account: BookAccount, pub amount_msat: i64, pub after_msat: i64 }

/// `wallet_msat`, `suspense_msat` and `treasury_msat` may be negative. `treasury_msat` is what is the treasury's own: its balance, capital and income
/// less fees and losses; so receipts = paid + fees + payable + reserves + open_payouts + suspense + treasury.
pub struct Totals {
    pub coinbase: Msat, pub immature: Msat, pub wallet_msat: i64,
    pub payable: Msat /* miners and nodes */, pub open_payouts: Msat, pub reserves: Msat, pub treasury_balance: Msat, pub treasury_msat: i64,
    pub suspense_msat: i64, pub capital: Msat, pub loss: Msat, pub fees_routing: Msat, pub fees_onchain: Msat, pub fees_channel: Msat,
    pub income_routing: Msat, pub received: Msat, pub paid: Msat,
}
impl Totals {
    /// payable + open payouts + reserves: what matured assets must cover (design.md 4.9). Not the treasury's own.
    pub fn owed(&self) -> Msat;
    pub fn fees(&self) -> Msat;
}
pub struct Verification { pub entries: u64, pub postings: u64, pub findings: Vec<String> }
impl Verification { pub fn is_sound(&self) -> bool; }

/// What happened to the wallet that is no payout and no coinbase.
pub enum WalletChange { OnchainFee(Msat), ChannelFee(Msat), RoutingIncome(Msat), UnexplainedIn(Msat), UnexplainedOut(Msat) }

pub struct Freeze { pub reason: String, pub actor: String, pub at_ms: i64 }
pub enum Held { Payee(Payee), Payout(PayoutId) }
pub struct Hold { pub what: Held, pub reason: String, pub actor: String, pub at_ms: i64 }

/// For miners and the treasury: LnAddress, Bolt12, Bolt11Draw (`text`: the key that may draw, hex). NodeInvoice is never set: nodes submit invoices.
pub enum DestinationKind { LnAddress, NodeInvoice, Bolt12, Bolt11Draw }
pub struct NewDestination { pub payee: Payee, pub seq: u64, pub kind: DestinationKind, pub text: String, pub proof: String, pub cooling_off_ms: i64 }
pub struct Destination { pub payee: Payee, pub seq: u64, pub kind: DestinationKind, pub text: String, pub proof: String, pub set_at_ms: i64, pub active_from_ms: i64, pub cancelled_at_ms: Option<i64> }
pub enum DestinationOf { None, Active(Destination), CoolingOff(Destination), Cancelled(Destination) }
pub struct NodeInvoice { pub node: String, pub bolt11: String, pub payment_hash: [u8; 32], pub amount: Msat, pub expires_at_ms: i64 }
pub struct NodeInvoiceRow { pub id: u64, pub invoice: NodeInvoice, pub submitted_at_ms: i64, pub payout: Option<PayoutId> }
pub struct Owner { pub key: [u8; 32], pub by: String, pub since_ms: i64 }

/// What a payout pays to. For Bolt11Draw and NodeInvoice `text` is the invoice; else the destination's text.
pub struct PayTo { pub kind: DestinationKind, pub text: String }
pub struct NewPayout { pub payee: Payee, pub amount: Msat, pub to: PayTo, pub key: String, pub rule: String, pub approvals_needed: u32 }
pub enum PayoutState { Queued, Resolving, Ready, Paying, Settled, RetryWait, NeedsOperator, Cancelled }
pub struct Payout { pub id: PayoutId, pub key: String, pub payee: Payee, pub amount: Msat, pub to: PayTo, pub rule: String, pub state: PayoutState,
    pub approvals_needed: u32, pub next_try_at_ms: Option<i64>, pub tries: u32, pub created_at_ms: i64, pub ended_at_ms: Option<i64>, pub reason: Option<String> }
pub struct PayoutFilter { pub payee: Option<Payee>, pub states: Vec<PayoutState> /* empty: all */ }
pub struct PayoutStory { pub payout: Payout, pub attempts: Vec<Attempt>, pub history: Vec<HistoryLine>, pub approvals: Vec<Approval>, pub holds: Vec<Hold> }
pub struct HistoryLine { pub at_ms: i64, pub attempt: Option<AttemptId>, pub state: String, pub what: String, pub actor: Option<String> }
pub struct Approval { pub payout: PayoutId, pub actor: String, pub amount: Msat, pub to: PayTo, pub until_ms: i64 }

pub enum AttemptState { Prepared, Dispatched, InFlight, Unknown, Settled, FailedFinal, Abandoned, SettledLate }
/// `day_limit`: the most that may be sent in 24 hours, this one and fee limits included.
pub struct NewAttempt { pub payout: PayoutId, pub payment_hash: [u8; 32], pub invoice: String, pub amount: Msat, pub max_fee: Msat, pub cltv_limit: u32,
    pub wallet_node: String, pub invoice_expires_at_ms: i64, pub day_limit: Option<Msat> }
pub struct Attempt { pub id: AttemptId, pub payout: PayoutId, pub payee: Payee, pub payment_hash: [u8; 32], pub invoice: String, pub amount: Msat, pub max_fee: Msat,
    pub cltv_limit: u32, pub wallet_node: String, pub invoice_expires_at_ms: i64, pub state: AttemptState, pub prepared_at_ms: i64, pub dispatched_at_ms: Option<i64>,
    pub dispatch_height: Option<u32>, pub channels: Vec<String>, pub ended_at_ms: Option<i64>, pub preimage: Option<Preimage>, pub fee: Option<Msat>, pub failure: Option<String>, pub evidence: Option<String> }
/// Debug never shows it.
pub struct Preimage([u8; 32]);
pub enum Settlement { Paid, /** A second time for the same money: the treasury's loss. */ Loss, /** It was booked before. */ Known }
pub struct AdoptedPayment { pub payee: Payee, pub payment_hash: [u8; 32], pub preimage: Option<[u8; 32]>, pub amount: Msat, pub fee: Msat, pub wallet_node: String, pub evidence: String }

/// Why a call was refused. Each variant has what, where and the way out in its text.
pub enum BooksError { /* Ledger(LedgerError) and one per refusal: Frozen, Held, BalanceTooSmall, Reserve, OpenPayout, AnotherSplit, ... */ }
