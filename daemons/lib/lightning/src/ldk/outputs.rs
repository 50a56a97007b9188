//! What the embedded node took part in on the chain. It tells sums of its outputs and not the outputs.

use ldk_node::payment::{ConfirmationStatus, PaymentKind};

use super::calls::{LdkWallet, unsupported};
use crate::{WalletError, WalletOutput, WalletTransaction};

impl LdkWallet {
    #[expect(clippy::unused_async, reason = "the other wallets have to ask")]
    pub(crate) async fn outputs(&self) -> Result<Vec<WalletOutput>, WalletError> {
        let why = self.capabilities().lists_outputs;
        Err(unsupported("list its outputs", why))
    }

    pub(crate) async fn transactions(
        &self,
        from_height: u32,
    ) -> Result<Vec<WalletTransaction>, WalletError> {
        self.call("list its transactions", move |running| {
            let payments = running.node.list_payments();
            let transactions = payments.iter().filter_map(|payment| match &payment.kind {
                PaymentKind::Onchain { txid, status } => Some(WalletTransaction {
                    txid: *txid,
                    height: match status {
                        ConfirmationStatus::Confirmed { height, .. } => Some(*height),
                        ConfirmationStatus::Unconfirmed => None,
                    },
                }),
                _ => None,
            });
            let is_new = |transaction: &WalletTransaction| {
                transaction
                    .height
                    .is_none_or(|height| height >= from_height)
            };
            Ok(transactions.filter(is_new).collect())
        })
        .await
    }
}
