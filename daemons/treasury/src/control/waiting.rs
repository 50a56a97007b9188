//! What an open payout waits for, in words, with the way out: a pure function of its story and of what holds all of them up.

use super::{Control, refusal};
use crate::clock::{timestamp, unix_ms};
use crate::payouts::Waits;
use hh_ipc::ApiError;
use hh_ledger::books::{AttemptState, Freeze, Held, PayoutState, PayoutStory};

/// What holds payouts up, at one moment.
#[derive(Clone, Debug, Default)]
pub(super) struct Waiting {
    freeze: Option<Freeze>,
    /// Books and wallet have been compared since the start.
    is_verified: bool,
    /// What the engine could not send, and why.
    not_sent: Waits,
    now_ms: i64,
}

impl Control {
    /// What holds payouts up now.
    pub(super) async fn waiting(&self) -> Result<Waiting, ApiError> {
        Ok(Waiting {
            freeze: self.stores.books.frozen().await.map_err(refusal::books)?,
            is_verified: self.audit.last().is_some(),
            not_sent: self.waiting.borrow().clone(),
            now_ms: unix_ms(),
        })
    }
}

impl Waiting {
    /// What has to happen before a payout goes on; none where it goes on at once, or has ended.
    pub(super) fn of(&self, story: &PayoutStory) -> Option<String> {
        let payout = &story.payout;
        let id = payout.id;
        match payout.state {
            PayoutState::Settled | PayoutState::Cancelled => None,
            PayoutState::NeedsOperator => Some(person(story)),
            PayoutState::Paying => outcome(story),
            PayoutState::Queued
            | PayoutState::Resolving
            | PayoutState::Ready
            | PayoutState::RetryWait => self
                .held(story)
                .or_else(|| self.approval(story))
                .or_else(|| self.next_try(story))
                .or_else(|| self.not_sent.get(&id).cloned()),
        }
    }

    /// How many of its approvals still hold.
    pub(super) fn approved(&self, story: &PayoutStory) -> u32 {
        let approvals = story.approvals.iter();
        let valid = approvals.filter(|approval| approval.until_ms > self.now_ms);
        u32::try_from(valid.count()).unwrap_or(u32::MAX)
    }

    /// What an operator has stopped, or nobody has let go on yet.
    fn held(&self, story: &PayoutStory) -> Option<String> {
        if let Some(hold) = story.holds.first() {
            let target = match &hold.what {
                Held::Payee(payee) => payee.to_string(),
                Held::Payout(id) => id.to_string(),
            };
            let reason = &hold.reason;
            return Some(format!(
                "its release, held for: {reason}; `hhctl payout release {target}`"
            ));
        }
        if let Some(freeze) = &self.freeze {
            let reason = &freeze.reason;
            return Some(format!(
                "payouts to be unfrozen, frozen for: {reason}; `hhctl treasury unfreeze`"
            ));
        }
        if self.is_verified {
            return None;
        }
        let why = "books and wallet to be compared for the first time since the start; `hhctl treasury status`";
        Some(why.to_owned())
    }

    fn approval(&self, story: &PayoutStory) -> Option<String> {
        let (needed, id) = (story.payout.approvals_needed, story.payout.id);
        let approved = self.approved(story);
        (approved < needed).then(|| {
            format!("the approval of {needed} operators, and has {approved}; `hhctl payout approve {id}`")
        })
    }

    fn next_try(&self, story: &PayoutStory) -> Option<String> {
        let (next_ms, id) = (story.payout.next_try_at_ms?, story.payout.id);
        (next_ms > self.now_ms).then(|| {
            let at = timestamp(next_ms).strftime("%Y-%m-%d %H:%M:%S");
            format!("its next try at {at} UTC; `hhctl payout retry {id}` tries at once")
        })
    }
}

/// What a person can do: that depends on whether something that was sent may still settle.
fn person(story: &PayoutStory) -> String {
    let id = story.payout.id;
    let live = story.attempts.iter().find(|known| known.state.is_live());
    match live {
        Some(attempt) => {
            let attempt = attempt.id;
            format!(
                "somebody to find out what became of attempt {attempt}; `hhctl payout close-failed {id}`, by two operators, once it can't settle any more"
            )
        }
        None => {
            format!("a decision; `hhctl payout retry {id}` or `hhctl payout cancel {id}`")
        }
    }
}

/// What becomes of the attempt that is under way.
fn outcome(story: &PayoutStory) -> Option<String> {
    let id = story.payout.id;
    let live = story.attempts.iter().find(|known| known.state.is_live())?;
    let attempt = live.id;
    match live.state {
        AttemptState::Unknown => Some(format!(
            "the wallet to say what became of attempt {attempt}: it is looked up until it does; `hhctl payout show {id}`"
        )),
        AttemptState::InFlight => Some(format!(
            "the payee to take attempt {attempt}, which is in flight; `hhctl ln channel list` shows when it times out"
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hh_ledger::books::{
        Approval, Attempt, AttemptId, DestinationKind, Hold, PayTo, Payee, Payout, PayoutId,
    };
    use hh_mining::Msat;

    const NOW_MS: i64 = 1_000_000;

    fn story(state: PayoutState) -> PayoutStory {
        PayoutStory {
            payout: Payout {
                id: PayoutId(7),
                key: String::new(),
                payee: Payee::Miner("alice".to_owned()),
                amount: Msat(5_000),
                to: to(),
                rule: String::new(),
                approvals_needed: 0,
                state,
                next_try_at_ms: Some(NOW_MS - 1),
                tries: 0,
                created_at_ms: 0,
                ended_at_ms: None,
                reason: None,
            },
            attempts: Vec::new(),
            history: Vec::new(),
            approvals: Vec::new(),
            holds: Vec::new(),
        }
    }

    fn to() -> PayTo {
        PayTo {
            kind: DestinationKind::LnAddress,
            text: "alice@wallet.example".to_owned(),
        }
    }

    fn attempt(state: AttemptState) -> Attempt {
        Attempt {
            id: AttemptId(3),
            payee: Payee::Miner("alice".to_owned()),
            payout: PayoutId(7),
            payment_hash: [1; 32],
            invoice: String::new(),
            amount: Msat(5_000),
            max_fee: Msat(1),
            cltv_limit: 144,
            wallet_node: String::new(),
            invoice_expires_at_ms: 0,
            state,
            prepared_at_ms: 0,
            dispatched_at_ms: None,
            dispatch_height: None,
            channels: Vec::new(),
            ended_at_ms: None,
            preimage: None,
            fee: None,
            failure: None,
            evidence: None,
        }
    }

    fn waiting() -> Waiting {
        Waiting {
            freeze: None,
            is_verified: true,
            not_sent: Waits::new(),
            now_ms: NOW_MS,
        }
    }

    #[track_caller]
    fn check(waiting: &Waiting, story: &PayoutStory, parts: &[&str]) {
        let found = waiting.of(story);
        let text = found.clone().unwrap_or_default();
        assert_eq!(found.is_none(), parts.is_empty(), "{text}");
        assert!(parts.iter().all(|part| text.contains(part)), "{text}");
    }

    #[test]
    fn what_can_go_on_waits_for_nothing() {
        check(&waiting(), &story(PayoutState::Queued), &[]);
        check(&Waiting::default(), &story(PayoutState::Settled), &[]);
    }

    #[test]
    fn what_could_not_be_sent_says_why() {
        let mut waiting = waiting();
        let why = "a usable channel; `hhctl ln channel open`".to_owned();
        waiting.not_sent.insert(PayoutId(7), why.clone());
        check(&waiting, &story(PayoutState::Queued), &[&why]);
        waiting.not_sent = [(PayoutId(8), why)].into();
        check(&waiting, &story(PayoutState::Queued), &[]);
    }

    #[test]
    fn what_a_person_has_stopped_comes_before_the_wallet() {
        let mut waiting = waiting();
        waiting.not_sent.insert(PayoutId(7), "wallet".to_owned());
        waiting.freeze = Some(Freeze {
            reason: "a doubt".to_owned(),
            actor: "bob".to_owned(),
            at_ms: 0,
        });
        let mut story = story(PayoutState::Ready);
        check(&waiting, &story, &["a doubt", "hhctl treasury unfreeze"]);
        story.holds.push(Hold {
            what: Held::Payee(story.payout.payee.clone()),
            reason: "disputed".to_owned(),
            actor: "bob".to_owned(),
            at_ms: 0,
        });
        check(&waiting, &story, &["disputed", "release miner:alice"]);
        let first = Waiting {
            is_verified: false,
            ..self::waiting()
        };
        check(&first, &self::story(PayoutState::Queued), &["compared"]);
    }

    #[test]
    fn an_approval_that_has_run_out_is_none() {
        let mut story = story(PayoutState::Queued);
        story.payout.approvals_needed = 2;
        let approval = |actor: &str, until_ms| Approval {
            payout: PayoutId(7),
            actor: actor.to_owned(),
            amount: Msat(5_000),
            to: to(),
            until_ms,
        };
        story.approvals = vec![approval("bob", NOW_MS), approval("eve", NOW_MS + 1)];
        check(
            &waiting(),
            &story,
            &["2 operators, and has 1", "hhctl payout approve 7"],
        );
        story.approvals = vec![approval("bob", NOW_MS + 1), approval("eve", NOW_MS + 1)];
        check(&waiting(), &story, &[]);
    }

    #[test]
    fn a_try_that_is_to_come_names_its_time() {
        let mut story = story(PayoutState::RetryWait);
        story.payout.next_try_at_ms = Some(NOW_MS + 1_000);
        let parts = ["1970-01-01 00:16:41 UTC", "hhctl payout retry 7"];
        check(&waiting(), &story, &parts);
    }

    #[test]
    fn a_person_is_told_what_may_be_done() {
        let mut story = story(PayoutState::NeedsOperator);
        check(&waiting(), &story, &["retry 7", "cancel 7"]);
        story.attempts = vec![attempt(AttemptState::Unknown)];
        check(&waiting(), &story, &["attempt 3", "close-failed 7"]);
        story.payout.state = PayoutState::Paying;
        check(&waiting(), &story, &["looked up"]);
        story.attempts = vec![attempt(AttemptState::InFlight)];
        check(&waiting(), &story, &["the payee"]);
    }
}
