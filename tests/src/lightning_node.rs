//! A Lightning node that takes orders as lines of text over a Unix socket: for devnet and for tests, where it stands for the
//! wallet of a Hyper Node.
//!
//! An order is a line, its answer a line of JSON: `{"ok": ...}` or `{"error": "..."}`. Amounts of invoices are msat, those of
//! channels sat.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use bitcoin::secp256k1::PublicKey;
use hh_lightning::{
    Event, InvoiceDetails, InvoiceRequest, OpenChannel, PayRequest, SocketAddress, Wallet,
};
use hh_mining::Msat;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

/// An order is some words, the longest an invoice.
const ORDER_BYTES_MAX: u64 = 8 * 1024;
/// Callers at once; each sends an order and waits.
const CALLERS_MAX: usize = 64;
/// For how long its invoices can be paid.
const EXPIRY: Duration = Duration::from_secs(24 * 60 * 60);
/// What it pays for routing at most, in percent of the amount, and never less than ten sat.
const FEE_PERCENT_MAX: u64 = 1;

/// Where the node in `dir` takes its orders.
#[must_use]
pub fn socket(dir: &Path) -> PathBuf {
    dir.join("node.sock")
}

/// Sends an order to the node in `dir`, and returns what it answers.
///
/// # Errors
/// Nobody listens there, or the node says that it can't.
pub async fn ask(dir: &Path, order: &str) -> anyhow::Result<Value> {
    let socket = socket(dir);
    let mut stream = UnixStream::connect(&socket)
        .await
        .with_context(|| format!("no node takes orders at {}", socket.display()))?;
    stream.write_all(format!("{order}\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let mut answer: Value = serde_json::from_str(&answer).context("the node's answer")?;
    match answer.get("error").and_then(Value::as_str) {
        Some(error) => anyhow::bail!("{error}"),
        None => Ok(answer["ok"].take()),
    }
}

/// Takes orders in `dir` for ever; prints a line of JSON for each of the wallet's events.
///
/// # Errors
/// The socket can't be made, or the wallet has ended.
pub async fn serve(dir: &Path, wallet: Wallet) -> anyhow::Result<()> {
    let socket = socket(dir);
    // Of a process that is gone: the wallet's own lock says that there is none beside us.
    std::fs::remove_file(&socket).ok();
    let listener = UnixListener::bind(&socket)
        .with_context(|| format!("cannot listen at {}", socket.display()))?;
    let mut events = wallet.events()?;
    let mut callers = JoinSet::new();
    loop {
        tokio::select! {
            event = events.next() => {
                print(&event?);
                events.handled().await?;
            }
            caller = listener.accept(), if callers.len() < CALLERS_MAX => {
                let (stream, _) = caller.context("the socket of orders")?;
                let wallet = wallet.clone();
                callers.spawn(async move { answer(stream, &wallet).await.ok() });
            }
            _ = callers.join_next(), if !callers.is_empty() => {}
        }
    }
}

#[expect(clippy::print_stdout, reason = "the program's output")]
fn print(event: &Event) {
    println!("{}", json!({ "event": format!("{event:?}") }));
}

async fn answer(mut stream: UnixStream, wallet: &Wallet) -> anyhow::Result<()> {
    let (read, mut write) = stream.split();
    let mut order = String::new();
    BufReader::new(read.take(ORDER_BYTES_MAX))
        .read_line(&mut order)
        .await?;
    let answer = match obey(wallet, &order).await {
        Ok(value) => json!({ "ok": value }),
        Err(error) => json!({ "error": format!("{error:#}") }),
    };
    write.write_all(format!("{answer}\n").as_bytes()).await?;
    Ok(())
}

async fn obey(wallet: &Wallet, order: &str) -> anyhow::Result<Value> {
    let words: Vec<&str> = order.split_whitespace().collect();
    match words[..] {
        ["info"] => info(wallet).await,
        ["address"] => Ok(json!(wallet.new_address().await?.to_string())),
        ["balance"] => balance(wallet).await,
        ["channels"] => channels(wallet).await,
        ["invoice", msat] => invoice(wallet, Msat(msat.parse()?)).await,
        ["pay", text] => pay(wallet, text).await,
        ["connect", peer, address] => {
            wallet.connect(peer.parse()?, parse(address)?).await?;
            Ok(Value::Null)
        }
        ["open", peer, address, sats] => {
            open(wallet, peer.parse()?, parse(address)?, sats.parse()?).await
        }
        _ => anyhow::bail!(
            "orders are: info, address, balance, channels, invoice MSAT, pay INVOICE, connect NODE ADDRESS, open NODE ADDRESS SATS"
        ),
    }
}

fn parse(address: &str) -> anyhow::Result<SocketAddress> {
    address
        .parse()
        .map_err(|error| anyhow::anyhow!("{address} is not HOST:PORT: {error}"))
}

async fn info(wallet: &Wallet) -> anyhow::Result<Value> {
    let info = wallet.info().await?;
    Ok(json!({
        "node_id": info.node_id.to_string(),
        "alias": info.alias,
        "network": info.network.to_string(),
        "block_height": info.block_height,
        "is_synced": info.is_synced,
        "version": info.version,
    }))
}

async fn balance(wallet: &Wallet) -> anyhow::Result<Value> {
    let balances = wallet.balances().await?;
    Ok(json!({
        "onchain_total_sats": balances.onchain_total.to_sat(),
        "onchain_spendable_sats": balances.onchain_spendable.to_sat(),
        "anchor_reserve_sats": balances.anchor_reserve.to_sat(),
        "in_channels_msat": balances.in_channels.0,
        "in_channels_free_msat": balances.in_channels_free.0,
    }))
}

async fn channels(wallet: &Wallet) -> anyhow::Result<Value> {
    let channels = wallet.channels().await?;
    let shown = channels.iter().map(|channel| {
        json!({
            "id": channel.id.to_string(),
            "peer": channel.peer.to_string(),
            "capacity_msat": channel.capacity.0,
            "local_msat": channel.local.0,
            "remote_msat": channel.remote.0,
            "receivable_msat": channel.receivable.0,
            "is_usable": channel.is_usable,
        })
    });
    Ok(shown.collect())
}

async fn invoice(wallet: &Wallet, amount: Msat) -> anyhow::Result<Value> {
    let request = InvoiceRequest {
        amount: Some(amount),
        details: InvoiceDetails::Text("Hyper Hash Network".to_owned()),
        expiry: EXPIRY,
    };
    Ok(json!(wallet.invoice(&request).await?.to_string()))
}

async fn pay(wallet: &Wallet, text: &str) -> anyhow::Result<Value> {
    let invoice: hh_lightning::Bolt11Invoice = text
        .parse()
        .map_err(|error| anyhow::anyhow!("{text} is no invoice: {error}"))?;
    let amount = invoice.amount_milli_satoshis().unwrap_or_default();
    let request = PayRequest {
        invoice,
        amount: None,
        max_fee: Msat((amount / 100 * FEE_PERCENT_MAX).max(10_000)),
        cltv_limit: 1_008,
        timeout: Duration::from_secs(10),
    };
    wallet.pay(&request).await?;
    Ok(Value::Null)
}

async fn open(
    wallet: &Wallet,
    peer: PublicKey,
    address: SocketAddress,
    capacity_sats: u64,
) -> anyhow::Result<Value> {
    let request = OpenChannel {
        peer,
        address,
        capacity_sats,
        is_public: false,
        fee_rate: None,
    };
    let opened = wallet.open_channel(&request).await?;
    Ok(json!({ "id": opened.id.to_string(), "funding": opened.funding.to_string() }))
}
