//! `hhctl pki`.

use clap::Subcommand;
use hh_trust::pki::TrustDomain;
use std::path::PathBuf;

#[derive(Debug, Subcommand)]
pub(crate) enum PkiCommand {
    /// Make the root, the issuers and the keys of a network, once
    #[command(
        after_help = "Example:\n  hhctl pki init --trust-domain hyperhash.example /etc/hyperhash/pki\n\nMove the folder `offline` to a medium that is kept \
                      away from any machine: its two keys make new issuers and new keys, which nobody can who has stolen core. The \
                      rest is what hyperhash-core.toml names. Nothing is overwritten."
    )]
    Init {
        /// Name of the network, as it is in all its certificates: a host name that is yours
        #[arg(long, value_name = "DOMAIN")]
        trust_domain: TrustDomain,
        /// Folder to make
        dir: PathBuf,
    },
    /// Make the key that signs checkpoints of the audit log, for keys that were made without one or when its time is over
    #[command(
        after_help = "Example:\n  hhctl pki add-audit-key /etc/hyperhash/pki --offline /mnt/offline\n\nIt signs a newer list of core's keys \
                      with the network's offline key. Then name the new key in hyperhash-core.toml (pki.audit_key) and restart \
                      hyperhash-core: nodes take the new list in their next session. An older key stays in the list until its \
                      time is over. Nothing is overwritten but key-set.jws."
    )]
    AddAuditKey {
        /// The folder that `hhctl pki init` has made
        dir: PathBuf,
        /// Where its folder `offline` is now, with network.key in it
        #[arg(long, value_name = "FOLDER")]
        offline: PathBuf,
        /// File in the folder to write the key to
        #[arg(long, value_name = "NAME", default_value = "audit.key")]
        name: String,
    },
    /// Show when core's certificates end, and its keys
    #[command(after_help = "Example:\n  hhctl pki status")]
    Status,
}

impl PkiCommand {
    /// Whether it is about files, and no daemon is asked.
    pub(crate) fn is_about_files(&self) -> bool {
        matches!(self, Self::Init { .. } | Self::AddAuditKey { .. })
    }
}
