//! hh-treasury: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    hh_daemon::run("hh-treasury", env!("CARGO_PKG_VERSION"), hh_treasury::start)
}
