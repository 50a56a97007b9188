//! `Totals`: all that there is and all that is owed, on one page.

use hh_mining::Msat;

use super::session::{CallError, Session};
use super::value::Row;
use super::{Books, BooksError};

/// The sums of the books. What is matured balances like this:
///
/// `received = paid + drawn + fees() + payable + open_payouts + reserves + suspense_msat + treasury_msat`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Totals {
    /// Coinbases that are not mature.
    pub coinbase: Msat,
    /// What is owed of them: the same.
    pub immature: Msat,
    /// What the wallet should have, on-chain and in channels together. Less than nothing would be a mistake somewhere.
    pub wallet_msat: i64,
    /// What miners and nodes can be paid.
    pub payable: Msat,
    /// What open payouts hold.
    pub open_payouts: Msat,
    /// What is kept for the node network.
    pub reserves: Msat,
    /// The treasury's part of the pool fee that it has not drawn.
    pub treasury_balance: Msat,
    /// What is the treasury's own: its balance, the capital and what it earned by routing, less fees, losses and what was drawn.
    /// Less than nothing means that others' money was spent: the operator has to put in capital.
    pub treasury_msat: i64,
    /// What came unexplained, less what went.
    pub suspense_msat: i64,
    /// What the operator has put in.
    pub capital: Msat,
    /// What the operator has withdrawn.
    pub drawn: Msat,
    /// What was paid and not owed.
    pub loss: Msat,
    /// Routing fees paid.
    pub fees_routing: Msat,
    /// Fees of transactions.
    pub fees_onchain: Msat,
    /// What channels cost.
    pub fees_channel: Msat,
    /// Fees earned by routing for others.
    pub income_routing: Msat,
    /// All that has come into the wallet, less what of it went again unexplained or with an orphan.
    pub received_msat: i64,
    /// All that was paid out, without fees.
    pub paid: Msat,
}

impl Totals {
    /// What matured assets have to cover: what miners and nodes are owed, what open payouts hold, and the reserves. The treasury's
    /// own is not among it.
    #[must_use]
    pub fn owed(&self) -> Msat {
        let parts = [self.payable, self.open_payouts, self.reserves];
        parts
            .into_iter()
            .sum::<Option<Msat>>()
            .unwrap_or(Msat(u64::MAX))
    }

    /// What the operator may call his own, in the wallet or not: the treasury's, without what went unexplained. What came unexplained
    /// is nobody's yet.
    #[must_use]
    pub fn own(&self) -> Msat {
        let own = i128::from(self.treasury_msat) + i128::from(self.suspense_msat.min(0));
        Msat(u64::try_from(own.max(0)).unwrap_or_default())
    }

    /// All fees that were paid.
    #[must_use]
    pub fn fees(&self) -> Msat {
        let parts = [self.fees_routing, self.fees_onchain, self.fees_channel];
        parts
            .into_iter()
            .sum::<Option<Msat>>()
            .unwrap_or(Msat(u64::MAX))
    }

    /// What is left of received when everything that it went to is taken away: 0.
    pub(super) fn difference(&self) -> i128 {
        let parts = [self.paid, self.drawn, self.fees(), self.owed()];
        let parts: i128 = parts.iter().map(|part| i128::from(part.0)).sum();
        let own = i128::from(self.suspense_msat) + i128::from(self.treasury_msat);
        i128::from(self.received_msat) - parts - own
    }

    /// Takes in the balance of a class of accounts, as the query of [`read`] names them.
    fn add(&mut self, class: &str, balance_msat: i64) -> Result<(), BooksError> {
        let sum = match class {
            "wallet" => {
                self.wallet_msat = balance_msat;
                return Ok(());
            }
            "suspense" => {
                self.suspense_msat = -balance_msat;
                return Ok(());
            }
            "coinbase" => &mut self.coinbase,
            "immature" => &mut self.immature,
            "balance" => &mut self.payable,
            "reserve:node-network" => &mut self.reserves,
            "treasury" => &mut self.treasury_balance,
            "payout" => &mut self.open_payouts,
            "capital" => &mut self.capital,
            "drawn" => &mut self.drawn,
            "loss" => &mut self.loss,
            "fee:routing" => &mut self.fees_routing,
            "fee:onchain" => &mut self.fees_onchain,
            "fee:channel" => &mut self.fees_channel,
            "income:routing" => &mut self.income_routing,
            _ => {
                let (what, name) = ("account of the books", class.to_owned());
                return Err(BooksError::Unknown { what, name });
            }
        };
        *sum = Msat(balance_msat.unsigned_abs());
        Ok(())
    }
}

/// Reads them.
pub(super) async fn read(session: &mut Session) -> Result<Totals, CallError> {
    let mut totals = Totals::default();
    // There are as many immature parts and balances as payees: the database adds them up.
    let query = "SELECT class, CAST(sum(balance_msat) AS bigint) FROM (
            SELECT CASE WHEN kind IN ('fee', 'income') THEN kind || ':' || name
                WHEN kind = 'balance' AND name IN ('treasury', 'reserve:node-network') THEN name
                ELSE kind END AS class, balance_msat
            FROM accounts
        ) AS classed GROUP BY class";
    for row in session.query(query, &[]).await? {
        totals.add(&row.get::<String>(0)?, row.get(1)?)?;
    }
    let query = "SELECT CAST(coalesce(sum(amount_msat), 0) AS bigint) FROM attempts
        WHERE state IN ('settled', 'settled_late')";
    totals.paid = Msat(one(session.find(query, &[]).await?)?.unsigned_abs());
    // Not added up from its entries, of which there are ever more: that is what verify does.
    let gone = i128::from(totals.paid.0) + i128::from(totals.drawn.0) + i128::from(totals.fees().0);
    let received = i128::from(totals.wallet_msat) + gone;
    totals.received_msat = i64::try_from(received).unwrap_or(i64::MAX);
    let own = i128::from(totals.treasury_balance.0)
        + i128::from(totals.capital.0)
        + i128::from(totals.income_routing.0)
        - i128::from(totals.fees().0)
        - i128::from(totals.drawn.0)
        - i128::from(totals.loss.0);
    totals.treasury_msat = i64::try_from(own).unwrap_or(i64::MIN);
    Ok(totals)
}

fn one(row: Option<Row>) -> Result<i64, BooksError> {
    row.map_or(Ok(0), |row| row.get(0))
}

impl Books {
    /// All that there is and all that is owed.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn totals(&self) -> Result<Totals, BooksError> {
        self.read("sum up", async |session| read(session).await)
            .await
    }
}
