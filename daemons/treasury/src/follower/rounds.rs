//! Rounds whose beginning has moved.
//!
//! A round begins with the block of ours before it, so a block that goes, comes back or is heard of late moves the beginning of those
//! after it. Nothing is remembered of that: each pass compares every split that is not payable with the round it should be of, so a
//! crash at any moment is repaired by the next one.

use super::fault::PassError;
use super::{Follower, go_on};
use crate::clock::unix_ms;
use hh_ledger::books::BookBlock;

impl Follower {
    /// Takes splits of another round than the block's back; they are made again like those that were never made.
    pub(super) async fn redo_rounds(&self, blocks: &[BookBlock]) -> Result<(), PassError> {
        let is_open =
            |block: &&BookBlock| block.split_at_ms.is_some() && block.mature_at_ms.is_none();
        for block in blocks.iter().filter(is_open) {
            let done = self.redo_round(block, blocks).await;
            go_on(block.hash, block.height, done)?;
        }
        Ok(())
    }

    async fn redo_round(&self, block: &BookBlock, blocks: &[BookBlock]) -> Result<(), PassError> {
        if self.splitter.is_of_its_round(block, blocks).await? {
            return Ok(());
        }
        let (hash, height) = (block.hash, block.height);
        let reason = "the round begins with another block now".to_owned();
        self.books.unsplit(hash, reason, unix_ms()).await?;
        tracing::warn!(%hash, height, "split taken back: its round begins with another block now");
        Ok(())
    }
}
