//! A PostgreSQL database as an operator names it in a daemon's configuration.

use std::path::PathBuf;

use hh_daemon::{Failure, Mistakes, SecretRef};
use serde::Deserialize;

use crate::{Location, PostgresServer, ServerOptions};

/// A PostgreSQL database that has a ledger in a schema of its own.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostgresConfig {
    /// The directory of a Unix socket, or a host's name or address.
    pub host: String,
    /// Its port; also a part of the Unix socket's name.
    #[serde(default = "default_port")]
    pub port: u16,
    /// The database.
    pub database: String,
    /// The role to log in as; the daemon's own where it is not given.
    pub user: Option<String>,
    /// None where the server knows the daemon's user.
    pub password: Option<SecretRef>,
    /// Certificates in PEM that may have signed the server's; with them TLS is spoken.
    pub root_certificates: Option<PathBuf>,
}

fn default_port() -> u16 {
    5432
}

impl PostgresConfig {
    /// Adds what is wrong with it; `key` is where it stands, such as `ledger.postgres`.
    pub fn check(&self, key: &str, mistakes: &mut Mistakes) {
        let key = format!("{key}.host");
        if self.host.is_empty() {
            let fix = "write the directory of a Unix socket, such as /run/postgresql, or a host";
            mistakes.add(key, "empty", fix);
        } else if self.options("").is_remote() && self.root_certificates.is_none() {
            let what = format!("{} is another machine, where only TLS is spoken", self.host);
            let fix = "name the certificates that it is known by with `root_certificates`";
            mistakes.add(key, what, fix);
        }
    }

    /// Where it is, with its password read; `user` is the daemon's role.
    ///
    /// # Errors
    /// The password or the root certificates can't be read.
    pub fn location(&self, user: &str) -> Result<Location, Failure> {
        let password = self.password.as_ref().map(SecretRef::read).transpose();
        let password = password.map_err(Failure::secret)?;
        let password = password.as_ref().map(|password| password.expose().trim());
        let server = PostgresServer::new(&self.options(user), password);
        Ok(Location::Postgres(server.map_err(Failure::config)?))
    }

    fn options(&self, user: &str) -> ServerOptions {
        ServerOptions {
            host: self.host.clone(),
            port: self.port,
            database: self.database.clone(),
            user: self.user.clone().unwrap_or_else(|| user.to_owned()),
            root_certificates: self.root_certificates.clone(),
        }
    }
}
