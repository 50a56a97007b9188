//! Channels of an SV2 miner: asked for, changed and closed by it.

use super::channel::{Channel, ChannelKind, Said};
use super::{CHANNEL_EVENTS_MAX, ProxyEnd, ProxySession, text};
use crate::upstream::{ChannelTerms, ChannelWish, Command, EventSink, OpenedChannel};
use hh_mining::Target;
use hh_sv2::message::{
    B032, CloseChannel, OpenExtendedMiningChannel, OpenExtendedMiningChannelSuccess,
    OpenMiningChannelError, OpenStandardMiningChannel, OpenStandardMiningChannelSuccess,
    SetExtranoncePrefix, SetTarget, Str0255, U256, UpdateChannel, UpdateChannelError,
};
use hh_sv2::{Connection, ConnectionError};
use tokio::sync::mpsc;
use tokio::time::Instant;

/// Why a channel can't go on with another upstream.
pub(super) const NO_ROOM: &str = "extranonce-size-changed";

/// What both kinds of open ask for.
struct Request<'a> {
    request_id: u32,
    kind: ChannelKind,
    user_identity: &'a Str0255,
    nominal_hash_rate: f32,
    max_target: &'a U256,
    min_extranonce_size: u16,
}

impl ProxySession {
    pub(super) async fn on_open_standard(
        &mut self,
        open: &OpenStandardMiningChannel,
    ) -> Result<(), ProxyEnd> {
        self.on_open(&Request {
            request_id: open.request_id,
            kind: ChannelKind::Standard,
            user_identity: &open.user_identity,
            nominal_hash_rate: open.nominal_hash_rate,
            max_target: &open.max_target,
            min_extranonce_size: 0,
        })
        .await
    }

    pub(super) async fn on_open_extended(
        &mut self,
        open: &OpenExtendedMiningChannel,
    ) -> Result<(), ProxyEnd> {
        self.on_open(&Request {
            request_id: open.request_id,
            kind: ChannelKind::Extended,
            user_identity: &open.user_identity,
            nominal_hash_rate: open.nominal_hash_rate,
            max_target: &open.max_target,
            min_extranonce_size: open.min_extranonce_size,
        })
        .await
    }

    async fn on_open(&mut self, request: &Request<'_>) -> Result<(), ProxyEnd> {
        match self.wish(request) {
            Ok((said, wish)) => self.ask_for(request, said, wish).await,
            Err(code) => {
                tracing::info!(peer = %self.place.miner.peer, code, "channel refused");
                Ok(self.connection.queue(OpenMiningChannelError {
                    request_id: request.request_id,
                    error_code: text(code),
                })?)
            }
        }
    }

    /// What the upstream is to be asked for, where it is not for us to refuse.
    fn wish(&self, request: &Request<'_>) -> Result<(Said, ChannelWish), &'static str> {
        if self.standard_jobs && request.kind == ChannelKind::Extended {
            return Err("extended-channels-not-supported-for-standard-jobs");
        }
        if self.channels.len() >= self.max_channels {
            return Err("channel-capacity-exhausted");
        }
        let user_identity = std::str::from_utf8(request.user_identity.as_bytes());
        let user_identity = user_identity.unwrap_or_default();
        if user_identity.is_empty() {
            return Err("invalid-user-identity");
        }
        let said = said(request.nominal_hash_rate, request.max_target)?;
        let wish = ChannelWish {
            user_identity: user_identity.to_owned(),
            min_extranonce_size: request.min_extranonce_size,
            terms: self.terms(said, None),
            is_exact: false,
        };
        Ok((said, wish))
    }

    async fn ask_for(
        &mut self,
        request: &Request<'_>,
        said: Said,
        wish: ChannelWish,
    ) -> Result<(), ProxyEnd> {
        let (sender, events) = mpsc::channel(CHANNEL_EVENTS_MAX);
        let row = self.place.channel();
        row.miner.update(|state| {
            state.user_name.clone_from(&wish.user_identity);
            state.user_agent.clone_from(&self.device);
        });
        let session = row.miner.id;
        let id = self.next_channel_id;
        self.next_channel_id += 1;
        let channel = Channel::new(id, request.kind, request.request_id, said, row, events);
        self.channels.insert(id, Box::new(channel));
        self.tell_upstream(Command::Open {
            session,
            wish: Box::new(wish),
            events: EventSink::Session(sender),
        })
        .await
    }

    /// The upstream has opened its channel, for the first time or on another connection.
    pub(super) fn on_opened(&mut self, id: u32, opened: &OpenedChannel) -> Result<(), ProxyEnd> {
        let Some(channel) = self.channels.get_mut(&id) else {
            return Ok(());
        };
        let Some(request_id) = channel.request_id else {
            if !go_on(channel, opened, &mut self.connection)? {
                self.end_channel(id, NO_ROOM)?;
            }
            return Ok(());
        };
        if !self.standard_jobs {
            // Channels of one group have an extranonce of one size (SV2 specification, group channels): the size is its id.
            let size = opened.extranonce_prefix.len() + opened.extranonce_size;
            channel.group_id = u32::try_from(size).unwrap_or_default();
        }
        if !answer_open(channel, request_id, opened, &mut self.connection)? {
            tracing::error!(
                channel_id = id,
                "upstream opened a channel with an extranonce of more than 32 bytes"
            );
            return self.on_refused(id, "channel-capacity-exhausted");
        }
        channel.request_id = None;
        show_route(channel, opened);
        tracing::info!(
            peer = %self.place.miner.peer, session = channel.row.miner.id, channel_id = id,
            "channel opened"
        );
        Ok(())
    }

    /// The upstream does not open the channel.
    pub(super) fn on_refused(&mut self, id: u32, code: &str) -> Result<(), ProxyEnd> {
        let Some(channel) = self.channels.get(&id) else {
            return Ok(());
        };
        let Some(request_id) = channel.request_id else {
            // It had it, on another connection.
            return self.end_channel(id, code);
        };
        self.connection.queue(OpenMiningChannelError {
            request_id,
            error_code: text(code),
        })?;
        self.give_back(id);
        Ok(())
    }

    /// The upstream has closed the channel, or can't have it any more: the miner may open another.
    pub(super) fn end_channel(&mut self, id: u32, reason: &str) -> Result<(), ProxyEnd> {
        if let Some(channel) = self.channels.get_mut(&id) {
            let lost = channel.detach_all();
            self.tell_lost(id, &lost)?;
        }
        self.connection.queue(CloseChannel {
            channel_id: id,
            reason_code: text(reason),
        })?;
        self.give_back(id);
        Ok(())
    }

    /// Takes the channel out while the upstream's events are handled.
    fn give_back(&mut self, id: u32) {
        if let Some(session) = self.remove(id) {
            // It knows already, or else learns it from the next event that nobody takes.
            let command = Command::Close { session };
            self.upstream.commands.try_send(command).ok();
        }
    }

    pub(super) async fn on_update_channel(
        &mut self,
        update: &UpdateChannel,
    ) -> Result<(), ProxyEnd> {
        match self.change_terms(update) {
            Ok((session, terms)) => self.tell_upstream(Command::Update { session, terms }).await,
            Err(code) => self.on_update_refused(update.channel_id, code),
        }
    }

    fn change_terms(
        &mut self,
        update: &UpdateChannel,
    ) -> Result<(u64, ChannelTerms), &'static str> {
        let channel = self.channels.get_mut(&update.channel_id);
        let channel = channel.filter(|channel| channel.is_open());
        let channel = channel.ok_or("invalid-channel-id")?;
        channel.said = said(update.nominal_hash_rate, &update.maximum_target)?;
        let (session, said) = (channel.row.miner.id, channel.said);
        Ok((session, self.terms(said, None)))
    }

    /// What the pool is to choose a target from, within the lane's bounds.
    pub(super) fn terms(&self, said: Said, last: Option<Target>) -> ChannelTerms {
        let lane = &self.place.miner.lane.difficulty;
        lane.channel_terms(said.nominal_hash_rate, said.max_target, last)
    }

    pub(super) fn on_update_refused(
        &mut self,
        channel_id: u32,
        code: &str,
    ) -> Result<(), ProxyEnd> {
        Ok(self.connection.queue(UpdateChannelError {
            channel_id,
            error_code: text(code),
        })?)
    }

    /// The id of a group closes all that are in it.
    pub(super) async fn on_close_channel(&mut self, id: u32) -> Result<(), ProxyEnd> {
        let is_meant = |channel: &Channel| {
            let by_group = channel.group_id == id && channel.group_id != 0;
            channel.is_open() && (channel.id == id || by_group)
        };
        let channels = self.channels.values();
        let meant = channels.filter(|channel| is_meant(channel));
        let closed: Vec<u32> = meant.map(|channel| channel.id).collect();
        for id in closed {
            self.forget(id).await?;
        }
        Ok(())
    }

    /// The miner does not want the channel any more.
    pub(super) async fn forget(&mut self, id: u32) -> Result<(), ProxyEnd> {
        let Some(session) = self.remove(id) else {
            return Ok(());
        };
        self.tell_upstream(Command::Close { session }).await
    }

    /// Takes the channel out; what waits is never settled. Gives its session with the upstream.
    fn remove(&mut self, id: u32) -> Option<u64> {
        let mut channel = self.channels.remove(&id)?;
        self.unsettled -= channel.unsettled();
        let lost = channel.detach_all().len();
        channel.row.miner.on_unsettled(lost as u64);
        if self.channels.is_empty() {
            self.without_channel_since = Instant::now();
        }
        Some(channel.row.miner.id)
    }
}

/// What a miner says, if it makes sense.
fn said(nominal_hash_rate: f32, max_target: &U256) -> Result<Said, &'static str> {
    if !(nominal_hash_rate.is_finite() && nominal_hash_rate >= 0.0) {
        return Err("invalid-nominal-hashrate");
    }
    let max_target = Target::from_le_bytes(max_target.to_array());
    if max_target == Target::from_le_bytes([0; 32]) {
        return Err("max-target-out-of-range");
    }
    Ok(Said {
        nominal_hash_rate,
        max_target,
    })
}

/// Tells a miner of its channel; false if it is none that SV2 can tell of.
fn answer_open(
    channel: &mut Channel,
    request_id: u32,
    opened: &OpenedChannel,
    connection: &mut Connection,
) -> Result<bool, ConnectionError> {
    channel.extranonce_size = match channel.kind {
        ChannelKind::Standard => 0,
        ChannelKind::Extended => opened.extranonce_size,
    };
    let Some(fixed) = channel.attach(opened) else {
        return Ok(false);
    };
    channel.target = opened.target;
    show_target(channel);
    let (channel_id, group_channel_id) = (channel.id, channel.group_id);
    let target = U256::from(opened.target.to_le_bytes());
    match channel.kind {
        ChannelKind::Standard => connection.queue(OpenStandardMiningChannelSuccess {
            request_id,
            channel_id,
            target,
            extranonce_prefix: b032(fixed.bytes()),
            group_channel_id,
        })?,
        ChannelKind::Extended => connection.queue(OpenExtendedMiningChannelSuccess {
            request_id,
            channel_id,
            target,
            extranonce_size: u16::try_from(channel.extranonce_size).expect("it fits an extranonce"),
            extranonce_prefix: b032(fixed.bytes()),
            group_channel_id,
        })?,
    }
    Ok(true)
}

/// The same channel on another connection of the upstream; false if there it has less room than the miner was promised.
fn go_on(
    channel: &mut Channel,
    opened: &OpenedChannel,
    connection: &mut Connection,
) -> Result<bool, ConnectionError> {
    let before = channel.fixed().cloned();
    let Some(fixed) = channel.attach(opened) else {
        return Ok(false);
    };
    show_route(channel, opened);
    if before.as_ref() != Some(&fixed) {
        announce_prefix(channel, fixed.bytes(), connection)?;
    }
    announce_target(channel, opened.target, connection)?;
    Ok(true)
}

/// SetExtranoncePrefix. A standard channel is not told: its jobs come with the prefix in them, and devices that have nothing else
/// know no such message.
pub(super) fn announce_prefix(
    channel: &Channel,
    prefix: &[u8],
    connection: &mut Connection,
) -> Result<(), ConnectionError> {
    if channel.kind == ChannelKind::Standard {
        return Ok(());
    }
    connection.queue(SetExtranoncePrefix {
        channel_id: channel.id,
        extranonce_prefix: b032(prefix),
    })
}

/// SetTarget, if it differs from what the miner was told last.
pub(super) fn announce_target(
    channel: &mut Channel,
    target: Target,
    connection: &mut Connection,
) -> Result<(), ConnectionError> {
    if channel.target == target {
        return Ok(());
    }
    let miner = &channel.row.miner;
    miner.lane.on_retarget(target < channel.target);
    channel.target = target;
    show_target(channel);
    connection.queue(SetTarget {
        channel_id: channel.id,
        maximum_target: target.to_le_bytes().into(),
    })
}

fn show_route(channel: &Channel, opened: &OpenedChannel) {
    let channel_id = Some(opened.route.channel_id);
    channel
        .row
        .miner
        .update(|state| state.channel_id = channel_id);
}

fn show_target(channel: &Channel) {
    let difficulty = channel.target.difficulty();
    channel
        .row
        .miner
        .update(|state| state.difficulty = difficulty);
}

/// An extranonce prefix with zeros behind it.
fn b032(bytes: &[u8]) -> B032 {
    bytes
        .to_vec()
        .try_into()
        .expect("a channel takes no longer extranonce than a B0_32")
}
