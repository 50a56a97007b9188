//! What a node may send for its dues.

use super::{AMOUNT_MSAT, Hostile, owed};
use hh_ipc::api::treasury::{Payout, PayoutState, SubmitInvoiceRequest};
use hh_ipc::client::within;
use hh_mining::Network as ChainName;
use hh_tests::forged_invoice::Forgery;
use hh_tests::network::CALL;
use hh_tests::treasury::DEADLINE;
use hh_tests::wait::wait_for;
use hh_trust::NodeId;
use lightning_invoice::Currency;
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// What a node sends, and what it hears.
struct Sent {
    what: &'static str,
    request: SubmitInvoiceRequest,
    says: &'static str,
}

impl Hostile {
    /// Invoices that are refused before anything is opened.
    fn refused(&self) -> Vec<Sent> {
        let (world, key) = (&self.world, &self.world.wallet.key);
        let signed = |what, forgery: Forgery, says| Sent {
            what,
            request: world.signed(forgery.signed(key)),
            says,
        };
        let of = |amount_msat| Forgery {
            amount_msat,
            ..Forgery::of(AMOUNT_MSAT)
        };
        let elsewhere = Forgery::of(AMOUNT_MSAT).signed(&self.other_wallet);
        let request = |invoice| world.signed(invoice);
        let honest = request(Forgery::of(AMOUNT_MSAT).signed(key));
        let expired = Forgery {
            age: Duration::from_secs(7_200),
            ..Forgery::of(AMOUNT_MSAT)
        };
        vec![
            Sent {
                what: "to another's wallet",
                request: request(elsewhere.clone()),
                says: "the invoice is to be paid to",
            },
            Sent {
                what: "to the treasury's own wallet",
                request: request(Forgery::of(AMOUNT_MSAT).signed(&world.treasury.key)),
                says: "the invoice is to be paid to",
            },
            Sent {
                what: "signed by another node",
                request: self.of_paris("berlin", &honest.invoice),
                says: "the signature is not that of",
            },
            Sent {
                what: "of a node that is not there",
                request: SubmitInvoiceRequest {
                    node: "oslo".to_owned(),
                    ..honest.clone()
                },
                says: "there is no node oslo",
            },
            Sent {
                what: "above its dues",
                request: self.of_paris("paris", &elsewhere),
                says: "0.000 sat that may be paid, less than the 20000.000 sat",
            },
            Sent {
                what: "no invoice",
                request: request("lnbcrt1".to_owned()),
                says: "is no invoice",
            },
            signed("without an amount", of(None), "has to be for at least"),
            signed("too small", of(Some(999_999)), "has to be for at least"),
            signed(
                "too large",
                of(Some(AMOUNT_MSAT + 1)),
                "a payout has at most 20000.000 sat",
            ),
            signed("expired", expired, "the invoice has expired"),
            signed(
                "of another chain",
                Forgery {
                    chain: Currency::Bitcoin,
                    ..Forgery::of(AMOUNT_MSAT)
                },
                "for another chain than regtest",
            ),
        ]
    }

    /// As the node `paris` signs for itself, or for another.
    fn of_paris(&self, node: &str, invoice: &str) -> SubmitInvoiceRequest {
        let id: NodeId = node.parse().expect("it is a name");
        SubmitInvoiceRequest {
            node: node.to_owned(),
            invoice: invoice.to_owned(),
            signature: self
                .other_key
                .sign_invoice(ChainName::Regtest, &id, invoice),
        }
    }

    /// Invoices that are taken, and given back when it is their turn.
    fn given_back(&self) -> Vec<Sent> {
        let (world, key) = (&self.world, &self.world.wallet.key);
        let signed = |what, forgery: Forgery, says| Sent {
            what,
            request: world.signed(forgery.signed(key)),
            says,
        };
        let of = || Forgery::of(AMOUNT_MSAT);
        vec![
            signed(
                "that locks for too long",
                Forgery {
                    blocks: 2_000,
                    ..of()
                },
                "wants 2000 blocks for its last hop",
            ),
            signed(
                "that ends soon",
                Forgery {
                    expiry: Duration::from_secs(60),
                    ..of()
                },
                "the invoice ends at",
            ),
            signed(
                "that the payee does not know",
                of(),
                "its invoice failed: rejected_by_payee",
            ),
        ]
    }

    async fn submit(&self, request: &SubmitInvoiceRequest) -> Result<Payout, String> {
        let submitted = self.client.submit_invoice(within(CALL), request.clone());
        let submitted = submitted.await.expect("hh-treasury answers");
        submitted.map_err(|refused| refused.message)
    }

    async fn wait_until_ended(&self, payout: u64, state: PayoutState) -> Payout {
        let what = format!("payout {payout} is {state:?}");
        wait_for(&what, DEADLINE, async || {
            let detail = self.client.payout(within(CALL), payout).await.ok()?.ok()?;
            (detail.payout.state == state).then_some(detail.payout)
        })
        .await
    }

    /// Whatever a node sends, it gets its dues and no more.
    pub(super) async fn no_invoice_of_a_node_takes_more_than_is_due(&mut self) {
        let before = owed(&self.client, "node:berlin").await;
        for Sent {
            what,
            request,
            says,
        } in self.refused()
        {
            let said = self.submit(&request).await.expect_err(what);
            assert!(said.contains(says), "{what}: {said}");
        }
        for Sent {
            what,
            request,
            says,
        } in self.given_back()
        {
            let opened = self.submit(&request).await;
            let opened = opened.unwrap_or_else(|said| panic!("{what}: {said}"));
            let ended = self.wait_until_ended(opened.id, PayoutState::Cancelled);
            let reason = ended.await.reason.unwrap_or_default();
            assert!(reason.contains(says), "{what}: {reason}");
            // Sent once more it is what it was.
            let again = self.submit(&request).await.expect(what);
            assert_eq!((again.id, again.state), (opened.id, PayoutState::Cancelled));
        }
        assert_eq!(owed(&self.client, "node:berlin").await, before);
        self.check_books().await;

        let honest = self.world.wallet.invoice(AMOUNT_MSAT).await;
        let request = self.world.signed(honest);
        let opened = self.submit(&request).await.expect("it is its due");
        let paid = self.wait_until_ended(opened.id, PayoutState::Settled).await;
        self.paid += 1;
        let again = self.submit(&request).await.expect("it is known");
        assert_eq!((again.id, again.state), (paid.id, PayoutState::Settled));
        self.same_hash_is_refused(&paid).await;
        self.check_books().await;
        self.nothing_that_ended_is_told_as_opened();
    }

    /// Another invoice with the payment hash of one that was paid.
    async fn same_hash_is_refused(&self, paid: &Payout) {
        let hash = hex::decode(paid.payment_hash.as_ref().expect("it was paid"));
        let forged = Forgery {
            payment_hash: hash.unwrap().try_into().unwrap(),
            ..Forgery::of(AMOUNT_MSAT)
        };
        let request = self.world.signed(forged.signed(&self.world.wallet.key));
        let said = self.submit(&request).await.expect_err("its hash was paid");
        assert!(said.contains("was used before"), "{said}");
    }

    /// One is opened by its invoice, or by the engine that has just looked when the invoice came; and never again.
    fn nothing_that_ended_is_told_as_opened(&self) {
        let log = self.world.treasury.daemon.log();
        let mut told = BTreeSet::new();
        for line in log.lines().filter(|line| line.contains("payout opened")) {
            let line: Value = serde_json::from_str(line).expect("the log is JSON");
            let payout = line["payout"].as_u64().expect("it names the payout");
            assert!(told.insert(payout), "{payout} is opened twice");
        }
    }
}
