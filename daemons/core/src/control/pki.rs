//! Certificates and keys for operators.

use super::{Control, timestamp};
use hh_ipc::api::core::{IssuerStatus, PkiStatus, SigningKeyStatus};
use hh_trust::pki::Validity;

impl Control {
    pub(crate) fn pki(&self) -> PkiStatus {
        let authority = &self.authority;
        let key = |purpose: &str, id: String| SigningKeyStatus {
            purpose: purpose.to_owned(),
            id,
        };
        let audit = authority.audit_key.as_ref();
        let audit = audit.map(|audit| key("checkpoints", audit.public_key().to_string()));
        let mut issuers = vec![
            issuer("server-issuer", authority.server_issuer.validity()),
            issuer("node-issuer", authority.node_issuer.validity()),
            issuer("server", authority.own_validity()),
        ];
        let service = authority.service_issuer.as_ref();
        issuers.extend(service.map(|one| issuer("service-issuer", one.validity())));
        PkiStatus {
            trust_domain: authority.domain.to_string(),
            root_pin: authority.pin.to_string(),
            issuers,
            keys: [
                key(
                    "enrolment",
                    authority.enrolment_key.public_key().to_string(),
                ),
                key("commands", authority.command_key.public_key().to_string()),
            ]
            .into_iter()
            .chain(audit)
            .collect(),
        }
    }
}

fn issuer(name: &str, validity: Validity) -> IssuerStatus {
    IssuerStatus {
        name: name.to_owned(),
        until_at: timestamp(validity.not_after.saturating_mul(1_000)),
    }
}
