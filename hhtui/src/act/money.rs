//! What moves money, or keeps it from moving.

use super::{ActError, Operation, Outcome, REASON, check, within};
use crate::figures::{age, plural, sat};
use crate::reach::ControlReach;
use hh_ipc::api::treasury::{
    ChannelCloseRequest, FreezeRequest, HoldRequest, PayoutPlan, RunRequest, TreasuryClient,
    UnfreezeRequest,
};
use hh_ipc::client;
use hh_ipc::locate::Daemon;
use jiff::Timestamp;

/// Payees that are named in a question; the others are counted.
const NAMED: usize = 5;

/// Does one of hh-treasury's operations, or asks what it would do.
pub(super) async fn run(
    operation: &Operation,
    reach: &ControlReach,
    dry_run: bool,
) -> Result<Outcome, ActError> {
    let opened = reach.open(Daemon::Treasury).await?;
    let treasury = client::treasury(opened.stream);
    check(Daemon::Treasury, &treasury.hello(within()).await?)?;
    match operation {
        Operation::Freeze => freeze(&treasury).await,
        Operation::Unfreeze if dry_run => plan_unfreeze(&treasury).await,
        Operation::Unfreeze => {
            let reason = REASON.to_owned();
            let request = UnfreezeRequest { reason };
            let answer = treasury.unfreeze(within(), request).await?;
            answer.map_err(ActError::Refused)?;
            Ok(String::new().into())
        }
        Operation::RunPayouts {
            request_id,
            payees,
            total_msat,
        } if !dry_run => {
            let request = RunRequest {
                request_id: request_id.clone(),
                payees: payees.clone(),
                below_minimum: false,
                total_msat_max: Some(*total_msat),
            };
            let answer = treasury.payout_run(within(), request).await?;
            let opened = answer.map_err(ActError::Refused)?;
            Ok(words(&opened).into())
        }
        Operation::Hold { payee, is_held } => {
            if !dry_run {
                let request = HoldRequest {
                    target: payee.clone(),
                    is_held: *is_held,
                    reason: REASON.to_owned(),
                };
                let answer = treasury.payout_hold(within(), request).await?;
                answer.map_err(ActError::Refused)?;
            }
            Ok(String::new().into())
        }
        Operation::CloseChannel(id) => close(&treasury, id, dry_run).await,
        _ => plan_payouts(&treasury).await,
    }
}

async fn freeze(treasury: &TreasuryClient) -> Result<Outcome, ActError> {
    let reason = REASON.to_owned();
    let answer = treasury.freeze(within(), FreezeRequest { reason }).await?;
    let freeze = answer.map_err(ActError::Refused)?;
    Ok(format!("frozen by {}", freeze.actor).into())
}

/// Why they are frozen, and what would be paid at once.
async fn plan_unfreeze(treasury: &TreasuryClient) -> Result<Outcome, ActError> {
    let status = treasury.status(within()).await?;
    let answer = treasury
        .payout_plan(within(), RunRequest::default())
        .await?;
    let plan = answer.map_err(ActError::Refused)?;
    let frozen = match &status.freeze {
        Some(freeze) => format!(
            "Frozen {} by {}: {}",
            age(freeze.since_at, Timestamp::now()),
            freeze.actor,
            freeze.reason
        ),
        None => "Not frozen".to_owned(),
    };
    Ok(format!("{frozen}. Due: {}", words(&plan)).into())
}

/// What is planned now is what a yes opens: its payees, and no more than its total.
async fn plan_payouts(treasury: &TreasuryClient) -> Result<Outcome, ActError> {
    let answer = treasury
        .payout_plan(within(), RunRequest::default())
        .await?;
    let plan = answer.map_err(ActError::Refused)?;
    if plan.planned.is_empty() {
        let why = match plan.left_out.first() {
            Some((payee, why)) => format!("nobody is to be paid now; {payee}: {why}"),
            None => "nobody is to be paid now".to_owned(),
        };
        return Err(ActError::Nothing(why));
    }
    let payees = plan.planned.iter().map(|planned| planned.payee.clone());
    let next = Operation::RunPayouts {
        request_id: request_id(),
        payees: payees.collect(),
        total_msat: plan.total_msat,
    };
    Ok(Outcome {
        words: words(&plan),
        next: Some(next),
    })
}

/// One that no other run has: the time to the microsecond, and the process.
fn request_id() -> String {
    let now = Timestamp::now().as_microsecond();
    format!("hhtui-{now}-{}", std::process::id())
}

/// `2 payouts of 904,200.456 sat, fees 9,042.004 sat at most, 4,095,799.544 sat left of the day's limit: miner:alice 4,200.456 sat to ...`.
fn words(plan: &PayoutPlan) -> String {
    let payouts = plural(plan.planned.len() as u64, "payout");
    let mut words = format!("{payouts} of {} sat", sat(plan.total_msat));
    if plan.planned.is_empty() {
        return words;
    }
    let mut fees = plan.planned.iter().map(|planned| planned.max_fee_msat);
    match fees.try_fold(0_u64, |sum, fee| sum.checked_add(fee?)) {
        Some(most) => words += &format!(", fees {} sat at most", sat(most)),
        None => words += ", fees as hh-treasury.toml allows",
    }
    if let Some(before) = plan.day_limit_left_msat {
        let after = before.saturating_sub(plan.total_msat);
        words += &format!(", {} sat left of the day's limit", sat(after));
    }
    let named = plan.planned.iter().take(NAMED).map(|planned| {
        let approval = if planned.needs_approval {
            " (two operators)"
        } else {
            ""
        };
        format!(
            "{} {} sat to {}{approval}",
            planned.payee,
            sat(planned.amount_msat),
            planned.destination
        )
    });
    words += &format!(": {}", named.collect::<Vec<_>>().join("; "));
    let others = plan.planned.len().saturating_sub(NAMED);
    if others > 0 {
        words += &format!("; and {others} more");
    }
    words
}

async fn close(treasury: &TreasuryClient, id: &str, dry_run: bool) -> Result<Outcome, ActError> {
    let request = ChannelCloseRequest {
        id: id.to_owned(),
        is_forced: false,
        dry_run,
    };
    let answer = treasury.close_channel(within(), request).await?;
    let channel = answer.map_err(ActError::Refused)?;
    let mut words = format!("{} sat of ours are in it", sat(channel.local_msat));
    if let Some(cost) = channel.cost_msat {
        words += &format!(", it costs about {} sat", sat(cost));
    }
    Ok(words.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use hh_ipc::api::treasury::PlannedPayout;

    #[test]
    fn a_plan_names_amounts_destinations_fees_and_what_is_left() {
        let planned = |payee: &str, needs_approval| PlannedPayout {
            id: None,
            payee: payee.to_owned(),
            amount_msat: 1_000_500,
            destination: "a@b.example".to_owned(),
            needs_approval,
            max_fee_msat: Some(10_000),
        };
        let mut plan = PayoutPlan {
            planned: vec![planned("miner:alice", false), planned("node:oslo", true)],
            total_msat: 2_001_000,
            day_limit_left_msat: Some(5_000_000),
            ..PayoutPlan::default()
        };
        let expected = "2 payouts of 2,001 sat, fees 20 sat at most, 2,999 sat left of the day's limit: \
                        miner:alice 1,000.500 sat to a@b.example; node:oslo 1,000.500 sat to a@b.example (two operators)";
        assert_eq!(words(&plan), expected);
        plan.planned = vec![planned("miner:x", false); 8];
        plan.planned[0].max_fee_msat = None;
        let many = words(&plan);
        assert!(many.ends_with("; and 3 more"), "{many}");
        assert!(many.contains("fees as hh-treasury.toml allows"), "{many}");
    }

    #[test]
    fn a_request_id_is_one_that_hhctl_takes() {
        let id = request_id();
        assert!(id.len() <= 64, "{id}");
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        assert!(id.chars().all(is_plain), "{id}");
    }
}
