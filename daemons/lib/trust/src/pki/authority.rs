//! The root, which is kept offline, and the issuers, whose keys the core has.

use std::fmt;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256, PublicKeyData, RevokedCertParams, SanType, SerialNumber,
};
use ring::rand::SystemRandom;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use time::OffsetDateTime;

use super::certificate::{SERIAL_BYTES, parsed, spki_hash, validity_of};
use super::{CaPin, CertificateRequest, Identity, Serial, TrustDomain, Validity};

const DAY: i64 = 86_400;

/// A root lasts for ten years: changing it takes a visit to every node.
const ROOT_SECONDS: i64 = 3_650 * DAY;

/// An issuer lasts for a year, so that its rotation is a habit and no event.
const ISSUER_SECONDS: i64 = 365 * DAY;

/// A node's or a service's certificate: what a stolen one is worth is bounded by a day, also where no list of revoked ones gets to.
const CLIENT_SECONDS: i64 = DAY;

/// A server's certificate: it is made by the core for itself, and its clients ask nobody for a list.
const SERVER_SECONDS: i64 = 7 * DAY;

/// How far a certificate holds before it is made: a peer's clock may be behind.
const CLOCK_BEHIND_SECONDS: i64 = 60;

/// A list of revoked certificates is refused after a day: the core makes one at each revocation, and each hour.
const LIST_SECONDS: i64 = DAY;

/// Why an authority could not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// The operating system gives no randomness.
    #[error("the operating system gives no randomness for a serial number")]
    Randomness,
    /// A text that is no certificate or key in PEM.
    #[error("it is no {what} in PEM")]
    Pem {
        /// What it should be.
        what: &'static str,
    },
    /// Not what is needed here.
    #[error("the certificate of the {kind} issuer of {domain} is none: {why}")]
    Unfit {
        /// Whose it should be.
        kind: IssuerKind,
        /// Of which network.
        domain: TrustDomain,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Out of its time.
    #[error(
        "the {kind} issuer's certificate holds from {} to {} (Unix seconds), and it is {now}: the network's root has to sign another one",
        validity.not_before, validity.not_after
    )]
    IssuerExpired {
        /// Which issuer.
        kind: IssuerKind,
        /// When it holds.
        validity: Validity,
        /// The time.
        now: i64,
    },
    /// Another issuer's.
    #[error("the {kind} issuer makes no certificate for {uri}")]
    NotItsKind {
        /// Which issuer.
        kind: IssuerKind,
        /// For whom one was asked.
        uri: String,
    },
    /// No time of a certificate.
    #[error("{0} seconds since 1970 are no time of a certificate")]
    Time(i64),
    /// The library refused.
    #[error("could not {action}")]
    Make {
        /// What was tried, as a verb.
        action: &'static str,
        /// Its answer.
        source: rcgen::Error,
    },
}

/// Whose certificates an issuer makes. Each has a key of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IssuerKind {
    /// Those of Hyper Nodes, which call the core.
    Node,
    /// Those of daemons at the core's site that call the core.
    Service,
    /// Those of the core's replicas, which are called.
    Server,
}

impl IssuerKind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Node, Self::Service, Self::Server];

    /// Who makes the certificates of `identity`.
    #[must_use]
    pub const fn of(identity: &Identity) -> Self {
        match identity {
            Identity::Core(_) => Self::Server,
            Identity::Node(_) => Self::Node,
            Identity::Service(_) => Self::Service,
        }
    }

    /// Its name: in subjects, and in names of files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Node => "node",
            Self::Service => "service",
            Self::Server => "server",
        }
    }

    const fn leaf_seconds(self) -> i64 {
        match self {
            Self::Node | Self::Service => CLIENT_SECONDS,
            Self::Server => SERVER_SECONDS,
        }
    }

    const fn purpose(self) -> ExtendedKeyUsagePurpose {
        match self {
            Self::Node | Self::Service => ExtendedKeyUsagePurpose::ClientAuth,
            Self::Server => ExtendedKeyUsagePurpose::ServerAuth,
        }
    }

    /// The beginning of an issuer's common name. A few digits of its key follow, so that an old and a new one are two names: a
    /// list of revoked certificates is found by the name.
    fn subject(self, domain: &TrustDomain) -> String {
        format!("{domain} {self} issuer ")
    }
}

impl fmt::Display for IssuerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The offline root of a network.
pub struct Root {
    domain: TrustDomain,
    certificate: CertificateDer<'static>,
    signer: rcgen::Issuer<'static, KeyPair>,
}

/// A certificate that was made, with what belongs to it.
#[derive(Clone, Debug)]
pub struct IssuedCertificate {
    /// The leaf, then its issuer.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's number.
    pub serial: Serial,
    /// When the leaf holds.
    pub validity: Validity,
}

/// A certificate that holds no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevokedSerial {
    /// Which one.
    pub serial: Serial,
    /// Since when, in Unix seconds.
    pub at: i64,
}

/// An online issuer.
pub struct Issuer {
    kind: IssuerKind,
    domain: TrustDomain,
    certificate: CertificateDer<'static>,
    validity: Validity,
    signer: rcgen::Issuer<'static, KeyPair>,
}

impl Root {
    /// A new root, at `now`.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn create(domain: &TrustDomain, now: i64) -> Result<Self, AuthorityError> {
        let key = new_key()?;
        let mut params = params(&format!("{domain} root"), now, now + ROOT_SECONDS)?;
        // One issuer below it, and none below that.
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key);
        let certificate = certificate.map_err(failed("make the root's certificate"))?;
        Ok(Self {
            domain: domain.clone(),
            certificate: certificate.into(),
            signer: rcgen::Issuer::new(params, key),
        })
    }

    /// Reads what [`Self::certificate_pem`] and [`Self::to_secret_pem`] write.
    ///
    /// # Errors
    /// It is another.
    pub fn from_pem(
        domain: &TrustDomain,
        certificate: &str,
        key: &str,
    ) -> Result<Self, AuthorityError> {
        let certificate = certificate_from_pem(certificate)?;
        let signer = signer_of(&certificate, key)?;
        Ok(Self {
            domain: domain.clone(),
            certificate,
            signer,
        })
    }

    /// The certificate, for everybody.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        pem_of(&self.certificate)
    }

    /// The key, for the one place that writes it to the offline medium.
    #[must_use]
    pub fn to_secret_pem(&self) -> String {
        self.signer.key().serialize_pem()
    }

    /// By what nodes know the network.
    #[must_use]
    pub fn pin(&self) -> CaPin {
        CaPin(spki_hash(&self.signer.key().subject_public_key_info()))
    }

    /// A new issuer, at `now`.
    ///
    /// # Errors
    /// There is no randomness.
    pub fn make_issuer(&self, kind: IssuerKind, now: i64) -> Result<Issuer, AuthorityError> {
        let key = new_key()?;
        let digits = hex::encode(&spki_hash(&key.subject_public_key_info())[..4]);
        let subject = kind.subject(&self.domain) + &digits;
        let mut params = params(&subject, now, now + ISSUER_SECONDS)?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        // Checked on the way to a root: its key makes nobody else's certificates.
        params.extended_key_usages = vec![kind.purpose()];
        params.use_authority_key_identifier_extension = true;
        let certificate = params.signed_by(&key, &self.signer);
        let certificate = certificate.map_err(failed("make an issuer's certificate"))?;
        Issuer::new(kind, &self.domain, certificate.into(), key)
    }
}

impl Issuer {
    fn new(
        kind: IssuerKind,
        domain: &TrustDomain,
        certificate: CertificateDer<'static>,
        key: KeyPair,
    ) -> Result<Self, AuthorityError> {
        let validity = check_issuer(kind, domain, &certificate)?;
        let signer = rcgen::Issuer::from_ca_cert_der(&certificate, key);
        Ok(Self {
            kind,
            domain: domain.clone(),
            signer: signer.map_err(failed("read an issuer's certificate"))?,
            certificate,
            validity,
        })
    }

    /// Reads what [`Self::certificate_pem`] and [`Self::to_secret_pem`] write.
    ///
    /// # Errors
    /// It is of another kind or network, or the key is another's.
    pub fn from_pem(
        kind: IssuerKind,
        domain: &TrustDomain,
        certificate: &str,
        key: &str,
    ) -> Result<Self, AuthorityError> {
        let certificate = certificate_from_pem(certificate)?;
        let validity = check_issuer(kind, domain, &certificate)?;
        let signer = signer_of(&certificate, key)?;
        Ok(Self {
            kind,
            domain: domain.clone(),
            certificate,
            validity,
            signer,
        })
    }

    /// Whose certificates it makes.
    #[must_use]
    pub const fn kind(&self) -> IssuerKind {
        self.kind
    }

    /// Its certificate, which those who listen trust.
    #[must_use]
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// Its certificate, for everybody.
    #[must_use]
    pub fn certificate_pem(&self) -> String {
        pem_of(&self.certificate)
    }

    /// Its key, for the one place that writes it to its file.
    #[must_use]
    pub fn to_secret_pem(&self) -> String {
        self.signer.key().serialize_pem()
    }

    /// When it holds: who runs it is told in time.
    #[must_use]
    pub const fn validity(&self) -> Validity {
        self.validity
    }

    /// The certificate of `identity` for the key of `request`, at `now`. What else the request says is not looked at.
    ///
    /// # Errors
    /// Another issuer makes those, or this one has ended.
    pub fn issue(
        &self,
        identity: &Identity,
        request: &CertificateRequest,
        now: i64,
    ) -> Result<IssuedCertificate, AuthorityError> {
        let (kind, validity) = (self.kind, self.validity);
        let uri = identity.uri(&self.domain);
        if IssuerKind::of(identity) != kind {
            return Err(AuthorityError::NotItsKind { kind, uri });
        }
        if !validity.holds_at(now) {
            return Err(AuthorityError::IssuerExpired {
                kind,
                validity,
                now,
            });
        }
        // A leaf that outlives its issuer would end with it, and its holder would not know.
        let until = validity.not_after.min(now + kind.leaf_seconds());
        let mut params = params(&uri, now, until)?;
        let serial = Serial(random_serial()?);
        params.serial_number = Some(SerialNumber::from_slice(&serial.0));
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![kind.purpose()];
        params.use_authority_key_identifier_extension = true;
        let ascii = |text: String| text.try_into().map_err(failed("write a name"));
        params.subject_alt_names.push(SanType::URI(ascii(uri)?));
        if let Identity::Core(_) = identity {
            let host = ascii(self.domain.core_host())?;
            params.subject_alt_names.push(SanType::DnsName(host));
        }
        let leaf = params.signed_by(request.key(), &self.signer);
        let leaf = leaf.map_err(failed("make a certificate"))?;
        Ok(IssuedCertificate {
            chain: vec![leaf.into(), self.certificate.clone()],
            serial,
            validity: Validity {
                not_before: now - CLOCK_BEHIND_SECONDS,
                not_after: until,
            },
        })
    }

    /// The list of what was revoked of this issuer's, at `now`. It is refused a day later; `number` is higher than that of the one
    /// before. Certificates that have ended need not be in it.
    ///
    /// # Errors
    /// A time that is none.
    pub fn revocation_list(
        &self,
        number: u64,
        revoked: &[RevokedSerial],
        now: i64,
    ) -> Result<CertificateRevocationListDer<'static>, AuthorityError> {
        let revoked = revoked.iter().map(|revoked| {
            Ok(RevokedCertParams {
                serial_number: SerialNumber::from_slice(&revoked.serial.0),
                revocation_time: time_of(revoked.at)?,
                reason_code: None,
                invalidity_date: None,
            })
        });
        let params = CertificateRevocationListParams {
            this_update: time_of(now - CLOCK_BEHIND_SECONDS)?,
            next_update: time_of(now + LIST_SECONDS)?,
            crl_number: SerialNumber::from(number),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect::<Result<_, AuthorityError>>()?,
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = params.signed_by(&self.signer);
        let list = list.map_err(failed("make a list of revoked certificates"))?;
        Ok(list.into())
    }
}

impl fmt::Debug for Root {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Root")
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer")
            .field("kind", &self.kind)
            .field("domain", &self.domain)
            .field("validity", &self.validity)
            .finish_non_exhaustive()
    }
}

/// What every certificate of ours has. It holds a little before `now`.
fn params(subject: &str, now: i64, until: i64) -> Result<CertificateParams, AuthorityError> {
    let mut params = CertificateParams::default();
    params.not_before = time_of(now - CLOCK_BEHIND_SECONDS)?;
    params.not_after = time_of(until)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, subject);
    params.serial_number = Some(SerialNumber::from_slice(&random_serial()?));
    Ok(params)
}

fn new_key() -> Result<KeyPair, AuthorityError> {
    KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed("make a key"))
}

fn random_serial() -> Result<[u8; SERIAL_BYTES], AuthorityError> {
    let random = ring::rand::generate(&SystemRandom::new());
    let random = random.map_err(|_says_no_more| AuthorityError::Randomness)?;
    Ok(random.expose())
}

fn time_of(unix: i64) -> Result<OffsetDateTime, AuthorityError> {
    OffsetDateTime::from_unix_timestamp(unix).map_err(|_error| AuthorityError::Time(unix))
}

fn failed(action: &'static str) -> impl Fn(rcgen::Error) -> AuthorityError {
    move |source| AuthorityError::Make { action, source }
}

fn pem_of(certificate: &CertificateDer<'_>) -> String {
    let lines = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, certificate);
    let lines: Vec<&str> = lines
        .as_bytes()
        .chunks(64)
        .map(|line| str::from_utf8(line).expect("base64 is ASCII"))
        .collect();
    let lines = lines.join("\n");
    format!("-----BEGIN CERTIFICATE-----\n{lines}\n-----END CERTIFICATE-----\n")
}

fn certificate_from_pem(text: &str) -> Result<CertificateDer<'static>, AuthorityError> {
    let certificate = CertificateDer::from_pem_slice(text.as_bytes());
    certificate.map_err(|_error| AuthorityError::Pem {
        what: "certificate",
    })
}

/// The signer of a certificate whose key it is.
fn signer_of(
    certificate: &CertificateDer<'_>,
    key: &str,
) -> Result<rcgen::Issuer<'static, KeyPair>, AuthorityError> {
    // What is wrong in it would show a part of it.
    let key = KeyPair::from_pem(key).map_err(|_error| AuthorityError::Pem { what: "key" })?;
    let hash = spki_hash(&key.subject_public_key_info());
    if !CaPin(hash).matches(certificate) {
        return Err(AuthorityError::Pem {
            what: "key of that certificate",
        });
    }
    let signer = rcgen::Issuer::from_ca_cert_der(certificate, key);
    signer.map_err(failed("read a certificate"))
}

/// Whether `certificate` is one of that issuer, and when it holds.
fn check_issuer(
    kind: IssuerKind,
    domain: &TrustDomain,
    certificate: &CertificateDer<'_>,
) -> Result<Validity, AuthorityError> {
    let unfit = |why| AuthorityError::Unfit {
        kind,
        domain: domain.clone(),
        why,
    };
    let certificate = parsed(certificate).map_err(|_error| unfit("it can't be read"))?;
    let constraints = certificate.basic_constraints().ok().flatten();
    let is_last = constraints.is_some_and(|constraints| {
        constraints.value.ca && constraints.value.path_len_constraint == Some(0)
    });
    if !is_last {
        return Err(unfit("it may not make leaves, or makes issuers"));
    }
    let mut names = certificate.subject().iter_common_name();
    let name = names.next().and_then(|name| name.as_str().ok());
    if !name.is_some_and(|name| name.starts_with(&kind.subject(domain))) {
        return Err(unfit("its subject is another"));
    }
    Ok(validity_of(&certificate))
}
