//! Decodes TOML into a type and does not stop at the first error: what is wrong is noted, taken out of the way, and the
//! rest is decoded again.

use super::{Mistake, Mistakes};
use serde::de::DeserializeOwned;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer};

/// Mistakes reported of one file at most; more would only scroll the first ones away.
const MAX_MISTAKES: usize = 50;

/// Values put in the place of one that is missing, until one is taken, to get to what is missing next. The result is never
/// used: a file with a mistake has no configuration.
const PLACEHOLDERS: &str =
    "v = ['x', 1, [], {}, '127.0.0.1:1', 'file:/x', 'http://127.0.0.1:1', true, 0.5, '51']";

/// A parsed file and its text.
pub(super) struct Document<'i> {
    text: &'i str,
    root: Spanned<DeTable<'i>>,
}

impl<'i> Document<'i> {
    /// Notes all errors of syntax; what could be read all the same is in the document.
    pub(super) fn parse(text: &'i str, mistakes: &mut Mistakes) -> Self {
        let (root, errors) = DeTable::parse_recoverable(text);
        for error in errors.into_iter().take(MAX_MISTAKES) {
            let offset = error.span().map(|span| span.start);
            note(mistakes, error.message(), "correct the syntax", offset);
        }
        Self { text, root }
    }

    /// The entries named `keys`, and all others.
    pub(super) fn split(&self, keys: &[&str]) -> (Spanned<DeTable<'i>>, Spanned<DeTable<'i>>) {
        let table = |named: bool| {
            let entries = self.root.get_ref().clone().into_iter();
            let wanted = entries.filter(|(key, _)| keys.contains(&&**key.get_ref()) == named);
            Spanned::new(self.root.span(), wanted.collect())
        };
        (table(true), table(false))
    }

    /// Where the value at `path` starts, or the innermost table or array around it.
    pub(super) fn find(&self, path: &str) -> Option<usize> {
        let mut found = None;
        let mut table = Some(self.root.get_ref());
        let mut array = None;
        for part in path.split('.') {
            let (offset, value) = if let Some(table) = table {
                let (key, value) = table.iter().find(|(key, _)| key.get_ref() == part)?;
                (key.span().start, value)
            } else {
                let array: &toml::de::DeArray<'_> = array?;
                let value = part.parse().ok().and_then(|index: usize| array.get(index));
                let Some(value) = value else { break };
                (value.span().start, value)
            };
            found = Some(offset);
            table = value.get_ref().as_table();
            array = value.get_ref().as_array();
        }
        found
    }

    /// The number of the line at `offset`, from 1, and the line.
    pub(super) fn line(&self, offset: usize) -> (usize, String) {
        let offset = self.text.floor_char_boundary(offset);
        let number = self.text[..offset].matches('\n').count() + 1;
        let line = self.text.lines().nth(number - 1).unwrap_or_default();
        (number, line.to_owned())
    }
}

/// Decodes `root`, and notes all that is wrong. None if a value is wrong or missing: unknown keys alone still give a value,
/// so that it can be checked further.
pub(super) fn decode<T: DeserializeOwned>(
    root: Spanned<DeTable<'_>>,
    mistakes: &mut Mistakes,
) -> Option<T> {
    let mut rest = Remaining {
        root,
        taken: Vec::new(),
        complete: true,
    };
    for _ in 0..MAX_MISTAKES {
        let error = match T::deserialize(Deserializer::from(rest.root.clone())) {
            Ok(value) => return rest.complete.then_some(value),
            Err(error) => error,
        };
        let message = error.message().trim_end();
        let span = error.span().unwrap_or_default();
        let cleared = if let Some(field) = quoted_after(message, "missing field `") {
            if !rest.taken.iter().any(|taken| taken == field) {
                let offset = (rest.root.span() != span).then_some(span.start);
                note(mistakes, message, "add it", offset);
            }
            rest.complete = false;
            rest.fill::<T>(&span, field)
        } else if message.starts_with("unknown field") {
            note(
                mistakes,
                message,
                "remove it or correct its name",
                Some(span.start),
            );
            rest.take(&span)
        } else {
            note(mistakes, message, "correct the value", Some(span.start));
            rest.complete = false;
            rest.take(&span)
        };
        if !cleared {
            return None;
        }
    }
    None
}

/// What has not been found wrong yet.
struct Remaining<'i> {
    root: Spanned<DeTable<'i>>,
    /// Names of the values that were taken out: that they are missing now is no news.
    taken: Vec<String>,
    /// Every value that is needed is as it was written.
    complete: bool,
}

impl Remaining<'_> {
    /// Takes out the entry whose key or value is at `span`, or else the innermost that `span` is in.
    fn take(&mut self, span: &Range<usize>) -> bool {
        let Some(taken) = take_from_table(self.root.get_mut(), span) else {
            return false;
        };
        self.taken.push(taken);
        true
    }

    /// Puts something in the place of `field` of the table at `span` that gets the decoder further; true if it does.
    fn fill<T: DeserializeOwned>(&mut self, span: &Range<usize>, field: &str) -> bool {
        // A span after the file, by which an error in the placeholder is told from one in the file.
        let nowhere = usize::MAX - 1..usize::MAX;
        placeholders().into_iter().any(|candidate| {
            let mut root = self.root.clone();
            let table = if root.span() == *span {
                Some(root.get_mut())
            } else {
                table_at(root.get_mut(), span)
            };
            let Some(table) = table else { return false };
            table.insert(
                Spanned::new(nowhere.clone(), field.to_owned().into()),
                Spanned::new(nowhere.clone(), candidate),
            );
            let rejected = T::deserialize(Deserializer::from(root.clone()))
                .err()
                .and_then(|error| error.span())
                .is_some_and(|at| at == nowhere);
            if !rejected {
                self.root = root;
            }
            !rejected
        })
    }
}

fn placeholders() -> Vec<DeValue<'static>> {
    let table = DeTable::parse(PLACEHOLDERS).map(Spanned::into_inner);
    let values = table.into_iter().flatten();
    let arrays = values.filter_map(|(_, value)| match value.into_inner() {
        DeValue::Array(array) => Some(array),
        _ => None,
    });
    arrays.flatten().map(Spanned::into_inner).collect()
}

fn take_from_table(table: &mut DeTable<'_>, span: &Range<usize>) -> Option<String> {
    let (name, inner) = table.iter_mut().find_map(|(key, value)| {
        let exact = key.span() == *span || value.span() == *span;
        let inner = !exact && contains_deep(value, span);
        (exact || inner).then(|| (key.get_ref().to_string(), inner.then_some(value)))
    })?;
    if let Some(name) = inner.and_then(|value| take_from_value(value.get_mut(), span)) {
        return Some(name);
    }
    table.remove(name.as_str());
    Some(name)
}

fn take_from_value(value: &mut DeValue<'_>, span: &Range<usize>) -> Option<String> {
    match value {
        DeValue::Table(table) => take_from_table(table, span),
        DeValue::Array(array) => array
            .iter_mut()
            .find(|element| contains_deep(element, span))
            .and_then(|element| take_from_value(element.get_mut(), span)),
        _ => None,
    }
}

/// Is `span` that of the value or of anything in it? A table's own span is its header only, so look at all that is in it.
fn contains_deep(value: &Spanned<DeValue<'_>>, span: &Range<usize>) -> bool {
    let within = |outer: Range<usize>| outer.start <= span.start && span.end <= outer.end;
    within(value.span())
        || match value.get_ref() {
            DeValue::Table(table) => table
                .iter()
                .any(|(key, value)| within(key.span()) || contains_deep(value, span)),
            DeValue::Array(array) => array.iter().any(|element| contains_deep(element, span)),
            _ => false,
        }
}

/// The table in `table` whose own span is `span`.
fn table_at<'a, 'i>(
    table: &'a mut DeTable<'i>,
    span: &Range<usize>,
) -> Option<&'a mut DeTable<'i>> {
    table
        .iter_mut()
        .find_map(|(_, value)| table_in_value(value, span))
}

fn table_in_value<'a, 'i>(
    value: &'a mut Spanned<DeValue<'i>>,
    span: &Range<usize>,
) -> Option<&'a mut DeTable<'i>> {
    let here = value.span() == *span;
    match value.get_mut() {
        DeValue::Table(table) => {
            if here {
                Some(table)
            } else {
                table_at(table, span)
            }
        }
        DeValue::Array(array) => array
            .iter_mut()
            .find_map(|element| table_in_value(element, span)),
        _ => None,
    }
}

fn quoted_after<'a>(message: &'a str, prefix: &str) -> Option<&'a str> {
    message.strip_prefix(prefix)?.split('`').next()
}

fn note(mistakes: &mut Mistakes, what: &str, fix: &str, offset: Option<usize>) {
    mistakes.list.push(Mistake {
        key: String::new(),
        what: what.replace('\n', "; "),
        fix: fix.to_owned(),
        offset,
        line: None,
    });
}
