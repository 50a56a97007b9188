use proptest::{collection::vec, prelude::*};
use stratum_core::noise_sv2::{Initiator, NoiseEngine, Responder};

use super::*;
use crate::{
    AuthoritySecretKey,
    message::{SubmitSharesSuccess, Unknown},
};

const NO_LIMIT: usize = usize::MAX;

fn engines() -> (NoiseEngine, NoiseEngine) {
    let secret = AuthoritySecretKey::generate();
    let public = secret.public_key().to_bytes();
    let hour = std::time::Duration::from_secs(3_600);
    let mut initiator = Initiator::from_raw_k(public).unwrap();
    let mut responder = Responder::from_authority_kp(&public, &secret.to_bytes(), hour).unwrap();
    let act_1 = initiator.step_0().unwrap();
    let (act_2, server) = responder.step_1(act_1).unwrap();
    (initiator.step_2(act_2).unwrap(), server)
}

fn pair(max_frame_bytes: usize, max_queued_bytes: usize) -> (FrameWriter, FrameReader) {
    let (client, server) = engines();
    (
        FrameWriter::new(client.into_split().0, max_queued_bytes),
        FrameReader::new(server.into_split().1, max_frame_bytes),
    )
}

fn unknown(payload: Vec<u8>) -> Unknown {
    Unknown {
        extension_type: 0x4001,
        message_type: 0xfe,
        channel_msg: true,
        payload,
    }
}

fn counting(length: usize) -> Vec<u8> {
    (0..length).map(|i| i.to_le_bytes()[0]).collect()
}

/// Gives `reader` the bytes that `writer` has, at most `piece` at a time, and collects what comes out.
fn transfer(writer: &mut FrameWriter, reader: &mut FrameReader, pieces: &[usize]) -> Vec<Message> {
    let mut received = Vec::new();
    let mut pieces = pieces.iter().cycle();
    loop {
        while let Some(message) = reader.next().unwrap() {
            received.push(message);
        }
        let pending = writer.pending();
        if pending.is_empty() {
            reader.release();
            return received;
        }
        let buffer = reader.buffer();
        let room = buffer.capacity() - buffer.len();
        assert!(room > 0);
        let piece = (*pieces.next().unwrap()).clamp(1, room.min(pending.len()));
        buffer.extend_from_slice(&pending[..piece]);
        writer.advance(piece);
    }
}

#[track_caller]
fn check_round_trip(length: usize, wire: usize) {
    let (mut writer, mut reader) = pair(NO_LIMIT, NO_LIMIT);
    let sent = unknown(counting(length));
    writer.push(sent.clone().into()).unwrap();
    writer.push(unknown(vec![1]).into()).unwrap();
    assert_eq!(writer.pending().len(), wire + 22 + 17, "length {length}");
    let received = transfer(&mut writer, &mut reader, &[NO_LIMIT]);
    let [Message::Unknown(first), Message::Unknown(second)] = &received[..] else {
        panic!("{received:?}");
    };
    assert_eq!(*first, sent, "length {length}");
    assert_eq!(*second, unknown(vec![1]), "after length {length}");
}

#[test]
fn payloads_are_cut_into_chunks_as_the_specification_says() {
    check_round_trip(0, 22);
    check_round_trip(1, 22 + 17);
    check_round_trip(65_518, 22 + 65_534);
    check_round_trip(65_519, 22 + 65_535);
    check_round_trip(65_520, 22 + 65_535 + 17);
    check_round_trip(2 * 65_519, 22 + 2 * 65_535);
    check_round_trip(2 * 65_519 + 1, 22 + 2 * 65_535 + 17);
    check_round_trip(200_000, 22 + 200_000 + 4 * 16);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn any_frames_survive_any_splitting_of_the_stream(
        payloads in vec(prop_oneof![
            8 => vec(any::<u8>(), 0..300),
            1 => (60_000_usize..140_000).prop_map(counting),
        ], 1..12),
        pieces in vec(prop_oneof![3 => 1_usize..60, 1 => 1_usize..70_000], 1..40),
    ) {
        let (mut writer, mut reader) = pair(NO_LIMIT, NO_LIMIT);
        for payload in &payloads {
            writer.push(unknown(payload.clone()).into()).unwrap();
        }
        let received: Vec<_> = transfer(&mut writer, &mut reader, &pieces)
            .into_iter()
            .map(|message| match message {
                Message::Unknown(unknown) => unknown,
                other => panic!("{other:?}"),
            })
            .collect();
        let sent: Vec<_> = payloads.into_iter().map(unknown).collect();
        prop_assert_eq!(received, sent);
        prop_assert!(reader.buffer.capacity() <= IDLE_BYTES);
        prop_assert!(writer.buffer.capacity() <= IDLE_BYTES);
    }

    #[test]
    fn random_bytes_are_refused_without_a_panic(bytes in vec(any::<u8>(), 22..400)) {
        let (_, mut reader) = pair(NO_LIMIT, NO_LIMIT);
        reader.buffer().extend_from_slice(&bytes);
        prop_assert!(matches!(reader.next(), Err(FrameError::Undecryptable)));
    }

    /// A peer that knows how to encrypt may say anything in a frame: it is a message or an error, and the frame after it is
    /// read where the error is one of the message alone.
    #[test]
    fn whatever_is_in_a_frame_the_reader_goes_on_behind_it(
        frames in vec((0_u16..4, any::<u8>(), any::<bool>(), vec(any::<u8>(), 0..200)), 1..20),
        pieces in vec(1_usize..90, 1..10),
    ) {
        let (mut writer, mut reader) = pair(NO_LIMIT, NO_LIMIT);
        for (extension_type, message_type, channel_msg, payload) in &frames {
            let (extension_type, message_type, channel_msg) = (*extension_type, *message_type, *channel_msg);
            writer.push(Unknown { extension_type, message_type, channel_msg, payload: payload.clone() }.into()).unwrap();
        }
        writer.push(unknown(counting(5)).into()).unwrap();
        let mut read = Vec::new();
        let mut pieces = pieces.iter().cycle();
        while read.len() <= frames.len() {
            match reader.next() {
                Ok(Some(message)) => read.push(Some(message)),
                Err(FrameError::Message(_)) => read.push(None),
                Err(error) => prop_assert!(false, "{}", error),
                Ok(None) => {
                    let pending = writer.pending();
                    let piece = (*pieces.next().unwrap()).min(pending.len());
                    prop_assert!(piece > 0, "the reader waits for more than was written");
                    reader.buffer().extend_from_slice(&pending[..piece]);
                    writer.advance(piece);
                }
            }
        }
        let is_last = matches!(read.last(), Some(Some(Message::Unknown(last))) if *last == unknown(counting(5)));
        prop_assert!(is_last, "{:?}", read.last());
    }

    #[test]
    fn a_changed_byte_anywhere_is_noticed(at in 0_usize..(22 + 40 + 16), bit in 0_u8..8) {
        let (mut writer, mut reader) = pair(NO_LIMIT, NO_LIMIT);
        writer.push(unknown(counting(40)).into()).unwrap();
        let mut wire = writer.pending().to_vec();
        wire[at] ^= 1 << bit;
        reader.buffer().extend_from_slice(&wire);
        prop_assert!(matches!(reader.next(), Err(FrameError::Undecryptable)));
    }
}

#[test]
fn a_frame_over_the_limit_is_refused_when_only_its_header_has_come() {
    let (mut writer, mut reader) = pair(1_000, NO_LIMIT);
    writer.push(unknown(counting(1_000)).into()).unwrap();
    writer.push(unknown(counting(1_001)).into()).unwrap();
    let wire = writer.pending();
    reader.buffer().extend_from_slice(&wire[..22 + 1_016 + 22]);
    assert!(reader.next().unwrap().is_some());
    assert!(matches!(
        reader.next(),
        Err(FrameError::TooLarge {
            length: 1_001,
            max: 1_000
        })
    ));
}

#[test]
fn an_announced_frame_reserves_little_until_its_bytes_come() {
    let (mut writer, mut reader) = pair(NO_LIMIT, NO_LIMIT);
    writer.push(unknown(vec![0; 16_000_000]).into()).unwrap();
    reader.buffer().extend_from_slice(&writer.pending()[..22]);
    assert!(reader.next().unwrap().is_none());
    assert!(reader.buffer().capacity() <= 2 * READ_BYTES_MAX);
}

#[test]
fn a_full_queue_refuses_a_message_and_keeps_the_rest() {
    let (mut writer, mut reader) = pair(NO_LIMIT, 200);
    writer.push(unknown(counting(100)).into()).unwrap();
    let refused = writer.push(unknown(counting(100)).into());
    assert!(matches!(
        refused,
        Err(FrameError::QueueFull {
            queued: 276,
            max: 200
        })
    ));
    writer.push(unknown(counting(1)).into()).unwrap();
    assert_eq!(transfer(&mut writer, &mut reader, &[9]).len(), 2);
}

#[test]
fn a_message_larger_than_a_frame_is_not_encoded() {
    let error = Encoded::new(unknown(vec![0; PAYLOAD_BYTES_MAX + 1])).unwrap_err();
    assert!(error.to_string().contains("at most 16777215"), "{error}");
}

#[test]
fn an_encoded_message_is_the_same_frame_and_takes_another_channel_id() {
    let message = SubmitSharesSuccess {
        channel_id: 1,
        last_sequence_number: 2,
        new_submits_accepted_count: 3,
        new_shares_sum: 4,
    };
    let encoded = Encoded::new(message.clone()).unwrap();
    let (mut writer, mut reader) = pair(NO_LIMIT, NO_LIMIT);
    writer.push_encoded(&encoded, None).unwrap();
    writer.push_encoded(&encoded, Some(0xa0b0_c0d0)).unwrap();
    let received = transfer(&mut writer, &mut reader, &[NO_LIMIT]);
    let ids: Vec<_> = received
        .into_iter()
        .map(|received| match received {
            Message::SubmitSharesSuccess(m) => {
                assert_eq!(m.last_sequence_number, 2);
                assert_eq!(m.new_shares_sum, 4);
                m.channel_id
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(ids, [1, 0xa0b0_c0d0]);
}

#[test]
fn a_burst_lets_the_read_buffer_grow_and_shrink_again() {
    let (mut writer, mut reader) = pair(NO_LIMIT, NO_LIMIT);
    for _ in 0..5_000 {
        writer.push(unknown(counting(60)).into()).unwrap();
    }
    let mut largest = 0;
    while !writer.pending().is_empty() {
        let buffer = reader.buffer();
        largest = largest.max(buffer.capacity());
        let room = (buffer.capacity() - buffer.len()).min(writer.pending().len());
        buffer.extend_from_slice(&writer.pending()[..room]);
        writer.advance(room);
        while reader.next().unwrap().is_some() {}
    }
    assert!((READ_BYTES_MAX..=2 * READ_BYTES_MAX).contains(&largest));
    reader.release();
    assert!(reader.buffer.capacity() <= IDLE_BYTES);
}

/// Without it a small frame costs four times as much (`.cargo/config.toml`); an exported RUSTFLAGS drops it silently.
#[test]
fn the_build_has_the_flag_that_makes_small_frames_cheap() {
    let is_set = cfg!(poly1305_force_soft);
    assert!(is_set, "build without RUSTFLAGS in the environment");
}
