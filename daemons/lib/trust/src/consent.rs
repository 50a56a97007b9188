//! The word of a node's owner to one command of the core: without it no money leaves the node's wallet, and nothing changes where
//! work and pay go.
//!
//! It is given on the node, by whoever may use the agent's own control socket, and signed by the node's key, so that it is no row that
//! a thief of the database adds. It is for exactly one command, by its id and the hash of all that is in it, and for a time: an owner
//! who said yes to one payment has not said yes to the next one.

use serde::{Deserialize, Serialize};

use crate::NodeId;
use crate::change_journal::user_name;
use crate::command::{Command, CommandId, Digest};
use crate::jws::{self, JwsError, Presented};
use crate::node_key::{NodePublicKey, NodeSecretKey};

/// A command waits for its owner for no longer, in seconds: what he finds a week later is a surprise.
pub const WAIT_SECONDS_MAX: i64 = 86_400;

/// A consent that was given is used at once: the agent carries the command out. This is for one that was stopped in between.
pub const USE_SECONDS_MAX: i64 = 600;

/// Longest consent in bytes.
const CONSENT_BYTES_MAX: usize = 4 * 1024;

/// Longest name of a user in bytes.
const USER_BYTES_MAX: usize = 64;

const TYPE: &str = "hh-consent+jwt";

/// Why a command is not carried out by a consent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConsentError {
    /// It is none.
    #[error("it is no consent of a node's owner")]
    Malformed(#[source] JwsError),
    /// Not of this node.
    #[error("the consent is not signed by this node's key")]
    Key,
    /// To another command.
    #[error("the consent is for another command")]
    AnotherCommand,
    /// The owner has waited too long.
    #[error(
        "the command has waited for its owner since {since_seconds} s, and is given up: order it again"
    )]
    TooLate {
        /// Since it came.
        since_seconds: i64,
    },
    /// It was given too long ago, or will be.
    #[error("the consent was given {0} s ago, and holds for {USE_SECONDS_MAX} s: give it again")]
    Expired(i64),
}

/// A command that waits for the node's owner.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConsentRequest {
    /// Whose owner.
    pub node: NodeId,
    /// The order's name.
    pub id: CommandId,
    /// What it is.
    pub command: Command,
    /// Why he is asked.
    pub reason: String,
    /// The operator who ordered it, as the core says.
    pub operator: String,
    /// When it came, in Unix seconds.
    pub since: i64,
}

/// Who gave a consent: the user at the agent's control socket.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    /// The user's number on the node.
    pub uid: u32,
    /// His name, where he has one.
    pub user: Option<String>,
}

impl Owner {
    /// The user of this number on this machine.
    #[must_use]
    pub fn of(uid: u32) -> Self {
        Self {
            uid,
            user: user_name(uid),
        }
    }
}

/// A consent that was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consent {
    /// To which order.
    pub id: CommandId,
    /// By whom.
    pub owner: Owner,
    /// When, in Unix seconds.
    pub at: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claims {
    jti: CommandId,
    cmd: Digest,
    by: Owner,
    iat: i64,
}

impl ConsentRequest {
    /// Whether it still waits at `now`.
    ///
    /// # Errors
    /// [`ConsentError::TooLate`].
    pub fn check_time(&self, now: i64) -> Result<(), ConsentError> {
        let since_seconds = now.saturating_sub(self.since);
        match since_seconds < WAIT_SECONDS_MAX {
            true => Ok(()),
            false => Err(ConsentError::TooLate { since_seconds }),
        }
    }

    /// What the owner is asked, in words: all that the command does, nothing left out that would change his answer.
    #[must_use]
    pub fn question(&self) -> String {
        let what = match &self.command {
            Command::WalletSpend {
                destination,
                amount_msat,
                fee_msat_max,
            } => format!(
                "pay {amount_msat} msat, and up to {fee_msat_max} msat of fees, to {destination}"
            ),
            Command::ConfigApply {
                service,
                generation,
                sha256,
                ..
            } => format!("give {service} the configuration {generation} (SHA-256 {sha256})"),
            other => other.name().to_owned(),
        };
        format!("{} asks to {what}: {}", self.operator, self.reason)
    }

    /// The owner's consent at `now`, signed by the node's key. It is written down before the command is begun.
    ///
    /// # Errors
    /// [`ConsentError::TooLate`].
    pub fn consent(
        &self,
        owner: Owner,
        key: &NodeSecretKey,
        now: i64,
    ) -> Result<String, ConsentError> {
        self.check_time(now)?;
        let user = owner.user.map(|mut user| {
            user.truncate(user.floor_char_boundary(USER_BYTES_MAX));
            user
        });
        let claims = Claims {
            jti: self.id,
            cmd: self.command.digest(),
            by: Owner { user, ..owner },
            iat: now,
        };
        Ok(jws::compact(TYPE, &self.node, &claims, |bytes| {
            key.sign(bytes)
        }))
    }

    /// Whether `text` is the owner's consent to exactly this command, and holds at `now`. That it is used once is for who keeps
    /// the orders: the command's id is never run twice.
    ///
    /// # Errors
    /// The first that is wrong.
    pub fn check(
        &self,
        text: &str,
        key: &NodePublicKey,
        now: i64,
    ) -> Result<Consent, ConsentError> {
        let presented = Presented::<NodeId>::parse(text, TYPE, CONSENT_BYTES_MAX);
        let presented = presented.map_err(ConsentError::Malformed)?;
        let signed = presented.signed.as_bytes();
        if presented.kid != self.node || !key.has_signed(signed, &presented.signature) {
            return Err(ConsentError::Key);
        }
        let claims: Claims = presented.claims().map_err(ConsentError::Malformed)?;
        if claims.jti != self.id || claims.cmd != self.command.digest() {
            return Err(ConsentError::AnotherCommand);
        }
        let since = now.saturating_sub(claims.iat);
        if !(0..USE_SECONDS_MAX).contains(&since) {
            return Err(ConsentError::Expired(since));
        }
        Ok(Consent {
            id: claims.jti,
            owner: claims.by,
            at: claims.iat,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: i64 = 1_800_000_000;

    fn key() -> NodeSecretKey {
        "01".repeat(32).parse().unwrap()
    }

    fn spend(amount_msat: u64) -> Command {
        Command::WalletSpend {
            destination: "lnbc1".to_owned(),
            amount_msat,
            fee_msat_max: 10,
        }
    }

    fn request() -> ConsentRequest {
        ConsentRequest {
            node: "berlin-1".parse().unwrap(),
            id: "09".repeat(16).parse().unwrap(),
            command: spend(1_000),
            reason: "it pays from the wallet".to_owned(),
            operator: "alice".to_owned(),
            since: NOW,
        }
    }

    fn owner() -> Owner {
        Owner {
            uid: 1000,
            user: Some("carol".to_owned()),
        }
    }

    fn given() -> String {
        request().consent(owner(), &key(), NOW + 5).unwrap()
    }

    fn check(request: &ConsentRequest, text: &str, now: i64) -> Result<Consent, ConsentError> {
        request.check(text, &key().public_key(), now)
    }

    #[test]
    fn a_consent_is_for_the_command_that_the_owner_saw() {
        let consent = check(&request(), &given(), NOW + 5).unwrap();
        assert_eq!(consent.owner, owner());
        assert_eq!(consent.id, request().id);
        assert_eq!(
            request().question(),
            "alice asks to pay 1000 msat, and up to 10 msat of fees, to lnbc1: it pays from the wallet"
        );
    }

    #[test]
    fn it_is_for_no_other_command_node_or_key() {
        let other = Err(ConsentError::AnotherCommand);
        let more = ConsentRequest {
            command: spend(1_001),
            ..request()
        };
        assert_eq!(check(&more, &given(), NOW + 5), other);
        let later = ConsentRequest {
            id: "08".repeat(16).parse().unwrap(),
            ..request()
        };
        assert_eq!(check(&later, &given(), NOW + 5), other);
        let paris = ConsentRequest {
            node: "paris".parse().unwrap(),
            ..request()
        };
        assert_eq!(check(&paris, &given(), NOW + 5), Err(ConsentError::Key));
        let stranger = NodeSecretKey::generate().unwrap();
        let forged = request().consent(owner(), &stranger, NOW).unwrap();
        assert_eq!(check(&request(), &forged, NOW), Err(ConsentError::Key));
    }

    #[test]
    fn it_waits_for_a_day_and_holds_for_minutes() {
        let last = NOW + WAIT_SECONDS_MAX - 1;
        request().consent(owner(), &key(), last).unwrap();
        let late = request().consent(owner(), &key(), last + 1);
        let since_seconds = WAIT_SECONDS_MAX;
        assert_eq!(late, Err(ConsentError::TooLate { since_seconds }));
        check(&request(), &given(), NOW + 604).unwrap();
        assert_eq!(
            check(&request(), &given(), NOW + 605),
            Err(ConsentError::Expired(600))
        );
        assert_eq!(
            check(&request(), &given(), NOW),
            Err(ConsentError::Expired(-5))
        );
    }

    #[test]
    fn what_the_node_signs_for_others_is_no_consent() {
        let key = key();
        let claims = Claims {
            jti: request().id,
            cmd: spend(1_000).digest(),
            by: owner(),
            iat: NOW,
        };
        let result = jws::compact("hh-result+jwt", &request().node, &claims, |b| key.sign(b));
        let refused = ConsentError::Malformed(JwsError::Kind);
        assert_eq!(check(&request(), &result, NOW), Err(refused));
    }

    proptest! {
        #[test]
        fn a_changed_byte_is_refused(at: prop::sample::Index, flip in 1..=255_u8) {
            let mut bytes = given().into_bytes();
            let place = at.index(bytes.len());
            bytes[place] ^= flip;
            if let Ok(changed) = String::from_utf8(bytes) {
                prop_assert!(check(&request(), &changed, NOW + 5).is_err(), "{}", changed);
            }
        }
    }
}
