//! Operators who are known to hh-treasury by their SSH keys: real ssh-agents, hhctl, and a payout that waits for two of them.

use super::world::World;
use hh_ipc::api::treasury::{
    ApproveRequest, PayoutDetail, PayoutQuery, PayoutState, TreasuryClient,
};
use hh_ipc::client::within;
use hh_tests::bitcoin_core::Chain;
use hh_tests::daemon::program;
use hh_tests::lightning_address::{DOMAIN, LightningAddresses};
use hh_tests::network::{CALL, Network};
use hh_tests::treasury::{DEADLINE, NodeWallet};
use hh_tests::wait::wait_for;
use hh_trust::ssh_agent::SshAgent;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Carol's account is a Lightning address at the node's wallet.
async fn config(_: &Network, wallet: &NodeWallet) -> String {
    let addresses = LightningAddresses::start(wallet.wallet.clone()).await;
    addresses.config() + "[payouts]\napproval_above_sat = 200000\ncooling_off_seconds = 0\n"
}

/// A person at hhctl with an ssh-agent of his own, and a key in it.
struct Person {
    dir: PathBuf,
    name: &'static str,
    agent: Child,
}

impl Person {
    /// None where there is no OpenSSH.
    async fn new(dir: &Path, name: &'static str) -> Option<Self> {
        let key = dir.join(format!("{name}.key"));
        let mut keygen = Command::new("ssh-keygen");
        keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]);
        if keygen.arg(&key).output().is_err() {
            crate::say("not run: there is no ssh-keygen here");
            return None;
        }
        let socket = dir.join(format!("{name}.agent"));
        let mut agent = Command::new("ssh-agent");
        let agent = agent.arg("-D").arg("-a").arg(&socket);
        let agent = agent.stdout(Stdio::null()).spawn().unwrap();
        let dir = dir.to_owned();
        let person = Self { dir, name, agent };
        wait_for("ssh-agent listens", DEADLINE, async || {
            SshAgent::connect(&socket).ok().map(drop)
        })
        .await;
        let mut add = Command::new("ssh-add");
        let added = add.arg("-q").arg(&key).env("SSH_AUTH_SOCK", &socket);
        assert!(added.status().unwrap().success());
        Some(person)
    }

    fn public_key(&self) -> String {
        let path = self.dir.join(format!("{}.key.pub", self.name));
        let line = std::fs::read_to_string(path).unwrap();
        line.trim().to_owned()
    }

    /// What hhctl says on stderr, and how it ends.
    fn types(&self, line: &str) -> (Option<i32>, String) {
        let context = self.dir.join("context.toml");
        let text = format!("name = \"test\"\nruntime_dir = {:?}\n", self.dir);
        std::fs::write(&context, text).unwrap();
        let mut command = Command::new(program("hhctl"));
        command.arg("--context").arg(&context).args(line.split(' '));
        command.env(
            "SSH_AUTH_SOCK",
            self.dir.join(format!("{}.agent", self.name)),
        );
        let output = command.current_dir("/").output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        (output.status.code(), stderr)
    }

    #[track_caller]
    fn does(&self, line: &str) {
        let (code, stderr) = self.types(line);
        assert_eq!(code, Some(0), "{stderr}");
    }

    #[track_caller]
    fn is_refused(&self, line: &str, words: &str) {
        let (code, stderr) = self.types(line);
        assert_ne!(code, Some(0), "{stderr}");
        assert!(stderr.contains(words), "{stderr}");
    }
}

impl Drop for Person {
    fn drop(&mut self) {
        self.agent.kill().ok();
        self.agent.wait().ok();
    }
}

async fn detail(client: &TreasuryClient, id: u64) -> PayoutDetail {
    client.payout(within(CALL), id).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payout_above_the_limit_waits_for_the_keys_of_two_operators() {
    let mut world = World::start_with(Chain::Regtest, config).await;
    let dir = world.network.dir().to_owned();
    let people = (
        Person::new(&dir, "ann").await,
        Person::new(&dir, "ben").await,
        Person::new(&dir, "eve").await,
    );
    let (Some(ann), Some(ben), Some(eve)) = people else {
        return;
    };
    let listed = format!(
        "{}\n[operators]\nann = \"{}\"\nben = \"{}\"\n",
        world.treasury.config,
        ann.public_key(),
        ben.public_key()
    );
    world.treasury.daemon.write_config(&listed);
    world.treasury.daemon.terminate();
    world.treasury.daemon.restart();
    world.treasury.daemon.wait_until_ready().await;
    let client = world.treasury.client().await;
    let hash = world.find_block_as(&format!("carol@{DOMAIN}/rig")).await;
    world.mature(hash).await;
    world.open_channel(&client).await;
    let id = wait_for("carol's payout waits", DEADLINE, async || {
        let query = PayoutQuery {
            payee: Some(format!("miner:carol@{DOMAIN}")),
            ..PayoutQuery::default()
        };
        let page = client.payouts(within(CALL), query).await.ok()?.ok()?;
        let found = page.payouts.into_iter().next()?;
        (found.state == PayoutState::WaitingForApproval).then_some(found.id)
    })
    .await;

    // Who may use the socket is no operator by that, and neither is who has another key.
    let seen = detail(&client, id).await.payout;
    let request = ApproveRequest {
        id,
        amount_msat: seen.amount_msat,
        destination: seen.destination,
        signed: None,
    };
    let refused = client.payout_approve(within(CALL), request).await;
    assert_eq!(refused.unwrap().unwrap_err().code, "HH4033");
    let approve = format!("payout approve {id} --confirm test");
    eve.is_refused(&approve, "none of the keys that count");
    let with = dir.join("eve.key.pub");
    let forced = format!("{approve} --sign-with {}", with.display());
    eve.is_refused(&forced, "none of the operators");

    ann.does(&approve);
    ann.does(&approve);
    let once = detail(&client, id).await.payout;
    assert_eq!(once.approvals, ["key:ann"], "one key is one word");
    assert_eq!(once.state, PayoutState::WaitingForApproval);
    ben.does(&approve);
    let paid = world.treasury.wait_until_settled(id).await;
    assert_eq!(paid.approvals, ["key:ann", "key:ben"]);
}
