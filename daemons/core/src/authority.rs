//! What core signs with: the issuers of certificates, the keys of tokens and commands, and its own certificate.
//!
//! The keys are read once, at the start, and are nowhere but in this process's memory. The root and the network's key are offline.

use crate::config::{CoreConfig, PkiConfig};
use hh_daemon::{Failure, SecretRef};
use hh_trust::control_key::{
    CheckpointKey, CommandKey, EnrolKey, EnrolPublicKey, NetworkPublicKey,
};
use hh_trust::key_set::KeySet;
use hh_trust::pki::{
    CaPin, ClientGate, Identity, Issuer, IssuerKind, KeySlot, LeafKey, PeerName, TrustDomain,
    TrustedIssuer, Validity,
};
use jiff::Timestamp;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use std::fmt::Display;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the own certificate and the list of revoked ones are looked at. A list holds for a day, a certificate for a week.
const UPKEEP: Duration = Duration::from_secs(3_600);

/// A file of the PKI that can't be used.
#[derive(Debug, thiserror::Error)]
#[error("can't use {}: {why}; `hhctl pki init` makes it", path.display())]
struct Unusable {
    path: PathBuf,
    why: String,
}

/// An issuer of nodes that `hhctl pki rotate` has replaced. Its key is gone; the last list of what was revoked of it holds for a day, and
/// who has a certificate of it gets in until then.
struct FormerIssuer {
    certificate: CertificateDer<'static>,
    revoked: CertificateRevocationListDer<'static>,
}

/// All that core signs with.
pub(crate) struct Authority {
    pub(crate) domain: TrustDomain,
    pub(crate) root: CertificateDer<'static>,
    pub(crate) pin: CaPin,
    pub(crate) network: NetworkPublicKey,
    /// As nodes are given it.
    pub(crate) key_set: String,
    pub(crate) node_issuer: Issuer,
    /// The one before, where it was changed.
    former: Option<FormerIssuer>,
    pub(crate) server_issuer: Issuer,
    /// Of daemons at core's site that call it; without it none does.
    pub(crate) service_issuer: Option<Issuer>,
    pub(crate) enrolment_key: EnrolKey,
    /// The one before, where it was changed: its tokens are good until they end.
    former_enrolment_key: Option<EnrolPublicKey>,
    pub(crate) command_key: CommandKey,
    /// Signs checkpoints of the audit log.
    pub(crate) audit_key: Option<CheckpointKey>,
    /// This process, as the audit log names it.
    pub(crate) replica: PeerName,
    own: Mutex<Validity>,
    /// With the root at its end, for who knows no more than its pin.
    pub(crate) enrolment_slot: Arc<KeySlot>,
    pub(crate) session_slot: Arc<KeySlot>,
    pub(crate) gate: Arc<ClientGate>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority")
            .field("domain", &self.domain)
            .finish_non_exhaustive()
    }
}

impl Authority {
    /// Reads the keys, and makes a certificate for this process.
    ///
    /// # Errors
    /// A file that is missing or makes no sense, or keys that don't belong together: a mistake in the configuration.
    pub(crate) fn load(config: &CoreConfig) -> Result<Self, Failure> {
        let pki = &config.pki;
        let domain = config.trust_domain.clone();
        let now = Timestamp::now().as_second();
        let root = read(pki, "root.crt")?;
        let root =
            CertificateDer::from_pem_slice(root.as_bytes()).map_err(unusable(pki, "root.crt"))?;
        let pin = CaPin::of(&root).map_err(unusable(pki, "root.crt"))?;
        let network: NetworkPublicKey = parse(pki, "network.pub")?;
        let key_set = read(pki, "key-set.jws")?.trim().to_owned();
        let keys = KeySet::verify(&key_set, &network, &domain, 0);
        let keys = keys.map_err(unusable(pki, "key-set.jws"))?;
        let node_issuer = issuer(config, IssuerKind::Node, &pki.node_issuer_key)?;
        let server_issuer = issuer(config, IssuerKind::Server, &pki.server_issuer_key)?;
        let service_issuer = pki.service_issuer_key.as_ref();
        let service_issuer = service_issuer.map(|key| issuer(config, IssuerKind::Service, key));
        let service_issuer = service_issuer.transpose()?;
        let command_key: CommandKey = secret(&pki.command_key)?;
        if !keys.commands_by(&command_key.public_key(), now) {
            let why = "pki.command_key is not in key-set.jws, or its time is over: no node would take a command of it";
            return Err(Failure::config(why));
        }
        let audit_key = audit_key(pki, &keys, now)?;
        let (key, chain, validity) = own_certificate(&server_issuer, &config.replica, now)?;
        let former = former_issuer(pki)?;
        let gate = trusted(&node_issuer, former.as_ref(), service_issuer.as_ref(), now)?;
        let gate = ClientGate::new(&domain, &gate, Arc::new(ring::default_provider()));
        Ok(Self {
            gate: Arc::new(gate?),
            enrolment_slot: Arc::new(KeySlot::new(with_root(&chain, &root), &key)?),
            session_slot: Arc::new(KeySlot::new(chain, &key)?),
            own: Mutex::new(validity),
            replica: config.replica.clone(),
            enrolment_key: secret(&pki.enrolment_key)?,
            former_enrolment_key: match is_there(pki, "enrolment.former.pub") {
                true => Some(parse(pki, "enrolment.former.pub")?),
                false => None,
            },
            command_key,
            audit_key,
            node_issuer,
            former,
            server_issuer,
            service_issuer,
            key_set,
            network,
            pin,
            root,
            domain,
        })
    }

    /// The keys whose tokens are taken.
    pub(crate) fn enrolment_keys(&self) -> Vec<EnrolPublicKey> {
        let keys = [self.enrolment_key.public_key()].into_iter();
        keys.chain(self.former_enrolment_key).collect()
    }

    /// When the own certificate holds.
    pub(crate) fn own_validity(&self) -> Validity {
        *self.own.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Renews the own certificate in time, and the list of revoked ones, until the daemon stops.
    pub(crate) async fn keep(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let waited = stop.run_until_cancelled(tokio::time::sleep(UPKEEP)).await;
            if waited.is_none() {
                return;
            }
            let now = Timestamp::now().as_second();
            if let Err(failure) = self.renew(now) {
                tracing::error!(error = %failure, "own certificate or list of revoked ones not renewed");
            }
        }
    }

    fn renew(&self, now: i64) -> Result<(), Failure> {
        let trusted = trusted(
            &self.node_issuer,
            self.former.as_ref(),
            self.service_issuer.as_ref(),
            now,
        )?;
        self.gate.replace(&trusted)?;
        // There is one of us: no jitter is needed.
        if now < self.own_validity().renew_at(u16::MAX / 2) {
            return Ok(());
        }
        let (key, chain, validity) = own_certificate(&self.server_issuer, &self.replica, now)?;
        self.enrolment_slot
            .replace(with_root(&chain, &self.root), &key)?;
        self.session_slot.replace(chain, &key)?;
        *self.own.lock().unwrap_or_else(PoisonError::into_inner) = validity;
        tracing::info!(until = validity.not_after, "own certificate renewed");
        Ok(())
    }
}

/// The key of checkpoints, if there is one: one that nodes don't know of is a mistake.
fn audit_key(pki: &PkiConfig, keys: &KeySet, now: i64) -> Result<Option<CheckpointKey>, Failure> {
    let Some(reference) = &pki.audit_key else {
        return Ok(None);
    };
    let key: CheckpointKey = secret(reference)?;
    if !keys.checkpoints_by(&key.public_key(), now) {
        let why = "pki.audit_key is not in key-set.jws, or its time is over: no node would take a checkpoint of it; \
                   `hhctl pki add-audit-key` makes a new one";
        return Err(Failure::config(why));
    }
    Ok(Some(key))
}

type Own = (LeafKey, Vec<CertificateDer<'static>>, Validity);

fn own_certificate(issuer: &Issuer, replica: &PeerName, now: i64) -> Result<Own, Failure> {
    let key = LeafKey::generate()?;
    let identity = Identity::Core(replica.clone());
    let issued = issuer.issue(&identity, &key.as_request(), now)?;
    Ok((key, issued.chain, issued.validity))
}

fn with_root(
    chain: &[CertificateDer<'static>],
    root: &CertificateDer<'static>,
) -> Vec<CertificateDer<'static>> {
    chain.iter().chain([root]).cloned().collect()
}

/// Whom the session port lets in. Who was revoked is in the database, which is asked at every call: the list is empty, and only says
/// that it is a list of today. A service's certificate is of a day, and another issuer ends all of them.
fn trusted(
    node_issuer: &Issuer,
    former: Option<&FormerIssuer>,
    service_issuer: Option<&Issuer>,
    now: i64,
) -> Result<Vec<TrustedIssuer>, Failure> {
    let number = u64::try_from(now).unwrap_or_default();
    let mut trusted = Vec::new();
    for issuer in std::iter::once(node_issuer).chain(service_issuer) {
        trusted.push(TrustedIssuer {
            kind: issuer.kind(),
            certificate: issuer.certificate().clone(),
            revoked: issuer.revocation_list(number, &[], now)?,
        });
    }
    trusted.extend(former.map(|former| TrustedIssuer {
        kind: IssuerKind::Node,
        certificate: former.certificate.clone(),
        revoked: former.revoked.clone(),
    }));
    Ok(trusted)
}

/// None where the issuer of nodes was never changed.
fn former_issuer(pki: &PkiConfig) -> Result<Option<FormerIssuer>, Failure> {
    let (certificate, list) = ("node-issuer.former.crt", "node-issuer.former.crl");
    if !is_there(pki, certificate) {
        return Ok(None);
    }
    let text = read(pki, certificate)?;
    let certificate =
        CertificateDer::from_pem_slice(text.as_bytes()).map_err(unusable(pki, certificate))?;
    let revoked = std::fs::read(pki.dir.join(list)).map_err(unusable(pki, list))?;
    Ok(Some(FormerIssuer {
        certificate,
        revoked: revoked.into(),
    }))
}

fn is_there(pki: &PkiConfig, name: &str) -> bool {
    pki.dir.join(name).exists()
}

fn issuer(config: &CoreConfig, kind: IssuerKind, key: &SecretRef) -> Result<Issuer, Failure> {
    let name = format!("{kind}-issuer.crt");
    let certificate = read(&config.pki, &name)?;
    let key = key.read().map_err(Failure::secret)?;
    let issuer = Issuer::from_pem(kind, &config.trust_domain, &certificate, key.expose());
    issuer.map_err(unusable(&config.pki, &name))
}

fn secret<K: FromStr>(reference: &SecretRef) -> Result<K, Failure>
where
    K::Err: std::error::Error + Send + Sync + 'static,
{
    let text = reference.read().map_err(Failure::secret)?;
    text.expose()
        .parse()
        .map_err(|error: K::Err| Failure::config(format!("{reference}: {error}")))
}

fn parse<T: FromStr>(pki: &PkiConfig, name: &str) -> Result<T, Failure>
where
    T::Err: Display,
{
    let text = read(pki, name)?;
    text.trim().parse().map_err(unusable(pki, name))
}

fn read(pki: &PkiConfig, name: &str) -> Result<String, Failure> {
    std::fs::read_to_string(pki.dir.join(name)).map_err(unusable(pki, name))
}

fn unusable<E: Display>(pki: &PkiConfig, name: &str) -> impl FnOnce(E) -> Failure {
    let path = Path::new(&pki.dir).join(name);
    move |error| {
        let why = error.to_string();
        Failure::config(Unusable { path, why })
    }
}

#[cfg(test)]
impl Authority {
    /// Of a network of its own, whose keys are made in `dir`.
    pub(crate) fn of_test(dir: &Path) -> Arc<Self> {
        use hh_trust::control_key::NetworkKey;
        use hh_trust::key_set::TimedKey;
        let domain: TrustDomain = "hyperhash.test".parse().unwrap();
        let now = Timestamp::now().as_second();
        let root = hh_trust::pki::Root::create(&domain, now).unwrap();
        let network = NetworkKey::generate().unwrap();
        let write = |name: &str, text: String| {
            use std::os::unix::fs::PermissionsExt;
            let path = dir.join(name);
            std::fs::write(&path, text).unwrap();
            let mode = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(&path, mode).unwrap();
        };
        write("root.crt", root.certificate_pem());
        write("network.pub", network.public_key().to_string());
        for kind in [IssuerKind::Node, IssuerKind::Server] {
            let issuer = root.make_issuer(kind, now).unwrap();
            write(&format!("{kind}-issuer.crt"), issuer.certificate_pem());
            write(&format!("{kind}-issuer.key"), issuer.to_secret_pem());
        }
        let command = CommandKey::generate().unwrap();
        write("command.key", command.to_secret_hex());
        write(
            "enrolment.key",
            EnrolKey::generate().unwrap().to_secret_hex(),
        );
        let audit = CheckpointKey::generate().unwrap();
        write("audit.key", audit.to_secret_hex());
        let keys = KeySet {
            version: 1,
            domain: domain.clone(),
            commands: vec![TimedKey {
                key: command.public_key(),
                nbf: now - 60,
                exp: now + 3_600,
            }],
            checkpoints: vec![TimedKey {
                key: audit.public_key(),
                nbf: now - 60,
                exp: now + 3_600,
            }],
        };
        write("key-set.jws", keys.sign(&network).unwrap());
        let config = format!(
            "trust_domain = \"hyperhash.test\"\n[enrolment]\nlisten_address = \"127.0.0.1:0\"\nurl = \"https://a:1\"\n\
             [sessions]\nlisten_address = \"127.0.0.1:0\"\npublic_address = \"a:1\"\n[pki]\ndir = {dir:?}\n\
             node_issuer_key = \"file:{0}/node-issuer.key\"\nserver_issuer_key = \"file:{0}/server-issuer.key\"\n\
             enrolment_key = \"file:{0}/enrolment.key\"\ncommand_key = \"file:{0}/command.key\"\n\
             audit_key = \"file:{0}/audit.key\"\n",
            dir.display()
        );
        let path = dir.join("core.toml");
        std::fs::write(&path, config).unwrap();
        let (_, config) = hh_daemon::load::<CoreConfig>(&path).unwrap();
        Arc::new(Self::load(&config).unwrap())
    }
}
