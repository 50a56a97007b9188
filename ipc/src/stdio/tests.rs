use super::*;
use crate::locate::{Context, Daemon};
use tokio::io::{DuplexStream, ReadHalf, WriteHalf, split};
use tokio::net::UnixListener;
use tokio::task::JoinSet;

/// A machine without daemons yet, and a session with it.
struct Machine {
    dir: tempfile::TempDir,
    context: Context,
    tasks: JoinSet<()>,
}

impl Machine {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let context = Context {
            name: "x".to_owned(),
            runtime_dir: dir.path().to_owned(),
        };
        Self {
            dir,
            context,
            tasks: JoinSet::new(),
        }
    }

    fn socket(&self, daemon: Daemon, file: &str) -> UnixListener {
        let dir = self.dir.path().join(daemon.program());
        std::fs::create_dir_all(&dir).unwrap();
        UnixListener::bind(dir.join(file)).unwrap()
    }

    /// A daemon that sends back what it is sent.
    fn echo(&mut self, daemon: Daemon, file: &str) {
        let listener = self.socket(daemon, file);
        self.tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                connections.spawn(async move {
                    let (mut reader, mut writer) = stream.split();
                    tokio::io::copy(&mut reader, &mut writer).await.ok();
                });
            }
        });
    }

    /// The near end of a session of `dial-stdio`.
    fn dial(&mut self, read_only: bool) -> (ReadHalf<DuplexStream>, WriteHalf<DuplexStream>) {
        let (near, far) = tokio::io::duplex(1024);
        let context = self.context.clone();
        self.tasks.spawn(async move {
            let (reader, writer) = split(far);
            relay(reader, writer, &context, read_only).await.ok();
        });
        split(near)
    }

    async fn remote(&mut self, read_only: bool) -> Remote {
        let (reader, writer) = self.dial(read_only);
        Remote::start(reader, writer).await.unwrap()
    }
}

async fn is_echoed(stream: DuplexStream, bytes: &[u8]) {
    let (mut reader, mut writer) = split(stream);
    let mut echoed = vec![0; bytes.len()];
    let (written, read) = tokio::join!(writer.write_all(bytes), reader.read_exact(&mut echoed));
    written.unwrap();
    read.unwrap();
    assert!(echoed == bytes);
}

#[tokio::test]
async fn streams_to_several_daemons_carry_a_megabyte_each_way_at_once() {
    let mut machine = Machine::new();
    machine.echo(Daemon::Pool, "control.sock");
    machine.echo(Daemon::Tp, "view.sock");
    let remote = machine.remote(false).await;
    let pool = remote.open(Daemon::Pool).await.unwrap();
    let tp = remote.open(Daemon::Tp).await.unwrap();
    let megabyte: Vec<u8> = (0..1 << 20).map(|i: u32| i.to_le_bytes()[1]).collect();
    tokio::join!(is_echoed(pool, &megabyte), is_echoed(tp, &megabyte));
}

#[tokio::test]
async fn a_daemon_that_reads_nothing_does_not_hold_up_another() {
    let mut machine = Machine::new();
    let deaf = machine.socket(Daemon::Pool, "control.sock");
    machine.echo(Daemon::Tp, "control.sock");
    let remote = machine.remote(false).await;
    let mut pool = remote.open(Daemon::Pool).await.unwrap();
    let _accepted = deaf.accept().await.unwrap();
    let mut stuffing = JoinSet::new();
    stuffing.spawn(async move { pool.write_all(&vec![0; 4 << 20]).await });
    for _ in 0..100 {
        let tp = remote.open(Daemon::Tp).await.unwrap();
        is_echoed(tp, b"still here").await;
    }
    assert!(stuffing.try_join_next().is_none());
}

#[tokio::test]
async fn a_daemon_that_is_not_there_is_refused_with_the_path_and_the_session_goes_on() {
    let mut machine = Machine::new();
    machine.echo(Daemon::Tp, "view.sock");
    drop(machine.socket(Daemon::Translator, "control.sock"));
    let remote = machine.remote(false).await;
    let refusal = |error| match error {
        OpenError::Refused { kind, reason } => (kind, reason),
        OpenError::Ended => panic!("the session ended"),
    };
    let (kind, reason) = refusal(remote.open(Daemon::Pool).await.unwrap_err());
    assert_eq!(kind, io::ErrorKind::NotFound);
    assert!(
        reason.contains("hh-pool/control.sock: No such file"),
        "{reason}"
    );
    let (kind, _) = refusal(remote.open(Daemon::Translator).await.unwrap_err());
    assert_eq!(kind, io::ErrorKind::ConnectionRefused);
    is_echoed(remote.open(Daemon::Tp).await.unwrap(), b"x").await;
}

#[tokio::test]
async fn read_only_dials_view_sockets_alone() {
    let mut machine = Machine::new();
    machine.echo(Daemon::Pool, "control.sock");
    machine.echo(Daemon::Tp, "view.sock");
    let remote = machine.remote(true).await;
    let error = remote.open(Daemon::Pool).await.unwrap_err();
    assert!(error.to_string().contains("view.sock"), "{error}");
    is_echoed(remote.open(Daemon::Tp).await.unwrap(), b"x").await;
}

#[tokio::test]
async fn a_stream_ends_when_the_daemon_closes_it() {
    let mut machine = Machine::new();
    let listener = machine.socket(Daemon::Pool, "control.sock");
    let remote = machine.remote(false).await;
    let mut stream = remote.open(Daemon::Pool).await.unwrap();
    let (mut accepted, _) = listener.accept().await.unwrap();
    accepted.write_all(b"last words").await.unwrap();
    drop(accepted);
    let mut read = String::new();
    stream.read_to_string(&mut read).await.unwrap();
    assert_eq!(read, "last words");
}

#[tokio::test]
async fn dropping_the_session_and_its_streams_ends_the_far_end() {
    let mut machine = Machine::new();
    let listener = machine.socket(Daemon::Pool, "control.sock");
    let remote = machine.remote(false).await;
    let stream = remote.open(Daemon::Pool).await.unwrap();
    let _accepted = listener.accept().await.unwrap();
    drop((remote, stream));
    machine.tasks.join_next().await.unwrap().unwrap();
}

#[tokio::test]
async fn what_a_login_script_prints_is_shown() {
    let said = b"Welcome to \x1b[1mhost7\x1b[0m\n".as_slice();
    let error = Remote::start(said, tokio::io::sink()).await.unwrap_err();
    assert!(
        error.to_string().contains("Welcome to  [1mhost7"),
        "{error}"
    );
    let error = Remote::start(tokio::io::empty(), tokio::io::sink())
        .await
        .unwrap_err();
    assert!(matches!(error, RemoteError::Closed), "{error}");
}

#[tokio::test]
async fn a_far_end_that_breaks_the_protocol_ends_the_session() {
    // A frame of one byte; one of kind 9; an answer that was not asked for (the first channel will be 0); one that is too
    // long.
    for frame in [
        [0, 0, 0, 1, 0].as_slice(),
        &[0, 0, 0, 5, 0, 0, 0, 0, 9],
        &[0, 0, 0, 5, 0, 0, 0, 9, 1],
        &[0, 1, 0, 0],
    ] {
        let (near, mut far) = tokio::io::duplex(1024);
        far.write_all(PREFACE).await.unwrap();
        far.write_all(frame).await.unwrap();
        let (reader, writer) = split(near);
        let remote = Remote::start(reader, writer).await.unwrap();
        assert!(matches!(
            remote.open(Daemon::Pool).await,
            Err(OpenError::Ended)
        ));
    }
}

#[tokio::test]
async fn a_near_end_that_sends_more_than_its_window_is_cut_off() {
    let mut machine = Machine::new();
    let _deaf = machine.socket(Daemon::Pool, "control.sock");
    let (mut reader, mut writer) = machine.dial(false);
    writer
        .write_all(b"\0\0\0\x0c\0\0\0\x01\0hh-pool")
        .await
        .unwrap();
    let chunk = [
        &[0, 0, 0x40, 5, 0, 0, 0, 1, 3],
        vec![0; 16 * 1024].as_slice(),
    ]
    .concat();
    let stuffing = async { while writer.write_all(&chunk).await.is_ok() {} };
    let mut read = Vec::new();
    let (_, ended) = tokio::join!(stuffing, reader.read_to_end(&mut read));
    ended.unwrap();
    machine.tasks.join_next().await.unwrap().unwrap();
}
