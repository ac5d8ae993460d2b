//! What stands at a path: what the author of a change must know first.

use crate::client::Inner;
use crate::error::{Error, Misdeed};
use std::sync::Arc;
use symbolon_wire::command::fixed;
use symbolon_wire::ids::{PrincipalId, SecretId, TenantId};
use symbolon_wire::path::Path;
use symbolon_wire::v1::request::Kind;
use symbolon_wire::{Code, v1};

/// What is to be done at a path. Nodes decide on that, and record it, when they are asked what stands there.
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub(crate) enum Change {
    Write = 1,
    Delete = 2,
    Undelete = 3,
    Destroy = 4,
    WriteMetadata = 5,
}

/// What is known of a path: enough to write without asking first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known {
    pub(crate) tenant: TenantId,
    pub(crate) secret: SecretId,
    /// 0: nothing written yet.
    pub(crate) latest: u64,
}

impl Known {
    /// Whether a write from what `other` says would be the same one: with `cas`, the version that it follows is named.
    pub(crate) fn writes_alike(self, other: Self, cas: Option<u64>) -> bool {
        let secret = match (self.latest, other.latest) {
            (0, 0) => true,
            (0, _) | (_, 0) => false,
            _ => self.secret == other.secret,
        };
        self.tenant == other.tenant && secret && (cas.is_some() || self.latest == other.latest)
    }
}

/// What stands at a path: what a write needs, and what a change of metadata needs beside it.
pub(crate) struct Resolved {
    pub(crate) known: Known,
    /// 0: nothing was ever set.
    pub(crate) metadata_version: u64,
    pub(crate) settings: v1::SecretSettings,
}

impl Inner {
    /// What t nodes say stands at `path`.
    pub(crate) async fn resolve(self: &Arc<Self>, path: &Path, change: Change) -> Result<Resolved, Error> {
        let asking = |_, min_index| {
            Kind::Resolve(v1::ResolveRequest {
                path: path.as_str().to_owned(),
                min_index,
                action: change as u32,
            })
        };
        let reply: v1::ResolveReply = self.agreed(&what(path), asking).await?;
        let bad = |error: symbolon_wire::command::CommandError| Error::new(Code::Internal, error.to_string());
        // Its log time is no part of what t nodes say alike: that of the answer at hand may be one liar's.
        let principal = PrincipalId(fixed("principal", &reply.principal).map_err(bad)?);
        let own = self.net.identity.principal();
        if principal != own {
            let what = format!("this key belongs to principal {principal}, not to {own} as the identity says");
            return Err(Error::new(Code::UnknownKey, what).next("symbolon agent list"));
        }
        self.resolved(&reply).map_err(bad)
    }

    /// What one node says stands at `path` to who is to write there, if it can be. A wrong answer costs a refused write at most: apply checks every
    /// part of it.
    pub(crate) async fn resolve_quickly(self: &Arc<Self>, path: &Path) -> Result<Known, Error> {
        let kind = Kind::Resolve(v1::ResolveRequest {
            path: path.as_str().to_owned(),
            min_index: 0,
            action: Change::Write as u32,
        });
        let (node, reply): (u16, v1::ResolveReply) = self.first(&what(path), kind).await?;
        if reply.principal != self.net.identity.principal().bytes().as_slice() {
            return Ok(self.resolve(path, Change::Write).await?.known);
        }
        self.clock.heard_from_one(reply.log_time_ms);
        let resolved = self.resolved(&reply);
        Ok(resolved.map_err(|_| Error::at_fault(node, Misdeed::NotAnAnswer))?.known)
    }

    fn resolved(&self, reply: &v1::ResolveReply) -> Result<Resolved, symbolon_wire::command::CommandError> {
        let secret = match reply.secret.len() {
            0 => SecretId(rand::random()),
            _ => SecretId(fixed("secret", &reply.secret)?),
        };
        Ok(Resolved {
            known: Known {
                tenant: TenantId(fixed("tenant", &reply.tenant)?),
                secret,
                latest: reply.latest,
            },
            metadata_version: reply.metadata_version,
            settings: reply.settings.unwrap_or_default(),
        })
    }
}

fn what(path: &Path) -> String {
    format!("look up {path}")
}
