//! lnd's outputs on the chain, and its transactions.

use bitcoin::{Amount, OutPoint, ScriptBuf, Txid};

use super::calls::{LndWallet, nonsense};
use super::channels::sats;
use super::message::onchain::{ListUnspentRequest, ListUnspentResponse, Utxo};
use super::message::{self, path};
use crate::{WalletError, WalletOutput, WalletTransaction};

impl LndWallet {
    /// It leaves out coinbases that are not mature, and what it keeps for a transaction that is being made.
    pub(crate) async fn outputs(&self) -> Result<Vec<WalletOutput>, WalletError> {
        let height = self.get_info().await?.block_height;
        let message = ListUnspentRequest {
            min_confs: 0,
            max_confs: i32::MAX,
        };
        let answer: ListUnspentResponse = self
            .ask("list its outputs", path::LIST_UNSPENT, message)
            .await?;
        let outputs = answer.utxos.iter().map(|utxo| output(utxo, height));
        outputs
            .collect::<Option<_>>()
            .ok_or_else(|| nonsense("an output that is none".to_owned()))
    }

    pub(crate) async fn transactions(
        &self,
        from_height: u32,
    ) -> Result<Vec<WalletTransaction>, WalletError> {
        let message = message::GetTransactionsRequest {
            start_height: i32::try_from(from_height).unwrap_or(i32::MAX),
            end_height: -1,
        };
        let answer: message::TransactionDetails = self
            .ask("list its transactions", path::GET_TRANSACTIONS, message)
            .await?;
        let transaction = |found: &message::Transaction| {
            let txid: Option<Txid> = found.tx_hash.parse().ok();
            let txid =
                txid.ok_or_else(|| nonsense(format!("{:?} is no transaction", found.tx_hash)));
            let height = u32::try_from(found.block_height).ok();
            Ok(WalletTransaction {
                txid: txid?,
                height: height.filter(|height| *height > 0),
            })
        };
        answer.transactions.iter().map(transaction).collect()
    }
}

fn output(utxo: &Utxo, height: u32) -> Option<WalletOutput> {
    let outpoint = utxo.outpoint.as_ref()?;
    let confirmations = u32::try_from(utxo.confirmations).ok()?;
    Some(WalletOutput {
        outpoint: OutPoint::new(outpoint.txid_str.parse().ok()?, outpoint.output_index),
        amount: Amount::from_sat(sats(utxo.amount_sat)),
        script: ScriptBuf::from_hex(&utxo.pk_script).ok()?,
        height: (confirmations > 0).then(|| (height + 1).saturating_sub(confirmations)),
        is_immature: false,
        is_reserved: false,
    })
}
