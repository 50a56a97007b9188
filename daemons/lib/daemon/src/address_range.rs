//! Addresses of peers by their network: `203.0.113.7`, `203.0.113.0/24`, `2001:db8::/32`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// What is counted as one peer of IPv6: a household or a rented machine is given a /64 at least, and all addresses in it.
const PEER_PREFIX_BITS_V6: u8 = 64;

/// All addresses that begin with the same bits; a single address has all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AddressRange {
    /// Canonical (no IPv4 address inside an IPv6 one), and zero beyond `prefix_bits`.
    first: IpAddr,
    prefix_bits: u8,
}

/// Why a text is no range of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressRangeError {
    #[error(
        "{text:?} is no address and no range: write 203.0.113.7, 203.0.113.0/24 or 2001:db8::/32"
    )]
    Malformed {
        /// As it was written.
        text: String,
    },
    /// Taken literally it would be one address, taken by its length many: better asked for.
    #[error("{text:?} has bits beyond its prefix: write {meant}, or the address alone")]
    HostBits {
        /// As it was written.
        text: String,
        /// What it would be by its length.
        meant: AddressRange,
    },
}

impl AddressRange {
    /// Whom limits and bans for one address are for: an IPv4 address alone, an IPv6 address with all of its /64.
    #[must_use]
    pub fn of_peer(address: IpAddr) -> Self {
        let address = address.to_canonical();
        let prefix_bits = if address.is_ipv4() {
            bits_of(address)
        } else {
            PEER_PREFIX_BITS_V6
        };
        Self::around(address, prefix_bits)
    }

    /// The range with the first `prefix_bits` of `address`; all of them where it has fewer.
    #[must_use]
    pub fn around(address: IpAddr, prefix_bits: u8) -> Self {
        let address = address.to_canonical();
        let prefix_bits = prefix_bits.min(bits_of(address));
        Self {
            first: masked(address, prefix_bits),
            prefix_bits,
        }
    }

    /// Whether `address` is in it; an IPv4 address inside an IPv6 one counts as what it is.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.first.is_ipv4() && masked(address, self.prefix_bits) == self.first
    }

    /// Its lowest address.
    #[must_use]
    pub fn first(&self) -> IpAddr {
        self.first
    }

    /// Whether its addresses are those of IPv4.
    #[must_use]
    pub fn is_ipv4(&self) -> bool {
        self.first.is_ipv4()
    }

    /// How many bits its addresses have in common.
    #[must_use]
    pub fn prefix_bits(&self) -> u8 {
        self.prefix_bits
    }
}

impl From<IpAddr> for AddressRange {
    fn from(address: IpAddr) -> Self {
        let first = address.to_canonical();
        Self {
            first,
            prefix_bits: bits_of(first),
        }
    }
}

impl FromStr for AddressRange {
    type Err = AddressRangeError;

    fn from_str(text: &str) -> Result<Self, AddressRangeError> {
        let malformed = || AddressRangeError::Malformed {
            text: text.to_owned(),
        };
        let (address, prefix) = text
            .split_once('/')
            .map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().or(Err(malformed()))?;
        let Some(prefix) = prefix else {
            return Ok(address.into());
        };
        let only_digits = prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix_bits: u8 = prefix.parse().or(Err(malformed()))?;
        // A range of IPv6 that holds IPv4 addresses would never be met: those are looked at as what they are.
        if !only_digits || prefix_bits > bits_of(address) || address != address.to_canonical() {
            return Err(malformed());
        }
        let range = Self {
            first: masked(address, prefix_bits),
            prefix_bits,
        };
        if range.first == address {
            Ok(range)
        } else {
            Err(AddressRangeError::HostBits {
                text: text.to_owned(),
                meant: range,
            })
        }
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.prefix_bits == bits_of(self.first) {
            write!(f, "{}", self.first)
        } else {
            write!(f, "{}/{}", self.first, self.prefix_bits)
        }
    }
}

impl Serialize for AddressRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AddressRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

fn bits_of(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// `address` with zeros beyond its first `prefix_bits`.
fn masked(address: IpAddr, prefix_bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let beyond = 32_u32.saturating_sub(prefix_bits.into());
            let mask = u32::MAX.checked_shl(beyond).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let beyond = 128_u32.saturating_sub(prefix_bits.into());
            let mask = u128::MAX.checked_shl(beyond).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(range: &str, inside: &[&str], outside: &[&str]) {
        let parsed: AddressRange = range.parse().unwrap();
        assert_eq!(parsed.to_string(), range);
        for address in inside {
            assert!(
                parsed.contains(address.parse().unwrap()),
                "{address} in {range}"
            );
        }
        for address in outside {
            assert!(
                !parsed.contains(address.parse().unwrap()),
                "{address} not in {range}"
            );
        }
    }

    #[test]
    fn ranges_hold_what_begins_alike() {
        check(
            "203.0.113.7",
            &["203.0.113.7", "::ffff:203.0.113.7"],
            &["203.0.113.8", "::1"],
        );
        check(
            "10.0.0.0/8",
            &["10.0.0.0", "10.255.255.255"],
            &["11.0.0.0", "9.255.255.255"],
        );
        check("0.0.0.0/0", &["0.0.0.0", "255.255.255.255"], &["::"]);
        check(
            "2001:db8::/32",
            &["2001:db8::1", "2001:db8:ffff::"],
            &["2001:db9::", "32.1.13.184"],
        );
        check("::/0", &["::", "ffff::"], &["1.2.3.4", "::ffff:1.2.3.4"]);
        check("::1", &["::1"], &["::2"]);
    }

    #[test]
    fn a_peer_is_an_address_of_ipv4_and_a_network_of_ipv6() {
        for (address, peer) in [
            ("192.0.2.1", "192.0.2.1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ] {
            let range = AddressRange::of_peer(address.parse().unwrap());
            assert_eq!(range.to_string(), peer);
        }
    }

    #[test]
    fn a_range_is_text_in_files() {
        let json = "\"203.0.113.0/24\"";
        let range: AddressRange = serde_json::from_str(json).unwrap();
        assert_eq!(serde_json::to_string(&range).unwrap(), json);
        let error = serde_json::from_str::<AddressRange>("\"10.0.0.1/8\"").unwrap_err();
        assert!(error.to_string().contains("write 10.0.0.0/8"), "{error}");
    }

    #[test]
    fn what_is_no_range_is_refused_and_what_is_meant_is_told() {
        for text in [
            "",
            "alice",
            "10.0.0.0/",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/+8",
            "10.0.0/8",
            "/8",
            "10.0.0.0/8/8",
            "::ffff:10.0.0.0/104",
        ] {
            let error = text.parse::<AddressRange>().unwrap_err();
            assert!(
                matches!(error, AddressRangeError::Malformed { .. }),
                "{text}"
            );
        }
        let error = "10.0.0.1/8".parse::<AddressRange>().unwrap_err();
        assert!(error.to_string().contains("write 10.0.0.0/8"), "{error}");
    }

    proptest! {
        #[test]
        fn a_range_made_of_an_address_holds_it_and_reads_back(bits: u128, v4: bool, length in 0_u8..=128) {
            let address: IpAddr = if v4 {
                Ipv4Addr::from_bits((bits & 0xffff_ffff) as u32).into()
            } else {
                Ipv6Addr::from_bits(bits).into()
            };
            let address = address.to_canonical();
            let prefix_bits = length.min(bits_of(address));
            let range = AddressRange { first: masked(address, prefix_bits), prefix_bits };
            prop_assert!(range.contains(address));
            // An IPv4-mapped first address can't be written as a range of IPv6.
            prop_assume!(range.first == range.first.to_canonical());
            prop_assert_eq!(range.to_string().parse::<AddressRange>().unwrap(), range);
        }
    }
}
