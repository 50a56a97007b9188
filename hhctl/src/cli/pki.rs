//! `hhctl pki`.

use clap::{Args, Subcommand, ValueEnum};
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
    /// Make another issuer or key in the place of the one in use, before that ends or when it was stolen
    #[command(
        after_help = "Examples:\n  hhctl pki rotate node-issuer /etc/hyperhash/pki --trust-domain hyperhash.example --offline /media/offline\n  hhctl pki \
                      rotate command-key /etc/hyperhash/pki --trust-domain hyperhash.example --offline /media/offline\n\nCore reads the new files at \
                      its next start. What the old one has made stays good until it ends: certificates and tokens for a day, a command key \
                      as long as its list says. With several replicas copy the folder to each, and restart them within minutes."
    )]
    Rotate(RotateArgs),
    /// Show when core's certificates end, and its keys
    #[command(after_help = "Example:\n  hhctl pki status")]
    Status,
}

impl PkiCommand {
    /// Whether it is about files, and no daemon is asked.
    pub(crate) fn is_about_files(&self) -> bool {
        matches!(
            self,
            Self::Init { .. } | Self::AddAuditKey { .. } | Self::Rotate(_)
        )
    }
}

/// What to make anew.
#[derive(Clone, Debug, Args)]
pub(crate) struct RotateArgs {
    /// What to make anew
    #[arg(value_enum)]
    pub(crate) what: Rotated,
    /// The folder that `[pki]` of hyperhash-core.toml names
    pub(crate) dir: PathBuf,
    /// Name of the network, as it is in all its certificates
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) trust_domain: TrustDomain,
    /// The folder `offline` of `pki init`, where it is now; that in DIR where this is not given
    #[arg(long, value_name = "DIR")]
    pub(crate) offline: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Rotated {
    /// Makes the certificates of nodes
    NodeIssuer,
    /// Makes core's own certificate
    ServerIssuer,
    /// Signs commands
    CommandKey,
    /// Signs tokens for nodes
    EnrolmentKey,
}

impl Rotated {
    /// As it is written.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::NodeIssuer => "node-issuer",
            Self::ServerIssuer => "server-issuer",
            Self::CommandKey => "command-key",
            Self::EnrolmentKey => "enrolment-key",
        }
    }
}
