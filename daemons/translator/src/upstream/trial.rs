//! A connection that is made to see whether it can be, step by step, and closed again. No miner has to do with it, and no channel
//! is opened: an account would come of that.

use super::dial::{DialError, limits, setup_of};
use crate::config::UpstreamConfig;
use hh_daemon::Chain;
use hh_sv2::setup::client_setup;
use hh_sv2::{Connection, ConnectionError};
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;

/// For each step: all of them end while an operator still waits.
const STEP_DEADLINE: Duration = Duration::from_millis(2_500);

/// What was found out: how long each step took, and why the last one failed.
#[derive(Debug, Default)]
pub(crate) struct Trial {
    pub connect: Option<Duration>,
    pub handshake: Option<Duration>,
    pub setup: Option<Duration>,
    pub error: Option<String>,
}

/// Tries an upstream out.
pub(crate) async fn try_out(config: &UpstreamConfig) -> Trial {
    let mut trial = Trial::default();
    if let Err(error) = take_steps(config, &mut trial).await {
        trial.error = Some(Chain(&error).to_string());
    }
    trial
}

async fn take_steps(config: &UpstreamConfig, trial: &mut Trial) -> Result<(), DialError> {
    let address = &config.address;
    let start = Instant::now();
    let connected = tokio::time::timeout(STEP_DEADLINE, TcpStream::connect(address)).await;
    let connected = connected.unwrap_or_else(|elapsed| Err(io::Error::from(elapsed)));
    let stream = connected.map_err(|source| ConnectionError::Connect {
        address: address.clone(),
        source,
    })?;
    trial.connect = Some(start.elapsed());

    let start = Instant::now();
    let key = Some(&config.authority_public_key);
    let limits = hh_sv2::Limits {
        handshake_deadline: STEP_DEADLINE,
        ..limits()
    };
    let mut connection = Connection::initiate(stream, key, &limits).await?;
    trial.handshake = Some(start.elapsed());

    let start = Instant::now();
    client_setup(&mut connection, &setup_of(config), STEP_DEADLINE).await?;
    trial.setup = Some(start.elapsed());
    Ok(connection.close().await?)
}
