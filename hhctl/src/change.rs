//! Commands that change something: what would change is found and shown first, and confirmed where it is not mild.
//!
//! A question is only asked where somebody can answer it: on a terminal, and not in CI. Elsewhere nothing is changed
//! without `--yes`, or `--confirm` with the name of the context where money goes.

use crate::cli::{Command, Confirmation, GlobalArgs, NamedConfirmation};
use crate::failure::{Failure, Place};
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

/// How a command is confirmed by its flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Consent {
    pub(crate) given: Given,
    /// Only the plan is shown.
    pub(crate) dry_run: bool,
    /// A yes is not enough: the name of the place is wanted.
    pub(crate) by_name: bool,
}

/// What is confirmed before anybody asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Given {
    /// Nothing: the plan decides whether it is asked.
    Nothing,
    /// Everything, by a yes or because there is nothing to ask: a stop button must be quick.
    All,
    /// Everything in the place of this name.
    In(String),
}

impl From<Confirmation> for Consent {
    fn from(confirmation: Confirmation) -> Self {
        Self {
            given: if confirmation.yes {
                Given::All
            } else {
                Given::Nothing
            },
            dry_run: confirmation.dry_run,
            by_name: false,
        }
    }
}

impl From<&NamedConfirmation> for Consent {
    fn from(confirmation: &NamedConfirmation) -> Self {
        Self {
            given: match &confirmation.confirm {
                Some(name) => Given::In(name.clone()),
                None => Given::Nothing,
            },
            dry_run: confirmation.dry_run,
            by_name: true,
        }
    }
}

impl Consent {
    /// For what is done at once.
    pub(crate) fn not_needed() -> Self {
        Self {
            given: Given::All,
            dry_run: false,
            by_name: false,
        }
    }

    /// The flag that gives it.
    fn flag(&self, place: &Place) -> String {
        if self.by_name {
            format!("--confirm {}", place.name())
        } else {
            "--yes".to_owned()
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
    let consent = command::consent(command);
    let is_confirmed = match &consent.given {
        Given::Nothing => false,
        Given::All => true,
        Given::In(name) if name == session.place().name() => true,
        Given::In(name) => return Err(Failure::another_place(session.place(), name)),
    };
    if consent.dry_run || !is_confirmed {
        let plan = command::plan(command, &mut session).await?;
        if consent.dry_run {
            return Output::new(global, surroundings).print(&plan.report, now);
        }
        if let Some(question) = plan.question {
            let answers = match &plan.typed {
                Some(word) => format!("type {word} to confirm:"),
                None => "[y/N]".to_owned(),
            };
            let question = format!("{question} of {}? {answers} ", session.place());
            let flag = consent.flag(session.place());
            let answer = ask(global, surroundings, (&plan.report, &question), &flag)?;
            let confirmed = match &plan.typed {
                Some(word) => answer == *word,
                None => matches!(&*answer, "y" | "Y" | "yes" | "Yes"),
            };
            if !confirmed {
                return Err(Failure::not_confirmed(plan.typed.as_deref(), &flag));
            }
        }
    }
    if let Some(note) = command::note(command) {
        Output::new(global, surroundings).note(&note)?;
    }
    let report = command::apply(command, &mut session).await?;
    Output::new(global, surroundings).print(&report, now)
}

/// What is answered, on a terminal.
fn ask(
    global: &GlobalArgs,
    surroundings: &mut Surroundings,
    (plan, question): (&Report, &str),
    flag: &str,
) -> Result<String, Failure> {
    let terminal = surroundings.stdin_is_terminal && surroundings.stderr_is_terminal;
    if !terminal || surroundings.variable("CI").is_some() {
        return Err(Failure::nobody_to_ask(flag));
    }
    Output::new(global, surroundings).ask(plan, question)?;
    let mut answer = String::new();
    let mut input = (&mut surroundings.stdin).take(MAX_ANSWER_BYTES);
    // An answer that can't be read is none.
    input.read_line(&mut answer).ok();
    Ok(answer.trim().to_owned())
}
