//! One lane of the configuration, and what can be wrong with it.

use hh_daemon::{Mistakes, SecretRef};
use serde::Deserialize;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// Difficulties (1 = 2^32 hashes) that a lane can have: below there is no hash that fails, above no target that can be met.
const DIFFICULTIES: RangeInclusive<f64> = 1e-12..=1e60;

/// A listener for miners, with a name that goes with every share.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LaneConfig {
    pub name: String,
    pub listen_address: SocketAddr,
    #[serde(default)]
    pub protocol: LaneProtocol,
    /// For TLS: a PEM file with the lane's certificate and those between it and a root. Read again when it changes.
    #[serde(default)]
    pub certificate_file: Option<PathBuf>,
    /// For TLS: the private key of the certificate, in PEM.
    #[serde(default)]
    pub private_key_file: Option<SecretRef>,
    /// No job is easier than this difficulty (1 = 2^32 hashes). The pool is told and keeps it.
    #[serde(default)]
    pub min_difficulty: Option<f64>,
    /// No miner starts above this difficulty, unless it asks for it as its minimum. Where the pool chooses targets it may go
    /// beyond later: SV2 has no word for such a bound, it belongs into the pool's own lane as well.
    #[serde(default)]
    pub max_difficulty: Option<f64>,
    /// What a miner is taken to do before it is known, in hashes a second; the pool finds its real difficulty from there. A
    /// miner that suggests a difficulty is started at that.
    #[serde(default = "default_nominal_hashrate_hs")]
    pub nominal_hashrate_hs: f32,
    #[serde(default)]
    pub channels: LaneChannels,
}

/// How the miners of a lane are brought to the pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LaneChannels {
    /// A channel for each. The pool chooses its targets.
    #[default]
    Separate,
    /// A channel for each account and difficulty class. We choose who is in which.
    Aggregated,
}

/// What is spoken on a lane.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LaneProtocol {
    /// Stratum V1 over TCP.
    #[default]
    Sv1,
    /// Stratum V1 over TLS.
    Sv1Tls,
    /// Stratum V2.
    Sv2,
}

impl LaneProtocol {
    /// As it is written in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sv1 => "sv1",
            Self::Sv1Tls => "sv1-tls",
            Self::Sv2 => "sv2",
        }
    }
}

/// Between a microcontroller (10^5) and a rack machine (10^14): the one waits half a minute for its first share, the other
/// sends some hundred before it is slowed down.
fn default_nominal_hashrate_hs() -> f32 {
    1e11
}

impl LaneConfig {
    /// A lane with what holds where the file says nothing.
    pub fn new(name: &str, listen_address: SocketAddr) -> Self {
        Self {
            name: name.to_owned(),
            listen_address,
            protocol: LaneProtocol::default(),
            certificate_file: None,
            private_key_file: None,
            min_difficulty: None,
            max_difficulty: None,
            nominal_hashrate_hs: default_nominal_hashrate_hs(),
            channels: LaneChannels::default(),
        }
    }

    /// Adds what is wrong with the lane at `index`, but for its name.
    pub(super) fn check(&self, index: usize, mistakes: &mut Mistakes) {
        let key = |name: &str| format!("lanes.{index}.{name}");
        if self.channels == LaneChannels::Aggregated && self.protocol == LaneProtocol::Sv2 {
            let what = "SV2 miners have channels of their own";
            mistakes.add(key("channels"), what, "write \"separate\"");
        }
        self.check_tls(index, mistakes);
        let hashrate = self.nominal_hashrate_hs;
        if !(hashrate.is_finite() && hashrate > 0.0) {
            let what = format!("{hashrate} is no hashrate");
            let fix = "write hashes a second, such as 1e12";
            mistakes.add(key("nominal_hashrate_hs"), what, fix);
        }
        let given = [
            ("min_difficulty", self.min_difficulty),
            ("max_difficulty", self.max_difficulty),
        ];
        for (name, difficulty) in given {
            if let Some(wrong) = difficulty.filter(|number| !DIFFICULTIES.contains(number)) {
                let (min, max) = (DIFFICULTIES.start(), DIFFICULTIES.end());
                let what = format!("{wrong} is no difficulty");
                mistakes.add(key(name), what, format!("write {min:e} to {max:e}"));
            }
        }
        if let (Some(min), Some(max)) = (self.min_difficulty, self.max_difficulty)
            && min > max
        {
            let what = format!("the largest difficulty {max} is below the smallest, {min}");
            let fix = "write the smaller one as min_difficulty";
            mistakes.add(key("max_difficulty"), what, fix);
        }
    }

    fn check_tls(&self, index: usize, mistakes: &mut Mistakes) {
        let given = [
            ("certificate_file", self.certificate_file.is_some()),
            ("private_key_file", self.private_key_file.is_some()),
        ];
        let wanted = self.protocol == LaneProtocol::Sv1Tls;
        for (name, _) in given.iter().filter(|(_, given)| *given != wanted) {
            let (what, fix) = if wanted {
                let what = "TLS needs a certificate and its private key";
                (
                    what,
                    "write certificate_file = \"/PATH\" and private_key_file = \"file:/PATH\"",
                )
            } else {
                let what = "only TLS has a use for it";
                (what, "take it out, or write protocol = \"sv1-tls\"")
            };
            mistakes.add(format!("lanes.{index}.{name}"), what, fix);
        }
    }
}
