//! Disks in trouble: a small one that can be filled, and system calls that are slow or fail.

use crate::process::Process;
use crate::wait::wait_until;
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// For strace to attach to a process, on a loaded machine.
const ATTACH: Duration = Duration::from_secs(60);

/// A file system of its own in memory; unmounted when it is dropped.
#[derive(Debug)]
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts one of `mib` MiB on a directory, which is made if it is not there; none where the machine does not let us.
    ///
    /// # Panics
    /// If the directory can't be made.
    #[must_use]
    pub fn mount(path: &Path, mib: u32) -> Option<Self> {
        std::fs::create_dir_all(path).expect("a test's directory can be written");
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "hh-tests"])
            .arg(path)
            .status();
        mounted.ok().filter(std::process::ExitStatus::success)?;
        let path = path.to_owned();
        Some(Self { path })
    }

    /// Takes all room that there is.
    ///
    /// # Panics
    /// If something else than the lack of room ends it.
    pub fn fill(&self) {
        let mut file = File::options()
            .create(true)
            .append(true)
            .open(self.filler())
            .expect("a file can be made");
        // The last pages one by one.
        for size in [1 << 20, 4096] {
            let chunk = vec![1; size];
            let error = loop {
                if let Err(error) = file.write_all(&chunk) {
                    break error;
                }
            };
            assert_eq!(error.kind(), std::io::ErrorKind::StorageFull);
        }
    }

    /// Gives the room back.
    ///
    /// # Panics
    /// If [`Self::fill`] was not called before.
    pub fn make_room(&self) {
        std::fs::remove_file(self.filler()).expect("the disk was filled");
    }

    fn filler(&self) -> PathBuf {
        self.path.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg("-l").arg(&self.path).status();
        assert!(
            unmounted.is_ok_and(|status| status.success()) || std::thread::panicking(),
            "{} is still mounted",
            self.path.display()
        );
    }
}

/// Has the kernel treat calls of a process, until what it returns is dropped: `calls` as in strace's `inject=`, `how` is
/// `delay_enter=MICROSECONDS` or `error=EIO`.
///
/// # Panics
/// If strace is not there, or may not attach.
pub async fn tamper(process: &Process, calls: &str, how: &str, dir: &Path) -> Process {
    let mut command = Command::new("strace");
    command
        .args(["-f", "-o", "/dev/null", "-e", &format!("trace={calls}")])
        .args(["-e", &format!("inject={calls}:{how}")])
        .args(["-p", &process.id().to_string()]);
    attach(command, dir).await
}

/// Starts a strace that attaches, and waits until it has.
///
/// # Panics
/// If it is not there, or may not attach.
pub async fn attach(command: Command, dir: &Path) -> Process {
    let earlier = std::fs::read_to_string(dir.join("strace.log")).map_or(0, |log| log.len());
    let strace = Process::spawn("strace", command, dir);
    wait_until("strace is attached", ATTACH, async || {
        assert!(strace.is_running(), "strace ended: {}", strace.log());
        strace.log()[earlier..].contains("attached")
    })
    .await;
    strace
}
