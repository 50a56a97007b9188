//! lnd's news: of payments, channels and invoices, three streams in one.
//!
//! lnd tells them to who listens, and never again. So the first thing that is told after a connection is made is that some may
//! have been missed.

use std::sync::atomic::Ordering;
use std::time::Duration;

use bitcoin::OutPoint;
use ldk_node::lightning_types::payment::PaymentHash;

use super::calls::{LndWallet, nonsense};
use super::channels::{channel_point, id_of, txid};
use super::link::{Answers, LinkError};
use super::message::{self, ChannelNews, InvoiceState, path};
use super::pay::{code, hash_of, msat, state};
use crate::{Event, OutgoingState, WalletError};

/// lnd is back within seconds after a restart: look soon, then less often.
const RETRY_FIRST: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(15);
/// From a call to the first thing that it would tell, lnd takes milliseconds.
const SETTLE: Duration = Duration::from_millis(250);

/// Gives the events out one by one.
pub(crate) struct LndEvents {
    wallet: LndWallet,
    streams: Option<Streams>,
    retry: Duration,
    current: Option<Event>,
}

struct Streams {
    payments: Answers<message::Payment>,
    channels: Answers<message::ChannelEventUpdate>,
    invoices: Answers<message::Invoice>,
}

/// What came first.
enum News {
    Payment(message::Payment),
    Channel(message::ChannelEventUpdate),
    Invoice(message::Invoice),
}

impl std::fmt::Debug for LndEvents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "LndEvents({:?})", self.wallet)
    }
}

impl Drop for LndEvents {
    fn drop(&mut self) {
        let taken = &self.wallet.inner.are_events_taken;
        taken.store(false, Ordering::Release);
    }
}

impl LndEvents {
    pub(super) fn new(wallet: LndWallet) -> Self {
        Self {
            wallet,
            streams: None,
            retry: RETRY_FIRST,
            current: None,
        }
    }

    pub(crate) async fn next(&mut self) -> Result<Event, WalletError> {
        loop {
            if let Some(event) = &self.current {
                return Ok(event.clone());
            }
            self.wallet.check_running()?;
            let Some(streams) = &mut self.streams else {
                self.connect().await;
                continue;
            };
            match streams.next().await {
                Ok(news) => match self.translate(news).await {
                    Ok(event) => self.current = event,
                    // Whatever it was, it can be looked up.
                    Err(error) => {
                        tracing::error!(%error, "lnd tells what makes no sense");
                        self.current = Some(Event::Missed);
                    }
                },
                Err(error) => {
                    tracing::warn!(error = %hh_daemon::Chain(&error), "lnd's events have broken off");
                    self.streams = None;
                }
            }
        }
    }

    pub(crate) fn handled(&mut self) {
        self.current = None;
    }

    /// None for what nobody here needs.
    async fn translate(&mut self, news: News) -> Result<Option<Event>, WalletError> {
        if let News::Channel(update) = &news
            && let Some(ChannelNews::PendingOpen(pending)) = &update.channel
        {
            // It does not say whose it is.
            let funding = OutPoint::new(txid(&pending.txid)?, pending.output_index);
            let id = id_of(funding)?;
            let channels = self.wallet.channels().await?;
            let channel = channels.into_iter().find(|channel| channel.id == id);
            return Ok(channel.map(|channel| Event::ChannelOpening {
                id,
                peer: channel.peer,
            }));
        }
        translate(&news)
    }

    /// Connects, or waits for a while before the next try.
    async fn connect(&mut self) {
        let opened = async {
            let mut streams = Streams::open(&self.wallet).await?;
            // lnd does not say when it has begun to tell; what is looked up before that could end unseen.
            match tokio::time::timeout(SETTLE, streams.next()).await {
                Ok(Err(error)) => Err(error),
                // What it was is among what may have been missed.
                Ok(Ok(_)) | Err(_) => Ok(streams),
            }
        };
        match opened.await {
            Ok(streams) => {
                self.streams = Some(streams);
                self.retry = RETRY_FIRST;
                self.current = Some(Event::Missed);
            }
            Err(error) => {
                tracing::debug!(error = %hh_daemon::Chain(&error), "lnd's events can't be had");
                tokio::time::sleep(self.retry).await;
                self.retry = (self.retry * 2).min(RETRY_MAX);
            }
        }
    }
}

impl Streams {
    async fn open(wallet: &LndWallet) -> Result<Self, LinkError> {
        let link = &wallet.inner.link;
        let ends_only = message::TrackPaymentsRequest {
            no_inflight_updates: true,
        };
        let empty = message::Empty {};
        Ok(Self {
            payments: link.stream(path::TRACK_PAYMENTS, ends_only).await?,
            channels: link.stream(path::CHANNEL_EVENTS, empty.clone()).await?,
            invoices: link.stream(path::INVOICES, empty).await?,
        })
    }

    async fn next(&mut self) -> Result<News, LinkError> {
        tokio::select! {
            payment = self.payments.next() => payment.map(News::Payment),
            channel = self.channels.next() => channel.map(News::Channel),
            invoice = self.invoices.next() => invoice.map(News::Invoice),
        }
    }
}

/// All but a channel that opens.
fn translate(news: &News) -> Result<Option<Event>, WalletError> {
    match news {
        News::Payment(payment) => {
            let hash = hash_of(payment)?;
            Ok(match state(payment, hash)? {
                OutgoingState::InFlight => None,
                OutgoingState::Failed => Some(Event::PaymentFailed {
                    hash,
                    code: code(payment.failure_reason()),
                }),
                OutgoingState::Settled(preimage) => Some(Event::PaymentSettled {
                    hash,
                    preimage,
                    fee: Some(msat(payment.fee_msat)),
                }),
            })
        }
        News::Invoice(invoice) if invoice.state() == InvoiceState::Settled => {
            let hash = invoice.r_hash.as_slice().try_into();
            let hash = hash.map_err(|_error| nonsense("an invoice without a hash".to_owned()))?;
            Ok(Some(Event::Received {
                hash: PaymentHash(hash),
                amount: msat(invoice.amt_paid_msat),
            }))
        }
        News::Invoice(_) => Ok(None),
        News::Channel(update) => match &update.channel {
            Some(ChannelNews::Open(channel)) => Ok(Some(Event::ChannelReady {
                id: channel_point(&channel.channel_point)?.0,
            })),
            Some(ChannelNews::Closed(closed)) => Ok(Some(Event::ChannelClosed {
                id: channel_point(&closed.channel_point)?.0,
                reason: format!("{:?}", closed.close_type()),
            })),
            Some(ChannelNews::PendingOpen(_)) | None => Ok(None),
        },
    }
}
