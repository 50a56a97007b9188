//! The control plane: nodes that have enrolled at core, tokens, commands, certificates, the audit log.

use crate::daemons::core::{DONE, REFUSED, audit_key};
use crate::daemons::{Answers, Devnet, now};
use crate::operator::Operator;
use hh_ipc::locate::Daemon;
use hh_trust::control_key::NetworkPublicKey;
use hh_trust::key_set::KeySet;
use hh_trust::pki::{Issuer, IssuerKind};
use hhctl::Exit;
use insta::assert_snapshot;
use std::os::unix::fs::PermissionsExt;

fn with_core() -> Devnet {
    Devnet::start(Answers::good()).with(Answers::good(), &[Daemon::Core])
}

#[tokio::test]
async fn nodes_of_core_stand_beside_those_of_the_pool() {
    let devnet = with_core();
    let operator = Operator::at(&devnet);
    let list = operator.types("hhctl node list").await;
    assert_snapshot!("fleet_node_list", list.transcript());
    let json = operator.types("hhctl node list -o json").await;
    assert!(json.stdout.contains("\"fleet\""), "{json:?}");
    let show = operator.types("hhctl node show berlin").await;
    assert_snapshot!("fleet_node_show", show.transcript());
    let nobody = operator.types("hhctl node show rome").await;
    assert_eq!(nobody.exit, Exit::NotFound, "{nobody:?}");
    assert!(nobody.stderr.contains("hhctl node list"), "{nobody:?}");
}

#[tokio::test]
async fn a_core_without_a_pool_is_a_site_like_any_other() {
    let devnet = Devnet::start_some(Answers::good(), &[Daemon::Core]);
    let list = Operator::at(&devnet).types("hhctl node list").await;
    assert_eq!(list.exit, Exit::Done, "{list:?}");
    assert!(list.stdout.contains("berlin"), "{list:?}");
    let none = Devnet::empty();
    let list = Operator::at(&none).types("hhctl node list").await;
    assert_eq!(list.exit, Exit::Unreachable, "{list:?}");
}

#[tokio::test]
async fn a_restart_is_asked_about_and_its_exit_says_what_came_of_it() {
    let devnet = with_core();
    let line = "hhctl node restart berlin hh-translator";
    let no = Operator::at(&devnet).who_answers("n\n").types(line).await;
    assert_snapshot!("fleet_node_restart_refused", no.transcript());
    assert!(devnet.changes().is_empty());
    let operator = Operator::at(&devnet);
    let done = operator.types(&format!("{line} --yes")).await;
    assert_snapshot!("fleet_node_restart", done.transcript());
    assert_eq!(devnet.changes(), ["berlin Restart hh-translator"]);
    let sent = operator.types(&format!("{line} --yes --no-wait")).await;
    assert_eq!(sent.exit, Exit::Done);
    assert!(sent.stdout.contains("hhctl operation wait"), "{sent:?}");
    let refused = operator.types("hhctl node restart berlin hh-tp -y").await;
    assert_snapshot!("fleet_node_restart_of_another", refused.transcript());
}

#[tokio::test]
async fn each_command_of_a_node_is_asked_about_and_sent_as_it_was_written() {
    let devnet = with_core();
    let operator = Operator::at(&devnet);
    let file = devnet.path().join("new.toml");
    std::fs::write(&file, "a = 1\n").unwrap();
    let apply = format!(
        "hhctl node config apply berlin hh-translator {} --generation 7",
        file.display()
    );
    for (line, sent) in [
        ("hhctl node start berlin hh-tp", "berlin Start hh-tp"),
        ("hhctl node stop berlin hh-tp", "berlin Stop hh-tp"),
        ("hhctl node drain berlin", "berlin Drain { on: true }"),
        (
            "hhctl node drain berlin --end",
            "berlin Drain { on: false }",
        ),
        (
            "hhctl node certificate renew berlin",
            "berlin RenewCertificate",
        ),
        (
            "hhctl node wallet invoice berlin 250ksat --for dues",
            "berlin MakeInvoice { amount_msat: 250000000, description: \"dues\" }",
        ),
        (
            "hhctl node wallet pay berlin lnbc1 --amount 1ksat --max-fee 1sat",
            "berlin Spend { invoice: \"lnbc1\", amount_msat: 1000000, fee_msat_max: 1000 }",
        ),
        (
            &*apply,
            "berlin ApplyConfig { service: \"hh-translator\", generation: 7, body: \"a = 1\\n\" }",
        ),
    ] {
        let no = Operator::at(&devnet).who_answers("n\n").types(line).await;
        assert_eq!(no.exit, Exit::NotConfirmed, "{no:?}");
        let dry = operator.types(&format!("{line} --dry-run")).await;
        assert_eq!(dry.exit, Exit::Done, "{dry:?}");
        assert!(devnet.changes().is_empty());
        operator.types(&format!("{line} --yes")).await;
        assert_eq!(devnet.changes(), [sent]);
    }
    let missing = operator
        .types("hhctl node config apply berlin hh-tp /none -y")
        .await;
    assert_eq!(missing.exit, Exit::Failed, "{missing:?}");
}

#[tokio::test]
async fn a_log_is_printed_as_it_is_and_health_says_what_is_wrong() {
    let devnet = with_core();
    let operator = Operator::at(&devnet);
    let line = "hhctl node logs berlin hh-translator --lines 5 --after 1:2";
    let log = operator.types(line).await;
    assert_eq!(log.exit, Exit::Done, "{log:?}");
    assert_eq!(
        devnet.changes(),
        ["berlin Logs { service: \"hh-translator\", lines: 5, after: Some(\"1:2\") }"]
    );
    let health = operator.types("hhctl node health berlin").await;
    assert_eq!(health.exit, Exit::Degraded, "{health:?}");
    assert_snapshot!("fleet_node_health", health.transcript());
}

#[tokio::test]
async fn operations_are_listed_shown_and_waited_for() {
    let devnet = with_core();
    let operator = Operator::at(&devnet);
    let list = operator.types("hhctl operation list").await;
    assert_snapshot!("operation_list", list.transcript());
    let show = operator
        .types(&format!("hhctl operation show {REFUSED}"))
        .await;
    assert_eq!(show.exit, Exit::Done, "{show:?}");
    let wait = operator
        .types(&format!("hhctl operation wait {DONE}"))
        .await;
    assert_eq!(wait.exit, Exit::Done, "{wait:?}");
    let wait = operator
        .types(&format!("hhctl operation wait {REFUSED} --for 1s"))
        .await;
    assert_eq!(wait.exit, Exit::Failed, "{wait:?}");
    let none = operator.types("hhctl operation show 00").await;
    assert_eq!(none.exit, Exit::NotFound, "{none:?}");
}

#[tokio::test]
async fn a_node_is_revoked_at_core_and_at_the_pool_by_its_name() {
    let devnet = with_core();
    let line = "hhctl node revoke berlin --reason stolen";
    // A yes is not enough: it takes a new enrolment to undo it.
    let yes = Operator::at(&devnet).who_answers("y\n").types(line).await;
    assert_snapshot!("fleet_node_revoke_refused", yes.transcript());
    let operator = Operator::at(&devnet);
    let dry = operator.types(&format!("{line} --dry-run")).await;
    assert!(dry.stdout.contains("would revoke"), "{dry:?}");
    assert!(devnet.changes().is_empty());
    let typed = Operator::at(&devnet)
        .who_answers("berlin\n")
        .types(line)
        .await;
    assert_snapshot!("fleet_node_revoke", typed.transcript());
    let changes = devnet.changes();
    assert_eq!(changes.len(), 2, "{changes:?}");
    assert_eq!(changes[0], "core revokes berlin for Some(\"stolen\")");
    // A node that neither knows.
    let nobody = operator.types("hhctl node revoke madrid -y").await;
    assert_eq!(nobody.exit, Exit::NotFound, "{nobody:?}");
    assert!(devnet.changes().is_empty());
}

#[tokio::test]
async fn a_core_without_a_pool_revokes_a_node() {
    let devnet = Devnet::start_some(Answers::good(), &[Daemon::Core]);
    let operator = Operator::at(&devnet);
    let revoked = operator.types("hhctl node revoke berlin -y -o json").await;
    assert_eq!(revoked.exit, Exit::Done, "{revoked:?}");
    assert!(
        revoked.stdout.contains("\"RevokedFleetNode\""),
        "{revoked:?}"
    );
    let unknown = operator.types("hhctl node revoke madrid -y").await;
    assert!(unknown.stderr.contains("HH5001"), "{unknown:?}");
}

#[tokio::test]
async fn a_command_is_taken_back_after_a_question() {
    let devnet = with_core();
    let line = format!("hhctl operation cancel {DONE}");
    let no = Operator::at(&devnet).who_answers("n\n").types(&line).await;
    assert_eq!(no.exit, Exit::NotConfirmed, "{no:?}");
    assert!(devnet.changes().is_empty());
    let operator = Operator::at(&devnet);
    let done = operator.types(&format!("{line} -y")).await;
    assert_eq!(done.exit, Exit::Done, "{done:?}");
    assert!(done.stdout.contains("taken back"), "{done:?}");
    assert_eq!(devnet.changes(), [format!("cancel {DONE}")]);
    let late = operator
        .types(&format!("hhctl operation cancel {REFUSED} -y"))
        .await;
    assert_eq!(late.exit, Exit::Failed, "{late:?}");
    assert!(late.stderr.contains("hhctl operation show"), "{late:?}");
}

#[tokio::test]
async fn a_token_goes_into_a_file_for_its_owner_alone() {
    let devnet = with_core();
    let operator = Operator::at(&devnet);
    let made = operator.types("hhctl token create paris --hours 2").await;
    assert_eq!(made.stdout, "hhn1.a.b.c\n", "{made:?}");
    assert_eq!(devnet.changes(), ["token for paris 7200"]);
    let path = devnet.path().join("token");
    let line = format!("hhctl token create paris --out {} -o json", path.display());
    let made = operator.types(&line).await;
    assert!(!made.stdout.contains("hhn1"), "{made:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "hhn1.a.b.c\n");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let list = operator.types("hhctl token list").await;
    assert_snapshot!("token_list", list.transcript());
    devnet.changes();
    let line = "hhctl token revoke 0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c";
    let no = Operator::at(&devnet).who_answers("n\n").types(line).await;
    assert_eq!(no.exit, Exit::NotConfirmed, "{no:?}");
    let revoked = operator.types(&format!("{line} -y")).await;
    assert_snapshot!("token_revoke", revoked.transcript());
    assert_eq!(devnet.changes().len(), 1);
}

#[tokio::test]
async fn a_token_of_the_rest_interface_is_shown_once_and_taken_back() {
    let devnet = with_core();
    let operator = Operator::at(&devnet);
    let line = "hhctl api-token create bob --role node-operator --node berlin --node paris";
    let made = operator.types(line).await;
    assert_eq!(made.stdout, "hha1.abc\n", "{made:?}");
    assert_eq!(devnet.changes(), ["api token for bob, node-operator"]);
    let path = devnet.path().join("bob.token");
    let made = operator
        .types(&format!("{line} --out {}", path.display()))
        .await;
    assert!(!made.stdout.contains("hha1"), "{made:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "hha1.abc\n");
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let list = operator.types("hhctl api-token list").await;
    assert_snapshot!("api_token_list", list.transcript());
    devnet.changes();
    let line = "hhctl api-token revoke 0d0d0d0d0d0d0d0d";
    let no = Operator::at(&devnet).who_answers("n\n").types(line).await;
    assert_eq!(no.exit, Exit::NotConfirmed, "{no:?}");
    let revoked = operator.types(&format!("{line} -y")).await;
    assert!(revoked.stdout.contains("revoked"), "{revoked:?}");
    assert_eq!(devnet.changes().len(), 1);
    let wrong = operator
        .types("hhctl api-token create bob --role king")
        .await;
    assert_eq!(wrong.exit, Exit::Usage, "{wrong:?}");
}

#[tokio::test]
async fn keys_are_made_once_and_belong_together() {
    let dir = tempfile::tempdir().unwrap();
    let operator = Operator::in_dir(dir.path());
    let pki = dir.path().join("pki");
    let line = format!(
        "hhctl pki init --trust-domain hyperhash.example {}",
        pki.display()
    );
    let made = operator.types(&line).await;
    assert_snapshot!("pki_init", made.transcript());
    let read = |name: &str| std::fs::read_to_string(pki.join(name)).unwrap();
    let domain = "hyperhash.example".parse().unwrap();
    for kind in IssuerKind::ALL {
        let (certificate, key) = (format!("{kind}-issuer.crt"), format!("{kind}-issuer.key"));
        Issuer::from_pem(kind, &domain, &read(&certificate), &read(&key)).unwrap();
    }
    let network: NetworkPublicKey = read("network.pub").trim().parse().unwrap();
    KeySet::verify(read("key-set.jws").trim(), &network, &domain, 0).unwrap();
    for secret in ["offline/root.key", "offline/network.key", "command.key"] {
        let mode = std::fs::metadata(pki.join(secret))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{secret}");
    }
    let before = read("offline/root.key");
    let again = operator.types(&line).await;
    assert_eq!(again.exit, Exit::Failed, "{again:?}");
    assert_eq!(read("offline/root.key"), before);
}

#[tokio::test]
async fn another_issuer_or_key_takes_the_place_of_the_one_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let operator = Operator::in_dir(dir.path());
    let (pki, away) = (dir.path().join("pki"), dir.path().join("away"));
    let network = "--trust-domain hyperhash.example";
    let line = format!("hhctl pki init {network} {}", pki.display());
    operator.types(&line).await;
    std::fs::rename(pki.join("offline"), &away).unwrap();
    let read = |name: &str| std::fs::read_to_string(pki.join(name)).unwrap();
    let names = ["node-issuer", "server-issuer", "command", "enrolment"];
    let keys = || names.map(|name| read(&format!("{name}.key")));
    let (before, issuer) = (keys(), read("node-issuer.crt"));
    let rotate = |what: &str, offline: &str| {
        format!(
            "hhctl pki rotate {what} {} {network} {offline}",
            pki.display()
        )
    };
    // Without what is kept offline nothing is changed.
    for what in ["node-issuer", "server-issuer", "command-key"] {
        let refused = operator.types(&rotate(what, "")).await;
        assert_eq!(refused.exit, Exit::Failed, "{refused:?}");
        assert!(refused.stderr.contains("--offline"), "{refused:?}");
    }
    assert_eq!(keys(), before);
    let offline = format!("--offline {}", away.display());
    for what in [
        "node-issuer",
        "server-issuer",
        "command-key",
        "enrolment-key",
    ] {
        let rotated = operator.types(&rotate(what, &offline)).await;
        assert_eq!(rotated.exit, Exit::Done, "{rotated:?}");
    }
    for (before, now) in before.iter().zip(keys()) {
        assert_ne!(*before, now);
    }
    assert_eq!(read("node-issuer.former.crt"), issuer);
    let domain = "hyperhash.example".parse().unwrap();
    for kind in [IssuerKind::Node, IssuerKind::Server] {
        let (certificate, key) = (format!("{kind}-issuer.crt"), format!("{kind}-issuer.key"));
        Issuer::from_pem(kind, &domain, &read(&certificate), &read(&key)).unwrap();
        let mode = std::fs::metadata(pki.join(key))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let network: NetworkPublicKey = read("network.pub").trim().parse().unwrap();
    let list = KeySet::verify(read("key-set.jws").trim(), &network, &domain, 1).unwrap();
    assert_eq!((list.version, list.commands.len()), (2, 2));
    // Two in a day would leave nodes outside.
    let again = operator.types(&rotate("node-issuer", &offline)).await;
    assert!(again.stderr.contains("less than a day"), "{again:?}");
}

#[tokio::test]
async fn what_ends_soon_is_marked() {
    let devnet = with_core();
    let status = Operator::at(&devnet).types("hhctl pki status").await;
    assert_snapshot!("pki_status", status.transcript());
}

#[tokio::test]
async fn an_audit_log_is_checked_line_by_line() {
    let devnet = with_core();
    let whole = Operator::at(&devnet).types("hhctl audit verify").await;
    assert_snapshot!("audit_verify", whole.transcript());
    let changed = Answers {
        audit_is_whole: false,
        ..Answers::good()
    };
    let devnet = Devnet::start_some(changed, &[Daemon::Core]);
    let changed = Operator::at(&devnet).types("hhctl audit verify").await;
    assert_snapshot!("audit_verify_changed", changed.transcript());
}

#[tokio::test]
async fn the_audit_log_is_listed_newest_first_and_by_who_and_what() {
    let devnet = with_core();
    let operator = Operator::at(&devnet);
    let all = operator.types("hhctl audit list").await;
    assert_snapshot!("audit_list", all.transcript());
    for (flags, is_there) in [
        ("--actor root", true),
        ("--actor alice", false),
        ("--target node:berlin", true),
        ("--target paris", false),
        ("--since 1m", true),
        ("--since 20s", false),
        ("--limit 1 --since 2020-01-01T00:00:00Z", true),
    ] {
        let line = format!("hhctl audit list -o json {flags}");
        let found = operator.types(&line).await;
        assert_eq!(found.stdout.contains(DONE), is_there, "{line}: {found:?}");
    }
    let wrong = operator.types("hhctl audit list --since yesterday").await;
    assert_eq!(wrong.exit, Exit::Usage, "{wrong:?}");
}

#[tokio::test]
async fn an_audit_log_is_held_against_what_nodes_have_seen_and_who_has_signed_it() {
    let devnet = with_core();
    let operator = Operator::at(&devnet);
    let key = audit_key().public_key();
    let line = format!("hhctl audit verify --witness --key {key}");
    let whole = operator.types(&line).await;
    assert_snapshot!("audit_verify_witness", whole.transcript());
    // Core's log is another one than it was when the node saw it.
    let changed = Answers {
        audit_is_whole: false,
        ..Answers::good()
    };
    let devnet = Devnet::start_some(changed, &[Daemon::Core]);
    let changed = Operator::at(&devnet)
        .types("hhctl audit verify --witness")
        .await;
    assert_eq!(changed.exit, Exit::Degraded, "{changed:?}");
    assert!(
        changed.stdout.contains("has seen another one"),
        "{changed:?}"
    );
    let other = hh_trust::CheckpointKey::generate().unwrap().public_key();
    let line = format!("hhctl audit verify --key {other}");
    let stranger = Operator::at(&devnet).types(&line).await;
    assert!(stranger.stdout.contains("proves nothing"), "{stranger:?}");
}

#[tokio::test]
async fn an_exported_audit_log_is_checked_without_core() {
    let devnet = with_core();
    let path = devnet.path().join("audit.jsonl");
    let line = format!("hhctl audit export {}", path.display());
    let exported = Operator::at(&devnet).types(&line).await;
    assert_eq!(exported.exit, Exit::Done, "{exported:?}");
    let again = Operator::at(&devnet).types(&line).await;
    assert_eq!(again.exit, Exit::Failed, "{again:?}");
    let text = std::fs::read_to_string(&path).unwrap();
    assert_eq!(text.lines().count(), 3);
    drop(devnet);

    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy.jsonl");
    let operator = Operator::in_dir(dir.path());
    let line = format!("hhctl audit verify --file {}", copy.display());
    let none = operator.types(&line).await;
    assert_eq!(none.exit, Exit::Failed, "{none:?}");
    std::fs::write(&copy, &text).unwrap();
    let whole = operator.types(&line).await;
    assert_snapshot!("audit_verify_file", whole.transcript());
    let named = format!("{line} --key {}", audit_key().public_key());
    assert_eq!(operator.types(&named).await.exit, Exit::Done);
    let (log, end) = text.trim_end().rsplit_once('\n').unwrap();
    let (first, second) = log.split_once('\n').unwrap();
    for (changed, says) in [
        (
            format!("{}\n{second}\n{end}\n", first.replace("berlin", "paris!")),
            "line 2",
        ),
        (format!("{first}\n{end}\n"), "its end was cut off"),
        (
            format!("{first}\n{}\n{end}\n", second.replace("done", "failed")),
            "checkpoint",
        ),
        (
            format!("{log}\n{second}\n{end}\n"),
            "the last ones are not signed",
        ),
        (
            format!("{log}\n{}\n", end.replace("/audit", "/audi")),
            "proves nothing",
        ),
    ] {
        std::fs::write(&copy, &changed).unwrap();
        let refused = operator.types(&line).await;
        assert_eq!(refused.exit, Exit::Degraded, "{refused:?}");
        assert!(refused.stdout.contains(says), "{says}: {refused:?}");
    }
    // Without its checkpoint it says only what it can.
    std::fs::write(&copy, format!("{log}\n")).unwrap();
    let unsigned = operator.types(&line).await;
    assert_eq!(unsigned.exit, Exit::Done, "{unsigned:?}");
    assert!(unsigned.stdout.contains("nobody"), "{unsigned:?}");
    assert_eq!(operator.types(&named).await.exit, Exit::Degraded);
}

#[tokio::test]
async fn keys_that_were_made_without_one_for_the_audit_log_get_it() {
    let dir = tempfile::tempdir().unwrap();
    let operator = Operator::in_dir(dir.path());
    let pki = dir.path().join("pki");
    let made = format!(
        "hhctl pki init --trust-domain hyperhash.example {}",
        pki.display()
    );
    assert_eq!(operator.types(&made).await.exit, Exit::Done);
    let read = |name: &str| std::fs::read_to_string(pki.join(name)).unwrap();
    let network: NetworkPublicKey = read("network.pub").trim().parse().unwrap();
    let list = || KeySet::signed_by(read("key-set.jws").trim(), &network).unwrap();
    assert_eq!((list().version, list().checkpoints.len()), (1, 1));
    let line = |offline: &str, name: &str| {
        format!(
            "hhctl pki add-audit-key {} --offline {offline} --name {name}",
            pki.display()
        )
    };
    let offline = pki.join("offline").display().to_string();
    // The key that is there stays, and no list is made for one that could not be written.
    let taken = operator.types(&line(&offline, "audit.key")).await;
    assert_eq!(taken.exit, Exit::Failed, "{taken:?}");
    assert_eq!(list().version, 1);
    let added = operator.types(&line(&offline, "audit-2.key")).await;
    assert_eq!(added.exit, Exit::Done, "{added:?}");
    assert!(added.stdout.contains("audit_key = \"file:"), "{added:?}");
    assert_eq!((list().version, list().checkpoints.len()), (2, 2));
    let key: hh_trust::CheckpointKey = read("audit-2.key").trim().parse().unwrap();
    assert!(list().checkpoints_by(&key.public_key(), now().as_second()));
    // The offline key of another network signs no list of this one.
    let other = dir.path().join("other");
    let made = format!(
        "hhctl pki init --trust-domain other.example {}",
        other.display()
    );
    assert_eq!(operator.types(&made).await.exit, Exit::Done);
    let offline = other.join("offline").display().to_string();
    let refused = operator.types(&line(&offline, "audit-3.key")).await;
    assert!(refused.stderr.contains("another network"), "{refused:?}");
}
