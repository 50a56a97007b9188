//! The test kit itself: where it is wrong, every other test is in doubt.

use hh_tests::bitcoin_core::{BitcoinCore, Chain};

#[test]
fn a_node_makes_blocks_on_our_signet_and_keeps_them_over_a_kill() {
    let mut node = BitcoinCore::start(Chain::Signet);
    let made = node.generate(2);
    assert_eq!(node.height(), 3);
    assert_eq!(made.last(), Some(&node.tip()));
    assert!(node.ipc_socket().exists());
    node.kill();
    node.restart();
    // What was not on the disk yet is gone with a kill, as Bitcoin Core is built.
    assert!(node.height() <= 3);
    node.generate(1);
}
