//! The calls of mining IPC that differ between versions of Bitcoin Core, each in the words of its schema.
//!
//! Owns: method numbers and the shapes of parameters and results. Never: deadlines, threads, or what an answer means to us.
//!
//! Capabilities have no version: a template is held as a client of the schema of 31, and cast to that of another for the calls
//! that are different there. 32 differs from 31 in `submitSolution` only, 30 in nearly everything.

use bitcoin_capnp_types::init_capnp::init;
use bitcoin_capnp_types::mining_capnp::{block_template, mining};
use bitcoin_capnp_types::proxy_capnp::{context, thread};
use capnp::ErrorKind;
use capnp::capability::{FromClientHook, Promise};

use crate::node::IpcSchema;
use crate::source::Solution;
use crate::submit::BlockOutcome;
use crate::template::Reservation;

mod v30;

/// What `createNewBlock` is to make.
#[derive(Debug, Clone, Copy)]
pub(super) struct Create {
    pub(super) reservation: Reservation,
    /// Else nothing but a coinbase.
    pub(super) use_mempool: bool,
    /// Waits for the end of the initial download. 30 can't.
    pub(super) cooldown: bool,
}

/// A template under way.
pub(super) struct Brought {
    /// Calls on it are run the moment it is there.
    pub(super) template: block_template::Client,
    /// `None` where the call ended without one.
    pub(super) answer: Promise<Option<block_template::Client>, capnp::Error>,
}

/// The coinbase that the node wants.
#[derive(Debug)]
pub(super) struct Coinbase {
    pub(super) version: u32,
    pub(super) sequence: u32,
    pub(super) script_sig_prefix: Vec<u8>,
    /// Empty where there is none.
    pub(super) witness: Vec<u8>,
    pub(super) value_remaining: i64,
    /// Each serialized.
    pub(super) required_outputs: Vec<Vec<u8>>,
    pub(super) lock_time: u32,
}

/// What a node says of a solution.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Told {
    /// Up to 31: whether the block was taken in. It need not be valid.
    Taken(bool),
    /// From 32 on: empty for a new and valid one, else the word of BIP 22.
    Judged(String),
}

impl Told {
    /// Whether it is the node's last word.
    pub(super) fn is_verdict(&self) -> bool {
        match self {
            Self::Taken(_) => false,
            Self::Judged(reason) => !reason.starts_with("duplicate"),
        }
    }

    /// As far as it goes. What was taken in need not be valid.
    pub(super) fn outcome(self) -> BlockOutcome {
        match self {
            Self::Taken(true) => BlockOutcome::Inconclusive,
            Self::Taken(false) => BlockOutcome::Rejected("rejected".to_owned()),
            Self::Judged(reason) => {
                BlockOutcome::from_bip22((!reason.is_empty()).then_some(reason))
            }
        }
    }
}

/// The same capability in the types of another schema.
fn cast<A: FromClientHook, B: FromClientHook>(client: &A) -> B {
    B::new(client.as_client_hook().add_ref())
}

/// Names the node's thread that runs the call.
fn run_on(context: capnp::Result<context::Builder<'_>>, thread: &thread::Client) {
    if let Ok(mut context) = context {
        context.set_thread(thread.clone());
    }
}

impl IpcSchema {
    pub(super) fn make_mining(
        self,
        init: &init::Client,
        thread: &thread::Client,
    ) -> Promise<mining::Client, capnp::Error> {
        if self == Self::V30 {
            return v30::make_mining(init, thread);
        }
        let mut request = init.make_mining_request();
        run_on(request.get().get_context(), thread);
        let sent = request.send().promise;
        Promise::from_future(async move { sent.await?.get()?.get_result() })
    }

    pub(super) fn create_new_block(
        self,
        mining: &mining::Client,
        thread: &thread::Client,
        create: Create,
    ) -> Brought {
        if self == Self::V30 {
            return v30::create_new_block(mining, create);
        }
        let mut request = mining.create_new_block_request();
        run_on(request.get().get_context(), thread);
        request.get().set_cooldown(create.cooldown);
        let mut options = request.get().init_options();
        options.set_use_mempool(create.use_mempool);
        options.set_block_reserved_weight(create.reservation.weight());
        options.set_coinbase_output_max_additional_sigops(create.reservation.sigops());
        let sent = request.send();
        let (template, promise) = (sent.pipeline.get_result(), sent.promise);
        let answer = Promise::from_future(async move {
            let response = promise.await?;
            let results = response.get()?;
            results
                .has_result()
                .then(|| results.get_result())
                .transpose()
        });
        Brought { template, answer }
    }

    /// Ends a `createNewBlock` that waits for the end of the initial download.
    pub(super) fn interrupt(self, mining: &mining::Client) {
        if self != Self::V30 {
            drop(mining.interrupt_request().send());
        }
    }

    pub(super) fn coinbase(
        self,
        template: &block_template::Client,
        thread: &thread::Client,
    ) -> Promise<Coinbase, capnp::Error> {
        if self == Self::V30 {
            return v30::coinbase(template, thread);
        }
        let mut request = template.get_coinbase_tx_request();
        run_on(request.get().get_context(), thread);
        let sent = request.send().promise;
        Promise::from_future(async move {
            let response = sent.await?;
            let coinbase = response.get()?.get_result()?;
            let outputs = coinbase.get_required_outputs()?;
            Ok(Coinbase {
                version: coinbase.get_version(),
                sequence: coinbase.get_sequence(),
                script_sig_prefix: coinbase.get_script_sig_prefix()?.to_vec(),
                witness: coinbase.get_witness()?.to_vec(),
                value_remaining: coinbase.get_block_reward_remaining(),
                required_outputs: outputs
                    .iter()
                    .map(|output| output.map(<[u8]>::to_vec))
                    .collect::<capnp::Result<_>>()?,
                lock_time: coinbase.get_lock_time(),
            })
        })
    }

    pub(super) fn merkle_path(
        self,
        template: &block_template::Client,
        thread: &thread::Client,
    ) -> Promise<Vec<Vec<u8>>, capnp::Error> {
        if self == Self::V30 {
            return v30::merkle_path(template, thread);
        }
        let mut request = template.get_coinbase_merkle_path_request();
        run_on(request.get().get_context(), thread);
        let sent = request.send().promise;
        Promise::from_future(async move {
            let response = sent.await?;
            let path = response.get()?.get_result()?;
            path.iter().map(|node| node.map(<[u8]>::to_vec)).collect()
        })
    }

    /// Waits up to `timeout_ms` for a new tip, or for fees that are higher by `fee_threshold_sats`.
    pub(super) fn wait_next(
        self,
        template: &block_template::Client,
        thread: &thread::Client,
        timeout_ms: f64,
        fee_threshold_sats: i64,
    ) -> Brought {
        if self == Self::V30 {
            return v30::wait_next(template, thread, timeout_ms, fee_threshold_sats);
        }
        let mut request = template.wait_next_request();
        run_on(request.get().get_context(), thread);
        let mut options = request.get().init_options();
        options.set_timeout(timeout_ms);
        options.set_fee_threshold(fee_threshold_sats);
        let sent = request.send();
        let (template, promise) = (sent.pipeline.get_result(), sent.promise);
        let answer = Promise::from_future(async move {
            let response = promise.await?;
            let results = response.get()?;
            results
                .has_result()
                .then(|| results.get_result())
                .transpose()
        });
        Brought { template, answer }
    }

    pub(super) fn interrupt_wait(self, template: &block_template::Client) {
        if self == Self::V30 {
            v30::interrupt_wait(template);
        } else {
            drop(template.interrupt_wait_request().send());
        }
    }

    pub(super) async fn submit_solution(
        self,
        template: &block_template::Client,
        thread: &thread::Client,
        solution: &Solution,
    ) -> capnp::Result<Told> {
        match self {
            Self::V30 => v30::submit_solution(template, thread, solution).await,
            Self::V31 => match submit_solution_v31(template, thread, solution).await {
                // Development builds between the two have the schema of either.
                Err(error) if error.kind != ErrorKind::Disconnected => {
                    submit_solution_v32(template, thread, solution)
                        .await
                        .map_err(|_unknown| error)
                }
                told => told,
            },
            Self::V32 => submit_solution_v32(template, thread, solution).await,
        }
    }
}

async fn submit_solution_v31(
    template: &block_template::Client,
    thread: &thread::Client,
    solution: &Solution,
) -> capnp::Result<Told> {
    let mut request = template.submit_solution_request();
    let mut params = request.get();
    run_on(params.reborrow().get_context(), thread);
    params.set_version(solution.version);
    params.set_timestamp(solution.ntime);
    params.set_nonce(solution.nonce);
    params.set_coinbase(&solution.coinbase);
    let response = request.send().promise.await?;
    Ok(Told::Taken(response.get()?.get_result()))
}

async fn submit_solution_v32(
    template: &block_template::Client,
    thread: &thread::Client,
    solution: &Solution,
) -> capnp::Result<Told> {
    use bitcoin_capnp_types_32::mining_capnp::block_template::Client;
    let template: Client = cast(template);
    let mut request = template.submit_solution_request();
    let mut params = request.get();
    params.reborrow().get_context()?.set_thread(cast(thread));
    params.set_version(solution.version);
    params.set_timestamp(solution.ntime);
    params.set_nonce(solution.nonce);
    params.set_coinbase(&solution.coinbase);
    let response = request.send().promise.await?;
    let results = response.get()?;
    let reason = results.get_reason()?.to_string()?;
    // It sets no reason where it has none to give.
    Ok(Told::Judged(
        if reason.is_empty() && !results.get_result() {
            "rejected".to_owned()
        } else {
            reason
        },
    ))
}
