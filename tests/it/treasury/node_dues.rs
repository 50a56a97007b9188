//! What a node is owed reaches its wallet without anybody's hand: its agent, core's inbox, hh-treasury. And a core that lies moves no money.

use super::world::World;
use crate::operator::{hhctl, hhctl_exits};
use bitcoin::Network as ChainName;
use bitcoin::hashes::{Hash, sha256};
use bitcoin::secp256k1::Secp256k1;
use hh_ipc::api::treasury::{InvoiceRequest, Payout, PayoutQuery, PayoutState};
use hh_ipc::client::within;
use hh_tests::bitcoin_core::Chain;
use hh_tests::daemon::Daemon;
use hh_tests::forged_invoice::NodeSeed;
use hh_tests::network::{CALL, Network};
use hh_tests::port::Port;
use hh_tests::treasury::DEADLINE;
use hh_tests::wait::{wait_for, wait_until};
use hh_trust::{NodeId, NodeSecretKey};
use serde_json::Value;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

/// A payout has no more, so that a channel of ten times that takes it at once.
const MAX_PAYOUT_SAT: u64 = 500_000;

/// What core may ask of the node's wallet.
const POLICY: &str = "[wallet]\nread = true\ninvoice_msat_max = 9000000000\nspend = true\n";

/// A world whose node's wallet is its agent's, with core between the agent and hh-treasury.
struct Site {
    // In the order in which they end.
    _agent: Daemon,
    _core: Daemon,
    world: World,
    /// `NODE_ID@HOST:PORT` of the agent's wallet.
    peer: String,
    key: NodeSecretKey,
    _ports: [Port; 3],
}

impl Site {
    /// With a node that is owed something, and no channel to it.
    async fn start() -> Self {
        let key = NodeSecretKey::generate().unwrap();
        let again = || key.to_secret_hex().parse::<NodeSecretKey>().unwrap();
        let seed = NodeSeed::random();
        let id = seed.node_key(ChainName::Regtest);
        let id = id.public_key(&Secp256k1::new()).to_string();
        let ports = [Port::take(), Port::take(), Port::take()];
        let [enrolment, sessions, peers] = ports.each_ref().map(|port| port.number);
        let node = (again(), Some(id.clone()));
        let world = World::start_for(Chain::Regtest, node, async |network, _stranger| {
            let pki = network.dir().join("pki");
            hhctl(
                network,
                &format!("pki init --trust-domain hyperhash.test {}", pki.display()),
            );
            treasury_config(network.dir(), sessions)
        })
        .await;
        let dir = world.network.dir().to_owned();
        for data in ["core", "agent"] {
            fs::create_dir(dir.join(data)).unwrap();
        }
        let core = Daemon::start(
            "hyperhash-core",
            &dir,
            &core_config(&dir, enrolment, sessions),
        );
        core.wait_until_ready().await;
        let token = format!("token create berlin --out {}", dir.join("token").display());
        hhctl(&world.network, &token);
        secret(&dir.join("node.key"), &key.to_secret_hex());
        secret(&dir.join("node.seed"), &seed.to_hex());
        fs::write(dir.join("policy.toml"), POLICY).unwrap();
        let mode = Permissions::from_mode(0o644);
        fs::set_permissions(dir.join("policy.toml"), mode).unwrap();
        let treasury = world.treasury.peer().await;
        let (treasury, _) = treasury.split_once('@').unwrap();
        let config = agent_config(&world.network, peers, treasury);
        let agent = Daemon::start("hh-node-agent", &dir, &config);
        agent.wait_until_ready().await;
        let site = Self {
            _agent: agent,
            _core: core,
            world,
            peer: format!("{id}@127.0.0.1:{peers}"),
            key,
            _ports: ports,
        };
        wait_until("the node's wallet runs", DEADLINE, async || {
            site.wallet()["node_id"].is_string()
        })
        .await;
        site.earn().await;
        site
    }

    async fn earn(&self) {
        self.world.mine_through_node(1).await;
        let hash = self.world.find_block().await;
        self.world.mature(hash).await;
    }

    /// What the owner of the node sees.
    fn wallet(&self) -> Value {
        hhctl(&self.world.network, "agent wallet")["item"].clone()
    }

    /// Waits until the agent has heard what it is owed.
    async fn owed(&self) -> u64 {
        wait_for("the agent knows its dues", DEADLINE, async || {
            self.wallet()["dues_msat"].as_u64().filter(|msat| *msat > 0)
        })
        .await
    }

    async fn payouts(&self) -> Vec<Payout> {
        let query = PayoutQuery {
            limit: 100,
            ..PayoutQuery::default()
        };
        let client = self.world.treasury.client().await;
        let page = client.payouts(within(CALL), query).await;
        page.unwrap().unwrap().payouts
    }

    /// An invoice of the node's wallet, asked for by an operator of core, with the node's signature.
    fn asked_for(&self, amount: &str) -> (String, String) {
        let line = format!("node wallet invoice berlin {amount} --yes");
        let made = hhctl(&self.world.network, &line);
        let detail = made["item"]["detail"].as_str().unwrap().to_owned();
        let (invoice, signature) = detail.split_once("\nsignature ").unwrap();
        (invoice.to_owned(), signature.trim().to_owned())
    }

    /// An operator of core has the node's wallet pay an invoice; gives the command, which waits for the owner.
    async fn pay(&self, invoice: &str) -> String {
        let line = format!(
            "node wallet pay berlin {invoice} --amount 100ksat --max-fee 1ksat --yes --no-wait"
        );
        let ordered = hhctl(&self.world.network, &line);
        let id = ordered["item"]["id"].as_str().unwrap().to_owned();
        let show = format!("operation show {id}");
        wait_until("it waits for the owner", DEADLINE, async || {
            hhctl(&self.world.network, &show)["item"]["code"] == "owner-consent"
        })
        .await;
        id
    }

    /// How many invoices core has of which hh-treasury has said nothing.
    fn inbox(&self) -> usize {
        let script = "import sqlite3, sys\n\
            database = sqlite3.connect(sys.argv[1], timeout=30)\n\
            print(database.execute('SELECT count(*) FROM node_invoices').fetchone()[0])\n";
        let counted = Command::new("python3")
            .args(["-c", script])
            .arg(self.world.network.dir().join("core/core.db"))
            .output()
            .unwrap();
        let count = String::from_utf8(counted.stdout).unwrap();
        count.trim().parse().unwrap()
    }

    /// What a thief who has core's database writes into its inbox.
    fn slip_in(&self, invoice: &str, signature: &str) {
        let script = "import hashlib, sqlite3, sys, time\n\
            database = sqlite3.connect(sys.argv[1], timeout=30)\n\
            id = hashlib.sha256(sys.argv[2].encode()).hexdigest()\n\
            row = ('berlin', id, sys.argv[2], sys.argv[3], int(time.time() * 1000))\n\
            database.execute('INSERT INTO node_invoices (node, id, invoice, signature, handed_in_at_ms) VALUES (?, ?, ?, ?, ?)', row)\n\
            database.commit()\n";
        let database = self.world.network.dir().join("core/core.db");
        let written = Command::new("python3")
            .args(["-c", script])
            .arg(database)
            .args([invoice, signature])
            .output()
            .unwrap();
        assert!(written.status.success(), "{written:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nodes_dues_reach_its_wallet_without_anybodys_hand() {
    let site = Site::start().await;
    let owed = site.owed().await;
    assert!(owed > MAX_PAYOUT_SAT * 1_000, "{owed}");
    let alone = site.wallet();
    assert_eq!(alone["treasury_channels"], 0, "{alone}");
    assert_eq!(alone["invoices"], serde_json::json!([]), "{alone}");

    let client = site.world.treasury.client().await;
    site.world.open_channel_to(&client, site.peer.clone()).await;
    let paid = wait_for("the node's wallet was paid", DEADLINE, async || {
        let wallet = site.wallet();
        let mut invoices = wallet["invoices"].as_array()?.iter();
        let is_paid = |one: &&Value| one["state"] == "settled" && one["received_msat"].is_u64();
        invoices.find(is_paid).cloned()
    })
    .await;
    assert_eq!(paid["amount_msat"], MAX_PAYOUT_SAT * 1_000, "{paid}");
    assert_eq!(paid["received_msat"], paid["amount_msat"], "{paid}");
    let payouts = site.payouts().await;
    let payout = payouts
        .iter()
        .find(|one| one.payment_hash.as_deref() == paid["payment_hash"].as_str());
    let payout = payout.unwrap();
    assert_eq!(
        (&*payout.payee, payout.state),
        ("node:berlin", PayoutState::Settled)
    );
    // Nobody has handed anything in, and what core says of the wallet the node says.
    let said = hhctl(&site.world.network, "node wallet show berlin");
    let said = said["item"]["detail"].as_str().unwrap().to_owned();
    let id = site.peer.split_once('@').unwrap().0;
    assert!(said.contains(id), "{said}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_core_that_changes_amount_invoice_or_node_moves_no_money() {
    let site = Site::start().await;
    let owed = site.owed().await;
    let rome: NodeId = "rome".parse().unwrap();
    let stranger = site.world.wallet.invoice(100_000_000).await;
    let (honest, signature) = site.asked_for("100ksat");
    // More than a payout may have, truly signed; another's invoice under a true signature; one that the node's key has signed for the
    // name of another node; and another's invoice that even has the node's signature: its payee is not the node's Lightning node.
    let (too_much, signed) = site.asked_for("2000ksat");
    site.slip_in(&too_much, &signed);
    site.slip_in(&stranger, &signature);
    let of_rome = site.key.sign_invoice(ChainName::Regtest, &rome, &honest);
    site.slip_in(&honest, &of_rome);
    let another = site.world.wallet.invoice(100_000_001).await;
    let signed = site.world.signed(another.clone());
    site.slip_in(&another, &signed.signature);
    let treasury = &site.world.treasury;
    wait_until("all of them are refused", DEADLINE, async || {
        treasury
            .daemon
            .log()
            .matches("a node's invoice refused")
            .count()
            == 4
    })
    .await;
    assert!(site.payouts().await.is_empty());
    let client = treasury.client().await;
    let account = client.account(within(CALL), "node:berlin".to_owned()).await;
    let payable = account.unwrap().unwrap().payable_msat;
    assert_eq!(u64::try_from(payable), Ok(owed));
    // Of none is anything left at core, and nobody has been paid.
    assert_eq!(site.world.received(100_000_000), 0);
    wait_until("core lets go of them", DEADLINE, async || site.inbox() == 0).await;
    // By whatever way a true one comes, and whatever came with it before, it is taken: it waits for a channel.
    site.slip_in(&honest, &signature);
    wait_until("a true one is taken", DEADLINE, async || {
        site.payouts().await.len() == 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_owner_has_paid_is_paid_once_and_its_receipt_is_his() {
    let site = Site::start().await;
    site.owed().await;
    let client = site.world.treasury.client().await;
    site.world.open_channel_to(&client, site.peer.clone()).await;
    wait_until("the node's wallet has money", DEADLINE, async || {
        let had = site.wallet()["in_channels_msat"].as_u64();
        had.is_some_and(|msat| msat >= MAX_PAYOUT_SAT * 900)
    })
    .await;
    let request = InvoiceRequest {
        amount_msat: Some(100_000_000),
        description: "from the node".to_owned(),
        expiry_seconds: 3_600,
    };
    let invoice = client.invoice(within(CALL), request).await;
    let invoice = invoice.unwrap().unwrap();

    let first = site.pay(&invoice).await;
    let none = site.wallet();
    assert_eq!(none["payments"], serde_json::json!([]), "{none}");
    let approve = format!("consent approve {first} --yes");
    let decided = &hhctl(&site.world.network, &approve)["item"];
    assert_eq!(decided["code"], "ok", "{decided}");
    let kept = site.wallet()["payments"][0].clone();
    assert_eq!(kept["amount_msat"], 100_000_000, "{kept}");
    let preimage = kept["preimage"].as_str().unwrap();
    let hash = sha256::Hash::hash(&hex::decode(preimage).unwrap());
    assert_eq!(kept["payment_hash"], hash.to_string(), "{kept}");
    let show = format!("operation show {first}");
    let told = wait_for("core hears of it", DEADLINE, async || {
        let told = hhctl(&site.world.network, &show);
        (told["item"]["code"] == "ok").then(|| told.to_string())
    })
    .await;
    assert!(told.contains("paid") && !told.contains(preimage), "{told}");

    // The owner's second yes sends nothing: what the wallet has tried before it does not try again, and nobody calls that unpaid.
    let second = site.pay(&invoice).await;
    let approve = format!("consent approve {second} --yes");
    let decided = &hhctl_exits(&site.world.network, &approve, 3)["item"];
    assert_eq!(decided["code"], "unknown", "{decided}");
    let wallet = site.wallet();
    assert_eq!(
        wallet["payments"].as_array().map(Vec::len),
        Some(1),
        "{wallet}"
    );
}

fn secret(path: &Path, text: &str) {
    let file = File::options()
        .create_new(true)
        .write(true)
        .mode(0o600)
        .open(path);
    writeln!(file.unwrap(), "{text}").unwrap();
}

fn treasury_config(dir: &Path, sessions: u16) -> String {
    let dir = dir.display();
    format!(
        "[payouts]\nmax_payout_sat = {MAX_PAYOUT_SAT}\n\
         [core]\naddress = \"127.0.0.1:{sessions}\"\npki_dir = \"{dir}/pki\"\n\
         service_issuer_key = \"file:{dir}/pki/service-issuer.key\"\n"
    )
}

fn core_config(dir: &Path, enrolment: u16, sessions: u16) -> String {
    let dir = dir.display();
    let keys = [
        "node_issuer",
        "server_issuer",
        "service_issuer",
        "enrolment",
        "command",
    ];
    let keys = keys.map(|key| {
        let file = key.replace('_', "-");
        format!("{key}_key = \"file:{dir}/pki/{file}.key\"\n")
    });
    format!(
        "trust_domain = \"hyperhash.test\"\ndata_dir = \"{dir}/core\"\n\
         [enrolment]\nlisten_address = \"127.0.0.1:{enrolment}\"\nurl = \"https://127.0.0.1:{enrolment}\"\n\
         [sessions]\nlisten_address = \"127.0.0.1:{sessions}\"\npublic_address = \"127.0.0.1:{sessions}\"\n\
         [pki]\ndir = \"{dir}/pki\"\n{}",
        keys.concat()
    )
}

fn agent_config(network: &Network, peers: u16, treasury: &str) -> String {
    let dir = network.dir().display();
    format!(
        "data_dir = \"{dir}/agent\"\npolicy_file = \"{dir}/policy.toml\"\ntoken_file = \"{dir}/token\"\n\
         node_key = \"file:{dir}/node.key\"\n\
         [wallet]\nchain = \"regtest\"\ntreasury_node_id = \"{treasury}\"\n\
         [wallet.lightning.ldk_node]\nseed = \"file:{dir}/node.seed\"\nlisten_addresses = [\"127.0.0.1:{peers}\"]\n\
         [wallet.bitcoin]\nrpc_url = \"{}\"\nrpc_cookie_file = \"{}\"\n",
        network.node.rpc_url(),
        network.node.cookie_file().display(),
    )
}
