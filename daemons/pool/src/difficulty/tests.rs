use super::*;
use proptest::prelude::*;

fn board(dir: &tempfile::TempDir) -> DifficultyBoard {
    let file = StateFile::new(dir.path().join("vardiff.json"));
    DifficultyBoard::open(VardiffConfig::default(), file).unwrap()
}

fn range(min: impl Into<Option<f64>>, max: impl Into<Option<f64>>) -> DifficultyRange {
    DifficultyRange {
        min: min.into(),
        max: max.into(),
    }
}

fn for_all(range: DifficultyRange) -> Change {
    Change {
        range,
        ..Change::default()
    }
}

fn for_account(account: &str, range: DifficultyRange) -> Change {
    Change {
        account: Some(account.to_owned()),
        ..for_all(range)
    }
}

#[test]
fn what_was_set_holds_over_a_restart_and_a_reset_brings_the_configuration_back() {
    let dir = tempfile::tempdir().unwrap();
    let before = board(&dir);
    let change = Change {
        shares_per_minute: Some(6.0),
        ..for_all(range(0.5, None))
    };
    before.set(&change).unwrap();
    before.set(&for_account("alice", range(None, 1e6))).unwrap();
    before
        .set(&for_account("alice", range(1000.0, None)))
        .unwrap();

    let after = board(&dir);
    let settings = after.subscribe().borrow().clone();
    assert!((settings.shares_per_minute - 6.0).abs() < 1e-9);
    assert_eq!(settings.range, range(0.5, None));
    assert_eq!(settings.accounts["alice"], range(1000.0, 1e6));

    let mut seen = after.subscribe();
    let reset = Change {
        reset: true,
        ..Change::default()
    };
    let overrides = after.set(&reset).unwrap();
    let settings = after.settings(&overrides);
    assert_eq!(settings.range, VardiffConfig::default().range());
    assert!(settings.accounts.contains_key("alice"), "not hers");
    let reset = Change {
        reset: true,
        ..for_account("alice", DifficultyRange::default())
    };
    assert!(after.set(&reset).unwrap().accounts.is_empty());
    assert!(seen.has_changed().unwrap());
    assert!(seen.borrow_and_update().accounts.is_empty());
    assert_eq!(board(&dir).overrides(), Overrides::default());
}

#[test]
fn what_makes_no_sense_is_refused_and_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let board = board(&dir);
    let rate = |rate| Change {
        shares_per_minute: Some(rate),
        ..Change::default()
    };
    for change in [
        rate(0.0),
        rate(f64::NAN),
        rate(-1.0),
        for_all(range(0.0, None)),
        for_all(range(None, f64::INFINITY)),
        for_all(range(2.0, 1.0)),
        // Above the largest that is left from the configuration's smallest.
        for_all(range(None, 1e-9)),
        for_account("alice", range(2.0, 1.0)),
        Change {
            account: Some("alice".to_owned()),
            ..rate(12.0)
        },
    ] {
        board.plan(&change).unwrap_err();
        board.set(&change).unwrap_err();
    }
    assert_eq!(board.overrides(), Overrides::default());
    assert!(!dir.path().join("vardiff.json").exists());
}

#[track_caller]
fn check_bounds(lane: DifficultyRange, account: DifficultyRange, easiest: f64, hardest: f64) {
    let mut settings = DifficultySettings::new(&VardiffConfig::default(), &Overrides::default());
    settings.range = range(1.0, 1000.0);
    settings.accounts.insert("alice".to_owned(), account);
    let bounds = settings.bounds(lane, "alice", Target::MAX);
    let close = |target: Target, wanted: f64| (target.difficulty() / wanted - 1.0).abs() < 1e-6;
    assert!(close(bounds.easiest(), easiest), "{bounds:?}");
    assert!(close(bounds.hardest(), hardest), "{bounds:?}");
}

#[test]
fn a_lane_has_its_own_bounds_or_everybodys_and_an_account_narrows_them() {
    let none = DifficultyRange::default();
    check_bounds(none, none, 1.0, 1000.0);
    check_bounds(range(0.001, None), none, 0.001, 1000.0);
    check_bounds(range(10.0, 100.0), none, 10.0, 100.0);
    check_bounds(none, range(20.0, 50.0), 20.0, 50.0);
    // Wider than the lane: the lane's.
    check_bounds(range(10.0, 100.0), range(1.0, 1e6), 10.0, 100.0);
    // Beside the lane: nothing is easier than the lane allows.
    check_bounds(range(10.0, 100.0), range(None, 2.0), 10.0, 10.0);
}

proptest! {
    /// Whatever is set: no job is easier than the client's max_target, nor than what lane and account allow.
    #[test]
    fn no_bound_is_easier_than_any_party_allows(
        lane_min in 1e-6..1e12_f64, account_min in 1e-6..1e12_f64, account_max in 1e-6..1e12_f64,
        client in 1e-6..1e12_f64, wanted in 1e-9..1e15_f64,
    ) {
        let mut settings = DifficultySettings::new(&VardiffConfig::default(), &Overrides::default());
        let account = range(account_min.min(account_max), account_max.max(account_min));
        settings.accounts.insert("alice".to_owned(), account);
        let max_target = Target::from_difficulty(client);
        let bounds = settings.bounds(range(lane_min, None), "alice", max_target);
        let target = bounds.clamp(Target::from_difficulty(wanted));
        prop_assert!(target <= max_target);
        prop_assert!(target <= Target::from_difficulty(lane_min));
        prop_assert!(target <= Target::from_difficulty(account_min.min(account_max)));
    }
}
