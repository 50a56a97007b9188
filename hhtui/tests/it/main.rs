//! The real program in a terminal, with daemons that come and go.

#![expect(clippy::unwrap_used, reason = "a helper that fails fails its test")]

mod daemons;
mod pty;
mod remote;

use daemons::{Checkout, Daemons, MANY_MINERS};
use pty::Program;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const LIVE: &str = "● tp  ● pool  ● translator  ● treasury";

fn exe() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_hhtui"))
}

fn start(checkout: &Checkout, args: &[&str]) -> Program {
    Program::start(exe(), args, &[], checkout.path())
}

#[track_caller]
fn wait_for_live(program: &mut Program) {
    program.wait_for("live screen", |text| {
        text.contains(LIVE) && text.contains("alice.rig1") && text.contains("q quit")
    });
}

fn signal(program: &Program, name: &str) {
    let kill = Command::new("kill")
        .args([name, &program.pid().to_string()])
        .status();
    assert!(kill.unwrap().success());
}

#[test]
fn it_waits_for_daemons_shows_them_and_outlives_them() {
    let checkout = Checkout::new();
    let mut program = start(&checkout, &[]);
    program.wait_for("reason", |text| {
        text.contains("hh-pool down") && text.contains("not running") && text.contains("q quit")
    });

    let daemons = Daemons::start(&checkout);
    program.press("r");
    wait_for_live(&mut program);
    program.wait_for("figures", |text| {
        text.contains("devnet signet") && text.contains("height 210") && text.contains("512 kH/s")
    });

    drop(daemons);
    program.wait_for("outage with the last data", |text| {
        text.contains("✖ tp  ✖ pool  ✖ translator  ✖ treasury")
            && text.contains("old)")
            && text.contains("alice.rig1")
    });

    let _daemons = Daemons::start(&checkout);
    wait_for_live(&mut program);
    program.wait_for("data that is not old", |text| {
        !text.contains("old)") && text.contains("alice.rig1")
    });

    program.press("q");
    assert!(program.wait_for_exit().success());
    program.assert_terminal_restored();
}

#[test]
fn one_daemon_may_be_away_without_the_others() {
    let checkout = Checkout::new();
    let _daemons = Daemons::start_all_but_translator(&checkout);
    let mut program = start(&checkout, &[]);
    program.wait_for("two of three", |text| {
        text.contains("● tp  ● pool  ✖ translator") && text.contains("alice.rig1")
    });
}

#[test]
fn more_miners_than_an_answer_holds_are_all_listed() {
    let checkout = Checkout::new();
    let _daemons = Daemons::start_crowded(&checkout);
    let mut program = start(&checkout, &[]);
    let title = format!("Miners {MANY_MINERS}, most hashrate first");
    program.wait_for("all of them", |text| {
        text.contains(&title) && text.contains("q quit")
    });
    program.press("G");
    let last = format!("alice.rig{MANY_MINERS}");
    program.wait_for("the last one", |text| text.contains(&last));
}

#[test]
fn signals_end_it_in_order() {
    let checkout = Checkout::new();
    let _daemons = Daemons::start(&checkout);
    for name in ["-TERM", "-HUP", "-INT"] {
        let mut program = start(&checkout, &[]);
        wait_for_live(&mut program);
        signal(&program, name);
        assert!(program.wait_for_exit().success(), "{name}");
        program.assert_terminal_restored();
    }
}

#[test]
fn ctrl_c_ends_it() {
    let checkout = Checkout::new();
    let mut program = start(&checkout, &[]);
    program.wait_for("screen", |text| text.contains("q quit"));
    program.press("\x03");
    assert!(program.wait_for_exit().success());
    program.assert_terminal_restored();
}

#[test]
fn keys_and_sizes_change_the_screen() {
    let checkout = Checkout::new();
    let _daemons = Daemons::start(&checkout);
    let mut program = start(&checkout, &[]);
    wait_for_live(&mut program);
    program.press("?");
    program.wait_for("help", |text| {
        text.contains("give the keys to the other table")
    });
    program.press("\x1b");
    program.wait_for("no help", |text| !text.contains("give the keys"));
    program.press("p");
    program.wait_for("pause", |text| text.contains("PAUSED"));
    program.press("p");
    program.wait_for("no pause", |text| !text.contains("PAUSED"));
    program.resize(10, 50);
    program.wait_for("message", |text| {
        text.contains("needs 60x15, this is 50x10")
    });
    program.resize(40, 130);
    program.wait_for("wide table", |text| {
        text.contains("BEST") && text.contains("q quit")
    });
    program.press("q");
    assert!(program.wait_for_exit().success());
    program.assert_terminal_restored();
}

#[test]
fn payouts_are_run_after_the_name_of_the_context_and_frozen_at_once() {
    let checkout = Checkout::new();
    let _daemons = Daemons::start(&checkout);
    let mut program = start(&checkout, &[]);
    wait_for_live(&mut program);
    program.press("8P");
    program.wait_for("question", |text| {
        text.contains("1 payout of 4,200.456 sat, fees 42 sat at most")
            && text.contains("type devnet:")
    });
    program.press("y\r");
    program.press("\x7fdevnet\r");
    program.wait_for("end", |text| {
        text.contains("Opened: 1 payout") && text.contains("Esc close")
    });
    program.press("\x1b");
    program.wait_for("no dialog", |text| !text.contains("Esc close"));
    program.press("F");
    program.wait_for("freeze", |text| {
        text.contains("No new payment is sent: frozen by alice") && text.contains("Esc close")
    });
}

#[test]
fn a_miner_is_kicked_after_a_yes_and_never_with_read_only() {
    let checkout = Checkout::new();
    let _daemons = Daemons::start(&checkout);
    let mut program = start(&checkout, &[]);
    wait_for_live(&mut program);
    program.press("5jK");
    program.wait_for("question", |text| {
        text.contains("Close 1 connection and 3 channels?")
            && text.contains("hhctl miner kick --account alice")
            && text.contains("y do it")
    });
    program.press("y");
    program.wait_for("end", |text| {
        text.contains("Closed 1 connection and 4 channels") && text.contains("Esc close")
    });
    program.press("\r");
    program.wait_for("the screen", |text| !text.contains("Esc close"));

    let mut program = start(&checkout, &["--read-only"]);
    wait_for_live(&mut program);
    program.press("5jK");
    program.wait_for("refusal", |text| {
        text.contains("Nothing is changed") && text.contains("Esc close")
    });
    // Escape and a letter in one would be the letter with Alt.
    program.press("\r");
    program.wait_for("the screen", |text| !text.contains("Esc close"));
    program.press("q");
    assert!(program.wait_for_exit().success());
    program.assert_terminal_restored();
}

#[test]
fn mono_sends_no_colour() {
    let checkout = Checkout::new();
    let _daemons = Daemons::start(&checkout);
    let mut program = start(&checkout, &["--theme", "mono", "--ascii"]);
    program.wait_for("live screen", |text| {
        text.contains("* tp  * pool  * translator") && text.contains("alice.rig1")
    });
    program.press("q");
    assert!(program.wait_for_exit().success());
    let raw = program.raw();
    for sequence in raw.split("\x1b[").skip(1) {
        let Some(end) = sequence.find(|c: char| c.is_ascii_alphabetic()) else {
            continue;
        };
        if sequence[end..].starts_with('m') {
            let colour = sequence[..end].split(';').find(|code| {
                code.len() == 2 && code.starts_with(['3', '4']) && !code.ends_with('9')
            });
            assert_eq!(colour, None, "{sequence:?}");
        }
    }
}

fn run(args: &[&str], dir: &Path) -> Output {
    let mut command = Command::new(exe());
    command.args(args).current_dir(dir).stdin(Stdio::null());
    command.env_remove("HHCTL_CONTEXT").output().unwrap()
}

#[test]
fn without_a_terminal_it_says_what_to_use() {
    let output = run(&[], Checkout::new().path());
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("hhctl status"), "{said}");
    assert_eq!(output.stdout, b"");
}

#[test]
fn a_context_that_is_not_known_is_refused_with_the_known_ones() {
    let checkout = Checkout::new();
    let mut program = start(&checkout, &["--context", "prod"]);
    let status = program.wait_for_exit();
    assert_eq!(status.exit_code(), 1);
    let said = program.raw();
    assert!(said.contains("local, devnet"), "{said}");
    assert!(!said.contains("\x1b[?1049h"), "the terminal was not taken");
}
