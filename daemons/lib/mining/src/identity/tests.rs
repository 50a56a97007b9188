use proptest::prelude::*;

use super::*;

const P2WPKH: &str = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
const P2WSH: &str = "bc1qrp33g0q5c5txsp9arysrx4k6zdkfs4nce4xj0gdcccefvpysxf3qccfmv3";
const P2TR: &str = "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr";
const P2PKH: &str = "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa";
const P2SH: &str = "3P14159f73E4gFr7JterCCQh9QjiTjiZrG";
const TESTNET_P2WPKH: &str = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx";

/// Account and worker as text, with the kind in front.
fn parse(identity: &str, network: Network) -> Result<String, IdentityError> {
    let identity = Identity::parse(identity, network)?;
    let kind = match identity.account {
        Account::Name(_) => "name",
        Account::Address(_) => "address",
        Account::LightningAddress(_) => "lightning",
    };
    let worker = identity
        .worker
        .map_or("-".to_owned(), |worker| worker.to_string());
    Ok(format!("{kind} {} {worker}", identity.account))
}

#[track_caller]
fn check(identity: &str, expected: &str) {
    assert_eq!(parse(identity, Network::Bitcoin), Ok(expected.to_owned()));
}

#[track_caller]
fn check_refused(identity: &str, expected: &str) {
    let error = parse(identity, Network::Bitcoin).expect_err(identity);
    assert_eq!(error.to_string(), expected);
}

#[test]
fn a_name_may_have_a_worker() {
    check("alice", "name alice -");
    check("alice.rig1", "name alice rig1");
    check("a_l-1.Rig_1", "name a_l-1 Rig_1");
    check("alice.", "name alice -");
    check("01234567890123456789", "name 01234567890123456789 -");
}

#[test]
fn a_worker_may_have_dots() {
    check("alice.farm.rig1.miner3", "name alice farm.rig1.miner3");
}

#[test]
fn names_are_folded_to_lower_case_and_workers_are_not() {
    check("Alice.Rig", "name alice Rig");
}

#[test]
fn what_is_no_name_is_refused() {
    let reason = |name| format!("`{name}` is not an account name: 1 to 20 of a-z, 0-9, _ and -");
    for name in ["", "al ice", "älice", "alice!", "alice\n", "%61lice"] {
        check_refused(name, &reason(name));
    }
    check_refused(".rig1", &reason(""));
}

#[test]
fn what_is_no_worker_is_refused() {
    let reason =
        |worker| format!("`{worker}` is not a worker name: 1 to 64 of A-Z, a-z, 0-9 and _-.:+=#/");
    for worker in ["a b", "<b>", "ü", "a\"", "a,b"] {
        check_refused(&format!("alice.{worker}"), &reason(worker));
    }
    let longest = "w".repeat(64);
    check(
        &format!("alice.{longest}"),
        &format!("name alice {longest}"),
    );
    let longer = "w".repeat(65);
    check_refused(&format!("alice.{longer}"), &reason(&longer));
}

#[test]
fn an_identity_of_more_than_255_bytes_is_refused() {
    check_refused(
        &"a".repeat(256),
        "the user identity has 256 bytes, at most 255 are allowed",
    );
}

#[test]
fn addresses_whose_owner_can_be_proven_are_accounts() {
    for address in [P2WPKH, P2TR, P2SH] {
        check(address, &format!("address {address} -"));
        check(
            &format!("{address}.rig1"),
            &format!("address {address} rig1"),
        );
    }
    let regtest = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080";
    let expected = format!("address {regtest} miner2");
    assert_eq!(
        parse(&format!("{regtest}.miner2"), Network::Regtest),
        Ok(expected)
    );
    assert!(parse(TESTNET_P2WPKH, Network::Signet).is_ok());
}

#[test]
fn bech32_addresses_are_folded_to_lower_case() {
    check(&P2WPKH.to_uppercase(), &format!("address {P2WPKH} -"));
    check(
        &format!("{}.R", P2TR.to_uppercase()),
        &format!("address {P2TR} R"),
    );
}

#[test]
fn addresses_whose_owner_cannot_be_proven_are_refused() {
    for (address, kind) in [(P2PKH, "P2PKH"), (P2WSH, "P2WSH")] {
        let reason = format!(
            "the address `{address}` is {kind}; only P2WPKH, P2TR and P2SH-P2WPKH addresses can prove their owner"
        );
        check_refused(address, &reason);
    }
}

#[test]
fn addresses_of_another_chain_are_refused() {
    check_refused(
        TESTNET_P2WPKH,
        &format!("the address `{TESTNET_P2WPKH}` is not of this chain, bitcoin"),
    );
    let error = parse(P2SH, Network::Signet).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("the address `{P2SH}` is not of this chain, signet")
    );
}

#[test]
fn an_address_with_a_typing_mistake_is_refused() {
    for address in [
        P2WPKH.replace('w', "x"),
        P2SH.replace("14159", "14158"),
        P2WPKH[..41].to_owned(),
        // Base58 keeps its case, bech32 has one case only.
        P2SH.to_lowercase(),
        format!("BC{}", &P2WPKH[2..]),
        "a".repeat(21),
    ] {
        let error = parse(&address, Network::Bitcoin).expect_err(&address);
        assert!(matches!(error, IdentityError::Address { .. }), "{error:?}");
    }
}

#[test]
fn a_lightning_address_has_its_worker_after_a_slash() {
    check("alice@example.com", "lightning alice@example.com -");
    check(
        "alice@example.com/rig.1",
        "lightning alice@example.com rig.1",
    );
    check("alice@example.com/", "lightning alice@example.com -");
    check(
        "a.b+tip@ln.example-pay.com/a/b",
        "lightning a.b+tip@ln.example-pay.com a/b",
    );
    check("Alice@Example.COM/Rig", "lightning alice@example.com Rig");
}

#[test]
fn the_label_that_sri_appends_is_the_worker_of_a_lightning_address() {
    check(
        "alice@example.com.miner12",
        "lightning alice@example.com miner12",
    );
    check(
        "alice@example.com/rig.miner12",
        "lightning alice@example.com rig.miner12",
    );
    // Without a number it is a domain like any other.
    check("alice@example.miner", "lightning alice@example.miner -");
}

#[test]
fn a_domain_that_is_no_host_name_is_refused() {
    for domain in [
        "",
        "localhost",
        "example.com.rig_1",
        "example..com",
        ".com",
        "example.com.",
        "-a.com",
        "a-.com",
        "127.0.0.1",
        "[::1]",
        "example.com:80",
        "b@example.com",
        "exämple.com",
        "miner1",
    ] {
        check_refused(
            &format!("alice@{domain}"),
            &format!(
                "`{domain}` is not the domain of a Lightning address; a worker's name goes after a /"
            ),
        );
    }
    let label = "a".repeat(64);
    assert!(parse(&format!("alice@{label}.com"), Network::Bitcoin).is_err());
    // The label that SRI appends leaves no host name.
    assert!(parse("alice@com.miner1", Network::Bitcoin).is_err());
}

#[test]
fn a_lightning_user_outside_lud16_is_refused() {
    for user in ["", "al ice", "älice", "al/ice"] {
        assert!(
            parse(&format!("{user}@example.com"), Network::Bitcoin).is_err(),
            "{user}"
        );
    }
}

proptest! {
    #[test]
    fn no_input_panics(identity in ".{0,80}") {
        let _parsed = Identity::parse(&identity, Network::Bitcoin);
    }

    #[test]
    fn an_account_is_what_it_is_shown_as(
        identity in prop_oneof![
            "[a-zA-Z0-9_-]{1,20}(\\.[a-zA-Z0-9_.-]{1,30})?",
            "[a-zA-Z0-9_.+-]{1,20}@[a-z0-9]{1,9}\\.[a-z]{2,5}(/[a-z0-9]{1,9}|\\.miner[0-9]{1,3})?",
            Just(P2WPKH.to_uppercase()),
            Just(P2SH.to_owned()),
        ],
    ) {
        let identity = Identity::parse(&identity, Network::Bitcoin).unwrap();
        let shown = identity.account.to_string();
        prop_assert_eq!(Account::parse(&shown, Network::Bitcoin), Ok(identity.account.clone()));
        // With no worker an account is an identity, the same one.
        if let Some(worker) = &identity.worker {
            let separator = if shown.contains('@') { '/' } else { '.' };
            let again = Identity::parse(&format!("{shown}{separator}{worker}"), Network::Bitcoin);
            prop_assert_eq!(again, Ok(identity));
        }
    }
}
