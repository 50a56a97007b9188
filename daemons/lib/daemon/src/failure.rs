//! Why a daemon stops, and the exit status that tells its supervisor what to do about it.

use crate::SecretError;
use std::error::Error;
use std::fmt;
use std::process::ExitCode;

/// What the supervisor should do: the exit status of the process (`sysexits.h` where it has one).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExitStatus {
    /// 1: start it again.
    Failed = 1,
    /// 69, `EX_UNAVAILABLE`: a service that it can't work without did not answer; start it again later.
    Unavailable = 69,
    /// 78, `EX_CONFIG`: it will fail again until somebody corrects the configuration.
    Config = 78,
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status as u8)
    }
}

/// The error that ends a daemon. Any error converts into one with [`ExitStatus::Failed`] by `?`.
///
/// It deliberately does not implement [`Error`], so that this conversion can exist.
pub struct Failure {
    status: ExitStatus,
    source: Box<dyn Error + Send + Sync>,
}

impl Failure {
    /// A mistake in the configuration, or in a file that it names.
    pub fn config(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(ExitStatus::Config, source)
    }

    /// A secret that can't be had: a mistake in the configuration, unless what is asked for it did not answer.
    pub fn secret(error: SecretError) -> Self {
        match error.is_unavailable() {
            true => Self::unavailable(error),
            false => Self::config(error),
        }
    }

    /// Nothing that the daemon needs has answered within [`crate::Settings::start_timeout`].
    pub fn unavailable(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(ExitStatus::Unavailable, source)
    }

    /// Anything else; for errors that `?` does not take, such as `anyhow::Error` and text.
    pub fn other(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::new(ExitStatus::Failed, source)
    }

    fn new(status: ExitStatus, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let source = source.into();
        Self { status, source }
    }

    /// The exit status that it leads to.
    pub fn status(&self) -> ExitStatus {
        self.status
    }
}

impl<E: Error + Send + Sync + 'static> From<E> for Failure {
    fn from(source: E) -> Self {
        Self::other(source)
    }
}

/// The whole chain of errors, on one line.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Chain(self.source.as_ref()).fmt(f)
    }
}

impl fmt::Debug for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {self}", self.status)
    }
}

/// Displays an error and all its sources, separated by `: `.
#[derive(Debug)]
pub struct Chain<'a>(pub &'a (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(error) = source {
            write!(f, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("can't open the log")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn a_failure_shows_every_cause_on_one_line() {
        let failure = Failure::from(Outer(std::io::Error::other("disk full")));
        assert_eq!(failure.to_string(), "can't open the log: disk full");
        assert_eq!(failure.status(), ExitStatus::Failed);
    }
}
