//! How long a payout takes, from its beginning to its receipt.

use super::world::World;

/// As many as the bar asks for.
const PAYOUTS: u32 = 100;

/// Of each, in msat.
const AMOUNT_MSAT: u64 = 25_000_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_payouts_take_less_than_a_second_on_average_and_none_takes_thirty() {
    let world = World::with_dues().await;
    let client = world.treasury.client().await;
    let mut seconds = Vec::new();
    for _ in 0..PAYOUTS {
        let payout = world.submit(&client, AMOUNT_MSAT).await;
        let settled = world.treasury.wait_until_settled(payout).await;
        let settled_at = settled.settled_at.expect("it is settled");
        let took = settled_at.duration_since(settled.created_at);
        seconds.push(took.as_secs_f64());
    }
    let mean = seconds.iter().sum::<f64>() / f64::from(PAYOUTS);
    let longest = seconds.iter().copied().fold(0.0, f64::max);
    crate::say(&format!(
        "{PAYOUTS} payouts: mean {mean:.3} s, longest {longest:.3} s"
    ));
    assert!(mean < 1.0, "mean {mean} s");
    assert!(longest < 30.0, "longest {longest} s");
    assert_eq!(world.received(AMOUNT_MSAT), PAYOUTS as usize);
}
