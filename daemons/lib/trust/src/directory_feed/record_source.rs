//! What core has of records, by its REST interface: TLS that is pinned to the network's root, and a token.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hh_daemon::Secret;
use hh_ipc::api::core::RecordSet;
use http_body_util::{BodyExt, Limited};
use hyper::{Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::{DirectoryConfig, FeedError};
use crate::api_token::ApiSecret;
use crate::pki::{self, TrustDomain};

/// For connection, handshake and answer, beside what core was asked to wait.
const DEADLINE: Duration = Duration::from_secs(15);

/// Longest answer in bytes: all records that core keeps, with two signatures each, and a margin.
const BODY_BYTES_MAX: usize = 32 << 20;

/// Most records: core keeps no more.
const RECORDS_MAX: usize = 5_000;

/// Most revocations: of as many nodes and operators as a daemon takes.
const REVOCATIONS_MAX: usize = 100_000;

/// Digits of a version: a SHA-256. Anything else is none, and is not sent back.
const VERSION_DIGITS: usize = 64;

/// Why core has not answered.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error("could not connect to {address}")]
    Connect {
        address: String,
        source: std::io::Error,
    },
    #[error("core does not speak HTTP")]
    Http(#[source] hyper::Error),
    #[error("core answered with the status {0}; is the token one that holds?")]
    Status(StatusCode),
    #[error("core's answer was cut off, or is longer than {BODY_BYTES_MAX} bytes")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    #[error("core can't be asked")]
    Request(#[source] hyper::http::Error),
    #[error("core's answer holds no records")]
    Json(#[source] serde_json::Error),
    #[error(
        "core's answer holds {records} records and {revocations} revocations, which are more than core keeps"
    )]
    TooMany { records: usize, revocations: usize },
    #[error("core's answer was not read to its end")]
    Interrupted(#[source] tokio::task::JoinError),
    #[error("core took longer than {} s", .0.as_secs())]
    TimedOut(Duration),
}

/// Asks core.
pub(super) struct RecordSource {
    address: String,
    name: ServerName<'static>,
    tls: TlsConnector,
    bearer: Secret<header::HeaderValue>,
}

impl std::fmt::Debug for RecordSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordSource")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

impl RecordSource {
    pub(super) fn new(config: &DirectoryConfig, domain: &TrustDomain) -> Result<Self, FeedError> {
        let root = root(&config.root_certificate)?;
        let tls = Arc::new(pki::rest_client(&root)?);
        let token = config.token.read()?;
        let no_token = || FeedError::NoToken(config.token.clone());
        let token = token.expose().trim();
        let secret: ApiSecret = token.parse().ok().ok_or_else(no_token)?;
        let bearer = format!("Bearer {}", secret.expose());
        let bearer = header::HeaderValue::from_str(&bearer).ok();
        Ok(Self {
            address: config.core_address.clone(),
            name: domain.core_server_name(),
            tls: TlsConnector::from(tls),
            bearer: Secret::new(bearer.ok_or_else(no_token)?),
        })
    }

    /// All records, as soon as there is another version than `known`, or after `wait`.
    pub(super) async fn records(
        &self,
        known: Option<&str>,
        wait: Duration,
    ) -> Result<RecordSet, SourceError> {
        let limit = wait + DEADLINE;
        let asked = tokio::time::timeout(limit, self.ask(known, wait)).await;
        asked.unwrap_or(Err(SourceError::TimedOut(limit)))
    }

    async fn ask(&self, known: Option<&str>, wait: Duration) -> Result<RecordSet, SourceError> {
        let error = |source| SourceError::Connect {
            address: self.address.clone(),
            source,
        };
        let tcp = TcpStream::connect(&self.address).await.map_err(error)?;
        let stream = self.tls.connect(self.name.clone(), tcp).await;
        let stream = TokioIo::new(Box::new(stream.map_err(error)?));
        let body = self.exchange(stream, &path(known, wait)).await?;
        // Some megabytes take longer than a miner should wait for this thread.
        let read = tokio::task::spawn_blocking(move || serde_json::from_slice(&body)).await;
        let read = read.map_err(SourceError::Interrupted)?;
        bounded(read.map_err(SourceError::Json)?)
    }

    async fn exchange<S>(&self, stream: TokioIo<S>, path: &str) -> Result<Vec<u8>, SourceError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let opened = hyper::client::conn::http1::handshake(stream).await;
        let (mut sender, connection) = opened.map_err(SourceError::Http)?;
        let request = Request::get(path)
            .header(header::HOST, self.name.to_str().as_ref())
            .header(header::ACCEPT, "application/json")
            .header(header::AUTHORIZATION, self.bearer.expose())
            .header(header::CONNECTION, "close")
            .body(String::new())
            .map_err(SourceError::Request)?;
        let answer = async {
            let response = sender.send_request(request).await;
            let response = response.map_err(SourceError::Http)?;
            if response.status() != StatusCode::OK {
                return Err(SourceError::Status(response.status()));
            }
            let body = Limited::new(response.into_body(), BODY_BYTES_MAX);
            let body = body.collect().await.map_err(SourceError::Body)?;
            Ok(body.to_bytes().to_vec())
        };
        // The connection makes progress as long as the answer is wanted; its own error is the answer's too.
        tokio::pin!(connection);
        tokio::pin!(answer);
        let mut is_open = true;
        loop {
            tokio::select! {
                answered = &mut answer => return answered,
                _ = &mut connection, if is_open => is_open = false,
            }
        }
    }
}

/// What is asked for. Who has core may have told a version that is none.
fn path(known: Option<&str>, wait: Duration) -> String {
    let is_version = |known: &&str| {
        known.len() == VERSION_DIGITS && known.bytes().all(|byte| byte.is_ascii_hexdigit())
    };
    match known.filter(is_version) {
        Some(known) => {
            let seconds = wait.as_secs();
            format!("/v1/directory?known={known}&wait_seconds={seconds}")
        }
        None => "/v1/directory".to_owned(),
    }
}

fn bounded(set: RecordSet) -> Result<RecordSet, SourceError> {
    let (records, revocations) = (set.records.len(), set.revocations.len());
    if records > RECORDS_MAX || revocations > REVOCATIONS_MAX {
        return Err(SourceError::TooMany {
            records,
            revocations,
        });
    }
    Ok(set)
}

fn root(path: &Path) -> Result<CertificateDer<'static>, FeedError> {
    CertificateDer::from_pem_file(path).map_err(|source| FeedError::Root {
        path: path.to_owned(),
        source,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hh_ipc::api::core::{RecordKind, Revoked, SignedRecord};

    #[test]
    fn a_version_that_is_none_is_not_sent_back() {
        let wait = Duration::from_secs(20);
        let version = "0a".repeat(32);
        let asked = format!("/v1/directory?known={version}&wait_seconds=20");
        assert_eq!(path(Some(&version), wait), asked);
        // The longest of these is no URI.
        for none in ["", "0", "x", &"0".repeat(65), &"0".repeat(100_000)] {
            assert_eq!(path(Some(none), wait), "/v1/directory");
        }
        assert_eq!(path(None, wait), "/v1/directory");
    }

    #[test]
    fn more_than_core_keeps_is_not_taken() {
        let record = SignedRecord {
            kind: RecordKind::Node,
            text: String::new(),
            signatures: Vec::new(),
        };
        let revoked = Revoked {
            kind: RecordKind::Node,
            name: String::new(),
            at: 0,
        };
        let set = |records, revocations| RecordSet {
            version: String::new(),
            is_known: false,
            records: vec![record.clone(); records],
            revocations: vec![revoked.clone(); revocations],
        };
        assert!(bounded(set(RECORDS_MAX, REVOCATIONS_MAX)).is_ok());
        assert!(bounded(set(RECORDS_MAX + 1, 0)).is_err());
        assert!(bounded(set(0, REVOCATIONS_MAX + 1)).is_err());
    }
}
