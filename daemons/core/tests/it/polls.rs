//! Where the network cuts streams a node polls, and does as before what it is ordered.

use crate::orders::{order, restart};
use crate::simulated::Node;
use crate::site::{Setup, Site, free_port, wait_for};
use hh_ipc::agent::{
    AuditSeen, Heartbeat, LaneReport, MAX_POLL_MESSAGES, core_message, node_message,
};
use hh_ipc::api::core::{NodeState, OperationState};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, JoinHandle};

const SLEEPER: &str = "[[services]]\nname = \"sleeper\"\ncommand = [\"/bin/sleep\", \"1000\"]\n";
const POLICY: &str = "[services.sleeper]\nallow = [\"restart\"]\n";

/// A network between nodes and a port of core's, which can be cut.
struct Network {
    accepting: JoinHandle<()>,
    connections: Arc<Mutex<Vec<AbortHandle>>>,
}

impl Network {
    async fn start(public: u16, port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", public)).await.unwrap();
        let connections = Arc::new(Mutex::new(Vec::new()));
        let known = Arc::clone(&connections);
        let accepting = begin(async move {
            while let Ok((mut node, _)) = listener.accept().await {
                let carry = begin(async move {
                    if let Ok(mut core) = TcpStream::connect(("127.0.0.1", port)).await {
                        copy_bidirectional(&mut node, &mut core).await.ok();
                    }
                });
                known.lock().unwrap().push(carry.abort_handle());
            }
        });
        Self {
            accepting,
            connections,
        }
    }

    /// Cuts what there is.
    fn cut(&self) {
        let mut connections = self.connections.lock().unwrap();
        connections.drain(..).for_each(|one| one.abort());
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "a network is on its own; it ends with the test"
)]
fn begin(task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(task)
}

// The network goes on while hhctl is waited for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_whose_streams_are_cut_polls_and_does_what_it_is_ordered() {
    let public = [free_port(), free_port()];
    let setup = Setup {
        public_ports: Some(public),
        ..Setup::default()
    };
    let site = Site::start_with(setup).await;
    let _enrolment = Network::start(public[0], site.ports[0]).await;
    let sessions = Network::start(public[1], site.ports[1]).await;
    let agent = site.start_node("berlin-1", SLEEPER, POLICY);
    for number in 1..=3 {
        wait_for("the node has a session", async || {
            let begun = agent.log().matches("session with core begun").count();
            (begun >= number).then_some(())
        })
        .await;
        sessions.cut();
    }
    wait_for("the node polls", async || {
        agent.log().contains("polling core").then_some(())
    })
    .await;
    let first = site.running("berlin-1", "sleeper").await;
    for _ in 0..2 {
        let since = Instant::now();
        let words = [
            "node", "restart", "berlin-1", "sleeper", "--yes", "-o", "json",
        ];
        let done = site.hhctl(&words);
        assert_eq!(done.item()["state"], "done", "{done:?}");
        // Neither the command nor its result has waited for many polls.
        let log = agent.log();
        assert!(since.elapsed() < Duration::from_secs(15), "{done:?}\n{log}");
    }
    let second = site.running("berlin-1", "sleeper").await;
    assert_ne!(second.pid, first.pid);
    // Each was begun once.
    assert_eq!(agent.log().matches("order begun").count(), 2);
    let detail = site.node("berlin-1").await.unwrap();
    let ahead = detail.clock_ahead_ms.unwrap_or_default();
    assert!(ahead.abs() < 2_000, "{ahead}");
    let revoked = site.hhctl(&["node", "revoke", "berlin-1", "--yes", "-o", "json"]);
    assert_eq!(revoked.item()["was_connected"], true, "{revoked:?}");
    let since = Instant::now();
    wait_for("the node has heard that it is revoked", async || {
        let log = agent.log();
        log.contains("core has revoked this node").then_some(())
    })
    .await;
    let log = agent.log();
    assert!(since.elapsed() < Duration::from_secs(15), "{log}");
    let verified = site.hhctl(&["audit", "verify"]);
    assert_eq!(verified.status, 0, "{verified:?}");
}

/// The ids of commands among what core said.
fn commands(said: &[core_message::Body]) -> Vec<&str> {
    let ids = said.iter().filter_map(|body| match body {
        core_message::Body::Command(command) => Some(command.command_id.as_str()),
        _ => None,
    });
    ids.collect()
}

#[tokio::test]
async fn a_poll_gives_what_follows_the_last_command_and_each_result_is_taken_once() {
    let site = Site::start().await;
    let node = Node::join(&site, 1).await;
    let client = site.client().await;
    let order = async || order(&client, restart(&node.name, "hh-tp")).await.unwrap();
    let first = order().await;
    let said = node.poll(vec![node.hello()], 10, "").await.unwrap();
    assert_eq!(commands(&said), [first.id.as_str()]);
    assert_eq!(site.operation(&first.id).await.state, OperationState::Sent);
    // What it has is not sent again, unless it says that it has nothing.
    let said = node.poll(vec![node.hello()], 0, &first.id).await.unwrap();
    assert!(commands(&said).is_empty(), "{said:?}");
    let said = node.poll(vec![node.hello()], 0, "").await.unwrap();
    assert_eq!(commands(&said), [first.id.as_str()]);
    // One that waits is answered as soon as there is something.
    let since = Instant::now();
    let waiting = node.poll(vec![node.hello()], 10, &first.id);
    let ordering = async {
        wait_for("the node is there", async || {
            let state = site.node(&node.name).await?.node.state;
            (state == NodeState::Connected).then_some(())
        })
        .await;
        order().await
    };
    let (said, second) = tokio::join!(waiting, ordering);
    assert_eq!(commands(&said.unwrap()), [second.id.as_str()]);
    assert!(since.elapsed() < Duration::from_secs(9));

    // The answer to the first may be lost.
    for _ in 0..2 {
        let said = vec![node.hello(), node.done(&first.id, 1)];
        let said = node.poll(said, 0, &second.id).await.unwrap();
        let is_taken = said.iter().any(|body| {
            matches!(body, core_message::Body::ResultTaken(taken) if taken.command_id == first.id)
        });
        assert!(is_taken, "{said:?}");
    }
    assert_eq!(site.operation(&first.id).await.state, OperationState::Done);
    let verified = site.hhctl(&["audit", "verify"]);
    assert_eq!(verified.status, 0, "{verified:?}");
}

#[tokio::test]
async fn a_poll_that_makes_no_sense_gets_nothing() {
    let site = Site::start().await;
    let node = Node::join(&site, 1).await;
    let client = site.client().await;
    order(&client, restart(&node.name, "hh-tp")).await.unwrap();
    let many = vec![node.hello(); MAX_POLL_MESSAGES + 1];
    let refused = node.poll(many, 0, "").await.unwrap_err();
    assert!(refused.contains("more messages"), "{refused}");
    for strange in [Vec::new(), vec![node.done(&"0".repeat(32), 1)]] {
        let refused = node.poll(strange, 0, "").await.unwrap_err();
        assert!(refused.contains("is a hello"), "{refused}");
    }
    let twice = vec![node.hello(), node.hello()];
    let said = node.poll(twice, 0, "").await.unwrap();
    let last = said.last().unwrap();
    assert!(matches!(last, core_message::Body::Goodbye(_)), "{said:?}");
}

#[tokio::test]
async fn polls_are_one_session_to_who_looks() {
    let site = Site::start().await;
    let node = Node::join(&site, 1).await;
    let seen = AuditSeen {
        size: 1,
        root: vec![7; 32],
        fault: "a line is gone".to_owned(),
    };
    let hello = || match node.hello() {
        node_message::Body::Hello(mut hello) => {
            hello.audit = Some(seen.clone());
            node_message::Body::Hello(hello)
        }
        other => panic!("{other:?}"),
    };
    let heartbeat = Heartbeat {
        lanes: vec![LaneReport {
            name: "sv2".to_owned(),
            miners: 5,
            ..LaneReport::default()
        }],
        audit: Some(seen.clone()),
        ..Heartbeat::default()
    };
    let heartbeat = node_message::Body::Heartbeat(heartbeat);
    node.poll(vec![hello(), heartbeat], 0, "").await.unwrap();
    node.poll(vec![hello()], 0, "").await.unwrap();
    let detail = site.node(&node.name).await.unwrap();
    assert_eq!(detail.lanes[0].miners, 5, "{detail:?}");
    let words = "a node says that the audit log is not the one";
    assert_eq!(site.core.log().matches(words).count(), 1);
}
