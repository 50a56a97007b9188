//! A job's coinbase, read back: what stands in the bytes that miners get, not what was meant to.
//!
//! Operators are shown this. It starts from prefix and suffix alone, so that it would tell of a coinbase that pays somebody else
//! or another amount than the configuration says.

use bitcoin::consensus::encode::deserialize;
use bitcoin::script::Instruction;
use bitcoin::{Amount, Network, Script, ScriptBuf, Transaction, TxOut, Weight};

use crate::extranonce::{EXTRANONCE_SIZE, Extranonce};
use crate::job::{WITNESS_COMMITMENT, parse_outputs, total_value};
use crate::{Job, JobError, Template};

/// A coinbase, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coinbase {
    pub version: u32,
    /// What the scriptSig consists of, in its order; the extranonce is the last part.
    pub script_sig: Vec<ScriptSigPart>,
    /// Bytes of the scriptSig, of which consensus allows 100.
    pub script_sig_size: usize,
    pub sequence: u32,
    /// The first is the pool's reward; the others are the template's.
    pub outputs: Vec<TxOut>,
    pub locktime: u32,
    /// The sum of all outputs.
    pub value: Amount,
    /// With the witness, as it counts in a block (BIP141).
    pub weight: Weight,
}

/// A part of a coinbase's scriptSig.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptSigPart {
    /// The height of the block to be (BIP34), with its bytes as pushed.
    Height(u32, Vec<u8>),
    /// Bytes that were pushed: the tag; or what a template adds to the height.
    Push(Vec<u8>),
    /// An opcode that pushes nothing from the script.
    Opcode(u8),
    /// Where each channel's own extranonce goes: so many bytes.
    Extranonce(usize),
}

/// What an output script asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptKind {
    P2pk,
    P2pkh,
    P2sh,
    P2wpkh,
    P2wsh,
    P2tr,
    /// The commitment to the witnesses of a block (BIP141).
    WitnessCommitment,
    /// Any other that nobody can spend.
    OpReturn,
    Other,
}

impl Coinbase {
    /// Parses the coinbase that miners of `job` work on.
    ///
    /// # Errors
    /// The bytes are no coinbase whose scriptSig ends with the extranonce: our own mistake.
    pub fn parse(job: &Job) -> Result<Self, JobError> {
        let extranonce = Extranonce::from_bytes([0; EXTRANONCE_SIZE]);
        let bytes = job.coinbase_with_witness(&extranonce);
        let tx: Transaction = deserialize(&bytes).map_err(|error| JobError::Proof {
            part: "coinbase",
            found: error.to_string(),
        })?;
        let [input] = &tx.input[..] else {
            return Err(differs("inputs", &tx.input));
        };
        let script_sig = script_sig_parts(&input.script_sig)
            .ok_or_else(|| differs("scriptSig", &input.script_sig))?;
        let value = tx.output.iter().try_fold(Amount::ZERO, |sum, output| {
            sum.checked_add(output.value)
                .ok_or_else(|| differs("value", &tx.output))
        })?;
        Ok(Self {
            version: u32::from_le_bytes(tx.version.0.to_le_bytes()),
            script_sig,
            script_sig_size: input.script_sig.len(),
            sequence: input.sequence.0,
            value,
            weight: tx.weight(),
            locktime: tx.lock_time.to_consensus_u32(),
            outputs: tx.output,
        })
    }
}

/// What a coinbase of this template may pay, and has to: the value that remains and that of the template's own outputs.
///
/// # Errors
/// The template's outputs are none, or more money than there is.
pub fn template_value(template: &Template) -> Result<Amount, JobError> {
    let remaining = Amount::from_sat(template.coinbase_tx_value_remaining);
    total_value(remaining, &parse_outputs(template)?)
}

impl ScriptKind {
    #[must_use]
    pub fn of(script: &Script) -> Self {
        let kinds = [
            (Self::P2pk, script.is_p2pk()),
            (Self::P2pkh, script.is_p2pkh()),
            (Self::P2sh, script.is_p2sh()),
            (Self::P2wpkh, script.is_p2wpkh()),
            (Self::P2wsh, script.is_p2wsh()),
            (Self::P2tr, script.is_p2tr()),
            (
                Self::WitnessCommitment,
                script.as_bytes().starts_with(&WITNESS_COMMITMENT),
            ),
            (Self::OpReturn, script.is_op_return()),
        ];
        let mut found = kinds.into_iter().filter(|(_, is)| *is);
        found.next().map_or(Self::Other, |(kind, _)| kind)
    }

    /// As operators read it, and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::P2pk => "p2pk",
            Self::P2pkh => "p2pkh",
            Self::P2sh => "p2sh",
            Self::P2wpkh => "p2wpkh",
            Self::P2wsh => "p2wsh",
            Self::P2tr => "p2tr",
            Self::WitnessCommitment => "witness_commitment",
            Self::OpReturn => "op_return",
            Self::Other => "other",
        }
    }
}

/// The address that an output script stands for on `chain`; none where there is none.
#[must_use]
pub fn address(script: &ScriptBuf, chain: Network) -> Option<String> {
    let address = bitcoin::Address::from_script(script, chain);
    address.ok().map(|address| address.to_string())
}

/// None unless the script ends with a push of an extranonce.
fn script_sig_parts(script: &Script) -> Option<Vec<ScriptSigPart>> {
    let mut parts = Vec::new();
    for instruction in script.instructions() {
        parts.push(match instruction.ok()? {
            Instruction::PushBytes(bytes) => ScriptSigPart::Push(bytes.as_bytes().to_vec()),
            Instruction::Op(opcode) => ScriptSigPart::Opcode(opcode.to_u8()),
        });
    }
    let last = parts.last_mut()?;
    match last {
        ScriptSigPart::Push(bytes) if bytes.len() == EXTRANONCE_SIZE => {
            *last = ScriptSigPart::Extranonce(EXTRANONCE_SIZE);
        }
        _ => return None,
    }
    let height = crate::template::height_of(script.as_bytes())?;
    let first = parts.first_mut()?;
    let bytes = match first {
        ScriptSigPart::Push(bytes) => std::mem::take(bytes),
        ScriptSigPart::Opcode(opcode) => vec![*opcode],
        ScriptSigPart::Height(..) | ScriptSigPart::Extranonce(_) => return None,
    };
    *first = ScriptSigPart::Height(height, bytes);
    Some(parts)
}

fn differs(part: &'static str, found: &dyn std::fmt::Debug) -> JobError {
    JobError::Proof {
        part,
        found: format!("{found:?}"),
    }
}

#[cfg(test)]
mod tests;
