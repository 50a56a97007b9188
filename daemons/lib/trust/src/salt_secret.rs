//! The secret from which each account's salt comes, so that a treasury keeps no table of salts and loses none.
//!
//! In block reports an account is called SHA-256(salt || block hash || account). Its holder is shown its salt, and finds it in
//! every report; to anybody else two reports have no account in common. A salt tells nothing about another one.

use std::fmt;
use std::str::FromStr;

use ring::hmac;

/// A text that is no secret of salts; it is not repeated here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the secret of the accounts' salts is not 64 hex digits")]
pub struct SaltSecretError;

/// 32 bytes that the treasury alone knows. Who has them knows whose every leaf in every report is; so it is not shown by Debug.
pub struct SaltSecret(hmac::Key);

impl SaltSecret {
    /// An account's salt: HMAC-SHA256 over the account's name.
    #[must_use]
    pub fn salt_of(&self, account: &str) -> [u8; 32] {
        let tag = hmac::sign(&self.0, account.as_bytes());
        let salt = tag.as_ref().try_into();
        salt.expect("an HMAC-SHA256 has 32 bytes")
    }
}

impl FromStr for SaltSecret {
    type Err = SaltSecretError;

    /// Takes 32 bytes in hex.
    fn from_str(text: &str) -> Result<Self, SaltSecretError> {
        let mut bytes = [0; 32];
        let decoded = hex::decode_to_slice(text.trim(), &mut bytes);
        // What is wrong in it would show a digit of it.
        decoded.ok().ok_or(SaltSecretError)?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }
}

impl fmt::Debug for SaltSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SaltSecret([secret])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// By `printf alice | openssl dgst -sha256 -mac HMAC -macopt hexkey:000102...1f`.
    const ALICE: &str = "6eefad2bed97b6d93ee663d67a44b46016b3d79dcad54ada39b61a1d14874d1b";

    fn secret() -> SaltSecret {
        let bytes: Vec<u8> = (0..32).collect();
        format!("{}\n", hex::encode(bytes)).parse().unwrap()
    }

    #[test]
    fn a_salt_is_the_hmac_of_the_name() {
        assert_eq!(hex::encode(secret().salt_of("alice")), ALICE);
        assert_ne!(secret().salt_of("alice"), secret().salt_of("alicf"));
    }

    #[test]
    fn what_is_no_secret_is_refused_and_none_is_shown() {
        for text in ["", "00", &"0".repeat(63), &"x".repeat(64)] {
            assert_eq!(text.parse::<SaltSecret>().unwrap_err(), SaltSecretError);
        }
        assert_eq!(format!("{:?}", secret()), "SaltSecret([secret])");
    }
}
