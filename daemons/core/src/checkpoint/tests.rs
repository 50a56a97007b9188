use super::*;
use crate::audit::Asked;
use crate::store::Transaction;
use hh_trust::audit::{Actor, Detail, Witness, WitnessError};
use hh_trust::command::{CommandId, Digest};
use tempfile::TempDir;

/// A core's log, and its checkpoints.
struct Site {
    checkpoints: Checkpoints,
    dir: TempDir,
}

impl Site {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let authority = Authority::of_test(dir.path());
        let checkpoints = of(&dir, authority);
        Self { checkpoints, dir }
    }

    /// As after a restart of core, with the same keys.
    fn restart(&mut self) {
        let authority = Arc::clone(&self.checkpoints.0.authority);
        self.checkpoints = of(&self.dir, authority);
    }

    async fn write(&self, count: usize) {
        let write = move |transaction: &Transaction<'_>| {
            let core = "core-1".parse().unwrap();
            let now = jiff::Timestamp::now();
            (0..count)
                .try_for_each(|number| audit::intent(transaction, (&core, now), &asked(number)))
        };
        let store = self.checkpoints.0.store.clone();
        store.call::<_, StoreError>(write).await.unwrap();
    }

    fn database(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.dir.path().join("core.db")).unwrap()
    }

    /// What a node says after it has heard what core has to tell.
    async fn hear(&self, witness: &mut Witness) -> Option<Result<(), WitnessError>> {
        let seen = AuditSeen {
            size: witness.size(),
            root: witness.root().map_or_else(Vec::new, |root| root.0.to_vec()),
            fault: String::new(),
        };
        let told = self.checkpoints.news(&seen).await?;
        assert_eq!(told.from_size, seen.size);
        let authority = &self.checkpoints.0.authority;
        let key = authority.audit_key.as_ref().unwrap().public_key();
        let checkpoint = Checkpoint::verify(&told.note, &authority.domain, &key).unwrap();
        let proof = told.proof.into_iter();
        let proof: Vec<Digest> = proof.map(|part| Digest(part.try_into().unwrap())).collect();
        Some(witness.see(&checkpoint, &proof))
    }
}

fn of(dir: &TempDir, authority: Arc<Authority>) -> Checkpoints {
    let store = Store::open(&dir.path().join("core.db")).unwrap();
    Checkpoints::new(store, authority)
}

fn asked(number: usize) -> Asked {
    Asked {
        op: CommandId::generate().unwrap(),
        actor: Actor::Unknown,
        via: "control",
        source: None,
        action: "token.create",
        target: format!("node:{number}"),
        request: Digest::of(b""),
        detail: Detail::default(),
    }
}

#[tokio::test]
async fn a_node_sees_the_log_go_on_from_wherever_it_has_seen_it_last() {
    let mut site = Site::start();
    site.checkpoints.take().await.unwrap();
    let mut early = Witness::default();
    assert_eq!(site.hear(&mut early).await, None, "there is nothing to see");
    site.write(3).await;
    site.checkpoints.take().await.unwrap();
    assert_eq!(site.hear(&mut early).await, Some(Ok(())));
    assert_eq!(early.size(), 3);
    assert_eq!(site.hear(&mut early).await, None);
    // More than is read at a time, and a core that knows nothing of what it has said before.
    site.write(LINES_READ as usize).await;
    site.restart();
    site.checkpoints.take().await.unwrap();
    let mut late = Witness::default();
    for witness in [&mut early, &mut late] {
        assert_eq!(site.hear(witness).await, Some(Ok(())));
        assert_eq!(witness.size(), 3 + u64::from(LINES_READ));
    }
}

#[tokio::test]
async fn a_node_sees_a_log_that_was_cut_or_written_anew() {
    let mut site = Site::start();
    site.write(5).await;
    site.checkpoints.take().await.unwrap();
    let mut cut = Witness::default();
    site.hear(&mut cut).await;
    let mut forked = cut;
    // Whoever has the database and the keys begins the log again; no line of it is wrong.
    let database = site.database();
    let emptied = database.execute_batch(
        "DROP TRIGGER audit_is_never_cut; DELETE FROM audit; DELETE FROM audit_chain;",
    );
    emptied.unwrap();
    site.restart();
    site.write(4).await;
    site.checkpoints.take().await.unwrap();
    let (size, seen) = (4, 5);
    let shorter = Err(WitnessError::Shorter { size, seen });
    assert_eq!(site.hear(&mut cut).await, Some(shorter));
    site.write(2).await;
    site.checkpoints.take().await.unwrap();
    let fork = Err(WitnessError::Fork { seen });
    assert_eq!(site.hear(&mut forked).await, Some(fork));
}

#[tokio::test]
async fn who_claims_to_have_seen_more_has_the_log_read_once_in_a_while() {
    let site = Site::start();
    site.write(2).await;
    site.checkpoints.take().await.unwrap();
    site.write(2).await;
    let claimed = AuditSeen {
        size: 1_000,
        root: vec![0; 32],
        fault: String::new(),
    };
    let told = site.checkpoints.news(&claimed).await;
    assert!(told.is_some_and(|told| told.note.contains("\n4\n")));
    assert!(site.checkpoints.news(&claimed).await.is_none());
    // Who has seen what there is hears of it as before.
    let mut honest = Witness::default();
    assert_eq!(site.hear(&mut honest).await, Some(Ok(())));
}

#[tokio::test]
async fn a_log_of_which_a_line_was_changed_or_removed_is_not_signed() {
    for change in [
        "DROP TRIGGER audit_is_never_changed; UPDATE audit SET line = replace(line, 'node:1', 'node:x')",
        "DROP TRIGGER audit_is_never_cut; DELETE FROM audit WHERE seq = 2",
    ] {
        let mut site = Site::start();
        site.write(4).await;
        site.checkpoints.take().await.unwrap();
        site.database().execute_batch(change).unwrap();
        site.restart();
        let refused = site.checkpoints.take().await.unwrap_err();
        let is_told = matches!(refused, CheckpointError::Changed { size: 4 });
        assert!(is_told, "{change}: {refused}");
        assert!(site.checkpoints.news(&AuditSeen::default()).await.is_none());
    }
}
