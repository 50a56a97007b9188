//! The schema of Bitcoin Core 30.
//!
//! `createNewBlock` names no thread, so the node runs it on the one that serves all its IPC. The coinbase
//! comes as the whole dummy transaction, and is taken apart here.

use bitcoin::Transaction;
use bitcoin::consensus::encode::{deserialize, serialize};
use bitcoin_capnp_types::{init_capnp, mining_capnp, proxy_capnp};
use bitcoin_capnp_types_30::init_capnp::init;
use bitcoin_capnp_types_30::mining_capnp::{block_template, mining};
use bitcoin_capnp_types_30::proxy_capnp::context;
use capnp::capability::Promise;

use super::{Brought, Coinbase, Create, Told, cast};
use crate::source::Solution;

type Thread = proxy_capnp::thread::Client;
type Template = mining_capnp::block_template::Client;

fn run_on(context: capnp::Result<context::Builder<'_>>, thread: &Thread) {
    if let Ok(mut context) = context {
        context.set_thread(cast(thread));
    }
}

pub(super) fn make_mining(
    client: &init_capnp::init::Client,
    thread: &Thread,
) -> Promise<mining_capnp::mining::Client, capnp::Error> {
    let client: init::Client = cast(client);
    let mut request = client.make_mining_request();
    run_on(request.get().get_context(), thread);
    let sent = request.send().promise;
    Promise::from_future(async move { Ok(cast(&sent.await?.get()?.get_result()?)) })
}

pub(super) fn create_new_block(client: &mining_capnp::mining::Client, create: Create) -> Brought {
    let client: mining::Client = cast(client);
    let mut request = client.create_new_block_request();
    let mut options = request.get().init_options();
    options.set_use_mempool(create.use_mempool);
    options.set_block_reserved_weight(create.reservation.weight());
    options.set_coinbase_output_max_additional_sigops(create.reservation.sigops());
    let sent = request.send();
    let (template, promise) = (cast(&sent.pipeline.get_result()), sent.promise);
    let answer = Promise::from_future(async move {
        let response = promise.await?;
        let results = response.get()?;
        let result = results.has_result().then(|| results.get_result());
        Ok(result.transpose()?.map(|template| cast(&template)))
    });
    Brought { template, answer }
}

pub(super) fn coinbase(template: &Template, thread: &Thread) -> Promise<Coinbase, capnp::Error> {
    let template: block_template::Client = cast(template);
    let mut request = template.get_coinbase_tx_request();
    run_on(request.get().get_context(), thread);
    let sent = request.send().promise;
    Promise::from_future(async move {
        let response = sent.await?;
        let bytes = response.get()?.get_result()?;
        let malformed = || capnp::Error::failed("the coinbase cannot be read".to_owned());
        let dummy: Transaction = deserialize(bytes).map_err(|_invalid| malformed())?;
        take_apart(&dummy).ok_or_else(malformed)
    })
}

/// The first output of the dummy takes the whole reward; those behind it, that is the witness commitment, are required.
fn take_apart(dummy: &Transaction) -> Option<Coinbase> {
    let input = dummy.input.first()?;
    let (reward, required) = dummy.output.split_first()?;
    // The height, and maybe padding behind it.
    let mut instructions = input.script_sig.instruction_indices();
    instructions.next()?.ok()?;
    let height_end = match instructions.next() {
        Some(padding) => padding.ok()?.0,
        None => input.script_sig.len(),
    };
    Some(Coinbase {
        version: u32::from_ne_bytes(dummy.version.0.to_ne_bytes()),
        sequence: input.sequence.to_consensus_u32(),
        script_sig_prefix: input.script_sig.as_bytes()[..height_end].to_vec(),
        witness: input.witness.iter().next().unwrap_or_default().to_vec(),
        value_remaining: i64::try_from(reward.value.to_sat()).ok()?,
        required_outputs: required.iter().map(serialize).collect(),
        lock_time: dummy.lock_time.to_consensus_u32(),
    })
}

pub(super) fn merkle_path(
    template: &Template,
    thread: &Thread,
) -> Promise<Vec<Vec<u8>>, capnp::Error> {
    let template: block_template::Client = cast(template);
    let mut request = template.get_coinbase_merkle_path_request();
    run_on(request.get().get_context(), thread);
    let sent = request.send().promise;
    Promise::from_future(async move {
        let response = sent.await?;
        let path = response.get()?.get_result()?;
        path.iter().map(|node| node.map(<[u8]>::to_vec)).collect()
    })
}

pub(super) fn wait_next(
    template: &Template,
    thread: &Thread,
    timeout_ms: f64,
    fee_threshold_sats: i64,
) -> Brought {
    let template: block_template::Client = cast(template);
    let mut request = template.wait_next_request();
    run_on(request.get().get_context(), thread);
    let mut options = request.get().init_options();
    options.set_timeout(timeout_ms);
    options.set_fee_threshold(fee_threshold_sats);
    let sent = request.send();
    let (template, promise) = (cast(&sent.pipeline.get_result()), sent.promise);
    let answer = Promise::from_future(async move {
        let response = promise.await?;
        let results = response.get()?;
        let result = results.has_result().then(|| results.get_result());
        Ok(result.transpose()?.map(|template| cast(&template)))
    });
    Brought { template, answer }
}

pub(super) fn interrupt_wait(template: &Template) {
    let template: block_template::Client = cast(template);
    drop(template.interrupt_wait_request().send());
}

pub(super) async fn submit_solution(
    template: &Template,
    thread: &Thread,
    solution: &Solution,
) -> capnp::Result<Told> {
    let template: block_template::Client = cast(template);
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

#[cfg(test)]
mod tests {
    use super::*;
    use bitcoin::absolute::LockTime;
    use bitcoin::opcodes::all::OP_PUSHNUM_1;
    use bitcoin::script::Builder;
    use bitcoin::transaction::Version;
    use bitcoin::{Amount, ScriptBuf, Sequence, TxIn, TxOut, Witness};

    fn dummy(script_sig: ScriptBuf) -> Transaction {
        let output = |sats, byte| TxOut {
            value: Amount::from_sat(sats),
            script_pubkey: ScriptBuf::from_bytes(vec![byte]),
        };
        Transaction {
            version: Version::TWO,
            lock_time: LockTime::from_consensus(839_999),
            input: vec![TxIn {
                script_sig,
                sequence: Sequence::ENABLE_LOCKTIME_NO_RBF,
                witness: Witness::from_slice(&[[0; 32]]),
                ..TxIn::default()
            }],
            output: vec![output(312_500_000, 0x51), output(0, 0x6a)],
        }
    }

    #[test]
    fn the_dummy_coinbase_is_taken_apart() {
        let height = |height| Builder::new().push_int(height);
        for (script_sig, prefix) in [
            (height(840_000).push_int(0), vec![3, 0x40, 0xd1, 0x0c]),
            (height(840_000), vec![3, 0x40, 0xd1, 0x0c]),
            (height(1).push_int(0), vec![OP_PUSHNUM_1.to_u8()]),
        ] {
            let coinbase = take_apart(&dummy(script_sig.into_script())).unwrap();
            assert_eq!(coinbase.script_sig_prefix, prefix);
            assert_eq!((coinbase.version, coinbase.sequence), (2, 0xffff_fffe));
            assert_eq!(coinbase.lock_time, 839_999);
            assert_eq!(coinbase.value_remaining, 312_500_000);
            assert_eq!(coinbase.witness, [0; 32]);
            assert_eq!(
                coinbase.required_outputs,
                [vec![0, 0, 0, 0, 0, 0, 0, 0, 1, 0x6a]]
            );
        }
        assert!(take_apart(&dummy(ScriptBuf::new())).is_none());
        let mut without_outputs = dummy(height(1).into_script());
        without_outputs.output.clear();
        assert!(take_apart(&without_outputs).is_none());
    }
}
