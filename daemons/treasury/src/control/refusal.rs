//! What callers are told where something is refused, with a code for programs.

use hh_daemon::Chain;
use hh_ipc::{ApiError, ErrorKind};
use hh_ledger::LedgerError;
use hh_ledger::books::BooksError;
use std::error::Error;
use std::fmt::Display;

/// The books.
pub(super) fn books(error: BooksError) -> ApiError {
    let (kind, code) = match &error {
        BooksError::Ledger(_) | BooksError::Witness { .. } => {
            let message = format!("the books don't answer: {}", Chain(&error));
            return ApiError::new(ErrorKind::Unavailable, "HH4001", message);
        }
        BooksError::NoBlock { .. } | BooksError::NoPayout { .. } => (ErrorKind::NotFound, "HH4004"),
        BooksError::Frozen { .. } => (ErrorKind::Failed, "HH4011"),
        BooksError::Held { .. } => (ErrorKind::Failed, "HH4012"),
        BooksError::OpenPayout { .. } => (ErrorKind::Failed, "HH4013"),
        BooksError::NotAgreed { .. } => (ErrorKind::Permission, "HH4030"),
        _ => (ErrorKind::Failed, "HH4010"),
    };
    ApiError::new(kind, code, error.to_string())
}

/// The pool's ledger.
pub(super) fn ledger(error: &LedgerError) -> ApiError {
    let message = format!("the pool's ledger does not answer: {}", Chain(error));
    ApiError::new(ErrorKind::Unavailable, "HH4002", message)
}

/// The wallet.
pub(super) fn wallet(why: impl Display) -> ApiError {
    let message = format!("the wallet does not do it: {why}");
    ApiError::new(ErrorKind::Unavailable, "HH4003", message)
}

/// What was named does not exist.
pub(super) fn not_found(message: String) -> ApiError {
    ApiError::new(ErrorKind::NotFound, "HH4004", message)
}

/// The arguments make no sense.
pub(super) fn usage(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorKind::Usage, "HH4005", message)
}

/// An error about what the caller wrote.
pub(super) fn wrong(error: &(impl Error + 'static)) -> ApiError {
    usage(Chain(error).to_string())
}

/// It was not signed as it has to be.
pub(super) fn unproven(error: &(impl Error + 'static)) -> ApiError {
    ApiError::new(ErrorKind::Permission, "HH4020", Chain(error).to_string())
}

/// A user's word is none where operators have keys.
pub(super) fn unsigned() -> ApiError {
    let message =
        "this treasury takes the approvals of operators that it lists, signed by their keys";
    ApiError::new(ErrorKind::Permission, "HH4033", message)
}

/// It can't be paid.
pub(super) fn unpayable(message: String) -> ApiError {
    ApiError::new(ErrorKind::Failed, "HH4021", message)
}

/// This wallet can't.
pub(super) fn unsupported(what: &str, why: &str) -> ApiError {
    let message = format!("this wallet can't {what}: {why}");
    ApiError::new(ErrorKind::Failed, "HH4022", message)
}

/// Somebody else has to say so too.
pub(super) fn second_operator(actor: &str, subject: &str) -> ApiError {
    let message = format!(
        "{actor} has agreed; nothing is done until another operator asks for the same ({subject}) within an hour"
    );
    ApiError::new(ErrorKind::Permission, "HH4030", message)
}

/// It must not be done as things stand.
pub(super) fn not_now(message: String) -> ApiError {
    ApiError::new(ErrorKind::Failed, "HH4032", message)
}

/// Something that should have worked.
pub(super) fn failed(message: String) -> ApiError {
    ApiError::new(ErrorKind::Failed, "HH4007", message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hh_ledger::books::{Payee, PayoutId};

    #[test]
    fn an_open_payout_has_a_code_of_its_own_because_it_ends() {
        let error = books(BooksError::OpenPayout {
            payee: Payee::Node("berlin".to_owned()),
            payout: PayoutId(7),
        });
        assert_eq!((error.kind, &*error.code), (ErrorKind::Failed, "HH4013"));
    }
}
