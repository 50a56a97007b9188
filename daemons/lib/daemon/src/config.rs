//! One typed TOML file per daemon: what every daemon has in it, and how its mistakes are found, all of them at once.

mod decode;

use decode::Document;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest `start_timeout_seconds`: longer, and a supervisor would never see that the daemon can't work.
const MAX_START_TIMEOUT_SECONDS: u64 = 3600;

/// A daemon's own part of its file; the type refuses unknown fields (`#[serde(deny_unknown_fields)]`).
pub trait Config: DeserializeOwned {
    /// How long tasks may take to end, and what they have accepted to become durable.
    const GRACE: Duration = Duration::from_secs(10);

    /// Adds what is wrong in a file of the right shape: a range, two keys that don't go together.
    fn check(&self, mistakes: &mut Mistakes);
}

/// What every daemon's file may have at its top level. All of it has a default.
#[derive(Clone, Debug, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The daemon's sockets are in the folder with its name in here.
    pub runtime_dir: PathBuf,
    /// Where `/metrics` is served; nowhere if it is not given.
    pub metrics_address: Option<SocketAddr>,
    pub log: Log,
    /// How long a daemon waits for what it can't work without before it exits with status 69.
    pub start_timeout_seconds: u64,
}

/// The `[log]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Log {
    /// A level, or directives as of `tracing_subscriber::EnvFilter`; HH_LOG in the environment takes precedence.
    pub level: String,
}

impl Settings {
    /// The keys that are taken out of the file before the daemon's own type sees it.
    const KEYS: [&str; 4] = [
        "log",
        "metrics_address",
        "runtime_dir",
        "start_timeout_seconds",
    ];

    /// How long a daemon waits for what it can't work without.
    pub fn start_timeout(&self) -> Duration {
        Duration::from_secs(self.start_timeout_seconds)
    }

    fn check(&self, mistakes: &mut Mistakes) {
        if !self.runtime_dir.is_absolute() {
            mistakes.add(
                "runtime_dir",
                "not an absolute path",
                "start it with a slash",
            );
        }
        if let Err(error) = crate::log::filter(&self.log.level) {
            let what = format!("no log filter: {error}");
            mistakes.add("log.level", what, "write error, warn, info, debug or trace");
        }
        if !(1..=MAX_START_TIMEOUT_SECONDS).contains(&self.start_timeout_seconds) {
            let fix = format!("write 1 to {MAX_START_TIMEOUT_SECONDS}");
            mistakes.add("start_timeout_seconds", "out of range", fix);
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            runtime_dir: PathBuf::from("/run/hyperhash"),
            metrics_address: None,
            log: Log::default(),
            start_timeout_seconds: 30,
        }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            level: "info".to_owned(),
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("can't read the configuration {path}; name another with --config")]
    Read { path: PathBuf, source: io::Error },
    #[error(transparent)]
    Mistakes(Mistakes),
}

/// What is wrong in a file, in the order of its lines.
#[derive(Debug, Default, thiserror::Error)]
pub struct Mistakes {
    path: PathBuf,
    list: Vec<Mistake>,
}

#[derive(Debug)]
struct Mistake {
    /// Path of the key, its parts separated by dots, such as `nodes.0.url`; empty for the file as a whole.
    key: String,
    what: String,
    fix: String,
    /// Where it is in the file, in bytes.
    offset: Option<usize>,
    /// The number of the line, from 1, and the line.
    line: Option<(usize, String)>,
}

impl Mistakes {
    /// Adds one. `key` is the path of the value, such as `lanes.0.listen`; `what` is wrong with it and `fix` is what
    /// to do, both in lower case without a full stop.
    pub fn add(&mut self, key: impl Into<String>, what: impl Into<String>, fix: impl Into<String>) {
        self.list.push(Mistake {
            key: key.into(),
            what: what.into(),
            fix: fix.into(),
            offset: None,
            line: None,
        });
    }

    /// None were found.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Finds the lines, and drops what only follows from an error of syntax on the same line; `syntax` of the list are
    /// such errors, the first ones.
    fn locate(&mut self, document: &Document<'_>, syntax: usize) {
        for mistake in &mut self.list {
            mistake.offset = mistake.offset.or_else(|| document.find(&mistake.key));
            mistake.line = mistake.offset.map(|offset| document.line(offset));
        }
        let unreadable = self
            .list
            .iter()
            .take(syntax)
            .filter_map(Mistake::line_number);
        let unreadable: Vec<usize> = unreadable.collect();
        let rest = self.list.split_off(syntax).into_iter();
        self.list.extend(rest.filter(|mistake| {
            mistake
                .line_number()
                .is_none_or(|number| !unreadable.contains(&number))
        }));
        self.list.sort_by_key(|mistake| mistake.offset);
    }
}

impl Mistake {
    fn line_number(&self) -> Option<usize> {
        self.line.as_ref().map(|(number, _)| *number)
    }
}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.list.len() == 1 { "" } else { "s" };
        let path = self.path.display();
        writeln!(f, "{} mistake{plural} in {path}", self.list.len())?;
        for mistake in &self.list {
            write!(f, "\n{path}")?;
            if let Some((number, _)) = mistake.line {
                write!(f, ":{number}")?;
            }
            write!(f, ": ")?;
            if !mistake.key.is_empty() {
                write!(f, "{}: ", mistake.key)?;
            }
            writeln!(f, "{}", mistake.what)?;
            if let Some((number, line)) = &mistake.line {
                let shown = if mistake.what.contains(crate::secret::HIDDEN) {
                    line.split('=').next().unwrap_or_default()
                } else {
                    line
                };
                writeln!(f, "{number:>6} | {}", shown.trim_end())?;
            }
            writeln!(f, "  to fix: {}", mistake.fix)?;
        }
        Ok(())
    }
}

/// Reads and checks the file at `path`.
///
/// # Errors
/// The file can't be read, or the list of all that is wrong in it.
pub fn load<C: Config>(path: &Path) -> Result<(Settings, C), ConfigError> {
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(path, &text).map_err(ConfigError::Mistakes)
}

fn parse<C: Config>(path: &Path, text: &str) -> Result<(Settings, C), Mistakes> {
    let mut mistakes = Mistakes {
        path: path.to_owned(),
        list: Vec::new(),
    };
    let document = Document::parse(text, &mut mistakes);
    let syntax = mistakes.list.len();
    let (common, own) = document.split(&Settings::KEYS);
    let settings = decode::decode::<Settings>(common, &mut mistakes);
    let config = decode::decode::<C>(own, &mut mistakes);
    if let Some(settings) = &settings {
        settings.check(&mut mistakes);
    }
    if let Some(config) = &config {
        config.check(&mut mistakes);
    }
    match (settings, config) {
        (Some(settings), Some(config)) if mistakes.is_empty() => Ok((settings, config)),
        _ => {
            mistakes.locate(&document, syntax);
            Err(mistakes)
        }
    }
}

#[cfg(test)]
mod tests;
