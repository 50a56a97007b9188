//! Tokens for operators.

use super::{Control, MAX_LISTED, digest, operation_id, store_error, timestamp, usage};
use crate::asker::Asker;
use crate::audit::{self, Asked, Ended};
use crate::node;
use crate::store::{StoreError, Transaction};
use crate::token::{self, TokenRow};
use hh_ipc::api::core::{
    CreateToken, EnrolmentToken as TokenAnswer, IssuedToken, TokenPage, TokenState,
};
use hh_ipc::{ApiError, ErrorKind};
use hh_trust::NodeId;
use hh_trust::audit::Detail;
use hh_trust::enrolment::{EnrolmentToken, TokenHash, TokenId, TokenRequest, Visibility};
use hh_trust::pki::PeerName;
use jiff::Timestamp;

/// Shortest life of a token in seconds: somebody has to carry it to a node.
const SECONDS_MIN: u32 = 60;

/// Longest life, as nodes take it.
const SECONDS_MAX: u32 = 86_400;

impl Control {
    pub(crate) async fn create_token(
        &self,
        asker: &Asker,
        request: CreateToken,
    ) -> Result<IssuedToken, ApiError> {
        let node: NodeId = request
            .node
            .parse()
            .map_err(|error| usage(format!("{:?} is no name of a node: {error}", request.node)))?;
        if !(SECONDS_MIN..=SECONDS_MAX).contains(&request.valid_seconds) {
            let message = format!("a token is valid for {SECONDS_MIN} to {SECONDS_MAX} seconds");
            return Err(usage(message));
        }
        let asked = self.token_request(node, &request, asker.name.clone());
        let now = Timestamp::now();
        let made = EnrolmentToken::create(asked, &self.authority.enrolment_key, now.as_second());
        let (made, secret) = made.map_err(|error| usage(error.to_string()))?;
        let asked = Asked {
            detail: Detail::default()
                .with("token", made.jti)
                .with("expires_at", made.exp)
                .with("may_replace", request.replace)
                .with("public", request.public),
            ..asked_for(asker, "token.create", &made.node, &request)?
        };
        let new = NewToken {
            hash: TokenHash::of(&secret),
            made,
            may_replace: request.replace,
            asked,
        };
        let core = self.authority.replica.clone();
        let put = move |transaction: &Transaction<'_>| put(transaction, (&core, now), &new);
        let row: Result<Option<TokenRow>, StoreError> = self.store.call(put).await;
        let row = row.map_err(|error| store_error(&error))?;
        let row = row.ok_or_else(|| name_taken(&request.node))?;
        Ok(IssuedToken {
            token: answer(&row, now),
            secret,
        })
    }

    fn token_request(&self, node: NodeId, request: &CreateToken, by: String) -> TokenRequest {
        TokenRequest {
            domain: self.authority.domain.clone(),
            node,
            visibility: match request.public {
                true => Visibility::Public,
                false => Visibility::Private,
            },
            url: self.enrolment_url.clone(),
            ca: self.authority.pin,
            network: self.authority.network,
            by,
            seconds: request.valid_seconds.into(),
        }
    }

    pub(super) async fn tokens(&self) -> Result<TokenPage, ApiError> {
        let read: Result<_, StoreError> = self
            .store
            .read(|transaction| token::list(transaction, MAX_LISTED))
            .await;
        let (rows, total) = read.map_err(|error| store_error(&error))?;
        let now = Timestamp::now();
        Ok(TokenPage {
            tokens: rows.iter().map(|row| answer(row, now)).collect(),
            total,
        })
    }

    /// At most so many before that one, newest first; none if there is no such one.
    pub(crate) async fn token_page(
        &self,
        after: Option<String>,
        limit: u32,
    ) -> Result<Option<Vec<TokenAnswer>>, ApiError> {
        let after: Option<TokenId> = match after.map(|after| after.parse()) {
            None => None,
            Some(Ok(after)) => Some(after),
            Some(Err(_)) => return Ok(None),
        };
        let read: Result<_, StoreError> = self
            .store
            .read(move |transaction| {
                if let Some(after) = after
                    && token::get(transaction, after)?.is_none()
                {
                    return Ok(None);
                }
                token::page(transaction, after, limit).map(Some)
            })
            .await;
        let rows = read.map_err(|error| store_error(&error))?;
        let now = Timestamp::now();
        Ok(rows.map(|rows| rows.iter().map(|row| answer(row, now)).collect()))
    }

    pub(crate) async fn revoke_token(
        &self,
        asker: &Asker,
        id: &str,
    ) -> Result<TokenAnswer, ApiError> {
        let unknown = || {
            let message = format!("there is no token {id}; `hhctl token list` shows them");
            ApiError::new(ErrorKind::NotFound, "HH5003", message)
        };
        let token: TokenId = id.parse().ok().ok_or_else(unknown)?;
        let (core, now) = (self.authority.replica.clone(), Timestamp::now());
        let asker = asker.clone();
        let revoke =
            move |transaction: &Transaction<'_>| revoke(transaction, (&core, now), token, &asker);
        let row: Result<Option<TokenRow>, RevokeError> = self.store.call(revoke).await;
        let row = row.map_err(|error| match error {
            RevokeError::Store(error) => store_error(&error),
            RevokeError::Refused(error) => error,
        })?;
        let row = row.ok_or_else(unknown)?;
        if row.record.used.is_some() {
            let message = format!("the token {id} was used before it was revoked");
            return Err(ApiError::new(ErrorKind::Failed, "HH5005", message));
        }
        Ok(answer(&row, now))
    }
}

/// A token, and all that is written down with it.
struct NewToken {
    made: EnrolmentToken,
    hash: TokenHash,
    may_replace: bool,
    asked: Asked,
}

/// Why a token was not revoked.
enum RevokeError {
    Store(StoreError),
    Refused(ApiError),
}

impl From<StoreError> for RevokeError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn asked_for(
    asker: &Asker,
    action: &'static str,
    node: &NodeId,
    request: &impl serde::Serialize,
) -> Result<Asked, ApiError> {
    let op = operation_id()?;
    Ok(asker.asks(op, action, format!("node:{node}"), digest(request)))
}

/// Writes the token, and who made it. None where the name is taken, which is written down as well.
fn put(
    transaction: &Transaction<'_>,
    here: (&PeerName, Timestamp),
    new: &NewToken,
) -> Result<Option<TokenRow>, StoreError> {
    let is_taken = !new.may_replace && node::get(transaction, &new.made.node)?.is_some();
    audit::intent(transaction, here, &new.asked)?;
    let ended = match is_taken {
        true => Ended::refused("name-taken"),
        false => Ended::done(),
    };
    audit::outcome(transaction, here, new.asked.op, ended)?;
    if is_taken {
        return Ok(None);
    }
    token::put(transaction, &new.made, new.hash, new.may_replace)?;
    token::get(transaction, new.made.jti)
}

fn revoke(
    transaction: &Transaction<'_>,
    here: (&PeerName, Timestamp),
    id: TokenId,
    asker: &Asker,
) -> Result<Option<TokenRow>, RevokeError> {
    let Some(row) = token::get(transaction, id)? else {
        return Ok(None);
    };
    let asked = asked_for(asker, "token.revoke", &row.node, &id);
    let asked = Asked {
        detail: Detail::default().with("token", id),
        ..asked.map_err(RevokeError::Refused)?
    };
    audit::intent(transaction, here, &asked)?;
    let ended = match row.record.used {
        Some(_) => Ended::refused("token-used"),
        None => {
            token::revoke(transaction, id, here.1.as_millisecond())?;
            Ended::done()
        }
    };
    audit::outcome(transaction, here, asked.op, ended)?;
    Ok(token::get(transaction, id)?)
}

fn name_taken(node: &str) -> ApiError {
    let message = format!(
        "there is a node {node} already; with --replace it joins anew, and what it has now is of no use from then on"
    );
    ApiError::new(ErrorKind::Failed, "HH5006", message)
}

fn answer(row: &TokenRow, now: Timestamp) -> TokenAnswer {
    let record = &row.record;
    TokenAnswer {
        id: row.id.to_string(),
        node: row.node.to_string(),
        state: match record.used {
            Some(_) => TokenState::Used,
            None if record.is_revoked => TokenState::Revoked,
            None if now.as_second() >= record.exp => TokenState::Expired,
            None => TokenState::Open,
        },
        by: row.made_by.clone(),
        created_at: timestamp(row.created_at_ms),
        expires_at: timestamp(record.exp.saturating_mul(1_000)),
        used_at: record
            .used
            .map(|used| timestamp(used.at.saturating_mul(1_000))),
    }
}
