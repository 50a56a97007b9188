//! Commands that change something: what would change is found and shown first, and confirmed where it is not mild.
//!
//! A question is only asked where somebody can answer it: on a terminal, and not in CI. Elsewhere nothing is changed
//! without `--yes`.

use crate::cli::{Command, GlobalArgs};
use crate::failure::Failure;
use crate::output::{Output, Report};
use crate::session::Session;
use crate::{Exit, Surroundings, command};
use std::io::{BufRead, Read};

/// Longest answer that is read.
const MAX_ANSWER_BYTES: u64 = 64;

/// What a command would do.
#[derive(Debug)]
pub(crate) struct Plan {
    /// What `--dry-run` prints, and what is seen before the question.
    pub(crate) report: Report,
    /// The act in words that follow "Shall hhctl ...": none where it is mild, and done without asking.
    pub(crate) question: Option<String>,
    /// What is to be typed in place of a yes, where the act can't be taken back.
    pub(crate) typed: Option<String>,
}

impl Plan {
    /// A kick, of what it would close. A miner alone is kicked without a question; it comes back by itself.
    pub(crate) fn kick(closes: &str, is_one: bool, report: impl FnOnce(String) -> Report) -> Self {
        Self {
            report: report(format!("would close {closes}")),
            question: (!is_one).then(|| format!("Close {closes}")),
            typed: None,
        }
    }
}

/// Plans, asks and acts. Prints what was done.
pub(crate) async fn run(
    global: &GlobalArgs,
    command: &Command,
    surroundings: &mut Surroundings,
) -> Result<Exit, Failure> {
    if global.watch.is_some() {
        return Err(Failure::watched_change());
    }
    let mut session = Session::new(global, surroundings)?;
    let now = session.now();
    let confirmation = command::confirmation(command);
    if confirmation.dry_run || !confirmation.yes {
        let plan = command::plan(command, &mut session).await?;
        if confirmation.dry_run {
            return Output::new(global, surroundings).print(&plan.report, now);
        }
        if let Some(question) = plan.question {
            let answers = match &plan.typed {
                Some(word) => format!("type {word} to confirm:"),
                None => "[y/N]".to_owned(),
            };
            let question = format!("{question} of {}? {answers} ", session.place());
            let answer = ask(global, surroundings, &plan.report, &question)?;
            let confirmed = match &plan.typed {
                Some(word) => answer == *word,
                None => matches!(&*answer, "y" | "Y" | "yes" | "Yes"),
            };
            if !confirmed {
                return Err(Failure::not_confirmed(plan.typed.as_deref()));
            }
        }
    }
    let report = command::apply(command, &mut session).await?;
    Output::new(global, surroundings).print(&report, now)
}

/// What is answered, on a terminal.
fn ask(
    global: &GlobalArgs,
    surroundings: &mut Surroundings,
    plan: &Report,
    question: &str,
) -> Result<String, Failure> {
    let terminal = surroundings.stdin_is_terminal && surroundings.stderr_is_terminal;
    if !terminal || surroundings.variable("CI").is_some() {
        return Err(Failure::nobody_to_ask());
    }
    Output::new(global, surroundings).ask(plan, question)?;
    let mut answer = String::new();
    let mut input = (&mut surroundings.stdin).take(MAX_ANSWER_BYTES);
    // An answer that can't be read is none.
    input.read_line(&mut answer).ok();
    Ok(answer.trim().to_owned())
}
