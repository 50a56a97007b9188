//! A template: how long until a client of the template provider has it, from the moment at which the node says that it has a
//! new block.

use super::blocks::{BlockWatch, generate};
use super::client::{ClientError, client};
use super::mempool;
use super::report::{Figures, Row};
use super::samples::Samples;
use super::server::Stage;
use bitcoincore_rpc::RpcApi;
use hh_sv2::message::{CoinbaseOutputConstraints, Protocol};
use hh_sv2::setup::{SETUP_DEADLINE, client_setup};
use hh_sv2::{Connection, Limits, Message};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Between two blocks: everything is at rest again.
const PAUSE: Duration = Duration::from_millis(300);

/// A template that takes longer is not coming.
const ARRIVAL_MAX: Duration = Duration::from_secs(10);

/// Tips that wait to be looked at.
const TIPS: usize = 16;

/// One P2WSH output, as a pool asks for.
const CONSTRAINTS: CoinbaseOutputConstraints = CoinbaseOutputConstraints {
    coinbase_output_max_additional_size: 43,
    coinbase_output_max_additional_sigops: 0,
};

/// `count` new tips with an empty mempool.
///
/// # Errors
/// The template provider refuses.
///
/// # Panics
/// If the node makes no block.
pub async fn empty(stage: &Stage, count: usize) -> Result<Figures, ClientError> {
    let samples = measure(stage, count, generate, false).await?;
    Ok(vec![(Row::TemplateP99, samples.percentile_ms(99))])
}

/// `count` new tips while `transactions` lie in the mempool, and stay there, until the template that has them. The one without
/// them, which comes first, does not count.
///
/// # Errors
/// The template provider refuses.
///
/// # Panics
/// If the node does not take the transactions, or makes no block.
pub async fn full(
    stage: &Stage,
    count: usize,
    transactions: usize,
) -> Result<Figures, ClientError> {
    mempool::fill(&stage.node, transactions);
    let samples = measure(stage, count, generate_without_mempool, true).await?;
    Ok(vec![(Row::TemplateFull, samples.mean_ms())])
}

async fn measure(
    stage: &Stage,
    count: usize,
    make_block: fn(&bitcoincore_rpc::Client),
    with_transactions: bool,
) -> Result<Samples, ClientError> {
    let connection = subscribe(stage).await?;
    let (sender, mut tips) = mpsc::channel(TIPS);
    let mut listening = JoinSet::new();
    listening.spawn(listen(connection, sender, with_transactions));
    let mut watch = BlockWatch::start(&stage.node);
    let mut samples = Samples::default();
    for _ in 0..count {
        tokio::time::sleep(PAUSE).await;
        let client = stage.node.rpc();
        let (hash, told_at) = watch.make_block(move || make_block(&client)).await;
        let arrival = async {
            while let Some((prev_hash, at)) = tips.recv().await {
                if prev_hash == hash {
                    return at.saturating_duration_since(told_at);
                }
            }
            ARRIVAL_MAX
        };
        let took = tokio::time::timeout(ARRIVAL_MAX, arrival).await;
        samples.push(took.unwrap_or(ARRIVAL_MAX));
    }
    Ok(samples)
}

async fn subscribe(stage: &Stage) -> Result<Connection, ClientError> {
    let address = stage.tp_address;
    let mut connection =
        Connection::connect(&address.to_string(), Some(&stage.tp_key), &Limits::CLIENT).await?;
    let setup = client(Protocol::TemplateDistributionProtocol, address);
    client_setup(&mut connection, &setup, SETUP_DEADLINE).await?;
    connection.queue(CONSTRAINTS)?;
    connection.flush().await?;
    Ok(connection)
}

/// Tells when a template and the tip that it is for have both come; with transactions if that is wanted.
async fn listen(
    mut connection: Connection,
    tips: mpsc::Sender<([u8; 32], Instant)>,
    with_transactions: bool,
) -> Result<(), ClientError> {
    let mut future = BTreeSet::new();
    let mut tip = None;
    loop {
        let arrived = match connection.recv().await? {
            Message::NewTemplate(template) => {
                let counts = !with_transactions || !template.merkle_path.is_empty();
                if template.future_template && counts {
                    future.insert(template.template_id);
                }
                tip.filter(|_| counts && !template.future_template)
            }
            Message::TemplateSetNewPrevHash(new) => {
                tip = Some(*new.prev_hash.as_array());
                tip.filter(|_| future.contains(&new.template_id))
            }
            _ => None,
        };
        if let Some(prev_hash) = arrived {
            // Nobody waits for it where the measure has ended.
            tips.try_send((prev_hash, Instant::now())).ok();
        }
    }
}

/// Makes a block that leaves the mempool as it is.
fn generate_without_mempool(client: &bitcoincore_rpc::Client) {
    let address = crate::bitcoin_core::anyone_can_spend(crate::bitcoin_core::Chain::Regtest);
    let nothing: [&str; 0] = [];
    client
        .call::<serde_json::Value>(
            "generateblock",
            &[address.to_string().into(), nothing.as_slice().into()],
        )
        .expect("the node makes a block");
}
