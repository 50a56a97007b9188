//! A template that was given out, as the node keeps it.
//!
//! Owns: its transactions, which are fetched behind it, and what is asked of it by its handle. Never: outlives the handle.

use std::rc::Rc;
use std::sync::Arc;

use bitcoin_capnp_types::mining_capnp::block_template;
use tokio::sync::{mpsc, watch};
use tracing::warn;

use super::connection::Connection;
use crate::source::{REQUESTS_MAX, Request, SourceError, TemplateHandle};
use crate::submit::BlockOutcome;
use crate::template::{BlockSlot, TemplateBlock};

/// Starts the task that keeps the template in the node, fetches its transactions and submits its solutions, until nobody
/// holds the handle.
pub(super) fn keep(
    connection: &Rc<Connection>,
    client: block_template::Client,
) -> (TemplateHandle, BlockSlot) {
    let (requests, asked) = mpsc::channel(REQUESTS_MAX);
    let (arrived, slot) = BlockSlot::new();
    let connection = Rc::clone(connection);
    tokio::task::spawn_local(async move {
        tokio::join!(
            fetch_block(&connection, &client, arrived),
            answer_requests(&connection, &client, asked)
        );
    });
    (TemplateHandle { requests }, slot)
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
