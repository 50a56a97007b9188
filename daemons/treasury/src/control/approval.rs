//! The answers to everything about approvals of payouts.

use super::{Control, refusal};
use crate::actor;
use crate::clock::unix_ms;
use crate::operators::{self, Approved};
use hh_daemon::Caller;
use hh_ipc::ApiError;
use hh_ipc::api::treasury::{ApprovalDraft, ApproveRequest, Payout};
use hh_ledger::books::{self, Approval, PayTo, PayoutId};
use hh_mining::Msat;
use hh_trust::statement::Signed;
use serde_json::json;

/// How long the approval of a user holds. That of a key says so itself.
const APPROVAL_MS: i64 = 86_400_000;

impl Control {
    /// What an operator signs to approve a payout; none where two users of this machine do.
    pub(super) async fn approval_draft(&self, id: u64) -> Result<Option<ApprovalDraft>, ApiError> {
        let story = self.story(PayoutId(id)).await?;
        let keys = self.operators.present();
        let draft = self.operators.draft(&story.payout);
        Ok(draft.map(|draft| ApprovalDraft {
            text: draft.text,
            keys: keys.iter().map(|(_, key)| key.to_string()).collect(),
        }))
    }

    pub(super) async fn payout_approve(
        &self,
        caller: &Caller,
        request: ApproveRequest,
    ) -> Result<Payout, ApiError> {
        caller.may_change()?;
        let arguments = json!(request);
        let id = PayoutId(request.id);
        let story = self.story(id).await?;
        let to = PayTo {
            text: request.destination.clone(),
            ..story.payout.to.clone()
        };
        let approve = async {
            let now_ms = unix_ms();
            for (actor, until_ms) in self.approvers(caller, &request, &story.payout)? {
                let approval = Approval {
                    payout: id,
                    actor,
                    amount: Msat(request.amount_msat),
                    to: to.clone(),
                    until_ms,
                };
                let approved = self.stores.books.approve_payout(approval, now_ms).await;
                approved.map_err(refusal::books)?;
            }
            self.told(id).await
        };
        self.change(caller, "payout.approve", arguments, approve)
            .await
    }

    /// In whose names, and until when: of the user who asks, or of those whose keys have signed where keys are listed.
    fn approvers(
        &self,
        caller: &Caller,
        request: &ApproveRequest,
        payout: &books::Payout,
    ) -> Result<Vec<(String, i64)>, ApiError> {
        if !self.operators.have_keys() {
            let until_ms = unix_ms().saturating_add(APPROVAL_MS);
            return Ok(vec![(actor::of(caller), until_ms)]);
        }
        let signed = request.signed.as_ref().ok_or_else(refusal::unsigned)?;
        let signed = Signed {
            text: signed.text.clone(),
            signatures: vec![signed.signature.clone()],
        };
        let approved = self.operators.approved(payout, &signed);
        let Approved { by, until } = approved.map_err(|error| refusal::unproven(&error))?;
        let until_ms = until.saturating_mul(1_000);
        let names = by.iter().map(|name| (operators::actor(name), until_ms));
        Ok(names.collect())
    }
}
