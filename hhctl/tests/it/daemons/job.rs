//! The job of a pool, and its coinbase.

use super::{HASH, TIP, seconds_ago, up};
use hh_ipc::api::pool::{
    CoinbaseDetail, CoinbaseOutput, CurrentJob, ExtranonceLayout, FutureTemplate, JobChannels,
    ScriptSigPart,
};
use hh_ipc::{ApiError, ErrorKind};

/// What a pool says to which no template has come.
pub(super) fn none() -> ApiError {
    let message = "there is no job: no template came (127.0.0.1:34250: connection refused)";
    ApiError::new(ErrorKind::NotFound, "HH2011", message)
}

pub(super) fn current() -> CurrentJob {
    CurrentJob {
        job_id: 4928,
        template_id: 42,
        template_provider: up("127.0.0.1:34250"),
        template_connection_up: true,
        received_at: seconds_ago(12),
        height: 1204,
        prev_hash: TIP.to_owned(),
        nbits: "1e0377ae".to_owned(),
        network_difficulty: 0.001_126_515_3,
        min_ntime: 1_764_071_000,
        version: "20000000".to_owned(),
        transactions: Some(12),
        coinbase_only: false,
        value_sat: 5_000_003_456,
        merkle_path_length: 4,
        jobs: vec![
            JobChannels {
                job_id: 4928,
                channels: 1_234,
            },
            JobChannels {
                job_id: 4931,
                channels: 5,
            },
        ],
        channels_behind: 1,
        future_templates: vec![FutureTemplate {
            template_id: 43,
            height: 1205,
            received_at: seconds_ago(1),
        }],
    }
}

pub(super) fn coinbase() -> CoinbaseDetail {
    let part = |part: &str, hex: &str, text: Option<&str>| ScriptSigPart {
        part: part.to_owned(),
        hex: hex.to_owned(),
        text: text.map(str::to_owned),
    };
    let reward = CoinbaseOutput {
        value_sat: 5_000_003_456,
        kind: "p2wpkh".to_owned(),
        address: Some("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx".to_owned()),
        script_hex: "0014751e76e8199196d454941c45d1b3a323f1433bd6".to_owned(),
        of_pool: true,
    };
    let commitment = CoinbaseOutput {
        value_sat: 0,
        kind: "witness_commitment".to_owned(),
        address: None,
        script_hex: format!("6a24aa21a9ed{HASH}"),
        of_pool: false,
    };
    CoinbaseDetail {
        job_id: 4928,
        template_id: 42,
        height: 1204,
        prefix_hex: "0200000001".to_owned(),
        suffix_hex: "feffffff02".to_owned(),
        extranonce: ExtranonceLayout {
            offset_bytes: 59,
            size_bytes: 16,
            server_id: 1,
            server_id_bytes: 2,
            channel_bytes: 6,
            miner_bytes: 8,
        },
        script_sig: vec![
            part("height", "b404", Some("1204")),
            part("push", "2f487970657220486173682f", Some("/Hyper Hash/")),
            part("extranonce", "", None),
        ],
        script_sig_bytes: 33,
        version: 2,
        sequence: 0xffff_fffe,
        locktime: 1203,
        outputs: vec![reward, commitment],
        value_sat: 5_000_003_456,
        template_value_sat: 5_000_003_456,
        weight_wu: 760,
    }
}
