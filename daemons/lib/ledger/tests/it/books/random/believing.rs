//! A treasury that believes its wallet, whatever that says and whenever it is killed.

use super::*;

/// What becomes of an attempt that the wallet was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Arrives,
    Fails,
    /// The process was killed before the call.
    IsNeverSent,
}

/// What a treasury does that believes its wallet, and is killed now and then.
#[derive(Debug, Clone)]
enum Move {
    Open(u8, u64),
    Cancel(usize),
    Prepare(usize),
    Send(usize, Fate),
    Resolve(usize),
    Kill,
}

fn a_move() -> impl Strategy<Value = Move> {
    let which = 0_usize..3;
    let fate = prop_oneof![
        Just(Fate::Arrives),
        Just(Fate::Fails),
        Just(Fate::IsNeverSent)
    ];
    prop_oneof![
        3 => (0_u8..2, 2_u64..5).prop_map(|(payee, part)| Move::Open(payee, part)),
        1 => which.clone().prop_map(Move::Cancel),
        4 => which.clone().prop_map(Move::Prepare),
        4 => (which.clone(), fate).prop_map(|(which, fate)| Move::Send(which, fate)),
        4 => which.prop_map(Move::Resolve),
        1 => Just(Move::Kill),
    ]
}

/// The wallet: what it was really asked for, and whether it has arrived.
type Sent = std::collections::BTreeMap<AttemptId, (PayoutId, Fate)>;

impl World {
    /// Asks the wallet what has become of an attempt, as after a restart.
    async fn resolve(&mut self, which: usize, sent: &Sent) {
        let Some((id, n)) = from_end(&self.attempts, which) else {
            return;
        };
        let books = &self.desk.books;
        let text = || "the wallet says so".to_owned();
        match sent.get(&id) {
            None => drop(done(books.abandoned(id, text(), NOW_MS).await)),
            Some((_, Fate::Arrives)) => {
                books.settled(id, secret(n), Msat(1), NOW_MS).await.unwrap();
            }
            Some((_, Fate::Fails)) => {
                done(books.failed_final(id, text(), text(), NOW_MS, NOW_MS).await);
            }
            Some((_, Fate::IsNeverSent)) => {
                done(books.unknown(id, text(), NOW_MS).await);
                done(books.never_sent(id, text(), NOW_MS).await);
            }
        }
    }

    /// Kill -9, and what is done after the start.
    async fn kill(mut self) -> Self {
        self.desk = self.desk.reopened();
        for attempt in self.desk.books.open_attempts().await.unwrap() {
            let text = || "restarted".to_owned();
            if attempt.state == AttemptState::Prepared {
                self.desk
                    .books
                    .abandoned(attempt.id, text(), NOW_MS)
                    .await
                    .unwrap();
            } else {
                self.desk
                    .books
                    .unknown(attempt.id, text(), NOW_MS)
                    .await
                    .unwrap();
            }
        }
        self
    }
}

async fn believing(moves: &[Move]) {
    let mut world = World::new(in_memory()).await;
    world.desk.payable(1).await;
    let earned = [
        world.desk.balance(alice()).await,
        world.desk.balance(bob()).await,
    ];
    let mut sent = Sent::new();
    let mut arrived: Vec<PayoutId> = Vec::new();
    for a_move in moves {
        match *a_move {
            Move::Open(n, part) => world.open(n, part).await,
            Move::Cancel(which) => world.act(&Event::Cancel(which)).await,
            Move::Prepare(which) => world.prepare(which).await,
            Move::Send(which, fate) => {
                let Some((id, n)) = from_end(&world.attempts, which) else {
                    continue;
                };
                if done(world.desk.dispatch(id).await).is_none() {
                    continue;
                }
                let found = world
                    .desk
                    .books
                    .attempts_by_hash(vec![secret_hash(n)])
                    .await;
                let payout = found.unwrap()[0].payout;
                if fate == Fate::Arrives {
                    assert!(!arrived.contains(&payout), "payout {payout} was paid twice");
                    arrived.push(payout);
                }
                sent.insert(id, (payout, fate));
            }
            Move::Resolve(which) => world.resolve(which, &sent).await,
            Move::Kill => world = world.kill().await,
        }
    }
    for which in 0..world.attempts.len() {
        world.resolve(which, &sent).await;
    }
    let desk = &world.desk;
    desk.check().await;
    assert_eq!(desk.books.totals().await.unwrap().loss, Msat::ZERO);
    for payout in desk
        .books
        .payouts(PayoutFilter::default(), Page::first(1_000))
        .await
        .unwrap()
    {
        let is_settled = payout.state == PayoutState::Settled;
        assert_eq!(is_settled, arrived.contains(&payout.id), "{payout:?}");
    }
    for before in earned {
        let after = desk.balance(before.payee).await;
        let has = after.payable.0 + after.held_by_payouts.0 + after.paid.0;
        assert_eq!(
            has, before.payable.0,
            "nothing is lost, nothing is paid twice"
        );
    }
}

#[test]
fn a_treasury_that_believes_its_wallet_pays_each_payout_once() {
    let run = |moves: Vec<Move>| {
        runtime().block_on(believing(&moves));
        Ok(())
    };
    runner(48).run(&vec(a_move(), 1..100), run).unwrap();
}
