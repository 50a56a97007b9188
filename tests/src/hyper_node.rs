//! A Hyper Node of a test: its key, which the pool knows, and the file of its credential.

use crate::daemon::Daemon;
use crate::network::{CALL, Network};
use crate::wait::wait_for;
use hh_ipc::api::translator::LaneCredential;
use hh_ipc::client::within;
use hh_trust::{NodeCredential, NodeSecretKey, PoolAuthority};
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// For what a pool says of a credential, and for the end of one that is short.
const STANDING: Duration = Duration::from_secs(60);

/// The node `berlin`, with one lane.
#[derive(Debug)]
pub struct HyperNode {
    key: NodeSecretKey,
    lane: String,
    file: PathBuf,
    pool: PoolAuthority,
}

impl HyperNode {
    /// Makes the pool of the network know it, by a restart. It has no credential yet.
    ///
    /// # Panics
    /// If the pool does not come back.
    pub async fn join(network: &mut Network, lane: &str) -> Self {
        let key = NodeSecretKey::generate().expect("the system has random bytes");
        let config = format!(
            "{}\n[[hyper_nodes]]\nid = \"berlin\"\npublic_key = \"{}\"\nlanes = [{{ name = \"{lane}\" }}]\n",
            network.pool_config(),
            key.public_key()
        );
        network.pool.write_config(&config);
        network.pool.terminate();
        network.pool.restart();
        network.pool.wait_until_ready().await;
        Self {
            key,
            lane: lane.to_owned(),
            file: network.dir().join("node.credential"),
            pool: PoolAuthority::from_bytes(network.pool_key.to_bytes()),
        }
    }

    /// What stands of it at the end of its translator's configuration.
    #[must_use]
    pub fn config(&self) -> String {
        format!("\n[credential]\nfile = \"{}\"\n", self.file.display())
    }

    /// Has a credential for the network's pool that ends in `seconds`.
    pub fn issue(&self, seconds: i64) {
        self.issue_for(self.pool, seconds);
    }

    /// Has a credential for `pool` that ends in `seconds`, as `hhctl node credential issue` writes it: whoever reads has the old
    /// one or the new one.
    ///
    /// # Panics
    /// If the network's directory can't be written.
    pub fn issue_for(&self, pool: PoolAuthority, seconds: i64) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.expect("it is after 1970").as_secs();
        let now = i64::try_from(now).expect("the century is this one");
        let name = |text: &str| text.parse().expect("it is a name");
        let credential = NodeCredential {
            node: "berlin".parse().expect("it is a name"),
            lanes: [name(&self.lane)].into(),
            pool,
            not_before: now,
            not_after: now + seconds,
        };
        let text = credential.sign(&self.key).expect("it is well formed");
        let new = self.file.with_extension("new");
        std::fs::write(&new, text).expect("a test's directory can be written");
        std::fs::rename(&new, &self.file).expect("a test's directory can be written");
    }

    /// Waits until its translator says of its lane what is `wanted`.
    ///
    /// # Panics
    /// If it does not in a minute.
    pub async fn wait_for_standing(
        &self,
        translator: &Daemon,
        what: &str,
        wanted: impl Fn(&LaneCredential) -> bool,
    ) {
        let client = translator.translator().await;
        wait_for(what, STANDING, async || {
            let status = client.status(within(CALL)).await.ok()?;
            let mut lanes = status.credentials.iter();
            let lane = lanes.find(|credential| credential.lane == self.lane)?;
            wanted(lane).then_some(())
        })
        .await;
    }

    /// Waits until work that comes over its lane is credited to it.
    pub async fn wait_until_credited(&self, translator: &Daemon) {
        let is_ours = |lane: &LaneCredential| lane.node == "berlin" && lane.until_at.is_some();
        self.wait_for_standing(translator, "the node", is_ours)
            .await;
    }

    /// Waits until its credential has ended.
    pub async fn wait_until_ended(&self, translator: &Daemon) {
        let ended = |lane: &LaneCredential| {
            lane.node == "core" && lane.reason.as_deref() == Some("the credential has ended")
        };
        self.wait_for_standing(translator, "the end", ended).await;
    }
}
