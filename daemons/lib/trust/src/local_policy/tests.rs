use super::*;
use crate::command::Digest;
use proptest::prelude::*;

const POLICY: &str = r#"
drain = true

[services.hh-translator]
allow = ["status", "restart", "logs", "config"]
config_keys = ["lanes.*.difficulty", "log", "authority_key", "lanes.*.upstream_address"]

[wallet]
read = true
invoice_msat_max = 1000
spend = true
"#;

const CURRENT: &str = r#"
log = "info"
authority_key = "a"
[[lanes]]
name = "asics"
difficulty = 1
upstream_address = "pool:34254"
"#;

fn policy() -> LocalPolicy {
    toml::from_str(POLICY).unwrap()
}

fn service() -> ServiceName {
    "hh-translator".parse().unwrap()
}

fn judge(command: &Command) -> Result<Permission, PolicyError> {
    policy().judge(command, Some(CURRENT))
}

fn config(body: &str) -> Command {
    Command::ConfigApply {
        service: service(),
        generation: 1,
        sha256: Digest::of(body.as_bytes()),
        body: body.to_owned(),
    }
}

#[test]
fn an_empty_policy_lets_nothing_be_done() {
    let nothing = LocalPolicy::default();
    let service = service();
    for command in [
        Command::ServiceStart {
            service: service.clone(),
        },
        Command::ServiceStatus {
            service: service.clone(),
        },
        Command::LogsTail {
            service: service.clone(),
            lines: 1,
            after: None,
        },
        config("log = \"info\""),
        Command::Drain { on: true },
        Command::WalletRead {},
        Command::WalletInvoice {
            amount_msat: 1,
            description: String::new(),
        },
        Command::WalletSpend {
            destination: "x".to_owned(),
            amount_msat: 1,
            fee_msat_max: 0,
        },
    ] {
        assert!(nothing.judge(&command, None).is_err(), "{command:?}");
    }
    assert_eq!(
        nothing.judge(&Command::Ping {}, None),
        Ok(Permission::Allowed)
    );
}

#[test]
fn what_is_listed_is_allowed_and_nothing_beside_it() {
    let service = service();
    let restart = Command::ServiceRestart {
        service: service.clone(),
    };
    assert_eq!(judge(&restart), Ok(Permission::Allowed));
    let stop = Command::ServiceStop {
        service: service.clone(),
    };
    assert_eq!(
        judge(&stop),
        Err(PolicyError::Verb {
            service,
            verb: "stop"
        })
    );
    let other: ServiceName = "sshd".parse().unwrap();
    let restart = Command::ServiceRestart {
        service: other.clone(),
    };
    assert_eq!(judge(&restart), Err(PolicyError::Service(other)));
    let invoice = |amount_msat| Command::WalletInvoice {
        amount_msat,
        description: "dues".to_owned(),
    };
    assert_eq!(judge(&invoice(1_000)), Ok(Permission::Allowed));
    let refused = PolicyError::Amount {
        asked: 1_001,
        max: 1_000,
    };
    assert_eq!(judge(&invoice(1_001)), Err(refused));
}

#[test]
fn a_payment_is_always_the_owners_to_allow() {
    let spend = Command::WalletSpend {
        destination: "lnbc1".to_owned(),
        amount_msat: 1,
        fee_msat_max: 0,
    };
    assert!(matches!(judge(&spend), Ok(Permission::AskOwner(_))));
}

#[test]
fn a_configuration_is_the_cores_as_far_as_the_owner_has_listed_its_keys() {
    assert_eq!(judge(&config(CURRENT)), Ok(Permission::Allowed));
    let easier = CURRENT.replace("difficulty = 1", "difficulty = 2");
    assert_eq!(judge(&config(&easier)), Ok(Permission::Allowed));
    for (from, to, changed) in [
        ("name = \"asics\"", "name = \"gpus\"", "lanes.0.name"),
        (
            "authority_key = \"a\"",
            "authority_key = \"b\"",
            "authority_key",
        ),
        ("authority_key = \"a\"", "", "authority_key"),
        ("pool:34254", "evil:34254", "lanes.0.upstream_address"),
        (
            "log = \"info\"",
            "log = \"info\"\nwallet.seed = 1",
            "wallet.seed",
        ),
        ("[[lanes]]", "[[lanes]]\n[[lanes]]", "lanes"),
    ] {
        let body = CURRENT.replacen(from, to, 1);
        let asked = judge(&config(&body));
        let Ok(Permission::AskOwner(why)) = &asked else {
            panic!("{body}: {asked:?}");
        };
        assert!(why.contains(changed), "{why}");
    }
    let unread = policy().judge(&config(CURRENT), None);
    assert!(matches!(unread, Ok(Permission::AskOwner(_))));
    assert_eq!(judge(&config("no toml")), Err(PolicyError::Config));
}

#[test]
fn a_policy_with_a_word_that_nobody_knows_is_refused() {
    for text in [
        "all = true",
        "[wallet]\nspent = true",
        "[services.x]\nallow = [\"exec\"]",
    ] {
        assert!(toml::from_str::<LocalPolicy>(text).is_err(), "{text}");
    }
    assert!(toml::from_str::<LocalPolicy>("[services.\"../x\"]").is_err());
}

proptest! {
    #[test]
    fn no_pattern_frees_an_owners_key(word in prop::sample::select(&OWNERS_WORDS[..]), pattern in "[a-z*]{1,5}(\\.[a-z*]{1,5}){0,2}") {
        let body = format!("{CURRENT}\n[top]\n{word} = 1\n");
        let mut policy = policy();
        policy.services.get_mut(&service()).unwrap().config_keys = vec![pattern, "*".to_owned()];
        let judged = policy.judge(&config(&body), Some(CURRENT));
        prop_assert!(matches!(judged, Ok(Permission::AskOwner(_))), "{:?}", judged);
    }
}

#[test]
fn a_unit_is_a_name_and_never_a_path_an_option_or_a_pattern() {
    for good in [
        "hh-translator.service",
        "bitcoind@main.service",
        "a_b.c.service",
    ] {
        assert_eq!(good.parse::<UnitName>().unwrap().as_str(), good);
    }
    let long = format!("{}.service", "a".repeat(201));
    for bad in [
        "",
        ".service",
        "hh-translator",
        "hh-translator.target",
        "-H.service",
        "--now.service",
        "../x.service",
        "a/b.service",
        "hh-*.service",
        "hh-[a].service",
        "a.service; rm",
        "a b.service",
        "a\n.service",
        "a\0.service",
        "hh@$(id).service",
        "a\\x2d.service",
        "\u{430}.service",
        &long,
    ] {
        let error = bad.parse::<UnitName>().unwrap_err();
        assert!(matches!(error, PolicyError::Unit(_)), "{bad:?}");
    }
    let policy = "[services.a]\nunit = \"../a.service\"\n";
    toml::from_str::<LocalPolicy>(policy).unwrap_err();
}
