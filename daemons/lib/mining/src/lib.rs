//! The rules of mining as pure functions and small values: targets, work and score, headers, jobs and their coinbase, the
//! extranonce space, share checks, floods of bad shares, vardiff, a round's luck, who a miner says he is, how the reward of a
//! block is split, and the report by which anyone checks that.
//!
//! Nothing here does I/O, reads a clock or waits: times come in as arguments. Whatever is a matter of policy (limits,
//! lanes, accounts' rights) belongs to the daemons.

pub mod account_proof;
pub mod block;
mod canonical;
pub mod coinbase;
pub mod extranonce;
pub mod flood;
pub mod header;
pub mod identity;
pub mod job;
pub mod luck;
pub mod msat;
pub mod recount;
pub mod relayed;
pub mod report;
pub mod reward;
pub mod share;
pub mod sum_tree;
pub mod tally;
pub mod target;
pub mod template;
pub mod vardiff;
pub mod window;
pub mod window_bounds;
pub mod window_entry;
pub mod work;

pub use account_proof::{AccountProof, ProofError, ProvenPart};
pub use bitcoin::Network;
pub use block::assemble_block;
pub use coinbase::{Coinbase, ScriptKind, ScriptSigPart};
pub use extranonce::{Extranonce, ExtranoncePrefix, PrefixAllocator, ServerId};
pub use flood::FloodWatch;
pub use header::{BlockHash, Header};
pub use identity::{Account, Identity, IdentityError, WorkerName};
pub use job::{CoinbaseRecipe, Job, JobError, merkle_root, merkle_root_of};
pub use luck::{Effort, Spread};
pub use msat::Msat;
pub use recount::{Recount, RecountError};
pub use relayed::{BodyError, HeaderError, RelayedHeader};
pub use report::{BlockReport, EdgeRow, ReportError, ReportParts, ReportedBlock};
pub use reward::{Division, Reward, RewardError};
pub use share::{CheckedShare, RejectedShare, ShareError, ShareTarget, ShareTerms};
pub use sum_tree::{Leaf, SumNode, SumTree, SumTreeError};
pub use tally::{EntriesHash, Tally, WindowTotals};
pub use target::{CompactError, Target};
pub use template::{Template, Tip, coinbase_merkle_path};
pub use vardiff::{Bounds, Vardiff};
pub use window::{Credit, Credits, Window};
pub use window_bounds::{Oldest, ShareId, SharePosition, WindowBounds, WindowSize};
pub use window_entry::{CORE, EdgeShare, EntryOrigin, PartMinute, WholeMinute, WindowEntry};
pub use work::{Score, Work};
