//! Templates, tips and channels for the tests of this crate.

pub(crate) mod core;
pub(crate) mod node;
pub(crate) mod server;
pub(crate) mod witness;

use crate::admission::ConnectionView;
use crate::channel::{Channel, ChannelKind};
use crate::directory::{Clock, Directory, NewChannel};
use crate::share_log::Origin;
use crate::work::{Provider, Work, WorkBoard};
use bitcoin::ScriptBuf;
use hh_daemon::StateFile;
use hh_daemon::ban::AutoBan;
use hh_daemon::ban::BanBook;
use hh_mining::{Bounds, ExtranoncePrefix, Target, Template, Tip, Vardiff};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// For anything on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Between two looks at a condition that nothing tells of.
const LOOK: Duration = Duration::from_millis(5);

/// What `condition` gives, once it gives something.
pub(crate) async fn wait_for<T>(what: &str, condition: impl AsyncFn() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(found) = condition().await {
                return found;
            }
            tokio::time::sleep(LOOK).await;
        }
    };
    let found = tokio::time::timeout(PATIENCE, waiting).await;
    found.unwrap_or_else(|_elapsed| panic!("waited in vain for: {what}"))
}

/// How many cases a property is tried with: `few`, or `many` where what is long is to be run too (`scripts/test --all`).
pub(crate) fn cases(few: u32, many: u32) -> u32 {
    let all = std::env::var_os("HH_TEST_ALL").is_some();
    if all { many } else { few }
}

pub(crate) const HEIGHT: u32 = 4_711;

/// nBits of regtest: every second hash is a block.
pub(crate) const REGTEST_NBITS: u32 = 0x207f_ffff;

/// The time of every tip.
pub(crate) const TIP_TIME: u32 = 1_700_000_000;

pub(crate) fn reward_script() -> ScriptBuf {
    ScriptBuf::from_hex("00140102030405060708090a0b0c0d0e0f1011121314").unwrap()
}

pub(crate) fn template(template_id: u64) -> Template {
    let commitment = [
        &[0; 8][..],
        &[38, 0x6a, 0x24, 0xaa, 0x21, 0xa9, 0xed],
        &[9; 32],
    ]
    .concat();
    Template {
        template_id,
        version: 0x2000_0000,
        coinbase_tx_version: 2,
        coinbase_prefix: vec![2, 0x67, 0x12],
        coinbase_tx_input_sequence: 0xffff_fffe,
        coinbase_tx_value_remaining: 5_000_000_000 + template_id,
        coinbase_tx_outputs_count: 1,
        coinbase_tx_outputs: commitment,
        coinbase_tx_locktime: HEIGHT - 1,
        merkle_path: vec![[7; 32], [8; 32]],
    }
}

/// A connection to a provider that is gone.
pub(crate) fn provider() -> Provider {
    Provider {
        address: "127.0.0.1:34250".into(),
        solutions: mpsc::channel(1).0,
    }
}

/// A board for one provider, which is connected.
pub(crate) fn board(first_template: u32) -> WorkBoard {
    let mut board = WorkBoard::new(reward_script(), "/test/", first_template, 1, Duration::ZERO);
    board.on_up(0, provider());
    board
}

/// A tip whose hash is made of `byte`.
pub(crate) fn tip(byte: u8) -> Tip {
    tip_of(byte, REGTEST_NBITS)
}

/// The same, with other nBits.
pub(crate) fn tip_of(byte: u8, nbits: u32) -> Tip {
    Tip::new([byte; 32], TIP_TIME, nbits).unwrap()
}

/// Work on one tip.
pub(crate) fn work() -> Arc<Work> {
    let mut board = board(7);
    board.on_new_template(0, template(1), true, 0).unwrap();
    board.on_set_new_prev_hash(0, 1, tip(1), 0).unwrap();
    board.subscribe().borrow().clone().unwrap()
}

/// Nobody is banned, and a ban that an operator makes can't be kept.
pub(crate) fn no_bans() -> BanBook {
    let file = StateFile::new("/nonexistent/bans.json".into());
    BanBook::open(AutoBan::default(), file, 0).unwrap()
}

/// A connection that nobody listens at the end of.
pub(crate) fn connection() -> Arc<ConnectionView> {
    let peer = "127.0.0.1:1".parse().unwrap();
    let ending = CancellationToken::new();
    Arc::new(ConnectionView::new(1, peer, ending))
}

/// An extended channel with prefix `index`, whose jobs take any hash up to `target`.
pub(crate) fn channel(index: u8, target: Target) -> Channel {
    let directory = Directory::new(Clock::start(), Vec::new());
    let view = directory.open(NewChannel {
        origin: Arc::new(Origin::new("alice", "rig1", "core", "sv2").unwrap()),
        connection: connection(),
        kind: "extended",
        device: "test".into(),
        nominal_hashrate_hs: 1e6,
        target,
    });
    let prefix = ExtranoncePrefix::from_bytes([0, 1, 0, 0, 0, 0, 0, index]);
    let vardiff = Vardiff::new(Bounds::new(target, target), 18.0, target, 0);
    Channel::new(2, ChannelKind::Extended, prefix, view, vardiff, Target::MAX)
}
