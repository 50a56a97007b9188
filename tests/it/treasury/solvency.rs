//! A wallet that has not what is owed: hh-treasury sees it when it starts and when it is asked, freezes payouts, and lets nobody lift that
//! before the money is there.

use super::reorg::{World, parsed};
use crate::operator::hhctl;
use hh_ipc::api::treasury::{Freeze, UnfreezeRequest};
use hh_ipc::client::within;
use hh_tests::network::CALL;
use hh_tests::treasury::DEADLINE;
use hh_tests::wait::wait_for;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// As an operator has it who restores the wrong seed: another wallet, which is empty.
fn take_wallet_away(dir: &Path) {
    for file in ["treasury/ldk", "seed"] {
        fs::rename(dir.join(file), aside(dir, file)).unwrap();
    }
    let seed = dir.join("seed");
    fs::write(&seed, format!("{}\n", "0b".repeat(64))).unwrap();
    fs::set_permissions(&seed, Permissions::from_mode(0o600)).unwrap();
}

fn bring_wallet_back(dir: &Path) {
    fs::remove_dir_all(dir.join("treasury/ldk")).unwrap();
    for file in ["treasury/ldk", "seed"] {
        fs::rename(aside(dir, file), dir.join(file)).unwrap();
    }
}

fn aside(dir: &Path, file: &str) -> PathBuf {
    dir.join(format!("{file}.aside"))
}

async fn freeze_of(world: &World) -> Option<Freeze> {
    let client = world.treasury.client().await;
    let status = client.status(within(CALL)).await;
    status.unwrap().freeze
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payouts_are_frozen_while_the_wallet_has_less_than_is_owed() {
    let mut world = World::start(None, "").await;
    let block = world.find("alice.rig").await;
    world.network.node.generate(100);
    world.treasury.wait_until_payable(parsed(&block)).await;
    world.verify().await;
    assert_eq!(freeze_of(&world).await, None);

    // At the start.
    world.treasury.daemon.terminate();
    take_wallet_away(world.network.dir());
    world.treasury.daemon.restart();
    world.treasury.daemon.wait_until_ready().await;
    let frozen = wait_for("payouts are frozen", DEADLINE, async || {
        freeze_of(&world).await
    })
    .await;
    assert!(frozen.reason.starts_with("verify: "), "{frozen:?}");

    // When it is asked, whatever is said meanwhile.
    let client = world.treasury.client().await;
    let report = client.verify(within(DEADLINE)).await.unwrap().unwrap();
    assert!(!report.is_solvent, "{report:?}");
    assert!(
        report.findings.iter().any(|finding| finding.is_grave),
        "{report:?}"
    );
    let lift = UnfreezeRequest {
        reason: "never mind".to_owned(),
    };
    let lifted = client.unfreeze(within(DEADLINE), lift).await.unwrap();
    let refused = lifted.unwrap_err();
    assert_eq!(refused.code, "HH4032", "{refused:?}");
    assert!(freeze_of(&world).await.is_some());

    // With the right wallet all is covered again; who had it frozen decides.
    world.treasury.daemon.terminate();
    bring_wallet_back(world.network.dir());
    world.treasury.daemon.restart();
    world.treasury.daemon.wait_until_ready().await;
    world.client = world.treasury.client().await;
    world.verify().await;
    let status = hhctl(&world.network, "treasury status");
    assert!(status["item"]["freeze"].is_object(), "{status}");
}
