//! Block relay at a node: core is told of each new block of the node's Bitcoin Core, and what other nodes have first is given to it.
//!
//! It has a connection of its own, while there is a session: a block on a slow line holds up no order and no telemetry. Nothing that comes
//! over it is believed: Bitcoin Core judges each header before its block is asked for, and each block.

mod chain;
mod stream;
mod uploads;

use crate::backoff::Backoff;
use crate::dial::{self, DialError, Target};
use hh_bitcoin::{ChainTip, NodeConfig, Rpc};
use hh_daemon::{Chain, Failure, Tasks};
use std::time::{Duration, Instant};
use stream::{End, Stream};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// A stream that lasted so long was a good one: the next is not waited for.
const GOOD_STREAM: Duration = Duration::from_secs(60);

/// The task.
pub(crate) struct Relay {
    rpc: Rpc,
    /// Where core is, while there is a session with it.
    target: watch::Receiver<Option<Target>>,
    tip: watch::Receiver<Option<ChainTip>>,
    tasks: Tasks,
    /// What was said last of why there is no stream: it is said once.
    said: String,
}

impl Relay {
    /// Starts it, and what follows the tip of Bitcoin Core. That may come later.
    ///
    /// # Errors
    /// The configuration can't be used.
    pub(crate) fn start(
        node: &NodeConfig,
        target: watch::Receiver<Option<Target>>,
        tasks: &Tasks,
    ) -> Result<(), Failure> {
        let rpc = node.rpc().map_err(Failure::config)?;
        metrics::describe_counter!(
            "hyperhash_agent_relayed_blocks_total",
            "Blocks of other nodes that Bitcoin Core was given, by what it made of them"
        );
        let (told, tip) = watch::channel(None);
        let stop = tasks.token();
        tasks.spawn(
            "bitcoin tip",
            chain::follow(rpc.clone(), told, stop.clone()),
        );
        let relay = Self {
            rpc,
            target,
            tip,
            tasks: tasks.clone(),
            said: String::new(),
        };
        tasks.spawn("block relay", relay.run(stop.clone()));
        Ok(())
    }

    async fn run(mut self, stop: CancellationToken) -> Result<(), Failure> {
        stop.run_until_cancelled(self.keep()).await;
        Ok(())
    }

    /// Has a stream as long as there is a session and a Bitcoin Core, and another one when it has ended.
    async fn keep(&mut self) {
        let mut backoff = Backoff::default();
        loop {
            let target = self.target.wait_for(Option::is_some).await;
            // Its other end is gone only when the agent stops.
            let Some(target) = target.ok().and_then(|target| target.clone()) else {
                return;
            };
            if self.tip.wait_for(Option::is_some).await.is_err() {
                return;
            }
            let began = Instant::now();
            match self.stream(&target).await {
                Ok(end) => self.say(&Chain(&end).to_string()),
                Err(error) => self.say(&Chain(&error).to_string()),
            }
            if began.elapsed() >= GOOD_STREAM {
                backoff.reset();
            }
            tokio::time::sleep(backoff.dial_pause()).await;
        }
    }

    async fn stream(&mut self, target: &Target) -> Result<End, DialError> {
        let channel = dial::dial(target, &self.tasks).await?;
        let stream = Stream::open(&channel, &self.rpc, &self.tip, &self.tasks).await?;
        self.said.clear();
        tracing::info!("block relay with core begun");
        Ok(stream.run().await)
    }

    fn say(&mut self, why: &str) {
        if self.said == why {
            tracing::debug!(why, "no block relay with core");
        } else {
            tracing::info!(why, "no block relay with core");
            why.clone_into(&mut self.said);
        }
    }
}
