use super::*;
use proptest::prelude::*;

fn service() -> ServiceName {
    "hh-translator".parse().unwrap()
}

/// One of each.
fn all() -> Vec<Command> {
    let service = service();
    let body = "log = \"info\"\n".to_owned();
    vec![
        Command::Ping {},
        Command::ServiceStart {
            service: service.clone(),
        },
        Command::ServiceStop {
            service: service.clone(),
        },
        Command::ServiceRestart {
            service: service.clone(),
        },
        Command::ServiceStatus {
            service: service.clone(),
        },
        Command::LogsTail {
            service: service.clone(),
            lines: 500,
            after: None,
        },
        Command::ConfigApply {
            service,
            generation: 3,
            sha256: Digest::of(body.as_bytes()),
            body,
        },
        Command::Drain { on: true },
        Command::CertificateRenew {},
        Command::WalletRead {},
        Command::WalletInvoice {
            amount_msat: 1,
            description: "dues".to_owned(),
        },
        Command::WalletSpend {
            destination: "lnbc1".to_owned(),
            amount_msat: 1,
            fee_msat_max: 1,
        },
    ]
}

#[test]
fn a_command_is_read_as_it_is_written_under_its_name() {
    for command in all() {
        command.check().unwrap();
        let json = serde_json::to_string(&command).unwrap();
        let named = format!(r#"{{"name":"{}","args":{{"#, command.name());
        assert!(json.starts_with(&named), "{json}");
        assert_eq!(serde_json::from_str::<Command>(&json).unwrap(), command);
    }
    let digests: std::collections::BTreeSet<_> = all().iter().map(Command::digest).collect();
    assert_eq!(digests.len(), all().len());
}

#[test]
fn what_is_not_in_the_set_is_no_command() {
    for json in [
        r#"{"name":"shell","args":{"line":"id"}}"#,
        r#"{"name":"file.write","args":{"path":"/etc/passwd","body":""}}"#,
        r#"{"name":"PING","args":{}}"#,
        r#"{"name":"ping","args":{"more":1}}"#,
        r#"{"name":"ping","args":{},"more":1}"#,
        r#"{"name":"ping","args":{},"args":{}}"#,
        r#"{"name":"ping","name":"node.drain","args":{"on":true}}"#,
        r#"{"name":"service.stop","args":{"service":"a","service":"b"}}"#,
        r#"{"name":"service.stop","args":{"service":"a.service; rm -rf /"}}"#,
        r#"{"name":"service.stop"}"#,
        r#"{"name":"logs.tail","args":{"service":"a","lines":1.5,"after":null}}"#,
        r#"{"name":"logs.tail","args":{"service":"a","lines":-1,"after":null}}"#,
        r#"{"name":"node.drain","args":{"on":1}}"#,
        "[]",
        "null",
    ] {
        assert!(serde_json::from_str::<Command>(json).is_err(), "{json}");
    }
}

#[test]
fn no_name_of_a_service_is_a_path_an_option_or_another_unit() {
    for text in [
        "",
        "hh-pool.service",
        "hh-pool.service; rm",
        "../x",
        "-H",
        "-H host",
        "a b",
        "a\n",
        "a\0",
        "hh@$(id)",
        "a/b",
        "A",
        "ä",
        "1a",
        &"a".repeat(65),
    ] {
        assert!(text.parse::<ServiceName>().is_err(), "{text:?}");
    }
}

#[test]
fn arguments_that_can_not_be_are_refused() {
    let service = service();
    for command in [
        Command::LogsTail {
            service: service.clone(),
            lines: 0,
            after: None,
        },
        Command::LogsTail {
            service: service.clone(),
            lines: 501,
            after: None,
        },
        Command::LogsTail {
            service: service.clone(),
            lines: 1,
            after: Some("a b".to_owned()),
        },
        Command::ConfigApply {
            service: service.clone(),
            generation: 1,
            sha256: Digest::of(b"other"),
            body: String::new(),
        },
        Command::ConfigApply {
            service,
            generation: 1,
            sha256: Digest::of(&[b'#'; 65_537]),
            body: "#".repeat(65_537),
        },
        Command::WalletInvoice {
            amount_msat: 0,
            description: String::new(),
        },
        Command::WalletInvoice {
            amount_msat: 1,
            description: "\u{1b}[2J".to_owned(),
        },
        Command::WalletSpend {
            destination: "x".to_owned(),
            amount_msat: 0,
            fee_msat_max: 0,
        },
        Command::WalletSpend {
            destination: String::new(),
            amount_msat: 1,
            fee_msat_max: 0,
        },
        Command::WalletSpend {
            destination: "x".to_owned(),
            amount_msat: 2,
            fee_msat_max: u64::MAX,
        },
    ] {
        assert!(command.check().is_err(), "{command:?}");
    }
}

#[test]
fn the_largest_configuration_fits_into_an_order() {
    let body = "\n".repeat(CONFIG_BYTES_MAX);
    let order = Order {
        domain: "hyperhash.example".parse().unwrap(),
        node: "berlin-1".parse().unwrap(),
        operator: "alice".to_owned(),
        id: CommandId::generate().unwrap(),
        issued_at: 0,
        expires_at: 60,
        epoch: 1,
        seq: 1,
        command: Command::ConfigApply {
            service: service(),
            generation: 1,
            sha256: Digest::of(body.as_bytes()),
            body,
        },
        if_generation: None,
        deadline_seconds: 60,
        audit: None,
    };
    let text = order.sign(&CommandKey::generate().unwrap()).unwrap();
    assert!(text.len() < ORDER_BYTES_MAX, "{}", text.len());
    for (change, expected) in [
        (
            Order {
                expires_at: 301,
                ..order.clone()
            },
            "life",
        ),
        (
            Order {
                expires_at: 0,
                ..order.clone()
            },
            "life",
        ),
        (
            Order {
                deadline_seconds: 601,
                ..order.clone()
            },
            "deadline",
        ),
        (
            Order {
                operator: "a b".to_owned(),
                ..order.clone()
            },
            "operator",
        ),
    ] {
        let error = change.sign(&CommandKey::generate().unwrap()).unwrap_err();
        assert!(error.to_string().contains(expected), "{error}");
    }
}

proptest! {
    #[test]
    fn what_passes_as_a_service_is_one_plain_word(text in ".{0,70}") {
        if let Ok(service) = text.parse::<ServiceName>() {
            prop_assert_eq!(service.to_string(), text.clone());
            prop_assert!(text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-'));
            prop_assert!(!text.starts_with('-'));
        }
    }
}
