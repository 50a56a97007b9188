//! Where an operator's program finds the daemons: the rule shared by `hhctl` and `hhtui`.
//!
//! A context is a name and the directory that holds a directory per daemon with its sockets. It is, in this order: the
//! one that is named (`--context`, `HHCTL_CONTEXT`), the devnet of the checkout around the working directory
//! (`.devnet/context.toml`), the daemons installed on this machine (`/run/hyperhash`). Nothing is dialled here.

use serde::Deserialize;
use std::io;
use std::path::{Path, PathBuf};

/// Name of the context of the daemons installed on this machine.
pub const LOCAL: &str = "local";

/// Where the daemons installed on this machine have their sockets.
pub const LOCAL_RUNTIME_DIR: &str = "/run/hyperhash";

/// What devnet writes, seen from the root of a checkout.
pub const DEVNET_CONTEXT_FILE: &str = ".devnet/context.toml";

/// A daemon that has control sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Daemon {
    Tp,
    Pool,
    Translator,
    Treasury,
    Core,
    NodeAgent,
}

impl Daemon {
    /// The daemons that mine and pay, from Bitcoin Core to the miner: what every look at a site shows.
    pub const ALL: [Self; 4] = [Self::Tp, Self::Pool, Self::Translator, Self::Treasury];

    /// Those that only control others; a site mines without them.
    pub const CONTROLLING: [Self; 2] = [Self::Core, Self::NodeAgent];

    /// Program name, such as `hh-pool`; also of its directory.
    pub fn program(self) -> &'static str {
        match self {
            Self::Tp => "hh-tp",
            Self::Pool => "hh-pool",
            Self::Translator => "hh-translator",
            Self::Treasury => "hh-treasury",
            Self::Core => "hyperhash-core",
            Self::NodeAgent => "hh-node-agent",
        }
    }
}

/// A set of daemons that belong together on one machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Context {
    /// For people: it is in every prompt and header.
    pub name: String,
    pub runtime_dir: PathBuf,
}

/// Why no context was found.
#[derive(Debug, thiserror::Error)]
pub enum LocateError {
    /// A context file that is there but can't be read.
    #[error("cannot read the context file {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// A context file that is not one.
    #[error("{} is no context file (it needs `name` and `runtime_dir`)", path.display())]
    Parse {
        path: PathBuf,
        source: Box<toml::de::Error>,
    },
    /// A name that is neither `local` nor the devnet's nor a path.
    #[error("there is no context {name:?} (known here: {})", known.join(", "))]
    Unknown { name: String, known: Vec<String> },
}

#[derive(Deserialize)]
struct ContextFile {
    name: String,
    runtime_dir: PathBuf,
}

impl Context {
    /// The context that `named` means, or the one of `working_dir` where nothing is named.
    ///
    /// `named` is `local`, the name of the devnet found from `working_dir`, or the path of a context file (it has a `/`).
    ///
    /// # Errors
    /// A context file that can't be read or makes no sense, or a name that is not known. A missing devnet is no error.
    pub fn find(named: Option<&str>, working_dir: &Path) -> Result<Self, LocateError> {
        match named {
            Some(path) if path.contains('/') => Self::read(&working_dir.join(path)),
            Some(LOCAL) => Ok(Self::local()),
            Some(name) => {
                let devnet = Self::devnet(working_dir)?;
                let known = [LOCAL.to_owned()]
                    .into_iter()
                    .chain(devnet.iter().map(|context| context.name.clone()))
                    .collect();
                devnet
                    .filter(|context| context.name == name)
                    .ok_or_else(|| LocateError::Unknown {
                        name: name.to_owned(),
                        known,
                    })
            }
            None => Ok(Self::devnet(working_dir)?.unwrap_or_else(Self::local)),
        }
    }

    /// The sockets of `daemon` that answer reading methods, in the order to try them.
    pub fn view_sockets(&self, daemon: Daemon) -> [PathBuf; 2] {
        let dir = self.runtime_dir.join(daemon.program());
        [dir.join("view.sock"), dir.join("control.sock")]
    }

    /// The socket of `daemon` that answers all methods.
    pub fn control_socket(&self, daemon: Daemon) -> PathBuf {
        self.runtime_dir.join(daemon.program()).join("control.sock")
    }

    fn local() -> Self {
        Self {
            name: LOCAL.to_owned(),
            runtime_dir: LOCAL_RUNTIME_DIR.into(),
        }
    }

    fn devnet(working_dir: &Path) -> Result<Option<Self>, LocateError> {
        let file = working_dir
            .ancestors()
            .map(|dir| dir.join(DEVNET_CONTEXT_FILE))
            .find(|file| file.is_file());
        file.map(|file| Self::read(&file)).transpose()
    }

    fn read(path: &Path) -> Result<Self, LocateError> {
        let text = std::fs::read_to_string(path).map_err(|source| LocateError::Read {
            path: path.to_owned(),
            source,
        })?;
        let file: ContextFile = toml::from_str(&text).map_err(|source| LocateError::Parse {
            path: path.to_owned(),
            source: Box::new(source),
        })?;
        let base = path.parent().unwrap_or(Path::new("/"));
        Ok(Self {
            name: file.name,
            runtime_dir: base.join(file.runtime_dir),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkout_with(context: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join(".devnet")).unwrap();
        std::fs::create_dir_all(dir.path().join("daemons/pool/src")).unwrap();
        std::fs::write(dir.path().join(DEVNET_CONTEXT_FILE), context).unwrap();
        dir
    }

    const DEVNET: &str = "name = \"devnet\"\nruntime_dir = \"/tmp/hh-1\"\n";

    #[test]
    fn devnet_is_found_from_a_folder_deep_in_the_checkout() {
        let dir = checkout_with(DEVNET);
        let context = Context::find(None, &dir.path().join("daemons/pool/src")).unwrap();
        assert_eq!(context.name, "devnet");
        assert_eq!(
            context.view_sockets(Daemon::Pool),
            [
                PathBuf::from("/tmp/hh-1/hh-pool/view.sock"),
                PathBuf::from("/tmp/hh-1/hh-pool/control.sock")
            ]
        );
    }

    #[test]
    fn installed_daemons_are_meant_where_there_is_no_devnet() {
        let dir = tempfile::tempdir().unwrap();
        let context = Context::find(None, dir.path()).unwrap();
        assert_eq!(context, Context::local());
        assert_eq!(
            context.control_socket(Daemon::Translator),
            PathBuf::from("/run/hyperhash/hh-translator/control.sock")
        );
    }

    #[test]
    fn local_can_be_named_inside_a_checkout() {
        let dir = checkout_with(DEVNET);
        let context = Context::find(Some("local"), dir.path()).unwrap();
        assert_eq!(context, Context::local());
    }

    #[test]
    fn a_path_names_a_context_file_and_its_runtime_dir_may_be_relative_to_it() {
        let dir = checkout_with("name = \"lab\"\nruntime_dir = \"run\"\n");
        let context = Context::find(Some("./.devnet/context.toml"), dir.path()).unwrap();
        assert_eq!(context.name, "lab");
        assert_eq!(context.runtime_dir, dir.path().join("./.devnet/run"));
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let dir = checkout_with(DEVNET);
        let error = Context::find(Some("prod"), dir.path()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "there is no context \"prod\" (known here: local, devnet)"
        );
    }

    #[test]
    fn a_context_file_that_makes_no_sense_is_named() {
        let dir = checkout_with("name = 3");
        let error = Context::find(None, dir.path()).unwrap_err();
        assert!(
            error.to_string().contains(".devnet/context.toml"),
            "{error}"
        );
    }
}
