//! Metrics of things that come and go, such as the nodes of a network.
//!
//! The recorder keeps each series for ever once it was set, and would tell the last figure of what is long gone. These are written as a
//! whole each time: what is not in them is gone from the next scrape.

use std::fmt::{self, Display, Write};
use std::sync::{Arc, Mutex, PoisonError};

/// A metric with all of its series.
#[derive(Clone, Debug)]
pub struct Family {
    name: &'static str,
    text: String,
    is_empty: bool,
}

impl Family {
    /// One that goes up and down, without series yet.
    #[must_use]
    pub fn gauge(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, "gauge")
    }

    /// One that grows, until what counts it starts anew.
    #[must_use]
    pub fn counter(name: &'static str, help: &'static str) -> Self {
        Self::new(name, help, "counter")
    }

    fn new(name: &'static str, help: &str, kind: &str) -> Self {
        Self {
            name,
            text: format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"),
            is_empty: true,
        }
    }

    /// Adds a series; each only once.
    pub fn add(&mut self, labels: &[(&str, &str)], value: impl Display) {
        self.text.push_str(self.name);
        for (index, (name, label)) in labels.iter().enumerate() {
            let mark = if index == 0 { '{' } else { ',' };
            let label = Escaped(label);
            write!(self.text, "{mark}{name}=\"{label}\"").expect("a text takes all");
        }
        let mark = if labels.is_empty() { "" } else { "}" };
        writeln!(self.text, "{mark} {value}").expect("a text takes all");
        self.is_empty = false;
    }
}

/// What a scrape finds beside what is recorded. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct PassingMetrics(Arc<Mutex<String>>);

impl PassingMetrics {
    /// These, and none of those before.
    pub fn replace(&self, families: &[Family]) {
        let some = families.iter().filter(|family| !family.is_empty);
        let text: String = some.map(|family| family.text.as_str()).collect();
        // It is replaced as a whole.
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    /// As it is served.
    #[must_use]
    pub fn text(&self) -> String {
        let text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        text.clone()
    }
}

/// A label as the text format of Prometheus has it.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '\\' => f.write_str("\\\\")?,
                '"' => f.write_str("\\\"")?,
                '\n' => f.write_str("\\n")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_gone_is_told_no_more_and_no_label_ends_early() {
        let passing = PassingMetrics::default();
        let mut info = Family::gauge("hyperhash_x_info", "Always 1");
        info.add(&[("node", "berlin"), ("version", "a\"} 2\nb\\")], 1);
        let mut sum = Family::counter("hyperhash_x_total", "In all");
        sum.add(&[], 42.5);
        let none = Family::gauge("hyperhash_y", "Nothing");
        passing.replace(&[info, sum, none]);
        assert_eq!(
            passing.text(),
            "# HELP hyperhash_x_info Always 1\n# TYPE hyperhash_x_info gauge\n\
             hyperhash_x_info{node=\"berlin\",version=\"a\\\"} 2\\nb\\\\\"} 1\n\
             # HELP hyperhash_x_total In all\n# TYPE hyperhash_x_total counter\nhyperhash_x_total 42.5\n"
        );
        passing.replace(&[]);
        assert_eq!(passing.text(), "");
    }
}
