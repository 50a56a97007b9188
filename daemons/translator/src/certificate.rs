//! The certificate of a lane that speaks TLS: read at the start, and again when its file changes.
//!
//! A renewed one goes to those who connect from then on; who is connected stays. Where a renewed one can't be used, the old one
//! is served on and the log says why.

use crate::config::LaneConfig;
use hh_daemon::{Chain, SecretError, SecretRef};
use metrics::{Counter, counter, describe_counter};
use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::version::{TLS12, TLS13};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the file is looked at: renewals come weeks before the end.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);

/// Why a certificate can't be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CertificateError {
    #[error("can't read the certificate of lane {lane} from {}; name a PEM file with certificate_file", path.display())]
    Read {
        lane: String,
        path: PathBuf,
        source: pem::Error,
    },
    #[error("{} holds no PEM certificate (lane {lane}); certificate_file is the chain, the lane's own certificate first", path.display())]
    NoCertificate { lane: String, path: PathBuf },
    #[error("can't read the private key of lane {lane} (private_key_file)")]
    Secret { lane: String, source: SecretError },
    #[error("{key} holds no PEM private key (lane {lane}, private_key_file)")]
    NoKey {
        lane: String,
        key: SecretRef,
        source: pem::Error,
    },
    #[error("{key} is not the private key of the certificate in {} (lane {lane})", path.display())]
    WrongKey {
        lane: String,
        key: SecretRef,
        path: PathBuf,
        source: Box<rustls::Error>,
    },
}

impl CertificateError {
    /// Whether it may be another time, without another configuration.
    pub(crate) fn is_unavailable(&self) -> bool {
        matches!(self, Self::Secret { source, .. } if source.is_unavailable())
    }
}

/// A lane's certificate. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct LaneCertificate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    lane: String,
    certificate_file: PathBuf,
    private_key: SecretRef,
    provider: Arc<CryptoProvider>,
    served: Mutex<Arc<CertifiedKey>>,
    reloaded: Counter,
    failed: Counter,
}

impl LaneCertificate {
    /// That of `config`; none for a lane without TLS.
    ///
    /// # Errors
    /// The files can't be read, or are not a certificate and its private key.
    pub(crate) fn load(config: &LaneConfig) -> Result<Option<Self>, CertificateError> {
        let (Some(file), Some(private_key)) = (&config.certificate_file, &config.private_key_file)
        else {
            return Ok(None);
        };
        describe_counter!(
            "hyperhash_translator_certificate_reloads_total",
            "Changed certificates that were read, by lane and whether they could be used"
        );
        let result = |result| {
            let lane = config.name.clone();
            let counter = counter!("hyperhash_translator_certificate_reloads_total", "lane" => lane, "result" => result);
            counter.absolute(0);
            counter
        };
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let served = read(&config.name, file, private_key, &provider)?;
        Ok(Some(Self(Arc::new(Inner {
            lane: config.name.clone(),
            certificate_file: file.clone(),
            private_key: private_key.clone(),
            provider,
            served: Mutex::new(Arc::new(served)),
            reloaded: result("ok"),
            failed: result("failed"),
        }))))
    }

    /// TLS for the connections of the lane: 1.3, and 1.2 for old firmware.
    pub(crate) fn server_config(&self) -> Arc<ServerConfig> {
        let config = ServerConfig::builder_with_provider(Arc::clone(&self.0.provider))
            .with_protocol_versions(&[&TLS13, &TLS12])
            .expect("ring has cipher suites of both versions")
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.0) as Arc<dyn ResolvesServerCert>);
        Arc::new(config)
    }

    /// Looks after the files until `stop` is cancelled.
    pub(crate) async fn follow(self, stop: CancellationToken) {
        let mut last_error = None;
        let pause = || tokio::time::sleep(CHECK_INTERVAL);
        while stop.run_until_cancelled(pause()).await.is_some() {
            let this = self.clone();
            let Ok(refreshed) = tokio::task::spawn_blocking(move || this.refresh()).await else {
                return;
            };
            let error = refreshed.err().map(|error| Chain(&error).to_string());
            if let Some(error) = error.as_ref().filter(|_| error != last_error) {
                self.0.failed.increment(1);
                let lane = &self.0.lane;
                tracing::warn!(
                    lane,
                    error,
                    "certificate can't be renewed, the old one is served on"
                );
            }
            last_error = error;
        }
    }

    /// Reads the files, and serves what they hold if it is another certificate. Blocks for the disk.
    ///
    /// # Errors
    /// As [`Self::load`]; the old one is served on.
    fn refresh(&self) -> Result<(), CertificateError> {
        let inner = &self.0;
        let (file, key) = (&inner.certificate_file, &inner.private_key);
        let found = read(&inner.lane, file, key, &inner.provider)?;
        let mut served = inner.served.lock().unwrap_or_else(PoisonError::into_inner);
        if served.cert != found.cert {
            *served = Arc::new(found);
            inner.reloaded.increment(1);
            tracing::info!(lane = inner.lane, "certificate renewed");
        }
        Ok(())
    }
}

impl ResolvesServerCert for Inner {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // A panic in between leaves one or the other.
        let served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&served))
    }
}

fn read(
    lane: &str,
    path: &std::path::Path,
    key: &SecretRef,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, CertificateError> {
    let (lane, path) = (lane.to_owned(), path.to_owned());
    let certificates: Result<Vec<_>, _> =
        CertificateDer::pem_file_iter(&path).and_then(Iterator::collect);
    let certificates = match certificates {
        Ok(certificates) if certificates.is_empty() => {
            return Err(CertificateError::NoCertificate { lane, path });
        }
        Ok(certificates) => certificates,
        Err(source) => return Err(CertificateError::Read { lane, path, source }),
    };
    let secret = match key.read() {
        Ok(secret) => secret,
        Err(source) => return Err(CertificateError::Secret { lane, source }),
    };
    let key = key.clone();
    let private_key = match PrivateKeyDer::from_pem_slice(secret.expose().as_bytes()) {
        Ok(private_key) => private_key,
        Err(source) => return Err(CertificateError::NoKey { lane, key, source }),
    };
    CertifiedKey::from_der(certificates, private_key, provider).map_err(|source| {
        CertificateError::WrongKey {
            lane,
            key,
            path,
            source: Box::new(source),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    const ONE: (&str, &str) = (
        include_str!("../tests/it/certificates/one.crt"),
        include_str!("../tests/it/certificates/one.key"),
    );
    const OTHER: (&str, &str) = (
        include_str!("../tests/it/certificates/other.crt"),
        include_str!("../tests/it/certificates/other.key"),
    );

    fn put(dir: &Path, (certificate, key): (&str, &str)) {
        fs::write(dir.join("crt"), certificate).unwrap();
        fs::write(dir.join("key"), key).unwrap();
        fs::set_permissions(dir.join("key"), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn lane(dir: &Path) -> LaneConfig {
        LaneConfig {
            certificate_file: Some(dir.join("crt")),
            private_key_file: Some(SecretRef::File(dir.join("key"))),
            ..LaneConfig::new("tls", "127.0.0.1:0".parse().unwrap())
        }
    }

    fn served(certificate: &LaneCertificate) -> Vec<CertificateDer<'static>> {
        certificate.0.served.lock().unwrap().cert.clone()
    }

    #[test]
    fn a_renewed_certificate_is_served_and_a_broken_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), ONE);
        let certificate = LaneCertificate::load(&lane(dir.path())).unwrap().unwrap();
        let one = served(&certificate);
        certificate.refresh().unwrap();
        assert_eq!(served(&certificate), one);
        // Half of a renewal: the next look finds it whole.
        put(dir.path(), (OTHER.0, ONE.1));
        let error = certificate.refresh().unwrap_err().to_string();
        assert!(
            error.contains("not the private key of the certificate"),
            "{error}"
        );
        assert_eq!(served(&certificate), one);
        put(dir.path(), OTHER);
        certificate.refresh().unwrap();
        assert_ne!(served(&certificate), one);
        certificate.server_config();
    }

    #[track_caller]
    fn check_refused(files: (&str, &str), expected: &str) {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), files);
        let error = LaneCertificate::load(&lane(dir.path())).unwrap_err();
        let error = Chain(&error).to_string();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn what_can_not_be_served_is_named() {
        check_refused(("", ONE.1), "holds no PEM certificate (lane tls)");
        check_refused((ONE.0, "x"), "holds no PEM private key (lane tls");
        check_refused(
            (ONE.0, OTHER.1),
            "is not the private key of the certificate",
        );
        check_refused((ONE.1, ONE.1), "holds no PEM certificate");
        let dir = tempfile::tempdir().unwrap();
        let error = LaneCertificate::load(&lane(dir.path())).unwrap_err();
        let error = Chain(&error).to_string();
        assert!(
            error.contains("certificate_file") && error.contains("No such file"),
            "{error}"
        );
        put(dir.path(), ONE);
        fs::set_permissions(dir.path().join("key"), fs::Permissions::from_mode(0o644)).unwrap();
        let error = LaneCertificate::load(&lane(dir.path())).unwrap_err();
        let error = Chain(&error).to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }
}
