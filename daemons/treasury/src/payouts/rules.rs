//! Who is paid, and how much: the rules for opening payouts, as a pure function of balances and limits.
//!
//! A payout takes a payee's whole payable balance in whole satoshi (many Lightning addresses take nothing finer), at most the
//! limit of one payout; what is left stays his. Nodes are not in here: they send invoices, of the amounts that they choose.

use hh_ledger::books::Payee;
use hh_mining::Msat;
use std::fmt;
use std::time::Duration;

/// What an operator has set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rules {
    /// Smaller balances carry over.
    pub minimum: Msat,
    /// Between two payouts to one payee.
    pub interval: Duration,
    /// Most that one payout has.
    pub max_payout: Msat,
    /// Most that is sent in 24 hours, with what routing may cost.
    pub max_day: Msat,
    /// What routing may cost beside `max_fee_ppm` parts per million of the amount.
    pub max_fee_base: Msat,
    pub max_fee_ppm: u32,
    /// Payouts of more than this wait for two operators.
    pub approval_above: Msat,
}

/// Somebody with a balance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub payee: Payee,
    pub payable: Msat,
    /// Where it goes, or why nowhere.
    pub destination: Result<String, String>,
    /// Why an operator holds it.
    pub held: Option<String>,
    /// A payout of his is open.
    pub has_open: bool,
    /// When his last one was opened, Unix milliseconds.
    pub last_opened_ms: Option<i64>,
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    /// Those whose interval has passed.
    Due,
    /// All, whatever their interval.
    All,
    /// These, whatever their interval.
    Payees {
        payees: Vec<Payee>,
        below_minimum: bool,
    },
}

/// A payout to be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    pub payee: Payee,
    pub amount: Msat,
    pub destination: String,
    pub needs_approval: bool,
}

/// Why somebody is not in a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum LeftOut {
    NothingPayable,
    BelowMinimum(Msat),
    NoDestination(String),
    Held(String),
    HasOpen,
    NotDue,
    DayLimit(Msat),
    SendsInvoices,
    /// Asked for by name, and has no account.
    Unknown,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingPayable => f.write_str("nothing is payable"),
            Self::BelowMinimum(minimum) => write!(f, "less than the minimum of {minimum} sat"),
            Self::NoDestination(why) => f.write_str(why),
            Self::Held(why) => write!(f, "held: {why}"),
            Self::HasOpen => f.write_str("a payout is open"),
            Self::NotDue => f.write_str("its interval has not passed"),
            Self::DayLimit(left) => write!(f, "the day's limit leaves {left} sat"),
            Self::SendsInvoices => f.write_str("nodes are paid by the invoices that they send"),
            Self::Unknown => f.write_str("there is no such payee"),
        }
    }
}

/// What a run would do.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub planned: Vec<Planned>,
    pub left_out: Vec<(Payee, LeftOut)>,
}

impl Plan {
    /// All that it pays.
    pub(crate) fn total(&self) -> Msat {
        let sum: Option<Msat> = self.planned.iter().map(|planned| planned.amount).sum();
        // Of balances that are parts of one sum.
        sum.unwrap_or(Msat::MAX_MONEY)
    }
}

impl Rules {
    /// What is to be paid at `now_ms`, when the day's limit leaves `day_left`. Who has waited longest goes first.
    pub(crate) fn plan(
        &self,
        mut candidates: Vec<Candidate>,
        ask: &Ask,
        day_left: Msat,
        now_ms: i64,
    ) -> Plan {
        candidates.sort_by(|a, b| {
            let key = |candidate: &Candidate| candidate.last_opened_ms.unwrap_or(i64::MIN);
            key(a).cmp(&key(b)).then_with(|| a.payee.cmp(&b.payee))
        });
        let mut plan = Plan::default();
        if let Ask::Payees { payees, .. } = ask {
            let is_known = |payee: &Payee| candidates.iter().any(|known| known.payee == *payee);
            let unknown = payees.iter().filter(|payee| !is_known(payee));
            plan.left_out
                .extend(unknown.map(|payee| (payee.clone(), LeftOut::Unknown)));
            candidates.retain(|candidate| payees.contains(&candidate.payee));
        }
        let mut left = day_left;
        for candidate in candidates {
            match self.planned(&candidate, ask, left, now_ms) {
                Ok(planned) => {
                    left = left
                        .checked_sub(self.most_spent(planned.amount))
                        .unwrap_or_default();
                    plan.planned.push(planned);
                }
                Err(why) => plan.left_out.push((candidate.payee, why)),
            }
        }
        plan
    }

    fn planned(
        &self,
        candidate: &Candidate,
        ask: &Ask,
        day_left: Msat,
        now_ms: i64,
    ) -> Result<Planned, LeftOut> {
        if matches!(candidate.payee, Payee::Node(_)) {
            return Err(LeftOut::SendsInvoices);
        }
        let amount = whole_sats(candidate.payable.min(self.max_payout));
        if amount == Msat::ZERO {
            return Err(LeftOut::NothingPayable);
        }
        let below_minimum = match ask {
            Ask::Payees { below_minimum, .. } => *below_minimum,
            Ask::Due | Ask::All => false,
        };
        if amount < self.minimum && !below_minimum {
            return Err(LeftOut::BelowMinimum(self.minimum));
        }
        if let Some(why) = &candidate.held {
            return Err(LeftOut::Held(why.clone()));
        }
        if candidate.has_open {
            return Err(LeftOut::HasOpen);
        }
        let destination = candidate.destination.clone();
        let destination = destination.map_err(LeftOut::NoDestination)?;
        if *ask == Ask::Due && !self.is_due(candidate.last_opened_ms, now_ms) {
            return Err(LeftOut::NotDue);
        }
        if self.most_spent(amount) > day_left {
            return Err(LeftOut::DayLimit(day_left));
        }
        Ok(Planned {
            payee: candidate.payee.clone(),
            amount,
            destination,
            needs_approval: amount > self.approval_above,
        })
    }

    /// What routing an amount may cost, in whole msat.
    pub(crate) fn max_fee(&self, amount: Msat) -> Msat {
        let proportional = u128::from(amount.0) * u128::from(self.max_fee_ppm) / 1_000_000;
        let proportional = u64::try_from(proportional).unwrap_or(u64::MAX);
        Msat(self.max_fee_base.0.saturating_add(proportional))
    }

    /// An amount with what routing it may cost: what counts against the day's limit.
    pub(crate) fn most_spent(&self, amount: Msat) -> Msat {
        Msat(amount.0.saturating_add(self.max_fee(amount).0))
    }

    fn is_due(&self, last_opened_ms: Option<i64>, now_ms: i64) -> bool {
        let interval_ms = i64::try_from(self.interval.as_millis()).unwrap_or(i64::MAX);
        last_opened_ms.is_none_or(|last_ms| now_ms.saturating_sub(last_ms) >= interval_ms)
    }
}

fn whole_sats(amount: Msat) -> Msat {
    Msat(amount.0 - amount.0 % 1_000)
}

#[cfg(test)]
mod tests;
