//! What is known of the services that hh-treasury uses: who is up, since when, and what went wrong last.

use crate::clock::unix_ms;
use hh_ipc::api::{LinkState, LinkStatus};
use jiff::Timestamp;
use std::sync::{Arc, Mutex, PoisonError};

/// One service. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Link(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    address: String,
    state: LinkState,
    since_ms: i64,
    last_error: Option<String>,
}

impl Link {
    /// A service that has not been asked yet.
    pub(crate) fn new(address: impl Into<String>) -> Self {
        Self(Arc::new(Mutex::new(State {
            address: address.into(),
            state: LinkState::Connecting,
            since_ms: unix_ms(),
            last_error: None,
        })))
    }

    /// It answers.
    pub(crate) fn set_up(&self) {
        self.set(LinkState::Up, None);
    }

    /// It is away; gives whether that, or the reason, is news.
    pub(crate) fn set_down(&self, error: String) -> bool {
        let is_news = {
            let state = self.lock();
            state.state == LinkState::Up || state.last_error.as_ref() != Some(&error)
        };
        self.set(LinkState::Down, Some(error));
        is_news
    }

    /// As operators see it.
    pub(crate) fn status(&self) -> LinkStatus {
        let state = self.lock();
        LinkStatus {
            address: state.address.clone(),
            state: state.state,
            since_at: Timestamp::from_millisecond(state.since_ms).unwrap_or_default(),
            last_error: state.last_error.clone(),
        }
    }

    fn set(&self, new: LinkState, error: Option<String>) {
        let mut state = self.lock();
        if state.state != new {
            state.state = new;
            state.since_ms = unix_ms();
        }
        if error.is_some() {
            state.last_error = error;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Every statement above leaves a whole state.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_news_once() {
        let link = Link::new("a:1");
        assert!(link.set_down("refused".to_owned()));
        assert!(!link.set_down("refused".to_owned()));
        link.set_up();
        assert_eq!(link.status().state, LinkState::Up);
        assert!(link.set_down("refused".to_owned()));
        assert_eq!(link.status().state, LinkState::Down);
    }
}
