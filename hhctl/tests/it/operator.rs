//! Whoever types the commands.

use crate::daemons::{Devnet, now};
use hhctl::{Exit, Surroundings};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// An operator in the folder of a devnet.
pub(crate) struct Operator {
    dir: String,
    variables: BTreeMap<String, String>,
    /// What is typed on the terminal; none where there is no terminal.
    answer: Option<&'static str>,
}

/// What came of a command.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) exit: Exit,
    /// With `[dir]` for the devnet's folder.
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Outcome {
    /// Everything that is seen, for a snapshot.
    pub(crate) fn transcript(&self) -> String {
        let Self {
            exit,
            stdout,
            stderr,
        } = self;
        let status = *exit as u8;
        format!("exit {status}\n--- stdout\n{stdout}--- stderr\n{stderr}")
    }
}

impl Operator {
    pub(crate) fn at(devnet: &Devnet) -> Self {
        Self::in_dir(devnet.path())
    }

    pub(crate) fn in_dir(dir: &Path) -> Self {
        let language = ("LANG".to_owned(), "C.UTF-8".to_owned());
        Self {
            dir: dir.display().to_string(),
            variables: BTreeMap::from([language]),
            answer: None,
        }
    }

    /// On a terminal, typing `answer` when asked.
    pub(crate) fn who_answers(mut self, answer: &'static str) -> Self {
        self.answer = Some(answer);
        self
    }

    pub(crate) fn with_variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.insert(name.to_owned(), value.into());
        self
    }

    /// Types a command line, its words separated by spaces, and waits for it.
    pub(crate) async fn types(&self, line: &str) -> Outcome {
        let (stdout, stderr) = (Sink::default(), Sink::default());
        let (out, err) = (Box::new(stdout.clone()), Box::new(stderr.clone()));
        let exit = self.run(line, out, err).await;
        Outcome {
            exit,
            stdout: self.read(&stdout),
            stderr: self.read(&stderr),
        }
    }

    /// As [`Self::types`], with streams of one's own.
    pub(crate) async fn run(
        &self,
        line: &str,
        stdout: Box<dyn Write + Send>,
        stderr: Box<dyn Write + Send>,
    ) -> Exit {
        let mut surroundings = Surroundings {
            working_dir: self.dir.clone().into(),
            now,
            variables: self.variables.clone(),
            stdin: Box::new(self.answer.unwrap_or_default().as_bytes()),
            stdout,
            stderr,
            stdin_is_terminal: self.answer.is_some(),
            stdout_is_terminal: false,
            stderr_is_terminal: self.answer.is_some(),
            help_width: Some(100),
        };
        let words = line.split_whitespace().map(Into::into);
        hhctl::run(words, &mut surroundings).await
    }

    fn read(&self, sink: &Sink) -> String {
        let written = sink.0.lock().unwrap().clone();
        String::from_utf8(written)
            .unwrap()
            .replace(&self.dir, "[dir]")
    }
}

#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
