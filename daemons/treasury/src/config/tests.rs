use super::*;
use std::path::Path;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config.example.toml");

fn load(path: &Path) -> Result<TreasuryConfig, String> {
    match hh_daemon::load::<TreasuryConfig>(path) {
        Ok((_, config)) => Ok(config),
        Err(error) => Err(error.to_string()),
    }
}

fn load_text(text: &str) -> Result<TreasuryConfig, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hh-treasury.toml");
    std::fs::write(&path, text).unwrap();
    load(&path)
}

/// The example with a part replaced.
#[track_caller]
fn check_refused(from: &str, to: &str, expected: &[&str]) {
    let example = std::fs::read_to_string(EXAMPLE).unwrap();
    assert!(example.contains(from), "{from} is not in the example");
    let error = load_text(&example.replace(from, to)).unwrap_err();
    for words in expected {
        assert!(error.contains(words), "{words:?} is not in: {error}");
    }
}

#[test]
fn the_example_is_valid_and_shows_the_defaults() {
    let config = load(Path::new(EXAMPLE)).unwrap();
    assert_eq!(config.chain, Network::Signet);
    let example = std::fs::read_to_string(EXAMPLE).unwrap();
    let shown: String = example
        .lines()
        .map(|line| {
            line.strip_prefix("# ")
                .filter(|line| line.contains(" = ") || line.starts_with('['))
                .unwrap_or(line)
        })
        .filter(|line| !line.contains("rpc_user") && !line.contains("rpc_password"))
        .fold(String::new(), |text, line| text + line + "\n");
    let defaults = load_text(&shown).unwrap();
    assert_eq!(format!("{defaults:?}"), format!("{config:?}"));
}

#[test]
fn what_is_optional_in_the_example_can_be_there() {
    let example = std::fs::read_to_string(EXAMPLE).unwrap();
    let node = "#[[hyper_nodes]]\n#id = \"berlin-1\"\n";
    assert!(example.contains(node));
    let round = example.replace("# window = { pplns = 4.0 }", "window = \"round\"");
    assert_eq!(load_text(&round).unwrap().window.score(), None);
    let lnd = example
        .replace("[lightning.ldk_node]", "#[lightning.ldk_node]")
        .replace("seed = \"age", "#seed = \"age")
        .replace("#[lightning.lnd]", "[lightning.lnd]")
        .replace(
            "#address = \"127.0.0.1:10009\"",
            "address = \"127.0.0.1:10009\"",
        )
        .replace("#certificate", "certificate")
        .replace("#macaroon", "macaroon");
    assert_eq!(load_text(&lnd).unwrap().lightning.backend(), "lnd");
}

#[test]
fn what_makes_no_sense_is_refused_with_what_to_do() {
    let mainnet = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
    check_refused(
        "#coinbase_reward_address = \"tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx\"",
        &format!("coinbase_reward_address = \"{mainnet}\""),
        &[
            "is not an address of the chain signet",
            "write an address of signet",
        ],
    );
    check_refused(
        "# window = { pplns = 4.0 }",
        "window = { pplns = 0.5 }",
        &["no window"],
    );
    check_refused(
        "# window = { pplns = 4.0 }",
        "window = { pplns = 8.0 }",
        &["N from 1 to 4"],
    );
    check_refused(
        "# [payouts]",
        "[payouts]\nmax_payout_sat = 10",
        &["less than the minimum"],
    );
    check_refused(
        "# [payouts]",
        "[payouts]\nmax_day_sat = 10",
        &["less than one payout"],
    );
    check_refused(
        "# [payouts]",
        "[payouts]\ncltv_limit_blocks = 3",
        &["write 144 to 2016"],
    );
    check_refused(
        "# [channels]",
        "[channels]\npeers = [\"x\"]",
        &["channels.peers", "NODE_ID@HOST:PORT"],
    );
    check_refused(
        "[lightning.ldk_node]",
        "[lightning.cln]\nsocket = \"/x\"\n[lightning.ldk_node]",
        &["one Lightning node"],
    );
    check_refused(
        "sqlite = \"/var",
        "#sqlite = \"/var",
        &["pool_ledger", "names no ledger"],
    );
}

#[test]
fn a_window_of_four_blocks_is_that_of_the_rules() {
    assert_eq!(WindowConfig::default().score(), Some(Score::WINDOW));
    let half = WindowConfig::Pplns(2.5).score();
    assert_eq!(half, Some(Score(Score::BLOCK.0 * 5 / 2)));
}

#[test]
fn one_operator_alone_is_a_mistake_and_so_is_one_without_a_network() {
    let example = std::fs::read_to_string(EXAMPLE).unwrap();
    let operators = "\n#[operators]\n#alice = ";
    let domain = "\n#trust_domain = ";
    assert!(example.contains(operators) && example.contains(domain));
    let alone = example.replace(operators, "\n[operators]\nalice = ");
    let refused = load_text(&alone).unwrap_err();
    for words in ["trust_domain", "one operator alone approves nothing"] {
        assert!(refused.contains(words), "{words:?} is not in: {refused}");
    }
    let two = alone
        .replace("\n#bob = ", "\nbob = ")
        .replace(domain, "\ntrust_domain = ");
    assert_eq!(load_text(&two).unwrap().operators.iter().count(), 2);
    // Two names for one person.
    let key = two
        .split("alice = ")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap();
    let bob = two
        .split("\nbob = ")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap();
    let refused = load_text(&two.replace(bob, key)).unwrap_err();
    assert!(refused.contains("have the same key"), "{refused}");
}
