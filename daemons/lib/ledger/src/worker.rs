//! What workers bring in, put together from the sums of origins: a worker may come through several nodes and lanes. What both
//! engines have in common of it.

use crate::{LedgerError, Sum};

/// Minutes of an hour and of a day, with the minute that goes on.
const HOUR_MINUTES: i64 = 60;
const DAY_MINUTES: i64 = 1_440;

/// What a worker of an account has brought in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerSum {
    /// The account.
    pub account: String,
    /// The worker; empty for shares that named none.
    pub worker: String,
    /// The nodes it has come through, by name.
    pub nodes: Vec<String>,
    /// The lanes it has come through, by name.
    pub lanes: Vec<String>,
    /// Since the ledger was made.
    pub total: Sum,
    /// When its last share was accepted, milliseconds since 1970.
    pub last_share_at_ms: Option<i64>,
    /// In the minutes from [`WorkerWindows::hour_ms`] on.
    pub hour: Sum,
    /// In the minutes from [`WorkerWindows::day_ms`] on.
    pub day: Sum,
    /// Shares that were refused in the same time.
    pub rejected_day: u64,
}

/// Where the last hour and the last day begin: sums are of whole minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkerWindows {
    /// The first minute of the hour.
    pub(crate) hour: i64,
    /// The first minute of the day.
    pub(crate) day: i64,
}

impl WorkerWindows {
    /// Those that end at `now_ms`, milliseconds since 1970.
    #[must_use]
    pub fn until(now_ms: i64) -> Self {
        let now = crate::sums::minute(now_ms);
        Self {
            hour: now.saturating_sub(HOUR_MINUTES - 1),
            day: now.saturating_sub(DAY_MINUTES - 1),
        }
    }

    /// When the hour begins, milliseconds since 1970: up to a minute less than an hour ago.
    #[must_use]
    pub fn hour_ms(self) -> i64 {
        crate::sums::minute_start_ms(self.hour)
    }

    /// When the day begins, likewise.
    #[must_use]
    pub fn day_ms(self) -> i64 {
        crate::sums::minute_start_ms(self.day)
    }
}

impl WorkerSum {
    /// Nothing yet, through one lane of one node.
    pub(crate) fn new(account: String, worker: String, node: String, lane: String) -> Self {
        Self {
            account,
            worker,
            nodes: vec![node],
            lanes: vec![lane],
            total: Sum::default(),
            last_share_at_ms: None,
            hour: Sum::default(),
            day: Sum::default(),
            rejected_day: 0,
        }
    }

    /// Adds what the same worker has brought in through another origin.
    fn add(&mut self, more: Self) -> Result<(), LedgerError> {
        self.total = self.total.plus(more.total)?;
        self.hour = self.hour.plus(more.hour)?;
        self.day = self.day.plus(more.day)?;
        self.rejected_day = self.rejected_day.saturating_add(more.rejected_day);
        self.last_share_at_ms = self.last_share_at_ms.max(more.last_share_at_ms);
        self.nodes.extend(more.nodes);
        self.lanes.extend(more.lanes);
        Ok(())
    }
}

/// Puts the sums of origins together, by account and worker, in the order of these.
pub(crate) fn by_worker(mut origins: Vec<WorkerSum>) -> Result<Vec<WorkerSum>, LedgerError> {
    origins.sort_by(|a, b| (&a.account, &a.worker).cmp(&(&b.account, &b.worker)));
    let mut workers: Vec<WorkerSum> = Vec::new();
    for origin in origins {
        let same =
            |last: &&mut WorkerSum| last.account == origin.account && last.worker == origin.worker;
        match workers.last_mut().filter(same) {
            Some(worker) => worker.add(origin)?,
            None => workers.push(origin),
        }
    }
    for worker in &mut workers {
        for names in [&mut worker.nodes, &mut worker.lanes] {
            names.sort();
            names.dedup();
        }
    }
    Ok(workers)
}
