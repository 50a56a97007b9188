//! Reads a trace of strace and tells whether a process ever answers a client before what it was sent is on the disk.
//!
//! The trace is one of `strace -f -yy -e trace=...`: descriptors come with their paths and addresses, and calls of several
//! threads are interleaved, cut in two where one went on while another was in a call.

use std::collections::HashMap;
use std::net::SocketAddr;

/// The calls that [`answers_after_syncs`] looks at, for strace's `-e trace=`.
pub const CALLS: &str =
    "recvfrom,read,readv,sendto,write,writev,sendmsg,pwrite64,pwritev,fdatasync,fsync";

/// What a share goes through on its way to its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// Bytes came from the client.
    Received,
    /// A write to the log has returned.
    Written,
    /// A sync of the log begins.
    SyncBegins,
    /// A sync of the log has returned 0.
    SyncReturned,
    /// A send to the client begins.
    AnswerBegins,
}

/// Where what was received last is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    None,
    Received,
    Written,
    Syncing,
    Synced,
}

/// Counts the answers to `client`, each to something it sent after the answer before.
///
/// # Errors
/// The line of the trace at which an answer begins while what the client sent was not written to a file whose path contains
/// `log`, or the sync that covers it had not returned.
pub fn answers_after_syncs(trace: &str, log: &str, client: SocketAddr) -> Result<u32, String> {
    let mut share = Share::None;
    let mut answers = 0;
    for (number, line, event) in events(trace, log, client) {
        share = match (share, event) {
            (_, Event::Received) => Share::Received,
            (Share::Received, Event::Written) => Share::Written,
            (Share::Written, Event::SyncBegins) => Share::Syncing,
            (Share::Syncing, Event::SyncReturned) => Share::Synced,
            (Share::Synced, Event::AnswerBegins) => {
                answers += 1;
                Share::None
            }
            (Share::Received | Share::Written | Share::Syncing, Event::AnswerBegins) => {
                return Err(format!(
                    "line {number}: an answer while the share was only {share:?}: {line}"
                ));
            }
            (state, _) => state,
        };
    }
    Ok(answers)
}

fn events<'t>(
    trace: &'t str,
    log: &str,
    client: SocketAddr,
) -> impl Iterator<Item = (usize, &'t str, Event)> {
    // strace prints both ends of a connection, ours first.
    let client = format!("->{client}]");
    let log = log.to_owned();
    let mut unfinished: HashMap<&str, &str> = HashMap::new();
    trace.lines().enumerate().flat_map(move |(number, line)| {
        let (thread, call) = line.split_once(' ').unwrap_or_default();
        let call = call.trim_start();
        let (text, begins, returned) = if call.starts_with("<... ") {
            (unfinished.remove(thread).unwrap_or(""), false, result(call))
        } else if call.ends_with("<unfinished ...>") {
            unfinished.insert(thread, call);
            (call, true, None)
        } else {
            (call, true, result(call))
        };
        let name = text.split('(').next().unwrap_or_default();
        let descriptor = text.split(", ").next().unwrap_or_default();
        let of_client = descriptor.contains(&client);
        let of_log = descriptor.contains(&log);
        let succeeded = returned.is_some_and(|value| value >= 0);
        let event = match name {
            "recvfrom" | "read" | "readv" if of_client && returned.is_some_and(|n| n > 0) => {
                vec![Event::Received]
            }
            "sendto" | "write" | "writev" | "sendmsg" if of_client && begins => {
                vec![Event::AnswerBegins]
            }
            "write" | "writev" | "pwrite64" | "pwritev" if of_log && succeeded => {
                vec![Event::Written]
            }
            "fdatasync" | "fsync" if of_log => {
                let begin = begins.then_some(Event::SyncBegins);
                let end = succeeded.then_some(Event::SyncReturned);
                begin.into_iter().chain(end).collect()
            }
            _ => vec![],
        };
        event
            .into_iter()
            .map(move |event| (number + 1, line, event))
    })
}

/// The number after the last `= ` of a call that has returned.
fn result(call: &str) -> Option<i64> {
    let value = call.rsplit_once(" = ")?.1;
    value.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECEIVE: &str =
        r#"11 recvfrom(9<TCP:[127.0.0.1:34254->127.0.0.1:5000]>, "..", 4096, 0, NULL, NULL) = 54"#;
    const WRITE: &str = r#"12 pwrite64(7</tmp/x/shares/0.log>, "..", 512, 4096) = 512"#;
    const SYNC: &str = "12 fdatasync(7</tmp/x/shares/0.log>) = 0";
    const ANSWER: &str = r#"11 sendto(9<TCP:[127.0.0.1:34254->127.0.0.1:5000]>, "..", 41, MSG_NOSIGNAL, NULL, 0) = 41"#;

    #[track_caller]
    fn check(lines: &[&str], expected: Result<u32, usize>) {
        let client = "127.0.0.1:5000".parse().unwrap();
        let answer = answers_after_syncs(&lines.join("\n"), "/shares/", client);
        match (answer, expected) {
            (Ok(answers), Ok(expected)) => assert_eq!(answers, expected),
            (Err(error), Err(line)) => {
                assert!(error.starts_with(&format!("line {line}:")), "{error}");
            }
            (answer, expected) => panic!("{answer:?}, not {expected:?}"),
        }
    }

    #[test]
    fn an_answer_after_its_sync_counts_and_others_are_found() {
        check(&[RECEIVE, WRITE, SYNC, ANSWER], Ok(1));
        check(
            &[RECEIVE, WRITE, SYNC, ANSWER, RECEIVE, WRITE, SYNC, ANSWER],
            Ok(2),
        );
        check(&[RECEIVE, ANSWER], Err(2));
        check(&[RECEIVE, WRITE, ANSWER, SYNC], Err(3));
        // A sync that was over, or had begun, before the write covers nothing.
        check(&[RECEIVE, SYNC, WRITE, ANSWER], Err(4));
        check(&[WRITE, SYNC, RECEIVE, ANSWER], Err(4));
    }

    #[test]
    fn a_call_that_is_cut_in_two_counts_from_its_begin_to_its_return() {
        let begins = "12 fdatasync(7</tmp/x/shares/0.log> <unfinished ...>";
        let returns = "12 <... fdatasync resumed>)        = 0";
        let fails = "12 <... fdatasync resumed>)        = -1 EIO (Input/output error)";
        check(&[RECEIVE, WRITE, begins, returns, ANSWER], Ok(1));
        check(&[RECEIVE, WRITE, begins, ANSWER, returns], Err(4));
        check(&[RECEIVE, WRITE, begins, fails, ANSWER], Err(5));
        check(&[RECEIVE, begins, WRITE, returns, ANSWER], Err(5));
    }

    #[test]
    fn what_concerns_other_clients_and_files_is_left_out() {
        let other_client = RECEIVE.replace("5000", "5001");
        let other_file = SYNC.replace("shares", "blocks");
        check(&[&other_client, ANSWER], Ok(0));
        check(&[RECEIVE, WRITE, &other_file, ANSWER], Err(4));
    }
}
