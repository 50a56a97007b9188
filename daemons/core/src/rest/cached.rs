//! What was read from another daemon a moment ago, for who asks the same.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Answers by what was asked; none is older than `life`, and no more than `max` are kept.
#[derive(Debug)]
pub(super) struct Cached<T> {
    life: Duration,
    max: usize,
    kept: Mutex<BTreeMap<String, (Instant, T)>>,
}

impl<T: Clone> Cached<T> {
    pub(super) fn new(life: Duration, max: usize) -> Self {
        Self {
            life,
            max,
            kept: Mutex::default(),
        }
    }

    /// What is kept, or else what `read` gives, which is kept. What it fails with is not.
    pub(super) async fn get<E>(
        &self,
        asked: &str,
        read: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let now = Instant::now();
        let kept = self.lock().get(asked).cloned();
        if let Some((at, value)) = kept
            && now.duration_since(at) < self.life
        {
            return Ok(value);
        }
        let value = read.await?;
        let mut kept = self.lock();
        if kept.len() >= self.max {
            kept.retain(|_, (at, _)| now.duration_since(*at) < self.life);
        }
        if kept.len() >= self.max {
            let oldest = kept.iter().min_by_key(|(_, (at, _))| *at);
            if let Some(oldest) = oldest.map(|(asked, _)| asked.clone()) {
                kept.remove(&oldest);
            }
        }
        kept.insert(asked.to_owned(), (now, value.clone()));
        Ok(value)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, (Instant, T)>> {
        // Nothing in between can panic.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(cached: &Cached<u32>, asked: &str, read: Result<u32, ()>) -> Result<u32, ()> {
        cached.get(asked, async { read }).await
    }

    #[tokio::test]
    async fn an_answer_is_read_once_and_a_failure_is_not_kept() {
        let cached = Cached::new(Duration::from_secs(3_600), 2);
        assert_eq!(get(&cached, "a", Err(())).await, Err(()));
        assert_eq!(get(&cached, "a", Ok(1)).await, Ok(1));
        assert_eq!(get(&cached, "a", Ok(2)).await, Ok(1));
        let stale = Cached::new(Duration::ZERO, 2);
        assert_eq!(get(&stale, "a", Ok(1)).await, Ok(1));
        assert_eq!(get(&stale, "a", Ok(2)).await, Ok(2));
    }

    #[tokio::test]
    async fn no_more_is_kept_than_may_be() {
        let cached = Cached::new(Duration::from_secs(3_600), 2);
        for asked in ["a", "b", "c", "d"] {
            get(&cached, asked, Ok(1)).await.unwrap();
            assert!(cached.lock().len() <= 2);
        }
    }

    #[tokio::test]
    async fn the_oldest_makes_room() {
        let cached = Cached::new(Duration::from_secs(3_600), 2);
        for asked in ["c", "a", "b"] {
            get(&cached, asked, Ok(1)).await.unwrap();
        }
        // "a" is the least by name, and is still there.
        assert_eq!(get(&cached, "a", Ok(2)).await, Ok(1));
    }
}
