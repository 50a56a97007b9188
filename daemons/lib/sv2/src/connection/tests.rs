use std::time::Duration;

use proptest::{collection::vec, prelude::*};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

use super::*;
use crate::{
    AuthoritySecretKey,
    authority::CERTIFICATE_VALIDITY,
    message::{self, Unknown},
};

/// Deadlines that a test can wait for.
const QUICK: Limits = Limits {
    handshake_deadline: Duration::from_millis(300),
    write_deadline: Duration::from_millis(300),
    ..Limits::SERVER
};

fn authority() -> Authority {
    Authority::new(AuthoritySecretKey::generate(), CERTIFICATE_VALIDITY)
}

async fn sockets() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let (client, server) = tokio::join!(client, listener.accept());
    (client.unwrap(), server.unwrap().0)
}

async fn handshake(
    authority: &Authority,
    expected: Option<&AuthorityPublicKey>,
) -> (
    Result<Connection, ConnectionError>,
    Result<Connection, ConnectionError>,
) {
    let (client, server) = sockets().await;
    tokio::join!(
        Connection::initiate(client, expected, &Limits::CLIENT),
        Connection::accept(server, authority, &Limits::SERVER),
    )
}

async fn pair() -> (Connection, Connection) {
    let authority = authority();
    let (client, server) = handshake(&authority, Some(&authority.public_key())).await;
    (client.unwrap(), server.unwrap())
}

fn unknown(length: usize) -> Unknown {
    Unknown {
        extension_type: 0x4001,
        message_type: 9,
        channel_msg: false,
        payload: (0..length).map(|i| i.to_le_bytes()[0]).collect(),
    }
}

async fn recv_unknown(connection: &mut Connection) -> Unknown {
    match connection.recv().await.unwrap() {
        Message::Unknown(unknown) => unknown,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn messages_go_both_ways_and_many_in_one_write() {
    let (mut client, mut server) = pair().await;
    for sequence_number in 0..100 {
        let share = message::SubmitSharesStandard {
            channel_id: 1,
            sequence_number,
            job_id: 2,
            nonce: 3,
            ntime: 4,
            version: 5,
        };
        client.queue(share).unwrap();
    }
    assert!(client.has_queued());
    client.flush().await.unwrap();
    assert!(!client.has_queued());
    for expected in 0..100 {
        let Message::SubmitSharesStandard(share) = server.recv().await.unwrap() else {
            panic!("another message");
        };
        assert_eq!(share.sequence_number, expected);
    }
    assert!(server.try_recv().unwrap().is_none());
    server.queue(unknown(3)).unwrap();
    server.flush().await.unwrap();
    assert_eq!(recv_unknown(&mut client).await, unknown(3));
}

#[tokio::test]
async fn a_frame_of_several_chunks_arrives_whole() {
    let (mut client, mut server) = pair().await;
    let transactions: Vec<_> = (0..50)
        .map(|i| vec![i; 4_000].try_into().unwrap())
        .collect();
    let sent = message::RequestTransactionDataSuccess {
        template_id: 9,
        excess_data: Vec::new().try_into().unwrap(),
        transaction_list: message::Seq064K::new(transactions).unwrap(),
    };
    server.queue(sent.clone()).unwrap();
    let (flushed, received) = tokio::join!(server.flush(), client.recv());
    flushed.unwrap();
    match received.unwrap() {
        Message::RequestTransactionDataSuccess(received) => assert_eq!(received, sent),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_frame_over_the_limit_is_refused_and_the_error_says_how_large() {
    let (mut client, mut server) = pair().await;
    client
        .queue(unknown(FRAME_BYTES_MAX_FROM_CLIENT + 1))
        .unwrap();
    let (_flushed, received) = tokio::join!(client.flush(), server.recv());
    let error = received.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "{}: frame of 81921 bytes, at most 81920 are taken",
            server.peer()
        )
    );
}

#[tokio::test]
async fn a_dropped_recv_loses_nothing() {
    let (mut client, mut server) = pair().await;
    let messages = 200;
    let send = async {
        for length in 0..messages {
            client.queue(unknown(length * 7)).unwrap();
            while client.has_queued() {
                // One byte at a time, so that most reads end within a frame.
                let written = client.stream.write(&client.writer.pending()[..1]).await;
                client.writer.advance(written.unwrap());
                if client.writer.pending().len() % 61 == 0 {
                    tokio::task::yield_now().await;
                }
            }
        }
    };
    let receive = async {
        let mut received = 0;
        while received < messages {
            tokio::select! {
                biased;
                message = server.recv() => {
                    let Message::Unknown(message) = message.unwrap() else { panic!("another") };
                    assert_eq!(message, unknown(received * 7));
                    received += 1;
                }
                () = tokio::task::yield_now() => {}
            }
        }
    };
    tokio::join!(send, receive);
}

#[tokio::test]
async fn the_wrong_authority_key_is_named() {
    let configured = AuthoritySecretKey::generate().public_key();
    let (client, server) = handshake(&authority(), Some(&configured)).await;
    let error = client.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("authority key is not the configured one"),
        "{text}"
    );
    assert!(text.contains(&configured.to_string()), "{text}");
    // The server sees no more than a client that goes away.
    let gone = server.unwrap().recv().await.unwrap_err();
    assert!(matches!(gone, ConnectionError::Closed { .. }), "{gone}");
}

#[tokio::test]
async fn without_an_authority_key_anybody_is_the_server() {
    let (client, server) = handshake(&authority(), None).await;
    let (mut client, mut server) = (client.unwrap(), server.unwrap());
    client.queue(unknown(5)).unwrap();
    client.flush().await.unwrap();
    assert_eq!(recv_unknown(&mut server).await, unknown(5));
}

/// A server that signs a certificate for another time.
async fn respond_at(mut stream: TcpStream, secret: &AuthoritySecretKey, now: u32, valid_s: u64) {
    let mut act_1 = [0; 64];
    stream.read_exact(&mut act_1).await.unwrap();
    let public = secret.public_key().to_bytes();
    let (act_2, _) = stratum_core::noise_sv2::Responder::from_authority_kp(
        &public,
        &secret.to_bytes(),
        Duration::from_secs(valid_s),
    )
    .unwrap()
    .step_1_with_now_rng(act_1, now, &mut bitcoin::secp256k1::rand::thread_rng())
    .unwrap();
    stream.write_all(&act_2).await.unwrap();
}

#[track_caller]
fn check_certificate_time(error: &ConnectionError, from: u32, after: u32) {
    match error {
        ConnectionError::CertificateTime {
            valid_from,
            not_valid_after,
            ..
        } => assert_eq!((*valid_from, *not_valid_after), (from, after)),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_certificate_for_another_time_is_refused_with_its_times() {
    let secret = AuthoritySecretKey::generate();
    let key = secret.public_key();
    for (now, valid_s) in [(1_000, 500), (4_000_000_000, 500)] {
        let (client, server) = sockets().await;
        let (client, ()) = tokio::join!(
            Connection::initiate(client, Some(&key), &Limits::CLIENT),
            respond_at(server, &secret, now, valid_s),
        );
        check_certificate_time(&client.unwrap_err(), now, now + 500);
    }
}

#[tokio::test]
async fn certificates_allow_for_clocks_that_are_half_an_hour_off() {
    let authority = authority();
    let key = authority.public_key().to_bytes();
    let now = u32::try_from(
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap()
            .as_secs(),
    )
    .unwrap();
    for clock in [now - 1_800, now + 1_800] {
        let (mut client, server) = sockets().await;
        let initiate = async {
            let mut initiator = stratum_core::noise_sv2::Initiator::from_raw_k(key).unwrap();
            client
                .write_all(&initiator.step_0().unwrap())
                .await
                .unwrap();
            let mut act_2 = [0; 234];
            client.read_exact(&mut act_2).await.unwrap();
            initiator.step_2_with_now(act_2, clock).map(|_| ())
        };
        let (client, server) = tokio::join!(
            initiate,
            Connection::accept(server, &authority, &Limits::SERVER)
        );
        client.unwrap();
        server.unwrap();
    }
}

#[tokio::test]
async fn a_client_that_speaks_stratum_v1_is_told_from_garbage() {
    let lines = [
        "{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"a-miner-with-a-long-name/1.0\"]}\n",
        "{\"id\":1}\n",
    ];
    for line in lines {
        let (mut client, server) = sockets().await;
        client.write_all(line.as_bytes()).await.unwrap();
        let error = Connection::accept(server, &authority(), &Limits::SERVER)
            .await
            .unwrap_err();
        assert!(matches!(error, ConnectionError::NotNoise { .. }), "{error}");
    }
}

#[tokio::test]
async fn a_server_that_answers_garbage_does_not_speak_stratum_v2() {
    let (client, mut server) = sockets().await;
    let key = AuthoritySecretKey::generate().public_key();
    server.write_all(&[7; 234]).await.unwrap();
    let error = Connection::initiate(client, Some(&key), &Limits::CLIENT)
        .await
        .unwrap_err();
    assert!(
        matches!(error, ConnectionError::HandshakeFailed { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn garbage_after_the_handshake_ends_the_connection() {
    let (mut client, mut server) = pair().await;
    client.stream.write_all(&[0x5a; 100]).await.unwrap();
    let error = server.recv().await.unwrap_err();
    assert!(
        matches!(error, ConnectionError::Undecryptable { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn a_message_that_is_not_what_its_type_says_is_named() {
    let (mut client, mut server) = pair().await;
    let broken = Unknown {
        extension_type: 0,
        message_type: 0x1b,
        channel_msg: true,
        payload: vec![1, 2, 3],
    };
    client.queue(broken).unwrap();
    client.flush().await.unwrap();
    let error = server.recv().await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        source.starts_with("SubmitSharesExtended (extension 0x0000, type 0x1b, 3 bytes)"),
        "{source}"
    );
}

#[tokio::test]
async fn a_half_open_handshake_hits_its_deadline_on_either_side() {
    let (mut client, server) = sockets().await;
    client.write_all(&[7; 63]).await.unwrap();
    let error = Connection::accept(server, &authority(), &QUICK)
        .await
        .unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with("the handshake took longer than 0.3 s"),
        "{error}"
    );

    let (client, _server) = sockets().await;
    let error = Connection::initiate(client, None, &QUICK)
        .await
        .unwrap_err();
    assert!(matches!(error, ConnectionError::TimedOut { .. }), "{error}");
}

#[tokio::test]
async fn a_peer_that_does_not_read_hits_the_write_deadline() {
    let authority = authority();
    let (client, server) = sockets().await;
    let (client, server) = tokio::join!(
        Connection::initiate(client, None, &Limits::CLIENT),
        Connection::accept(server, &authority, &QUICK),
    );
    let (_client, mut server) = (client.unwrap(), server.unwrap());
    let error = loop {
        server.queue(unknown(1_000_000)).unwrap();
        if let Err(error) = server.flush().await {
            break error;
        }
    };
    assert!(
        error
            .to_string()
            .ends_with("writing took longer than 0.3 s"),
        "{error}"
    );
}

#[tokio::test]
async fn a_queue_has_a_limit() {
    let (mut client, _server) = pair().await;
    for _ in 0..8 {
        client.queue(unknown(1_000_000)).unwrap();
    }
    let error = client.queue(unknown(1_000_000)).unwrap_err();
    assert!(
        matches!(error, ConnectionError::QueueFull { .. }),
        "{error}"
    );
}

#[tokio::test]
async fn nobody_listening_is_a_connect_error_with_the_address() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let error = Connection::connect(&address, None, &Limits::CLIENT)
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), format!("cannot connect to {address}"));
}

#[tokio::test]
async fn the_last_message_is_read_although_the_server_closes_with_bytes_unread() {
    for _ in 0..20 {
        let (mut client, mut server) = pair().await;
        client.queue(unknown(50_000)).unwrap();
        client.flush().await.unwrap();
        server.queue(unknown(1)).unwrap();
        let (closed, received) = tokio::join!(server.close(), async {
            let received = recv_unknown(&mut client).await;
            let gone = client.recv().await.unwrap_err();
            assert!(matches!(gone, ConnectionError::Closed { .. }), "{gone}");
            drop(client);
            received
        });
        closed.unwrap();
        assert_eq!(received, unknown(1));
    }
}

#[tokio::test]
async fn one_encoded_message_serves_many_connections_and_channels() {
    let encoded = Encoded::new(message::SetTarget {
        channel_id: 0,
        maximum_target: [9; 32].into(),
    })
    .unwrap();
    for channel_id in [3, 4] {
        let (mut client, mut server) = pair().await;
        server.queue_encoded_for(&encoded, channel_id).unwrap();
        server.queue_encoded(&encoded).unwrap();
        server.flush().await.unwrap();
        for expected in [channel_id, 0] {
            match client.recv().await.unwrap() {
                Message::SetTarget(target) => assert_eq!(target.channel_id, expected),
                other => panic!("{other:?}"),
            }
        }
    }
}

/// Not a measurement of resident memory, which the benchmark does, but what this crate adds to it.
#[tokio::test]
async fn an_idle_connection_keeps_less_than_20_kb() {
    let (mut client, mut server) = pair().await;
    for _ in 0..50 {
        client.queue(unknown(60_000)).unwrap();
        let (flushed, received) = tokio::join!(client.flush(), server.recv());
        flushed.unwrap();
        received.unwrap();
    }
    // Polled once, the reader finds nothing to read and gives its buffer back.
    tokio::select! {
        biased;
        received = server.recv() => panic!("{received:?}"),
        () = std::future::ready(()) => {}
    }
    let bytes = |connection: &Connection| {
        size_of::<Connection>() + connection.reader.capacity() + connection.writer.capacity()
    };
    assert!(bytes(&server) < 5_000, "{}", bytes(&server));
    assert!(bytes(&client) < 5_000, "{}", bytes(&client));
}

fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_all().build().unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Any 64 bytes are a key that could be one; what follows them can't be read.
    #[test]
    fn whoever_speaks_no_noise_says_nothing_to_a_server(
        first in prop_oneof![vec(any::<u8>(), 0..64), vec(any::<u8>(), 64..400)],
    ) {
        runtime().block_on(async {
            let (mut client, server) = sockets().await;
            client.write_all(&first).await.unwrap();
            client.shutdown().await.unwrap();
            if let Ok(mut connection) = Connection::accept(server, &authority(), &QUICK).await {
                connection.recv().await.unwrap_err();
            }
        });
    }

    #[test]
    fn whoever_speaks_no_noise_is_no_server(answer in vec(any::<u8>(), 0..400), is_pinned in any::<bool>()) {
        runtime().block_on(async {
            let (client, mut server) = sockets().await;
            let key = authority().public_key();
            let answering = async {
                let mut act_1 = [0; 64];
                server.read_exact(&mut act_1).await.unwrap();
                server.write_all(&answer).await.unwrap();
                server.shutdown().await.unwrap();
            };
            let expected = is_pinned.then_some(&key);
            let (connected, ()) = tokio::join!(Connection::initiate(client, expected, &QUICK), answering);
            connected.unwrap_err();
        });
    }
}
