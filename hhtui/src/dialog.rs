//! What stands before the screen while something is to be changed: first what would come of it, then the question, then what did.

use crate::act::Operation;
use crate::model::{Effect, Model};
use crate::tree::Key;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// A question, or an answer that has to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Dialog {
    /// Something to change.
    Act { operation: Operation, stage: Stage },
    /// Why nothing can be changed here.
    Told(String),
}

/// How far an operation has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The daemon is asked what would come of it.
    Planning,
    /// That is known, and a yes is waited for.
    Asked(String),
    Doing,
    Done(String),
    /// Why it was not done, or what is not known.
    Failed(String),
}

impl Dialog {
    /// Whether a key can do it now.
    pub(crate) fn waits_for_a_yes(&self) -> bool {
        let Self::Act { stage, .. } = self else {
            return false;
        };
        matches!(stage, Stage::Asked(_))
    }

    /// While it is being done its end is waited for: whoever looks away would not know what came of it.
    pub(crate) fn can_be_closed(&self) -> bool {
        let Self::Act { stage, .. } = self else {
            return true;
        };
        *stage != Stage::Doing
    }
}

/// Kicks what the selected row of the miners stands for.
pub(crate) fn kick(model: &mut Model) -> Option<Effect> {
    let operation = match &model.row {
        Some(Key::Account(account)) => Ok(Operation::KickAccount(account.clone())),
        Some(Key::Channel(id)) => Ok(Operation::KickChannel(*id)),
        Some(Key::Downstream(id)) => Ok(Operation::KickDownstream(*id)),
        Some(Key::Worker(..)) => Err(
            "A worker has no connection of its own. Open it (Enter) and choose a session, or kick its account.",
        ),
        None => Err("Choose an account or a session first (j, k, Enter)."),
    };
    match operation {
        Ok(operation) => begin(model, operation),
        Err(why_not) => tell(model, why_not),
    }
}

/// Pauses the selected lane, or resumes it.
pub(crate) fn pause_lane(model: &mut Model) -> Option<Effect> {
    let mut lanes = model.translator.data.iter().flat_map(|data| &data.lanes);
    let Some(lane) = lanes.find(|lane| Some(&lane.name) == model.lane.as_ref()) else {
        return tell(model, "Choose a lane of the translator first (j, k).");
    };
    let operation = Operation::PauseLane {
        lane: lane.name.clone(),
        paused: !lane.paused,
    };
    begin(model, operation)
}

fn tell(model: &mut Model, why_not: impl Into<String>) -> Option<Effect> {
    model.dialog = Some(Dialog::Told(why_not.into()));
    None
}

fn begin(model: &mut Model, operation: Operation) -> Option<Effect> {
    if model.read_only {
        let command = operation.command();
        let why_not = format!(
            "hhtui was started with --read-only, and changes nothing. It is done by `{} {command}`.",
            model.hhctl
        );
        return tell(model, why_not);
    }
    model.dialog = Some(Dialog::Act {
        operation: operation.clone(),
        stage: Stage::Planning,
    });
    Some(Effect::Act {
        operation,
        dry_run: true,
    })
}

/// A key, while there is a dialog.
pub(crate) fn on_key(model: &mut Model, key: KeyEvent) -> Option<Effect> {
    let dialog = model.dialog.as_mut()?;
    let pressed = (key.modifiers - KeyModifiers::SHIFT, key.code);
    match pressed {
        (KeyModifiers::CONTROL, KeyCode::Char('c')) => return Some(Effect::Quit),
        (KeyModifiers::NONE, KeyCode::Char('y' | 'Y')) if dialog.waits_for_a_yes() => {
            let Dialog::Act { operation, stage } = dialog else {
                return None;
            };
            *stage = Stage::Doing;
            let operation = operation.clone();
            model.dirty = true;
            return Some(Effect::Act {
                operation,
                dry_run: false,
            });
        }
        (KeyModifiers::NONE, KeyCode::Esc | KeyCode::Enter | KeyCode::Char('n' | 'N' | 'q'))
            if dialog.can_be_closed() =>
        {
            model.dialog = None;
            model.dirty = true;
        }
        _ => {}
    }
    None
}

/// What became of an operation; of one whose dialog is closed nobody wants to know.
pub(crate) fn on_outcome(
    model: &mut Model,
    of: &Operation,
    dry_run: bool,
    outcome: Result<String, String>,
) -> Option<Effect> {
    let Some(Dialog::Act { operation, stage }) = &mut model.dialog else {
        return None;
    };
    let waited_for = match stage {
        Stage::Planning => dry_run,
        Stage::Doing => !dry_run,
        Stage::Asked(_) | Stage::Done(_) | Stage::Failed(_) => false,
    };
    if operation != of || !waited_for {
        return None;
    }
    model.dirty = true;
    *stage = match outcome {
        Ok(consequence) if dry_run => Stage::Asked(consequence),
        Ok(consequence) => Stage::Done(consequence),
        Err(why) => Stage::Failed(why),
    };
    // The screen is to show what has changed.
    (!dry_run).then_some(Effect::Refresh)
}
