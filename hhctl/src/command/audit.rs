//! `hhctl audit`: the audit log of core.

mod export;
mod list;
mod verify;

use crate::cli::AuditCommand;
use crate::failure::Failure;
use crate::output::Report;
use crate::session::{Connected, Session};
use export::Export;
use hh_ipc::api::core::{AuditPage, AuditQuery, CoreClient};
use hh_trust::audit::Checkpoint;
use hh_trust::control_key::CheckpointPublicKey;
use hh_trust::pki::TrustDomain;

/// Code of a core that has no key for checkpoints.
const NO_KEY: &str = "HH5080";

pub(super) async fn report(
    session: &mut Session,
    command: &AuditCommand,
) -> Result<Report, Failure> {
    match command {
        AuditCommand::List(args) => list::list(session, args).await,
        AuditCommand::Verify(args) => verify::verify(session, args).await,
        AuditCommand::Export { file } => export::export(session, file).await,
    }
}

/// A command on a file.
pub(super) fn on_files(command: &AuditCommand) -> Result<Report, Failure> {
    match command {
        AuditCommand::Verify(args) => match &args.file {
            Some(file) => verify::file(file, args.key.as_ref()),
            None => unreachable!("{ABOUT_FILES}"),
        },
        AuditCommand::List(_) | AuditCommand::Export { .. } => unreachable!("{ABOUT_FILES}"),
    }
}

const ABOUT_FILES: &str = "AuditCommand::is_about_files() names these";

async fn page(
    daemon: &Connected<CoreClient>,
    after_seq: u64,
    limit: u32,
) -> Result<AuditPage, Failure> {
    let query = AuditQuery { after_seq, limit };
    let answer = daemon.client.audit(daemon.call(), query).await;
    daemon.granted(answer)
}

/// A checkpoint that core signs now, and who has signed it.
async fn checkpoint(daemon: &Connected<CoreClient>) -> Result<Export, Failure> {
    let answer = daemon.client.audit_checkpoint(daemon.call()).await;
    let signed = daemon.granted(answer)?;
    Ok(Export {
        trust_domain: signed.trust_domain,
        checkpoint: signed.note,
        key: signed.key,
    })
}

/// What a checkpoint says, if it is signed by the key that was named, or else by the one that comes with it.
fn signed(
    shown: &Export,
    named: Option<&CheckpointPublicKey>,
) -> Result<(Checkpoint, CheckpointPublicKey), String> {
    let own = || {
        let key = shown.key.parse::<CheckpointPublicKey>();
        key.map_err(|error| format!("its key: {error}"))
    };
    let key: CheckpointPublicKey = named.copied().map_or_else(own, Ok)?;
    let domain: TrustDomain = shown
        .trust_domain
        .parse()
        .map_err(|error| format!("its network: {error}"))?;
    let checkpoint = Checkpoint::verify(&shown.checkpoint, &domain, &key);
    checkpoint
        .map(|checkpoint| (checkpoint, key))
        .map_err(|error| error.to_string())
}
