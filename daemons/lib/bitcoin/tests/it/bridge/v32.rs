//! The schema of Bitcoin Core 32, in the types of `bitcoin-capnp-types` 0.3.

use std::rc::Rc;

use bitcoin_capnp_types_32::init_capnp::init;
use bitcoin_capnp_types_32::mining_capnp::{block_template, mining};
use bitcoin_capnp_types_32::proxy_capnp::{thread, thread_map};

use super::{Real, Template, fill};

type Done = capnp::Result<()>;

pub(super) fn init(real: Rc<Real>) -> capnp::capability::Client {
    let client: init::Client = capnp_rpc::new_client(Init(real));
    client.client
}

struct Init(Rc<Real>);
struct Threads;
struct Thread;
struct Mining(Rc<Real>);

impl thread::Server for Thread {}

impl thread_map::Server for Threads {
    async fn make_thread(
        self: Rc<Self>,
        _: thread_map::MakeThreadParams,
        mut results: thread_map::MakeThreadResults,
    ) -> Done {
        results.get().set_result(capnp_rpc::new_client(Thread));
        Ok(())
    }
}

impl init::Server for Init {
    async fn construct(
        self: Rc<Self>,
        _: init::ConstructParams,
        mut results: init::ConstructResults,
    ) -> Done {
        results.get().set_thread_map(capnp_rpc::new_client(Threads));
        Ok(())
    }

    async fn make_mining(
        self: Rc<Self>,
        _: init::MakeMiningParams,
        mut results: init::MakeMiningResults,
    ) -> Done {
        let mining = Mining(Rc::clone(&self.0));
        results.get().set_result(capnp_rpc::new_client(mining));
        Ok(())
    }
}

impl mining::Server for Mining {
    async fn create_new_block(
        self: Rc<Self>,
        params: mining::CreateNewBlockParams,
        mut results: mining::CreateNewBlockResults,
    ) -> Done {
        let params = params.get()?;
        let options = params.get_options()?;
        let create = self.0.create(
            options.get_use_mempool(),
            options.get_block_reserved_weight(),
            options.get_coinbase_output_max_additional_sigops(),
            params.get_cooldown(),
        );
        results
            .get()
            .set_result(capnp_rpc::new_client(create.await?));
        Ok(())
    }
}

impl block_template::Server for Template {
    async fn get_block_header(
        self: Rc<Self>,
        _: block_template::GetBlockHeaderParams,
        mut results: block_template::GetBlockHeaderResults,
    ) -> Done {
        results.get().set_result(&self.header().await?);
        Ok(())
    }

    async fn get_block(
        self: Rc<Self>,
        _: block_template::GetBlockParams,
        mut results: block_template::GetBlockResults,
    ) -> Done {
        results.get().set_result(&self.block().await?);
        Ok(())
    }

    async fn get_tx_fees(
        self: Rc<Self>,
        _: block_template::GetTxFeesParams,
        mut results: block_template::GetTxFeesResults,
    ) -> Done {
        let fees = self.fees().await?;
        results.get().set_result(fees.as_slice())
    }

    async fn get_coinbase_tx(
        self: Rc<Self>,
        _: block_template::GetCoinbaseTxParams,
        mut results: block_template::GetCoinbaseTxResults,
    ) -> Done {
        let coinbase = self.coinbase().await?;
        let transaction = &coinbase.transaction;
        let mut result = results.get().init_result();
        result.set_version(u32::from_ne_bytes(transaction.version.0.to_ne_bytes()));
        result.set_sequence(transaction.input[0].sequence.to_consensus_u32());
        result.set_script_sig_prefix(&coinbase.script_sig_prefix);
        result.set_witness(&coinbase.witness);
        result.set_block_reward_remaining(coinbase.value_remaining);
        let outputs = &coinbase.required_outputs;
        let count = u32::try_from(outputs.len()).unwrap();
        fill(result.reborrow().init_required_outputs(count), outputs);
        result.set_lock_time(transaction.lock_time.to_consensus_u32());
        Ok(())
    }

    async fn get_coinbase_merkle_path(
        self: Rc<Self>,
        _: block_template::GetCoinbaseMerklePathParams,
        mut results: block_template::GetCoinbaseMerklePathResults,
    ) -> Done {
        let path = self.merkle_path().await?;
        let list = results
            .get()
            .init_result(u32::try_from(path.len()).unwrap());
        fill(list, &path);
        Ok(())
    }

    async fn submit_solution(
        self: Rc<Self>,
        params: block_template::SubmitSolutionParams,
        mut results: block_template::SubmitSolutionResults,
    ) -> Done {
        let params = params.get()?;
        let (version, timestamp, nonce) = (
            params.get_version(),
            params.get_timestamp(),
            params.get_nonce(),
        );
        let coinbase = params.get_coinbase()?;
        let reason = self.reason(version, timestamp, nonce, coinbase).await?;
        let taken = self.submit(version, timestamp, nonce, coinbase).await?;
        results.get().set_reason(reason.as_str());
        results.get().set_result(taken && reason.is_empty());
        Ok(())
    }

    async fn wait_next(
        self: Rc<Self>,
        params: block_template::WaitNextParams,
        mut results: block_template::WaitNextResults,
    ) -> Done {
        let options = params.get()?.get_options()?;
        let (timeout, threshold) = (options.get_timeout(), options.get_fee_threshold());
        if let Some(next) = Self::wait_next(&self, timeout, threshold).await? {
            results.get().set_result(capnp_rpc::new_client(next));
        }
        Ok(())
    }

    async fn interrupt_wait(
        self: Rc<Self>,
        _: block_template::InterruptWaitParams,
        _: block_template::InterruptWaitResults,
    ) -> Done {
        Self::interrupt_wait(&self);
        Ok(())
    }
}
