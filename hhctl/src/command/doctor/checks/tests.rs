use super::*;
use crate::output::State;
use hh_ipc::api::LinkStatus;
use hh_ipc::api::template_provider::TemplateSummary;

fn now() -> Timestamp {
    "2026-11-25T12:00:00Z".parse().unwrap()
}

fn up() -> LinkStatus {
    LinkStatus {
        address: "x".to_owned(),
        state: LinkState::Up,
        since_at: now(),
        last_error: None,
    }
}

fn tp(template_age_seconds: i64) -> TemplateProviderStatus {
    let template = TemplateSummary {
        template_id: 1,
        height: 101,
        prev_hash: String::new(),
        trigger: "mempool".to_owned(),
        node: "near".to_owned(),
        transactions: 0,
        fees_sat: 0,
        value_sat: 0,
        weight_wu: 0,
        generation_seconds: 0.0,
        created_at: now() - SignedDuration::from_secs(template_age_seconds),
    };
    TemplateProviderStatus {
        chain: "signet".to_owned(),
        listen_address: String::new(),
        authority_public_key: String::new(),
        nodes: vec![NodeStatus {
            name: "near".to_owned(),
            active: true,
            condition: NodeCondition::Healthy,
            since_at: now(),
            reason: None,
            templates: up(),
            rpc: up(),
            version: Some(310_000),
            height: Some(100),
            tip_hash: None,
            initial_block_download: Some(false),
            latency_seconds: None,
        }],
        clients: Vec::new(),
        templates_total: 1,
        last_template: Some(template),
        solutions: Vec::new(),
    }
}

#[track_caller]
fn check_template(age_seconds: i64, expected: State) {
    assert_eq!(template_age(&tp(age_seconds), now()).state, expected);
}

#[test]
fn a_template_gets_old_and_then_dead() {
    check_template(0, State::Ok);
    check_template(90, State::Ok);
    check_template(91, State::Warn);
    check_template(601, State::Fail);
}

#[test]
fn a_node_that_is_away_is_named_with_its_reason() {
    let mut tp = tp(0);
    assert_eq!(bitcoin_core(&tp).state, State::Ok);
    let mut far = tp.nodes[0].clone();
    far.name = "far".to_owned();
    far.active = false;
    far.condition = NodeCondition::Down;
    far.reason = Some("connection refused".to_owned());
    tp.nodes.push(far);
    let check = bitcoin_core(&tp);
    assert_eq!(check.state, State::Warn);
    assert!(check.found.ends_with("; far is down: connection refused"));
    tp.nodes.remove(0);
    let check = bitcoin_core(&tp);
    assert_eq!(check.state, State::Fail);
    assert_eq!(check.found, "far is down: connection refused");
}

#[test]
fn a_daemon_from_the_future_is_a_wrong_clock() {
    assert_eq!(clock(Some(&tp(0)), None, now()).state, State::Ok);
    assert_eq!(clock(Some(&tp(-2)), None, now()).state, State::Ok);
    assert_eq!(clock(Some(&tp(-3)), None, now()).state, State::Fail);
    assert_eq!(clock(None, None, now()).state, State::Unknown);
}
