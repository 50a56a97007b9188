//! Where a Reconnect of the upstream may lead (specification 3.6.5): to where the operator has agreed to be led.
//!
//! The message is authenticated by the pool's key, but a pool that was broken into has that as well. So it may name its own
//! host, on any port, and what the configuration lists; the key that is pinned stays that of the configuration.

use crate::config::UpstreamConfig;

/// What is done about a Reconnect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Destination {
    /// This upstream of the configuration, by the address there.
    Configured(usize),
    /// The same host as now, once on this port.
    OtherPort(u16),
    /// Nobody agreed to that one.
    Refused,
}

/// What `new_host` and `new_port` of the message stand for on a connection to `configs[index]`. Empty and 0 mean the same
/// ones again.
pub(super) fn destination(
    new_host: &str,
    new_port: u16,
    configs: &[UpstreamConfig],
    index: usize,
) -> Destination {
    let (own_host, own_port) = configs[index].host_and_port();
    let host = if new_host.is_empty() {
        own_host
    } else {
        new_host
    };
    let port = if new_port == 0 { own_port } else { new_port };
    let is_asked = |config: &UpstreamConfig| {
        let (other_host, other_port) = config.host_and_port();
        is_same_host(other_host, host) && other_port == port
    };
    if is_asked(&configs[index]) {
        return Destination::Configured(index);
    }
    if let Some(other) = configs.iter().position(is_asked) {
        return Destination::Configured(other);
    }
    if is_same_host(own_host, host) {
        return Destination::OtherPort(port);
    }
    Destination::Refused
}

/// Host names know no case, and the root's dot says nothing.
fn is_same_host(one: &str, other: &str) -> bool {
    let name = |host: &str| host.trim_end_matches('.').to_ascii_lowercase();
    name(one) == name(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use hh_sv2::AuthoritySecretKey;

    #[test]
    fn a_reconnect_leads_to_the_same_host_or_to_a_configured_upstream_only() {
        let key = AuthoritySecretKey::generate().public_key();
        let configs = ["one.example:34254", "two.example:34255"].map(|address| UpstreamConfig {
            address: address.to_owned(),
            authority_public_key: key,
        });
        for (host, port, expected) in [
            ("", 0, Destination::Configured(0)),
            ("one.example", 34254, Destination::Configured(0)),
            ("ONE.example.", 0, Destination::Configured(0)),
            ("two.example", 34255, Destination::Configured(1)),
            ("one.example", 3333, Destination::OtherPort(3333)),
            ("", 3333, Destination::OtherPort(3333)),
            ("two.example", 3333, Destination::Refused),
            ("elsewhere.example", 34254, Destination::Refused),
            ("one.example.elsewhere.example", 0, Destination::Refused),
        ] {
            assert_eq!(
                destination(host, port, &configs, 0),
                expected,
                "{host}:{port}"
            );
        }
    }
}
