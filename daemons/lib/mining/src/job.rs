//! `Job`: the work of one template, built once and shared by every channel.
//!
//! The coinbase is ours: scriptSig = the template's prefix (BIP34 height), push of the tag, push of the extranonce; outputs =
//! the reward script with all of the remaining value, then the template's own. A job exists only if its coinbase, parsed
//! again, says exactly that.

use bitcoin::consensus::encode::{deserialize, deserialize_partial, serialize};
use bitcoin::hashes::{Hash, HashEngine, sha256d};
use bitcoin::{Amount, OutPoint, ScriptBuf, Transaction, TxOut, VarInt};

use crate::Template;
use crate::extranonce::{EXTRANONCE_SIZE, Extranonce};

/// Consensus: a coinbase scriptSig has 2 to 100 bytes.
const MAX_SCRIPT_SIG_SIZE: usize = 100;
/// The longest push that is one opcode; the tag and the extranonce are pushed so.
const MAX_DIRECT_PUSH: usize = 75;
/// How an output that commits to the witnesses begins (BIP141): OP_RETURN, push of 36, the header aa21a9ed.
pub(crate) const WITNESS_COMMITMENT: [u8; 6] = [0x6A, 0x24, 0xAA, 0x21, 0xA9, 0xED];
/// Version, 1 byte of input count, the outpoint that no output has: what stands before the scriptSig's length.
const BEFORE_SCRIPT_SIG: usize = 4 + 1 + 36;
const LOCKTIME_SIZE: usize = 4;

/// What the operator decides about the coinbase.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CoinbaseRecipe {
    /// Where the whole reward goes.
    pub reward_script: ScriptBuf,
    /// Text that names the pool in the scriptSig, like `/Hyper Hash/`; at most 75 bytes, may be empty.
    pub tag: Vec<u8>,
}

/// The work of one template under one recipe.
#[derive(Clone, Debug)]
pub struct Job {
    template_id: u64,
    version: u32,
    coinbase_tx_prefix: Vec<u8>,
    coinbase_tx_suffix: Vec<u8>,
    merkle_path: Vec<[u8; 32]>,
    reward: Amount,
    commits_to_witnesses: bool,
}

impl Job {
    /// Builds the coinbase around the extranonce and proves it by parsing it again.
    ///
    /// # Errors
    /// If the template or the recipe can't give a valid coinbase, or if the coinbase does not re-parse to what was asked.
    pub fn build(template: &Template, recipe: &CoinbaseRecipe) -> Result<Self, JobError> {
        let reward = Amount::from_sat(template.coinbase_tx_value_remaining);
        if recipe.reward_script.is_empty() || recipe.reward_script.is_op_return() {
            return Err(JobError::RewardScript(recipe.reward_script.clone()));
        }
        let template_outputs = parse_outputs(template)?;
        total_value(reward, &template_outputs)?;

        let job = Self {
            template_id: template.template_id,
            version: template.version,
            coinbase_tx_prefix: coinbase_prefix(template, &recipe.tag)?,
            coinbase_tx_suffix: coinbase_suffix(template, &recipe.reward_script),
            merkle_path: template.merkle_path.clone(),
            reward,
            commits_to_witnesses: template_outputs.iter().any(|output| {
                output
                    .script_pubkey
                    .as_bytes()
                    .starts_with(&WITNESS_COMMITMENT)
            }),
        };
        job.prove(template, recipe, &template_outputs)?;
        Ok(job)
    }

    /// The template this is the work of.
    #[must_use]
    pub const fn template_id(&self) -> u64 {
        self.template_id
    }

    /// The block version before a miner rolls any of its bits.
    #[must_use]
    pub const fn version(&self) -> u32 {
        self.version
    }

    /// What the coinbase pays to the reward script.
    #[must_use]
    pub const fn reward(&self) -> Amount {
        self.reward
    }

    /// The coinbase before the extranonce, without the fields of BIP141: what `NewExtendedMiningJob` carries.
    #[must_use]
    pub fn coinbase_tx_prefix(&self) -> &[u8] {
        &self.coinbase_tx_prefix
    }

    /// The coinbase after the extranonce, without the fields of BIP141: what `NewExtendedMiningJob` carries.
    #[must_use]
    pub fn coinbase_tx_suffix(&self) -> &[u8] {
        &self.coinbase_tx_suffix
    }

    /// The hashes beside the coinbase's path to the merkle root, the deepest first.
    #[must_use]
    pub fn merkle_path(&self) -> &[[u8; 32]] {
        &self.merkle_path
    }

    /// The merkle root of the block whose coinbase carries `extranonce`, in the byte order of a header.
    #[must_use]
    pub fn merkle_root(&self, extranonce: &Extranonce) -> [u8; 32] {
        merkle_root_of(
            &self.coinbase_tx_prefix,
            extranonce.as_bytes(),
            &self.coinbase_tx_suffix,
            &self.merkle_path,
        )
    }

    /// The coinbase as a block and `SubmitSolution` carry it: with the witness that BIP141 asks for, if the template commits to
    /// witnesses.
    #[must_use]
    pub fn coinbase_with_witness(&self, extranonce: &Extranonce) -> Vec<u8> {
        if !self.commits_to_witnesses {
            return [
                &self.coinbase_tx_prefix[..],
                extranonce.as_bytes(),
                &self.coinbase_tx_suffix,
            ]
            .concat();
        }
        let (version, prefix) = self.coinbase_tx_prefix.split_at(4);
        let (suffix, locktime) = self
            .coinbase_tx_suffix
            .split_at(self.coinbase_tx_suffix.len() - LOCKTIME_SIZE);
        let marker_and_flag = [0x00, 0x01];
        // One stack item of 32 zero bytes: the witness reserved value that Bitcoin Core's commitment is made with.
        let mut witness = [0; 34];
        witness[..2].copy_from_slice(&[1, 32]);
        [
            version,
            &marker_and_flag,
            prefix,
            extranonce.as_bytes(),
            suffix,
            &witness,
            locktime,
        ]
        .concat()
    }

    /// Parses the finished coinbase with rust-bitcoin and compares each part with what was asked for.
    fn prove(
        &self,
        template: &Template,
        recipe: &CoinbaseRecipe,
        template_outputs: &[TxOut],
    ) -> Result<(), JobError> {
        let extranonce = Extranonce::from_bytes([0xA5; EXTRANONCE_SIZE]);
        let bytes = self.coinbase_with_witness(&extranonce);
        let tx: Transaction = deserialize(&bytes).map_err(|error| JobError::Proof {
            part: "coinbase",
            found: error.to_string(),
        })?;
        let differs = |part, found: &dyn std::fmt::Debug| JobError::Proof {
            part,
            found: format!("{found:?}"),
        };

        if !tx.is_coinbase() {
            return Err(differs("input", &tx.input));
        }
        let input = &tx.input[0];
        let script_sig = script_sig(template, &recipe.tag, &extranonce);
        if input.script_sig.as_bytes() != script_sig {
            return Err(differs("scriptSig", &input.script_sig));
        }
        if input.sequence.0 != template.coinbase_tx_input_sequence {
            return Err(differs("sequence", &input.sequence));
        }
        if tx.version.0.to_le_bytes() != template.coinbase_tx_version.to_le_bytes() {
            return Err(differs("version", &tx.version));
        }
        if tx.lock_time.to_consensus_u32() != template.coinbase_tx_locktime {
            return Err(differs("locktime", &tx.lock_time));
        }
        let reward = TxOut {
            value: self.reward,
            script_pubkey: recipe.reward_script.clone(),
        };
        if tx.output.split_first() != Some((&reward, template_outputs)) {
            return Err(differs("outputs", &tx.output));
        }
        let txid = coinbase_hash(
            &self.coinbase_tx_prefix,
            extranonce.as_bytes(),
            &self.coinbase_tx_suffix,
        );
        if tx.compute_txid().to_byte_array() != txid {
            return Err(differs("txid", &tx.compute_txid()));
        }
        Ok(())
    }
}

/// The merkle root of the block whose coinbase is `prefix || extranonce || suffix` (without the fields of BIP141), in the byte
/// order of a header. `path` has the deepest hash first, as SV2 and SV1 send it.
#[must_use]
pub fn merkle_root_of(
    prefix: &[u8],
    extranonce: &[u8],
    suffix: &[u8],
    path: &[[u8; 32]],
) -> [u8; 32] {
    merkle_root(coinbase_hash(prefix, extranonce, suffix), path)
}

/// The merkle root of a block whose coinbase has this txid, both in internal byte order.
#[must_use]
pub fn merkle_root(txid: [u8; 32], path: &[[u8; 32]]) -> [u8; 32] {
    let mut pair = [0; 64];
    path.iter().fold(txid, |left, right| {
        pair[..32].copy_from_slice(&left);
        pair[32..].copy_from_slice(right);
        sha256d::Hash::hash(&pair).to_byte_array()
    })
}

fn coinbase_hash(prefix: &[u8], extranonce: &[u8], suffix: &[u8]) -> [u8; 32] {
    let mut engine = sha256d::Hash::engine();
    engine.input(prefix);
    engine.input(extranonce);
    engine.input(suffix);
    sha256d::Hash::from_engine(engine).to_byte_array()
}

/// Everything from the version to the opcode that pushes the extranonce.
fn coinbase_prefix(template: &Template, tag: &[u8]) -> Result<Vec<u8>, JobError> {
    if tag.len() > MAX_DIRECT_PUSH {
        return Err(JobError::TagSize { size: tag.len() });
    }
    let script_sig = script_sig(template, tag, &Extranonce::from_bytes([0; EXTRANONCE_SIZE]));
    let length = u8::try_from(script_sig.len())
        .ok()
        .filter(|length| usize::from(*length) <= MAX_SCRIPT_SIG_SIZE)
        .ok_or(JobError::ScriptSigSize {
            size: script_sig.len(),
        })?;

    let mut bytes = Vec::with_capacity(BEFORE_SCRIPT_SIG + 1 + script_sig.len());
    bytes.extend_from_slice(&template.coinbase_tx_version.to_le_bytes());
    bytes.push(1);
    bytes.extend_from_slice(&serialize(&OutPoint::null()));
    bytes.push(length);
    bytes.extend_from_slice(&script_sig[..script_sig.len() - EXTRANONCE_SIZE]);
    Ok(bytes)
}

/// Everything after the extranonce: sequence, outputs, locktime.
fn coinbase_suffix(template: &Template, reward_script: &ScriptBuf) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64 + template.coinbase_tx_outputs.len());
    bytes.extend_from_slice(&template.coinbase_tx_input_sequence.to_le_bytes());
    let count = VarInt(u64::from(template.coinbase_tx_outputs_count) + 1);
    bytes.extend_from_slice(&serialize(&count));
    bytes.extend_from_slice(&template.coinbase_tx_value_remaining.to_le_bytes());
    bytes.extend_from_slice(&serialize(reward_script));
    bytes.extend_from_slice(&template.coinbase_tx_outputs);
    bytes.extend_from_slice(&template.coinbase_tx_locktime.to_le_bytes());
    bytes
}

/// The template's prefix, a push of the tag if there is one, a push of the extranonce.
fn script_sig(template: &Template, tag: &[u8], extranonce: &Extranonce) -> Vec<u8> {
    let mut script = template.coinbase_prefix.clone();
    if !tag.is_empty() {
        push(&mut script, tag);
    }
    push(&mut script, extranonce.as_bytes());
    script
}

fn push(script: &mut Vec<u8>, data: &[u8]) {
    script.push(u8::try_from(data.len()).expect("a tag and an extranonce have at most 75 bytes"));
    script.extend_from_slice(data);
}

/// The template's own outputs: as many as it says, and no byte more.
pub(crate) fn parse_outputs(template: &Template) -> Result<Vec<TxOut>, JobError> {
    let count = template.coinbase_tx_outputs_count;
    let wrong = |reason: String| JobError::TemplateOutputs { count, reason };
    let mut rest = &template.coinbase_tx_outputs[..];
    let mut outputs = Vec::new();
    for _ in 0..count {
        let (output, size) =
            deserialize_partial::<TxOut>(rest).map_err(|error| wrong(error.to_string()))?;
        outputs.push(output);
        rest = &rest[size..];
    }
    if !rest.is_empty() {
        return Err(wrong(format!("{} bytes left over", rest.len())));
    }
    Ok(outputs)
}

/// The sum of all outputs, which may not be more money than there is.
pub(crate) fn total_value(reward: Amount, template_outputs: &[TxOut]) -> Result<Amount, JobError> {
    template_outputs
        .iter()
        .try_fold(reward, |sum, output| sum.checked_add(output.value))
        .filter(|sum| *sum <= Amount::MAX_MONEY)
        .ok_or(JobError::Value { reward })
}

/// Why a template and a recipe give no job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    #[error("the reward script `{0}` is empty or unspendable")]
    RewardScript(ScriptBuf),
    #[error("the coinbase tag has {size} bytes, at most 75 are allowed")]
    TagSize { size: usize },
    #[error("the coinbase scriptSig has {size} bytes, consensus allows 100")]
    ScriptSigSize { size: usize },
    #[error("the template's coinbase outputs are not {count} outputs: {reason}")]
    TemplateOutputs { count: u32, reason: String },
    #[error("the coinbase pays more than 21 million BTC: {reward} and the template's outputs")]
    Value { reward: Amount },
    /// Our own mistake, found before a miner could work on it.
    #[error("the coinbase does not parse to what was built: {part} is {found}")]
    Proof { part: &'static str, found: String },
}

#[cfg(test)]
mod tests;
