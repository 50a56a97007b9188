//! What is done with the node's wallet.

use super::{End, Worker, chain, no_wallet};
use crate::wallet::{Spend, SpendError, WalletHandle};
use hh_mining::Msat;
use hh_trust::command::Command;
use hh_trust::command_result::Outcome;
use std::time::Duration;

/// An invoice that core asks for can be paid for so long.
const INVOICE_LIFE: Duration = Duration::from_secs(24 * 3_600);

impl Worker {
    pub(super) async fn of_wallet(&self, wallet: &WalletHandle, command: &Command) -> End {
        match command {
            Command::WalletRead {} => match wallet.in_words() {
                Ok(words) => End::ok(words),
                Err(error) => End::failed("wallet-away", chain(&error)),
            },
            Command::WalletInvoice {
                amount_msat,
                description,
            } => {
                self.invoice(wallet, Msat(*amount_msat), description.clone())
                    .await
            }
            Command::WalletSpend {
                destination,
                amount_msat,
                fee_msat_max,
            } => {
                let spend = Spend {
                    invoice: destination,
                    amount: Msat(*amount_msat),
                    max_fee: Msat(*fee_msat_max),
                };
                spent(wallet, &spend).await
            }
            _ => no_wallet(),
        }
    }

    /// The invoice, and the node's signature by which hh-treasury takes it.
    async fn invoice(&self, wallet: &WalletHandle, amount: Msat, description: String) -> End {
        let Some(node) = self
            .parts
            .enrolled
            .borrow()
            .as_ref()
            .map(|now| now.node.clone())
        else {
            return End::failed("failed", "the node has not joined");
        };
        match wallet.invoice(amount, description, INVOICE_LIFE).await {
            Ok(invoice) => {
                let text = invoice.to_string();
                let signature = self.parts.node_key.sign_invoice(wallet.chain, &node, &text);
                End::ok(format!("{text}\nsignature {signature}"))
            }
            Err(error) => End::failed("wallet", chain(&error)),
        }
    }
}

async fn spent(wallet: &WalletHandle, spend: &Spend<'_>) -> End {
    match wallet.spend(spend).await {
        Ok(spent) => {
            let fee = spent.fee.map_or_else(
                || "a fee that the wallet has forgotten".to_owned(),
                |fee| format!("a fee of {fee} sat"),
            );
            End::ok(format!(
                "paid {} sat and {fee}, preimage {}",
                spend.amount, spent.preimage
            ))
        }
        Err(error @ SpendError::Unknown(_)) => End {
            outcome: Outcome::Indeterminate,
            code: "unknown".to_owned(),
            output: chain(&error),
        },
        Err(error) => End::failed("not-paid", chain(&error)),
    }
}
