//! Daemons of another machine. In place of ssh there is a script, and at the far end this test program.

use crate::daemons::{Checkout, Daemons};
use crate::pty::Program;
use crate::{exe, wait_for_live};
use hh_ipc::locate::Context;
use hh_ipc::stdio::relay;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Not a test by itself: it is what the script below runs, as `hhctl system dial-stdio` would be.
#[tokio::test]
#[ignore = "the far end of a session; run by the other tests"]
async fn far_end() {
    let context = Context::find(None, &std::env::current_dir().unwrap()).unwrap();
    let stdout = std::fs::OpenOptions::new().write(true).open("/dev/fd/3");
    let stdout = tokio::fs::File::from_std(stdout.unwrap());
    relay(tokio::io::stdin(), stdout, &context, false)
        .await
        .ok();
}

fn start(checkout: &Checkout, script: &str, args: &[&str]) -> Program {
    let ssh = checkout.path().join("ssh");
    std::fs::write(&ssh, format!("#!/bin/sh\n{script}\n")).unwrap();
    std::fs::set_permissions(&ssh, PermissionsExt::from_mode(0o755)).unwrap();
    let env = [("HHCTL_SSH", ssh.to_str().unwrap())];
    Program::start(exe(), args, &env, Path::new("/"))
}

/// A script that is a session into `checkout`; its process id is in the file `pid` there.
fn session(checkout: &Checkout) -> String {
    let far_end = std::env::current_exe().unwrap();
    format!(
        "printf '%s\\n' \"$*\" >{dir}/arguments
         cd {dir}; echo $$ >pid
         # What a test prints is not for the session.
         exec {far_end:?} --exact remote::far_end --ignored --nocapture 3>&1 >/dev/null 2>&1",
        dir = checkout.path().display(),
    )
}

#[test]
fn daemons_of_another_machine_are_shown_over_ssh_and_its_loss_is_survived() {
    let checkout = Checkout::new();
    let _daemons = Daemons::start(&checkout);
    let script = session(&checkout);
    let mut program = start(&checkout, &script, &["-H", "ops@pool.example"]);
    wait_for_live(&mut program);
    assert!(
        program.text().contains("ops@pool.example signet"),
        "{}",
        program.text()
    );
    let arguments = std::fs::read_to_string(checkout.path().join("arguments")).unwrap();
    assert_eq!(
        arguments,
        "-T -o BatchMode=yes ops@pool.example -- hhctl system dial-stdio '--read-only'\n"
    );

    let pid = std::fs::read_to_string(checkout.path().join("pid")).unwrap();
    let kill = std::process::Command::new("kill")
        .args(["-KILL", pid.trim()])
        .status();
    assert!(kill.unwrap().success());
    program.wait_for("outage", |text| {
        text.contains("✖ pool") && text.contains("old)")
    });
    program.wait_for("a new session", |text| {
        text.contains("● tp  ● pool  ● translator") && !text.contains("old)")
    });
    let new_pid = std::fs::read_to_string(checkout.path().join("pid")).unwrap();
    assert_ne!(new_pid, pid);

    program.press("q");
    assert!(program.wait_for_exit().success());
    program.assert_terminal_restored();
}

#[test]
fn a_change_over_ssh_has_a_session_of_its_own() {
    let checkout = Checkout::new();
    let _daemons = Daemons::start(&checkout);
    let mut program = start(
        &checkout,
        &session(&checkout),
        &["-H", "ops@pool.example", "-c", "devnet"],
    );
    wait_for_live(&mut program);
    program.press("5jK");
    program.wait_for("question", |text| {
        text.contains("hhctl -H ops@pool.example -c devnet miner kick --account")
            && text.contains("y do it")
    });
    let arguments = std::fs::read_to_string(checkout.path().join("arguments")).unwrap();
    let of_the_change = "ops@pool.example -- hhctl system dial-stdio '--context' 'devnet'\n";
    assert!(arguments.ends_with(of_the_change), "{arguments}");
    program.press("y");
    program.wait_for("end", |text| {
        text.contains("Closed 1 connection and 4 channels") && text.contains("Esc close")
    });
}

#[test]
fn a_daemon_that_is_missing_there_is_told_as_the_far_end_sees_it() {
    let checkout = Checkout::new();
    let _daemons = Daemons::start_all_but_translator(&checkout);
    let mut program = start(&checkout, &session(&checkout), &["-H", "pool.example"]);
    program.wait_for("two of three", |text| {
        text.contains("● tp  ● pool  ✖ translator") && text.contains("not reached there")
    });
}

#[test]
fn what_ssh_says_is_the_reason() {
    let checkout = Checkout::new();
    let script = "echo 'ops@pool.example: Permission denied (publickey).' >&2; exit 255";
    let mut program = start(&checkout, script, &["-H", "ops@pool.example", "-c", "lab"]);
    program.wait_for("reason", |text| {
        text.contains("ops@pool.example lab") && text.contains("ssh: ops@pool.example: Permission")
    });
    program.press("q");
    assert!(program.wait_for_exit().success());
    program.assert_terminal_restored();
}

#[test]
fn a_host_that_ssh_would_take_for_an_option_is_refused() {
    let checkout = Checkout::new();
    let mut program = start(&checkout, "exit 1", &["--host=-oProxyCommand=id"]);
    assert_eq!(program.wait_for_exit().exit_code(), 2);
    assert!(program.raw().contains("USER@HOST"), "{}", program.raw());
}
