//! Who may call what, whichever way he comes: one table for the control sockets, gRPC and REST.
//!
//! Each interface asks it before it acts, in one place through which every request goes. What has no row is for nobody. It is a pure
//! rule: who somebody is, his token or certificate has said before; of which nodes and accounts he may speak, his token's scope says.

mod table;

use hh_ipc::api::core::Role;
use hh_ipc::{ApiError, ErrorKind};

pub(crate) use table::ROWS;

/// A way to core.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Interface {
    /// tarpc, over the control sockets; a method is that of the trait `hh_ipc::api::core::Core`.
    Control,
    /// A method is that of `control.proto`.
    Grpc,
    /// A method is that of HTTP and a path as the router has it, such as `GET /v1/nodes/{node}`.
    Rest,
}

/// What a role may: everything of it, or only what changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    Full,
    ReadOnly,
}

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    /// Over REST, without a token.
    Anyone,
    /// With a token, or a user of this machine: those are core's operators.
    Person(Role, Access),
    /// Over gRPC, without a certificate.
    Unenrolled,
    /// Over gRPC, with a certificate that counts.
    Node,
    /// hh-treasury, over gRPC.
    Treasury,
}

impl Who {
    /// All kinds, in the order of the table's columns.
    #[cfg(test)]
    pub(crate) const ALL: [Self; 10] = [
        Self::Anyone,
        Self::Person(Role::Miner, Access::ReadOnly),
        Self::Person(Role::Miner, Access::Full),
        Self::Person(Role::NodeOperator, Access::ReadOnly),
        Self::Person(Role::NodeOperator, Access::Full),
        Self::Person(Role::CoreOperator, Access::ReadOnly),
        Self::Person(Role::CoreOperator, Access::Full),
        Self::Unenrolled,
        Self::Node,
        Self::Treasury,
    ];

    /// Who calls on a control socket: whoever may open it is an operator of core.
    pub(crate) fn local(read_only: bool) -> Self {
        let access = match read_only {
            true => Access::ReadOnly,
            false => Access::Full,
        };
        Self::Person(Role::CoreOperator, access)
    }
}

/// Whether somebody may call a method. False for one that has no row.
pub(crate) fn allows(interface: Interface, method: &str, who: Who) -> bool {
    let row = ROWS
        .iter()
        .find(|row| row.interface == interface && row.method == method);
    row.is_some_and(|row| row.callers.include(who))
}

/// Why an operator is not answered; none if he is.
pub(crate) fn refusal(interface: Interface, method: &str, who: Who) -> Option<ApiError> {
    if allows(interface, method, who) {
        return None;
    }
    let message = match (interface, who) {
        (Interface::Control, Who::Person(_, Access::ReadOnly)) => {
            "this is a view socket, which changes nothing".to_owned()
        }
        (_, Who::Person(role, Access::ReadOnly)) => {
            format!("{method} is not for a token of the role {role} that is read-only")
        }
        (_, Who::Person(role, Access::Full)) => {
            format!("{method} is not for a token of the role {role}")
        }
        (_, Who::Anyone | Who::Unenrolled | Who::Node | Who::Treasury) => {
            format!("{method} is not for everybody")
        }
    };
    Some(ApiError::new(ErrorKind::Permission, "HH0201", message))
}

#[cfg(test)]
mod tests;
