//! One look at this machine.

use crate::report::Reporter;
use hh_ipc::agent::Sample;
use jiff::Timestamp;
use std::fs;
use std::path::{Path, PathBuf};

/// Measures. What can't be read shows as 0.
pub(super) struct Sampler {
    /// On the disk that counts.
    dir: PathBuf,
    reporter: Reporter,
}

impl Sampler {
    pub(super) fn new(dir: &Path, reporter: Reporter) -> Self {
        Self {
            dir: dir.to_owned(),
            reporter,
        }
    }

    /// A sample without its number.
    pub(super) fn sample(&self) -> Sample {
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let disk = rustix::fs::statvfs(&self.dir).ok();
        let disk_bytes = |blocks: Option<u64>| {
            let size = disk.as_ref().map_or(0, |disk| disk.f_frsize);
            blocks.unwrap_or(0).saturating_mul(size)
        };
        Sample {
            seq: 0,
            at_unix_ms: Timestamp::now().as_millisecond(),
            uptime_seconds: uptime_seconds(&fs::read_to_string("/proc/uptime").unwrap_or_default()),
            load_1m_milli: load_milli(&fs::read_to_string("/proc/loadavg").unwrap_or_default()),
            memory_total_bytes: memory_bytes(&memory, "MemTotal:"),
            memory_available_bytes: memory_bytes(&memory, "MemAvailable:"),
            disk_total_bytes: disk_bytes(disk.as_ref().map(|disk| disk.f_blocks)),
            disk_available_bytes: disk_bytes(disk.as_ref().map(|disk| disk.f_bavail)),
            services: self.reporter.services(),
            lanes: self.reporter.lanes(),
        }
    }
}

fn uptime_seconds(text: &str) -> u64 {
    let whole = text.split(['.', ' ']).next();
    whole.and_then(|whole| whole.parse().ok()).unwrap_or(0)
}

/// `0.52 ...` as 520.
fn load_milli(text: &str) -> u32 {
    let parsed = text.split_whitespace().next().and_then(|load| {
        let (whole, hundredths) = load.split_once('.')?;
        let whole: u32 = whole.parse().ok()?;
        let hundredths: u32 = hundredths.parse().ok()?;
        Some(
            whole
                .saturating_mul(1_000)
                .saturating_add(hundredths.saturating_mul(10)),
        )
    });
    parsed.unwrap_or(0)
}

fn memory_bytes(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kilobytes.unwrap_or(0).saturating_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_tells_is_read() {
        assert_eq!(uptime_seconds("350735.47 234388.90\n"), 350_735);
        assert_eq!(load_milli("0.52 0.58 0.59 1/467 1\n"), 520);
        assert_eq!(load_milli("12.05 0.58"), 12_050);
        let memory = "MemTotal:       16 kB\nMemAvailable:   3 kB\n";
        assert_eq!(memory_bytes(memory, "MemAvailable:"), 3 * 1_024);
        assert_eq!(memory_bytes("", "MemTotal:"), 0);
        assert_eq!(load_milli(""), 0);
    }
}
