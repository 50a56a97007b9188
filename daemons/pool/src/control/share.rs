//! The answer to `shares_since`.

use super::{Control, timestamp};
use crate::rejects::Rejected;
use crate::share_log::{Entry, LogError, Record};
use crate::tail::{Cursor, Filter, Found, SHARES_MAX, WAIT_MAX};
use hh_daemon::Chain;
use hh_ipc::api::pool::{ShareCursor, ShareEvent, SharePage, ShareQuery};
use hh_ipc::{ApiError, ErrorKind};
use hh_mining::{BlockHash, Target};
use std::time::Duration;
use tokio::time::Instant;

impl Control {
    pub(super) async fn shares_since(&self, query: ShareQuery) -> Result<SharePage, ApiError> {
        let max = (query.max as usize).clamp(1, SHARES_MAX);
        let filter = Filter {
            account: query.account,
            worker: query.worker,
            lane: query.lane,
            rejected_only: query.rejected_only,
        };
        let found = match query.cursor {
            None if query.max == 0 => self.tail.last(0, &filter).await,
            None => self.tail.last(max, &filter).await,
            Some(cursor) => {
                let wait = Duration::from_millis(query.wait_ms.into()).min(WAIT_MAX);
                let cursor = Cursor {
                    accepted: cursor.accepted,
                    rejected: cursor.rejected,
                };
                let deadline = Instant::now() + wait;
                self.tail.since(cursor, max, &filter, deadline).await
            }
        };
        Ok(page(found.map_err(|error| unreadable(&error))?))
    }
}

fn page(found: Found) -> SharePage {
    let accepted = found.accepted.into_iter().filter_map(accepted);
    let rejected = found.rejected.into_iter().map(rejected);
    let mut shares: Vec<ShareEvent> = accepted.chain(rejected).collect();
    // Stable: those of one millisecond stay in the order of the log.
    shares.sort_by_key(|share| share.at);
    SharePage {
        shares,
        cursor: ShareCursor {
            accepted: found.cursor.accepted,
            rejected: found.cursor.rejected,
        },
        missed: found.missed,
    }
}

/// None for a record of another kind.
fn accepted(Entry { seq, record }: Entry) -> Option<ShareEvent> {
    let Record::Share(share) = record else {
        return None;
    };
    let hash = BlockHash::from_byte_array(share.hash);
    #[expect(clippy::cast_precision_loss, reason = "for display")]
    let difficulty = share.work as f64 / Target::from_difficulty(1.0).work().0 as f64;
    Some(ShareEvent {
        at: timestamp(share.accepted_at_ms),
        result: "accepted".to_owned(),
        account: share.origin.account().to_owned(),
        worker: share.origin.worker().to_owned(),
        node: share.origin.node().to_owned(),
        lane: share.origin.lane().to_owned(),
        channel: share.channel_id,
        difficulty: Some(difficulty),
        hash_difficulty: Some(Target::from_hash_le(&hash).difficulty()),
        hash: Some(hash.to_string()),
        seq: Some(seq),
        is_block: share.is_block,
    })
}

fn rejected(share: Rejected) -> ShareEvent {
    ShareEvent {
        at: timestamp(share.at_ms),
        result: share.code.to_owned(),
        account: share.origin.account().to_owned(),
        worker: share.origin.worker().to_owned(),
        node: share.origin.node().to_owned(),
        lane: share.origin.lane().to_owned(),
        channel: share.channel_id,
        difficulty: None,
        hash_difficulty: None,
        hash: None,
        seq: None,
        is_block: false,
    }
}

fn unreadable(error: &LogError) -> ApiError {
    let message = format!("the share log can't be read: {}", Chain(error));
    ApiError::new(ErrorKind::Failed, "HH2013", message)
}
