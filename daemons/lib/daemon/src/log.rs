//! Logs: one JSON object a line on stdout.
//!
//! `ts` (RFC 3339, UTC), `level`, `msg` (a constant text), `target`, `daemon`, then the fields of the event and of the
//! spans around it. Control characters are escaped, so that no peer can write a line of its own.

use serde_json::{Map, Value};
use std::io::Write;
use std::panic::PanicHookInfo;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::{EnvFilter, ParseError};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::{SubscriberInitExt, TryInitError};

/// The filter of a `log.level`.
pub(crate) fn filter(directives: &str) -> Result<EnvFilter, ParseError> {
    EnvFilter::builder().parse(directives)
}

/// Sends all events to stdout from here on, and panics as well.
///
/// # Errors
/// Logs were set up before in this process.
pub(crate) fn install(daemon: &'static str, filter: EnvFilter) -> Result<(), TryInitError> {
    tracing_subscriber::registry()
        .with(filter)
        .with(JsonLines {
            daemon,
            write: write_stdout,
        })
        .try_init()?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(())
}

fn log_panic(panic: &PanicHookInfo<'_>) {
    let at = panic.location().map(ToString::to_string);
    let what = panic.payload_as_str().unwrap_or("no text");
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or("unnamed");
    tracing::error!(
        at,
        what,
        thread,
        backtrace = %std::backtrace::Backtrace::capture(),
        "panic"
    );
}

/// One write per line, so that the lines of two threads do not mix. Nobody is left to be told that stdout is closed.
fn write_stdout(line: &[u8]) {
    std::io::stdout().lock().write_all(line).ok();
}

struct JsonLines<W> {
    daemon: &'static str,
    write: W,
}

/// What a span's fields were when it was made, or recorded later.
struct SpanFields(Map<String, Value>);

impl<S, W> Layer<S> for JsonLines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: Fn(&[u8]) + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(SpanFields(fields.0));
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<SpanFields>()
        {
            let mut more = Fields::default();
            values.record(&mut more);
            fields.0.extend(more.0);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let metadata = event.metadata();
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flatten() {
            if let Some(of_span) = span.extensions().get::<SpanFields>() {
                for (name, value) in &of_span.0 {
                    fields.0.entry(name).or_insert_with(|| value.clone());
                }
            }
        }
        event.record(&mut fields);
        let level = metadata.level().as_str();
        let message = fields.0.remove("message").unwrap_or_default();
        let head = [
            ("ts", format!("{:.6}", jiff::Timestamp::now()).into()),
            ("level", level.into()),
            ("msg", message),
            ("target", metadata.target().into()),
            ("daemon", self.daemon.into()),
        ];
        (self.write)(&line(&head, &fields.0));
        metrics::counter!("hyperhash_log_messages_total", "level" => level).increment(1);
    }
}

/// The head first, as a person reads it; a field of the same name does not hide it.
fn line(head: &[(&'static str, Value)], fields: &Map<String, Value>) -> Vec<u8> {
    let mut text = String::from("{");
    let rest = fields
        .iter()
        .filter(|(name, _)| head.iter().all(|(taken, _)| taken != name))
        .map(|(name, value)| (name.as_str(), value));
    for (name, value) in head.iter().map(|(name, value)| (*name, value)).chain(rest) {
        if text.len() > 1 {
            text.push(',');
        }
        text.push_str(&Value::from(name).to_string());
        text.push(':');
        text.push_str(&value.to_string());
    }
    text.push_str("}\n");
    text.into_bytes()
}

#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn add(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.add(field, crate::Chain(value).to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// What `log` writes, parsed.
    fn logged(log: impl FnOnce()) -> Vec<Value> {
        let written = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&written);
        let layer = JsonLines {
            daemon: "hh-x",
            write: move |line: &[u8]| sink.lock().unwrap().extend_from_slice(line),
        };
        let subscriber = tracing_subscriber::registry().with(layer);
        tracing::subscriber::with_default(subscriber, log);
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    #[test]
    fn an_event_is_one_object_with_the_fields_of_its_spans() {
        let lines = logged(|| {
            let span = tracing::info_span!(
                "session",
                peer = "1.2.3.4:5",
                account = tracing::field::Empty
            );
            span.record("account", "alice");
            let _entered = span.enter();
            tracing::info!(target: "hh_x::session", shares = 3, "session closed");
        });
        let mut line = lines[0].clone();
        let ts = line.as_object_mut().unwrap().remove("ts").unwrap();
        assert!(ts.as_str().unwrap().parse::<jiff::Timestamp>().is_ok());
        let expected = serde_json::json!({
            "level": "INFO", "msg": "session closed", "target": "hh_x::session", "daemon": "hh-x",
            "peer": "1.2.3.4:5", "account": "alice", "shares": 3,
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn what_a_peer_sends_can_neither_start_a_line_nor_change_the_level() {
        let lines = logged(|| {
            let worker = "\u{1b}[2J\n{\"level\":\"INFO\"";
            tracing::warn!(worker, level = "INFO", "worker refused");
        });
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0]["level"], "WARN");
    }

    #[test]
    fn an_error_is_logged_with_its_causes() {
        let lines = logged(|| {
            let error = crate::SecretError::Read {
                reference: "cred:x".parse().unwrap(),
                source: std::io::Error::other("away"),
            };
            let error = &error as &dyn std::error::Error;
            tracing::warn!(error, "no secret");
        });
        assert_eq!(lines[0]["error"], "can't read the secret cred:x: away");
    }
}
