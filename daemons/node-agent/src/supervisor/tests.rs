use super::*;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(30);

fn service(name: &str, script: &str) -> ServiceConfig {
    let text =
        format!("name = {name:?}\ncommand = [\"/bin/sh\", \"-c\", {script:?}]\nstop_seconds = 2\n");
    toml::from_str(&text).unwrap()
}

struct Node {
    _dir: tempfile::TempDir,
    tasks: Tasks,
    supervisor: Supervisor,
}

impl Node {
    fn with(services: &[ServiceConfig]) -> Self {
        let (dir, tasks) = (tempfile::tempdir().unwrap(), Tasks::default());
        let supervisor =
            Supervisor::start(services, &LocalPolicy::default(), dir.path(), &tasks).unwrap();
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

    async fn running(&self, name: &ServiceName) -> u32 {
        let view = self
            .until(name, |view| view.state == ServiceState::Running)
            .await;
        view.pid.unwrap()
    }
}

fn is_alive(pid: u32) -> bool {
    child::usage(pid).is_some()
}

#[tokio::test]
async fn a_restart_is_another_process_and_the_first_has_ended() {
    let name: ServiceName = "sleeper".parse().unwrap();
    let node = Node::with(&[service("sleeper", "exec sleep 1000")]);
    let first = node.running(&name).await;
    node.supervisor.act(&name, Act::Restart).await.unwrap();
    let second = node.running(&name).await;
    assert_ne!(first, second);
    assert!(!is_alive(first));
    node.supervisor.act(&name, Act::Stop).await.unwrap();
    assert!(!is_alive(second));
    assert_eq!(
        node.supervisor.view(&name).unwrap().state,
        ServiceState::Stopped
    );
    node.supervisor.act(&name, Act::Start).await.unwrap();
    let third = node.running(&name).await;
    node.tasks.shutdown(PATIENCE).await.unwrap();
    assert!(!is_alive(third));
}

#[tokio::test]
async fn one_that_ends_by_itself_is_started_again_and_says_why() {
    let name: ServiceName = "killed".parse().unwrap();
    let node = Node::with(&[service("killed", "exec sleep 1000")]);
    let first = node.running(&name).await;
    let pid = rustix::process::Pid::from_raw(first.try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let view = node.until(&name, |view| {
        view.restarts == 1 && view.state == ServiceState::Running
    });
    let view = view.await;
    assert_ne!(view.pid, Some(first));
    assert!(view.last_error.unwrap().contains("signal: 9"));
    node.tasks.shutdown(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn an_order_that_does_not_work_says_so() {
    let name: ServiceName = "broken".parse().unwrap();
    let node = Node::with(&[service("broken", "echo no config; exit 78")]);
    let error = node.supervisor.act(&name, Act::Restart).await.unwrap_err();
    assert!(error.to_string().contains("ended at once"), "{error}");
    let log = node.supervisor.log(&name, 10, None).await.unwrap();
    assert!(log.contains("no config"), "{log}");
    let unknown: ServiceName = "unknown".parse().unwrap();
    let error = node
        .supervisor
        .act(&unknown, Act::Restart)
        .await
        .unwrap_err();
    assert_eq!(error, ActError::Unknown(unknown));
    node.tasks.shutdown(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn one_that_does_not_stop_is_killed_with_what_it_has_started() {
    let name: ServiceName = "deaf".parse().unwrap();
    let node = Node::with(&[service(
        "deaf",
        "trap '' TERM; while true; do sleep 1000; done",
    )]);
    let first = node.running(&name).await;
    node.supervisor.act(&name, Act::Stop).await.unwrap();
    assert!(!is_alive(first));
    node.tasks.shutdown(PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_process_that_outlived_its_agent_ends_before_its_service_starts_anew() {
    let name: ServiceName = "orphan".parse().unwrap();
    let config = service("orphan", "exec sleep 1000");
    let dir = tempfile::tempdir().unwrap();
    // The agent that started it is gone without a word: nobody waits for the child.
    let mut child = child::spawn(&config, &child::Files::of(&name, dir.path())).unwrap();
    let orphan = child.id().unwrap();
    let tasks = Tasks::default();
    let supervisor =
        Supervisor::start(&[config], &LocalPolicy::default(), dir.path(), &tasks).unwrap();
    let mut view = supervisor.services[&name].view.clone();
    let running = view.wait_for(|view| view.state == ServiceState::Running);
    // Whoever has inherited it waits for it, or it would stay as a zombie.
    let (ended, running) = tokio::join!(child.wait(), running);
    ended.unwrap();
    let pid = running.unwrap().pid.unwrap();
    assert_ne!(pid, orphan);
    assert!(!is_alive(orphan));
    tasks.shutdown(PATIENCE).await.unwrap();
}
