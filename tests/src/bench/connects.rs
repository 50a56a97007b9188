//! What a connection costs: time to the first job, memory, and how long one that says nothing is kept.

use super::client::{Client, ClientError};
use super::report::{Figures, Row};
use super::samples::Samples;
use super::server::Server;
use super::usage::memory_at_rest;
use hh_sv2::{Connection, Limits};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// Connecting at a time, so that no server's listen backlog decides.
const CONNECTING_MAX: usize = 200;

/// Cycles of connecting and leaving, after which memory is compared with that after the first.
const CYCLES: usize = 4;

/// Connections that say nothing.
const IDLE: usize = 5;

/// One that is there for so long is never dropped.
const IDLE_MAX: Duration = Duration::from_secs(20);

/// `count` connections one after the other, each with its channel and job.
///
/// # Errors
/// The server refuses.
pub async fn first_job(server: &Server, count: usize) -> Result<Figures, ClientError> {
    let mut samples = Samples::default();
    for number in 0..count {
        let start = Instant::now();
        let client = Client::open(server.address, &server.key, number).await?;
        samples.push(start.elapsed());
        drop(client);
    }
    Ok(vec![(Row::FirstJob, samples.percentile_ms(50))])
}

/// `count` connections at once, again and again: how long the last of them waits, and what all of them take of memory.
///
/// # Errors
/// The server refuses.
pub async fn storm(server: &Server, count: usize) -> Result<Figures, ClientError> {
    let empty = memory_at_rest(server.pid).await;
    let (samples, clients) = connect(server, count).await?;
    let held = memory_at_rest(server.pid).await;
    drop(clients);
    let first = memory_at_rest(server.pid).await;
    for _ in 1..CYCLES {
        let (_, clients) = connect(server, count).await?;
        drop(clients);
        memory_at_rest(server.pid).await;
    }
    let last = memory_at_rest(server.pid).await;
    Ok(vec![
        (Row::Storm, samples.percentile_ms(99)),
        (Row::Memory1000, kilobytes_each(empty, held, count)),
        (Row::CyclesRatio, as_f64(last) / as_f64(first)),
        (Row::CyclesMemory, as_f64(last) / 1e6),
    ])
}

/// Memory of `count` connections held.
///
/// # Errors
/// The server refuses.
pub async fn memory(server: &Server, count: usize) -> Result<Figures, ClientError> {
    let empty = memory_at_rest(server.pid).await;
    let (_, clients) = connect(server, count).await?;
    let held = memory_at_rest(server.pid).await;
    drop(clients);
    Ok(vec![(Row::Memory4000, kilobytes_each(empty, held, count))])
}

/// How long the server keeps connections that shake hands and say nothing more; infinite for ever.
///
/// # Errors
/// The server takes no connections.
pub async fn idle(server: &Server) -> Result<Figures, ClientError> {
    let waits = (0..IDLE).map(|_| async {
        let stream = TcpStream::connect(server.address).await?;
        let mut connection =
            Connection::initiate(stream, Some(&server.key), &Limits::CLIENT).await?;
        let start = Instant::now();
        let ended =
            tokio::time::timeout(IDLE_MAX, async { while connection.recv().await.is_ok() {} });
        let seconds = ended
            .await
            .map_or(f64::INFINITY, |()| start.elapsed().as_secs_f64());
        Ok::<_, ClientError>(seconds)
    });
    let waits = futures::future::try_join_all(waits).await?;
    let longest = waits.into_iter().fold(0.0, f64::max);
    Ok(vec![(Row::Idle, longest)])
}

/// `count` connections with their channels and jobs, at most [`CONNECTING_MAX`] at a time, and how long each took.
///
/// # Errors
/// The server refuses.
pub async fn connect(server: &Server, count: usize) -> Result<(Samples, Vec<Client>), ClientError> {
    let (address, key) = (server.address, server.key);
    let open = move |number| async move { Client::open(address, &key, number).await };
    open_all(count, open).await
}

/// The same for clients of any kind.
///
/// # Errors
/// The server refuses.
pub(super) async fn open_all<C, F>(
    count: usize,
    open: impl Fn(usize) -> F,
) -> Result<(Samples, Vec<C>), ClientError>
where
    C: Send + 'static,
    F: Future<Output = Result<C, ClientError>> + Send + 'static,
{
    // A task for each: the clients of one task take turns unfairly, which would be told as the server's.
    let mut opening = JoinSet::new();
    let (mut samples, mut clients) = (Samples::default(), Vec::new());
    for number in 0..count {
        let open = open(number);
        opening.spawn(async move {
            let start = Instant::now();
            let client = open.await?;
            Ok::<_, ClientError>((start.elapsed(), client))
        });
        let wanted = if number + 1 == count {
            0
        } else {
            CONNECTING_MAX - 1
        };
        while opening.len() > wanted
            && let Some(opened) = opening.join_next().await
        {
            let (took, client) = opened.expect("opening a client does not panic")?;
            samples.push(took);
            clients.push(client);
        }
    }
    Ok((samples, clients))
}

pub(super) fn kilobytes_each(before: u64, after: u64, count: usize) -> f64 {
    as_f64(after.saturating_sub(before)) / 1e3 / as_f64(count as u64)
}

#[expect(clippy::cast_precision_loss, reason = "for display")]
fn as_f64(value: u64) -> f64 {
    value as f64
}
