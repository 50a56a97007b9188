//! What is done with the node's wallet.

use super::{End, Worker, chain, no_wallet};
use crate::wallet::{Spend, SpendError, Spent, WalletHandle};
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
                spent(&spend, wallet.spend(&spend).await)
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

/// What core hears of it. The receipt is in the node's own book.
fn spent(spend: &Spend<'_>, spent: Result<Spent, SpendError>) -> End {
    match spent {
        Ok(spent) => {
            let fee = spent.fee.map_or_else(
                || "a fee that the wallet has forgotten".to_owned(),
                |fee| format!("a fee of {fee} sat"),
            );
            End::ok(format!("paid {} sat and {fee}", spend.amount))
        }
        Err(error @ SpendError::Unknown(_)) => End {
            outcome: Outcome::Indeterminate,
            code: "unknown".to_owned(),
            output: chain(&error),
        },
        Err(error) => End::failed("not-paid", chain(&error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hh_lightning::Refusal;

    #[test]
    fn what_may_have_been_paid_is_never_called_unpaid() {
        let spend = Spend {
            invoice: "lnbc1",
            amount: Msat(5_000),
            max_fee: Msat(1),
        };
        let unknown = SpendError::Unknown("the connection was lost".into());
        let not_sent = SpendError::NotSent(Refusal::OurOwn);
        let failed = SpendError::Failed("no_route");
        for (error, outcome, code) in [
            (unknown, Outcome::Indeterminate, "unknown"),
            (not_sent, Outcome::Failed, "not-paid"),
            (failed, Outcome::Failed, "not-paid"),
            (SpendError::NoInvoice, Outcome::Failed, "not-paid"),
        ] {
            let end = spent(&spend, Err(error));
            assert_eq!((end.outcome, &*end.code), (outcome, code));
        }
    }
}
