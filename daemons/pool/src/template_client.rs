//! The connections to template providers: SV2 Template Distribution as a client.
//!
//! A task per provider keeps its connection; all providers of the list are followed all the time. One task owns the
//! [`WorkBoard`] and hears from all of them: it takes the work of the first that has some, goes to another when that one dies,
//! hangs, lags or sends what makes no work, and back when the preferred one has been well for a while. Miners keep the work
//! they have meanwhile.

mod link;

use crate::config::TemplateProviderConfig;
use crate::directory::Clock;
use crate::links::Links;
use crate::work::{self, WorkBoard, WorkError};
use bitcoin::{Amount, Script, TxOut};
use hh_daemon::{Failure, Tasks};
use hh_mining::{Target, Template, Tip};
use hh_sv2::Message;
use hh_sv2::message::{
    CoinbaseOutputConstraints, NewTemplate, RequestTransactionDataError,
    RequestTransactionDataSuccess, TemplateSetNewPrevHash,
};
use link::{Link, LinkEvent};
use std::num::TryFromIntError;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// Reads of providers that the board has not taken: one may be the transactions of a block, some megabytes.
const EVENT_QUEUE: usize = 16;

/// How often the choice is looked at when nothing happens: one that lags or has come back is told by time alone.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Debug)]
pub(crate) struct TemplateClient {
    providers: Vec<TemplateProviderConfig>,
    board: WorkBoard,
    constraints: CoinbaseOutputConstraints,
    links: Links,
    clock: Clock,
    /// Ends each provider's connection; none while it has none.
    cut_offs: Vec<Option<CancellationToken>>,
}

impl TemplateClient {
    /// A client of `providers` for a board of as many.
    pub(crate) fn new(
        providers: Vec<TemplateProviderConfig>,
        board: WorkBoard,
        constraints: CoinbaseOutputConstraints,
        links: Links,
        clock: Clock,
    ) -> Self {
        Self {
            cut_offs: vec![None; providers.len()],
            providers,
            board,
            constraints,
            links,
            clock,
        }
    }

    /// Where the newest work is seen.
    pub(crate) fn work(&self) -> work::Receiver {
        self.board.subscribe()
    }

    /// Where the templates are seen that wait for their tip.
    pub(crate) fn future_templates(&self) -> work::FutureTemplates {
        self.board.future_templates()
    }

    /// Keeps the connections until the daemon stops.
    pub(crate) async fn run(mut self, tasks: Tasks) {
        let (events, mut received) = mpsc::channel(EVENT_QUEUE);
        for (index, config) in self.providers.iter().enumerate() {
            let link = Link {
                index,
                config: config.clone(),
                constraints: self.constraints,
                links: self.links.clone(),
                events: events.clone(),
            };
            tasks.spawn_session("template provider", link.run(tasks.token().clone()));
            gauge_of(config, false);
        }
        let mut look = tokio::time::interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let before = self.board.active();
            tokio::select! {
                () = tasks.cancelled() => return,
                Some((index, event)) = received.recv() => self.on_event(index, event),
                _ = look.tick() => {
                    let now_ms = self.clock.now_ms();
                    told(self.board.look(now_ms));
                }
            }
            self.tell_choice(before);
        }
    }

    fn on_event(&mut self, index: usize, event: LinkEvent) {
        let now_ms = self.clock.now_ms();
        match event {
            LinkEvent::Up(provider, cut_off) => {
                self.cut_offs[index] = Some(cut_off);
                self.board.on_up(index, provider);
            }
            LinkEvent::Down => {
                self.cut_offs[index] = None;
                told(self.board.on_down(index, now_ms));
            }
            // What came before a connection was cut off.
            LinkEvent::Messages(_) if self.cut_offs[index].is_none() => {}
            LinkEvent::Messages(messages) => {
                for message in messages {
                    if let Err(error) = self.on_message(index, message, now_ms) {
                        self.leave(index, &error, now_ms);
                        return;
                    }
                }
            }
        }
    }

    /// A provider that sends what makes no work is cut off; its link connects again after a pause.
    fn leave(&mut self, index: usize, error: &WorkError, now_ms: u64) {
        let address = &self.providers[index].address;
        let error = hh_daemon::Chain(error).to_string();
        if self.links.set_down(index, error.clone()) {
            tracing::warn!(address, error, "template provider sends what makes no work");
        }
        if let Some(cut_off) = self.cut_offs[index].take() {
            cut_off.cancel();
        }
        told(self.board.on_down(index, now_ms));
    }

    fn on_message(&mut self, index: usize, message: Message, now_ms: u64) -> Result<(), WorkError> {
        match message {
            Message::NewTemplate(new) => {
                let future = new.future_template;
                let template_id = new.template_id;
                tracing::debug!(index, template_id, future, "new template");
                self.board
                    .on_new_template(index, template(new), future, now_ms)
            }
            Message::TemplateSetNewPrevHash(new) => {
                let tip = tip(&new);
                let prev_hash = hh_mining::BlockHash::from_byte_array(tip.prev_hash);
                let template_id = new.template_id;
                self.board
                    .on_set_new_prev_hash(index, template_id, tip, now_ms)?;
                tracing::info!(index, template_id, %prev_hash, "new tip");
                Ok(())
            }
            Message::RequestTransactionDataSuccess(data) => {
                self.on_transactions(index, data);
                Ok(())
            }
            Message::RequestTransactionDataError(error) => {
                on_no_transactions(&error);
                Ok(())
            }
            // The link lets no other message through, and unknown ones are of extensions.
            _ => Ok(()),
        }
    }

    fn on_transactions(&self, index: usize, data: RequestTransactionDataSuccess) {
        let list = data.transaction_list.into_inner();
        let list = list.into_iter().map(|tx| tx.as_ref().to_vec()).collect();
        self.board.on_transactions(index, data.template_id, list);
    }

    fn tell_choice(&self, before: Option<usize>) {
        let active = self.board.active();
        if active == before {
            return;
        }
        self.links.set_active(active);
        for (index, config) in self.providers.iter().enumerate() {
            gauge_of(config, active == Some(index));
        }
        let address_of = |index: usize| self.providers[index].address.as_str();
        let (from, to) = (before.map(address_of), active.map(address_of));
        match to {
            Some(address) => {
                metrics::counter!("hyperhash_template_provider_switches_total", "provider" => address.to_owned())
                    .increment(1);
                tracing::info!(from, address, "work is of this template provider");
            }
            None => tracing::warn!(
                from,
                "no template provider has work; miners keep what they have"
            ),
        }
    }
}

fn gauge_of(config: &TemplateProviderConfig, active: bool) {
    metrics::gauge!("hyperhash_template_provider_active", "provider" => config.address.clone())
        .set(f64::from(u8::from(active)));
}

/// Work that is of no use to miners; what they have stays.
fn told(result: Result<(), WorkError>) {
    if let Err(error) = result {
        let error = hh_daemon::Chain(&error).to_string();
        tracing::error!(error, "work can not be given to miners");
    }
}

fn tip(new: &TemplateSetNewPrevHash) -> Tip {
    Tip {
        prev_hash: crate::group::bytes(&new.prev_hash),
        header_timestamp: new.header_timestamp,
        nbits: new.n_bits,
        target: Target::from_le_bytes(crate::group::bytes(&new.target)),
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
    let why = providers.why_nothing_comes();
    format!(
        "no template provider gave work ({why}); start hh-tp, or correct [[template_providers]]"
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

#[cfg(test)]
mod tests;
