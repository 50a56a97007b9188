//! What the screen looks like, as text; and what it costs on a line.

use super::*;
use crate::act::{Operation, Outcome};
use crate::feed::{Event, PoolAnswer};
use crate::model::{Msg, update};
use crate::sample::{self, NOW, at, hear};
use crate::theme::{ASCII, Theme, UNICODE};
use crate::tree::Key;
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use hh_ipc::api::template_provider::NodeCondition;
use ratatui::backend::{CrosstermBackend, TestBackend};
use ratatui::style::Color;
use ratatui::{Terminal, TerminalOptions, Viewport};
use std::io::{self, Write};
use std::sync::{Arc, Mutex};

fn screen(model: &Model, width: u16, height: u16) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| view(model, frame)).unwrap();
    terminal
}

fn check_sizes(name: &str, model: &Model) {
    for (width, height) in [(80, 24), (120, 40), (200, 60)] {
        let terminal = screen(model, width, height);
        insta::assert_snapshot!(format!("{name}_{width}x{height}"), terminal.backend());
    }
}

fn press(model: &mut Model, key: char) {
    let key = KeyEvent::new(KeyCode::Char(key), KeyModifiers::NONE);
    update(model, Msg::Key(key));
}

#[test]
fn connecting_at_all_sizes() {
    check_sizes("connecting", &sample::connecting(&UNICODE));
}

#[test]
fn live_at_all_sizes() {
    check_sizes("live", &sample::live());
}

/// The miners' screen with alice's worker open.
fn miners(mut model: Model) -> Model {
    press(&mut model, '5');
    let alice = Key::Worker("alice".into(), "rig1".into());
    model.turned.insert(alice.clone());
    model.row = Some(alice);
    model
}

#[test]
fn miners_at_all_sizes() {
    check_sizes("miners", &miners(sample::live()));
    check_sizes("miners_connecting", &miners(sample::connecting(&UNICODE)));
    check_sizes("miners_empty", &miners(sample::empty()));
    check_sizes("miners_down", &miners(sample::lost()));
}

#[test]
fn lanes_at_all_sizes() {
    for (name, mut model) in [
        ("lanes", sample::live()),
        ("lanes_connecting", sample::connecting(&UNICODE)),
        ("lanes_empty", sample::empty()),
        ("lanes_down", sample::lost()),
    ] {
        press(&mut model, '4');
        check_sizes(name, &model);
    }
}

#[test]
fn blocks_the_treasury_and_lightning_at_all_sizes() {
    for (name, key) in [("blocks", '7'), ("treasury", '8'), ("lightning", '9')] {
        for (state, mut model) in [
            ("live", sample::live()),
            ("connecting", sample::connecting(&UNICODE)),
            ("empty", sample::empty()),
            ("down", sample::lost()),
        ] {
            press(&mut model, key);
            press(&mut model, 'j');
            check_sizes(&format!("{name}_{state}"), &model);
        }
        let mut model = sample::answered(&ASCII, NOW);
        press(&mut model, key);
        let drawn = screen(&model, 120, 40);
        for cell in drawn.backend().buffer().content() {
            assert!(cell.symbol().is_ascii(), "{name}: {:?}", cell.symbol());
        }
    }
}

#[test]
fn frozen_payouts_and_lists_that_are_missing_are_told() {
    let mut model = sample::live();
    let mut answer = sample::frozen();
    let details = answer.details.as_mut().unwrap();
    let why = || "the books are locked".to_owned();
    details.payouts = Err(why());
    details.channels = Err(why());
    details.blocks = Err(why());
    hear(&mut model, Event::Treasury(Box::new(answer)), at(NOW));
    for (screen_name, key) in [
        ("overview", '1'),
        ("blocks", '7'),
        ("treasury", '8'),
        ("lightning", '9'),
    ] {
        press(&mut model, key);
        let name = format!("money_troubles_{screen_name}_120x40");
        insta::assert_snapshot!(name, screen(&model, 120, 40).backend());
    }
}

/// What would be paid is shown before the name of the context is asked for.
#[test]
fn a_run_of_payouts_is_shown_before_it_is_done() {
    let mut model = sample::live();
    press(&mut model, '8');
    press(&mut model, 'P');
    let words = "2 payouts of 904,200.456 sat, fees 9,042.004 sat at most, 4,095,799.544 sat left of the day's limit: \
                 miner:alice 4,200.456 sat to alice@wallet.example; \
                 node:berlin-1 900,000 sat to invoice of the node (two operators)";
    let next = Operation::RunPayouts {
        request_id: "hhtui-1790007200000000-4242".into(),
        payees: vec!["miner:alice".into(), "node:berlin-1".into()],
        total_msat: 904_200_456,
    };
    let planned = Msg::Acted {
        operation: Operation::PlanPayouts,
        dry_run: true,
        outcome: Ok(Outcome {
            words: words.to_owned(),
            next: Some(next),
        }),
    };
    update(&mut model, planned);
    for key in "devn".chars() {
        press(&mut model, key);
    }
    check_sizes("payout_run_asked", &model);
}

#[test]
fn a_lane_that_is_paused_and_shares_that_are_lost_are_told() {
    let mut translator = sample::translator();
    translator.lanes[0].paused = true;
    translator.shares_unsettled = 12;
    translator.upstreams = vec![
        sample::down("127.0.0.1:34254", NOW - 20, "connection refused"),
        translator.upstreams.remove(0),
    ];
    let mut model = sample::live();
    hear(&mut model, Event::Translator(Box::new(translator)), at(NOW));
    press(&mut model, '4');
    insta::assert_snapshot!("lanes_troubles_80x24", screen(&model, 80, 24).backend());
}

/// The question whether a miner is to be kicked, and what came of it.
#[test]
fn a_change_is_asked_about_with_its_consequence_and_command() {
    let mut model = miners(sample::live());
    model.hhctl = "hhctl -H ops@core1".into();
    model.row = Some(Key::Channel(1));
    press(&mut model, 'K');
    let said = |outcome: Result<&str, &str>, dry_run| Msg::Acted {
        operation: Operation::KickChannel(1),
        dry_run,
        outcome: outcome
            .map(|words| words.to_owned().into())
            .map_err(str::to_owned),
    };
    update(&mut model, said(Ok("1 connection and 1 channel"), true));
    check_sizes("kick_asked", &model);
    press(&mut model, 'y');
    let why = "hh-pool: /run/hyperhash/hh-pool/control.sock is closed to this user, who has to be in its group";
    update(&mut model, said(Err(why), false));
    insta::assert_snapshot!("kick_failed_80x24", screen(&model, 80, 24).backend());
}

#[test]
fn a_lane_that_is_selected_can_be_paused() {
    let mut model = sample::live();
    press(&mut model, '4');
    press(&mut model, 'j');
    press(&mut model, 'P');
    let lane = "default".to_owned();
    let paused = Msg::Acted {
        operation: Operation::PauseLane { lane, paused: true },
        dry_run: true,
        outcome: Ok("1 connection stays".to_owned().into()),
    };
    update(&mut model, paused);
    insta::assert_snapshot!("lane_pause_asked_80x24", screen(&model, 80, 24).backend());
    let mut model = sample::answered(&ASCII, NOW);
    model.read_only = true;
    press(&mut model, '4');
    press(&mut model, 'j');
    press(&mut model, 'P');
    insta::assert_snapshot!("read_only_60x15", screen(&model, 60, 15).backend());
}

#[test]
fn a_list_of_miners_that_is_cut_says_so() {
    let mut answer = sample::pool();
    answer.miners.as_mut().unwrap().total = 5_432;
    let mut model = miners(sample::live());
    hear(&mut model, Event::Pool(Box::new(answer)), at(NOW));
    let text = screen(&model, 80, 24).backend().to_string();
    let expected = "Accounts 4 of the first 4 of 5,432 sessions";
    assert!(text.contains(expected), "{text}");
}

#[test]
fn every_screen_fits_any_window() {
    for key in ['1', '4', '5', '7', '8', '9'] {
        for size in [(1, 1), (60, 15), (61, 16), (80, 24), (3, 200), (300, 16)] {
            let mut model = miners(sample::live());
            press(&mut model, key);
            screen(&model, size.0, size.1);
        }
    }
}

#[test]
fn stale_at_all_sizes() {
    check_sizes("stale", &sample::stale());
}

#[test]
fn down_at_all_sizes() {
    check_sizes("down", &sample::lost());
}

#[test]
fn empty_at_all_sizes() {
    check_sizes("empty", &sample::empty());
}

#[test]
fn ascii_at_80_by_24() {
    let mut model = sample::answered(&ASCII, NOW);
    insta::assert_snapshot!("ascii_80x24", screen(&model, 80, 24).backend());
    press(&mut model, '?');
    insta::assert_snapshot!("ascii_help_80x24", screen(&model, 80, 24).backend());
    let model = miners(sample::answered(&ASCII, NOW));
    insta::assert_snapshot!("ascii_miners_80x24", screen(&model, 80, 24).backend());
}

#[test]
fn ascii_draws_ascii_only() {
    let mut answer = sample::pool();
    answer.status.lanes[0].name = "søvn".into();
    let mut model = sample::answered(&ASCII, NOW);
    hear(&mut model, Event::Pool(Box::new(answer)), at(NOW));
    press(&mut model, '?');
    let drawn = screen(&model, 200, 60);
    for cell in drawn.backend().buffer().content() {
        assert!(cell.symbol().is_ascii(), "{:?}", cell.symbol());
    }
}

#[test]
fn help_lists_every_key() {
    let mut model = sample::live();
    press(&mut model, '?');
    for view in View::ALL {
        model.view = view;
        let text = screen(&model, 80, 24).backend().to_string();
        for binding in KEYMAP.iter().filter(|key| key.means_something_on(view)) {
            assert!(text.contains(binding.help), "{view:?}: {}", binding.help);
        }
        assert!(text.contains("not known yet"), "{view:?}: the legend");
    }
    model.view = View::Overview;
    insta::assert_snapshot!("help_80x24", screen(&model, 80, 24).backend());
    model.view = View::Treasury;
    insta::assert_snapshot!("help_treasury_80x24", screen(&model, 80, 24).backend());
}

#[test]
fn paused_says_so() {
    let mut model = sample::live();
    press(&mut model, 'p');
    update(&mut model, Msg::Tick(at(NOW + 30)));
    insta::assert_snapshot!("paused_80x24", screen(&model, 80, 24).backend());
}

#[test]
fn the_smallest_screen_and_one_smaller() {
    let model = sample::live();
    insta::assert_snapshot!("live_60x15", screen(&model, 60, 15).backend());
    insta::assert_snapshot!("small_59x14", screen(&model, 59, 14).backend());
    // Whatever a window manager does.
    for size in [(1, 1), (60, 15), (3, 200), (300, 16)] {
        screen(&sample::lost(), size.0, size.1);
        screen(&model, size.0, size.1);
    }
}

#[test]
fn mono_has_no_colour_and_no_theme_paints_the_background() {
    for theme in [Theme::Dark, Theme::Light, Theme::Mono] {
        for mut model in [sample::live(), sample::lost(), sample::empty()] {
            model.theme = theme;
            press(&mut model, 'j');
            let drawn = screen(&model, 120, 40);
            for cell in drawn.backend().buffer().content() {
                assert_eq!(cell.bg, Color::Reset);
                if theme == Theme::Mono {
                    assert_eq!(cell.fg, Color::Reset);
                }
            }
        }
    }
}

#[test]
fn states_differ_without_colour() {
    let mut models = [sample::live(), sample::stale(), sample::lost()].map(|mut model| {
        model.theme = Theme::Mono;
        let text = screen(&model, 80, 24).backend().to_string();
        text.lines().next().unwrap().to_owned()
    });
    models.sort();
    assert!(
        models[0] != models[1] && models[1] != models[2],
        "{models:?}"
    );
}

#[test]
fn mainnet_is_marked() {
    let mut answer = sample::pool();
    answer.status.chain = "main".into();
    let mut model = sample::live();
    model.context = "prod".into();
    hear(&mut model, Event::Pool(Box::new(answer)), at(NOW));
    let text = screen(&model, 80, 24).backend().to_string();
    assert!(text.contains("prod MAINNET"), "{text}");
}

#[test]
fn names_of_miners_cannot_steer_the_terminal() {
    let mut answer = sample::pool();
    let miner = &mut answer.miners.as_mut().unwrap().miners[1];
    miner.account = "\x1b]0;owned\x07\x1b[2J".into();
    miner.worker = "\u{202e}\u{200b}x\n\r".repeat(50);
    miner.device = "\x1b[31m".into();
    miner.lane = "\u{9b}31m".into();
    let mut model = sample::live();
    hear(&mut model, Event::Pool(Box::new(answer)), at(NOW));
    let (mut terminal, bytes) = counted(200, 60);
    terminal.draw(|frame| view(&model, frame)).unwrap();
    let written = bytes.take();
    let text = String::from_utf8(written).unwrap();
    assert!(!text.contains("\x1b]"));
    assert!(!text.contains("\x1b[2J"));
    assert!(!text.contains(['\x07', '\u{9b}', '\u{202e}', '\r', '\n']));
}

#[test]
fn troubles_are_named() {
    let mut answer = sample::pool();
    let status = &mut answer.status;
    status.template_providers = vec![sample::down(
        "10.0.0.2:34250",
        NOW - 5,
        "connection refused",
    )];
    status.nodes.push(sample::down(
        "http://10.0.0.3:8332",
        NOW - 90,
        "401 unauthorized",
    ));
    status.share_log.last_error = Some("no space left on device".into());
    status.ledger.last_error = Some("database is locked".into());
    answer.blocks = Err("can't read the ledger: database is locked".into());
    let mut tp = sample::tp();
    tp.nodes[0].condition = NodeCondition::InitialDownload;
    let mut other = tp.nodes[0].clone();
    other.active = false;
    other.condition = NodeCondition::Down;
    tp.nodes.push(other);
    let mut translator = sample::translator();
    translator.upstreams = vec![sample::down(
        "10.0.0.1:34254",
        NOW - 7,
        "unknown authority key",
    )];
    let mut model = sample::live();
    hear(&mut model, Event::Pool(Box::new(answer)), at(NOW));
    hear(&mut model, Event::Tp(Box::new(tp)), at(NOW));
    hear(&mut model, Event::Translator(Box::new(translator)), at(NOW));
    insta::assert_snapshot!("troubles_120x40", screen(&model, 120, 40).backend());
}

fn many_miners(answer: &mut PoolAnswer, count: u32, shift: f64) {
    let page = answer.miners.as_mut().unwrap();
    page.total = 5_211;
    page.miners = (1..=count)
        .map(|id| {
            sample::miner(
                id,
                "account",
                &format!("rig{id}"),
                1e14 - 1e9 * f64::from(id) + shift,
            )
        })
        .collect();
}

#[test]
fn a_selection_beyond_the_screen_is_scrolled_to() {
    let mut answer = sample::pool();
    many_miners(&mut answer, 1000, 0.0);
    let mut model = sample::live();
    hear(&mut model, Event::Pool(Box::new(answer)), at(NOW));
    press(&mut model, 'G');
    let text = screen(&model, 80, 24).backend().to_string();
    assert!(text.contains("account.rig1000"), "{text}");
    assert!(text.contains("the first 1000 of 5,211"), "{text}");
    press(&mut model, 'g');
    let text = screen(&model, 80, 24).backend().to_string();
    assert!(text.contains("account.rig1 "), "{text}");
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Written {
    fn take(&self) -> Vec<u8> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn counted(width: u16, height: u16) -> (Terminal<CrosstermBackend<Written>>, Written) {
    let written = Written::default();
    let options = TerminalOptions {
        viewport: Viewport::Fixed(Rect::new(0, 0, width, height)),
    };
    let backend = CrosstermBackend::new(written.clone());
    (Terminal::with_options(backend, options).unwrap(), written)
}

/// What a frame costs on an SSH session at 120x40, with 20 miners on the screen.
#[test]
fn frames_are_cheap() {
    let (mut terminal, written) = counted(120, 40);
    let mut model = sample::live();
    let mut answer = sample::pool();
    many_miners(&mut answer, 20, 0.0);
    hear(&mut model, Event::Pool(Box::new(answer.clone())), at(NOW));
    let mut frame = |model: &Model| {
        terminal.draw(|frame| view(model, frame)).unwrap();
        written.take().len()
    };
    let first = frame(&model);
    assert!(first < 8_000, "the first frame: {first} bytes");

    let unchanged = frame(&model);
    assert!(unchanged < 100, "nothing changed: {unchanged} bytes");

    update(&mut model, Msg::Tick(at(NOW + 1)));
    let second = frame(&model);
    assert!(second < 600, "a second went by: {second} bytes");

    many_miners(&mut answer, 20, 5e11);
    hear(&mut model, Event::Pool(Box::new(answer)), at(NOW + 1));
    let changed = frame(&model);
    assert!(changed < 1_000, "20 hash rates changed: {changed} bytes");
}
