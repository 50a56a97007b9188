//! The Noise NX handshake over a socket (specification 4.5): act 1 is 64 bytes, act 2 is 234.
//!
//! Owns the two byte exchanges and what their failures mean; the deadline is the caller's.

use std::time::{SystemTime, UNIX_EPOCH};

use bitcoin::secp256k1::rand;
use stratum_core::noise_sv2::{
    ELLSWIFT_ENCODING_SIZE, Error as NoiseError, INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE,
    Initiator, NoiseEngine,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::{Authority, AuthorityPublicKey, authority::CERTIFICATE_BACKDATED};

/// Fewest bytes that are judged to be text when the peer says no more: `{"id":1,` has eight.
const TEXT_BYTES_MIN: usize = 8;

/// What a PROXY protocol header of version 2 begins with (haproxy.org, "The PROXY protocol", section 2.2).
const PROXY_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Why there is no encrypted connection.
#[derive(Debug)]
pub(crate) enum HandshakeError {
    /// The peer sent text, as a Stratum V1 or HTTP client does.
    Text,
    /// The peer sent a PROXY protocol header, which nobody has told us to take from it.
    ProxyHeader,
    /// The server's certificate is valid, but not signed by the configured authority.
    WrongAuthority,
    /// The server's certificate is for another time. Unix seconds.
    CertificateTime {
        valid_from: u32,
        not_valid_after: u32,
        now: u32,
    },
    /// The peer's bytes do not decrypt: it speaks something else, or somebody changed them on the way.
    Undecryptable,
    Closed,
    Io(std::io::Error),
}

impl From<std::io::Error> for HandshakeError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Self::Closed,
            _ => Self::Io(error),
        }
    }
}

/// The server's side.
pub(crate) async fn respond(
    stream: &mut TcpStream,
    authority: &Authority,
) -> Result<NoiseEngine, HandshakeError> {
    let mut act_1 = [0; ELLSWIFT_ENCODING_SIZE];
    let mut length = 0;
    while length < act_1.len() {
        let read = stream.read(&mut act_1[length..]).await?;
        length += read;
        if act_1[..length].starts_with(PROXY_SIGNATURE) {
            return Err(HandshakeError::ProxyHeader);
        }
        let is_text = length >= TEXT_BYTES_MIN && act_1[..length].iter().all(u8::is_ascii);
        // 64 random bytes are all below 128 once in 2^64 handshakes; eight of them once in 256.
        if is_text && (read == 0 || length == act_1.len() || act_1[length - 1] == b'\n') {
            return Err(HandshakeError::Text);
        }
        if read == 0 {
            return Err(HandshakeError::Closed);
        }
    }
    let mut responder = authority.responder();
    let valid_from = unix_now().saturating_sub(CERTIFICATE_BACKDATED.as_secs());
    let (act_2, engine) = responder
        .step_1_with_now_rng(act_1, seconds(valid_from), &mut rand::thread_rng())
        .map_err(|_aead| HandshakeError::Undecryptable)?;
    stream.write_all(&act_2).await?;
    Ok(engine)
}

/// The client's side. Without `authority` the server is not authenticated.
pub(crate) async fn initiate(
    stream: &mut TcpStream,
    authority: Option<&AuthorityPublicKey>,
) -> Result<NoiseEngine, HandshakeError> {
    let mut initiator = match authority {
        Some(key) => Initiator::from_raw_k(key.to_bytes()),
        None => Initiator::without_pk(),
    }
    .expect("an AuthorityPublicKey is a point on the curve");
    let act_1 = initiator
        .step_0()
        .map_err(|_aead| HandshakeError::Undecryptable)?;
    stream.write_all(&act_1).await?;
    let mut act_2 = [0; INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE];
    stream.read_exact(&mut act_2).await?;
    let now = seconds(unix_now());
    initiator
        .step_2_with_now(act_2, now)
        .map_err(|error| match error {
            NoiseError::InvalidCertificate(certificate)
                if now < certificate.valid_from || now > certificate.not_valid_after =>
            {
                HandshakeError::CertificateTime {
                    valid_from: certificate.valid_from,
                    not_valid_after: certificate.not_valid_after,
                    now,
                }
            }
            NoiseError::InvalidCertificate(_) => HandshakeError::WrongAuthority,
            _ => HandshakeError::Undecryptable,
        })
}

fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

/// Certificates count seconds in 32 bits, until 2106.
fn seconds(unix: u64) -> u32 {
    u32::try_from(unix).unwrap_or(u32::MAX)
}
