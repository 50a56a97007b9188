use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};

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
