//! SubmitSharesStandard and SubmitSharesExtended: the code of every fault, and who is credited.

use super::client::{
    CHANNEL, GROUP, NO_CHANNEL, client, extended_share, extensions, open_extended, standard_share,
    told,
};
use crate::directory::unix_ms;
use crate::sample;
use crate::sample::server::{Options, TestPool};
use crate::share_log::Record;
use hh_sv2::Message;
use hh_sv2::message::SubmitSharesExtended;

#[tokio::test]
async fn every_fault_of_a_share_has_its_code() {
    let pool = TestPool::start(Options::default()).await;
    let (mut miner, job_id) = client(&pool, 0, &[open_extended().into()]).await;
    let share = |change: fn(&mut SubmitSharesExtended)| -> Message {
        let mut share = extended_share(job_id);
        change(&mut share);
        share.into()
    };
    let rows: [(Message, &str); 14] = [
        (share(|_| {}), "good"),
        (share(|_| {}), "duplicate-share"),
        // What BIP323 lets a miner roll, and a bit beside it.
        (share(|share| share.version = 0x3fff_ffe0), "good"),
        (
            share(|share| share.version = 0x2000_0001),
            "invalid-non-rollable-version-bit",
        ),
        // The time of the tip is the least; our clock and two hours, nearly, are the most.
        (
            share(|share| share.ntime = sample::TIP_TIME - 1),
            "invalid-share",
        ),
        (share(|share| share.ntime = now() + 6_900), "good"),
        (share(|share| share.ntime = now() + 7_300), "invalid-share"),
        (share(|share| share.job_id += 1), "invalid-job-id"),
        (share(|share| share.job_id -= 1), "stale-share"),
        (
            share(|share| share.channel_id = NO_CHANNEL),
            "invalid-channel-id",
        ),
        (
            share(|share| share.channel_id = GROUP),
            "invalid-channel-id",
        ),
        (
            share(|share| share.extranonce = vec![1; 7].try_into().unwrap()),
            "bad-extranonce-size",
        ),
        (
            share(|share| share.extranonce = vec![1; 32].try_into().unwrap()),
            "bad-extranonce-size",
        ),
        (standard_share(job_id).into(), "invalid-channel-id"),
    ];
    for (message, expected) in rows {
        let case = format!("{message:?}");
        miner.send(message).await;
        let answer = told(&miner.recv().await.unwrap());
        match expected {
            "good" => assert_eq!(answer, "SubmitSharesSuccess", "{case}"),
            code => assert_eq!(answer, format!("SubmitSharesError {code}"), "{case}"),
        }
    }
}

fn now() -> u32 {
    u32::try_from(unix_ms() / 1000).unwrap()
}

#[tokio::test]
async fn one_success_tells_how_many_shares_and_how_much_it_settles() {
    let pool = TestPool::start(Options::default()).await;
    let (mut miner, job_id) = client(&pool, 0, &[open_extended().into()]).await;
    for sequence_number in 1..=20 {
        let share = SubmitSharesExtended {
            sequence_number,
            nonce: sequence_number,
            ..extended_share(job_id)
        };
        miner.connection.queue(Message::from(share)).unwrap();
    }
    miner.connection.flush().await.unwrap();
    let (mut settled, mut last) = (0, 0);
    while settled < 20 {
        let success = miner.verdict().await.unwrap();
        settled += success.new_submits_accepted_count;
        assert!(success.last_sequence_number > last);
        last = success.last_sequence_number;
        // Each is of a difficulty far below 1.
        assert_eq!((success.channel_id, success.new_shares_sum), (CHANNEL, 0));
    }
    assert_eq!((settled, last), (20, 20));
}

#[tokio::test]
async fn a_worker_is_named_only_where_that_was_negotiated_and_never_another_account() {
    let pool = TestPool::start(Options::default()).await;
    for is_negotiated in [false, true] {
        let (mut miner, job_id) = client(&pool, 0, &[]).await;
        if is_negotiated {
            miner.send(extensions(&[2])).await;
            let answer = miner.recv().await.unwrap();
            assert_eq!(told(&answer), "RequestExtensionsSuccess");
        }
        let channel = miner.open("alice.rig1").await.unwrap();
        for (nonce, worker) in (0..).zip(["rig2", "mallory.rig3", "no name: \u{7}"]) {
            let share = SubmitSharesExtended {
                channel_id: channel.id,
                nonce,
                ..extended_share(job_id)
            };
            let named = Message::SubmitSharesExtended(share, Some(worker.to_owned()));
            miner.send(named).await;
            miner.verdict().await.unwrap();
        }
    }
    let mut credited = Vec::new();
    for record in pool.logged().await {
        if let Record::Share(share) = record {
            assert_eq!(share.origin.account(), "alice");
            credited.push(share.origin.worker().to_owned());
        }
    }
    let negotiated = ["rig2", "mallory.rig3", "rig1"];
    assert_eq!(credited[..3], ["rig1"; 3]);
    assert_eq!(credited[3..], negotiated);
}
