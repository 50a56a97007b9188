//! `InvoicePace`: how often a session's node may hand an invoice in. Any text with a signature is one here, and each new one is a write to the
//! database.

use hh_ipc::agent::NodeInvoice;
use std::time::{Duration, Instant};

/// From one new invoice to the next. An agent makes one a minute at most, and hands in again what was not taken.
const PAUSE: Duration = Duration::from_secs(1);

/// The last one is taken again after so long: by then hh-treasury may have refused its signature, and know another key.
const REPEAT: Duration = Duration::from_secs(600);

/// Of one session.
#[derive(Debug, Default)]
pub(super) struct InvoicePace(Option<(NodeInvoice, Instant)>);

impl InvoicePace {
    /// Whether it is to be taken: a new one comes a while after the last, and the last itself long after.
    pub(super) fn takes(&self, invoice: &NodeInvoice, now: Instant) -> bool {
        let Some((last, at)) = &self.0 else {
            return true;
        };
        let pause = if last == invoice { REPEAT } else { PAUSE };
        now.saturating_duration_since(*at) >= pause
    }

    /// It was taken.
    pub(super) fn took(&mut self, invoice: NodeInvoice, now: Instant) {
        self.0 = Some((invoice, now));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_one_new_invoice_a_second_and_none_again_and_again() {
        let invoice = |text: &str| NodeInvoice {
            invoice: text.to_owned(),
            signature: "00".to_owned(),
        };
        let start = Instant::now();
        let mut pace = InvoicePace::default();
        assert!(pace.takes(&invoice("a"), start));
        pace.took(invoice("a"), start);
        assert!(!pace.takes(&invoice("a"), start + 10 * PAUSE));
        assert!(pace.takes(&invoice("a"), start + REPEAT));
        assert!(!pace.takes(&invoice("b"), start + PAUSE / 2));
        assert!(pace.takes(&invoice("b"), start + PAUSE));
        pace.took(invoice("b"), start + PAUSE);
        assert!(pace.takes(&invoice("a"), start + 2 * PAUSE));
    }
}
