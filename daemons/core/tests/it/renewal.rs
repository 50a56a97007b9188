//! A node's certificate is renewed on the session that the last one has opened.

use crate::site::{Daemon, Site, wait_for};
use hh_ipc::api::core::OperationState;
use hh_trust::command::{Command, CommandId, Order};
use hh_trust::control_key::CommandKey;
use rusqlite::{Connection, params};

/// Writes an order into core's database as core does; no command of hhctl makes one of this kind.
fn order_renewal(site: &Site, connection: &Connection) -> CommandId {
    let key = std::fs::read_to_string(site.path().join("pki/command.key")).unwrap();
    let key: CommandKey = key.parse().unwrap();
    let epoch = "SELECT epoch FROM nodes WHERE id = 'berlin-1'";
    let epoch: u64 = connection.query_row(epoch, [], |row| row.get(0)).unwrap();
    let now = jiff::Timestamp::now().as_second();
    let order = Order {
        domain: "hyperhash.test".parse().unwrap(),
        node: "berlin-1".parse().unwrap(),
        operator: "alice".to_owned(),
        id: CommandId::generate().unwrap(),
        issued_at: now,
        expires_at: now + 120,
        epoch,
        seq: 1,
        command: Command::CertificateRenew {},
        if_generation: None,
        deadline_seconds: 60,
        audit: None,
    };
    let jws = order.sign(&key).unwrap();
    let insert = "INSERT INTO commands (id, node, epoch, seq, jws, command, asked_by, created_at_ms, expires_at_ms, state)
        VALUES (?, 'berlin-1', ?, 1, ?, 'certificate.renew', 'alice', ?, ?, 'queued')";
    let values = params![
        order.id.to_string(),
        epoch,
        jws,
        now * 1_000,
        (now + 120) * 1_000
    ];
    connection.execute(insert, values).unwrap();
    order.id
}

async fn has_session(site: &Site, agent: &Daemon, sessions: usize) {
    wait_for("the node has another session", async || {
        let begun = agent.log().matches("session with core begun").count();
        let connected = site.node("berlin-1").await?.connected_at?;
        (begun >= sessions).then_some(connected)
    })
    .await;
}

#[tokio::test]
async fn a_renewed_certificate_opens_the_next_session() {
    let site = Site::start().await;
    let agent = site.start_node("berlin-1", "", "");
    has_session(&site, &agent, 1).await;
    site.core.kill();
    let connection = Connection::open(site.database()).unwrap();
    let id = order_renewal(&site, &connection);
    site.core.restart();
    site.client().await;
    wait_for("the order is done", async || {
        let operation = site.operation(&id.to_string()).await;
        (operation.state == OperationState::Done).then_some(())
    })
    .await;
    let serials = || {
        let query = "SELECT count(DISTINCT serial) FROM certificates WHERE node = 'berlin-1'";
        connection.query_row(query, [], |row| row.get::<_, u32>(0))
    };
    wait_for("a second certificate", async || {
        (serials().unwrap() == 2 && agent.log().contains("certificate renewed")).then_some(())
    })
    .await;
    // It has nothing but the new one now.
    let sessions = agent.log().matches("session with core begun").count();
    agent.restart();
    has_session(&site, &agent, sessions + 1).await;
}
