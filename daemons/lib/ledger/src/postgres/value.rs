//! Our numbers and bytes as PostgreSQL sends them.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, accepts, to_sql_checked};

use crate::LedgerError;

/// NUMERIC is sent in digits of this base, the most significant first.
const BASE: u128 = 10_000;

/// What u128 needs of them.
const DIGITS_MAX: usize = 10;

/// A u128 as NUMERIC(39, 0).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Numeric(pub u128);

impl ToSql for Numeric {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let mut digits = [0_i16; DIGITS_MAX];
        let (mut rest, mut count) = (self.0, 0_i16);
        for digit in digits.iter_mut().rev() {
            if rest == 0 {
                break;
            }
            *digit = i16::try_from(rest % BASE).expect("a digit is less than 10,000");
            rest /= BASE;
            count += 1;
        }
        out.put_i16(count);
        // Weight: the power of the base of the first digit. Then the sign, and how many decimals there are.
        out.put_i16(count - 1);
        out.put_i16(0);
        out.put_i16(0);
        for digit in digits
            .into_iter()
            .skip(DIGITS_MAX - usize::try_from(count)?)
        {
            out.put_i16(digit);
        }
        Ok(IsNull::No)
    }

    accepts!(NUMERIC);
    to_sql_checked!();
}

impl<'a> FromSql<'a> for Numeric {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let mut words = raw
            .chunks_exact(2)
            .map(|word| i16::from_be_bytes([word[0], word[1]]));
        let mut header = || words.next().ok_or("a number without a header");
        let (count, weight, sign, decimals) = (header()?, header()?, header()?, header()?);
        if sign != 0 || decimals != 0 || count > weight.saturating_add(1) {
            return Err("no natural number".into());
        }
        let mut value = 0_u128;
        // Zeros at the end are not sent.
        for digit in words
            .chain(std::iter::repeat(0))
            .take(usize::try_from(weight + 1)?)
        {
            let digit = u128::try_from(digit)?;
            let shifted = value.checked_mul(BASE);
            value = shifted
                .and_then(|value| value.checked_add(digit))
                .ok_or("no u128")?;
        }
        Ok(Self(value))
    }

    accepts!(NUMERIC);
}

/// An unsigned integer that is stored as BIGINT.
#[derive(Debug)]
pub(super) struct Natural<T>(pub T);

impl<'a, T: TryFrom<i64, Error: Error + Send + Sync + 'static>> FromSql<'a> for Natural<T> {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(T::try_from(i64::from_sql(kind, raw)?)?))
    }

    accepts!(INT8);
}

/// The BIGINT of an unsigned integer.
///
/// # Errors
/// [`LedgerError::OutOfRange`], naming it, if it is 2^63 or more.
pub(super) fn bigint(value: u64, what: &'static str) -> Result<i64, LedgerError> {
    i64::try_from(value).or(Err(LedgerError::OutOfRange { what }))
}

/// Bytes of a fixed number.
#[derive(Debug)]
pub(super) struct Bytes<const N: usize>(pub [u8; N]);

impl<'a, const N: usize> FromSql<'a> for Bytes<N> {
    fn from_sql(kind: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        Ok(Self(<&[u8]>::from_sql(kind, raw)?.try_into()?))
    }

    accepts!(BYTEA);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[track_caller]
    fn check(value: u128, digits: &[i16]) {
        let mut sent = BytesMut::new();
        Numeric(value).to_sql(&Type::NUMERIC, &mut sent).unwrap();
        let words: Vec<i16> = sent
            .chunks(2)
            .map(|word| i16::from_be_bytes([word[0], word[1]]))
            .collect();
        assert_eq!(words[0], i16::try_from(digits.len()).unwrap());
        assert_eq!(&words[4..], digits, "{value}");
        assert_eq!(
            Numeric::from_sql(&Type::NUMERIC, &sent).unwrap(),
            Numeric(value)
        );
    }

    #[test]
    fn numbers_are_sent_in_digits_of_ten_thousand() {
        check(0, &[]);
        check(1, &[1]);
        check(9_999, &[9_999]);
        check(10_000, &[1, 0]);
        check(1_0000_0203, &[1, 0, 203]);
        let max = [340, 2823, 6692, 938, 4634, 6337, 4607, 4317, 6821, 1455];
        check(u128::MAX, &max);
    }

    #[track_caller]
    fn check_refused(words: &[i16]) {
        let sent: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
        assert!(
            Numeric::from_sql(&Type::NUMERIC, &sent).is_err(),
            "{words:?}"
        );
    }

    #[test]
    fn what_is_no_u128_is_refused() {
        const NEGATIVE: i16 = 0x4000;
        check_refused(&[1, 0, NEGATIVE, 0, 1]);
        // One half; then the least number above the largest, and one with many zeros.
        check_refused(&[1, -1, 0, 1, 5_000]);
        check_refused(&[
            10, 9, 0, 0, 340, 2823, 6692, 938, 4634, 6337, 4607, 4317, 6821, 1456,
        ]);
        check_refused(&[1, 10, 0, 0, 1]);
        check_refused(&[1, 0]);
    }

    #[test]
    fn zeros_at_the_end_that_were_not_sent_count() {
        let sent: Vec<u8> = [1_i16, 2, 0, 0, 7]
            .iter()
            .flat_map(|word| word.to_be_bytes())
            .collect();
        assert_eq!(
            Numeric::from_sql(&Type::NUMERIC, &sent).unwrap(),
            Numeric(700_000_000)
        );
    }

    proptest! {
        #[test]
        fn every_number_comes_back(value: u128) {
            let mut sent = BytesMut::new();
            Numeric(value).to_sql(&Type::NUMERIC, &mut sent).unwrap();
            prop_assert_eq!(Numeric::from_sql(&Type::NUMERIC, &sent).unwrap(), Numeric(value));
        }
    }
}
