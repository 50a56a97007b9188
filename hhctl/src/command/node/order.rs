//! Commands that a node carries out.

use crate::change::Plan;
use crate::cli::{
    NodeCertificateCommand, NodeCommand, NodeConfigCommand, NodeWalletCommand, ServiceArgs,
};
use crate::command::operation;
use crate::failure::Failure;
use crate::output::{Part, Report, text};
use crate::session::Session;
use hh_ipc::api::core::{NodeAction, NodeOrder, OperationState, ServiceAction, ServiceOrder};
use jiff::Timestamp;
use operation::Order;
use serde_json::json;
use std::path::Path;

/// What is asked about before it is ordered.
struct Wish<'a> {
    order: Order,
    /// Such as `restart hh-translator`.
    act: String,
    node: &'a str,
}

/// What a command would be; it is asked about, since miners may lose their connections by it.
pub(in crate::command) async fn plan(
    session: &mut Session,
    command: &NodeCommand,
) -> Result<Plan, Failure> {
    let wish = wish(command, true, session.now())?;
    let operation = operation::order(session, wish.order).await?;
    let (node, act) = (wish.node, wish.act);
    let summary = format!("would have the node {node} {act}");
    Ok(Plan {
        report: Report::item("Operation", json!(operation), vec![Part::Note(summary)]),
        question: Some(format!("Have the node {node} {act}")),
        typed: None,
    })
}

pub(in crate::command) async fn apply(
    session: &mut Session,
    command: &NodeCommand,
) -> Result<Report, Failure> {
    let wish = wish(command, false, session.now())?;
    let ordered = operation::order(session, wish.order).await?;
    if command.order().is_some_and(|order| order.no_wait) {
        return Ok(operation::sent(&ordered, session.now()));
    }
    operation::wait(session, &ordered.id, operation::ORDER_LIMIT).await
}

/// Lines of a service's log, as they are.
pub(super) async fn logs(
    session: &mut Session,
    (node, service): (&str, &str),
    lines: u16,
    after: Option<String>,
) -> Result<Report, Failure> {
    let action = NodeAction::Logs {
        service: service.to_owned(),
        lines,
        after,
    };
    told(session, node, action).await
}

/// What a node's wallet has, as the node says it.
pub(super) async fn wallet(session: &mut Session, node: &str) -> Result<Report, Failure> {
    told(session, node, NodeAction::ReadWallet).await
}

/// What a node answers to something that changes nothing, as it is.
async fn told(session: &mut Session, node: &str, action: NodeAction) -> Result<Report, Failure> {
    let ordered = operation::order(session, of_node(node, action, false)).await?;
    let ended = operation::ended(session, &ordered.id, operation::ORDER_LIMIT).await?;
    if ended.state != OperationState::Done {
        return Ok(operation::item(&ended, session.now()));
    }
    let text = ended.detail.clone().unwrap_or_default();
    let note = Part::Note(text.trim_end().to_owned());
    Ok(Report::item("Operation", json!(ended), vec![note]))
}

fn wish(command: &NodeCommand, dry_run: bool, now: Timestamp) -> Result<Wish<'_>, Failure> {
    Ok(match command {
        NodeCommand::Start(args) => service(args, ServiceAction::Start, dry_run),
        NodeCommand::Stop(args) => service(args, ServiceAction::Stop, dry_run),
        NodeCommand::Restart(args) => service(args, ServiceAction::Restart, dry_run),
        NodeCommand::Drain { node, end, .. } => Wish {
            order: of_node(node, NodeAction::Drain { on: !end }, dry_run),
            act: match end {
                false => "let no new miner in".to_owned(),
                true => "let miners in again".to_owned(),
            },
            node,
        },
        NodeCommand::Config(NodeConfigCommand::Apply {
            node,
            service,
            file,
            generation,
            ..
        }) => {
            let now = u64::try_from(now.as_second()).unwrap_or_default();
            let generation = generation.unwrap_or(now);
            let action = NodeAction::ApplyConfig {
                service: service.clone(),
                generation,
                body: read(file)?,
            };
            Wish {
                order: of_node(node, action, dry_run),
                act: format!("give {service} the configuration {}", file.display()),
                node,
            }
        }
        NodeCommand::Certificate(NodeCertificateCommand::Renew { node, .. }) => Wish {
            order: of_node(node, NodeAction::RenewCertificate, dry_run),
            act: "renew its certificate".to_owned(),
            node,
        },
        NodeCommand::Wallet(command) => of_wallet(command, dry_run),
        _ => unreachable!("NodeCommand::order() names what is ordered"),
    })
}

fn of_wallet(command: &NodeWalletCommand, dry_run: bool) -> Wish<'_> {
    let (node, action, act) = match command {
        NodeWalletCommand::Show { node } => (
            node,
            NodeAction::ReadWallet,
            "say what its wallet has".to_owned(),
        ),
        NodeWalletCommand::Invoice {
            node,
            amount_msat,
            description,
            ..
        } => {
            let action = NodeAction::MakeInvoice {
                amount_msat: *amount_msat,
                description: description.clone(),
            };
            let act = format!("make an invoice of {}", text::sat(*amount_msat));
            (node, action, act)
        }
        NodeWalletCommand::Pay {
            node,
            invoice,
            amount,
            max_fee,
            ..
        } => {
            let action = NodeAction::Spend {
                invoice: invoice.clone(),
                amount_msat: *amount,
                fee_msat_max: *max_fee,
            };
            let act = format!(
                "ask its owner to pay {} and a fee of at most {} from its wallet",
                text::sat(*amount),
                text::sat(*max_fee)
            );
            (node, action, act)
        }
    };
    Wish {
        order: of_node(node, action, dry_run),
        act,
        node,
    }
}

fn service(args: &ServiceArgs, action: ServiceAction, dry_run: bool) -> Wish<'_> {
    let verb = match action {
        ServiceAction::Start => "start",
        ServiceAction::Stop => "stop",
        ServiceAction::Restart => "restart",
    };
    Wish {
        order: Order::Service(ServiceOrder {
            node: args.node.clone(),
            service: args.service.clone(),
            action,
            dry_run,
        }),
        act: format!("{verb} {}", args.service),
        node: &args.node,
    }
}

fn of_node(node: &str, action: NodeAction, dry_run: bool) -> Order {
    Order::Node(NodeOrder {
        node: node.to_owned(),
        action,
        dry_run,
    })
}

fn read(file: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(file).map_err(|error| {
        let what = format!("can't read the configuration {}", file.display());
        let fix = "name the whole new file of the service".to_owned();
        Failure::key(what, error.to_string(), fix)
    })
}
