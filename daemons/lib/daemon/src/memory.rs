//! Keeps secrets that are in memory off the disk and away from other processes of the same user.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// No core file is written: it would have keys in it.
pub(crate) fn forbid_core_files() -> std::io::Result<()> {
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    Ok(setrlimit(Resource::Core, none)?)
}

/// No core dump goes to a program either, such as systemd-coredump, which heeds no limit; and only root may attach to the process and
/// read its memory. For a daemon that has money; others are looked into while they run.
///
/// # Errors
/// The kernel refuses.
pub fn hide_memory() -> std::io::Result<()> {
    Ok(set_dumpable_behavior(DumpableBehavior::NotDumpable)?)
}
