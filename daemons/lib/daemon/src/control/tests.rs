use super::*;
use crate::Settings;
use hh_ipc::api::Hello;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

#[test]
fn a_socket_is_for_its_own_user_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hh-x/control.sock");
    let _listener = listen(&path).unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&path), 0o600);
    assert_eq!(mode(path.parent().unwrap()), 0o700);
}

#[test]
fn a_socket_that_nobody_listens_on_is_taken_over() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    drop(UnixListener::bind(&path).unwrap());
    let _listener = listen(&path).unwrap();
    UnixStream::connect(&path).unwrap();
}

#[test]
fn a_socket_in_use_and_a_file_in_the_way_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("control.sock");
    let _held = listen(&path).unwrap();
    assert!(matches!(listen(&path), Err(ControlError::InUse { .. })));
    let file = dir.path().join("view.sock");
    std::fs::write(&file, "precious").unwrap();
    assert!(matches!(listen(&file), Err(ControlError::NoSocket { .. })));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
}

#[test]
fn a_path_that_linux_cannot_hold_is_refused_with_its_length() {
    let path = PathBuf::from(format!("/tmp/{}/control.sock", "x".repeat(100)));
    let error = listen(&path).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("has 118 bytes, more than the 107"),
        "{error}"
    );
    assert_eq!(error.into_failure().status(), crate::ExitStatus::Config);
}

#[test]
fn the_other_daemons_users_are_known_by_name() {
    let passwd = "root:x:0:0::/:/bin/sh\nhh-pool:x:801:800::/:/x\nhh-treasury:x:802:800::/:/x\n";
    assert_eq!(uids(passwd, "hh-pool"), BTreeSet::from([802]));
    // The agent drains the translator of its node, and commands nobody else.
    let node = "hh-translator:x:803:800::/:/x\nhh-node-agent:x:804:800::/:/x\n";
    assert_eq!(uids(node, "hh-translator"), BTreeSet::new());
    assert_eq!(uids(node, "hh-pool"), BTreeSet::from([803, 804]));
    assert_eq!(uids(node, "hh-node-agent"), BTreeSet::from([803]));
}

#[derive(Clone)]
struct Answering(Hello);

impl hh_ipc::api::template_provider::TemplateProvider for Answering {
    async fn hello(self, _: hh_ipc::Context) -> Hello {
        self.0
    }

    async fn status(
        self,
        _: hh_ipc::Context,
    ) -> hh_ipc::api::template_provider::TemplateProviderStatus {
        unreachable!("no test calls it")
    }

    async fn templates(
        self,
        _: hh_ipc::Context,
        _: u32,
    ) -> Vec<hh_ipc::api::template_provider::TemplateSummary> {
        Vec::new()
    }

    async fn template(
        self,
        _: hh_ipc::Context,
        _: u64,
    ) -> Result<hh_ipc::api::template_provider::TemplateDetail, hh_ipc::ApiError> {
        unreachable!("no test calls it")
    }
}

#[tokio::test]
async fn both_sockets_answer_and_go_away_with_the_daemon() {
    use hh_ipc::api::template_provider::TemplateProvider;
    let dir = tempfile::tempdir().unwrap();
    let settings = Settings {
        runtime_dir: dir.path().to_owned(),
        ..Settings::default()
    };
    let context = Context::new("hh-x", "1.2.3", settings);
    let inner = context.clone();
    context
        .serve_control(move |caller, stream| {
            let service = Answering(inner.hello(caller.read_only)).serve();
            Box::pin(hh_ipc::server::answer(stream, service))
        })
        .unwrap();
    for (file, read_only) in [("control.sock", false), ("view.sock", true)] {
        let path = dir.path().join("hh-x").join(file);
        let client = hh_ipc::client::template_provider(hh_ipc::client::dial(&path).await.unwrap());
        let call = hh_ipc::client::within(Duration::from_secs(10));
        let hello = client.hello(call).await.unwrap();
        assert_eq!(
            (hello.daemon.as_str(), hello.read_only),
            ("hh-x", read_only)
        );
    }
    context
        .tasks
        .shutdown(Duration::from_secs(10))
        .await
        .unwrap();
    assert_eq!(
        std::fs::read_dir(dir.path().join("hh-x")).unwrap().count(),
        0
    );
}

#[test]
#[ignore = "the process that the next test starts as systemd would"]
fn the_activated_process() {
    for file in passed_by_systemd().keys() {
        println!("passed {file}");
    }
}

#[test]
fn sockets_that_systemd_passes_are_known_by_their_file() {
    let dir = tempfile::tempdir().unwrap();
    let listener = UnixListener::bind(dir.path().join("view.sock")).unwrap();
    let script = "exec 3<&0; export LISTEN_FDS=1 LISTEN_PID=$$; exec \"$0\" \"$@\"";
    let output = std::process::Command::new("sh")
        .args(["-c", script])
        .arg(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "control::tests::the_activated_process",
            "--ignored",
            "--nocapture",
        ])
        .stdin(std::os::fd::OwnedFd::from(listener))
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.contains("passed view.sock"), "{stdout}");
}

#[test]
fn a_view_socket_changes_nothing() {
    let peer = Peer {
        uid: 1,
        gid: 1,
        pid: None,
    };
    let caller = |read_only| Caller { peer, read_only };
    assert_eq!(caller(false).may_change(), Ok(()));
    let refused = caller(true).may_change().unwrap_err();
    assert_eq!(refused.kind, ErrorKind::Permission);
}
