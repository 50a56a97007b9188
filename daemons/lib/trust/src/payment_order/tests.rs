use super::*;
use bitcoin::key::{CompressedPublicKey, Secp256k1};
use bitcoin::{NetworkKind, PrivateKey};
use ring::signature::{Ed25519KeyPair, KeyPair};

const UNTIL: i64 = 1_800_000_000;

fn order(account: &str, destination: &str, seq: u64) -> PaymentOrder {
    PaymentOrder::new(Network::Signet, account, destination, seq, UNTIL).unwrap()
}

#[test]
fn an_order_says_all_that_it_is_about() {
    assert_eq!(
        order("alice", "alice@example.org", 3).text(),
        "Hyper Hash Network signet: pay alice to alice@example.org, no. 3, until 2027-01-15T08:00:00Z"
    );
}

#[test]
fn an_owners_order_is_taken_with_his_signature_alone() {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let owner = hex::encode(pair.public_key().as_ref())
        .parse::<OwnerKey>()
        .unwrap();
    let order = order("alice", "alice@example.org", 3);
    let signature = hex::encode(pair.sign(order.text().as_bytes()).as_ref());
    order.verify_owner(&owner, &signature).unwrap();
    // Another destination, number, account or chain is another text.
    for other in [
        super::tests::order("alice", "mallory@example.org", 3),
        super::tests::order("alice", "alice@example.org", 4),
        super::tests::order("alicf", "alice@example.org", 3),
    ] {
        let error = other.verify_owner(&owner, &signature).unwrap_err();
        assert!(error.to_string().contains(other.text()), "{error}");
    }
    let other = OwnerKey([1; 32]);
    assert!(order.verify_owner(&other, &signature).is_err());
    assert!(order.verify_owner(&owner, "").is_err());
}

#[test]
fn an_addresses_owner_signs_by_bip_322() {
    for (what, address) in addresses_of(9) {
        let order = order(&address.to_string(), "alice@example.org", 1);
        let signature = sign(&address, order.text(), 9);
        order.verify_address(&address, &signature).unwrap();
        let of_another_text = sign(&address, "pay me", 9);
        assert!(order.verify_address(&address, &of_another_text).is_err());
        for wrong in ["not base64", "", "AA=="] {
            assert!(order.verify_address(&address, wrong).is_err(), "{what}");
        }
        // Another address of the same key, and the same kind of another key.
        for (other, another) in addresses_of(9).into_iter().chain(addresses_of(8)) {
            if another != address {
                let refused = order.verify_address(&another, &signature);
                assert!(refused.is_err(), "{what} for {other} {another}");
            }
        }
    }
}

fn key(n: u8) -> PrivateKey {
    PrivateKey::from_slice(&[n; 32], NetworkKind::Test).unwrap()
}

/// The three kinds of which an account may be.
fn addresses_of(n: u8) -> [(&'static str, Address); 3] {
    let secp = Secp256k1::new();
    let public = CompressedPublicKey::from_private_key(&secp, &key(n)).unwrap();
    let x_only = public.0.x_only_public_key().0;
    [
        ("P2WPKH", Address::p2wpkh(&public, Network::Signet)),
        ("P2TR", Address::p2tr(&secp, x_only, None, Network::Signet)),
        ("P2SH-P2WPKH", Address::p2shwpkh(&public, Network::Signet)),
    ]
}

fn sign(address: &Address, text: &str, n: u8) -> String {
    let (address, keys) = (address.to_string(), [key(n).to_wif()]);
    bip322::sign_simple_encoded(&address, text, &keys, None).unwrap()
}

#[test]
fn a_nodes_invoice_is_taken_with_the_nodes_signature() {
    let key = NodeSecretKey::generate().unwrap();
    let node: NodeId = "berlin-1".parse().unwrap();
    let signature = key.sign_invoice(Network::Signet, &node, "lntbs1");
    let check = |chain, invoice| {
        let public = key.public_key();
        public.verify_invoice(chain, &node, invoice, &signature)
    };
    check(Network::Signet, "lntbs1").unwrap();
    assert!(check(Network::Regtest, "lntbs1").is_err());
    assert!(check(Network::Signet, "lntbs2").is_err());
}

#[test]
fn a_draw_is_taken_with_the_drawing_keys_signature_over_this_account_and_invoice() {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
    let key: [u8; 32] = pair.public_key().as_ref().try_into().unwrap();
    let text = draw_text(Network::Signet, "alice", "lntbs1");
    assert_eq!(
        text,
        "Hyper Hash Network signet: draw from alice by invoice lntbs1"
    );
    let signature = hex::encode(pair.sign(text.as_bytes()).as_ref());
    let check = |key, terms| verify_draw(&OwnerKey(key), terms, &signature);
    check(key, (Network::Signet, "alice", "lntbs1")).unwrap();
    for (key, terms) in [
        (key, (Network::Regtest, "alice", "lntbs1")),
        (key, (Network::Signet, "bob", "lntbs1")),
        (key, (Network::Signet, "alice", "lntbs2")),
        ([1; 32], (Network::Signet, "alice", "lntbs1")),
    ] {
        let error = check(key, terms).unwrap_err();
        assert!(error.to_string().contains("the drawing key"), "{error}");
    }
    // Nor does a draw pass for an order, or an order for a draw.
    let order = order("alice", "lntbs1", 1);
    assert!(order.verify_owner(&OwnerKey(key), &signature).is_err());
}

#[test]
fn an_order_ends_and_holds_for_a_week_at_most() {
    let order = order("alice", "alice@example.org", 1);
    let at = |seconds| Timestamp::from_second(seconds).unwrap();
    order.check_time(at(UNTIL - 1)).unwrap();
    assert!(matches!(
        order.check_time(at(UNTIL)),
        Err(OrderError::Ended { .. })
    ));
    let early = at(UNTIL - ORDER_SECONDS_MAX - 1);
    assert!(matches!(
        order.check_time(early),
        Err(OrderError::TooLong { .. })
    ));
}

#[test]
fn no_destination_makes_one_order_look_like_another() {
    let long = "a".repeat(DESTINATION_BYTES_MAX + 1);
    for destination in ["", "a b", "a\nb", "ä", &long] {
        let order = PaymentOrder::new(Network::Signet, "alice", destination, 1, UNTIL);
        assert_eq!(order, Err(OrderError::Destination));
    }
}
