//! Who may call: the check of the certificates that clients show.
//!
//! The URI says of which kind a caller is; then only the issuers of that kind count, so that the issuer of services makes no node. A
//! kind that has no issuer at a listener does not get in there. Without a list of what was revoked that still holds nobody does.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use rustls::{
    CertificateError as TlsRefusal, DigitallySignedStruct, DistinguishedName, Error,
    PeerIncompatible, RootCertStore, SignatureScheme,
};

use super::{IssuerKind, PeerCertificate, TrustDomain};

/// Why nobody could be let in.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// No issuer is trusted.
    #[error("no issuer is trusted: name one for those who may call")]
    NoIssuer,
    /// A certificate that is none.
    #[error("a trusted issuer's certificate is none")]
    Issuer(#[source] Error),
    /// A list that is none.
    #[error("a list of revoked certificates is none")]
    List(#[source] VerifierBuilderError),
}

/// An issuer whose leaves are let in, with the list of those that are not.
#[derive(Clone, Debug)]
pub struct TrustedIssuer {
    /// Whose certificates it makes.
    pub kind: IssuerKind,
    /// Its certificate.
    pub certificate: CertificateDer<'static>,
    /// What was revoked of it.
    pub revoked: CertificateRevocationListDer<'static>,
}

type Verifiers = BTreeMap<IssuerKind, Arc<dyn ClientCertVerifier>>;

/// Lets clients in by their certificates. It can be replaced while it listens: who is in stays in, which is for the core to end.
#[derive(Debug)]
pub struct ClientGate {
    domain: TrustDomain,
    provider: Arc<CryptoProvider>,
    verifiers: RwLock<Arc<Verifiers>>,
}

impl ClientGate {
    /// A gate for those whom `trusted` have made certificates for.
    ///
    /// # Errors
    /// There is none, or one of them can't be read.
    pub fn new(
        domain: &TrustDomain,
        trusted: &[TrustedIssuer],
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, GateError> {
        let verifiers = verifiers(trusted, &provider)?;
        Ok(Self {
            domain: domain.clone(),
            provider,
            verifiers: RwLock::new(Arc::new(verifiers)),
        })
    }

    /// From now on these count: after a revocation, and before and after an issuer is changed.
    ///
    /// # Errors
    /// As [`Self::new`]; what was trusted stays so.
    pub fn replace(&self, trusted: &[TrustedIssuer]) -> Result<(), GateError> {
        let verifiers = Arc::new(verifiers(trusted, &self.provider)?);
        *self
            .verifiers
            .write()
            .unwrap_or_else(PoisonError::into_inner) = verifiers;
        Ok(())
    }

    fn algorithms(&self) -> &WebPkiSupportedAlgorithms {
        &self.provider.signature_verification_algorithms
    }
}

fn verifiers(
    trusted: &[TrustedIssuer],
    provider: &Arc<CryptoProvider>,
) -> Result<Verifiers, GateError> {
    let mut verifiers = Verifiers::new();
    for kind in [IssuerKind::Node, IssuerKind::Service] {
        let of_kind: Vec<_> = trusted.iter().filter(|one| one.kind == kind).collect();
        if of_kind.is_empty() {
            continue;
        }
        let mut anchors = RootCertStore::empty();
        for issuer in &of_kind {
            let added = anchors.add(issuer.certificate.clone());
            added.map_err(GateError::Issuer)?;
        }
        let lists = of_kind.iter().map(|issuer| issuer.revoked.clone());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(anchors.into(), Arc::clone(provider))
                .with_crls(lists)
                .only_check_end_entity_revocation()
                .enforce_revocation_expiration()
                .build()
                .map_err(GateError::List)?;
        verifiers.insert(kind, verifier);
    }
    if verifiers.is_empty() {
        return Err(GateError::NoIssuer);
    }
    Ok(verifiers)
}

impl ClientCertVerifier for ClientGate {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // A peer has one certificate, and shows it.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let verifiers = {
            let current = self.verifiers.read();
            Arc::clone(&current.unwrap_or_else(PoisonError::into_inner))
        };
        let peer = PeerCertificate::from_der(end_entity, &self.domain);
        let peer = peer.map_err(|error| TlsRefusal::Other(rustls::OtherError(Arc::new(error))))?;
        let kind = IssuerKind::of(&peer.identity);
        let verifier = verifiers.get(&kind).ok_or(TlsRefusal::UnknownIssuer)?;
        verifier.verify_client_cert(end_entity, intermediates, now)
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
        rustls::crypto::verify_tls13_signature(message, certificate, signed, self.algorithms())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms().supported_schemes()
    }
}
