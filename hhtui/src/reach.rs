//! The way to the daemons: their sockets on this machine, or one SSH session to those of another. What changes something goes
//! another way than what looks.

use hh_ipc::client::{self, DialError};
use hh_ipc::locate::{Context, Daemon};
use hh_ipc::ssh::{Ssh, SshError};
use hh_ipc::stdio::OpenError;
use std::io;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

/// A host that does not answer for this long is taken for dead.
const SSH_TIMEOUT: Duration = Duration::from_secs(15);

/// An SSH session that failed is not tried again for this long: the feeds all ask for it at once.
const SSH_REST: Duration = Duration::from_secs(1);

/// A question of every feed.
const ASKS: usize = Daemon::ALL.len();

/// Clones share the way.
#[derive(Clone)]
pub(crate) enum Reach {
    /// The sockets of a context on this machine.
    Here(Context),
    /// The sockets of another machine; [`Line::run`] answers.
    There(mpsc::Sender<Ask>),
}

/// A wish for a stream to a daemon.
pub(crate) struct Ask {
    daemon: Daemon,
    answer: oneshot::Sender<Result<Box<dyn client::Stream>, ReachError>>,
}

/// Why a daemon can't be reached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReachError {
    #[error("{}", dial_reason(.0))]
    Dial(#[from] DialError),
    /// As the far end tells it.
    #[error("not reached there: {0}")]
    There(String),
    #[error("ssh: {0}")]
    Ssh(String),
}

fn dial_reason(error: &DialError) -> String {
    let path = error.path.display();
    match error.source.kind() {
        io::ErrorKind::NotFound => format!("not running, there is no {path}"),
        io::ErrorKind::ConnectionRefused => format!("not running, nobody listens on {path}"),
        io::ErrorKind::PermissionDenied => {
            format!("{path} is closed to this user, who has to be in its group")
        }
        _ => format!("{path}: {}", error.source),
    }
}

impl Reach {
    /// Opens a connection to `daemon`.
    pub(crate) async fn open(&self, daemon: Daemon) -> Result<Box<dyn client::Stream>, ReachError> {
        match self {
            Self::Here(context) => {
                let stream = client::dial_any(&context.view_sockets(daemon)).await?;
                Ok(Box::new(stream))
            }
            Self::There(asks) => {
                let (answer, answered) = oneshot::channel();
                // Without the line this program is ending; the answer fails as well then.
                asks.send(Ask { daemon, answer }).await.ok();
                let over = |_| Err(ReachError::Ssh("the session is over".to_owned()));
                answered.await.unwrap_or_else(over)
            }
        }
    }

    /// The way to `host`, and the task that keeps its session.
    pub(crate) fn over_ssh(program: String, host: String, arguments: Vec<String>) -> (Self, Line) {
        let (sender, asks) = mpsc::channel(ASKS);
        let line = Line {
            program,
            host,
            arguments,
            asks,
            ssh: None,
            failed: None,
        };
        (Self::There(sender), line)
    }
}

/// The way to the sockets that also change something. Nothing is kept open: an operator changes something now and then.
#[derive(Clone, Debug)]
pub(crate) enum ControlReach {
    /// Those of a context on this machine.
    Here(Context),
    /// Those of another machine, by a session of its own each time.
    There {
        program: String,
        host: String,
        arguments: Vec<String>,
    },
}

/// A connection to a control socket, for as long as this is there.
pub(crate) struct Opened {
    pub(crate) stream: Box<dyn client::Stream>,
    /// What carries it; dropping it ends the session.
    _ssh: Option<Ssh>,
}

impl ControlReach {
    /// Opens a connection to `daemon`, which may still say that it lets us only look.
    pub(crate) async fn open(&self, daemon: Daemon) -> Result<Opened, ReachError> {
        match self {
            Self::Here(context) => {
                let stream = client::dial_any(&[context.control_socket(daemon)]).await?;
                Ok(Opened {
                    stream: Box::new(stream),
                    _ssh: None,
                })
            }
            Self::There {
                program,
                host,
                arguments,
            } => {
                let ssh = Ssh::start(program, host, arguments, SSH_TIMEOUT).await;
                let ssh = ssh.map_err(|error| ReachError::Ssh(on_one_line(&error)))?;
                match ssh.open(daemon).await {
                    Ok(stream) => Ok(Opened {
                        stream: Box::new(stream),
                        _ssh: Some(ssh),
                    }),
                    Err(OpenError::Refused { reason, .. }) => Err(ReachError::There(reason)),
                    Err(OpenError::Ended) => {
                        Err(ReachError::Ssh(on_one_line(&ssh.why_it_ended().await)))
                    }
                }
            }
        }
    }
}

/// It has to fit the ribbon.
fn on_one_line(error: &SshError) -> String {
    let words = error.to_string();
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The task that owns the SSH session.
pub(crate) struct Line {
    program: String,
    host: String,
    arguments: Vec<String>,
    asks: mpsc::Receiver<Ask>,
    ssh: Option<Ssh>,
    failed: Option<(Instant, String)>,
}

impl Line {
    /// Answers until every [`Reach`] is dropped.
    pub(crate) async fn run(mut self) {
        while let Some(Ask { daemon, answer }) = self.asks.recv().await {
            // Whoever does not wait for the answer any more is ending.
            answer.send(self.open(daemon).await).ok();
        }
    }

    async fn open(&mut self, daemon: Daemon) -> Result<Box<dyn client::Stream>, ReachError> {
        let ssh = match self.ssh.take() {
            Some(ssh) => ssh,
            None => self.start().await?,
        };
        match ssh.open(daemon).await {
            Ok(stream) => {
                self.ssh = Some(ssh);
                Ok(Box::new(stream))
            }
            Err(OpenError::Refused { reason, .. }) => {
                self.ssh = Some(ssh);
                Err(ReachError::There(reason))
            }
            Err(OpenError::Ended) => Err(self.fail(&ssh.why_it_ended().await)),
        }
    }

    async fn start(&mut self) -> Result<Ssh, ReachError> {
        if let Some((when, why)) = &self.failed
            && when.elapsed() < SSH_REST
        {
            return Err(ReachError::Ssh(why.clone()));
        }
        let started = Ssh::start(&self.program, &self.host, &self.arguments, SSH_TIMEOUT).await;
        started.map_err(|error| self.fail(&error))
    }

    fn fail(&mut self, error: &SshError) -> ReachError {
        let why = on_one_line(error);
        self.failed = Some((Instant::now(), why.clone()));
        ReachError::Ssh(why)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_say_what_to_look_at() {
        let dial = |kind: io::ErrorKind| {
            ReachError::from(DialError {
                path: "/run/hyperhash/hh-tp/view.sock".into(),
                source: kind.into(),
            })
            .to_string()
        };
        assert_eq!(
            dial(io::ErrorKind::NotFound),
            "not running, there is no /run/hyperhash/hh-tp/view.sock"
        );
        assert_eq!(
            dial(io::ErrorKind::ConnectionRefused),
            "not running, nobody listens on /run/hyperhash/hh-tp/view.sock"
        );
        assert_eq!(
            dial(io::ErrorKind::PermissionDenied),
            "/run/hyperhash/hh-tp/view.sock is closed to this user, who has to be in its group"
        );
    }
}
