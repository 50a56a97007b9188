//! `Payee` and `BookAccount`: who can be owed money, and the accounts of the books.

use std::fmt;
use std::str::FromStr;

use hh_mining::BlockHash;

use super::{BooksError, PayoutId};

/// Longest name of an account or a node in bytes: what a share log can write, with the room that hex of a key needs.
const NAME_BYTES_MAX: usize = 255;

/// Who can be owed money. Displayed and parsed as `miner:ACCOUNT`, `node:ID`, `reserve:node-network` and `treasury`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Payee {
    /// An account of miners, spelt as `hh_mining::Account` displays it.
    Miner(String),
    /// A Hyper Node, by its id.
    Node(String),
    /// What is kept for the node network, because work came straight to the pool. Never paid, only distributed to nodes.
    NodeReserve,
    /// The treasury's part of the pool fee.
    Treasury,
}

impl Payee {
    /// The same, if its name can stand in the books.
    ///
    /// # Errors
    /// [`BooksError::Unknown`] for a name that is empty, too long, or not of printable characters without blanks.
    pub(super) fn checked(self) -> Result<Self, BooksError> {
        match &self {
            Self::Miner(name) | Self::Node(name)
                if name.is_empty()
                    || name.len() > NAME_BYTES_MAX
                    || name.chars().any(|c| c.is_control() || c.is_whitespace()) =>
            {
                Err(BooksError::Unknown {
                    what: "payee",
                    name: self.to_string(),
                })
            }
            Self::Miner(_) | Self::Node(_) | Self::NodeReserve | Self::Treasury => Ok(self),
        }
    }
}

impl fmt::Display for Payee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Miner(account) => write!(f, "miner:{account}"),
            Self::Node(id) => write!(f, "node:{id}"),
            Self::NodeReserve => write!(f, "reserve:{}", hh_mining::reward::NODE_RESERVE),
            Self::Treasury => f.write_str("treasury"),
        }
    }
}

impl FromStr for Payee {
    type Err = BooksError;

    fn from_str(text: &str) -> Result<Self, BooksError> {
        let unknown = || BooksError::Unknown {
            what: "payee",
            name: text.to_owned(),
        };
        if text == "treasury" {
            return Ok(Self::Treasury);
        }
        match text.split_once(':').ok_or_else(unknown)? {
            ("miner", account) => Self::Miner(account.to_owned()).checked(),
            ("node", id) => Self::Node(id.to_owned()).checked(),
            ("reserve", hh_mining::reward::NODE_RESERVE) => Ok(Self::NodeReserve),
            _ => Err(unknown()),
        }
    }
}

/// An account of the books. Assets, expenses and losses have positive balances, claims on us and income negative ones.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BookAccount {
    /// Asset: the coinbase of a block that is not mature.
    Coinbase(BlockHash),
    /// Asset: what is mature, on-chain and in channels together.
    Wallet,
    /// Claim: a payee's part of blocks that are not mature.
    Immature(Payee),
    /// Claim: what a payee can be paid.
    Balance(Payee),
    /// Claim: what an open payout holds.
    Payout(PayoutId),
    /// What came or went unexplained: a claim of whoever sent it, or, with the other sign, a question.
    Suspense,
    /// Claim: what the operator has put in.
    Capital,
    /// What the operator has withdrawn of his own: it makes that smaller.
    Drawn,
    /// What the treasury paid and nobody owed.
    Loss,
    /// Expense: routing fees of payments.
    RoutingFees,
    /// Expense: fees of transactions.
    OnchainFees,
    /// Expense: what opening, closing and keeping channels costs.
    ChannelFees,
    /// Income: fees for payments routed for others.
    RoutingIncome,
}

impl BookAccount {
    /// How the tables name it: a kind, and which one of the kind.
    pub(super) fn key(&self) -> (&'static str, String) {
        match self {
            Self::Coinbase(hash) => ("coinbase", hash.to_string()),
            Self::Wallet => ("wallet", String::new()),
            Self::Immature(payee) => ("immature", payee.to_string()),
            Self::Balance(payee) => ("balance", payee.to_string()),
            Self::Payout(id) => ("payout", id.to_string()),
            Self::Suspense => ("suspense", String::new()),
            Self::Capital => ("capital", String::new()),
            Self::Drawn => ("drawn", String::new()),
            Self::Loss => ("loss", String::new()),
            Self::RoutingFees => ("fee", "routing".to_owned()),
            Self::OnchainFees => ("fee", "onchain".to_owned()),
            Self::ChannelFees => ("fee", "channel".to_owned()),
            Self::RoutingIncome => ("income", "routing".to_owned()),
        }
    }

    /// The account of that kind and name.
    pub(super) fn of_key(kind: &str, name: &str) -> Result<Self, BooksError> {
        let unknown = || BooksError::Unknown {
            what: "account of the books",
            name: format!("{kind}:{name}"),
        };
        Ok(match (kind, name) {
            ("coinbase", hash) => Self::Coinbase(hash.parse().or(Err(unknown()))?),
            ("wallet", "") => Self::Wallet,
            ("immature", payee) => Self::Immature(payee.parse()?),
            ("balance", payee) => Self::Balance(payee.parse()?),
            ("payout", id) => Self::Payout(PayoutId(id.parse().or(Err(unknown()))?)),
            ("suspense", "") => Self::Suspense,
            ("capital", "") => Self::Capital,
            ("drawn", "") => Self::Drawn,
            ("loss", "") => Self::Loss,
            ("fee", "routing") => Self::RoutingFees,
            ("fee", "onchain") => Self::OnchainFees,
            ("fee", "channel") => Self::ChannelFees,
            ("income", "routing") => Self::RoutingIncome,
            _ => return Err(unknown()),
        })
    }
}

impl fmt::Display for BookAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key() {
            (kind, name) if name.is_empty() => f.write_str(kind),
            (kind, name) => write!(f, "{kind}:{name}"),
        }
    }
}

impl FromStr for BookAccount {
    type Err = BooksError;

    fn from_str(text: &str) -> Result<Self, BooksError> {
        let (kind, name) = text.split_once(':').unwrap_or((text, ""));
        Self::of_key(kind, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(account: &BookAccount, text: &str) {
        assert_eq!(account.to_string(), text);
        assert_eq!(text.parse::<BookAccount>().unwrap(), *account);
    }

    #[test]
    fn an_account_is_read_as_it_is_written() {
        let hash = BlockHash::from_byte_array([0xab; 32]);
        check(&BookAccount::Wallet, "wallet");
        check(
            &BookAccount::Coinbase(hash),
            &format!("coinbase:{}", "ab".repeat(32)),
        );
        let miner = Payee::Miner("user@example.org".to_owned());
        check(
            &BookAccount::Balance(miner),
            "balance:miner:user@example.org",
        );
        let node = Payee::Node("oslo:1".to_owned());
        check(&BookAccount::Immature(node), "immature:node:oslo:1");
        let reserve = BookAccount::Balance(Payee::NodeReserve);
        check(&reserve, "balance:reserve:node-network");
        check(&BookAccount::Payout(PayoutId(7)), "payout:7");
        check(&BookAccount::RoutingIncome, "income:routing");
        check(&BookAccount::Drawn, "drawn");
    }

    #[test]
    fn what_is_no_account_is_refused() {
        let long = format!("balance:miner:{}", "x".repeat(256));
        for text in [
            "",
            "wallet:1",
            "balance:",
            "balance:miner:",
            "balance:miner:a b",
            "payout:x",
            "fee",
            "balance:reserve:x",
            &long,
        ] {
            assert!(text.parse::<BookAccount>().is_err(), "{text}");
        }
    }
}
