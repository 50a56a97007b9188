//! TCP listeners, with errors that an operator can act on.

use crate::Failure;
use std::io;
use std::net::SocketAddr;
use tokio::net::TcpListener;

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
    TcpListener::bind(address).await.map_err(|source| {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ExitStatus;

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
    async fn an_address_of_another_machine_is_a_mistake_in_the_configuration() {
        let failure = listen("listen", "192.0.2.1:0".parse().unwrap())
            .await
            .unwrap_err();
        assert_eq!(failure.status(), ExitStatus::Config);
    }
}
