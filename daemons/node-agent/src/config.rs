//! hh-node-agent's configuration.

mod config_file;
mod service;
mod wallet;

pub use config_file::ConfigFileConfig;
pub(crate) use service::STOP_SECONDS_MAX;
pub use service::ServiceConfig;
pub use wallet::{BitcoinConfig, WalletConfig};

use hh_bitcoin::NodeConfig;
use hh_daemon::{Mistakes, SecretRef};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

/// The file `hh-node-agent.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentConfig {
    /// The node's identity, its journal, its spool, and the logs of its services. It is made by hand or by the service manager.
    #[serde(default = "default_data_dir")]
    pub data_dir: PathBuf,
    /// What core may order here; it belongs to root.
    #[serde(default = "default_policy_file")]
    pub policy_file: PathBuf,
    /// With the token of `hhctl token create`: where it is there, the node enrols with it, and it is removed.
    #[serde(default = "default_token_file")]
    pub token_file: PathBuf,
    /// The Ed25519 key by which pools know the node (`hhctl node key generate`); where it is not given the agent makes one.
    #[serde(default)]
    pub node_key: Option<SecretRef>,
    /// Whether new blocks go to and from `bitcoin`, by way of core.
    #[serde(default = "yes")]
    pub relay_blocks: bool,
    /// The node's Bitcoin Core, if it has one.
    #[serde(default)]
    pub bitcoin: Option<NodeConfig>,
    #[serde(default)]
    pub services: Vec<ServiceConfig>,
    /// Configurations of services that core may change, as far as the policy allows it.
    #[serde(default)]
    pub config_files: Vec<ConfigFileConfig>,
    /// The node's wallet, which makes invoices for its dues.
    #[serde(default)]
    pub wallet: Option<WalletConfig>,
}

fn default_data_dir() -> PathBuf {
    PathBuf::from("/var/lib/hyperhash/hh-node-agent")
}

fn yes() -> bool {
    true
}

fn default_policy_file() -> PathBuf {
    PathBuf::from("/etc/hyperhash/node-policy.toml")
}

fn default_token_file() -> PathBuf {
    PathBuf::from("/etc/hyperhash/node.token")
}

impl hh_daemon::Config for AgentConfig {
    /// All services stop at once, the slowest of them by SIGKILL.
    const GRACE: Duration = Duration::from_secs(STOP_SECONDS_MAX + 15);

    fn check(&self, mistakes: &mut Mistakes) {
        for (key, path) in [
            ("data_dir", &self.data_dir),
            ("policy_file", &self.policy_file),
            ("token_file", &self.token_file),
        ] {
            if !path.is_absolute() {
                mistakes.add(key, "not an absolute path", "start it with a slash");
            }
        }
        if let Some(Err(error)) = self.bitcoin.as_ref().map(NodeConfig::rpc) {
            let fix = "write `rpc_url`, and `rpc_cookie_file` or `rpc_user` and `rpc_password`";
            mistakes.add("bitcoin", error.to_string(), fix);
        }
        let mut names = BTreeSet::new();
        for (index, service) in self.services.iter().enumerate() {
            service.check(index, mistakes);
            if !names.insert(&service.name) {
                let what = format!("the name {} is taken", service.name);
                let fix = "give each service a name of its own";
                mistakes.add(format!("services.{index}.name"), what, fix);
            }
        }
        let mut configured = BTreeSet::new();
        for (index, file) in self.config_files.iter().enumerate() {
            file.check(index, mistakes);
            if !configured.insert(&file.service) {
                let what = format!("the service {} has one already", file.service);
                let key = format!("config_files.{index}.service");
                mistakes.add(key, what, "give each service one file");
            }
        }
        if let Some(wallet) = &self.wallet {
            wallet.check(mistakes);
            if !wallet.shares_user && !self.services.is_empty() {
                let what =
                    "[[services]] are of the agent's user: one that is broken into has the wallet";
                let fix = "run it as a unit of systemd, of another user, which node-policy.toml names; or write shares_user = true";
                mistakes.add("wallet.shares_user", what, fix);
            }
        }
        if self.services.len() > hh_ipc::agent::MAX_SERVICES {
            let fix = format!("at most {} are looked after", hh_ipc::agent::MAX_SERVICES);
            mistakes.add("services", "too many", fix);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hh_daemon::ConfigError;
    use std::path::Path;

    #[test]
    fn the_examples_are_a_valid_configuration_and_policy() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (_, config) = hh_daemon::load::<AgentConfig>(&dir.join("config.example.toml")).unwrap();
        let policy = std::fs::read_to_string(dir.join("policy.example.toml")).unwrap();
        let policy: hh_trust::local_policy::LocalPolicy = toml::from_str(&policy).unwrap();
        assert!(policy.services.contains_key(&config.services[0].name));
        assert!(config.relay_blocks && config.bitcoin.is_none());
    }

    #[test]
    fn every_mistake_is_named_with_its_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hh-node-agent.toml");
        let text = "data_dir = \"here\"\npolicy_file = \"p\"\n\
            [[services]]\nname = \"a\"\ncommand = [\"sh\"]\nstop_seconds = 0\n\
            [[services]]\nname = \"a\"\ncommand = [\"/bin/x\"]\nworking_dir = \"y\"\n\
            [bitcoin]\nrpc_url = \"http://127.0.0.1:8332\"\n";
        std::fs::write(&path, text).unwrap();
        let error = hh_daemon::load::<AgentConfig>(&path).unwrap_err();
        let ConfigError::Mistakes(mistakes) = error else {
            panic!("{error}");
        };
        let text = mistakes.to_string();
        for expected in [
            "data_dir: not an absolute path",
            "policy_file: not an absolute path",
            "services.0.command: the program is not named by an absolute path",
            "services.0.stop_seconds: out of range",
            "services.1.name: the name a is taken",
            "services.1.working_dir: not an absolute path",
            "bitcoin: node http://127.0.0.1:8332: give either rpc_cookie_file",
        ] {
            assert!(text.contains(expected), "{expected} is not in\n{text}");
        }
        let text = "[[config_files]]\nservice = \"a\"\nfile = \"a.toml\"\ncheck = []\n";
        std::fs::write(&path, text).unwrap();
        let error = hh_daemon::load::<AgentConfig>(&path)
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("config_files.0.file: not an absolute path"),
            "{error}"
        );
        assert!(error.contains("config_files.0.check"), "{error}");
        let text = "[wallet]\nchain = \"signet\"\ninvoice_hours = 0\n\
            treasury_node_id = \"02eec7245d6b7d2ccb30380bfbe2a3648cd7a942653f5aa340edcea1f283686619\"\n\
            [wallet.lightning.ldk_node]\nseed = \"file:/seed\"\n";
        std::fs::write(&path, text).unwrap();
        let error = hh_daemon::load::<AgentConfig>(&path)
            .unwrap_err()
            .to_string();
        assert!(error.contains("wallet.invoice_hours"), "{error}");
        assert!(error.contains("wallet.bitcoin: the Lightning"), "{error}");
        let names = ["\"a b\"", "\"../x\"", "\"x.service; rm\"", "\"-h\"", "\"\""];
        for name in names {
            let text = format!("[[services]]\nname = {name}\ncommand = [\"/bin/x\"]\n");
            std::fs::write(&path, text).unwrap();
            hh_daemon::load::<AgentConfig>(&path).unwrap_err();
        }
    }

    #[test]
    fn a_wallet_shares_its_user_with_no_service_unless_that_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("hh-node-agent.toml");
        let has_mistake = |services: &str, shares: &str| {
            let text = format!(
                "{services}[wallet]\n{shares}chain = \"signet\"\n\
                 treasury_node_id = \"02eec7245d6b7d2ccb30380bfbe2a3648cd7a942653f5aa340edcea1f283686619\"\n\
                 [wallet.lightning.cln]\nsocket = \"/x/lightning-rpc\"\n"
            );
            std::fs::write(&path, text).unwrap();
            let loaded = hh_daemon::load::<AgentConfig>(&path);
            loaded.is_err_and(|error| error.to_string().contains("wallet.shares_user"))
        };
        let service = "[[services]]\nname = \"a\"\ncommand = [\"/bin/x\"]\n";
        assert!(has_mistake(service, ""));
        assert!(!has_mistake(service, "shares_user = true\n"));
        assert!(!has_mistake("", ""));
    }
}
