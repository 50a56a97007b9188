use super::*;
use crate::config::TreasuryConfig;
use hh_trust::NodeSecretKey;
use serde_json::json;
use std::path::Path;

const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config.example.toml");

const LIGHTNING: &str = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798";
const OTHER_LIGHTNING: &str = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5";

fn config() -> TreasuryConfig {
    let loaded = hh_daemon::load::<TreasuryConfig>(Path::new(EXAMPLE));
    loaded.unwrap().1
}

fn berlin() -> NodeId {
    "berlin-1".parse().unwrap()
}

/// What operators have signed of a node; revoked, if so since when.
fn directory(lightning: &str, revoked_at: Option<i64>) -> Arc<Directory> {
    let key: NodeSecretKey = "01".repeat(32).parse().unwrap();
    let record = json!({
        "place": { "domain": "hyperhash.test", "chain": "signet" },
        "node": "berlin-1",
        "number": 1,
        "key": key.public_key(),
        "lightning": lightning,
        "lanes": ["asics"],
        "visibility": "private",
        "at": 1_800_000_000,
    });
    let signed = json!({ "text": "", "signatures": [] });
    let mut kept = json!({
        "nodes": { "berlin-1": { "record": record, "signed": signed } },
        "operators": {},
        "revoked_nodes": {},
        "revoked_operators": {},
    });
    if let Some(at) = revoked_at {
        kept["revoked_nodes"]["berlin-1"] = at.into();
    }
    Arc::new(serde_json::from_value(kept).unwrap())
}

fn paid_to(destinations: &Destinations) -> Option<String> {
    let node = destinations.node(&berlin())?;
    Some(node.lightning_node_id.to_string())
}

#[test]
fn a_node_of_the_directory_is_paid_until_it_is_revoked() {
    let (shown, watching) = watch::channel(Arc::default());
    let destinations = Destinations::new(&config()).unwrap();
    let destinations = destinations.beside(watching);
    assert_eq!(paid_to(&destinations), None);
    assert!(destinations.node_ids().is_empty());
    shown.send_replace(directory(LIGHTNING, None));
    assert_eq!(paid_to(&destinations).as_deref(), Some(LIGHTNING));
    assert_eq!(destinations.node_ids(), [berlin()]);
    shown.send_replace(directory(LIGHTNING, Some(1_800_000_001)));
    assert_eq!(paid_to(&destinations), None);
    assert!(destinations.node_ids().is_empty());
}

#[test]
fn what_the_configuration_says_of_a_node_goes_before_the_directory() {
    let mut config = config();
    let key: NodeSecretKey = "02".repeat(32).parse().unwrap();
    config.hyper_nodes.push(HyperNodeConfig {
        id: berlin(),
        public_key: key.public_key(),
        lightning_node_id: LIGHTNING.parse().unwrap(),
    });
    let (shown, watching) = watch::channel(directory(OTHER_LIGHTNING, None));
    let destinations = Destinations::new(&config).unwrap().beside(watching);
    assert_eq!(paid_to(&destinations).as_deref(), Some(LIGHTNING));
    assert_eq!(destinations.node_ids(), [berlin()], "it is told once");
    shown.send_replace(directory(OTHER_LIGHTNING, Some(1_800_000_001)));
    assert_eq!(paid_to(&destinations), None);
    assert!(destinations.node_ids().is_empty());
}
