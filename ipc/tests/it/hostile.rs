//! Clients that misbehave: each hurts its own connection and no other.

use crate::fake::{PATIENCE, Server, answer};
use crate::wire::context;
use futures::{SinkExt, StreamExt};
use hh_ipc::server::{MAX_CONNECTIONS, MAX_REQUESTS};
use hh_ipc::{MAX_FRAME_BYTES, client};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::bytes::Bytes;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

/// Sends `request` and gives the answer, or none where the server closes the connection.
async fn ask(stream: UnixStream, request: &Value) -> Option<Value> {
    let mut framed = Framed::new(stream, LengthDelimitedCodec::new());
    framed.send(Bytes::from(request.to_string())).await.unwrap();
    let answer = timeout(PATIENCE, framed.next()).await.unwrap()?.ok()?;
    Some(serde_json::from_slice(&answer).unwrap())
}

fn request_with_deadline(deadline: &Value) -> Value {
    let mut context = context();
    context["deadline"] = deadline.clone();
    json!({"Request": {"context": context, "id": 1, "message": {"Hello": {}}}})
}

/// Fails unless the server closes `stream`.
async fn assert_closed(mut stream: UnixStream) {
    let mut rest = Vec::new();
    let read = stream.read_to_end(&mut rest);
    // A reset is as good as an end.
    if timeout(PATIENCE, read).await.expect("closed").is_ok() {
        assert_eq!(rest, b"");
    }
}

#[tokio::test]
async fn a_deadline_beyond_the_clock_is_clamped() {
    let server = Server::start();
    for deadline in [
        json!({"secs": u64::MAX, "nanos": 0}),
        json!({"secs": u64::MAX, "nanos": 999_999_999}),
        json!({"secs": u64::MAX / 2, "nanos": 0}),
        json!({"secs": 100 * 365 * 86_400_u64, "nanos": 0}),
    ] {
        let answer = ask(server.dial().await, &request_with_deadline(&deadline)).await;
        let answer = answer.expect("a clamped deadline is answered");
        assert!(answer["message"]["Ok"]["Hello"].is_object(), "{answer}");
    }
    server.assert_answers().await;
}

#[tokio::test]
async fn a_deadline_in_another_shape_ends_its_connection_only() {
    let server = Server::start();
    for deadline in [
        json!([u64::MAX, 0]),
        json!({"secs": 1e300, "nanos": 0}),
        json!({"secs": -1, "nanos": 0}),
        json!({"secs": "18446744073709551615", "nanos": 0}),
        json!(u64::MAX),
        json!(null),
    ] {
        let answer = ask(server.dial().await, &request_with_deadline(&deadline)).await;
        assert_eq!(answer, None, "{deadline}");
    }
    let context = json!([[u64::MAX, 0], context()["trace_context"]]);
    let arrays = json!({"Request": [context, 1, {"Hello": {}}]});
    assert_eq!(ask(server.dial().await, &arrays).await, None);
    server.assert_answers().await;
}

#[tokio::test]
async fn a_request_without_a_deadline_has_tarpcs_own() {
    let server = Server::start();
    let mut request = request_with_deadline(&json!(null));
    let context = request["Request"]["context"].as_object_mut().unwrap();
    context.remove("deadline");
    let answer = ask(server.dial().await, &request).await.unwrap();
    assert!(answer["message"]["Ok"]["Hello"].is_object(), "{answer}");
}

#[tokio::test]
async fn a_method_that_is_not_known_ends_the_connection_at_once() {
    let server = Server::start();
    let request = json!({"Request": {"context": context(), "id": 1, "message": {"Retire": {}}}});
    assert_eq!(ask(server.dial().await, &request).await, None);
    server.assert_answers().await;
}

#[tokio::test]
async fn a_frame_over_the_limit_ends_its_connection_only() {
    let server = Server::start();
    let mut stream = server.dial().await;
    let length = u32::try_from(MAX_FRAME_BYTES + 1).unwrap();
    stream.write_all(&length.to_be_bytes()).await.unwrap();
    assert_closed(stream).await;
    server.assert_answers().await;
}

#[tokio::test]
async fn bytes_that_are_no_request_end_their_connection_only() {
    let server = Server::start();
    let http = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let deep = [&[0, 1, 0, 0][..], &[b'['; 65_536]].concat();
    let not_json = b"\0\0\0\x04\xff\xfe\xfd\xfc";
    let no_enum = b"\0\0\0\x02{}";
    let empty = b"\0\0\0\0";
    for bytes in [&http[..], &deep, not_json, no_enum, empty] {
        let mut stream = server.dial().await;
        stream.write_all(bytes).await.unwrap();
        assert_closed(stream).await;
    }
    server.assert_answers().await;
}

#[tokio::test]
async fn half_a_frame_keeps_nobody_waiting() {
    let server = Server::start();
    let mut silent = server.dial().await;
    silent.write_all(b"\0\0\x01\0{\"Requ").await.unwrap();
    server.assert_answers().await;
    drop(silent);
    server.assert_answers().await;
}

/// Asks for `count` answers of half a megabyte each and reads none.
async fn ask_for_much(stream: UnixStream, count: u64) -> Framed<UnixStream, LengthDelimitedCodec> {
    let mut framed = Framed::new(stream, LengthDelimitedCodec::new());
    for id in 0..count {
        let message = json!({"Blocks": {"limit": 1000}});
        let request = json!({"Request": {"context": context(), "id": id, "message": message}});
        framed.feed(Bytes::from(request.to_string())).await.unwrap();
    }
    SinkExt::<Bytes>::flush(&mut framed).await.unwrap();
    framed
}

#[tokio::test]
async fn a_client_that_asks_and_leaves_without_reading_ends_its_task() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let asks = async { drop(ask_for_much(theirs, 100).await) };
    let both = futures::future::join(asks, answer(ours));
    timeout(PATIENCE, both).await.expect("the task ends");
}

#[tokio::test]
async fn a_client_that_reads_late_has_an_answer_to_every_request() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let mut server = JoinSet::new();
    server.spawn(answer(ours));
    let mut framed = ask_for_much(theirs, 100).await;
    let mut answered = 0;
    for _ in 0..100 {
        let answer = timeout(PATIENCE, framed.next()).await.expect("an answer");
        let answer: Value = serde_json::from_slice(&answer.unwrap().unwrap()).unwrap();
        let message = &answer["message"];
        // The rest is refused, because the answers before it were not taken.
        assert!(message["Ok"].is_object() || message["Err"].is_object());
        answered += usize::from(message["Ok"].is_object());
    }
    assert!(answered >= MAX_REQUESTS, "{answered}");
}

#[tokio::test]
async fn a_client_that_never_reads_keeps_nobody_waiting() {
    let server = Server::start();
    let stuck = ask_for_much(server.dial().await, 100).await;
    server.assert_answers().await;
    drop(stuck);
}

#[tokio::test]
async fn connections_over_the_limit_are_closed_until_one_leaves() {
    let server = Server::start();
    let mut clients = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        let client = server.client().await;
        client.hello(client::within(PATIENCE)).await.unwrap();
        clients.push(client);
    }
    assert_closed(server.dial().await).await;
    assert_closed(server.dial().await).await;

    let oldest = clients.remove(0);
    drop(oldest);
    let freed = async {
        loop {
            let client = server.client().await;
            if client.hello(client::within(PATIENCE)).await.is_ok() {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, freed).await.expect("a place is free");
    for client in &clients {
        client.hello(client::within(PATIENCE)).await.unwrap();
    }
}
