//! The answers to `channels`, `open_channel` and `close_channel`.

use super::{Control, refusal};
use crate::closing::ForceClose;
use crate::lightning::parse_peer;
use hh_daemon::Caller;
use hh_ipc::ApiError;
use hh_ipc::api::treasury::{
    Channel, ChannelCloseRequest, ChannelFeesRequest, ChannelOpenRequest, ChannelState,
    ForceCloseCost, Htlc,
};
use hh_lightning::{ChannelFees, CloseChannel, OpenChannel};
use serde_json::json;

impl Control {
    pub(super) async fn channels(&self) -> Result<Vec<Channel>, ApiError> {
        let channels = self.stores.wallet.wallet().channels().await;
        let channels = self
            .stores
            .wallet
            .noted(channels)
            .map_err(refusal::wallet)?;
        let height = self.tip.borrow().as_ref().map(|tip| tip.height);
        Ok(channels
            .iter()
            .map(|channel| wire(channel, height))
            .collect())
    }

    async fn channel(&self, id: &str) -> Result<Channel, ApiError> {
        let mut channels = self.channels().await?.into_iter();
        let found = channels.find(|channel| channel.id == id);
        found.ok_or_else(|| refusal::not_found(format!("there is no channel {id}")))
    }

    pub(super) async fn open_channel(
        &self,
        caller: &Caller,
        request: ChannelOpenRequest,
    ) -> Result<Channel, ApiError> {
        caller.may_change()?;
        let arguments = json!(request);
        let (peer, address) = parse_peer(&request.peer).map_err(|error| refusal::wrong(&error))?;
        if request.dry_run {
            return self.planned_channel(&request, peer.to_string()).await;
        }
        let open = async {
            let wanted = OpenChannel {
                peer,
                address,
                capacity_sats: request.capacity_sat,
                is_public: request.is_public,
                fee_rate: None,
            };
            let opened = self.stores.wallet.wallet().open_channel(&wanted).await;
            let opened = self.stores.wallet.noted(opened).map_err(refusal::wallet)?;
            tracing::info!(id = %opened.id, %peer, capacity_sat = request.capacity_sat, "channel opened");
            self.channel(&opened.id.to_string()).await
        };
        self.change(caller, "ln.channel.open", arguments, open)
            .await
    }

    /// What it would be: whether there is the money for it.
    async fn planned_channel(
        &self,
        request: &ChannelOpenRequest,
        peer: String,
    ) -> Result<Channel, ApiError> {
        let seen = self.audit.seen().await.map_err(refusal::wallet)?;
        let spendable_sat = seen.balances.onchain_spendable.to_sat();
        if spendable_sat < request.capacity_sat {
            let message = format!(
                "the wallet has {spendable_sat} sat to spend on the chain, less than the {} sat of the channel",
                request.capacity_sat
            );
            return Err(refusal::not_now(message));
        }
        let local_msat = request.capacity_sat.saturating_mul(1_000);
        Ok(Channel {
            id: String::new(),
            peer,
            state: ChannelState::Opening,
            is_public: request.is_public,
            capacity_sat: request.capacity_sat,
            local_msat,
            remote_msat: 0,
            spendable_msat: 0,
            receivable_msat: 0,
            htlcs: Vec::new(),
            cost_msat: None,
            force_close: None,
        })
    }

    pub(super) async fn set_channel_fees(
        &self,
        caller: &Caller,
        request: ChannelFeesRequest,
    ) -> Result<Channel, ApiError> {
        caller.may_change()?;
        let arguments = json!(request);
        let id = request.id.parse();
        let fees = ChannelFees {
            id: id.map_err(|error| refusal::wrong(&error))?,
            base_msat: request.base_msat,
            ppm: request.ppm,
        };
        let channel = self.channel(&request.id).await?;
        let set = async {
            let set = self.stores.wallet.wallet().set_fees(&fees).await;
            self.stores.wallet.noted(set).map_err(refusal::wallet)?;
            tracing::info!(id = %fees.id, fees.base_msat, fees.ppm, "fees of a channel set");
            Ok(channel)
        };
        self.change(caller, "ln.channel.fees", arguments, set).await
    }

    pub(super) async fn close_channel(
        &self,
        caller: &Caller,
        request: ChannelCloseRequest,
    ) -> Result<Channel, ApiError> {
        caller.may_change()?;
        let arguments = json!(request);
        let id = request.id.parse();
        let id = id.map_err(|error| refusal::wrong(&error))?;
        let channel = self.channel(&request.id).await?;
        if request.dry_run {
            return self.planned_close(channel, request.is_forced).await;
        }
        let close = async {
            let wanted = CloseChannel {
                id,
                force: request.is_forced,
            };
            let closed = self.stores.wallet.wallet().close_channel(&wanted).await;
            self.stores.wallet.noted(closed).map_err(refusal::wallet)?;
            tracing::warn!(%id, is_forced = request.is_forced, "channel is being closed");
            Ok(Channel {
                state: ChannelState::Closing,
                ..channel
            })
        };
        self.change(caller, "ln.channel.close", arguments, close)
            .await
    }
}

impl Control {
    /// What it would cost: together with the peer the fee of the commitment transaction, where that is ours to pay, is as good a guess
    /// as any; by force there is more to it.
    async fn planned_close(&self, channel: Channel, is_forced: bool) -> Result<Channel, ApiError> {
        let seen = self.audit.seen().await.map_err(refusal::wallet)?;
        let mut channels = seen.channels.iter();
        let known = channels.find(|known| known.id.to_string() == channel.id);
        let Some(known) = known else {
            return Ok(channel);
        };
        if !is_forced {
            let cost = known.local.0.saturating_sub(known.on_close.0);
            return Ok(Channel {
                cost_msat: Some(cost),
                ..channel
            });
        }
        let close = ForceClose::of(known, self.nodes.fee_rate().await);
        Ok(Channel {
            cost_msat: Some(close.cost().0),
            force_close: Some(wire_close(&close)),
            ..channel
        })
    }
}

fn wire_close(close: &ForceClose) -> ForceCloseCost {
    ForceCloseCost {
        // A thousand units of weight are a quarter of a thousand virtual bytes.
        fee_rate_sat_per_kvb: close.fee_rate.to_sat_per_kwu().saturating_mul(4),
        is_estimated: close.is_estimated,
        commitment_fee_msat: close.commitment.0,
        bump_fee_msat: close.bump.0,
        sweep_fee_msat: close.sweep.0,
        htlc_fee_msat: close.htlcs.0,
        htlcs: close.htlc_count,
        returned_msat: close.returned.0,
        delay_blocks: close.delay,
    }
}

fn wire(channel: &hh_lightning::Channel, height: Option<u32>) -> Channel {
    let htlc = |htlc: &hh_lightning::Htlc| Htlc {
        payment_hash: hex::encode(htlc.hash.0),
        amount_msat: htlc.amount.0,
        is_outgoing: htlc.is_outgoing,
        expires_in_blocks: height.map(|height| htlc.expiry_height.saturating_sub(height)),
    };
    Channel {
        id: channel.id.to_string(),
        peer: channel.peer.to_string(),
        state: match channel.state {
            hh_lightning::ChannelState::Opening => ChannelState::Opening,
            hh_lightning::ChannelState::Ready if channel.is_usable => ChannelState::Usable,
            hh_lightning::ChannelState::Ready => ChannelState::Offline,
            hh_lightning::ChannelState::Closing => ChannelState::Closing,
        },
        is_public: channel.is_public,
        capacity_sat: channel.capacity.0 / 1_000,
        local_msat: channel.local.0,
        remote_msat: channel.remote.0,
        spendable_msat: channel.spendable.0,
        receivable_msat: channel.receivable.0,
        htlcs: channel.pending_htlcs.iter().map(htlc).collect(),
        cost_msat: None,
        force_close: None,
    }
}
