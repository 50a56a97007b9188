//! Block relay of a simulated node, on a connection of its own.

use super::Node;
use super::wire::{Channel, WireError};
use crate::site::PATIENCE;
use bitcoin::BlockHash;
use bitcoin::hashes::Hash;
use bytes::Bytes;
use hh_ipc::agent::{
    BlockAssembly, Heartbeat, RelayAnnounce, RelayCoreMessage, RelayNodeMessage, RelayWant,
    chunks_of, path, relay_core_message, relay_node_message,
};
use prost::Message;
use tokio::sync::mpsc;
use tonic::Streaming;

/// What core says.
pub(crate) type Told = relay_core_message::Body;

/// Closed when it is dropped.
pub(crate) struct RelayStream {
    outgoing: mpsc::Sender<RelayNodeMessage>,
    incoming: Streaming<RelayCoreMessage>,
    _channel: Channel,
}

impl Node {
    pub(crate) async fn relay(&self) -> RelayStream {
        let (outgoing, messages) = mpsc::channel(64);
        let (channel, incoming) = self.call_relay(messages).await.unwrap();
        RelayStream {
            outgoing,
            incoming,
            _channel: channel,
        }
    }

    /// Sends messages of another call. Returns when core has ended it.
    pub(crate) async fn relay_garbage(&self) {
        let (outgoing, messages) = mpsc::channel(64);
        let (_channel, mut incoming) = self.call_relay(messages).await.unwrap();
        let garbage = Heartbeat {
            sent_at_unix_ms: 5,
            ..Heartbeat::default()
        };
        outgoing.send(garbage).await.unwrap();
        let ended = tokio::time::timeout(PATIENCE, incoming.message()).await;
        assert!(!matches!(ended.unwrap(), Ok(Some(_))));
    }

    async fn call_relay<Q>(
        &self,
        messages: mpsc::Receiver<Q>,
    ) -> Result<(Channel, Streaming<RelayCoreMessage>), WireError>
    where
        Q: Message + 'static,
    {
        let joined = &self.joined;
        let dialled = Channel::dial(self.source, &joined.address, &joined.domain, &joined.tls);
        let channel = dialled.await?;
        let incoming = channel.streaming(path::RELAY, messages).await?;
        Ok((channel, incoming))
    }

    /// Sessions that it has had.
    pub(crate) fn sessions(&self) -> u64 {
        self.kept.lock().unwrap().sessions
    }
}

impl RelayStream {
    pub(crate) async fn say(&self, body: relay_node_message::Body) {
        let message = RelayNodeMessage { body: Some(body) };
        self.outgoing.send(message).await.unwrap();
    }

    pub(crate) async fn announce(&self, headers: Vec<Vec<u8>>) {
        let announce = RelayAnnounce { headers, height: 1 };
        self.say(relay_node_message::Body::Announce(announce)).await;
    }

    pub(crate) async fn want(&self, hash: BlockHash) {
        let block_hash = hash.to_byte_array().to_vec();
        self.say(relay_node_message::Body::Want(RelayWant { block_hash }))
            .await;
    }

    /// Sends these bytes as those of a block.
    pub(crate) async fn bring(&self, hash: BlockHash, bytes: Vec<u8>) {
        for chunk in chunks_of(hash.to_byte_array(), &bytes.into()) {
            self.say(relay_node_message::Body::Chunk(chunk)).await;
        }
    }

    /// What core says next; none once it has ended the stream.
    pub(crate) async fn told(&mut self) -> Option<Told> {
        let heard = tokio::time::timeout(PATIENCE, self.incoming.message()).await;
        let message = heard.expect("core says something").ok()??;
        message.body
    }

    /// The block that comes next.
    pub(crate) async fn block(&mut self, hash: BlockHash) -> Bytes {
        let mut assembly = BlockAssembly::new(hash.to_byte_array());
        loop {
            match self.told().await {
                Some(Told::Chunk(chunk)) => {
                    if assembly.push(&chunk).unwrap() {
                        return assembly.into_bytes();
                    }
                }
                other => panic!("no part of a block: {other:?}"),
            }
        }
    }
}
