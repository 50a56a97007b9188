//! hyperhash-core: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    hh_daemon::run(
        "hyperhash-core",
        env!("CARGO_PKG_VERSION"),
        hyperhash_core::start,
    )
}
