//! Follows one reservation class: a first template, then one for each new tip and each step of the fees.
//!
//! Owns: which template is waited on, and which of the node's answers are given out. Never: gives out a template on an
//! unchanged tip that gains less than the configured step on the one before.
//!
//! On a new tip the node builds what the template waited on was built from. With many transactions in the mempool that is
//! one without them: it has a block's header and coinbase in a millisecond, and the template with the transactions, which
//! takes the node tens of them, follows. Miners get two jobs then, so with few transactions there is the full one only.

use std::pin::pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bitcoin_capnp_types::mining_capnp::{MAX_MONEY, block_template};
use hh_mining::Tip;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::connection::{Connection, Fetched, TemplateThreads};
use super::kept::keep;
use super::read::{Read, read};
use super::schema::Create;
use crate::rpc::Rpc;
use crate::source::{Pending, SourceError, SourceEvent, arrived};
use crate::template::{NodeTemplate, Reservation, Trigger};

/// How long the node may wait before it says that nothing changed. Finite, so that a node that hangs is noticed.
const WAIT: Duration = Duration::from_secs(30);
/// A node that says "nothing" at once, again and again, is stopping: don't spin meanwhile.
const IDLE_PAUSE: Duration = Duration::from_millis(100);
/// Between two looks at the fees, each of which makes the node build a template.
const LOOK_AT_FEES: Duration = Duration::from_secs(1);
/// With a merkle path as long as this, which is from 512 transactions on, a tip brings a coinbase-only template first. That is
/// here in 2 ms whatever the mempool; the full one takes the node some 40 ms with 4,000 transactions.
const COINBASE_ONLY_PATH_MIN: usize = 10;

/// One class on one connection.
pub(super) struct Follower {
    pub(super) connection: Rc<Connection>,
    /// For the verdict on a block that mining IPC has none for.
    pub(super) rpc: Rpc,
    pub(super) reservation: Reservation,
    pub(super) cooldown: bool,
    pub(super) fee_delta_sats: u64,
    pub(super) refresh_interval: Duration,
    pub(super) events: mpsc::Sender<SourceEvent>,
    /// Ends this class alone.
    pub(super) stop: CancellationToken,
}

impl Follower {
    /// Ends with the class (`Ok`) or with the connection.
    pub(super) async fn run(self) -> Result<(), SourceError> {
        let stop = self.stop.clone();
        let tips = Rc::new(self.connection.template_threads().await?);
        let builds = Rc::new(self.connection.template_threads().await?);
        let create = Create {
            reservation: self.reservation,
            use_mempool: true,
            cooldown: self.cooldown,
        };
        let created = self.connection.create_new_block(&builds, create);
        let Some(created) = stop.run_until_cancelled(created).await else {
            self.connection.interrupt();
            return Ok(());
        };
        let given = self.publish(read(created?)?, Trigger::Start).await?;
        let mut following = Following {
            fees_at: self.next_fees_at(),
            bare: None,
            look: None,
            follower: self,
            tips,
            builds,
            given,
        };
        if let Some(ended) = stop.run_until_cancelled(following.run()).await {
            return ended;
        }
        let waiter = following.waiter();
        following.follower.connection.interrupt_wait(&waiter.client);
        Ok(())
    }

    fn next_fees_at(&self) -> Instant {
        Instant::now() + self.refresh_interval.max(LOOK_AT_FEES)
    }

    /// Gives the template out.
    async fn publish(&self, read: Read, trigger: Trigger) -> Result<Given, SourceError> {
        let given = Given {
            client: read.client.clone(),
            tip: read.tip,
            height: read.height,
            value_sats: read.template.coinbase_tx_value_remaining,
            path_len: read.template.merkle_path.len(),
        };
        let (handle, block) = keep(&self.connection, &self.rpc, &read);
        let event = NodeTemplate {
            reservation: self.reservation,
            trigger,
            template: read.template,
            tip: read.tip,
            height: read.height,
            coinbase_witness: read.coinbase_witness,
            announced_at: read.announced_at,
            fetch_time: read.announced_at.elapsed(),
            block,
            handle,
        };
        self.events
            .send(SourceEvent::Template(Box::new(event)))
            .await
            .map_err(|_stopped| SourceError::Lost)?;
        Ok(given)
    }
}

/// What was given out last.
struct Given {
    client: block_template::Client,
    tip: Tip,
    height: u32,
    value_sats: u64,
    path_len: usize,
}

impl Given {
    /// The difficulty changes on an unchanged tip on test chains where it falls when no block came for 20 minutes.
    fn is_on(&self, tip: &Tip) -> bool {
        (self.tip.prev_hash, self.tip.nbits) == (tip.prev_hash, tip.nbits)
    }
}

/// A template to wait on.
struct Waiter {
    client: block_template::Client,
    coinbase_only: bool,
}

/// A class with its first template.
struct Following {
    follower: Follower,
    /// Threads for the wait, and for what is built while it lasts.
    tips: Rc<TemplateThreads>,
    builds: Rc<TemplateThreads>,
    given: Given,
    /// A coinbase-only template on the same tip.
    bare: Option<block_template::Client>,
    /// A look at the fees that is under way.
    look: Pending<Option<Fetched>>,
    /// When the next one is due.
    fees_at: Instant,
}

impl Following {
    async fn run(&mut self) -> Result<(), SourceError> {
        loop {
            if self.given.path_len < COINBASE_ONLY_PATH_MIN {
                self.bare = None;
            } else if self.bare.is_none() {
                let bare = self.create(&Rc::clone(&self.tips), false).await?;
                self.on_coinbase_only(bare).await?;
                continue;
            }
            let waiter = self.waiter();
            match self.wait(&waiter).await? {
                Some(next) if waiter.coinbase_only => self.on_coinbase_only(read(next)?).await?,
                Some(next) => self.on_full(read(next)?).await?,
                None => {}
            }
        }
    }

    fn waiter(&self) -> Waiter {
        Waiter {
            client: self.bare.as_ref().unwrap_or(&self.given.client).clone(),
            coinbase_only: self.bare.is_some(),
        }
    }

    async fn create(
        &self,
        threads: &TemplateThreads,
        use_mempool: bool,
    ) -> Result<Read, SourceError> {
        let create = Create {
            reservation: self.follower.reservation,
            use_mempool,
            cooldown: false,
        };
        read(
            self.follower
                .connection
                .create_new_block(threads, create)
                .await?,
        )
    }

    /// For a new tip, looking at the fees meanwhile.
    async fn wait(&mut self, waiter: &Waiter) -> Result<Option<Fetched>, SourceError> {
        let asked_at = Instant::now();
        let tips = Rc::clone(&self.tips);
        let mut wait = pin!(tips.wait_next(&waiter.client, WAIT, MAX_MONEY));
        loop {
            let fees_at = self.fees_at;
            tokio::select! {
                next = &mut wait => {
                    let next = next?;
                    if next.is_none() && asked_at.elapsed() < WAIT / 2 {
                        tokio::time::sleep(IDLE_PAUSE).await;
                    }
                    return Ok(next);
                }
                looked = arrived(&mut self.look) => {
                    self.look = None;
                    self.on_fees(looked?).await?;
                }
                () = tokio::time::sleep_until(fees_at.into()), if self.look.is_none() => self.start_look(),
            }
        }
    }

    /// A wait without time is one look.
    fn start_look(&mut self) {
        let (builds, client) = (Rc::clone(&self.builds), self.given.client.clone());
        let delta = i64::try_from(self.follower.fee_delta_sats).unwrap_or(MAX_MONEY);
        self.look = Some(Box::pin(async move {
            builds.wait_next(&client, Duration::ZERO, delta).await
        }));
    }

    async fn on_fees(&mut self, looked: Option<Fetched>) -> Result<(), SourceError> {
        self.fees_at = Instant::now() + LOOK_AT_FEES;
        let Some(fetched) = looked else {
            return Ok(());
        };
        let read = read(fetched)?;
        let value_sats = read.template.coinbase_tx_value_remaining;
        let step = self.follower.fee_delta_sats;
        if read.height > self.given.height {
            self.give(read, Trigger::NewBlock).await?;
        } else if self.given.is_on(&read.tip)
            && value_sats >= self.given.value_sats.saturating_add(step)
        {
            self.give(read, Trigger::Mempool).await?;
        }
        // What was built on a tip of before comes late.
        Ok(())
    }

    /// On some test chains it is of an unchanged tip, each second once no block came for 20 minutes.
    async fn on_full(&mut self, read: Read) -> Result<(), SourceError> {
        if self.given.is_on(&read.tip) {
            return Ok(());
        }
        self.give(read, Trigger::NewBlock).await
    }

    async fn on_coinbase_only(&mut self, read: Read) -> Result<(), SourceError> {
        self.bare = Some(read.client.clone());
        if self.given.is_on(&read.tip) {
            return Ok(());
        }
        self.give(read, Trigger::CoinbaseOnly).await?;
        let full = self.build_full().await?;
        let trigger = if self.given.is_on(&full.tip) {
            Trigger::Transactions
        } else {
            Trigger::NewBlock
        };
        self.give(full, trigger).await
    }

    /// A template with transactions on the tip of now.
    async fn build_full(&mut self) -> Result<Read, SourceError> {
        if let Some(look) = self.look.take()
            && let Some(fetched) = look.await?
        {
            let read = read(fetched)?;
            if self.given.is_on(&read.tip) {
                return Ok(read);
            }
        }
        self.create(&self.builds, true).await
    }

    async fn give(&mut self, read: Read, trigger: Trigger) -> Result<(), SourceError> {
        self.given = self.follower.publish(read, trigger).await?;
        self.fees_at = self.follower.next_fees_at();
        Ok(())
    }
}
