//! SV1 miners behind a translator, ours and the reference implementation's, each in front of the same hh-pool.

pub mod client;
pub mod shares;
pub mod translator;

use super::blocks;
use super::client::{Arrivals, ClientError};
use super::connects::{kilobytes_each, open_all};
use super::report::{Figures, Row};
use super::samples::Samples;
use super::server::Stage;
use super::usage::memory_at_rest;
use client::Sv1Client;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::JoinSet;
use translator::Translator;

/// `count` miners one after the other: from the connect to the first job, with all that firmware says in between.
///
/// # Errors
/// The translator refuses.
pub async fn first_job(translator: &Translator, count: usize) -> Result<Figures, ClientError> {
    let mut samples = Samples::default();
    for number in 0..count {
        let start = Instant::now();
        let client = Sv1Client::open(translator.address, number).await?;
        samples.push(start.elapsed());
        drop(client);
    }
    Ok(vec![(Row::Sv1FirstJob, samples.percentile_ms(50))])
}

/// What `count` miners held take of the translator's memory.
///
/// # Errors
/// The translator refuses.
pub async fn memory(translator: &Translator, count: usize) -> Result<Figures, ClientError> {
    let empty = memory_at_rest(translator.pid).await;
    let clients = connect(translator, count).await?;
    let held = memory_at_rest(translator.pid).await;
    drop(clients);
    Ok(vec![(Row::Sv1Memory, kilobytes_each(empty, held, count))])
}

/// Makes `count` blocks while `connections` miners are there that say nothing.
///
/// # Errors
/// The translator refuses.
///
/// # Panics
/// If the node makes no block.
pub async fn new_blocks(
    translator: &Translator,
    stage: &Stage,
    connections: usize,
    count: usize,
) -> Result<Figures, ClientError> {
    let clients = connect(translator, connections).await?;
    let arrivals = Arc::new(Arrivals::default());
    let mut listening = JoinSet::new();
    for client in clients {
        listening.spawn(client.listen(Arc::clone(&arrivals)));
    }
    let samples = blocks::sample(stage, &arrivals, connections, count).await;
    Ok(vec![
        (Row::Sv1BlockP50, samples.percentile_ms(50)),
        (Row::Sv1BlockP99, samples.percentile_ms(99)),
    ])
}

async fn connect(translator: &Translator, count: usize) -> Result<Vec<Sv1Client>, ClientError> {
    let address = translator.address;
    let open = move |number| Sv1Client::open(address, number);
    let (_, clients) = open_all(count, open).await?;
    Ok(clients)
}
