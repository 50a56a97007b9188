//! `hhctl system dial-stdio`: the far end of `hhctl -H`.

use crate::cli::GlobalArgs;
use crate::failure::Failure;
use crate::{Exit, Surroundings};
use hh_ipc::locate::Context;

/// Carries calls between stdin and stdout and this machine's daemons until stdin ends. `read_only` is also what a forced
/// command in `authorized_keys` gives.
pub(crate) async fn run(
    global: &GlobalArgs,
    surroundings: &Surroundings,
    read_only: bool,
) -> Result<Exit, Failure> {
    let context = Context::find(global.context.as_deref(), &surroundings.working_dir)
        .map_err(|error| Failure::locate(&error))?;
    let (stdin, stdout) = (tokio::io::stdin(), tokio::io::stdout());
    hh_ipc::stdio::relay(stdin, stdout, &context, read_only)
        .await
        .map_err(|error| Failure::relay(&error))?;
    Ok(Exit::Done)
}
