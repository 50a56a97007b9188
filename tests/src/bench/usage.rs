//! What processes and the machine use: CPU time from the kernel's scheduler, memory, and what others do meanwhile.

use std::collections::HashMap;
use std::fs;
use std::time::{Duration, Instant};

/// Memory is at rest when two looks at it differ by less than one part in this.
const REST_PART: u64 = 200;
/// Time between two looks.
const REST_INTERVAL: Duration = Duration::from_millis(500);
/// Looks, after which it is taken as it is.
const REST_LOOKS_MAX: usize = 12;

/// Kernel ticks of `/proc/stat` in a second: fixed for programs, whatever the kernel's own are.
const TICKS_A_SECOND: f64 = 100.0;

/// CPU time of one process with all its threads, in nanoseconds. A thread that ends keeps what it had when it was last seen.
#[derive(Debug)]
struct ProcessCpu {
    pid: u32,
    threads: HashMap<u32, u64>,
}

impl ProcessCpu {
    fn sample(&mut self) -> Duration {
        for (thread, nanoseconds) in threads(self.pid) {
            self.threads.insert(thread, nanoseconds);
        }
        Duration::from_nanos(self.threads.values().sum())
    }
}

/// Run times of a process's threads, of `/proc/PID/task/*/schedstat`; none where it has ended.
fn threads(pid: u32) -> Vec<(u32, u64)> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    tasks
        .filter_map(|task| {
            let task = task.ok()?;
            let schedstat = fs::read_to_string(task.path().join("schedstat")).ok()?;
            let run = schedstat.split(' ').next()?.parse().ok()?;
            Some((task.file_name().to_str()?.parse().ok()?, run))
        })
        .collect()
}

/// Resident memory of a process in bytes, 0 where it has ended.
#[must_use]
pub fn resident_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: Option<u64> = line.and_then(|value| value.trim().trim_end_matches(" kB").parse().ok());
    kib.unwrap_or(0) * 1024
}

/// The same once it does not change any more.
pub async fn memory_at_rest(pid: u32) -> u64 {
    let mut before = resident_bytes(pid);
    for _ in 0..REST_LOOKS_MAX {
        tokio::time::sleep(REST_INTERVAL).await;
        let now = resident_bytes(pid);
        if now.abs_diff(before) < before / REST_PART {
            return now;
        }
        before = now;
    }
    before
}

/// CPU time that all cores together have spent on anything.
fn machine_busy() -> Duration {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let first = stat.lines().next().unwrap_or_default();
    // user nice system idle iowait irq softirq steal; guests are part of user.
    let fields: Vec<f64> = first
        .split_whitespace()
        .skip(1)
        .filter_map(|field| field.parse().ok())
        .collect();
    let busy: f64 = [0, 1, 2, 5, 6, 7]
        .iter()
        .filter_map(|index| fields.get(*index))
        .sum();
    Duration::from_secs_f64(busy / TICKS_A_SECOND)
}

/// Who used the machine while something was measured.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    pub elapsed: Duration,
    /// CPU time of the server that is measured.
    pub server: Duration,
    /// Cores that the load generator used.
    pub generator_cores: f64,
    /// Cores that neither it nor the server nor the node and the template provider used.
    pub others_cores: f64,
}

impl Usage {
    #[must_use]
    pub fn server_cores(&self) -> f64 {
        self.server.as_secs_f64() / self.elapsed.as_secs_f64()
    }
}

/// Measures the use of the machine from its start on.
#[derive(Debug)]
pub struct UsageMeter {
    started: Instant,
    machine: Duration,
    /// The server, ourselves, and those that are part of the experiment without being measured.
    processes: Vec<(ProcessCpu, Duration)>,
}

impl UsageMeter {
    /// `bystanders` are the node and the template provider.
    #[must_use]
    pub fn start(server: u32, bystanders: &[u32]) -> Self {
        let pids = [server, std::process::id()].into_iter();
        let processes = pids.chain(bystanders.iter().copied()).map(|pid| {
            let mut cpu = ProcessCpu {
                pid,
                threads: HashMap::new(),
            };
            let at_start = cpu.sample();
            (cpu, at_start)
        });
        let processes = processes.collect();
        Self {
            started: Instant::now(),
            machine: machine_busy(),
            processes,
        }
    }

    /// To be called now and then, so that what threads use that end is not lost.
    pub fn look(&mut self) {
        for (cpu, _) in &mut self.processes {
            cpu.sample();
        }
    }

    /// The use since the start.
    #[must_use]
    pub fn usage(&mut self) -> Usage {
        let elapsed = self.started.elapsed();
        let machine = machine_busy().saturating_sub(self.machine);
        let used: Vec<Duration> = self
            .processes
            .iter_mut()
            .map(|(cpu, at_start)| cpu.sample().saturating_sub(*at_start))
            .collect();
        let seconds = elapsed.as_secs_f64();
        let others = machine.saturating_sub(used.iter().sum());
        Usage {
            elapsed,
            server: used[0],
            generator_cores: used[1].as_secs_f64() / seconds,
            others_cores: others.as_secs_f64() / seconds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_sees_its_own_work_and_memory() {
        let mut meter = UsageMeter::start(std::process::id(), &[]);
        let mut sum = 0u64;
        while meter.started.elapsed() < Duration::from_millis(50) {
            sum = sum.wrapping_mul(31).wrapping_add(7);
        }
        assert_ne!(sum, 1);
        let usage = meter.usage();
        assert!(usage.server > Duration::from_millis(1), "{usage:?}");
        assert!(usage.generator_cores > 0.0, "{usage:?}");
        assert!(resident_bytes(std::process::id()) > 1 << 20);
        assert_eq!(resident_bytes(u32::MAX), 0);
    }
}
