//! The answer to `rebalance`.

use super::{Control, refusal, request_id};
use crate::actor;
use crate::rebalances::{NotBegun, NotPossible, Planned, Wanted};
use hh_daemon::Caller;
use hh_ipc::ApiError;
use hh_ipc::api::treasury::{Rebalance, RebalanceRequest, RebalanceState};
use hh_ledger::books;
use hh_mining::Msat;
use serde_json::json;

/// What helps where a wallet can't.
const WAY_OUT: &str = "close the channel whose money is the peer's (`hhctl ln channel close`), and open another (`hhctl ln channel open`)";

impl Control {
    pub(super) async fn rebalance(
        &self,
        caller: &Caller,
        request: RebalanceRequest,
    ) -> Result<Rebalance, ApiError> {
        caller.may_change()?;
        let can = self.stores.wallet.wallet().capabilities().rebalances;
        if let Err(why) = can {
            return Err(refusal::unsupported(
                "move money between its channels",
                &format!("{why}; {WAY_OUT}"),
            ));
        }
        let wanted = wanted(&request)?;
        if request.dry_run {
            let planned = self.rebalancer.plan(&wanted).await.map_err(refused)?;
            return Ok(wire_plan(&request, planned));
        }
        let key = request_id(&request.request_id)?.to_owned();
        let arguments = json!(request);
        let move_it = async {
            let actor = actor::of(caller);
            let moved = self.rebalancer.run_one(&wanted, &key, &actor).await;
            Ok(wire(&moved.map_err(refused)?))
        };
        self.change(caller, "ln.channel.rebalance", arguments, move_it)
            .await
    }
}

fn wanted(request: &RebalanceRequest) -> Result<Wanted, ApiError> {
    let channel = |id: &str| id.parse().map_err(|error| refusal::wrong(&error));
    Ok(Wanted {
        from: channel(&request.from)?,
        into: channel(&request.to)?,
        amount: Msat(request.amount_msat),
        max_fee_ppm: request.max_fee_ppm,
    })
}

fn refused(error: NotBegun) -> ApiError {
    match error {
        NotBegun::NotPossible(error @ NotPossible::Unknown(_)) => {
            refusal::not_found(error.to_string())
        }
        NotBegun::NotPossible(
            error @ (NotPossible::SameChannel | NotPossible::Nothing | NotPossible::TooDear(_)),
        ) => refusal::usage(error.to_string()),
        NotBegun::NotPossible(error) => refusal::not_now(error.to_string()),
        NotBegun::Wallet(why) => refusal::wallet(why),
        NotBegun::Books(error) => refusal::books(error),
        error @ NotBegun::Behind => refusal::not_now(error.to_string()),
        error @ NotBegun::Invoice(_) => refusal::failed(hh_daemon::Chain(&error).to_string()),
    }
}

fn wire_plan(request: &RebalanceRequest, planned: Planned) -> Rebalance {
    Rebalance {
        id: None,
        from: request.from.clone(),
        to: request.to.clone(),
        amount_msat: request.amount_msat,
        max_fee_msat: planned.max_fee.0,
        state: RebalanceState::Planned,
        fee_msat: None,
        payment_hash: None,
        reason: None,
        can_send_msat: Some(planned.can_send.0),
        can_receive_msat: Some(planned.can_receive.0),
    }
}

fn wire(moved: &books::Rebalance) -> Rebalance {
    Rebalance {
        id: Some(moved.id),
        from: moved.from.clone(),
        to: moved.into.clone(),
        amount_msat: moved.amount.0,
        max_fee_msat: moved.max_fee.0,
        state: match moved.state {
            books::RebalanceState::Open => RebalanceState::InFlight,
            books::RebalanceState::Settled => RebalanceState::Settled,
            books::RebalanceState::Failed => RebalanceState::Failed,
        },
        fee_msat: moved.fee.map(|fee| fee.0),
        payment_hash: Some(hex::encode(moved.payment_hash)),
        reason: moved.failure.clone(),
        can_send_msat: None,
        can_receive_msat: None,
    }
}
