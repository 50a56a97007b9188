//! What is due whether or not somebody asks: commands expire, sessions and waiting operators hear what has changed, and whether the
//! database answers is told.

use crate::fleet::Fleet;
use crate::operation;
use crate::operations::Operations;
use crate::store::{Notice, Store, StoreError};
use hh_daemon::{Context, Failure};
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;

/// How often it is looked for what is due. A notice that was lost costs no more than this.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Between attempts to reach the database at the start.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

pub(crate) struct Upkeep {
    pub(crate) context: Context,
    pub(crate) store: Store,
    pub(crate) fleet: Fleet,
    pub(crate) operations: Operations,
}

/// Waits until the database answers, which makes and migrates the schema.
///
/// # Errors
/// It is of a newer program, or did not answer in the time that a start may take.
pub(crate) async fn reach(store: &Store, context: &Context) -> Result<(), Failure> {
    let mut is_told = false;
    loop {
        let reached: Result<(), StoreError> = store.call(|_transaction| Ok(())).await;
        match reached {
            Ok(()) => return Ok(()),
            Err(error @ StoreError::Newer { .. }) => return Err(Failure::config(error)),
            Err(error) if tokio::time::Instant::now() >= context.start_deadline() => {
                return Err(Failure::unavailable(error));
            }
            Err(error) if !is_told => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "waiting for the database"
                );
                is_told = true;
            }
            Err(_again) => {}
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

impl Upkeep {
    /// Goes on until the daemon stops.
    pub(crate) async fn run(self) {
        let stop = self.context.tasks.token().clone();
        let both = async { tokio::join!(self.hear(), self.look()) };
        stop.run_until_cancelled(both).await;
    }

    async fn hear(&self) {
        let mut notices = self.store.notices();
        loop {
            match notices.recv().await {
                Ok(Notice::Node(node)) => self.fleet.wake(&node),
                Ok(Notice::Operation) => self.operations.changed(),
                // Who waits for these listens himself.
                Ok(Notice::Records) => {}
                Ok(Notice::Any) | Err(RecvError::Lagged(_)) => {
                    self.fleet.wake_all();
                    self.operations.changed();
                }
                Err(RecvError::Closed) => return,
            }
        }
    }

    async fn look(&self) {
        loop {
            match self.look_once().await {
                Ok(()) => self.context.set_ready(true),
                Err(error) => {
                    if self.context.is_ready() {
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "the database does not answer"
                        );
                    }
                    self.context.set_ready(false);
                }
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    async fn look_once(&self) -> Result<(), StoreError> {
        let now_ms = jiff::Timestamp::now().as_millisecond();
        let read: Result<_, StoreError> = self
            .store
            .read(move |transaction| {
                let any_expires = operation::any_expires(transaction, now_ms)?;
                Ok((any_expires, operation::waiting(transaction)?))
            })
            .await;
        let (any_expires, waiting) = read?;
        if any_expires {
            self.operations.expire().await?;
        }
        waiting.iter().for_each(|node| self.fleet.wake(node));
        self.operations.changed();
        Ok(())
    }
}
