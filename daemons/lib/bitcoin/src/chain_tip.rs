//! A node's tip as it changes, and headers and blocks as they are serialized: what relays blocks asks of it.
//!
//! Owns: the wait for the next tip. Never: remembers a tip, or decides what is passed on.

use std::time::Duration;

use bitcoin::BlockHash;
use bitcoin::hex::{DisplayHex, FromHex};
use serde::Deserialize;
use serde_json::json;

use crate::rpc::{CALL_DEADLINE, Rpc, RpcError};

/// `RPC_VERIFY_ERROR` of Bitcoin Core: the header is not valid, or the one before it is not known.
const CODE_VERIFY: i32 = -25;

/// `RPC_DESERIALIZATION_ERROR` of Bitcoin Core.
const CODE_DESERIALIZATION: i32 = -22;

/// The end of a node's best chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct ChainTip {
    pub hash: BlockHash,
    pub height: u32,
}

impl Rpc {
    /// The tip, as soon as it is at least as high as this, or after so long, whatever it is then. A tip that takes another's place is higher
    /// than that as a rule, so who waits for the next height misses none.
    ///
    /// # Errors
    /// The node does not say.
    pub async fn tip_from(&self, height: u32, wait: Duration) -> Result<ChainTip, RpcError> {
        let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let params = vec![json!(height), json!(wait_ms)];
        let deadline = wait.saturating_add(CALL_DEADLINE);
        self.call("waitforblockheight", params, deadline).await
    }

    /// The 80 bytes of a header.
    ///
    /// # Errors
    /// The node does not know it, or does not say.
    pub async fn raw_header(&self, hash: BlockHash) -> Result<Vec<u8>, RpcError> {
        let params = vec![json!(hash), json!(false)];
        let hex = self.call("getblockheader", params, CALL_DEADLINE).await?;
        self.bytes("getblockheader", hex)
    }

    /// The whole block as it is serialized, with witnesses.
    ///
    /// # Errors
    /// The node does not have it, or does not say.
    pub async fn raw_block(&self, hash: BlockHash) -> Result<Vec<u8>, RpcError> {
        let params = vec![json!(hash), json!(0)];
        let hex = self.call("getblock", params, CALL_DEADLINE).await?;
        self.bytes("getblock", hex)
    }

    /// Gives the node a header: none if it is valid on what the node has, else its word for why it is not.
    ///
    /// # Errors
    /// The node does not say.
    pub async fn submit_header(&self, header: &[u8]) -> Result<Option<String>, RpcError> {
        let params = vec![json!(header.to_lower_hex_string())];
        let submitted: Result<Option<String>, RpcError> =
            self.call("submitheader", params, CALL_DEADLINE).await;
        match submitted {
            Err(RpcError::Refused {
                code: CODE_VERIFY | CODE_DESERIALIZATION,
                message,
                ..
            }) => Ok(Some(message)),
            answer => answer,
        }
    }

    fn bytes(&self, method: &'static str, hex: String) -> Result<Vec<u8>, RpcError> {
        Vec::from_hex(&hex).map_err(|source| RpcError::Answer {
            url: self.url().to_owned(),
            method,
            source: Box::new(source),
        })
    }
}
