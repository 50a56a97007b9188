//! A template that was given out, as the node keeps it.
//!
//! Owns: its transactions, which are fetched behind it, and what is asked of it by its handle. Never: outlives the handle.

use std::rc::Rc;
use std::sync::Arc;

use bitcoin_capnp_types::mining_capnp::block_template;
use tokio::sync::{mpsc, watch};
use tracing::warn;

use super::connection::Connection;
use super::read::Read;
use super::schema::Told;
use crate::rpc::Rpc;
use crate::source::block::HeaderParts;
use crate::source::{REQUESTS_MAX, Request, Solution, SourceError, TemplateHandle};
use crate::submit::{self, BlockOutcome};
use crate::template::{BlockSlot, TemplateBlock};

/// Starts the task that keeps the template in the node, fetches its transactions, if it has any, and submits its solutions, until nobody
/// holds the handle.
pub(super) fn keep(
    connection: &Rc<Connection>,
    rpc: &Rpc,
    read: &Read,
) -> (TemplateHandle, BlockSlot) {
    let (requests, asked) = mpsc::channel(REQUESTS_MAX);
    let (arrived, slot) = if read.template.merkle_path.is_empty() {
        // Its coinbase is all of it. To ask for the rest would only lose a block to a node that dies meanwhile.
        let empty = TemplateBlock::of_transactions(Vec::new(), 0, 0);
        (None, BlockSlot::filled(Arc::new(empty)))
    } else {
        let (arrived, slot) = BlockSlot::new();
        (Some(arrived), slot)
    };
    let kept = Rc::new(Kept {
        connection: Rc::clone(connection),
        client: read.client.clone(),
        rpc: rpc.clone(),
        header: HeaderParts::of(&read.template, &read.tip),
        block: slot.clone(),
    });
    tokio::task::spawn_local(async move {
        let fetching = async {
            if let Some(arrived) = arrived {
                fetch_block(&kept.connection, &kept.client, arrived).await;
            }
        };
        tokio::join!(fetching, kept.answer(asked));
    });
    (TemplateHandle { requests }, slot)
}

struct Kept {
    connection: Rc<Connection>,
    client: block_template::Client,
    rpc: Rpc,
    header: HeaderParts,
    block: BlockSlot,
}

impl Kept {
    /// Each beside the others: a verdict may take its time, and a second block does not wait for it.
    async fn answer(self: &Rc<Self>, mut asked: mpsc::Receiver<Request>) {
        while let Some(Request { solution, answer }) = asked.recv().await {
            let kept = Rc::clone(self);
            // The asker may have given up; what was submitted is with the node all the same.
            tokio::task::spawn_local(async move {
                drop(answer.send(kept.submit(&solution).await));
            });
        }
    }

    async fn submit(&self, solution: &Solution) -> Result<BlockOutcome, SourceError> {
        let told = self
            .connection
            .submit_solution(&self.client, solution)
            .await?;
        if told.is_verdict() {
            return Ok(told.outcome());
        }
        let mut block = self.block.clone();
        let assembled = match block.arrived().await {
            Some(block) => self.header.assemble(&block, solution),
            None => None,
        };
        let Some(block) = assembled else {
            return Ok(told.outcome());
        };
        Ok(match (told, submit::verdict(&self.rpc, &block).await) {
            (Told::Taken(true), Ok(BlockOutcome::Duplicate)) => BlockOutcome::Accepted,
            (told, Ok(BlockOutcome::Inconclusive) | Err(_)) => told.outcome(),
            (_, Ok(verdict)) => verdict,
        })
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
