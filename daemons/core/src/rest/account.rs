//! What an account's holder sees of it, as hh-treasury has it.

use super::Rest;
use super::asked::{InPath, plain};
use super::entrance::Holder;
use super::problem::{Problem, TokenProblems};
use super::public::block_hash;
use crate::api_token::ApiTokenRow;
use axum::Json;
use axum::extract::State;
use hh_ipc::api::treasury::{Account, AccountProofAnswer, ProofRequest};

fn of(holder: &ApiTokenRow, account: String) -> Result<String, Problem> {
    let account = plain(account)?;
    match holder.speaks_of_account(&account) {
        true => Ok(account),
        false => Err(Problem::not_found("no account of this token has that name")),
    }
}

/// An account's balances and destination; a miner sees his own.
#[utoipa::path(get, path = "/v1/accounts/{account}", tag = "operators", security(("token" = [])),
    params(("account" = String, Path, description = "Its name, such as `miner:alice`", max_length = 256)),
    responses((status = 200, description = "The account", body = Account), TokenProblems))]
pub(super) async fn account(
    State(rest): State<Rest>,
    Holder(holder): Holder,
    InPath(account): InPath<String>,
) -> Result<Json<Account>, Problem> {
    let account = of(&holder, account)?;
    let treasury = rest.sources.treasury().await?;
    let answer = treasury.client.account(treasury.call(), account).await;
    Ok(Json(treasury.granted(answer)?))
}

/// What an account has of a block, and the path that proves it; a miner sees his own.
#[utoipa::path(get, path = "/v1/accounts/{account}/proofs/{block}", tag = "operators", security(("token" = [])),
    params(
        ("account" = String, Path, description = "Its name, such as `miner:alice`", max_length = 256),
        ("block" = String, Path, description = "The block's hash", pattern = "^[0-9a-f]{64}$"),
    ),
    responses((status = 200, description = "The proof, and the report that it leads to", body = AccountProofAnswer), TokenProblems))]
pub(super) async fn proof(
    State(rest): State<Rest>,
    Holder(holder): Holder,
    InPath((account, block)): InPath<(String, String)>,
) -> Result<Json<AccountProofAnswer>, Problem> {
    let name = of(&holder, account)?;
    let block = block_hash(block)?;
    let treasury = rest.sources.treasury().await?;
    let request = ProofRequest { name, block };
    let answer = treasury.client.proof(treasury.call(), request).await;
    Ok(Json(treasury.granted(answer)?))
}
