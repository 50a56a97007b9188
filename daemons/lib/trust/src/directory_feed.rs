//! How a daemon comes to its directory of nodes and operators: it asks core for what operators have signed, takes what it can believe,
//! and keeps that on its disk.
//!
//! Core can keep something back, and can have a node believed no more. It can't add one, or change where one is paid: for that it would
//! need the keys of the operators that this daemon's own configuration lists. Without core everything goes on as it was.

mod record_source;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hh_daemon::{Chain, Mistakes, SecretError, SecretRef, StateFile, StateFileError};
use hh_ipc::api::core::{RecordKind, RecordSet, Revoked, SignedRecord};
use rustls::pki_types::pem::Error as PemError;
use serde::Deserialize;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::NodeId;
use crate::node_directory::{Directory, DirectoryError, Taken};
use crate::operator_key::{OperatorList, OperatorName};
use crate::pki::{ChannelError, TrustDomain};
use crate::statement::{NodeRecord, OperatorRecord, Place, Signed, StatementError};
use record_source::RecordSource;

/// Between two questions that were answered at once: who changes records one by one does not keep a daemon busy.
const PAUSE: Duration = Duration::from_millis(500);

/// How long core may let a daemon wait for something new, in seconds.
const REFRESH_SECONDS: RangeInclusive<u32> = 1..=20;

/// A record from later than this, in seconds, is a mistake of somebody's clock, and could not be revoked until then.
pub const CLOCK_SECONDS_MAX: i64 = 600;

/// Of what is not believed in a set, so many are told one by one: a core that was broken into fills no log.
const TOLD_MAX: usize = 10;

/// Of what is no name, so much is told.
const NAME_CHARS_MAX: usize = 64;

/// Where the directory comes from: the table `[directory]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectoryConfig {
    /// `HOST:PORT` of core's REST interface.
    pub core_address: String,
    /// The network's root, `root.crt` of `hhctl pki init`: core's certificate must come from it.
    pub root_certificate: PathBuf,
    /// Of `hhctl api-token create --role core-operator --read-only`.
    pub token: SecretRef,
    /// After so long it is asked again where nothing has changed; what changes is told at once.
    #[serde(default = "default_refresh_seconds")]
    pub refresh_seconds: u32,
}

fn default_refresh_seconds() -> u32 {
    *REFRESH_SECONDS.end()
}

/// What a daemon's configuration says of operators and of where it hears of nodes.
#[derive(Clone, Copy, Debug)]
pub struct TrustConfig<'a> {
    /// The key `trust_domain`.
    pub domain: Option<&'a TrustDomain>,
    /// The table `[operators]`.
    pub operators: &'a OperatorList,
    /// The table `[directory]`.
    pub directory: Option<&'a DirectoryConfig>,
}

impl TrustConfig<'_> {
    /// Whether these go together.
    pub fn check(&self, mistakes: &mut Mistakes) {
        let operators = self.operators.iter().count();
        if self.domain.is_none() && (operators > 0 || self.directory.is_some()) {
            let what = "what operators sign names the network that it is about";
            let fix = "write the trust_domain of hyperhash-core.toml";
            mistakes.add("trust_domain", what, fix);
        }
        let Some(directory) = self.directory else {
            return;
        };
        if operators == 0 {
            let what = "core is believed nothing, and there is nobody else to believe";
            let fix = "list the SSH keys of operators: alice = \"ssh-ed25519 ...\"";
            mistakes.add("operators", what, fix);
        }
        if !directory.root_certificate.is_absolute() {
            let key = "directory.root_certificate";
            mistakes.add(key, "not an absolute path", "start it with a slash");
        }
        if !is_host_and_port(&directory.core_address) {
            let what = format!("{:?} is not HOST:PORT", directory.core_address);
            let fix = "write where core's REST interface is, such as core.example:8443";
            mistakes.add("directory.core_address", what, fix);
        }
        if !REFRESH_SECONDS.contains(&directory.refresh_seconds) {
            let what = format!("{} s are none", directory.refresh_seconds);
            let (min, max) = (REFRESH_SECONDS.start(), REFRESH_SECONDS.end());
            let fix = format!("write {min} to {max}");
            mistakes.add("directory.refresh_seconds", what, fix);
        }
    }
}

impl TrustConfig<'_> {
    /// The network and a chain of it; none where the configuration names no network.
    #[must_use]
    pub fn place(&self, chain: &str) -> Option<Place> {
        let domain = self.domain?.clone();
        let chain = chain.to_owned();
        Some(Place { domain, chain })
    }

    /// The feed of the directory, and what to watch; no feed where the configuration names no core to ask.
    ///
    /// # Errors
    /// As [`DirectoryFeed::open`].
    pub fn open(
        &self,
        chain: &str,
        file: StateFile,
    ) -> Result<(Option<DirectoryFeed>, watch::Receiver<Arc<Directory>>), FeedError> {
        let (Some(config), Some(place)) = (self.directory, self.place(chain)) else {
            return Ok((None, watch::channel(Arc::default()).1));
        };
        let (feed, watching) = DirectoryFeed::open(config, place, self.operators.clone(), file)?;
        Ok((Some(feed), watching))
    }
}

fn is_host_and_port(text: &str) -> bool {
    let parts = text.rsplit_once(':');
    parts.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
}

/// Why there is no directory.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    /// The token.
    #[error("can't show core a token")]
    Token(#[from] SecretError),
    /// It is no text of a token.
    #[error("the token {0} is none: it begins with hha1.")]
    NoToken(SecretRef),
    /// The root.
    #[error("can't read the root certificate {}", path.display())]
    Root {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: PemError,
    },
    /// TLS.
    #[error("can't set up TLS to core")]
    Tls(#[from] ChannelError),
    /// What was kept.
    #[error(transparent)]
    File(#[from] StateFileError),
}

/// Keeps a directory up to date. Whoever uses it watches.
#[derive(Debug)]
pub struct DirectoryFeed {
    source: RecordSource,
    place: Place,
    listed: OperatorList,
    file: StateFile,
    shown: watch::Sender<Arc<Directory>>,
    refresh: Duration,
}

impl DirectoryFeed {
    /// With what was kept, as far as the configuration's operators still stand for it.
    ///
    /// # Errors
    /// A secret, a certificate or the kept file can't be used.
    pub fn open(
        config: &DirectoryConfig,
        place: Place,
        listed: OperatorList,
        file: StateFile,
    ) -> Result<(Self, watch::Receiver<Arc<Directory>>), FeedError> {
        let source = RecordSource::new(config, &place.domain)?;
        let mut directory: Directory = file.read()?.unwrap_or_default();
        for gone in directory.recheck(&listed, &place) {
            tracing::warn!(
                name = gone,
                "record dropped: no operator of the configuration has signed it"
            );
        }
        let (shown, watching) = watch::channel(Arc::new(directory));
        let feed = Self {
            source,
            place,
            listed,
            file,
            shown,
            refresh: Duration::from_secs(config.refresh_seconds.into()),
        };
        Ok((feed, watching))
    }

    /// Goes on until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.follow()).await;
    }

    async fn follow(&self) {
        let mut known: Option<String> = None;
        // The last version of which it was told what is not believed.
        let mut told = String::new();
        let mut is_heard = true;
        loop {
            match self.source.records(known.as_deref(), self.refresh).await {
                Ok(set) => {
                    if !is_heard {
                        tracing::info!("core answers again");
                    }
                    is_heard = true;
                    let mut pause = PAUSE;
                    if !set.is_known {
                        let version = set.version.clone();
                        let unbelieved = self.take(set).await;
                        if !unbelieved.refused.is_empty() || unbelieved.is_ahead {
                            // Who makes such sets up keeps nobody busy with them.
                            pause = self.refresh;
                        }
                        if told != version {
                            unbelieved.tell();
                            told.clone_from(&version);
                        }
                        // What is of later than now is tried again until it is of now.
                        known = (!unbelieved.is_ahead).then_some(version);
                    }
                    tokio::time::sleep(pause).await;
                }
                Err(error) => {
                    if is_heard {
                        let error = Chain(&error).to_string();
                        tracing::warn!(error, "directory not fetched: what is known holds on");
                    }
                    is_heard = false;
                    tokio::time::sleep(self.refresh).await;
                }
            }
        }
    }

    async fn take(&self, set: RecordSet) -> Unbelieved {
        let before = Arc::clone(&self.shown.borrow());
        let mut directory = Directory::clone(&before);
        let (listed, place) = (self.listed.clone(), self.place.clone());
        let now = jiff::Timestamp::now().as_second();
        // Some thousand signatures take a tenth of a second, and miners are served by this thread.
        let taking = tokio::task::spawn_blocking(move || {
            let unbelieved = take_all(&mut directory, &set, (&listed, &place), now);
            (directory, unbelieved)
        });
        let Ok((directory, unbelieved)) = taking.await else {
            return Unbelieved::default();
        };
        if directory == *before {
            return unbelieved;
        }
        let nodes = directory.nodes().count();
        tracing::info!(nodes, "directory changed");
        let (file, kept) = (self.file.clone(), directory.clone());
        // Who uses it goes first: a revocation waits for no disk.
        self.shown.send_replace(Arc::new(directory));
        let written = tokio::task::spawn_blocking(move || file.write(&kept)).await;
        if let Ok(Err(error)) = written {
            let error = Chain(&error).to_string();
            tracing::error!(
                error,
                "directory not kept: a restart begins with an older one"
            );
        }
        unbelieved
    }
}

/// What of a set is not believed.
#[derive(Debug, Default)]
struct Unbelieved {
    /// Names, and why.
    refused: Vec<(String, String)>,
    /// A record of later than now is among them.
    is_ahead: bool,
}

impl Unbelieved {
    fn tell(&self) {
        for (name, error) in self.refused.iter().take(TOLD_MAX) {
            tracing::warn!(name, error, "record not believed");
        }
        let more = self.refused.len().saturating_sub(TOLD_MAX);
        if more > 0 {
            tracing::warn!(more, "records not believed");
        }
    }
}

/// Takes what can be believed, and gives what can't, with why.
fn take_all(
    directory: &mut Directory,
    set: &RecordSet,
    (listed, place): (&OperatorList, &Place),
    now: i64,
) -> Unbelieved {
    let mut unbelieved = Unbelieved::default();
    let before = directory.clone();
    let (mut fresh, mut doubted) = (BTreeSet::new(), BTreeSet::new());
    let newest = newest(&set.records);
    for (index, record) in set.records.iter().enumerate() {
        let (name, taken) = take_one(directory, record, (listed, place), now);
        match &taken {
            Ok(Taken::New) => {
                fresh.insert(name.clone());
            }
            Err(DirectoryError::Statement(StatementError::Threshold { .. })) => {
                doubted.insert((name.clone(), index));
            }
            Err(DirectoryError::Ahead { .. }) => unbelieved.is_ahead = true,
            Ok(_) | Err(_) => {}
        }
        if let Err(error) = taken {
            // What is known already is older than itself, and is no news.
            let is_old = matches!(error, DirectoryError::Older { .. });
            if !is_old && newest.contains(&index) {
                unbelieved.refused.push((name, Chain(&error).to_string()));
            }
        }
    }
    for (_, index) in doubted.iter().filter(|(name, _)| fresh.contains(name)) {
        if let Some(record) = set.records.get(*index) {
            let_go(directory, record, &before);
        }
    }
    revoke_all(directory, &set.revocations, now, &mut unbelieved.refused);
    unbelieved
}

/// What was not known before this set, and of which there is a later record that may have had its signatures once, is not taken: what
/// was signed since may be that its key was stolen, or that another is paid.
fn let_go(directory: &mut Directory, doubted: &SignedRecord, before: &Directory) {
    let signed = signed(doubted);
    match doubted.kind {
        RecordKind::Node => {
            let Ok(later) = signed.unverified::<NodeRecord>() else {
                return;
            };
            let taken = directory.last_record(&later.node);
            if taken.is_some_and(|taken| taken.number < later.number) {
                directory.restore_node(&later.node, before);
            }
        }
        RecordKind::Operator => {
            let Ok(later) = signed.unverified::<OperatorRecord>() else {
                return;
            };
            let taken = directory.last_operator_record(&later.operator);
            if taken.is_some_and(|taken| taken.number < later.number) {
                directory.restore_operator(&later.operator, before);
            }
        }
    }
}

fn revoke_all(
    directory: &mut Directory,
    revocations: &[Revoked],
    now: i64,
    refused: &mut Vec<(String, String)>,
) {
    for Revoked { kind, name, at } in revocations {
        // Core's clock may be before this one's, as that of who signs may. No record is taken from later than this.
        let at = (*at).min(now.saturating_add(CLOCK_SECONDS_MAX));
        let is_name = match kind {
            RecordKind::Node => name
                .parse::<NodeId>()
                .map(|node| directory.revoke_node(&node, at))
                .is_ok(),
            RecordKind::Operator => name
                .parse::<OperatorName>()
                .map(|operator| directory.revoke_operator(&operator, at))
                .is_ok(),
        };
        if !is_name {
            let name: String = name.chars().take(NAME_CHARS_MAX).collect();
            refused.push((name, "it is no name".to_owned()));
        }
    }
}

/// Where the last records of each name are: of older ones nobody need be told.
fn newest(records: &[SignedRecord]) -> BTreeSet<usize> {
    let mut last = BTreeMap::new();
    for (index, record) in records.iter().enumerate() {
        last.insert(name_of(record), index);
    }
    last.into_values().collect()
}

fn name_of(record: &SignedRecord) -> String {
    let signed = signed(record);
    let name = match record.kind {
        RecordKind::Node => signed
            .unverified::<NodeRecord>()
            .map(|record| record.node.to_string()),
        RecordKind::Operator => signed
            .unverified::<OperatorRecord>()
            .map(|record| record.operator.to_string()),
    };
    let name = name.unwrap_or_else(|_no_record| "?".to_owned());
    format!("{} {name}", record.kind)
}

fn signed(record: &SignedRecord) -> Signed {
    Signed {
        text: record.text.clone(),
        signatures: record.signatures.clone(),
    }
}

fn take_one(
    directory: &mut Directory,
    record: &SignedRecord,
    (listed, place): (&OperatorList, &Place),
    now: i64,
) -> (String, Result<Taken, DirectoryError>) {
    let signed = signed(record);
    let at = match record.kind {
        RecordKind::Node => signed.unverified::<NodeRecord>().map(|record| record.at),
        RecordKind::Operator => signed
            .unverified::<OperatorRecord>()
            .map(|record| record.at),
    };
    let name = name_of(record);
    let ahead_seconds = at.map_or(0, |at| at.saturating_sub(now));
    let taken = if ahead_seconds > CLOCK_SECONDS_MAX {
        Err(DirectoryError::Ahead { ahead_seconds })
    } else {
        match record.kind {
            RecordKind::Node => directory.take_node(&signed, listed, place),
            RecordKind::Operator => directory.take_operator(&signed, listed, place),
        }
    };
    (name, taken)
}

#[cfg(test)]
mod tests;
