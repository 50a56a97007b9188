//! Two replicas on one PostgreSQL behind HAProxy, which passes TLS through: either is killed, and then the database.

use crate::cluster::{Cluster, Database};
use crate::orders::{Orders, all_done, none_open, order, restart};
use crate::say;
use crate::simulated::Fleet;
use crate::site::{Daemon, PATIENCE, Setup, Site, free_port, wait_for};
use futures::future::join_all;
use hh_ipc::client;
use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Each says when it begins.
const TELLTALE: &str = "[[services]]\nname = \"telltale\"\ncommand = [\"/bin/sh\", \"-c\", \"echo begun; exec sleep 1000\"]\n";
const POLICY: &str = "[services.telltale]\nallow = [\"restart\"]\n";

/// Nodes that are processes, and those that are none.
const REAL: [&str; 2] = ["berlin-1", "paris-1"];
const SIMULATED: usize = 12;

/// HAProxy; killed when it is dropped.
struct Proxy(Child);

impl Proxy {
    /// In front of the ports of replicas, of enrolment and of sessions.
    fn start(dir: &Path, public: [u16; 2], replicas: [&[u16; 2]; 2]) -> Self {
        let mut config = "defaults\n  mode tcp\n  timeout connect 1s\n  timeout client 60s\n  timeout server 60s\n  \
            retries 3\n  option redispatch\n"
            .to_owned();
        for (at, (name, port)) in ["enrolment", "sessions"]
            .into_iter()
            .zip(public)
            .enumerate()
        {
            let servers = replicas.iter().enumerate().map(|(number, ports)| {
                let port = ports[at];
                format!("  server core-{number} 127.0.0.1:{port} send-proxy-v2 check inter 200ms fall 1 rise 1\n")
            });
            let servers: String = servers.collect();
            config +=
                &format!("listen {name}\n  bind 127.0.0.1:{port}\n  balance roundrobin\n{servers}");
        }
        let file = dir.join("haproxy.cfg");
        fs::write(&file, config).unwrap();
        let log = fs::File::create(dir.join("haproxy.log")).unwrap();
        let child = Command::new("haproxy")
            .arg("-db")
            .arg("-f")
            .arg(file)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        Self(child.unwrap())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// All of it. The database is the last to go.
struct Network {
    proxy: Proxy,
    replicas: [Site; 2],
    database: Database,
    cluster: Cluster,
}

impl Network {
    /// None where there is no HAProxy or no PostgreSQL.
    async fn start() -> Option<Self> {
        if Command::new("haproxy").arg("-v").output().is_err() {
            say("skipped: there is no HAProxy here (Debian's package: haproxy)");
            return None;
        }
        let cluster = Cluster::start("")?;
        let database = cluster.database();
        let options = database.options("postgres");
        let public_ports = Some([free_port(), free_port()]);
        let setup = |number: usize, keys_of| Setup {
            keys_of,
            public_ports,
            more: [
                format!("replica = \"core-{number}\""),
                format!(
                    "[proxy_protocol]\nfrom = [\"127.0.0.1\"]\n[database.postgres]\nhost = {:?}\nport = {}\n\
                     database = {:?}\nuser = \"postgres\"\n",
                    options.host, options.port, options.database
                ),
            ],
            has_no_audit_key: false,
        };
        let first = Site::start_with(setup(1, None)).await;
        let second = Site::start_with(setup(2, Some(&first))).await;
        let ports = [&first.ports, &second.ports];
        let proxy = Proxy::start(first.path(), public_ports?, ports);
        Some(Self {
            proxy,
            replicas: [first, second],
            database,
            cluster,
        })
    }

    fn number(&self, query: &str) -> u64 {
        let query = format!("SET search_path = core; {query}");
        self.database.psql(&query).parse().unwrap()
    }

    async fn is_ready(&self, site: &Site) {
        wait_for("the replica reaches the database", async || {
            let client = site.client().await;
            let status = client.status(client::within(PATIENCE)).await;
            status.ok()?.ok()
        })
        .await;
    }
}

/// How often the service of a node has begun.
fn begun(site: &Site, node: &str) -> usize {
    let log = site.path().join(node).join("data/services/telltale.log");
    let log = fs::read_to_string(log).unwrap_or_default();
    log.matches("begun").count()
}

/// An operator's order for a real node, at this replica; its id once that replica has taken it.
async fn ordered(site: &Site, node: &str) -> String {
    wait_for("the order is taken", async || {
        let client = site.client().await;
        let operation = order(&client, restart(node, "telltale")).await?;
        Some(operation.id)
    })
    .await
}

/// Kills one replica while operators give orders at both, and starts it again.
async fn kill_one(network: &Network, fleet: &Fleet, victim: usize) -> Vec<String> {
    let (dying, living) = (&network.replicas[victim], &network.replicas[1 - victim]);
    let names: Vec<String> = fleet.nodes.iter().map(|node| node.name.clone()).collect();
    let (end, pause) = (CancellationToken::new(), Duration::from_millis(50));
    let at_both = [
        Orders::give(dying, &names, pause, &end),
        Orders::give(living, &names, pause, &end),
    ];
    let killing = async {
        let before = fleet.orders().0;
        let mut taken = Vec::new();
        wait_for("orders are on their way", async || {
            (fleet.orders().0 > before + 20).then_some(())
        })
        .await;
        for node in REAL {
            taken.push(ordered(dying, node).await);
        }
        dying.core.kill();
        for node in REAL {
            taken.push(ordered(living, node).await);
        }
        all_done(living, &taken).await;
        wait_for("all nodes have come over", async || {
            let client = living.client().await;
            let status = client.status(client::within(PATIENCE)).await.ok()?.ok()?;
            let count = usize::try_from(status.nodes_connected).unwrap();
            (count == SIMULATED + REAL.len()).then_some(())
        })
        .await;
        let before = fleet.orders().0;
        wait_for("orders go on at one replica", async || {
            (fleet.orders().0 > before + 20).then_some(())
        })
        .await;
        dying.core.restart();
        network.is_ready(dying).await;
        for node in REAL {
            taken.push(ordered(dying, node).await);
        }
        end.cancel();
        taken
    };
    let (orders, mut taken) = tokio::join!(join_all(at_both), killing);
    taken.extend(orders.into_iter().flat_map(|orders| orders.taken));
    all_done(living, &taken).await;
    taken
}

/// The database goes and comes back: both replicas say so, and go on.
async fn kill_database(network: &mut Network) -> Vec<String> {
    network.cluster.kill();
    for site in &network.replicas {
        wait_for("the replica says that the database is away", async || {
            let list = site.hhctl(&["node", "list"]);
            let is_said = list.stderr.contains("PostgreSQL");
            let log = site.core.log();
            (is_said && log.contains("the database does not answer")).then_some(())
        })
        .await;
    }
    network.cluster.resume();
    let mut taken = Vec::new();
    for site in &network.replicas {
        network.is_ready(site).await;
        for node in REAL {
            site.running(node, "telltale").await;
            taken.push(ordered(site, node).await);
        }
        all_done(site, &taken).await;
    }
    taken
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn either_replica_and_the_database_may_die_and_no_command_is_lost_or_done_twice() {
    let Some(mut network) = Network::start().await else {
        return;
    };
    let first = &network.replicas[0];
    let agents: Vec<Daemon> = REAL
        .iter()
        .map(|node| first.start_node(node, TELLTALE, POLICY))
        .collect();
    let mut fleet = Fleet::join(first, SIMULATED).await;
    for site in &network.replicas {
        for node in REAL {
            // Whichever replica it has its session with.
            site.running(node, "telltale").await;
        }
    }
    let mut taken = kill_one(&network, &fleet, 0).await;
    taken.extend(kill_one(&network, &fleet, 1).await);
    taken.extend(kill_database(&mut network).await);
    let [first, second] = &network.replicas;
    none_open(first).await;
    fleet.quiet();
    wait_for("core has every sample", async || {
        (fleet.samples().1 == 0).then_some(())
    })
    .await;

    for agent in &agents {
        // Whichever replica shows it how far the log goes, it is one log.
        let log = agent.log();
        assert!(!log.contains("core shows another audit log"), "{log}");
    }
    for node in REAL {
        let done =
            format!("SELECT count(*) FROM commands WHERE node = '{node}' AND state = 'done'");
        let done = network.number(&done);
        // Its first start, and one for each order.
        assert_eq!(
            u64::try_from(begun(first, node)).unwrap(),
            done + 1,
            "{node}"
        );
    }
    let (done, again) = fleet.orders();
    let known = "SELECT count(*) FROM commands WHERE state = 'done' AND node LIKE 'node-%'";
    assert_eq!(network.number(known), u64::try_from(done).unwrap());
    assert_eq!(
        network.number("SELECT count(*) FROM commands WHERE state <> 'done'"),
        0
    );
    let (measured, _) = fleet.samples();
    let samples = "SELECT count(*) FROM samples WHERE node LIKE 'node-%'";
    assert_eq!(network.number(samples), measured);
    for site in [first, second] {
        let verified = site.hhctl(&["audit", "verify"]);
        assert_eq!(verified.status, 0, "{verified:?}");
        let waited = site.hhctl(&["operation", "wait", &taken[0], "-o", "json"]);
        assert_eq!(waited.item()["state"], "done", "{waited:?}");
    }
    say(&format!(
        "two replicas, each killed once, then PostgreSQL: {} orders taken, none lost, none done twice; {again} told twice; {measured} samples",
        taken.len()
    ));
    fleet.stop().await;
    drop(agents);
    assert!(matches!(network.proxy.0.try_wait(), Ok(None)));
}
