//! HTTPS to servers that strangers name: a GET with limits on where it goes, how long it takes and how much comes back.
//!
//! A name is resolved once, and the address that was checked is the one that is connected to. No redirect is followed: it would be
//! a second name that nobody checked.

use super::public_address::is_public;
use crate::config::LightningAddressServer;
use hyper::body::Body;
use hyper::{Request, StatusCode, Uri, header};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// For name, connection, handshake and answer together: a payout waits for no server longer.
const DEADLINE: Duration = Duration::from_secs(10);

/// Longest answer: LNURL-pay metadata with an image has some 50 kB.
const MAX_BODY_BYTES: usize = 64 << 10;

/// Longest address that is asked.
const MAX_URL_BYTES: usize = 2_048;

/// The port of https.
const HTTPS_PORT: u16 = 443;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WebError {
    #[error("{0} is no https address without a user in it")]
    Url(String),
    #[error("the name {host} can't be resolved")]
    Resolve {
        host: String,
        source: std::io::Error,
    },
    #[error("{host} is not on the internet: its address is {address}")]
    Private { host: String, address: String },
    #[error("could not connect to {host}")]
    Connect {
        host: String,
        source: std::io::Error,
    },
    #[error("{0} is no name of a server")]
    Name(String, #[source] InvalidDnsNameError),
    #[error("{host} does not speak HTTP")]
    Http { host: String, source: hyper::Error },
    #[error("{host} answered with the status {status}")]
    Status { host: String, status: StatusCode },
    #[error("the answer of {host} is longer than {MAX_BODY_BYTES} bytes")]
    TooLong { host: String },
    #[error("{host} took longer than {} s", DEADLINE.as_secs())]
    TimedOut { host: String },
}

/// Certificates of our own servers that can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RootsError {
    #[error("could not read the certificates {path}")]
    Read {
        path: String,
        source: rustls::pki_types::pem::Error,
    },
    #[error("there is something else than certificates in {path}")]
    Certificates { path: String, source: rustls::Error },
    #[error("TLS can't be set up")]
    Tls(#[from] rustls::Error),
}

/// Asks servers. Clones share what is known of our own ones.
#[derive(Clone)]
pub(crate) struct Web {
    public: TlsConnector,
    /// Servers of the operator's own, by name: they may be anywhere.
    own: Arc<BTreeMap<String, (SocketAddr, TlsConnector)>>,
}

impl std::fmt::Debug for Web {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Web").finish_non_exhaustive()
    }
}

impl Web {
    /// Trusts the CAs that browsers trust, and for each of the operator's own servers its certificates.
    ///
    /// # Errors
    /// The certificates of one of `servers` can't be used.
    pub(crate) fn new(servers: &[LightningAddressServer]) -> Result<Self, RootsError> {
        let public = RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        };
        let mut own = BTreeMap::new();
        for server in servers {
            let roots = match &server.root_certificates {
                Some(path) => roots(path)?,
                None => public.clone(),
            };
            let entry = (server.address, connector(roots)?);
            own.insert(server.domain.to_ascii_lowercase(), entry);
        }
        Ok(Self {
            public: connector(public)?,
            own: Arc::new(own),
        })
    }

    /// The body that a GET of `url` is answered with.
    ///
    /// # Errors
    /// See [`WebError`].
    pub(crate) async fn get(&self, url: &str) -> Result<Vec<u8>, WebError> {
        let (uri, host, port) = parse(url)?;
        let asked = self.ask(&uri, &host, port);
        let timed_out = WebError::TimedOut { host: host.clone() };
        tokio::time::timeout(DEADLINE, asked)
            .await
            .unwrap_or(Err(timed_out))
    }

    async fn ask(&self, uri: &Uri, host: &str, port: u16) -> Result<Vec<u8>, WebError> {
        let (address, tls) = match self.own.get(host) {
            Some((address, tls)) => (*address, tls),
            None => (resolve(host, port).await?, &self.public),
        };
        let connect_error = |source| WebError::Connect {
            host: host.to_owned(),
            source,
        };
        let tcp = TcpStream::connect(address).await.map_err(connect_error)?;
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|source| WebError::Name(host.to_owned(), source))?;
        let stream = tls.connect(name, tcp).await.map_err(connect_error)?;
        exchange(TokioIo::new(Box::new(stream)), uri, host).await
    }
}

/// The parts of an address that may be asked.
fn parse(url: &str) -> Result<(Uri, String, u16), WebError> {
    let refused = || WebError::Url(url.chars().take(200).collect());
    if url.len() > MAX_URL_BYTES {
        return Err(refused());
    }
    let uri: Uri = url.parse().map_err(|_error| refused())?;
    let authority = uri.authority().ok_or_else(refused)?;
    if uri.scheme_str() != Some("https") || authority.as_str().contains('@') {
        return Err(refused());
    }
    let host = authority.host().to_ascii_lowercase();
    if host.is_empty() {
        return Err(refused());
    }
    let port = authority.port_u16().unwrap_or(HTTPS_PORT);
    Ok((uri, host, port))
}

/// The first address of a name, if all of them are of the internet: a name with one that is not is up to no good.
async fn resolve(host: &str, port: u16) -> Result<SocketAddr, WebError> {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let resolve_error = |source| WebError::Resolve {
        host: host.to_owned(),
        source,
    };
    let found = tokio::net::lookup_host((bare, port)).await;
    let addresses: Vec<SocketAddr> = found.map_err(resolve_error)?.collect();
    if let Some(private) = addresses.iter().find(|address| !is_public(address.ip())) {
        return Err(WebError::Private {
            host: host.to_owned(),
            address: private.ip().to_string(),
        });
    }
    let none = || std::io::Error::other("it has no address");
    let first = addresses.first().copied();
    first.ok_or_else(|| resolve_error(none()))
}

async fn exchange<S>(stream: TokioIo<S>, uri: &Uri, host: &str) -> Result<Vec<u8>, WebError>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let http_error = |source| WebError::Http {
        host: host.to_owned(),
        source,
    };
    let opened = hyper::client::conn::http1::handshake(stream).await;
    let (mut sender, connection) = opened.map_err(http_error)?;
    let path = uri.path_and_query().map_or("/", |path| path.as_str());
    let authority = uri.authority().map_or(host, |authority| authority.as_str());
    let request = Request::get(path)
        .header(header::HOST, authority)
        .header(header::ACCEPT, "application/json")
        .header(header::USER_AGENT, "hh-treasury")
        .header(header::CONNECTION, "close")
        .body(String::new());
    let Ok(request) = request else {
        return Err(WebError::Url(uri.to_string()));
    };
    let answer = async {
        let response = sender.send_request(request).await.map_err(http_error)?;
        let status = response.status();
        if status != StatusCode::OK {
            let host = host.to_owned();
            return Err(WebError::Status { host, status });
        }
        read(response.into_body(), host).await
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

async fn read(mut body: hyper::body::Incoming, host: &str) -> Result<Vec<u8>, WebError> {
    let mut bytes = Vec::new();
    while let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
        let frame = frame.map_err(|source| WebError::Http {
            host: host.to_owned(),
            source,
        })?;
        if let Ok(data) = frame.into_data() {
            if bytes.len() + data.len() > MAX_BODY_BYTES {
                let host = host.to_owned();
                return Err(WebError::TooLong { host });
            }
            bytes.extend_from_slice(&data);
        }
    }
    Ok(bytes)
}

fn connector(roots: RootCertStore) -> Result<TlsConnector, rustls::Error> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn roots(path: &std::path::Path) -> Result<RootCertStore, RootsError> {
    let shown = || path.display().to_string();
    let read_error = |source| RootsError::Read {
        path: shown(),
        source,
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(read_error)? {
        let certificate = certificate.map_err(read_error)?;
        let added = roots.add(certificate);
        added.map_err(|source| RootsError::Certificates {
            path: shown(),
            source,
        })?;
    }
    Ok(roots)
}

#[cfg(test)]
mod tests;
