//! Extension 0x0001, from both sides: RequestExtensions and its answer (specification, extensions/0x0001). And the exchange
//! with which a client presents its credential, for which it needs our own extension.
//!
//! Owns the exchanges before the first channel; remembering what was granted is the connection's owner's.

use std::time::Duration;

use tokio::time::timeout;

use crate::{
    Connection, ConnectionError, Message,
    message::{
        PresentCredential, RequestExtensions, RequestExtensionsError, RequestExtensionsSuccess,
        Seq064K,
    },
    setup::printable,
};

/// What a client waits for each answer here. A server that does not know extension 0x0001 says nothing at all: it is mined at
/// without, and miners wait no longer than for a slow handshake.
pub const EXTENSIONS_DEADLINE: Duration = Duration::from_secs(2);

/// Pairs RequestExtensions with its answer; there is one a connection.
const REQUEST_ID: u16 = 1;

/// What a server said to a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialAnswer {
    /// It holds.
    Taken,
    /// It does not; the server's error code, printable characters only.
    Refused(String),
    /// Nothing, in time.
    None,
}

/// The client's side: asks for the extensions `wanted` and gives those that are granted, which are none where the server does not
/// answer within `deadline`. To be called after the setup, before anything else is sent.
///
/// # Errors
/// The connection failed, or the server wants it to be made again.
pub async fn request(
    connection: &mut Connection,
    wanted: &[u16],
    deadline: Duration,
) -> Result<Vec<u16>, ConnectionError> {
    connection.queue(RequestExtensions {
        request_id: REQUEST_ID,
        requested_extensions: Seq064K::new(wanted.to_vec())
            .expect("there are fewer extensions than such a list has room for"),
    })?;
    connection.flush().await?;
    let answer = answer_to(connection, deadline, |message| match message {
        Message::RequestExtensionsSuccess(success) if success.request_id == REQUEST_ID => {
            Some(success.supported_extensions.into_inner())
        }
        Message::RequestExtensionsError(error) if error.request_id == REQUEST_ID => Some(vec![]),
        _ => None,
    });
    let mut granted = answer.await?.unwrap_or_default();
    granted.retain(|extension| wanted.contains(extension));
    Ok(granted)
}

/// The client's side: presents a credential for `lane` and gives what the server says. To be called before a channel is opened,
/// on a connection on which the extension was granted.
///
/// # Errors
/// As [`request`].
pub async fn present_credential(
    connection: &mut Connection,
    message: PresentCredential,
    deadline: Duration,
) -> Result<CredentialAnswer, ConnectionError> {
    connection.queue(message)?;
    connection.flush().await?;
    let answer = answer_to(connection, deadline, |message| match message {
        Message::PresentCredentialSuccess(_) => Some(CredentialAnswer::Taken),
        Message::PresentCredentialError(error) => {
            let code = printable(error.error_code.as_bytes());
            Some(CredentialAnswer::Refused(code))
        }
        _ => None,
    });
    Ok(answer.await?.unwrap_or(CredentialAnswer::None))
}

/// The first message that `take` takes; none where it does not come in time. Nothing else is due before a channel is open, and
/// what comes all the same is passed over.
async fn answer_to<T>(
    connection: &mut Connection,
    deadline: Duration,
    take: impl Fn(Message) -> Option<T>,
) -> Result<Option<T>, ConnectionError> {
    let peer = connection.peer();
    let answer = async {
        loop {
            let message = connection.recv().await?;
            if matches!(message, Message::Reconnect(_)) {
                return Err(ConnectionError::Closed { peer });
            }
            if let Some(answer) = take(message) {
                return Ok(answer);
            }
        }
    };
    match timeout(deadline, answer).await {
        Ok(answer) => answer.map(Some),
        Err(_elapsed) => Ok(None),
    }
}

/// The answer of a server that supports `supported` and requires nothing, and the extensions it grants.
///
/// Success names those of the requested extensions that are supported; when there is none, the specification wants an
/// Error, which lists the unsupported ones. After either the connection goes on.
pub fn answer(request: RequestExtensions, supported: &[u16]) -> (Message, Vec<u16>) {
    let request_id = request.request_id;
    let (granted, unsupported): (Vec<u16>, Vec<u16>) = request
        .requested_extensions
        .into_inner()
        .into_iter()
        .partition(|extension| supported.contains(extension));
    let list = |extensions: Vec<u16>| {
        Seq064K::new(extensions).expect("a part of a list that fitted in a message fits in one")
    };
    let answer = if granted.is_empty() {
        RequestExtensionsError {
            request_id,
            unsupported_extensions: list(unsupported),
            required_extensions: list(Vec::new()),
        }
        .into()
    } else {
        RequestExtensionsSuccess {
            request_id,
            supported_extensions: list(granted.clone()),
        }
        .into()
    };
    (answer, granted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{
        EXTENSION_NODE_CREDENTIAL, EXTENSION_WORKER_HASHRATE, PresentCredentialError,
        PresentCredentialSuccess, Reconnect,
    };
    use crate::setup::tests::pair;

    const OURS: [u16; 2] = [EXTENSION_WORKER_HASHRATE, EXTENSION_NODE_CREDENTIAL];

    /// A server that answers the first message by `answers`.
    async fn server(mut server: Connection, answers: Vec<Message>) -> Connection {
        server.recv().await.unwrap();
        for answer in answers {
            server.queue(answer).unwrap();
        }
        server.flush().await.unwrap();
        server
    }

    async fn granted(answers: Vec<Message>) -> Result<Vec<u16>, ConnectionError> {
        let (mut client, peer) = pair().await;
        let deadline = Duration::from_millis(if answers.is_empty() { 1 } else { 60_000 });
        let asking = request(&mut client, &OURS, deadline);
        let (granted, _server) = tokio::join!(asking, server(peer, answers));
        granted
    }

    async fn presented(answers: Vec<Message>) -> CredentialAnswer {
        let (mut client, peer) = pair().await;
        let deadline = Duration::from_millis(if answers.is_empty() { 1 } else { 60_000 });
        let message = PresentCredential {
            credential: b"a.b.c".to_vec().try_into().unwrap(),
            lane: "asics".try_into().unwrap(),
        };
        let presenting = present_credential(&mut client, message, deadline);
        let (answer, _server) = tokio::join!(presenting, server(peer, answers));
        answer.unwrap()
    }

    fn success(request_id: u16, extensions: &[u16]) -> Message {
        let supported_extensions = Seq064K::new(extensions.to_vec()).unwrap();
        RequestExtensionsSuccess {
            request_id,
            supported_extensions,
        }
        .into()
    }

    #[tokio::test]
    async fn what_a_server_grants_of_what_was_asked_for_is_known() {
        let some = success(1, &[EXTENSION_NODE_CREDENTIAL, 3]);
        assert_eq!(
            granted(vec![some]).await.unwrap(),
            [EXTENSION_NODE_CREDENTIAL]
        );
        let (error, _) = answer(asked(&OURS), &[]);
        let Message::RequestExtensionsError(mut error) = error else {
            panic!("{error:?}");
        };
        error.request_id = 1;
        assert!(granted(vec![error.into()]).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_server_that_knows_no_extensions_is_not_waited_for_longer_than_the_deadline() {
        assert!(granted(vec![]).await.unwrap().is_empty());
        assert_eq!(presented(vec![]).await, CredentialAnswer::None);
    }

    #[tokio::test]
    async fn what_is_no_answer_is_passed_over() {
        let other = success(2, &OURS);
        let taken = PresentCredentialSuccess {}.into();
        let granted = granted(vec![other, taken, success(1, &OURS)])
            .await
            .unwrap();
        assert_eq!(granted, OURS);
    }

    #[tokio::test]
    async fn a_server_that_sends_us_away_is_left() {
        let away = Reconnect {
            new_host: "".try_into().unwrap(),
            new_port: 0,
        };
        let left = granted(vec![away.into(), success(1, &OURS)]).await;
        assert!(
            matches!(left, Err(ConnectionError::Closed { .. })),
            "{left:?}"
        );
    }

    #[tokio::test]
    async fn a_credential_is_taken_or_refused_with_a_printable_code() {
        let taken = presented(vec![PresentCredentialSuccess {}.into()]).await;
        assert_eq!(taken, CredentialAnswer::Taken);
        let error_code = "exp\u{1b}ired".try_into().unwrap();
        let refused = presented(vec![PresentCredentialError { error_code }.into()]).await;
        assert_eq!(refused, CredentialAnswer::Refused("exp?ired".to_owned()));
    }

    fn asked(extensions: &[u16]) -> RequestExtensions {
        RequestExtensions {
            request_id: 7,
            requested_extensions: Seq064K::new(extensions.to_vec()).unwrap(),
        }
    }

    #[test]
    fn success_names_the_supported_part_of_the_request() {
        let (answer, granted) = answer(asked(&[2, 3, 0x4001]), &[2, 0x4001, 9]);
        let Message::RequestExtensionsSuccess(success) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(success.request_id, 7);
        assert_eq!(success.supported_extensions.into_inner(), [2, 0x4001]);
        assert_eq!(granted, [2, 0x4001]);
    }

    #[test]
    fn a_request_of_which_nothing_is_supported_gets_an_error_with_all_of_it() {
        let (answer, granted) = answer(asked(&[2, 3]), &[]);
        let Message::RequestExtensionsError(error) = answer else {
            panic!("{answer:?}");
        };
        assert_eq!(error.unsupported_extensions.into_inner(), [2, 3]);
        assert!(error.required_extensions.is_empty());
        assert!(granted.is_empty());
    }
}
