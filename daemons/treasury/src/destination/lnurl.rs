//! LNURL-pay (LUD-06, LUD-16): an invoice from the server of a Lightning address, and the checks of what it answers.
//!
//! The server is a stranger's. What it may choose is the invoice; what that is for, how much and by whose word is checked. A fresh
//! invoice is asked for only after the attempt before has failed for good: the engine sees to that.

use super::web::{Web, WebError};
use bitcoin::hashes::{Hash, sha256};
use hh_lightning::Bolt11Invoice;
use hh_mining::Msat;
use hh_mining::identity::LightningAddress;
use serde::Deserialize;

/// Longest reason of a server's that is kept.
const MAX_REASON_CHARS: usize = 200;

/// Why there is no invoice.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LnurlError {
    #[error("{address}: no answer from its server")]
    Web { address: String, source: WebError },
    #[error("{address}: its server says: {reason}")]
    Refused { address: String, reason: String },
    #[error("{address}: its server's answer is none of LNURL-pay: {what}")]
    Answer { address: String, what: String },
    #[error("{address}: its server takes {min} to {max} sat, not {amount} sat")]
    Amount {
        address: String,
        min: Msat,
        max: Msat,
        amount: Msat,
    },
    #[error("{address}: the invoice of its server is for {found:?} msat, not for {amount} sat")]
    OtherAmount {
        address: String,
        found: Option<u64>,
        amount: Msat,
    },
    #[error(
        "{address}: the invoice of its server does not commit to what the server says that it is for"
    )]
    Description { address: String },
}

/// What a server offers (LUD-06, step 3).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Offer {
    tag: String,
    callback: String,
    min_sendable: u64,
    max_sendable: u64,
    metadata: String,
}

#[derive(Debug, Deserialize)]
struct Invoice {
    pr: String,
}

/// How servers say no (LUD-06): with whatever status.
#[derive(Debug, Deserialize)]
struct Refusal {
    status: String,
    #[serde(default)]
    reason: String,
}

/// An invoice for exactly `amount`, from the server of `address`.
///
/// # Errors
/// See [`LnurlError`]; none of them has moved money.
pub(crate) async fn invoice(
    web: &Web,
    address: &LightningAddress,
    amount: Msat,
) -> Result<Bolt11Invoice, LnurlError> {
    let name = address.as_str();
    let get = async |url: &str| {
        let answer = web.get(url).await;
        answer.map_err(|source| LnurlError::Web {
            address: name.to_owned(),
            source,
        })
    };
    let offer = read_offer(name, &get(&url_of(name)).await?)?;
    let callback = offer.callback(name, amount)?;
    let invoice = read_invoice(name, &get(&callback).await?)?;
    check_invoice(name, &invoice, amount, &offer.metadata)?;
    Ok(invoice)
}

/// `https://DOMAIN/.well-known/lnurlp/USER` (LUD-16).
fn url_of(address: &str) -> String {
    let (user, domain) = address.split_once('@').unwrap_or((address, ""));
    // What a user consists of needs no escaping, but for the + of a tag.
    let user = user.replace('+', "%2B");
    format!("https://{domain}/.well-known/lnurlp/{user}")
}

fn read_offer(address: &str, answer: &[u8]) -> Result<Offer, LnurlError> {
    let offer: Offer = read(address, answer)?;
    if offer.tag != "payRequest" {
        return Err(LnurlError::Answer {
            address: address.to_owned(),
            what: format!("its tag is {:?}", shortened(&offer.tag)),
        });
    }
    Ok(offer)
}

impl Offer {
    /// Where an invoice for `amount` is to be had.
    fn callback(&self, address: &str, amount: Msat) -> Result<String, LnurlError> {
        if !(self.min_sendable..=self.max_sendable).contains(&amount.0) {
            return Err(LnurlError::Amount {
                address: address.to_owned(),
                min: Msat(self.min_sendable),
                max: Msat(self.max_sendable),
                amount,
            });
        }
        let url = self.callback.split('#').next().unwrap_or_default();
        let separator = if url.contains('?') { '&' } else { '?' };
        Ok(format!("{url}{separator}amount={}", amount.0))
    }
}

fn read_invoice(address: &str, answer: &[u8]) -> Result<Bolt11Invoice, LnurlError> {
    let answer: Invoice = read(address, answer)?;
    answer.pr.parse().map_err(|error| LnurlError::Answer {
        address: address.to_owned(),
        what: format!("the invoice can't be read: {error}"),
    })
}

fn check_invoice(
    address: &str,
    invoice: &Bolt11Invoice,
    amount: Msat,
    metadata: &str,
) -> Result<(), LnurlError> {
    let found = invoice.amount_milli_satoshis();
    if found != Some(amount.0) {
        let address = address.to_owned();
        return Err(LnurlError::OtherAmount {
            address,
            found,
            amount,
        });
    }
    if super::invoice::description_hash(invoice)
        != Some(sha256::Hash::hash(metadata.as_bytes()).to_byte_array())
    {
        let address = address.to_owned();
        return Err(LnurlError::Description { address });
    }
    Ok(())
}

fn read<'a, T: Deserialize<'a>>(address: &str, answer: &'a [u8]) -> Result<T, LnurlError> {
    if let Ok(refusal) = serde_json::from_slice::<Refusal>(answer)
        && refusal.status.eq_ignore_ascii_case("error")
    {
        return Err(LnurlError::Refused {
            address: address.to_owned(),
            reason: shortened(&refusal.reason),
        });
    }
    serde_json::from_slice(answer).map_err(|error| LnurlError::Answer {
        address: address.to_owned(),
        what: error.to_string(),
    })
}

/// Without what would make it look like something else in a table or a log.
fn shortened(text: &str) -> String {
    let shown = text.chars().filter(|c| !c.is_control());
    shown.take(MAX_REASON_CHARS).collect()
}

#[cfg(test)]
mod tests;
