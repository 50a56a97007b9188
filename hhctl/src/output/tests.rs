use super::*;

#[track_caller]
fn check_hashrate(value: f64, expected: &str) {
    assert_eq!(text::hashrate(value), expected);
}

#[test]
fn hashrates_have_three_digits_and_a_prefix() {
    check_hashrate(0.0, "0 H/s");
    check_hashrate(0.5, "0.500 H/s");
    check_hashrate(812.4, "812 H/s");
    check_hashrate(999.6, "1.00 kH/s");
    check_hashrate(81_240.0, "81.2 kH/s");
    check_hashrate(1.2345e14, "123 TH/s");
    check_hashrate(9.99e21, "9.99 ZH/s");
    check_hashrate(1e38, "1.00e8 QH/s");
    assert_eq!(text::hashrate_like(81_240.0, 2e6), "0.0812 MH/s");
    assert_eq!(text::hashrate_like(0.0, 2e6), "0 MH/s");
}

#[test]
fn difficulties_below_one_are_legible() {
    assert_eq!(text::si(0.001_126), "0.00113");
    assert_eq!(text::si(2.34e-4), "2.34e-4");
    assert_eq!(text::si(1.2e14), "120 T");
}

#[test]
fn ratios_are_percentages_of_three_digits() {
    for (ratio, expected) in [
        (0.0, "0%"),
        (0.049_787, "4.98%"),
        (0.925, "92.5%"),
        (1.0, "100%"),
        (12.345, "1234%"),
        (1.2e-9, "1.20e-7%"),
    ] {
        assert_eq!(text::ratio(ratio), expected);
    }
}

#[test]
fn counts_have_commas() {
    for (value, expected) in [
        (0, "0"),
        (999, "999"),
        (1000, "1,000"),
        (1_234_567, "1,234,567"),
    ] {
        assert_eq!(text::count(value), expected);
    }
}

#[test]
fn ages_have_two_units_at_most() {
    let now: Timestamp = "2026-11-25T12:00:00Z".parse().unwrap();
    for (seconds, expected) in [
        (-5, "0s"),
        (59, "59s"),
        (192, "3m12s"),
        (3600, "1h00m"),
        (90_000, "1d01h"),
    ] {
        let at = now - jiff::SignedDuration::from_secs(seconds);
        assert_eq!(text::age(now, at), expected);
    }
}

#[test]
fn what_a_stranger_named_can_not_move_the_cursor_or_reorder_the_line() {
    assert_eq!(
        text::printable("a\u{1b}[2J\nb\u{202e}c"),
        "a\u{fffd}[2J\u{fffd}b\u{fffd}c"
    );
}

#[test]
fn amounts_name_their_unit_and_show_a_millisatoshi_where_there_is_one() {
    for (msat, expected) in [
        (0, "0 sat"),
        (4, "0.004 sat"),
        (1_000, "1 sat"),
        (1_234_567_890, "1,234,567.890 sat"),
        (u64::MAX, "18,446,744,073,709,551.615 sat"),
    ] {
        assert_eq!(text::sat(msat), expected);
    }
    assert_eq!(text::signed_sat(-1_500), "-1.500 sat");
    assert_eq!(text::signed_sat(i64::MIN), "-9,223,372,036,854,775.808 sat");
}
