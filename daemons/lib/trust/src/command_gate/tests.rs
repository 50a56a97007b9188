use super::*;
use crate::command::{Digest, Order, ServiceName};
use crate::control_key::CommandKey;
use crate::jws;
use crate::key_set::TimedKey;
use proptest::prelude::*;
use serde_json::{Value, json};

const NOW: i64 = 1_800_000_000;

/// A node, as it is when an order comes.
#[derive(Clone)]
struct Node {
    domain: TrustDomain,
    name: NodeId,
    keys: KeySet,
    policy: LocalPolicy,
    state: OrderState,
    clock: NodeClock,
    config: String,
    generation: u64,
    known: Vec<CommandId>,
}

fn key(seed: u8) -> CommandKey {
    hex::encode([seed; 32]).parse().unwrap()
}

fn id(byte: u8) -> CommandId {
    hex::encode([byte; 16]).parse().unwrap()
}

fn node() -> Node {
    let timed = |seed: u8, nbf, exp| TimedKey {
        key: key(seed).public_key(),
        nbf,
        exp,
    };
    let policy = r#"
        drain = true
        [services.hh-translator]
        allow = ["restart", "config"]
        config_keys = ["log"]
        [wallet]
        spend = true
    "#;
    Node {
        domain: "hyperhash.example".parse().unwrap(),
        name: "berlin-1".parse().unwrap(),
        keys: KeySet {
            version: 1,
            domain: "hyperhash.example".parse().unwrap(),
            commands: vec![timed(1, NOW - 1_000, NOW + 1_000), timed(2, 0, NOW)],
            checkpoints: Vec::new(),
        },
        policy: toml::from_str(policy).unwrap(),
        state: OrderState {
            epoch: 3,
            last_seq: 40,
            newest_iat: NOW - 100,
        },
        clock: NodeClock {
            now: NOW,
            offset: 0,
        },
        config: "log = \"info\"\n".to_owned(),
        generation: 17,
        known: vec![id(9)],
    }
}

impl Node {
    fn takes(&self, order: &str) -> Result<Verdict, OrderRefusal> {
        let gate = CommandGate {
            domain: &self.domain,
            node: &self.name,
            keys: &self.keys,
            policy: &self.policy,
            state: self.state,
            clock: self.clock,
        };
        gate.check(
            order,
            |id| self.known.contains(&id),
            |_service| CurrentConfig {
                generation: self.generation,
                text: Some(&self.config),
            },
        )
    }
}

fn service() -> ServiceName {
    "hh-translator".parse().unwrap()
}

fn order() -> Order {
    Order {
        domain: "hyperhash.example".parse().unwrap(),
        node: "berlin-1".parse().unwrap(),
        operator: "alice".to_owned(),
        id: id(1),
        issued_at: NOW,
        expires_at: NOW + 120,
        epoch: 3,
        seq: 41,
        command: Command::ServiceRestart { service: service() },
        if_generation: None,
        deadline_seconds: 60,
        audit: Some(AuditHead {
            size: 7,
            root: Digest([7; 32]),
        }),
    }
}

fn signed(order: &Order) -> String {
    order.sign(&key(1)).unwrap()
}

/// The claims of the order, to be changed.
fn claims() -> Value {
    let token = signed(&order());
    let claims = token.split('.').nth(1).unwrap();
    jws::decode(claims).unwrap()
}

fn forged(claims: &Value) -> String {
    jws::compact(command::TYPE, key(1).public_key(), claims, |bytes| {
        key(1).sign(bytes)
    })
}

fn with(claim: &str, value: Value) -> String {
    let mut claims = claims();
    claims[claim] = value;
    forged(&claims)
}

#[track_caller]
fn refused(node: &Node, token: &str, code: &str) {
    let verdict = node.takes(token);
    let error = verdict.expect_err(code);
    assert_eq!(error.code(), code, "{error}");
}

#[test]
fn a_right_order_is_run_and_moves_the_state_on() {
    let verdict = node().takes(&signed(&order())).unwrap();
    let Verdict::Run(accepted) = verdict else {
        panic!("{verdict:?}");
    };
    assert_eq!(accepted.command, order().command);
    assert_eq!((accepted.id, accepted.missing), (id(1), 0));
    assert_eq!(accepted.operator, "alice");
    assert_eq!(accepted.audit, order().audit);
    let state = OrderState {
        epoch: 3,
        last_seq: 41,
        newest_iat: NOW,
    };
    assert_eq!(accepted.state, state);
    assert_eq!(node().takes(&forged(&claims())), Ok(Verdict::Run(accepted)));
    let later = Order { seq: 45, ..order() };
    let Ok(Verdict::Run(accepted)) = node().takes(&signed(&later)) else {
        panic!("not run");
    };
    assert_eq!(accepted.missing, 4);
}

#[test]
fn each_check_has_its_refusal() {
    let node = node();
    refused(&node, &"A".repeat(command::ORDER_BYTES_MAX + 1), "too-long");
    refused(&node, "no.order", "malformed");
    refused(&node, &order().sign(&key(3)).unwrap(), "unknown-key");
    // A key whose time is over, or not come.
    refused(&node, &order().sign(&key(2)).unwrap(), "unknown-key");
    let mut early = node.clone();
    early.keys.commands[0].nbf = NOW + 1;
    refused(&early, &signed(&order()), "unknown-key");
    let mixed = jws::compact(command::TYPE, key(1).public_key(), &claims(), |b| {
        key(3).sign(b)
    });
    refused(&node, &mixed, "wrong-signature");
    refused(&node, &with("ver", json!(2)), "unknown-version");
    refused(
        &node,
        &with("iss", json!("spiffe://evil/core")),
        "wrong-issuer",
    );
    refused(
        &node,
        &with("aud", json!("spiffe://hyperhash.example/node/paris")),
        "wrong-audience",
    );
    refused(&node, &with("iat", json!(NOW + 31)), "not-yet-valid");
    refused(&node, &with("nbf", json!(NOW + 31)), "not-yet-valid");
    refused(&node, &with("exp", json!(NOW + 301)), "lifetime");
    refused(&node, &with("exp", json!(NOW - 1)), "lifetime");
    refused(&node, &with("epoch", json!(2)), "wrong-epoch");
    refused(&node, &with("epoch", json!(4)), "wrong-epoch");
    refused(&node, &with("seq", json!(40)), "stale-sequence");
    refused(
        &node,
        &with("cmd", json!({"name": "shell", "args": {}})),
        "unknown-command",
    );
    let zero = json!({"name": "wallet.invoice", "args": {"amount_msat": 0, "description": ""}});
    refused(&node, &with("cmd", zero), "argument");
    refused(
        &node,
        &with("cmd", json!({"name": "wallet.read", "args": {}})),
        "policy",
    );
    refused(&node, &with("pre", json!({"generation": 16})), "generation");
}

#[test]
fn a_clock_that_is_wrong_is_told_and_opens_no_window() {
    let at = |now, offset| Node {
        clock: NodeClock { now, offset },
        ..node()
    };
    let token = signed(&order());
    refused(&at(NOW, 31), &token, "clock-skew");
    refused(&at(NOW, -31), &token, "clock-skew");
    refused(&at(NOW, i64::MIN), &token, "clock-skew");
    at(NOW - 30, -30).takes(&token).unwrap();
    refused(&at(NOW - 31, 0), &token, "not-yet-valid");
    at(NOW + 119, 0).takes(&token).unwrap();
    refused(&at(NOW + 120, 0), &token, "expired");
    // Set back by an hour after a newer order was taken: what has ended stays so.
    let mut back = at(NOW + 10, 0);
    back.state.newest_iat = NOW + 3_600;
    back.keys.commands[0].exp = NOW + 10_000;
    refused(&back, &token, "expired");
}

#[test]
fn an_order_that_comes_again_is_known_and_an_older_one_is_stale() {
    let again = Order {
        id: id(9),
        seq: 12,
        ..order()
    };
    assert_eq!(node().takes(&signed(&again)), Ok(Verdict::Known(id(9))));
    // After the journal was cleaned up, the number still stops it.
    let mut forgetful = node();
    forgetful.known.clear();
    refused(&forgetful, &signed(&again), "stale-sequence");
    // A copy of the database from before, on either side.
    let mut restored = node();
    restored.state.epoch = 2;
    refused(&restored, &signed(&order()), "wrong-epoch");
}

#[test]
fn claims_that_are_missing_or_of_another_type_are_refused() {
    let node = node();
    let names: Vec<String> = claims().as_object().unwrap().keys().cloned().collect();
    assert_eq!(names.len(), 13);
    for claim in &names {
        let mut without = claims();
        without.as_object_mut().unwrap().remove(claim);
        let verdict = node.takes(&forged(&without));
        assert_eq!(
            verdict.is_err(),
            claim != "audit",
            "without {claim}: {verdict:?}"
        );
        for wrong in [
            json!("x"),
            json!(1e300),
            json!(-1),
            json!(1.5),
            json!([]),
            json!({}),
        ] {
            // Anybody's name may be an operator's.
            if claim == "sub" && wrong == "x" {
                continue;
            }
            assert!(
                node.takes(&with(claim, wrong.clone())).is_err(),
                "{claim}: {wrong}"
            );
        }
    }
    let array = json!(["spiffe://hyperhash.example/node/berlin-1"]);
    refused(&node, &with("aud", array), "malformed");
    refused(&node, &with("exp", json!(null)), "malformed");
    refused(&node, &with("admin", json!(true)), "malformed");
}

#[test]
fn a_token_for_something_else_is_no_order() {
    let node = node();
    for typ in [
        "hh-enrol+jwt",
        "hh-result+jwt",
        "hh-key-set+jwt",
        "JWT",
        "hh-node-credential",
    ] {
        let token = jws::compact(typ, key(1).public_key(), &claims(), |bytes| {
            key(1).sign(bytes)
        });
        refused(&node, &token, "wrong-kind");
    }
    let enrol: crate::EnrolKey = "01".repeat(32).parse().unwrap();
    let token = jws::compact(command::TYPE, enrol.public_key(), &claims(), |b| {
        enrol.sign(b)
    });
    refused(&node, &token, "malformed");
}

#[test]
fn the_first_fault_is_told_in_the_order_of_the_checks() {
    // Each one is put right in its turn, and the next one shows.
    let mut claims = claims();
    for (claim, wrong) in [
        ("ver", json!(2)),
        ("iss", json!("x")),
        ("aud", json!("x")),
        ("iat", json!(NOW + 40)),
        ("exp", json!(NOW + 4_000)),
        ("epoch", json!(1)),
        ("seq", json!(1)),
        ("cmd", json!({"name": "shell", "args": {}})),
        ("pre", json!({"generation": 1})),
    ] {
        claims[claim] = wrong;
    }
    let right = self::claims();
    let denied = json!({"name": "service.stop", "args": {"service": "hh-translator"}});
    for (code, claim, next) in [
        ("unknown-version", "ver", right["ver"].clone()),
        ("wrong-issuer", "iss", right["iss"].clone()),
        ("wrong-audience", "aud", right["aud"].clone()),
        ("not-yet-valid", "iat", right["iat"].clone()),
        ("lifetime", "exp", right["exp"].clone()),
        ("wrong-epoch", "epoch", right["epoch"].clone()),
        ("stale-sequence", "seq", right["seq"].clone()),
        ("unknown-command", "cmd", denied),
        ("policy", "cmd", right["cmd"].clone()),
        ("generation", "pre", json!({"generation": 0})),
    ] {
        refused(&node(), &forged(&claims), code);
        claims[claim] = next;
    }
}

#[test]
fn a_configuration_is_for_the_one_that_it_replaces() {
    let body = "log = \"debug\"\n".to_owned();
    let apply = |generation, body: &str| Command::ConfigApply {
        service: service(),
        generation,
        sha256: Digest::of(body.as_bytes()),
        body: body.to_owned(),
    };
    let of = |command, if_generation| {
        let order = Order {
            command,
            if_generation,
            ..order()
        };
        node().takes(&signed(&order))
    };
    assert!(matches!(
        of(apply(18, &body), Some(17)),
        Ok(Verdict::Run(_))
    ));
    assert!(matches!(of(apply(18, &body), None), Ok(Verdict::Run(_))));
    let (wanted, own) = (16, 17);
    assert_eq!(
        of(apply(18, &body), Some(16)),
        Err(OrderRefusal::Generation { wanted, own })
    );
    let wanted = 17;
    assert_eq!(
        of(apply(17, &body), None),
        Err(OrderRefusal::Generation { wanted, own })
    );
    // What is the owner's waits for him.
    let theirs = "log = \"info\"\nauthority_key = \"theirs\"\n";
    assert!(matches!(
        of(apply(18, theirs), None),
        Ok(Verdict::AskOwner(_, _))
    ));
    let spend = Command::WalletSpend {
        destination: "lnbc1".to_owned(),
        amount_msat: 1,
        fee_msat_max: 0,
    };
    assert!(matches!(of(spend, None), Ok(Verdict::AskOwner(_, _))));
}

proptest! {
    #[test]
    fn a_changed_byte_is_refused(at: prop::sample::Index, flip in 1..=255_u8) {
        let mut bytes = signed(&order()).into_bytes();
        let place = at.index(bytes.len());
        bytes[place] ^= flip;
        if let Ok(changed) = String::from_utf8(bytes) {
            prop_assert!(node().takes(&changed).is_err(), "{}", changed);
        }
    }

    #[test]
    fn no_order_is_run_twice(seqs in prop::collection::vec(0..60_u64, 1..40)) {
        let mut node = node();
        let mut run = Vec::new();
        for seq in seqs {
            if let Ok(Verdict::Run(accepted)) = node.takes(&signed(&Order { seq, ..order() })) {
                node.state = accepted.state;
                run.push(seq);
            }
        }
        prop_assert!(run.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", run);
    }
}
