//! hh-translator: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    hh_daemon::run(
        "hh-translator",
        env!("CARGO_PKG_VERSION"),
        hh_translator::start,
    )
}
