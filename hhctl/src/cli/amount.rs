//! Amounts as operators write them: never without a unit, since a bare number could be any.

/// All the bitcoin that will ever be, in millisatoshi.
const MSAT_MAX: u64 = 21_000_000 * 100_000_000 * 1_000;

/// An amount in millisatoshi, of `10k sat`, `0.1btc`, `500msat` and the like.
pub(super) fn msat(text: &str) -> Result<u64, String> {
    let usage = "write an amount with its unit, such as 250000sat, 250ksat, 0.0025btc or 500msat";
    let compact: String = text.split_whitespace().collect();
    let unit_at = compact
        .find(|c: char| c.is_ascii_alphabetic())
        .ok_or_else(|| usage.to_owned())?;
    let (number, unit) = compact.split_at(unit_at);
    // How many decimals a millisatoshi is away.
    let decimals = match unit {
        "msat" => 0,
        "sat" | "sats" => 3,
        "ksat" => 6,
        "btc" | "BTC" => 11,
        _ => return Err(usage.to_owned()),
    };
    let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !is_digits(whole) || !is_digits(part) {
        return Err(usage.to_owned());
    }
    let part = part.trim_end_matches('0');
    if part.len() > decimals {
        return Err("a thousandth of a satoshi (msat) is the least there is".to_owned());
    }
    let digits = format!("{whole}{part:0<decimals$}");
    match digits.parse() {
        Ok(0) => Err("write more than nothing".to_owned()),
        Ok(msat) if msat <= MSAT_MAX => Ok(msat),
        _ => Err("that is more than all the bitcoin there will be".to_owned()),
    }
}

/// An amount in whole satoshi: on the chain there is nothing less.
pub(super) fn whole_sat(text: &str) -> Result<u64, String> {
    let msat = msat(text)?;
    if !msat.is_multiple_of(1_000) {
        return Err("write whole satoshi: on the chain there is nothing less".to_owned());
    }
    Ok(msat / 1_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_have_a_unit_and_are_exact() {
        for (text, expected) in [
            ("500msat", 500),
            ("1sat", 1_000),
            ("1.5 sats", 1_500),
            ("10k sat", 10_000_000),
            ("0.25ksat", 250_000),
            ("0.1btc", 10_000_000_000),
            ("0.00000000001BTC", 1),
            ("0.10000000000000btc", 10_000_000_000),
            ("21000000btc", MSAT_MAX),
        ] {
            assert_eq!(msat(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in [
            "",
            "1",
            "1000",
            "sat",
            "-1sat",
            "+1sat",
            "1,000sat",
            "1e3sat",
            ".5sat",
            "1.sat",
            "0.5msat",
            "0sat",
            "0.0000000000001btc",
            "21000000.00000001btc",
            "1Msat",
            "1 msat extra",
            "1µsat",
            "99999999999999999999999sat",
            "1.2.3sat",
        ] {
            assert!(msat(text).is_err(), "{text}");
        }
        assert_eq!(whole_sat("1ksat"), Ok(1_000));
        assert!(whole_sat("1500msat").is_err());
    }
}
