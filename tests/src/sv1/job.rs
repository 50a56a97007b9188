//! `mining.notify`: the job that a miner makes of it.

use super::Sv1Error;
use hh_mining::{Header, Target, merkle_root_of};
use serde::Deserialize;

/// The parameters of `mining.notify`, in their order.
#[derive(Deserialize)]
struct Notify<'line>(
    &'line str,
    &'line str,
    &'line str,
    &'line str,
    Vec<&'line str>,
    &'line str,
    &'line str,
    &'line str,
    #[expect(dead_code, reason = "a miner here works on the newest job alone")] bool,
);

/// A job, with the target that its shares must meet.
#[derive(Clone, Debug)]
pub struct Job {
    pub id: String,
    pub prev_hash: [u8; 32],
    pub coinbase_1: Vec<u8>,
    pub coinbase_2: Vec<u8>,
    pub merkle_branch: Vec<[u8; 32]>,
    pub version: u32,
    pub nbits: u32,
    pub ntime: u32,
    pub target: Target,
}

impl Job {
    /// Of the parameters of `mining.notify`.
    ///
    /// # Errors
    /// They are none.
    pub(super) fn parse(params: &str, target: Target) -> Result<Self, Sv1Error> {
        let Notify(id, prev_hash, coinbase_1, coinbase_2, branch, version, nbits, ntime, _) =
            serde_json::from_str(params)?;
        let unreadable = || Sv1Error::Message("a job");
        let bytes = |text: &str| hex::decode(text).ok().ok_or_else(unreadable);
        let number = |text| u32::from_str_radix(text, 16).ok().ok_or_else(unreadable);
        let hash = |text: &str| hash_from_hex(text.as_bytes()).ok_or_else(unreadable);
        Ok(Self {
            id: id.to_owned(),
            prev_hash: unswap(hash(prev_hash)?),
            coinbase_1: bytes(coinbase_1)?,
            coinbase_2: bytes(coinbase_2)?,
            merkle_branch: branch.into_iter().map(hash).collect::<Result<_, _>>()?,
            version: number(version)?,
            nbits: number(nbits)?,
            ntime: number(ntime)?,
            target,
        })
    }

    /// The header that a miner with this extranonce hashes.
    #[must_use]
    pub fn header(&self, extranonce: &[u8], ntime: u32, nonce: u32) -> Header {
        Header {
            version: self.version,
            prev_hash: self.prev_hash,
            merkle_root: merkle_root_of(
                &self.coinbase_1,
                extranonce,
                &self.coinbase_2,
                &self.merkle_branch,
            ),
            ntime,
            nbits: self.nbits,
            nonce,
        }
    }
}

/// The previous block of the first `mining.notify` in what was received, without reading any JSON.
pub(super) fn prev_hash_in(received: &[u8]) -> Option<[u8; 32]> {
    let text = std::str::from_utf8(received).ok()?;
    let (_, notify) = text.split_once(r#""mining.notify""#)?;
    let (_, params) = notify.split_once('[')?;
    // Job id and previous block, each in quotes.
    let prev_hash = params.split('"').nth(3)?;
    hash_from_hex(prev_hash.as_bytes()).map(unswap)
}

/// SV1 sends the previous block's hash with the bytes of each of its eight words turned around.
fn unswap(mut hash: [u8; 32]) -> [u8; 32] {
    for word in hash.chunks_exact_mut(4) {
        word.reverse();
    }
    hash
}

fn hash_from_hex(text: &[u8]) -> Option<[u8; 32]> {
    let mut hash = [0; 32];
    hex::decode_to_slice(text, &mut hash).ok()?;
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARAMS: &str = concat!(
        r#"["a5","0403020108070605000000000000000000000000000000000000000000000000","c0","ff","#,
        r#"["0101010101010101010101010101010101010101010101010101010101010101"],"20000000","207fffff","6553f100",true]"#
    );

    #[test]
    fn the_previous_block_is_found_with_and_without_reading_the_line() {
        let job = Job::parse(PARAMS, Target::MAX).unwrap();
        assert_eq!(job.prev_hash[..9], [1, 2, 3, 4, 5, 6, 7, 8, 0]);
        assert_eq!((job.id.as_str(), job.nbits), ("a5", 0x207f_ffff));
        let received = format!(
            "{{\"id\":null,\"method\":\"mining.set_difficulty\",\"params\":[1]}}\n\
             {{\"id\":null,\"method\":\"mining.notify\",\"params\":{PARAMS}}}\n"
        );
        assert_eq!(prev_hash_in(received.as_bytes()), Some(job.prev_hash));
        assert_eq!(prev_hash_in(b"{\"id\":1,\"result\":true}\n"), None);
    }
}
