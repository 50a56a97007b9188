use super::*;
use hh_mining::Header;
use std::time::Duration;

/// nBits of regtest.
const EASY: u32 = 0x207f_ffff;

/// Any time; headers here are of then.
const UNIX: u32 = 1_800_000_000;

fn header_at(parent: BlockHash, number: u32, ntime: u32) -> RelayedHeader {
    let mut header = Header {
        version: 4,
        prev_hash: parent.to_byte_array(),
        merkle_root: [u8::try_from(number % 256).unwrap(); 32],
        ntime,
        nbits: EASY,
        nonce: number << 16,
    };
    loop {
        if let Ok(read) = RelayedHeader::read(&header.to_bytes(), Network::Regtest) {
            return read;
        }
        header.nonce += 1;
    }
}

fn header(parent: BlockHash, number: u32) -> RelayedHeader {
    header_at(parent, number, UNIX)
}

/// Some nodes, all at the same block.
struct Nodes {
    board: Board,
    start: Instant,
    places: BTreeMap<NodeId, Place>,
    tip: RelayedHeader,
}

fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

impl Nodes {
    fn new(names: &[&str]) -> Self {
        let tip = header(BlockHash::default(), 0);
        let mut nodes = Self {
            board: Board::new(Network::Regtest),
            start: Instant::now(),
            places: BTreeMap::new(),
            tip,
        };
        for (number, name) in names.iter().enumerate() {
            let place = nodes.board.enter(&node(name), 1);
            nodes.places.insert(node(name), place);
            let expected = match number {
                0 => Outcome::Anchor,
                // Where another node stands is known.
                _ => Outcome::Duplicate,
            };
            assert_eq!(nodes.announce(name, tip).unwrap(), expected);
        }
        nodes
    }

    fn now(&self) -> Now {
        Now {
            at: self.start,
            unix_seconds: UNIX.into(),
        }
    }

    fn announce(&mut self, name: &str, header: RelayedHeader) -> Result<Outcome, Refusal> {
        let now = self.now();
        self.board.announce(&node(name), header, None, (7, now))
    }

    /// What a node is told next, in a word.
    fn told(&mut self, name: &str) -> Option<(&'static str, BlockHash)> {
        let place = self.places.get_mut(&node(name)).unwrap();
        let news = place.news.try_recv().ok()?;
        Some(match news {
            News::Announce { header, height } => {
                assert_eq!(height, 7);
                ("announce", header.hash())
            }
            News::Fetch(header) => ("fetch", header.hash()),
            News::Here(hash) => ("here", hash),
        })
    }

    fn want(&mut self, name: &str, hash: BlockHash) -> Option<Bytes> {
        let wanted = self.board.want(&node(name), hash, self.start).unwrap();
        wanted.map(|wanted| wanted.body)
    }
}

#[test]
fn a_new_block_is_told_to_all_others_once_and_its_body_goes_to_who_asks() {
    let mut nodes = Nodes::new(&["a", "b", "c"]);
    let block = header(nodes.tip.hash(), 1);
    let hash = block.hash();
    assert_eq!(nodes.announce("a", block).unwrap(), Outcome::Relayed);
    assert_eq!(nodes.announce("b", block).unwrap(), Outcome::Duplicate);
    assert_eq!(nodes.announce("a", block).unwrap(), Outcome::Duplicate);
    assert_eq!(nodes.told("a"), Some(("fetch", hash)));
    assert_eq!(nodes.told("b"), Some(("announce", hash)));
    assert_eq!(nodes.told("c"), Some(("announce", hash)));
    assert_eq!(nodes.want("c", hash), None);
    let body = Bytes::from_static(b"block");
    nodes.board.arrived(&node("a"), hash, body.clone());
    assert_eq!(nodes.told("c"), Some(("here", hash)));
    assert_eq!(nodes.want("c", hash), Some(body.clone()));
    // Each node once, and who has brought it never.
    assert_eq!(nodes.want("c", hash), None);
    assert_eq!(nodes.want("a", hash), None);
    assert_eq!(nodes.want("b", hash), Some(body));
    for name in ["a", "b", "c"] {
        assert_eq!(nodes.told(name), None, "{name}");
    }
}

#[test]
fn what_has_no_known_parent_is_where_a_node_stands_a_few_times_and_then_refused() {
    let mut nodes = Nodes::new(&["a", "b"]);
    for number in 1..=5 {
        let parent = BlockHash::from_byte_array([u8::try_from(number).unwrap(); 32]);
        let outcome = nodes.announce("a", header(parent, number)).unwrap();
        assert_eq!(outcome, Outcome::Anchor);
    }
    let parent = BlockHash::from_byte_array([9; 32]);
    let refused = nodes.announce("a", header(parent, 9)).unwrap_err();
    assert_eq!(refused.as_str(), "unknown_parent");
    assert_eq!(nodes.told("b"), None);
    // It comes back, and is as it was.
    let serial = nodes.places[&node("a")].serial;
    nodes.board.leave(&node("a"), serial, nodes.start);
    let place = nodes.board.enter(&node("a"), 1);
    nodes.places.insert(node("a"), place);
    nodes.announce("a", header(parent, 9)).unwrap_err();
    // What it claims keeps nobody else from being heard.
    let block = header(nodes.tip.hash(), 10);
    assert_eq!(nodes.announce("b", block).unwrap(), Outcome::Relayed);
    assert_eq!(nodes.told("a"), Some(("announce", block.hash())));
}

#[test]
fn an_old_block_is_known_and_not_sent_on() {
    let mut nodes = Nodes::new(&["a", "b"]);
    let old = header_at(nodes.tip.hash(), 1, UNIX - 86_400);
    assert_eq!(nodes.announce("a", old).unwrap(), Outcome::Stale);
    let next = header(old.hash(), 2);
    assert_eq!(nodes.announce("a", next).unwrap(), Outcome::Relayed);
    assert_eq!(nodes.told("b"), Some(("announce", next.hash())));
    assert_eq!(nodes.told("b"), None);
}

#[test]
fn headers_in_one_breath_may_follow_one_another() {
    let mut nodes = Nodes::new(&["a", "b"]);
    let first = header_at(nodes.tip.hash(), 1, UNIX - 86_400);
    let second = header_at(first.hash(), 2, UNIX - 86_400);
    let third = header(second.hash(), 3);
    let now = nodes.now();
    let mut before = None;
    for header in [first, second, third] {
        let outcome = nodes
            .board
            .announce(&node("a"), header, before.as_ref(), (7, now));
        outcome.unwrap();
        before = Some(header);
    }
    assert_eq!(nodes.told("b"), Some(("announce", third.hash())));
    // What is named before it is no parent by that alone.
    let stray = header(BlockHash::from_byte_array([3; 32]), 4);
    let outcome = nodes
        .board
        .announce(&node("a"), stray, Some(&third), (7, now));
    assert_eq!(outcome.unwrap(), Outcome::Anchor);
}

#[test]
fn who_does_not_bring_a_block_or_goes_is_followed_by_the_next_who_has_it() {
    let mut nodes = Nodes::new(&["a", "b", "c", "d"]);
    let block = header(nodes.tip.hash(), 1);
    let hash = block.hash();
    nodes.announce("a", block).unwrap();
    nodes.announce("b", block).unwrap();
    nodes.board.has(&node("c"), hash);
    assert_eq!(nodes.told("a"), Some(("fetch", hash)));
    nodes.board.failed(&node("a"), hash);
    assert_eq!(nodes.told("b"), Some(("announce", hash)));
    assert_eq!(nodes.told("b"), Some(("fetch", hash)));
    let serial = nodes.places[&node("b")].serial;
    nodes.board.leave(&node("b"), serial, nodes.start);
    assert_eq!(nodes.told("c"), Some(("announce", hash)));
    assert_eq!(nodes.told("c"), Some(("fetch", hash)));
    nodes.board.failed(&node("c"), hash);
    // Nobody is left. Whoever has it next is asked.
    assert_eq!(nodes.want("d", hash), None);
    nodes.announce("a", block).unwrap();
    assert_eq!(nodes.told("a"), Some(("fetch", hash)));
    nodes
        .board
        .arrived(&node("a"), hash, Bytes::from_static(b"x"));
    assert_eq!(nodes.told("d"), Some(("announce", hash)));
    assert_eq!(nodes.told("d"), Some(("here", hash)));
}

#[test]
fn a_node_has_one_stream_and_one_that_is_gone_takes_nothing_from_the_next() {
    let mut nodes = Nodes::new(&["a", "b"]);
    let first = nodes.places.remove(&node("a")).unwrap();
    let second = nodes.board.enter(&node("a"), 2);
    assert!(first.end.is_cancelled());
    assert!(!second.end.is_cancelled());
    nodes.board.leave(&node("a"), first.serial, nodes.start);
    assert_eq!(nodes.board.count(), 2);
    assert_eq!(nodes.board.nodes()[0], (node("a"), 2));
    nodes.board.end(&node("a"));
    assert!(second.end.is_cancelled());
    nodes.board.leave(&node("a"), second.serial, nodes.start);
    assert_eq!(nodes.board.count(), 1);
}

#[test]
fn what_is_kept_has_a_limit() {
    let mut nodes = Nodes::new(&["a"]);
    let mut tip = nodes.tip;
    let mut hashes = Vec::new();
    for number in 1..=300 {
        tip = header(tip.hash(), number);
        assert_eq!(nodes.announce("a", tip).unwrap(), Outcome::Relayed);
        let body = Bytes::from(vec![0; 10]);
        nodes.board.arrived(&node("a"), tip.hash(), body);
        hashes.push(tip.hash());
        nodes.told("a");
    }
    assert_eq!(nodes.board.seen.len(), SEEN_MAX);
    let bodies = hashes
        .iter()
        .filter(|hash| nodes.want("b", **hash).is_some());
    assert_eq!(bodies.count(), BODIES_MAX);
    // A node that was never over its budget leaves nothing behind, the others for an hour.
    let much_later = nodes.start + Duration::from_secs(7_200);
    let serial = nodes.places[&node("a")].serial;
    nodes.board.leave(&node("a"), serial, much_later);
    assert!(nodes.board.budgets.is_empty());
}

#[test]
fn a_node_that_asks_for_more_than_its_budget_gets_it_later() {
    let mut nodes = Nodes::new(&["a", "b"]);
    let mut tip = nodes.tip;
    let mut given = 0;
    for number in 1..=9 {
        tip = header(tip.hash(), number);
        nodes.announce("a", tip).unwrap();
        let body = Bytes::from(vec![0; 4_000_000]);
        nodes.board.arrived(&node("a"), tip.hash(), body);
        let wanted = nodes.board.want(&node("b"), tip.hash(), nodes.start);
        given += usize::from(wanted.is_ok_and(|wanted| wanted.is_some()));
    }
    assert_eq!(given, 8);
    let later = nodes.start + Duration::from_secs(60);
    let wanted = nodes.board.want(&node("b"), tip.hash(), later).unwrap();
    assert!(wanted.is_some());
}

#[test]
fn a_block_that_comes_while_a_node_is_over_its_budget_waits_for_it() {
    let mut nodes = Nodes::new(&["a", "b"]);
    let mut tip = nodes.tip;
    for number in 1..=9 {
        tip = header(tip.hash(), number);
        nodes.announce("a", tip).unwrap();
        assert_eq!(nodes.want("b", tip.hash()), None);
        let body = Bytes::from(vec![0; 4_000_000]);
        nodes.board.arrived(&node("a"), tip.hash(), body);
        let wanted = nodes.board.want(&node("b"), tip.hash(), nodes.start);
        assert_eq!(wanted.is_err(), number == 9, "{number}");
    }
    assert_eq!(nodes.board.held_back(&node("b")), [tip.hash()]);
    let later = nodes.start + Duration::from_secs(60);
    let wanted = nodes.board.want(&node("b"), tip.hash(), later).unwrap();
    assert!(wanted.is_some());
    assert!(nodes.board.held_back(&node("b")).is_empty());
}

#[test]
fn nodes_that_only_say_that_they_have_a_block_keep_nobody_from_being_asked() {
    let liars: Vec<String> = (0..SOURCES_MAX).map(|one| format!("liar-{one}")).collect();
    let names = liars.iter().map(String::as_str).chain(["honest"]);
    let names: Vec<&str> = names.collect();
    let mut nodes = Nodes::new(&names);
    let block = header(nodes.tip.hash(), 1);
    let hash = block.hash();
    for name in &names {
        nodes.announce(name, block).unwrap();
    }
    for liar in &liars {
        nodes.board.failed(&node(liar), hash);
    }
    assert_eq!(nodes.told("honest"), Some(("announce", hash)));
    assert_eq!(nodes.told("honest"), Some(("fetch", hash)));
}
