//! Those about what it takes for routing.

use prost::Message;

use super::ChannelPoint;

/// A channel in its graph, with the policies of both.
#[derive(Clone, PartialEq, Message)]
pub(in crate::lnd) struct ChannelPolicies {
    /// Hex.
    #[prost(string, tag = "4")]
    pub(in crate::lnd) node1_pub: String,
    #[prost(message, optional, tag = "7")]
    pub(in crate::lnd) node1_policy: Option<RoutingPolicy>,
    #[prost(message, optional, tag = "8")]
    pub(in crate::lnd) node2_policy: Option<RoutingPolicy>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::lnd) struct RoutingPolicy {
    #[prost(uint32, tag = "1")]
    pub(in crate::lnd) time_lock_delta: u32,
}

/// Its largest and smallest payments stay what they were.
#[derive(Clone, PartialEq, Message)]
pub(in crate::lnd) struct PolicyUpdateRequest {
    #[prost(message, optional, tag = "2")]
    pub(in crate::lnd) chan_point: Option<ChannelPoint>,
    #[prost(int64, tag = "3")]
    pub(in crate::lnd) base_fee_msat: i64,
    #[prost(uint32, tag = "5")]
    pub(in crate::lnd) time_lock_delta: u32,
    #[prost(uint32, tag = "9")]
    pub(in crate::lnd) fee_rate_ppm: u32,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::lnd) struct PolicyUpdateResponse {
    #[prost(message, repeated, tag = "1")]
    pub(in crate::lnd) failed_updates: Vec<FailedUpdate>,
}

#[derive(Clone, PartialEq, Message)]
pub(in crate::lnd) struct FailedUpdate {
    #[prost(string, tag = "3")]
    pub(in crate::lnd) update_error: String,
}
