//! lnd's money.
//!
//! Its balance leaves out coinbases that are not mature, and does not tell the change of its own transactions from what strangers
//! have sent and may take back: both are read from its newest transactions.

use std::collections::BTreeSet;

use bitcoin::{Amount, OutPoint};
use hh_mining::Msat;

use super::calls::{LndWallet, nonsense};
use super::channels::{channel_point, open_channel, pending_channel, sats};
use super::message::{self, path};
use crate::{Balances, Channel, ChannelState, Closing, WalletError};

/// Confirmations from which on a coinbase can be spent (Bitcoin's consensus).
const MATURE_AT: i32 = 100;

impl LndWallet {
    pub(crate) async fn balances(&self) -> Result<Balances, WalletError> {
        let onchain: message::WalletBalanceResponse = self
            .ask("tell what it has", path::WALLET_BALANCE, message::Empty {})
            .await?;
        let recent = self.recent_transactions().await?;
        let pending = self.pending().await?;
        let mut channels: Vec<Channel> = self
            .known_channels()
            .await?
            .iter()
            .map(open_channel)
            .collect();
        let opening = pending.pending_open_channels.iter();
        for channel in opening.filter_map(|opening| opening.channel.as_ref()) {
            channels.push(pending_channel(channel, ChannelState::Opening)?);
        }
        let free = |channel: &Channel| {
            let left = channel.on_close.checked_sub(channel.reserve);
            left.unwrap_or(Msat::ZERO)
        };
        let too_much = || nonsense("its channels hold more than all the money there is".to_owned());
        let reserve = sats(onchain.reserved_balance_anchor_chan);
        let immature = immature(&recent);
        Ok(Balances {
            onchain_total: Amount::from_sat(sats(onchain.total_balance).saturating_add(immature)),
            // What is reserved for a transaction that is being made is not among it.
            onchain_spendable: Amount::from_sat(
                sats(onchain.confirmed_balance).saturating_sub(reserve),
            ),
            onchain_change: Amount::from_sat(change(&recent)),
            onchain_immature: Amount::from_sat(immature),
            anchor_reserve: Amount::from_sat(reserve),
            in_channels: channels
                .iter()
                .map(|channel| channel.local)
                .sum::<Option<Msat>>()
                .ok_or_else(too_much)?,
            in_channels_free: channels
                .iter()
                .map(free)
                .sum::<Option<Msat>>()
                .ok_or_else(too_much)?,
            closing: closing(&pending)?,
        })
    }

    /// Those that are not confirmed, or not so deep that a coinbase could be spent.
    async fn recent_transactions(&self) -> Result<Vec<message::Transaction>, WalletError> {
        let height = i32::try_from(self.get_info().await?.block_height).unwrap_or(i32::MAX);
        let message = message::GetTransactionsRequest {
            start_height: height.saturating_sub(MATURE_AT).max(0),
            end_height: -1,
        };
        let answer: message::TransactionDetails = self
            .ask("list its transactions", path::GET_TRANSACTIONS, message)
            .await?;
        Ok(answer.transactions)
    }
}

/// What coinbases pay us that are not mature, in satoshi.
fn immature(recent: &[message::Transaction]) -> u64 {
    let coinbases = recent.iter().filter(|transaction| {
        (1..MATURE_AT).contains(&transaction.num_confirmations) && is_coinbase(transaction)
    });
    let ours = coinbases.flat_map(|transaction| &transaction.output_details);
    let ours = ours.filter(|output| output.is_our_address);
    ours.fold(0, |sum, output| sum.saturating_add(sats(output.amount)))
}

/// It spends nothing.
fn is_coinbase(transaction: &message::Transaction) -> bool {
    let spent = &transaction.previous_outpoints;
    spent
        .iter()
        .all(|spent| spent.outpoint.parse() == Ok(OutPoint::null()))
}

/// Outputs of transactions that nobody but us can have made, before they are confirmed, in satoshi; not what another of these
/// has spent again.
fn change(recent: &[message::Transaction]) -> u64 {
    let unconfirmed = || {
        let transactions = recent.iter();
        transactions.filter(|transaction| transaction.num_confirmations == 0)
    };
    let spent: BTreeSet<&str> = unconfirmed()
        .flat_map(|transaction| &transaction.previous_outpoints)
        .map(|spent| spent.outpoint.as_str())
        .collect();
    let mut sum = 0_u64;
    for transaction in unconfirmed() {
        let from = &transaction.previous_outpoints;
        if from.is_empty() || !from.iter().all(|spent| spent.is_our_output) {
            continue;
        }
        for output in &transaction.output_details {
            let outpoint = format!("{}:{}", transaction.tx_hash, output.output_index);
            if output.is_our_address && !spent.contains(outpoint.as_str()) {
                sum = sum.saturating_add(sats(output.amount));
            }
        }
    }
    sum
}

fn closing(pending: &message::PendingChannelsResponse) -> Result<Vec<Closing>, WalletError> {
    let waiting = pending
        .waiting_close_channels
        .iter()
        .map(|waiting| (&waiting.channel, waiting.limbo_balance, 0));
    let forced = pending.pending_force_closing_channels.iter().map(|forced| {
        (
            &forced.channel,
            forced.limbo_balance,
            forced.maturity_height,
        )
    });
    let all = waiting.chain(forced).map(|(channel, limbo, height)| {
        let channel = channel.as_ref().map(|channel| &channel.channel_point);
        Ok(Closing {
            channel: match channel {
                Some(point) => Some(channel_point(point)?.0),
                None => None,
            },
            amount: Amount::from_sat(sats(limbo)),
            from_height: (height > 0).then_some(height),
            // It does not tell what of it is in payments that were on their way.
            is_contested: false,
        })
    });
    all.collect()
}
