//! `hhctl node key`.

use crate::failure::Failure;
use crate::key_file;
use crate::output::{Part, Report};
use hh_trust::NodeSecretKey;
use serde_json::json;
use std::path::Path;

const GENERATE: &str = "hhctl node key generate";

pub(super) fn generate(file: &Path) -> Result<Report, Failure> {
    let secret = NodeSecretKey::generate().map_err(|error| {
        let what = format!("can't make the secret key {}", file.display());
        Failure::key(what, error.to_string(), "try again".to_owned())
    })?;
    key_file::make(file, &secret.to_secret_hex(), "hhctl node key show")?;
    Ok(report(file, &secret))
}

pub(super) fn show(file: &Path) -> Result<Report, Failure> {
    Ok(report(file, &read(file)?))
}

pub(in crate::command) fn read(file: &Path) -> Result<NodeSecretKey, Failure> {
    let parse = |text: &str| text.parse().ok();
    key_file::read(file, parse, "the 64 hex digits of a node's key", GENERATE)
}

fn report(file: &Path, secret: &NodeSecretKey) -> Report {
    let public = secret.public_key().to_string();
    let item = json!({"file": file, "public_key": public});
    Report::item("NodeKey", item, vec![Part::Note(public)])
}
