//! What a miner says before it mines, in any order: configure, subscribe, authorize, suggestions of difficulty.
//!
//! `subscribe` is answered at once: some miners (cpuminer) say who they are only after it. `authorize` opens the channel and is
//! answered by what the pool says to it.

use super::{HANDSHAKE_DEADLINE, Session, SessionEnd};
use crate::bridge::{ExtranonceSplit, granted_version_mask};
use crate::difficulty::MinerDifficulty;
use crate::sv1::message::{Configure, Id, RejectCode, answer, quoted, refusal};
use crate::upstream::{
    ChannelTerms, ChannelWish, Command, EVENT_QUEUE, EventSink, MIN_EXTRANONCE_SIZE_TOO_LARGE,
};
use hh_sv2::message::USER_IDENTITY_BYTES_MAX;
use tokio::sync::mpsc;
use tokio::time::Instant;

/// User names of one connection: rigs and proxies authorize a few workers of an account.
const USERS_MAX: usize = 64;

impl Session {
    pub(super) async fn on_configure(
        &mut self,
        id: &Id,
        configure: &Configure,
    ) -> Result<(), SessionEnd> {
        let mut results = Vec::new();
        for name in &configure.extensions {
            let granted = match name.as_str() {
                "version-rolling" => {
                    let asked = configure.version_rolling_mask.unwrap_or_default();
                    let mask = self.grant_version_rolling(asked);
                    results.push(format!("\"version-rolling.mask\":\"{mask:08x}\""));
                    mask != 0
                }
                "minimum-difficulty" => configure.minimum_difficulty.is_some(),
                "subscribe-extranonce" | "info" => true,
                _ => false,
            };
            results.push(format!("{}:{granted}", quoted(name)));
        }
        self.say(&answer(id, &format!("{{{}}}", results.join(","))));
        self.want(|difficulty| difficulty.raise_minimum(configure.minimum_difficulty))
            .await
    }

    /// The mask for now: if the upstream turns out to forbid rolling, or to allow it after all, the miner is told with the next
    /// job.
    fn grant_version_rolling(&mut self, asked: u32) -> u32 {
        let granted = granted_version_mask(asked);
        self.version_mask = Some(granted);
        self.miner()
            .update(|state| state.version_rolling = granted != 0);
        if self.upstream.upstreams.version_rolling_allowed() {
            granted
        } else {
            0
        }
    }

    pub(super) async fn on_subscribe(
        &mut self,
        id: &Id,
        user_agent: String,
    ) -> Result<(), SessionEnd> {
        let split = self.split();
        let extranonce1 = hex::encode(&split.extranonce1);
        let size = split.extranonce2_size;
        let session = format!("{:08x}", self.miner().id);
        self.subscribed = true;
        // One that is authorized already has its channel; the others are opened with it.
        self.want(|difficulty| difficulty.learn_user_agent(&user_agent))
            .await?;
        self.miner().update(|state| state.user_agent = user_agent);
        self.say(&answer(
            id,
            &format!(
                "[[[\"mining.set_difficulty\",\"{session}\"],[\"mining.notify\",\"{session}\"]],\"{extranonce1}\",{size}]"
            ),
        ));
        self.send_newest_job();
        Ok(())
    }

    /// How the extranonce is cut; decided when it is first needed, and for the whole session.
    fn split(&mut self) -> ExtranonceSplit {
        let room = self.upstream.upstreams.room();
        let lease_size = self.upstream.lease_size;
        let session = self.miner().id;
        self.split
            .get_or_insert_with(|| ExtranonceSplit::new(room, lease_size, session))
            .clone()
    }

    pub(super) async fn on_authorize(
        &mut self,
        id: Id,
        user_name: String,
        difficulty: Option<f64>,
    ) -> Result<(), SessionEnd> {
        let waiting = self.authorizing.iter().map(|(_, name)| name);
        let first = self.users.iter().chain(waiting).next();
        if let Some(first) = first
            && account(first) != account(&user_name)
        {
            let reason = format!("this connection mines for {}", account(first));
            self.refuse_authorize(&id, &reason);
            return Ok(());
        }
        if user_name.is_empty() {
            self.refuse_authorize(&id, "the user name is empty, it is ACCOUNT.WORKER");
            return Ok(());
        }
        if self.users.len() + self.authorizing.len() >= USERS_MAX {
            self.refuse_authorize(&id, "too many workers on one connection");
            return Ok(());
        }
        if !self.users.is_empty() {
            self.add_user(&id, user_name);
            return Ok(());
        }
        self.difficulty.raise_minimum(difficulty);
        self.handshake_deadline = None;
        let opening = !self.authorizing.is_empty();
        self.authorizing.push((id, user_name.clone()));
        if opening {
            return Ok(());
        }
        self.open_channel(user_name).await
    }

    async fn open_channel(&mut self, user_identity: String) -> Result<(), SessionEnd> {
        let (sender, events) = mpsc::channel(EVENT_QUEUE);
        self.events = Some(events);
        let size = self.split().size();
        let wish = ChannelWish {
            user_identity,
            min_extranonce_size: u16::try_from(size).expect("a split has at most 12 bytes"),
            terms: self.terms(),
            is_exact: false,
        };
        self.tell_upstream(Command::Open {
            session: self.miner().id,
            wish: Box::new(wish),
            events: EventSink::Session(sender),
        })
        .await
    }

    /// The pool has opened the channel: everybody who waits for it is authorized.
    pub(super) fn on_authorized(&mut self) {
        for (id, user_name) in std::mem::take(&mut self.authorizing) {
            self.add_user(&id, user_name);
        }
    }

    fn add_user(&mut self, id: &Id, user_name: String) {
        self.say(&answer(id, "true"));
        if self.users.is_empty() {
            let miner = self.miner();
            let shown = printable(&user_name);
            miner.update(|state| state.user_name = shown);
            tracing::info!(session = miner.id, peer = %miner.peer, lane = miner.lane.name, user_name, "miner authorized");
        }
        if !self.users.contains(&user_name) {
            if !self.users.is_empty() {
                let shown = printable(&user_name);
                self.miner().update(|state| state.other_users.push(shown));
            }
            self.users.push(user_name);
        }
    }

    /// The pool does not open the channel. A miner that is not yet mining may try another name; one that is has lost it.
    pub(super) fn on_refused(&mut self, code: Box<str>) -> Result<(), SessionEnd> {
        // When it connects again it is promised less.
        if *code == *MIN_EXTRANONCE_SIZE_TOO_LARGE {
            return Err(SessionEnd::NoRoom);
        }
        if self.authorizing.is_empty() {
            return Err(SessionEnd::Refused(code));
        }
        let reason = format!("the pool refuses the user: {code}");
        for (id, _) in std::mem::take(&mut self.authorizing) {
            self.refuse_authorize(&id, &reason);
        }
        self.events = None;
        self.handshake_deadline = Some(Instant::now() + HANDSHAKE_DEADLINE);
        Ok(())
    }

    fn refuse_authorize(&mut self, id: &Id, reason: &str) {
        self.say(&refusal(id, "false", RejectCode::Unauthorized, reason));
    }

    /// A request is answered, a notification is not. Some firmware repeats it every half minute, so only a change is passed
    /// on: the pool would start its search anew.
    pub(super) async fn on_suggest_difficulty(
        &mut self,
        id: &Id,
        difficulty: f64,
    ) -> Result<(), SessionEnd> {
        if !id.is_null() {
            self.say(&answer(id, "true"));
        }
        self.want(|wishes| wishes.suggest(difficulty)).await
    }

    /// Takes a wish of the miner. If it is a new one, the upstream is told what an open channel's target is to be chosen from
    /// now, and later ones'.
    async fn want(&mut self, wish: impl FnOnce(&mut MinerDifficulty)) -> Result<(), SessionEnd> {
        let before = self.difficulty;
        wish(&mut self.difficulty);
        if self.events.is_none() || self.difficulty == before {
            return Ok(());
        }
        self.tell_upstream(Command::Update {
            session: self.miner().id,
            terms: self.terms(),
        })
        .await
    }

    pub(super) fn terms(&self) -> ChannelTerms {
        self.difficulty.terms(self.miner().lane.difficulty)
    }
}

/// A user name as operators see it.
fn printable(user_name: &str) -> String {
    let characters = user_name.chars();
    characters
        .filter(|character| !character.is_control())
        .collect()
}

/// The account of a user name: up to the first point, or up to the slash of `user@domain/worker`.
pub(crate) fn account(user_name: &str) -> &str {
    split_user_name(user_name).0
}

/// The worker of a user name, as long as a share can name it; empty if it names none.
pub(crate) fn worker(user_name: &str) -> &str {
    let worker = split_user_name(user_name).1;
    &worker[..worker.floor_char_boundary(USER_IDENTITY_BYTES_MAX)]
}

fn split_user_name(user_name: &str) -> (&str, &str) {
    let separator = if user_name.contains('@') { '/' } else { '.' };
    user_name.split_once(separator).unwrap_or((user_name, ""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_is_what_stands_before_the_worker() {
        for (user_name, expected) in [
            ("alice", ("alice", "")),
            ("alice.rig1", ("alice", "rig1")),
            ("alice.rig1.left", ("alice", "rig1.left")),
            ("alice@example.com", ("alice@example.com", "")),
            ("alice@example.com/rig1", ("alice@example.com", "rig1")),
        ] {
            assert_eq!((account(user_name), worker(user_name)), expected);
        }
    }
}
