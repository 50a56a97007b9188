use super::*;
use crate::dialog::Stage;
use crate::link::Link;
use crate::sample::{self, NOW, at, hear};
use crate::theme::UNICODE;
use crossterm::event::{KeyCode, KeyModifiers};
use std::time::Duration;

fn press(model: &mut Model, keys: &str) -> Option<Effect> {
    let mut effect = None;
    for key in keys.chars() {
        let code = match key {
            '\t' => KeyCode::Tab,
            '\x1b' => KeyCode::Esc,
            '\n' => KeyCode::Enter,
            other => KeyCode::Char(other),
        };
        effect = update(model, Msg::Key(KeyEvent::new(code, KeyModifiers::NONE)));
    }
    effect
}

#[test]
fn keys_have_their_effects() {
    let mut model = sample::live();
    assert_eq!(press(&mut model, "q"), Some(Effect::Quit));
    assert_eq!(press(&mut model, "r"), Some(Effect::Refresh));
    assert_eq!(press(&mut model, "p"), Some(Effect::Pause(true)));
    assert_eq!(press(&mut model, "p"), Some(Effect::Pause(false)));
    assert_eq!(press(&mut model, "t"), None);
    assert_eq!(model.theme, Theme::Light);
    press(&mut model, "tt");
    assert_eq!(model.theme, Theme::Dark);
}

#[test]
fn the_tree_of_miners_is_walked_and_opened_by_keys() {
    let mut model = sample::live();
    press(&mut model, "5");
    assert_eq!(model.view, View::Miners);
    press(&mut model, "j");
    let first = model.row.clone().unwrap();
    assert!(matches!(first, Key::Account(_)), "{first:?}");
    let rows = model.tree().len();
    press(&mut model, "\n");
    assert!(model.tree().len() < rows, "its workers are hidden");
    press(&mut model, "\nj\n");
    assert!(
        model.tree().len() > rows,
        "the sessions of its worker are shown"
    );
    assert!(matches!(model.row, Some(Key::Worker(..))));
    press(&mut model, "\x1b");
    assert_eq!(model.row, None);
    // Elsewhere Enter opens nothing.
    press(&mut model, "1j\n");
    assert_eq!(model.view, View::Overview);
    assert!(model.miner.is_some());
}

#[test]
fn a_key_without_a_meaning_draws_nothing() {
    let mut model = sample::live();
    model.dirty = false;
    assert_eq!(press(&mut model, "z"), None);
    assert!(!model.dirty);
}

#[test]
fn only_a_new_second_is_drawn() {
    let mut model = sample::live();
    model.dirty = false;
    update(&mut model, Msg::Tick(at(NOW) + Duration::from_millis(250)));
    assert!(!model.dirty);
    update(&mut model, Msg::Tick(at(NOW + 1)));
    assert!(model.dirty);
    model.dirty = false;
    update(&mut model, Msg::Resize);
    assert!(model.dirty);
}

#[test]
fn miners_are_ordered_by_hash_rate() {
    let model = sample::live();
    let ids: Vec<_> = model
        .miners()
        .unwrap()
        .miners
        .iter()
        .map(|m| m.id)
        .collect();
    assert_eq!(ids, [1, 2, 3, 4]);
}

#[test]
fn rows_are_selected_from_the_first_and_stop_at_the_ends() {
    let mut model = sample::live();
    for (keys, expected) in [
        ("j", 1),
        ("j", 2),
        ("jjjjj", 4),
        ("k", 3),
        ("g", 1),
        ("k", 1),
        ("G", 4),
    ] {
        press(&mut model, keys);
        assert_eq!(model.miner, Some(expected), "{keys}");
    }
    press(&mut model, "\x1b");
    assert_eq!(model.miner, None);
}

#[test]
fn tab_gives_the_keys_to_the_other_table() {
    let mut model = sample::live();
    press(&mut model, "\tjj");
    assert_eq!(model.miner, None);
    let second = &model.blocks().unwrap()[1].hash;
    assert_eq!(model.block.as_ref(), Some(second));
    press(&mut model, "\tj");
    assert_eq!(model.miner, Some(1));
}

#[test]
fn a_selection_follows_its_miner_when_the_order_changes() {
    let mut model = sample::live();
    press(&mut model, "jj");
    let mut answer = sample::pool();
    for miner in &mut answer.miners.as_mut().unwrap().miners {
        miner.hashrate_1m_hs = f64::from(miner.id);
    }
    hear(&mut model, Event::Pool(Box::new(answer)), at(NOW + 1));
    assert_eq!(model.miner, Some(2));
    press(&mut model, "j");
    assert_eq!(model.miner, Some(1), "the order is 4, 3, 2, 1 now");
}

#[test]
fn a_selection_whose_miner_left_begins_at_the_first_row() {
    let mut model = sample::live();
    press(&mut model, "G");
    let mut answer = sample::pool();
    answer.miners.as_mut().unwrap().miners.retain(|m| m.id != 4);
    hear(&mut model, Event::Pool(Box::new(answer)), at(NOW + 1));
    press(&mut model, "j");
    assert_eq!(model.miner, Some(1));
}

#[test]
fn keys_on_empty_tables_do_nothing() {
    let mut model = sample::connecting(&UNICODE);
    press(&mut model, "jkgG\tjkgG");
    assert_eq!((model.miner, model.block), (None, None));
}

#[test]
fn escape_closes_the_help_before_it_drops_the_selection() {
    let mut model = sample::live();
    press(&mut model, "j?");
    assert!(model.help);
    press(&mut model, "\x1b");
    assert!(!model.help);
    assert_eq!(model.miner, Some(1));
}

#[test]
fn a_poll_that_leaves_the_miners_out_keeps_the_last_ones() {
    let mut model = sample::live();
    let mut answer = sample::pool();
    answer.miners = None;
    hear(&mut model, Event::Pool(Box::new(answer)), at(NOW + 1));
    assert_eq!(model.miners().unwrap().miners.len(), 4);
}

#[test]
fn a_lost_daemon_leaves_the_others_live_and_comes_back() {
    let mut model = sample::live();
    let down = Event::Down {
        daemon: Daemon::Pool,
        why: "it closed the connection".into(),
        retry_in: Duration::from_secs(2),
    };
    hear(&mut model, down, at(NOW));
    update(&mut model, Msg::Tick(at(NOW + 1)));
    let expected = Link::Down {
        since: 1,
        why: "it closed the connection",
        retry_in: 1,
    };
    assert_eq!(model.pool.link(model.now), expected);
    assert_eq!(model.tp.link(model.now), Link::Live);
    assert!(model.pool.data.is_some());

    hear(
        &mut model,
        Event::Pool(Box::new(sample::pool())),
        at(NOW + 2),
    );
    update(&mut model, Msg::Tick(at(NOW + 2)));
    assert_eq!(model.pool.link(model.now), Link::Live);
}

#[test]
fn time_stands_still_for_a_screen_that_is_held() {
    let mut model = sample::live();
    press(&mut model, "p");
    update(&mut model, Msg::Tick(at(NOW + 60)));
    assert_eq!(model.pool.link(model.shown_at()), Link::Live);
    press(&mut model, "p");
    assert_eq!(model.pool.link(model.shown_at()), Link::Stale { age: 60 });
}

#[test]
fn the_window_of_the_hash_rate_is_no_longer_than_the_pool_is_up() {
    let answer = sample::pool();
    assert_eq!(hashrate_window(&answer, at(75)), "1m15s");
    assert_eq!(hashrate_window(&answer, at(600)), "10m");
    assert_eq!(hashrate_window(&answer, at(NOW)), "10m");
}

fn asked(operation: Operation) -> Option<Effect> {
    Some(Effect::Act {
        operation,
        dry_run: true,
    })
}

fn acted(model: &mut Model, dry_run: bool, outcome: Result<&str, &str>) -> Option<Effect> {
    let Some(Dialog::Act { operation, .. }) = model.dialog.clone() else {
        panic!("nothing is to be done: {:?}", model.dialog);
    };
    let msg = Msg::Acted {
        operation,
        dry_run,
        outcome: outcome
            .map(|words| words.to_owned().into())
            .map_err(str::to_owned),
    };
    update(model, msg)
}

#[track_caller]
fn stage(model: &Model) -> &Stage {
    let Some(Dialog::Act { stage, .. }) = &model.dialog else {
        panic!("nothing is to be done: {:?}", model.dialog);
    };
    stage
}

#[test]
fn a_miner_is_kicked_once_its_consequence_is_known_and_a_yes_is_given() {
    let mut model = sample::live();
    let kick = Operation::KickAccount("alice".into());
    assert_eq!(press(&mut model, "5jK"), asked(kick.clone()));
    assert_eq!(press(&mut model, "y"), None, "not before it is known");
    assert_eq!(acted(&mut model, true, Ok("1 channel")), None);
    assert_eq!(*stage(&model), Stage::Asked("1 channel".into()));
    assert_eq!(
        press(&mut model, "q5"),
        None,
        "other keys leave it or do nothing"
    );
    assert_eq!(model.dialog, None);

    press(&mut model, "K");
    acted(&mut model, true, Ok("1 channel"));
    let doing = Some(Effect::Act {
        operation: kick,
        dry_run: false,
    });
    assert_eq!(press(&mut model, "y"), doing);
    assert_eq!(press(&mut model, "y\x1b"), None);
    assert_eq!(*stage(&model), Stage::Doing, "its end is waited for");
    let done = acted(&mut model, false, Ok("1 channel"));
    assert_eq!(done, Some(Effect::Refresh));
    assert_eq!(*stage(&model), Stage::Done("1 channel".into()));
    press(&mut model, "\n");
    assert_eq!(model.dialog, None);
}

#[test]
fn what_is_refused_is_told_and_late_answers_are_passed_over() {
    let mut model = sample::live();
    press(&mut model, "5jK");
    assert_eq!(acted(&mut model, false, Ok("1 channel")), None);
    assert_eq!(*stage(&model), Stage::Planning, "that was never asked for");
    acted(&mut model, true, Err("hh-pool: no such channel (HH2004)"));
    let why = "hh-pool: no such channel (HH2004)".to_owned();
    assert_eq!(*stage(&model), Stage::Failed(why));
    assert_eq!(press(&mut model, "y"), None);
    press(&mut model, "\x1b");
    let late = Msg::Acted {
        operation: Operation::KickChannel(1),
        dry_run: true,
        outcome: Ok("1 channel".to_owned().into()),
    };
    assert_eq!(update(&mut model, late), None);
    assert_eq!(model.dialog, None);
}

#[test]
fn sessions_are_kicked_one_by_one_and_a_worker_is_none() {
    let mut model = sample::live();
    press(&mut model, "5");
    for (row, expected) in [
        (Key::Channel(1), asked(Operation::KickChannel(1))),
        (Key::Downstream(5), asked(Operation::KickDownstream(5))),
        (Key::Worker("alice".into(), "rig1".into()), None),
    ] {
        model.row = Some(row);
        assert_eq!(press(&mut model, "K"), expected);
        assert!(model.dialog.is_some());
        press(&mut model, "\x1b");
    }
    model.row = None;
    assert_eq!(press(&mut model, "K"), None);
    assert!(matches!(&model.dialog, Some(Dialog::Told(_))));
}

#[test]
fn a_lane_is_paused_and_a_paused_one_resumed() {
    let mut model = sample::live();
    assert_eq!(press(&mut model, "4P"), None);
    assert!(
        matches!(&model.dialog, Some(Dialog::Told(_))),
        "none is chosen"
    );
    let pause = |paused| Operation::PauseLane {
        lane: "default".into(),
        paused,
    };
    assert_eq!(press(&mut model, "\x1bjP"), asked(pause(true)));
    press(&mut model, "\x1b");
    let mut translator = sample::translator();
    translator.lanes[0].paused = true;
    hear(&mut model, Event::Translator(Box::new(translator)), at(NOW));
    assert_eq!(press(&mut model, "P"), asked(pause(false)));
}

#[test]
fn nothing_is_changed_where_one_may_only_look() {
    let mut model = sample::live();
    model.read_only = true;
    model.hhctl = "hhctl -c devnet".into();
    assert_eq!(press(&mut model, "5jK"), None);
    let Some(Dialog::Told(why)) = &model.dialog else {
        panic!("{:?}", model.dialog);
    };
    let command = "`hhctl -c devnet miner kick --account alice`";
    assert!(
        why.contains("--read-only") && why.contains(command),
        "{why}"
    );
}

#[test]
fn payouts_are_frozen_at_once_and_go_on_after_the_name_of_the_context() {
    let mut model = sample::live();
    model.place = "core1".into();
    let act = |operation, dry_run| Some(Effect::Act { operation, dry_run });
    assert_eq!(press(&mut model, "8F"), act(Operation::Freeze, false));
    assert_eq!(*stage(&model), Stage::Doing);
    acted(&mut model, false, Ok("frozen by alice"));
    press(&mut model, "\n");

    hear(
        &mut model,
        Event::Treasury(Box::new(sample::frozen())),
        at(NOW),
    );
    assert_eq!(press(&mut model, "F"), act(Operation::Unfreeze, true));
    acted(
        &mut model,
        true,
        Ok("Frozen by hh-treasury. Due: 2 payouts of 1 sat"),
    );
    assert_eq!(press(&mut model, "core\n"), None, "that is another name");
    assert!(matches!(stage(&model), Stage::Asked(_)));
    assert_eq!(press(&mut model, "1\n"), act(Operation::Unfreeze, false));
}

#[test]
fn a_run_of_payouts_is_the_one_that_was_shown() {
    let mut model = sample::live();
    assert_eq!(press(&mut model, "8P"), asked(Operation::PlanPayouts));
    let run = Operation::RunPayouts {
        request_id: "r1".into(),
        payees: vec!["miner:alice".into()],
        total_msat: 4_200_456,
    };
    let planned = Msg::Acted {
        operation: Operation::PlanPayouts,
        dry_run: true,
        outcome: Ok(Outcome {
            words: "1 payout of 4,200.456 sat".into(),
            next: Some(run.clone()),
        }),
    };
    assert_eq!(update(&mut model, planned), None);
    // A yes is not enough where money goes, and no letter of the name is a key.
    assert_eq!(press(&mut model, "y\n"), None);
    assert!(model.dialog.is_some());
    update(
        &mut model,
        Msg::Key(KeyEvent::new(KeyCode::Backspace, KeyModifiers::NONE)),
    );
    let doing = Some(Effect::Act {
        operation: run,
        dry_run: false,
    });
    assert_eq!(press(&mut model, "devnet\n"), doing);
}

#[test]
fn the_payee_of_a_payout_is_held_and_released_and_a_channel_closed() {
    let mut model = sample::live();
    press(&mut model, "8h");
    assert!(
        matches!(&model.dialog, Some(Dialog::Told(_))),
        "none is chosen"
    );
    let hold = |is_held| Operation::Hold {
        payee: "miner:bob".into(),
        is_held,
    };
    assert_eq!(press(&mut model, "\x1bjjh"), asked(hold(true)));
    assert_eq!(press(&mut model, "\x1bu"), asked(hold(false)));
    press(&mut model, "\x1b9c");
    assert!(
        matches!(&model.dialog, Some(Dialog::Told(_))),
        "none is chosen"
    );
    let close = Operation::CloseChannel("187x1x0".into());
    assert_eq!(press(&mut model, "\x1bjc"), asked(close));
}

#[test]
fn what_stands_in_lists_stays_until_it_is_asked_for_again() {
    let mut model = sample::live();
    let mut answer = sample::treasury();
    answer.details = None;
    answer.status.payouts_open = 9;
    hear(&mut model, Event::Treasury(Box::new(answer)), at(NOW));
    assert!(model.details().is_some());
    let treasury = model.treasury.data.as_ref().unwrap();
    assert_eq!(treasury.status.payouts_open, 9);
}
