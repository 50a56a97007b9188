//! What a node's translator does is known at core, lane by lane, and what is gone is told no more.

use crate::drain::with_translator;
use crate::site::{Setup, Site, free_port, scrape, wait_for};
use hh_ipc::api::core::FleetNodeDetail;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// For so long a miner that says nothing may stay at least.
const STAY: Duration = Duration::from_secs(12);

fn connect(port: u16) -> TcpStream {
    TcpStream::connect(("127.0.0.1", port)).unwrap()
}

async fn told(port: u16, series: &str) -> String {
    wait_for(&format!("{series} is told"), async || {
        scrape(port).filter(|text| text.lines().any(|line| line.starts_with(series)))
    })
    .await
}

async fn node(
    site: &Site,
    what: &str,
    condition: impl Fn(&FleetNodeDetail) -> bool,
) -> FleetNodeDetail {
    wait_for(what, async || {
        let detail = site.node("berlin-1").await?;
        condition(&detail).then_some(detail)
    })
    .await
}

#[tokio::test]
async fn the_lanes_of_a_node_are_known_while_its_translator_runs() {
    let metrics = free_port();
    let first = format!("metrics_address = \"127.0.0.1:{metrics}\"\n");
    let site = Site::start_with(Setup {
        more: [first, String::new()],
        ..Setup::default()
    })
    .await;
    let port = free_port();
    let services = with_translator(&site, "berlin-1", port);
    let policy = "[services.hh-translator]\nallow = [\"stop\"]\n";
    let _agent = site.start_node("berlin-1", &services, policy);
    site.running("berlin-1", "hh-translator").await;
    let series = "hyperhash_pki_certificate_until_seconds{certificate=\"service-issuer\"}";
    told(metrics, series).await;

    // A miner that says nothing is sent away after a while, so another one comes in time.
    let (mut miner, mut came) = (connect(port), Instant::now());
    let seen = wait_for("a miner is seen", async || {
        if came.elapsed() > STAY {
            (miner, came) = (connect(port), Instant::now());
        }
        let detail = site.node("berlin-1").await?;
        let count = detail.node.miners?;
        (count > 0).then_some(detail)
    })
    .await;
    drop(miner);
    let [lane] = &seen.lanes[..] else {
        panic!("{:?}", seen.lanes);
    };
    assert_eq!(lane.name, "main");
    assert_eq!(Some(lane.miners), seen.node.miners);
    let inventory = node(&site, "its programs are known", |node| {
        let inventory = node.inventory.as_ref();
        inventory.is_some_and(|inventory| !inventory.programs.is_empty())
    });
    let inventory = inventory.await.inventory.unwrap();
    assert_eq!(inventory.programs[0].name, "hh-translator");
    assert!(inventory.cpus > 0 && !inventory.kernel.is_empty());

    let of_lane = "hyperhash_fleet_lane_miners{node=\"berlin-1\",lane=\"main\"} ";
    let text = told(metrics, of_lane).await;
    let info = "hyperhash_fleet_node_info{node=\"berlin-1\",version=\"";
    let info = text.lines().find(|line| line.starts_with(info)).unwrap();
    assert!(info.ends_with(",public=\"false\"} 1"), "{info}");
    told(
        metrics,
        "hyperhash_fleet_node_memory_total_bytes{node=\"berlin-1\"} ",
    )
    .await;
    let status = site.hhctl(&["node", "show", "berlin-1"]);
    assert!(status.stdout.contains("LANE"), "{status:?}");

    let stopped = site.hhctl(&["node", "stop", "berlin-1", "hh-translator", "--yes"]);
    assert_eq!(stopped.status, 0, "{stopped:?}");
    node(&site, "it has no lanes", |node| node.lanes.is_empty()).await;
    wait_for("no lane of it is told", async || {
        (!scrape(metrics)?.contains("hyperhash_fleet_lane_miners{")).then_some(())
    })
    .await;
}
