//! What Core Lightning takes for routing.

use cln_rpc::model::requests;
use cln_rpc::primitives::Amount;

use super::calls::ClnWallet;
use crate::{Backend, ChannelFees, WalletError};

impl ClnWallet {
    pub(crate) async fn set_fees(&self, fees: &ChannelFees) -> Result<(), WalletError> {
        let ChannelFees { id, base_msat, ppm } = *fees;
        let channels = self.channels().await?;
        if !channels.iter().any(|channel| channel.id == id) {
            return Err(WalletError::UnknownChannel {
                backend: Backend::Cln,
                id,
            });
        }
        let message = requests::SetchannelRequest {
            id: id.to_string(),
            feebase: Some(Amount::from_msat(base_msat.into())),
            feeppm: Some(ppm),
            enforcedelay: None,
            htlcmax: None,
            htlcmin: None,
            ignorefeelimits: None,
        };
        self.ask("set the fees of a channel", &message).await?;
        Ok(())
    }
}
