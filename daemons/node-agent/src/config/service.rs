//! A service that the agent keeps running.

use hh_daemon::Mistakes;
use hh_trust::command::ServiceName;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Longest that a service may take to stop before it is killed.
pub(crate) const STOP_SECONDS_MAX: u64 = 300;

/// How it is started, stopped and looked at. What core may order of it is in the policy.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceConfig {
    pub name: ServiceName,
    /// The program by its absolute path, and its arguments. No shell is in between.
    pub command: Vec<String>,
    #[serde(default)]
    pub working_dir: Option<PathBuf>,
    /// All of its environment but PATH and LANG.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Started with the agent.
    #[serde(default = "yes")]
    pub autostart: bool,
    /// From SIGTERM to SIGKILL.
    #[serde(default = "default_stop_seconds")]
    pub stop_seconds: u64,
    /// It is healthy when a connection to this is taken; where it is not given, when it has lived for a second.
    #[serde(default)]
    pub health_address: Option<SocketAddr>,
}

fn yes() -> bool {
    true
}

/// Daemons of ours have a grace period of 10 s.
fn default_stop_seconds() -> u64 {
    15
}

impl ServiceConfig {
    pub(super) fn check(&self, index: usize, mistakes: &mut Mistakes) {
        let is_absolute = |text: &String| text.starts_with('/');
        if !self.command.first().is_some_and(is_absolute) {
            let what = "the program is not named by an absolute path";
            let fix = "write the program and its arguments, such as [\"/usr/bin/hh-translator\"]";
            mistakes.add(format!("services.{index}.command"), what, fix);
        }
        if self
            .working_dir
            .as_ref()
            .is_some_and(|dir| !dir.is_absolute())
        {
            let key = format!("services.{index}.working_dir");
            mistakes.add(key, "not an absolute path", "start it with a slash");
        }
        if !(1..=STOP_SECONDS_MAX).contains(&self.stop_seconds) {
            let fix = format!("write 1 to {STOP_SECONDS_MAX}");
            mistakes.add(
                format!("services.{index}.stop_seconds"),
                "out of range",
                fix,
            );
        }
    }
}
