//! `hhctl audit`.

use clap::Subcommand;

#[derive(Debug, Subcommand)]
pub(crate) enum AuditCommand {
    /// Check that no line of the audit log was changed, removed, inserted or moved
    #[command(
        after_help = "Examples:\n  hhctl audit verify\n  hhctl audit verify -o json\n\nEach line has the hash of the line before, and its \
                      intent an outcome. Whoever may write core's database may write all of it anew: that only shows beside what was kept \
                      elsewhere. Each command that a node was given names how far the log went, and core's own log has every line.\n\n\
                      Exit status: 3 if it was tampered with."
    )]
    Verify,
}
