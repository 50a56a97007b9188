//! The node's wallet.

use bitcoin::Network;
use bitcoin::secp256k1::PublicKey;
use hh_daemon::{Failure, Mistakes, SecretRef};
use hh_lightning::config::LightningConfig;
use hh_lightning::ldk::{Bitcoind, BitcoindAuth};
use serde::Deserialize;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// An invoice that ends sooner is of no use where a channel has to be opened first; one of weeks is a claim that is forgotten.
const INVOICE_HOURS: RangeInclusive<u64> = 1..=168;

/// The `[wallet]` table.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WalletConfig {
    /// `main`, `testnet4`, `signet` or `regtest`.
    #[serde(with = "bitcoin::network::as_core_arg")]
    pub chain: Network,
    /// The Lightning node of hh-treasury, in 66 hex digits: one usable channel with it is watched for.
    pub treasury_node_id: PublicKey,
    /// An invoice is made when the node is owed so much.
    #[serde(default = "default_invoice_from_sat")]
    pub invoice_from_sat: u64,
    /// For how long an invoice can be paid.
    #[serde(default = "default_invoice_hours")]
    pub invoice_hours: u64,
    /// Whether services that the agent starts itself, as its own user, may use it too.
    #[serde(default)]
    pub shares_user: bool,
    /// One of the three Lightning nodes.
    pub lightning: LightningConfig,
    /// The Bitcoin Core that `ldk_node` asks.
    pub bitcoin: Option<BitcoinConfig>,
}

/// As hh-treasury pays, where nothing else is said there.
fn default_invoice_from_sat() -> u64 {
    10_000
}

fn default_invoice_hours() -> u64 {
    24
}

/// A Bitcoin Core, by its RPC.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BitcoinConfig {
    /// `http://HOST:PORT`.
    pub rpc_url: String,
    /// `DATADIR/[CHAIN/].cookie`; either this, or user and password.
    pub rpc_cookie_file: Option<PathBuf>,
    pub rpc_user: Option<String>,
    pub rpc_password: Option<SecretRef>,
}

impl WalletConfig {
    pub(super) fn check(&self, mistakes: &mut Mistakes) {
        self.lightning.check("wallet.lightning", mistakes);
        match (&self.bitcoin, &self.lightning.ldk_node) {
            (None, Some(_)) => {
                let what = "the Lightning node inside the agent needs a Bitcoin Core";
                let fix = "add [wallet.bitcoin] with rpc_url and rpc_cookie_file";
                mistakes.add("wallet.bitcoin", what, fix);
            }
            (Some(_), None) => {
                let what = "only the Lightning node inside the agent asks Bitcoin Core";
                mistakes.add("wallet.bitcoin", what, "remove it");
            }
            (Some(bitcoin), Some(_)) => bitcoin.check(mistakes),
            (None, None) => {}
        }
        if !INVOICE_HOURS.contains(&self.invoice_hours) {
            let (min, max) = (INVOICE_HOURS.start(), INVOICE_HOURS.end());
            let what = format!("{} h is out of range", self.invoice_hours);
            let fix = format!("write {min} to {max}");
            mistakes.add("wallet.invoice_hours", what, fix);
        }
    }

    /// The Bitcoin Core of the node inside the agent.
    ///
    /// # Errors
    /// Its password can't be read.
    pub(crate) fn bitcoind(&self) -> Result<Bitcoind, Failure> {
        let bitcoin = self.bitcoin.as_ref();
        let bitcoin = bitcoin.ok_or_else(|| Failure::config("wallet.bitcoin: there is none"))?;
        let auth = match (&bitcoin.rpc_user, &bitcoin.rpc_password) {
            (Some(user), Some(password)) => BitcoindAuth::Password {
                user: user.clone(),
                password: password.read().map_err(Failure::secret)?,
            },
            _ => BitcoindAuth::CookieFile(bitcoin.rpc_cookie_file.clone().unwrap_or_default()),
        };
        Ok(Bitcoind {
            url: bitcoin.rpc_url.clone(),
            auth,
        })
    }
}

impl BitcoinConfig {
    fn check(&self, mistakes: &mut Mistakes) {
        let has_password = self.rpc_user.is_some() && self.rpc_password.is_some();
        let has_half = self.rpc_user.is_some() != self.rpc_password.is_some();
        if has_half || has_password == self.rpc_cookie_file.is_some() {
            let what = "how to log in is not said, or said twice";
            let fix = "write rpc_cookie_file, or rpc_user and rpc_password";
            mistakes.add("wallet.bitcoin", what, fix);
        }
    }
}
