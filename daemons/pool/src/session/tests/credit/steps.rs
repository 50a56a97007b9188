//! What can happen, and how often.

use proptest::prelude::*;
use proptest::sample::Index;

/// What happens next.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Connect {
        standard_jobs: bool,
    },
    Disconnect(Index),
    Open {
        miner: Index,
        is_standard: bool,
        hardness: u8,
    },
    Close {
        miner: Index,
        channel: Index,
    },
    Update {
        miner: Index,
        channel: Index,
        hardness: u8,
    },
    /// A template on the tip there is. The same content may come again.
    Template {
        content: u8,
    },
    /// A new tip: a block, a reorganization, or another provider on the same block.
    Tip {
        content: u8,
        block: u8,
    },
    Submit {
        miner: Index,
        shots: Vec<Shot>,
    },
    /// A share that was sent before, as it was or on a channel of this connection.
    Replay {
        miner: Index,
        share: Index,
        channel: Option<Index>,
        newest_job: bool,
    },
    /// The payload of a share, with some of its bytes changed, cut off or added.
    Mutilate {
        miner: Index,
        shot: Shot,
        damage: Vec<(Index, u8)>,
        keep: Option<Index>,
        tail: Vec<u8>,
    },
    Restart {
        killed: bool,
    },
}

/// A share, made for whatever the miner knows when it is sent.
#[derive(Clone, Debug)]
pub(super) struct Shot {
    pub(super) channel: Index,
    pub(super) job: Aim,
    pub(super) is_ground: bool,
    pub(super) nonce: u8,
    pub(super) ntime: Ntime,
    pub(super) version: Bits,
    pub(super) extranonce: u8,
    pub(super) wrong: Wrong,
}

#[derive(Clone, Debug)]
pub(super) enum Aim {
    Newest,
    Valid(Index),
    Stale(Index),
    Unknown,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Ntime {
    Early,
    Least,
    Rolled,
    Ahead,
    TooFarAhead,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Bits {
    AsSent,
    Rolled,
    AllRolled,
    NotRollable,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Wrong {
    Nothing,
    ExtranonceSize(u8),
    Kind,
    Channel,
}

pub(super) fn any_shot() -> impl Strategy<Value = Shot> {
    let job = prop_oneof![
        6 => Just(Aim::Newest),
        2 => any::<Index>().prop_map(Aim::Valid),
        1 => any::<Index>().prop_map(Aim::Stale),
        1 => Just(Aim::Unknown),
    ];
    let ntime = prop_oneof![
        6 => Just(Ntime::Least),
        2 => Just(Ntime::Rolled),
        1 => Just(Ntime::Ahead),
        1 => Just(Ntime::Early),
        1 => Just(Ntime::TooFarAhead),
    ];
    let version = prop_oneof![
        6 => Just(Bits::AsSent),
        2 => Just(Bits::Rolled),
        1 => Just(Bits::AllRolled),
        1 => Just(Bits::NotRollable),
    ];
    let wrong = prop_oneof![
        12 => Just(Wrong::Nothing),
        1 => prop_oneof![0_u8..8, 9_u8..33].prop_map(Wrong::ExtranonceSize),
        1 => Just(Wrong::Kind),
        1 => Just(Wrong::Channel),
    ];
    // Few values each, so that the same header comes up again.
    (
        any::<Index>(),
        job,
        any::<bool>(),
        0_u8..4,
        ntime,
        version,
        0_u8..2,
        wrong,
    )
        .prop_map(
            |(channel, job, is_ground, nonce, ntime, version, extranonce, wrong)| Shot {
                channel,
                job,
                is_ground,
                nonce,
                ntime,
                version,
                extranonce,
                wrong,
            },
        )
}

pub(super) fn any_step() -> impl Strategy<Value = Step> {
    let index = any::<Index>;
    let damage = prop::collection::vec((index(), any::<u8>()), 0..4);
    prop_oneof![
        2 => any::<bool>().prop_map(|standard_jobs| Step::Connect { standard_jobs }),
        1 => index().prop_map(Step::Disconnect),
        4 => (index(), any::<bool>(), any::<u8>())
            .prop_map(|(miner, is_standard, hardness)| Step::Open { miner, is_standard, hardness }),
        1 => (index(), index()).prop_map(|(miner, channel)| Step::Close { miner, channel }),
        2 => (index(), index(), any::<u8>())
            .prop_map(|(miner, channel, hardness)| Step::Update { miner, channel, hardness }),
        3 => (0_u8..2).prop_map(|content| Step::Template { content }),
        3 => (0_u8..2, 0_u8..2).prop_map(|(content, block)| Step::Tip { content, block }),
        10 => (index(), prop::collection::vec(any_shot(), 1..8))
            .prop_map(|(miner, shots)| Step::Submit { miner, shots }),
        4 => (index(), index(), proptest::option::of(index()), any::<bool>())
            .prop_map(|(miner, share, channel, newest_job)| Step::Replay { miner, share, channel, newest_job }),
        2 => (index(), any_shot(), damage, proptest::option::of(index()), prop::collection::vec(any::<u8>(), 0..12))
            .prop_map(|(miner, shot, damage, keep, tail)| Step::Mutilate { miner, shot, damage, keep, tail }),
        1 => any::<bool>().prop_map(|killed| Step::Restart { killed }),
    ]
}
