//! How a daemon's own journal of changes gets into the audit log: line by line and each once, and what is wrong with it as a line
//! of its own.

use super::{AuditEvent, JournalSource};
use crate::chain::{Chain, Head};

/// Follows the journal of one daemon.
#[derive(Clone, Debug)]
pub struct JournalIntake {
    source: JournalSource,
    chain: Chain,
}

impl JournalIntake {
    /// Goes on after `head`: the last line that was taken in; [`Chain::new`]'s for none.
    #[must_use]
    pub const fn after(source: JournalSource, head: Head) -> Self {
        Self {
            source,
            chain: Chain::after(head),
        }
    }

    /// The last line that was taken in. It is kept in the transaction of the lines: it proves what the journal was.
    #[must_use]
    pub const fn head(&self) -> Head {
        self.chain.head()
    }

    /// Takes the next page: the lines after [`Self::head`], of a journal that now has `last_seq`. What it gives goes into the log.
    pub fn page(&mut self, lines: &[String], last_seq: u64) -> Vec<AuditEvent> {
        let source = &self.source;
        let fault = |fault: String| AuditEvent::JournalFault {
            source: source.clone(),
            fault,
        };
        let taken = self.chain.head().seq;
        if last_seq < taken {
            // Its lines have other numbers from now on: it is followed from its begin, so that nothing of it is left out.
            self.chain = Chain::new();
            let text = format!(
                "the journal has {last_seq} lines, and {taken} were taken in before: its end was cut off, or it was written anew"
            );
            return vec![fault(text)];
        }
        let mut events = Vec::new();
        for line in lines {
            if let Err(error) = self.chain.follow(line) {
                events.push(fault(error.to_string()));
            }
            events.push(AuditEvent::Journal {
                source: source.clone(),
                line: line.clone(),
            });
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Event;
    use jiff::Timestamp;

    fn source() -> JournalSource {
        JournalSource {
            node: None,
            daemon: "hh-pool".to_owned(),
        }
    }

    fn journal(count: u64) -> Vec<String> {
        let mut chain = Chain::new();
        (1..=count)
            .map(|of| {
                let event = Event::Outcome { of, refused: None };
                let entry = chain.next(Timestamp::UNIX_EPOCH, "hh-pool", event);
                let line = serde_json::to_string(&entry).unwrap();
                chain.follow(&line).unwrap();
                line
            })
            .collect()
    }

    /// What the log gets of the lines, the faults marked.
    fn texts(events: Vec<AuditEvent>) -> Vec<String> {
        let text = |event| match event {
            AuditEvent::Journal { line, .. } => line,
            AuditEvent::JournalFault { fault, .. } => format!("! {fault}"),
            other => panic!("{other:?}"),
        };
        events.into_iter().map(text).collect()
    }

    #[test]
    fn pages_are_taken_in_as_they_are_and_each_line_once() {
        let lines = journal(5);
        let mut intake = JournalIntake::after(source(), Chain::new().head());
        assert_eq!(texts(intake.page(&lines[..2], 5)), lines[..2]);
        assert_eq!(intake.head().seq, 2);
        // After a restart it goes on where the log ended.
        let mut again = JournalIntake::after(source(), intake.head());
        assert_eq!(texts(again.page(&lines[2..], 5)), lines[2..]);
        assert_eq!(texts(again.page(&[], 5)), Vec::<String>::new());
    }

    #[test]
    fn a_journal_that_was_written_anew_is_told_and_taken_in_all_the_same() {
        let lines = journal(5);
        let mut intake = JournalIntake::after(source(), Chain::new().head());
        intake.page(&lines[..2], 5);
        let mut changed = lines.clone();
        changed[2] = changed[2].replace("hh-pool", "hh-pooh");
        let taken = texts(intake.page(&changed[2..], 5));
        assert_eq!(taken[0], changed[2]);
        assert!(taken[1].starts_with("! line 4"), "{taken:?}");
        assert_eq!(taken.len(), 4);
        // The line that was taken in is another one now.
        let mut intake = JournalIntake::after(source(), Chain::new().head());
        intake.page(&changed[..3], 5);
        assert!(texts(intake.page(&lines[3..], 5))[0].starts_with("! line 4"));
        // Cut off.
        let cut = texts(intake.page(&[], 3));
        assert!(cut[0].contains("3 lines, and 5"), "{cut:?}");
        assert_eq!(intake.head().seq, 0);
        assert_eq!(texts(intake.page(&lines[..3], 3)), lines[..3]);
    }
}
