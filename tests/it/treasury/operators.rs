//! Two operators, each as his own user of the machine, at the treasury that runs: what one may do alone, and what he may not.

use super::world::World;
use hh_ipc::api::treasury::{
    AttemptState, ClaimRequest, CreateAccountRequest, DestinationKind, PayoutDetail, PayoutPage,
    PayoutQuery, PayoutState, SetDestinationRequest, TreasuryClient,
};
use hh_ipc::client::within;
use hh_mining::Network as ChainName;
use hh_tests::bitcoin_core::Chain;
use hh_tests::daemon::program;
use hh_tests::lightning_address::{DOMAIN, LightningAddresses};
use hh_tests::network::{CALL, Network};
use hh_tests::treasury::{DEADLINE, NodeWallet};
use hh_tests::wait::wait_for;
use hh_trust::PaymentOrder;
use ring::signature::{Ed25519KeyPair, KeyPair};
use serde_json::Value;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

/// The user `nobody` of every system.
const OTHER_UID: u32 = 65_534;

/// hhctl: another operator has to say the same.
const NOT_CONFIRMED: i32 = 9;

/// The most that one payout has, which waits for two operators here.
const PAYOUT_MSAT: u64 = 1_000_000_000;

/// Carol's account is a Lightning address at the node's wallet. Destinations count at once.
async fn config(_: &Network, wallet: &NodeWallet) -> String {
    let addresses = LightningAddresses::start(wallet.wallet.clone()).await;
    addresses.config() + "[payouts]\napproval_above_sat = 200000\ncooling_off_seconds = 0\n"
}

/// What came of a command.
struct Said {
    code: Option<i32>,
    json: Value,
    stderr: String,
}

/// A person at hhctl.
pub(super) struct Operator<'a> {
    world: &'a World,
    uid: Option<u32>,
}

impl<'a> Operator<'a> {
    /// Two, each as his own user; none where the tests can't be two users.
    pub(super) fn two(world: &'a World) -> Option<[Self; 2]> {
        if !rustix::process::getuid().is_root() {
            crate::say("not run: only root can be two users");
            return None;
        }
        Some([None, Some(OTHER_UID)].map(|uid| Self { world, uid }))
    }

    /// Another user's is a copy: the directory of builds may be closed to him.
    fn hhctl(&self) -> PathBuf {
        let built = program("hhctl");
        if self.uid.is_none() {
            return built;
        }
        let copy = self.world.network.dir().join("hhctl");
        if !copy.exists() {
            std::fs::copy(built, &copy).unwrap();
        }
        copy
    }

    fn types(&self, line: &str) -> Said {
        let dir = self.world.network.dir();
        let context = dir.join("context.toml");
        let text = format!("name = \"test\"\nruntime_dir = {dir:?}\n");
        std::fs::write(&context, text).unwrap();
        let mut command = Command::new(self.hhctl());
        command.arg("--context").arg(&context);
        command.args(line.split(' ')).args(["-o", "json"]);
        command.env("HOME", dir).current_dir("/");
        if let Some(uid) = self.uid {
            open_to_all(dir);
            command.uid(uid).gid(uid);
        }
        let output = command.output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        Said {
            code: output.status.code(),
            json: serde_json::from_slice(&output.stdout).unwrap_or_default(),
            stderr: format!("hhctl {line}: {stderr}"),
        }
    }

    #[track_caller]
    pub(super) fn does(&self, line: &str) -> Value {
        let said = self.types(line);
        assert_eq!(said.code, Some(0), "{}", said.stderr);
        said.json
    }

    /// What is said on stderr, whatever came of it.
    pub(super) fn says(&self, line: &str) -> String {
        self.types(line).stderr
    }

    /// It waits for another operator.
    #[track_caller]
    pub(super) fn is_the_first(&self, line: &str) {
        let said = self.types(line);
        assert_eq!(said.code, Some(NOT_CONFIRMED), "{}", said.stderr);
        assert!(said.stderr.contains("HH4030"), "{}", said.stderr);
    }

    #[track_caller]
    pub(super) fn is_refused(&self, line: &str, words: &str) {
        let said = self.types(line);
        assert_ne!(said.code, Some(0), "{}", said.stderr);
        assert!(said.stderr.contains(words), "{}", said.stderr);
    }
}

/// As a group of operators has it in production.
fn open_to_all(dir: &Path) {
    let sockets = dir.join("hh-treasury");
    for (path, mode) in [
        (dir.to_owned(), 0o755),
        (sockets.clone(), 0o755),
        (sockets.join("control.sock"), 0o666),
        (sockets.join("view.sock"), 0o666),
    ] {
        std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    }
}

async fn page(client: &TreasuryClient, payee: &str) -> PayoutPage {
    let query = PayoutQuery {
        payee: Some(payee.to_owned()),
        ..PayoutQuery::default()
    };
    client.payouts(within(CALL), query).await.unwrap().unwrap()
}

async fn detail(client: &TreasuryClient, id: u64) -> PayoutDetail {
    client.payout(within(CALL), id).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_operator_stops_money_and_two_let_it_go() {
    if !rustix::process::getuid().is_root() {
        eprintln!("not run: only root can be two users");
        return;
    }
    let world = World::start_with(Chain::Regtest, config).await;
    let ann = Operator {
        world: &world,
        uid: None,
    };
    let ben = Operator {
        world: &world,
        uid: Some(OTHER_UID),
    };
    let (treasury, client) = (&world.treasury, world.treasury.client().await);
    no_core_file_is_written(treasury.daemon.process().id());
    accounts_are_taken_once(&client, &ann, &ben).await;

    let carol = format!("miner:carol@{DOMAIN}");
    let hash = world.find_block_as(&format!("carol@{DOMAIN}/rig")).await;
    world.mature(hash).await;
    world.open_channel(&client).await;
    luck_is_told_in_the_list(&ann, &carol);

    // By the rules it is opened, and waits for two.
    let first = wait_for("carol's payout waits", DEADLINE, async || {
        let found = page(&client, &carol).await.payouts.pop()?;
        (found.state == PayoutState::WaitingForApproval).then_some(found.id)
    })
    .await;
    ann.does(&format!("payout approve {first} --confirm test"));
    ann.does(&format!("payout approve {first} --confirm test"));
    let once = detail(&client, first).await;
    assert_eq!(once.payout.state, PayoutState::WaitingForApproval);
    assert_eq!(once.payout.approvals.len(), 1, "one person is one word");
    // Held, it is not sent though two have approved it; and frozen neither.
    ben.does(&format!("payout hold {first} --reason disputed"));
    ann.does("treasury freeze --reason look");
    ben.does(&format!("payout approve {first} --confirm test"));
    ann.does(&format!("payout release {first} --reason settled -y"));
    ann.is_the_first("treasury unfreeze --reason seen --confirm test");
    ann.is_the_first("treasury unfreeze --reason seen --confirm test");
    let stands = detail(&client, first).await;
    assert_eq!(stands.attempts.len(), 0, "{stands:?}");
    ben.does("treasury unfreeze --reason seen --confirm test");
    let paid = treasury.wait_until_settled(first).await;
    assert_eq!((paid.amount_msat, paid.approvals.len()), (PAYOUT_MSAT, 2));
    // The word of two is used up: a new freeze needs two again.
    ann.does("treasury freeze --reason again");
    ben.is_the_first("treasury unfreeze --reason seen --confirm test");
    ann.does("treasury unfreeze --reason seen --confirm test");

    a_run_is_opened_once(&world, (&ann, &ben), &carol, first).await;
    what_disagrees_is_not_adopted(&client, &ann, first).await;
    deposits_are_booked_once(&ann);
    the_reserve_is_given_out_by_two(&client, &ann, &ben).await;
}

/// Its memory has the seed in it.
fn no_core_file_is_written(pid: u32) {
    let limits = std::fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let core = limits
        .lines()
        .find(|line| line.starts_with("Max core file"));
    let core: Vec<&str> = core.unwrap().split_whitespace().collect();
    assert_eq!(core[4..6], ["0", "0"], "{core:?}");
}

fn luck_is_told_in_the_list(ann: &Operator<'_>, carol: &str) {
    let list = ann.does("account list");
    let items = list["items"].as_array().expect("it is a list");
    let found = items.iter().find(|item| item["name"] == carol).unwrap();
    let shown = ann.does(&format!("account show {carol}"));
    let figures = ["expected_msat", "realised_msat", "luck_ratio"];
    for figure in figures {
        assert!(found[figure].is_number(), "{figure}: {found}");
    }
    assert_eq!(found["realised_msat"], shown["item"]["realised_msat"]);
    // She found the block: its fees are hers, and no luck.
    let credited: i64 = [
        "immature_msat",
        "payable_msat",
        "in_payouts_msat",
        "paid_msat",
    ]
    .iter()
    .map(|part| shown["item"][part].as_i64().unwrap())
    .sum();
    let realised = shown["item"]["realised_msat"].as_i64().unwrap();
    assert_eq!(credited - realised, 7_000_000, "{shown}");
}

async fn a_run_is_opened_once(
    world: &World,
    (ann, ben): (&Operator<'_>, &Operator<'_>),
    carol: &str,
    first: u64,
) {
    let client = world.treasury.client().await;
    let run = format!("payout run {carol} --request-id r-1 --confirm test");
    ann.does(&run);
    let second = page(&client, carol).await.payouts[0].id;
    assert_ne!(second, first);
    ben.does(&run);
    for operator in [ann, ben] {
        operator.does(&format!("payout approve {second} --confirm test"));
    }
    world.treasury.wait_until_settled(second).await;
    // And again after it is over.
    ann.does(&run);
    let ids: Vec<u64> = page(&client, carol)
        .await
        .payouts
        .iter()
        .map(|payout| payout.id)
        .collect();
    assert_eq!(ids, [second, first]);
    assert_eq!(world.received(PAYOUT_MSAT), 2);
}

/// Every payment of the wallet is a payout's: there is nothing to adopt.
async fn what_disagrees_is_not_adopted(client: &TreasuryClient, ann: &Operator<'_>, first: u64) {
    let reconciled = ann.does("treasury reconcile");
    assert_eq!(reconciled["item"]["matched"], 2, "{reconciled}");
    let settled = detail(client, first).await;
    assert_eq!(settled.attempts[0].state, AttemptState::Settled);
    let hash = &settled.attempts[0].payment_hash;
    let line = format!("treasury adopt {hash} --payee alice --evidence x --confirm test");
    ann.is_refused(&line, "agrees with the books");
    let line = format!("treasury adopt-foreign {hash} --evidence x --confirm test");
    ann.is_refused(&line, "agrees with the books");
    let unknown = "07".repeat(32);
    let line = format!("treasury adopt {unknown} --payee alice --evidence x --confirm test");
    ann.is_refused(&line, "has no payment with the hash");
}

fn deposits_are_booked_once(ann: &Operator<'_>) {
    let line = "treasury deposit 1sat --note x --request-id d-1 -y";
    // Nothing has arrived that is the operator's; what is refused has not used the id.
    ann.is_refused(line, "less than");
    ann.is_refused(line, "less than");
}

/// What came through no node is for nodes: once, as two have said it, to the msat.
async fn the_reserve_is_given_out_by_two(
    client: &TreasuryClient,
    ann: &Operator<'_>,
    ben: &Operator<'_>,
) {
    let payable = async |name: &str| {
        let account = client.account(within(CALL), name.to_owned()).await;
        account.unwrap().unwrap().payable_msat
    };
    let (reserve, node) = ("reserve:node-network", "node:berlin");
    let before = (payable(reserve).await, payable(node).await);
    let line = "treasury distribute berlin=1234sat --reason October --confirm test";
    ann.is_the_first(line);
    ann.is_the_first(line);
    ben.is_the_first(&line.replace("1234", "1235"));
    assert_eq!((payable(reserve).await, payable(node).await), before);
    ben.does(line);
    let after = (before.0 - 1_234_000, before.1 + 1_234_000);
    assert_eq!((payable(reserve).await, payable(node).await), after);
    // The word of two is used up.
    ben.is_the_first(line);
    assert_eq!(payable(reserve).await, after.0);
    let nobody = "treasury distribute oslo=1sat --reason x --confirm test";
    ann.is_refused(nobody, "oslo");
}

struct Key(Ed25519KeyPair);

impl Key {
    fn new(n: u8) -> Self {
        Self(Ed25519KeyPair::from_seed_unchecked(&[n; 32]).unwrap())
    }

    fn public(&self) -> String {
        hex::encode(self.0.public_key().as_ref())
    }

    fn order(&self, account: &str, seq: u64) -> SetDestinationRequest {
        let text = format!("{account}@{DOMAIN}");
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let until = i64::try_from(now.as_secs()).unwrap() + 3_600;
        let order = PaymentOrder::new(ChainName::Regtest, account, &text, seq, until).unwrap();
        let signature = self.0.sign(order.text().as_bytes());
        SetDestinationRequest {
            name: account.to_owned(),
            kind: DestinationKind::LightningAddress,
            text,
            seq,
            until,
            signature: hex::encode(signature.as_ref()),
        }
    }
}

/// With a token of an operator, and with the owner's key from then on.
async fn accounts_are_taken_once(client: &TreasuryClient, ann: &Operator<'_>, ben: &Operator<'_>) {
    let create = CreateAccountRequest {
        name: "zoe".to_owned(),
        owner_key: None,
    };
    let made = client.create_account(within(CALL), create).await;
    let token = made.unwrap().unwrap().token.unwrap();
    let (zoe, mallory) = (Key::new(1), Key::new(2));
    let claim = async |token: &str, key: &Key| {
        let request = ClaimRequest {
            name: "zoe".to_owned(),
            token: token.to_owned(),
            owner_key: key.public(),
        };
        client.claim(within(CALL), request).await.unwrap()
    };
    let set = async |key: &Key, seq| {
        let order = key.order("zoe", seq);
        client.set_destination(within(CALL), order).await.unwrap()
    };
    assert!(claim(&"00".repeat(32), &mallory).await.is_err());
    assert!(set(&zoe, 1).await.is_err(), "it is nobody's yet");
    claim(&token, &zoe).await.unwrap();
    assert!(claim(&token, &mallory).await.is_err(), "it was taken");
    assert!(set(&mallory, 1).await.is_err());
    set(&zoe, 1).await.unwrap();
    assert!(set(&zoe, 1).await.is_err(), "a number is used once");
    // An order for another account, number or place is not signed.
    let mut changed = zoe.order("zoe", 2);
    changed.text = format!("mallory@{DOMAIN}");
    let changed = client.set_destination(within(CALL), changed).await;
    assert!(changed.unwrap().is_err());
    let offer = SetDestinationRequest {
        kind: DestinationKind::Bolt12Offer,
        ..zoe.order("zoe", 2)
    };
    let offer = client.set_destination(within(CALL), offer).await.unwrap();
    assert_eq!(offer.unwrap_err().code, "HH4022", "ldk-node pays no offers");
    // Two operators give it to another key, and take a destination back.
    let replace = format!(
        "account replace-owner zoe --owner-key {} --reason lost --confirm test",
        mallory.public()
    );
    ann.is_the_first(&replace);
    set(&zoe, 2).await.unwrap();
    ben.does(&replace);
    assert!(set(&zoe, 3).await.is_err());
    set(&mallory, 3).await.unwrap();
    let cancel = "account payout-address cancel zoe --seq 3 --reason stolen --confirm test";
    ben.is_the_first(cancel);
    ann.does(cancel);
    let shown = ann.does("account show zoe");
    assert!(shown["item"]["destination"].is_null(), "{shown}");
    ann.is_refused(cancel, "no destination no. 3");
    let journal = ann.does("event list --daemon hh-treasury");
    let journal = journal.to_string();
    for call in ["account.replace_owner_key", "account.cancel_destination"] {
        assert!(journal.contains(call), "{call}: {journal}");
    }
    assert!(!journal.contains(&token), "a token is a secret");
}
