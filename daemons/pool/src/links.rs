//! What is known of the services that the pool uses: who is up, since when, and what went wrong last.

use crate::directory::unix_ms;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// State of one connection that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkState {
    Connecting,
    Up,
    Down,
}

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub address: String,
    pub state: LinkState,
    /// Unix time in milliseconds at which `state` was entered.
    pub since_ms: i64,
    pub last_error: Option<String>,
    /// It is the one of its kind that is used.
    pub active: bool,
}

/// All services of one kind, in the order of the configuration. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Links(Arc<Mutex<Vec<Link>>>);

impl Links {
    /// All of them connecting.
    pub(crate) fn new(addresses: impl IntoIterator<Item = String>) -> Self {
        let since_ms = unix_ms();
        let link = |address| Link {
            address,
            state: LinkState::Connecting,
            since_ms,
            last_error: None,
            active: false,
        };
        Self(Arc::new(Mutex::new(
            addresses.into_iter().map(link).collect(),
        )))
    }

    /// A copy.
    pub(crate) fn snapshot(&self) -> Vec<Link> {
        self.lock().clone()
    }

    /// The service with this index answers.
    pub(crate) fn set_up(&self, index: usize) {
        self.set(index, LinkState::Up, None);
    }

    /// The service with this index is being tried.
    pub(crate) fn set_connecting(&self, index: usize) {
        self.set(index, LinkState::Connecting, None);
    }

    /// Only the service with this index is used from now on.
    pub(crate) fn set_active(&self, active: Option<usize>) {
        for (index, link) in self.lock().iter_mut().enumerate() {
            link.active = active == Some(index);
        }
    }

    /// The address of the service that is used.
    pub(crate) fn active(&self) -> Option<String> {
        let links = self.lock();
        let active = links.iter().find(|link| link.active);
        active.map(|link| link.address.clone())
    }

    /// Why none of them gives anything, one after the other: `ADDRESS: why; ADDRESS: why`.
    pub(crate) fn why_nothing_comes(&self) -> String {
        let each = self.snapshot().into_iter().map(|link| {
            let why = match (link.state, link.last_error) {
                (LinkState::Up, _) => "connected, but has sent nothing".to_owned(),
                (_, Some(error)) => error,
                (_, None) => "no answer yet".to_owned(),
            };
            format!("{}: {why}", link.address)
        });
        each.collect::<Vec<_>>().join("; ")
    }

    /// The service with this index is away; gives whether that, or the reason, is news.
    pub(crate) fn set_down(&self, index: usize, error: String) -> bool {
        let news = self.lock().get(index).is_none_or(|link| {
            link.state == LinkState::Up || link.last_error.as_ref() != Some(&error)
        });
        self.set(index, LinkState::Down, Some(error));
        news
    }

    fn set(&self, index: usize, state: LinkState, error: Option<String>) {
        if let Some(link) = self.lock().get_mut(index) {
            if link.state != state {
                link.state = state;
                link.since_ms = unix_ms();
            }
            if error.is_some() {
                link.last_error = error;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Link>> {
        // Every statement above leaves whole links.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_news_once() {
        let links = Links::new(["a:1".to_owned()]);
        assert!(links.set_down(0, "refused".to_owned()));
        links.set_connecting(0);
        assert!(!links.set_down(0, "refused".to_owned()));
        assert!(links.set_down(0, "timed out".to_owned()));
        links.set_up(0);
        assert!(links.set_down(0, "timed out".to_owned()));
        assert_eq!(links.snapshot()[0].state, LinkState::Down);
    }
}
