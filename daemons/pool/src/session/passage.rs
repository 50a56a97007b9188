//! Through which node and lane a connection's shares come: through the pool's own lane, until a credential is presented, and
//! again when that ends.
//!
//! While a credential holds there is no vardiff: whoever is behind it gives out work himself, so a channel's target is exactly
//! the one that its client asked for.

use super::{Session, SessionError, retarget, text};
use crate::difficulty::DifficultySettings;
use crate::directory::{LaneView, unix_ms};
use crate::hyper_nodes::{CORE_NODE, Passage, Refusal};
use crate::share_log::Origin;
use hh_mining::{Bounds, Target, Vardiff};
use hh_sv2::message::{PresentCredential, PresentCredentialError, PresentCredentialSuccess};
use std::sync::Arc;

impl Session {
    /// PresentCredential of our own extension: before the first channel, or later, to renew it.
    pub(super) fn on_present_credential(
        &mut self,
        message: &PresentCredential,
    ) -> Result<(), SessionError> {
        let lane = String::from_utf8_lossy(message.lane.as_bytes());
        let admitted = self.admit(message.credential.as_bytes(), &lane);
        let result = admitted.as_ref().map_or_else(Refusal::code, |_| "accepted");
        metrics::counter!("hyperhash_node_credentials_total", "result" => result).increment(1);
        match admitted {
            Ok(passage) => self.enter(passage),
            Err(refusal) => self.refuse(&refusal, &lane),
        }
    }

    fn admit(&self, credential: &[u8], lane: &str) -> Result<Passage, Refusal> {
        if !self.credentials_granted {
            return Err(Refusal::NotGranted);
        }
        let nodes = &self.shared.hyper_nodes;
        let passage = nodes.admit(credential, lane, unix_ms() / 1000)?;
        match &self.passage {
            Some(now) if (&now.node, &now.lane) != (&passage.node, &passage.lane) => {
                Err(Refusal::OtherPassage)
            }
            Some(now) if now.not_after_unix > passage.not_after_unix => Err(Refusal::Earlier),
            _ => Ok(passage),
        }
    }

    fn enter(&mut self, passage: Passage) -> Result<(), SessionError> {
        let peer = self.connection.peer();
        let (node, lane) = (passage.node.clone(), &passage.lane);
        let not_after_unix = passage.not_after_unix;
        tracing::info!(%peer, %node, lane, not_after_unix, "node credential taken");
        self.view.set_node(Some(node.clone()));
        let is_renewed = self.passage.replace(passage).is_some();
        self.connection.queue(PresentCredentialSuccess {})?;
        if !is_renewed {
            self.rebind_channels()?;
        }
        // A revocation that was made meanwhile did not find this connection.
        if self.shared.hyper_nodes.is_revoked(&node) {
            self.view.ending.cancel();
        }
        Ok(())
    }

    fn refuse(&mut self, refusal: &Refusal, lane: &str) -> Result<(), SessionError> {
        let peer = self.connection.peer();
        let lane = super::printable(lane);
        let code = refusal.code();
        tracing::warn!(%peer, lane, code, reason = %refusal, "node credential refused");
        if matches!(refusal, Refusal::Revoked { .. }) {
            self.view.ending.cancel();
        }
        Ok(self.connection.queue(PresentCredentialError {
            error_code: text(code),
        })?)
    }

    /// Ends what has ended at `now_unix`, in seconds: shares go on, and come through no node.
    pub(super) fn expire_passage(&mut self, now_unix: i64) -> Result<(), SessionError> {
        let ended = self
            .passage
            .take_if(|passage| passage.not_after_unix <= now_unix);
        let Some(Passage { node, lane, .. }) = ended else {
            return Ok(());
        };
        let peer = self.connection.peer();
        tracing::warn!(%peer, %node, lane, "node credential ended: shares are credited to core");
        metrics::counter!("hyperhash_node_credentials_ended_total").increment(1);
        self.view.set_node(None);
        self.rebind_channels()
    }

    /// Node and lane are other ones: of all channels, from their next share on.
    fn rebind_channels(&mut self) -> Result<(), SessionError> {
        let settings = self.difficulty.borrow().clone();
        let now_ms = self.shared.directory.clock().now_ms();
        let passage = self.passage.as_ref();
        for channel in self.channels.values_mut() {
            channel.set_origin(origin_through(passage, &self.lane, &channel.origin));
            let account = channel.origin.account();
            let bounds = bounds(&settings, passage, &self.lane, account, channel.max_target);
            let start = channel.vardiff.target();
            channel.vardiff = Vardiff::new(bounds, settings.shares_per_minute(), start, now_ms);
            if let Some(work) = &self.current {
                retarget(&mut self.connection, channel, work)?;
            }
        }
        Ok(())
    }

    /// Whether channels of an account may be opened: through a private node only its own are.
    pub(super) fn serves(&self, account: &str) -> bool {
        let passage = self.passage.as_ref();
        passage.is_none_or(|passage| passage.serves(account))
    }

    /// Node and lane of shares that come now.
    pub(super) fn node_and_lane(&self) -> (&str, &str) {
        node_and_lane(self.passage.as_ref(), &self.lane)
    }

    /// `origin`, whose node and lane may have become other ones since.
    pub(super) fn origin_now(&self, origin: &Arc<Origin>) -> Arc<Origin> {
        origin_through(self.passage.as_ref(), &self.lane, origin)
    }

    /// Between which targets a channel of `account` may move.
    pub(super) fn bounds(&self, account: &str, max_target: Target) -> Bounds {
        let settings = self.difficulty.borrow();
        bounds(
            &settings,
            self.passage.as_ref(),
            &self.lane,
            account,
            max_target,
        )
    }
}

fn node_and_lane<'a>(passage: Option<&'a Passage>, lane: &'a LaneView) -> (&'a str, &'a str) {
    match passage {
        Some(passage) => (passage.node.as_str(), &passage.lane),
        None => (CORE_NODE, &lane.name),
    }
}

/// What is not the node's to serve comes through none: of a channel that was there before the credential.
fn origin_through(passage: Option<&Passage>, lane: &LaneView, origin: &Arc<Origin>) -> Arc<Origin> {
    let passage = passage.filter(|passage| passage.serves(origin.account()));
    let (node, lane) = node_and_lane(passage, lane);
    if (origin.node(), origin.lane()) == (node, lane) {
        return Arc::clone(origin);
    }
    let moved = Origin::new(origin.account(), origin.worker(), node, lane);
    Arc::new(moved.expect("all four names were in an origin before, or are shorter"))
}

/// As [`Session::bounds`]. With a credential there is one target: the client's, within the bounds of the node's lane and of the
/// account.
pub(super) fn bounds(
    settings: &DifficultySettings,
    passage: Option<&Passage>,
    lane: &LaneView,
    account: &str,
    max_target: Target,
) -> Bounds {
    let Some(passage) = passage else {
        return settings.bounds(lane.difficulty, account, max_target);
    };
    let of_lane = passage.difficulty.or(lane.difficulty);
    let target = settings.bounds(of_lane, account, max_target).easiest();
    Bounds::new(target, target)
}
