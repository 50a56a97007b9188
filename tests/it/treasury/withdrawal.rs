//! The operator's own money leaves the treasury on the chain: no more than is his, once, and the books tell the truth whenever
//! hh-treasury dies.

use super::operators::Operator;
use super::world::World;
use bitcoin::{Amount, ScriptBuf};
use bitcoincore_rpc::RpcApi;
use hh_ipc::ApiError;
use hh_ipc::api::treasury::{
    FreezeRequest, Totals, TreasuryClient, VerifyReport, WithdrawRequest, Withdrawal,
    WithdrawalState,
};
use hh_ipc::client::within;
use hh_tests::network::CALL;
use hh_tests::treasury::DEADLINE;
use hh_tests::wait::{wait_for, wait_until};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What its process ends with.
const SIGABRT: i32 = 6;

/// A call that waits for a node to have the transaction.
const LONG_CALL: Duration = Duration::from_secs(60);

const AMOUNT_SAT: u64 = 3_000_000;

/// Of a treasury whose part of a block is 25,000,000 sat.
const CONFIG: &str = "[payouts]\napproval_above_sat = 5000000\n";

/// Blocks that have to pass before two operators may say that nothing was sent.
const CLOSE_AFTER: u32 = 144;

/// Where money goes: an address of the node's wallet.
async fn cold(world: &World) -> bitcoin::Address {
    let address = world.wallet.wallet.new_address().await;
    address.expect("the node's wallet answers")
}

fn request(id: &str, address: &bitcoin::Address, amount_sat: Option<u64>) -> WithdrawRequest {
    WithdrawRequest {
        request_id: id.to_owned(),
        address: address.to_string(),
        amount_sat,
        fee_rate_sat_per_vb: Some(2),
        dry_run: false,
    }
}

async fn ask(client: &TreasuryClient, request: WithdrawRequest) -> Result<Withdrawal, ApiError> {
    let answer = client.withdraw(within(LONG_CALL), request).await;
    answer.expect("hh-treasury answers")
}

async fn newest(client: &TreasuryClient) -> Withdrawal {
    let all = client.withdrawals(within(CALL), 1).await;
    let all = all.expect("hh-treasury answers").expect("it has books");
    all.into_iter().next().expect("one was asked for")
}

/// Sends, once the wallet has seen what it may spend.
async fn send(client: &TreasuryClient, request: WithdrawRequest) -> Withdrawal {
    let dry = WithdrawRequest {
        dry_run: true,
        ..request.clone()
    };
    wait_for(
        "the wallet can spend what has matured",
        DEADLINE,
        async || ask(client, dry.clone()).await.ok(),
    )
    .await;
    ask(client, request).await.expect("it may leave")
}

async fn wait_until_settled(client: &TreasuryClient) -> Withdrawal {
    wait_for("the withdrawal is settled", DEADLINE, async || {
        let all = client.withdrawals(within(CALL), 1).await.ok()?.ok()?;
        let newest = all.into_iter().next()?;
        (newest.state == WithdrawalState::Settled).then_some(newest)
    })
    .await
}

/// How often the best chain or the mempool pays exactly this.
fn paid(world: &World, script: &ScriptBuf, sat: u64) -> usize {
    let node = world.network.node.rpc();
    let mut transactions = Vec::new();
    let waiting: Vec<bitcoin::Txid> = node.call("getrawmempool", &[]).unwrap();
    for txid in waiting {
        let hex: String = node
            .call("getrawtransaction", &[txid.to_string().into()])
            .unwrap();
        transactions.push(bitcoin::consensus::encode::deserialize_hex(&hex).unwrap());
    }
    for height in 1..=world.network.node.height() {
        let hash: String = node.call("getblockhash", &[height.into()]).unwrap();
        let hex: String = node.call("getblock", &[hash.into(), 0.into()]).unwrap();
        let block: bitcoin::Block = bitcoin::consensus::encode::deserialize_hex(&hex).unwrap();
        transactions.extend(block.txdata);
    }
    let outputs = transactions
        .iter()
        .flat_map(|transaction| &transaction.output);
    outputs
        .filter(|output| output.script_pubkey == *script && output.value == Amount::from_sat(sat))
        .count()
}

/// Books and wallet agree, and so much was withdrawn in all.
async fn agrees(client: &TreasuryClient, withdrawn_sat: u64) -> VerifyReport {
    let report = wait_for("books and wallet agree", DEADLINE, async || {
        let report = client.verify(within(LONG_CALL)).await.ok()?.ok()?;
        (report.difference_msat == Some(0)).then_some(report)
    })
    .await;
    assert!(report.is_solvent, "{report:?}");
    let withdrawn = i64::try_from(withdrawn_sat * 1_000).unwrap();
    assert_eq!(report.totals.withdrawn_msat, withdrawn, "{report:?}");
    assert_eq!(report.totals.suspense_msat, 0, "{report:?}");
    report
}

async fn totals(client: &TreasuryClient) -> Totals {
    let status = client.status(within(CALL)).await;
    status
        .expect("hh-treasury answers")
        .totals
        .expect("it has books")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_operators_own_leaves_once_and_nothing_of_what_is_owed() {
    let world = World::with_own_money(CONFIG).await;
    let client = world.treasury.client().await;
    let to = cold(&world).await;
    let before = totals(&client).await;

    let sent = send(&client, request("w-1", &to, Some(AMOUNT_SAT))).await;
    assert_eq!(sent.state, WithdrawalState::Sent, "{sent:?}");
    assert_eq!(world.network.node.mempool_len(), 1);
    let again = ask(&client, request("w-1", &to, Some(AMOUNT_SAT))).await;
    assert_eq!(again.unwrap().txid, sent.txid);
    let other = ask(&client, request("w-1", &to, Some(AMOUNT_SAT + 1))).await;
    assert!(
        other
            .unwrap_err()
            .message
            .contains("taken by another request")
    );
    let second = ask(&client, request("w-2", &to, Some(AMOUNT_SAT))).await;
    assert!(second.unwrap_err().message.contains("one at a time"));
    assert_eq!(totals(&client).await, before, "no block has it");

    world.network.node.generate(1);
    let settled = wait_until_settled(&client).await;
    let fee_sat = settled.fee_sat.unwrap();
    assert!((1..=settled.max_fee_sat).contains(&fee_sat), "{settled:?}");
    assert_eq!(settled.txid, sent.txid);
    let report = agrees(&client, AMOUNT_SAT).await;
    let fee_msat = i64::try_from(fee_sat * 1_000).unwrap();
    assert_eq!(report.totals.fees_msat, before.fees_msat + fee_msat);
    assert_eq!(report.totals.payable_msat, before.payable_msat);
    assert_eq!(paid(&world, &to.script_pubkey(), AMOUNT_SAT), 1);

    what_is_not_the_operators_stays(&client, &to).await;
    two_operators_take_all_that_is_free(&world, &client, &to).await;
}

async fn what_is_not_the_operators_stays(client: &TreasuryClient, to: &bitcoin::Address) {
    let on_chain = client.on_chain(within(CALL)).await.unwrap().unwrap();
    let why = on_chain.no_list_because.as_deref();
    let why = why.expect("the embedded node lists none");
    assert!(why.contains("not the outputs"), "{why}");
    assert!(on_chain.outputs.is_empty());
    // The wallet has all of the block, of which a two-hundredth is the treasury's.
    assert!(
        on_chain.limits.on_chain_sat > 100 * on_chain.free_sat,
        "{on_chain:?}"
    );
    assert_eq!(on_chain.free_sat, on_chain.limits.own_sat, "{on_chain:?}");
    let more = request("w-3", to, Some(on_chain.free_sat));
    let refused = ask(client, more).await.unwrap_err();
    assert_eq!(refused.code, "HH4032", "{refused:?}");
    let figures = format!(
        "{} sat are the operator's own by the books",
        on_chain.limits.own_sat
    );
    assert!(refused.message.contains(&figures), "{refused:?}");
    let mut elsewhere = request("w-3", to, Some(AMOUNT_SAT));
    elsewhere.address = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4".to_owned();
    let refused = ask(client, elsewhere).await.unwrap_err();
    assert!(
        refused.message.contains("is no address of regtest"),
        "{refused:?}"
    );
    let dust = ask(client, request("w-3", to, Some(100)))
        .await
        .unwrap_err();
    assert!(dust.message.contains("too small an output"), "{dust:?}");
}

async fn two_operators_take_all_that_is_free(
    world: &World,
    client: &TreasuryClient,
    to: &bitcoin::Address,
) {
    let Some([ann, ben]) = Operator::two(world) else {
        return;
    };
    // The fee leaves, too.
    let below = format!("treasury withdraw {to} 4999900sat --fee-rate 2 --dry-run");
    assert_eq!(ann.does(&below)["item"]["needs_approval"], true);
    let line = format!("treasury withdraw {to} --all-free --fee-rate 2");
    let planned = ann.does(&format!("{line} --dry-run"));
    let amount = planned["item"]["amount_sat"].as_u64().unwrap();
    assert_eq!(planned["item"]["needs_approval"], true, "{planned}");
    let line = format!("{line} --request-id w-4 --confirm test");
    ann.is_the_first(&line);
    ann.is_the_first(&line);
    let end = "--request-id w-4 --confirm test";
    let other = format!("treasury withdraw {to} 6000ksat --fee-rate 2 {end}");
    ben.is_the_first(&other);
    let other = format!("treasury withdraw {to} {amount}sat --fee-rate 1 {end}");
    ben.is_the_first(&other);
    let same = format!("treasury withdraw {to} {amount}sat --fee-rate 2 {end}");
    let sent = ben.does(&same);
    assert_eq!(sent["item"]["state"], "sent", "{sent}");
    world.network.node.generate(1);
    wait_until_settled(client).await;
    agrees(client, AMOUNT_SAT + amount).await;
    let nothing = format!("treasury withdraw {to} --all-free --confirm test");
    ann.is_refused(&nothing, "HH4032");
    let request = FreezeRequest {
        reason: "look".to_owned(),
    };
    client.freeze(within(CALL), request).await.unwrap().unwrap();
    ann.is_refused(&nothing, "HH4011");
}

/// A treasury that can be told where to die.
struct Deaths {
    world: World,
    /// Names the point.
    file: PathBuf,
    to: bitcoin::Address,
}

impl Deaths {
    fn tell(&self, point: &str) {
        std::fs::write(&self.file, point).unwrap();
    }

    async fn restart(&mut self) -> TreasuryClient {
        self.tell("");
        let told = format!("@{}", self.file.display());
        let daemon = &mut self.world.treasury.daemon;
        daemon.restart_with(&[("HH_TREASURY_CRASH_AT", &told)]);
        daemon.wait_until_ready().await;
        self.world.treasury.client().await
    }

    /// Asks, and it dies at the point; where a file is named, when a node has the transaction.
    async fn dies(&self, client: &TreasuryClient, id: &str, point: &str, ready: Option<&Path>) {
        let dry = WithdrawRequest {
            dry_run: true,
            ..request(id, &self.to, Some(AMOUNT_SAT))
        };
        wait_for("it may be withdrawn", DEADLINE, async || {
            ask(client, dry.clone()).await.ok()
        })
        .await;
        match ready {
            Some(ready) => self.tell(&format!("{point}&{}", ready.display())),
            None => self.tell(point),
        }
        let asked = request(id, &self.to, Some(AMOUNT_SAT));
        let asked = client.withdraw(within(LONG_CALL), asked);
        let node = &self.world.network.node;
        let seen = async {
            if let Some(ready) = ready {
                let what = "a node has the transaction";
                wait_until(what, DEADLINE, async || node.mempool_len() > 0).await;
                std::fs::write(ready, "").unwrap();
            }
        };
        let (answer, ()) = tokio::join!(asked, seen);
        assert!(answer.is_err(), "{point}: {answer:?}");
        self.has_died(point);
    }

    fn has_died(&self, point: &str) {
        let status = self.world.treasury.daemon.wait_for_exit();
        assert_eq!(status.signal(), Some(SIGABRT), "{point}: {status}");
    }

    fn paid(&self) -> usize {
        paid(&self.world, &self.to.script_pubkey(), AMOUNT_SAT)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withdrawal_that_is_killed_at_any_step_leaves_at_most_once_and_the_books_say_so() {
    let world = World::with_own_money(CONFIG).await;
    world.treasury.daemon.terminate();
    let file = world.network.dir().join("point");
    let to = cold(&world).await;
    let mut deaths = Deaths { world, file, to };
    let client = deaths.restart().await;

    // The wallet has sent it, and the answer is lost: it is found, and not sent again.
    let ready = deaths.world.network.dir().join("ready");
    deaths
        .dies(&client, "w-1", "withdrawal.sent", Some(&ready))
        .await;
    let client = deaths.restart().await;
    let again = ask(&client, request("w-1", &deaths.to, Some(AMOUNT_SAT))).await;
    assert_eq!(again.unwrap().id, Some(1));
    deaths.world.network.node.generate(1);
    wait_until_settled(&client).await;
    agrees(&client, AMOUNT_SAT).await;
    assert_eq!(deaths.paid(), 1);

    // It is booked once, though it was about to be when it died.
    let sent = send(&client, request("w-2", &deaths.to, Some(AMOUNT_SAT))).await;
    assert_eq!(sent.state, WithdrawalState::Sent, "{sent:?}");
    deaths.tell("withdrawal.settle.before");
    deaths.world.network.node.generate(1);
    deaths.has_died("withdrawal.settle.before");
    let client = deaths.restart().await;
    wait_until_settled(&client).await;
    agrees(&client, 2 * AMOUNT_SAT).await;
    assert_eq!(deaths.paid(), 2);

    // Killed before the wallet was asked: nobody knows, and nothing is sent.
    deaths.dies(&client, "w-3", "withdrawal.opened", None).await;
    let client = deaths.restart().await;
    what_was_never_sent_is_closed_by_two(&deaths, &client).await;
}

async fn what_was_never_sent_is_closed_by_two(deaths: &Deaths, client: &TreasuryClient) {
    let again = ask(client, request("w-3", &deaths.to, Some(AMOUNT_SAT))).await;
    let again = again.unwrap();
    assert_eq!((again.state, &again.txid), (WithdrawalState::Open, &None));
    let Some([ann, ben]) = Operator::two(&deaths.world) else {
        return;
    };
    let line = "treasury withdrawal close-failed 3 --reason killed --confirm test";
    let early = wait_for("it was looked for", DEADLINE, async || {
        let said = ann.says(line);
        said.contains("may turn up until block").then_some(said)
    });
    early.await;
    deaths.world.network.node.generate(CLOSE_AFTER);
    wait_until("the first operator's word is taken", DEADLINE, async || {
        ann.says(line).contains("HH4030")
    })
    .await;
    let waiting = newest(client)
        .await
        .reason
        .expect("it says what it waits for");
    assert!(
        waiting.contains("no transaction is known that pays it"),
        "{waiting}"
    );
    ben.does(line);
    assert_eq!(newest(client).await.state, WithdrawalState::Failed);
    assert_eq!(deaths.paid(), 2);
    agrees(client, 2 * AMOUNT_SAT).await;
    let another = send(client, request("w-4", &deaths.to, Some(AMOUNT_SAT))).await;
    assert_eq!(another.state, WithdrawalState::Sent, "{another:?}");
    deaths.world.network.node.generate(1);
    wait_until_settled(client).await;
    agrees(client, 3 * AMOUNT_SAT).await;
    assert_eq!(deaths.paid(), 3);
}
