//! Who is credited for a share, and through what it came.

/// Who is credited for a share, and through what it came. Made once per channel and shared.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    account: String,
    worker: String,
    node: String,
    lane: String,
}

/// A name that is too long to be logged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} has {bytes} bytes, more than {}", Origin::NAME_BYTES_MAX)]
pub struct OriginError {
    /// Which of the names.
    pub field: &'static str,
    /// Its length.
    pub bytes: usize,
}

impl Origin {
    /// Longest name in bytes: the share log writes a length in one. SV2's `user_identity` has the same limit.
    pub const NAME_BYTES_MAX: usize = 255;

    /// Puts the names together; `worker` may be empty.
    ///
    /// # Errors
    /// [`OriginError`] if a name has more than [`Origin::NAME_BYTES_MAX`] bytes.
    pub fn new(
        account: impl Into<String>,
        worker: impl Into<String>,
        node: impl Into<String>,
        lane: impl Into<String>,
    ) -> Result<Self, OriginError> {
        let origin = Self {
            account: account.into(),
            worker: worker.into(),
            node: node.into(),
            lane: lane.into(),
        };
        for (field, name) in ["account", "worker", "node", "lane"]
            .into_iter()
            .zip(origin.names())
        {
            if name.len() > Self::NAME_BYTES_MAX {
                return Err(OriginError {
                    field,
                    bytes: name.len(),
                });
            }
        }
        Ok(origin)
    }

    /// The account that is credited.
    #[must_use]
    pub fn account(&self) -> &str {
        &self.account
    }

    /// The account's worker, or empty.
    #[must_use]
    pub fn worker(&self) -> &str {
        &self.worker
    }

    /// The Hyper Node through which the share came, or `core`.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.node
    }

    /// The lane on which it came.
    #[must_use]
    pub fn lane(&self) -> &str {
        &self.lane
    }

    /// Account, worker, node and lane.
    #[must_use]
    pub fn names(&self) -> [&str; 4] {
        [&self.account, &self.worker, &self.node, &self.lane]
    }
}
