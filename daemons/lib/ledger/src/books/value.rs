//! `Value` and `Row`: what goes into a statement and comes out of it, the same for both engines.

use std::fmt;
use std::str::FromStr;

use hh_mining::{BlockHash, Msat, Score};

use super::{AttemptId, BooksError, PayoutId};
use crate::LedgerError;

/// A column's value. Numbers of more than 63 bits are bytes, big-endian.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Null,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
}

/// The values of a statement's parameters, in the order of `$1`, `$2`, ...
macro_rules! values {
    ($($value:expr),* $(,)?) => {
        [$($crate::books::value::Value::from($value)),*]
    };
}
pub(super) use values;

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<u32> for Value {
    fn from(value: u32) -> Self {
        Self::Int(value.into())
    }
}

/// Numbers that are looked for or counted: one that no row can have is as good as the largest.
impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

impl From<PayoutId> for Value {
    fn from(id: PayoutId) -> Self {
        id.0.into()
    }
}

impl From<AttemptId> for Value {
    fn from(id: AttemptId) -> Self {
        id.0.into()
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(value.to_owned())
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(value)
    }
}

impl From<&[u8]> for Value {
    fn from(value: &[u8]) -> Self {
        Self::Bytes(value.to_owned())
    }
}

impl<const N: usize> From<[u8; N]> for Value {
    fn from(value: [u8; N]) -> Self {
        Self::Bytes(value.to_vec())
    }
}

impl From<BlockHash> for Value {
    fn from(hash: BlockHash) -> Self {
        hash.to_byte_array().into()
    }
}

impl From<Score> for Value {
    fn from(score: Score) -> Self {
        score.0.to_be_bytes().into()
    }
}

impl<T: Into<Self>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

/// A row of a result.
#[derive(Debug)]
pub(super) struct Row(pub(super) Vec<Value>);

impl Row {
    /// A column.
    ///
    /// # Errors
    /// [`LedgerError::OutOfRange`] if it is not of that type: somebody else has written into the books.
    pub(super) fn get<T: FromValue>(&self, column: usize) -> Result<T, BooksError> {
        let value = self.0.get(column).unwrap_or(&Value::Null);
        T::from_value(value).ok_or_else(|| {
            let what = "a column of the books";
            tracing::error!(
                column,
                wanted = std::any::type_name::<T>(),
                "column has another type"
            );
            LedgerError::OutOfRange { what }.into()
        })
    }

    /// A column that holds the name of something.
    ///
    /// # Errors
    /// [`BooksError::Unknown`] if it is no such name.
    pub(super) fn parse<T: FromStr<Err = BooksError>>(
        &self,
        column: usize,
    ) -> Result<T, BooksError> {
        self.get::<String>(column)?.parse()
    }
}

/// What a column can be read as.
pub(super) trait FromValue: Sized {
    fn from_value(value: &Value) -> Option<Self>;
}

impl FromValue for i64 {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Int(value) => Some(*value),
            Value::Null | Value::Text(_) | Value::Bytes(_) => None,
        }
    }
}

impl FromValue for u64 {
    fn from_value(value: &Value) -> Option<Self> {
        i64::from_value(value)?.try_into().ok()
    }
}

impl FromValue for u32 {
    fn from_value(value: &Value) -> Option<Self> {
        i64::from_value(value)?.try_into().ok()
    }
}

impl FromValue for Msat {
    fn from_value(value: &Value) -> Option<Self> {
        u64::from_value(value).map(Self)
    }
}

impl FromValue for PayoutId {
    fn from_value(value: &Value) -> Option<Self> {
        u64::from_value(value).map(Self)
    }
}

impl FromValue for AttemptId {
    fn from_value(value: &Value) -> Option<Self> {
        u64::from_value(value).map(Self)
    }
}

impl FromValue for String {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Text(value) => Some(value.clone()),
            Value::Null | Value::Int(_) | Value::Bytes(_) => None,
        }
    }
}

impl FromValue for Vec<u8> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Bytes(value) => Some(value.clone()),
            Value::Null | Value::Int(_) | Value::Text(_) => None,
        }
    }
}

impl<const N: usize> FromValue for [u8; N] {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Bytes(value) => value.as_slice().try_into().ok(),
            Value::Null | Value::Int(_) | Value::Text(_) => None,
        }
    }
}

impl FromValue for BlockHash {
    fn from_value(value: &Value) -> Option<Self> {
        FromValue::from_value(value).map(Self::from_byte_array)
    }
}

impl FromValue for Score {
    fn from_value(value: &Value) -> Option<Self> {
        FromValue::from_value(value).map(|bytes| Self(u128::from_be_bytes(bytes)))
    }
}

impl<T: FromValue> FromValue for Option<T> {
    fn from_value(value: &Value) -> Option<Self> {
        match value {
            Value::Null => Some(None),
            Value::Int(_) | Value::Text(_) | Value::Bytes(_) => T::from_value(value).map(Some),
        }
    }
}

/// The number that the books keep for an amount.
///
/// # Errors
/// [`BooksError::TooMuch`] beyond all the money there is: so no sum of the books ever leaves an `i64`.
pub(super) fn msat(amount: Msat) -> Result<i64, BooksError> {
    i64::try_from(amount.0)
        .ok()
        .filter(|_| amount <= Msat::MAX_MONEY)
        .ok_or(BooksError::TooMuch { amount })
}

/// Bytes as hex, for people.
pub(super) struct Hex<'a>(pub(super) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
