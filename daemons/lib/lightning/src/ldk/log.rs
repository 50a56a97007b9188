//! ldk-node's log, in ours.

use ldk_node::logger::{LogLevel, LogRecord, LogWriter};
use std::sync::{Mutex, PoisonError};

/// Writes it to the log of this process, a level lower than ldk-node's own: what it calls an error is often a peer that is
/// away. What it calls debug is left out: it holds whole transactions. What it says again at once, as with every block of a young
/// chain that knows no fee rates, is left out too.
#[derive(Debug, Default)]
pub(super) struct Log {
    last: Mutex<String>,
}

impl Log {
    fn is_news(&self, text: &str) -> bool {
        // It is only ever replaced.
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_news = *last != text;
        if is_news {
            text.clone_into(&mut last);
        }
        is_news
    }
}

impl LogWriter for Log {
    fn log<'a>(&self, record: LogRecord<'a>) {
        let LogRecord {
            args, module_path, ..
        } = record;
        let text = args.to_string();
        let is_trouble = matches!(record.level, LogLevel::Error | LogLevel::Warn);
        if is_trouble && !self.is_news(&text) {
            return;
        }
        match record.level {
            LogLevel::Error => tracing::warn!(module = module_path, text, "ldk-node"),
            LogLevel::Warn => tracing::info!(module = module_path, text, "ldk-node"),
            LogLevel::Info => tracing::debug!(module = module_path, text, "ldk-node"),
            LogLevel::Debug | LogLevel::Trace | LogLevel::Gossip => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_again_at_once_is_no_news() {
        let log = Log::default();
        let news = ["a", "a", "b", "a"].map(|text| log.is_news(text));
        assert_eq!(news, [true, false, true, true]);
    }
}
