//! Thousands of seconds of an aggregated lane, against a second opinion that knows the wire alone.

mod world;

use super::*;
use crate::bridge::sample::{job, tip};
use proptest::prelude::*;
use tokio::time::Instant;
use world::{World, wish};

#[test]
fn every_worker_is_credited_what_it_hashed_whatever_its_speed_and_its_class() {
    for seed in 0..6 {
        let mut world = World::new(seed);
        let mut sessions = Vec::new();
        for (name, hashrate) in [
            ("alice.s21", 2e14),
            ("alice.s9", 1.4e13),
            ("alice.bitaxe", 6e11),
            ("bob", 9e13),
            ("bob.usb", 3e10),
        ] {
            // The lane takes all of them for the same.
            sessions.push(world.join(name, hashrate, 1e13));
        }
        for minute in 1..=120_u64 {
            if minute % 10 == 0 {
                world.new_tip();
            }
            if minute == 60 {
                // Half of the boards fail, and another gets its own back.
                world.miners.get_mut(&sessions[0]).unwrap().hashrate /= 4.0;
                world.miners.get_mut(&sessions[2]).unwrap().hashrate *= 8.0;
            }
            world.run(60);
        }
        world.check_books();
        for &session in &sessions {
            let rate = world.rate(session);
            assert!((8.0..=40.0).contains(&rate), "{rate} shares a minute");
            assert!(world.miners[&session].unsettled.len() < 3);
        }
        assert!(world.books["alice.s21"].shares > 1_000);
        assert!(world.pool.len() <= 10, "{} channels", world.pool.len());
    }
}

#[test]
fn miners_of_one_account_and_speed_share_one_channel_and_the_next_one_where_it_is_full() {
    let mut world = World::new(1);
    for rig in 0..1_500 {
        world.join(&format!("alice.rig{rig}"), 1e13, 1e13);
    }
    assert_eq!(world.pool.len(), 2);
    world.join("bob.rig", 1e13, 1e13);
    assert_eq!(world.pool.len(), 3);
    world.new_tip();
}

#[test]
fn operators_see_each_miner_in_its_class() {
    let mut world = World::new(1);
    assert_eq!(world.classes(), []);
    for (name, hashrate) in [
        ("alice.one", 1e13),
        ("alice.two", 1e13),
        ("bob", 1e13),
        ("bob.usb", 1e10),
    ] {
        world.join(name, hashrate, hashrate);
    }
    let view = |hashrate, accounts, channels, miners| {
        let target = Target::from_hashrate(hashrate, 18.0);
        ClassView {
            difficulty: Some(Class::nearest(target).difficulty()),
            accounts,
            channels,
            miners,
            arriving: 0,
        }
    };
    let expected = [view(1e10, 1, 1, 1), view(1e13, 2, 2, 3)];
    assert_eq!(world.classes(), expected);

    world.end_credential();
    world.run(8);
    world.notice();
    world.run(8);
    let own = ClassView {
        difficulty: None,
        accounts: 2,
        channels: 4,
        miners: 4,
        arriving: 0,
    };
    assert_eq!(world.classes(), [own]);
}

#[test]
fn a_miner_that_leaves_and_comes_back_searches_where_it_has_not_been() {
    let mut world = World::new(1);
    let stays = world.join("alice.one", 1e13, 1e13);
    for _ in 0..100 {
        let session = world.join("alice.two", 1e13, 1e13);
        world.second();
        world.leave(session);
    }
    world.new_tip();
    assert!(world.miners[&stays].job.is_some());
}

#[test]
fn a_bound_of_the_pools_is_learned_and_kept_to() {
    let mut world = World::new(3);
    world.pool_floor = Target::from_difficulty(5000.0);
    let slow = world.join("alice.usb", 1e10, 1e10);
    world.run(60);
    assert_eq!(
        world.miners[&slow].job.unwrap().target,
        Target::from_difficulty(8192.0),
        "the easiest class that the pool gives as asked"
    );
    let opened = world.last_channel_id;
    world.run(600);
    assert_eq!(
        world.last_channel_id, opened,
        "and nothing is tried in vain"
    );
    world.check_books();
}

#[test]
fn while_the_pool_chooses_each_miner_has_a_channel_of_its_own_and_finds_as_many_shares_as_ever() {
    let mut world = World::new(5);
    let mut sessions = Vec::new();
    for rig in 0..40 {
        sessions.push(world.join(&format!("alice.rig{rig}"), 1e13, 1e13));
    }
    sessions.push(world.join("bob.usb", 3e10, 1e13));
    let rates = |world: &World| {
        let rates = sessions.iter().map(|&session| world.rate(session));
        rates.collect::<Vec<_>>()
    };
    world.run(600);
    assert!(world.channels() < 5, "{} channels", world.channels());
    // The pool sees the end some seconds before we do.
    world.end_credential();
    world.run(8);
    world.notice();
    world.run(600);
    assert_eq!(world.channels(), sessions.len());
    for rate in rates(&world) {
        assert!((9.0..=36.0).contains(&rate), "{rate} shares a minute");
    }
    world.check_books();
    let late = world.join("alice.late", 1e13, 1e13);
    world.run(30);
    assert_eq!(world.channels(), sessions.len() + 1);
    world.leave(late);
    assert_eq!(world.channels(), sessions.len());

    world.present_credential();
    world.run(1);
    world.notice();
    world.run(600);
    assert!(world.channels() < 6, "{} channels", world.channels());
    for rate in rates(&world) {
        assert!((8.0..=40.0).contains(&rate), "{rate} shares a minute");
    }
    world.new_tip();
    world.run(100);
    assert!(world.pool.len() < 6, "{} channels", world.pool.len());
    world.check_books();
}

#[test]
fn a_miner_that_comes_between_a_target_and_its_job_works_on_the_old_job_at_the_old_target() {
    let mut aggregate = Aggregate::new(ClassRange::new(None, None), 0);
    aggregate.on_open(1, &wish("alice.one", 1e13));
    let Some(Output::Open { key, wish: asked }) = aggregate.take_outputs().pop() else {
        panic!("a channel is asked for");
    };
    let before = asked.terms.max_target;
    let opened = OpenedChannel {
        route: Route {
            link: 1,
            channel_id: 1,
        },
        target: before,
        extranonce_prefix: [1; 8].into(),
        extranonce_size: 8,
        lease: Box::default(),
    };
    let harder = Target::from_difficulty(2.0 * before.difficulty());
    for event in [
        Event::Opened(Box::new(opened)),
        Event::Job(job(1, None), Instant::now()),
        Event::Tip(tip(1, 1), Instant::now()),
        Event::Target(Box::new(harder)),
    ] {
        aggregate.on_event(key, event);
    }
    aggregate.take_outputs();
    aggregate.on_open(2, &wish("alice.two", 1e13));
    let told: Vec<Event> = aggregate
        .take_outputs()
        .into_iter()
        .filter_map(|output| match output {
            Output::Tell { session: 2, event } => Some(event),
            _ => None,
        })
        .collect();
    let [
        Event::Opened(opened),
        Event::Current(_),
        Event::Target(next),
    ] = &told[..]
    else {
        panic!("{told:?}");
    };
    assert_eq!((opened.target, **next), (before, harder));
}

#[test]
fn channels_that_nobody_is_on_are_closed_once_no_job_of_them_is_alive() {
    let mut world = World::new(4);
    let session = world.join("alice", 1e13, 1e13);
    world.run(1);
    world.leave(session);
    world.run(200);
    assert_eq!(world.pool.len(), 1, "a job of it may be alive");
    world.new_tip();
    world.run(100);
    assert_eq!(world.pool.len(), 0);
}

#[test]
fn a_refused_account_is_refused_and_a_refused_class_moves_nobody() {
    let mut aggregate = Aggregate::new(ClassRange::new(None, None), 0);
    aggregate.on_open(1, &wish("mallory", 1e13));
    let Some(Output::Open { key, .. }) = aggregate.take_outputs().pop() else {
        panic!("a channel is asked for");
    };
    aggregate.on_event(key, Event::Refused("unknown-user".into()));
    let told = aggregate.take_outputs();
    assert!(
        matches!(&told[..], [Output::Tell { session: 1, event: Event::Refused(code) }] if **code == *"unknown-user"),
        "{told:?}"
    );
}

#[derive(Clone, Debug)]
enum Step {
    Run(u64),
    Join {
        rig: u8,
        log2: f64,
    },
    Leave(usize),
    Speed {
        miner: usize,
        log2: f64,
    },
    Tip,
    Lose,
    /// The credential ends, or there is another one.
    EndCredential,
    PresentCredential,
    Notice,
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..120_u64).prop_map(Step::Run),
        3 => (0..6_u8, 34.0..48.0_f64).prop_map(|(rig, log2)| Step::Join { rig, log2 }),
        1 => (0..16_usize).prop_map(Step::Leave),
        2 => (0..16_usize, 34.0..48.0_f64).prop_map(|(miner, log2)| Step::Speed { miner, log2 }),
        2 => Just(Step::Tip),
        1 => Just(Step::Lose),
        1 => Just(Step::EndCredential),
        1 => Just(Step::PresentCredential),
        2 => Just(Step::Notice),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever comes, goes, changes or breaks: no two stays search the same space (checked at each job), a share is worth what
    /// its miner was told, each is settled once or lost with its connection, and the books balance.
    #[test]
    fn nothing_that_happens_costs_a_worker_its_credit(
        seed in any::<u64>(),
        steps in proptest::collection::vec(any_step(), 1..60),
    ) {
        let mut world = World::new(seed);
        for step in steps {
            let sessions: Vec<u64> = world.miners.keys().copied().collect();
            match step {
                Step::Run(seconds) => world.run(seconds),
                Step::Join { rig, log2 } => {
                    let account = if rig % 2 == 0 { "alice" } else { "bob" };
                    world.join(&format!("{account}.rig{rig}"), log2.exp2(), 1e13);
                }
                Step::Leave(nth) => if let Some(&session) = sessions.get(nth) {
                    // A share on its way is credited or lost all the same.
                    world.leave(session);
                },
                Step::Speed { miner, log2 } => if let Some(session) = sessions.get(miner) {
                    world.miners.get_mut(session).unwrap().hashrate = log2.exp2();
                },
                Step::Tip => world.new_tip(),
                Step::Lose => world.lose_link(),
                Step::EndCredential => world.end_credential(),
                Step::PresentCredential => world.present_credential(),
                Step::Notice => world.notice(),
            }
            world.second();
        }
        world.check_books();
        for miner in world.miners.values() {
            prop_assert!(miner.unsettled.values().all(|route| route.link == world.link));
        }
    }
}
