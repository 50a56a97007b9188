//! One task per daemon: dials it, asks it once a second, says when it is gone, and dials again.
//!
//! It keeps nothing but its connection: what an answer means is the model's business.

use crate::backoff::Backoff;
use crate::reach::{Reach, ReachError};
use hh_ipc::ApiError;
use hh_ipc::api::pool::{Block, MinerPage, MinerQuery, PoolStatus};
use hh_ipc::api::template_provider::TemplateProviderStatus;
use hh_ipc::api::translator::{LaneDetail, TranslatorStatus};
use hh_ipc::api::treasury::{
    Channel, LightningPayment, LightningStatus, Payout, PayoutQuery, RewardBlock, TreasuryClient,
    TreasuryStatus,
};
use hh_ipc::api::{Hello, pool::PoolClient};
use hh_ipc::client::{self, RpcError};
use hh_ipc::locate::Daemon;
use std::convert::Infallible;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

/// From one question to the next.
const POLL_EVERY: Duration = Duration::from_secs(1);

/// The same where an answer has more than [`FEW_ROWS`] rows, so that looking on does not load a big pool.
const POLL_LARGE_EVERY: Duration = Duration::from_secs(3);

/// Miners up to which every poll asks for all of them, and what is asked for at once: some 100 kB.
const FEW_ROWS: u32 = 200;

/// Miners asked for at most: more than anyone scrolls through.
const MAX_MINERS: u32 = 1000;

/// Blocks asked for: more than any screen shows.
const BLOCKS: u32 = 50;

/// Payouts and payments asked for: more than anyone scrolls through.
const PAYOUTS: u32 = 200;

/// Every so many polls of hh-treasury ask for more than its status: money moves slowly, and the wallet answers slowly.
const DETAILS_EVERY: u64 = 3;

/// A daemon that does not answer for this long is taken for dead, and dialled again.
const CALL_TIMEOUT: Duration = Duration::from_secs(15);

/// What a feed tells.
#[derive(Debug)]
pub(crate) enum Event {
    Pool(Box<PoolAnswer>),
    Tp(Box<TemplateProviderStatus>),
    Translator(Box<TranslatorStatus>),
    /// What hh-translator has of each of its lanes, after its status.
    Lanes(Vec<LaneDetail>),
    Treasury(Box<TreasuryAnswer>),
    /// The daemon can't be asked; it is tried again after `retry_in`.
    Down {
        daemon: Daemon,
        why: String,
        retry_in: Duration,
    },
}

/// What hh-pool said in one poll.
#[derive(Clone, Debug)]
pub(crate) struct PoolAnswer {
    pub(crate) hello: Hello,
    pub(crate) status: PoolStatus,
    /// None in a poll that left it out; see [`FEW_ROWS`].
    pub(crate) miners: Option<MinerPage>,
    /// Newest first, or why the pool can't tell.
    pub(crate) blocks: Result<Vec<Block>, String>,
}

/// What hh-treasury said in one poll.
#[derive(Clone, Debug)]
pub(crate) struct TreasuryAnswer {
    pub(crate) status: TreasuryStatus,
    /// None in a poll that left them out; see [`DETAILS_EVERY`].
    pub(crate) details: Option<TreasuryDetails>,
}

/// What stands in lists; or why hh-treasury can't tell.
#[derive(Clone, Debug)]
pub(crate) struct TreasuryDetails {
    /// Newest first.
    pub(crate) blocks: Result<Vec<RewardBlock>, String>,
    /// Newest first.
    pub(crate) payouts: Result<Vec<Payout>, String>,
    pub(crate) lightning: Result<LightningStatus, String>,
    pub(crate) channels: Result<Vec<Channel>, String>,
    /// Newest first.
    pub(crate) payments: Result<Vec<LightningPayment>, String>,
}

/// What the user asks of all feeds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pace {
    pub(crate) paused: bool,
    /// Counts up with every wish for an answer now.
    pub(crate) refreshes: u64,
}

/// The task of one daemon.
pub(crate) struct Feed {
    pub(crate) daemon: Daemon,
    pub(crate) reach: Reach,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) pace: watch::Receiver<Pace>,
}

#[derive(Debug, thiserror::Error)]
enum FeedError {
    #[error(transparent)]
    Reach(#[from] ReachError),
    #[error("{}", call_reason(.0))]
    Call(#[from] RpcError),
    #[error("{name} answers on its socket")]
    OtherDaemon { name: String },
    #[error("it speaks protocol {theirs}, this program {}", hh_ipc::PROTOCOL)]
    Protocol { theirs: u32 },
    #[error("this program is ending")]
    Ending,
}

fn call_reason(error: &RpcError) -> String {
    match error {
        RpcError::DeadlineExceeded => {
            format!("no answer for {} s", CALL_TIMEOUT.as_secs())
        }
        RpcError::Server(refusal) => refusal.detail.clone(),
        RpcError::Shutdown | RpcError::Send(_) | RpcError::Channel(_) => {
            "it closed the connection".to_owned()
        }
    }
}

impl Feed {
    /// Asks until the other end of `events` is gone.
    pub(crate) async fn run(mut self) {
        let mut backoff = Backoff::default();
        loop {
            let why = match self.session(&mut backoff).await {
                Ok(never) => match never {},
                Err(FeedError::Ending) => return,
                Err(error) => error.to_string(),
            };
            let retry_in = backoff.next_delay(jitter());
            let down = Event::Down {
                daemon: self.daemon,
                why,
                retry_in,
            };
            if self.tell(down).await.is_err() {
                return;
            }
            self.wait(retry_in).await;
        }
    }

    /// One connection, from dialling to the error that ends it.
    async fn session(&mut self, backoff: &mut Backoff) -> Result<Infallible, FeedError> {
        let stream = self.reach.open(self.daemon).await?;
        match self.daemon {
            Daemon::Pool => self.poll_pool(client::pool(stream), backoff).await,
            Daemon::Tp => {
                let tp = client::template_provider(stream);
                check(Daemon::Tp, &tp.hello(within()).await?)?;
                loop {
                    let status = tp.status(within()).await?;
                    backoff.reset();
                    self.tell(Event::Tp(Box::new(status))).await?;
                    self.wait(POLL_EVERY).await;
                }
            }
            Daemon::Translator => {
                let translator = client::translator(stream);
                check(Daemon::Translator, &translator.hello(within()).await?)?;
                loop {
                    let status = translator.status(within()).await?;
                    backoff.reset();
                    let few = status.connections <= FEW_ROWS;
                    let lanes = translator.lanes(within()).await?;
                    self.tell(Event::Translator(Box::new(status))).await?;
                    self.tell(Event::Lanes(lanes)).await?;
                    self.wait(if few { POLL_EVERY } else { POLL_LARGE_EVERY })
                        .await;
                }
            }
            Daemon::Treasury => self.poll_treasury(client::treasury(stream), backoff).await,
            Daemon::Core | Daemon::NodeAgent => {
                unreachable!("the screens are those of Daemon::ALL")
            }
        }
    }

    async fn poll_treasury(
        &mut self,
        treasury: TreasuryClient,
        backoff: &mut Backoff,
    ) -> Result<Infallible, FeedError> {
        check(Daemon::Treasury, &treasury.hello(within()).await?)?;
        let mut polls = 0_u64;
        loop {
            let status = treasury.status(within()).await?;
            let details = if polls.is_multiple_of(DETAILS_EVERY) {
                Some(details(&treasury).await?)
            } else {
                None
            };
            backoff.reset();
            polls += 1;
            let answer = TreasuryAnswer { status, details };
            self.tell(Event::Treasury(Box::new(answer))).await?;
            self.wait(POLL_EVERY).await;
        }
    }

    async fn poll_pool(
        &mut self,
        pool: PoolClient,
        backoff: &mut Backoff,
    ) -> Result<Infallible, FeedError> {
        let hello = pool.hello(within()).await?;
        check(Daemon::Pool, &hello)?;
        let mut polls = 0_u64;
        loop {
            let status = pool.status(within()).await?;
            let slower = POLL_LARGE_EVERY.as_secs() / POLL_EVERY.as_secs();
            let miners = if status.channels <= FEW_ROWS || polls.is_multiple_of(slower) {
                Some(miners(&pool).await?)
            } else {
                None
            };
            let answer = PoolAnswer {
                hello: hello.clone(),
                status,
                miners,
                blocks: pool
                    .blocks(within(), BLOCKS)
                    .await?
                    .map_err(|refusal| refusal.message),
            };
            backoff.reset();
            polls += 1;
            self.tell(Event::Pool(Box::new(answer))).await?;
            self.wait(POLL_EVERY).await;
        }
    }

    async fn tell(&self, event: Event) -> Result<(), FeedError> {
        let told = self.events.send(event).await;
        told.map_err(|_gone| FeedError::Ending)
    }

    /// Until `delay` has passed or the user wants an answer now; while the screen is held, until it goes on.
    async fn wait(&mut self, delay: Duration) {
        let over = tokio::time::Instant::now() + delay;
        let asked = self.pace.borrow_and_update().refreshes;
        loop {
            let pace = *self.pace.borrow_and_update();
            if pace.refreshes != asked {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep_until(over), if !pace.paused => return,
                changed = self.pace.changed() => if changed.is_err() {
                    return;
                },
            }
        }
    }
}

/// All open channels up to [`MAX_MINERS`], in pages of [`FEW_ROWS`]: a thousand miners with long names fill more than a frame.
async fn miners(pool: &PoolClient) -> Result<MinerPage, RpcError> {
    let mut all = MinerPage {
        miners: Vec::new(),
        total: 0,
    };
    for offset in (0..MAX_MINERS).step_by(FEW_ROWS as usize) {
        let query = MinerQuery {
            offset,
            limit: FEW_ROWS,
            ..MinerQuery::default()
        };
        let page = pool.miners(within(), query).await?;
        all.total = page.total;
        all.miners.extend(page.miners);
        if offset + FEW_ROWS >= page.total {
            break;
        }
    }
    Ok(all)
}

async fn details(treasury: &TreasuryClient) -> Result<TreasuryDetails, RpcError> {
    let query = PayoutQuery {
        limit: PAYOUTS,
        ..PayoutQuery::default()
    };
    let refusal = |refusal: ApiError| refusal.message;
    let blocks = treasury.blocks(within(), BLOCKS).await?;
    let payouts = treasury.payouts(within(), query).await?;
    let payments = treasury.lightning_payments(within(), PAYOUTS).await?;
    Ok(TreasuryDetails {
        blocks: blocks.map(|page| page.blocks).map_err(refusal),
        payouts: payouts.map(|page| page.payouts).map_err(refusal),
        lightning: treasury.lightning(within()).await?.map_err(refusal),
        channels: treasury.channels(within()).await?.map_err(refusal),
        payments: payments.map_err(refusal),
    })
}

fn check(daemon: Daemon, hello: &Hello) -> Result<(), FeedError> {
    if hello.daemon != daemon.program() {
        let name = hello.daemon.clone();
        return Err(FeedError::OtherDaemon { name });
    }
    if hello.protocol != hh_ipc::PROTOCOL {
        let theirs = hello.protocol;
        return Err(FeedError::Protocol { theirs });
    }
    Ok(())
}

fn within() -> hh_ipc::Context {
    client::within(CALL_TIMEOUT)
}

/// From 0 to 1, different enough that programs which lost a daemon together do not all come back at once.
fn jitter() -> f64 {
    f64::from(jiff::Timestamp::now().subsec_microsecond().rem_euclid(1000)) / 1000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_is_silent_is_told_from_one_that_hung_up() {
        let why = |error: RpcError| FeedError::from(error).to_string();
        assert_eq!(why(RpcError::DeadlineExceeded), "no answer for 15 s");
        assert_eq!(why(RpcError::Shutdown), "it closed the connection");
    }

    #[test]
    fn another_daemon_or_protocol_is_not_shown_as_the_right_one() {
        let mut hello = crate::sample::pool().hello;
        assert!(check(Daemon::Pool, &hello).is_ok());
        let error = check(Daemon::Tp, &hello).unwrap_err().to_string();
        assert_eq!(error, "hh-pool answers on its socket");
        hello.protocol = 9;
        let error = check(Daemon::Pool, &hello).unwrap_err().to_string();
        assert_eq!(error, "it speaks protocol 9, this program 1");
    }
}
