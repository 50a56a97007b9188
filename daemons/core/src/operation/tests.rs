use super::*;
use crate::node::{self, Joining};
use crate::store::tests::{Base, on_both_engines};
use hh_trust::NodeSecretKey;

const EPOCH: u64 = 5;

on_both_engines!(
    only_what_was_never_sent_expires,
    a_session_sends_each_once_in_order_and_the_next_one_all_of_which_no_end_is_known,
    an_end_is_known_once_and_from_the_node_itself,
    of_a_node_that_joins_anew_nobody_will_know,
    only_what_was_never_sent_is_taken_back,
);

fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

fn id(seq: u64) -> CommandId {
    format!("{seq:032x}").parse().unwrap()
}

/// A database with two nodes, and three commands for the first that hold until 100.
async fn with_three(base: Base, run: impl FnOnce(&Transaction<'_>) + Send + 'static) {
    let done: Result<(), StoreError> = base
        .store
        .call(move |transaction| {
            for name in ["berlin", "paris"] {
                let joining = Joining {
                    id: node(name),
                    epoch: EPOCH,
                    public_key: NodeSecretKey::generate().unwrap().public_key(),
                    is_public: false,
                    agent_version: String::new(),
                    at_ms: 0,
                };
                node::join(transaction, &joining)?;
            }
            for seq in 1..=3 {
                assert_eq!(node::next_seq(transaction, &node("berlin"))?, seq);
                let signed = Signed {
                    id: id(seq),
                    node: &node("berlin"),
                    epoch: EPOCH,
                    seq,
                    jws: "jws",
                    command: "ping",
                    asked_by: "alice",
                    created_at_ms: 0,
                    expires_at_ms: 100,
                };
                put(transaction, &signed)?;
            }
            run(transaction);
            Ok(())
        })
        .await;
    done.unwrap();
}

fn state(transaction: &Transaction<'_>, seq: u64) -> OperationState {
    let row = get(transaction, &id(seq).to_string()).unwrap();
    row.unwrap().state
}

fn delivered(transaction: &Transaction<'_>, after: Option<u64>) -> Vec<String> {
    let after = after.map(|seq| id(seq).to_string());
    let berlin = node("berlin");
    let commands = deliver(transaction, (&berlin, EPOCH), after.as_deref()).unwrap();
    commands.into_iter().map(|command| command.id).collect()
}

fn conclusion() -> Conclusion<'static> {
    Conclusion {
        state: OperationState::Done,
        code: "ok",
        detail: "",
        jws: "result",
        at_ms: 50,
    }
}

fn ids(seqs: &[u64]) -> Vec<String> {
    seqs.iter().map(|seq| id(*seq).to_string()).collect()
}

async fn only_what_was_never_sent_expires(base: Base) {
    with_three(base, |transaction| {
        let berlin = node("berlin");
        assert_eq!(waiting(transaction).unwrap(), [node("berlin")]);
        assert!(!any_expires(transaction, 99).unwrap());
        assert_eq!(expire(transaction, 99).unwrap(), []);
        transaction
            .execute("UPDATE commands SET state = 'sent' WHERE seq = 1", &[])
            .unwrap();
        taken(transaction, &berlin, &id(2).to_string()).unwrap();
        assert!(any_expires(transaction, 100).unwrap());
        assert_eq!(expire(transaction, 100).unwrap(), [id(3)]);
        assert!(waiting(transaction).unwrap().is_empty());
        assert_eq!(state(transaction, 1), OperationState::Sent);
        assert_eq!(state(transaction, 2), OperationState::Taken);
        assert_eq!(state(transaction, 3), OperationState::Expired);
        // The node is asked for both, however late it is.
        assert_eq!(delivered(transaction, None), ids(&[1, 2]));
    })
    .await;
}

async fn a_session_sends_each_once_in_order_and_the_next_one_all_of_which_no_end_is_known(
    base: Base,
) {
    with_three(base, |transaction| {
        assert_eq!(delivered(transaction, None), ids(&[1, 2, 3]));
        assert_eq!(delivered(transaction, Some(2)), ids(&[3]));
        assert_eq!(delivered(transaction, Some(3)), ids(&[]));
        let berlin = node("berlin");
        assert!(conclude(transaction, &berlin, &id(2).to_string(), &conclusion()).unwrap());
        assert_eq!(delivered(transaction, None), ids(&[1, 3]));
    })
    .await;
}

async fn an_end_is_known_once_and_from_the_node_itself(base: Base) {
    with_three(base, |transaction| {
        let first = id(1).to_string();
        let of =
            |name, conclusion| conclude(transaction, &node(name), &first, &conclusion).unwrap();
        assert!(!of("paris", conclusion()));
        assert!(of("berlin", conclusion()));
        let later = Conclusion {
            state: OperationState::Failed,
            ..conclusion()
        };
        assert!(!of("berlin", later));
        assert_eq!(state(transaction, 1), OperationState::Done);
        taken(transaction, &node("berlin"), &first).unwrap();
        assert_eq!(state(transaction, 1), OperationState::Done);
    })
    .await;
}

async fn of_a_node_that_joins_anew_nobody_will_know(base: Base) {
    with_three(base, |transaction| {
        let berlin = node("berlin");
        taken(transaction, &berlin, &id(1).to_string()).unwrap();
        let given_up = give_up(transaction, &berlin, (60, "the node joined anew")).unwrap();
        assert_eq!(given_up.len(), 3);
        assert_eq!(state(transaction, 1), OperationState::Indeterminate);
        assert_eq!(state(transaction, 2), OperationState::Expired);
        assert_eq!(delivered(transaction, None), ids(&[]));
    })
    .await;
}

async fn only_what_was_never_sent_is_taken_back(base: Base) {
    with_three(base, |transaction| {
        let berlin = node("berlin");
        let cancelled = |seq, at_ms| cancel(transaction, &id(seq).to_string(), at_ms).unwrap();
        assert_eq!(cancelled(1, 60), Some(id(1)));
        assert_eq!(state(transaction, 1), OperationState::Cancelled);
        assert_eq!(cancelled(1, 61), None);
        // It is not sent any more, and it does not expire.
        assert_eq!(delivered(transaction, None), ids(&[2, 3]));
        assert_eq!(expire(transaction, 100).unwrap(), []);
        for seq in [2, 3] {
            assert_eq!(cancelled(seq, 60), None);
        }
        assert_eq!(state(transaction, 2), OperationState::Sent);
        assert!(conclude(transaction, &berlin, &id(2).to_string(), &conclusion()).unwrap());
        assert!(!conclude(transaction, &berlin, &id(1).to_string(), &conclusion()).unwrap());
        assert_eq!(count_open(transaction).unwrap(), 1);
    })
    .await;
}
