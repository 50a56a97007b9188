//! What the embedded node takes for routing.

use ldk_node::lightning::ln::types::ChannelId as LdkChannelId;

use super::calls::{LdkWallet, failed};
use crate::{Backend, ChannelFees, WalletError};

impl LdkWallet {
    pub(crate) async fn set_fees(&self, fees: &ChannelFees) -> Result<(), WalletError> {
        const CALL: &str = "set the fees of a channel";
        let ChannelFees { id, base_msat, ppm } = *fees;
        self.call(CALL, move |running| {
            let node = &running.node;
            let mut channels = node.list_channels().into_iter();
            let known = channels.find(|channel| channel.channel_id == LdkChannelId(id.0));
            let channel = known.ok_or(WalletError::UnknownChannel {
                backend: Backend::Ldk,
                id,
            })?;
            let mut config = channel.config;
            config.forwarding_fee_base_msat = base_msat;
            config.forwarding_fee_proportional_millionths = ppm;
            let peer = channel.counterparty_node_id;
            node.update_channel_config(&channel.user_channel_id, peer, config)
                .map_err(|error| failed(CALL, error))
        })
        .await
    }
}
