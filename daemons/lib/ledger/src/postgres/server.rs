//! A PostgreSQL server, and how it is reached: over a Unix socket, the loopback interface, or TLS.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use rustls::{ClientConfig, RootCertStore};
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long a connection may take, with its TLS handshake and log-in: a far building answers in a tenth of a second.
pub(super) const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);

/// A connection whose data is not acknowledged for so long is lost.
const UNACKNOWLEDGED_TIME_MAX: Duration = Duration::from_secs(20);

/// An idle connection is probed after this time, and lost after three probes without an answer.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);

/// What an operator says about a PostgreSQL server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerOptions {
    /// The directory of a Unix socket, with a slash at the start; or a host's name or address.
    pub host: String,
    /// Its port; also a part of the Unix socket's name.
    pub port: u16,
    /// The database.
    pub database: String,
    /// The role to log in as.
    pub user: String,
    /// The certificates that may have signed the server's, in PEM. TLS is spoken if there is one, and the certificate
    /// must be for `host`.
    pub root_certificates: Option<PathBuf>,
}

impl ServerOptions {
    /// Whether passwords and data would leave this machine.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        let loopback = |address: IpAddr| address.is_loopback();
        !self.host.starts_with('/')
            && self.host != "localhost"
            && !self.host.parse().is_ok_and(loopback)
    }
}

/// Why a server can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// Its host is remote and there is no certificate to know it by.
    #[error(
        "PostgreSQL on {host} is on another machine, where only TLS is spoken: name its root certificates"
    )]
    NoTls {
        /// The host.
        host: String,
    },
    /// The certificates can't be read.
    #[error("could not read the root certificates {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: pem::Error,
    },
    /// A certificate is not one.
    #[error("there is something else than root certificates in {}", path.display())]
    Certificates {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: rustls::Error,
    },
    /// The file has no certificate.
    #[error("there is no certificate in {}", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
}

/// A PostgreSQL server that can be connected to; clones are cheap. Displayed without the password.
#[derive(Clone)]
pub struct PostgresServer(Arc<Access>);

pub(super) struct Access {
    name: String,
    pub config: tokio_postgres::Config,
    pub tls: Option<MakeRustlsConnect>,
}

impl PostgresServer {
    /// Puts a server together; nothing is connected yet.
    ///
    /// # Errors
    /// [`ServerError`]: a remote host without TLS, or certificates that are none.
    pub fn new(options: &ServerOptions, password: Option<&str>) -> Result<Self, ServerError> {
        let ServerOptions {
            host,
            port,
            database,
            user,
            root_certificates,
        } = options;
        if options.is_remote() && root_certificates.is_none() {
            return Err(ServerError::NoTls { host: host.clone() });
        }
        let tls = root_certificates.as_deref().map(tls).transpose()?;
        let mut config = tokio_postgres::Config::new();
        config.host(host).port(*port).dbname(database).user(user);
        config.ssl_mode(if tls.is_some() {
            SslMode::Require
        } else {
            SslMode::Disable
        });
        config
            .application_name("hyperhash ledger")
            .connect_timeout(CONNECT_TIME_MAX);
        config
            .tcp_user_timeout(UNACKNOWLEDGED_TIME_MAX)
            .keepalives_idle(KEEPALIVE_IDLE);
        config
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(3);
        if let Some(password) = password {
            config.password(password);
        }
        let name = format!("{database} on {host} port {port}");
        Ok(Self(Arc::new(Access { name, config, tls })))
    }

    pub(super) fn access(&self) -> &Access {
        &self.0
    }
}

impl fmt::Display for PostgresServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.name)
    }
}

impl fmt::Debug for PostgresServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PostgresServer").field(&self.0.name).finish()
    }
}

/// TLS that trusts these certificates and no others.
fn tls(path: &Path) -> Result<MakeRustlsConnect, ServerError> {
    let read = |source| ServerError::Read {
        path: path.to_owned(),
        source,
    };
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(read)? {
        let added = roots.add(certificate.map_err(read)?);
        added.map_err(|source| ServerError::Certificates {
            path: path.to_owned(),
            source,
        })?;
    }
    if roots.is_empty() {
        return Err(ServerError::NoCertificate {
            path: path.to_owned(),
        });
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has cipher suites of every version")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(host: &str) -> ServerOptions {
        ServerOptions {
            host: host.to_owned(),
            port: 5432,
            database: "hyperhash".to_owned(),
            user: "hh-pool".to_owned(),
            root_certificates: None,
        }
    }

    #[test]
    fn a_remote_host_without_tls_is_refused() {
        for host in [
            "/run/postgresql",
            "localhost",
            "127.0.0.1",
            "127.8.9.1",
            "::1",
        ] {
            assert!(PostgresServer::new(&options(host), None).is_ok(), "{host}");
        }
        for host in [
            "db.example",
            "192.0.2.1",
            "localhost.example",
            "2001:db8::1",
            "",
        ] {
            let error = PostgresServer::new(&options(host), None).unwrap_err();
            assert!(
                matches!(error, ServerError::NoTls { .. }),
                "{host}: {error}"
            );
        }
    }

    #[test]
    fn a_server_never_shows_its_password() {
        let server = PostgresServer::new(&options("localhost"), Some("hunter2")).unwrap();
        assert_eq!(server.to_string(), "hyperhash on localhost port 5432");
        assert!(!format!("{server:?} {:?}", server.access().config).contains("hunter2"));
    }

    #[test]
    fn a_file_without_a_certificate_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("roots.pem");
        let with = ServerOptions {
            root_certificates: Some(path.clone()),
            ..options("db.example")
        };
        let error = PostgresServer::new(&with, None).unwrap_err();
        assert!(matches!(error, ServerError::Read { .. }), "{error}");
        std::fs::write(&path, "nothing").unwrap();
        let error = PostgresServer::new(&with, None).unwrap_err();
        assert!(
            matches!(error, ServerError::NoCertificate { .. }),
            "{error}"
        );
    }
}
