//! The journals of other daemons' operators, taken into the audit log: what was changed over their control sockets is in one log with what
//! was asked of core.
//!
//! Each daemon's view socket gives the lines of its journal, a chain of hashes of its own, which is followed line by line. What was taken in
//! is remembered in the transaction that writes it, so that each line is in the log once, whichever replica reads it. A journal that was
//! cut, or written anew, is a line of the log itself and an alarm; it is taken in all the same.

use crate::audit;
use crate::config::{JournalConfig, JournalKeeper};
use crate::store::{Store, StoreError, Transaction, values};
use hh_ipc::api::node_agent::NodeAgentClient;
use hh_ipc::api::pool::PoolClient;
use hh_ipc::api::translator::TranslatorClient;
use hh_ipc::api::treasury::TreasuryClient;
use hh_ipc::api::{JournalPage, JournalQuery};
use hh_ipc::client::{self, RpcError};
use hh_ipc::{ApiError, Context};
use hh_trust::audit::{AuditEvent, JournalIntake, JournalSource};
use hh_trust::pki::PeerName;
use hh_trust::{Chain, Head};
use jiff::Timestamp;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often a journal is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// For one call: daemons answer in milliseconds, or are not well.
const CALL_LIMIT: Duration = Duration::from_secs(5);

/// Pages of 200 lines that are taken in at a look: a daemon that was broken into writes no more than that into core's log.
const PAGES_MAX: usize = 5;

/// Lines of a page, as every daemon gives them.
const PAGE_LINES_MAX: usize = 200;

/// After a fault: who breaks his journal on purpose writes some lines a minute into core's log, and no more.
const AFTER_FAULT: Duration = Duration::from_secs(60);

/// Longest line in bytes: thrice what a daemon writes.
const LINE_BYTES_MAX: usize = 8 << 10;

/// Why a journal could not be looked at.
#[derive(Debug, thiserror::Error)]
enum IntakeError {
    #[error("can't reach {daemon} at {}", socket.display())]
    Dial {
        daemon: &'static str,
        socket: PathBuf,
        source: io::Error,
    },
    #[error("{daemon} did not answer")]
    Call {
        daemon: &'static str,
        source: RpcError,
    },
    #[error("{daemon} refused")]
    Refused {
        daemon: &'static str,
        source: ApiError,
    },
    #[error("{daemon} gave a line of {bytes} bytes, which it never wrote")]
    TooLong { daemon: &'static str, bytes: usize },
    #[error("{daemon} gave a page of {lines} lines, which it never does")]
    TooMany { daemon: &'static str, lines: usize },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The journal of one daemon. Its task ends with the daemon.
#[derive(Clone, Debug)]
pub(crate) struct Journal {
    pub(crate) store: Store,
    pub(crate) core: PeerName,
    pub(crate) config: JournalConfig,
}

/// A connection to whoever keeps it.
enum Keeper {
    Pool(PoolClient),
    Translator(TranslatorClient),
    Treasury(TreasuryClient),
    NodeAgent(NodeAgentClient),
}

impl Journal {
    /// Takes in what is new, until the daemon stops.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let daemon = self.daemon();
        let mut is_told = false;
        loop {
            let looked = stop.run_until_cancelled(self.look()).await;
            let mut pause = LOOK_EVERY;
            match looked {
                None => return,
                Some(Ok(is_whole)) => {
                    is_told = false;
                    if !is_whole {
                        pause = AFTER_FAULT;
                    }
                }
                Some(Err(error)) => {
                    if !is_told {
                        let error = &error as &dyn std::error::Error;
                        tracing::warn!(daemon, error, "journal of changes not taken in");
                    }
                    is_told = true;
                }
            }
            metrics::gauge!("hyperhash_audit_journal_reached", "daemon" => daemon)
                .set(f64::from(u8::from(!is_told)));
            let pause = tokio::time::sleep(pause);
            if stop.run_until_cancelled(pause).await.is_none() {
                return;
            }
        }
    }

    fn daemon(&self) -> &'static str {
        self.config.daemon.name()
    }

    /// False if there was a fault: it ends with the first page that has one.
    async fn look(&self) -> Result<bool, IntakeError> {
        let keeper = self.dial().await?;
        for _page in 0..PAGES_MAX {
            let before = self.taken().await?;
            let page = self.page(&keeper, before.seq).await?;
            if page.lines.is_empty() && page.last_seq >= before.seq {
                return Ok(true);
            }
            if !self.take(before, page).await? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    async fn dial(&self) -> Result<Keeper, IntakeError> {
        let socket = &self.config.socket;
        let dialled = tokio::time::timeout(CALL_LIMIT, client::dial(socket)).await;
        let dialled = dialled.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into()));
        let stream = dialled.map_err(|source| IntakeError::Dial {
            daemon: self.daemon(),
            socket: socket.clone(),
            source,
        })?;
        Ok(match self.config.daemon {
            JournalKeeper::Pool => Keeper::Pool(client::pool(stream)),
            JournalKeeper::Translator => Keeper::Translator(client::translator(stream)),
            JournalKeeper::Treasury => Keeper::Treasury(client::treasury(stream)),
            JournalKeeper::NodeAgent => Keeper::NodeAgent(client::node_agent(stream)),
        })
    }

    async fn page(&self, keeper: &Keeper, after_seq: u64) -> Result<JournalPage, IntakeError> {
        let daemon = self.daemon();
        let answer = keeper.journal(JournalQuery {
            after_seq,
            limit: 0,
        });
        let answer = answer.await;
        let granted = answer.map_err(|source| IntakeError::Call { daemon, source })?;
        let page = granted.map_err(|source| IntakeError::Refused { daemon, source })?;
        checked(daemon, page)
    }

    /// The last line that was taken in.
    async fn taken(&self) -> Result<Head, StoreError> {
        let daemon = self.daemon();
        self.store
            .read(move |transaction| taken(transaction, daemon))
            .await
    }

    /// Takes in a page that begins after `before`; false if something is wrong with it.
    async fn take(&self, before: Head, page: JournalPage) -> Result<bool, StoreError> {
        let (daemon, core) = (self.daemon(), self.core.clone());
        let take = move |transaction: &Transaction<'_>| {
            if taken(transaction, daemon)? != before {
                // Another replica was quicker.
                return Ok(Vec::new());
            }
            let source = JournalSource {
                node: None,
                daemon: daemon.to_owned(),
            };
            let mut intake = JournalIntake::after(source, before);
            let now = Timestamp::now();
            let mut faults = Vec::new();
            for event in intake.page(&page.lines, page.last_seq) {
                if let AuditEvent::JournalFault { fault, .. } = &event {
                    faults.push(fault.clone());
                }
                audit::append(transaction, (&core, now), event)?;
            }
            let keep = "INSERT INTO audit_journals (daemon, head) VALUES ($1, $2) ON CONFLICT (daemon) DO UPDATE SET head = $2";
            transaction.execute(keep, &values![daemon, intake.head().to_string()])?;
            Ok::<_, StoreError>(faults)
        };
        let faults = self.store.call(take).await?;
        for fault in &faults {
            tracing::error!(daemon, fault, "journal of changes was tampered with");
            metrics::counter!("hyperhash_audit_journal_faults_total", "daemon" => daemon)
                .increment(1);
        }
        Ok(faults.is_empty())
    }
}

/// A page as a daemon of ours gives it.
fn checked(daemon: &'static str, page: JournalPage) -> Result<JournalPage, IntakeError> {
    let lines = page.lines.len();
    if lines > PAGE_LINES_MAX {
        return Err(IntakeError::TooMany { daemon, lines });
    }
    let longest = page.lines.iter().map(String::len).max().unwrap_or_default();
    match longest {
        ..=LINE_BYTES_MAX => Ok(page),
        bytes => Err(IntakeError::TooLong { daemon, bytes }),
    }
}

impl Keeper {
    async fn journal(
        &self,
        query: JournalQuery,
    ) -> Result<Result<JournalPage, ApiError>, RpcError> {
        let call: Context = client::within(CALL_LIMIT);
        match self {
            Self::Pool(client) => client.journal(call, query).await,
            Self::Translator(client) => client.journal(call, query).await,
            Self::Treasury(client) => client.journal(call, query).await,
            Self::NodeAgent(client) => client.journal(call, query).await,
        }
    }
}

fn taken(transaction: &Transaction<'_>, daemon: &str) -> Result<Head, StoreError> {
    let query = "SELECT head FROM audit_journals WHERE daemon = $1";
    let Some(row) = transaction.find(query, &values![daemon])? else {
        return Ok(Chain::new().head());
    };
    let head: Result<Head, _> = row.get::<String>(0)?.parse();
    head.map_err(|_no| StoreError::Damaged {
        what: format!("a line of {daemon}'s journal that is none"),
    })
}

#[cfg(test)]
mod tests;
