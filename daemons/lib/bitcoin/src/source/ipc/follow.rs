//! Follows one reservation class: a first template, then one for each new tip and each step of the fees.
//!
//! Owns: the wait loop, and turning the node's answers into a [`NodeTemplate`]. Never: gives out a template that gains less
//! than the configured step on the one before.

use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bitcoin::block::Header;
use bitcoin::consensus::encode::deserialize;
use bitcoin_capnp_types::mining_capnp::{MAX_MONEY, block_template};
use hh_mining::{Template, Tip};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::connection::{Connection, Fetched, FollowerThreads, Parts, interrupt_wait};
use crate::source::{REQUESTS_MAX, Request, SourceError, SourceEvent, TemplateHandle};
use crate::submit::BlockOutcome;
use crate::template::{BlockSlot, NodeTemplate, Reservation, TemplateBlock, Trigger};

/// How long the node may wait before it says that nothing changed. Finite, so that a node that hangs is noticed.
const WAIT: Duration = Duration::from_secs(30);
/// A node that says "nothing" at once, again and again, is stopping: don't spin meanwhile.
const IDLE_PAUSE: Duration = Duration::from_millis(100);

/// One class on one connection.
pub(super) struct Follower {
    pub(super) connection: Rc<Connection>,
    pub(super) reservation: Reservation,
    pub(super) cooldown: bool,
    pub(super) fee_delta_sats: u64,
    pub(super) refresh_interval: Duration,
    pub(super) events: mpsc::Sender<SourceEvent>,
    /// Ends this class alone.
    pub(super) stop: CancellationToken,
}

/// What the node gave last.
struct Current {
    client: block_template::Client,
    template: Template,
    tip: Tip,
}

/// A template in our own types.
struct Read {
    client: block_template::Client,
    template: Template,
    tip: Tip,
    height: u32,
    coinbase_witness: Vec<u8>,
    announced_at: Instant,
}

impl Follower {
    /// Ends with the class (`Ok`) or with the connection.
    pub(super) async fn run(self) -> Result<(), SourceError> {
        let threads = self.connection.follower_threads().await?;
        let create = self
            .connection
            .create_new_block(&threads, self.reservation, self.cooldown);
        let Some(created) = self.stop.run_until_cancelled(create).await else {
            self.connection.interrupt();
            return Ok(());
        };
        let mut current = self.publish(read(created?)?, Trigger::Start).await?;
        let stop = self.stop.clone();
        if let Some(ended) = stop
            .run_until_cancelled(self.wait_and_publish(&threads, &mut current))
            .await
        {
            return ended;
        }
        interrupt_wait(&current.client);
        Ok(())
    }

    async fn wait_and_publish(
        &self,
        threads: &FollowerThreads,
        current: &mut Current,
    ) -> Result<(), SourceError> {
        let mut refresh_at = Instant::now() + self.refresh_interval;
        loop {
            let asked_at = Instant::now();
            // Looking at the fees makes the node build a template every second: not before we would take it.
            let (timeout, fee_threshold) = match refresh_at.checked_duration_since(asked_at) {
                Some(left) if !left.is_zero() => (left.min(WAIT), MAX_MONEY),
                _ => (
                    WAIT,
                    i64::try_from(self.fee_delta_sats).unwrap_or(MAX_MONEY),
                ),
            };
            let Some(next) = threads
                .wait_next(&current.client, timeout, fee_threshold)
                .await?
            else {
                if asked_at.elapsed() < timeout / 2 {
                    tokio::time::sleep(IDLE_PAUSE).await;
                }
                continue;
            };
            let fetched = read(next)?;
            let Some(trigger) = self.trigger(current, &fetched, refresh_at) else {
                // On some test chains the node gives out a template each second once no block came for 20 minutes.
                continue;
            };
            *current = self.publish(fetched, trigger).await?;
            refresh_at = Instant::now() + self.refresh_interval;
        }
    }

    /// Why this template is to be given out after that one, if it is.
    fn trigger(&self, before: &Current, now: &Read, refresh_at: Instant) -> Option<Trigger> {
        // The difficulty changes on an unchanged tip on test chains where it falls when no block came for 20 minutes.
        let tip = |tip: &Tip| (tip.prev_hash, tip.nbits);
        if tip(&before.tip) != tip(&now.tip) {
            return Some(Trigger::NewBlock);
        }
        let rise = now
            .template
            .coinbase_tx_value_remaining
            .checked_sub(before.template.coinbase_tx_value_remaining)?;
        let due = rise >= self.fee_delta_sats && Instant::now() >= refresh_at;
        due.then_some(Trigger::Mempool)
    }

    /// Gives the template out.
    async fn publish(&self, read: Read, trigger: Trigger) -> Result<Current, SourceError> {
        let Read {
            client,
            template,
            tip,
            height,
            coinbase_witness,
            announced_at,
        } = read;
        let (handle, block) = self.keep(client.clone());
        let event = NodeTemplate {
            reservation: self.reservation,
            trigger,
            template: template.clone(),
            tip,
            height,
            coinbase_witness,
            announced_at,
            fetch_time: announced_at.elapsed(),
            block,
            handle,
        };
        self.events
            .send(SourceEvent::Template(Box::new(event)))
            .await
            .map_err(|_stopped| SourceError::Lost)?;
        Ok(Current {
            client,
            template,
            tip,
        })
    }

    /// The task that keeps the template in the node, fetches its transactions and submits its solutions, until nobody holds
    /// the handle.
    fn keep(&self, client: block_template::Client) -> (TemplateHandle, BlockSlot) {
        let (requests, asked) = mpsc::channel(REQUESTS_MAX);
        let (arrived, slot) = BlockSlot::new();
        let connection = Rc::clone(&self.connection);
        tokio::task::spawn_local(async move {
            tokio::join!(
                fetch_block(&connection, &client, arrived),
                answer_requests(&connection, &client, asked)
            );
        });
        (TemplateHandle { requests }, slot)
    }
}

async fn fetch_block(
    connection: &Connection,
    client: &block_template::Client,
    arrived: watch::Sender<Option<Arc<TemplateBlock>>>,
) {
    let fetched = tokio::select! {
        fetched = connection.block(client) => fetched,
        // Nobody holds the template any more.
        () = arrived.closed() => return,
    };
    let parsed = fetched.and_then(|(bytes, fees_sats)| {
        TemplateBlock::parse(bytes, fees_sats).map_err(|_invalid| SourceError::Malformed {
            what: "its block cannot be read",
        })
    });
    match parsed {
        Ok(block) => drop(arrived.send(Some(Arc::new(block)))),
        Err(error) => {
            warn!(
                error = &error as &dyn std::error::Error,
                "template has no transactions"
            );
        }
    }
}

async fn answer_requests(
    connection: &Connection,
    client: &block_template::Client,
    mut asked: mpsc::Receiver<Request>,
) {
    // The asker may have given up; what was submitted is with the node all the same.
    while let Some(request) = asked.recv().await {
        match request {
            Request::Submit { solution, answer } => {
                let submitted = connection.submit_solution(client, &solution).await;
                drop(answer.send(submitted.map(outcome)));
            }
            Request::Check { block, answer } => {
                drop(answer.send(connection.check_block(&block).await));
            }
        }
    }
}

/// This schema says whether the node took the block in, not whether it is valid.
fn outcome(processed: bool) -> BlockOutcome {
    if processed {
        BlockOutcome::Inconclusive
    } else {
        BlockOutcome::Rejected("rejected".to_owned())
    }
}

fn read(fetched: Fetched) -> Result<Read, SourceError> {
    let Fetched {
        client,
        parts,
        announced_at,
    } = fetched;
    let coinbase_witness = parts.witness.clone();
    let (template, tip) = read_parts(parts)?;
    let height = template.height().ok_or(SourceError::Malformed {
        what: "its coinbase does not start with a height",
    })?;
    Ok(Read {
        client,
        template,
        tip,
        height,
        coinbase_witness,
        announced_at,
    })
}

fn read_parts(parts: Parts) -> Result<(Template, Tip), SourceError> {
    let malformed = |what| SourceError::Malformed { what };
    let header: Header = deserialize(&parts.header)
        .map_err(|_invalid| malformed("its header is not 80 bytes long"))?;
    let merkle_path = parts
        .merkle_path
        .iter()
        .map(|node| <[u8; 32]>::try_from(node.as_slice()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_invalid| malformed("its merkle path has a node that is not a hash"))?;
    let value_remaining = u64::try_from(parts.value_remaining)
        .map_err(|_negative| malformed("its reward is negative"))?;
    let outputs_count = u32::try_from(parts.required_outputs.len())
        .map_err(|_many| malformed("it has too many outputs"))?;
    let template = Template {
        template_id: 0,
        version: u32::from_ne_bytes(header.version.to_consensus().to_ne_bytes()),
        coinbase_tx_version: parts.coinbase_version,
        coinbase_prefix: parts.script_sig_prefix,
        coinbase_tx_input_sequence: parts.coinbase_sequence,
        coinbase_tx_value_remaining: value_remaining,
        coinbase_tx_outputs_count: outputs_count,
        coinbase_tx_outputs: parts.required_outputs.concat(),
        coinbase_tx_locktime: parts.lock_time,
        merkle_path,
    };
    let tip = Tip::new(
        *header.prev_blockhash.as_ref(),
        header.time,
        header.bits.to_consensus(),
    )
    .map_err(|_invalid| malformed("its nBits is no target"))?;
    Ok((template, tip))
}
