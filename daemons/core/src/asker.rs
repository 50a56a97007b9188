//! Who asks for a change: as nodes are told of him, and as the audit log has him.

use crate::api_token::ApiTokenRow;
use crate::audit::Asked;
use hh_daemon::Caller;
use hh_trust::audit::{Actor, Detail, OperationId};
use hh_trust::command::Digest;
use std::net::SocketAddr;

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Asker {
    /// As nodes are told, and as lists show him.
    pub(crate) name: String,
    pub(crate) actor: Actor,
    /// `control` or `rest`.
    pub(crate) via: &'static str,
    /// From which address.
    pub(crate) source: Option<String>,
}

impl Asker {
    /// A user of this machine, by his name or his number.
    pub(crate) fn local(caller: &Caller) -> Self {
        let uid = caller.peer.uid;
        let user = user_name(uid);
        Self {
            name: match &user {
                Some(user) => format!("local:{user}"),
                None => format!("local:uid-{uid}"),
            },
            actor: Actor::Local { uid, user },
            via: "control",
            source: None,
        }
    }

    /// Whoever holds a token.
    pub(crate) fn holder(token: &ApiTokenRow, address: SocketAddr) -> Self {
        Self {
            name: format!("api:{}", token.name),
            actor: Actor::Operator {
                name: token.name.clone(),
                credential: token.id.clone(),
            },
            via: "rest",
            source: Some(address.to_string()),
        }
    }

    /// What he asks for, for the audit log.
    pub(crate) fn asks(
        &self,
        op: OperationId,
        action: &'static str,
        target: String,
        request: Digest,
    ) -> Asked {
        Asked {
            op,
            actor: self.actor.clone(),
            via: self.via,
            source: self.source.clone(),
            action,
            target,
            request,
            detail: Detail::default(),
        }
    }
}

fn user_name(uid: u32) -> Option<String> {
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, id) = (fields.next()?, fields.nth(1)?);
        (id.parse() == Ok(uid)).then(|| name.to_owned())
    });
    let is_plain = |name: &String| {
        (1..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
    };
    name.filter(is_plain)
}
