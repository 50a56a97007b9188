//! hyperhash-core, by which nodes hear what they are owed and hand in their invoices.

use hh_daemon::{Mistakes, SecretRef};
use hh_trust::pki::TrustDomain;
use serde::Deserialize;
use std::path::PathBuf;

/// The `[core]` table. Without it nodes' invoices are handed in by operators (`hhctl payout submit-invoice`).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoreConfig {
    /// `HOST:PORT` where nodes have their sessions: core's `sessions.public_address`.
    pub address: String,
    /// With `root.crt` and `service-issuer.crt` of `hhctl pki init`.
    pub pki_dir: PathBuf,
    /// With it hh-treasury makes its own certificates, of a day each.
    pub service_issuer_key: SecretRef,
}

impl CoreConfig {
    /// Whether it can be used in a network of this name.
    pub(super) fn check(&self, domain: Option<&TrustDomain>, mistakes: &mut Mistakes) {
        if domain.is_none() {
            let what = "the certificates of core and of ours name a network";
            let fix = "write the trust_domain of hyperhash-core.toml, before the first table";
            mistakes.add("trust_domain", what, fix);
        }
        let (host, port) = self.address.rsplit_once(':').unwrap_or_default();
        if host.is_empty() || !port.parse::<u16>().is_ok_and(|port| port != 0) {
            let what = format!("{:?} is not HOST:PORT", self.address);
            let fix = "write sessions.public_address of hyperhash-core.toml";
            mistakes.add("core.address", what, fix);
        }
        if !self.pki_dir.is_absolute() {
            let what = "not an absolute path";
            mistakes.add("core.pki_dir", what, "start it with a slash");
        }
    }
}
