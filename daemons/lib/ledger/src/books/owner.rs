//! `Owner`: whose an account is that is only a name. Being first is no proof: an operator gives out a claim token, or the
//! owner's key himself. Addresses prove their owners by signatures, and Lightning addresses have none to prove.

use bitcoin::hashes::{Hash, sha256};
use hh_mining::identity::AccountName;

use super::error::bounded;
use super::session::{CallError, Session};
use super::value::values;
use super::{Books, BooksError, KEY_BYTES_MAX, TEXT_BYTES_MAX, TwoActors};

/// Whose an account is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    /// The Ed25519 key that may give orders for it.
    pub key: [u8; 32],
    /// Who has given it out.
    pub by: String,
    /// Since when, milliseconds since 1970.
    pub since_ms: i64,
}

async fn of(session: &mut Session, account: &str) -> Result<Option<Owner>, CallError> {
    let query =
        "SELECT key, given_by, since_ms FROM owners WHERE account = $1 ORDER BY seq DESC LIMIT 1";
    let Some(row) = session.find(query, &values![account]).await? else {
        return Ok(None);
    };
    Ok(Some(Owner {
        key: row.get(0)?,
        by: row.get(1)?,
        since_ms: row.get(2)?,
    }))
}

fn refused(account: &str, why: &'static str) -> CallError {
    let account = account.to_owned();
    BooksError::Claim { account, why }.into()
}

/// Refuses accounts that can't be claimed.
async fn refuse_claimed(session: &mut Session, account: &str) -> Result<(), CallError> {
    if !AccountName::parse(account).is_ok_and(|name| name.as_str() == account) {
        return Err(refused(account, "only names are claimed"));
    }
    match of(session, account).await? {
        Some(_) => Err(refused(account, "it has an owner")),
        None => Ok(()),
    }
}

/// Makes a key the owner's; every token of the account is void from then on.
async fn put(
    session: &mut Session,
    account: &str,
    key: [u8; 32],
    by: &str,
    now_ms: i64,
) -> Result<(), CallError> {
    let delete = "DELETE FROM claim_tokens WHERE account = $1";
    session.execute(delete, &values![account]).await?;
    let insert = "INSERT INTO owners (account, seq, key, given_by, since_ms) VALUES
        ($1, (SELECT coalesce(max(seq), 0) + 1 FROM owners WHERE account = $1), $2, $3, $4)";
    let values = values![account, key, by, now_ms];
    session.execute(insert, &values).await?;
    Ok(())
}

async fn claim(
    session: &mut Session,
    account: &str,
    token: &[u8],
    owner_key: [u8; 32],
    now_ms: i64,
) -> Result<(), CallError> {
    refuse_claimed(session, account).await?;
    let token = sha256::Hash::hash(token).to_byte_array();
    // By its hash: how long that takes tells nothing about the token.
    let query = "SELECT given_by FROM claim_tokens WHERE account = $1 AND token_sha256 = $2";
    let Some(row) = session.find(query, &values![account, token]).await? else {
        return Err(refused(account, "that is not its claim token"));
    };
    let by: String = row.get(0)?;
    put(session, account, owner_key, &by, now_ms).await
}

impl Books {
    /// Gives out a claim token for a name, of which the books keep the SHA-256 only. It takes the place of one that was not
    /// used.
    ///
    /// # Errors
    /// [`BooksError::Claim`] if the account has an owner, or is no name.
    pub async fn put_claim_token(
        &self,
        account: String,
        token_sha256: [u8; 32],
        by: String,
        now_ms: i64,
    ) -> Result<(), BooksError> {
        let by = bounded("a person's name", by, KEY_BYTES_MAX)?;
        self.write("give a claim token out", async move |session| {
            refuse_claimed(session, &account).await?;
            let upsert = "INSERT INTO claim_tokens (account, token_sha256, given_by, given_at_ms) VALUES ($1, $2, $3, $4)
                ON CONFLICT (account) DO UPDATE SET token_sha256 = excluded.token_sha256, given_by = excluded.given_by,
                    given_at_ms = excluded.given_at_ms";
            let values = values![account, token_sha256, by, now_ms];
            session.execute(upsert, &values).await?;
            Ok(())
        })
        .await
    }

    /// Uses a claim token up: `owner_key` gives the orders for the account from then on.
    ///
    /// # Errors
    /// [`BooksError::Claim`] if it is not the account's token, was used or replaced, or the account has an owner.
    pub async fn claim(
        &self,
        account: String,
        token: Vec<u8>,
        owner_key: [u8; 32],
        now_ms: i64,
    ) -> Result<(), BooksError> {
        self.write("claim an account", async move |session| {
            claim(session, &account, &token, owner_key, now_ms).await
        })
        .await
    }

    /// Makes a key the owner's on an operator's word.
    ///
    /// # Errors
    /// [`BooksError::Claim`] if the account has an owner, or is no name.
    pub async fn put_owner_key(
        &self,
        account: String,
        owner_key: [u8; 32],
        by: String,
        now_ms: i64,
    ) -> Result<(), BooksError> {
        let by = bounded("a person's name", by, KEY_BYTES_MAX)?;
        self.write("put an owner's key", async move |session| {
            refuse_claimed(session, &account).await?;
            put(session, &account, owner_key, &by, now_ms).await
        })
        .await
    }

    /// Makes another key the owner's of an account that has one, and uses the two persons' word up.
    ///
    /// # Errors
    /// [`BooksError::Claim`] if it has none; [`BooksError::NotAgreed`].
    pub async fn replace_owner_key(
        &self,
        account: String,
        owner_key: [u8; 32],
        actors: TwoActors,
        reason: String,
        now_ms: i64,
    ) -> Result<(), BooksError> {
        let reason = bounded("a reason", reason, TEXT_BYTES_MAX)?;
        self.write("replace an owner's key", async move |session| {
            actors.take(session, now_ms).await?;
            if of(session, &account).await?.is_none() {
                return Err(refused(&account, "it has no owner"));
            }
            let by = format!("{}: {reason}", actors.named());
            put(session, &account, owner_key, &by, now_ms).await
        })
        .await
    }

    /// Whose an account is, if that is known.
    ///
    /// # Errors
    /// The books can't be read.
    pub async fn owner(&self, account: String) -> Result<Option<Owner>, BooksError> {
        self.read("look an owner up", async move |session| {
            of(session, &account).await
        })
        .await
    }
}
