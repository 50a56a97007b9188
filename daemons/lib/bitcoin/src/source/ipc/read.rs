//! A template of the node in our own types.
//!
//! Owns: the checks that every part is what it has to be. Never: asks the node for one.

use std::time::Instant;

use bitcoin::block::Header;
use bitcoin::consensus::encode::deserialize;
use bitcoin_capnp_types::mining_capnp::block_template;
use hh_mining::{Template, Tip};

use super::connection::{Fetched, Parts};
use crate::source::SourceError;

/// A template that was fetched.
pub(super) struct Read {
    pub(super) client: block_template::Client,
    pub(super) template: Template,
    pub(super) tip: Tip,
    pub(super) height: u32,
    pub(super) coinbase_witness: Vec<u8>,
    pub(super) announced_at: Instant,
}

pub(super) fn read(fetched: Fetched) -> Result<Read, SourceError> {
    let Fetched {
        client,
        parts,
        announced_at,
    } = fetched;
    let coinbase_witness = parts.coinbase.witness.clone();
    let (template, tip) = read_parts(parts)?;
    let height = template.height().ok_or(SourceError::Malformed {
        what: "its coinbase does not start with a height",
    })?;
    Ok(Read {
        client,
        template,
        tip,
        height,
        coinbase_witness,
        announced_at,
    })
}

fn read_parts(parts: Parts) -> Result<(Template, Tip), SourceError> {
    let malformed = |what| SourceError::Malformed { what };
    let coinbase = parts.coinbase;
    let header: Header = deserialize(&parts.header)
        .map_err(|_invalid| malformed("its header is not 80 bytes long"))?;
    let merkle_path = parts
        .merkle_path
        .iter()
        .map(|node| <[u8; 32]>::try_from(node.as_slice()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_invalid| malformed("its merkle path has a node that is not a hash"))?;
    let value_remaining = u64::try_from(coinbase.value_remaining)
        .map_err(|_negative| malformed("its reward is negative"))?;
    let outputs_count = u32::try_from(coinbase.required_outputs.len())
        .map_err(|_many| malformed("it has too many outputs"))?;
    let template = Template {
        template_id: 0,
        version: u32::from_ne_bytes(header.version.to_consensus().to_ne_bytes()),
        coinbase_tx_version: coinbase.version,
        coinbase_prefix: coinbase.script_sig_prefix,
        coinbase_tx_input_sequence: coinbase.sequence,
        coinbase_tx_value_remaining: value_remaining,
        coinbase_tx_outputs_count: outputs_count,
        coinbase_tx_outputs: coinbase.required_outputs.concat(),
        coinbase_tx_locktime: coinbase.lock_time,
        merkle_path,
    };
    let tip = Tip::new(
        *header.prev_blockhash.as_ref(),
        header.time,
        header.bits.to_consensus(),
    )
    .map_err(|_invalid| malformed("its nBits is no target"))?;
    Ok((template, tip))
}
