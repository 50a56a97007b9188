//! The address of a pool as miners write it.

use hh_sv2::{AuthorityPublicKey, KeyError};
use std::fmt;
use std::str::FromStr;

/// Why a text is no pool's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MinerUrlError {
    #[error("{0:?} does not start with stratum+tcp:// or stratum2+tcp://")]
    Scheme(String),
    #[error("{0:?} has no HOST:PORT")]
    Address(String),
    #[error("the authority key behind the port")]
    Key(#[from] KeyError),
}

/// Where to mine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MinerUrl {
    /// `stratum+tcp://HOST:PORT`
    StratumV1 { address: String },
    /// `stratum2+tcp://HOST:PORT/AUTHORITYKEY`; without a key the server may be anybody.
    StratumV2 {
        address: String,
        authority: Option<AuthorityPublicKey>,
    },
}

impl FromStr for MinerUrl {
    type Err = MinerUrlError;

    fn from_str(text: &str) -> Result<Self, MinerUrlError> {
        let address = |address: &str| {
            let port = address
                .rsplit_once(':')
                .map(|(_, port)| port.parse::<u16>());
            match port {
                Some(Ok(_)) => Ok(address.to_owned()),
                _ => Err(MinerUrlError::Address(text.to_owned())),
            }
        };
        if let Some(rest) = text.strip_prefix("stratum+tcp://") {
            let address = address(rest.trim_end_matches('/'))?;
            return Ok(Self::StratumV1 { address });
        }
        let rest = text
            .strip_prefix("stratum2+tcp://")
            .ok_or_else(|| MinerUrlError::Scheme(text.to_owned()))?;
        let (host, key) = rest.split_once('/').unwrap_or((rest, ""));
        let authority = (!key.is_empty()).then(|| key.parse()).transpose()?;
        Ok(Self::StratumV2 {
            address: address(host)?,
            authority,
        })
    }
}

impl fmt::Display for MinerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::StratumV1 { address } => write!(f, "stratum+tcp://{address}"),
            Self::StratumV2 { address, authority } => {
                write!(f, "stratum2+tcp://{address}")?;
                authority.map_or(Ok(()), |key| write!(f, "/{key}"))
            }
        }
    }
}
