//! A session between a socket and the queues of its upstream.

use super::*;
use crate::bridge::sample::{job, tip};
use crate::config::{LaneConfig, LimitsConfig};
use crate::miners::Miners;
use crate::upstream::{EventSink, OpenedChannel, Route};
use proptest::prelude::*;
use std::collections::BTreeSet;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Far more than anything here takes.
const DEADLINE: Duration = Duration::from_secs(20);

/// Both ends of a session that runs.
struct Bench {
    miner: BufReader<TcpStream>,
    commands: mpsc::Receiver<Command>,
    session: JoinSet<SessionEnd>,
}

impl Bench {
    async fn start(change: impl FnOnce(&mut Session)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let miner = TcpStream::connect(listener.local_addr().unwrap()).await;
        let (stream, peer) = listener.accept().await.unwrap();
        let lane = LaneConfig::new("main", "127.0.0.1:0".parse().unwrap());
        let address = lane.listen_address;
        let miners = Miners::new(&[(lane, address)], &LimitsConfig::default());
        let place = miners.admit(&miners.lanes()[0], peer).unwrap();
        let (sender, commands) = mpsc::channel(64);
        let upstream = UpstreamHandle {
            commands: sender,
            upstreams: Upstreams::new(&[]),
            lease_size: 0,
        };
        let mut session = Session::new(MinerStream::Plain(stream), place, upstream);
        change(&mut session);
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        running.spawn(async move { session.run(&stop).await });
        Self {
            miner: BufReader::new(miner.unwrap()),
            commands,
            session: running,
        }
    }

    /// The next line to the miner; none at the end of the connection.
    async fn line(&mut self) -> Option<serde_json::Value> {
        let mut line = String::new();
        let read = tokio::time::timeout(DEADLINE, self.miner.read_line(&mut line)).await;
        let length = read.expect("a line, or the end").unwrap_or(0);
        (length > 0).then(|| serde_json::from_str(&line).unwrap())
    }
}

/// Opens every channel that is asked for, with a job that every header is work for, and accepts every share.
async fn serve(mut commands: mpsc::Receiver<Command>) {
    let mut session_events = None;
    while let Some(command) = commands.recv().await {
        match command {
            Command::Open {
                events: EventSink::Session(events),
                ..
            } => {
                for event in work() {
                    events.send(event).await.ok();
                }
                session_events = Some(events);
            }
            Command::Submit {
                route,
                sequence_number,
                ..
            } => {
                if let Some(events) = &session_events {
                    let accepted = Event::Accepted {
                        route,
                        last_sequence_number: sequence_number,
                        count: 1,
                    };
                    events.send(accepted).await.ok();
                }
            }
            _ => {}
        }
    }
}

const ROUTE: Route = Route {
    link: 1,
    channel_id: 1,
};

fn work() -> [Event; 3] {
    let opened = OpenedChannel {
        route: ROUTE,
        target: Target::MAX,
        extranonce_prefix: vec![9; 8].into(),
        extranonce_size: 8,
        lease: Box::default(),
    };
    let now = Instant::now();
    [
        Event::Opened(Box::new(opened)),
        Event::Job(job(1, None), now),
        Event::Tip(tip(1, 7), now),
    ]
}

/// While the pool is away nothing else is said to a miner, and cgminer leaves a server that is silent for two minutes.
#[tokio::test]
async fn a_miner_that_hears_nothing_for_long_is_told_its_difficulty_again() {
    let quick = |session: &mut Session| session.idle_max = Duration::from_millis(20);
    let mut bench = Bench::start(quick).await;
    let calls = "{\"id\":1,\"method\":\"mining.subscribe\"}\n{\"id\":2,\"method\":\"mining.authorize\",\"params\":[\"alice\"]}\n";
    bench.miner.write_all(calls.as_bytes()).await.unwrap();
    let Some(Command::Open {
        events: EventSink::Session(events),
        ..
    }) = bench.commands.recv().await
    else {
        panic!("the channel is asked for");
    };
    for event in work() {
        events.send(event).await.unwrap();
    }
    events.send(Event::Lost(ROUTE.link)).await.unwrap();
    let mut told = 0;
    while told < 4 {
        let line = bench.line().await.unwrap();
        told += usize::from(line["method"] == "mining.set_difficulty");
    }
}

/// A line of a miner, and whether it is one that must be answered.
#[derive(Clone, Debug)]
enum Said {
    /// To be answered by the id that it gets; `{}` stands for that.
    Call(&'static str),
    Share(String),
    /// Anything else.
    Noise(Vec<u8>),
}

const CALLS: [&str; 14] = [
    r#"{"id":{},"method":"mining.configure","params":[["version-rolling"],{"version-rolling.mask":"ffffffff"}]}"#,
    r#"{"id":{},"method":"mining.configure","params":[["minimum-difficulty"],{"minimum-difficulty.value":1e308}]}"#,
    r#"{"id":{},"method":"mining.configure","params":7}"#,
    r#"{"id":{},"method":"mining.subscribe","params":["cgminer/4.11.1"]}"#,
    r#"{"id":{},"method":"mining.subscribe"}"#,
    r#"{"id":{},"method":"mining.authorize","params":["alice.rig1","d=1e-300"]}"#,
    r#"{"id":{},"method":"mining.authorize","params":["alice.rig2"]}"#,
    r#"{"id":{},"method":"mining.authorize","params":["bob"]}"#,
    r#"{"id":{},"method":"mining.authorize","params":[]}"#,
    r#"{"id":{},"method":"mining.suggest_difficulty","params":[1e-9]}"#,
    r#"{"id":{},"method":"mining.suggest_difficulty","params":[]}"#,
    r#"{"id":{},"method":"mining.extranonce.subscribe"}"#,
    r#"{"id":{},"method":"mining.ping"}"#,
    r#"{"id":{},"method":"mining.get_transactions","params":["1"]}"#,
];

fn said() -> impl Strategy<Value = Said> {
    let field = "([0-9a-f]{0,16}|[\\PC&&[^\"\\\\]]{0,8})";
    let share = prop::collection::vec(field, 0..8).prop_map(|fields| {
        let fields: Vec<String> = fields.iter().map(|field| format!("\"{field}\"")).collect();
        format!(
            "{{\"id\":{{}},\"method\":\"mining.submit\",\"params\":[{}]}}",
            fields.join(",")
        )
    });
    prop_oneof![
        4 => (0..CALLS.len()).prop_map(|which| Said::Call(CALLS[which])),
        2 => share.prop_map(Said::Share),
        1 => prop::collection::vec(any::<u8>(), 0..200).prop_map(Said::Noise),
    ]
}

/// Says all of it in pieces, and gives how the session ended if it did, and which calls were not answered.
async fn talk(script: Vec<Said>, piece: usize) -> (Option<SessionEnd>, BTreeSet<u64>) {
    let mut bench = Bench::start(|_| {}).await;
    let (_, unused) = mpsc::channel(1);
    let mut serving = JoinSet::new();
    serving.spawn(serve(std::mem::replace(&mut bench.commands, unused)));
    let (mut bytes, mut open) = (Vec::new(), BTreeSet::new());
    for (id, said) in (1_u64..).zip(script) {
        let call = match said {
            Said::Call(call) => call.to_owned(),
            Said::Share(call) => call,
            Said::Noise(noise) => {
                bytes.extend(noise);
                bytes.push(b'\n');
                continue;
            }
        };
        open.insert(id);
        bytes.extend(call.replacen("{}", &id.to_string(), 1).into_bytes());
        bytes.push(b'\n');
    }
    for chunk in bytes.chunks(piece) {
        // It may have been closed by now.
        bench.miner.write_all(chunk).await.ok();
    }
    while !open.is_empty() {
        let Some(line) = bench.line().await else {
            break;
        };
        if let Some(id) = line["id"].as_u64().filter(|_| line["method"].is_null()) {
            assert!(
                open.remove(&id),
                "{id} is answered twice or was never asked"
            );
        }
    }
    let closed = !open.is_empty();
    drop(bench.miner);
    let end = tokio::time::timeout(DEADLINE, bench.session.join_next()).await;
    let end = end.expect("the session ends").expect("it was spawned");
    let end = end.expect("it does not panic");
    (closed.then_some(end), open)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if std::env::var_os("HH_TEST_ALL").is_some() { 20_000 } else { 200 }))]

    #[test]
    fn whatever_a_miner_says_every_call_is_answered_once_or_the_connection_closed(
        script in prop::collection::vec(said(), 1..40),
        piece in 1_usize..600,
    ) {
        let noise = script.iter().filter(|said| matches!(said, Said::Noise(_))).count();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (end, unanswered) = runtime.block_on(talk(script, piece));
        let hostile = matches!(
            end,
            None | Some(SessionEnd::Malformed | SessionEnd::UnexpectedTls | SessionEnd::Chatter)
        );
        prop_assert!(hostile, "{end:?}");
        prop_assert!(unanswered.is_empty() || noise > 0, "{unanswered:?}");
    }
}
