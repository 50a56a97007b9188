//! Connections to the daemons of one context, here or over SSH.

use crate::Surroundings;
use crate::cli::GlobalArgs;
use crate::failure::{Access, Failure, Place};
use crate::ssh;
use hh_ipc::api::Hello;
use hh_ipc::api::core::CoreClient;
use hh_ipc::api::node_agent::NodeAgentClient;
use hh_ipc::api::pool::PoolClient;
use hh_ipc::api::template_provider::TemplateProviderClient;
use hh_ipc::api::translator::TranslatorClient;
use hh_ipc::api::treasury::TreasuryClient;
use hh_ipc::client::{self, RpcError};
use hh_ipc::locate::{Context, Daemon};
use hh_ipc::ssh::Ssh;
use hh_ipc::stdio::OpenError;
use hh_ipc::{ApiError, Context as CallContext};
use jiff::Timestamp;
use std::time::Duration;

/// Dials, and remembers the SSH session while it works.
#[derive(Debug)]
pub(crate) struct Session {
    place: Place,
    timeout: Duration,
    now: fn() -> Timestamp,
    ssh_program: String,
    ssh_arguments: Vec<String>,
    ssh: Option<Ssh>,
    /// A text that was shown to be signed.
    shown: Option<String>,
}

/// A daemon that has said who it is.
#[derive(Debug)]
pub(crate) struct Connected<C> {
    pub(crate) client: C,
    pub(crate) hello: Hello,
    daemon: Daemon,
    place: Place,
    timeout: Duration,
}

impl Session {
    /// Finds the context; dials nothing.
    pub(crate) fn new(global: &GlobalArgs, surroundings: &Surroundings) -> Result<Self, Failure> {
        let mut ssh_arguments = Vec::new();
        if global.read_only {
            ssh_arguments.push("--read-only".to_owned());
        }
        let context = if global.host.is_some() {
            // The context is one of the other machine: found there.
            if let Some(name) = &global.context {
                ssh_arguments.extend(["--context".to_owned(), name.clone()]);
            }
            Context {
                name: global.context.clone().unwrap_or_default(),
                runtime_dir: hh_ipc::locate::LOCAL_RUNTIME_DIR.into(),
            }
        } else {
            let named = global.context.as_deref();
            Context::find(named, &surroundings.working_dir)
                .map_err(|error| Failure::locate(&error))?
        };
        Ok(Self {
            place: Place {
                context,
                host: global.host.clone(),
            },
            timeout: global.timeout,
            now: surroundings.now,
            ssh_program: surroundings
                .variable("HHCTL_SSH")
                .unwrap_or("ssh")
                .to_owned(),
            ssh_arguments,
            ssh: None,
            shown: None,
        })
    }

    pub(crate) fn now(&self) -> Timestamp {
        (self.now)()
    }

    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// Remembers a text that is shown before it is signed: no daemon can have another one signed in its place.
    pub(crate) fn show(&mut self, text: String) {
        self.shown = Some(text);
    }

    /// What was shown.
    pub(crate) fn shown(&mut self) -> Option<String> {
        self.shown.take()
    }

    /// Ends the SSH session, so that the next call starts another.
    pub(crate) fn forget(&mut self) {
        self.ssh = None;
    }

    pub(crate) async fn pool(&mut self) -> Result<Connected<PoolClient>, Failure> {
        self.pool_for(Access::Look).await
    }

    /// The pool's control socket, for what changes something.
    pub(crate) async fn pool_control(&mut self) -> Result<Connected<PoolClient>, Failure> {
        let pool = self.pool_for(Access::Change).await?;
        if pool.hello.read_only {
            return Err(Failure::read_only(Daemon::Pool, &self.place));
        }
        Ok(pool)
    }

    async fn pool_for(&mut self, access: Access) -> Result<Connected<PoolClient>, Failure> {
        let client = client::pool(self.dial(Daemon::Pool, access).await?);
        let hello = client.hello(client::within(self.timeout)).await;
        self.connected(Daemon::Pool, client, hello)
    }

    pub(crate) async fn tp(&mut self) -> Result<Connected<TemplateProviderClient>, Failure> {
        let client = client::template_provider(self.dial(Daemon::Tp, Access::Look).await?);
        let hello = client.hello(client::within(self.timeout)).await;
        self.connected(Daemon::Tp, client, hello)
    }

    pub(crate) async fn translator(&mut self) -> Result<Connected<TranslatorClient>, Failure> {
        self.translator_for(Access::Look).await
    }

    /// The translator's control socket, for what changes something.
    pub(crate) async fn translator_control(
        &mut self,
    ) -> Result<Connected<TranslatorClient>, Failure> {
        let translator = self.translator_for(Access::Change).await?;
        if translator.hello.read_only {
            return Err(Failure::read_only(Daemon::Translator, &self.place));
        }
        Ok(translator)
    }

    async fn translator_for(
        &mut self,
        access: Access,
    ) -> Result<Connected<TranslatorClient>, Failure> {
        let client = client::translator(self.dial(Daemon::Translator, access).await?);
        let hello = client.hello(client::within(self.timeout)).await;
        self.connected(Daemon::Translator, client, hello)
    }

    pub(crate) async fn treasury(&mut self) -> Result<Connected<TreasuryClient>, Failure> {
        self.treasury_for(Access::Look).await
    }

    /// The treasury's control socket, for what changes something.
    pub(crate) async fn treasury_control(&mut self) -> Result<Connected<TreasuryClient>, Failure> {
        let treasury = self.treasury_for(Access::Change).await?;
        if treasury.hello.read_only {
            return Err(Failure::read_only(Daemon::Treasury, &self.place));
        }
        Ok(treasury)
    }

    async fn treasury_for(&mut self, access: Access) -> Result<Connected<TreasuryClient>, Failure> {
        let client = client::treasury(self.dial(Daemon::Treasury, access).await?);
        let hello = client.hello(client::within(self.timeout)).await;
        self.connected(Daemon::Treasury, client, hello)
    }

    pub(crate) async fn core(&mut self) -> Result<Connected<CoreClient>, Failure> {
        self.core_for(Access::Look).await
    }

    /// Core's control socket, for what changes something.
    pub(crate) async fn core_control(&mut self) -> Result<Connected<CoreClient>, Failure> {
        let core = self.core_for(Access::Change).await?;
        if core.hello.read_only {
            return Err(Failure::read_only(Daemon::Core, &self.place));
        }
        Ok(core)
    }

    async fn core_for(&mut self, access: Access) -> Result<Connected<CoreClient>, Failure> {
        let client = client::core(self.dial(Daemon::Core, access).await?);
        let hello = client.hello(client::within(self.timeout)).await;
        self.connected(Daemon::Core, client, hello)
    }

    pub(crate) async fn node_agent(&mut self) -> Result<Connected<NodeAgentClient>, Failure> {
        self.node_agent_for(Access::Look).await
    }

    /// The agent's control socket, for what changes something.
    pub(crate) async fn node_agent_control(
        &mut self,
    ) -> Result<Connected<NodeAgentClient>, Failure> {
        let agent = self.node_agent_for(Access::Change).await?;
        if agent.hello.read_only {
            return Err(Failure::read_only(Daemon::NodeAgent, &self.place));
        }
        Ok(agent)
    }

    async fn node_agent_for(
        &mut self,
        access: Access,
    ) -> Result<Connected<NodeAgentClient>, Failure> {
        let client = client::node_agent(self.dial(Daemon::NodeAgent, access).await?);
        let hello = client.hello(client::within(self.timeout)).await;
        self.connected(Daemon::NodeAgent, client, hello)
    }

    fn connected<C>(
        &self,
        daemon: Daemon,
        client: C,
        hello: Result<Hello, RpcError>,
    ) -> Result<Connected<C>, Failure> {
        let place = &self.place;
        let hello = hello.map_err(|error| Failure::call(daemon, place, self.timeout, &error))?;
        if hello.daemon != daemon.program() {
            return Err(Failure::other_daemon(daemon, place, &hello.daemon));
        }
        if hello.protocol != hh_ipc::PROTOCOL {
            return Err(Failure::protocol(
                daemon,
                place,
                hello.protocol,
                &hello.version,
            ));
        }
        Ok(Connected {
            client,
            hello,
            daemon,
            place: place.clone(),
            timeout: self.timeout,
        })
    }

    async fn dial(
        &mut self,
        daemon: Daemon,
        access: Access,
    ) -> Result<Box<dyn client::Stream>, Failure> {
        let timeout = self.timeout;
        let dialled = if self.place.host.is_some() {
            tokio::time::timeout(timeout, self.dial_ssh(daemon, access)).await
        } else {
            tokio::time::timeout(timeout, self.dial_here(daemon, access)).await
        };
        dialled.unwrap_or_else(|_elapsed| Err(Failure::timed_out(daemon, &self.place, timeout)))
    }

    async fn dial_here(
        &self,
        daemon: Daemon,
        access: Access,
    ) -> Result<Box<dyn client::Stream>, Failure> {
        let context = &self.place.context;
        let dialled = match access {
            Access::Look => client::dial_any(&context.view_sockets(daemon)).await,
            Access::Change => client::dial_any(&[context.control_socket(daemon)]).await,
        };
        match dialled {
            Ok(stream) => Ok(Box::new(stream)),
            Err(error) => {
                let reason = format!("{}: {}", error.path.display(), error.source);
                Err(Failure::dial(
                    daemon,
                    &self.place,
                    access,
                    error.source.kind(),
                    reason,
                ))
            }
        }
    }

    async fn dial_ssh(
        &mut self,
        daemon: Daemon,
        access: Access,
    ) -> Result<Box<dyn client::Stream>, Failure> {
        let host = self.place.host.clone().unwrap_or_default();
        let session = match self.ssh.take() {
            Some(session) => session,
            None => Ssh::start(&self.ssh_program, &host, &self.ssh_arguments, self.timeout)
                .await
                .map_err(|error| ssh::failure(&host, &error))?,
        };
        match session.open(daemon).await {
            Ok(stream) => {
                self.ssh = Some(session);
                Ok(Box::new(stream))
            }
            Err(OpenError::Refused { kind, reason }) => {
                self.ssh = Some(session);
                Err(Failure::dial(daemon, &self.place, access, kind, reason))
            }
            Err(OpenError::Ended) => Err(ssh::failure(&host, &session.why_it_ended().await)),
        }
    }
}

impl<C> Connected<C> {
    /// The context of a call that waits for so long before it is answered.
    pub(crate) fn call_that_waits(&self, wait: Duration) -> CallContext {
        client::within(self.timeout + wait)
    }

    /// The context of a call.
    pub(crate) fn call(&self) -> CallContext {
        client::within(self.timeout)
    }

    /// The answer of a call, or why there is none.
    pub(crate) fn answer<T>(&self, answer: Result<T, RpcError>) -> Result<T, Failure> {
        answer.map_err(|error| Failure::call(self.daemon, &self.place, self.timeout, &error))
    }

    /// The answer of a call that the daemon may refuse.
    pub(crate) fn granted<T>(
        &self,
        answer: Result<Result<T, ApiError>, RpcError>,
    ) -> Result<T, Failure> {
        self.answer(answer)?
            .map_err(|error| Failure::api(self.daemon, &self.place, &error))
    }
}
