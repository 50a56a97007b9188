//! One line to one call, and our answers to lines.
//!
//! The parser refuses only what can't be understood: extra parameters, missing ones that have a natural value, unknown
//! fields and ids of any kind pass. What a call asks for is judged by the session, not here.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use thiserror::Error;

/// Deepest nesting of brackets in a line: real calls need four.
const MAX_DEPTH: usize = 16;

/// Longest id in bytes, as JSON text: we hold it until the pool has answered.
const MAX_ID_BYTES: usize = 128;

/// Longest user name in bytes: what `OpenExtendedMiningChannel.user_identity` (STR0_255) can carry.
pub const MAX_USER_NAME_BYTES: usize = 255;

/// What is kept of a user agent, in characters: it is shown to operators only.
const MAX_USER_AGENT_CHARS: usize = 64;

/// Longest extranonce in bytes of SV2 (B0_32); a longer extranonce2 can't be right.
const MAX_EXTRANONCE_BYTES: usize = 32;

/// The mask meant by a miner that asks for version rolling and gives none: all bits.
const ANY_MASK: u32 = u32::MAX;

/// The id of a call as the miner wrote it, in JSON: a number, a string, null or anything else; null if there was none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Id(Option<Box<str>>);

impl Id {
    /// True for null and for no id at all: what JSON-RPC calls a notification.
    pub fn is_null(&self) -> bool {
        self.0.is_none()
    }
}

impl fmt::Display for Id {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.0.as_deref().unwrap_or("null"))
    }
}

/// What a line was.
#[derive(Clone, Debug, PartialEq)]
pub enum Incoming {
    Request {
        id: Id,
        /// The error says what is wrong with the parameters.
        call: Result<Call, BadParameters>,
    },
    /// An answer to something, such as to a `client.get_version` of another pool. We ask nothing. ESP-Miner answers a ping by a
    /// request with the method `pong`.
    Response,
}

/// What a miner calls.
#[derive(Clone, Debug, PartialEq)]
pub enum Call {
    Configure(Configure),
    Subscribe {
        user_agent: String,
    },
    Authorize {
        user_name: String,
        /// From `d=` in the password.
        difficulty: Option<f64>,
    },
    Submit(Submit),
    ExtranonceSubscribe,
    SuggestDifficulty(f64),
    Ping,
    /// A method that we don't have.
    Unknown,
}

/// `mining.configure` (BIP310).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Configure {
    /// Names of the extensions asked for, in their order.
    pub extensions: Vec<String>,
    /// `version-rolling.mask`; all ones if version rolling is asked for without a readable mask.
    pub version_rolling_mask: Option<u32>,
    /// `minimum-difficulty.value`.
    pub minimum_difficulty: Option<f64>,
}

/// `mining.submit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submit {
    pub user_name: String,
    /// None if it is no id of ours.
    pub job_id: Option<u64>,
    pub extranonce2: Vec<u8>,
    pub ntime: u32,
    pub nonce: u32,
    pub version_bits: Option<u32>,
}

/// A line that is no JSON-RPC at all.
#[derive(Debug, Error)]
pub enum MalformedLine {
    #[error("line is not a JSON-RPC object")]
    NotJsonRpc(#[source] serde_json::Error),
    #[error("line nests deeper than {MAX_DEPTH} levels")]
    TooDeep,
    #[error("id is longer than {MAX_ID_BYTES} bytes")]
    IdTooLong,
}

/// Parameters of a known method that can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{method}: {expected} expected")]
pub struct BadParameters {
    pub method: &'static str,
    pub expected: &'static str,
}

#[derive(Deserialize)]
struct Envelope<'line> {
    #[serde(borrow, default)]
    id: Option<&'line RawValue>,
    #[serde(borrow, default)]
    method: Option<Cow<'line, str>>,
    #[serde(borrow, default)]
    params: Option<&'line RawValue>,
}

/// Reads one line.
///
/// # Errors
/// [`MalformedLine`] if there is no id to answer to.
pub fn parse(line: &[u8]) -> Result<Incoming, MalformedLine> {
    if !is_depth_within(line, MAX_DEPTH) {
        return Err(MalformedLine::TooDeep);
    }
    // A device that names itself in Latin-1 still wants to mine: what is no UTF-8 is replaced.
    let line = String::from_utf8_lossy(line);
    let envelope: Envelope<'_> = serde_json::from_str(&line).map_err(MalformedLine::NotJsonRpc)?;
    let Some(method) = envelope.method.filter(|method| method != "pong") else {
        return Ok(Incoming::Response);
    };
    let id = envelope.id.map(RawValue::get);
    if id.is_some_and(|id| id.len() > MAX_ID_BYTES) {
        return Err(MalformedLine::IdTooLong);
    }
    Ok(Incoming::Request {
        id: Id(id.map(Into::into)),
        call: parse_call(&method, &parameters(envelope.params)),
    })
}

/// Parameters by position; named ones and null are as good as none.
fn parameters(raw: Option<&RawValue>) -> Vec<Value> {
    raw.and_then(|raw| serde_json::from_str(raw.get()).ok())
        .unwrap_or_default()
}

/// Brackets are counted outside strings, before anything is allocated.
fn is_depth_within(line: &[u8], limit: usize) -> bool {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for &byte in line {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > limit {
            return false;
        }
    }
    true
}

fn parse_call(method: &str, params: &[Value]) -> Result<Call, BadParameters> {
    match method {
        "mining.configure" => Ok(Call::Configure(parse_configure(params))),
        "mining.subscribe" => Ok(Call::Subscribe {
            user_agent: text(params.first())
                .chars()
                .filter(|character| !character.is_control())
                .take(MAX_USER_AGENT_CHARS)
                .collect(),
        }),
        "mining.authorize" => parse_authorize(params),
        "mining.submit" => parse_submit(params).map(Call::Submit),
        "mining.extranonce.subscribe" => Ok(Call::ExtranonceSubscribe),
        "mining.ping" => Ok(Call::Ping),
        // ckpool met firmware that writes the value into the method: `mining.suggest_difficulty("1024")`.
        _ => match method.strip_prefix("mining.suggest_difficulty") {
            Some(rest) => parse_suggest_difficulty(rest, params),
            None => Ok(Call::Unknown),
        },
    }
}

fn parse_configure(params: &[Value]) -> Configure {
    let list = params.first().and_then(Value::as_array);
    let extensions: Vec<String> = list
        .into_iter()
        .flatten()
        .filter_map(|name| name.as_str().map(str::to_owned))
        .collect();
    let option = |name: &str| params.get(1).and_then(|options| options.get(name));
    let asks_for = |name: &str| extensions.iter().any(|extension| extension == name);
    Configure {
        version_rolling_mask: asks_for("version-rolling").then(|| {
            let mask = text(option("version-rolling.mask"));
            parse_u32_hex(&mask).unwrap_or(ANY_MASK)
        }),
        minimum_difficulty: option("minimum-difficulty.value")
            .filter(|_| asks_for("minimum-difficulty"))
            .and_then(difficulty),
        extensions,
    }
}

fn parse_authorize(params: &[Value]) -> Result<Call, BadParameters> {
    let user_name = user_name(params.first());
    if user_name.len() > MAX_USER_NAME_BYTES {
        return Err(BadParameters {
            method: "mining.authorize",
            expected: "a user name of at most 255 bytes",
        });
    }
    let password = text(params.get(1));
    let difficulty = password
        .split([',', ';', ' '])
        .find_map(|option| option.trim().strip_prefix("d="))
        .and_then(parse_difficulty);
    Ok(Call::Authorize {
        user_name,
        difficulty,
    })
}

fn parse_suggest_difficulty(rest: &str, params: &[Value]) -> Result<Call, BadParameters> {
    let in_method = rest.trim_matches(|c: char| !c.is_ascii_digit());
    params
        .first()
        .and_then(difficulty)
        .or_else(|| parse_difficulty(in_method))
        .map(Call::SuggestDifficulty)
        .ok_or(BadParameters {
            method: "mining.suggest_difficulty",
            expected: "a difficulty above 0",
        })
}

fn parse_submit(params: &[Value]) -> Result<Submit, BadParameters> {
    let bad = |expected| BadParameters {
        method: "mining.submit",
        expected,
    };
    let hex_field = |index: usize, expected| {
        parse_u32_hex(&text(params.get(index))).ok_or_else(|| bad(expected))
    };
    let extranonce2 = text(params.get(2));
    if extranonce2.len() > MAX_EXTRANONCE_BYTES * 2 {
        return Err(bad("an extranonce2 of the size given at subscribe"));
    }
    let version_bits = match params.get(5) {
        None | Some(Value::Null) => None,
        Some(_) => Some(hex_field(5, "version bits in hex")?),
    };
    Ok(Submit {
        user_name: user_name(params.first()),
        job_id: u64::from_str_radix(&text(params.get(1)), 16).ok(),
        extranonce2: hex::decode(extranonce2.as_bytes())
            .ok()
            .ok_or_else(|| bad("an extranonce2 in hex"))?,
        ntime: hex_field(3, "an ntime of 8 hex digits")?,
        nonce: hex_field(4, "a nonce of 8 hex digits")?,
        version_bits,
    })
}

/// A user name, of which some firmware encodes all but letters and digits as URLs do: no account has a `%` in its name.
fn user_name(value: Option<&Value>) -> String {
    let written = text(value);
    let mut decoded = Vec::with_capacity(written.len());
    let mut rest = written.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.first_chunk::<2>().filter(|_| byte == b'%');
        let mut encoded = [0];
        match digits.map(|digits| hex::decode_to_slice(digits, &mut encoded)) {
            Some(Ok(())) => {
                decoded.push(encoded[0]);
                rest = &after[2..];
            }
            _ => {
                decoded.push(byte);
                rest = after;
            }
        }
    }
    String::from_utf8(decoded).unwrap_or_else(|_not_text| written.into_owned())
}

/// A string or a number as text; empty for anything else. A job id of digits comes back as a number from some clients.
fn text(value: Option<&Value>) -> Cow<'_, str> {
    match value {
        Some(Value::String(text)) => Cow::Borrowed(text),
        Some(Value::Number(number)) => Cow::Owned(number.to_string()),
        _ => Cow::Borrowed(""),
    }
}

/// 1 to 8 hex digits. Fewer than 8 are the same number: some firmware strips zeros.
fn parse_u32_hex(text: &str) -> Option<u32> {
    let text = text.strip_prefix("0x").unwrap_or(text);
    // from_str_radix takes a sign.
    text.bytes()
        .all(|byte| byte.is_ascii_hexdigit())
        .then(|| u32::from_str_radix(text, 16).ok())
        .flatten()
}

/// A number or a string that holds one.
fn difficulty(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number
            .as_f64()
            .filter(|&difficulty| is_difficulty(difficulty)),
        Value::String(text) => parse_difficulty(text),
        _ => None,
    }
}

fn parse_difficulty(text: &str) -> Option<f64> {
    text.trim()
        .parse()
        .ok()
        .filter(|&difficulty| is_difficulty(difficulty))
}

fn is_difficulty(difficulty: f64) -> bool {
    difficulty.is_finite() && difficulty > 0.0
}

/// Why something is refused: the codes that SV1 miners know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RejectCode {
    Other = 20,
    /// Also for stale work.
    JobNotFound = 21,
    Duplicate = 22,
    LowDifficulty = 23,
    Unauthorized = 24,
    NotSubscribed = 25,
}

/// An answer with a result; `result` is JSON.
pub fn answer(id: &Id, result: &str) -> String {
    format!("{{\"id\":{id},\"result\":{result},\"error\":null}}\n")
}

/// An answer with an error. `authorize` is answered `false`, everything else null: firmware differs in which it reads, all
/// of it reads the error array.
pub fn refusal(id: &Id, result: &str, code: RejectCode, reason: &str) -> String {
    let code = code as u8;
    let reason = quoted(reason);
    format!("{{\"id\":{id},\"result\":{result},\"error\":[{code},{reason},null]}}\n")
}

/// A notification of ours; `params` is JSON.
pub fn notification(method: &str, params: &str) -> String {
    format!("{{\"id\":null,\"method\":\"{method}\",\"params\":[{params}]}}\n")
}

/// A difficulty as JSON: an integer without a point, and never an exponent, which some firmware reads as its mantissa.
pub fn difficulty_json(difficulty: f64) -> String {
    // Display of f64 prints the shortest digits that read back the same, and no exponent.
    format!("{difficulty}")
}

/// `text` as a JSON string.
pub fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

#[cfg(test)]
mod tests;
