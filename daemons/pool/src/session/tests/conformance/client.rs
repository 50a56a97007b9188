//! A client that says one thing and listens: its messages, and what it hears in short words.

use crate::sample;
use crate::sample::server::{Options, TestMiner, TestPool};
use hh_mining::Target;
use hh_sv2::Message;
use hh_sv2::message::{
    CloseChannel, OpenExtendedMiningChannel, OpenStandardMiningChannel, RequestExtensions, Seq064K,
    SubmitSharesExtended, SubmitSharesStandard, U256,
};

/// The first channel of a fresh pool, and one that nobody opened.
pub(super) const CHANNEL: u32 = 2;
pub(super) const NO_CHANNEL: u32 = 999;

/// The group of a connection that takes extended jobs.
pub(super) const GROUP: u32 = 1;

/// An extension that nobody has.
pub(super) const NO_EXTENSION: u16 = 0x7abc;

/// The request whose answer is behind everything that was to be heard.
const LAST_REQUEST: u16 = 0xffff;

pub(super) fn text<T: TryFrom<Vec<u8>>>(text: &str) -> T
where
    T::Error: std::fmt::Debug,
{
    text.as_bytes().to_vec().try_into().unwrap()
}

pub(super) fn open_standard() -> OpenStandardMiningChannel {
    OpenStandardMiningChannel {
        request_id: 5,
        user_identity: text("alice.rig1"),
        nominal_hash_rate: 0.0,
        max_target: any_hash(),
    }
}

pub(super) fn open_extended() -> OpenExtendedMiningChannel {
    OpenExtendedMiningChannel {
        request_id: 6,
        user_identity: text("alice.rig1"),
        nominal_hash_rate: 0.0,
        max_target: any_hash(),
        min_extranonce_size: 8,
    }
}

/// A target that any hash meets.
pub(super) fn any_hash() -> U256 {
    Target::MAX.to_le_bytes().into()
}

pub(super) fn close(channel_id: u32) -> CloseChannel {
    CloseChannel {
        channel_id,
        reason_code: text("done"),
    }
}

/// A share that is good on the job `job_id` of an extended channel.
pub(super) fn extended_share(job_id: u32) -> SubmitSharesExtended {
    SubmitSharesExtended {
        channel_id: CHANNEL,
        sequence_number: 7,
        job_id,
        nonce: 1,
        ntime: sample::TIP_TIME,
        version: 0x2000_0000,
        extranonce: vec![1; 8].try_into().unwrap(),
    }
}

/// The same of a standard one.
pub(super) fn standard_share(job_id: u32) -> SubmitSharesStandard {
    SubmitSharesStandard {
        channel_id: CHANNEL,
        sequence_number: 7,
        job_id,
        nonce: 1,
        ntime: sample::TIP_TIME,
        version: 0x2000_0000,
    }
}

pub(super) fn extensions(requested: &[u16]) -> RequestExtensions {
    RequestExtensions {
        request_id: 9,
        requested_extensions: Seq064K::new(requested.to_vec()).unwrap(),
    }
}

/// A message of the pool's: its name, its code, and for when a job is.
pub(super) fn told(message: &Message) -> String {
    let name = message.name();
    let code = match message {
        Message::OpenMiningChannelError(m) => &m.error_code,
        Message::UpdateChannelError(m) => &m.error_code,
        Message::SubmitSharesError(m) => &m.error_code,
        Message::SetCustomMiningJobError(m) => &m.error_code,
        Message::NewMiningJob(m) => return job(name, m.min_ntime.clone().into_inner()),
        Message::NewExtendedMiningJob(m) => return job(name, m.min_ntime.clone().into_inner()),
        _ => return name.to_owned(),
    };
    format!("{name} {}", code.as_utf8_or_hex())
}

fn job(name: &str, min_ntime: Option<u32>) -> String {
    let when = min_ntime.map_or("for the next tip", |_| "for now");
    format!("{name} {when}")
}

/// Sends a message; what is heard of it.
async fn say(miner: &mut TestMiner, message: Message) -> Vec<String> {
    let is_open = matches!(
        &message,
        Message::OpenStandardMiningChannel(_) | Message::OpenExtendedMiningChannel(_)
    );
    miner.send(message).await;
    let mut answer = Vec::new();
    // A channel is there when its binding is on the disk; other messages are answered meanwhile.
    let mut is_answered = !is_open;
    while !is_answered {
        let message = miner.recv().await.expect("an answer to an open");
        answer.push(told(&message));
        is_answered = matches!(
            message,
            Message::SetNewPrevHash(_) | Message::OpenMiningChannelError(_)
        );
    }
    answer.extend(heard(miner).await);
    answer
}

/// What the pool has said so far, and "closed" if it has ended the connection.
pub(super) async fn heard(miner: &mut TestMiner) -> Vec<String> {
    let last = RequestExtensions {
        request_id: LAST_REQUEST,
        ..extensions(&[NO_EXTENSION])
    };
    // Where the pool has closed already there is nobody to send it to.
    if miner.connection.queue(last).is_ok() {
        miner.connection.flush().await.ok();
    }
    let mut heard = Vec::new();
    loop {
        match miner.recv().await {
            Some(Message::RequestExtensionsError(e)) if e.request_id == LAST_REQUEST => break,
            Some(message) => heard.push(told(&message)),
            None => {
                heard.push("closed".to_owned());
                break;
            }
        }
    }
    heard
}

/// A connection of a client with `flags` that has sent `before`, and heard what comes of it; and the job there is.
pub(super) async fn client(pool: &TestPool, flags: u32, before: &[Message]) -> (TestMiner, u32) {
    let mut miner = pool.connect_with(flags).await;
    for message in before {
        say(&mut miner, message.clone()).await;
    }
    let work = pool.board.subscribe().borrow().clone().unwrap();
    (miner, work.job.id)
}

#[track_caller]
pub(super) fn check_heard(case: &str, heard: &[String], expected: &[&str]) {
    assert_eq!(heard, expected, "{case}");
}

/// Each row's message is sent by a client of its own, to a pool of its own, behind the messages of `before`; and what it then
/// hears is the row's.
pub(super) async fn check(flags: u32, before: &[Message], rows: Vec<(Message, &[&str])>) {
    for (message, expected) in rows {
        let pool = TestPool::start(Options::default()).await;
        let (mut miner, _) = client(&pool, flags, before).await;
        let case = format!("{message:?}");
        check_heard(&case, &say(&mut miner, message).await, expected);
        drop(miner);
        pool.stop().await;
    }
}
