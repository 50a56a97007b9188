//! Both ends of a connection of the control plane: TLS 1.3 and nothing else, its provider named, and nothing resumed.
//!
//! A resumed session is not asked for its certificate again (rustls copies what it knew), so a revoked peer would stay in: no
//! tickets, no sessions, no early data. A node knows the network by the root of its token, and any replica of the core by one host
//! name, at whatever address it is.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ResolvesClientCert, Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::{ClientHello, NoServerSessionStorage, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::TLS13;
use rustls::{
    CertificateError as TlsRefusal, ClientConfig, DigitallySignedStruct, Error, PeerIncompatible,
    RootCertStore, ServerConfig, SignatureScheme,
};

use super::{CaPin, ClientGate, LeafKey};

/// What is spoken inside: gRPC.
const PROTOCOL: &[u8] = b"h2";

/// What REST speaks inside.
const REST_PROTOCOL: &[u8] = b"http/1.1";

/// Why an end could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// Key and certificate.
    #[error("the key is not that of the certificate, or one of both is none")]
    Key(#[source] Error),
    /// The root.
    #[error("the root's certificate is none")]
    Root(#[source] Error),
    /// Nothing is left of TLS 1.3.
    #[error("TLS 1.3 can't be set up")]
    Tls(#[source] Error),
}

/// The certificate that a program shows. A new one is put in while connections go on: new ones show it.
pub struct KeySlot(RwLock<Arc<CertifiedKey>>);

impl KeySlot {
    /// A slot with a leaf's chain, leaf first, and its key.
    ///
    /// # Errors
    /// They do not belong together.
    pub fn new(chain: Vec<CertificateDer<'static>>, key: &LeafKey) -> Result<Self, ChannelError> {
        Ok(Self(RwLock::new(certified(chain, key)?)))
    }

    /// Shows these from now on.
    ///
    /// # Errors
    /// They do not belong together; what was shown stays.
    pub fn replace(
        &self,
        chain: Vec<CertificateDer<'static>>,
        key: &LeafKey,
    ) -> Result<(), ChannelError> {
        let certified = certified(chain, key)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = certified;
        Ok(())
    }

    fn current(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

fn certified(
    chain: Vec<CertificateDer<'static>>,
    key: &LeafKey,
) -> Result<Arc<CertifiedKey>, ChannelError> {
    let certified = CertifiedKey::from_der(chain, key.private(), &ring::default_provider());
    certified.map(Arc::new).map_err(ChannelError::Key)
}

impl fmt::Debug for KeySlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySlot([secret])")
    }
}

impl ResolvesServerCert for KeySlot {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }
}

impl ResolvesClientCert for KeySlot {
    fn resolve(
        &self,
        _issuers: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        Some(self.current())
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// The end that is called by those whom `gate` lets in.
///
/// # Errors
/// [`ChannelError::Tls`].
pub fn session_server(
    own: &Arc<KeySlot>,
    gate: &Arc<ClientGate>,
) -> Result<ServerConfig, ChannelError> {
    let gate: Arc<ClientGate> = Arc::clone(gate);
    let builder = server()?.with_client_cert_verifier(gate);
    Ok(closed(builder.with_cert_resolver(own.clone())))
}

/// The end that is called by who has no certificate yet. Its chain must have the root at its end, which a caller knows by its pin.
///
/// # Errors
/// [`ChannelError::Tls`].
pub fn enrolment_server(own: &Arc<KeySlot>) -> Result<ServerConfig, ChannelError> {
    let builder = server()?.with_no_client_auth();
    Ok(closed(builder.with_cert_resolver(own.clone())))
}

/// The end of REST, which knows its callers by their tokens: TLS 1.3 all the same, HTTP/1.1 inside.
///
/// # Errors
/// [`ChannelError::Tls`].
pub fn rest_server(own: &Arc<KeySlot>) -> Result<ServerConfig, ChannelError> {
    let builder = server()?.with_no_client_auth();
    let mut config = closed(builder.with_cert_resolver(own.clone()));
    config.alpn_protocols = vec![REST_PROTOCOL.to_vec()];
    Ok(config)
}

/// The end of who calls REST with a token: the other one's certificate must come from `root`.
///
/// # Errors
/// [`ChannelError`].
pub fn rest_client(root: &CertificateDer<'_>) -> Result<ClientConfig, ChannelError> {
    let builder = client()?.with_root_certificates(only(root)?);
    let mut config = unresumed(builder.with_no_client_auth());
    config.alpn_protocols = vec![REST_PROTOCOL.to_vec()];
    Ok(config)
}

/// The end of who calls, and shows its certificate: the other one's must come from `root`.
///
/// # Errors
/// [`ChannelError`].
pub fn session_client(
    root: &CertificateDer<'_>,
    own: &Arc<KeySlot>,
) -> Result<ClientConfig, ChannelError> {
    let builder = client()?.with_root_certificates(only(root)?);
    Ok(unresumed(builder.with_client_cert_resolver(own.clone())))
}

/// The end of who calls to be enrolled: the other one's certificate must come from the root that is pinned.
///
/// # Errors
/// [`ChannelError::Tls`].
pub fn enrolment_client(pin: CaPin) -> Result<ClientConfig, ChannelError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(PinnedRoot { pin, provider });
    let builder = client()?.dangerous();
    let builder = builder.with_custom_certificate_verifier(verifier);
    Ok(unresumed(builder.with_no_client_auth()))
}

fn only(root: &CertificateDer<'_>) -> Result<RootCertStore, ChannelError> {
    let mut roots = RootCertStore::empty();
    let added = roots.add(root.clone());
    added.map_err(ChannelError::Root)?;
    Ok(roots)
}

fn server() -> Result<rustls::ConfigBuilder<ServerConfig, rustls::WantsVerifier>, ChannelError> {
    ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .map_err(ChannelError::Tls)
}

fn client() -> Result<rustls::ConfigBuilder<ClientConfig, rustls::WantsVerifier>, ChannelError> {
    ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&TLS13])
        .map_err(ChannelError::Tls)
}

/// Keeps a server from resuming anything.
fn closed(mut config: ServerConfig) -> ServerConfig {
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    config.max_early_data_size = 0;
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config
}

fn unresumed(mut config: ClientConfig) -> ClientConfig {
    config.resumption = Resumption::disabled();
    config.alpn_protocols = vec![PROTOCOL.to_vec()];
    config
}

/// Trusts the one root that has the pinned key, among the certificates that the other end shows.
#[derive(Debug)]
struct PinnedRoot {
    pin: CaPin,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for PinnedRoot {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let root = intermediates.iter().find(|one| self.pin.matches(one));
        let root = root.ok_or(TlsRefusal::UnknownIssuer)?;
        let mut roots = RootCertStore::empty();
        roots.add(root.clone())?;
        let provider = Arc::clone(&self.provider);
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build();
        let verifier = verifier.map_err(|error| Error::General(error.to_string()))?;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(PeerIncompatible::ServerDoesNotSupportTls12Or13.into())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        let algorithms = &self.provider.signature_verification_algorithms;
        algorithms.supported_schemes()
    }
}
