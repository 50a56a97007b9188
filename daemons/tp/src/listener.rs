//! Accepts clients, a task each, while there is a place for them.

use std::time::Duration;

use hh_daemon::{Failure, Tasks};
use tokio::net::TcpListener;
use tracing::{debug, warn};

use crate::clients::Clients;
use crate::session::{Shared, serve};

/// After an accept that failed (out of file descriptors), so that the loop does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Accepts until the daemon stops.
pub(crate) async fn accept(
    tasks: Tasks,
    listener: TcpListener,
    clients: Clients,
    shared: Shared,
) -> Result<(), Failure> {
    let mut full = false;
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
        match clients.admit(peer) {
            Ok(place) => {
                full = false;
                tasks.spawn_session("client", serve(stream, place, shared.clone()));
            }
            // One line until somebody is let in again: who is turned away comes back soon.
            Err(reason) if full => debug!(%peer, %reason, "client turned away"),
            Err(reason) => {
                full = true;
                warn!(%peer, %reason, "client turned away");
            }
        }
    }
}
