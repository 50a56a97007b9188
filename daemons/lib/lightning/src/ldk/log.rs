//! ldk-node's log, in ours.

use ldk_node::logger::{LogLevel, LogRecord, LogWriter};

/// Writes it to the log of this process, a level lower than ldk-node's own: what it calls an error is often a peer that is
/// away. What it calls debug is left out: it holds whole transactions.
#[derive(Debug)]
pub(super) struct Log;

impl LogWriter for Log {
    fn log<'a>(&self, record: LogRecord<'a>) {
        let LogRecord {
            args, module_path, ..
        } = record;
        match record.level {
            LogLevel::Error => tracing::warn!(module = module_path, text = %args, "ldk-node"),
            LogLevel::Warn => tracing::info!(module = module_path, text = %args, "ldk-node"),
            LogLevel::Info => tracing::debug!(module = module_path, text = %args, "ldk-node"),
            LogLevel::Debug | LogLevel::Trace | LogLevel::Gossip => {}
        }
    }
}
