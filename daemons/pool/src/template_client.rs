//! The connection to a template provider: SV2 Template Distribution as a client.
//!
//! One task owns the connection and the [`WorkBoard`]. It takes the first provider of the list that answers; when that
//! goes away it tries the next, round and round with a pause. Miners keep the work they have meanwhile.

use crate::config::TemplateProviderConfig;
use crate::directory::Clock;
use crate::links::{LinkState, Links};
use crate::work::{self, Provider, TemplateWork, WorkBoard, WorkError};
use bitcoin::{Amount, Script, TxOut};
use hh_daemon::Failure;
use hh_mining::{Target, Template, Tip};
use hh_sv2::message::{
    CoinbaseOutputConstraints, NewTemplate, Protocol, RequestTransactionData,
    RequestTransactionDataError, RequestTransactionDataSuccess, SubmitSolution,
    TemplateSetNewPrevHash,
};
use hh_sv2::setup::{ClientSetup, SetupError, client_setup};
use hh_sv2::{Connection, ConnectionError, Limits, Message};
use rand::Rng;
use std::collections::VecDeque;
use std::num::TryFromIntError;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Pause after each provider has been tried once: it grows from the first to the second, so that a provider that is
/// restarted is found at once and one that is gone costs nothing.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// Templates whose transactions are kept or awaited: with an update each 30 s these are older than any job in use.
const LIVE_TEMPLATES: usize = 32;

/// Solutions on their way to the provider. A block every ten minutes fills one.
pub(crate) const SOLUTION_QUEUE: usize = 64;

/// A block for the provider that gave its template.
#[derive(Debug)]
pub(crate) struct Solution {
    /// Connection over which the template came; template ids mean nothing on another.
    pub connection: u64,
    pub message: SubmitSolution,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct TemplateClient {
    pub providers: Vec<TemplateProviderConfig>,
    pub board: WorkBoard,
    pub constraints: CoinbaseOutputConstraints,
    pub links: Links,
    pub solutions: mpsc::Receiver<Solution>,
    pub clock: Clock,
}

/// Why a provider was left.
#[derive(Debug, thiserror::Error)]
enum ProviderError {
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error(transparent)]
    Setup(#[from] SetupError),
    #[error(transparent)]
    Work(#[from] WorkError),
    #[error("the template provider sent {name}, which a client never gets")]
    Unexpected { name: &'static str },
}

/// One connection.
struct Session {
    connection: Connection,
    provider: Provider,
    live: VecDeque<Arc<TemplateWork>>,
}

impl TemplateClient {
    /// Keeps a connection until `stop` is cancelled.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut number = 0;
        let (first, longest) = RETRY;
        let mut pause = first;
        loop {
            for index in 0..self.providers.len() {
                number += 1;
                let worked = stop
                    .run_until_cancelled(self.use_provider(index, number))
                    .await;
                let Some(worked) = worked else { return };
                if worked {
                    pause = first;
                }
            }
            let jitter = rand::rng().random_range(0.5..1.0);
            let waited = stop.run_until_cancelled(tokio::time::sleep(pause.mul_f64(jitter)));
            if waited.await.is_none() {
                return;
            }
            pause = (pause * 2).min(longest);
        }
    }

    /// Works with one provider until it goes away; true if it gave anything.
    async fn use_provider(&mut self, index: usize, number: u64) -> bool {
        self.links.set_connecting(index);
        let address = self.providers[index].address.clone();
        let connection = match self.connect(index).await {
            Ok(connection) => connection,
            Err(error) => {
                self.report(index, &address, &error);
                return false;
            }
        };
        tracing::info!(address, "template provider connected");
        self.links.set_up(index);
        self.board.on_connect();
        let mut session = Session {
            connection,
            provider: Provider {
                connection: number,
                address: address.as_str().into(),
            },
            live: VecDeque::new(),
        };
        let error = self.serve(&mut session).await;
        self.report(index, &address, &error);
        true
    }

    fn report(&self, index: usize, address: &str, error: &ProviderError) {
        let reason = hh_daemon::Chain(error).to_string();
        if self.links.set_down(index, reason.clone()) {
            tracing::warn!(
                address,
                error = reason,
                "template provider is away; trying again"
            );
        }
    }

    async fn connect(&self, index: usize) -> Result<Connection, ProviderError> {
        let provider = &self.providers[index];
        let key = Some(&provider.authority_public_key);
        let mut connection = Connection::connect(&provider.address, key, &Limits::CLIENT).await?;
        let (host, port) = provider
            .address
            .rsplit_once(':')
            .unwrap_or((&provider.address, ""));
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
        client_setup(&mut connection, &setup, hh_sv2::setup::SETUP_DEADLINE).await?;
        connection.queue(self.constraints)?;
        connection.flush().await?;
        Ok(connection)
    }

    async fn serve(&mut self, session: &mut Session) -> ProviderError {
        loop {
            let result = tokio::select! {
                Some(solution) = self.solutions.recv() => session.submit(solution),
                message = session.connection.recv() => match message {
                    Ok(message) => self.on_messages(session, message),
                    Err(error) => Err(error.into()),
                },
            };
            if let Err(error) = result {
                return error;
            }
            if let Err(error) = session.connection.flush().await {
                return error.into();
            }
        }
    }

    /// Everything that came in one read: a future template and its SetNewPrevHash are one piece of work.
    fn on_messages(&mut self, session: &mut Session, first: Message) -> Result<(), ProviderError> {
        let mut next = Some(first);
        while let Some(message) = next {
            self.on_message(session, message)?;
            next = session.connection.try_recv()?;
        }
        Ok(())
    }

    fn on_message(&mut self, session: &mut Session, message: Message) -> Result<(), ProviderError> {
        match message {
            Message::NewTemplate(new) => self.on_new_template(session, new),
            Message::TemplateSetNewPrevHash(new) => self.on_set_new_prev_hash(&new),
            Message::RequestTransactionDataSuccess(data) => {
                session.on_transactions(data);
                Ok(())
            }
            Message::RequestTransactionDataError(error) => {
                on_no_transactions(&error);
                Ok(())
            }
            Message::Unknown(_) => Ok(()),
            other => Err(ProviderError::Unexpected { name: other.name() }),
        }
    }

    fn on_new_template(
        &mut self,
        session: &mut Session,
        new: NewTemplate,
    ) -> Result<(), ProviderError> {
        let future = new.future_template;
        let now_ms = self.clock.now_ms();
        let work = self
            .board
            .on_new_template(template(new), future, &session.provider, now_ms)?;
        let template_id = work.template.template_id;
        tracing::debug!(template_id, height = work.height, future, "new template");
        session.live.push_back(work);
        if session.live.len() > LIVE_TEMPLATES {
            session.live.pop_front();
        }
        // The pool keeps whole blocks: it can then submit them to other nodes as well.
        Ok(session
            .connection
            .queue(RequestTransactionData { template_id })?)
    }

    fn on_set_new_prev_hash(&mut self, new: &TemplateSetNewPrevHash) -> Result<(), ProviderError> {
        let tip = Tip {
            prev_hash: crate::group::bytes(&new.prev_hash),
            header_timestamp: new.header_timestamp,
            nbits: new.n_bits,
            target: Target::from_le_bytes(crate::group::bytes(&new.target)),
        };
        let prev_hash = hh_mining::BlockHash::from_byte_array(tip.prev_hash);
        self.board.on_set_new_prev_hash(new.template_id, tip)?;
        tracing::info!(template_id = new.template_id, %prev_hash, "new tip");
        Ok(())
    }
}

impl Session {
    fn submit(&mut self, solution: Solution) -> Result<(), ProviderError> {
        if solution.connection != self.provider.connection {
            let template_id = solution.message.template_id;
            tracing::warn!(
                template_id,
                "solution is for a template of an earlier connection; nodes get the block by RPC"
            );
            return Ok(());
        }
        Ok(self.connection.queue(solution.message)?)
    }

    fn on_transactions(&mut self, data: RequestTransactionDataSuccess) {
        let id = data.template_id;
        let known = self
            .live
            .iter()
            .find(|work| work.template.template_id == id);
        if let Some(work) = known {
            let list = data.transaction_list.into_inner();
            work.set_transactions(list.into_iter().map(|tx| tx.as_ref().to_vec()).collect());
        }
    }
}

/// What our coinbase adds to the template's outputs (SV2 specification 7.1).
///
/// # Errors
/// A script that no message can describe.
pub(crate) fn constraints(
    reward_script: &Script,
) -> Result<CoinbaseOutputConstraints, TryFromIntError> {
    let output = TxOut {
        value: Amount::ZERO,
        script_pubkey: reward_script.to_owned(),
    };
    Ok(CoinbaseOutputConstraints {
        coinbase_output_max_additional_size: u32::try_from(output.size())?,
        coinbase_output_max_additional_sigops: u16::try_from(reward_script.count_sigops())?,
    })
}

/// Waits for the first work.
///
/// # Errors
/// None came until `deadline`: what is known of each provider, and what to do.
pub(crate) async fn wait_for_work(
    mut work: work::Receiver,
    providers: &Links,
    deadline: Instant,
) -> Result<(), Failure> {
    let first = work.wait_for(Option::is_some);
    match tokio::time::timeout_at(deadline, first).await {
        Ok(_) => Ok(()),
        Err(_elapsed) => Err(Failure::unavailable(no_provider(providers))),
    }
}

fn no_provider(providers: &Links) -> String {
    let each = providers.snapshot().into_iter().map(|link| {
        let state = match (link.state, link.last_error) {
            (LinkState::Up, _) => "connected, but sends no template".to_owned(),
            (_, Some(error)) => error,
            (_, None) => "no answer".to_owned(),
        };
        format!("{}: {state}", link.address)
    });
    let each: Vec<String> = each.collect();
    format!(
        "no template provider gave work ({}); start hh-tp, or correct [[template_providers]]",
        each.join("; ")
    )
}

/// The template was replaced before we asked, which happens; its jobs can still be submitted to the provider.
fn on_no_transactions(error: &RequestTransactionDataError) {
    let code = error.error_code.as_utf8_or_hex();
    tracing::debug!(
        template_id = error.template_id,
        code,
        "no transactions for a template"
    );
}

fn template(new: NewTemplate) -> Template {
    let path = new.merkle_path.into_inner();
    Template {
        template_id: new.template_id,
        version: new.version,
        coinbase_tx_version: new.coinbase_tx_version,
        coinbase_prefix: new.coinbase_prefix.as_ref().to_vec(),
        coinbase_tx_input_sequence: new.coinbase_tx_input_sequence,
        coinbase_tx_value_remaining: new.coinbase_tx_value_remaining,
        coinbase_tx_outputs_count: new.coinbase_tx_outputs_count,
        coinbase_tx_outputs: new.coinbase_tx_outputs.as_ref().to_vec(),
        coinbase_tx_locktime: new.coinbase_tx_locktime,
        merkle_path: path.iter().map(crate::group::bytes).collect(),
    }
}
