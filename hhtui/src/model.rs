//! All that the screen shows, and the one function that changes it.
//!
//! `update` takes what happened and answers with what is to be done about it; it reads no clock, no socket and no
//! terminal. Whether anything visible changed is in [`Model::dirty`].

use crate::act::{Operation, Outcome};
use crate::dialog::{self, Dialog};
use crate::feed::{Event, PoolAnswer, TreasuryAnswer, TreasuryDetails};
use crate::figures::seconds_since;
use crate::history::History;
use crate::keymap::{self, Action};
use crate::link::Source;
use crate::theme::{Symbols, Theme};
use crate::tree::{self, Key};
use crossterm::event::KeyEvent;
use hh_ipc::api::pool::{Block, Miner, MinerPage};
use hh_ipc::api::template_provider::TemplateProviderStatus;
use hh_ipc::api::translator::{LaneDetail, TranslatorStatus};
use hh_ipc::api::treasury::RewardBlock;
use hh_ipc::locate::Daemon;
use jiff::Timestamp;
use std::collections::BTreeSet;

/// What can happen.
#[derive(Debug)]
pub(crate) enum Msg {
    Key(KeyEvent),
    /// The terminal has another size.
    Resize,
    Tick(Timestamp),
    Feed {
        event: Event,
        at: Timestamp,
    },
    /// What an operation would do or has done, or why not.
    Acted {
        operation: Operation,
        dry_run: bool,
        outcome: Result<Outcome, String>,
    },
}

/// What is to be done outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Quit,
    Refresh,
    /// Stop asking, or go on.
    Pause(bool),
    /// Do it, or ask what it would do; the answer is to come as [`Msg::Acted`].
    Act {
        operation: Operation,
        dry_run: bool,
    },
}

/// What is on the screen. The numbers of the keys are those of all screens that there will be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Overview,
    Lanes,
    Miners,
    Blocks,
    Treasury,
    Lightning,
}

impl View {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 6] = [
        Self::Overview,
        Self::Lanes,
        Self::Miners,
        Self::Blocks,
        Self::Treasury,
        Self::Lightning,
    ];
}

/// A table that takes the keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pane {
    Miners,
    Blocks,
}

/// The state of the program.
#[derive(Debug)]
pub(crate) struct Model {
    /// Name of the context, and the host where that is another machine.
    pub(crate) context: String,
    pub(crate) theme: Theme,
    pub(crate) symbols: &'static Symbols,
    pub(crate) now: Timestamp,
    pub(crate) paused_at: Option<Timestamp>,
    pub(crate) pool: Source<PoolAnswer>,
    pub(crate) tp: Source<TemplateProviderStatus>,
    pub(crate) translator: Source<TranslatorStatus>,
    /// Those of the translator, as old as its status.
    pub(crate) lanes: Vec<LaneDetail>,
    pub(crate) treasury: Source<TreasuryAnswer>,
    pub(crate) history: History,
    pub(crate) help: bool,
    pub(crate) view: View,
    pub(crate) pane: Pane,
    /// Selected row by the identity of what is in it, so that a new order does not move the choice to another miner.
    pub(crate) miner: Option<u32>,
    pub(crate) block: Option<String>,
    /// Of the tree of miners.
    pub(crate) row: Option<Key>,
    /// Rows of it that the user has opened or closed; see [`tree::rows`].
    pub(crate) turned: BTreeSet<Key>,
    /// Selected lane of the translator.
    pub(crate) lane: Option<String>,
    /// Selected payout of the treasury, and channel of its wallet.
    pub(crate) payout: Option<u64>,
    pub(crate) channel: Option<String>,
    /// Before everything while it is there: it takes the keys.
    pub(crate) dialog: Option<Dialog>,
    /// What is typed where money goes: the host, or the name of the context.
    pub(crate) place: String,
    /// `hhctl` with the flags that lead to the same daemons.
    pub(crate) hhctl: String,
    /// Nothing is changed from here.
    pub(crate) read_only: bool,
    pub(crate) dirty: bool,
}

impl Model {
    pub(crate) fn new(
        context: String,
        theme: Theme,
        symbols: &'static Symbols,
        now: Timestamp,
    ) -> Self {
        Self {
            place: context.clone(),
            context,
            theme,
            symbols,
            now,
            paused_at: None,
            pool: Source::default(),
            tp: Source::default(),
            translator: Source::default(),
            lanes: Vec::new(),
            treasury: Source::default(),
            history: History::default(),
            help: false,
            view: View::Overview,
            pane: Pane::Miners,
            miner: None,
            block: None,
            row: None,
            turned: BTreeSet::new(),
            lane: None,
            payout: None,
            channel: None,
            dialog: None,
            hhctl: "hhctl".to_owned(),
            read_only: false,
            dirty: true,
        }
    }

    /// The moment that the data on the screen is compared with: while it is held still, time stands still for it.
    pub(crate) fn shown_at(&self) -> Timestamp {
        self.paused_at.unwrap_or(self.now)
    }

    /// The moment that what hh-pool said is true for; see [`Source::as_of`].
    pub(crate) fn pool_time(&self) -> Timestamp {
        self.pool.as_of(self.shown_at())
    }

    /// The page of miners, most hash rate first.
    pub(crate) fn miners(&self) -> Option<&MinerPage> {
        self.pool.data.as_ref()?.miners.as_ref()
    }

    /// The lines of the tree of miners.
    pub(crate) fn tree(&self) -> Vec<tree::Row<'_>> {
        let channels = self.miners().map_or(&[][..], |page| &page.miners);
        let translator = self.translator.data.as_ref();
        let downstream = translator.map_or(&[][..], |translator| &translator.miners);
        tree::rows(channels, downstream, &self.turned)
    }

    /// What hh-treasury has in lists; none before the first poll for them.
    pub(crate) fn details(&self) -> Option<&TreasuryDetails> {
        self.treasury.data.as_ref()?.details.as_ref()
    }

    /// The moment that what hh-treasury said is true for; see [`Source::as_of`].
    pub(crate) fn treasury_time(&self) -> Timestamp {
        self.treasury.as_of(self.shown_at())
    }

    /// What hh-treasury makes of a block; none where it is not known.
    pub(crate) fn reward(&self, hash: &str) -> Option<&RewardBlock> {
        let blocks = self.details()?.blocks.as_ref().ok()?;
        blocks.iter().find(|block| block.hash == hash)
    }

    /// Our blocks, newest first; none where they are not known.
    pub(crate) fn blocks(&self) -> Option<&[Block]> {
        self.pool.data.as_ref()?.blocks.as_deref().ok()
    }
}

/// Changes `model` by `msg`.
pub(crate) fn update(model: &mut Model, msg: Msg) -> Option<Effect> {
    match msg {
        Msg::Key(key) if model.dialog.is_some() => return dialog::on_key(model, key),
        Msg::Key(key) => {
            return keymap::action(key, model.view).and_then(|action| act(model, action));
        }
        Msg::Acted {
            operation,
            dry_run,
            outcome,
        } => return dialog::on_outcome(model, &operation, dry_run, outcome),
        Msg::Resize => model.dirty = true,
        Msg::Tick(now) => {
            // Nothing on the screen is finer than a second.
            model.dirty |= now.as_second() != model.now.as_second();
            model.now = now;
        }
        Msg::Feed { event, at } => {
            hear(model, event, at);
            model.dirty = true;
        }
    }
    None
}

fn act(model: &mut Model, action: Action) -> Option<Effect> {
    model.dirty = true;
    match action {
        Action::Quit => return Some(Effect::Quit),
        Action::Refresh => return Some(Effect::Refresh),
        Action::Pause => {
            model.paused_at = match model.paused_at {
                None => Some(model.now),
                Some(_) => None,
            };
            return Some(Effect::Pause(model.paused_at.is_some()));
        }
        Action::Help => model.help = !model.help,
        Action::Close => {
            if !std::mem::take(&mut model.help) {
                model.miner = None;
                model.block = None;
                model.row = None;
                model.lane = None;
                model.payout = None;
                model.channel = None;
            }
        }
        Action::Show(view) => {
            model.view = view;
            model.help = false;
        }
        Action::Open => open(model),
        Action::Kick => return dialog::kick(model),
        Action::PauseLane => return dialog::pause_lane(model),
        Action::Freeze => return dialog::freeze(model),
        Action::RunPayouts => return dialog::run_payouts(model),
        Action::Hold => return dialog::hold(model, true),
        Action::Release => return dialog::hold(model, false),
        Action::CloseChannel => return dialog::close_channel(model),
        Action::Theme => model.theme = model.theme.next(),
        Action::NextPane => {
            model.pane = match model.pane {
                Pane::Miners => Pane::Blocks,
                Pane::Blocks => Pane::Miners,
            };
        }
        Action::Down | Action::Up | Action::First | Action::Last => select(model, action),
    }
    None
}

/// Opens or closes the selected row of the tree.
fn open(model: &mut Model) {
    let Some(row) = model.row.clone().filter(|_| model.view == View::Miners) else {
        return;
    };
    if !model.turned.remove(&row) {
        model.turned.insert(row);
    }
}

fn select(model: &mut Model, action: Action) {
    match (model.view, model.pane) {
        (View::Lanes, _) => {
            let lanes = model.translator.data.iter().flat_map(|data| &data.lanes);
            let names: Vec<String> = lanes.map(|lane| lane.name.clone()).collect();
            model.lane = moved(&names, model.lane.as_ref(), action).cloned();
        }
        (View::Miners, _) => {
            let keys: Vec<Key> = model.tree().iter().map(tree::Row::key).collect();
            model.row = moved(&keys, model.row.as_ref(), action).cloned();
        }
        (View::Overview, Pane::Miners) => {
            let ids: Vec<u32> = model
                .miners()
                .map(|page| page.miners.iter().map(|miner| miner.id).collect())
                .unwrap_or_default();
            model.miner = moved(&ids, model.miner.as_ref(), action).copied();
        }
        (View::Treasury, _) => {
            let payouts = model
                .details()
                .and_then(|details| details.payouts.as_ref().ok());
            let ids: Vec<u64> = payouts
                .into_iter()
                .flatten()
                .map(|payout| payout.id)
                .collect();
            model.payout = moved(&ids, model.payout.as_ref(), action).copied();
        }
        (View::Lightning, _) => {
            let channels = model
                .details()
                .and_then(|details| details.channels.as_ref().ok());
            let channels = channels.into_iter().flatten();
            let ids: Vec<String> = channels.map(|channel| channel.id.clone()).collect();
            model.channel = moved(&ids, model.channel.as_ref(), action).cloned();
        }
        (View::Overview, Pane::Blocks) | (View::Blocks, _) => {
            let hashes: Vec<String> = model
                .blocks()
                .map(|blocks| blocks.iter().map(|block| block.hash.clone()).collect())
                .unwrap_or_default();
            model.block = moved(&hashes, model.block.as_ref(), action).cloned();
        }
    }
}

/// The row that `action` leads to from `selected`; the first one where that is gone or there was none.
fn moved<'a, T: PartialEq>(rows: &'a [T], selected: Option<&T>, action: Action) -> Option<&'a T> {
    let last = rows.len().checked_sub(1)?;
    let now = selected.and_then(|id| rows.iter().position(|row| row == id));
    let index = match (action, now) {
        (Action::Last, _) => last,
        (Action::Down, Some(index)) => (index + 1).min(last),
        (Action::Up, Some(index)) => index.saturating_sub(1),
        _ => 0,
    };
    rows.get(index)
}

fn hear(model: &mut Model, event: Event, at: Timestamp) {
    match event {
        Event::Pool(mut answer) => {
            model.history.push(answer.status.hashrate_10m_hs, at);
            match &mut answer.miners {
                Some(page) => page.miners.sort_by(by_hashrate),
                left_out => *left_out = model.pool.data.take().and_then(|last| last.miners),
            }
            model.pool.answered(*answer, at);
        }
        Event::Tp(status) => model.tp.answered(*status, at),
        Event::Translator(status) => model.translator.answered(*status, at),
        Event::Lanes(lanes) => model.lanes = lanes,
        Event::Treasury(mut answer) => {
            if answer.details.is_none() {
                let last = model.treasury.data.take();
                answer.details = last.and_then(|last| last.details);
            }
            model.treasury.answered(*answer, at);
        }
        Event::Down {
            daemon,
            why,
            retry_in,
        } => {
            let retry_at = at + retry_in;
            match daemon {
                Daemon::Pool => model.pool.failed(why, retry_at, at),
                Daemon::Tp => model.tp.failed(why, retry_at, at),
                Daemon::Translator => model.translator.failed(why, retry_at, at),
                Daemon::Treasury => model.treasury.failed(why, retry_at, at),
                Daemon::Core | Daemon::NodeAgent => {
                    unreachable!("the screens are those of Daemon::ALL")
                }
            }
        }
    }
}

/// Most hash rate first; by id where that is the same, so that rows keep their places.
fn by_hashrate(a: &Miner, b: &Miner) -> std::cmp::Ordering {
    b.hashrate_1m_hs
        .total_cmp(&a.hashrate_1m_hs)
        .then(a.id.cmp(&b.id))
}

/// The window of the pool's hash rate in words: it is shorter than ten minutes after a start.
pub(crate) fn hashrate_window(answer: &PoolAnswer, now: Timestamp) -> String {
    let up = seconds_since(answer.hello.started_at, now);
    if up < 600 {
        return crate::figures::span(up);
    }
    "10m".to_owned()
}

#[cfg(test)]
mod tests;
