//! What is on the wire, to the byte: a change of the contract is a change of these snapshots.
//!
//! Accept a difference only if it adds a field or a method (see the crate's documentation), and leave `old.rs` as it is.

use crate::fake::{PATIENCE, Server};
use crate::sample;
use futures::{SinkExt, StreamExt};
use hh_ipc::client;
use serde_json::{Value, json};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::bytes::Bytes;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

macro_rules! assert_wire {
    ($name:ident) => {
        insta::assert_snapshot!(
            stringify!($name),
            serde_json::to_string_pretty(&sample::$name()).unwrap()
        );
    };
}

#[test]
fn answers_of_all_daemons_are_as_they_were() {
    assert_wire!(hello);
    assert_wire!(journal_query);
    assert_wire!(journal_page);
}

#[test]
fn messages_of_pool_are_as_they_were() {
    assert_wire!(pool_status);
    assert_wire!(lost_records);
    assert_wire!(current_job);
    assert_wire!(coinbase);
    assert_wire!(miner_query);
    assert_wire!(miner_page);
    assert_wire!(kick_request);
    assert_wire!(kicked);
    assert_wire!(ban_request);
    assert_wire!(unban_request);
    assert_wire!(banned);
    assert_wire!(ban_page);
    assert_wire!(hyper_node_page);
    assert_wire!(revoke_node_request);
    assert_wire!(revoked_node);
    assert_wire!(vardiff_change);
    assert_wire!(vardiff_changed);
    assert_wire!(retire_request);
    assert_wire!(retired);
    assert_wire!(worker_query);
    assert_wire!(worker_page);
    assert_wire!(share_query);
    assert_wire!(share_page);
    assert_wire!(share_stats);
    assert_wire!(block);
    assert_wire!(block_selectors);
    assert_wire!(round_page);
    assert_wire!(round_selectors);
    assert_wire!(round_detail);
}

#[test]
fn messages_of_template_provider_are_as_they_were() {
    assert_wire!(template_provider_status);
    assert_wire!(template);
    assert_wire!(template_detail);
}

#[test]
fn messages_of_translator_are_as_they_were() {
    assert_wire!(translator_status);
    assert_wire!(downstream_query);
    assert_wire!(downstream_page);
    assert_wire!(downstream_detail);
    assert_wire!(kick_downstreams);
    assert_wire!(kicked_downstreams);
    assert_wire!(ban_address);
    assert_wire!(unban_address);
    assert_wire!(banned_address);
    assert_wire!(address_ban_page);
    assert_wire!(lane_detail);
    assert_wire!(pause_lane);
    assert_wire!(upstream);
    assert_wire!(switch_upstream);
    assert_wire!(switched_upstream);
    assert_wire!(upstream_test);
}

#[test]
fn messages_of_core_are_as_they_were() {
    assert_wire!(core_status);
    assert_wire!(fleet_page);
    assert_wire!(fleet_node_detail);
    assert_wire!(revoke_fleet_node);
    assert_wire!(revoked_fleet_node);
    assert_wire!(service_orders);
    assert_wire!(node_orders);
    assert_wire!(operation_query);
    assert_wire!(operation_page);
    assert_wire!(wait_for_operation);
    assert_wire!(create_token);
    assert_wire!(issued_token);
    assert_wire!(token_page);
    assert_wire!(create_api_token);
    assert_wire!(issued_api_token);
    assert_wire!(api_token_page);
    assert_wire!(pki_status);
    assert_wire!(audit_query);
    assert_wire!(audit_page);
    assert_wire!(audit_checkpoint);
    assert_wire!(audit_witnesses);
}

#[test]
fn messages_of_node_agent_are_as_they_were() {
    assert_wire!(node_agent_status);
    assert_wire!(waiting_consents);
    assert_wire!(consent_detail);
    assert_wire!(consent_decision);
    assert_wire!(decided_consent);
    assert_wire!(node_wallet_status);
}

#[test]
fn every_name_of_a_closed_set_is_as_it_was() {
    use hh_ipc::ErrorKind::{Failed, NotFound, Permission, Unavailable, Usage};
    use hh_ipc::api::LinkState::{Connecting, Down, Up};
    use hh_ipc::api::pool::BlockState::{Accepted, Found, Orphaned, Rejected, Submitted};
    use hh_ipc::api::pool::MinerSelector::{Account, Address, Channel};
    use hh_ipc::api::template_provider::{NodeCondition, TemplateValidity};
    use hh_ipc::api::translator::UpstreamState;
    let sets = json!({
        "link_state": [Connecting, Up, Down],
        "upstream_state": [
            UpstreamState::Standby, UpstreamState::Connecting, UpstreamState::Returning,
            UpstreamState::Up, UpstreamState::Down,
        ],
        "node_condition": [
            NodeCondition::Connecting, NodeCondition::Healthy, NodeCondition::Lagging,
            NodeCondition::InitialDownload, NodeCondition::Silent, NodeCondition::Down,
        ],
        "template_validity": [
            TemplateValidity::Current, TemplateValidity::Valid, TemplateValidity::Stale,
            TemplateValidity::Gone,
        ],
        "block_state": [Found, Submitted, Accepted, Rejected, Orphaned],
        "miner_selector": [Channel(3), Account("alice".into()), Address("192.0.2.7".into())],
        "error_kind": [Usage, NotFound, Permission, Unavailable, Failed],
    });
    insta::assert_snapshot!("closed_sets", serde_json::to_string_pretty(&sets).unwrap());
}

/// The frame that `call` makes a client send, without what differs from run to run.
async fn request_of<C: Future>(make: impl FnOnce(UnixStream) -> C) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let call = make(client::dial(&path).await.unwrap());
    let (stream, _) = listener.accept().await.unwrap();
    let mut framed = Framed::new(stream, LengthDelimitedCodec::new());
    let frame = tokio::select! {
        frame = framed.next() => frame.unwrap().unwrap(),
        _ = call => panic!("answered by nobody"),
    };
    let mut request: Value = serde_json::from_slice(&frame).unwrap();
    let context = request["Request"]["context"].as_object_mut().unwrap();
    assert!(context["deadline"]["secs"].is_u64());
    let trace = context.remove("trace_context").unwrap();
    assert!(trace.is_object());
    request["Request"]["context"]["deadline"] = json!("some");
    request.to_string()
}

macro_rules! request {
    ($service:ident, $method:ident($($argument:expr),*)) => {
        request_of(|stream| async move {
            client::$service(stream)
                .$method(client::within(PATIENCE), $($argument),*)
                .await
                .ok();
        })
        .await
    };
}

#[tokio::test]
async fn requests_are_as_they_were() {
    let requests = [
        request!(pool, hello()),
        request!(pool, status()),
        request!(pool, current_job()),
        request!(pool, coinbase()),
        request!(pool, miners(sample::miner_query())),
        request!(pool, miner(12)),
        request!(pool, kick(sample::kick_request())),
        request!(pool, ban(sample::ban_request())),
        request!(pool, unban(sample::unban_request())),
        request!(pool, bans()),
        request!(pool, hyper_nodes()),
        request!(pool, revoke_node(sample::revoke_node_request())),
        request!(pool, journal(sample::journal_query())),
        request!(pool, vardiff()),
        request!(pool, set_vardiff(sample::vardiff_change())),
        request!(pool, retire(sample::retire_request())),
        request!(pool, workers(sample::worker_query())),
        request!(pool, shares_since(sample::share_query())),
        request!(pool, share_stats()),
        request!(pool, blocks(5)),
        request!(pool, block(sample::block_selectors()[0].clone())),
        request!(pool, rounds(5)),
        request!(pool, round(sample::round_selectors()[1].clone())),
        request!(template_provider, hello()),
        request!(template_provider, status()),
        request!(template_provider, templates(50)),
        request!(template_provider, template(99)),
        request!(translator, hello()),
        request!(translator, status()),
        request!(translator, downstreams(sample::downstream_query())),
        request!(translator, downstream(5)),
        request!(
            translator,
            kick_downstreams(sample::kick_downstreams()[1].clone())
        ),
        request!(translator, ban(sample::ban_address())),
        request!(translator, unban(sample::unban_address())),
        request!(translator, bans()),
        request!(translator, lanes()),
        request!(translator, lane("default".to_owned())),
        request!(translator, pause_lane(sample::pause_lane())),
        request!(translator, upstreams()),
        request!(translator, switch_upstream(sample::switch_upstream())),
        request!(
            translator,
            test_upstreams(Some("127.0.0.1:34254".to_owned()))
        ),
        request!(translator, journal(sample::journal_query())),
    ];
    insta::assert_snapshot!("requests", requests.join("\n"));
}

#[tokio::test]
async fn answers_carry_the_id_of_their_request() {
    let server = Server::start();
    let mut framed = Framed::new(server.dial().await, LengthDelimitedCodec::new());
    let mut answers = Vec::new();
    for message in [json!({"Hello": {}}), json!({"Miner": {"id": 99}})] {
        let request = json!({"Request": {"context": context(), "id": 77, "message": message}});
        framed.send(Bytes::from(request.to_string())).await.unwrap();
        let answer = framed.next().await.unwrap().unwrap();
        answers.push(String::from_utf8(answer.to_vec()).unwrap());
    }
    insta::assert_snapshot!("answers", answers.join("\n"));
}

/// A request's context as tarpc 0.38 writes it.
pub(crate) fn context() -> Value {
    let trace_id = [0_u8; 16];
    json!({
        "deadline": {"secs": 10, "nanos": 0},
        "trace_context": {"trace_id": trace_id, "span_id": 1, "sampling_decision": "Unsampled"},
    })
}
