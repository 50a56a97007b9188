//! hh-node-agent: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    hh_daemon::run(
        "hh-node-agent",
        env!("CARGO_PKG_VERSION"),
        hh_node_agent::start,
    )
}
