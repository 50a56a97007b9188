//! `hhctl pki`: the certificates and keys of the control plane.

mod audit_key;
mod rotation;

use crate::cli::PkiCommand;
use crate::failure::Failure;
use crate::output::{Cell, Column, Part, Report, State, Table, text};
use crate::session::Session;
use hh_trust::control_key::{CheckpointKey, CommandKey, EnrolKey, NetworkKey};
use hh_trust::key_set::{KeySet, TimedKey};
use hh_trust::pki::{IssuerKind, Root, TrustDomain};
use jiff::Timestamp;
use serde_json::json;
use std::fmt::Display;
use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

/// Core's keys count for as long as its issuers: a year, so that its rotation is a habit and no event.
const KEY_SECONDS: i64 = 365 * 86_400;

/// What ends sooner is told.
const SOON_SECONDS: i64 = 30 * 86_400;

/// A command on files of the network; it asks no daemon.
///
/// # Errors
/// The folder is there, or can't be made.
pub(super) fn on_files(command: &PkiCommand, now: Timestamp) -> Result<Report, Failure> {
    match command {
        PkiCommand::Init { trust_domain, dir } => init(trust_domain, dir, now),
        PkiCommand::AddAuditKey { dir, offline, name } => audit_key::add(dir, offline, name, now),
        PkiCommand::Rotate(args) => rotation::rotate(args, now),
        PkiCommand::Status => unreachable!("PkiCommand::is_about_files() names these"),
    }
}

fn init(domain: &TrustDomain, dir: &Path, now: Timestamp) -> Result<Report, Failure> {
    let made = make(domain, dir, now.as_second());
    let pin = made.map_err(|error| {
        let what = format!("can't make the keys of a network in {}", dir.display());
        let fix = "name a folder that is not there, in one that you can write to".to_owned();
        Failure::key(what, error.to_string(), fix)
    })?;
    let note = format!(
        "made {dir}; move {dir}/offline to a medium that is kept away from any machine",
        dir = dir.display()
    );
    let json = json!({ "trust_domain": domain, "dir": dir, "root_pin": pin });
    let view = vec![Part::Note(note)];
    Ok(Report::item("Pki", json, view))
}

/// Makes everything, and gives the pin of the root.
fn make(domain: &TrustDomain, dir: &Path, now: i64) -> Result<String, io::Error> {
    let make_dir = |dir: &Path| DirBuilder::new().mode(0o700).create(dir);
    make_dir(dir)?;
    let offline = dir.join("offline");
    make_dir(&offline)?;
    let root = Root::create(domain, now).map_err(other)?;
    let network = NetworkKey::generate().map_err(other)?;
    secret(&offline.join("root.key"), &root.to_secret_pem())?;
    secret(&offline.join("network.key"), &network.to_secret_hex())?;
    public(&dir.join("root.crt"), &root.certificate_pem())?;
    public(&dir.join("network.pub"), &network.public_key().to_string())?;
    for kind in IssuerKind::ALL {
        let issuer = root.make_issuer(kind, now).map_err(other)?;
        secret(
            &dir.join(format!("{kind}-issuer.key")),
            &issuer.to_secret_pem(),
        )?;
        public(
            &dir.join(format!("{kind}-issuer.crt")),
            &issuer.certificate_pem(),
        )?;
    }
    let enrolment = EnrolKey::generate().map_err(other)?;
    secret(&dir.join("enrolment.key"), &enrolment.to_secret_hex())?;
    let command = CommandKey::generate().map_err(other)?;
    secret(&dir.join("command.key"), &command.to_secret_hex())?;
    let audit = CheckpointKey::generate().map_err(other)?;
    secret(&dir.join("audit.key"), &audit.to_secret_hex())?;
    let keys = KeySet {
        version: 1,
        domain: domain.clone(),
        commands: vec![timed(command.public_key(), now)],
        checkpoints: vec![timed(audit.public_key(), now)],
    };
    let keys = keys.sign(&network).map_err(other)?;
    public(&dir.join("key-set.jws"), &keys)?;
    Ok(root.pin().to_string())
}

/// A key that counts from now on.
fn timed<K>(key: K, now: i64) -> TimedKey<K> {
    TimedKey {
        key,
        // A node's clock may be a little behind.
        nbf: now - 3_600,
        exp: now + KEY_SECONDS,
    }
}

fn other(error: impl Display) -> io::Error {
    io::Error::other(error.to_string())
}

fn secret(path: &Path, text: &str) -> io::Result<()> {
    write(path, text, 0o600)
}

fn public(path: &Path, text: &str) -> io::Result<()> {
    write(path, text, 0o644)
}

fn write(path: &Path, text: &str, mode: u32) -> io::Result<()> {
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)?;
    writeln!(file, "{}", text.trim_end())?;
    file.sync_all()
}

pub(super) async fn status(session: &mut Session) -> Result<Report, Failure> {
    let daemon = session.core().await?;
    let answer = daemon.client.pki(daemon.call()).await;
    let pki = daemon.granted(answer)?;
    let now = session.now();
    let mut certificates = Table::new(
        vec![Column::left("CERTIFICATE"), Column::left("HOLDS")],
        "core has no certificates",
    );
    for issuer in &pki.issuers {
        let left = issuer.until_at.as_second() - now.as_second();
        let shown = format!("for {}", text::age(issuer.until_at, now));
        // Core renews its own by itself.
        let holds = match left {
            ..=0 => Cell::state(State::Fail, "no more"),
            ..SOON_SECONDS if issuer.name != "server" => Cell::state(State::Warn, shown),
            _ => Cell::state(State::Ok, shown),
        };
        certificates.row(vec![issuer.name.as_str().into(), holds]);
    }
    let mut keys = Table::new(
        vec![Column::left("KEY FOR"), Column::left("PUBLIC KEY")],
        "core has no keys",
    );
    for key in &pki.keys {
        keys.row(vec![key.purpose.as_str().into(), key.id.as_str().into()]);
    }
    let fields = vec![
        ("Network", pki.trust_domain.as_str().into()),
        ("Root", pki.root_pin.as_str().into()),
    ];
    let view = vec![
        Part::Fields(fields),
        Part::Table(certificates),
        Part::Table(keys),
    ];
    Ok(Report::item("PkiStatus", json!(pki), view))
}
