//! Extensions: those that the pool grants are granted on.

use super::client::{Client, accepted, extended_share};
use super::start;
use crate::DEADLINE;
use hh_sv2::Message;
use hh_sv2::message::{
    EXTENSION_WORKER_HASHRATE, RequestExtensions, Seq064K, SubmitSharesExtended,
};
use tokio::time::timeout;

/// What is granted of these.
async fn ask(client: &mut Client, extensions: &[u16]) -> Vec<u16> {
    client
        .send(RequestExtensions {
            request_id: 4,
            requested_extensions: Seq064K::new(extensions.to_vec()).unwrap(),
        })
        .await;
    match client.recv().await {
        Message::RequestExtensionsSuccess(success) => success.supported_extensions.into_inner(),
        Message::RequestExtensionsError(error) => {
            assert_eq!(error.unsupported_extensions.into_inner(), extensions);
            Vec::new()
        }
        other => panic!("no answer: {other:?}"),
    }
}

async fn submit(client: &mut Client, share: SubmitSharesExtended, worker: &str) {
    let share = Message::SubmitSharesExtended(share, Some(worker.to_owned()));
    client.send(share).await;
}

#[tokio::test]
async fn a_workers_name_goes_with_its_share_where_the_pool_takes_it() {
    let (translator, mut upstream, mut client) = start(0).await;
    upstream.grant_extensions(&[EXTENSION_WORKER_HASHRATE]);
    client.ask_extended("alice").await;
    upstream.open().await;
    let id = client.opened().await.channel_id;
    let job_id = client.first_job().await;
    // Without its leave it is no name.
    submit(&mut client, extended_share(id, job_id, 1, 1), "alice.early").await;
    let (share, worker) = upstream.recv_named_share().await;
    assert_eq!((share.sequence_number, worker), (1, None));
    upstream.settle(1, 1, 1).await;
    assert_eq!(client.verdict().await, accepted(1, 1));

    let granted = async {
        while ask(&mut client, &[EXTENSION_WORKER_HASHRATE, 0x7abc])
            .await
            .is_empty()
        {}
    };
    timeout(DEADLINE, granted)
        .await
        .expect("the pool has granted it");
    let long = "a".repeat(33);
    for (number, name, passed_on) in [(2, "alice.rig7", Some("alice.rig7")), (3, &*long, None)] {
        submit(
            &mut client,
            extended_share(id, job_id, number, number),
            name,
        )
        .await;
        let (_, worker) = upstream.recv_named_share().await;
        assert_eq!(worker.as_deref(), passed_on);
        upstream.settle(1, number, 1).await;
        assert_eq!(client.verdict().await, accepted(number, 1));
    }
    translator.stop().await;
}

#[tokio::test]
async fn what_the_pool_does_not_take_or_nobody_has_is_refused() {
    let (translator, mut upstream, mut client) = start(0).await;
    client.ask_extended("alice").await;
    upstream.open().await;
    client.opened().await;
    client.first_job().await;
    for extension in [EXTENSION_WORKER_HASHRATE, 0x7abc] {
        assert!(ask(&mut client, &[extension]).await.is_empty());
    }
    translator.stop().await;
}
