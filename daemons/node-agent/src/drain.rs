//! Draining: the node's translator lets no new miner in, so that those who come go on to the next pool of their list.
//!
//! It goes over hh-translator's control socket, lane by lane. Who is connected stays; a translator that starts anew lets miners in.

use hh_ipc::api::translator::PauseLane;
use hh_ipc::client::{self, RpcError};
use hh_ipc::{ApiError, locate};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// For a call: the translator writes a line into its journal before it pauses a lane.
const CALL_LIMIT: Duration = Duration::from_secs(10);

/// Why the node is not as it was ordered; lanes that came before may be.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DrainError {
    #[error("can't reach hh-translator at {}", path.display())]
    Dial { path: PathBuf, source: io::Error },
    #[error("hh-translator does not answer")]
    Call(#[from] RpcError),
    #[error("hh-translator does not do it for the lane {lane}")]
    Lane { lane: String, source: ApiError },
}

/// The node's translator.
#[derive(Clone, Debug)]
pub(crate) struct Drain {
    socket: PathBuf,
}

impl Drain {
    /// The translator whose sockets are below `runtime_dir`.
    pub(crate) fn new(runtime_dir: &Path) -> Self {
        let program = locate::Daemon::Translator.program();
        Self {
            socket: runtime_dir.join(program).join("control.sock"),
        }
    }

    /// Begins it or ends it, on all lanes. Says how many miners are still there.
    ///
    /// # Errors
    /// The translator is not there, or refuses.
    pub(crate) async fn set(&self, on: bool) -> Result<String, DrainError> {
        let stream = client::dial(&self.socket).await;
        let stream = stream.map_err(|source| DrainError::Dial {
            path: self.socket.clone(),
            source,
        })?;
        let translator = client::translator(stream);
        let lanes = translator.lanes(client::within(CALL_LIMIT)).await?;
        let mut said = Vec::new();
        for lane in lanes {
            let request = PauseLane {
                lane: lane.name.clone(),
                paused: on,
                dry_run: false,
            };
            let paused = translator
                .pause_lane(client::within(CALL_LIMIT), request)
                .await?;
            let paused = paused.map_err(|source| DrainError::Lane {
                lane: lane.name,
                source,
            })?;
            let state = if on { "lets nobody in" } else { "open" };
            let connections = paused.connections;
            said.push(format!(
                "lane {}: {state}, {connections} connected",
                paused.name
            ));
        }
        Ok(said.join("\n"))
    }
}
