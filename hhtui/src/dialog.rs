//! What stands before the screen while something is to be changed: first what would come of it, then the question, then what did.

use crate::act::{Asks, Operation, Outcome};
use crate::model::{Effect, Model};
use crate::tree::Key;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

/// A question, or an answer that has to be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Dialog {
    /// Something to change.
    Act {
        operation: Operation,
        stage: Stage,
        /// What was typed of the name that is asked for.
        typed: String,
    },
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
    /// What a key can do now; nothing while nothing is asked.
    fn asks(&self) -> Asks {
        match self {
            Self::Act {
                operation,
                stage: Stage::Asked(_),
                ..
            } => operation.asks(),
            _ => Asks::Nothing,
        }
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
    let is_at_once = operation.asks() == Asks::Nothing;
    model.dialog = Some(Dialog::Act {
        operation: operation.clone(),
        stage: if is_at_once {
            Stage::Doing
        } else {
            Stage::Planning
        },
        typed: String::new(),
    });
    Some(Effect::Act {
        operation,
        dry_run: !is_at_once,
    })
}

/// Freezes payouts at once; where they are, asks what would go on.
pub(crate) fn freeze(model: &mut Model) -> Option<Effect> {
    let Some(treasury) = &model.treasury.data else {
        return begin(model, Operation::Freeze);
    };
    let operation = match treasury.status.freeze {
        None => Operation::Freeze,
        Some(_) => Operation::Unfreeze,
    };
    begin(model, operation)
}

/// Asks what would be paid now.
pub(crate) fn run_payouts(model: &mut Model) -> Option<Effect> {
    begin(model, Operation::PlanPayouts)
}

/// Holds the payee of the selected payout, or releases him.
pub(crate) fn hold(model: &mut Model, is_held: bool) -> Option<Effect> {
    let payouts = model
        .details()
        .and_then(|details| details.payouts.as_ref().ok());
    let mut payouts = payouts.into_iter().flatten();
    let Some(payout) = payouts.find(|payout| Some(payout.id) == model.payout) else {
        return tell(model, "Choose a payout first (j, k): its payee is meant.");
    };
    let payee = payout.payee.clone();
    begin(model, Operation::Hold { payee, is_held })
}

/// Closes the selected channel; by force only hhctl does.
pub(crate) fn close_channel(model: &mut Model) -> Option<Effect> {
    let Some(id) = model.channel.clone() else {
        return tell(model, "Choose a channel first (j, k).");
    };
    begin(model, Operation::CloseChannel(id))
}

/// Longest name that is typed.
const MAX_TYPED: usize = 255;

/// A key, while there is a dialog.
pub(crate) fn on_key(model: &mut Model, key: KeyEvent) -> Option<Effect> {
    let pressed = (key.modifiers - KeyModifiers::SHIFT, key.code);
    if pressed == (KeyModifiers::CONTROL, KeyCode::Char('c')) {
        return Some(Effect::Quit);
    }
    if key
        .modifiers
        .intersects(KeyModifiers::CONTROL | KeyModifiers::ALT)
    {
        return None;
    }
    let dialog = model.dialog.as_mut()?;
    model.dirty = true;
    match (dialog.asks(), key.code) {
        (Asks::Name, KeyCode::Char(c)) => {
            dialog.type_on(c);
            None
        }
        (Asks::Name, KeyCode::Backspace) => {
            dialog.take_back();
            None
        }
        // Another name does nothing: it is there to be corrected.
        (Asks::Name, KeyCode::Enter) => dialog.has_typed(&model.place).then(|| act(dialog))?,
        (Asks::Yes, KeyCode::Char('y' | 'Y')) => act(dialog),
        (_, KeyCode::Esc | KeyCode::Enter | KeyCode::Char('n' | 'N' | 'q')) => {
            if dialog.can_be_closed() {
                model.dialog = None;
            }
            None
        }
        _ => None,
    }
}

/// Does what was asked about.
fn act(dialog: &mut Dialog) -> Option<Effect> {
    let Dialog::Act {
        operation, stage, ..
    } = dialog
    else {
        return None;
    };
    *stage = Stage::Doing;
    Some(Effect::Act {
        operation: operation.clone(),
        dry_run: false,
    })
}

impl Dialog {
    fn type_on(&mut self, c: char) {
        if let Self::Act { typed, .. } = self
            && typed.chars().count() < MAX_TYPED
        {
            typed.push(c);
        }
    }

    fn take_back(&mut self) {
        if let Self::Act { typed, .. } = self {
            typed.pop();
        }
    }

    fn has_typed(&self, name: &str) -> bool {
        matches!(self, Self::Act { typed, .. } if typed == name)
    }
}

/// What became of an operation; of one whose dialog is closed nobody wants to know.
pub(crate) fn on_outcome(
    model: &mut Model,
    of: &Operation,
    dry_run: bool,
    outcome: Result<Outcome, String>,
) -> Option<Effect> {
    let Some(Dialog::Act {
        operation, stage, ..
    }) = &mut model.dialog
    else {
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
        Ok(outcome) if dry_run => {
            if let Some(next) = outcome.next {
                *operation = next;
            }
            Stage::Asked(outcome.words)
        }
        Ok(outcome) => Stage::Done(outcome.words),
        Err(why) => Stage::Failed(why),
    };
    // The screen is to show what has changed.
    (!dry_run).then_some(Effect::Refresh)
}
