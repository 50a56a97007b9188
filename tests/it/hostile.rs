//! A thousand connections that mean no good, beside a hundred miners that do.

use crate::crash::check_ledger;
use crate::sv1_load::{Crew, Sv1Load, easy_network};
use hh_ipc::client::within;
use hh_tests::network::CALL;
use hh_tests::wait::wait_until;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::{JoinSet, block_in_place};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Together some 200 shares a second.
const GOOD: Crew = Crew {
    miners: 100,
    pause: Duration::from_millis(500),
};

const HOSTILE: u64 = 1_000;

/// Their addresses are 127.0.1.1 and so on: no bound on one address spares us the rest.
const HOSTILE_ADDRESSES: u64 = 50;

/// Shares of the good ones, while the others do what they can.
const SHARES: u64 = 3_000;

/// For an answer to a good share, which alone comes within milliseconds. A miner takes a pool for dead after a minute; this is for
/// a machine of two cores, of which those that send garbage have one.
const ANSWER_MAX: Duration = Duration::from_secs(5);

/// Between two connections of one of them: half of the thousand are closed at once, and make hundreds a second.
const AGAIN: Duration = Duration::from_secs(1);

/// Longer than any deadline of hh-translator.
const DEADLINE: Duration = Duration::from_secs(60);

/// What a connection does until it is closed. Then it does so again.
#[derive(Clone, Copy, Debug)]
enum Conduct {
    /// Bytes at random, and ends of lines.
    Garbage,
    /// The beginning of a line that has no end, byte by byte.
    HalfLine,
    /// A line of many megabytes.
    HugeLine,
    /// Nothing at all.
    Silent,
    /// A miner that asks and asks, and reads no answer.
    SlowReader,
    /// A subscription after the other.
    Flood,
}

const CONDUCTS: [Conduct; 6] = [
    Conduct::Garbage,
    Conduct::HalfLine,
    Conduct::HugeLine,
    Conduct::Silent,
    Conduct::SlowReader,
    Conduct::Flood,
];

const SUBSCRIBE: &[u8] = b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"hostile\"]}\n";
const AUTHORIZE: &[u8] =
    b"{\"id\":2,\"method\":\"mining.authorize\",\"params\":[\"hostile.slow\",\"x\"]}\n";
const PING: &[u8] = b"{\"id\":3,\"method\":\"mining.ping\",\"params\":[]}\n";

/// Times that connections of each conduct were closed by hh-translator.
#[derive(Debug, Default)]
struct Closed([AtomicU64; CONDUCTS.len()]);

impl Closed {
    fn all_at_least_once(&self) -> bool {
        self.0
            .iter()
            .all(|closed| closed.load(Ordering::Relaxed) > 0)
    }
}

/// All of them, on a thread of their own: the good miners' is not the one that they hold up.
fn start_crowd(to: SocketAddr, closed: &Arc<Closed>, stop: &CancellationToken) -> JoinHandle<()> {
    let (closed, stop) = (Arc::clone(closed), stop.clone());
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.expect("a runtime can be made").block_on(async {
            let mut crowd = JoinSet::new();
            for number in 0..HOSTILE {
                crowd.spawn(be_hostile(number, to, Arc::clone(&closed), stop.clone()));
            }
            crowd.join_all().await;
        });
    })
}

/// Does one thing again and again until the test is over.
async fn be_hostile(number: u64, to: SocketAddr, closed: Arc<Closed>, stop: CancellationToken) {
    let kind = usize::try_from(number).expect("it is small") % CONDUCTS.len();
    let last = u8::try_from(number % HOSTILE_ADDRESSES).expect("it is small") + 1;
    let from = SocketAddr::from(([127, 0, 1, last], 0));
    let misbehave = async {
        let mut again = tokio::time::interval(AGAIN);
        again.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            again.tick().await;
            let socket = TcpSocket::new_v4().expect("a socket can be made");
            socket.bind(from).expect("all of 127.0.0.0/8 is ours");
            // It may be turned away at once.
            if let Ok(stream) = socket.connect(to).await {
                // An error is what is waited for.
                conduct(CONDUCTS[kind], stream).await.ok();
            }
            closed.0[kind].fetch_add(1, Ordering::Relaxed);
        }
    };
    stop.run_until_cancelled(misbehave).await;
}

/// Until the other side closes.
async fn conduct(conduct: Conduct, mut stream: TcpStream) -> std::io::Result<()> {
    match conduct {
        Conduct::Garbage => loop {
            let mut garbage: [u8; 512] = rand::random();
            garbage[511] = b'\n';
            stream.write_all(&garbage).await?;
            stream.readable().await?;
            take_answers(&stream)?;
        },
        Conduct::HalfLine => {
            let mut line = SUBSCRIBE.iter().cycle().filter(|byte| **byte != b'\n');
            let mut pause = tokio::time::interval(Duration::from_millis(100));
            loop {
                tokio::select! {
                    _ = pause.tick() => {
                        stream.write_u8(*line.next().expect("it has no end")).await?;
                    }
                    read = stream.readable() => {
                        read?;
                        take_answers(&stream)?;
                    }
                }
            }
        }
        Conduct::HugeLine => loop {
            stream.write_all(&[b'['; 4096]).await?;
        },
        Conduct::Silent => {
            stream.read_to_end(&mut Vec::new()).await?;
            Ok(())
        }
        Conduct::SlowReader => {
            stream.write_all(SUBSCRIBE).await?;
            stream.write_all(AUTHORIZE).await?;
            loop {
                stream.write_all(PING).await?;
            }
        }
        Conduct::Flood => loop {
            stream.write_all(SUBSCRIBE).await?;
            take_answers(&stream)?;
        },
    }
}

/// Reads what is there.
///
/// # Errors
/// The other side has closed.
fn take_answers(stream: &TcpStream) -> std::io::Result<()> {
    let mut answers = [0; 4096];
    match stream.try_read(&mut answers) {
        Ok(0) => Err(std::io::ErrorKind::UnexpectedEof.into()),
        Ok(_) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(()),
        Err(error) => Err(error),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_hostile_connections_cost_no_good_share() {
    hh_tests::raise_file_limit();
    let network = easy_network().await;
    let (translator, address) = network.start_translator().await;
    let good = Sv1Load::start(address, GOOD);
    good.wait_for_accepted(GOOD.miners as u64).await;

    let stop = CancellationToken::new();
    let closed = Arc::new(Closed::default());
    let crowd = start_crowd(address, &closed, &stop);
    good.wait_for_accepted(SHARES).await;
    wait_until("every kind was shown the door", DEADLINE, async || {
        closed.all_at_least_once()
    })
    .await;
    let told = good.end().await;
    stop.cancel();
    block_in_place(|| crowd.join()).expect("the crowd does not panic");

    crate::say(&format!(
        "{} good shares, the slowest answered in {:?}; hostile connections closed: {closed:?}",
        told.accepted.len(),
        told.slowest
    ));
    assert_eq!(
        told.sessions, GOOD.miners,
        "no good miner lost its connection"
    );
    assert_eq!(told.in_flight, [], "every share has an answer");
    assert_eq!(
        told.refused_for("21: ").len(),
        told.refused.len(),
        "{:?}",
        told.refused
    );
    assert!(told.slowest < ANSWER_MAX, "{:?}", told.slowest);
    assert!(!translator.log().contains(r#""msg":"panic""#));
    network.wait_until_shipped().await;
    check_ledger(&network.ledger(), &told.accepted, &told.refused_for("21: ")).await;
    let status = translator.translator().await.status(within(CALL)).await;
    assert_eq!(status.expect("hh-translator answers").shares_in_flight, 0);
}
