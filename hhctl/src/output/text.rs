//! Numbers, amounts and times as people read them.

use jiff::Timestamp;

/// SI prefixes from 1 up.
const PREFIXES: [&str; 11] = ["", "k", "M", "G", "T", "P", "E", "Z", "Y", "R", "Q"];

/// Every character that a terminal would act on, or that reorders the line, is replaced: much of what is shown was named by
/// strangers.
pub(crate) fn printable(text: &str) -> String {
    let acts = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
    };
    text.chars()
        .map(|c| if acts(c) { '\u{fffd}' } else { c })
        .collect()
}

/// Three significant digits with an SI prefix, such as `1.23 M`; scientific where there is none.
pub(crate) fn si(value: f64) -> String {
    scaled(value, prefix_of(value))
}

/// A size, such as `134 MB`.
pub(crate) fn si_bytes(bytes: u64) -> String {
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let text = si(bytes as f64);
    let space = if text.contains(' ') { "" } else { " " };
    format!("{text}{space}B")
}

/// Hashes a second, such as `812 kH/s`.
pub(crate) fn hashrate(value: f64) -> String {
    hashrate_like(value, value)
}

/// Hashes a second with the prefix that suits `largest`, so that a column has one.
pub(crate) fn hashrate_like(value: f64, largest: f64) -> String {
    let scaled = scaled(value, prefix_of(largest));
    let space = if scaled.ends_with(|c: char| c.is_ascii_digit()) {
        " "
    } else {
        ""
    };
    format!("{scaled}{space}H/s")
}

fn prefix_of(value: f64) -> usize {
    let mut prefix = 0;
    let mut rest = value.abs();
    // 999.5 is shown as 1.00 of the next prefix.
    while rest >= 999.5 && prefix + 1 < PREFIXES.len() {
        rest /= 1000.0;
        prefix += 1;
    }
    prefix
}

fn scaled(value: f64, prefix: usize) -> String {
    if value == 0.0 || !value.is_finite() {
        return if prefix == 0 {
            "0".to_owned()
        } else {
            format!("0 {}", PREFIXES[prefix])
        };
    }
    let value = PREFIXES[..prefix].iter().fold(value, |v, _| v / 1000.0);
    let number = match value.abs() {
        v if v >= 999_500.0 => format!("{value:.2e}"),
        v if v >= 99.95 => format!("{value:.0}"),
        v if v >= 9.995 => format!("{value:.1}"),
        v if v >= 0.9995 => format!("{value:.2}"),
        v if v >= 0.099_95 => format!("{value:.3}"),
        v if v >= 0.009_995 => format!("{value:.4}"),
        v if v >= 0.000_999_5 => format!("{value:.5}"),
        _ => format!("{value:.2e}"),
    };
    let suffix = PREFIXES[prefix];
    if suffix.is_empty() {
        number
    } else {
        format!("{number} {suffix}")
    }
}

/// With commas, such as `1,234,567`.
pub(crate) fn count(value: u64) -> String {
    let digits = value.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 block`, `2 blocks`.
pub(crate) fn plural(value: u64, noun: &str) -> String {
    let s = if value == 1 { "" } else { "s" };
    format!("{} {noun}{s}", count(value))
}

/// `1 hash`, `2 hashes`.
pub(crate) fn plural_of(value: u64, one: &str, many: &str) -> String {
    let noun = if value == 1 { one } else { many };
    format!("{} {noun}", count(value))
}

/// An amount in both units, such as `50.00003456 BTC (5,000,003,456 sat)`.
pub(crate) fn bitcoin(value_sat: u64) -> String {
    let (whole, rest) = (value_sat / 100_000_000, value_sat % 100_000_000);
    format!("{}.{rest:08} BTC ({} sat)", count(whole), count(value_sat))
}

/// An amount of millisatoshi in satoshi, such as `1,234,567 sat` or `0.004 sat`.
pub(crate) fn sat(msat: u64) -> String {
    format!("{} sat", sat_figure(msat))
}

/// [`sat`] for a column whose heading names the unit: three decimals where there is a part of a satoshi.
pub(crate) fn sat_figure(msat: u64) -> String {
    let (whole, rest) = (count(msat / 1_000), msat % 1_000);
    match rest {
        0 => whole,
        rest => format!("{whole}.{rest:03}"),
    }
}

/// [`sat`] of an amount that may be below zero.
pub(crate) fn signed_sat(msat: i64) -> String {
    format!("{} sat", signed_sat_figure(msat))
}

/// [`sat_figure`] of an amount that may be below zero.
pub(crate) fn signed_sat_figure(msat: i64) -> String {
    let sign = if msat < 0 { "-" } else { "" };
    format!("{sign}{}", sat_figure(msat.unsigned_abs()))
}

/// How long ago, such as `3m12s`; what is in the future is now.
pub(crate) fn age(now: Timestamp, at: Timestamp) -> String {
    let seconds = now.duration_since(at).as_secs().max(0);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

/// [`age`] with `ago`, or `never`.
pub(crate) fn ago(now: Timestamp, at: Option<Timestamp>) -> String {
    at.map_or_else(|| "never".to_owned(), |at| format!("{} ago", age(now, at)))
}

/// Rejected of all, such as `0.16%`.
pub(crate) fn percent(part: u64, whole: u64) -> String {
    if whole == 0 {
        return "0%".to_owned();
    }
    // A share of 2^53 shares is no matter in two digits.
    #[expect(clippy::cast_precision_loss, reason = "for display")]
    let ratio = part as f64 / whole as f64;
    format!("{:.2}%", ratio * 100.0)
}

/// A ratio as a percentage of three digits, such as `92.5%`.
pub(crate) fn ratio(ratio: f64) -> String {
    let percent = ratio * 100.0;
    if percent < 999.5 {
        format!("{}%", si(percent))
    } else {
        format!("{percent:.0}%")
    }
}

/// A time that may be as long as centuries, such as `42s`, `3.1 days` or `120 years`.
pub(crate) fn long_time(seconds: f64) -> String {
    let units = [
        (31_557_600.0, "years"),
        (86_400.0, "days"),
        (3600.0, "hours"),
        (60.0, "minutes"),
    ];
    let unit = units
        .into_iter()
        .find(|(length, _)| seconds >= 2.0 * length);
    match unit {
        Some((length, name)) => format!("{} {name}", si(seconds / length)),
        None => format!("{seconds:.0}s"),
    }
}
