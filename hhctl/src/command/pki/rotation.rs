//! `hhctl pki rotate`: another issuer or key beside the one in use, which stays trusted for what it has made.
//!
//! It works on files alone. Core reads them at its next start; until then it goes on with what it has.

use super::{KEY_SECONDS, other};
use crate::cli::{RotateArgs, Rotated};
use crate::failure::Failure;
use crate::output::{Part, Report};
use hh_trust::control_key::{CommandKey, EnrolKey, NetworkKey, NetworkPublicKey};
use hh_trust::key_set::{KeySet, TimedKey};
use hh_trust::pki::{Issuer, IssuerKind, Root};
use jiff::Timestamp;
use serde_json::json;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// A node's certificate lives for so long: before that an issuer which was replaced has certificates in use.
const LEAF_LIFE: Duration = Duration::from_secs(86_400);

/// What is to be done then.
const RESTART: &str = "restart hyperhash-core, each replica with these files";

/// The folder that core reads.
struct Keys<'a> {
    dir: &'a Path,
    offline: PathBuf,
    /// Who owns its files: core's user.
    owner: (u32, u32),
    now: i64,
}

pub(super) fn rotate(args: &RotateArgs, now: Timestamp) -> Result<Report, Failure> {
    let rotated = Keys::open(args, now.as_second()).and_then(|keys| match args.what {
        Rotated::NodeIssuer => keys.node_issuer(args),
        Rotated::ServerIssuer => keys.issuer(args, IssuerKind::Server),
        Rotated::CommandKey => keys.command_key(args),
        Rotated::EnrolmentKey => keys.enrolment_key(),
    });
    let what = args.what.name();
    rotated.map_err(|error| {
        let failed = format!("can't make another {what} in {}", args.dir.display());
        let fix = "name the folder of hyperhash-core.toml's [pki], and with --offline the one that is kept away from it";
        Failure::key(failed, error.to_string(), fix.to_owned())
    })?;
    let note = format!(
        "made another {what} in {}; now {RESTART}",
        args.dir.display()
    );
    let json = json!({ "rotated": what, "dir": args.dir });
    Ok(Report::item("Pki", json, vec![Part::Note(note)]))
}

impl<'a> Keys<'a> {
    fn open(args: &'a RotateArgs, now: i64) -> io::Result<Self> {
        let dir = args.dir.as_path();
        let owner = fs::metadata(dir.join("root.crt")).map_err(named(&dir.join("root.crt")))?;
        let offline = args.offline.clone();
        Ok(Self {
            dir,
            offline: offline.unwrap_or_else(|| dir.join("offline")),
            owner: (owner.uid(), owner.gid()),
            now,
        })
    }

    /// What the old one has made lives for a day: for that day core is given its certificate, and a last list of what was revoked of it,
    /// without which nobody trusts it. Its key is needed no more.
    fn node_issuer(&self, args: &RotateArgs) -> io::Result<()> {
        let former = self.dir.join("node-issuer.former.crt");
        if is_younger(&former, LEAF_LIFE) {
            let text = "it was changed less than a day ago, and certificates of the one before are in use; wait until that is over";
            return Err(io::Error::other(text));
        }
        let (certificate, key) = (
            read(&self.dir.join("node-issuer.crt"))?,
            read(&self.dir.join("node-issuer.key"))?,
        );
        let kind = IssuerKind::Node;
        let old = Issuer::from_pem(kind, &args.trust_domain, &certificate, &key).map_err(other)?;
        let number = u64::try_from(self.now).unwrap_or_default();
        let list = old.revocation_list(number, &[], self.now).map_err(other)?;
        let new = self.new_issuer(args, kind)?;
        self.put("node-issuer.former.crl", list.as_ref(), 0o644)?;
        self.put("node-issuer.former.crt", certificate.as_bytes(), 0o644)?;
        self.put_issuer(&new, kind)
    }

    fn issuer(&self, args: &RotateArgs, kind: IssuerKind) -> io::Result<()> {
        let new = self.new_issuer(args, kind)?;
        self.put_issuer(&new, kind)
    }

    fn new_issuer(&self, args: &RotateArgs, kind: IssuerKind) -> io::Result<Issuer> {
        let certificate = read(&self.dir.join("root.crt"))?;
        let key = read(&self.offline.join("root.key"))?;
        let root = Root::from_pem(&args.trust_domain, &certificate, &key).map_err(other)?;
        root.make_issuer(kind, self.now).map_err(other)
    }

    fn put_issuer(&self, issuer: &Issuer, kind: IssuerKind) -> io::Result<()> {
        let key = issuer.to_secret_pem();
        self.put(&format!("{kind}-issuer.key"), key.as_bytes(), 0o600)?;
        let certificate = issuer.certificate_pem();
        self.put(&format!("{kind}-issuer.crt"), certificate.as_bytes(), 0o644)
    }

    /// Nodes are given the new list when their next session begins; until it ends the old key counts as well.
    fn command_key(&self, args: &RotateArgs) -> io::Result<()> {
        let network = read(&self.offline.join("network.key"))?;
        let network: NetworkKey = network.parse().map_err(other)?;
        let known: NetworkPublicKey = read(&self.dir.join("network.pub"))?
            .trim()
            .parse()
            .map_err(other)?;
        if network.public_key() != known {
            let text = "network.key is not that of network.pub";
            return Err(io::Error::other(text));
        }
        let list = read(&self.dir.join("key-set.jws"))?;
        let list = KeySet::verify(list.trim(), &known, &args.trust_domain, 0).map_err(other)?;
        let command = CommandKey::generate().map_err(other)?;
        let mut commands = list.commands;
        commands.retain(|timed| self.now < timed.exp);
        commands.push(TimedKey {
            key: command.public_key(),
            // A node's clock may be a little behind.
            nbf: self.now - 3_600,
            exp: self.now + KEY_SECONDS,
        });
        let list = KeySet {
            version: list.version + 1,
            commands,
            ..list
        };
        let list = list.sign(&network).map_err(other)?;
        // With the list first the old key still counts.
        self.put("key-set.jws", list.as_bytes(), 0o644)?;
        self.put("command.key", command.to_secret_hex().as_bytes(), 0o600)
    }

    /// Tokens that the old one has signed are good until they end, which is a day at most.
    fn enrolment_key(&self) -> io::Result<()> {
        let old: EnrolKey = read(&self.dir.join("enrolment.key"))?
            .parse()
            .map_err(other)?;
        let former = old.public_key().to_string();
        let new = EnrolKey::generate().map_err(other)?;
        self.put("enrolment.former.pub", former.as_bytes(), 0o644)?;
        self.put("enrolment.key", new.to_secret_hex().as_bytes(), 0o600)
    }

    /// Puts a file in the place of what there is, whole or not at all, for the same owner.
    fn put(&self, name: &str, bytes: &[u8], mode: u32) -> io::Result<()> {
        let (path, new) = (self.dir.join(name), self.dir.join(format!("{name}.new")));
        let put = || {
            match fs::remove_file(&new) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut options = File::options();
            let mut file = options.write(true).create_new(true).mode(mode).open(&new)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            let (user, group) = self.owner;
            chown(&new, Some(user), Some(group))?;
            fs::rename(&new, &path)?;
            File::open(self.dir)?.sync_all()
        };
        put().map_err(named(&path))
    }
}

fn is_younger(path: &Path, than: Duration) -> bool {
    let written_at = fs::metadata(path).and_then(|file| file.modified());
    let age = written_at
        .ok()
        .map(|at| SystemTime::now().duration_since(at));
    // One of the future is young.
    age.is_some_and(|age| age.unwrap_or_default() < than)
}

fn read(path: &Path) -> io::Result<String> {
    fs::read_to_string(path).map_err(named(path))
}

/// With the file in it.
fn named(path: &Path) -> impl Fn(io::Error) -> io::Error {
    let path = path.display().to_string();
    move |error| io::Error::new(error.kind(), format!("{path}: {error}"))
}
