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
    /// The network's name, as it is in its certificates.
    pub trust_domain: TrustDomain,
    /// With `root.crt` and `service-issuer.crt` of `hhctl pki init`.
    pub pki_dir: PathBuf,
    /// With it hh-treasury makes its own certificates, of a day each.
    pub service_issuer_key: SecretRef,
}

impl CoreConfig {
    pub(super) fn check(&self, mistakes: &mut Mistakes) {
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
