//! Core Lightning's outputs on the chain, and its transactions.

use bitcoin::{Amount, OutPoint, ScriptBuf, Txid};
use cln_rpc::model::requests;
use cln_rpc::model::responses::{ListfundsOutputs, ListfundsOutputsStatus};

use super::calls::{ClnWallet, nonsense};
use crate::{WalletError, WalletOutput, WalletTransaction};

impl ClnWallet {
    pub(crate) async fn outputs(&self) -> Result<Vec<WalletOutput>, WalletError> {
        let (_, outputs, _) = self.funds().await?;
        let unspent = outputs.iter();
        let unspent = unspent.filter(|output| output.status != ListfundsOutputsStatus::SPENT);
        unspent
            .map(output)
            .collect::<Option<_>>()
            .ok_or_else(|| nonsense("an output that is none".to_owned()))
    }

    /// It has no list of the newest ones.
    pub(crate) async fn transactions(
        &self,
        from_height: u32,
    ) -> Result<Vec<WalletTransaction>, WalletError> {
        let message = requests::ListtransactionsRequest {};
        let found = self.ask("list its transactions", &message).await?;
        let found = found.transactions.iter();
        let is_new = |height: u32| height == 0 || height >= from_height;
        let transactions = found
            .filter(|found| is_new(found.blockheight))
            .map(|found| {
                let txid = found.hash.parse::<Txid>();
                Ok(WalletTransaction {
                    txid: txid.or(Err(nonsense(format!("{:?} is no transaction", found.hash))))?,
                    height: (found.blockheight > 0).then_some(found.blockheight),
                })
            });
        transactions.collect()
    }
}

fn output(found: &ListfundsOutputs) -> Option<WalletOutput> {
    Some(WalletOutput {
        outpoint: OutPoint::new(found.txid.parse().ok()?, found.output),
        amount: Amount::from_sat(found.amount_msat.msat() / 1_000),
        script: ScriptBuf::from_hex(&found.scriptpubkey).ok()?,
        height: found.blockheight,
        is_immature: found.status == ListfundsOutputsStatus::IMMATURE,
        is_reserved: found.reserved,
    })
}
