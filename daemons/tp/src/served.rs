//! A template with its id, and its messages encoded once for all clients.
//!
//! Owns: what Template Distribution says about a template (SV2 specification 7.2, 7.3, 7.5). Never: decides who gets it.

use std::sync::Arc;
use std::time::Duration;

use bitcoin::consensus::encode::deserialize_partial;
use bitcoin::hashes::Hash;
use bitcoin::hex::DisplayHex;
use bitcoin::{BlockHash, TxOut};
use hh_bitcoin::{NodeTemplate, TemplateBlock};
use hh_ipc::api::template_provider::{
    CoinbaseOutput, TemplateDetail, TemplateSummary, TemplateValidity,
};
use hh_mining::{Template, Tip};
use hh_sv2::Encoded;
use hh_sv2::message::{
    MessageError, NewTemplate, RequestTransactionDataSuccess, TemplateSetNewPrevHash,
};
use jiff::Timestamp;

/// A template that clients may hold.
#[derive(Debug)]
pub(crate) struct ServedTemplate {
    /// As the node gave it, with its id.
    pub(crate) node: NodeTemplate,
    pub(crate) origin: Origin,
    pub(crate) created_at: Timestamp,
    /// `NewTemplate` for a client that is on another tip; `set_new_prev_hash` follows it.
    pub(crate) future: Encoded,
    pub(crate) set_new_prev_hash: Encoded,
    /// `NewTemplate` for a client that is on this tip.
    pub(crate) immediate: Encoded,
}

/// Where a template comes from, and why now.
#[derive(Debug, Clone)]
pub(crate) struct Origin {
    /// Name of the node.
    pub(crate) node: Arc<str>,
    /// Whether its handle submits by mining IPC: a path of its own, beside RPC.
    pub(crate) ipc: bool,
    /// Value of the metric label `trigger`.
    pub(crate) trigger: &'static str,
}

/// Why a template can't be put into messages.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ServedError {
    #[error("the template's {field} does not fit into a message of Template Distribution")]
    Field { field: &'static str },
    #[error(transparent)]
    Encode(#[from] MessageError),
}

/// Which work it is that a client is on: what `SetNewPrevHash` tells, without the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TipKey {
    pub(crate) prev_hash: [u8; 32],
    pub(crate) nbits: u32,
}

impl TipKey {
    pub(crate) fn of(tip: &Tip) -> Self {
        Self {
            prev_hash: tip.prev_hash,
            nbits: tip.nbits,
        }
    }
}

impl ServedTemplate {
    pub(crate) fn new(
        mut node: NodeTemplate,
        origin: Origin,
        template_id: u64,
    ) -> Result<Self, ServedError> {
        node.template.template_id = template_id;
        Ok(Self {
            created_at: Timestamp::now(),
            future: Encoded::new(new_template(&node.template, true)?)?,
            set_new_prev_hash: Encoded::new(set_new_prev_hash(&node)?)?,
            immediate: Encoded::new(new_template(&node.template, false)?)?,
            node,
            origin,
        })
    }

    pub(crate) fn id(&self) -> u64 {
        self.node.template.template_id
    }

    pub(crate) fn tip(&self) -> TipKey {
        TipKey::of(&self.node.tip)
    }

    pub(crate) fn prev_hash(&self) -> BlockHash {
        BlockHash::from_byte_array(self.node.tip.prev_hash)
    }

    /// For operators; what depends on the transactions is added when they have arrived.
    pub(crate) fn detail(&self, generation: Duration) -> TemplateDetail {
        let template = &self.node.template;
        TemplateDetail {
            summary: self.summary(generation),
            validity: TemplateValidity::Current,
            version: template.version,
            nbits: format!("{:08x}", self.node.tip.nbits),
            header_timestamp: self.node.tip.header_timestamp,
            coinbase_prefix_hex: template.coinbase_prefix.to_lower_hex_string(),
            coinbase_outputs: outputs(&template.coinbase_tx_outputs),
            merkle_path_length: u32::try_from(template.merkle_path.len()).unwrap_or(u32::MAX),
            reserved_weight_wu: self.node.reservation.weight(),
            reserved_sigops: self.node.reservation.sigops(),
        }
    }

    fn summary(&self, generation: Duration) -> TemplateSummary {
        TemplateSummary {
            template_id: self.id(),
            height: self.node.height,
            prev_hash: self.prev_hash().to_string(),
            trigger: self.origin.trigger.to_owned(),
            node: self.origin.node.to_string(),
            transactions: 0,
            fees_sat: 0,
            value_sat: self.node.template.coinbase_tx_value_remaining,
            weight_wu: self.node.reservation.weight(),
            generation_seconds: generation.as_secs_f64(),
            created_at: self.created_at,
        }
    }
}

/// Of their serialization one after the other; what can't be read is left out.
fn outputs(mut serialized: &[u8]) -> Vec<CoinbaseOutput> {
    let mut outputs = Vec::new();
    while let Ok((output, length)) = deserialize_partial::<TxOut>(serialized) {
        outputs.push(CoinbaseOutput {
            value_sat: output.value.to_sat(),
            script_hex: output.script_pubkey.to_hex_string(),
        });
        serialized = &serialized[length..];
    }
    outputs
}

fn new_template(template: &Template, future_template: bool) -> Result<NewTemplate, ServedError> {
    let field = |field| move |_too_long| ServedError::Field { field };
    let path: Vec<_> = template
        .merkle_path
        .iter()
        .map(|node| (*node).into())
        .collect();
    Ok(NewTemplate {
        template_id: template.template_id,
        future_template,
        version: template.version,
        coinbase_tx_version: template.coinbase_tx_version,
        coinbase_prefix: template
            .coinbase_prefix
            .clone()
            .try_into()
            .map_err(field("coinbase prefix"))?,
        coinbase_tx_input_sequence: template.coinbase_tx_input_sequence,
        coinbase_tx_value_remaining: template.coinbase_tx_value_remaining,
        coinbase_tx_outputs_count: template.coinbase_tx_outputs_count,
        coinbase_tx_outputs: template
            .coinbase_tx_outputs
            .clone()
            .try_into()
            .map_err(field("coinbase outputs"))?,
        coinbase_tx_locktime: template.coinbase_tx_locktime,
        merkle_path: path.try_into().map_err(field("merkle path"))?,
    })
}

fn set_new_prev_hash(node: &NodeTemplate) -> Result<TemplateSetNewPrevHash, ServedError> {
    Ok(TemplateSetNewPrevHash {
        template_id: node.template.template_id,
        prev_hash: node.tip.prev_hash.into(),
        header_timestamp: node.tip.header_timestamp,
        n_bits: node.tip.nbits,
        target: node.tip.target.to_le_bytes().into(),
    })
}

/// `RequestTransactionData.Success`. Its excess data is the coinbase's witness (BIP 141 reserved value), the one thing a
/// block needs that is neither in `NewTemplate` nor a transaction.
pub(crate) fn transaction_data(
    served: &ServedTemplate,
    block: &TemplateBlock,
) -> Result<Encoded, ServedError> {
    let field = |field| ServedError::Field { field };
    let transactions = block
        .transactions()
        .map_err(|_invalid| field("transactions"))?
        .into_iter();
    let list = transactions
        .map(|transaction| transaction.to_vec().try_into())
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_too_long| field("transactions"))?;
    let message = RequestTransactionDataSuccess {
        template_id: served.id(),
        excess_data: served
            .node
            .coinbase_witness
            .clone()
            .try_into()
            .map_err(|_too_long| field("coinbase witness"))?,
        transaction_list: list.try_into().map_err(|_too_many| field("transactions"))?,
    };
    Ok(Encoded::new(message)?)
}
