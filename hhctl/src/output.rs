//! All printing: reports as tables or JSON on stdout, failures on stderr. Nothing else writes.

mod table;
pub(crate) mod text;

pub(crate) use table::{Column, Table};

use crate::cli::{Format, GlobalArgs, When};
use crate::failure::Failure;
use crate::{Exit, Surroundings, exit};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::io::{self, Write};

/// The shape of the JSON; another name would be another shape.
const API: &str = "hhctl/v1";

/// Moves to the top left and clears what is below, so that a watched screen does not flicker.
const CLEAR: &str = "\x1b[H\x1b[J";

/// What a command found, for people and for programs.
#[derive(Debug)]
pub(crate) struct Report {
    /// In JSON: what the items are.
    pub(crate) kind: &'static str,
    pub(crate) content: Content,
    /// In JSON: what belongs to all items together.
    more: Vec<(&'static str, Value)>,
    /// For people, in this order.
    pub(crate) view: Vec<Part>,
    /// Parts of the question that have no answer.
    pub(crate) failures: Vec<Failure>,
    pub(crate) exit: Exit,
}

#[derive(Debug)]
pub(crate) enum Content {
    Item(Value),
    List(Vec<Value>),
}

/// A part of what people see, with an empty line before the next.
#[derive(Debug)]
pub(crate) enum Part {
    Fields(Vec<(&'static str, Cell)>),
    Table(Table),
    /// Whole lines.
    Note(String),
}

impl Part {
    /// Says under a table that it has `shown` of `total` rows, and what to do about it; nothing where it has all of them.
    pub(crate) fn cut(shown: usize, total: u32, way_out: &str) -> Option<Self> {
        let (shown, total) = (shown as u64, u64::from(total));
        (shown < total).then(|| {
            let (shown, total) = (text::count(shown), text::count(total));
            Self::Note(format!("{shown} of {total} shown{way_out}"))
        })
    }
}

/// A text in a table, perhaps with a state that gives it a mark and a colour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    state: Option<State>,
}

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Ok,
    Unknown,
    Warn,
    Fail,
}

impl Report {
    /// A report of one thing.
    pub(crate) fn item(kind: &'static str, item: Value, view: Vec<Part>) -> Self {
        Self {
            kind,
            content: Content::Item(item),
            more: Vec::new(),
            view,
            failures: Vec::new(),
            exit: Exit::Done,
        }
    }

    /// A report of many things of a kind, as JSON.
    pub(crate) fn list<T: serde::Serialize>(
        kind: &'static str,
        items: &[T],
        view: Vec<Part>,
    ) -> Self {
        let items = items.iter().map(|item| json!(item)).collect();
        Self {
            kind,
            content: Content::List(items),
            more: Vec::new(),
            view,
            failures: Vec::new(),
            exit: Exit::Done,
        }
    }

    /// A report that is only a failure, for a screen that is printed again.
    pub(crate) fn failed(failure: Failure) -> Self {
        Self {
            kind: "Failure",
            content: Content::Item(Value::Null),
            more: Vec::new(),
            view: Vec::new(),
            exit: failure.exit,
            failures: vec![failure],
        }
    }

    /// Adds what belongs to all items together.
    pub(crate) fn add(&mut self, key: &'static str, value: Value) {
        self.more.push((key, value));
    }

    fn json(&self, now: Timestamp) -> Value {
        let (key, content) = match &self.content {
            Content::Item(item) => ("item", item.clone()),
            Content::List(items) => ("items", items.clone().into()),
        };
        let errors = self.failures.iter().map(|failure| {
            json!({
                "code": failure.code,
                "message": failure.what,
                "reason": failure.why,
                "fix": failure.fix,
            })
        });
        let mut json = json!({
            "api": API,
            "kind": self.kind,
            "observed_at": now,
            key: content,
            "errors": errors.collect::<Vec<_>>(),
        });
        for (key, value) in &self.more {
            json[*key] = value.clone();
        }
        json
    }
}

impl Cell {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            state: None,
        }
    }

    /// A text with the mark of `state` before it.
    pub(crate) fn state(state: State, text: impl Into<String>) -> Self {
        Self {
            text: text.into(),
            state: Some(state),
        }
    }
}

impl<T: Into<String>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text)
    }
}

impl State {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Unknown => "unknown",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }

    /// Mark where the terminal has no more than ASCII, mark, and colour (an SGR number).
    fn look(self) -> (char, char, u8) {
        match self {
            Self::Ok => ('+', '●', 32),
            Self::Unknown => ('?', '○', 90),
            Self::Warn => ('!', '▲', 33),
            Self::Fail => ('x', '✖', 31),
        }
    }
}

/// How to draw.
#[derive(Clone, Copy, Debug)]
struct Style {
    colour: bool,
    unicode: bool,
    headers: bool,
}

impl Style {
    fn new(global: &GlobalArgs, surroundings: &Surroundings) -> Self {
        let variable = |name| surroundings.variable(name);
        let colour = match global.color {
            When::Always => true,
            When::Never => false,
            When::Auto if variable("NO_COLOR").is_some() => false,
            When::Auto if variable("CLICOLOR_FORCE").is_some_and(|v| v != "0") => true,
            When::Auto => {
                surroundings.stdout_is_terminal && variable("TERM").is_some_and(|t| t != "dumb")
            }
        };
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
            .into_iter()
            .find_map(variable);
        let locale = locale.unwrap_or_default().to_ascii_lowercase();
        Self {
            colour,
            unicode: locale.contains("utf-8") || locale.contains("utf8"),
            headers: !global.no_headers,
        }
    }

    /// The text of a cell, and how many columns it takes.
    fn draw(self, cell: &Cell) -> (String, usize) {
        let text = text::printable(&cell.text);
        let width = text.chars().count();
        let Some(state) = cell.state else {
            return (text, width);
        };
        let (ascii, unicode, colour) = state.look();
        let mark = if self.unicode { unicode } else { ascii };
        let drawn = if self.colour {
            format!("\x1b[{colour}m{mark} {text}\x1b[0m")
        } else {
            format!("{mark} {text}")
        };
        (drawn, width + 2)
    }
}

/// Where reports go.
pub(crate) struct Output<'a> {
    stdout: &'a mut dyn Write,
    stderr: &'a mut dyn Write,
    style: Style,
    format: Format,
    watching: bool,
    clear: bool,
}

impl<'a> Output<'a> {
    pub(crate) fn new(global: &GlobalArgs, surroundings: &'a mut Surroundings) -> Self {
        Self {
            style: Style::new(global, surroundings),
            format: global.output,
            watching: global.watch.is_some(),
            clear: global.watch.is_some() && surroundings.stdout_is_terminal,
            stdout: &mut surroundings.stdout,
            stderr: &mut surroundings.stderr,
        }
    }

    /// Prints a report, in one write. Gives its exit.
    pub(crate) fn print(&mut self, report: &Report, now: Timestamp) -> Result<Exit, Failure> {
        let mut failures = String::new();
        let mut text = match self.format {
            Format::Json if self.watching => format!("{}\n", report.json(now)),
            Format::Jsonl => format!("{}\n", report.json(now)),
            Format::Json => format!("{:#}\n", report.json(now)),
            Format::Table => {
                for failure in &report.failures {
                    failures += &three_parts(failure);
                }
                self.draw_all(&report.view)
            }
        };
        if self.clear && self.format == Format::Table {
            text = format!("{CLEAR}{text}");
        }
        write_all(self.stdout, &text)
            .and_then(|()| write_all(self.stderr, &failures))
            .map_err(|error| Failure::print(&error))?;
        Ok(report.exit)
    }

    /// Prints items of a stream: each a row of `table`, whose headings come before the first; or each a line of JSON.
    pub(crate) fn stream(
        &mut self,
        kind: &str,
        items: &[Value],
        table: Option<&Table>,
        is_first: bool,
    ) -> Result<(), Failure> {
        let line = |item: &Value| format!("{}\n", json!({"api": API, "kind": kind, "item": item}));
        let style = Style {
            headers: self.style.headers && is_first,
            ..self.style
        };
        let text = match self.format {
            Format::Table => table.map(|table| table.draw(style)).unwrap_or_default(),
            Format::Json | Format::Jsonl => items.iter().map(line).collect(),
        };
        write_all(self.stdout, &text).map_err(|error| Failure::print(&error))
    }

    /// Says something beside what is printed, on stderr.
    pub(crate) fn note(&mut self, text: &str) -> Result<(), Failure> {
        let text = format!("{}\n", text::printable(text));
        write_all(self.stderr, &text).map_err(|error| Failure::print(&error))
    }

    /// Shows what a plan would do, and a question about it, on stderr: stdout is for what was done.
    pub(crate) fn ask(&mut self, plan: &Report, question: &str) -> Result<(), Failure> {
        let view = self.draw_all(&plan.view);
        let missing: String = plan.failures.iter().map(three_parts).collect();
        let text = format!("{view}{missing}\n{}", text::printable(question));
        write_all(self.stderr, &text).map_err(|error| Failure::print(&error))
    }

    fn draw_all(&self, view: &[Part]) -> String {
        let mut text = String::new();
        for (index, part) in view.iter().enumerate() {
            if index > 0 {
                text.push('\n');
            }
            self.draw(part, &mut text);
        }
        text
    }

    fn draw(&self, part: &Part, text: &mut String) {
        match part {
            Part::Fields(fields) => {
                let width = fields.iter().map(|(name, _)| name.len()).max();
                let width = width.unwrap_or_default();
                for (name, cell) in fields {
                    let (drawn, _) = self.style.draw(cell);
                    *text += format!("{name:width$}  {drawn}").trim_end();
                    text.push('\n');
                }
            }
            Part::Table(table) => *text += &table.draw(self.style),
            Part::Note(note) => {
                for line in note.lines() {
                    *text += &text::printable(line);
                    text.push('\n');
                }
            }
        }
    }
}

fn three_parts(failure: &Failure) -> String {
    let Failure {
        code,
        what,
        why,
        fix,
        ..
    } = failure;
    let lines = [
        format!("error[{code}]: {what}"),
        format!("  why: {why}"),
        format!("  fix: {fix}"),
    ];
    lines.iter().fold(String::new(), |text, line| {
        text + &text::printable(line) + "\n"
    })
}

fn write_all(stream: &mut dyn Write, text: &str) -> io::Result<()> {
    stream.write_all(text.as_bytes())?;
    stream.flush()
}

/// Prints a failure, and gives its exit.
pub(crate) fn print_failure(surroundings: &mut Surroundings, failure: &Failure) -> Exit {
    if failure.exit != Exit::BrokenPipe {
        // Nobody is left to be told if stderr is closed too.
        write_all(&mut surroundings.stderr, &three_parts(failure)).ok();
    }
    failure.exit
}

/// Prints what clap found: a mistake, or help that was asked for by a flag.
pub(crate) fn print_usage(surroundings: &mut Surroundings, error: &clap::Error) -> Exit {
    let text = error.render().to_string();
    let (stream, exit) = if error.use_stderr() {
        (&mut surroundings.stderr, Exit::Usage)
    } else {
        (&mut surroundings.stdout, Exit::Done)
    };
    match write_all(stream, &text) {
        Ok(()) => exit,
        Err(_) => Exit::BrokenPipe,
    }
}

/// Prints the help on a command or a topic.
pub(crate) fn print_help(
    surroundings: &mut Surroundings,
    words: &[String],
) -> Result<Exit, Failure> {
    let help = match words {
        [topic] if topic == "exit-codes" => exit::HELP.to_owned(),
        words => help_on(surroundings.command_line(), words)
            .ok_or_else(|| Failure::no_such_topic(&words.join(" ")))?,
    };
    write_all(&mut surroundings.stdout, &help).map_err(|error| Failure::print(&error))?;
    Ok(Exit::Done)
}

fn help_on(mut command: clap::Command, words: &[String]) -> Option<String> {
    command.build();
    let mut found = &mut command;
    for word in words {
        found = found.find_subcommand_mut(word)?;
    }
    Some(found.render_help().to_string())
}

#[cfg(test)]
mod tests;
