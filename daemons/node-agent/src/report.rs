//! What this node tells core of itself, as of now.

use crate::figures::Figures;
use crate::supervisor::Supervisor;
use hh_ipc::agent::{Inventory, LaneReport, ServiceReport};
use std::fs;
use tokio::sync::watch;

/// Longest line of a file that is told: names of systems are some dozen bytes.
const TEXT_CHARS_MAX: usize = 100;

/// Where it is read. Clones share it.
#[derive(Clone)]
pub(crate) struct Reporter {
    supervisor: Supervisor,
    figures: watch::Receiver<Figures>,
    /// Without programs.
    machine: Inventory,
}

impl Reporter {
    /// Looks at the machine once: it is another one only after a restart.
    pub(crate) fn new(supervisor: Supervisor, figures: watch::Receiver<Figures>) -> Self {
        let os = fs::read_to_string("/etc/os-release").unwrap_or_default();
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let cpus = std::thread::available_parallelism().map_or(0, usize::from);
        let machine = Inventory {
            os: os_name(&os),
            kernel: text(&kernel),
            architecture: std::env::consts::ARCH.to_owned(),
            cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
            programs: Vec::new(),
        };
        Self {
            supervisor,
            figures,
            machine,
        }
    }

    pub(crate) fn services(&self) -> Vec<ServiceReport> {
        self.supervisor.report()
    }

    pub(crate) fn lanes(&self) -> Vec<LaneReport> {
        self.figures.borrow().lanes.clone()
    }

    pub(crate) fn inventory(&self) -> Inventory {
        Inventory {
            programs: self.figures.borrow().programs.clone(),
            ..self.machine.clone()
        }
    }
}

/// `PRETTY_NAME` of os-release(5).
fn os_name(os_release: &str) -> String {
    let mut lines = os_release.lines();
    let name = lines.find_map(|line| line.strip_prefix("PRETTY_NAME="));
    text(name.unwrap_or_default().trim_matches(['"', '\'']))
}

fn text(text: &str) -> String {
    text.trim().chars().take(TEXT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_is_called_as_it_calls_itself() {
        let debian = "NAME=\"Debian\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\n";
        assert_eq!(os_name(debian), "Debian GNU/Linux 12 (bookworm)");
        assert_eq!(os_name("PRETTY_NAME=Alpine\n"), "Alpine");
        assert_eq!(os_name(""), "");
        assert_eq!(text(&"x".repeat(500)).len(), TEXT_CHARS_MAX);
    }
}
