//! The connection to one template provider, kept and made again for ever. Its task says what comes and carries solutions; what
//! is done with it is the [`TemplateClient`](super::TemplateClient)'s.

use crate::config::TemplateProviderConfig;
use crate::links::Links;
use crate::work::Provider;
use hh_sv2::message::{
    CoinbaseOutputConstraints, Protocol, RequestTransactionData, SubmitSolution,
};
use hh_sv2::setup::{ClientSetup, SETUP_DEADLINE, SetupError, client_setup};
use hh_sv2::{Connection, ConnectionError, Limits, Message};
use rand::Rng;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Pause after a connection that failed: it grows from the first to the second, so that a provider that is restarted is found
/// at once and one that is gone costs nothing.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// A connection that has lasted so long was a good one: the next is tried for at once.
const GOOD_AFTER: Duration = Duration::from_secs(10);

/// A provider that has said nothing for this long is asked for something.
const QUIET: Duration = Duration::from_secs(3);

/// How long it may take to answer: it needs no node for it.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// The template that it is asked for the transactions of: ids count up from small numbers or from a time, so there is none
/// and the answer is short.
const NO_TEMPLATE: u64 = u64::MAX;

/// Solutions on their way to the provider. A block every ten minutes fills one.
const SOLUTION_QUEUE: usize = 64;

/// One provider, by its place in the order of preference.
#[derive(Debug)]
pub(super) struct Link {
    pub index: usize,
    pub config: TemplateProviderConfig,
    pub constraints: CoinbaseOutputConstraints,
    pub links: Links,
    pub events: mpsc::Sender<(usize, LinkEvent)>,
}

/// What happened on a connection.
#[derive(Debug)]
pub(super) enum LinkEvent {
    /// It is set up; it ends when the token is cancelled.
    Up(Provider, CancellationToken),
    /// What came in one read, which is one piece of work.
    Messages(Vec<Message>),
    Down,
}

/// Why a provider was left.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProviderError {
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error("it hangs: no answer within {} s", ANSWER_DEADLINE.as_secs())]
    Silent,
    #[error("it sent {name}, which a client never gets")]
    Unexpected { name: &'static str },
    #[error("it was cut off")]
    CutOff,
    #[error("the pool stops")]
    Stopped,
}

impl Link {
    /// Keeps the connection until `stop` is cancelled.
    pub(super) async fn run(self, stop: CancellationToken) {
        let (first, longest) = RETRY;
        let mut pause = first;
        loop {
            let began = Instant::now();
            let Some(was_up) = stop.run_until_cancelled(self.connected()).await else {
                return;
            };
            if was_up && began.elapsed() >= GOOD_AFTER {
                pause = first;
            }
            let jitter = rand::rng().random_range(0.5..1.0);
            let waited = stop.run_until_cancelled(tokio::time::sleep(pause.mul_f64(jitter)));
            if waited.await.is_none() {
                return;
            }
            pause = (pause * 2).min(longest);
        }
    }

    /// One connection, from its connect to its end; whether it was set up.
    async fn connected(&self) -> bool {
        self.links.set_connecting(self.index);
        let connection = match self.connect().await {
            Ok(connection) => connection,
            Err(error) => {
                self.report(&error);
                return false;
            }
        };
        let address = &self.config.address;
        tracing::info!(address, "template provider connected");
        self.links.set_up(self.index);
        match self.serve(connection).await {
            // Who cut it off has said why.
            ProviderError::CutOff => {}
            error => self.report(&error),
        }
        // The receiver ends with the daemon.
        self.events.send((self.index, LinkEvent::Down)).await.ok();
        true
    }

    fn report(&self, error: &ProviderError) {
        let address = &self.config.address;
        let error = hh_daemon::Chain(error).to_string();
        if self.links.set_down(self.index, error.clone()) {
            tracing::warn!(address, error, "template provider is away; trying again");
        }
    }

    async fn connect(&self) -> Result<Connection, ProviderError> {
        let TemplateProviderConfig {
            address,
            authority_public_key,
        } = &self.config;
        let key = Some(authority_public_key);
        let mut connection = Connection::connect(address, key, &Limits::CLIENT).await?;
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        let setup = ClientSetup {
            protocol: Protocol::TemplateDistributionProtocol,
            flags: 0,
            endpoint_host: host.to_owned(),
            endpoint_port: port.parse().unwrap_or_default(),
            vendor: "Hyper Hash Network".to_owned(),
            hardware_version: String::new(),
            firmware: concat!("hh-pool ", env!("CARGO_PKG_VERSION")).to_owned(),
            device_id: String::new(),
        };
        client_setup(&mut connection, &setup, SETUP_DEADLINE).await?;
        connection.queue(self.constraints)?;
        connection.flush().await?;
        Ok(connection)
    }

    async fn serve(&self, mut connection: Connection) -> ProviderError {
        let (solutions, mut to_submit) = mpsc::channel(SOLUTION_QUEUE);
        let provider = Provider {
            address: self.config.address.as_str().into(),
            solutions,
        };
        let cut_off = CancellationToken::new();
        let up = LinkEvent::Up(provider, cut_off.clone());
        if self.events.send((self.index, up)).await.is_err() {
            return ProviderError::Stopped;
        }
        let mut quiet = Quiet::since(Instant::now());
        loop {
            let result = tokio::select! {
                () = cut_off.cancelled() => Err(ProviderError::CutOff),
                Some(solution) = to_submit.recv() => submit(&mut connection, solution),
                () = tokio::time::sleep_until(quiet.due()) => quiet.ask(&mut connection),
                message = connection.recv() => match message {
                    Ok(message) => {
                        let passed = self.pass_on(&mut connection, message).await;
                        quiet = Quiet::since(Instant::now());
                        passed
                    }
                    Err(error) => Err(error.into()),
                },
            };
            if let Err(error) = result {
                return error;
            }
            if let Err(error) = connection.flush().await {
                return error.into();
            }
        }
    }

    /// Passes on everything that came in one read: a future template and its SetNewPrevHash are one piece of work.
    async fn pass_on(
        &self,
        connection: &mut Connection,
        first: Message,
    ) -> Result<(), ProviderError> {
        let mut messages = Vec::new();
        let mut next = Some(first);
        while let Some(message) = next {
            check(&message)?;
            if let Message::NewTemplate(new) = &message {
                // The pool keeps whole blocks: it can then submit them to other nodes as well.
                let template_id = new.template_id;
                connection.queue(RequestTransactionData { template_id })?;
            }
            messages.push(message);
            next = connection.try_recv()?;
        }
        let event = (self.index, LinkEvent::Messages(messages));
        let sent = self.events.send(event).await;
        sent.or(Err(ProviderError::Stopped))
    }
}

fn submit(connection: &mut Connection, solution: SubmitSolution) -> Result<(), ProviderError> {
    Ok(connection.queue(solution)?)
}

/// What a template provider may send.
fn check(message: &Message) -> Result<(), ProviderError> {
    match message {
        Message::NewTemplate(_)
        | Message::TemplateSetNewPrevHash(_)
        | Message::RequestTransactionDataSuccess(_)
        | Message::RequestTransactionDataError(_)
        | Message::Unknown(_) => Ok(()),
        other => Err(ProviderError::Unexpected { name: other.name() }),
    }
}

/// Tells a provider that has nothing to say from one that hangs.
struct Quiet {
    since: Instant,
    asked: bool,
}

impl Quiet {
    fn since(since: Instant) -> Self {
        Self {
            since,
            asked: false,
        }
    }

    fn due(&self) -> Instant {
        let answer = if self.asked {
            ANSWER_DEADLINE
        } else {
            Duration::ZERO
        };
        self.since + QUIET + answer
    }

    /// It was quiet until [`Self::due`]: it is asked for something that it must answer, once.
    fn ask(&mut self, connection: &mut Connection) -> Result<(), ProviderError> {
        if self.asked {
            return Err(ProviderError::Silent);
        }
        self.asked = true;
        let template_id = NO_TEMPLATE;
        Ok(connection.queue(RequestTransactionData { template_id })?)
    }
}
