//! The channels of the embedded node.

use std::time::Duration;

use hh_mining::Msat;
use ldk_node::lightning::ln::types::ChannelId as LdkChannelId;
use ldk_node::{BalanceDetails, ChannelDetails, LightningBalance, Node, UserChannelId};

use super::balances;
use super::calls::{CALL_LIMIT, LdkWallet, failed};
use crate::{
    Backend, Channel, ChannelId, ChannelState, CloseChannel, Htlc, OpenChannel, OpenedChannel,
    WalletError,
};

/// Between two looks at a channel that is being negotiated: it takes some messages to and fro.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What the monitor of a channel tells beside what the node does.
#[derive(Debug, Default)]
pub(super) struct Monitored {
    on_close_sats: u64,
    htlcs: Vec<Htlc>,
}

impl Monitored {
    pub(super) fn take(&mut self, balance: &LightningBalance) {
        match balance {
            LightningBalance::ClaimableOnChannelClose {
                amount_satoshis, ..
            } => self.on_close_sats = *amount_satoshis,
            LightningBalance::MaybeTimeoutClaimableHTLC {
                amount_satoshis,
                claimable_height,
                payment_hash,
                ..
            } => self.htlcs.push(Htlc {
                hash: *payment_hash,
                amount: msat(*amount_satoshis),
                expiry_height: *claimable_height,
                is_outgoing: true,
            }),
            LightningBalance::MaybePreimageClaimableHTLC {
                amount_satoshis,
                expiry_height,
                payment_hash,
                ..
            } => self.htlcs.push(Htlc {
                hash: *payment_hash,
                amount: msat(*amount_satoshis),
                expiry_height: *expiry_height,
                is_outgoing: false,
            }),
            LightningBalance::ContentiousClaimable {
                amount_satoshis,
                timeout_height,
                payment_hash,
                ..
            } => self.htlcs.push(Htlc {
                hash: *payment_hash,
                amount: msat(*amount_satoshis),
                expiry_height: *timeout_height,
                is_outgoing: false,
            }),
            LightningBalance::ClaimableAwaitingConfirmations { .. }
            | LightningBalance::CounterpartyRevokedOutputClaimable { .. } => {}
        }
    }
}

impl LdkWallet {
    pub(crate) async fn channels(&self) -> Result<Vec<Channel>, WalletError> {
        self.call("list its channels", |running| {
            open_channels(&running.node, &running.node.list_balances())
        })
        .await
    }

    pub(crate) async fn open_channel(
        &self,
        request: &OpenChannel,
    ) -> Result<OpenedChannel, WalletError> {
        const CALL: &str = "open a channel";
        if request.fee_rate.is_some() {
            return Err(WalletError::BadRequest {
                backend: Backend::Ldk,
                call: CALL,
                why: "it chooses the fee of the funding transaction itself",
            });
        }
        let request = request.clone();
        let opened = self
            .call(CALL, move |running| {
                let OpenChannel {
                    peer,
                    address,
                    capacity_sats,
                    is_public,
                    fee_rate: _,
                } = request;
                let node = &running.node;
                let opened = if is_public {
                    node.open_announced_channel(peer, address, capacity_sats, None, None)
                } else {
                    node.open_channel(peer, address, capacity_sats, None, None)
                };
                opened.map_err(|error| failed(CALL, error))
            })
            .await?;
        let funded = tokio::time::timeout(CALL_LIMIT, self.wait_until_funded(opened));
        funded.await.unwrap_or(Err(WalletError::TimedOut {
            backend: Backend::Ldk,
            call: CALL,
            seconds: CALL_LIMIT.as_secs(),
        }))
    }

    async fn wait_until_funded(&self, opened: UserChannelId) -> Result<OpenedChannel, WalletError> {
        let mut looks = tokio::time::interval(LOOK_EVERY);
        loop {
            looks.tick().await;
            let found = self
                .call("list its channels", move |running| {
                    let channels = running.node.list_channels();
                    Ok(channels
                        .into_iter()
                        .find(|channel| channel.user_channel_id == opened))
                })
                .await?;
            let Some(channel) = found else {
                return Err(WalletError::Answer {
                    backend: Backend::Ldk,
                    what: "the peer or the node itself gave the new channel up; its event says why"
                        .to_owned(),
                });
            };
            if let Some(funding) = channel.funding_txo {
                let id = ChannelId(channel.channel_id.0);
                return Ok(OpenedChannel { id, funding });
            }
        }
    }

    pub(crate) async fn close_channel(&self, request: &CloseChannel) -> Result<(), WalletError> {
        const CALL: &str = "close a channel";
        let CloseChannel { id, force } = *request;
        self.call(CALL, move |running| {
            let node = &running.node;
            let known = node
                .list_channels()
                .into_iter()
                .find(|channel| channel.channel_id == LdkChannelId(id.0));
            // It says Ok to one that it has not.
            let channel = known.ok_or(WalletError::UnknownChannel {
                backend: Backend::Ldk,
                id,
            })?;
            let peer = channel.counterparty_node_id;
            if force {
                return node
                    .force_close_channel(&channel.user_channel_id, peer, None)
                    .map_err(|error| failed(CALL, error));
            }
            let address = node
                .list_peers()
                .into_iter()
                .find(|known| known.node_id == peer)
                .map(|known| known.address);
            node.close_channel(&channel.user_channel_id, peer)
                .map_err(|error| failed(CALL, error))?;
            // With the last channel it forgets the peer at once, and a close that both sign takes some messages more.
            if let Some(address) = address
                && let Err(error) = node.connect(peer, address, true)
            {
                tracing::warn!(%error, %peer, "the peer of a closing channel is away");
            }
            Ok(())
        })
        .await
    }
}

/// The channels that the node has; what is on its way to the chain is not among them.
pub(super) fn open_channels(
    node: &Node,
    balances: &BalanceDetails,
) -> Result<Vec<Channel>, WalletError> {
    let mut monitored = balances::monitored(balances);
    let channels = node.list_channels().into_iter().map(|details| {
        let id = ChannelId(details.channel_id.0);
        channel(id, &details, monitored.remove(&id).unwrap_or_default())
    });
    Ok(channels.collect())
}

fn channel(id: ChannelId, details: &ChannelDetails, monitored: Monitored) -> Channel {
    let reserve = msat(details.unspendable_punishment_reserve.unwrap_or(0));
    let remote_reserve = msat(details.counterparty_unspendable_punishment_reserve);
    let on_close = msat(monitored.on_close_sats);
    // What can be sent plus what has to stay is ours; where nothing can be sent, less than the reserve may be there.
    let local = if details.outbound_capacity_msat > 0 {
        Msat(details.outbound_capacity_msat.saturating_add(reserve.0))
    } else {
        on_close
    };
    let remote = if details.inbound_capacity_msat > 0 {
        Msat(
            details
                .inbound_capacity_msat
                .saturating_add(remote_reserve.0),
        )
    } else {
        let capacity = msat(details.channel_value_sats);
        capacity.checked_sub(local).unwrap_or(Msat::ZERO)
    };
    Channel {
        id,
        peer: details.counterparty_node_id,
        funding: details.funding_txo,
        short_id: details.short_channel_id,
        capacity: msat(details.channel_value_sats),
        local,
        remote,
        spendable: Msat(details.next_outbound_htlc_limit_msat),
        receivable: Msat(details.inbound_capacity_msat),
        on_close,
        reserve,
        close_delay: details.force_close_spend_delay.map(u32::from),
        state: state(details),
        is_usable: details.is_usable,
        is_public: details.is_announced,
        is_ours: details.is_outbound,
        pending_htlcs: monitored.htlcs,
    }
}

/// The node says only whether it is ready. Deep enough, and with the alias that the peer sends when it is ready too, it was
/// so before.
fn state(details: &ChannelDetails) -> ChannelState {
    let is_deep = match (details.confirmations, details.confirmations_required) {
        (Some(confirmations), Some(required)) => confirmations >= required,
        _ => false,
    };
    if details.is_channel_ready {
        ChannelState::Ready
    } else if is_deep && details.inbound_scid_alias.is_some() {
        ChannelState::Closing
    } else {
        ChannelState::Opening
    }
}

/// Of a channel, whose size is that of a transaction's output: it fits.
fn msat(sats: u64) -> Msat {
    Msat::from_sats(sats).unwrap_or(Msat::MAX_MONEY)
}
