//! The Ed25519 key pair that block reports are signed with, and the signature beside a report.
//!
//! A signature is a JWS with detached content (RFC 7515, appendix F): `HEADER..SIGNATURE`, the payload being the report's bytes as
//! they are. Its header is closed: it is the one text that it can be for a key, so nothing in it is obeyed. The key signs reports
//! and nothing else; the treasury holds the secret half, everybody may have the public one.

use std::fmt;
use std::str::FromStr;

use bitcoin::bech32::Hrp;
use serde::{Deserialize, Serialize};

use crate::jws;
use crate::key_pair::{self, SecretPair};

/// In front of the public key's text.
const PREFIX: Hrp = Hrp::parse_unchecked("hhreport");

/// What the header says that it signs.
const TYPE: &str = "hh-block-report";

/// Longest signature in bytes: header and signature have some two hundred. More is not looked at.
pub const SIGNATURE_BYTES_MAX: usize = 1024;

/// Why a text is no key for reports.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportKeyError {
    /// The public key's text.
    #[error(
        "it is not the public key of reports, which begins with hhreport1 (mistyped or cut off?)"
    )]
    Public,
    /// The secret key's text; it is not repeated here.
    #[error("the secret key of reports is not 64 hex digits")]
    Secret,
    /// The operating system gives no randomness.
    #[error("the operating system gives no randomness for a key")]
    Randomness,
}

/// Why a signature is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportSignatureError {
    /// It is not one.
    #[error("it is not the signature of a report (HEADER..SIGNATURE)")]
    Malformed,
    /// It says that it is another key's.
    #[error("it is signed by {named}, and not by the key that was given")]
    AnotherKey {
        /// The key that it names.
        named: ReportPublicKey,
    },
    /// The key has not signed these bytes.
    #[error("the key has not signed this report: one of both was changed")]
    Wrong,
}

/// The half that anybody may have.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ReportPublicKey([u8; 32]);

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Header {
    alg: String,
    kid: ReportPublicKey,
    typ: String,
}

impl ReportPublicKey {
    /// Checks the signature of a report: the bytes as they were published.
    ///
    /// # Errors
    /// It is not this key's over these bytes.
    pub fn verify(&self, report: &[u8], signature: &str) -> Result<(), ReportSignatureError> {
        if signature.len() > SIGNATURE_BYTES_MAX {
            return Err(ReportSignatureError::Malformed);
        }
        let parts = signature.split_once("..");
        let (header, signature) = parts.ok_or(ReportSignatureError::Malformed)?;
        let signature = jws::signature(signature).ok_or(ReportSignatureError::Malformed)?;
        if header != self.header() {
            return Err(self.of_another_header(header));
        }
        if key_pair::has_signed(&self.0, &signed(header, report), &signature) {
            Ok(())
        } else {
            Err(ReportSignatureError::Wrong)
        }
    }

    /// The only header that a signature of this key has.
    fn header(&self) -> String {
        jws::encode(&Header {
            alg: jws::ALGORITHM.to_owned(),
            kid: *self,
            typ: TYPE.to_owned(),
        })
    }

    fn of_another_header(&self, header: &str) -> ReportSignatureError {
        match jws::decode::<Header>(header) {
            Some(Header { kid, .. }) if kid != *self => {
                ReportSignatureError::AnotherKey { named: kid }
            }
            _ => ReportSignatureError::Malformed,
        }
    }
}

impl FromStr for ReportPublicKey {
    type Err = ReportKeyError;

    fn from_str(text: &str) -> Result<Self, ReportKeyError> {
        let key = key_pair::from_text(PREFIX, text);
        key.map(Self).ok_or(ReportKeyError::Public)
    }
}

impl fmt::Display for ReportPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        key_pair::fmt_text(PREFIX, &self.0, f)
    }
}

impl fmt::Debug for ReportPublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReportPublicKey({self})")
    }
}

impl From<ReportPublicKey> for String {
    fn from(key: ReportPublicKey) -> Self {
        key.to_string()
    }
}

impl TryFrom<String> for ReportPublicKey {
    type Error = ReportKeyError;

    fn try_from(text: String) -> Result<Self, ReportKeyError> {
        text.parse()
    }
}

/// The half that signs. It is not shown by Debug.
pub struct ReportKey(SecretPair);

impl ReportKey {
    /// A fresh key from the operating system's randomness.
    ///
    /// # Errors
    /// [`ReportKeyError::Randomness`].
    pub fn generate() -> Result<Self, ReportKeyError> {
        let pair = SecretPair::generate();
        pair.map(Self).ok_or(ReportKeyError::Randomness)
    }

    /// The key as hex, for the one place that writes it to its file.
    #[must_use]
    pub fn to_secret_hex(&self) -> String {
        self.0.to_hex()
    }

    /// The half that is published.
    #[must_use]
    pub fn public_key(&self) -> ReportPublicKey {
        ReportPublicKey(self.0.public())
    }

    /// The signature of a report, over its bytes: ASCII, no line break.
    #[must_use]
    pub fn sign(&self, report: &[u8]) -> String {
        let header = self.public_key().header();
        let signature = self.0.sign(&signed(&header, report));
        format!("{header}..{}", jws::text(&signature))
    }
}

/// What a signature is over.
fn signed(header: &str, report: &[u8]) -> Vec<u8> {
    format!("{header}.{}", jws::text(report)).into_bytes()
}

impl FromStr for ReportKey {
    type Err = ReportKeyError;

    fn from_str(text: &str) -> Result<Self, ReportKeyError> {
        // What is wrong in it would show a digit of it.
        let pair = SecretPair::from_hex(text);
        pair.map(Self).ok_or(ReportKeyError::Secret)
    }
}

impl fmt::Debug for ReportKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ReportKey([secret])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// RFC 8032, 7.1, test 1.
    const SEED: &str = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60";

    fn key() -> ReportKey {
        SEED.parse().unwrap()
    }

    #[test]
    fn a_signature_is_the_jws_that_the_page_describes() {
        let signature = key().sign(b"{}");
        let (header, _) = signature.split_once("..").unwrap();
        let public = key().public_key().to_string();
        let json = format!(r#"{{"alg":"EdDSA","kid":"{public}","typ":"hh-block-report"}}"#);
        assert_eq!(header, jws::text(json.as_bytes()));
        assert!(public.starts_with("hhreport1"), "{public}");
        assert_eq!(key().public_key().verify(b"{}", &signature), Ok(()));
    }

    #[test]
    fn another_keys_signature_names_it() {
        let other = ReportKey::generate().unwrap();
        let error = key().public_key().verify(b"{}", &other.sign(b"{}"));
        let named = other.public_key();
        assert_eq!(error, Err(ReportSignatureError::AnotherKey { named }));
        // Put under our header it is none of ours.
        let ours = key().sign(b"{}");
        let (header, _) = ours.split_once("..").unwrap();
        let theirs = other.sign(b"{}");
        let (_, signature) = theirs.split_once("..").unwrap();
        let mixed = format!("{header}..{signature}");
        let error = key().public_key().verify(b"{}", &mixed);
        assert_eq!(error, Err(ReportSignatureError::Wrong));
    }

    #[test]
    fn a_header_that_asks_for_another_rule_is_refused() {
        let public = key().public_key();
        let ours = key().sign(b"{}");
        let (_, signature) = ours.split_once("..").unwrap();
        for (alg, typ, more) in [
            ("none", TYPE, ""),
            ("HS256", TYPE, ""),
            (jws::ALGORITHM, "hh-node-credential", ""),
            (jws::ALGORITHM, TYPE, r#","b64":false"#),
            (jws::ALGORITHM, TYPE, r#","crit":[]"#),
        ] {
            let header = format!(r#"{{"alg":"{alg}","kid":"{public}","typ":"{typ}"{more}}}"#);
            let text = format!("{}..{signature}", jws::text(header.as_bytes()));
            let error = public.verify(b"{}", &text);
            assert_eq!(error, Err(ReportSignatureError::Malformed), "{header}");
        }
        let long = format!("{ours}{}", "A".repeat(SIGNATURE_BYTES_MAX));
        let error = public.verify(b"{}", &long);
        assert_eq!(error, Err(ReportSignatureError::Malformed));
        let attached = ours.replacen("..", ".e30.", 1);
        let error = public.verify(b"{}", &attached);
        assert_eq!(error, Err(ReportSignatureError::Malformed));
    }

    /// A report of a block without a window.
    fn report() -> Vec<u8> {
        use hh_mining::{BlockHash, Division, Network, ReportParts, ReportedBlock, Reward};
        use hh_mining::{Score, SharePosition, Tally, WindowSize};
        let window = WindowSize::Pplns {
            score: Score::WINDOW,
        };
        let totals = Tally::new(window).finish();
        let reward = Reward::of(5_000_000_000, 1, Network::Regtest).unwrap();
        let division = Division::of(reward, &totals.credits, "alice");
        let block = ReportedBlock {
            network: Network::Regtest,
            hash: BlockHash::from_byte_array([1; 32]),
            height: 1,
            window,
            newest: SharePosition {
                at_ms: 1,
                share: None,
            },
            previous_report: None,
        };
        let parts = ReportParts::of(&block, &division, &totals, |_| [2; 32]);
        parts.unwrap().report.to_json()
    }

    #[test]
    fn the_second_verifier_takes_our_signature_and_none_that_is_changed() {
        let report = report();
        let signature = key().sign(&report);
        let other = ReportKey::generate().unwrap();
        let cases = [
            (signature.clone(), key(), true),
            (other.sign(&report), other, true),
            (ReportKey::generate().unwrap().sign(&report), key(), false),
            (key().sign(b"{}"), key(), false),
            (format!("{signature}A"), key(), false),
            (signature[..signature.len() - 1].to_owned(), key(), false),
        ];
        let root = tempfile::tempdir().unwrap();
        let mut asked = Vec::new();
        for (number, (signature, key, is_right)) in cases.iter().enumerate() {
            let public = key.public_key();
            assert_eq!(public.verify(&report, signature).is_ok(), *is_right);
            let dir = root.path().join(number.to_string());
            std::fs::create_dir(&dir).unwrap();
            std::fs::write(dir.join("report.json"), &report).unwrap();
            std::fs::write(dir.join("signature.txt"), signature).unwrap();
            std::fs::write(dir.join("key.txt"), public.to_string()).unwrap();
            asked.push(dir);
        }
        let script = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../mining/tests/it/verify_block_report.py"
        );
        let mut python = std::process::Command::new("python3");
        let Ok(output) = python.arg(script).args(&asked).output() else {
            eprintln!("skipped: there is no python3 here for the second verifier");
            return;
        };
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!(said.lines().count(), cases.len());
        for (line, (.., is_right)) in said.lines().zip(&cases) {
            assert_eq!(line.contains(": right: report, signature"), *is_right, "{line}");
        }
    }

    #[test]
    fn no_key_of_another_kind_is_one_of_reports() {
        let node = crate::NodeSecretKey::generate().unwrap();
        let node = node.public_key().to_string();
        assert_eq!(node.parse::<ReportPublicKey>(), Err(ReportKeyError::Public));
        let ours = key().public_key().to_string();
        assert!(ours.parse::<crate::NodePublicKey>().is_err());
        assert_eq!(ours.parse(), Ok(key().public_key()));
        assert!(!format!("{:?}", key()).contains(&SEED[..8]));
    }

    proptest! {
        #[test]
        fn a_changed_byte_anywhere_in_report_or_signature_is_refused(
            report in prop::collection::vec(any::<u8>(), 1..300),
            at in any::<prop::sample::Index>(),
            flip in 1..=255_u8,
        ) {
            let signature = key().sign(&report);
            let public = key().public_key();
            prop_assert_eq!(public.verify(&report, &signature), Ok(()));
            let mut changed = report.clone();
            changed[at.index(report.len())] ^= flip;
            prop_assert_eq!(public.verify(&changed, &signature), Err(ReportSignatureError::Wrong));
            let mut text = signature.into_bytes();
            let place = at.index(text.len());
            text[place] ^= flip;
            if let Ok(text) = String::from_utf8(text) {
                prop_assert!(public.verify(&report, &text).is_err(), "{}", text);
            }
        }
    }
}
