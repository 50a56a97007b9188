//! A dishonest edge: it stands between a miner and a pool, both ends by the book, and tries to have the miner's work credited to
//! itself after it has been done.
//!
//! Each share that it sees it submits first on a channel of its own, and then on the miner's with its own name as the worker's
//! (extension 0x0002). All else it passes on as it is.

pub mod sv1;

use hh_mining::Target;
use hh_sv2::authority::CERTIFICATE_VALIDITY;
use hh_sv2::message::{
    EXTENSION_WORKER_HASHRATE, OpenExtendedMiningChannel, Protocol, RequestExtensions, Seq064K,
    SubmitSharesExtended,
};
use hh_sv2::setup::{ClientSetup, SETUP_DEADLINE, SetupError, client_setup, server_setup};
use hh_sv2::{
    Authority, AuthorityPublicKey, AuthoritySecretKey, Connection, ConnectionError, Limits, Message,
};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// What the pool said to the shares that the edge submitted as its own.
#[derive(Clone, Debug, Default)]
pub struct Loot {
    pub accepted: u32,
    /// The codes.
    pub refused: Vec<String>,
}

/// See the module; ends when it is dropped.
#[derive(Debug)]
pub struct Edge {
    /// Where its miner connects.
    pub address: SocketAddr,
    pub key: AuthorityPublicKey,
    loot: Arc<Mutex<Loot>>,
    _running: JoinSet<Result<(), EdgeError>>,
}

#[derive(Debug, thiserror::Error)]
enum EdgeError {
    #[error("the socket")]
    Socket(#[from] std::io::Error),
    #[error("a connection")]
    Connection(#[from] ConnectionError),
    #[error("a setup")]
    Setup(#[from] SetupError),
    #[error("the pool refused what the edge needs: {0}")]
    Refused(&'static str),
}

impl Edge {
    /// Connects to the pool as `identity`, and waits for one miner.
    ///
    /// # Panics
    /// If no port is free.
    pub async fn start(pool: SocketAddr, key: AuthorityPublicKey, identity: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("the kernel has a port");
        let address = listener.local_addr().expect("it is bound");
        let secret = AuthoritySecretKey::generate();
        let own_key = secret.public_key();
        let loot = Arc::default();
        let mut running = JoinSet::new();
        running.spawn(run(
            (listener, secret),
            (pool, key),
            identity.to_owned(),
            Arc::clone(&loot),
        ));
        Self {
            address,
            key: own_key,
            loot,
            _running: running,
        }
    }

    /// What it got.
    ///
    /// # Panics
    /// Never: nobody panics with it.
    #[must_use]
    pub fn loot(&self) -> Loot {
        self.loot.lock().expect("nobody panics with it").clone()
    }
}

struct Relay {
    miner: Connection,
    pool: Connection,
    identity: String,
    /// The edge's own channel.
    own: u32,
    own_sequence_number: u32,
    loot: Arc<Mutex<Loot>>,
}

async fn run(
    (listener, secret): (TcpListener, AuthoritySecretKey),
    (pool, key): (SocketAddr, AuthorityPublicKey),
    identity: String,
    loot: Arc<Mutex<Loot>>,
) -> Result<(), EdgeError> {
    let mut pool = Connection::connect(&pool.to_string(), Some(&key), &Limits::CLIENT).await?;
    client_setup(&mut pool, &setup(), SETUP_DEADLINE).await?;
    ask_for_worker_names(&mut pool).await?;
    let own = open(&mut pool, &identity).await?;
    let (stream, _) = listener.accept().await?;
    let authority = Authority::new(secret, CERTIFICATE_VALIDITY);
    let mut miner = Connection::accept(stream, &authority, &Limits::SERVER).await?;
    server_setup(&mut miner, Protocol::MiningProtocol, 0, SETUP_DEADLINE).await?;
    let mut relay = Relay {
        miner,
        pool,
        identity,
        own,
        own_sequence_number: 0,
        loot,
    };
    loop {
        tokio::select! {
            message = relay.miner.recv() => relay.on_miner(message?)?,
            message = relay.pool.recv() => relay.on_pool(message?)?,
        }
        relay.pool.flush().await?;
        relay.miner.flush().await?;
    }
}

impl Relay {
    fn on_miner(&mut self, message: Message) -> Result<(), ConnectionError> {
        let Message::SubmitSharesExtended(share, _) = message else {
            return self.pool.queue(message);
        };
        self.own_sequence_number += 1;
        self.pool.queue(SubmitSharesExtended {
            channel_id: self.own,
            sequence_number: self.own_sequence_number,
            ..share.clone()
        })?;
        let name = Some(self.identity.clone());
        self.pool.queue(Message::SubmitSharesExtended(share, name))
    }

    fn on_pool(&mut self, message: Message) -> Result<(), ConnectionError> {
        let mut loot = self.loot.lock().expect("nobody panics with it");
        match message {
            Message::SubmitSharesSuccess(success) if success.channel_id == self.own => {
                loot.accepted += success.new_submits_accepted_count;
                Ok(())
            }
            Message::SubmitSharesError(error) if error.channel_id == self.own => {
                loot.refused.push(error.error_code.as_utf8_or_hex());
                Ok(())
            }
            // Jobs are those of the group that both channels are in.
            other => self.miner.queue(other),
        }
    }
}

async fn ask_for_worker_names(pool: &mut Connection) -> Result<(), EdgeError> {
    let wanted = Seq064K::new(vec![EXTENSION_WORKER_HASHRATE]);
    pool.queue(RequestExtensions {
        request_id: 1,
        requested_extensions: wanted.expect("a list of one is short"),
    })?;
    pool.flush().await?;
    match pool.recv().await? {
        Message::RequestExtensionsSuccess(_) => Ok(()),
        _ => Err(EdgeError::Refused("names of workers")),
    }
}

async fn open(pool: &mut Connection, identity: &str) -> Result<u32, EdgeError> {
    pool.queue(OpenExtendedMiningChannel {
        // The miner's first is 1.
        request_id: u32::MAX,
        user_identity: identity.try_into().expect("an identity is short"),
        nominal_hash_rate: 1.0,
        max_target: Target::MAX.to_le_bytes().into(),
        min_extranonce_size: 8,
    })?;
    pool.flush().await?;
    loop {
        match pool.recv().await? {
            Message::OpenExtendedMiningChannelSuccess(success) => return Ok(success.channel_id),
            Message::OpenMiningChannelError(_) => return Err(EdgeError::Refused("a channel")),
            _ => {}
        }
    }
}

fn setup() -> ClientSetup {
    ClientSetup {
        protocol: Protocol::MiningProtocol,
        flags: 0,
        endpoint_host: String::new(),
        endpoint_port: 0,
        vendor: "hh-tests edge".to_owned(),
        hardware_version: String::new(),
        firmware: String::new(),
        device_id: String::new(),
    }
}
