use super::*;
use proptest::prelude::*;

const NOW: i64 = 1_700_000_000_000;
const MINUTE: i64 = 60_000;

fn auto() -> AutoBan {
    AutoBan {
        exempt: vec!["10.0.0.0/8".parse().unwrap()],
        ..AutoBan::default()
    }
}

fn book(dir: &tempfile::TempDir) -> BanBook {
    let file = StateFile::new(dir.path().join("bans.json"));
    BanBook::open(auto(), file, NOW).unwrap()
}

fn address(text: &str) -> Target {
    Target::Address(text.parse().unwrap())
}

fn ban(target: Target, minutes: Option<u64>) -> Ban {
    let length = minutes.map(|minutes| Duration::from_secs(60 * minutes));
    Ban::new(target, "because".to_owned(), length, NOW).unwrap()
}

fn is_banned(book: &BanBook, address: &str, now_ms: i64) -> bool {
    let ban = book.of_address(address.parse().unwrap(), now_ms);
    ban.is_some()
}

#[test]
fn bans_hold_until_their_end_and_over_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let before = book(&dir);
    before.set(ban(address("192.0.2.7"), Some(10))).unwrap();
    before.set(ban(address("2001:db8::/32"), None)).unwrap();
    let alice = Target::Account("alice".to_owned());
    before.set(ban(alice, Some(1))).unwrap();
    for book in [&before, &book(&dir)] {
        assert!(is_banned(book, "192.0.2.7", NOW));
        assert!(is_banned(book, "::ffff:192.0.2.7", NOW + 10 * MINUTE - 1));
        assert!(!is_banned(book, "192.0.2.7", NOW + 10 * MINUTE));
        assert!(!is_banned(book, "192.0.2.8", NOW));
        assert!(is_banned(book, "2001:db8:9::1", NOW + 1_000_000 * MINUTE));
        assert!(book.is_account_banned("alice", NOW));
        assert!(!book.is_account_banned("alice", NOW + MINUTE));
        assert!(!book.is_account_banned("bob", NOW));
    }
    assert_eq!(before.list(NOW + MINUTE).len(), 2);
    assert_eq!(before.list(NOW + 10 * MINUTE).len(), 1);
    assert_eq!(before.lock().lengths.len(), 1, "what is over is forgotten");
}

#[test]
fn a_ban_is_lifted_by_its_own_name_and_the_wider_one_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let book = book(&dir);
    book.set(ban(address("192.0.2.0/24"), None)).unwrap();
    let error = book.lift(&address("192.0.2.7"), NOW).unwrap_err();
    assert_eq!(
        error.to_string(),
        "192.0.2.7 is banned with 192.0.2.0/24: lift that ban"
    );
    book.lift(&address("192.0.2.0/24"), NOW).unwrap();
    assert!(!is_banned(&book, "192.0.2.7", NOW));
    let error = book.lift(&address("192.0.2.0/24"), NOW).unwrap_err();
    assert_eq!(error.to_string(), "there is no ban for 192.0.2.0/24");
    let file = StateFile::new(dir.path().join("bans.json"));
    assert_eq!(file.read::<Vec<Ban>>().unwrap(), Some(Vec::new()));
}

#[test]
fn what_can_not_be_kept_is_not_banned() {
    let dir = tempfile::tempdir().unwrap();
    let book = book(&dir);
    std::fs::create_dir(dir.path().join("bans.new")).unwrap();
    let refused = book.set(ban(address("192.0.2.7"), None));
    assert!(matches!(refused, Err(BanError::File(_))), "{refused:?}");
    assert!(!is_banned(&book, "192.0.2.7", NOW));
    let long = Ban::new(address("192.0.2.7"), "x".repeat(201), None, NOW);
    assert!(matches!(long, Err(BanError::LongReason(201))));
}

/// Offends until it is banned or has done so a hundred times.
fn offend(book: &BanBook, from: &str, works: bool) -> Option<Ban> {
    let times = Times {
        since_start_ms: 1_000,
        unix_ms: NOW,
    };
    let from = from.parse().unwrap();
    (0..100).find_map(|_| book.on_offence(from, Offence::Garbage, times, |_| works))
}

#[test]
fn who_misbehaves_is_banned_for_minutes_with_its_network_and_no_file_has_it() {
    let dir = tempfile::tempdir().unwrap();
    let misused = book(&dir);
    let ban = offend(&misused, "2001:db8::7", false).unwrap();
    assert_eq!(ban.target, address("2001:db8::/64"));
    assert!(ban.automatic && ban.reason.contains("another protocol"));
    assert!(is_banned(&misused, "2001:db8::8", NOW));
    let end = ban.until_ms.unwrap();
    assert_eq!(end, NOW + 10 * MINUTE);
    assert!(!is_banned(&misused, "2001:db8::8", end));
    assert!(book(&dir).list(NOW).is_empty());
    misused.lift(&ban.target, NOW).unwrap();
    assert!(!is_banned(&misused, "2001:db8::7", NOW));
}

#[test]
fn who_works_is_exempt_or_banned_already_is_not_banned_by_itself() {
    let dir = tempfile::tempdir().unwrap();
    let book = book(&dir);
    assert_eq!(offend(&book, "192.0.2.7", true), None);
    assert_eq!(offend(&book, "10.1.2.3", false), None);
    book.set(self::ban(address("192.0.2.0/24"), None)).unwrap();
    assert_eq!(offend(&book, "192.0.2.8", false), None);
    assert_eq!(book.list(NOW).len(), 1);
}

#[test]
fn automatic_bans_can_be_turned_off() {
    let dir = tempfile::tempdir().unwrap();
    let file = StateFile::new(dir.path().join("bans.json"));
    let off = AutoBan {
        enabled: false,
        ..auto()
    };
    let book = BanBook::open(off, file, NOW).unwrap();
    assert_eq!(offend(&book, "192.0.2.7", false), None);
}

proptest! {
    #[test]
    fn an_address_is_banned_if_a_ban_holds_it(
        bans in prop::collection::vec((any::<u32>(), 0_u8..=32), 0..20),
        address: u32,
        of_ban in any::<prop::sample::Index>(),
    ) {
        let ranges: Vec<AddressRange> = bans
            .iter()
            .map(|(bits, length)| AddressRange::around(std::net::Ipv4Addr::from_bits(*bits).into(), *length))
            .collect();
        let mut state = State::default();
        for range in &ranges {
            state.insert(ban(Target::Address(*range), None));
        }
        let mut addresses = vec![IpAddr::from(std::net::Ipv4Addr::from_bits(address))];
        if !bans.is_empty() {
            addresses.push(std::net::Ipv4Addr::from_bits(of_ban.get(&bans).0).into());
        }
        for address in addresses {
            let expected = ranges.iter().any(|range| range.contains(address));
            prop_assert_eq!(state.range_of(address, NOW).is_some(), expected);
        }
    }
}
