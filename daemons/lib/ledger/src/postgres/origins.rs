//! The ids of origins in PostgreSQL, and with them the first uses of accounts and workers.
//!
//! Pools that share a ledger add the same names at the same time. Each statement adds in the order of the names and the
//! statements have one order, so that two transactions never wait for each other in a circle.

use std::collections::{BTreeMap, HashMap};

use super::CallError;
use super::session::Session;
use super::value::Natural;
use crate::{ORIGINS_MAX, Origin};

const FIND: &str = "SELECT id, place
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
        WITH ORDINALITY AS wanted (account, worker, node, lane, place)
    JOIN origins USING (account, worker, node, lane)";

const ADD: &str = "INSERT INTO origins (account, worker, node, lane)
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::text[])
    ON CONFLICT DO NOTHING";

const ADD_ACCOUNTS: &str = "INSERT INTO accounts
    SELECT account, min(at_ms) FROM unnest($1::text[], $2::bigint[]) AS used (account, at_ms)
    GROUP BY account ORDER BY account COLLATE \"C\"
    ON CONFLICT (account) DO UPDATE SET first_used_at_ms = excluded.first_used_at_ms
    WHERE excluded.first_used_at_ms < accounts.first_used_at_ms";

const ADD_WORKERS: &str = "INSERT INTO workers
    SELECT account, worker, min(at_ms)
    FROM unnest($1::text[], $2::text[], $3::bigint[]) AS used (account, worker, at_ms)
    WHERE worker <> '' GROUP BY account, worker ORDER BY account COLLATE \"C\", worker COLLATE \"C\"
    ON CONFLICT (account, worker) DO UPDATE SET first_used_at_ms = excluded.first_used_at_ms
    WHERE excluded.first_used_at_ms < workers.first_used_at_ms";

/// The ids that are known.
#[derive(Debug, Default)]
pub(super) struct OriginIds(HashMap<Origin, i64>);

/// An origin, and the time of its first use here.
type Used<'a> = (&'a Origin, i64);

impl OriginIds {
    /// Finds or adds all of these, so that [`OriginIds::id`] knows them.
    pub(super) async fn learn<'a>(
        &mut self,
        session: &mut Session,
        used: impl Iterator<Item = Used<'a>>,
    ) -> Result<(), CallError> {
        if self.0.len() > ORIGINS_MAX {
            self.0.clear();
        }
        let mut unknown = BTreeMap::new();
        for (origin, at_ms) in used.filter(|(origin, _)| !self.0.contains_key(*origin)) {
            let (_, first_ms) = unknown.entry(origin.names()).or_insert((origin, at_ms));
            *first_ms = at_ms.min(*first_ms);
        }
        let unknown = unknown.into_values().collect();
        let unknown = self.find(session, unknown).await?;
        add(session, &unknown).await?;
        self.find(session, unknown).await?;
        Ok(())
    }

    /// The id of an origin that was learnt.
    pub(super) fn id(&self, origin: &Origin) -> i64 {
        *self
            .0
            .get(origin)
            .expect("every origin of a call is learnt at its beginning")
    }

    /// Learns those that the ledger has; gives the others.
    async fn find<'a>(
        &mut self,
        session: &mut Session,
        unknown: Vec<Used<'a>>,
    ) -> Result<Vec<Used<'a>>, CallError> {
        if unknown.is_empty() {
            return Ok(unknown);
        }
        let [accounts, workers, nodes, lanes] = columns(&unknown);
        for row in session
            .query(FIND, &[&accounts, &workers, &nodes, &lanes])
            .await?
        {
            let Natural::<usize>(place) = row.try_get(1)?;
            if let Some((origin, _)) = unknown.get(place.wrapping_sub(1)) {
                self.0.insert((*origin).clone(), row.try_get(0)?);
            }
        }
        Ok(unknown
            .into_iter()
            .filter(|(origin, _)| !self.0.contains_key(*origin))
            .collect())
    }
}

async fn add(session: &mut Session, unknown: &[Used<'_>]) -> Result<(), CallError> {
    if unknown.is_empty() {
        return Ok(());
    }
    let [accounts, workers, nodes, lanes] = columns(unknown);
    session
        .execute(ADD, &[&accounts, &workers, &nodes, &lanes])
        .await?;
    let times: Vec<i64> = unknown.iter().map(|(_, at_ms)| *at_ms).collect();
    session.execute(ADD_ACCOUNTS, &[&accounts, &times]).await?;
    session
        .execute(ADD_WORKERS, &[&accounts, &workers, &times])
        .await?;
    Ok(())
}

/// The names in columns.
fn columns<'a>(origins: &[Used<'a>]) -> [Vec<&'a str>; 4] {
    std::array::from_fn(|column| {
        origins
            .iter()
            .map(|(origin, _)| origin.names()[column])
            .collect()
    })
}
