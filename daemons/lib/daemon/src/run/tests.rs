//! Every test starts this test binary again as a daemon, because logs, metrics and signals are those of a process.

use super::*;
use crate::Mistakes;
use rustix::process::{Pid, Signal, kill_process};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Example {
    behaviour: Behaviour,
}

#[derive(Clone, Copy, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum Behaviour {
    Work,
    Unavailable,
    Panic,
    Deaf,
}

impl Config for Example {
    fn check(&self, _: &mut Mistakes) {}
}

async fn start(config: Example, context: Context) -> Result<(), Failure> {
    context.set_ready(true);
    let tasks = &context.tasks;
    let token = tasks.token().clone();
    match config.behaviour {
        Behaviour::Work => tasks.spawn("worker", async move {
            token.cancelled().await;
            Ok::<_, Failure>(())
        }),
        Behaviour::Unavailable => return Err(Failure::unavailable("no node answered")),
        Behaviour::Panic => tasks.spawn::<Failure>("worker", async { panic!("of the worker") }),
        Behaviour::Deaf => tasks.spawn_session("deaf", pending()),
    }
    Ok(())
}

const ARGS: &str = "HH_TEST_ARGS";

#[test]
#[ignore = "the daemon that the other tests start"]
#[expect(
    clippy::exit,
    clippy::disallowed_methods,
    reason = "the exit status is what is tested"
)]
fn the_daemon() {
    let Ok(args) = std::env::var(ARGS) else {
        return;
    };
    let args = ["hh-x"].into_iter().chain(args.split_whitespace());
    let status = match run_args("hh-x", "1.2.3", args.map(Into::into), start) {
        Ok(()) => 0,
        Err(status) => status as i32,
    };
    std::process::exit(status);
}

fn daemon(args: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "--exact",
            "run::tests::the_daemon",
            "--ignored",
            "--nocapture",
        ])
        .env(ARGS, args)
        .env_remove("HH_LOG")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

/// Exit status, stdout and stderr.
fn run_daemon(args: &str) -> (i32, String, String) {
    let output = daemon(args).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    let status = output.status.code().unwrap();
    (status, text(output.stdout), text(output.stderr))
}

fn config(text: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.toml");
    std::fs::write(&path, text).unwrap();
    let args = format!("--config {}", path.display());
    (dir, args)
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Reads the daemon's log until a line has `msg`.
fn wait_for_log(log: &mut impl BufRead, msg: &str) -> serde_json::Value {
    log.lines()
        .map_while(Result::ok)
        .filter_map(|line| serde_json::from_str(&line).ok())
        .find(|line: &serde_json::Value| line["msg"] == msg)
        .unwrap_or_else(|| panic!("the daemon ended without logging {msg:?}"))
}

#[test]
fn a_mistake_in_the_configuration_is_status_78() {
    let (_dir, args) = config("behaviour = 'work'\ncolour = 'red'\nmetrics_address = 1\n");
    let (status, _, stderr) = run_daemon(&args);
    assert_eq!(status, 78);
    assert!(stderr.contains("hh-x: 2 mistakes in /"), "{stderr}");
    let (status, _, stderr) = run_daemon("--config /nowhere/x.toml");
    assert_eq!(status, 78);
    assert!(stderr.contains("name another with --config"), "{stderr}");
    assert_eq!(run_daemon("--colour red").0, 78);
}

#[test]
fn check_config_says_that_a_file_is_valid_and_starts_nothing() {
    let (_dir, args) = config("behaviour = 'unavailable'");
    let (status, stdout, _) = run_daemon(&format!("{args} --check-config"));
    assert_eq!(status, 0);
    assert!(stdout.contains("x.toml is valid"), "{stdout}");
    let (status, stdout, _) = run_daemon("--version");
    assert_eq!(status, 0);
    assert!(stdout.contains("hh-x 1.2.3"), "{stdout}");
}

#[test]
fn a_service_that_does_not_answer_is_status_69() {
    let (_dir, args) = config("behaviour = 'unavailable'");
    let (status, stdout, stderr) = run_daemon(&args);
    assert_eq!(status, 69);
    assert!(stderr.contains("hh-x: no node answered"), "{stderr}");
    assert!(stdout.contains("daemon stopped by an error"), "{stdout}");
}

#[test]
fn a_panic_of_an_essential_task_is_logged_and_ends_the_daemon() {
    let (_dir, args) = config("behaviour = 'panic'");
    let (status, stdout, _) = run_daemon(&args);
    assert_eq!(status, 1);
    let panic = wait_for_log(&mut stdout.as_bytes(), "panic");
    assert_eq!(panic["what"], "of the worker");
}

#[test]
fn sigterm_stops_a_daemon_that_said_it_was_ready_with_status_0() {
    let (dir, args) = config("behaviour = 'work'");
    let manager = UnixDatagram::bind(dir.path().join("notify")).unwrap();
    let mut child = daemon(&args)
        .env("NOTIFY_SOCKET", dir.path().join("notify"))
        .spawn()
        .unwrap();
    let mut log = BufReader::new(child.stdout.take().unwrap());
    wait_for_log(&mut log, "daemon started");
    let mut message = [0; 64];
    let read = manager.recv(&mut message).unwrap();
    assert_eq!(&message[..read], b"READY=1");
    signal(&child, Signal::TERM);
    wait_for_log(&mut log, "daemon stopped");
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_second_signal_does_not_wait_for_tasks() {
    let (_dir, args) = config("behaviour = 'deaf'");
    let mut child = daemon(&args).spawn().unwrap();
    let mut log = BufReader::new(child.stdout.take().unwrap());
    wait_for_log(&mut log, "daemon started");
    signal(&child, Signal::TERM);
    wait_for_log(&mut log, "stop asked for");
    signal(&child, Signal::INT);
    let mut stderr = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    assert!(
        stderr.contains("a second signal, SIGINT, ended it at once"),
        "{stderr}"
    );
    assert_eq!(child.wait().unwrap().code(), Some(1));
}

#[test]
fn hh_log_takes_precedence_and_is_checked() {
    let (_dir, args) = config("behaviour = 'unavailable'");
    let output = daemon(&args).env("HH_LOG", "=?=").output().unwrap();
    assert_eq!(output.status.code(), Some(78));
    let output = daemon(&args).env("HH_LOG", "error").output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(!stdout.contains("daemon starts"), "{stdout}");
}
