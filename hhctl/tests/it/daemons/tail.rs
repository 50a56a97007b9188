//! Shares as they come: the fake has five, tells that some were missed before the last, and then goes away.

use super::{HASH, seconds_ago};
use hh_ipc::api::pool::{ShareCursor, ShareEvent, SharePage, ShareQuery};
use hh_ipc::{ApiError, ErrorKind};

pub(super) fn shares() -> Vec<ShareEvent> {
    let accepted = ShareEvent {
        at: seconds_ago(9),
        result: "accepted".to_owned(),
        account: "alice".to_owned(),
        worker: "rig1".to_owned(),
        node: "core".to_owned(),
        lane: "main".to_owned(),
        channel: 3,
        difficulty: Some(0.000_244_140_625),
        hash_difficulty: Some(0.012_3),
        hash: Some(HASH.to_owned()),
        seq: Some(12_350),
        is_block: false,
    };
    let refused = ShareEvent {
        at: seconds_ago(7),
        result: "stale-share".to_owned(),
        account: "bob".to_owned(),
        worker: String::new(),
        channel: 7,
        difficulty: None,
        hash_difficulty: None,
        hash: None,
        seq: None,
        ..accepted.clone()
    };
    let block = ShareEvent {
        at: seconds_ago(1),
        hash_difficulty: Some(1.5),
        seq: Some(12_353),
        is_block: true,
        ..accepted.clone()
    };
    let later = |seconds| ShareEvent {
        at: seconds_ago(seconds),
        ..accepted.clone()
    };
    vec![accepted.clone(), later(8), refused, later(2), block]
}

/// Two shares in an answer; an error after the last.
pub(super) fn page(all: &[ShareEvent], query: &ShareQuery) -> Result<SharePage, ApiError> {
    let is = |wanted: &Option<String>, name: &str| wanted.as_ref().is_none_or(|w| w == name);
    let wanted = |share: &&ShareEvent| {
        is(&query.account, &share.account)
            && is(&query.worker, &share.worker)
            && is(&query.lane, &share.lane)
            && (!query.rejected_only || share.result != "accepted")
    };
    let all: Vec<ShareEvent> = all.iter().filter(wanted).cloned().collect();
    let (from, end) = match query.cursor {
        // One is still to come.
        None => {
            let end = all.len().saturating_sub(1);
            let max = usize::try_from(query.max).unwrap();
            (end.saturating_sub(max), end)
        }
        Some(cursor) => {
            let from = usize::try_from(cursor.accepted).unwrap();
            (from, all.len().min(from + 2))
        }
    };
    if query.cursor.is_some() && from == all.len() {
        let message = "the share log can't be read: no such file or directory";
        return Err(ApiError::new(ErrorKind::Failed, "HH2013", message));
    }
    Ok(SharePage {
        shares: all[from..end].to_vec(),
        cursor: ShareCursor {
            accepted: u64::try_from(end).unwrap(),
            rejected: 0,
        },
        missed: if query.cursor.is_some() { 1_234 } else { 0 },
    })
}
