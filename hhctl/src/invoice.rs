//! `Invoice`: one of BOLT 11, as somebody wrote it on a command line. Read here, without asking a daemon.

use crate::output::{Cell, State, text};
use jiff::Timestamp;
use lightning_invoice::{Bolt11Invoice, Bolt11InvoiceDescriptionRef};
use serde_json::{Value, json};
use std::str::FromStr;
use std::time::Duration;

/// A text that is none; clap says which.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write an invoice (BOLT11, lnbc...) as the payee's wallet shows it: {0}")]
pub(crate) struct InvoiceError(String);

/// Its signature has been checked.
#[derive(Clone, Debug)]
pub(crate) struct Invoice(Box<Bolt11Invoice>);

impl FromStr for Invoice {
    type Err = InvoiceError;

    fn from_str(text: &str) -> Result<Self, InvoiceError> {
        let text = text.trim();
        // As QR codes and links have it.
        let text = match text.split_once(':') {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("lightning") => rest,
            _ => text,
        };
        match text.parse() {
            Ok(invoice) => Ok(Self(Box::new(invoice))),
            Err(error) => Err(InvoiceError(format!("{error}"))),
        }
    }
}

impl Invoice {
    /// In its one spelling, which is what is signed and paid.
    pub(crate) fn text(&self) -> String {
        self.0.to_string()
    }

    /// None where the payer chooses.
    pub(crate) fn amount_msat(&self) -> Option<u64> {
        self.0.amount_milli_satoshis()
    }

    /// `2,500 sat`.
    pub(crate) fn amount(&self) -> String {
        let any = || "any: the payer chooses".to_owned();
        self.amount_msat().map_or_else(any, text::sat)
    }

    fn description(&self) -> Option<String> {
        match self.0.description() {
            Bolt11InvoiceDescriptionRef::Direct(text) => Some(text.as_inner().0.clone()),
            Bolt11InvoiceDescriptionRef::Hash(_) => None,
        }
    }

    fn description_hash(&self) -> Option<String> {
        match self.0.description() {
            Bolt11InvoiceDescriptionRef::Direct(_) => None,
            Bolt11InvoiceDescriptionRef::Hash(hash) => Some(hash.0.to_string()),
        }
    }

    /// None where it is so far away that no calendar has it.
    fn expires_at(&self) -> Option<Timestamp> {
        self.0.expires_at().and_then(timestamp)
    }

    /// Until when it can be paid.
    pub(crate) fn expiry(&self, now: Timestamp) -> Cell {
        match self.expires_at() {
            None => Cell::state(State::Ok, "never"),
            Some(at) if at > now => Cell::state(State::Ok, format!("in {}", text::age(at, now))),
            Some(at) => Cell::state(State::Fail, format!("{} ago", text::age(now, at))),
        }
    }

    /// All that it says, for people.
    pub(crate) fn fields(&self, now: Timestamp) -> Vec<(&'static str, Cell)> {
        let invoice = &self.0;
        let about = match (self.description(), self.description_hash()) {
            (Some(text), _) if text.is_empty() => "nothing is said".to_owned(),
            (Some(text), _) => text,
            (None, hash) => format!("a text with the hash {}", hash.unwrap_or_default()),
        };
        let made = timestamp(invoice.duration_since_epoch());
        let last_hop = invoice.min_final_cltv_expiry_delta();
        let hints = match invoice.route_hints().len() {
            0 => "the payee is public, or a peer".to_owned(),
            hints => text::plural(hints as u64, "way to a payee that is not public"),
        };
        vec![
            ("Chain", invoice.network().to_core_arg().into()),
            ("Amount", self.amount().into()),
            ("Payee", invoice.get_payee_pub_key().to_string().into()),
            ("For", about.into()),
            ("Made", text::ago(now, made).into()),
            ("Expires", self.expiry(now)),
            ("Payment hash", invoice.payment_hash().to_string().into()),
            (
                "Last hop",
                format!("locks for {}", text::plural(last_hop, "block")).into(),
            ),
            ("Hints", hints.into()),
        ]
    }

    /// The same, for programs.
    pub(crate) fn json(&self, now: Timestamp) -> Value {
        let invoice = &self.0;
        json!({
            "invoice": self.text(),
            "chain": invoice.network().to_core_arg(),
            "amount_msat": self.amount_msat(),
            "payee": invoice.get_payee_pub_key().to_string(),
            "description": self.description(),
            "description_hash": self.description_hash(),
            "created_at": timestamp(invoice.duration_since_epoch()),
            "expires_at": self.expires_at(),
            "is_expired": self.expires_at().is_some_and(|at| at <= now),
            "payment_hash": invoice.payment_hash().to_string(),
            "min_final_cltv_blocks": invoice.min_final_cltv_expiry_delta(),
            "route_hints": invoice.route_hints().len(),
        })
    }
}

fn timestamp(since_epoch: Duration) -> Option<Timestamp> {
    let seconds = i64::try_from(since_epoch.as_secs()).ok()?;
    Timestamp::from_second(seconds).ok()
}
