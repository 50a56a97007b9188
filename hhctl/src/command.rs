//! The commands: each asks the daemons, and makes a report of what they said.

mod account;
mod agent;
mod answers;
mod api_token;
mod audit;
mod ban;
mod block;
mod coinbase;
mod consent;
pub(crate) mod dial_stdio;
mod doctor;
mod downstream;
mod event;
mod health;
mod identity;
mod job;
mod lane;
mod lightning;
mod link;
mod miner;
mod node;
mod operation;
mod operator;
mod payout;
mod pki;
mod pool;
mod record;
mod retire;
mod round;
mod share;
mod signature;
mod status;
mod template;
mod token;
mod tp;
mod translator;
mod treasury;
mod upstream;
mod vardiff;
mod version;
mod worker;

use crate::change::{Consent, Plan};
use crate::cli::{
    ApiTokenCommand, AuditCommand, BanCommand, CoinbaseCommand, Command, Confirmation,
    ConsentCommand, DownstreamCommand, EventCommand, IdentityCommand, JobCommand, LaneCommand,
    MinerCommand, NodeCommand, OperationCommand, PkiCommand, PoolCommand, RoundCommand,
    ShareCommand, TemplateCommand, TokenCommand, TpCommand, TranslatorCommand, UpstreamCommand,
    VardiffCommand, WorkerCommand,
};
use crate::failure::Failure;
use crate::invoice::Invoice;
use crate::output::{Part, Report};
use crate::session::Session;
use jiff::Timestamp;

/// Runs a command that makes a report.
pub(crate) async fn report(command: &Command, session: &mut Session) -> Result<Report, Failure> {
    match command {
        Command::Status => Ok(status::report(session).await),
        Command::Pool(command) => of_pool(session, command).await,
        Command::Miner(MinerCommand::List { account, limit }) => {
            miner::list(session, account.clone(), *limit).await
        }
        Command::Miner(MinerCommand::Show { id }) => miner::show(session, *id).await,
        Command::Ban(BanCommand::List { daemon }) => ban::list(session, *daemon).await,
        Command::Node(NodeCommand::Record(_)) => node::record::list(session).await,
        Command::Operator(_) => operator::list(session).await,
        Command::Node(command) => node::report(session, command).await,
        Command::Consent(command) => consent::report(session, command).await,
        Command::Agent(command) => agent::report(session, command).await,
        Command::Token(command) => token::report(session, command).await,
        Command::ApiToken(command) => api_token::report(session, command).await,
        Command::Operation(command) => operation::report(session, command).await,
        Command::Pki(_) => pki::status(session).await,
        Command::Audit(command) => audit::report(session, command).await,
        Command::Worker(WorkerCommand::List { account, limit }) => {
            worker::list(session, account.clone(), *limit).await
        }
        Command::Share(ShareCommand::Stats) => share::stats(session).await,
        Command::Block(command) => block::report(session, command).await,
        Command::Treasury(command) => treasury::report(session, command).await,
        Command::Payout(command) => payout::report(session, command).await,
        Command::Ln(command) => lightning::report(session, command).await,
        Command::Account(command) => account::report(session, command).await,
        Command::Round(RoundCommand::List { limit }) => round::list(session, *limit).await,
        Command::Round(RoundCommand::Show { round }) => round::show(session, round.clone()).await,
        Command::Event(EventCommand::List { limit, daemon }) => {
            event::list(session, *limit, *daemon).await
        }
        Command::Event(EventCommand::Verify(args)) => event::verify(session, args).await,
        Command::Tp(TpCommand::Status) => tp::status(session).await,
        Command::Template(TemplateCommand::List { limit }) => template::list(session, *limit).await,
        Command::Template(TemplateCommand::Show { id }) => template::show(session, *id).await,
        Command::Translator(command) => of_translator(session, command).await,
        Command::Lane(LaneCommand::List) => lane::list(session).await,
        Command::Lane(LaneCommand::Show { name }) => lane::show(session, name).await,
        Command::Version { .. } => Ok(version::of_all(session).await),
        Command::Doctor => Ok(doctor::report(session).await),
        Command::Help { .. } | Command::Identity(_) | Command::System(_) => {
            unreachable!("run() runs what asks no daemon")
        }
        Command::Share(ShareCommand::Tail(_)) => unreachable!("run() runs what goes on"),
        Command::Miner(
            MinerCommand::Kick { .. } | MinerCommand::Ban { .. } | MinerCommand::Unban { .. },
        )
        | Command::Lane(LaneCommand::Pause { .. } | LaneCommand::Resume { .. }) => {
            unreachable!("{PLANNED}")
        }
    }
}

const PLANNED: &str = "run() has what changes something planned";

async fn of_pool(session: &mut Session, command: &PoolCommand) -> Result<Report, Failure> {
    match command {
        PoolCommand::Status => pool::status(session).await,
        PoolCommand::Job(JobCommand::Current) => job::current(session).await,
        PoolCommand::Coinbase(CoinbaseCommand::Show) => coinbase::show(session).await,
        PoolCommand::Vardiff(VardiffCommand::Show) => vardiff::show(session).await,
        PoolCommand::Vardiff(VardiffCommand::Set { .. }) | PoolCommand::Retire { .. } => {
            unreachable!("{PLANNED}")
        }
    }
}

async fn of_translator(
    session: &mut Session,
    command: &TranslatorCommand,
) -> Result<Report, Failure> {
    match command {
        TranslatorCommand::Status => translator::status(session).await,
        TranslatorCommand::Downstream(DownstreamCommand::List { user, lane, limit }) => {
            downstream::list(session, user.clone(), lane.clone(), *limit).await
        }
        TranslatorCommand::Downstream(DownstreamCommand::Show { id }) => {
            downstream::show(session, *id).await
        }
        TranslatorCommand::Upstream(UpstreamCommand::List) => upstream::list(session).await,
        TranslatorCommand::Upstream(UpstreamCommand::Test { choice }) => {
            upstream::test(session, choice.address.clone()).await
        }
        TranslatorCommand::Downstream(DownstreamCommand::Kick { .. })
        | TranslatorCommand::Upstream(UpstreamCommand::Switch { .. }) => unreachable!("{PLANNED}"),
    }
}

/// How a command that changes something is confirmed by its flags.
pub(crate) fn consent(command: &Command) -> Consent {
    if let Command::Node(command) = command
        && let Some(order) = command.order()
    {
        return order.confirmation.into();
    }
    match command {
        Command::Node(NodeCommand::Record(command)) => {
            command.confirmation().unwrap_or_default().into()
        }
        Command::Operator(command) => command.confirmation().unwrap_or_default().into(),
        Command::Treasury(command) => treasury::consent(command),
        Command::Payout(command) => payout::consent(command),
        Command::Ln(command) => lightning::consent(command),
        Command::Account(command) => account::consent(command),
        Command::Token(TokenCommand::Create(_)) => Consent::not_needed(),
        Command::Miner(
            MinerCommand::Kick { confirmation, .. }
            | MinerCommand::Ban { confirmation, .. }
            | MinerCommand::Unban { confirmation, .. },
        )
        | Command::Node(NodeCommand::Revoke { confirmation, .. })
        | Command::Consent(
            ConsentCommand::Approve { confirmation, .. }
            | ConsentCommand::Refuse { confirmation, .. },
        )
        | Command::Operation(OperationCommand::Cancel { confirmation, .. })
        | Command::Token(TokenCommand::Revoke { confirmation, .. })
        | Command::ApiToken(ApiTokenCommand::Revoke { confirmation, .. })
        | Command::Pool(
            PoolCommand::Vardiff(VardiffCommand::Set { confirmation, .. })
            | PoolCommand::Retire { confirmation, .. },
        )
        | Command::Translator(
            TranslatorCommand::Downstream(DownstreamCommand::Kick { confirmation, .. })
            | TranslatorCommand::Upstream(UpstreamCommand::Switch { confirmation, .. }),
        )
        | Command::Lane(
            LaneCommand::Pause { confirmation, .. } | LaneCommand::Resume { confirmation, .. },
        ) => (*confirmation).into(),
        _ => Confirmation::default().into(),
    }
}

/// What a command that changes something would do.
pub(crate) async fn plan(command: &Command, session: &mut Session) -> Result<Plan, Failure> {
    match command {
        Command::Miner(MinerCommand::Kick { miners, .. }) => {
            miner::plan_kick(session, miners).await
        }
        Command::Miner(MinerCommand::Ban {
            target,
            length,
            reason,
            daemon,
            ..
        }) => {
            let wish = ban::Wish::new(target, *length, reason.as_deref(), *daemon);
            ban::plan(session, &wish).await
        }
        Command::Miner(MinerCommand::Unban { target, daemon, .. }) => {
            ban::plan_lift(session, &ban::Wish::new(target, None, None, *daemon)).await
        }
        Command::Node(NodeCommand::Revoke { node, reason, .. }) => {
            node::plan(session, node, reason.as_deref()).await
        }
        Command::Node(NodeCommand::Record(command)) => node::record::plan(session, command).await,
        Command::Operator(command) => operator::plan(session, command).await,
        Command::Node(command) => node::order::plan(session, command).await,
        Command::Consent(command) => consent::plan(session, command).await,
        Command::Operation(OperationCommand::Cancel { id, .. }) => {
            operation::plan(session, id).await
        }
        Command::Token(TokenCommand::Revoke { id, .. }) => token::plan(session, id).await,
        Command::ApiToken(ApiTokenCommand::Revoke { id, .. }) => api_token::plan(session, id).await,
        Command::Pool(PoolCommand::Vardiff(VardiffCommand::Set {
            account, settings, ..
        })) => vardiff::plan(session, account.as_deref(), settings).await,
        Command::Pool(PoolCommand::Retire {
            server_id, lost, ..
        }) => retire::plan(session, *server_id, *lost).await,
        Command::Translator(TranslatorCommand::Downstream(DownstreamCommand::Kick {
            miners,
            ..
        })) => downstream::plan_kick(session, miners).await,
        Command::Translator(TranslatorCommand::Upstream(UpstreamCommand::Switch {
            address,
            ..
        })) => upstream::plan(session, address).await,
        Command::Lane(LaneCommand::Pause { name, .. }) => lane::plan(session, name, true).await,
        Command::Lane(LaneCommand::Resume { name, .. }) => lane::plan(session, name, false).await,
        Command::Treasury(command) => treasury::plan(session, command).await,
        Command::Payout(command) => payout::plan(session, command).await,
        Command::Ln(command) => lightning::plan(session, command).await,
        Command::Account(command) => account::plan(session, command).await,
        _ => unreachable!("{NOTHING_CHANGES}"),
    }
}

/// What is said before a command is sent, for who has to send it again.
pub(crate) fn note(command: &Command) -> Option<String> {
    match command {
        Command::Payout(command) => payout::note(command),
        Command::Treasury(command) => treasury::note(command),
        Command::Ln(command) => lightning::note(command),
        _ => None,
    }
}

/// Does it.
pub(crate) async fn apply(command: &Command, session: &mut Session) -> Result<Report, Failure> {
    match command {
        Command::Miner(MinerCommand::Kick { miners, .. }) => miner::kick(session, miners).await,
        Command::Miner(MinerCommand::Ban {
            target,
            length,
            reason,
            daemon,
            ..
        }) => {
            let wish = ban::Wish::new(target, *length, reason.as_deref(), *daemon);
            ban::ban(session, &wish).await
        }
        Command::Miner(MinerCommand::Unban { target, daemon, .. }) => {
            ban::lift(session, &ban::Wish::new(target, None, None, *daemon)).await
        }
        Command::Node(NodeCommand::Revoke { node, reason, .. }) => {
            node::revoke(session, node, reason.as_deref()).await
        }
        Command::Node(NodeCommand::Record(command)) => node::record::apply(session, command).await,
        Command::Operator(command) => operator::apply(session, command).await,
        Command::Node(command) => node::order::apply(session, command).await,
        Command::Consent(command) => consent::apply(session, command).await,
        Command::Operation(OperationCommand::Cancel { id, .. }) => {
            operation::cancel(session, id).await
        }
        Command::Token(TokenCommand::Create(args)) => token::create(session, args).await,
        Command::Token(TokenCommand::Revoke { id, .. }) => token::revoke(session, id).await,
        Command::ApiToken(ApiTokenCommand::Revoke { id, .. }) => {
            api_token::revoke(session, id).await
        }
        Command::Pool(PoolCommand::Vardiff(VardiffCommand::Set {
            account, settings, ..
        })) => vardiff::set(session, account.as_deref(), settings).await,
        Command::Pool(PoolCommand::Retire {
            server_id, lost, ..
        }) => retire::retire(session, *server_id, *lost).await,
        Command::Translator(TranslatorCommand::Downstream(DownstreamCommand::Kick {
            miners,
            ..
        })) => downstream::kick(session, miners).await,
        Command::Translator(TranslatorCommand::Upstream(UpstreamCommand::Switch {
            address,
            ..
        })) => upstream::switch(session, address).await,
        Command::Lane(LaneCommand::Pause { name, .. }) => lane::set(session, name, true).await,
        Command::Lane(LaneCommand::Resume { name, .. }) => lane::set(session, name, false).await,
        Command::Treasury(command) => treasury::apply(session, command).await,
        Command::Payout(command) => payout::apply(session, command).await,
        Command::Ln(command) => lightning::apply(session, command).await,
        Command::Account(command) => account::apply(session, command).await,
        _ => unreachable!("{NOTHING_CHANGES}"),
    }
}

/// Said before an act that one operator's word is not enough for.
const TWO_OPERATORS: &str = "it is done when two operators have asked for the same";

const NOTHING_CHANGES: &str = "Command::changes_something() names what is planned";

/// Runs a command on key files.
pub(crate) fn identity(command: &IdentityCommand) -> Result<Report, Failure> {
    match command {
        IdentityCommand::Generate { file } => identity::generate(file),
        IdentityCommand::Show { file } => identity::show(file),
    }
}

/// Runs a command on a node's key and credential.
pub(crate) fn node_files(command: &NodeCommand, now: Timestamp) -> Result<Report, Failure> {
    node::on_files(command, now)
}

/// Runs a command on the files of a network's keys.
pub(crate) fn pki_files(command: &PkiCommand, now: Timestamp) -> Result<Report, Failure> {
    pki::on_files(command, now)
}

/// Runs a command on a file of the audit log.
pub(crate) fn audit_files(command: &AuditCommand) -> Result<Report, Failure> {
    audit::on_files(command)
}

/// What an invoice says.
pub(crate) fn decoded(invoice: &Invoice, now: Timestamp) -> Report {
    let view = vec![Part::Fields(invoice.fields(now))];
    Report::item("DecodedInvoice", invoice.json(now), view)
}

/// The report of `version` without `--all`.
pub(crate) fn own_version() -> Report {
    version::own()
}
