//! What ends a pass, and what is wrong with one block only.

use super::SplitError;
use hh_bitcoin::RpcError;
use hh_ledger::LedgerError;
use hh_ledger::books::BooksError;

/// Why a pass ended early; the next one goes on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PassError {
    #[error("the pool's ledger can't be read")]
    Ledger(#[from] LedgerError),
    #[error("the books don't answer")]
    Books(#[from] BooksError),
    #[error("Bitcoin Core does not answer")]
    Rpc(#[from] RpcError),
}

impl PassError {
    /// Whether a store or the node itself is away, so that no other block fares better.
    pub(super) fn is_away(&self) -> bool {
        match self {
            Self::Ledger(error) => is_ledger_away(error),
            Self::Books(error) => is_books_away(error),
            Self::Rpc(error) => is_node_away(error),
        }
    }

    /// What is wrong with the block that was to be split.
    ///
    /// # Errors
    /// Nothing is: a store or the node is away.
    pub(super) fn of_split(error: SplitError) -> Result<SplitError, Self> {
        match error {
            SplitError::Ledger(error) if is_ledger_away(&error) => Err(error.into()),
            SplitError::Books(error) if is_books_away(&error) => Err(error.into()),
            SplitError::Rpc(error) if is_node_away(&error) => Err(error.into()),
            error => Ok(error),
        }
    }
}

fn is_ledger_away(error: &LedgerError) -> bool {
    !matches!(
        error,
        LedgerError::EdgeIncomplete { .. }
            | LedgerError::RoundBackwards { .. }
            | LedgerError::OutOfRange { .. }
    )
}

fn is_books_away(error: &BooksError) -> bool {
    match error {
        BooksError::Ledger(error) => is_ledger_away(error),
        BooksError::Witness { .. } => true,
        _ => false,
    }
}

/// It has answered when it was asked for its tip, so what it refuses is this block: a pruned one.
fn is_node_away(error: &RpcError) -> bool {
    !matches!(error, RpcError::Refused { .. } | RpcError::Answer { .. })
}
