//! Accepts clients, a task each, up to the limit.

use std::sync::Arc;
use std::time::Duration;

use hh_daemon::{Failure, Tasks};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tracing::warn;

use crate::session::{Shared, serve};

/// After an accept that failed (out of file descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the daemon stops.
pub(crate) async fn accept(
    tasks: Tasks,
    listener: TcpListener,
    shared: Shared,
    max_clients: usize,
) -> Result<(), Failure> {
    let free = Arc::new(Semaphore::new(max_clients));
    loop {
        let accepted = tokio::select! {
            () = tasks.cancelled() => return Ok(()),
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                warn!(error = %error, "client cannot be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&free).try_acquire_owned() else {
            warn!(%peer, max_clients, "client turned away, all places are taken");
            continue;
        };
        let shared = shared.clone();
        tasks.spawn_session("client", async move {
            serve(stream, shared).await;
            drop(permit);
        });
    }
}
