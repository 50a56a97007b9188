//! The one writer of a ledger, on whichever engine.

use crate::calls::Calls;
use crate::{
    BlockRow, Claim, Epoch, LedgerError, Location, RejectedCount, RetireWhere, Retirement,
    Shipment, postgres, sqlite,
};

#[derive(Debug)]
pub(crate) enum Writer {
    Sqlite(sqlite::Writer),
    Postgres(postgres::Writer),
}

impl Writer {
    /// Starts the writer's thread.
    pub(crate) fn start(location: &Location, pool: &str) -> Result<Calls<Self>, LedgerError> {
        let writer = match location {
            Location::Sqlite(path) => Self::Sqlite(sqlite::Writer::new(path, pool)),
            Location::Postgres(server) => {
                Self::Postgres(postgres::Writer::new(server.clone(), pool))
            }
        };
        Calls::start(writer, async |writer: Self| writer.close().await)
    }

    pub(crate) async fn ship(&mut self, shipment: &Shipment) -> Result<(), LedgerError> {
        match self {
            Self::Sqlite(writer) => writer.ship(shipment),
            Self::Postgres(writer) => writer.ship(shipment).await,
        }
    }

    pub(crate) async fn last_seq(&mut self, epoch: &Epoch) -> Result<Option<u64>, LedgerError> {
        match self {
            Self::Sqlite(writer) => writer.last_seq(epoch),
            Self::Postgres(writer) => writer.last_seq(epoch).await,
        }
    }

    pub(crate) async fn skip_to(
        &mut self,
        epoch: &Epoch,
        next_seq: u64,
        now_ms: i64,
    ) -> Result<(), LedgerError> {
        match self {
            Self::Sqlite(writer) => writer.skip_to(epoch, next_seq, now_ms),
            Self::Postgres(writer) => writer.skip_to(epoch, next_seq, now_ms).await,
        }
    }

    pub(crate) async fn count_rejected(
        &mut self,
        counts: &[RejectedCount],
    ) -> Result<(), LedgerError> {
        match self {
            Self::Sqlite(writer) => writer.count_rejected(counts),
            Self::Postgres(writer) => writer.count_rejected(counts).await,
        }
    }

    pub(crate) async fn put_block(&mut self, block: &BlockRow) -> Result<(), LedgerError> {
        match self {
            Self::Sqlite(writer) => writer.put_block(block),
            Self::Postgres(writer) => writer.put_block(block).await,
        }
    }

    pub(crate) async fn cut_next_block(&mut self) -> Result<bool, LedgerError> {
        match self {
            Self::Sqlite(writer) => writer.cut_next_block(),
            Self::Postgres(writer) => writer.cut_next_block().await,
        }
    }

    pub(crate) async fn claim_server_id(
        &mut self,
        server_id: u16,
        epoch: &Epoch,
        now_ms: i64,
    ) -> Result<Claim, LedgerError> {
        match self {
            Self::Sqlite(writer) => writer.claim_server_id(server_id, epoch, now_ms),
            Self::Postgres(writer) => writer.claim_server_id(server_id, epoch, now_ms).await,
        }
    }

    pub(crate) async fn retire_server_id(
        &mut self,
        server_id: u16,
        epoch: &Epoch,
        retire: RetireWhere,
    ) -> Result<Retirement, LedgerError> {
        match self {
            Self::Sqlite(writer) => writer.retire_server_id(server_id, epoch, retire),
            Self::Postgres(writer) => writer.retire_server_id(server_id, epoch, retire).await,
        }
    }

    pub(crate) async fn close_log(
        &mut self,
        epoch: &Epoch,
        last_seq: u64,
    ) -> Result<bool, LedgerError> {
        match self {
            Self::Sqlite(writer) => writer.close_log(epoch, last_seq),
            Self::Postgres(writer) => writer.close_log(epoch, last_seq).await,
        }
    }

    pub(crate) async fn prune(&mut self, before_ms: i64) -> Result<u64, LedgerError> {
        match self {
            Self::Sqlite(writer) => writer.prune(before_ms),
            Self::Postgres(writer) => writer.prune(before_ms).await,
        }
    }

    /// PostgreSQL makes its checkpoints by itself.
    pub(crate) fn checkpoint(&mut self) -> Result<(), LedgerError> {
        match self {
            Self::Sqlite(writer) => writer.checkpoint(),
            Self::Postgres(_) => Ok(()),
        }
    }

    async fn close(self) {
        match self {
            Self::Sqlite(writer) => writer.close(),
            Self::Postgres(writer) => writer.close().await,
        }
    }
}
