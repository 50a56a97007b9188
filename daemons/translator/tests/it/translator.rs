//! The daemon, in this process, with its sockets in a folder of the test's.

use crate::DEADLINE;
use crate::miner::Miner;
use crate::pool::{Pool, PoolConnection};
use hh_daemon::ban::AutoBan;
use hh_daemon::{Context, ProxyProtocol, SecretRef, Settings};
use hh_ipc::api::translator::{TranslatorClient, TranslatorStatus};
use hh_sv2::{AuthorityPublicKey, AuthoritySecretKey};
use hh_translator::config::{
    LaneConfig, LaneProtocol, LimitsConfig, TranslatorConfig, UpstreamConfig,
};
use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;

/// How often the status is asked for while a test waits for one: nobody is told when it changes. The one sleep of these tests.
const LOOK: Duration = Duration::from_millis(20);

pub(crate) struct Translator {
    pub(crate) address: SocketAddr,
    context: Context,
    client: TranslatorClient,
    dir: TempDir,
}

impl Translator {
    /// With `pool` as its upstream.
    pub(crate) async fn start(pool: &Pool) -> Self {
        Self::start_with(pool.address(), pool.public_key()).await
    }

    /// With `pool` as its upstream, behind a proxy on this machine.
    pub(crate) async fn start_proxied(pool: &Pool) -> Self {
        Self::start_as(pool, |config| {
            config.proxy_protocol = ProxyProtocol {
                from: vec!["127.0.0.0/8".parse().unwrap()],
            };
        })
        .await
    }

    pub(crate) async fn start_with(
        upstream: SocketAddr,
        authority_public_key: AuthorityPublicKey,
    ) -> Self {
        Self::run(config(upstream, authority_public_key)).await
    }

    /// With `pool` as its upstream, and what else a test wants of the configuration.
    pub(crate) async fn start_as(pool: &Pool, change: impl FnOnce(&mut TranslatorConfig)) -> Self {
        let mut config = config(pool.address(), pool.public_key());
        change(&mut config);
        Self::run(config).await
    }

    /// With a lane for SV2 miners in the place of the other.
    pub(crate) async fn start_sv2(pool: &Pool, change: impl FnOnce(&mut TranslatorConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("authority.key");
        let secret = AuthoritySecretKey::generate().to_secret_hex();
        std::fs::write(&file, secret).unwrap();
        std::fs::set_permissions(&file, Permissions::from_mode(0o600)).unwrap();
        Self::start_as(pool, |config| {
            config.lanes[0].protocol = LaneProtocol::Sv2;
            config.authority_secret_key = Some(SecretRef::File(file));
            change(config);
        })
        .await
    }

    /// With `pools` as its upstreams, the first one preferred, and back to it as soon as it is there.
    pub(crate) async fn start_with_all(pools: &[&Pool]) -> Self {
        Self::start_as(pools[0], |config| {
            config.return_after_seconds = 0;
            config.upstreams = pools.iter().map(|pool| upstream_config(pool)).collect();
        })
        .await
    }

    async fn run(mut config: TranslatorConfig) -> Self {
        let dir = tempfile::tempdir().unwrap();
        config.data_dir = dir.path().to_owned();
        let settings = Settings {
            runtime_dir: dir.path().to_owned(),
            ..Settings::default()
        };
        let context = Context::new("hh-translator", "0.0.0", settings);
        hh_translator::start(config, context.clone()).await.unwrap();
        let socket = dir.path().join("hh-translator").join("view.sock");
        let client = hh_ipc::client::translator(hh_ipc::client::dial(&socket).await.unwrap());
        let status = client
            .status(hh_ipc::client::within(DEADLINE))
            .await
            .unwrap();
        Self {
            address: status.lanes[0].listen_address.parse().unwrap(),
            context,
            client,
            dir,
        }
    }

    pub(crate) async fn miner(&self) -> Miner {
        Miner::connect(self.address).await
    }

    /// A miner that has its first job, with that, on the channel that the pool opens next.
    pub(crate) async fn mining(
        &self,
        pool: &mut PoolConnection,
        user_name: &str,
    ) -> (Miner, serde_json::Value) {
        let mut miner = self.miner().await;
        miner.begin(user_name).await;
        pool.open().await;
        miner.authorized().await;
        let notify = miner.notify().await;
        (miner, notify)
    }

    pub(crate) async fn status(&self) -> TranslatorStatus {
        self.client
            .status(hh_ipc::client::within(DEADLINE))
            .await
            .unwrap()
    }

    /// Asks for the status until it is as wanted.
    pub(crate) async fn wait_for_status(
        &self,
        what: &str,
        wanted: impl Fn(&TranslatorStatus) -> bool,
    ) -> TranslatorStatus {
        let asking = async {
            loop {
                let status = self.status().await;
                if wanted(&status) {
                    return status;
                }
                tokio::time::sleep(LOOK).await;
            }
        };
        tokio::time::timeout(DEADLINE, asking)
            .await
            .unwrap_or_else(|_elapsed| panic!("in vain for: {what}"))
    }

    /// A client that may change something.
    pub(crate) async fn control(&self) -> TranslatorClient {
        let socket = self.dir().join("hh-translator").join("control.sock");
        hh_ipc::client::translator(hh_ipc::client::dial(&socket).await.unwrap())
    }

    /// A client that may look.
    pub(crate) fn view(&self) -> &TranslatorClient {
        &self.client
    }

    /// Where its sockets and its journal are.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) async fn stop(self) {
        self.context.tasks.shutdown(DEADLINE).await.unwrap();
    }
}

pub(crate) fn upstream_config(pool: &Pool) -> UpstreamConfig {
    UpstreamConfig {
        address: pool.address().to_string(),
        authority_public_key: pool.public_key(),
    }
}

/// One plain lane.
fn config(upstream: SocketAddr, authority_public_key: AuthorityPublicKey) -> TranslatorConfig {
    TranslatorConfig {
        data_dir: PathBuf::new(),
        lanes: vec![LaneConfig {
            nominal_hashrate_hs: 1e9,
            ..LaneConfig::new("main", "127.0.0.1:0".parse().unwrap())
        }],
        upstreams: vec![UpstreamConfig {
            address: upstream.to_string(),
            authority_public_key,
        }],
        return_after_seconds: 60,
        credential: None,
        limits: LimitsConfig::default(),
        proxy_protocol: ProxyProtocol::default(),
        auto_ban: AutoBan::default(),
        authority_secret_key: None,
    }
}
