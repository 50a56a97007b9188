//! A connection that says nothing and hears what other connections NOTIFY.

use std::fmt;
use std::pin::{Pin, pin};

use futures::stream::{Stream, StreamExt, poll_fn};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_postgres::{AsyncMessage, Client, Connection, Error, NoTls};

use super::server::{CONNECT_TIME_MAX, PostgresServer};
use crate::LedgerError;

type Messages = Pin<Box<dyn Stream<Item = Result<AsyncMessage, Error>> + Send>>;

/// Hears the notices of one channel. What was said while nobody was connected is lost: who listens anew looks for himself first.
pub struct Listener {
    /// The connection ends with it.
    _client: Client,
    messages: Messages,
}

impl Listener {
    /// Connects, and hears what is said from then on. `channel` is a plain name.
    ///
    /// # Errors
    /// The server is not there, or refuses.
    pub async fn connect(server: &PostgresServer, channel: &str) -> Result<Self, LedgerError> {
        let access = server.access();
        let connecting = async {
            let (client, mut messages) = if let Some(tls) = &access.tls {
                let (client, connection) = access.config.connect(tls.clone()).await?;
                (client, messages(connection))
            } else {
                let (client, connection) = access.config.connect(NoTls).await?;
                (client, messages(connection))
            };
            listen(&client, &mut messages, channel).await?;
            Ok(Self {
                _client: client,
                messages,
            })
        };
        match tokio::time::timeout(CONNECT_TIME_MAX, connecting).await {
            Ok(connected) => connected.map_err(|source| LedgerError::Postgres {
                action: "listen",
                server: server.to_string(),
                source,
            }),
            Err(_elapsed) => Err(LedgerError::TimedOut {
                action: "listen",
                server: server.to_string(),
                limit: CONNECT_TIME_MAX,
            }),
        }
    }

    /// The next notice; none when the connection is lost.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            match self.messages.next().await? {
                Ok(AsyncMessage::Notification(notice)) => return Some(notice.payload().to_owned()),
                Ok(_) => {}
                Err(_lost) => return None,
            }
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").finish_non_exhaustive()
    }
}

fn messages<S, T>(mut connection: Connection<S, T>) -> Messages
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    Box::pin(poll_fn(move |context| connection.poll_message(context)))
}

/// Moves the bytes of the connection meanwhile. Nothing is heard before.
async fn listen(client: &Client, messages: &mut Messages, channel: &str) -> Result<(), Error> {
    let command = format!("LISTEN {channel}");
    let mut listening = pin!(client.batch_execute(&command));
    loop {
        tokio::select! {
            biased;
            done = &mut listening => return done,
            message = messages.next() => match message {
                Some(message) => drop(message?),
                // What is asked of a connection that has ended fails.
                None => return listening.await,
            },
        }
    }
}
