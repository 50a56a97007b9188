//! Whether, and on which chain, blocks are relayed.

use bitcoin::Network;
use serde::Deserialize;

/// Block relay between the nodes that have a session here.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RelayConfig {
    pub enabled: bool,
    /// `main`, `testnet4`, `signet` or `regtest`: how much work a block takes at least.
    #[serde(with = "bitcoin::network::as_core_arg")]
    pub chain: Network,
}

impl Default for RelayConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            chain: Network::Bitcoin,
        }
    }
}
