//! A child process with its output in a file: killed on drop, its last lines shown where a test fails.

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::Duration;

/// Lines of a process's log that a failed test shows.
const TAIL_LINES: usize = 40;

/// A running child.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Mutex<Child>,
    log: PathBuf,
}

impl Process {
    /// Starts `command` with stdout and stderr appended to `DIR/NAME.log`.
    ///
    /// # Panics
    /// If it cannot be started.
    #[must_use]
    pub fn spawn(name: &str, mut command: Command, dir: &Path) -> Self {
        let log = dir.join(format!("{name}.log"));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&log)
            .expect("a log file can be opened");
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a file can be opened twice"))
            .stderr(file)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {:?}: {error}", command.get_program()));
        Self {
            name: name.to_owned(),
            child: Mutex::new(child),
            log,
        }
    }

    #[must_use]
    pub fn id(&self) -> u32 {
        self.child().id()
    }

    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.child().try_wait(), Ok(None))
    }

    /// `kill -9`, and waits for its end. Nothing happens where it has ended.
    pub fn kill(&self) {
        let mut child = self.child();
        // It fails only where the child has ended, which is what is wanted.
        child.kill().ok();
        child.wait().ok();
    }

    /// SIGTERM, then waits for its end.
    ///
    /// # Panics
    /// If it has not ended in `deadline`.
    pub fn terminate(&self, deadline: Duration) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        self.wait(deadline)
    }

    /// Sends it a signal; nothing happens where it has ended.
    pub fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child());
        // It fails only where the child has ended.
        rustix::process::kill_process(pid, signal).ok();
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// If it has not ended in `deadline`.
    pub fn wait(&self, deadline: Duration) -> ExitStatus {
        crate::wait::wait_blocking(&format!("{} ends", self.name), deadline, || {
            self.child().try_wait().expect("a child can be waited for")
        })
    }

    /// All that it has written.
    #[must_use]
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Its last lines.
    #[must_use]
    pub fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n")
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Child> {
        self.child
            .lock()
            .expect("no panic happens while the lock is held")
    }
}

impl Drop for Process {
    #[expect(clippy::print_stderr, reason = "what a failed test shows")]
    fn drop(&mut self) {
        let status = self.child().try_wait();
        self.kill();
        if std::thread::panicking() {
            let state = match status {
                Ok(Some(status)) => match status.signal() {
                    Some(signal) => format!("had been ended by signal {signal}"),
                    None => format!("had ended by itself, {status}"),
                },
                _ => "was running".to_owned(),
            };
            eprintln!(
                "---- {} {state}; its last lines, of {}:\n{}\n----",
                self.name,
                self.log.display(),
                self.log_tail()
            );
        }
    }
}
