//! hh-treasury dies at every step of a payout, as in a power cut, and nothing is paid twice or lost.

use super::world::World;
use hh_ipc::api::treasury::{
    AttemptState, ChannelState, PayoutDetail, PayoutState, TreasuryClient,
};
use hh_ipc::client::within;
use hh_tests::forged_invoice::Forgery;
use hh_tests::lightningd::Lightningd;
use hh_tests::lnd::Lnd;
use hh_tests::network::CALL;
use hh_tests::wait::wait_for;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// What its process ends with.
const SIGABRT: i32 = 6;

/// A payout of a node's invoice that hh-treasury dies in.
struct Round {
    /// Where it dies, one after the other: before or after a commit or a call.
    points: &'static [&'static str],
    /// Whether the node refuses the payment, so that the attempt fails.
    is_refused: bool,
}

const fn paid(points: &'static [&'static str]) -> Round {
    Round {
        points,
        is_refused: false,
    }
}

const fn refused(points: &'static [&'static str]) -> Round {
    Round {
        points,
        is_refused: true,
    }
}

/// Every point there is. Those that may cost a channel, which takes hundreds of blocks, come last: there are more rounds than these.
static TURN: [Round; 12] = [
    paid(&["payout.resolving"]),
    paid(&["attempt.prepare.before"]),
    refused(&["attempt.fail.before"]),
    // In this one a reorganisation takes away the blocks of its payment.
    paid(&["attempt.dispatch.before"]),
    refused(&["attempt.failed"]),
    paid(&["attempt.prepared"]),
    paid(&["attempt.settle.before"]),
    paid(&["attempt.settled"]),
    paid(&["attempt.pay.after"]),
    paid(&["attempt.in_flight"]),
    paid(&["attempt.looked_up"]),
    // Nothing was sent, which is concluded after a minute; then it dies again.
    paid(&["attempt.dispatched", "attempt.never_sent"]),
];

/// Rounds in `scripts/test` and in `--all`.
const ROUNDS: usize = 20;
const ROUNDS_OF_ALL: usize = 200;

/// With Core Lightning a payment's end is told before anything has to be looked up.
const NOT_PASSED_WITH_CORE_LIGHTNING: &str = "attempt.looked_up";

/// Deaths of lightningd in the middle of a payout, so long after it was handed in each.
const DEATHS_AFTER_MS: [u64; 4] = [0, 50, 150, 400];

/// Of a payout in satoshi; each round has another amount, so that no payment passes for another's.
const AMOUNT_SAT: u64 = 20_000;

/// Until a wallet may say that it has never sent a payment it has to run for a minute; a channel that it closes by force takes
/// hundreds of blocks, of which each takes a second or two.
const RESOLVED: Duration = Duration::from_secs(600);

/// What failed is looked at again at once: a node's invoice is given back then, and nothing else is tried twice here.
const CONFIG: &str = "[payouts]\nretry_seconds = 1\n";

/// In this round a reorganisation takes away the blocks of its payment.
const ROUND_OF_REORG: usize = 3;

/// Blocks that it takes away: fewer than a channel's funding lies deep.
const REORG_DEPTH: u32 = 3;

fn is_there(state: ChannelState) -> bool {
    use ChannelState::{Offline, Opening, Usable};
    matches!(state, Usable | Offline | Opening)
}

/// A payout that is over, one way or the other. While no channel can be used one is being closed by force, and ends with the blocks
/// that its timelocks count.
async fn wait_until_over(world: &World, client: &TreasuryClient, payout: u64) -> PayoutDetail {
    wait_for("the payout is over", RESOLVED, async || {
        let detail = client.payout(within(CALL), payout).await.ok()?.ok()?;
        let state = detail.payout.state;
        if matches!(state, PayoutState::Settled | PayoutState::Cancelled) {
            return Some(detail);
        }
        let channels = client.channels(within(CALL)).await.ok()?.ok()?;
        // One that was closed by force is a channel no more.
        if !channels.iter().any(|channel| is_there(channel.state)) {
            world.advance(client).await;
        }
        None
    })
    .await
}

/// A world whose hh-treasury can be told where to die.
struct Deaths {
    world: World,
    /// Names the point.
    file: PathBuf,
    /// What the node may be paid at the beginning, and what it was paid since, in msat.
    dues_msat: i64,
    paid_msat: i64,
}

impl Deaths {
    async fn new(world: World) -> Self {
        let file = world.network.dir().join("point");
        world.treasury.daemon.terminate();
        let mut deaths = Self {
            file,
            dues_msat: 0,
            paid_msat: 0,
            world,
        };
        deaths.restart().await;
        deaths.dues_msat = deaths.dues().await;
        deaths
    }

    /// Has it die where it passes this point next; nowhere, if there is no such point.
    fn tell(&self, point: &str) {
        std::fs::write(&self.file, point).unwrap();
    }

    async fn restart(&mut self) -> TreasuryClient {
        let told = format!("@{}", self.file.display());
        let daemon = &mut self.world.treasury.daemon;
        daemon.restart_with(&[("HH_TREASURY_CRASH_AT", &told)]);
        daemon.wait_until_ready().await;
        self.world.treasury.client().await
    }

    /// What the node may be paid; nothing of it is in a payout.
    async fn dues(&self) -> i64 {
        let client = self.world.treasury.client().await;
        let account = client.account(within(CALL), "node:berlin".to_owned()).await;
        let account = account.unwrap().unwrap();
        assert_eq!(account.in_payouts_msat, 0, "{account:?}");
        account.payable_msat
    }

    async fn round(&mut self, number: usize, round: &Round) {
        let client = self.world.treasury.client().await;
        self.world.wait_for_channel(&client).await;
        let msat = (AMOUNT_SAT + number as u64) * 1_000;
        let wallet = &self.world.wallet;
        let invoice = if round.is_refused {
            Forgery::of(msat).signed(&wallet.key)
        } else {
            wallet.invoice(msat).await
        };
        // Where it dies before it answers, the payout is in the books all the same.
        let mut submitted = None;
        for (nth, point) in round.points.iter().enumerate() {
            self.tell(point);
            if nth == 0 {
                submitted = self.world.submit_or_die(&client, invoice.clone()).await;
            } else {
                self.restart().await;
            }
            let status = self.world.treasury.daemon.wait_for_exit();
            assert_eq!(status.signal(), Some(SIGABRT), "{point}: {status}");
        }
        self.tell("");
        let client = self.restart().await;
        let payout = match submitted {
            Some(payout) => payout,
            None => self.world.newest_payout(&client).await,
        };
        if number == ROUND_OF_REORG {
            self.world.reorganise(REORG_DEPTH);
        }
        let over = wait_until_over(&self.world, &client, payout).await;
        self.check(&client, round, &over).await;
    }

    /// Paid once, or given back once, and the books say so.
    async fn check(&mut self, client: &TreasuryClient, round: &Round, over: &PayoutDetail) {
        let points = round.points;
        let is_settled = over.payout.state == PayoutState::Settled;
        assert!(!(round.is_refused && is_settled), "{points:?}: {over:?}");
        let (received, settled) = (
            self.world.received(over.payout.amount_msat),
            over.attempts
                .iter()
                .filter(|attempt| attempt.state == AttemptState::Settled),
        );
        let times = usize::from(is_settled);
        assert_eq!(
            (received, settled.count()),
            (times, times),
            "{points:?}: {over:?}"
        );
        if round.is_refused {
            let states: Vec<_> = over.attempts.iter().map(|attempt| attempt.state).collect();
            assert_eq!(states, [AttemptState::FailedFinal], "{points:?}: {over:?}");
        }
        if is_settled {
            self.paid_msat += i64::try_from(over.payout.amount_msat).unwrap();
        }
        assert_eq!(
            self.dues().await,
            self.dues_msat - self.paid_msat,
            "{points:?}"
        );
        let verified = client.verify(within(CALL)).await.unwrap().unwrap();
        assert!(verified.is_solvent, "{points:?}: {verified:?}");
        assert_eq!(verified.totals.paid_msat, self.paid_msat, "{points:?}");
    }

    async fn rounds(mut self, rounds: impl Iterator<Item = &'static Round>) {
        for (number, round) in rounds.enumerate() {
            let begun = Instant::now();
            self.round(number, round).await;
            let took = begun.elapsed().as_secs_f64();
            crate::say(&format!("round {number}, {:?}: {took:.1} s", round.points));
        }
        assert!(self.paid_msat > 0);
        self.world.wait_until_books_balance().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payout_that_is_killed_at_any_step_is_paid_once_or_given_back() {
    let deaths = Deaths::new(World::with_dues_and(async |_, _| CONFIG.to_owned()).await).await;
    let rounds = if hh_tests::all() {
        ROUNDS_OF_ALL
    } else {
        ROUNDS
    };
    deaths.rounds(TURN.iter().cycle().take(rounds)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payout_from_lnd_that_is_killed_at_any_step_is_paid_once_or_given_back() {
    let Some(program) = hh_tests::lnd::program() else {
        crate::say("skipped: LND_BIN does not name an lnd; no payout from one is killed");
        return;
    };
    let mut lnd = None;
    let world = World::with_dues_and(async |network, wallet| {
        // lnd opens none but channels with anchors, for which the other side has to have money, too.
        let address = wallet.wallet.new_address().await;
        let address = address.expect("the wallet has addresses");
        network.node.generate_to(&address, 1);
        let started = Lnd::start(&program, &network.dir().join("lnd"), &network.node).await;
        lnd.insert(started).config() + CONFIG
    })
    .await;
    Deaths::new(world).await.rounds(TURN.iter()).await;
    drop(lnd);
}

/// Whose wallet is a Core Lightning.
async fn world_of(program: &Path) -> (World, Lightningd) {
    let mut lightningd = None;
    let world = World::with_dues_and(async |network, wallet| {
        // It opens channels with anchors, for which the other side has to have money, too.
        let address = wallet.wallet.new_address().await;
        let address = address.expect("the wallet has addresses");
        network.node.generate_to(&address, 1);
        let dir = network.dir().join("cln");
        let started = Lightningd::start(program, &dir, &network.node).await;
        lightningd.insert(started).config() + CONFIG
    })
    .await;
    (world, lightningd.expect("it was started"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payout_from_core_lightning_that_is_killed_at_any_step_is_paid_once_or_given_back() {
    let Some(program) = hh_tests::lightningd::program() else {
        crate::say(
            "skipped: LIGHTNINGD_BIN does not name a lightningd; no payout from one is killed",
        );
        return;
    };
    let (world, _lightningd) = world_of(&program).await;
    let is_passed = |round: &&Round| !round.points.contains(&NOT_PASSED_WITH_CORE_LIGHTNING);
    let rounds = TURN.iter().filter(is_passed);
    Deaths::new(world).await.rounds(rounds).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payout_in_which_core_lightning_dies_is_paid_once_or_given_back() {
    let Some(program) = hh_tests::lightningd::program() else {
        crate::say("skipped: LIGHTNINGD_BIN does not name a lightningd; none dies in a payout");
        return;
    };
    let (world, mut lightningd) = world_of(&program).await;
    for (number, after_ms) in (0..).zip(DEATHS_AFTER_MS) {
        let client = world.treasury.client().await;
        world.wait_for_channel(&client).await;
        let msat = (AMOUNT_SAT + number) * 1_000;
        let begun = Instant::now();
        let payout = world.submit(&client, msat).await;
        // The moment is what is tried, and not what is waited for.
        tokio::time::sleep(Duration::from_millis(after_ms)).await;
        lightningd.restart().await;
        let over = wait_until_over(&world, &client, payout).await;
        let times = usize::from(over.payout.state == PayoutState::Settled);
        assert_eq!(world.received(msat), times, "{after_ms} ms: {over:?}");
        let took = begun.elapsed().as_secs_f64();
        crate::say(&format!(
            "killed {after_ms} ms after a payout: {:?} after {took:.1} s",
            over.payout.state
        ));
    }
    world.wait_until_books_balance().await;
}
