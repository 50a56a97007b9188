//! The calls of `hh_ipc::api::core`. What is converted to the types of the wire goes no further than here.

mod api_token;
mod cancellation;
mod gate;
mod node;
mod operation;
mod pki;
mod record;
mod revocation;
mod token;
mod witness;

pub(crate) use api_token::answer as api_token_answer;

use crate::asker::Asker;
use crate::audit;
use crate::authority::Authority;
use crate::checkpoint::Checkpoints;
use crate::fleet::Fleet;
use crate::lease;
use crate::operations::Operations;
use crate::report;
use crate::store::{Store, StoreError};
use crate::{node as nodes, operation as operation_rows};
use hh_daemon::{Caller, Chain, Context, Failure};
use hh_ipc::api::Hello;
use hh_ipc::api::core::{
    ApiToken, ApiTokenPage, AuditCheckpoint, AuditPage, AuditQuery, AuditWitnessPage, Core,
    CoreRequest, CoreStatus, CreateApiToken, CreateToken, EnrolmentToken, FleetNodeDetail,
    FleetPage, IssuedApiToken, IssuedToken, KeptRecord, NodeOrder, Operation, OperationPage,
    OperationQuery, PkiStatus, RecordPage, RecordQuery, RevokeFleetNode, RevokeRecord,
    RevokedFleetNode, ServiceOrder, SignedRecord, TokenPage, WaitForOperation,
};
use hh_ipc::{ApiError, Context as Call, ErrorKind};
use hh_trust::command::{CommandId, Digest};
use std::net::SocketAddr;
use std::sync::Arc;

/// Longest list that is answered: a thousand nodes are a third of a frame.
const MAX_LISTED: u32 = 1_000;

/// What the answers are made from.
#[derive(Clone, Debug)]
pub(crate) struct Control {
    pub(crate) context: Context,
    pub(crate) authority: Arc<Authority>,
    pub(crate) store: Store,
    pub(crate) fleet: Fleet,
    pub(crate) operations: Operations,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) enrolment_address: SocketAddr,
    pub(crate) session_address: SocketAddr,
    /// Where nodes enrol, as it is written into tokens.
    pub(crate) enrolment_url: String,
}

#[derive(Clone)]
struct Answers {
    control: Arc<Control>,
    caller: Caller,
}

impl Control {
    /// Answers on both sockets until the daemon stops.
    ///
    /// # Errors
    /// The sockets can't be made.
    pub(crate) fn serve(self: Arc<Self>) -> Result<(), Failure> {
        let control = self;
        control
            .context
            .clone()
            .serve_control(move |caller, stream| {
                let control = Arc::clone(&control);
                let answers = Answers { control, caller }.serve();
                let refusal = move |request: &CoreRequest| gate::refusal(request, caller.read_only);
                Box::pin(hh_ipc::server::answer_unless(stream, answers, refusal))
            })
    }

    pub(crate) async fn status(&self) -> Result<CoreStatus, ApiError> {
        let instance = self.store.instance();
        let read: Result<_, StoreError> = self
            .store
            .read(move |transaction| {
                let nodes = nodes::count_let_in(transaction)?;
                let open = operation_rows::count_open(transaction)?;
                let elsewhere = lease::elsewhere(transaction, instance)?;
                Ok((nodes, elsewhere, open, audit::head(transaction)?))
            })
            .await;
        let (nodes, elsewhere, operations_open, head) =
            read.map_err(|error| store_error(&error))?;
        let here = self.fleet.total();
        let there = report::total(elsewhere.values().flat_map(|live| &live.lanes));
        let connected = self.fleet.count().saturating_add(elsewhere.len());
        Ok(CoreStatus {
            trust_domain: self.authority.domain.to_string(),
            enrolment_address: self.enrolment_address.to_string(),
            session_address: self.session_address.to_string(),
            nodes,
            nodes_connected: u32::try_from(connected).unwrap_or(u32::MAX),
            hashrate_10m_hs: here.0 + there.0,
            miners: here.1.saturating_add(there.1),
            operations_open,
            audit_head: format!("{}:{}", head.size, head.root),
        })
    }

    pub(crate) async fn audit(&self, query: AuditQuery) -> Result<AuditPage, ApiError> {
        let read: Result<_, StoreError> = self
            .store
            .read(move |transaction| audit::page(transaction, query.after_seq, query.limit))
            .await;
        let (lines, last_seq) = read.map_err(|error| store_error(&error))?;
        Ok(AuditPage { lines, last_seq })
    }
}

impl Answers {
    fn asker(&self) -> Asker {
        Asker::local(&self.caller)
    }
}

impl Core for Answers {
    async fn hello(self, _: Call) -> Hello {
        self.control.context.hello(self.caller.read_only)
    }

    async fn status(self, _: Call) -> Result<CoreStatus, ApiError> {
        self.control.status().await
    }

    async fn nodes(self, _: Call) -> Result<FleetPage, ApiError> {
        self.control.nodes().await
    }

    async fn node(self, _: Call, id: String) -> Result<FleetNodeDetail, ApiError> {
        self.control.node(&id).await
    }

    async fn revoke_node(
        self,
        _: Call,
        request: RevokeFleetNode,
    ) -> Result<RevokedFleetNode, ApiError> {
        self.control.revoke_node(&self.asker(), request).await
    }

    async fn order_service(self, _: Call, order: ServiceOrder) -> Result<Operation, ApiError> {
        self.control.order_service(&self.asker(), order).await
    }

    async fn order_node(self, _: Call, order: NodeOrder) -> Result<Operation, ApiError> {
        self.control.order_node(&self.asker(), order).await
    }

    async fn operations(self, _: Call, query: OperationQuery) -> Result<OperationPage, ApiError> {
        self.control.operations(query).await
    }

    async fn operation(self, _: Call, id: String) -> Result<Operation, ApiError> {
        self.control.operation(id).await
    }

    async fn wait_for_operation(
        self,
        _: Call,
        wait: WaitForOperation,
    ) -> Result<Operation, ApiError> {
        self.control.wait_for_operation(wait).await
    }

    async fn cancel_operation(self, _: Call, id: String) -> Result<Operation, ApiError> {
        self.control.cancel_operation(&self.asker(), id).await
    }

    async fn create_token(self, _: Call, request: CreateToken) -> Result<IssuedToken, ApiError> {
        self.control.create_token(&self.asker(), request).await
    }

    async fn tokens(self, _: Call) -> Result<TokenPage, ApiError> {
        self.control.tokens().await
    }

    async fn revoke_token(self, _: Call, id: String) -> Result<EnrolmentToken, ApiError> {
        self.control.revoke_token(&self.asker(), &id).await
    }

    async fn create_api_token(
        self,
        _: Call,
        request: CreateApiToken,
    ) -> Result<IssuedApiToken, ApiError> {
        self.control.create_api_token(&self.asker(), request).await
    }

    async fn api_tokens(self, _: Call) -> Result<ApiTokenPage, ApiError> {
        self.control.api_tokens().await
    }

    async fn revoke_api_token(self, _: Call, id: String) -> Result<ApiToken, ApiError> {
        self.control.revoke_api_token(&self.asker(), id).await
    }

    async fn records(self, _: Call, query: RecordQuery) -> Result<RecordPage, ApiError> {
        self.control.records(query).await
    }

    async fn create_record(self, _: Call, record: SignedRecord) -> Result<KeptRecord, ApiError> {
        self.control.create_record(&self.asker(), record).await
    }

    async fn revoke_record(self, _: Call, request: RevokeRecord) -> Result<KeptRecord, ApiError> {
        self.control.revoke_record(&self.asker(), request).await
    }

    async fn pki(self, _: Call) -> Result<PkiStatus, ApiError> {
        Ok(self.control.pki())
    }

    async fn audit(self, _: Call, query: AuditQuery) -> Result<AuditPage, ApiError> {
        self.control.audit(query).await
    }

    async fn audit_checkpoint(self, _: Call) -> Result<AuditCheckpoint, ApiError> {
        self.control.audit_checkpoint().await
    }

    async fn audit_witnesses(self, _: Call) -> Result<AuditWitnessPage, ApiError> {
        self.control.audit_witnesses().await
    }
}

/// SHA-256 of what was asked for.
fn digest(request: &impl serde::Serialize) -> Digest {
    let json = serde_json::to_vec(request).expect("texts and numbers have a JSON");
    Digest::of(&json)
}

/// A name for what is asked for.
fn operation_id() -> Result<CommandId, ApiError> {
    let id = CommandId::generate();
    id.map_err(|error| ApiError::new(ErrorKind::Failed, "HH5011", error.to_string()))
}

fn store_error(error: &StoreError) -> ApiError {
    tracing::error!(
        error = error as &dyn std::error::Error,
        "database not read or written"
    );
    let message = Chain(error).to_string();
    ApiError::new(ErrorKind::Unavailable, "HH5010", message)
}

/// A time for the wire; one that no calendar has shows as 1970.
fn timestamp(unix_ms: i64) -> jiff::Timestamp {
    jiff::Timestamp::from_millisecond(unix_ms).unwrap_or_default()
}

/// What an operator wrote makes no sense.
fn usage(message: impl Into<String>) -> ApiError {
    ApiError::new(ErrorKind::Usage, "HH5020", message)
}
