//! How numbers, ages and names are written, once for all panels: three significant digits, SI prefixes, a unit always.
//!
//! It takes plain values and gives text, and never decides what is good or bad.

use jiff::Timestamp;

/// From the unit up; enough for any hash rate.
const PREFIXES: [&str; 8] = ["", "k", "M", "G", "T", "P", "E", "Z"];

const SAT_PER_BTC: u64 = 100_000_000;

/// What is written where a value makes no sense or is not known.
pub(crate) const NONE: &str = "-";

/// A power of a thousand that a whole column is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Prefix(usize);

impl Prefix {
    /// The prefix in which `largest` has one to three digits before the point.
    pub(crate) fn of(largest: f64) -> Self {
        let mut index = 0;
        let mut scaled = largest;
        // 999.5 is written with three digits, and would become 1000.
        while scaled >= 999.5 && index + 1 < PREFIXES.len() {
            scaled /= 1000.0;
            index += 1;
        }
        Self(index)
    }

    /// `k`, `M` and so on; empty for the plain unit.
    pub(crate) fn symbol(self) -> &'static str {
        PREFIXES[self.0]
    }

    /// `value` in this prefix, without it, with three significant digits and at most three decimals.
    pub(crate) fn number(self, value: f64) -> String {
        if !value.is_finite() || value < 0.0 {
            return NONE.to_owned();
        }
        let mut scaled = value;
        for _ in 0..self.0 {
            scaled /= 1000.0;
        }
        match scaled {
            0.0 => "0".to_owned(),
            s if s < 0.0005 => "<0.001".to_owned(),
            s if s < 0.9995 => format!("{s:.3}"),
            s if s < 9.995 => format!("{s:.2}"),
            s if s < 99.95 => format!("{s:.1}"),
            s => format!("{s:.0}"),
        }
    }
}

/// Such as `512 kH/s` for `si(512e3, "H/s")`.
pub(crate) fn si(value: f64, unit: &str) -> String {
    let prefix = Prefix::of(value);
    format!("{} {}{unit}", prefix.number(value), prefix.symbol())
}

/// A difficulty: `0.000244`, `4.29`, `131 T`; devnet's are far below 1.
pub(crate) fn difficulty(value: f64) -> String {
    if value >= 999.5 {
        return si(value, "");
    }
    if !value.is_finite() || value <= 0.0 {
        return if value == 0.0 { "0" } else { NONE }.to_owned();
    }
    if value < 1e-7 {
        return format!("{value:.2e}");
    }
    let mut decimals = 2;
    let mut scaled = value;
    while scaled < 0.9995 {
        scaled *= 10.0;
        decimals += 1;
    }
    let decimals = match scaled {
        s if s >= 99.95 => decimals - 2,
        s if s >= 9.995 => decimals - 1,
        _ => decimals,
    };
    format!("{value:.decimals$}")
}

/// `1,842`; from ten million on `12.3 M`, because nobody reads the rest.
pub(crate) fn count(value: u64) -> String {
    if value < 10_000_000 {
        return grouped(value);
    }
    #[expect(
        clippy::cast_precision_loss,
        reason = "three digits of it are written, and a double holds fifteen"
    )]
    let value = value as f64;
    si(value, "").trim_end().to_owned()
}

/// `1 miner`, `2 miners`.
pub(crate) fn plural(number: u64, noun: &str) -> String {
    let s = if number == 1 { "" } else { "s" };
    format!("{} {noun}{s}", count(number))
}

fn grouped(value: u64) -> String {
    let digits = value.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `1,234 sat`, from a hundredth of a bitcoin on `50.00001234 BTC`.
pub(crate) fn amount(sat: u64) -> String {
    if sat < SAT_PER_BTC / 100 {
        return format!("{} sat", grouped(sat));
    }
    format!(
        "{}.{:08} BTC",
        grouped(sat / SAT_PER_BTC),
        sat % SAT_PER_BTC
    )
}

/// Millisatoshi as satoshi, such as `1,234` or `1,234.567`; the unit is in the heading.
pub(crate) fn sat(msat: u64) -> String {
    let (whole, rest) = (grouped(msat / 1_000), msat % 1_000);
    match rest {
        0 => whole,
        rest => format!("{whole}.{rest:03}"),
    }
}

/// [`sat`] of an amount that may be below zero.
pub(crate) fn signed_sat(msat: i64) -> String {
    let sign = if msat < 0 { "-" } else { "" };
    format!("{sign}{}", sat(msat.unsigned_abs()))
}

/// Part of a whole, such as `0.54%`; nothing of nothing is `0%`.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if part == 0 {
        return "0%".to_owned();
    }
    #[expect(clippy::cast_precision_loss, reason = "two decimals of it are written")]
    let percent = part as f64 / whole.max(1) as f64 * 100.0;
    if percent < 0.005 {
        return "<0.01%".to_owned();
    }
    format!("{percent:.2}%")
}

/// A short time: `12.5 ms`, `1.20 s`.
pub(crate) fn duration(seconds: f64) -> String {
    if seconds < 0.9995 {
        return format!("{} ms", Prefix(0).number(seconds * 1000.0));
    }
    format!("{} s", Prefix(0).number(seconds))
}

/// Whole seconds from `then` to `now`; 0 where `then` is later (another machine's clock).
pub(crate) fn seconds_since(then: Timestamp, now: Timestamp) -> u64 {
    u64::try_from(now.as_second() - then.as_second()).unwrap_or(0)
}

/// A span of whole seconds: `7s`, `3m12s`, `2h05m`, `3d04h`.
pub(crate) fn span(seconds: u64) -> String {
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{minutes}m{:02}s", seconds % 60),
        3600..86_400 => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

/// How long ago `then` was, as [`span`].
pub(crate) fn age(then: Timestamp, now: Timestamp) -> String {
    span(seconds_since(then, now))
}

/// A version of Bitcoin Core: `31.0.0` for 310000.
pub(crate) fn core_version(version: u32) -> String {
    format!(
        "{}.{}.{}",
        version / 10_000,
        version / 100 % 100,
        version % 100
    )
}

/// What a miner calls itself, fit for a terminal: whatever could move the cursor or turn the text around is replaced.
pub(crate) fn name(text: &str, ascii: bool) -> String {
    let harmless = |c: char| {
        if ascii {
            return c.is_ascii_graphic() || c == ' ';
        }
        let turns = matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        !c.is_control() && !turns
    };
    text.chars()
        .map(|c| if harmless(c) { c } else { '?' })
        .collect()
}

/// `account.worker`, or the account alone where no worker is named.
pub(crate) fn worker(account: &str, worker: &str, ascii: bool) -> String {
    if worker.is_empty() {
        return name(account, ascii);
    }
    name(&format!("{account}.{worker}"), ascii)
}

/// `text` cut to `width` cells, its end replaced by `ellipsis` (one cell) if it is longer.
pub(crate) fn fit(text: &str, width: usize, ellipsis: &str) -> String {
    use ratatui::text::Span;
    if Span::raw(text).width() <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut used = 0;
    for c in text.chars() {
        used += Span::raw(c.to_string()).width();
        if used >= width {
            break;
        }
        out.push(c);
    }
    out + ellipsis
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_rates_have_three_digits_and_a_prefix() {
        for (value, expected) in [
            (0.0, "0 H/s"),
            (0.5, "0.500 H/s"),
            (1.0, "1.00 H/s"),
            (9.999, "10.0 H/s"),
            (99.96, "100 H/s"),
            (999.4, "999 H/s"),
            (999.6, "1.00 kH/s"),
            (512_345.0, "512 kH/s"),
            (1.5e12, "1.50 TH/s"),
            (7.25e20, "725 EH/s"),
            (1e27, "1000000 ZH/s"),
            (f64::NAN, "- H/s"),
            (-1.0, "- H/s"),
        ] {
            assert_eq!(si(value, "H/s"), expected, "{value}");
        }
    }

    #[test]
    fn a_column_has_one_prefix() {
        let prefix = Prefix::of(1.2e12);
        assert_eq!(prefix.symbol(), "T");
        assert_eq!(prefix.number(1.2e12), "1.20");
        assert_eq!(prefix.number(5e11), "0.500");
        assert_eq!(prefix.number(3e8), "<0.001");
        assert_eq!(prefix.number(0.0), "0");
    }

    #[test]
    fn difficulties_below_one_are_written_out() {
        for (value, expected) in [
            (0.000_244_140_625, "0.000244"),
            (0.25, "0.250"),
            (0.9999, "1.00"),
            (4.29, "4.29"),
            (42.9, "42.9"),
            (429.4, "429"),
            (1.31e14, "131 T"),
            (1e-9, "1.00e-9"),
            (0.0, "0"),
            (f64::INFINITY, "1000000 Z"),
        ] {
            if value.is_finite() {
                assert_eq!(difficulty(value), expected, "{value}");
            }
        }
    }

    #[test]
    fn counts_and_amounts_are_exact_where_they_can_be_read() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_842), "1,842");
        assert_eq!(count(9_999_999), "9,999,999");
        assert_eq!(count(12_345_678), "12.3 M");
        assert_eq!(amount(1_234), "1,234 sat");
        assert_eq!(amount(5_000_001_234), "50.00001234 BTC");
        assert_eq!(sat(1_234_567), "1,234.567");
        assert_eq!(sat(5_000_001_234_000), "5,000,001,234");
        assert_eq!(signed_sat(-1_500), "-1.500");
    }

    #[test]
    fn parts_of_a_whole_never_look_like_none() {
        assert_eq!(percent(0, 0), "0%");
        assert_eq!(percent(10, 1852), "0.54%");
        assert_eq!(percent(1, 1_000_000), "<0.01%");
    }

    #[test]
    fn times_are_short() {
        assert_eq!(duration(0.0125), "12.5 ms");
        assert_eq!(duration(1.2), "1.20 s");
        for (seconds, expected) in [
            (0, "0s"),
            (59, "59s"),
            (192, "3m12s"),
            (7500, "2h05m"),
            (273_600, "3d04h"),
        ] {
            assert_eq!(span(seconds), expected);
        }
    }

    #[test]
    fn a_clock_that_is_ahead_makes_no_negative_age() {
        let now = Timestamp::from_second(100).unwrap();
        let then = Timestamp::from_second(105).unwrap();
        assert_eq!(age(then, now), "0s");
    }

    #[test]
    fn names_cannot_steer_the_terminal() {
        assert_eq!(name("a\x1b[2J\u{202e}b\n", false), "a?[2J?b?");
        assert_eq!(name("ü\u{9b}x", true), "??x");
        assert_eq!(worker("alice", "", false), "alice");
        assert_eq!(worker("alice", "rig1", false), "alice.rig1");
    }

    #[test]
    fn long_text_is_cut_to_cells() {
        assert_eq!(fit("alice.rig1", 10, "…"), "alice.rig1");
        assert_eq!(fit("alice.rig1", 6, "…"), "alice…");
        assert_eq!(fit("日本語", 4, "…"), "日…");
    }

    #[test]
    fn core_versions_are_read_as_core_prints_them() {
        assert_eq!(core_version(310_000), "31.0.0");
        assert_eq!(core_version(319_900), "31.99.0");
    }
}
