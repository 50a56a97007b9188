//! What several daemons said to the same question, and why some of them said nothing.

use crate::Exit;
use crate::failure::Failure;
use crate::output::Report;
use hh_ipc::locate::Daemon;

/// The answers in the order of the questions.
#[derive(Debug)]
pub(super) struct Answers<T> {
    pub(super) given: Vec<(Daemon, T)>,
    pub(super) failures: Vec<Failure>,
}

impl<T> Answers<T> {
    pub(super) fn none() -> Self {
        Self {
            given: Vec::new(),
            failures: Vec::new(),
        }
    }

    pub(super) fn add(&mut self, daemon: Daemon, answer: Result<T, Failure>) {
        match answer {
            Ok(answer) => self.given.push((daemon, answer)),
            Err(failure) => self.failures.push(failure),
        }
    }

    /// These, if there is one.
    ///
    /// # Errors
    /// The first failure where nobody has answered.
    pub(super) fn or_failure(mut self) -> Result<Self, Failure> {
        if self.given.is_empty() && !self.failures.is_empty() {
            return Err(self.failures.swap_remove(0));
        }
        Ok(self)
    }
}

/// Has `report`, which is made of the other answers, tell of those that are missing.
pub(super) fn tell_missing(report: &mut Report, failures: Vec<Failure>) {
    if !failures.is_empty() && report.exit == Exit::Done {
        report.exit = Exit::Partial;
    }
    report.failures = failures;
}
