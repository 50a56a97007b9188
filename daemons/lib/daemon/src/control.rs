//! The control sockets of a daemon: `control.sock` for all methods, `view.sock` for those that only read.
//!
//! systemd passes both, opened for their groups; without it they are made here, for the daemon's own user alone.

use crate::{Context, Failure};
use hh_ipc::server::{Connection, Peer, serve};
use hh_ipc::{ApiError, ErrorKind, MAX_SOCKET_PATH_BYTES};
use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use std::collections::BTreeSet;
use std::fs::DirBuilder;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Users that daemons run as where each has its own. One that was broken into must not command another.
const DAEMON_USERS: [&str; 6] = [
    "hh-tp",
    "hh-pool",
    "hh-translator",
    "hh-treasury",
    "hyperhash-core",
    "hh-node-agent",
];

/// A daemon, and the one that may command it all the same: a node's agent starts and stops the node's translator, and drains it first.
const COMMANDED: [(&str, &str); 1] = [("hh-translator", "hh-node-agent")];

/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;

/// Who calls on a control socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caller {
    pub peer: Peer,
    /// On `view.sock`: methods that change something must be refused.
    pub read_only: bool,
}

impl Caller {
    /// To be asked first by every method that changes something.
    ///
    /// # Errors
    /// HH0201 on a view socket.
    pub fn may_change(&self) -> Result<(), ApiError> {
        if self.read_only {
            let message = "this is a view socket, which changes nothing";
            return Err(ApiError::new(ErrorKind::Permission, "HH0201", message));
        }
        Ok(())
    }
}

/// Why a socket can't be listened on.
#[derive(Debug, thiserror::Error)]
enum ControlError {
    #[error(
        "the socket path {path} has {length} bytes, more than the {MAX_SOCKET_PATH_BYTES} that Linux takes; set a shorter \
         runtime_dir"
    )]
    TooLong { path: PathBuf, length: usize },
    #[error(
        "can't make the folder {path} of the control sockets; create it for this user, or change runtime_dir"
    )]
    Folder { path: PathBuf, source: io::Error },
    #[error("another process listens on {path}; stop it, or give this daemon another runtime_dir")]
    InUse { path: PathBuf },
    #[error("{path} is in the way of a control socket and is none; remove it")]
    NoSocket { path: PathBuf },
    #[error("can't listen on {path}")]
    Listen { path: PathBuf, source: io::Error },
}

impl ControlError {
    fn into_failure(self) -> Failure {
        match self {
            Self::TooLong { .. } | Self::Folder { .. } => Failure::config(self),
            Self::InUse { .. } | Self::NoSocket { .. } | Self::Listen { .. } => {
                Failure::other(self)
            }
        }
    }
}

impl Context {
    /// Serves the control sockets, each connection with the task that `connection` makes for its caller, until the daemon
    /// stops: `move |caller, stream| Box::pin(hh_ipc::server::answer(stream, control.clone().serve()))`.
    ///
    /// # Errors
    /// The sockets can't be made; a path that is too long is a mistake in the configuration.
    pub fn serve_control(
        &self,
        connection: impl Fn(Caller, tokio::net::UnixStream) -> Connection
        + Clone
        + Send
        + Sync
        + 'static,
    ) -> Result<(), Failure> {
        let dir = self.settings.runtime_dir.join(self.name);
        let mut passed = passed_by_systemd();
        let refused = Arc::new(other_daemons(self.name));
        for (file, read_only) in [("control.sock", false), ("view.sock", true)] {
            let (listener, bound) = match passed.remove(file) {
                Some(listener) => (listener, None),
                None => {
                    let path = dir.join(file);
                    let listener = listen(&path).map_err(ControlError::into_failure)?;
                    (listener, Some(Bound(path)))
                }
            };
            listener.set_nonblocking(true)?;
            let listener = tokio::net::UnixListener::from_std(listener)?;
            let (refused, connection) = (Arc::clone(&refused), connection.clone());
            let serving = serve(listener, move |peer, stream| {
                let refuse = !read_only && refused.contains(&peer.uid);
                log_caller(peer, read_only, refuse);
                (!refuse).then(|| connection(Caller { peer, read_only }, stream))
            });
            let token = self.tasks.token().clone();
            self.tasks.spawn(file, async move {
                let _bound = bound;
                token.run_until_cancelled(serving).await;
                Ok::<_, Failure>(())
            });
        }
        Ok(())
    }
}

fn log_caller(peer: Peer, read_only: bool, refused: bool) {
    let Peer { uid, gid, pid } = peer;
    if refused {
        tracing::warn!(
            uid,
            gid,
            pid,
            "control connection of another daemon refused"
        );
    } else if read_only {
        tracing::debug!(uid, gid, pid, "view connection");
    } else {
        tracing::info!(uid, gid, pid, "control connection");
    }
}

/// Removes the socket file at the end. It is dropped after the listener, so nobody else can have bound the path.
struct Bound(PathBuf);

impl Drop for Bound {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

/// Binds `path`, readable and writable for the own user alone, and takes the place of a socket that nobody listens on.
fn listen(path: &Path) -> Result<UnixListener, ControlError> {
    let length = path.as_os_str().as_bytes().len();
    if length > MAX_SOCKET_PATH_BYTES {
        let path = path.to_owned();
        return Err(ControlError::TooLong { path, length });
    }
    if let Some(dir) = path.parent() {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(|source| ControlError::Folder {
            path: dir.to_owned(),
            source,
        })?;
    }
    let listen_error = |source| ControlError::Listen {
        path: path.to_owned(),
        source,
    };
    match bind(path) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            remove_stale(path)?;
            bind(path).map_err(listen_error)
        }
        bound => bound.map_err(listen_error),
    }
}

/// On Linux a socket file gets the mode that the socket has when it is bound, so there is no moment at which it is open to
/// others.
fn bind(path: &Path) -> io::Result<UnixListener> {
    let flags = SocketFlags::CLOEXEC;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::fs::fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
    rustix::net::bind(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(UnixListener::from(socket))
}

fn remove_stale(path: &Path) -> Result<(), ControlError> {
    let listen_error = |source| ControlError::Listen {
        path: path.to_owned(),
        source,
    };
    let metadata = std::fs::symlink_metadata(path).map_err(listen_error)?;
    if !metadata.file_type().is_socket() {
        let path = path.to_owned();
        return Err(ControlError::NoSocket { path });
    }
    match UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path).map_err(listen_error)
        }
        Err(error) => Err(listen_error(error)),
        Ok(_) => Err(ControlError::InUse {
            path: path.to_owned(),
        }),
    }
}

/// The sockets that systemd has opened for this process, by the name of their file.
fn passed_by_systemd() -> std::collections::BTreeMap<String, UnixListener> {
    let mut passed = listenfd::ListenFd::from_env();
    let mut listeners = std::collections::BTreeMap::new();
    for index in 0..passed.len() {
        let Ok(Some(listener)) = passed.take_unix_listener(index) else {
            continue;
        };
        let address = listener.local_addr().ok();
        let file = address
            .as_ref()
            .and_then(|address| address.as_pathname())
            .and_then(|path| path.file_name())
            .map(|name| name.to_string_lossy().into_owned());
        if let Some(file) = file {
            listeners.insert(file, listener);
        }
    }
    listeners
}

/// The uids of the other daemons' users on this machine, except the one that this process runs as.
fn other_daemons(own_name: &str) -> BTreeSet<u32> {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut others = uids(&users, own_name);
    others.remove(&rustix::process::getuid().as_raw());
    others.remove(&0);
    others
}

fn uids(passwd: &str, own_name: &str) -> BTreeSet<u32> {
    passwd
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            let uid = fields.nth(1)?.parse().ok()?;
            let is_other = name != own_name && DAEMON_USERS.contains(&name);
            (is_other && !COMMANDED.contains(&(own_name, name))).then_some(uid)
        })
        .collect()
}

#[cfg(test)]
mod tests;
