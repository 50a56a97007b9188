//! The types of a template provider.

use super::{HASH, at, link};
use hh_ipc::api::LinkState;
use hh_ipc::api::template_provider::{
    CoinbaseOutput, NodeCondition, NodeStatus, Solution, TemplateClient, TemplateDetail,
    TemplateProviderStatus, TemplateSummary, TemplateValidity,
};

pub(crate) fn template() -> TemplateSummary {
    TemplateSummary {
        template_id: 99,
        height: 211,
        prev_hash: HASH.into(),
        trigger: "new_block".into(),
        node: "near".into(),
        transactions: 17,
        fees_sat: 1234,
        value_sat: 5_000_001_234,
        weight_wu: 12_345,
        generation_seconds: 0.0125,
        created_at: at(10),
    }
}

pub(crate) fn template_detail() -> TemplateDetail {
    TemplateDetail {
        summary: template(),
        validity: TemplateValidity::Stale,
        version: 0x2000_0000,
        nbits: "1d00ffff".into(),
        header_timestamp: 1_764_000_000,
        coinbase_prefix_hex: "02d300".into(),
        coinbase_outputs: vec![CoinbaseOutput {
            value_sat: 0,
            script_hex: "6a24aa21a9ed".into(),
        }],
        merkle_path_length: 5,
        reserved_weight_wu: 2000,
        reserved_sigops: 400,
    }
}

pub(crate) fn template_provider_status() -> TemplateProviderStatus {
    TemplateProviderStatus {
        chain: "signet".into(),
        listen_address: "127.0.0.1:34250".into(),
        authority_public_key: "9auqWEzQDVyd2oe1JVGFLMLHZtCo2FFqZwtKA5gd9xbuEu7PH72".into(),
        nodes: vec![NodeStatus {
            name: "near".into(),
            active: true,
            condition: NodeCondition::Lagging,
            since_at: at(10),
            reason: Some("it is at height 210, far has more work at height 212".into()),
            templates: link("/var/lib/bitcoin/node.sock", LinkState::Connecting),
            rpc: link("http://127.0.0.1:38332", LinkState::Up),
            version: Some(310_000),
            height: Some(210),
            tip_hash: Some(HASH.into()),
            initial_block_download: Some(false),
            latency_seconds: Some(0.0025),
        }],
        clients: vec![TemplateClient {
            peer: "127.0.0.1:40404".into(),
            connected_at: at(11),
            coinbase_output_max_additional_size_bytes: Some(64),
            coinbase_output_max_additional_sigops: Some(4),
        }],
        templates_total: 99,
        last_template: Some(template()),
        solutions: vec![Solution {
            template_id: 98,
            hash: HASH.into(),
            height: 210,
            received_at: at(12),
            outcomes: vec![("near ipc".into(), "inconclusive".into())],
        }],
    }
}
