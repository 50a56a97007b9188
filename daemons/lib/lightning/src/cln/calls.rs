//! The wallet's handle, and the calls that are nothing but a request and an answer.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bitcoin::address::NetworkUnchecked;
use bitcoin::secp256k1::PublicKey;
use bitcoin::{Address, FeeRate, Network, Txid};
use cln_rpc::model::requests;
use cln_rpc::model::responses;
use cln_rpc::primitives::{Amount, AmountOrAll, AmountOrAny, Feerate};
use cln_rpc::{ClnRpc, RpcError, TypedRequest};
use hh_daemon::{Chain, Tasks};
use hh_mining::Msat;
use ldk_node::lightning::ln::msgs::SocketAddress;
use ldk_node::lightning_invoice::Bolt11Invoice;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::event::{Events, Source};
use crate::{
    Backend, Backup, Capabilities, Forward, ForwardPage, InvoiceDetails, InvoiceRequest, NodeInfo,
    PageCursor, PayError, Refusal, SendOnChain, WalletError,
};

/// lightningd answers from its database in milliseconds; what waits for a peer takes longer.
pub(super) const CALL_LIMIT: Duration = Duration::from_secs(60);
/// Entries of one page of the history.
pub(super) const PAGE: u32 = 500;
/// Its 26.06 moved `listpays` to where it knows whether a payment is still tried.
const VERSION_MIN: (u32, u32) = (26, 6);

/// It has found no coins for a transaction, found that the transaction would be dust, or would have to touch its reserve for closes by
/// force: nothing has been signed by then.
const CANT_AFFORD: [i32; 3] = [301, 302, 313];

/// A Core Lightning to use.
#[derive(Clone, Debug)]
pub struct ClnConfig {
    /// `LIGHTNING-DIR/NETWORK/lightning-rpc`.
    pub socket: PathBuf,
    pub network: Network,
}

/// Why Core Lightning can't be used.
#[derive(Debug, thiserror::Error)]
pub enum ClnError {
    #[error(
        "no connection to Core Lightning at {socket}; is lightningd running, and may this user open its socket?"
    )]
    Connect {
        socket: PathBuf,
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    #[error("Core Lightning is on chain {found:?}, the wallet is for {wanted}")]
    WrongChain { found: String, wanted: Network },
    #[error("Core Lightning is version {found:?}; 26.06 is the oldest that is understood here")]
    TooOld { found: String },
    #[error("Core Lightning did not answer {method} within {seconds} s")]
    TimedOut { method: String, seconds: u64 },
    /// Its own answer, or the loss of the connection, which has no code.
    #[error("Core Lightning answered {method} with {code:?}: {message}")]
    Answered {
        method: String,
        code: Option<i32>,
        message: String,
    },
}

impl ClnError {
    pub(crate) fn is_config(&self) -> bool {
        matches!(self, Self::WrongChain { .. } | Self::TooOld { .. })
    }
}

/// A Core Lightning. Cheap to clone; clones are the same one.
#[derive(Clone)]
pub struct ClnWallet {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    config: ClnConfig,
    pub(super) tasks: Tasks,
    pub(super) network: Network,
    pub(super) node_id: PublicKey,
    pub(super) are_events_taken: AtomicBool,
    is_stopped: AtomicBool,
    /// Of invoices, which need a name each.
    labels: AtomicU64,
}

impl fmt::Debug for ClnWallet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClnWallet({})", self.inner.config.socket.display())
    }
}

impl ClnWallet {
    /// Asks lightningd what it is, and tells it to wait for every part of a payment. Payments that are tried are tasks of
    /// `tasks`.
    ///
    /// # Errors
    /// It does not answer, is too old, or is on another chain.
    pub async fn start(config: ClnConfig, tasks: &Tasks) -> Result<Self, WalletError> {
        let info: responses::GetinfoResponse =
            request(&config, &requests::GetinfoRequest {}, CALL_LIMIT).await?;
        if chain(&info.network) != Some(config.network) {
            return Err(ClnError::WrongChain {
                found: info.network,
                wanted: config.network,
            }
            .into());
        }
        if version(&info.version).is_none_or(|found| found < VERSION_MIN) {
            let found = info.version;
            return Err(ClnError::TooOld { found }.into());
        }
        slow_down(&config).await?;
        Ok(Self {
            inner: Arc::new(Inner {
                network: config.network,
                config,
                tasks: tasks.clone(),
                node_id: info.id,
                are_events_taken: AtomicBool::new(false),
                is_stopped: AtomicBool::new(false),
                labels: AtomicU64::new(0),
            }),
        })
    }

    /// A request and its answer.
    pub(super) async fn ask<R>(
        &self,
        call: &'static str,
        message: &R,
    ) -> Result<R::Response, WalletError>
    where
        R: TypedRequest + Serialize + fmt::Debug + Sync,
        R::Response: DeserializeOwned + fmt::Debug,
    {
        self.check_running()?;
        let answered = self.request(message, CALL_LIMIT).await;
        answered.map_err(|error| failed(call, error))
    }

    /// As [`Self::ask`], with a limit, and the error as it is.
    pub(super) async fn request<R>(
        &self,
        message: &R,
        limit: Duration,
    ) -> Result<R::Response, ClnError>
    where
        R: TypedRequest + Serialize + fmt::Debug + Sync,
        R::Response: DeserializeOwned + fmt::Debug,
    {
        request(&self.inner.config, message, limit).await
    }

    /// A lightningd that was started again has forgotten what it was told.
    pub(super) async fn greet_again(&self) -> Result<(), ClnError> {
        slow_down(&self.inner.config).await
    }

    pub(super) fn check_running(&self) -> Result<(), WalletError> {
        if self.inner.is_stopped.load(Ordering::Acquire) {
            return Err(WalletError::Stopped(Backend::Cln));
        }
        Ok(())
    }

    pub(crate) fn capabilities(&self) -> Capabilities {
        Capabilities {
            pays_offers: Ok(()),
            makes_offers: Ok(()),
            rebalances: Err("its payments can't go in a circle; use one of its plugins"),
            has_static_backup: Ok(()),
            keeps_forwards: Ok(()),
            lists_outputs: Ok(()),
        }
    }

    /// What it is now, which may be another one than at the start.
    pub(super) async fn get_info(&self) -> Result<responses::GetinfoResponse, WalletError> {
        self.ask("tell what it is", &requests::GetinfoRequest {})
            .await
    }

    pub(crate) async fn info(&self) -> Result<NodeInfo, WalletError> {
        let info = self.get_info().await?;
        Ok(NodeInfo {
            node_id: info.id,
            network: self.inner.network,
            block_height: info.blockheight,
            is_synced: is_synced(&info),
            alias: info.alias,
            version: format!("Core Lightning {}", info.version),
            backend: Backend::Cln,
        })
    }

    pub(crate) async fn new_address(&self) -> Result<Address, WalletError> {
        let message = requests::NewaddrRequest {
            addresstype: Some(requests::NewaddrAddresstype::BECH32),
        };
        let answer = self.ask("make an address", &message).await?;
        let text = answer.bech32.unwrap_or_default();
        text.parse::<Address<NetworkUnchecked>>()
            .ok()
            .and_then(|address| address.require_network(self.inner.network).ok())
            .ok_or_else(|| nonsense(format!("{text:?} is no address")))
    }

    pub(crate) async fn invoice(
        &self,
        request: &InvoiceRequest,
    ) -> Result<Bolt11Invoice, WalletError> {
        const CALL: &str = "make an invoice";
        let bad = |why| bad_request(CALL, why);
        let InvoiceDetails::Text(description) = &request.details else {
            // It hashes a text itself, which we don't have.
            return Err(bad("it makes no invoice for the hash of a description"));
        };
        request.description().map_err(bad)?;
        let message = requests::InvoiceRequest {
            amount_msat: request.amount.map_or(AmountOrAny::Any, |amount| {
                AmountOrAny::Amount(Amount::from_msat(amount.0))
            }),
            description: description.clone(),
            label: self.label(),
            expiry: Some(request.expiry_seconds().map_err(bad)?.into()),
            cltv: None,
            deschashonly: None,
            preimage: None,
            exposeprivatechannels: None,
            fallbacks: None,
        };
        let answer = self.ask(CALL, &message).await?;
        answer
            .bolt11
            .parse()
            .map_err(|error| nonsense(format!("its invoice: {error}")))
    }

    /// Its invoices have names, of which it wants no two alike.
    fn label(&self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let number = self.inner.labels.fetch_add(1, Ordering::Relaxed);
        let pid = std::process::id();
        format!(
            "hyperhash-{}-{pid}-{number}",
            now.unwrap_or_default().as_nanos()
        )
    }

    pub(crate) async fn connect(
        &self,
        peer: PublicKey,
        address: SocketAddress,
    ) -> Result<(), WalletError> {
        let message = requests::ConnectRequest {
            id: format!("{peer}@{address}"),
            host: None,
            port: None,
        };
        self.ask("connect to a peer", &message).await?;
        Ok(())
    }

    pub(crate) async fn send_on_chain(&self, request: &SendOnChain) -> Result<Txid, PayError> {
        let amount = Msat::from_sats(request.amount.to_sat()).ok_or_else(|| {
            Refusal::NotTaken("it is more than all the money there is".to_owned())
        })?;
        let message = requests::WithdrawRequest {
            destination: request.address.to_string(),
            satoshi: AmountOrAll::Amount(Amount::from_msat(amount.0)),
            feerate: request.fee_rate.map(feerate),
            minconf: None,
            utxos: None,
        };
        self.check_running()
            .map_err(|error| Refusal::NotTaken(error.to_string()))?;
        let sent = self.request(&message, CALL_LIMIT).await;
        let unknown = |source| PayError::Unknown {
            backend: Backend::Cln,
            source,
        };
        let answer = sent.map_err(|error| match error {
            ClnError::Answered {
                code: Some(code),
                message,
                ..
            } if CANT_AFFORD.contains(&code) => PayError::from(Refusal::NotTaken(message)),
            error @ ClnError::Connect { .. } => Refusal::NotTaken(Chain(&error).to_string()).into(),
            error => unknown(error.into()),
        })?;
        answer
            .txid
            .parse()
            .map_err(|error: bitcoin::hex::HexToArrayError| unknown(error.into()))
    }

    pub(crate) async fn forwards(
        &self,
        after: Option<&PageCursor>,
    ) -> Result<ForwardPage, WalletError> {
        const CALL: &str = "tell past forwards";
        let start = place(CALL, after)?;
        let message = requests::ListforwardsRequest {
            status: Some(requests::ListforwardsStatus::SETTLED),
            index: Some(requests::ListforwardsIndex::UPDATED),
            start: Some(start),
            limit: Some(PAGE),
            in_channel: None,
            out_channel: None,
        };
        let found = self.ask(CALL, &message).await?.forwards;
        let last = found.iter().filter_map(|forward| forward.updated_index);
        let next = last.max().map_or(start, |index| index.saturating_add(1));
        Ok(ForwardPage {
            forwards: found.iter().filter_map(forward).collect(),
            next: PageCursor(next.to_string()),
        })
    }

    pub(crate) async fn backup(&self) -> Result<Backup, WalletError> {
        let message = requests::StaticbackupRequest {};
        let answer = self.ask("give a backup of its channels", &message).await?;
        // As `recoverchannel` takes them: one a line.
        Ok(Backup {
            bytes: answer.scb.join("\n").into_bytes(),
        })
    }

    pub(crate) fn events(&self) -> Result<Events, WalletError> {
        if self.inner.are_events_taken.swap(true, Ordering::AcqRel) {
            return Err(WalletError::EventsTaken(Backend::Cln));
        }
        Ok(Events(Source::Cln(super::ClnEvents::new(self.clone()))))
    }

    /// lightningd goes on without us.
    #[expect(clippy::unused_async, reason = "the embedded node takes its time")]
    pub(crate) async fn stop(&self) -> Result<(), WalletError> {
        self.inner.is_stopped.store(true, Ordering::Release);
        Ok(())
    }
}

/// Has it tell the end of a payment when all its parts have ended: else it does so when the first has failed, and others may still be
/// taken.
async fn slow_down(config: &ClnConfig) -> Result<(), ClnError> {
    let slow = requests::SetconfigRequest {
        config: "xpay-slow-mode".to_owned(),
        val: Some("true".to_owned()),
        transient: Some(true),
    };
    let _set: responses::SetconfigResponse = request(config, &slow, CALL_LIMIT).await?;
    Ok(())
}

/// On a connection of its own, which ends with the call.
async fn request<R>(
    config: &ClnConfig,
    message: &R,
    limit: Duration,
) -> Result<R::Response, ClnError>
where
    R: TypedRequest + Serialize + fmt::Debug + Sync,
    R::Response: DeserializeOwned + fmt::Debug,
{
    let method = message.method().to_owned();
    let calling = async {
        let mut connection =
            ClnRpc::new(&config.socket)
                .await
                .map_err(|source| ClnError::Connect {
                    socket: config.socket.clone(),
                    source: source.into(),
                })?;
        connection
            .call_typed(message)
            .await
            .map_err(|error: RpcError| ClnError::Answered {
                method: method.clone(),
                code: error.code,
                message: error.message,
            })
    };
    let answered = tokio::time::timeout(limit, calling).await;
    answered.unwrap_or_else(|_elapsed| {
        Err(ClnError::TimedOut {
            method: method.clone(),
            seconds: limit.as_secs(),
        })
    })
}

fn forward(found: &responses::ListforwardsForwards) -> Option<Forward> {
    Some(Forward {
        key: found.created_index.to_string(),
        settled_at_s: whole_seconds(found.resolved_time?),
        from_short_id: found.in_channel.to_u64(),
        to_short_id: found.out_channel?.to_u64(),
        fee: Msat(found.fee_msat?.msat()),
        amount: Msat(found.out_msat?.msat()),
    })
}

/// Its times are numbers with a fraction, long before the year 3000.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a time and no money; what is out of range becomes the nearest that is in it"
)]
fn whole_seconds(time: f64) -> u64 {
    time as u64
}

/// A place in a list that is counted from 1 on.
pub(super) fn place(call: &'static str, after: Option<&PageCursor>) -> Result<u64, WalletError> {
    match after {
        None => Ok(1),
        Some(PageCursor(text)) => text.parse().map_err(|_no_number| {
            bad_request(call, "the place to go on from is none that it has told")
        }),
    }
}

pub(super) fn feerate(rate: FeeRate) -> Feerate {
    let per_kw = u32::try_from(rate.to_sat_per_kwu()).unwrap_or(u32::MAX);
    Feerate::PerKw(per_kw)
}

/// It says when Bitcoin Core or it itself is behind.
pub(super) fn is_synced(info: &responses::GetinfoResponse) -> bool {
    info.warning_bitcoind_sync.is_none() && info.warning_lightningd_sync.is_none()
}

fn chain(name: &str) -> Option<Network> {
    match name {
        "bitcoin" => Some(Network::Bitcoin),
        "testnet" => Some(Network::Testnet),
        "testnet4" => Some(Network::Testnet4),
        "signet" => Some(Network::Signet),
        "regtest" => Some(Network::Regtest),
        _ => None,
    }
}

/// `v26.06.1` or `v26.06rc2-5-gabcdef`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.trim_start_matches('v').split('.');
    let major = parts.next()?.parse().ok()?;
    let minor: String = parts
        .next()?
        .chars()
        .take_while(char::is_ascii_digit)
        .collect();
    Some((major, minor.parse().ok()?))
}

pub(super) fn bad_request(call: &'static str, why: &'static str) -> WalletError {
    WalletError::BadRequest {
        backend: Backend::Cln,
        call,
        why,
    }
}

pub(super) fn failed(call: &'static str, error: ClnError) -> WalletError {
    WalletError::Call {
        backend: Backend::Cln,
        call,
        source: error.into(),
    }
}

pub(super) fn nonsense(what: String) -> WalletError {
    WalletError::Answer {
        backend: Backend::Cln,
        what,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_compared_by_its_numbers() {
        assert_eq!(version("v26.06.6"), Some((26, 6)));
        assert_eq!(version("v26.06rc1-12-g1234567"), Some((26, 6)));
        assert_eq!(version("25.12"), Some((25, 12)));
        assert!(version("v25.12.1").unwrap() < VERSION_MIN);
        assert_eq!(version("master"), None);
    }
}
