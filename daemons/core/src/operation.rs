//! Commands for nodes: their rows, from the moment they are signed until it is known what came of them.
//!
//! A command is written down before it is sent, and sent until the node says that it has it: it arrives at least once, and the node
//! carries it out once. What is known of it only ever grows: queued, sent, taken, and then what came of it.

use crate::store::{Notice, Row, StoreError, Transaction, among, values};
use hh_ipc::api::core::OperationState;
use hh_trust::NodeId;
use hh_trust::command::CommandId;

/// Commands of one node that are sent in one go.
const DELIVERED_AT_ONCE: u32 = 100;

/// A command.
#[derive(Clone, Debug)]
pub(crate) struct OperationRow {
    pub(crate) id: String,
    pub(crate) node: String,
    pub(crate) command: String,
    pub(crate) asked_by: String,
    pub(crate) created_at_ms: i64,
    pub(crate) expires_at_ms: i64,
    pub(crate) state: OperationState,
    pub(crate) ended_at_ms: Option<i64>,
    pub(crate) code: Option<String>,
    pub(crate) detail: Option<String>,
}

/// A command that was just signed.
#[derive(Clone, Debug)]
pub(crate) struct Signed<'a> {
    pub(crate) id: CommandId,
    pub(crate) node: &'a NodeId,
    pub(crate) epoch: u64,
    pub(crate) seq: u64,
    pub(crate) jws: &'a str,
    pub(crate) command: &'a str,
    pub(crate) asked_by: &'a str,
    pub(crate) created_at_ms: i64,
    pub(crate) expires_at_ms: i64,
}

/// A command that a node has to get.
#[derive(Clone, Debug)]
pub(crate) struct Undelivered {
    pub(crate) id: String,
    pub(crate) jws: String,
}

/// What came of a command, as its node has signed it.
#[derive(Clone, Debug)]
pub(crate) struct Conclusion<'a> {
    pub(crate) state: OperationState,
    pub(crate) code: &'a str,
    pub(crate) detail: &'a str,
    pub(crate) jws: &'a str,
    pub(crate) at_ms: i64,
}

const COLUMNS: &str =
    "id, node, command, asked_by, created_at_ms, expires_at_ms, state, ended_at_ms, code, detail";

const STATES: [(OperationState, &str); 9] = [
    (OperationState::Queued, "queued"),
    (OperationState::Sent, "sent"),
    (OperationState::Taken, "taken"),
    (OperationState::Done, "done"),
    (OperationState::Failed, "failed"),
    (OperationState::Rejected, "rejected"),
    (OperationState::Indeterminate, "indeterminate"),
    (OperationState::Expired, "expired"),
    (OperationState::Cancelled, "cancelled"),
];

/// Its name in the database, which is also that on the wire.
pub(crate) fn name_of(state: OperationState) -> &'static str {
    let named = STATES.iter().find(|(known, _)| *known == state);
    named.map_or("", |(_, name)| name)
}

/// Writes a command that was just signed.
pub(crate) fn put(transaction: &Transaction<'_>, signed: &Signed<'_>) -> Result<(), StoreError> {
    transaction.execute(
        "INSERT INTO commands (id, node, epoch, seq, jws, command, asked_by, created_at_ms, expires_at_ms, state)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 'queued')",
        &values![
            signed.id.to_string(),
            signed.node,
            signed.epoch,
            signed.seq,
            signed.jws,
            signed.command,
            signed.asked_by,
            signed.created_at_ms,
            signed.expires_at_ms,
        ],
    )?;
    transaction.notify(Notice::Node(signed.node.clone()));
    Ok(())
}

/// One command.
pub(crate) fn get(
    transaction: &Transaction<'_>,
    id: &str,
) -> Result<Option<OperationRow>, StoreError> {
    let query = format!("SELECT {COLUMNS} FROM commands WHERE id = $1");
    let row = transaction.find(&query, &values![id])?;
    row.as_ref().map(read).transpose()
}

/// Commands of one node or of all, newest first, at most so many, and how many there are.
pub(crate) fn list(
    transaction: &Transaction<'_>,
    node: Option<&str>,
    limit: u32,
) -> Result<(Vec<OperationRow>, u32), StoreError> {
    let of = "FROM commands WHERE coalesce($1, node) = node";
    let query =
        format!("SELECT {COLUMNS} {of} ORDER BY created_at_ms DESC, epoch DESC, seq DESC LIMIT $2");
    let rows = transaction.query(&query, &values![node, limit])?;
    let operations = rows.iter().map(read).collect::<Result<_, _>>()?;
    let total = transaction.one(&format!("SELECT count(*) {of}"), &values![node])?;
    Ok((operations, total.get(0)?))
}

/// At most so many commands before that one, newest first; of all nodes, or `only` of these.
pub(crate) fn page(
    transaction: &Transaction<'_>,
    only: Option<&[String]>,
    after: Option<&str>,
    limit: u32,
) -> Result<Vec<OperationRow>, StoreError> {
    let mut values = values![after, limit].to_vec();
    let among = among("node", only, &mut values);
    let query = format!(
        "SELECT {COLUMNS} FROM commands
         WHERE {among}
             AND ($1 IS NULL OR (created_at_ms, id) < (SELECT created_at_ms, id FROM commands WHERE id = $1))
         ORDER BY created_at_ms DESC, id DESC LIMIT $2"
    );
    let rows = transaction.query(&query, &values)?;
    rows.iter().map(read).collect()
}

/// Of how many commands it is not known what came of them.
pub(crate) fn count_open(transaction: &Transaction<'_>) -> Result<u32, StoreError> {
    let query = "SELECT count(*) FROM commands WHERE state IN ('queued', 'sent', 'taken')";
    transaction.one(query, &[])?.get(0)
}

/// Of how many commands of a node it is not known what came of them.
pub(crate) fn count_open_of(
    transaction: &Transaction<'_>,
    node: &NodeId,
) -> Result<u32, StoreError> {
    let query =
        "SELECT count(*) FROM commands WHERE node = $1 AND state IN ('queued', 'sent', 'taken')";
    transaction.one(query, &values![node])?.get(0)
}

/// Lets commands expire that were never sent: their nodes would refuse them. Gives their ids.
///
/// One that was sent is another matter: its node may have taken it, and says so when it is back.
pub(crate) fn expire(
    transaction: &Transaction<'_>,
    now_ms: i64,
) -> Result<Vec<CommandId>, StoreError> {
    let update = "UPDATE commands SET state = 'expired', ended_at_ms = $1
        WHERE state = 'queued' AND expires_at_ms <= $1 RETURNING id";
    let ids = transaction.query(update, &values![now_ms])?;
    if !ids.is_empty() {
        transaction.notify(Notice::Operation);
    }
    let ids = ids.iter().map(|row| command_id(&row.get::<String>(0)?));
    ids.collect()
}

/// The nodes for which there are commands that were never sent.
pub(crate) fn waiting(transaction: &Transaction<'_>) -> Result<Vec<NodeId>, StoreError> {
    let query = "SELECT DISTINCT node FROM commands WHERE state = 'queued'";
    let rows = transaction.query(query, &[])?;
    let nodes = rows.iter().map(|row| {
        let id: String = row.get(0)?;
        id.parse::<NodeId>().map_err(|_no| StoreError::Damaged {
            what: format!("a node named {id:?}"),
        })
    });
    nodes.collect()
}

/// Whether commands are to expire now.
pub(crate) fn any_expires(transaction: &Transaction<'_>, now_ms: i64) -> Result<bool, StoreError> {
    let query = "SELECT count(*) FROM commands WHERE state = 'queued' AND expires_at_ms <= $1";
    let due: u64 = transaction.one(query, &values![now_ms])?.get(0)?;
    Ok(due > 0)
}

/// The commands that a node has to get, in their order; those that it never got are sent from now on. What it has taken is among
/// them: it is asked for what came of it.
pub(crate) fn deliver(
    transaction: &Transaction<'_>,
    (node, epoch): (&NodeId, u64),
    after: Option<&str>,
) -> Result<Vec<Undelivered>, StoreError> {
    let query = "SELECT id, jws FROM commands
        WHERE node = $1 AND epoch = $2 AND state IN ('queued', 'sent', 'taken')
            AND seq > coalesce((SELECT seq FROM commands WHERE id = $3), 0)
        ORDER BY seq LIMIT $4";
    let of = values![node, epoch, after, DELIVERED_AT_ONCE];
    let rows = transaction.query(query, &of)?;
    let commands = rows.iter().map(|row| {
        Ok(Undelivered {
            id: row.get(0)?,
            jws: row.get(1)?,
        })
    });
    let commands: Vec<Undelivered> = commands.collect::<Result<_, StoreError>>()?;
    let update = "UPDATE commands SET state = 'sent' WHERE id = $1 AND state = 'queued'";
    let ids = commands
        .iter()
        .map(|command| values![command.id.as_str()].to_vec());
    let ids: Vec<_> = ids.collect();
    transaction.execute_each(update, &ids)?;
    Ok(commands)
}

/// The node has written a command down.
pub(crate) fn taken(
    transaction: &Transaction<'_>,
    node: &NodeId,
    id: &str,
) -> Result<(), StoreError> {
    let update = "UPDATE commands SET state = 'taken' WHERE id = $1 AND node = $2 AND state IN ('queued', 'sent')";
    if transaction.execute(update, &values![id, node])? > 0 {
        transaction.notify(Notice::Operation);
    }
    Ok(())
}

/// It is in the node's hands, and not concluded, for this reason: its code, and words.
pub(crate) fn waits(
    transaction: &Transaction<'_>,
    node: &NodeId,
    id: &str,
    (code, detail): (&str, &str),
) -> Result<(), StoreError> {
    let update = "UPDATE commands SET state = 'taken', code = $1, detail = $2
        WHERE id = $3 AND node = $4 AND state IN ('queued', 'sent', 'taken')";
    if transaction.execute(update, &values![code, detail, id, node])? > 0 {
        transaction.notify(Notice::Operation);
    }
    Ok(())
}

/// The node says what came of a command. False if that was known, or the command is none of that node's.
pub(crate) fn conclude(
    transaction: &Transaction<'_>,
    node: &NodeId,
    id: &str,
    conclusion: &Conclusion<'_>,
) -> Result<bool, StoreError> {
    let update =
        "UPDATE commands SET state = $1, code = $2, detail = $3, result_jws = $4, ended_at_ms = $5
        WHERE id = $6 AND node = $7 AND state IN ('queued', 'sent', 'taken')";
    let changed = transaction.execute(
        update,
        &values![
            name_of(conclusion.state),
            conclusion.code,
            conclusion.detail,
            conclusion.jws,
            conclusion.at_ms,
            id,
            node,
        ],
    )?;
    if changed > 0 {
        transaction.notify(Notice::Operation);
    }
    Ok(changed == 1)
}

/// Takes a command back. None if it was sent: nobody but its node can say what came of it.
pub(crate) fn cancel(
    transaction: &Transaction<'_>,
    id: &str,
    now_ms: i64,
) -> Result<Option<CommandId>, StoreError> {
    let update = "UPDATE commands SET state = 'cancelled', ended_at_ms = $1
        WHERE id = $2 AND state = 'queued' RETURNING id";
    let Some(row) = transaction.find(update, &values![now_ms, id])? else {
        return Ok(None);
    };
    transaction.notify(Notice::Operation);
    command_id(&row.get::<String>(0)?).map(Some)
}

/// Commands of a node that joins anew or is revoked are of no use to it any more: what was never sent expires, and of what was sent
/// nothing will be known. Gives their ids.
pub(crate) fn give_up(
    transaction: &Transaction<'_>,
    node: &NodeId,
    (now_ms, why): (i64, &str),
) -> Result<Vec<(CommandId, OperationState)>, StoreError> {
    let update = "UPDATE commands SET ended_at_ms = $2, detail = $3,
            state = CASE state WHEN 'queued' THEN 'expired' ELSE 'indeterminate' END
        WHERE node = $1 AND state IN ('queued', 'sent', 'taken') RETURNING id, state";
    let rows = transaction.query(update, &values![node, now_ms, why])?;
    if !rows.is_empty() {
        transaction.notify(Notice::Operation);
    }
    let given_up = rows.iter().map(|row| {
        let (id, state): (String, String) = (row.get(0)?, row.get(1)?);
        Ok((command_id(&id)?, state_named(&state)?))
    });
    given_up.collect()
}

fn command_id(text: &str) -> Result<CommandId, StoreError> {
    text.parse().map_err(|_no| StoreError::Damaged {
        what: format!("a command {text:?}"),
    })
}

fn state_named(name: &str) -> Result<OperationState, StoreError> {
    let state = STATES.iter().find(|(_, known)| *known == name);
    let (state, _) = state.ok_or_else(|| StoreError::Damaged {
        what: format!("the state {name:?} of a command"),
    })?;
    Ok(*state)
}

fn read(row: &Row) -> Result<OperationRow, StoreError> {
    let name: String = row.get(6)?;
    Ok(OperationRow {
        id: row.get(0)?,
        node: row.get(1)?,
        command: row.get(2)?,
        asked_by: row.get(3)?,
        created_at_ms: row.get(4)?,
        expires_at_ms: row.get(5)?,
        state: state_named(&name)?,
        ended_at_ms: row.get(7)?,
        code: row.get(8)?,
        detail: row.get(9)?,
    })
}

#[cfg(test)]
mod tests;
