//! `hhctl node revoke`: at core, which ends the node's session, and at the pool, which closes its connections; wherever it is known.

use super::{fleet, table};
use crate::change::Plan;
use crate::command::answers;
use crate::failure::{Failure, NOT_RUNNING};
use crate::output::{Cell, Part, Report, text};
use crate::session::Session;
use hh_ipc::api::core::{RevokeFleetNode, RevokedFleetNode};
use hh_ipc::api::pool::{RevokeNodeRequest, RevokedNode};
use jiff::Timestamp;
use serde_json::json;

/// Codes of core and of hh-pool for a node that they don't know.
const UNKNOWN: [&str; 2] = ["HH5001", "HH2032"];

/// Code of hh-pool for a node that is revoked there already; core has found the rest of the request right.
const REVOKED_AT_POOL: &str = "HH2033";

/// What is asked for.
#[derive(Clone, Copy)]
struct Wish<'a> {
    node: &'a str,
    reason: Option<&'a str>,
    dry_run: bool,
}

/// What each has said who is there and knows the node.
struct Said {
    core: Option<RevokedFleetNode>,
    pool: Option<RevokedNode>,
    failures: Vec<Failure>,
}

/// What a revocation would close. It is asked about in any case: it can't be taken back.
pub(in crate::command) async fn plan(
    session: &mut Session,
    node: &str,
    reason: Option<&str>,
) -> Result<Plan, Failure> {
    let wish = Wish {
        node,
        reason,
        dry_run: true,
    };
    let said = ask(session, wish).await?;
    let ends = said.ends();
    let summary = match said.core {
        None => format!("would revoke the node {node} and close {ends}"),
        Some(_) => format!("would revoke the node {node} and end {ends}"),
    };
    let (question, typed) = match said.core {
        None => ("in no more and close", None),
        // It takes a new enrolment to undo it.
        Some(_) => ("in no more and end", Some(node.to_owned())),
    };
    Ok(Plan {
        report: said.report(session.now(), summary),
        question: Some(format!("Let the node {node} {question} {ends}")),
        typed,
    })
}

pub(in crate::command) async fn revoke(
    session: &mut Session,
    node: &str,
    reason: Option<&str>,
) -> Result<Report, Failure> {
    let wish = Wish {
        node,
        reason,
        dry_run: false,
    };
    let said = ask(session, wish).await?;
    let ends = said.ends();
    let summary = match said.core {
        None => format!("revoked the node {node}; closed {ends}"),
        Some(_) => format!(
            "revoked the node {node}; ended {ends}\nto let it in again: `hhctl token create {node} --replace`"
        ),
    };
    Ok(said.report(session.now(), summary))
}

/// Core first: with it go the orders, and what it refuses is refused before anything has changed.
async fn ask(session: &mut Session, wish: Wish<'_>) -> Result<Said, Failure> {
    let mut failures = Vec::new();
    let (core, without) = match at_core(session, wish).await {
        Ok(revoked) => (Some(revoked), None),
        Err(failure) if is_not_there(&failure) => (None, Some(failure)),
        Err(failure) => return Err(failure),
    };
    let pool = match at_pool(session, wish).await {
        Ok(revoked) => Some(revoked),
        Err(failure) if core.is_some() => {
            if !is_not_there(&failure) && failure.code != REVOKED_AT_POOL {
                failures.push(failure);
            }
            None
        }
        // Who is there, and does not know the node, says more than that nobody is.
        Err(failure) => match without {
            Some(without) if failure.code == NOT_RUNNING => return Err(without),
            _ => return Err(failure),
        },
    };
    Ok(Said {
        core,
        pool,
        failures,
    })
}

fn is_not_there(failure: &Failure) -> bool {
    failure.code == NOT_RUNNING || UNKNOWN.contains(&failure.code.as_str())
}

async fn at_core(session: &mut Session, wish: Wish<'_>) -> Result<RevokedFleetNode, Failure> {
    let daemon = session.core_control().await?;
    let request = RevokeFleetNode {
        node: wish.node.to_owned(),
        reason: wish.reason.map(str::to_owned),
        dry_run: wish.dry_run,
    };
    let answer = daemon.client.revoke_node(daemon.call(), request).await;
    daemon.granted(answer)
}

async fn at_pool(session: &mut Session, wish: Wish<'_>) -> Result<RevokedNode, Failure> {
    let daemon = session.pool_control().await?;
    let request = RevokeNodeRequest {
        node: wish.node.to_owned(),
        reason: wish.reason.map(str::to_owned),
        dry_run: wish.dry_run,
    };
    let answer = daemon.client.revoke_node(daemon.call(), request).await;
    daemon.granted(answer)
}

impl Said {
    /// All that ends, in words.
    fn ends(&self) -> String {
        let mut ends = Vec::new();
        if let Some(core) = &self.core {
            if core.was_connected {
                ends.push("its session".to_owned());
            }
            let counted = [
                (core.operations_given_up, "open command"),
                (core.tokens_revoked, "token"),
            ];
            let counted = counted.into_iter().filter(|(count, _)| *count > 0);
            ends.extend(counted.map(|(count, of)| text::plural(count.into(), of)));
        }
        if let Some(pool) = &self.pool {
            ends.push(text::plural(pool.node.connections.into(), "connection"));
        }
        match ends.is_empty() {
            true => "nothing, since nothing was open".to_owned(),
            false => ends.join(", "),
        }
    }

    fn report(self, now: Timestamp, summary: String) -> Report {
        let mut view = Vec::new();
        if let Some(core) = &self.core {
            let nodes = std::slice::from_ref(&core.node);
            view.push(Part::Table(fleet::table(nodes, now)));
            view.push(Part::Fields(vec![("Reason", reason(core))]));
        }
        if let Some(pool) = &self.pool {
            let nodes = std::slice::from_ref(&pool.node);
            view.push(Part::Table(table(nodes, now)));
        }
        view.push(Part::Note(summary));
        let mut report = match (&self.core, &self.pool) {
            (Some(core), pool) => {
                let mut report = Report::item("RevokedFleetNode", json!(core), view);
                if let Some(pool) = pool {
                    report.add("pool", json!(pool));
                }
                report
            }
            (None, pool) => Report::item("RevokedNode", json!(pool), view),
        };
        answers::tell_missing(&mut report, self.failures);
        report
    }
}

fn reason(core: &RevokedFleetNode) -> Cell {
    core.revocation.reason.as_str().into()
}
