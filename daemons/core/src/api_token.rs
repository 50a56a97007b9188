//! Tokens of the REST interface: their rows. The token itself is nowhere, only its hash.

use crate::permission::{Access, Who};
use crate::store::{Row, StoreError, Transaction, values};
use hh_ipc::api::core::Role;
use hh_trust::api_token::{ApiTokenHash, ApiTokenId};

/// A token as it is known.
#[derive(Clone, Debug)]
pub(crate) struct ApiTokenRow {
    pub(crate) id: String,
    /// Of the person or the program.
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) read_only: bool,
    /// Of which a node operator may speak.
    pub(crate) nodes: Vec<String>,
    /// Of which a miner may speak.
    pub(crate) accounts: Vec<String>,
    pub(crate) made_by: String,
    pub(crate) created_at_ms: i64,
    pub(crate) expires_at_ms: i64,
    pub(crate) is_revoked: bool,
}

/// A token that is just made.
#[derive(Clone, Debug)]
pub(crate) struct NewApiToken {
    pub(crate) id: ApiTokenId,
    pub(crate) hash: ApiTokenHash,
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) read_only: bool,
    pub(crate) nodes: Vec<String>,
    pub(crate) accounts: Vec<String>,
    pub(crate) made_by: String,
    pub(crate) created_at_ms: i64,
    pub(crate) expires_at_ms: i64,
}

impl ApiTokenRow {
    /// Whether it opens anything now.
    pub(crate) fn holds(&self, now_ms: i64) -> bool {
        !self.is_revoked && now_ms < self.expires_at_ms
    }

    /// Who its holder is to the permission table.
    pub(crate) fn who(&self) -> Who {
        let access = match self.read_only {
            true => Access::ReadOnly,
            false => Access::Full,
        };
        Who::Person(self.role, access)
    }

    /// The nodes that its holder may speak of; none if all.
    pub(crate) fn only_nodes(&self) -> Option<&[String]> {
        (self.role != Role::CoreOperator).then_some(self.nodes.as_slice())
    }

    /// Whether its holder may speak of a node.
    pub(crate) fn speaks_of_node(&self, node: &str) -> bool {
        self.only_nodes()
            .is_none_or(|nodes| nodes.iter().any(|one| one == node))
    }

    /// Whether its holder may speak of an account.
    pub(crate) fn speaks_of_account(&self, account: &str) -> bool {
        self.role == Role::CoreOperator || self.accounts.iter().any(|one| one == account)
    }
}

const COLUMNS: &str = "id, name, role, read_only, nodes, accounts, made_by, created_at_ms, expires_at_ms, revoked_at_ms";

/// Writes a token that was just made.
pub(crate) fn put(transaction: &Transaction<'_>, token: &NewApiToken) -> Result<(), StoreError> {
    let list = |names: &[String]| serde_json::to_string(names).expect("texts have a JSON");
    transaction.execute(
        "INSERT INTO api_tokens (id, hash, name, role, read_only, nodes, accounts, made_by, created_at_ms, expires_at_ms)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        &values![
            token.id.to_string(),
            *token.hash.as_bytes(),
            token.name.as_str(),
            token.role.name(),
            token.read_only,
            list(&token.nodes),
            list(&token.accounts),
            token.made_by.as_str(),
            token.created_at_ms,
            token.expires_at_ms,
        ],
    )?;
    Ok(())
}

/// The row of a token that somebody shows.
pub(crate) fn shown(
    transaction: &Transaction<'_>,
    hash: ApiTokenHash,
) -> Result<Option<ApiTokenRow>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM api_tokens WHERE hash = $1");
    let row = transaction.find(&query, &values![*hash.as_bytes()])?;
    row.as_ref().map(read).transpose()
}

/// One token.
pub(crate) fn get(
    transaction: &Transaction<'_>,
    id: &str,
) -> Result<Option<ApiTokenRow>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM api_tokens WHERE id = $1");
    let row = transaction.find(&query, &values![id])?;
    row.as_ref().map(read).transpose()
}

/// Tokens, newest first, at most so many, and how many there are.
pub(crate) fn list(
    transaction: &Transaction<'_>,
    limit: u32,
) -> Result<(Vec<ApiTokenRow>, u32), StoreError> {
    let query =
        format!("SELECT {COLUMNS} FROM api_tokens ORDER BY created_at_ms DESC, id DESC LIMIT $1");
    let rows = transaction.query(&query, &values![limit])?;
    let tokens = rows.iter().map(read).collect::<Result<_, _>>()?;
    let total = transaction.one("SELECT count(*) FROM api_tokens", &[])?;
    Ok((tokens, total.get(0)?))
}

/// Takes a token back.
pub(crate) fn revoke(
    transaction: &Transaction<'_>,
    id: &str,
    at_ms: i64,
) -> Result<(), StoreError> {
    let update = "UPDATE api_tokens SET revoked_at_ms = $1 WHERE id = $2 AND revoked_at_ms IS NULL";
    transaction.execute(update, &values![at_ms, id])?;
    Ok(())
}

fn read(row: &Row) -> Result<ApiTokenRow, StoreError> {
    let damaged = |what: String| StoreError::Damaged { what };
    let names = |text: String| {
        serde_json::from_str(&text).map_err(|_no| damaged(format!("a list of names {text:?}")))
    };
    let role: String = row.get(2)?;
    let known = Role::ALL.into_iter().find(|known| known.name() == role);
    Ok(ApiTokenRow {
        id: row.get(0)?,
        name: row.get(1)?,
        role: known.ok_or_else(|| damaged(format!("a role {role:?}")))?,
        read_only: row.get(3)?,
        nodes: names(row.get(4)?)?,
        accounts: names(row.get(5)?)?,
        made_by: row.get(6)?,
        created_at_ms: row.get(7)?,
        expires_at_ms: row.get(8)?,
        is_revoked: row.get::<Option<i64>>(9)?.is_some(),
    })
}
