//! The task of one service: it has the child, takes orders, and starts the child again when it ends by itself.

use super::child::{self, Files};
use super::log;
use super::{Act, ActError, Done, Order, ServiceState, ServiceView};
use crate::backoff::Backoff;
use crate::config::ServiceConfig;
use jiff::Timestamp;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitStatus;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// So long a service without a health address must live to count as running: who fails at its configuration ends before.
const SETTLE: Duration = Duration::from_secs(1);

/// For a health address to be taken before an order counts as failed: a daemon of ours takes some seconds to open its ledger. The
/// service is looked at further.
const HEALTH_LIMIT: Duration = Duration::from_secs(30);

/// How often a health address is tried.
const HEALTH_POLL: Duration = Duration::from_millis(200);

/// How often it is looked at how long the log is.
const LOG_LOOK: Duration = Duration::from_secs(5);

/// A service that lived for so long has no failures in a row any more.
const GOOD_LIFE: Duration = Duration::from_secs(60);

pub(super) struct Keeper {
    service: ServiceConfig,
    files: Files,
    orders: mpsc::Receiver<Order>,
    view: watch::Sender<ServiceView>,
    child: Option<Child>,
    backoff: Backoff,
    started: Instant,
    /// Until the child is healthy.
    starting: bool,
    /// When to start it again.
    retry_at: Option<Instant>,
    /// Who waits until it is healthy.
    promised: Option<Done>,
    log_look: Interval,
}

/// What happens to a keeper.
enum Event {
    Order(Order),
    Ended(io::Result<ExitStatus>),
    Healthy,
    /// It is not healthy, and should be.
    Late,
    Retry,
    LookAtLog,
    Stop,
}

impl Keeper {
    pub(super) fn new(
        service: ServiceConfig,
        dir: &Path,
        orders: mpsc::Receiver<Order>,
    ) -> (Self, watch::Receiver<ServiceView>) {
        let (view, seen) = watch::channel(ServiceView {
            since_unix_ms: Timestamp::now().as_millisecond(),
            ..ServiceView::default()
        });
        let keeper = Self {
            files: Files::of(&service.name, dir),
            service,
            orders,
            view,
            child: None,
            backoff: Backoff::default(),
            started: Instant::now(),
            starting: false,
            retry_at: None,
            promised: None,
            log_look: log_look(),
        };
        (keeper, seen)
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        let limit = self.stop_limit();
        if let Err(error) = child::end_leftover(&self.files, limit).await {
            let name = &self.service.name;
            tracing::error!(service = %name, %error, "service can't be taken over");
            self.show(ServiceState::Stopped, Some(error.to_string()));
        } else if self.service.autostart {
            self.start_or_retry();
        }
        loop {
            match self.next(&stop).await {
                Event::Order(order) => self.obey(order).await,
                Event::Ended(ended) => self.ended(&ended),
                Event::Healthy => self.healthy(),
                Event::Late => self.late(),
                Event::Retry => self.retry(),
                Event::LookAtLog => self.look_at_log(),
                Event::Stop => break,
            }
        }
        self.end().await.ok();
    }

    async fn next(&mut self, stop: &CancellationToken) -> Event {
        let (starting, started) = (self.starting, self.started);
        let address = self.service.health_address;
        let health = async {
            match starting {
                true => becomes_healthy(started, address).await,
                false => std::future::pending().await,
            }
        };
        let late_at = self.promised.as_ref().map(|_done| started + HEALTH_LIMIT);
        let child = &mut self.child;
        let ended = async {
            match child {
                Some(child) => child.wait().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            // An end is seen before a health that was found a moment ago.
            biased;
            () = stop.cancelled() => Event::Stop,
            ended = ended => Event::Ended(ended),
            order = self.orders.recv() => order.map_or(Event::Stop, Event::Order),
            () = health => Event::Healthy,
            () = at(late_at) => Event::Late,
            () = at(self.retry_at) => Event::Retry,
            _ = self.log_look.tick() => Event::LookAtLog,
        }
    }

    async fn obey(&mut self, order: Order) {
        let Order { act, done } = order;
        tracing::info!(service = %self.service.name, ?act, "service ordered");
        self.promise(Err(ActError::Failed("another order came".to_owned())));
        if act != Act::Start
            && let Err(error) = self.end().await
        {
            done.send(Err(error)).ok();
            return;
        }
        if act == Act::Stop || self.child.is_some() && !self.starting {
            // Who ordered may have gone.
            done.send(Ok(())).ok();
            return;
        }
        if self.child.is_none()
            && let Err(error) = self.start()
        {
            self.start_later(error.to_string());
            done.send(Err(error)).ok();
            return;
        }
        self.promised = Some(done);
    }

    fn ended(&mut self, ended: &io::Result<ExitStatus>) {
        self.child = None;
        child::forget(&self.files);
        let how = match ended {
            Ok(status) if self.starting => format!("it ended at once ({status}); its log says why"),
            Ok(status) => format!("it ended by itself ({status})"),
            Err(error) => format!("it could not be waited for: {error}"),
        };
        tracing::warn!(service = %self.service.name, how, "service ended by itself");
        self.promise(Err(ActError::Failed(how.clone())));
        self.start_later(how);
    }

    fn healthy(&mut self) {
        self.starting = false;
        self.show(ServiceState::Running, None);
        self.promise(Ok(()));
    }

    fn late(&mut self) {
        let seconds = HEALTH_LIMIT.as_secs();
        let why = format!("it takes no connection on its health address after {seconds} s");
        self.show(ServiceState::Starting, Some(why.clone()));
        self.promise(Err(ActError::Failed(why)));
    }

    fn retry(&mut self) {
        self.retry_at = None;
        self.view.send_modify(|view| view.restarts += 1);
        self.start_or_retry();
    }

    fn look_at_log(&self) {
        let path = self.files.log();
        match log::trim(path, child::LOG_BYTES_MAX) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(log = %path.display(), %error, "long log could not be cut, and was emptied where that works");
            }
            _ => {}
        }
    }

    fn start_or_retry(&mut self) {
        if let Err(error) = self.start() {
            self.start_later(error.to_string());
        }
    }

    fn start_later(&mut self, why: String) {
        if self.started.elapsed() >= GOOD_LIFE {
            self.backoff.reset();
        }
        self.starting = false;
        self.retry_at = Some(Instant::now() + self.backoff.start_pause());
        self.show(ServiceState::Waiting, Some(why));
    }

    fn start(&mut self) -> Result<(), ActError> {
        self.retry_at = None;
        self.started = Instant::now();
        let spawned = child::spawn(&self.service, &self.files);
        let child = spawned.map_err(|error| {
            let program = self.service.command.first();
            let program = program.map_or("", String::as_str);
            ActError::Failed(format!("{program} can't be started: {error}"))
        })?;
        self.child = Some(child);
        self.starting = true;
        self.show(ServiceState::Starting, None);
        Ok(())
    }

    /// Ends the child, if there is one. It is not started again.
    async fn end(&mut self) -> Result<(), ActError> {
        self.retry_at = None;
        self.starting = false;
        if let Some(mut child) = self.child.take() {
            let limit = self.stop_limit();
            let ended = child::end(&mut child, limit).await;
            ended.map_err(|error| ActError::Failed(format!("it can't be stopped: {error}")))?;
            child::forget(&self.files);
        }
        self.backoff.reset();
        self.show(ServiceState::Stopped, None);
        Ok(())
    }

    /// Tells who waits, if anybody does.
    fn promise(&mut self, done: Result<(), ActError>) {
        if let Some(waiting) = self.promised.take() {
            waiting.send(done).ok();
        }
    }

    fn stop_limit(&self) -> Duration {
        Duration::from_secs(self.service.stop_seconds)
    }

    fn show(&self, state: ServiceState, last_error: Option<String>) {
        let pid = self.child.as_ref().and_then(Child::id);
        self.view.send_modify(|view| {
            if view.state != state || view.pid != pid {
                view.since_unix_ms = Timestamp::now().as_millisecond();
            }
            view.state = state;
            view.pid = pid;
            if last_error.is_some() {
                view.last_error = last_error;
            }
        });
    }
}

fn log_look() -> Interval {
    let mut interval = tokio::time::interval(LOG_LOOK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

async fn becomes_healthy(started: Instant, address: Option<SocketAddr>) {
    match address {
        None => tokio::time::sleep_until(started + SETTLE).await,
        Some(address) => {
            while TcpStream::connect(address).await.is_err() {
                tokio::time::sleep(HEALTH_POLL).await;
            }
        }
    }
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
