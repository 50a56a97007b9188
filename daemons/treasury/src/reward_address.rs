//! Where blocks of ours pay: the address that the configuration names, else one of the wallet's, made at the first start and kept
//! in a file, so that a restart changes nothing for the pool.

use crate::config::TreasuryConfig;
use bitcoin::address::{Address, NetworkUnchecked};
use hh_daemon::Failure;
use hh_lightning::Wallet;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

/// The file in `data_dir`: the address in a line.
const FILE: &str = "reward-address";

#[derive(Debug, thiserror::Error)]
pub(crate) enum RewardAddressError {
    #[error("could not {action} the reward address in {}", path.display())]
    File {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// Guessing another one would leave what was paid to the one that was there to nobody.
    #[error("{} holds no address of the chain: write the pool's coinbase_reward_address into it", path.display())]
    Unreadable { path: PathBuf },
}

/// The address that blocks pay now.
///
/// # Errors
/// The wallet gives no address, or the file can't be read or written.
pub(crate) async fn reward_address(
    config: &TreasuryConfig,
    wallet: &Wallet,
) -> Result<Address, Failure> {
    if let Some(address) = &config.coinbase_reward_address {
        // The configuration was checked when it was read.
        return address
            .clone()
            .require_network(config.chain)
            .map_err(Failure::config);
    }
    let path = config.data_dir.join(FILE);
    match fs::read_to_string(&path) {
        Ok(text) => {
            let address = text.trim().parse::<Address<NetworkUnchecked>>().ok();
            let address = address.and_then(|address| address.require_network(config.chain).ok());
            Ok(address
                .ok_or(RewardAddressError::Unreadable { path })
                .map_err(Failure::config)?)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let address = wallet.new_address().await.map_err(Failure::unavailable)?;
            keep(&address, path)?;
            tracing::info!(%address, "an address of the wallet is where blocks have to pay");
            Ok(address)
        }
        Err(source) => {
            let action = "read";
            Err(Failure::config(RewardAddressError::File {
                action,
                path,
                source,
            }))
        }
    }
}

/// On the disk before anybody is told of it.
fn keep(address: &Address, path: PathBuf) -> Result<(), Failure> {
    let new = path.with_extension("new");
    let write = || {
        let mut file = fs::File::create(&new)?;
        writeln!(file, "{address}")?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        fs::File::open(path.parent().unwrap_or(&path))?.sync_all()
    };
    write().map_err(|source| {
        let action = "write";
        Failure::config(RewardAddressError::File {
            action,
            path: path.clone(),
            source,
        })
    })
}
