//! What a daemon answers when it can't do what it was asked.

use serde::{Deserialize, Serialize};

/// A refusal: a code for programs and the error catalogue, a message for people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// Decides the exit status of `hhctl`.
    pub kind: ErrorKind,
    /// `HHnnnn`, from the range of the daemon (HH1nnn tp, HH2nnn pool, HH3nnn translator).
    pub code: String,
    /// What failed and why, with the values that failed.
    pub message: String,
}

/// The closed set of reactions a caller can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The arguments make no sense.
    Usage,
    /// What was named does not exist.
    NotFound,
    /// The socket or the caller may not do this.
    Permission,
    /// Something that the daemon needs is away; later may work.
    Unavailable,
    /// Anything else.
    Failed,
}

impl ApiError {
    /// `code` without its daemon's range being checked, `message` in lower case without a full stop.
    pub fn new(kind: ErrorKind, code: &str, message: impl Into<String>) -> Self {
        Self {
            kind,
            code: code.to_owned(),
            message: message.into(),
        }
    }
}
