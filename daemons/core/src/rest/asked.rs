//! What is taken from a request: its path, its query, its body. What is none is told as a problem.

use super::problem::Problem;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Json, Path, Query, Request};
use axum::http::StatusCode;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// Items of a page, where nothing else is asked for.
const PAGE_ITEMS: u32 = 50;

/// Most items of a page.
const PAGE_ITEMS_MAX: u32 = 200;

/// Longest name or cursor in a request, in bytes: a Lightning address with its kind.
const NAME_BYTES_MAX: usize = 256;

/// From the path.
pub(crate) struct InPath<T>(pub(super) T);

/// From the query.
pub(crate) struct InQuery<T>(pub(super) T);

/// From the body.
pub(crate) struct InBody<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for InPath<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        let Path(value) = path.map_err(|error| Problem::malformed(error.body_text()))?;
        Ok(Self(value))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for InQuery<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        let Query(value) = query.map_err(|error| Problem::malformed(error.body_text()))?;
        Ok(Self(value))
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for InBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let body = Json::<T>::from_request(request, state).await;
        let Json(value) = body.map_err(|error| refused(&error))?;
        Ok(Self(value))
    }
}

fn refused(error: &JsonRejection) -> Problem {
    let status = match error.status() {
        StatusCode::UNPROCESSABLE_ENTITY => StatusCode::BAD_REQUEST,
        status => status,
    };
    Problem::new(status, "HH5020", error.body_text())
}

/// Which page of a list.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct PageQuery {
    /// `next` of the page before; none for the first.
    #[param(max_length = 256)]
    cursor: Option<String>,
    /// Most items of the page; 50 where this is not given.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
}

impl PageQuery {
    /// How many items are wanted.
    pub(super) fn limit(&self) -> Result<u32, Problem> {
        let limit = self.limit.unwrap_or(PAGE_ITEMS);
        if !(1..=PAGE_ITEMS_MAX).contains(&limit) {
            let detail = format!("limit: a page has 1 to {PAGE_ITEMS_MAX} items");
            return Err(Problem::malformed(detail));
        }
        Ok(limit)
    }

    /// The same page, with no more items than `most`.
    pub(super) fn with_limit_of(mut self, most: u32) -> Self {
        // What is out of its bounds is still refused.
        let fits = self
            .limit
            .is_none_or(|limit| (1..=PAGE_ITEMS_MAX).contains(&limit));
        if fits {
            self.limit = Some(self.limit.unwrap_or(most).min(most));
        }
        self
    }

    /// After what.
    pub(super) fn after(&self) -> Result<Option<String>, Problem> {
        self.cursor.clone().map(plain).transpose()
    }
}

/// A name that may stand in a path or a query: no longer than any, and nothing in it that moves a terminal.
pub(super) fn plain(name: String) -> Result<String, Problem> {
    let is_plain =
        (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control);
    match is_plain {
        true => Ok(name),
        false => Err(Problem::malformed(format!(
            "a name has 1 to {NAME_BYTES_MAX} bytes and no control characters"
        ))),
    }
}

/// A part of a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(crate) struct Page<T> {
    pub(super) items: Vec<T>,
    /// The cursor of the next page; none at the end.
    pub(super) next: Option<String>,
}

impl<T> Page<T> {
    /// Of items of which one more was asked for than the page has.
    pub(super) fn of(mut items: Vec<T>, limit: u32, cursor: impl Fn(&T) -> String) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let has_more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| has_more).map(cursor);
        Self { items, next }
    }

    /// Of a list that is at hand, after the item whose cursor is `after`.
    pub(super) fn cut(
        items: impl IntoIterator<Item = T>,
        query: &PageQuery,
        cursor: impl Fn(&T) -> String,
    ) -> Result<Self, Problem> {
        let (limit, after) = (query.limit()?, query.after()?);
        let mut items = items.into_iter();
        if let Some(after) = after
            && !items.by_ref().any(|item| cursor(&item) == after)
        {
            return Err(unknown_cursor());
        }
        let wanted = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(Self::of(items.take(wanted + 1).collect(), limit, cursor))
    }
}

/// A cursor that no page of this list has given, or whose item is gone.
pub(super) fn unknown_cursor() -> Problem {
    Problem::malformed(
        "cursor: no page of this list has given it, or what it names is gone; begin anew",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(cursor: Option<u32>, limit: u32) -> PageQuery {
        PageQuery {
            cursor: cursor.map(|cursor| cursor.to_string()),
            limit: Some(limit),
        }
    }

    #[test]
    fn pages_of_any_length_have_every_item_once() {
        for limit in 1..=12 {
            let (mut seen, mut cursor) = (Vec::new(), None);
            loop {
                let page = Page::cut(0..10_u32, &query(cursor, limit), u32::to_string).unwrap();
                seen.extend(page.items);
                let Some(next) = page.next else { break };
                cursor = Some(next.parse().unwrap());
            }
            assert_eq!(seen, (0..10).collect::<Vec<_>>(), "{limit}");
        }
    }

    #[test]
    fn a_page_that_is_none_is_refused() {
        for wrong in [query(None, 0), query(None, 201), query(Some(10), 5)] {
            Page::cut(0..10_u32, &wrong, u32::to_string).unwrap_err();
        }
        plain("a\u{1b}[2J".to_owned()).unwrap_err();
        plain("x".repeat(257)).unwrap_err();
    }
}
