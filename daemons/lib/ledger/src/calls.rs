//! Calls of a writer. They are carried out one after the other on a thread of its own, so that a call is carried out even
//! if nobody waits for it any more.

use std::fmt;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;

use tokio::sync::{mpsc, oneshot};

use crate::LedgerError;

/// Calls that may wait for the writer; each holds at most one shipment.
const QUEUED_CALLS_MAX: usize = 16;

/// Something to do with the writer.
type Call<W> = Box<dyn for<'a> FnOnce(&'a mut W) -> Pin<Box<dyn Future<Output = ()> + 'a>> + Send>;

/// Hands calls to a writer `W`; clones share it, and it ends after the last one.
pub(crate) struct Calls<W>(mpsc::Sender<Call<W>>);

impl<W: Send + 'static> Calls<W> {
    /// Starts the thread, which closes the writer when nobody is left to call it.
    pub(crate) fn start(
        mut writer: W,
        close: impl AsyncFnOnce(W) + Send + 'static,
    ) -> Result<Self, LedgerError> {
        let (calls, mut queue) = mpsc::channel::<Call<W>>(QUEUED_CALLS_MAX);
        let failed = |source| LedgerError::File {
            action: "start a thread for",
            path: Path::new("the ledger").to_owned(),
            source,
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let run = move || {
            runtime.block_on(async {
                while let Some(call) = queue.recv().await {
                    call(&mut writer).await;
                }
                close(writer).await;
            });
        };
        std::thread::Builder::new()
            .name("ledger".to_owned())
            .spawn(run)
            .map_err(failed)?;
        Ok(Self(calls))
    }

    /// Has the writer carry out a call, and waits for what comes of it.
    pub(crate) async fn call<T: Send + 'static, E: From<LedgerError> + Send + 'static>(
        &self,
        call: impl AsyncFnOnce(&mut W) -> Result<T, E> + Send + 'static,
    ) -> Result<T, E> {
        let (done, result) = oneshot::channel();
        let call: Call<W> = Box::new(move |writer| {
            Box::pin(async move {
                if done.send(call(writer).await).is_err() {
                    tracing::debug!("nobody waits for a call to the ledger any more");
                }
            })
        });
        self.0.send(call).await.or(Err(LedgerError::Closed))?;
        result
            .await
            .unwrap_or_else(|_ended| Err(LedgerError::Closed.into()))
    }
}

impl<W> Clone for Calls<W> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<W> fmt::Debug for Calls<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls").finish_non_exhaustive()
    }
}
