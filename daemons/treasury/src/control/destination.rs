//! The answers to `create_account`, `claim`, `replace_owner_key`, `set_destination` and `cancel_destination`: whose an account is, and
//! where it is paid.

use super::account::{parse_payee, wire_destination};
use super::{Control, refusal};
use crate::actor;
use crate::clock::unix_ms;
use bitcoin::constants::ChainHash;
use bitcoin::hashes::{Hash, sha256};
use hh_daemon::Caller;
use hh_ipc::ApiError;
use hh_ipc::api::treasury::{
    Account, CancelDestinationRequest, ClaimRequest, ClaimToken, CreateAccountRequest,
    DestinationChanged, DestinationKind, ReplaceOwnerKeyRequest, SetDestinationRequest,
};
use hh_ledger::books::Payee;
use hh_ledger::books::{self, DestinationOf, NewDestination};
use hh_lightning::Offer;
use hh_mining::identity::LightningAddress;
use hh_trust::{OwnerKey, PaymentOrder};
use jiff::Timestamp;
use rand::Rng;
use serde_json::json;

/// Bytes of a claim token: nobody guesses it.
const TOKEN_BYTES: usize = 32;

/// Of a text that is refused, so much is repeated.
const SHOWN_CHARS_MAX: usize = 80;

impl Control {
    pub(super) async fn create_account(
        &self,
        caller: &Caller,
        request: CreateAccountRequest,
    ) -> Result<ClaimToken, ApiError> {
        caller.may_change()?;
        let name = self.own_name(&request.name)?;
        let (by, now_ms) = (actor::of(caller), unix_ms());
        // The token stays out of the journal.
        let arguments = json!({ "name": name, "owner_key": request.owner_key });
        let create = async {
            if let Some(key) = &request.owner_key {
                let key: OwnerKey = key.parse().map_err(|error| refusal::wrong(&error))?;
                let put = self
                    .stores
                    .books
                    .put_owner_key(name.clone(), key.0, by, now_ms);
                put.await.map_err(refusal::books)?;
                return Ok(ClaimToken {
                    name: name.clone(),
                    token: None,
                });
            }
            let token: [u8; TOKEN_BYTES] = rand::rng().random();
            let hash = sha256::Hash::hash(&token).to_byte_array();
            let put = self
                .stores
                .books
                .put_claim_token(name.clone(), hash, by, now_ms);
            put.await.map_err(refusal::books)?;
            Ok(ClaimToken {
                name: name.clone(),
                token: Some(hex::encode(token)),
            })
        };
        self.change(caller, "account.create", arguments, create)
            .await
    }

    pub(super) async fn claim(
        &self,
        caller: &Caller,
        request: ClaimRequest,
    ) -> Result<Account, ApiError> {
        caller.may_change()?;
        let name = self.own_name(&request.name)?;
        let key = request.owner_key.parse::<OwnerKey>();
        let key = key.map_err(|error| refusal::wrong(&error))?;
        let token = hex::decode(request.token.trim());
        let token = token.map_err(|_error| refusal::usage("a claim token is 64 hex digits"))?;
        let arguments = json!({ "name": name, "owner_key": key.to_string() });
        let claim = async {
            let claimed = self
                .stores
                .books
                .claim(name.clone(), token, key.0, unix_ms());
            claimed.await.map_err(refusal::books)?;
            Box::pin(self.account(&format!("miner:{name}"))).await
        };
        self.change(caller, "account.claim", arguments, claim).await
    }

    pub(super) async fn replace_owner_key(
        &self,
        caller: &Caller,
        request: ReplaceOwnerKeyRequest,
    ) -> Result<Account, ApiError> {
        caller.may_change()?;
        let arguments = json!(request);
        let name = self.own_name(&request.name)?;
        let key = request.owner_key.parse::<OwnerKey>();
        let key = key.map_err(|error| refusal::wrong(&error))?;
        let replace = async {
            let subject = format!("owner:{name}");
            let terms = format!("the key of {name} is {key}");
            let actors = self.two_actors(caller, &subject, terms).await?;
            let (books, now_ms) = (&self.stores.books, unix_ms());
            let replaced =
                books.replace_owner_key(name.clone(), key.0, actors, request.reason, now_ms);
            replaced.await.map_err(refusal::books)?;
            tracing::warn!(name, "the owner's key of an account was replaced");
            Box::pin(self.account(&format!("miner:{name}"))).await
        };
        self.change(caller, "account.replace_owner_key", arguments, replace)
            .await
    }

    pub(super) async fn cancel_destination(
        &self,
        caller: &Caller,
        request: CancelDestinationRequest,
    ) -> Result<Account, ApiError> {
        caller.may_change()?;
        let arguments = json!(request);
        let payee = parse_payee(&request.name)?;
        let seq = request.seq;
        let set = self.stores.books.destinations(payee.clone()).await;
        let set = set.map_err(refusal::books)?;
        let is_it =
            |known: &books::Destination| known.seq == seq && known.cancelled_at_ms.is_none();
        if !set.iter().any(is_it) {
            let message = format!("{payee} has no destination no. {seq} that could be cancelled");
            return Err(refusal::not_found(message));
        }
        let cancel = async {
            let subject = format!("destination:{payee}");
            let terms = format!("destination no. {seq} of {payee} is cancelled");
            let actors = self.two_actors(caller, &subject, terms).await?;
            let (books, now_ms) = (&self.stores.books, unix_ms());
            let cancelled = books.cancel_destination(payee.clone(), seq, actors, now_ms);
            cancelled.await.map_err(refusal::books)?;
            tracing::warn!(%payee, seq, "destination of an account cancelled");
            Box::pin(self.account(&payee.to_string())).await
        };
        self.change(caller, "account.cancel_destination", arguments, cancel)
            .await
    }

    pub(super) async fn set_destination(
        &self,
        caller: &Caller,
        request: SetDestinationRequest,
    ) -> Result<DestinationChanged, ApiError> {
        caller.may_change()?;
        let payee = parse_payee(&request.name)?;
        let Payee::Miner(account) = &payee else {
            return Err(refusal::usage("only miners' accounts have a destination"));
        };
        let kind = self.destination_kind(account, &request).await?;
        let SetDestinationRequest {
            text, seq, until, ..
        } = &request;
        let order = PaymentOrder::new(self.chain, account, text, *seq, *until);
        let order = order.map_err(|error| refusal::wrong(&error))?;
        let in_time = order.check_time(Timestamp::now());
        in_time.map_err(|error| refusal::unproven(&error))?;
        self.check_signature(account, &order, &request.signature)
            .await?;
        let arguments = json!(request);
        let set = async {
            let before = self
                .stores
                .books
                .destination_of(payee.clone(), unix_ms())
                .await;
            let before = match before.map_err(refusal::books)? {
                DestinationOf::Active(destination) => Some(wire_destination(destination)),
                DestinationOf::None
                | DestinationOf::CoolingOff(_)
                | DestinationOf::Cancelled(_) => None,
            };
            let cooling_off_ms = i64::try_from(self.cooling_off.as_millis()).unwrap_or(i64::MAX);
            let destination = NewDestination {
                payee: payee.clone(),
                seq: *seq,
                kind,
                text: text.clone(),
                proof: format!("{} {}", order.text(), request.signature),
                cooling_off_ms,
            };
            let set = self
                .stores
                .books
                .set_destination(destination, unix_ms())
                .await;
            let destination = set.map_err(refusal::books)?;
            tracing::warn!(%payee, text, seq, "destination of an account changed");
            Ok(DestinationChanged {
                name: payee.to_string(),
                previous: before,
                destination: wire_destination(destination),
            })
        };
        self.change(caller, "account.set_destination", arguments, set)
            .await
    }

    /// What it is, if this wallet can pay to it.
    async fn destination_kind(
        &self,
        account: &str,
        request: &SetDestinationRequest,
    ) -> Result<books::DestinationKind, ApiError> {
        match request.kind {
            DestinationKind::LightningAddress => {
                let address = LightningAddress::parse(&request.text);
                let address = address.map_err(|error| refusal::wrong(&error))?;
                // One spelling, which is what was signed.
                if address.as_str() != request.text {
                    let message = format!("{:?} is written {address}", request.text);
                    return Err(refusal::usage(message));
                }
                Ok(books::DestinationKind::LnAddress)
            }
            DestinationKind::Bolt12Offer => {
                let capabilities = self.stores.wallet.wallet().capabilities();
                let offers = capabilities.pays_offers;
                offers.map_err(|why| refusal::unsupported("pay offers", why))?;
                check_offer(&request.text, self.chain)?;
                Ok(books::DestinationKind::Bolt12)
            }
            DestinationKind::DrawingKey => {
                let key = request.text.parse::<OwnerKey>();
                let key = key.map_err(|error| refusal::wrong(&error))?;
                if key.to_string() != request.text {
                    return Err(refusal::usage(format!("the key is written {key}")));
                }
                self.refuse_owners_key(account, &key).await?;
                Ok(books::DestinationKind::Bolt11Draw)
            }
            DestinationKind::NodeInvoices => {
                let message = "nodes send invoices; an account of a miner is paid to a Lightning address, or drawn from with a key";
                Err(refusal::usage(message))
            }
        }
    }

    /// By the owner's key of a name, or by the address itself.
    async fn check_signature(
        &self,
        account: &str,
        order: &PaymentOrder,
        signature: &str,
    ) -> Result<(), ApiError> {
        let parsed = hh_mining::Account::parse(account, self.chain);
        let verified = match parsed.map_err(|error| refusal::wrong(&error))? {
            hh_mining::Account::Address(address) => order.verify_address(&address, signature),
            hh_mining::Account::Name(_) => {
                let owner = self.stores.books.owner(account.to_owned()).await;
                let owner = owner.map_err(refusal::books)?;
                let nobodys = || {
                    let message =
                        format!("{account} is nobody's yet: claim it with a token of an operator");
                    refusal::not_now(message)
                };
                let owner = owner.ok_or_else(nobodys)?;
                order.verify_owner(&OwnerKey(owner.key), signature)
            }
            hh_mining::Account::LightningAddress(_) => {
                let message = "a Lightning address is its own destination; there is nothing to set";
                return Err(refusal::usage(message));
            }
        };
        verified.map_err(|error| refusal::unproven(&error))
    }

    /// The name of an account that can be claimed.
    fn own_name(&self, name: &str) -> Result<String, ApiError> {
        let Payee::Miner(account) = parse_payee(name)? else {
            return Err(refusal::usage("only miners' accounts are claimed"));
        };
        match hh_mining::Account::parse(&account, self.chain) {
            Ok(hh_mining::Account::Name(parsed)) if parsed.as_str() == account => Ok(account),
            Ok(_) => {
                let message = format!("{account} needs no claim: who has its key signs for it");
                Err(refusal::usage(message))
            }
            Err(error) => Err(refusal::wrong(&error)),
        }
    }
}

/// An offer that is of the chain, in the one spelling that was signed, and has not ended.
fn check_offer(text: &str, chain: hh_mining::Network) -> Result<(), ApiError> {
    let offer = text.parse::<Offer>();
    let offer = offer.map_err(|error| {
        let shown: String = text.chars().take(SHOWN_CHARS_MAX).collect();
        refusal::usage(format!("{shown:?} is no BOLT 12 offer: {error:?}"))
    })?;
    if offer.to_string() != text {
        return Err(refusal::usage(format!("the offer is written {offer}")));
    }
    if !offer.supports_chain(ChainHash::using_genesis_block(chain)) {
        return Err(refusal::usage(format!(
            "the offer is not of the chain {chain}"
        )));
    }
    // A payout has the amount that was earned.
    if offer.amount().is_some() {
        let message = "the offer names an amount: make one of any amount";
        return Err(refusal::usage(message));
    }
    if offer.expects_quantity() {
        let message = "the offer is for a number of things: make one without a quantity";
        return Err(refusal::usage(message));
    }
    if offer.is_expired() {
        return Err(refusal::usage("the offer has expired: get a new one"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the test vectors of BOLT 12: the least that an offer has, which is of the main chain.
    const OFFER: &str = "lno1zcss9mk8y3wkklfvevcrszlmu23kfrxh49px20665dqwmn4p72pksese";

    /// For 10 sat.
    const WITH_AMOUNT: &str =
        "lno1pqpzwyq2p32x2um5ypmx2cm5dae8x93pqthvwfzadd7jejes8q9lhc4rvjxd022zv5l44g6qah82ru5rdpnpj";

    /// As many as one likes.
    const WITH_QUANTITY: &str =
        "lno1pgx9getnwss8vetrw3hhyuc5qqtzzqhwcuj966ma9n9nqwqtl032xeyv6755yeflt235pmww58egx6rxry";

    #[track_caller]
    fn check(text: &str, chain: hh_mining::Network, expected: Result<(), &str>) {
        let checked = check_offer(text, chain).map_err(|error| error.message);
        match expected {
            Ok(()) => assert_eq!(checked, Ok(())),
            Err(words) => {
                let message = checked.unwrap_err();
                assert!(message.contains(words), "{message}");
            }
        }
    }

    #[test]
    fn an_offer_is_taken_if_it_is_one_of_the_chain() {
        let main = hh_mining::Network::Bitcoin;
        check(OFFER, main, Ok(()));
        check(OFFER, hh_mining::Network::Signet, Err("not of the chain"));
        check(&OFFER.to_uppercase(), main, Err("is written lno1zcss9"));
        check(WITH_AMOUNT, main, Err("names an amount"));
        check(WITH_QUANTITY, main, Err("a number of things"));
        for wrong in ["lno1qcp4256ypq", "", "lno1", "alice@example.org"] {
            check(wrong, main, Err("is no BOLT 12 offer"));
        }
    }
}
