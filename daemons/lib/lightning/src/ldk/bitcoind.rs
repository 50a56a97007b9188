//! Bitcoin Core, as the embedded node needs it: by RPC, with a user and a password that it is given once.

use std::fmt;
use std::path::PathBuf;

use bitcoin::Network;
use bitcoincore_rpc::{Auth, Client, RpcApi};
use hh_daemon::Secret;

use super::StartError;

/// The Bitcoin Core that the wallet follows, and that sends its transactions.
#[derive(Clone, Debug)]
pub struct Bitcoind {
    /// `http://HOST:PORT`.
    pub url: String,
    pub auth: BitcoindAuth,
}

/// How the wallet shows that it may call.
#[derive(Clone)]
pub enum BitcoindAuth {
    /// The file that bitcoin-node writes anew at every start. The wallet is started again when it has changed.
    CookieFile(PathBuf),
    Password {
        user: String,
        password: Secret<String>,
    },
}

impl fmt::Debug for BitcoindAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CookieFile(path) => write!(f, "CookieFile({})", path.display()),
            Self::Password { user, .. } => write!(f, "Password({user})"),
        }
    }
}

/// A user and a password.
#[derive(Clone)]
pub(super) struct Login {
    pub(super) user: String,
    pub(super) password: Secret<String>,
}

impl PartialEq for Login {
    fn eq(&self, other: &Self) -> bool {
        self.user == other.user && self.password.expose() == other.password.expose()
    }
}

impl Bitcoind {
    /// The parts of the URL.
    pub(super) fn host_and_port(&self) -> Result<(String, u16), StartError> {
        let parts = || {
            let rest = self.url.strip_prefix("http://")?.trim_end_matches('/');
            let (host, port) = rest.rsplit_once(':')?;
            let plain = !host.is_empty() && !rest.contains(['/', '@']);
            plain.then_some((host.to_owned(), port.parse().ok()?))
        };
        // Not repeated: it may hold a password.
        parts().ok_or(StartError::BadUrl)
    }

    /// What to log in with now.
    pub(super) fn login(&self) -> Result<Login, StartError> {
        match &self.auth {
            BitcoindAuth::Password { user, password } => Ok(Login {
                user: user.clone(),
                password: password.clone(),
            }),
            BitcoindAuth::CookieFile(path) => {
                let text = std::fs::read_to_string(path).map_err(|source| StartError::Cookie {
                    path: path.clone(),
                    source,
                })?;
                let (user, password) =
                    text.trim()
                        .split_once(':')
                        .ok_or_else(|| StartError::Cookie {
                            path: path.clone(),
                            source: std::io::ErrorKind::InvalidData.into(),
                        })?;
                Ok(Login {
                    user: user.to_owned(),
                    password: Secret::new(password.to_owned()),
                })
            }
        }
    }

    /// Asks whether it is there, and is the right one. Blocks.
    ///
    /// The embedded node starts without it too, and a new wallet would then follow the chain from its first block on.
    pub(super) fn check(&self, login: &Login, network: Network) -> Result<(), StartError> {
        let unreachable = |source| StartError::Bitcoind {
            url: self.url.clone(),
            source: Box::new(source),
        };
        let auth = Auth::UserPass(login.user.clone(), login.password.expose().clone());
        let client = Client::new(&self.url, auth).map_err(unreachable)?;
        let info: serde_json::Value = client.call("getblockchaininfo", &[]).map_err(unreachable)?;
        let chain = info["chain"].as_str().unwrap_or_default();
        if Network::from_core_arg(chain) != Ok(network) {
            return Err(StartError::WrongChain {
                url: self.url.clone(),
                found: chain.to_owned(),
                wanted: network,
            });
        }
        if info["initialblockdownload"] != serde_json::Value::Bool(false) {
            return Err(StartError::InitialDownload {
                url: self.url.clone(),
            });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bitcoind(url: &str) -> Bitcoind {
        Bitcoind {
            url: url.to_owned(),
            auth: BitcoindAuth::Password {
                user: "user".to_owned(),
                password: Secret::new("password".to_owned()),
            },
        }
    }

    #[test]
    fn a_url_is_taken_apart_and_never_repeated() {
        let (host, port) = bitcoind("http://127.0.0.1:8332").host_and_port().unwrap();
        assert_eq!((host.as_str(), port), ("127.0.0.1", 8332));
        for wrong in [
            "127.0.0.1:8332",
            "https://127.0.0.1:8332",
            "http://127.0.0.1",
            "http://:8332",
            "http://127.0.0.1:70000",
            "http://user:password@127.0.0.1:8332",
            "http://127.0.0.1:8332/wallet",
        ] {
            let error = bitcoind(wrong).host_and_port().unwrap_err();
            assert!(!error.to_string().contains("password"), "{error}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        let shown = format!("{:?}", bitcoind("http://127.0.0.1:8332"));
        assert!(!shown.contains("password\""), "{shown}");
    }
}
