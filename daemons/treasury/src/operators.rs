//! The operators whose keys stand for them: what they sign to approve a payout, and whether it is that.
//!
//! Where the configuration lists none, two users of the control socket are two persons, and nothing is asked here. Where it lists some,
//! no user is one: whoever has this machine's accounts, or core with all its keys, has no operator's key.

use crate::clock::unix_ms;
use hh_ledger::books::{Books, BooksError, Payout};
use hh_trust::directory_feed::TrustConfig;
use hh_trust::node_directory::Directory;
use hh_trust::operator_key::{OperatorList, OperatorName};
use hh_trust::statement::{APPROVAL_SECONDS_MAX, Approval, Place, Signed, StatementError};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::watch;

/// A draft ends so many seconds sooner than it might, for a person to read it and clocks to differ.
const MARGIN_SECONDS: i64 = 60;

/// Why something is no approval.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApprovalError {
    #[error(transparent)]
    Statement(#[from] StatementError),
    #[error("it is signed by none of the operators that this treasury's configuration lists")]
    NoOperator,
}

/// Who has approved a payout, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Approved {
    pub(crate) by: BTreeSet<OperatorName>,
    /// Unix seconds.
    pub(crate) until: i64,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Operators {
    /// None where the configuration lists no operators.
    place: Option<Place>,
    listed: OperatorList,
    directory: watch::Receiver<Arc<Directory>>,
}

impl Operators {
    /// Those of the configuration, and whom two of them have admitted.
    pub(crate) fn new(
        trust: &TrustConfig<'_>,
        chain: &str,
        directory: watch::Receiver<Arc<Directory>>,
    ) -> Self {
        let has_some = trust.operators.iter().next().is_some();
        Self {
            place: trust.place(chain).filter(|_| has_some),
            listed: trust.operators.clone(),
            directory,
        }
    }

    /// Whether approvals are signed by keys here.
    pub(crate) fn have_keys(&self) -> bool {
        self.place.is_some()
    }

    /// All that there are now.
    pub(crate) fn present(&self) -> OperatorList {
        self.directory.borrow().operators(&self.listed)
    }

    /// Before approvals are counted: that of who is no operator any more is none.
    ///
    /// # Errors
    /// The books can't be written.
    pub(crate) async fn strike(&self, books: &Books, payout: &Payout) -> Result<(), BooksError> {
        match self.holding() {
            Some(holding) if payout.approvals_needed > 0 => {
                let struck = books.strike_approvals(payout.id, holding, unix_ms());
                struck.await
            }
            _ => Ok(()),
        }
    }

    /// In whose names approvals count now; none where the configuration lists no keys, and users of this machine approve.
    fn holding(&self) -> Option<BTreeSet<String>> {
        let present = self.have_keys().then(|| self.present())?;
        Some(present.iter().map(|(name, _)| actor(name)).collect())
    }

    /// What an operator signs now to approve a payout; nothing where the configuration lists none.
    pub(crate) fn draft(&self, payout: &Payout) -> Option<Signed> {
        let until = now() + APPROVAL_SECONDS_MAX - MARGIN_SECONDS;
        Some(Signed::draft(&approval(self.place.clone()?, payout, until)))
    }

    /// Who approves exactly this payout by what he has signed.
    ///
    /// # Errors
    /// Nobody does.
    pub(crate) fn approved(
        &self,
        payout: &Payout,
        signed: &Signed,
    ) -> Result<Approved, ApprovalError> {
        let Some(place) = self.place.clone() else {
            return Err(ApprovalError::NoOperator);
        };
        let until = signed.unverified::<Approval>()?.until;
        let wanted = approval(place, payout, until);
        let by = wanted.approvers(signed, &self.present(), now())?;
        if by.is_empty() {
            return Err(ApprovalError::NoOperator);
        }
        Ok(Approved { by, until })
    }
}

/// As he stands in the books: no user of the machine has a name with a colon.
pub(crate) fn actor(name: &OperatorName) -> String {
    format!("key:{name}")
}

fn approval(place: Place, payout: &Payout, until: i64) -> Approval {
    Approval {
        place,
        payout: payout.id.0.to_string(),
        amount_msat: payout.amount.0,
        destination: payout.to.text.clone(),
        until,
    }
}

fn now() -> i64 {
    unix_ms().div_euclid(1_000)
}

#[cfg(test)]
mod tests;
