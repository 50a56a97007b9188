//! Against a real systemd, as root of a machine that is thrown away: `scripts/test --all` boots one for it.

use super::*;
use crate::supervisor::Supervisor;
use hh_daemon::Tasks;
use hh_trust::command::ServiceName;
use hh_trust::local_policy::LocalPolicy;
use std::fs;
use std::process::Command;

const PATIENCE: Duration = Duration::from_secs(60);

/// A unit of these tests, made anew with this script.
fn unit(name: &str, script: &str, more: &str) -> ServiceName {
    let text = format!("[Service]\nExecStart=/bin/sh -c {script:?}\n{more}\n");
    fs::write(format!("/run/systemd/system/{name}.service"), text).unwrap();
    systemctl(&["daemon-reload"]);
    name.parse().unwrap()
}

fn systemctl(words: &[&str]) {
    let ended = Command::new("systemctl").args(words).status().unwrap();
    assert!(ended.success(), "systemctl {words:?}");
}

struct Node {
    _dir: tempfile::TempDir,
    tasks: Tasks,
    supervisor: Supervisor,
}

impl Node {
    fn with(policy: &str) -> Self {
        let (dir, tasks) = (tempfile::tempdir().unwrap(), Tasks::default());
        let policy: LocalPolicy = toml::from_str(policy).unwrap();
        let supervisor = Supervisor::start(&[], &policy, dir.path(), &tasks).unwrap();
        Self {
            _dir: dir,
            tasks,
            supervisor,
        }
    }

    async fn until(
        &self,
        name: &ServiceName,
        condition: impl Fn(&ServiceView) -> bool,
    ) -> ServiceView {
        let seen = self.supervisor.seen(name, condition);
        tokio::time::timeout(PATIENCE, seen)
            .await
            .expect("the state comes in time")
    }
}

#[tokio::test]
#[ignore = "needs systemd as process 1, and changes it"]
async fn a_unit_is_started_restarted_and_stopped_with_its_state_and_use() {
    let name = unit(
        "hh-a",
        "echo begun $$; exec sleep 1000",
        "MemoryAccounting=yes\nCPUAccounting=yes",
    );
    let node = Node::with("[services.hh-a]\nunit = \"hh-a.service\"\n");
    node.supervisor.act(&name, Act::Start).await.unwrap();
    let first = node.supervisor.view(&name).unwrap();
    assert_eq!(first.state, ServiceState::Running);
    let usage = first.usage.unwrap();
    assert!(usage.memory_bytes > 0, "{usage:?}");
    node.supervisor.act(&name, Act::Restart).await.unwrap();
    let second = node.supervisor.view(&name).unwrap();
    assert_ne!(first.pid, second.pid);
    assert!(second.since_unix_ms >= first.since_unix_ms);
    let report = node.supervisor.report();
    assert_eq!(report[0].pid, second.pid.unwrap());
    node.supervisor.act(&name, Act::Stop).await.unwrap();
    let stopped = node.supervisor.view(&name).unwrap();
    assert_eq!((stopped.state, stopped.pid), (ServiceState::Stopped, None));
    node.tasks.shutdown(PATIENCE).await.unwrap();
}

#[tokio::test]
#[ignore = "needs systemd as process 1, and changes it"]
async fn one_that_ends_by_itself_is_seen_and_one_that_systemd_starts_again_is_counted() {
    let dead = unit("hh-dead", "echo no config; exit 78", "");
    let back = unit(
        "hh-back",
        "exec sleep 1000",
        "Restart=always\nRestartSec=100ms",
    );
    let policy = "[services.hh-dead]\nunit = \"hh-dead.service\"\n[services.hh-back]\nunit = \"hh-back.service\"\n";
    let node = Node::with(policy);
    let error = node.supervisor.act(&dead, Act::Start).await.unwrap_err();
    assert!(
        error.to_string().contains("exit-code, status 78"),
        "{error}"
    );
    let log = node.supervisor.log(&dead, 50, None).await.unwrap();
    assert!(log.contains("no config"), "{log}");
    node.supervisor.act(&back, Act::Start).await.unwrap();
    let first = node.supervisor.view(&back).unwrap();
    systemctl(&["kill", "--signal=KILL", "hh-back.service"]);
    let again = node.until(&back, |view| {
        view.restarts == 1 && view.state == ServiceState::Running
    });
    assert_ne!(again.await.pid, first.pid);
    node.supervisor.act(&back, Act::Stop).await.unwrap();
    node.tasks.shutdown(PATIENCE).await.unwrap();
}

#[tokio::test]
#[ignore = "needs systemd as process 1, and changes it"]
async fn lines_are_read_by_cursor_and_none_twice() {
    let script = "for i in 1 2 3 4 5 6; do echo line $i; done; exec sleep 1000";
    let name = unit("hh-log", script, "");
    let node = Node::with("[services.hh-log]\nunit = \"hh-log.service\"\n");
    node.supervisor.act(&name, Act::Start).await.unwrap();
    let mut after = None;
    let mut lines = Vec::new();
    loop {
        let page = node.supervisor.log(&name, 2, after.as_deref()).await;
        // The first page shows the last lines: begin before all of them.
        let page = page.unwrap();
        let (cursor, text) = page.split_once('\n').unwrap();
        let cursor = cursor.strip_prefix("cursor ").unwrap().to_owned();
        if text.is_empty() {
            break;
        }
        lines.extend(text.lines().map(str::to_owned));
        after = Some(cursor);
    }
    assert_eq!(lines, ["line 5", "line 6"]);
    let first = node.supervisor.log(&name, 500, None).await.unwrap();
    assert!(first.contains("line 1\nline 2\nline 3\n"), "{first}");
    let wrong = node.supervisor.log(&name, 2, Some("--output=cat")).await;
    wrong.unwrap_err();
    node.supervisor.act(&name, Act::Stop).await.unwrap();
    node.tasks.shutdown(PATIENCE).await.unwrap();
}

#[tokio::test]
#[ignore = "needs systemd as process 1, and changes it"]
async fn a_unit_that_the_policy_does_not_list_or_systemd_not_know_is_left_alone() {
    let name = unit("hh-other", "exec sleep 1000", "");
    systemctl(&["start", "hh-other.service"]);
    let node = Node::with("[services.hh-gone]\nunit = \"hh-gone.service\"\n");
    let unknown = node.supervisor.act(&name, Act::Stop).await.unwrap_err();
    assert_eq!(unknown, ActError::Unknown(name));
    systemctl(&["is-active", "--quiet", "hh-other.service"]);
    let gone: ServiceName = "hh-gone".parse().unwrap();
    node.supervisor.act(&gone, Act::Start).await.unwrap_err();
    systemctl(&["stop", "hh-other.service"]);
    node.tasks.shutdown(PATIENCE).await.unwrap();
}
