//! Checks of this machine: its clock's source, and its disk.

use super::Check;
use crate::failure::without_errno;
use std::path::Path;
use std::time::Duration;
use tokio::process::Command;

/// Less room than this is a matter of hours.
const FULL_BYTES: u64 = 1 << 30;

/// Less room than this should be looked at.
const NEARLY_FULL_BYTES: u64 = 5 << 30;

/// timedatectl may start a service to answer.
const TIMEDATECTL_DEADLINE: Duration = Duration::from_secs(3);

/// Does systemd know of a clock that is kept right?
pub(super) async fn clock_source() -> Check {
    let name = "clock source";
    let output = Command::new("timedatectl")
        .args(["show", "--property=NTPSynchronized", "--value"])
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(TIMEDATECTL_DEADLINE, output).await;
    let said = match &output {
        Ok(Ok(output)) if output.status.success() => String::from_utf8_lossy(&output.stdout),
        _ => "".into(),
    };
    match said.trim() {
        "yes" => Check::ok(name, "kept right by NTP"),
        "no" => Check::warn(
            name,
            "not kept right by NTP",
            "run an NTP client: shares and blocks carry this clock's time",
        ),
        _ => Check::unknown(name, "timedatectl does not tell here"),
    }
}

/// Is there room where the ledger is?
pub(super) fn disk(ledger: &str) -> Check {
    let name = "disk";
    let dir = Path::new(ledger).parent().unwrap_or(Path::new("/"));
    let shown = dir.display();
    let room = match rustix::fs::statvfs(dir) {
        Ok(room) => room,
        Err(error) => return Check::unknown(name, without_errno(&format!("{shown}: {error}"))),
    };
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    let found = format!("{} MiB free for {shown}", free >> 20);
    let fix = "make room, or move the data to a larger disk";
    if free < FULL_BYTES {
        Check::fail(name, found, fix)
    } else if free < NEARLY_FULL_BYTES {
        Check::warn(name, found, fix)
    } else {
        Check::ok(name, format!("{} GiB free for {shown}", free >> 30))
    }
}
