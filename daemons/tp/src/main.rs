//! hh-tp: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    hh_daemon::run("hh-tp", env!("CARGO_PKG_VERSION"), hh_tp::start)
}
