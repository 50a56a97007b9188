//! Tokens of the REST interface, for operators.

use super::{Control, MAX_LISTED, digest, operation_id, store_error, timestamp, usage};
use crate::api_token::{self, ApiTokenRow, NewApiToken};
use crate::asker::Asker;
use crate::audit::{self, Asked, Ended};
use crate::store::{StoreError, Transaction};
use hh_ipc::api::core::{
    ApiToken, ApiTokenPage, ApiTokenState, CreateApiToken, IssuedApiToken, Role,
};
use hh_ipc::{ApiError, ErrorKind};
use hh_trust::NodeId;
use hh_trust::api_token::{ApiSecret, ApiTokenError, ApiTokenId};
use hh_trust::audit::Detail;
use jiff::Timestamp;

/// Longest life of a token in days: who has left is forgotten after a year at last.
const DAYS_MAX: u32 = 366;

/// Longest name, in bytes; it is in every line of the audit log that its holder causes.
const NAME_BYTES_MAX: usize = 32;

/// Most nodes or accounts of one token. Whoever has more of them operates the network.
const NAMES_MAX: usize = 64;

/// Longest name of an account, in bytes: a Bitcoin or Lightning address.
const ACCOUNT_BYTES_MAX: usize = 128;

impl Control {
    pub(super) async fn create_api_token(
        &self,
        asker: &Asker,
        request: CreateApiToken,
    ) -> Result<IssuedApiToken, ApiError> {
        check(&request)?;
        let secret = ApiSecret::generate().map_err(|error| no_randomness(&error))?;
        let id = ApiTokenId::generate().map_err(|error| no_randomness(&error))?;
        let now = Timestamp::now();
        let life_ms = i64::from(request.valid_days) * 86_400_000;
        let op = operation_id()?;
        let target = format!("api-token:{id}");
        let asked = Asked {
            detail: Detail::default()
                .with("name", &request.name)
                .with("role", request.role)
                .with("read_only", request.read_only)
                .with("nodes", request.nodes.join(" "))
                .with("accounts", request.accounts.join(" "))
                .with("valid_days", request.valid_days),
            ..asker.asks(op, "api-token.create", target, digest(&request))
        };
        let new = NewApiToken {
            id,
            hash: secret.hash(),
            name: request.name,
            role: request.role,
            read_only: request.read_only,
            nodes: request.nodes,
            accounts: request.accounts,
            made_by: asker.name.clone(),
            created_at_ms: now.as_millisecond(),
            expires_at_ms: now.as_millisecond() + life_ms,
        };
        let core = self.authority.replica.clone();
        let put = move |transaction: &Transaction<'_>| {
            audit::intent(transaction, (&core, now), &asked)?;
            api_token::put(transaction, &new)?;
            audit::outcome(transaction, (&core, now), asked.op, Ended::done())?;
            api_token::get(transaction, &id.to_string())
        };
        let row: Result<Option<ApiTokenRow>, StoreError> = self.store.call(put).await;
        let row = row.map_err(|error| store_error(&error))?;
        let row = row.expect("it was written in this transaction");
        Ok(IssuedApiToken {
            token: answer(&row, now),
            secret: secret.expose().to_owned(),
        })
    }

    pub(super) async fn api_tokens(&self) -> Result<ApiTokenPage, ApiError> {
        let read: Result<_, StoreError> = self
            .store
            .read(|transaction| api_token::list(transaction, MAX_LISTED))
            .await;
        let (rows, total) = read.map_err(|error| store_error(&error))?;
        let now = Timestamp::now();
        Ok(ApiTokenPage {
            tokens: rows.iter().map(|row| answer(row, now)).collect(),
            total,
        })
    }

    pub(super) async fn revoke_api_token(
        &self,
        asker: &Asker,
        id: String,
    ) -> Result<ApiToken, ApiError> {
        let op = operation_id()?;
        let target = format!("api-token:{id}");
        let asked = asker.asks(op, "api-token.revoke", target, digest(&id));
        let (core, now) = (self.authority.replica.clone(), Timestamp::now());
        let wanted = id.clone();
        let revoke = move |transaction: &Transaction<'_>| {
            let Some(row) = api_token::get(transaction, &wanted)? else {
                return Ok(None);
            };
            let asked = Asked {
                detail: Detail::default().with("name", &row.name),
                ..asked
            };
            audit::intent(transaction, (&core, now), &asked)?;
            api_token::revoke(transaction, &wanted, now.as_millisecond())?;
            audit::outcome(transaction, (&core, now), asked.op, Ended::done())?;
            api_token::get(transaction, &wanted)
        };
        let row: Result<Option<ApiTokenRow>, StoreError> = self.store.call(revoke).await;
        let row = row.map_err(|error| store_error(&error))?;
        let unknown = || {
            let message = format!("there is no token {id}; `hhctl api-token list` shows them");
            ApiError::new(ErrorKind::NotFound, "HH5007", message)
        };
        Ok(answer(&row.ok_or_else(unknown)?, now))
    }
}

fn check(request: &CreateApiToken) -> Result<(), ApiError> {
    let name = &request.name;
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if !(1..=NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(is_plain) {
        let message = format!("{name:?} is no name: write 1 to {NAME_BYTES_MAX} of a-z, 0-9 and -");
        return Err(usage(message));
    }
    if !(1..=DAYS_MAX).contains(&request.valid_days) {
        return Err(usage(format!("a token is valid for 1 to {DAYS_MAX} days")));
    }
    let (nodes, accounts) = (request.nodes.len(), request.accounts.len());
    let fits = match request.role {
        Role::Miner => nodes == 0 && (1..=NAMES_MAX).contains(&accounts),
        Role::NodeOperator => accounts == 0 && (1..=NAMES_MAX).contains(&nodes),
        Role::CoreOperator => nodes == 0 && accounts == 0,
    };
    if !fits {
        let message = format!(
            "a miner has 1 to {NAMES_MAX} accounts, a node operator 1 to {NAMES_MAX} nodes, and a core operator neither"
        );
        return Err(usage(message));
    }
    for node in &request.nodes {
        let parsed = node.parse::<NodeId>();
        parsed.map_err(|error| usage(format!("{node:?} is no name of a node: {error}")))?;
    }
    let is_account = |account: &String| {
        (1..=ACCOUNT_BYTES_MAX).contains(&account.len())
            && account.bytes().all(|byte| byte.is_ascii_graphic())
    };
    match request.accounts.iter().find(|account| !is_account(account)) {
        Some(account) => Err(usage(format!("{account:?} is no name of an account"))),
        None => Ok(()),
    }
}

fn no_randomness(error: &ApiTokenError) -> ApiError {
    ApiError::new(ErrorKind::Failed, "HH5011", error.to_string())
}

pub(crate) fn answer(row: &ApiTokenRow, now: Timestamp) -> ApiToken {
    ApiToken {
        id: row.id.clone(),
        name: row.name.clone(),
        role: row.role,
        read_only: row.read_only,
        nodes: row.nodes.clone(),
        accounts: row.accounts.clone(),
        state: if row.is_revoked {
            ApiTokenState::Revoked
        } else if row.holds(now.as_millisecond()) {
            ApiTokenState::Active
        } else {
            ApiTokenState::Expired
        },
        by: row.made_by.clone(),
        created_at: timestamp(row.created_at_ms),
        expires_at: timestamp(row.expires_at_ms),
    }
}
