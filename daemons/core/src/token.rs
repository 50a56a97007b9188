//! Tokens with which nodes enrol: their rows. The token itself is nowhere, only its hash.

use crate::store::{Row, StoreError, Transaction, values};
use hh_trust::enrolment::{EnrolmentToken, TokenHash, TokenId, TokenRecord, TokenUse};
use hh_trust::{NodeId, NodePublicKey};

/// A token as it is known.
#[derive(Clone, Debug)]
pub(crate) struct TokenRow {
    pub(crate) id: TokenId,
    pub(crate) node: NodeId,
    /// A node of that name may begin anew by it.
    pub(crate) may_replace: bool,
    pub(crate) made_by: String,
    pub(crate) created_at_ms: i64,
    pub(crate) record: TokenRecord,
}

const COLUMNS: &str = "id, node, may_replace, made_by, created_at_ms, expires_at_ms, used_at_ms, used_key_hash, \
    used_node_key, revoked_at_ms";

/// Writes a token that was just made.
pub(crate) fn put(
    transaction: &Transaction<'_>,
    token: &EnrolmentToken,
    hash: TokenHash,
    may_replace: bool,
) -> Result<(), StoreError> {
    transaction.execute(
        "INSERT INTO tokens (id, hash, node, may_replace, made_by, created_at_ms, expires_at_ms) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &values![
            token.jti.to_string(),
            *hash.as_bytes(),
            &token.node,
            may_replace,
            token.by.as_str(),
            token.nbf.saturating_mul(1_000),
            token.exp.saturating_mul(1_000),
        ],
    )?;
    Ok(())
}

/// The row of a token that somebody shows.
pub(crate) fn shown(
    transaction: &Transaction<'_>,
    hash: TokenHash,
) -> Result<Option<TokenRow>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM tokens WHERE hash = $1");
    let row = transaction.find(&query, &values![*hash.as_bytes()])?;
    row.as_ref().map(read).transpose()
}

/// One token.
pub(crate) fn get(
    transaction: &Transaction<'_>,
    id: TokenId,
) -> Result<Option<TokenRow>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM tokens WHERE id = $1");
    let row = transaction.find(&query, &values![id.to_string()])?;
    row.as_ref().map(read).transpose()
}

/// Tokens, newest first, at most so many, and how many there are.
pub(crate) fn list(
    transaction: &Transaction<'_>,
    limit: u32,
) -> Result<(Vec<TokenRow>, u32), StoreError> {
    let query = format!("SELECT {COLUMNS} FROM tokens ORDER BY created_at_ms DESC, id LIMIT $1");
    let rows = transaction.query(&query, &values![limit])?;
    let tokens = rows.iter().map(read).collect::<Result<_, _>>()?;
    let total = transaction.one("SELECT count(*) FROM tokens", &[])?;
    Ok((tokens, total.get(0)?))
}

/// At most so many tokens before that one, newest first.
pub(crate) fn page(
    transaction: &Transaction<'_>,
    after: Option<TokenId>,
    limit: u32,
) -> Result<Vec<TokenRow>, StoreError> {
    let after = after.map(|id| id.to_string());
    let query = format!(
        "SELECT {COLUMNS} FROM tokens
         WHERE $1 IS NULL OR (created_at_ms, id) < (SELECT created_at_ms, id FROM tokens WHERE id = $1)
         ORDER BY created_at_ms DESC, id DESC LIMIT $2"
    );
    let rows = transaction.query(&query, &values![after, limit])?;
    rows.iter().map(read).collect()
}

/// Writes down who has used a token. False if somebody was faster.
pub(crate) fn use_up(
    transaction: &Transaction<'_>,
    id: TokenId,
    used: &TokenUse,
) -> Result<bool, StoreError> {
    let update = "UPDATE tokens SET used_at_ms = $1, used_key_hash = $2, used_node_key = $3
        WHERE id = $4 AND used_at_ms IS NULL AND revoked_at_ms IS NULL AND expires_at_ms > $1";
    let changed = transaction.execute(
        update,
        &values![
            used.at.saturating_mul(1_000),
            used.tls_key_hash,
            used.node_key.to_string(),
            id.to_string(),
        ],
    )?;
    Ok(changed == 1)
}

/// Takes a token back.
pub(crate) fn revoke(
    transaction: &Transaction<'_>,
    id: TokenId,
    at_ms: i64,
) -> Result<(), StoreError> {
    let update = "UPDATE tokens SET revoked_at_ms = $1 WHERE id = $2 AND revoked_at_ms IS NULL";
    transaction.execute(update, &values![at_ms, id.to_string()])?;
    Ok(())
}

/// How many tokens a node could still enrol anew with.
pub(crate) fn count_open_of(
    transaction: &Transaction<'_>,
    node: &NodeId,
    now_ms: i64,
) -> Result<u32, StoreError> {
    let query = "SELECT count(*) FROM tokens
        WHERE node = $1 AND used_at_ms IS NULL AND revoked_at_ms IS NULL AND expires_at_ms > $2";
    transaction.one(query, &values![node, now_ms])?.get(0)
}

/// Takes these back. Gives how many they were.
pub(crate) fn revoke_open_of(
    transaction: &Transaction<'_>,
    node: &NodeId,
    at_ms: i64,
) -> Result<u64, StoreError> {
    let update = "UPDATE tokens SET revoked_at_ms = $2
        WHERE node = $1 AND used_at_ms IS NULL AND revoked_at_ms IS NULL AND expires_at_ms > $2";
    transaction.execute(update, &values![node, at_ms])
}

fn read(row: &Row) -> Result<TokenRow, StoreError> {
    let damaged = |what: String| StoreError::Damaged { what };
    let id: String = row.get(0)?;
    let node: String = row.get(1)?;
    let used_at_ms: Option<i64> = row.get(6)?;
    let key: Option<String> = row.get(8)?;
    let used = match (used_at_ms, row.get(7)?, key) {
        (Some(at_ms), Some(tls_key_hash), Some(key)) => Some(TokenUse {
            at: at_ms / 1_000,
            tls_key_hash,
            node_key: key
                .parse::<NodePublicKey>()
                .map_err(|_no| damaged(format!("the key {key:?} of a token")))?,
        }),
        _ => None,
    };
    Ok(TokenRow {
        id: id
            .parse()
            .map_err(|_no| damaged(format!("a token {id:?}")))?,
        node: node
            .parse()
            .map_err(|_no| damaged(format!("a node named {node:?}")))?,
        may_replace: row.get(2)?,
        made_by: row.get(3)?,
        created_at_ms: row.get(4)?,
        record: TokenRecord {
            exp: row.get::<i64>(5)? / 1_000,
            is_revoked: row.get::<Option<i64>>(9)?.is_some(),
            used,
        },
    })
}
