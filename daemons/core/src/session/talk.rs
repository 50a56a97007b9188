//! One session of one node: commands out; what it has taken, what came of it, and heartbeats in.

use super::Sessions;
use super::incoming::Incoming;
use super::invoice_pace::InvoicePace;
use super::told_inventory::ToldInventory;
use crate::checkpoint::Checkpoints;
use crate::fleet::{Fleet, Live, Place};
use crate::inventory;
use crate::lease::{self, LeaseError};
use crate::node::{self, NodeRow};
use crate::operations::Operations;
use crate::payout_inbox::{self, PayoutInbox};
use crate::report;
use crate::store::{Store, StoreError, Transaction};
use hh_daemon::Tasks;
use hh_ipc::agent::{
    AuditSeen, Command, CoreMessage, Goodbye, Heartbeat, HeartbeatAnswer, Inventory, LaneReport,
    MAX_LANES, MAX_SERVICES, NodeAccount, NodeHello, NodeInvoice, NodeMessage, REVOKED,
    ResultTaken, ServiceReport, Welcome, core_message, node_message,
};
use hh_trust::command_result::plain_output;
use hh_trust::pki::PeerName;
use jiff::Timestamp;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// For the first message: the agent has it ready.
const HELLO_LIMIT: Duration = Duration::from_secs(10);

/// A node is told to say this often that it is there.
const HEARTBEAT_SECONDS: u32 = 5;

/// And taken to be gone after three that did not come.
const SILENCE_LIMIT: Duration = Duration::from_secs(3 * 5 + 1);

/// For so long a node is not taken to be gone that has polled: the next poll comes after the answer to the last.
const BETWEEN_POLLS: Duration = Duration::from_secs(5);

/// A node is told to measure this often.
const TELEMETRY_SECONDS: u32 = 5;

/// Longest sentence about a refused checkpoint, in bytes; the agent's own have 150.
const FAULT_BYTES_MAX: usize = 1_024;

pub(super) struct Talk {
    node: NodeRow,
    address: SocketAddr,
    replica: PeerName,
    key_set: String,
    store: Store,
    fleet: Fleet,
    operations: Operations,
    checkpoints: Checkpoints,
    inbox: PayoutInbox,
    tasks: Tasks,
    incoming: Incoming,
    outgoing: mpsc::Sender<CoreMessage>,
    /// The last command that was sent in this session.
    last_sent: Option<String>,
    /// What the node was told last of what it is owed.
    told: Option<NodeAccount>,
    pace: InvoicePace,
    inventory: ToldInventory,
}

/// Why a session ends.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the node has closed it")]
    Closed,
    #[error("the poll is answered")]
    Answered,
    #[error("the connection was lost: {0}")]
    Lost(String),
    #[error("nothing was heard for {} s", SILENCE_LIMIT.as_secs())]
    Silent,
    #[error("{0}")]
    Protocol(&'static str),
    #[error("another session of this node has begun, or it joined anew")]
    Replaced,
    #[error("this node was revoked; enrol it with a new token that was made with --replace")]
    Revoked,
    #[error("hyperhash-core stops")]
    Stopping,
    #[error("the database can't be used now")]
    Store(#[from] StoreError),
}

impl From<LeaseError> for End {
    fn from(error: LeaseError) -> Self {
        match error {
            LeaseError::Lost => Self::Replaced,
            LeaseError::Store(error) => Self::Store(error),
        }
    }
}

enum Event {
    Message(Option<Box<NodeMessage>>),
    Failed(tonic::Status),
    Wake,
}

impl Talk {
    pub(super) fn new(
        sessions: &Sessions,
        address: SocketAddr,
        node: NodeRow,
        incoming: Incoming,
        outgoing: mpsc::Sender<CoreMessage>,
    ) -> Self {
        Self {
            node,
            address,
            replica: sessions.authority.replica.clone(),
            key_set: sessions.authority.key_set.clone(),
            store: sessions.store.clone(),
            fleet: sessions.fleet.clone(),
            operations: sessions.operations.clone(),
            checkpoints: sessions.checkpoints.clone(),
            inbox: sessions.inbox.clone(),
            tasks: sessions.tasks.clone(),
            incoming,
            outgoing,
            last_sent: None,
            told: None,
            pace: InvoicePace::default(),
            inventory: ToldInventory::default(),
        }
    }

    /// Sends only what follows this command; all where it is none.
    pub(super) fn after(mut self, command_id: String) -> Self {
        self.last_sent = (!command_id.is_empty()).then_some(command_id);
        self
    }

    pub(super) async fn run(mut self) {
        let Err(end) = self.talk().await;
        let end = self.explained(end).await;
        let (node, address) = (&self.node.id, self.address);
        match &end {
            // The next poll goes on.
            End::Answered => return,
            End::Store(error) => {
                tracing::error!(%node, %address, error = error as &dyn std::error::Error, "session ended");
            }
            end if self.incoming.is_poll() => {
                tracing::debug!(%node, %address, why = %end, "poll ended");
            }
            end => tracing::info!(%node, %address, why = %end, "session ended"),
        }
        let goodbye = Goodbye {
            reason: end.to_string(),
            code: match end {
                End::Revoked => REVOKED.to_owned(),
                _ => String::new(),
            },
        };
        // Who does not read can't be told.
        let goodbye = core_message::Body::Goodbye(goodbye);
        self.outgoing
            .try_send(CoreMessage {
                body: Some(goodbye),
            })
            .ok();
    }

    /// A session that has lost its lease ends for a reason that is in the database.
    async fn explained(&self, end: End) -> End {
        if !matches!(end, End::Replaced) {
            return end;
        }
        let (id, epoch) = (self.node.id.clone(), self.node.epoch);
        let read: Result<Option<NodeRow>, StoreError> = self
            .store
            .read(move |transaction| node::get(transaction, &id))
            .await;
        let node = read.ok().flatten().filter(|node| node.epoch == epoch);
        match node.and_then(|node| node.revoked) {
            Some(_) => End::Revoked,
            None => end,
        }
    }

    async fn talk(&mut self) -> Result<std::convert::Infallible, End> {
        let hello = tokio::time::timeout(HELLO_LIMIT, self.incoming.message()).await;
        let place = match hello {
            Ok(Ok(Some(NodeMessage {
                body: Some(node_message::Body::Hello(hello)),
            }))) => self.greet(hello).await?,
            Ok(Ok(_)) => return Err(End::Protocol("its first message was no hello")),
            Ok(Err(status)) => return Err(End::Lost(status.message().to_owned())),
            Err(_elapsed) => return Err(End::Protocol("it did not say hello in time")),
        };
        self.deliver(&place).await?;
        self.tell_account().await?;
        loop {
            let event = self.next(&place).await?;
            match event {
                Event::Wake => {
                    self.deliver(&place).await?;
                    self.tell_account().await?;
                }
                Event::Message(Some(message)) => self.hear(&place, *message).await?,
                Event::Message(None) => return Err(self.ended(place)),
                Event::Failed(status) => return Err(End::Lost(status.message().to_owned())),
            }
        }
    }

    /// The node has said all that it had to say.
    fn ended(&self, place: Place) -> End {
        if !self.incoming.is_poll() {
            return End::Closed;
        }
        let tasks = self.tasks.clone();
        self.tasks.spawn_session("node between polls", async move {
            tokio::select! {
                () = tasks.cancelled() => {}
                () = place.end.cancelled() => {}
                () = tokio::time::sleep(BETWEEN_POLLS) => {}
            }
            drop(place);
        });
        End::Answered
    }

    async fn next(&mut self, place: &Place) -> Result<Event, End> {
        let heard = tokio::time::timeout(SILENCE_LIMIT, self.incoming.message());
        tokio::select! {
            () = self.tasks.cancelled() => Err(End::Stopping),
            () = place.end.cancelled() => Err(End::Replaced),
            () = place.wake.notified() => Ok(Event::Wake),
            heard = heard => match heard {
                Ok(Ok(message)) => Ok(Event::Message(message.map(Box::new))),
                Ok(Err(status)) => Ok(Event::Failed(status)),
                Err(_elapsed) => Err(End::Silent),
            },
        }
    }

    async fn greet(&mut self, hello: NodeHello) -> Result<Place, End> {
        if hello.epoch != self.node.epoch {
            return Err(End::Protocol(
                "it is of another epoch: enrol this node with a new token",
            ));
        }
        let now_ms = Timestamp::now().as_millisecond();
        let before = self.fleet.get(&self.node.id);
        let was_told = has_fault(before.as_ref().and_then(|before| before.audit.as_ref()));
        // Polls are one session to who looks.
        let before = before.filter(|_before| self.incoming.is_poll());
        let kept = before.map(|before| (before.lanes, before.measured));
        let (lanes, measured) = kept.unwrap_or_default();
        let live = Live {
            peer: self.address,
            connected_at_ms: now_ms,
            seen_at_ms: now_ms,
            clock_ahead_ms: None,
            services: known_services(hello.services)?,
            lanes,
            measured,
            audit: hello.audit.map(known_seen).transpose()?,
        };
        let seen = live.audit.clone();
        let place = self.enter(live, hello.agent_version).await?;
        if !self.incoming.is_poll() {
            tracing::info!(node = %self.node.id, address = %self.address, last_seq = hello.last_seq, "session begun");
        }
        let welcome = Welcome {
            core_unix_ms: now_ms,
            heartbeat_seconds: HEARTBEAT_SECONDS,
            telemetry_seconds: TELEMETRY_SECONDS,
            key_set: self.key_set.clone(),
        };
        self.say(core_message::Body::Welcome(welcome)).await?;
        self.tell_checkpoint(seen, was_told).await?;
        Ok(place)
    }

    /// Takes the node's lease, and its place in the fleet.
    async fn enter(&self, live: Live, version: String) -> Result<Place, End> {
        let is_plain = version.len() <= 64 && version.bytes().all(|byte| byte.is_ascii_graphic());
        let version = (is_plain && version != self.node.agent_version).then_some(version);
        let let_in = self.node.clone();
        let (replica, instance) = (self.replica.clone(), self.store.instance());
        let said = live.clone();
        let enter = move |transaction: &Transaction<'_>| {
            let node = node::get(transaction, &let_in.id)?;
            if !node.is_some_and(|node| node.is_still(&let_in)) {
                return Err(LeaseError::Lost);
            }
            let id = &let_in.id;
            if let Some(version) = version {
                node::set_version(transaction, id, &version)?;
            }
            Ok(lease::take(transaction, (&replica, instance), id, &said)?)
        };
        let lease = self.store.call(enter).await?;
        Ok(self.fleet.enter(lease, live))
    }

    /// Sends what the node has to get, from where this session is.
    async fn deliver(&mut self, place: &Place) -> Result<(), End> {
        loop {
            let after = self.last_sent.clone();
            let delivered = self.operations.deliver(&self.node, &place.lease, after);
            let commands = delivered.await?;
            let Some(last) = commands.last() else {
                return Ok(());
            };
            self.last_sent = Some(last.id.clone());
            self.incoming.hurry();
            for command in commands {
                let command = Command {
                    jws: command.jws,
                    command_id: command.id,
                };
                self.say(core_message::Body::Command(command)).await?;
            }
        }
    }

    /// Tells the node what hh-treasury says of it, if that is new.
    async fn tell_account(&mut self) -> Result<(), End> {
        let account = self.inbox.account(&self.node.id).await?;
        if account == self.told {
            return Ok(());
        }
        if let Some(account) = account.clone() {
            self.say(core_message::Body::Account(account)).await?;
        }
        self.told = account;
        Ok(())
    }

    async fn take_invoice(&mut self, place: &Place, invoice: NodeInvoice) -> Result<(), End> {
        place.heard(|_live| {});
        if payout_inbox::check(&invoice).is_err() {
            return Err(End::Protocol("it handed in what is no signed invoice"));
        }
        let now = Instant::now();
        // The agent hands its open one in every few seconds, and one that comes too soon again.
        if self.pace.takes(&invoice, now) {
            self.inbox.hand_in(&place.lease, invoice.clone()).await?;
            self.pace.took(invoice, now);
        }
        Ok(())
    }

    async fn hear(&mut self, place: &Place, message: NodeMessage) -> Result<(), End> {
        match message.body {
            Some(node_message::Body::Heartbeat(heartbeat)) => self.beat(place, heartbeat).await,
            Some(node_message::Body::Taken(taken)) => {
                place.heard(|_live| {});
                let taken = self.operations.taken(&place.lease, taken.command_id);
                Ok(taken.await?)
            }
            Some(node_message::Body::Result(result)) => {
                place.heard(|_live| {});
                let concluded = self
                    .operations
                    .conclude(&self.node, &place.lease, result.jws);
                match concluded.await? {
                    Some(command_id) => {
                        let taken = ResultTaken { command_id };
                        self.say(core_message::Body::ResultTaken(taken)).await
                    }
                    None => Err(End::Protocol("it sent a result that it has not signed")),
                }
            }
            Some(node_message::Body::Invoice(invoice)) => self.take_invoice(place, invoice).await,
            Some(node_message::Body::Hello(_)) => Err(End::Protocol("it said hello twice")),
            // Something that a newer agent says.
            None => Ok(()),
        }
    }

    async fn beat(&mut self, place: &Place, heartbeat: Heartbeat) -> Result<(), End> {
        let services = known_services(heartbeat.services)?;
        let lanes = known_lanes(heartbeat.lanes)?;
        let told = heartbeat.inventory.map(report::inventory);
        if let Some(told) = self.inventory.hear(told, Instant::now()) {
            self.take_inventory(place, told).await?;
        }
        let seen = heartbeat.audit.map(known_seen).transpose()?;
        let core_unix_ms = Timestamp::now().as_millisecond();
        let ahead = heartbeat.sent_at_unix_ms.saturating_sub(core_unix_ms);
        let mut was_told = false;
        place.heard(|live| {
            live.services = services;
            live.lanes = lanes;
            live.clock_ahead_ms = Some(ahead);
            was_told = has_fault(live.audit.as_ref());
            live.audit.clone_from(&seen);
        });
        let answer = HeartbeatAnswer {
            sent_at_unix_ms: heartbeat.sent_at_unix_ms,
            core_unix_ms,
        };
        self.say(core_message::Body::Heartbeat(answer)).await?;
        self.tell_checkpoint(seen, was_told).await
    }

    /// Tells the node how far the audit log goes, if it has not seen that; and us, once, what it has refused of it.
    async fn tell_checkpoint(&self, seen: Option<AuditSeen>, was_told: bool) -> Result<(), End> {
        let Some(seen) = seen else {
            return Ok(());
        };
        if has_fault(Some(&seen)) && !was_told {
            let (node, lines, fault) = (&self.node.id, seen.size, seen.fault.as_str());
            tracing::error!(%node, lines, fault, "a node says that the audit log is not the one that it has seen");
        }
        match self.checkpoints.news(&seen).await {
            Some(checkpoint) => self.say(core_message::Body::Audit(checkpoint)).await,
            None => Ok(()),
        }
    }

    async fn take_inventory(&self, place: &Place, told: Inventory) -> Result<(), End> {
        let lease = place.lease.clone();
        let put = move |transaction: &Transaction<'_>| {
            lease::check(transaction, &lease)?;
            let now_ms = Timestamp::now().as_millisecond();
            Ok::<_, LeaseError>(inventory::put(transaction, &lease.node, &told, now_ms)?)
        };
        Ok(self.store.call(put).await?)
    }

    /// Waits for room: a node that does not read is found silent by its connection.
    async fn say(&self, body: core_message::Body) -> Result<(), End> {
        let sent = self.outgoing.send(CoreMessage { body: Some(body) }).await;
        sent.map_err(|_gone| End::Closed)
    }
}

fn has_fault(seen: Option<&AuditSeen>) -> bool {
    seen.is_some_and(|seen| !seen.fault.is_empty())
}

/// It is kept, and shown to operators: a hash, and a sentence.
fn known_seen(mut seen: AuditSeen) -> Result<AuditSeen, End> {
    if ![0, 32].contains(&seen.root.len()) || seen.fault.len() > FAULT_BYTES_MAX {
        return Err(End::Protocol("it has seen something that is no audit log"));
    }
    seen.fault = plain_output(&seen.fault);
    Ok(seen)
}

fn known_services(services: Vec<ServiceReport>) -> Result<Vec<ServiceReport>, End> {
    if services.len() > MAX_SERVICES {
        return Err(End::Protocol(
            "it reports more services than a node may have",
        ));
    }
    Ok(report::services(services))
}

fn known_lanes(lanes: Vec<LaneReport>) -> Result<Vec<LaneReport>, End> {
    if lanes.len() > MAX_LANES {
        return Err(End::Protocol("it reports more lanes than a node may have"));
    }
    Ok(report::lanes(lanes))
}
