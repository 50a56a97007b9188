//! JSON-RPC to one Bitcoin Core node.
//!
//! Owns: the transport (`bitcoincore-rpc`, which blocks), its deadlines, and errors that say what to do. Each call runs on
//! a thread of its own with a fresh connection, so that a node that hangs holds up one call, a stopped daemon waits for
//! none, and a restarted node's new cookie is read. Never retries: the caller knows whether it may.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bitcoin::consensus::encode::deserialize_hex;
use bitcoin::hex::DisplayHex;
use bitcoin::{Amount, Block, BlockHash, FeeRate, Transaction, Txid, Work};
use bitcoincore_rpc::jsonrpc::{self, simple_http};
use bitcoincore_rpc::{Client, RpcApi};
use hh_daemon::{SecretError, SecretRef};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, oneshot};

/// Bitcoin Core answers cheap calls in milliseconds; while it connects a block it may hold its lock for seconds.
pub const CALL_DEADLINE: Duration = Duration::from_secs(10);
/// Validating and connecting a full block may take seconds on a slow disk; the answer is worth waiting for.
pub const SUBMIT_DEADLINE: Duration = Duration::from_secs(60);
/// A thread each: more at once only queue up behind the node's own `rpcthreads` (16 by default).
const CALLS_AT_ONCE_MAX: usize = 8;

/// A rate per thousand virtual bytes is four times that per thousand units of weight.
const WEIGHT_PER_VBYTE: u64 = 4;

/// `RPC_INVALID_ADDRESS_OR_KEY` of Bitcoin Core: it has no such block or transaction.
const CODE_NOT_FOUND: i32 = -5;

/// `RPC_IN_WARMUP` of Bitcoin Core: it has started, but cannot answer yet.
const CODE_IN_WARMUP: i32 = -28;

/// How we show the node that we may call it.
#[derive(Clone)]
pub enum RpcAuth {
    /// The file that bitcoin-node writes anew at every start; read at each call.
    CookieFile(PathBuf),
    /// `rpcauth` or `rpcuser`; the password is read at each call.
    Password { user: String, password: SecretRef },
}

impl fmt::Debug for RpcAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RpcAuth({self})")
    }
}

/// What is used, never the secret.
impl fmt::Display for RpcAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CookieFile(path) => write!(f, "cookie file {}", path.display()),
            Self::Password { user, password } => {
                write!(f, "user {user} and the password {password}")
            }
        }
    }
}

/// Why a call has no result.
#[derive(Debug, thiserror::Error)]
pub enum RpcError {
    #[error(
        "rpc_url {url} cannot be used: {reason}; write http://HOST:PORT, without a user or password in it"
    )]
    BadUrl { url: String, reason: &'static str },
    #[error(
        "no connection to Bitcoin Core at {url} for {method}; start bitcoin-node with -server, or correct rpc_url"
    )]
    Unreachable {
        url: String,
        method: &'static str,
        source: std::io::Error,
    },
    #[error(
        "Bitcoin Core at {url} did not answer {method} within {seconds} s; is it overloaded or stopping?"
    )]
    TimedOut {
        url: String,
        method: &'static str,
        seconds: u64,
    },
    #[error("Bitcoin Core at {url} refused our credentials (HTTP {status}); correct {auth}")]
    Unauthorized {
        url: String,
        status: u16,
        auth: String,
    },
    #[error(
        "could not read the cookie file {path} for Bitcoin Core at {url}; is bitcoin-node running there, and may this user read the file?"
    )]
    Cookie {
        url: String,
        path: String,
        source: std::io::Error,
    },
    #[error("no password for Bitcoin Core at {url}; correct rpc_password")]
    Password { url: String, source: SecretError },
    #[error("Bitcoin Core at {url} is still starting: {message}")]
    WarmingUp { url: String, message: String },
    #[error("Bitcoin Core at {url} refused {method} with code {code}: {message}")]
    Refused {
        url: String,
        method: &'static str,
        code: i32,
        message: String,
    },
    #[error("the answer of {url} to {method} is not one of Bitcoin Core's; is rpc_url right?")]
    Answer {
        url: String,
        method: &'static str,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("could not start a thread for {method}")]
    Thread {
        method: &'static str,
        source: std::io::Error,
    },
}

impl RpcError {
    /// Whether only a change of the configuration can help. Credentials don't count where a restart of the node renews them.
    pub fn is_config(&self) -> bool {
        match self {
            Self::BadUrl { .. } | Self::Password { .. } => true,
            Self::Unauthorized { auth, .. } => !auth.starts_with("cookie file"),
            Self::Unreachable { .. }
            | Self::TimedOut { .. }
            | Self::Cookie { .. }
            | Self::WarmingUp { .. }
            | Self::Refused { .. }
            | Self::Answer { .. }
            | Self::Thread { .. } => false,
        }
    }
}

/// What `getnetworkinfo` tells, as far as we use it.
#[derive(Debug, Clone, Deserialize)]
pub struct NetworkInfo {
    /// 310000 is 31.0; a development build ends in 9900.
    pub version: u32,
    pub subversion: String,
    pub connections: u32,
}

/// What `getblockchaininfo` tells, as far as we use it.
#[derive(Debug, Clone, Deserialize)]
pub struct BlockchainInfo {
    /// Core's name: main, test, testnet4, signet, regtest.
    pub chain: String,
    pub blocks: u32,
    pub headers: u32,
    pub bestblockhash: BlockHash,
    /// Expected hashes of the whole chain up to the tip.
    pub chainwork: Work,
    pub initialblockdownload: bool,
    /// Of the tip, seconds since 1970.
    pub time: u32,
    /// On signet only: hex of the script that signs blocks.
    pub signet_challenge: Option<String>,
}

/// What `getblockheader` (verbose) tells, as far as we use it.
#[derive(Debug, Clone, Deserialize)]
pub struct BlockHeaderInfo {
    pub hash: BlockHash,
    pub height: u32,
    /// -1 where the block is not on the best chain.
    pub confirmations: i64,
    /// Seconds since 1970.
    pub time: u64,
    pub previousblockhash: Option<BlockHash>,
    pub nextblockhash: Option<BlockHash>,
    /// Transactions of the block; 0 where the node has the header only.
    #[serde(rename = "nTx")]
    pub n_tx: u32,
}

/// What `getrawtransaction` tells, as far as we use it.
#[derive(Debug, Deserialize)]
struct RawTransaction {
    hex: String,
    /// None while it is in no block, and where the node has pruned what the transaction spends.
    #[serde(default, with = "bitcoin::amount::serde::as_btc::opt")]
    fee: Option<Amount>,
}

/// What `estimatesmartfee` tells, as far as we use it.
#[derive(Debug, Deserialize)]
struct FeeEstimate {
    /// A thousand virtual bytes'; none where it has no estimate.
    #[serde(default, with = "bitcoin::amount::serde::as_btc::opt")]
    feerate: Option<Amount>,
}

/// One node's JSON-RPC. Cheap to clone; clones share the limit on calls at once.
#[derive(Debug, Clone)]
pub struct Rpc {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    url: String,
    auth: RpcAuth,
    permits: Arc<Semaphore>,
}

impl Rpc {
    /// `url` is `http://HOST:PORT[/PATH]`. Nothing is connected yet.
    pub fn new(url: &str, auth: RpcAuth) -> Result<Self, RpcError> {
        let bad = |reason| RpcError::BadUrl {
            url: url.to_owned(),
            reason,
        };
        let rest = url
            .strip_prefix("http://")
            .ok_or_else(|| bad("it does not start with http://"))?;
        if rest.contains('@') {
            // Not repeated in the error: it may hold a password.
            return Err(RpcError::BadUrl {
                url: "(not shown)".to_owned(),
                reason: "it contains credentials",
            });
        }
        let host_port = rest.split('/').next().unwrap_or_default();
        if host_port
            .rsplit_once(':')
            .is_none_or(|(_, port)| port.parse::<u16>().is_err())
        {
            return Err(bad("it names no port"));
        }
        let permits = Arc::new(Semaphore::new(CALLS_AT_ONCE_MAX));
        Ok(Self {
            inner: Arc::new(Inner {
                url: url.to_owned(),
                auth,
                permits,
            }),
        })
    }

    /// The same node for calls that may take as long as they like: `calls_at_once` of them hold up no others.
    pub(crate) fn with_limit(&self, calls_at_once: usize) -> Self {
        Self {
            inner: Arc::new(Inner {
                url: self.inner.url.clone(),
                auth: self.inner.auth.clone(),
                permits: Arc::new(Semaphore::new(calls_at_once)),
            }),
        }
    }

    pub fn url(&self) -> &str {
        &self.inner.url
    }

    pub async fn network_info(&self) -> Result<NetworkInfo, RpcError> {
        self.call("getnetworkinfo", vec![], CALL_DEADLINE).await
    }

    pub async fn blockchain_info(&self) -> Result<BlockchainInfo, RpcError> {
        self.call("getblockchaininfo", vec![], CALL_DEADLINE).await
    }

    pub async fn best_block_hash(&self) -> Result<BlockHash, RpcError> {
        self.call("getbestblockhash", vec![], CALL_DEADLINE).await
    }

    /// The hash at `height` of the best chain; a height above the tip is [`RpcError::Refused`].
    pub async fn block_hash(&self, height: u32) -> Result<BlockHash, RpcError> {
        self.call("getblockhash", vec![json!(height)], CALL_DEADLINE)
            .await
    }

    /// A hash the node does not know is [`RpcError::Refused`] with code -5.
    pub async fn block_header(&self, hash: BlockHash) -> Result<BlockHeaderInfo, RpcError> {
        self.call("getblockheader", vec![json!(hash)], CALL_DEADLINE)
            .await
    }

    /// The whole block, with witnesses.
    pub async fn block(&self, hash: BlockHash) -> Result<Block, RpcError> {
        let hex: String = self
            .call("getblock", vec![json!(hash), json!(0)], CALL_DEADLINE)
            .await?;
        deserialize_hex(&hex).map_err(|source| RpcError::Answer {
            url: self.inner.url.clone(),
            method: "getblock",
            source: Box::new(source),
        })
    }

    /// A transaction of this block, or one that waits for a block, with its fee where the node knows that (Bitcoin Core 24 and newer);
    /// none where it is not there.
    pub async fn transaction(
        &self,
        txid: Txid,
        block: Option<BlockHash>,
    ) -> Result<Option<(Transaction, Option<Amount>)>, RpcError> {
        let method = "getrawtransaction";
        let params = vec![json!(txid), json!(2), json!(block)];
        let raw: RawTransaction = match self.call(method, params, CALL_DEADLINE).await {
            Ok(raw) => raw,
            Err(RpcError::Refused {
                code: CODE_NOT_FOUND,
                ..
            }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let transaction = deserialize_hex(&raw.hex).map_err(|source| RpcError::Answer {
            url: self.inner.url.clone(),
            method,
            source: Box::new(source),
        })?;
        Ok(Some((transaction, raw.fee)))
    }

    /// `submitblock` (BIP 22) of a serialized block: `None` is accepted, else the node's word for why not.
    pub async fn submit_block(&self, block: &[u8]) -> Result<Option<String>, RpcError> {
        self.call(
            "submitblock",
            vec![json!(block.to_lower_hex_string())],
            SUBMIT_DEADLINE,
        )
        .await
    }

    /// A proposal by `getblocktemplate` (BIP 23) of a serialized block: `None` is good on the node's tip, whatever its work.
    pub(crate) async fn propose_block(&self, block: &[u8]) -> Result<Option<String>, RpcError> {
        let proposal = json!({ "mode": "proposal", "data": block.to_lower_hex_string() });
        self.call("getblocktemplate", vec![proposal], SUBMIT_DEADLINE)
            .await
    }

    /// What Core thinks that a transaction has to pay to be in one of the next `blocks`; none where it has seen too few to tell.
    pub async fn fee_rate(&self, blocks: u16) -> Result<Option<FeeRate>, RpcError> {
        let params = vec![json!(blocks)];
        let estimate: FeeEstimate = self.call("estimatesmartfee", params, CALL_DEADLINE).await?;
        let sats_per_kvb = estimate.feerate.map(Amount::to_sat);
        Ok(sats_per_kvb.map(|sats| FeeRate::from_sat_per_kwu(sats.div_ceil(WEIGHT_PER_VBYTE))))
    }

    /// Any call. `deadline` covers all of it, waiting for a free thread included.
    pub async fn call<T>(
        &self,
        method: &'static str,
        params: Vec<Value>,
        deadline: Duration,
    ) -> Result<T, RpcError>
    where
        T: DeserializeOwned + Send + 'static,
    {
        tokio::time::timeout(deadline, self.call_on_thread(method, params, deadline))
            .await
            .unwrap_or_else(|_elapsed| Err(self.inner.timed_out(method, deadline)))
    }

    async fn call_on_thread<T>(
        &self,
        method: &'static str,
        params: Vec<Value>,
        deadline: Duration,
    ) -> Result<T, RpcError>
    where
        T: DeserializeOwned + Send + 'static,
    {
        let permit = Arc::clone(&self.inner.permits)
            .acquire_owned()
            .await
            .expect("the semaphore is never closed");
        let (answer, answered) = oneshot::channel();
        let inner = Arc::clone(&self.inner);
        std::thread::Builder::new()
            .name(format!("rpc-{method}").chars().take(15).collect())
            .spawn(move || {
                let result = inner.call_blocking(method, &params, deadline);
                drop(permit);
                // The caller may have given up; then nobody wants the answer.
                drop(answer.send(result));
            })
            .map_err(|source| RpcError::Thread { method, source })?;
        answered
            .await
            .unwrap_or_else(|_closed| Err(self.inner.timed_out(method, deadline)))
    }
}

impl Inner {
    fn call_blocking<T: DeserializeOwned>(
        &self,
        method: &'static str,
        params: &[Value],
        deadline: Duration,
    ) -> Result<T, RpcError> {
        let (user, password) = self.credentials()?;
        let transport = simple_http::Builder::new()
            .timeout(deadline)
            .url(&self.url)
            .map_err(|source| self.transport_error(source, method, deadline))?
            .auth(user, Some(password))
            .build();
        Client::from_jsonrpc(jsonrpc::Client::with_transport(transport))
            .call(method, params)
            .map_err(|source| self.call_error(source, method, deadline))
    }

    fn credentials(&self) -> Result<(String, String), RpcError> {
        match &self.auth {
            RpcAuth::Password { user, password } => {
                let password = password.read().map_err(|source| RpcError::Password {
                    url: self.url.clone(),
                    source,
                })?;
                Ok((user.clone(), password.expose().clone()))
            }
            RpcAuth::CookieFile(path) => {
                let cookie = std::fs::read_to_string(path).map_err(|source| RpcError::Cookie {
                    url: self.url.clone(),
                    path: path.display().to_string(),
                    source,
                })?;
                let (user, password) = cookie.trim_end().split_once(':').unwrap_or_default();
                Ok((user.to_owned(), password.to_owned()))
            }
        }
    }

    fn call_error(
        &self,
        error: bitcoincore_rpc::Error,
        method: &'static str,
        deadline: Duration,
    ) -> RpcError {
        let url = self.url.clone();
        match error {
            bitcoincore_rpc::Error::JsonRpc(jsonrpc::Error::Rpc(answer)) => {
                if answer.code == CODE_IN_WARMUP {
                    RpcError::WarmingUp {
                        url,
                        message: answer.message,
                    }
                } else {
                    RpcError::Refused {
                        url,
                        method,
                        code: answer.code,
                        message: answer.message,
                    }
                }
            }
            bitcoincore_rpc::Error::JsonRpc(jsonrpc::Error::Transport(source)) => {
                match source.downcast::<simple_http::Error>() {
                    Ok(source) => self.transport_error(*source, method, deadline),
                    Err(source) => RpcError::Answer {
                        url,
                        method,
                        source,
                    },
                }
            }
            other => RpcError::Answer {
                url,
                method,
                source: Box::new(other),
            },
        }
    }

    fn transport_error(
        &self,
        error: simple_http::Error,
        method: &'static str,
        deadline: Duration,
    ) -> RpcError {
        use std::io::ErrorKind::{TimedOut, WouldBlock};
        let url = self.url.clone();
        match error {
            simple_http::Error::SocketError(source)
                if matches!(source.kind(), TimedOut | WouldBlock) =>
            {
                self.timed_out(method, deadline)
            }
            simple_http::Error::SocketError(source) => RpcError::Unreachable {
                url,
                method,
                source,
            },
            simple_http::Error::HttpErrorCode(status @ (401 | 403)) => RpcError::Unauthorized {
                url,
                status,
                auth: self.auth.to_string(),
            },
            other => RpcError::Answer {
                url,
                method,
                source: Box::new(other),
            },
        }
    }

    fn timed_out(&self, method: &'static str, deadline: Duration) -> RpcError {
        RpcError::TimedOut {
            url: self.url.clone(),
            method,
            seconds: deadline.as_secs(),
        }
    }
}

#[cfg(test)]
mod tests;
