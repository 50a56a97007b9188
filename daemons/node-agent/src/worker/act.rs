//! What each command does.

mod wallet;

use super::{End, Worker, chain};
use crate::config_file::ConfigFileError;
use crate::database::DatabaseError;
use crate::supervisor::{Act, ActError, ServiceState};
use hh_trust::command::{Command, ServiceName};
use jiff::Timestamp;

impl Worker {
    pub(super) async fn act(&self, command: &Command) -> Result<End, DatabaseError> {
        Ok(match command {
            Command::Ping {} => End::ok("pong"),
            Command::ServiceStart { service } => self.service(service, Act::Start).await,
            Command::ServiceStop { service } => self.service(service, Act::Stop).await,
            Command::ServiceRestart { service } => self.service(service, Act::Restart).await,
            Command::ServiceStatus { service } => ended(self.status(service)),
            Command::LogsTail {
                service,
                lines,
                after,
            } => {
                let log = self.parts.supervisor.log(service, *lines, after.as_deref());
                ended(log.await)
            }
            Command::CertificateRenew {} => self.renew().await,
            Command::ConfigApply {
                service,
                generation,
                body,
                ..
            } => return self.apply_config(service, *generation, body).await,
            Command::Drain { on } => match self.parts.drain.set(*on).await {
                Ok(output) => End::ok(output),
                Err(error) => End::failed("drain", chain(&error)),
            },
            Command::WalletRead {}
            | Command::WalletInvoice { .. }
            | Command::WalletSpend { .. } => match &self.parts.wallet {
                // On the heap: a call to the wallet has much state.
                Some(wallet) => Box::pin(self.of_wallet(wallet, command)).await,
                None => no_wallet(),
            },
        })
    }

    async fn service(&self, service: &ServiceName, act: Act) -> End {
        let acted = self.parts.supervisor.act(service, act).await;
        ended(acted.and_then(|()| self.status(service)))
    }

    fn status(&self, service: &ServiceName) -> Result<String, ActError> {
        let view = self.parts.supervisor.view(service)?;
        let state = view.state.name();
        Ok(match view.pid {
            Some(pid) => format!("{service} is {state}, process {pid}"),
            None => format!("{service} is {state}"),
        })
    }

    /// Answers when there is another certificate.
    async fn renew(&self) -> End {
        let mut enrolled = self.parts.enrolled.clone();
        let chain_of = |enrolled: &Option<super::Enrolled>| enrolled.as_ref()?.chain();
        let before = chain_of(&enrolled.borrow_and_update());
        self.parts.renew.notify_one();
        let renewed = enrolled.wait_for(|now| chain_of(now) != before).await;
        let until = renewed.ok().and_then(|now| {
            let until = now.as_ref()?.certificate()?.validity.not_after;
            Timestamp::from_second(until).ok()
        });
        match until {
            Some(until) => End::ok(format!("renewed, until {until}")),
            None => End::failed("stopping", "the agent stops"),
        }
    }

    /// Puts a configuration in place if its service comes up with it, or else leaves what there was.
    async fn apply_config(
        &self,
        service: &ServiceName,
        generation: u64,
        body: &str,
    ) -> Result<End, DatabaseError> {
        let Some(file) = self.parts.config_files.get(service) else {
            let output = format!("hh-node-agent.toml names no file for {service}");
            return Ok(End::rejected("no-config-file", output));
        };
        let is_stopped = match self.parts.supervisor.view(service) {
            Ok(view) => view.state == ServiceState::Stopped,
            Err(error) => return Ok(ended(Err(error))),
        };
        if let Err(error) = file.replace(body).await {
            let code = match error {
                ConfigFileError::Refused(_) => "config-refused",
                ConfigFileError::Io { .. } | ConfigFileError::Silent => "failed",
            };
            return Ok(End::failed(code, chain(&error)));
        }
        let came_up = match is_stopped {
            true => Ok(()),
            false => self.parts.supervisor.act(service, Act::Restart).await,
        };
        let Err(error) = came_up else {
            self.parts
                .journal
                .configured(service.clone(), generation)
                .await?;
            let state = ended(self.status(service)).output;
            return Ok(End::ok(format!("{generation} is in place; {state}")));
        };
        if let Err(worse) = file.take_back() {
            let output = format!("{service} did not come up: {error}; {}", chain(&worse));
            return Ok(End::failed("rollback-failed", output));
        }
        Ok(
            match self.parts.supervisor.act(service, Act::Restart).await {
                Ok(()) => End::failed(
                    "rolled-back",
                    format!("{service} did not come up: {error}; it runs with what there was"),
                ),
                Err(worse) => End::failed(
                    "rollback-failed",
                    format!(
                        "{service} did not come up: {error}; what there was is in place, and with that: {worse}"
                    ),
                ),
            },
        )
    }
}

/// The answer to a command that this node can't carry out, whoever allows it.
pub(super) fn no_wallet() -> End {
    let output = "this node has no wallet: hh-node-agent.toml has no [wallet]";
    End::rejected("no-wallet", output)
}

fn ended(done: Result<String, ActError>) -> End {
    match done {
        Ok(output) => End::ok(output),
        Err(error) => {
            let code = match error {
                ActError::Unknown(_) => "unknown-service",
                ActError::Failed(_) => "failed",
                ActError::Stopped => "stopping",
            };
            End::failed(code, error.to_string())
        }
    }
}
