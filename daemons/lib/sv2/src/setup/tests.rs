use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::{
    Authority, AuthoritySecretKey, Limits,
    authority::CERTIFICATE_VALIDITY,
    message::{REQUIRES_STANDARD_JOBS, REQUIRES_VERSION_ROLLING, REQUIRES_WORK_SELECTION, Unknown},
};

const SUPPORTED: u32 = REQUIRES_STANDARD_JOBS | REQUIRES_VERSION_ROLLING;

/// Both ends of a connection after the handshake.
pub(crate) async fn pair() -> (Connection, Connection) {
    let authority = Authority::new(AuthoritySecretKey::generate(), CERTIFICATE_VALIDITY);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap());
    let (client, server) = tokio::join!(client, listener.accept());
    let key = authority.public_key();
    let (client, server) = tokio::join!(
        Connection::initiate(client.unwrap(), Some(&key), &Limits::CLIENT),
        Connection::accept(server.unwrap().0, &authority, &Limits::SERVER),
    );
    (client.unwrap(), server.unwrap())
}

fn mining(flags: u32) -> ClientSetup {
    ClientSetup {
        protocol: Protocol::MiningProtocol,
        flags,
        endpoint_host: "pool.example".into(),
        endpoint_port: 34_254,
        vendor: "hh".into(),
        hardware_version: "cpu".into(),
        firmware: "1".into(),
        device_id: "é".repeat(200),
    }
}

fn request(setup: &ClientSetup) -> SetupConnection {
    SetupConnection {
        protocol: setup.protocol,
        min_version: 2,
        max_version: 2,
        flags: setup.flags,
        endpoint_host: text(&setup.endpoint_host),
        endpoint_port: setup.endpoint_port,
        vendor: text(&setup.vendor),
        hardware_version: text(&setup.hardware_version),
        firmware: text(&setup.firmware),
        device_id: text(&setup.device_id),
    }
}

async fn serve(server: &mut Connection) -> Result<SetupConnection, SetupError> {
    server_setup(server, Protocol::MiningProtocol, SUPPORTED, SETUP_DEADLINE).await
}

#[tokio::test]
async fn a_client_with_supported_flags_is_set_up() {
    let (mut client, mut server) = pair().await;
    let setup = mining(REQUIRES_STANDARD_JOBS);
    let (success, info) = tokio::join!(
        client_setup(&mut client, &setup, SETUP_DEADLINE),
        serve(&mut server)
    );
    assert_eq!(success.unwrap().flags, 0);
    let info = info.unwrap();
    assert_eq!(info.flags, REQUIRES_STANDARD_JOBS);
    assert_eq!(info.vendor.as_bytes(), b"hh");
    assert_eq!(info.device_id.as_bytes(), "é".repeat(127).as_bytes());
}

#[tokio::test]
async fn every_unsupported_flag_is_named_in_the_refusal() {
    let (mut client, mut server) = pair().await;
    let unknown = REQUIRES_WORK_SELECTION | 1 << 30;
    let setup = mining(unknown | REQUIRES_VERSION_ROLLING);
    let (refused, served) = tokio::join!(
        client_setup(&mut client, &setup, SETUP_DEADLINE),
        serve(&mut server)
    );
    match refused.unwrap_err() {
        SetupError::RefusedByServer { code, flags, .. } => {
            assert_eq!(
                (code.as_str(), flags),
                ("unsupported-feature-flags", unknown)
            );
        }
        other => panic!("{other}"),
    }
    assert!(matches!(served.unwrap_err(), SetupError::Refused { .. }));
}

/// Sends `first` and gives what the server made of it, and its answer if it sent one.
async fn first_message(first: impl Into<Message>) -> (SetupError, Option<Message>) {
    let (mut client, mut server) = pair().await;
    client.queue(first).unwrap();
    client.flush().await.unwrap();
    let error = serve(&mut server).await.unwrap_err();
    drop(server);
    (error, client.recv().await.ok())
}

async fn check_refused(first: impl Into<Message>, expected: &str) {
    let (error, answer) = first_message(first).await;
    match error {
        SetupError::Refused { code, .. } => assert_eq!(code, expected),
        other => panic!("{other}"),
    }
    match answer {
        Some(Message::SetupConnectionError(answer)) => {
            assert_eq!(answer.error_code.as_bytes(), expected.as_bytes());
            assert_eq!(answer.flags, 0);
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn another_protocol_is_refused_known_or_not() {
    for protocol in [
        Protocol::TemplateDistributionProtocol,
        Protocol::JobDeclarationProtocol,
    ] {
        let setup = ClientSetup {
            protocol,
            ..mining(0)
        };
        check_refused(request(&setup), "unsupported-protocol").await;
    }
    let of_the_future = Unknown {
        extension_type: 0,
        message_type: 0,
        channel_msg: false,
        payload: vec![9, 2, 0],
    };
    check_refused(of_the_future, "unsupported-protocol").await;
}

#[tokio::test]
async fn versions_without_two_are_refused_and_ranges_around_it_taken() {
    for (min_version, max_version) in [(1, 1), (3, 9), (3, 1)] {
        let first = SetupConnection {
            min_version,
            max_version,
            ..request(&mining(0))
        };
        check_refused(first, "protocol-version-mismatch").await;
    }
    let first = SetupConnection {
        max_version: 1,
        min_version: 1,
        flags: u32::MAX,
        ..request(&mining(0))
    };
    let Some(Message::SetupConnectionError(answer)) = first_message(first).await.1 else {
        panic!("a client that asks with all flags is told of those that are not supported");
    };
    assert_eq!(answer.flags, !SUPPORTED);
    let (mut client, mut server) = pair().await;
    let first = SetupConnection {
        min_version: 1,
        max_version: 3,
        ..request(&mining(0))
    };
    client.queue(first).unwrap();
    client.flush().await.unwrap();
    serve(&mut server).await.unwrap();
    match client.recv().await.unwrap() {
        Message::SetupConnectionSuccess(success) => assert_eq!(success.used_version, 2),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn another_first_message_is_not_answered() {
    let (error, answer) = first_message(crate::message::CoinbaseOutputConstraints {
        coinbase_output_max_additional_size: 1,
        coinbase_output_max_additional_sigops: 1,
    })
    .await;
    let error = error.to_string();
    assert!(
        error.ends_with("sent CoinbaseOutputConstraints instead of SetupConnection"),
        "{error}"
    );
    assert!(answer.is_none());
}

#[tokio::test]
async fn silence_hits_the_deadline_on_either_side() {
    let deadline = Duration::from_millis(200);
    let (mut client, mut server) = pair().await;
    let protocol = Protocol::MiningProtocol;
    let error = server_setup(&mut server, protocol, 0, deadline).await;
    assert!(
        error
            .unwrap_err()
            .to_string()
            .ends_with("no SetupConnection within 0.2 s")
    );
    let error = client_setup(&mut client, &mining(0), deadline).await;
    assert!(
        error
            .unwrap_err()
            .to_string()
            .ends_with("no SetupConnection.Success within 0.2 s")
    );
}

#[tokio::test]
async fn control_characters_of_a_server_do_not_reach_the_log() {
    let (mut client, mut server) = pair().await;
    server
        .queue(SetupConnectionError {
            flags: 3,
            error_code: text("a\x1b[31m\nb"),
        })
        .unwrap();
    server.flush().await.unwrap();
    let error = client_setup(&mut client, &mining(0), SETUP_DEADLINE).await;
    let error = error.unwrap_err().to_string();
    assert!(
        error.contains("a?[31m?b (unsupported flags 0x3)"),
        "{error}"
    );
}
