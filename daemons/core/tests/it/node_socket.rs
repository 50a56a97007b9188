//! The agent's own sockets: who may change nothing changes nothing, who sends rubbish stops nobody, and no secret is told.

use crate::site::{PATIENCE, Site, wait_for};
use hh_ipc::api::node_agent::{ConsentDecision, NodeAgentClient};
use hh_ipc::client;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tokio::io::AsyncWriteExt;

const SLEEPER: &str = "[[services]]\nname = \"sleeper\"\ncommand = [\"/bin/sleep\", \"1000\"]\n";

async fn agent(dir: &Path, socket: &str) -> NodeAgentClient {
    let path = dir.join("hh-node-agent").join(socket);
    wait_for("the agent answers", async || {
        let client = client::node_agent(client::dial(&path).await.ok()?);
        let hello = client.hello(client::within(PATIENCE)).await;
        hello.is_ok().then_some(client)
    })
    .await
}

#[tokio::test]
async fn the_view_socket_decides_nothing_and_rubbish_on_the_other_stops_nobody() {
    let site = Site::start().await;
    let _agent = site.start_node("berlin-1", SLEEPER, "");
    let dir = site.path().join("berlin-1");
    let view = agent(&dir, "view.sock").await;
    let decision = ConsentDecision {
        id: "0a".repeat(16),
        approve: true,
    };
    let refused = view
        .decide(client::within(PATIENCE), decision.clone())
        .await;
    assert_eq!(refused.unwrap().unwrap_err().code, "HH0201");

    // A deadline that overflows an instant, a frame that never ends, and what is no JSON.
    let path = dir.join("hh-node-agent/control.sock");
    let far = format!(
        "{{\"Request\":{{\"context\":{{\"deadline\":{{\"secs\":{},\"nanos\":0}},\"trace_context\":{{\"trace_id\":{:?},\"span_id\":1,\
         \"sampling_decision\":\"Unsampled\"}}}},\"id\":1,\"message\":{{\"Hello\":{{}}}}}}}}",
        u64::MAX,
        [0_u8; 16]
    );
    for frame in [far.as_bytes(), b"rubbish"] {
        let mut stream = client::dial(&path).await.unwrap();
        let length = u32::try_from(frame.len()).unwrap();
        stream.write_all(&length.to_be_bytes()).await.unwrap();
        stream.write_all(frame).await.unwrap();
    }
    let mut endless = client::dial(&path).await.unwrap();
    endless.write_all(&u32::MAX.to_be_bytes()).await.unwrap();
    let control = agent(&dir, "control.sock").await;
    let unknown = control.decide(client::within(PATIENCE), decision).await;
    assert_eq!(unknown.unwrap().unwrap_err().code, "HH6001");
    for socket in ["control.sock", "view.sock"] {
        let metadata = fs::metadata(dir.join("hh-node-agent").join(socket)).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{socket}");
    }
}

#[tokio::test]
async fn the_nodes_keys_are_for_its_agent_alone_and_nowhere_told() {
    let site = Site::start().await;
    let agent = site.start_node("berlin-1", SLEEPER, "");
    site.running("berlin-1", "sleeper").await;
    let dir = site.path().join("berlin-1");
    let status = site.hhctl(&["node", "show", "berlin-1", "-o", "json"]);
    let identity = dir.join("data/identity.json");
    let mode = fs::metadata(&identity).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let kept: Value = serde_json::from_slice(&fs::read(&identity).unwrap()).unwrap();
    let node_key = kept["node_key"].as_str().unwrap().to_owned();
    let key_pem = kept["enrolled"]["key_pem"].as_str().unwrap();
    let tls_key = key_pem.lines().nth(1).unwrap().to_owned();
    let proc = Path::new("/proc").join(agent.id().to_string());
    let told = [
        agent.log(),
        site.core.log(),
        status.stdout + &status.stderr,
        fs::read_to_string(proc.join("cmdline")).unwrap(),
        fs::read_to_string(proc.join("environ")).unwrap_or_default(),
        String::from_utf8_lossy(&fs::read(site.database()).unwrap()).into_owned(),
        fs::read_to_string(dir.join("data/changes.jsonl")).unwrap_or_default(),
    ];
    for secret in [node_key, tls_key] {
        assert!(secret.len() > 40);
        for text in &told {
            assert!(!text.contains(&secret), "a key is told");
        }
    }
}
