//! What each node is, as it told it last: their rows.

use crate::store::{StoreError, Transaction, values};
use hh_ipc::agent::Inventory;
use hh_trust::NodeId;
use prost::Message;

/// Writes down what a node is.
pub(crate) fn put(
    transaction: &Transaction<'_>,
    node: &NodeId,
    inventory: &Inventory,
    told_at_ms: i64,
) -> Result<(), StoreError> {
    let upsert = "INSERT INTO inventories (node, told_at_ms, inventory) VALUES ($1, $2, $3)
        ON CONFLICT (node) DO UPDATE SET told_at_ms = $2, inventory = $3";
    let row = values![node, told_at_ms, inventory.encode_to_vec()];
    transaction.execute(upsert, &row).map(drop)
}

/// What a node is, and when it told it; none before it did.
pub(crate) fn get(
    transaction: &Transaction<'_>,
    node: &NodeId,
) -> Result<Option<(Inventory, i64)>, StoreError> {
    let query = "SELECT inventory, told_at_ms FROM inventories WHERE node = $1";
    let Some(row) = transaction.find(query, &values![node])? else {
        return Ok(None);
    };
    let bytes: Vec<u8> = row.get(0)?;
    let inventory = Inventory::decode(bytes.as_slice()).map_err(|_no| StoreError::Damaged {
        what: format!("an inventory of {node} that is none"),
    })?;
    Ok(Some((inventory, row.get(1)?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::node::{self, Joining};
    use crate::store::tests::{Base, on_both_engines};
    use hh_trust::NodeSecretKey;

    on_both_engines!(a_node_is_what_it_told_last);

    async fn a_node_is_what_it_told_last(base: Base) {
        let id: NodeId = "berlin".parse().unwrap();
        let joining = Joining {
            id: id.clone(),
            epoch: 5,
            public_key: NodeSecretKey::generate().unwrap().public_key(),
            is_public: true,
            agent_version: String::new(),
            at_ms: 0,
        };
        let told = |os: &str| Inventory {
            os: os.to_owned(),
            ..Inventory::default()
        };
        let (first, second) = (told("Debian 12"), told("Debian 13"));
        let last = second.clone();
        let kept: Result<_, StoreError> = base
            .store
            .call(move |transaction| {
                node::join(transaction, &joining)?;
                assert_eq!(get(transaction, &id)?, None);
                put(transaction, &id, &first, 1)?;
                put(transaction, &id, &second, 2)?;
                get(transaction, &id)
            })
            .await;
        assert_eq!(kept.unwrap(), Some((last, 2)));
    }
}
