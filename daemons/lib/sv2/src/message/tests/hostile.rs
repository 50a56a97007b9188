//! Payloads of peers that mean no good: what comes of a message when its bytes are changed, cut, moved or added to. A fuzz
//! run that is bounded; `HH_TEST_ALL` makes it long.

use super::*;
use crate::message::tests::samples::all;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use std::sync::LazyLock;

fn cases(few: u32, many: u32) -> u32 {
    let all = std::env::var_os("HH_TEST_ALL").is_some();
    if all { many } else { few }
}

/// A frame of each message.
static CORPUS: LazyLock<Vec<(Header, Vec<u8>)>> = LazyLock::new(|| {
    all()
        .into_iter()
        .map(|(message, ..)| encode(message))
        .collect()
});

/// One change to a payload.
#[derive(Clone, Debug)]
enum Change {
    Set {
        at: Index,
        byte: u8,
    },
    /// A number that is near a limit: what lengths and counts are broken with.
    Number {
        at: Index,
        value: u32,
        bytes: usize,
    },
    Insert {
        at: Index,
        bytes: Vec<u8>,
    },
    Remove {
        at: Index,
        count: usize,
    },
    /// A stretch of another message.
    Splice {
        at: Index,
        other: Index,
        from: Index,
        count: usize,
    },
    Cut {
        at: Index,
    },
}

fn any_change() -> impl Strategy<Value = Change> {
    let index = any::<Index>;
    let limit = prop_oneof![
        Just(0_u32),
        Just(1),
        Just(0x7f),
        Just(0x80),
        Just(0xff),
        Just(0x100),
        Just(0xffff),
        Just(0x1_0000),
        Just(0xff_ffff),
        Just(u32::MAX),
        any::<u32>(),
    ];
    prop_oneof![
        4 => (index(), any::<u8>()).prop_map(|(at, byte)| Change::Set { at, byte }),
        3 => (index(), limit, 1_usize..=4).prop_map(|(at, value, bytes)| Change::Number { at, value, bytes }),
        1 => (index(), vec(any::<u8>(), 1..40)).prop_map(|(at, bytes)| Change::Insert { at, bytes }),
        1 => (index(), 1_usize..40).prop_map(|(at, count)| Change::Remove { at, count }),
        1 => (index(), index(), index(), 1_usize..80)
            .prop_map(|(at, other, from, count)| Change::Splice { at, other, from, count }),
        1 => index().prop_map(|at| Change::Cut { at }),
    ]
}

fn change(payload: &mut Vec<u8>, change: &Change, corpus: &[(Header, Vec<u8>)]) {
    let length = payload.len();
    match change {
        Change::Set { at, byte } => {
            if let Some(place) = payload.get_mut(at.index(length.max(1))) {
                *place = *byte;
            }
        }
        Change::Number { at, value, bytes } => {
            let at = at.index(length + 1);
            let value = &value.to_le_bytes()[..*bytes];
            payload.splice(at..length.min(at + bytes), value.iter().copied());
        }
        Change::Insert { at, bytes } => {
            let at = at.index(length + 1);
            payload.splice(at..at, bytes.iter().copied());
        }
        Change::Remove { at, count } => {
            let at = at.index(length + 1);
            payload.drain(at..length.min(at + count));
        }
        Change::Splice {
            at,
            other,
            from,
            count,
        } => {
            let (_, other) = other.get(corpus);
            let from = from.index(other.len().max(1));
            let piece = other.get(from..).unwrap_or_default();
            let at = at.index(length + 1);
            payload.splice(at..at, piece.iter().take(*count).copied());
        }
        Change::Cut { at } => payload.truncate(at.index(length + 1)),
    }
}

/// Decodes what a peer could have sent. What is understood can be encoded, and is then understood alike.
fn check(mut header: Header, mut payload: Vec<u8>) {
    header.length = payload.len();
    let Ok(message) = Message::decode(&header, &mut payload) else {
        return;
    };
    let expected = format!("{message:?}");
    // A float that is no number has no equal, and more than one encoding.
    if expected.contains("NaN") {
        return;
    }
    // A `user_identity` longer than a TLV can be does not come from one.
    let (header, mut payload) = encode(message);
    let again = Message::decode(&header, &mut payload).expect("our own encoding");
    assert_eq!(format!("{again:?}"), expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(4_000, 400_000)))]

    #[test]
    fn a_message_that_was_tampered_with_is_another_message_or_an_error(
        which in any::<Index>(), kind in proptest::option::weighted(0.2, any::<Index>()),
        changes in vec(any_change(), 1..6),
    ) {
        let corpus = &CORPUS[..];
        let (mut header, mut payload) = which.get(corpus).clone();
        for one in &changes {
            change(&mut payload, one, corpus);
        }
        if let Some(kind) = kind {
            header = kind.get(corpus).0;
        }
        check(header, payload);
    }

    #[test]
    fn arbitrary_bytes_of_any_type_are_a_message_or_an_error(
        extension_type in prop_oneof![3 => 0_u16..3, 1 => Just(EXTENSION_NODE_CREDENTIAL), 1 => 0_u16..0x8000], message_type in any::<u8>(),
        channel_msg in any::<bool>(), payload in vec(any::<u8>(), 0..400),
    ) {
        check(Header { extension_type, channel_msg, message_type, length: 0 }, payload);
    }
}
