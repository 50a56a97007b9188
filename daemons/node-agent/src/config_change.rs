//! What another configuration would change, key by key, for the owner to see.

use hh_trust::command_result::plain_output;
use std::collections::BTreeMap;
use toml::Value;

/// Lines that are shown: a file of ours has a hundred keys.
const LINES_MAX: usize = 2_000;

/// `- KEY = VALUE` for what is there now, `+ KEY = VALUE` for what would be, by key. A text that is no TOML has no keys.
pub(crate) fn changes(current: Option<&str>, next: &str) -> Vec<String> {
    let (current, next) = (keys(current.unwrap_or_default()), keys(next));
    let mut lines = Vec::new();
    let mut all: Vec<&String> = current.keys().chain(next.keys()).collect();
    all.sort();
    all.dedup();
    for key in all {
        let (old, new) = (current.get(key), next.get(key));
        if old == new {
            continue;
        }
        lines.extend(old.map(|value| line('-', key, value)));
        lines.extend(new.map(|value| line('+', key, value)));
    }
    let more = lines.len().saturating_sub(LINES_MAX);
    lines.truncate(LINES_MAX);
    if more > 0 {
        lines.push(format!("and {more} lines more"));
    }
    lines
}

fn line(mark: char, key: &str, value: &str) -> String {
    plain_output(&format!("{mark} {key} = {value}")).replace('\n', " ")
}

fn keys(text: &str) -> BTreeMap<String, String> {
    let mut keys = BTreeMap::new();
    if let Ok(table) = text.parse::<toml::Table>() {
        collect("", &Value::Table(table), &mut keys);
    }
    keys
}

fn collect(path: &str, value: &Value, keys: &mut BTreeMap<String, String>) {
    let below = |name: &str| match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    };
    match value {
        // The whole of an empty text is no key.
        Value::Table(table) if !table.is_empty() || path.is_empty() => {
            for (name, value) in table {
                collect(&below(name), value, keys);
            }
        }
        Value::Array(values) if values.iter().any(Value::is_table) => {
            for (at, value) in values.iter().enumerate() {
                collect(&below(&at.to_string()), value, keys);
            }
        }
        value => {
            keys.insert(path.to_owned(), value.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_key_that_differs_is_shown_with_both_values() {
        let now = "a = 1\n[[lanes]]\nname = \"x\"\nports = [1, 2]\n";
        let next = "a = 1\nb = \"\\u001b[2J\"\n[[lanes]]\nname = \"y\"\nports = [1, 3]\n";
        let lines = changes(Some(now), next);
        assert_eq!(
            lines,
            [
                "+ b = \"\\u001B[2J\"",
                "- lanes.0.name = \"x\"",
                "+ lanes.0.name = \"y\"",
                "- lanes.0.ports = [1, 2]",
                "+ lanes.0.ports = [1, 3]",
            ]
        );
        assert_eq!(changes(None, "a = 1"), ["+ a = 1"]);
        assert!(changes(Some(now), now).is_empty());
    }
}
