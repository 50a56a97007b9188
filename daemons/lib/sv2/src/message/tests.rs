mod hostile;
mod samples;

use super::*;
use samples::{all, common, extended_share};

fn header(message: &Message) -> Header {
    let (extension_type, message_type, channel_msg) = message.kind();
    Header {
        extension_type,
        channel_msg,
        message_type,
        length: message.payload_len(),
    }
}

fn encode(message: Message) -> (Header, Vec<u8>) {
    let header = header(&message);
    let mut payload = vec![0; header.length];
    message.encode(&mut payload).unwrap();
    (header, payload)
}

#[test]
fn every_message_survives_its_encoding() {
    for (message, ..) in all() {
        let expected = format!("{message:?}");
        let (header, mut payload) = encode(message);
        let decoded = Message::decode(&header, &mut payload).unwrap();
        assert_eq!(format!("{decoded:?}"), expected);
    }
}

#[test]
fn types_and_channel_bits_are_those_of_the_reference() {
    for (message, kind, channel_bit) in all() {
        let name = message.name();
        let header = header(&message);
        assert_eq!(header.message_type, kind, "{name}");
        assert_eq!(header.channel_msg, channel_bit, "{name}");
        let extension = match name {
            _ if name.starts_with("RequestExtensions") => EXTENSION_NEGOTIATION,
            _ if name.starts_with("PresentCredential") => EXTENSION_NODE_CREDENTIAL,
            _ => EXTENSION_CORE,
        };
        assert_eq!(header.extension_type, extension, "{name}");
    }
}

#[test]
fn a_message_that_is_cut_short_is_an_error_and_never_a_panic() {
    for (message, ..) in all() {
        let name = message.name();
        // The last message of this type is optional behind its fields.
        let is_tlv = matches!(&message, Message::SubmitSharesExtended(_, Some(_)));
        let (mut header, payload) = encode(message);
        for length in 0..payload.len().min(400) {
            header.length = length;
            let decoded = Message::decode(&header, &mut payload[..length].to_vec());
            match decoded {
                Err(error) => assert_eq!(error.name, name),
                Ok(decoded) => {
                    // An empty SetupConnection has no protocol number either.
                    assert!(is_tlv || decoded.name() == "Unknown", "{name} of {length}");
                }
            }
        }
    }
}

#[test]
fn a_share_is_read_as_the_reference_reads_it() {
    let (_, payload) = encode(extended_share().into());
    // Every length of the extranonce that its byte can claim, with and without enough bytes for it.
    for length in 0..=u8::MAX {
        for room in [0, 8, 32, 33, 255] {
            let mut payload = payload.clone();
            payload[24] = length;
            payload.resize(25 + room, 0xab);
            let ours = read_submit_shares_extended(&payload).map(|(share, tail)| {
                assert_eq!(share.get_size() + tail.len(), payload.len());
                format!("{share:?}")
            });
            let theirs = mining::SubmitSharesExtended::from_bytes(&mut payload.clone())
                .map(|share| format!("{:?}", share.into_owned()));
            assert_eq!(ours, theirs.ok(), "length {length}, {room} bytes");
        }
    }
}

#[test]
fn bytes_behind_a_message_are_ignored() {
    for (message, ..) in all() {
        let expected = format!("{message:?}");
        let (header, mut payload) = encode(message);
        payload.extend_from_slice(&[0x34, 0x12, 1, 2, 0, 0xaa, 0xbb, 0xff]);
        let decoded = Message::decode(&header, &mut payload).unwrap();
        assert_eq!(format!("{decoded:?}"), expected);
    }
}

#[test]
fn a_setup_for_an_unknown_protocol_is_kept_to_be_answered() {
    let (message, ..) = common().swap_remove(0);
    let (header, mut payload) = encode(message);
    payload[0] = 7;
    match Message::decode(&header, &mut payload).unwrap() {
        Message::Unknown(unknown) => assert!(unknown.is_setup_of_unknown_protocol()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_unknown_message_is_kept_whole() {
    let sent = Unknown {
        extension_type: 0x7fff,
        message_type: 0xff,
        channel_msg: true,
        payload: vec![1, 2, 3, 4, 5],
    };
    let (header, mut payload) = encode(sent.clone().into());
    match Message::decode(&header, &mut payload).unwrap() {
        Message::Unknown(received) => assert_eq!(received, sent),
        other => panic!("{other:?}"),
    }
}
