//! The messages in Rust are those of `proto/control.proto`: the same names, numbers, kinds, in the same messages.

use std::collections::BTreeMap;

const DOCUMENT: &str = include_str!("../../proto/control.proto");
const OURS: [&str; 3] = [
    include_str!("../../src/agent/message.rs"),
    include_str!("../../src/agent/payout.rs"),
    include_str!("../../src/agent/relay.rs"),
];

/// By message and number: name and kind of the field.
type Fields = BTreeMap<(String, u32), String>;

/// The word that follows `before` in a line.
fn after<'a>(line: &'a str, before: &str) -> Option<&'a str> {
    let rest = line.strip_prefix(before)?;
    rest.split(|c: char| !c.is_alphanumeric() && c != '_')
        .next()
}

fn documented() -> Fields {
    let mut fields = Fields::new();
    let mut message = String::new();
    for line in DOCUMENT.lines().map(str::trim) {
        if let Some(name) = after(line, "message ") {
            message = name.to_owned();
        }
        let Some((left, right)) = line.split_once(" = ") else {
            continue;
        };
        let Ok(number) = right.trim_end_matches(';').parse() else {
            continue;
        };
        fields.insert((message.clone(), number), left.to_owned());
    }
    fields
}

/// `#[prost(KIND, ..., tag = "N")]` and the line below, as the document would have them.
fn field(attribute: &str, below: &str) -> (u32, String) {
    let inner = attribute
        .trim_start_matches("#[prost(")
        .trim_end_matches(")]");
    let kind = inner.split([',', ' ']).next().unwrap();
    let number = inner.rsplit('"').nth(1).unwrap().parse().unwrap();
    let (name, rust) = match below.strip_prefix("pub ") {
        Some(below) => {
            let (name, rust) = below.trim_end_matches(',').split_once(": ").unwrap();
            (name.to_owned(), rust.to_owned())
        }
        // A variant of a oneof, whose name is the field's in another spelling.
        None => {
            let (variant, rust) = below.trim_end_matches("),").split_once('(').unwrap();
            (snake(variant), rust.replace("super::", ""))
        }
    };
    let bare = rust
        .trim_start_matches("Vec<")
        .trim_start_matches("Option<");
    let kind = match kind {
        "message" => bare.trim_end_matches('>').to_owned(),
        scalar => scalar.to_owned(),
    };
    let repeated = if inner.contains("repeated") {
        "repeated "
    } else {
        ""
    };
    (number, format!("{repeated}{kind} {name}"))
}

fn snake(variant: &str) -> String {
    let mut name = String::new();
    for letter in variant.chars() {
        if letter.is_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.extend(letter.to_lowercase());
    }
    name
}

fn ours() -> Fields {
    let mut fields = Fields::new();
    let mut message = String::new();
    let mut lines = OURS.into_iter().flat_map(str::lines).map(str::trim);
    while let Some(line) = lines.next() {
        if let Some(name) = after(line, "pub struct ") {
            message = name.to_owned();
        }
        if line.starts_with("#[prost(") && line.contains("tag = ") {
            let (number, text) = field(line, lines.next().unwrap());
            fields.insert((message.clone(), number), text);
        }
    }
    fields
}

#[test]
fn our_messages_are_those_of_the_document() {
    let (documented, ours) = (documented(), ours());
    assert!(documented.len() > 50, "{documented:?}");
    assert_eq!(ours, documented);
}

#[test]
fn the_calls_are_those_of_the_document() {
    let documented: Vec<&str> = DOCUMENT
        .lines()
        .filter_map(|line| after(line.trim(), "rpc "))
        .collect();
    let ours = hh_ipc::agent::Method::ALL;
    let ours: Vec<&str> = ours.into_iter().map(|method| method.name()).collect();
    assert_eq!(ours, documented);
}
