//! Other nodes of the network that the wallet knows.

use bitcoin::secp256k1::PublicKey;

/// A node that the wallet is connected to, or keeps in mind to connect to again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub node_id: PublicKey,
    /// Where it is, as the wallet tells it; none where it does not.
    pub address: Option<String>,
    pub is_connected: bool,
}
