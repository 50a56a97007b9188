use super::*;
use std::path::Path;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config.example.toml");

fn load(path: &Path) -> Result<PoolConfig, String> {
    match hh_daemon::load::<PoolConfig>(path) {
        Ok((_, config)) => Ok(config),
        Err(error) => Err(error.to_string()),
    }
}

/// The example with a part replaced.
#[track_caller]
fn check_refused(from: &str, to: &str, expected: &[&str]) {
    let example = std::fs::read_to_string(EXAMPLE).unwrap();
    assert!(example.contains(from), "{from} is not in the example");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hh-pool.toml");
    std::fs::write(&path, example.replace(from, to)).unwrap();
    let error = load(&path).unwrap_err();
    for words in expected {
        assert!(error.contains(words), "{words:?} is not in: {error}");
    }
}

#[test]
fn the_example_is_valid_and_shows_the_defaults() {
    let config = load(Path::new(EXAMPLE)).unwrap();
    assert_eq!(config.chain, Network::Signet);
    assert_eq!(config.reward_script().unwrap().len(), 22);

    let example = std::fs::read_to_string(EXAMPLE).unwrap();
    let shown: String = example
        .lines()
        .map(|line| {
            line.strip_prefix("# ")
                .filter(|l| l.contains(" = ") || l.starts_with('['))
                .unwrap_or(line)
        })
        .filter(|line| !line.contains("rpc_user") && !line.contains("rpc_password"))
        .fold(String::new(), |text, line| text + line + "\n");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hh-pool.toml");
    std::fs::write(&path, shown).unwrap();
    let defaults = load(&path).unwrap();
    assert_eq!(format!("{defaults:?}"), format!("{config:?}"));
}

#[test]
fn an_address_of_another_chain_says_so_and_what_to_do() {
    let address = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx";
    let mainnet = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4";
    let expected = [
        "coinbase_reward_address",
        "is not an address of the chain signet",
        "write an address of signet",
    ];
    check_refused(address, mainnet, &expected);
}

#[test]
fn a_pool_without_a_second_way_for_its_blocks_is_refused() {
    let nodes = "[[nodes]]\nname = \"core-1\"\nrpc_url = \"http://127.0.0.1:38332\"\nrpc_cookie_file = \"/var/lib/bitcoind/signet/.cookie\"";
    check_refused(nodes, "nodes_ = 1", &["nodes"]);
}

const LEDGER: &str =
    "#[ledger.postgres]\n#host = \"/run/postgresql\"\n#port = 5432\n#database = \"hyperhash\"\n";

#[test]
fn the_ledger_is_on_postgresql_where_the_file_says_so() {
    let example = std::fs::read_to_string(EXAMPLE).unwrap();
    assert!(example.contains(LEDGER));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hh-pool.toml");
    let load_with = |table: String| {
        std::fs::write(&path, example.replace(LEDGER, &table)).unwrap();
        load(&path).unwrap().ledger_location()
    };
    let by_default = load_with(LEDGER.to_owned()).unwrap().to_string();
    assert_eq!(by_default, "/var/lib/hyperhash/hh-pool/pool.db");
    let table = "[ledger.postgres]\nhost = \"/run/postgresql\"\ndatabase = \"hyperhash\"\n";
    let location = load_with(table.to_owned()).unwrap().to_string();
    assert_eq!(location, "hyperhash on /run/postgresql port 5432");
    let absent = format!("{table}password = \"file:/nowhere\"\n");
    let failure = load_with(absent).unwrap_err();
    assert_eq!(failure.status(), hh_daemon::ExitStatus::Config);
}

#[test]
fn a_ledger_on_another_machine_needs_tls() {
    let table = "[ledger.postgres]\nhost = \"db.example\"\ndatabase = \"hyperhash\"\n";
    let expected = [
        "ledger.postgres.host",
        "db.example is another machine",
        "root_certificates",
    ];
    check_refused(LEDGER, table, &expected);
}

/// Tables of nodes with these lines, each with the key of its length, and what follows in the example.
fn hyper_nodes(lines: &[&str]) -> String {
    let table = |line: &&str| {
        let seed = u8::try_from(line.len() % 256).unwrap();
        let key = crate::sample::node::config("x", seed).public_key;
        format!("[[hyper_nodes]]\npublic_key = \"{key}\"\n{line}\n")
    };
    lines.iter().map(table).collect::<String>() + LEDGER
}

#[test]
fn nodes_are_known_by_name_key_and_lanes() {
    let example = std::fs::read_to_string(EXAMPLE).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hh-pool.toml");
    let lines = [
        "id = \"berlin-1\"\nlanes = [{ name = \"asics\", min_difficulty = 1024.0 }, { name = \"gpus\" }]",
        "id = \"rome\"\nrevoked = true\nlanes = [{ name = \"asics\" }]",
    ];
    std::fs::write(&path, example.replace(LEDGER, &hyper_nodes(&lines))).unwrap();
    let nodes = load(&path).unwrap().hyper_nodes;
    assert_eq!(nodes[0].id.as_str(), "berlin-1");
    assert_eq!(nodes[0].lanes[0].difficulty().min, Some(1024.0));
    assert_eq!(nodes[1].lanes[0].name.as_str(), "asics");
    assert!(nodes[1].revoked && !nodes[0].revoked);
}

#[test]
fn a_private_node_serves_accounts_that_are_some() {
    let example = std::fs::read_to_string(EXAMPLE).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hh-pool.toml");
    let table = format!("[private_nodes]\nberlin-1 = [\"alice\", \"bob\"]\n{LEDGER}");
    std::fs::write(&path, example.replace(LEDGER, &table)).unwrap();
    let private = load(&path).unwrap().private_nodes;
    let (node, accounts) = private.first_key_value().unwrap();
    assert_eq!((node.as_str(), accounts.len()), ("berlin-1", 2));
    for (line, expected) in [
        ("berlin-1 = []", "serves nobody"),
        ("berlin-1 = [\"alice.rig1\"]", "is no account"),
        ("berlin-1 = [\"Alice\"]", "is no account"),
        ("core = [\"alice\"]", "no name of a node"),
    ] {
        let table = format!("[private_nodes]\n{line}\n{LEDGER}");
        check_refused(LEDGER, &table, &[expected]);
    }
}

#[test]
fn a_node_that_can_t_be_told_from_another_or_from_core_is_refused() {
    let one = "id = \"a\"\nlanes = [{ name = \"x\" }]";
    let twice = [one, one];
    let expected = [
        "hyper_nodes.1.id",
        "another node a",
        "hyper_nodes.1.public_key",
    ];
    check_refused(LEDGER, &hyper_nodes(&twice), &expected);
    for (line, expected) in [
        ("id = \"core\"\nlanes = []", "no name of a node"),
        ("id = \"a b\"\nlanes = []", "no name of a node"),
        ("id = \"a\"\nlanes = [{ name = \"\" }]", "no name of a lane"),
        (
            "id = \"a\"\nlanes = []",
            "no share can come through no lane",
        ),
        (
            "id = \"a\"\nlanes = [{ name = \"x\" }, { name = \"x\" }]",
            "another lane x",
        ),
        (
            "id = \"a\"\nlanes = [{ name = \"x\", min_difficulty = 2.0, max_difficulty = 1.0 }]",
            "above the largest 1",
        ),
    ] {
        check_refused(LEDGER, &hyper_nodes(&[line]), &[expected]);
    }
    let key = "[[hyper_nodes]]\nid = \"a\"\nlanes = []\npublic_key = \"9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh\"\n";
    check_refused(LEDGER, &format!("{key}{LEDGER}"), &["begins with hhnode1"]);
}

#[test]
fn several_mistakes_are_told_at_once() {
    check_refused(
        "data_dir = \"/var/lib/hyperhash/hh-pool\"",
        "data_dir = \"relative\"\ncoinbase_tag = \"\u{e9}\"",
        &["data_dir", "coinbase_tag", "mistakes in"],
    );
}

#[test]
fn a_segment_that_is_none_is_refused() {
    for mib in ["0", "1025"] {
        let expected = ["share_log.segment_mib", mib, "write 1 to 1024"];
        check_refused(
            "# [share_log]\n# segment_mib = 64\n# keep_shipped_hours = 24\n# keep_shipped_mib = 4096",
            &format!("[share_log]\nsegment_mib = {mib}"),
            &expected,
        );
    }
}

#[test]
fn shares_are_not_let_go_of_before_a_reward_is_mature() {
    let from = "# [ledger]\n# keep_shares_days = 90";
    for days in ["0", "1", "3651"] {
        let to = format!("[ledger]\nkeep_shares_days = {days}");
        let expected = ["ledger.keep_shares_days", days, "write 2 to 3650"];
        check_refused(from, &to, &expected);
    }
}

#[test]
fn difficulties_that_cross_are_refused_also_between_a_lane_and_everybody() {
    check_refused(
        "#min_difficulty = 1000.0\n#max_difficulty = 1000000.0",
        "min_difficulty = 10.0\nmax_difficulty = 1.0",
        &["lanes.0.min_difficulty", "10", "above the largest 1"],
    );
    check_refused(
        "#max_difficulty = 1000000000.0",
        "[vardiff]\nmin_difficulty = 1000.0\nmax_difficulty = 0.5",
        &["vardiff.min_difficulty", "above the largest 0.5"],
    );
    check_refused(
        "# shares_per_minute = 18.0",
        "[vardiff]\nshares_per_minute = 0.0",
        &["vardiff.shares_per_minute", "0 is no rate"],
    );
}

/// The example with operators and a directory, and without one of its lines.
fn with_operators(missing: &str) -> Result<PoolConfig, String> {
    let mut example = std::fs::read_to_string(EXAMPLE).unwrap();
    let given = [
        "trust_domain = ",
        "[operators]",
        "alice = ",
        "bob = ",
        "[directory]",
        "core_address = ",
        "root_certificate = ",
        "token = ",
        "refresh_seconds = ",
    ];
    for line in given.into_iter().filter(|line| *line != missing) {
        let hidden = format!("\n#{line}");
        assert!(example.contains(&hidden), "{line} is not in the example");
        example = example.replace(&hidden, &format!("\n{line}"));
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hh-pool.toml");
    std::fs::write(&path, example).unwrap();
    load(&path)
}

#[test]
fn core_is_asked_for_nodes_where_operators_are_listed_who_are_believed() {
    let config = with_operators("refresh_seconds = ").unwrap();
    assert_eq!(config.operators.iter().count(), 2);
    assert_eq!(config.directory.unwrap().refresh_seconds, 20);
    let refused = with_operators("trust_domain = ").unwrap_err();
    assert!(refused.contains("names the network"), "{refused}");
    let refused = with_operators("core_address = ").unwrap_err();
    assert!(refused.contains("core_address"), "{refused}");
    // Nobody to believe.
    let example = std::fs::read_to_string(EXAMPLE).unwrap();
    let table = "[directory]\ncore_address = \"core\"\nroot_certificate = \"root.crt\"\ntoken = \"file:/x\"\nrefresh_seconds = 60\n";
    assert!(example.contains(LEDGER));
    let expected = [
        "trust_domain",
        "operators",
        "core is believed nothing",
        "is not HOST:PORT",
        "not an absolute path",
        "write 1 to 20",
    ];
    check_refused(LEDGER, &format!("{table}{LEDGER}"), &expected);
}
