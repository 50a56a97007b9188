//! Bytes to lines: partial and coalesced lines, CRLF, blank lines and NULs, with a limit on what one line may hold.

use thiserror::Error;

/// Longest line in bytes that an authorized miner may send. No real one comes near: the longest in the field is a
/// `mining.configure` of some 300 bytes, and other pools take 1 to 16 KiB.
pub const MAX_LINE_BYTES: usize = 16 * 1024;

/// The same before `mining.authorize` succeeded: what a stranger can make us hold.
pub const MAX_LINE_BYTES_UNAUTHORIZED: usize = 4 * 1024;

/// A buffer larger than this is given back once it is empty, so that one long line does not cost memory for ever.
const KEEP_CAPACITY_BYTES: usize = 1024;

/// More bytes than the limit without an end of line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("line is longer than {limit_bytes} bytes")]
pub struct LineTooLong {
    pub limit_bytes: usize,
}

/// What was received and is not yet a whole line.
#[derive(Debug, Default)]
pub struct LineBuffer {
    bytes: Vec<u8>,
    /// Where the first line not yet taken begins.
    start: usize,
    /// No end of line lies before this.
    scanned: usize,
}

impl LineBuffer {
    /// Appends what a read returned.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole line that is not blank, without its end and without surrounding white space and NULs; none if more
    /// bytes are needed.
    ///
    /// # Errors
    /// [`LineTooLong`] if a line, whole or not, is longer than `limit_bytes`. The stream can't be followed after that.
    pub fn next_line(&mut self, limit_bytes: usize) -> Result<Option<&[u8]>, LineTooLong> {
        loop {
            let end = self.bytes[self.scanned..]
                .iter()
                .position(|&byte| byte == b'\n');
            let end = end.map(|offset| self.scanned + offset);
            let length = end.unwrap_or(self.bytes.len()) - self.start;
            if length > limit_bytes {
                return Err(LineTooLong { limit_bytes });
            }
            let Some(end) = end else {
                self.scanned = self.bytes.len();
                self.give_back();
                return Ok(None);
            };
            let line = self.start..end;
            self.start = end + 1;
            self.scanned = end + 1;
            if !trim(&self.bytes[line.clone()]).is_empty() {
                return Ok(Some(trim(&self.bytes[line])));
            }
        }
    }

    fn give_back(&mut self) {
        self.bytes.drain(..self.start);
        self.scanned -= self.start;
        self.start = 0;
        if self.bytes.is_empty() && self.bytes.capacity() > KEEP_CAPACITY_BYTES {
            self.bytes = Vec::new();
        }
    }
}

/// Without white space and NULs (some firmware sends the terminator of its C string) at both ends.
fn trim(mut line: &[u8]) -> &[u8] {
    let blank = |byte: &u8| byte.is_ascii_whitespace() || *byte == 0;
    while let [first, rest @ ..] = line
        && blank(first)
    {
        line = rest;
    }
    while let [rest @ .., last] = line
        && blank(last)
    {
        line = rest;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All lines that come of `chunks`, each pushed as one read.
    fn lines(chunks: &[&[u8]]) -> Result<Vec<String>, LineTooLong> {
        let mut buffer = LineBuffer::default();
        let mut lines = Vec::new();
        for chunk in chunks {
            buffer.push(chunk);
            while let Some(line) = buffer.next_line(64)? {
                lines.push(String::from_utf8_lossy(line).into_owned());
            }
        }
        Ok(lines)
    }

    #[track_caller]
    fn check(chunks: &[&[u8]], expected: &[&str]) {
        assert_eq!(lines(chunks).expect("no line is too long"), expected);
    }

    #[test]
    fn a_line_may_come_in_pieces() {
        check(&[b"{\"id\"", b":1", b"}\n"], &["{\"id\":1}"]);
    }

    #[test]
    fn several_lines_may_come_in_one_read() {
        check(&[b"one\ntwo\nthr", b"ee\n"], &["one", "two", "three"]);
    }

    #[test]
    fn crlf_blank_lines_and_nuls_are_no_part_of_a_line() {
        check(
            &[b"one\r\n\r\n\n  \0\ntwo\0\n\0three\r\n"],
            &["one", "two", "three"],
        );
    }

    #[test]
    fn an_unfinished_line_is_not_given_out() {
        check(&[b"one\ntwo"], &["one"]);
    }

    #[test]
    fn a_line_at_the_limit_passes_and_one_byte_more_does_not() {
        let at_limit = [b'x'; 64];
        assert_eq!(lines(&[&at_limit, b"\n"]).map(|lines| lines.len()), Ok(1));
        let error = LineTooLong { limit_bytes: 64 };
        assert_eq!(lines(&[&[b'x'; 65], b"\n"]), Err(error));
        assert_eq!(
            lines(&[&[b'x'; 65]]),
            Err(error),
            "found before the end has come"
        );
    }

    #[test]
    fn a_long_line_does_not_keep_its_memory() {
        let mut buffer = LineBuffer::default();
        buffer.push(&[b'x'; 5000]);
        buffer.push(b"\n");
        assert!(
            buffer
                .next_line(MAX_LINE_BYTES)
                .expect("short enough")
                .is_some()
        );
        assert_eq!(buffer.next_line(MAX_LINE_BYTES), Ok(None));
        assert_eq!(buffer.bytes.capacity(), 0);
    }

    proptest! {
        #[test]
        fn where_the_reads_are_cut_does_not_matter(
            text in proptest::collection::vec(prop_oneof![Just(b'\n'), Just(b'\r'), Just(b'a'), Just(0)], 0..60),
            cuts in proptest::collection::vec(0usize..60, 0..8),
        ) {
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|&cut| cut <= text.len()).collect();
            cuts.extend([0, text.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
            prop_assert_eq!(lines(&chunks), lines(&[&text]));
        }
    }
}
