//! A drained node lets no new miner in, by its real translator.

use crate::site::{Site, free_port, program, wait_for};
use std::fs;
use std::net::TcpStream;

/// The services of a node with a translator, whose lane `main` is at this port. Its pool is away.
pub(crate) fn with_translator(site: &Site, node: &str, port: u16) -> String {
    let dir = site.path().join(node);
    fs::create_dir_all(&dir).unwrap();
    let config = dir.join("hh-translator.toml");
    let text = format!(
        "runtime_dir = {dir:?}\ndata_dir = {:?}\n[[lanes]]\nname = \"main\"\nlisten_address = \"127.0.0.1:{port}\"\n[[upstreams]]\n\
         address = \"127.0.0.1:{}\"\nauthority_public_key = \"9bXiEd8boQVhq7WddEcERUL5tyyJVFYdU8th3HfbNXK3Yw6GRXh\"\n",
        dir.join("translator"),
        free_port()
    );
    fs::create_dir_all(dir.join("translator")).unwrap();
    fs::write(&config, text).unwrap();
    fs::write(
        dir.join("context.toml"),
        format!("name = {node:?}\nruntime_dir = {dir:?}\n"),
    )
    .unwrap();
    format!(
        "[[services]]\nname = \"hh-translator\"\ncommand = [{:?}, \"--config\", {config:?}]\nhealth_address = \"127.0.0.1:{port}\"\n",
        program("hh-translator")
    )
}

#[tokio::test]
async fn a_drained_node_lets_nobody_in_until_it_is_told_to() {
    let site = Site::start().await;
    let (dir, port) = (site.path().join("berlin-1"), free_port());
    let services = with_translator(&site, "berlin-1", port);
    let policy = "drain = true\n[services.hh-translator]\nallow = [\"logs\"]\n";
    let _agent = site.start_node("berlin-1", &services, policy);
    site.running("berlin-1", "hh-translator").await;
    let lane = || {
        let context = dir.join("context.toml");
        let words = ["lane", "show", "main", "-o", "json", "--context"];
        let said = site.hhctl(&[words.as_slice(), &[context.to_str().unwrap()]].concat());
        said.item()["paused_at"].clone()
    };
    assert!(lane().is_null());
    let drained = site.hhctl(&["node", "drain", "berlin-1", "--yes", "-o", "json"]);
    assert_eq!(drained.status, 0, "{drained:?}");
    let says = drained.item()["detail"].as_str().unwrap().to_owned();
    assert!(says.starts_with("lane main: lets nobody in"), "{says}");
    assert!(lane().is_string());
    // The listener is there all the same, so that the service counts as well.
    TcpStream::connect(("127.0.0.1", port)).unwrap();
    let ended = site.hhctl(&["node", "drain", "berlin-1", "--end", "--yes"]);
    assert_eq!(ended.status, 0, "{ended:?}");
    assert!(lane().is_null());

    let logs = site.hhctl(&[
        "node",
        "logs",
        "berlin-1",
        "hh-translator",
        "--lines",
        "500",
    ]);
    assert!(logs.stdout.starts_with("cursor "), "{logs:?}");
    assert!(logs.stdout.contains("daemon starts"), "{logs:?}");
    let health = wait_for("the node is well", async || {
        let said = site.hhctl(&["node", "health", "berlin-1"]);
        (said.status == 0).then_some(said)
    })
    .await;
    assert!(health.stdout.contains("well"), "{health:?}");
}
