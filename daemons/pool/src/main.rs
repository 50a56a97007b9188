//! hh-pool: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    hh_daemon::run("hh-pool", env!("CARGO_PKG_VERSION"), hh_pool::start)
}
