//! hyperhash-core with two nodes: one is there, one is away.

use super::{Fake, now, seconds_ago};
use hh_ipc::api::Hello;
use hh_ipc::api::core::{
    ApiToken, ApiTokenPage, ApiTokenState, AuditCheckpoint, AuditPage, AuditQuery, AuditWitness,
    AuditWitnessPage, Core, CoreStatus, CreateApiToken, CreateToken, EnrolmentToken, FleetNode,
    FleetNodeDetail, FleetPage, FleetRevocation, IssuedApiToken, IssuedToken, IssuerStatus,
    NodeHealth, NodeInventory, NodeLane, NodeOrder, NodeProgram, NodeService, NodeState, Operation,
    OperationPage, OperationQuery, OperationState, PkiStatus, RevokeFleetNode, RevokedFleetNode,
    Role, ServiceOrder, SigningKeyStatus, TokenPage, TokenState, WaitForOperation,
};
use hh_ipc::{ApiError, Context, ErrorKind};
use hh_trust::audit::{Actor, AuditChain, AuditEvent, AuditOutcome, Checkpoint, Detail};
use hh_trust::command::{CommandId, Digest};
use hh_trust::control_key::CheckpointKey;
use jiff::SignedDuration;

/// The operation of which it is known what came.
pub(crate) const DONE: &str = "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a";

/// The one that the node has refused.
pub(crate) const REFUSED: &str = "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b";

const TOKEN: &str = "0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c0c";

fn node(id: &str, state: NodeState) -> FleetNode {
    let is_here = state == NodeState::Connected;
    FleetNode {
        id: id.to_owned(),
        state,
        public: is_here,
        enrolled_at: seconds_ago(90_000),
        last_seen_at: Some(seconds_ago(if is_here { 2 } else { 7_300 })),
        agent_version: "0.1.0".to_owned(),
        public_key: "hhnode1qqqqq".to_owned(),
        certificate_until_at: now() + SignedDuration::from_hours(17),
        services: 2,
        services_running: if is_here { 2 } else { 1 },
        hashrate_10m_hs: is_here.then_some(1.25e15),
        miners: is_here.then_some(1_204),
    }
}

fn service(name: &str, state: &str) -> NodeService {
    let is_running = state == "running";
    NodeService {
        name: name.to_owned(),
        state: state.to_owned(),
        since_at: seconds_ago(3_700),
        restarts: u64::from(!is_running),
        pid: is_running.then_some(4_711),
        last_error: (!is_running).then(|| "it ended by itself (exit status: 1)".to_owned()),
        memory_bytes: if is_running { 48_000_000 } else { 0 },
    }
}

pub(super) fn services() -> Vec<NodeService> {
    vec![
        service("hh-translator", "running"),
        service("hh-tp", "waiting"),
    ]
}

fn detail() -> FleetNodeDetail {
    FleetNodeDetail {
        node: node("berlin", NodeState::Connected),
        peer: Some("192.0.2.7:40112".to_owned()),
        connected_at: Some(seconds_ago(3_600)),
        clock_ahead_ms: Some(-12),
        epoch: 1_763_000_000,
        last_seq: 41,
        services: services(),
        health: Some(NodeHealth {
            at: seconds_ago(4),
            uptime_seconds: 86_400,
            load_1m_milli: 420,
            memory_total_bytes: 8_000_000_000,
            memory_available_bytes: 5_000_000_000,
            disk_total_bytes: 100_000_000_000,
            disk_available_bytes: 61_000_000_000,
            dropped_total: 3,
        }),
        lanes: vec![lane("asics", 1.2e15, 1_004), lane("gpus", 5e13, 200)],
        inventory: Some(NodeInventory {
            told_at: seconds_ago(3_600),
            os: "Debian GNU/Linux 12 (bookworm)".to_owned(),
            kernel: "6.1.0-18-amd64".to_owned(),
            architecture: "x86_64".to_owned(),
            cpus: 8,
            programs: vec![
                program("bitcoin-core", "31.0"),
                program("hh-tp", "0.1.0"),
                program("hh-translator", "0.1.0"),
            ],
        }),
        revocation: None,
    }
}

fn lane(name: &str, hashrate_10m_hs: f64, miners: u32) -> NodeLane {
    NodeLane {
        name: name.to_owned(),
        hashrate_10m_hs,
        miners,
        shares_accepted: 81_204,
        shares_rejected: 12,
    }
}

fn program(name: &str, version: &str) -> NodeProgram {
    NodeProgram {
        name: name.to_owned(),
        version: version.to_owned(),
    }
}

fn operation(id: &str, state: OperationState) -> Operation {
    let refused = state == OperationState::Rejected;
    let detail = if refused {
        "its command is not allowed here: the node's policy does not let the core restart hh-tp"
    } else {
        "hh-translator is running, process 4711"
    };
    Operation {
        id: id.to_owned(),
        node: "berlin".to_owned(),
        command: format!(
            "service.restart {}",
            if refused { "hh-tp" } else { "hh-translator" }
        ),
        by: "local:root".to_owned(),
        state,
        created_at: seconds_ago(30),
        expires_at: now() + SignedDuration::from_secs(90),
        ended_at: Some(seconds_ago(27)),
        code: Some(if refused { "policy" } else { "ok" }.to_owned()),
        detail: Some(detail.to_owned()),
    }
}

fn operations() -> Vec<Operation> {
    vec![
        operation(DONE, OperationState::Done),
        operation(REFUSED, OperationState::Rejected),
    ]
}

fn found(id: &str) -> Result<Operation, ApiError> {
    let mut operations = operations().into_iter();
    operations
        .find(|operation| operation.id == id)
        .ok_or_else(|| {
            let message = format!("there is no operation {id}; `hhctl operation list` shows them");
            ApiError::new(ErrorKind::NotFound, "HH5002", message)
        })
}

fn api_token(state: ApiTokenState) -> ApiToken {
    ApiToken {
        id: "0d0d0d0d0d0d0d0d".to_owned(),
        name: "bob".to_owned(),
        role: Role::NodeOperator,
        read_only: true,
        nodes: vec!["berlin".to_owned(), "paris".to_owned()],
        accounts: Vec::new(),
        state,
        by: "local:root".to_owned(),
        created_at: seconds_ago(60),
        expires_at: now() + SignedDuration::from_hours(24 * 89),
    }
}

fn token(state: TokenState) -> EnrolmentToken {
    EnrolmentToken {
        id: TOKEN.to_owned(),
        node: "paris".to_owned(),
        state,
        by: "local:root".to_owned(),
        created_at: seconds_ago(60),
        expires_at: now() + SignedDuration::from_mins(59),
        used_at: None,
    }
}

/// That checkpoints are signed with.
pub(crate) fn audit_key() -> CheckpointKey {
    "05".repeat(32).parse().unwrap()
}

/// A log of one operation. It is whole, unless the core's version says otherwise.
fn audit_lines(is_whole: bool) -> Vec<String> {
    audit_log(is_whole).0
}

/// With where it ends, had nobody changed it.
fn audit_log(is_whole: bool) -> (Vec<String>, AuditChain) {
    let op: CommandId = DONE.parse().unwrap();
    let core = "core-1".parse().unwrap();
    let intent = AuditEvent::Intent {
        op,
        actor: Actor::Local {
            uid: 0,
            user: Some("root".to_owned()),
        },
        via: "control".to_owned(),
        source: None,
        action: "service.restart".to_owned(),
        target: Some("node:berlin".to_owned()),
        request: Digest([1; 32]),
        detail: Detail::default(),
    };
    let outcome = AuditEvent::Outcome {
        op,
        outcome: AuditOutcome::Done,
        code: None,
        result: None,
        detail: Detail::default(),
    };
    let chain = AuditChain::default();
    let (first, chain) = chain.append(seconds_ago(30), &core, intent).unwrap();
    let (second, chain) = chain.append(seconds_ago(27), &core, outcome).unwrap();
    let first = if is_whole {
        first
    } else {
        first.replace("berlin", "paris!")
    };
    (vec![first, second], chain)
}

fn no_record() -> ApiError {
    let message = "no record of the node paris was signed";
    ApiError::new(ErrorKind::NotFound, "HH5050", message)
}

impl Core for Fake {
    async fn hello(self, _: Context) -> Hello {
        Self::hello(&self)
    }

    async fn status(self, _: Context) -> Result<CoreStatus, ApiError> {
        Ok(CoreStatus {
            trust_domain: "hyperhash.example".to_owned(),
            enrolment_address: "0.0.0.0:8444".to_owned(),
            session_address: "0.0.0.0:8445".to_owned(),
            nodes: 2,
            nodes_connected: 1,
            hashrate_10m_hs: 1.25e15,
            miners: 1_204,
            operations_open: 0,
            audit_head: "2:00".to_owned(),
        })
    }

    async fn nodes(self, _: Context) -> Result<FleetPage, ApiError> {
        let nodes = vec![
            node("berlin", NodeState::Connected),
            node("paris", NodeState::Away),
        ];
        Ok(FleetPage { nodes, total: 2 })
    }

    async fn node(self, _: Context, id: String) -> Result<FleetNodeDetail, ApiError> {
        let message = format!("no node {id} has enrolled; `hhctl node list` shows those that have");
        let unknown = ApiError::new(ErrorKind::NotFound, "HH5001", message);
        (id == "berlin").then(detail).ok_or(unknown)
    }

    async fn revoke_node(
        self,
        _: Context,
        request: RevokeFleetNode,
    ) -> Result<RevokedFleetNode, ApiError> {
        if request.node != "berlin" {
            let message = format!("no node {} has enrolled", request.node);
            return Err(ApiError::new(ErrorKind::NotFound, "HH5001", message));
        }
        let state = match request.dry_run {
            true => NodeState::Connected,
            false => NodeState::Revoked,
        };
        if !request.dry_run {
            let words = format!("core revokes {} for {:?}", request.node, request.reason);
            self.changes.lock().unwrap().push(words);
        }
        Ok(RevokedFleetNode {
            node: node("berlin", state),
            revocation: FleetRevocation {
                reason: request.reason.unwrap_or_default(),
                since_at: now(),
            },
            was_connected: true,
            operations_given_up: 2,
            tokens_revoked: 0,
        })
    }

    async fn cancel_operation(self, _: Context, id: String) -> Result<Operation, ApiError> {
        let ended = found(&id)?;
        if ended.state == OperationState::Rejected {
            let message = format!("the operation {id} has ended: rejected");
            return Err(ApiError::new(ErrorKind::Failed, "HH5042", message));
        }
        self.changes.lock().unwrap().push(format!("cancel {id}"));
        Ok(operation(&id, OperationState::Cancelled))
    }

    async fn order_service(self, _: Context, order: ServiceOrder) -> Result<Operation, ApiError> {
        if order.dry_run {
            return Ok(operation("", OperationState::Queued));
        }
        let words = format!("{} {:?} {}", order.node, order.action, order.service);
        self.changes.lock().unwrap().push(words);
        found(if order.service == "hh-tp" {
            REFUSED
        } else {
            DONE
        })
    }

    async fn order_node(self, _: Context, order: NodeOrder) -> Result<Operation, ApiError> {
        if order.dry_run {
            return Ok(operation("", OperationState::Queued));
        }
        let words = format!("{} {:?}", order.node, order.action);
        self.changes.lock().unwrap().push(words);
        found(DONE)
    }

    async fn operations(
        self,
        _: Context,
        query: OperationQuery,
    ) -> Result<OperationPage, ApiError> {
        let mut operations = operations();
        operations.truncate(usize::try_from(query.limit).unwrap());
        Ok(OperationPage {
            operations,
            total: 2,
        })
    }

    async fn operation(self, _: Context, id: String) -> Result<Operation, ApiError> {
        found(&id)
    }

    async fn wait_for_operation(
        self,
        _: Context,
        wait: WaitForOperation,
    ) -> Result<Operation, ApiError> {
        found(&wait.id)
    }

    async fn create_token(self, _: Context, request: CreateToken) -> Result<IssuedToken, ApiError> {
        let words = format!("token for {} {}", request.node, request.valid_seconds);
        self.changes.lock().unwrap().push(words);
        Ok(IssuedToken {
            token: token(TokenState::Open),
            secret: "hhn1.a.b.c".to_owned(),
        })
    }

    async fn tokens(self, _: Context) -> Result<TokenPage, ApiError> {
        let tokens = vec![token(TokenState::Open)];
        Ok(TokenPage { tokens, total: 1 })
    }

    async fn revoke_token(self, _: Context, id: String) -> Result<EnrolmentToken, ApiError> {
        self.changes.lock().unwrap().push(format!("revoke {id}"));
        Ok(token(TokenState::Revoked))
    }

    async fn create_api_token(
        self,
        _: Context,
        request: CreateApiToken,
    ) -> Result<IssuedApiToken, ApiError> {
        let words = format!("api token for {}, {}", request.name, request.role);
        self.changes.lock().unwrap().push(words);
        Ok(IssuedApiToken {
            token: api_token(ApiTokenState::Active),
            secret: "hha1.abc".to_owned(),
        })
    }

    async fn api_tokens(self, _: Context) -> Result<ApiTokenPage, ApiError> {
        let tokens = vec![api_token(ApiTokenState::Active)];
        Ok(ApiTokenPage { tokens, total: 1 })
    }

    async fn revoke_api_token(self, _: Context, id: String) -> Result<ApiToken, ApiError> {
        self.changes.lock().unwrap().push(format!("revoke {id}"));
        Ok(api_token(ApiTokenState::Revoked))
    }

    async fn records(
        self,
        _: Context,
        _: hh_ipc::api::core::RecordQuery,
    ) -> Result<hh_ipc::api::core::RecordPage, ApiError> {
        Ok(hh_ipc::api::core::RecordPage::default())
    }

    async fn create_record(
        self,
        _: Context,
        _: hh_ipc::api::core::SignedRecord,
    ) -> Result<hh_ipc::api::core::KeptRecord, ApiError> {
        Err(no_record())
    }

    async fn revoke_record(
        self,
        _: Context,
        _: hh_ipc::api::core::RevokeRecord,
    ) -> Result<hh_ipc::api::core::KeptRecord, ApiError> {
        Err(no_record())
    }

    async fn pki(self, _: Context) -> Result<PkiStatus, ApiError> {
        let issuer = |name: &str, days: i64| IssuerStatus {
            name: name.to_owned(),
            until_at: now() + SignedDuration::from_hours(24 * days),
        };
        Ok(PkiStatus {
            trust_domain: "hyperhash.example".to_owned(),
            root_pin: format!("sha256:{}", "ab".repeat(32)),
            issuers: vec![
                issuer("server-issuer", 300),
                issuer("node-issuer", 12),
                issuer("server", 6),
            ],
            keys: vec![SigningKeyStatus {
                purpose: "commands".to_owned(),
                id: "hhcommand1qqqqq".to_owned(),
            }],
        })
    }

    async fn audit(self, _: Context, query: AuditQuery) -> Result<AuditPage, ApiError> {
        let mut lines = audit_lines(self.answers.audit_is_whole);
        let read = usize::try_from(query.after_seq).unwrap().min(lines.len());
        lines.drain(..read);
        Ok(AuditPage { lines, last_seq: 2 })
    }

    async fn audit_checkpoint(self, _: Context) -> Result<AuditCheckpoint, ApiError> {
        let (_, chain) = audit_log(true);
        let domain = "hyperhash.example".parse().unwrap();
        Ok(AuditCheckpoint {
            trust_domain: "hyperhash.example".to_owned(),
            note: Checkpoint::of(chain.frontier()).sign(&domain, &audit_key()),
            key: audit_key().public_key().to_string(),
        })
    }

    async fn audit_witnesses(self, _: Context) -> Result<AuditWitnessPage, ApiError> {
        let (_, chain) = audit_log(true);
        let witness = |node: &str, lines, root: Option<Digest>| AuditWitness {
            node: node.to_owned(),
            lines,
            root: root.map(|root| root.to_string()),
            fault: None,
            said_at: seconds_ago(3),
        };
        Ok(AuditWitnessPage {
            witnesses: vec![
                witness("berlin", 2, Some(chain.frontier().root())),
                witness("paris", 0, None),
            ],
        })
    }
}
