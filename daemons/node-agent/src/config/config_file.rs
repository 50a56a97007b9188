//! Where a service has its configuration, and how its program checks one.

use hh_daemon::Mistakes;
use hh_trust::command::ServiceName;
use serde::Deserialize;
use std::path::PathBuf;

/// A file that core may have replaced. What may be changed in it without the owner's consent is in the policy.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfigFileConfig {
    pub service: ServiceName,
    /// It is there already; the agent may write its folder.
    pub file: PathBuf,
    /// The program by its absolute path, and its arguments; the path of the new file comes after them.
    pub check: Vec<String>,
}

impl ConfigFileConfig {
    pub(super) fn check(&self, index: usize, mistakes: &mut Mistakes) {
        let key = |name: &str| format!("config_files.{index}.{name}");
        if !self.file.is_absolute() {
            mistakes.add(key("file"), "not an absolute path", "start it with a slash");
        }
        if !self.check.first().is_some_and(|text| text.starts_with('/')) {
            let what = "the program is not named by an absolute path";
            let fix = "write [\"/usr/bin/hh-translator\", \"--check-config\", \"--config\"]";
            mistakes.add(key("check"), what, fix);
        }
    }
}
