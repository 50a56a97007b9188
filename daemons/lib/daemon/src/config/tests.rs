use super::*;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    chain: String,
    listen: SocketAddr,
    secret: crate::SecretRef,
    #[serde(default)]
    lanes: Vec<Lane>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lane {
    name: String,
    port: u16,
}

impl Config for Example {
    fn check(&self, mistakes: &mut Mistakes) {
        if self.chain != "signet" {
            mistakes.add("chain", "no such chain", "write signet");
        }
        for (index, lane) in self.lanes.iter().enumerate() {
            if lane.name.is_empty() {
                mistakes.add(format!("lanes.{index}.name"), "empty", "name the lane");
            }
        }
        if self.listen.port() == 0 && self.lanes.is_empty() {
            mistakes.add("lanes", "no lane and no port", "add [[lanes]]");
        }
    }
}

fn mistakes(text: &str) -> String {
    let mistakes = parse::<Example>(Path::new("/etc/x.toml"), text).unwrap_err();
    mistakes.to_string()
}

const GOOD: &str = "
chain = 'signet'
listen = '127.0.0.1:1'
secret = 'cred:key'
metrics_address = '127.0.0.1:9332'
log.level = 'hh_pool=debug,info'
[[lanes]]
name = 'main'
port = 3
";

#[test]
fn a_good_file_gives_both_parts() {
    let (settings, config) = parse::<Example>(Path::new("x"), GOOD).unwrap();
    assert_eq!(settings.start_timeout(), Duration::from_secs(30));
    assert_eq!(settings.metrics_address.unwrap().port(), 9332);
    assert_eq!(config.secret.to_string(), "cred:key");
    assert_eq!(
        (config.lanes[0].name.as_str(), config.lanes[0].port),
        ("main", 3)
    );
}

#[test]
fn mistakes_of_every_kind_are_reported_at_once_with_their_lines() {
    let text = "
chian = 'signet'
listen = 7
secret = 'hunter2hunter2'
metrics_address = 'everywhere'
[[lanes]]
name = 'main'
[[lanes]]
name = 'second'
port = 70000
colour = 'red'
";
    insta::assert_snapshot!(mistakes(text));
}

#[test]
fn everything_missing_is_reported_at_once() {
    insta::assert_snapshot!(mistakes(""));
}

#[test]
fn meaning_is_checked_beside_unknown_keys() {
    let text = GOOD
        .replace("signet", "main")
        .replace("'main'\nport", "''\ntyp = 1\nport");
    insta::assert_snapshot!(mistakes(&text));
}

#[test]
fn errors_of_syntax_are_all_reported() {
    insta::assert_snapshot!(mistakes("chain = \nlisten = 'x\nsecret = 1"));
}

#[test]
fn a_secret_written_in_place_of_its_reference_is_not_shown() {
    let text = mistakes("secret = 'hunter2'");
    assert!(!text.contains("hunter2"), "{text}");
}
