//! Who may have a connection of a port: each has a place before anything is read from it.
//!
//! A connection of a load balancer counts for the client that it tells of, once it has told. Until then it has a place of those that are
//! for load balancers, so that neither a client is counted as the balancer, nor a balancer as one client.

use hh_daemon::{Full, Place, Places, ProxyError, ProxyProtocol};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncRead;
use tokio::net::{TcpListener, TcpStream};

/// Pause after an accept that failed (out of file descriptors), so that the loop does not spin.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);

/// The places of a port, or of several. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Door {
    places: Places,
    /// Of connections that have not told for whom they are. Load balancers are not counted by address: their clients are.
    unannounced: Places,
    proxies: Arc<ProxyProtocol>,
}

/// A connection that has been let in, as far as it is known.
#[derive(Debug)]
pub(crate) struct Entrant {
    /// Of the client, or of the load balancer that has not told of him yet.
    address: SocketAddr,
    place: Place,
    is_announced: bool,
}

/// Why a connection does not go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TurnedAway {
    #[error(transparent)]
    Full(#[from] Full),
    #[error("its load balancer does not tell for whom it is")]
    Proxy(#[from] ProxyError),
}

impl Door {
    /// With so many places in all, and of one address.
    pub(crate) fn new(max_total: usize, max_per_address: usize, proxies: ProxyProtocol) -> Self {
        Self {
            places: Places::new(max_total, max_per_address),
            unannounced: Places::new(max_total, max_total),
            proxies: Arc::new(proxies),
        }
    }

    /// The next connection that has a place. Those for which there is none are closed.
    pub(crate) async fn next(&self, socket: &TcpListener) -> (TcpStream, SocketAddr, Entrant) {
        loop {
            let Ok((stream, address)) = socket.accept().await else {
                tokio::time::sleep(ACCEPT_BACKOFF).await;
                continue;
            };
            match self.accept(address) {
                Ok(entrant) => return (stream, address, entrant),
                Err(full) => tracing::debug!(%address, %full, "connection refused"),
            }
        }
    }

    /// A place for a connection that has just been accepted.
    ///
    /// # Errors
    /// There is none left.
    fn accept(&self, address: SocketAddr) -> Result<Entrant, Full> {
        let is_announced = !self.is_proxy(address.ip());
        let places = match is_announced {
            true => &self.places,
            false => &self.unannounced,
        };
        Ok(Entrant {
            address,
            place: places.take(address.ip())?,
            is_announced,
        })
    }

    /// Who it is, which a load balancer tells first; and his place.
    ///
    /// # Errors
    /// There is none left for him, or the load balancer does not tell.
    pub(crate) async fn learn(
        &self,
        stream: &mut (impl AsyncRead + Unpin),
        entrant: Entrant,
    ) -> Result<(SocketAddr, Place), TurnedAway> {
        if entrant.is_announced {
            return Ok((entrant.address, entrant.place));
        }
        let client = ProxyProtocol::client(stream, entrant.address).await?;
        let place = self.places.take(client.ip())?;
        // Given back only now: it has one or the other.
        drop(entrant.place);
        Ok((client, place))
    }

    fn is_proxy(&self, address: IpAddr) -> bool {
        self.proxies.is_expected_from(address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: &str = "192.0.2.1:4000";

    fn door(max_per_address: usize) -> Door {
        let from = vec!["192.0.2.1".parse().unwrap()];
        Door::new(3, max_per_address, ProxyProtocol { from })
    }

    /// As HAProxy sends it by send-proxy-v2, for a client with this last byte.
    fn header(client: u8) -> Vec<u8> {
        let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
        header.extend([203, 0, 113, client, 198, 51, 100, 1, 0x10, 0, 0x20, 0xfd]);
        header
    }

    async fn comes(door: &Door, client: u8) -> Result<(SocketAddr, Place), TurnedAway> {
        let entrant = door.accept(PROXY.parse().unwrap())?;
        door.learn(&mut header(client).as_slice(), entrant).await
    }

    #[tokio::test]
    async fn clients_behind_a_load_balancer_are_counted_each_by_his_own_address() {
        let door = door(1);
        let (first, _place) = comes(&door, 7).await.unwrap();
        assert_eq!(first, "203.0.113.7:4096".parse().unwrap());
        let (_, place) = comes(&door, 8).await.unwrap();
        let again = comes(&door, 8).await.unwrap_err();
        assert!(matches!(again, TurnedAway::Full(Full::Address(1))));
        drop(place);
        let (_, _place) = comes(&door, 8).await.unwrap();
    }

    #[tokio::test]
    async fn who_is_not_announced_takes_no_place_of_a_client_and_has_a_limit() {
        let door = door(1);
        let silent = [0; 3].map(|_| door.accept(PROXY.parse().unwrap()).unwrap());
        assert!(door.accept(PROXY.parse().unwrap()).is_err());
        let direct = door.accept("203.0.113.9:1".parse().unwrap()).unwrap();
        // Where no load balancer is expected no header is read.
        let (address, _place) = door.learn(&mut header(7).as_slice(), direct).await.unwrap();
        assert_eq!(address, "203.0.113.9:1".parse().unwrap());
        drop(silent);
        let rubbish = door.accept(PROXY.parse().unwrap()).unwrap();
        let refused = door.learn(&mut &b"GET / HTTP/1.1"[..], rubbish).await;
        assert!(matches!(
            refused.unwrap_err(),
            TurnedAway::Proxy(ProxyError::NoHeader)
        ));
        let silent = [0; 3].map(|_| door.accept(PROXY.parse().unwrap()).unwrap());
        drop(silent);
    }
}
