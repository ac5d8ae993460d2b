//! Who may do what: the one place where a registered principal and a path become a Cedar request.

use crate::records::PrincipalRecord;
use crate::view::Fault;
use core::net::IpAddr;
use symbolon_policy::{Action, Context, Decision, Local, PolicySet, Principal, PrincipalKind, Request, Resource};
use symbolon_wire::ids::{PrincipalId, TenantId};

/// The name under which policies know the tenant that exists from the start. More tenants come with names of their own.
pub const FIRST_TENANT_NAME: &str = "default";

/// What only the answering node sees of a request; absent at apply.
#[derive(Debug, Clone, Copy)]
pub struct LocalContext<'a> {
    /// The node's clock, ms since 1970.
    pub time_ms: u64,
    /// Where the request comes from.
    pub source: IpAddr,
    /// Key-exchange group of the connection.
    pub tls_group: &'a str,
    /// The key that the connection showed.
    pub client_key: &'a [u8; 32],
}

/// A principal that is registered and live at one index.
#[derive(Debug, Clone)]
pub struct Subject {
    /// Its id.
    pub id: PrincipalId,
    /// Its tenant.
    pub tenant: TenantId,
    /// What it is.
    pub kind: symbolon_wire::ids::PrincipalKind,
    /// Its record.
    pub record: PrincipalRecord,
}

impl Subject {
    /// From a record that apply wrote.
    pub(crate) fn from_record(record: PrincipalRecord) -> Result<Self, Fault> {
        let broken = Fault::Broken {
            rule: "a principal's record has valid ids and kind",
        };
        Ok(Self {
            id: PrincipalId::parse(&record.id).map_err(|_| broken.clone())?,
            tenant: TenantId::parse(&record.tenant).map_err(|_| broken.clone())?,
            kind: symbolon_wire::ids::PrincipalKind::from_number(record.kind).ok_or(broken)?,
            record,
        })
    }

    fn principal(&self) -> Principal<'_> {
        use symbolon_wire::ids::PrincipalKind as Wire;
        Principal {
            kind: match self.kind {
                Wire::Agent => PrincipalKind::Agent,
                Wire::Workload => PrincipalKind::Workload,
                Wire::Operator => PrincipalKind::Operator,
                Wire::Gateway => PrincipalKind::Gateway,
                Wire::Node => PrincipalKind::Node,
            },
            id: self.id.bytes(),
            name: &self.record.name,
            groups: &self.record.groups,
            owner: &self.record.owner,
            purpose: &self.record.purpose,
        }
    }
}

/// One question to the policies.
#[derive(Debug, Clone, Copy)]
pub struct Access<'a> {
    /// Who asks.
    pub subject: &'a Subject,
    /// To do what.
    pub action: Action,
    /// Upon which path; empty for the tenant's root, `None` for the cluster.
    pub path: Option<&'a str>,
    /// Whether the path is a folder.
    pub folder: bool,
    /// Log time at the deciding index.
    pub log_time_ms: u64,
    /// Of a write: whether its author states the version that it follows; `None` where that is not known, and below the
    /// feature level from which policies can ask.
    pub cas: Option<bool>,
    /// What only this node sees.
    pub local: Option<LocalContext<'a>>,
}

impl Access<'_> {
    /// Asks.
    pub fn decide(&self, policies: &PolicySet) -> Decision {
        let tenant = FIRST_TENANT_NAME;
        let resource = match self.path {
            None => Resource::Cluster,
            Some("") => Resource::Tenant { name: tenant },
            Some(path) if self.folder => Resource::Folder { tenant, path },
            Some(path) => Resource::Secret { tenant, path },
        };
        policies.decide(&Request {
            principal: self.subject.principal(),
            action: self.action,
            resource,
            context: Context {
                log_time_ms: self.log_time_ms,
                cas: self.cas,
                local: self.local.map(|local| Local {
                    time_ms: local.time_ms,
                    source: local.source,
                    region: None,
                    tls_group: local.tls_group,
                    client_key: local.client_key,
                }),
            },
        })
    }
}
