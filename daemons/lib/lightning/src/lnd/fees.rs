//! What lnd takes for routing. It sets fees together with the delay of a channel, which stays what it was.

use bitcoin::hashes::Hash;

use super::calls::{LndWallet, node_id, nonsense};
use super::message::policy::{ChannelPolicies, PolicyUpdateRequest, PolicyUpdateResponse};
use super::message::{self, path};
use crate::{Backend, ChannelFees, WalletError};

impl LndWallet {
    pub(crate) async fn set_fees(&self, fees: &ChannelFees) -> Result<(), WalletError> {
        const CALL: &str = "set the fees of a channel";
        let ChannelFees { id, base_msat, ppm } = *fees;
        let channels = self.known_channels().await?;
        let known = channels.iter().find(|known| known.id == id);
        let known = known.ok_or(WalletError::UnknownChannel {
            backend: Backend::Lnd,
            id,
        })?;
        let message = message::ChanInfoRequest {
            chan_id: known.channel.chan_id,
        };
        let edge: ChannelPolicies = self.ask(CALL, path::GET_CHAN_INFO, message).await?;
        let ours = if node_id(&edge.node1_pub)? == self.inner.node_id {
            edge.node1_policy
        } else {
            edge.node2_policy
        };
        let ours = ours.ok_or_else(|| nonsense("it has no fees of ours for it yet".to_owned()))?;
        let message = PolicyUpdateRequest {
            chan_point: Some(message::ChannelPoint {
                funding_txid: Some(message::FundingTxid::Bytes(
                    known.funding.txid.to_byte_array().to_vec(),
                )),
                output_index: known.funding.vout,
            }),
            base_fee_msat: base_msat.into(),
            time_lock_delta: ours.time_lock_delta,
            fee_rate_ppm: ppm,
        };
        let answer: PolicyUpdateResponse = self.ask(CALL, path::UPDATE_POLICY, message).await?;
        match answer.failed_updates.first() {
            None => Ok(()),
            Some(failed) => Err(nonsense(failed.update_error.clone())),
        }
    }
}
