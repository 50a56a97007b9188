//! Channels of a connection: opening, changing and closing them.

use super::passage::bounds;
use super::{AfterAppend, Session, SessionError, open_error, retarget, send_job};
use crate::channel::{Channel, ChannelKind};
use crate::directory::{NewChannel, unix_ms};
use crate::group::{self, GROUP_CHANNEL_ID};
use crate::share_log::{Binding, Origin, Record};
use hh_mining::extranonce::ROLLABLE_SIZE;
use hh_mining::{ExtranoncePrefix, Identity, Target, Vardiff};
use hh_sv2::message::{
    CloseChannel, OpenExtendedMiningChannel, OpenExtendedMiningChannelSuccess,
    OpenStandardMiningChannel, OpenStandardMiningChannelSuccess, Str0255, U256, UpdateChannel,
    UpdateChannelError,
};
use std::sync::{Arc, PoisonError};

/// `extranonce_size` of an extended channel.
const EXTRANONCE_SIZE: u16 = 8;
const _: () = assert!(EXTRANONCE_SIZE as usize == ROLLABLE_SIZE);

/// What both kinds of open ask for.
struct Request {
    request_id: u32,
    identity: String,
    nominal_hashrate_hs: f32,
    max_target: Target,
    kind: ChannelKind,
}

/// A channel whose binding is on its way to the disk; its miner hears of it afterwards.
#[derive(Debug)]
pub(super) struct Opening {
    request_id: u32,
    kind: ChannelKind,
    prefix: ExtranoncePrefix,
    origin: Arc<Origin>,
    nominal_hashrate_hs: f32,
    max_target: Target,
}

impl Session {
    pub(super) fn on_open_standard(
        &mut self,
        open: OpenStandardMiningChannel,
    ) -> Result<(), SessionError> {
        self.on_open(Request {
            request_id: open.request_id,
            identity: user_identity(&open.user_identity),
            nominal_hashrate_hs: open.nominal_hash_rate,
            max_target: target(&open.max_target),
            kind: ChannelKind::Standard,
        })
    }

    pub(super) fn on_open_extended(
        &mut self,
        open: OpenExtendedMiningChannel,
    ) -> Result<(), SessionError> {
        if self.standard_jobs {
            let code = "extended-channels-not-supported-for-standard-jobs";
            return Ok(self.connection.queue(open_error(open.request_id, code))?);
        }
        if usize::from(open.min_extranonce_size) > ROLLABLE_SIZE {
            let code = "min-extranonce-size-too-large";
            return Ok(self.connection.queue(open_error(open.request_id, code))?);
        }
        self.on_open(Request {
            request_id: open.request_id,
            identity: user_identity(&open.user_identity),
            nominal_hashrate_hs: open.nominal_hash_rate,
            max_target: target(&open.max_target),
            kind: ChannelKind::Extended,
        })
    }

    fn on_open(&mut self, request: Request) -> Result<(), SessionError> {
        self.expire_passage(unix_ms() / 1000)?;
        let request_id = request.request_id;
        match self.prepare(request) {
            Ok(opening) => self.bind(opening),
            Err(code) => {
                let peer = self.connection.peer();
                tracing::info!(%peer, lane = self.lane.name, code, "channel refused");
                Ok(self.connection.queue(open_error(request_id, code))?)
            }
        }
    }

    /// Checks a request and gives it a prefix that no channel of this log's epoch had before.
    fn prepare(&self, request: Request) -> Result<Opening, &'static str> {
        let opening = self
            .appends
            .iter()
            .filter(|(_, after)| matches!(after, AfterAppend::Open(_)));
        if self.channels.len() + opening.count() >= self.shared.limits.max_channels_per_connection {
            return Err("channel-capacity-exhausted");
        }
        let hashrate = request.nominal_hashrate_hs;
        if !(hashrate.is_finite() && hashrate >= 0.0) {
            return Err("invalid-nominal-hashrate");
        }
        if request.max_target == Target::from_le_bytes([0; 32]) {
            return Err("max-target-out-of-range");
        }
        let origin = self.origin(&request.identity)?;
        let mut prefixes = self
            .shared
            .prefixes
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let prefix = prefixes.allocate();
        let prefix = prefix.or(Err("channel-capacity-exhausted"))?;
        Ok(Opening {
            request_id: request.request_id,
            kind: request.kind,
            prefix,
            origin: Arc::new(origin),
            nominal_hashrate_hs: hashrate,
            max_target: request.max_target,
        })
    }

    fn origin(&self, identity: &str) -> Result<Origin, &'static str> {
        let parsed = Identity::parse(identity, self.shared.network).map_err(|error| {
            let peer = self.connection.peer();
            tracing::info!(%peer, identity = super::printable(identity), %error, "identity refused");
            "invalid-user-identity"
        })?;
        let worker = parsed
            .worker
            .map_or_else(String::new, |worker| worker.to_string());
        let account = parsed.account.to_string();
        if self.shared.bans.is_account_banned(&account, unix_ms()) {
            return Err("unknown-user");
        }
        if !self.serves(&account) {
            let peer = self.connection.peer();
            tracing::info!(%peer, account, "account refused: the private node serves others");
            return Err("unknown-user");
        }
        let (node, lane) = self.node_and_lane();
        Origin::new(account, worker, node, lane).or(Err("invalid-user-identity"))
    }

    /// Writes down whose the prefix is before its first job is sent: the finder of a block is read from it.
    ///
    /// While the share log fails no channel is opened, and its miner learns that at once: another pool may take it.
    fn bind(&mut self, opening: Opening) -> Result<(), SessionError> {
        if self.shared.log.is_failing() {
            return self.on_not_bound(&opening);
        }
        let record = Record::Binding(Binding {
            bound_at_ms: unix_ms(),
            extranonce_prefix: opening.prefix.to_bytes(),
            origin: Arc::clone(&opening.origin),
        });
        match self.shared.log.try_append(vec![record]) {
            Ok(appending) => {
                let after = AfterAppend::Open(Box::new(opening));
                self.appends.push_back((appending, after));
                Ok(())
            }
            Err(refused) => {
                tracing::warn!(reason = ?refused.reason, "no channel is opened: the share log took no binding");
                let answer = open_error(opening.request_id, "channel-capacity-exhausted");
                Ok(self.connection.queue(answer)?)
            }
        }
    }

    /// The binding is durable: the channel exists.
    pub(super) fn on_bound(&mut self, mut opening: Opening) -> Result<(), SessionError> {
        // While its binding was written, a credential may have been presented, or ended.
        opening.origin = self.origin_now(&opening.origin);
        let vardiff = self.vardiff(&opening);
        let start = vardiff.target();
        let view = self.shared.directory.open(NewChannel {
            origin: Arc::clone(&opening.origin),
            connection: Arc::clone(&self.view),
            kind: match opening.kind {
                ChannelKind::Standard => "standard",
                ChannelKind::Extended => "extended",
            },
            device: Arc::clone(&self.device),
            nominal_hashrate_hs: f64::from(opening.nominal_hashrate_hs),
            target: start,
        });
        // A ban that was made while the binding was written has closed what was open, and this was not yet.
        if self
            .shared
            .bans
            .is_account_banned(opening.origin.account(), unix_ms())
        {
            view.close_soon();
        }
        self.lane.on_channel_opened();
        let id = view.id;
        let Opening {
            kind,
            prefix,
            max_target,
            ..
        } = opening;
        let mut channel = Channel::new(id, kind, prefix, view, vardiff, max_target);
        if let Some(work) = &self.current {
            channel.announced = channel.wanted_target(&work.tip);
        }
        self.answer_open(&channel, opening.request_id)?;
        if let Some(work) = &self.current {
            send_job(&mut self.connection, &channel, work, true)?;
            channel.on_job_sent(Arc::clone(&work.job), &work.tip);
        }
        self.channels.insert(id, Box::new(channel));
        let origin = &opening.origin;
        tracing::info!(
            peer = %self.connection.peer(), channel_id = id, account = origin.account(),
            worker = origin.worker(), node = origin.node(), lane = origin.lane(), "channel opened"
        );
        Ok(())
    }

    /// The binding could not be written.
    pub(super) fn on_not_bound(&mut self, opening: &Opening) -> Result<(), SessionError> {
        let answer = open_error(opening.request_id, "channel-capacity-exhausted");
        Ok(self.connection.queue(answer)?)
    }

    fn vardiff(&self, opening: &Opening) -> Vardiff {
        let bounds = self.bounds(opening.origin.account(), opening.max_target);
        let settings = self.difficulty.borrow();
        let start = if opening.nominal_hashrate_hs > 0.0 {
            let hashrate = f64::from(opening.nominal_hashrate_hs);
            Target::from_hashrate(hashrate, settings.shares_per_minute)
        } else {
            bounds.easiest()
        };
        let now_ms = self.shared.directory.clock().now_ms();
        Vardiff::new(bounds, settings.shares_per_minute(), start, now_ms)
    }

    /// An operator has changed the settings: what they say of each channel holds from its next job on.
    pub(super) fn apply_difficulty(&mut self) {
        let settings = self.difficulty.borrow_and_update().clone();
        for channel in self.channels.values_mut() {
            let account = channel.origin.account();
            let passage = self.passage.as_ref();
            let bounds = bounds(&settings, passage, &self.lane, account, channel.max_target);
            channel.vardiff.set_bounds(bounds);
            let rate = settings.shares_per_minute();
            channel.vardiff.set_shares_per_minute(rate);
        }
    }

    fn answer_open(&mut self, channel: &Channel, request_id: u32) -> Result<(), SessionError> {
        let target = group::u256(channel.announced.to_le_bytes());
        // A device that takes standard jobs only is told nothing through a group.
        let group_channel_id = if self.standard_jobs {
            0
        } else {
            GROUP_CHANNEL_ID
        };
        let channel_id = channel.id;
        match channel.kind {
            ChannelKind::Standard => self.connection.queue(OpenStandardMiningChannelSuccess {
                request_id,
                channel_id,
                target,
                extranonce_prefix: group::b032(channel.standard_extranonce().as_bytes()),
                group_channel_id,
            })?,
            ChannelKind::Extended => self.connection.queue(OpenExtendedMiningChannelSuccess {
                request_id,
                channel_id,
                target,
                extranonce_size: EXTRANONCE_SIZE,
                extranonce_prefix: group::b032(&channel.prefix.to_bytes()),
                group_channel_id,
            })?,
        }
        Ok(())
    }

    /// UpdateChannel (SV2 specification 5.3.8): a new claim of a hashrate starts vardiff again from it.
    pub(super) fn on_update_channel(&mut self, update: UpdateChannel) -> Result<(), SessionError> {
        self.expire_passage(unix_ms() / 1000)?;
        let channel_id = update.channel_id;
        let code = self.update_channel(&update)?;
        if let Some(code) = code {
            let error_code = super::text(code);
            self.connection.queue(UpdateChannelError {
                channel_id,
                error_code,
            })?;
        }
        Ok(())
    }

    fn update_channel(
        &mut self,
        update: &UpdateChannel,
    ) -> Result<Option<&'static str>, SessionError> {
        let hashrate = update.nominal_hash_rate;
        let max_target = target(&update.maximum_target);
        let Some(channel) = self.channels.get(&update.channel_id) else {
            return Ok(Some("invalid-channel-id"));
        };
        if !(hashrate.is_finite() && hashrate >= 0.0) {
            return Ok(Some("invalid-nominal-hashrate"));
        }
        if max_target == Target::from_le_bytes([0; 32]) {
            return Ok(Some("max-target-out-of-range"));
        }
        let vardiff = self.vardiff(&Opening {
            request_id: 0,
            kind: channel.kind,
            prefix: channel.prefix,
            origin: Arc::clone(&channel.origin),
            nominal_hashrate_hs: hashrate,
            max_target,
        });
        let Some(channel) = self.channels.get_mut(&update.channel_id) else {
            return Ok(Some("invalid-channel-id"));
        };
        channel.vardiff = vardiff;
        channel.max_target = max_target;
        if let Some(work) = self.current.clone() {
            retarget(&mut self.connection, channel, &work)?;
        }
        Ok(None)
    }

    /// CloseChannel (SV2 specification 5.3.9); the group's id closes all that are in it.
    pub(super) fn on_close_channel(&mut self, channel_id: u32) {
        let closed: Vec<u32> = if channel_id == GROUP_CHANNEL_ID && !self.standard_jobs {
            self.channels.keys().copied().collect()
        } else {
            vec![channel_id]
        };
        for id in closed {
            if self.channels.remove(&id).is_some() {
                self.forget(id);
            }
        }
    }

    /// Closes the channels that an operator has marked, and tells the client (SV2 specification 5.3.9).
    pub(super) fn close_marked(&mut self) -> Result<(), SessionError> {
        let channels = self.channels.values();
        let marked = channels.filter(|channel| channel.view.is_closing());
        let marked: Vec<u32> = marked.map(|channel| channel.id).collect();
        for channel_id in marked {
            self.connection.queue(CloseChannel {
                channel_id,
                reason_code: super::text("closed-by-operator"),
            })?;
            self.on_close_channel(channel_id);
        }
        Ok(())
    }

    pub(super) fn forget(&self, id: u32) {
        self.shared.directory.close(id);
        self.lane.on_channel_closed();
        tracing::info!(peer = %self.connection.peer(), channel_id = id, "channel closed");
    }
}

/// An identity that is no UTF-8 reads as empty, which no account is.
fn user_identity(text: &Str0255) -> String {
    String::from_utf8(text.as_ref().to_vec()).unwrap_or_default()
}

fn target(max_target: &U256) -> Target {
    Target::from_le_bytes(group::bytes(max_target))
}
