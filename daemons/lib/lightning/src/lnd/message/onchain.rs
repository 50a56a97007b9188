//! Those about its outputs on the chain.

use prost::Message;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ListUnspentRequest {
    #[prost(int32, tag = "1")]
    pub(crate) min_confs: i32,
    #[prost(int32, tag = "2")]
    pub(crate) max_confs: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ListUnspentResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) utxos: Vec<Utxo>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Utxo {
    #[prost(int64, tag = "3")]
    pub(crate) amount_sat: i64,
    /// Hex.
    #[prost(string, tag = "4")]
    pub(crate) pk_script: String,
    #[prost(message, optional, tag = "5")]
    pub(crate) outpoint: Option<OutPoint>,
    #[prost(int64, tag = "6")]
    pub(crate) confirmations: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct OutPoint {
    /// As it is shown.
    #[prost(string, tag = "2")]
    pub(crate) txid_str: String,
    #[prost(uint32, tag = "3")]
    pub(crate) output_index: u32,
}
