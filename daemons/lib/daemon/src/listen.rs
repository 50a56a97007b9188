//! TCP listeners, with errors that an operator can act on.

use crate::Failure;
use std::io;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpSocket};

/// Connections that the kernel completes ahead of our accept; it takes `net.core.somaxconn` where that is less. When a lane
/// comes up, all its miners come back at once, and those that find the queue full wait for a second: the standard library's
/// 128 cost a fifth of 1,000 miners that.
const BACKLOG: u32 = 1_024;

/// Why an address can't be listened on.
#[derive(Debug, thiserror::Error)]
enum ListenError {
    #[error(
        "can't listen on {address} ({key}): another process has the port; `ss -ltnp sport = :{port}` names it, stop it or \
         change {key}",
        port = address.port()
    )]
    Taken { key: String, address: SocketAddr },
    #[error(
        "can't listen on {address} ({key}): no interface of this machine has that address; change {key}"
    )]
    NoSuchAddress { key: String, address: SocketAddr },
    #[error(
        "can't listen on {address} ({key}): ports below 1024 need CAP_NET_BIND_SERVICE; change {key}"
    )]
    Privileged { key: String, address: SocketAddr },
    #[error("can't listen on {address} ({key})")]
    Other {
        key: String,
        address: SocketAddr,
        source: io::Error,
    },
}

/// Listens on `address`, which the configuration has under `key`.
///
/// # Errors
/// Says what is wrong with the address and what to do. An address that can never work is a mistake in the
/// configuration; a port that is taken may become free.
pub async fn listen(key: &str, address: SocketAddr) -> Result<TcpListener, Failure> {
    bind(address).map_err(|source| {
        let key = key.to_owned();
        match source.kind() {
            io::ErrorKind::AddrInUse => Failure::other(ListenError::Taken { key, address }),
            io::ErrorKind::AddrNotAvailable => {
                Failure::config(ListenError::NoSuchAddress { key, address })
            }
            io::ErrorKind::PermissionDenied => {
                Failure::config(ListenError::Privileged { key, address })
            }
            _ => Failure::other(ListenError::Other {
                key,
                address,
                source,
            }),
        }
    })
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4(),
        SocketAddr::V6(_) => TcpSocket::new_v6(),
    }?;
    // A restart need not wait until the connections of before are forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ExitStatus;
    use std::time::Duration;

    #[tokio::test]
    async fn a_port_that_is_taken_says_who_to_ask_and_what_to_change() {
        let held = listen("a", "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = held.local_addr().unwrap();
        let failure = listen("metrics_address", address).await.unwrap_err();
        assert_eq!(failure.status(), ExitStatus::Failed);
        let text = failure.to_string();
        assert!(text.contains("another process has the port"), "{text}");
        assert!(text.contains("change metrics_address"), "{text}");
    }

    #[tokio::test]
    async fn connections_wait_for_an_accept_that_is_late() {
        let listener = listen("a", "127.0.0.1:0".parse().unwrap()).await.unwrap();
        let address = listener.local_addr().unwrap();
        // More than the standard library's backlog, and nobody accepts: each is complete for its client all the same.
        let connecting = async {
            let mut connected = Vec::new();
            for _ in 0..300 {
                connected.push(tokio::net::TcpStream::connect(address).await.unwrap());
            }
            connected.len()
        };
        let all = tokio::time::timeout(Duration::from_millis(900), connecting).await;
        assert_eq!(all, Ok(300), "the kernel made clients wait for a second");
    }

    #[tokio::test]
    async fn an_address_of_another_machine_is_a_mistake_in_the_configuration() {
        let failure = listen("listen", "192.0.2.1:0".parse().unwrap())
            .await
            .unwrap_err();
        assert_eq!(failure.status(), ExitStatus::Config);
    }
}
