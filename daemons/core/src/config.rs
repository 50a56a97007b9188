//! hyperhash-core's configuration.

mod relay;

pub use relay::RelayConfig;

use hh_daemon::{Failure, Mistakes, ProxyProtocol, SecretRef};
use hh_ledger::{Location, PostgresConfig};
use hh_trust::pki::{PeerName, TrustDomain};
use serde::Deserialize;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The role in PostgreSQL where none is named.
const POSTGRES_USER: &str = "hyperhash-core";

/// The file `hyperhash-core.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoreConfig {
    /// The operator's network, as its certificates name it.
    pub trust_domain: TrustDomain,
    /// This process, as its certificate names it.
    #[serde(default = "default_replica")]
    pub replica: PeerName,
    /// Where `core.db` is. It is made by hand or by the service manager.
    #[serde(default = "default_data_dir")]
    pub data_dir: PathBuf,
    #[serde(default)]
    pub database: DatabaseConfig,
    pub enrolment: EnrolmentConfig,
    pub sessions: SessionsConfig,
    pub pki: PkiConfig,
    #[serde(default)]
    pub audit: AuditConfig,
    /// Not served where it is not given.
    pub rest: Option<RestConfig>,
    #[serde(default)]
    pub relay: RelayConfig,
    #[serde(default)]
    pub limits: LimitsConfig,
    /// Load balancers in front of both ports.
    #[serde(default)]
    pub proxy_protocol: ProxyProtocol,
}

/// The database: `core.db` in the data directory, unless this says otherwise.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseConfig {
    /// One that several replicas share.
    pub postgres: Option<PostgresConfig>,
}

/// Where nodes enrol.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EnrolmentConfig {
    pub listen_address: SocketAddr,
    /// `https://HOST:PORT`, by which nodes reach it; it is written into tokens.
    pub url: String,
}

/// Where nodes have their sessions.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SessionsConfig {
    pub listen_address: SocketAddr,
    /// `HOST:PORT`, by which nodes reach it; they are told when they enrol.
    pub public_address: String,
}

/// What `hhctl pki init` has made, less what is kept offline.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PkiConfig {
    /// With `root.crt`, `node-issuer.crt`, `server-issuer.crt`, `network.pub` and `key-set.jws`.
    pub dir: PathBuf,
    pub node_issuer_key: SecretRef,
    pub server_issuer_key: SecretRef,
    /// With `service-issuer.crt` in the folder: daemons at core's site, such as hh-treasury, may call. Without it none may.
    #[serde(default)]
    pub service_issuer_key: Option<SecretRef>,
    /// Signs tokens.
    pub enrolment_key: SecretRef,
    /// Signs commands.
    pub command_key: SecretRef,
    /// Signs checkpoints of the audit log; none are signed where it is not given.
    pub audit_key: Option<SecretRef>,
}

/// The audit log.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuditConfig {
    /// Of other daemons of this site, which are taken into the log. Where there are several replicas, each is named at one of them.
    pub journals: Vec<JournalConfig>,
}

/// Where the journal of a daemon is had from.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JournalConfig {
    pub daemon: JournalKeeper,
    /// Its view socket.
    pub socket: PathBuf,
}

/// A daemon that writes down what operators change there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum JournalKeeper {
    #[serde(rename = "hh-pool")]
    Pool,
    #[serde(rename = "hh-translator")]
    Translator,
    #[serde(rename = "hh-treasury")]
    Treasury,
    #[serde(rename = "hh-node-agent")]
    NodeAgent,
}

impl JournalKeeper {
    /// As it is in the audit log.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pool => "hh-pool",
            Self::Translator => "hh-translator",
            Self::Treasury => "hh-treasury",
            Self::NodeAgent => "hh-node-agent",
        }
    }
}

/// The REST interface.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestConfig {
    pub listen_address: SocketAddr,
    /// Without TLS, for a proxy on this machine that has it.
    #[serde(default)]
    pub plain: bool,
    /// The view sockets of the daemons whose figures are shown.
    pub pool_socket: Option<PathBuf>,
    pub treasury_socket: Option<PathBuf>,
    /// Of one address without a token; all addresses together have a hundred times that.
    #[serde(default = "default_public_requests")]
    pub public_requests_per_minute: u32,
    /// Of one address with tokens that hold.
    #[serde(default = "default_requests")]
    pub requests_per_minute: u32,
}

/// Somebody who looks at a page that asks for all of it every few seconds.
fn default_public_requests() -> u32 {
    120
}

/// A dashboard and some scripts behind one address.
fn default_requests() -> u32 {
    1_200
}

/// What one process takes.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    pub max_connections: usize,
    pub max_connections_per_address: usize,
}

impl Default for LimitsConfig {
    fn default() -> Self {
        Self {
            // Some hundred nodes, twice while they come back after a cut.
            max_connections: 2_000,
            // A site with a node in every container behind one address.
            max_connections_per_address: 500,
        }
    }
}

fn default_replica() -> PeerName {
    "core-1".parse().expect("it is a label of a host name")
}

fn default_data_dir() -> PathBuf {
    PathBuf::from("/var/lib/hyperhash/hyperhash-core")
}

impl CoreConfig {
    /// Where the database is.
    ///
    /// # Errors
    /// The password or the root certificates can't be read.
    pub(crate) fn database_location(&self) -> Result<Location, Failure> {
        match &self.database.postgres {
            Some(postgres) => postgres.location(POSTGRES_USER),
            None => Ok(Location::Sqlite(self.data_dir.join("core.db"))),
        }
    }
}

impl hh_daemon::Config for CoreConfig {
    fn check(&self, mistakes: &mut Mistakes) {
        for (key, path) in [("data_dir", &self.data_dir), ("pki.dir", &self.pki.dir)] {
            if !path.is_absolute() {
                mistakes.add(key, "not an absolute path", "start it with a slash");
            }
        }
        if let Some(postgres) = &self.database.postgres {
            postgres.check("database.postgres", mistakes);
        }
        let host = self.enrolment.url.strip_prefix("https://");
        if !host.is_some_and(is_host_and_port) {
            let what = format!("{:?} is not https://HOST:PORT", self.enrolment.url);
            let fix = "write how nodes reach the enrolment port, such as https://core.example:8444";
            mistakes.add("enrolment.url", what, fix);
        }
        if !is_host_and_port(&self.sessions.public_address) {
            let what = format!("{:?} is not HOST:PORT", self.sessions.public_address);
            let fix = "write how nodes reach the session port, such as core.example:8445";
            mistakes.add("sessions.public_address", what, fix);
        }
        self.audit.check(mistakes);
        if let Some(rest) = &self.rest {
            rest.check(mistakes);
        }
        if self.limits.max_connections == 0 || self.limits.max_connections_per_address == 0 {
            let fix = "write how many connections of nodes are taken";
            mistakes.add("limits", "no node can connect", fix);
        }
    }
}

impl AuditConfig {
    fn check(&self, mistakes: &mut Mistakes) {
        for (place, journal) in self.journals.iter().enumerate() {
            let key = format!("audit.journals.{place}");
            if !journal.socket.is_absolute() {
                let key = format!("{key}.socket");
                mistakes.add(key, "not an absolute path", "start it with a slash");
            }
            let before = &self.journals[..place];
            if before.iter().any(|one| one.daemon == journal.daemon) {
                let what = format!("{} is named before", journal.daemon.name());
                mistakes.add(key, what, "name each daemon once");
            }
        }
    }
}

impl RestConfig {
    fn check(&self, mistakes: &mut Mistakes) {
        if self.plain && !self.listen_address.ip().is_loopback() {
            let what = format!(
                "{} is no address of this machine alone",
                self.listen_address
            );
            let fix = "listen on 127.0.0.1 behind a proxy that has TLS, or remove `plain`";
            mistakes.add("rest.plain", what, fix);
        }
        let sockets = [
            ("rest.pool_socket", &self.pool_socket),
            ("rest.treasury_socket", &self.treasury_socket),
        ];
        for (key, socket) in sockets {
            if socket.as_ref().is_some_and(|socket| !socket.is_absolute()) {
                mistakes.add(key, "not an absolute path", "start it with a slash");
            }
        }
        if self.public_requests_per_minute == 0 || self.requests_per_minute == 0 {
            let fix = "write how many requests of one address are answered in a minute";
            mistakes.add("rest", "nobody is answered", fix);
        }
    }
}

fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use hh_daemon::ConfigError;
    use std::path::Path;

    #[test]
    fn the_example_is_a_valid_configuration() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("config.example.toml");
        let (_, config) = hh_daemon::load::<CoreConfig>(&path).unwrap();
        assert_eq!(config.enrolment.listen_address.port(), 8444);
        assert_eq!(config.sessions.listen_address.port(), 8445);
        assert!(config.relay.enabled);
    }

    #[test]
    fn every_mistake_is_named_with_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hyperhash-core.toml");
        let text = "trust_domain = \"hyperhash.example\"\ndata_dir = \"here\"\n\
            [enrolment]\nlisten_address = \"127.0.0.1:0\"\nurl = \"http://core:8444\"\n\
            [sessions]\nlisten_address = \"127.0.0.1:0\"\npublic_address = \"core\"\n\
            [pki]\ndir = \"pki\"\nnode_issuer_key = \"file:/a\"\nserver_issuer_key = \"file:/b\"\n\
            enrolment_key = \"file:/c\"\ncommand_key = \"file:/d\"\n\
            [rest]\nlisten_address = \"0.0.0.0:0\"\nplain = true\npool_socket = \"view.sock\"\nrequests_per_minute = 0\n\
            [limits]\nmax_connections = 0\n\
            [audit]\njournals = [{ daemon = \"hh-pool\", socket = \"view.sock\" }, { daemon = \"hh-pool\", socket = \"/a\" }]\n\
            [database.postgres]\nhost = \"db.example\"\ndatabase = \"hyperhash\"\n";
        std::fs::write(&path, text).unwrap();
        let error = hh_daemon::load::<CoreConfig>(&path).unwrap_err();
        let ConfigError::Mistakes(mistakes) = error else {
            panic!("{error}");
        };
        let text = mistakes.to_string();
        for expected in [
            "data_dir: not an absolute path",
            "pki.dir: not an absolute path",
            "enrolment.url: \"http://core:8444\" is not https://HOST:PORT",
            "sessions.public_address: \"core\" is not HOST:PORT",
            "limits: no node can connect",
            "database.postgres.host: db.example is another machine",
            "rest.plain: 0.0.0.0:0 is no address of this machine alone",
            "rest.pool_socket: not an absolute path",
            "rest: nobody is answered",
            "audit.journals.0.socket: not an absolute path",
            "audit.journals.1: hh-pool is named before",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
    }
}
