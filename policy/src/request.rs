//! What is asked: who, what, upon what, in which circumstances; in plain types, with Cedar's built from them.
//!
//! A request is checked before it is decided: a path that is not canonical could miss a `forbid` on its folder, so it is
//! refused here as well, though callers have parsed it.

use core::net::IpAddr;
use std::fmt;

use crate::digest::FieldHash;
use crate::limits::{GROUPS_MAX, NAME_BYTES_MAX, PATH_BYTES_MAX, PATH_SEGMENTS_MAX};
use crate::scan::is_deceptive;
use crate::schema::EntityKind;

/// Label of the digest over a decision's inputs.
const INPUTS_LABEL: &str = "symbolon/v1/policy/inputs";

/// The kinds of principal; each is an entity type of the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PrincipalKind {
    /// A software agent.
    Agent,
    /// A service.
    Workload,
    /// A person who operates the cluster.
    Operator,
    /// A perimeter broker.
    Gateway,
    /// A cluster member.
    Node,
}

impl PrincipalKind {
    pub(crate) const fn entity(self) -> EntityKind {
        match self {
            Self::Agent => EntityKind::Agent,
            Self::Workload => EntityKind::Workload,
            Self::Operator => EntityKind::Operator,
            Self::Gateway => EntityKind::Gateway,
            Self::Node => EntityKind::Node,
        }
    }
}

/// Who acts, as registered in state at the index at which the decision is made.
#[derive(Clone, Copy, Debug)]
pub struct Principal<'a> {
    /// Its kind: the type of its entity.
    pub kind: PrincipalKind,
    /// Its id, never reused: `principal.id`, as 32 hex digits.
    pub id: &'a [u8; 16],
    /// Its name, a SPIFFE ID: the id of its entity, and `principal.name`. Compared byte for byte; nothing in it is a wildcard.
    pub name: &'a str,
    /// The names of its groups: `principal in Group::"…"`.
    pub groups: &'a [String],
    /// Who answers for it: `principal.owner`.
    pub owner: &'a str,
    /// What it is for: `principal.purpose`.
    pub purpose: &'a str,
}

/// What is done. Each is an action of the schema; [`Action::at_apply`] tells which are decided from the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Action {
    /// Obtain a secret's value: release a fragment.
    Read,
    /// See that an entry exists. Asked for the folder, and again for each entry shown.
    List,
    /// See a secret's versions, times and authors.
    ReadMetadata,
    /// See policies, their history and decisions about others.
    ReadPolicy,
    /// See audit records.
    ReadAudit,
    /// See the cluster's health.
    ReadStatus,
    /// Store a version of a secret, the first included.
    Write,
    /// Change a secret's metadata and settings.
    WriteMetadata,
    /// Hide a secret's versions from readers.
    Delete,
    /// Show hidden versions again.
    Undelete,
    /// Destroy versions for good.
    Destroy,
}

impl Action {
    /// All actions, in the order of the variants.
    pub const ALL: [Self; 11] = [
        Self::Read,
        Self::List,
        Self::ReadMetadata,
        Self::ReadPolicy,
        Self::ReadAudit,
        Self::ReadStatus,
        Self::Write,
        Self::WriteMetadata,
        Self::Delete,
        Self::Undelete,
        Self::Destroy,
    ];

    /// Its name in policies: `Action::"readMetadata"`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::List => "list",
            Self::ReadMetadata => "readMetadata",
            Self::ReadPolicy => "readPolicy",
            Self::ReadAudit => "readAudit",
            Self::ReadStatus => "readStatus",
            Self::Write => "write",
            Self::WriteMetadata => "writeMetadata",
            Self::Delete => "delete",
            Self::Undelete => "undelete",
            Self::Destroy => "destroy",
        }
    }

    /// Whether all nodes decide it from the log, so that only what they know alike may enter: local circumstances in the
    /// request are then left out of the decision and of its digest.
    #[must_use]
    pub const fn at_apply(self) -> bool {
        matches!(
            self,
            Self::Write | Self::WriteMetadata | Self::Delete | Self::Undelete | Self::Destroy
        )
    }

    /// Whether the schema has this action for this kind of principal and resource.
    pub(crate) const fn applies(self, principal: EntityKind, resource: EntityKind) -> bool {
        let by_node = matches!(principal, EntityKind::Node);
        match self {
            Self::Read | Self::Write | Self::WriteMetadata | Self::Delete | Self::Undelete | Self::Destroy => {
                !by_node && matches!(resource, EntityKind::Secret)
            }
            Self::List | Self::ReadMetadata => {
                !by_node && matches!(resource, EntityKind::Secret | EntityKind::Folder | EntityKind::Tenant)
            }
            Self::ReadPolicy | Self::ReadAudit | Self::ReadStatus => matches!(resource, EntityKind::Cluster),
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|action| action.name() == name)
    }
}

/// What is acted upon. Paths are canonical: segments joined by single slashes, none first or last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    /// A secret, existing or not, in its folders and its tenant.
    Secret {
        /// The tenant's name.
        tenant: &'a str,
        /// The secret's path inside the tenant.
        path: &'a str,
    },
    /// A folder, in those above it and in its tenant.
    Folder {
        /// The tenant's name.
        tenant: &'a str,
        /// The folder's path inside the tenant.
        path: &'a str,
    },
    /// A tenant: the root of its folders.
    Tenant {
        /// The tenant's name.
        name: &'a str,
    },
    /// The cluster itself, `Cluster::"this"`.
    Cluster,
}

/// In which circumstances.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// Log time at the index of the decision, ms since 1970: `context.logTime`, `logHour`, `logWeekday`.
    pub log_time_ms: u64,
    /// Of a write: whether its author states the version that it follows, `context.cas`. Left out of every other decision;
    /// without it, a policy that asks for it errs, and so denies.
    pub cas: Option<bool>,
    /// What only this node sees. Without it, a policy that asks for any of it errs, and so denies.
    pub local: Option<Local<'a>>,
}

/// What the answering node sees of a request and its connection.
#[derive(Clone, Copy, Debug)]
pub struct Local<'a> {
    /// The node's clock, ms since 1970: `context.localTime`, `localHour`, `localWeekday`.
    pub time_ms: u64,
    /// The peer's address: `context.sourceAddress`. An IPv4-mapped IPv6 address is shown to policies as IPv4.
    pub source: IpAddr,
    /// Where that address is, if the node has been told: `context.sourceRegion`.
    pub region: Option<&'a str>,
    /// The connection's key exchange group: `context.tlsGroup`.
    pub tls_group: &'a str,
    /// SHA-256 of the client's SubjectPublicKeyInfo: `context.clientKey`, as 64 hex digits.
    pub client_key: &'a [u8; 32],
}

/// One question.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Who.
    pub principal: Principal<'a>,
    /// What.
    pub action: Action,
    /// Upon what.
    pub resource: Resource<'a>,
    /// In which circumstances.
    pub context: Context<'a>,
}

/// What is wrong with a request that no policy is asked about. The caller is at fault; the answer is no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InputDefect {
    /// The principal's name is empty, too long, or has a character that does not show.
    #[error("the principal's name is empty, longer than {NAME_BYTES_MAX} bytes, or has a hidden character")]
    PrincipalName,
    /// A group's name is empty, too long, or has a character that does not show.
    #[error("a group's name is empty, longer than {NAME_BYTES_MAX} bytes, or has a hidden character")]
    GroupName,
    /// Too many groups.
    #[error("the principal is in more than {GROUPS_MAX} groups")]
    GroupsTooMany,
    /// The tenant's name is empty, too long, or has a character that does not show.
    #[error("the tenant's name is empty, longer than {NAME_BYTES_MAX} bytes, or has a hidden character")]
    TenantName,
    /// The path is not canonical.
    #[error("the path {0}")]
    Path(PathDefect),
    /// The schema has no such action for such a principal or resource, so no policy was ever checked for it.
    #[error("the action is not for this kind of principal or resource")]
    NotApplicable,
    /// A time lies past what Cedar's 64-bit signed numbers hold.
    #[error("a time is past the year 292 million")]
    TimeOutOfRange,
}

/// What is wrong with a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathDefect {
    /// Empty.
    #[error("is empty")]
    Empty,
    /// Past [`PATH_BYTES_MAX`].
    #[error("is longer than {PATH_BYTES_MAX} bytes")]
    TooLong,
    /// Past [`PATH_SEGMENTS_MAX`].
    #[error("has more than {PATH_SEGMENTS_MAX} segments")]
    TooDeep,
    /// A slash at the beginning, at the end, or twice.
    #[error("has an empty segment: a slash first, last, or twice")]
    EmptySegment,
    /// `.` or `..`.
    #[error("has the segment `.` or `..`")]
    DotSegment,
    /// A control character, or one that does not show.
    #[error("has a hidden character")]
    HiddenCharacter,
}

/// Checks that `path` is canonical.
pub(crate) fn check_path(path: &str) -> Result<(), PathDefect> {
    if path.is_empty() {
        return Err(PathDefect::Empty);
    }
    if path.len() > PATH_BYTES_MAX {
        return Err(PathDefect::TooLong);
    }
    if path.chars().any(is_deceptive) {
        return Err(PathDefect::HiddenCharacter);
    }
    for (index, segment) in path.split('/').enumerate() {
        if index >= PATH_SEGMENTS_MAX {
            return Err(PathDefect::TooDeep);
        }
        match segment {
            "" => return Err(PathDefect::EmptySegment),
            "." | ".." => return Err(PathDefect::DotSegment),
            _ => {}
        }
    }
    Ok(())
}

/// Whether `name` may be the id of an entity.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.chars().any(is_deceptive)
}

/// The folders above `path`, nearest first: of `a/b/c`, `a/b` and `a`.
pub(crate) fn folders_above(path: &str) -> impl Iterator<Item = &str> {
    path.rmatch_indices('/').filter_map(|(at, _)| path.get(..at))
}

impl Resource<'_> {
    pub(crate) const fn entity(&self) -> (EntityKind, &str) {
        match self {
            Self::Secret { path, .. } => (EntityKind::Secret, path),
            Self::Folder { path, .. } => (EntityKind::Folder, path),
            Self::Tenant { name } => (EntityKind::Tenant, name),
            Self::Cluster => (EntityKind::Cluster, "this"),
        }
    }

    /// What this resource is in, itself not included.
    pub(crate) fn ancestors(&self) -> impl Iterator<Item = (EntityKind, &str)> {
        let (path, tenant) = match self {
            Self::Secret { tenant, path } | Self::Folder { tenant, path } => (Some(*path), Some(*tenant)),
            Self::Tenant { .. } | Self::Cluster => (None, None),
        };
        path.into_iter()
            .flat_map(folders_above)
            .map(|folder| (EntityKind::Folder, folder))
            .chain(tenant.map(|tenant| (EntityKind::Tenant, tenant)))
    }

    fn check(&self) -> Result<(), InputDefect> {
        let (path, tenant) = match self {
            Self::Secret { tenant, path } | Self::Folder { tenant, path } => (Some(path), Some(tenant)),
            Self::Tenant { name } => (None, Some(name)),
            Self::Cluster => (None, None),
        };
        path.map_or(Ok(()), |path| check_path(path))
            .map_err(InputDefect::Path)?;
        if tenant.is_some_and(|tenant| !is_name(tenant)) {
            return Err(InputDefect::TenantName);
        }
        Ok(())
    }
}

impl fmt::Display for Resource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, id) = self.entity();
        write!(f, "{}::{id:?}", kind.name())
    }
}

impl<'a> Request<'a> {
    /// What only this node sees, if it may enter the decision.
    pub(crate) fn observed(&self) -> Option<Local<'a>> {
        if self.action.at_apply() {
            None
        } else {
            self.context.local
        }
    }

    /// Whether the author of a write states the version that it follows.
    pub(crate) fn stated(&self) -> Option<bool> {
        self.context.cas.filter(|_| matches!(self.action, Action::Write))
    }

    /// # Errors
    /// The first defect.
    pub(crate) fn check(&self) -> Result<(), InputDefect> {
        if !is_name(self.principal.name) {
            return Err(InputDefect::PrincipalName);
        }
        if self.principal.groups.len() > GROUPS_MAX {
            return Err(InputDefect::GroupsTooMany);
        }
        if !self.principal.groups.iter().all(|group| is_name(group)) {
            return Err(InputDefect::GroupName);
        }
        self.resource.check()?;
        if !self
            .action
            .applies(self.principal.kind.entity(), self.resource.entity().0)
        {
            return Err(InputDefect::NotApplicable);
        }
        let times = [
            Some(self.context.log_time_ms),
            self.observed().map(|local| local.time_ms),
        ];
        if times.into_iter().flatten().any(|time| i64::try_from(time).is_err()) {
            return Err(InputDefect::TimeOutOfRange);
        }
        Ok(())
    }

    /// SHA-256 over everything that may enter the decision, so that an audit record can be matched with a replay.
    ///
    /// `enc(label, kind, id, name, owner, purpose, number of groups, groups…, action, resource kind, resource, tenant,
    /// log time, then if known of a write: "cas", 0 or 1; then "" or: "local", time, address, number of regions (0 or 1),
    /// region, group, client key)`.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let Principal {
            kind,
            id,
            name,
            groups,
            owner,
            purpose,
        } = self.principal;
        let mut hash = FieldHash::new(INPUTS_LABEL);
        hash.field(kind.entity().name().as_bytes())
            .field(id)
            .field(name.as_bytes());
        hash.field(owner.as_bytes())
            .field(purpose.as_bytes())
            .number(groups.len() as u64);
        for group in groups {
            hash.field(group.as_bytes());
        }
        let (resource_kind, resource_id) = self.resource.entity();
        let tenant = match self.resource {
            Resource::Secret { tenant, .. } | Resource::Folder { tenant, .. } => tenant,
            Resource::Tenant { .. } | Resource::Cluster => "",
        };
        hash.field(self.action.name().as_bytes())
            .field(resource_kind.name().as_bytes());
        hash.field(resource_id.as_bytes())
            .field(tenant.as_bytes())
            .number(self.context.log_time_ms);
        if let Some(cas) = self.stated() {
            hash.field(b"cas").number(u64::from(cas));
        }
        match self.observed() {
            None => {
                hash.field(b"");
            }
            Some(Local {
                time_ms,
                source,
                region,
                tls_group,
                client_key,
            }) => {
                hash.field(b"local").number(time_ms);
                match source.to_canonical() {
                    IpAddr::V4(address) => hash.field(&address.octets()),
                    IpAddr::V6(address) => hash.field(&address.octets()),
                };
                hash.number(u64::from(region.is_some()))
                    .field(region.unwrap_or_default().as_bytes());
                hash.field(tls_group.as_bytes()).field(client_key);
            }
        }
        hash.finish()
    }
}
