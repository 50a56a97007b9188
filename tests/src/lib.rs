//! The test kit: a Bitcoin Core of our own, our daemons and the peers as processes, and a miner.
//!
//! It owns nothing that ships. It starts what a test needs in temporary directories, waits for conditions instead of
//! sleeping, kills what it started and shows the logs of a test that fails. Its functions panic where something is amiss:
//! in a test that is the answer.

pub mod bench;
pub mod bitcoin_core;
mod block_maker;
pub mod channel;
pub mod daemon;
pub mod disk;
pub mod edge;
pub mod forged_invoice;
pub mod hyper_node;
pub mod lightning_address;
pub mod lightning_node;
pub mod lightningd;
pub mod lnd;
pub mod miner;
pub mod network;
pub mod peers;
pub mod port;
pub mod process;
pub mod reference_client;
pub mod sv1;
pub mod syscalls;
pub mod treasury;
pub mod wait;

use std::path::{Path, PathBuf};

/// Root of the checkout.
#[must_use]
pub fn checkout() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("tests/ lies in the checkout")
}

/// Whether what is long is to be run too: `scripts/test --all`.
#[must_use]
pub fn all() -> bool {
    std::env::var_os("HH_TEST_ALL").is_some()
}

/// Lets this process and those that it starts have as many open files as the machine allows, for tests with a thousand
/// connections: many systems begin with 1,024.
pub fn raise_file_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let maximum = getrlimit(Resource::Nofile).maximum;
    let limit = Rlimit {
        current: maximum,
        maximum,
    };
    // What can't be raised is as good as it gets.
    setrlimit(Resource::Nofile, limit).ok();
}

/// A temporary directory with a short path: Unix sockets lie in it, whose paths hold 107 bytes.
///
/// # Panics
/// If /tmp can't be written.
#[must_use]
pub fn directory(name: &str) -> tempfile::TempDir {
    tempfile::Builder::new()
        .prefix(&format!("hh-{name}-"))
        .disable_cleanup(std::env::var_os("HH_KEEP").is_some())
        .tempdir_in("/tmp")
        .expect("/tmp can be written")
}

/// The path that `scripts/NAME` prints.
fn printed_by_script(name: &str) -> PathBuf {
    let script = checkout().join("scripts").join(name);
    let output = std::process::Command::new(&script)
        .stderr(std::process::Stdio::inherit())
        .output()
        .unwrap_or_else(|error| panic!("cannot run {}: {error}", script.display()));
    assert!(
        output.status.success(),
        "{} failed: {}",
        script.display(),
        output.status
    );
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}
