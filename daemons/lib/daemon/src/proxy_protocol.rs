//! Who connects through a proxy: the header of the PROXY protocol, version 2, that a load balancer sends before anything else
//! (haproxy.org, "The PROXY protocol", section 2.2).
//!
//! A header is believed from the addresses that the configuration names, and asked of them: there it must come, and nowhere
//! else is it read. Whoever could send one from elsewhere would choose his address.

use crate::AddressRange;
use serde::Deserialize;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};

/// Begins every header; no other protocol begins so.
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family and protocol, length.
const PREFIX_BYTES: usize = 16;

/// Longest rest of a header: two addresses take 36 bytes, and senders keep all within 536 (section 2.2); some add the name of
/// a certificate.
const REST_BYTES_MAX: usize = 2_048;

/// A proxy sends its header with its connect: this is for a loaded one far away.
const DEADLINE: Duration = Duration::from_secs(5);

/// From whom a header is expected.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProxyProtocol {
    /// The proxies' addresses; from nobody where there is none.
    pub from: Vec<AddressRange>,
}

/// Why a connection from a proxy is closed.
#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    /// It has another beginning: the proxy does not send headers, or somebody else is at its address.
    #[error(
        "no PROXY protocol header: configure send-proxy-v2 there, or take it from proxy_protocol.from"
    )]
    NoHeader,
    /// The version before is text, and slower to read safely.
    #[error("PROXY protocol version {0}, only 2 is spoken: configure send-proxy-v2 there")]
    Version(u8),
    /// A command, family or protocol that no TCP connection has.
    #[error(
        "PROXY protocol header with the bytes {0:#04x} {1:#04x}, which are for no TCP connection"
    )]
    Unsupported(u8, u8),
    /// The rest is too long, or too short for its addresses.
    #[error(
        "PROXY protocol header of {0} bytes beyond its first {PREFIX_BYTES}, expected are its addresses and at most {REST_BYTES_MAX}"
    )]
    Length(usize),
    /// It did not come in time.
    #[error("no PROXY protocol header within {} s", DEADLINE.as_secs())]
    TimedOut,
    /// The proxy closed the connection, or it failed.
    #[error("connection failed before the end of the PROXY protocol header")]
    Io(#[from] io::Error),
}

/// What the first bytes of a header announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Announced {
    addresses: Addresses,
    rest_bytes: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Addresses {
    /// The proxy speaks for itself (a health check), or does not know for whom.
    None,
    V4,
    V6,
}

impl ProxyProtocol {
    /// Whether connections from `peer` begin with a header.
    #[must_use]
    pub fn is_expected_from(&self, peer: IpAddr) -> bool {
        self.from.iter().any(|range| range.contains(peer))
    }

    /// Takes the header off a connection from a proxy at `peer`, and gives who it is for; `peer` itself where the proxy speaks
    /// for itself. Reads not a byte beyond the header.
    ///
    /// # Errors
    /// There is none in time, or one that can't be believed: the connection is to be closed.
    pub async fn client(
        stream: &mut (impl AsyncRead + Unpin),
        peer: SocketAddr,
    ) -> Result<SocketAddr, ProxyError> {
        let client = within(DEADLINE, stream).await?;
        Ok(client.unwrap_or(peer))
    }
}

async fn within(
    deadline: Duration,
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<SocketAddr>, ProxyError> {
    let read = tokio::time::timeout(deadline, read(stream)).await;
    read.map_err(|_elapsed| ProxyError::TimedOut)?
}

async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Option<SocketAddr>, ProxyError> {
    let mut prefix = [0; PREFIX_BYTES];
    // What is no header is told by its first bytes: it may be shorter than one, and wait for our answer.
    stream.read_exact(&mut prefix[..SIGNATURE.len()]).await?;
    if prefix[..SIGNATURE.len()] != SIGNATURE {
        return Err(ProxyError::NoHeader);
    }
    stream.read_exact(&mut prefix[SIGNATURE.len()..]).await?;
    let announced = announced(prefix)?;
    let mut rest = [0; REST_BYTES_MAX];
    let rest = &mut rest[..announced.rest_bytes];
    stream.read_exact(rest).await?;
    Ok(source(announced.addresses, rest))
}

fn announced(prefix: [u8; PREFIX_BYTES]) -> Result<Announced, ProxyError> {
    let [.., version_command, family_protocol, high, low] = prefix;
    let (version, command) = (version_command >> 4, version_command & 0x0f);
    if version != 2 {
        return Err(ProxyError::Version(version));
    }
    let (addresses, needed) = match (command, family_protocol) {
        // LOCAL, whatever family; PROXY for a family that is not told.
        (0, _) | (1, 0x00) => (Addresses::None, 0),
        // TCP over IPv4 and IPv6: source and destination, each with a port.
        (1, 0x11) => (Addresses::V4, 12),
        (1, 0x21) => (Addresses::V6, 36),
        _ => return Err(ProxyError::Unsupported(version_command, family_protocol)),
    };
    let rest_bytes = usize::from(u16::from_be_bytes([high, low]));
    if !(needed..=REST_BYTES_MAX).contains(&rest_bytes) {
        return Err(ProxyError::Length(rest_bytes));
    }
    Ok(Announced {
        addresses,
        rest_bytes,
    })
}

/// The source among the addresses that a header begins with; what comes behind them (TLVs) is of no use to us.
fn source(addresses: Addresses, rest: &[u8]) -> Option<SocketAddr> {
    let (address, port): (IpAddr, _) = match addresses {
        Addresses::None => return None,
        Addresses::V4 => {
            let octets: [u8; 4] = rest.get(..4)?.try_into().ok()?;
            (Ipv4Addr::from(octets).into(), rest.get(8..10)?)
        }
        Addresses::V6 => {
            let octets: [u8; 16] = rest.get(..16)?.try_into().ok()?;
            (Ipv6Addr::from(octets).into(), rest.get(32..34)?)
        }
    };
    let port = u16::from_be_bytes(port.try_into().ok()?);
    Some(SocketAddr::new(address.to_canonical(), port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const PROXY: &str = "10.0.0.1:9";

    fn header(version_command: u8, family_protocol: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        let kind = [version_command, family_protocol];
        [&SIGNATURE[..], &kind, &length, rest].concat()
    }

    /// Source and destination as a proxy writes them.
    fn tcp(source: SocketAddr, tlvs: &[u8]) -> Vec<u8> {
        let port = source.port().to_be_bytes();
        let (family, rest) = match source.ip() {
            IpAddr::V4(ip) => (
                0x11,
                [&ip.octets()[..], &[9; 4], &port, &[1, 2], tlvs].concat(),
            ),
            IpAddr::V6(ip) => (
                0x21,
                [&ip.octets()[..], &[9; 16], &port, &[1, 2], tlvs].concat(),
            ),
        };
        header(0x21, family, &rest)
    }

    /// What the header says, and what was left unread.
    fn client(bytes: &[u8]) -> Result<(SocketAddr, Vec<u8>), ProxyError> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .unwrap();
        let mut stream = bytes;
        let client = ProxyProtocol::client(&mut stream, PROXY.parse().unwrap());
        Ok((runtime.block_on(client)?, stream.to_vec()))
    }

    #[track_caller]
    fn check_refused(bytes: &[u8], expected: &str) {
        let error = client(bytes).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn a_proxy_that_speaks_for_itself_keeps_its_address() {
        let local = [header(0x20, 0x00, &[]), b"ping".to_vec()].concat();
        let (address, left) = client(&local).unwrap();
        assert_eq!(
            (address.to_string().as_str(), &left[..]),
            (PROXY, &b"ping"[..])
        );
        // With addresses and TLVs, which are skipped; and for a family that is not told.
        for bytes in [header(0x20, 0x11, &[7; 40]), header(0x21, 0x00, &[7; 3])] {
            assert_eq!(client(&bytes).unwrap().0.to_string(), PROXY);
        }
    }

    #[test]
    fn what_is_no_header_for_a_tcp_connection_is_refused_with_the_reason() {
        check_refused(b"GET / HTTP/1.1\r\n\r\n", "no PROXY protocol header");
        check_refused(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "send-proxy-v2");
        check_refused(&header(0x11, 0x11, &[0; 12]), "version 1");
        check_refused(&header(0x22, 0x11, &[0; 12]), "0x22 0x11");
        for family_protocol in [0x12, 0x22, 0x31, 0x32, 0x41, 0x10] {
            check_refused(
                &header(0x21, family_protocol, &[0; 216]),
                "no TCP connection",
            );
        }
        check_refused(&header(0x21, 0x11, &[0; 11]), "header of 11 bytes");
        check_refused(&header(0x21, 0x21, &[0; 35]), "header of 35 bytes");
        check_refused(&header(0x20, 0x00, &[0; 2_049]), "header of 2049 bytes");
        check_refused(&SIGNATURE, "before the end");
    }

    #[tokio::test]
    async fn a_header_that_does_not_come_is_waited_for_so_long_only() {
        let (_proxy, mut stream) = tokio::io::duplex(64);
        let waited = within(Duration::from_millis(1), &mut stream).await;
        assert!(matches!(waited, Err(ProxyError::TimedOut)), "{waited:?}");
    }

    #[test]
    fn only_configured_proxies_are_asked() {
        let protocol: ProxyProtocol = toml::from_str("from = [\"10.0.0.0/24\"]").unwrap();
        assert!(protocol.is_expected_from("::ffff:10.0.0.7".parse().unwrap()));
        assert!(!protocol.is_expected_from("10.0.1.7".parse().unwrap()));
        assert!(!ProxyProtocol::default().is_expected_from("10.0.0.7".parse().unwrap()));
        toml::from_str::<ProxyProtocol>("from = [\"10.0.0.1/24\"]").unwrap_err();
    }

    proptest! {
        #[test]
        fn every_client_is_told_with_its_port_and_no_byte_of_its_own_is_taken(
            v4: bool, address: u128, port: u16,
            tlvs in prop::collection::vec(any::<u8>(), 0..300),
            sent in prop::collection::vec(any::<u8>(), 0..100),
        ) {
            let ip: IpAddr = if v4 {
                Ipv4Addr::from_bits((address & 0xffff_ffff) as u32).into()
            } else {
                Ipv6Addr::from_bits(address).into()
            };
            let source = SocketAddr::new(ip, port);
            let (told, left) = client(&[tcp(source, &tlvs), sent.clone()].concat()).unwrap();
            prop_assert_eq!(told, SocketAddr::new(ip.to_canonical(), port));
            prop_assert_eq!(left, sent);
        }

        #[test]
        fn no_bytes_make_it_panic_or_wait(mut bytes in prop::collection::vec(any::<u8>(), 0..120), signed: bool) {
            if signed {
                bytes.splice(0..0, SIGNATURE);
            }
            client(&bytes).ok();
        }
    }
}
