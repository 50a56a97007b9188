//! What operators sign with their own keys: which nodes there are, who is an operator, and which payouts they agree to.
//!
//! hh-pool and hh-treasury take these from the core and believe it nothing: they check the signatures against the operators in
//! their own configuration. The text is JSON, and what is signed are its bytes as they were shown to the operator; it names the
//! network and the chain, so that a word about one is none about another.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::enrolment::Visibility;
use crate::operator_key::{
    OperatorKey, OperatorKeyError, OperatorList, OperatorName, SshSignature,
};
use crate::pki::TrustDomain;
use crate::{LaneName, NodeId, NodePublicKey};

/// Longest text of a statement in bytes: a node with 64 lanes, or an approval to pay a long offer.
pub const STATEMENT_BYTES_MAX: usize = 16 * 1024;

/// Most signatures of one statement: no network has more operators who would all sign.
const SIGNATURES_MAX: usize = 16;

/// An approval holds for no longer, in seconds.
pub const APPROVAL_SECONDS_MAX: i64 = 86_400;

/// Why a statement is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// It is none.
    #[error("it is no {kind} that an operator signs")]
    Malformed {
        /// What it should be.
        kind: &'static str,
    },
    /// It has too many signatures, or is too long.
    #[error("the {kind} is too long, or has more than {SIGNATURES_MAX} signatures")]
    TooLong {
        /// What it is.
        kind: &'static str,
    },
    /// One of its signatures.
    #[error("a signature of the {kind} does not count")]
    Signature {
        /// What it is.
        kind: &'static str,
        /// What is wrong with it.
        source: OperatorKeyError,
    },
    /// About another network or chain.
    #[error("the {kind} is about {found}, and this is {expected}")]
    AnotherNetwork {
        /// What it is.
        kind: &'static str,
        /// Network and chain in it.
        found: String,
        /// Those here.
        expected: String,
    },
    /// Too few have signed it.
    #[error("the {kind} is signed by {found} of the operators listed here, and needs {needed}")]
    Threshold {
        /// What it is.
        kind: &'static str,
        /// How many have.
        found: usize,
        /// How many must.
        needed: usize,
    },
    /// It says something else than what is to be done.
    #[error(
        "the approval is for something else than this payout, its amount, destination and chain"
    )]
    AnotherPayout,
    /// Out of its time.
    #[error("the approval ended {0} s ago, or would hold for more than a day")]
    Expired(i64),
}

/// The network and the chain that a daemon serves, as `DOMAIN/CHAIN`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Place {
    /// The network.
    pub domain: TrustDomain,
    /// The chain, as Bitcoin Core calls it: `main`, `signet` and so on.
    pub chain: String,
}

/// One of the kinds of statements.
pub trait Statement: Serialize + DeserializeOwned {
    /// What it is called in errors.
    const KIND: &'static str;
    /// What its signatures are for.
    const NAMESPACE: &'static str;
    /// Where it is about.
    fn place(&self) -> &Place;
}

/// The Lightning node id of a node: a compressed public key in hex.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct LightningId(bitcoin::secp256k1::PublicKey);

/// That a node is one of the network's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NodeRecord {
    /// Of which network, on which chain.
    pub place: Place,
    /// Its name.
    pub node: NodeId,
    /// The number of this record: 1, and one more each time it changes.
    pub number: u64,
    /// Its Ed25519 key.
    pub key: NodePublicKey,
    /// Who is paid for it.
    pub lightning: LightningId,
    /// Through which lanes work comes.
    pub lanes: BTreeSet<LaneName>,
    /// Whether it serves others.
    pub visibility: Visibility,
    /// When it was signed, in Unix seconds.
    pub at: i64,
}

/// That a key is an operator's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorRecord {
    /// Of which network, on which chain.
    pub place: Place,
    /// His name.
    pub operator: OperatorName,
    /// The number of this record: 1, and one more each time it changes.
    pub number: u64,
    /// His key.
    pub key: OperatorKey,
    /// When it was signed, in Unix seconds.
    pub at: i64,
}

/// That an operator agrees to one payout.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// Of which network, on which chain.
    pub place: Place,
    /// The payout's name in the treasury's books.
    pub payout: String,
    /// How much.
    pub amount_msat: u64,
    /// To where.
    pub destination: String,
    /// When it holds no more, in Unix seconds.
    pub until: i64,
}

impl Statement for NodeRecord {
    const KIND: &'static str = "record of a node";
    const NAMESPACE: &'static str = "hh-node-record";
    fn place(&self) -> &Place {
        &self.place
    }
}

impl Statement for OperatorRecord {
    const KIND: &'static str = "record of an operator";
    const NAMESPACE: &'static str = "hh-operator-record";
    fn place(&self) -> &Place {
        &self.place
    }
}

impl Statement for Approval {
    const KIND: &'static str = "approval";
    const NAMESPACE: &'static str = "hh-approval";
    fn place(&self) -> &Place {
        &self.place
    }
}

/// A statement with what operators have signed it with. It can be passed on by anybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signed {
    /// The statement, to the byte.
    pub text: String,
    /// Signatures over it, armored.
    pub signatures: Vec<String>,
}

impl Signed {
    /// The text of a statement, unsigned: an operator's agent signs its bytes under the statement's namespace.
    ///
    /// # Panics
    /// Never: texts and numbers have a JSON.
    #[must_use]
    pub fn draft<S: Statement>(statement: &S) -> Self {
        Self {
            text: serde_json::to_string(statement).expect("texts and numbers have a JSON"),
            signatures: Vec::new(),
        }
    }

    /// What it says, believed by nobody: to show it to who signs it.
    ///
    /// # Errors
    /// It is no such statement.
    pub fn unverified<S: Statement>(&self) -> Result<S, StatementError> {
        let kind = S::KIND;
        let is_long = self.text.len() > STATEMENT_BYTES_MAX;
        if is_long || self.signatures.len() > SIGNATURES_MAX {
            return Err(StatementError::TooLong { kind });
        }
        let statement = serde_json::from_str(&self.text);
        statement.map_err(|_shows_a_part| StatementError::Malformed { kind })
    }

    /// Whose keys have signed it. That they are operators' is not said.
    ///
    /// # Errors
    /// It is no such statement, or a signature is wrong.
    pub fn keys<S: Statement>(&self) -> Result<BTreeSet<OperatorKey>, StatementError> {
        let kind = S::KIND;
        self.unverified::<S>()?;
        let keys = self.signatures.iter().map(|signature| {
            let signature = SshSignature::parse(signature, S::NAMESPACE)?;
            match signature.is_over(self.text.as_bytes()) {
                true => Ok(signature.signer),
                false => Err(OperatorKeyError::Wrong(signature.signer)),
            }
        });
        let keys: Result<_, OperatorKeyError> = keys.collect();
        keys.map_err(|source| StatementError::Signature { kind, source })
    }

    /// What it says and who of `operators` has signed it, if it is about `place`.
    ///
    /// # Errors
    /// A signature is wrong, or it is about somewhere else.
    pub fn verify<S: Statement>(
        &self,
        operators: &OperatorList,
        place: &Place,
    ) -> Result<(S, BTreeSet<OperatorName>), StatementError> {
        let kind = S::KIND;
        let statement: S = self.unverified()?;
        let signers = operators.signers(S::NAMESPACE, self.text.as_bytes(), &self.signatures);
        let signers = signers.map_err(|source| StatementError::Signature { kind, source })?;
        if statement.place() != place {
            return Err(StatementError::AnotherNetwork {
                kind,
                found: statement.place().to_string(),
                expected: place.to_string(),
            });
        }
        Ok((statement, signers))
    }
}

impl Approval {
    /// Who of `operators` agrees at `now` to exactly this payout; its own `until` is not compared.
    ///
    /// # Errors
    /// `signed` is an approval of something else, or its time is over.
    pub fn approvers(
        &self,
        signed: &Signed,
        operators: &OperatorList,
        now: i64,
    ) -> Result<BTreeSet<OperatorName>, StatementError> {
        let (approval, signers) = signed.verify::<Self>(operators, &self.place)?;
        let until = approval.until;
        let wanted = Self {
            until,
            ..self.clone()
        };
        if approval != wanted {
            return Err(StatementError::AnotherPayout);
        }
        if !(1..=APPROVAL_SECONDS_MAX).contains(&until.saturating_sub(now)) {
            return Err(StatementError::Expired(now.saturating_sub(until)));
        }
        Ok(signers)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.domain, self.chain)
    }
}

impl LightningId {
    /// The key.
    #[must_use]
    pub const fn public_key(&self) -> bitcoin::secp256k1::PublicKey {
        self.0
    }
}

/// A text that is no Lightning node id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is no id of a Lightning node: 66 hex digits of a compressed public key")]
pub struct LightningIdError;

impl FromStr for LightningId {
    type Err = LightningIdError;

    fn from_str(text: &str) -> Result<Self, LightningIdError> {
        let key = text.parse().ok().filter(|_key| text.len() == 66);
        key.map(Self).ok_or(LightningIdError)
    }
}

impl fmt::Display for LightningId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl From<LightningId> for String {
    fn from(id: LightningId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for LightningId {
    type Error = LightningIdError;

    fn try_from(text: String) -> Result<Self, LightningIdError> {
        text.parse()
    }
}
