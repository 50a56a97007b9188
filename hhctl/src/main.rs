//! `hhctl`: parses, runs, exits.

use std::process::ExitCode;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return hhctl::Exit::Failed.into();
    };
    let mut surroundings = hhctl::Surroundings::of_process();
    let exit = runtime.block_on(hhctl::run(std::env::args_os(), &mut surroundings));
    // A read of stdin that will never end must not hold the process.
    runtime.shutdown_background();
    exit.into()
}
