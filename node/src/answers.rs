//! Everything a node answers that holds no key material: listings, metadata, what a writer must know, status, audit.
//! Each is decided by policy and recorded like a read.

use crate::audit::Entries;
use crate::clocks::boot_ms;
use crate::cosign;
use crate::machine::ViewAdapter;
use crate::member::{Member, error, lock};
use crate::release::{Client, Releases, broken, catch_up};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use symbolon_crypto::Hash;
use symbolon_custody::freshness::Deadline;
use symbolon_custody::gate::{self, Asker, Recorded, Ruling, Scene};
use symbolon_custody::replies::refused;
use symbolon_policy::Action;
use symbolon_state::query::{self, Child};
use symbolon_state::records::SecretRecord;
use symbolon_state::{Fault, Subject, levels};
use symbolon_wire::limits::{AUDIT_PAGE_MAX, LIST_MAX, VERSIONS_MAX};
use symbolon_wire::path::Path;
use symbolon_wire::v1::{self, response};
use symbolon_wire::{Code, tls};

/// Principals that one answer shows.
const PRINCIPALS_MAX: usize = 10_000;

/// What a client may want to do at a path, in the order of their numbers on the wire, from 1.
const CHANGES: [Action; 5] = [
    Action::Write,
    Action::Delete,
    Action::Undelete,
    Action::Destroy,
    Action::WriteMetadata,
];

/// One request being answered.
pub(crate) struct Answering<'a> {
    /// The node.
    pub(crate) member: &'a Arc<Member>,
    /// Its release path, which also records.
    pub(crate) releases: &'a Releases,
    /// Who asks.
    pub(crate) client: &'a Client,
    /// SHA-256 of the request as received.
    pub(crate) request_hash: &'a Hash,
}

pub(crate) type Answer = Result<response::Result, v1::Error>;

impl Answering<'_> {
    pub(crate) fn asker(&self) -> Asker<'_> {
        Asker {
            client_key: &self.client.key,
            source: self.client.source,
            tls_group: tls::GROUP,
            request_hash: self.request_hash,
            purpose: "",
        }
    }

    pub(crate) fn on_scene<T>(&self, decide: impl FnOnce(&Scene<'_>) -> Result<T, Fault>) -> Result<T, v1::Error> {
        let decided = self.member.on_scene(|scene, _| decide(scene));
        decided?.map_err(broken)
    }

    pub(crate) async fn fresh(&self, min_index: u64) -> Result<(), v1::Error> {
        catch_up(self.member, min_index, Deadline::start(boot_ms()), None).await
    }

    /// Decides and records.
    async fn allowed(&self, action: Action, path: Option<&str>, folder: bool) -> Result<(), v1::Error> {
        let ruling: Ruling = self.on_scene(|scene| gate::rule_answer(scene, &self.asker(), action, path, folder))?;
        self.record(ruling).await
    }

    async fn record(&self, ruling: Ruling) -> Result<(), v1::Error> {
        match self.releases.answer(ruling).await? {
            Recorded::Answered(..) => Ok(()),
            Recorded::Refused(refusal, receipt) => {
                crate::member::count(&self.member.counters.denials);
                Err(refused(refusal, &receipt))
            }
            Recorded::Permitted(..) => Err(error(Code::Internal, "a release is no answer", "")),
        }
    }

    /// Answers what was [allowed](Self::allowed), from the newest state, to whom it is allowed there: rights may have been taken
    /// back while the record was written.
    async fn answered<T>(
        &self,
        (action, path, folder): (Action, Option<&str>, bool),
        answer: impl FnOnce(&Scene<'_>, &Subject) -> Result<T, Fault>,
    ) -> Result<T, v1::Error> {
        let answered = self.on_scene(|scene| {
            let ruling = gate::rule_answer(scene, &self.asker(), action, path, folder)?;
            match ruling.answers() {
                Some(subject) => answer(scene, subject).map(Ok),
                None => Ok(Err(ruling)),
            }
        })?;
        match answered {
            Ok(answer) => Ok(answer),
            Err(refusing) => {
                self.record(refusing).await?;
                Err(error(Code::Internal, "a refusal is no answer", ""))
            }
        }
    }

    /// A folder's children; an entry shows only if `list` is permitted on it.
    pub(crate) async fn list(&self, request: v1::ListRequest) -> Answer {
        self.fresh(request.min_index).await?;
        self.allowed(Action::List, Some(&request.path), true).await?;
        let limit = if request.limit == 0 {
            LIST_MAX
        } else {
            request.limit.min(LIST_MAX)
        } as usize;
        let asked = (Action::List, Some(request.path.as_str()), true);
        let listed = self.answered(asked, |scene, subject| {
            let mut after = request.after.clone();
            let mut entries = Vec::new();
            // Pages of what exists, filtered by what may be seen, until the answer is full.
            loop {
                let children = query::children(scene.view, subject.tenant, &request.path, &after, limit + 1)?;
                let last = children.page.last().map(|child| child.name.clone());
                for child in children.page {
                    if self.shown(scene, subject, &request.path, &child) {
                        entries.push(v1::ListEntry {
                            name: child.name,
                            folder: child.folder,
                        });
                    }
                }
                match last {
                    Some(last) if children.more && entries.len() <= limit + 1 => after = last,
                    _ => break,
                }
            }
            let more = cut(&mut entries, limit);
            Ok((entries, more, scene.state_index))
        });
        let (entries, more, state_index) = listed.await?;
        Ok(response::Result::List(v1::ListReply {
            entries,
            more,
            state_index,
        }))
    }

    fn shown(&self, scene: &Scene<'_>, subject: &Subject, folder: &str, child: &Child) -> bool {
        let path = if folder.is_empty() {
            child.name.clone()
        } else {
            format!("{folder}/{}", child.name)
        };
        gate::shown(scene, &self.asker(), subject, Action::List, &path, child.folder)
    }

    /// A secret's versions.
    pub(crate) async fn metadata(&self, request: v1::MetadataRequest) -> Answer {
        self.fresh(request.min_index).await?;
        self.allowed(Action::ReadMetadata, Some(&request.path), false).await?;
        let path = parse(&request.path)?;
        let n = self.member.roster.n();
        let asked = (Action::ReadMetadata, Some(request.path.as_str()), false);
        let found = self.answered(asked, |scene, subject| {
            let Some((id, secret)) = query::secret_at(scene.view, subject.tenant, &path)? else {
                return Ok(None);
            };
            let knows_metadata = query::feature_level(scene.view)? >= levels::METADATA;
            let mut versions = Vec::new();
            for (version, state) in query::versions(scene.view, id, VERSIONS_MAX as usize)? {
                versions.push(v1::VersionInfo {
                    version,
                    created_ms: state.created_ms,
                    expires_ms: state.expires_ms,
                    deleted: state.deleted,
                    author: state.author.clone(),
                    ciphertext_bytes: state.ciphertext_bytes,
                    fragments_ok: query::confirmed(scene.view, &state, n)?,
                    log_index: state.log_index,
                    destroyed: state.destroyed,
                    // Older builds do not tell it, and answers are compared.
                    author_name: match knows_metadata {
                        true => query::principal_name(scene.view, &state.author)?,
                        false => String::new(),
                    },
                });
            }
            let metadata = query::metadata(scene.view, id)?;
            let custom = metadata.entries.into_iter().map(|entry| v1::MetadataEntry {
                key: entry.key,
                text: entry.text,
            });
            Ok(Some(v1::MetadataReply {
                secret: Bytes::copy_from_slice(id.bytes()),
                latest: secret.latest,
                versions,
                state_index: scene.state_index,
                metadata_version: metadata.version,
                custom: custom.collect(),
                settings: settings(&secret),
            }))
        });
        let found = found.await?;
        let message = format!("there is no secret at {path}");
        found
            .map(response::Result::Metadata)
            .ok_or_else(|| error(Code::NotFound, message, "symbolon list"))
    }

    /// The change that the asker may make at a path: the one named by its number on the wire, or any if none is named.
    async fn change_allowed(&self, number: u32, path: &str) -> Result<Action, v1::Error> {
        let place = usize::try_from(number).unwrap_or(usize::MAX);
        let changes = match place.checked_sub(1) {
            None => &CHANGES[..],
            Some(place) => CHANGES.get(place..=place).ok_or_else(|| {
                let message = format!("there is no change number {number}");
                error(Code::Malformed, message, "update the nodes")
            })?,
        };
        let mut first = None;
        for change in changes {
            match self.allowed(*change, Some(path), false).await {
                Ok(()) => return Ok(*change),
                Err(refused) if refused.code == Code::Denied as u32 => first = first.or(Some(refused)),
                Err(refused) => return Err(refused),
            }
        }
        Err(first.unwrap_or_default())
    }

    /// What the author of a change must know: whoever may make it.
    pub(crate) async fn resolve(&self, request: v1::ResolveRequest) -> Answer {
        self.fresh(request.min_index).await?;
        let path = parse(&request.path)?;
        let action = self.change_allowed(request.action, &request.path).await?;
        let reply = self.answered((action, Some(request.path.as_str()), false), |scene, subject| {
            let found = query::secret_at(scene.view, subject.tenant, &path)?;
            let nothing_there = v1::ResolveReply {
                tenant: Bytes::copy_from_slice(subject.tenant.bytes()),
                principal: Bytes::copy_from_slice(subject.id.bytes()),
                log_time_ms: scene.log_time_ms,
                name: subject.record.name.clone(),
                state_index: scene.state_index,
                ..v1::ResolveReply::default()
            };
            Ok(match found {
                None => nothing_there,
                Some((id, secret)) => v1::ResolveReply {
                    secret: Bytes::copy_from_slice(id.bytes()),
                    latest: secret.latest,
                    metadata_version: query::metadata(scene.view, id)?.version,
                    settings: settings(&secret),
                    ..nothing_there
                },
            })
        });
        Ok(response::Result::Resolve(reply.await?))
    }

    /// The policies in force.
    pub(crate) async fn policies(&self, request: v1::PoliciesRequest) -> Answer {
        self.fresh(request.min_index).await?;
        let reply = self.as_operator_or(Action::ReadPolicy, |scene| {
            let record = query::policies(scene.view)?;
            let sources = record.sources.into_iter().map(|s| v1::PolicySource {
                name: s.name,
                text: s.text,
            });
            Ok(v1::PoliciesReply {
                version: record.version,
                hash: Bytes::copy_from_slice(&scene.policies.hash()),
                sources: sources.collect(),
                state_index: scene.state_index,
            })
        });
        Ok(response::Result::Policies(reply.await?))
    }

    /// The registered principals.
    pub(crate) async fn principals(&self, request: v1::PrincipalsRequest) -> Answer {
        self.fresh(request.min_index).await?;
        let reply = self.as_operator_or(Action::ReadPolicy, |scene| {
            let found = query::principals(scene.view, PRINCIPALS_MAX)?;
            let principals = found.into_iter().map(|record| v1::Principal {
                id: record.id,
                tenant: record.tenant,
                kind: record.kind,
                name: record.name,
                owner: record.owner,
                purpose: record.purpose,
                expires_ms: record.expires_ms,
                groups: record.groups,
                keys: record.keys,
            });
            Ok(v1::PrincipalsReply {
                principals: principals.collect(),
                state_index: scene.state_index,
            })
        });
        Ok(response::Result::Principals(reply.await?))
    }

    /// Operators of the roster set policies and identities by their signatures, before any policy exists, so they may
    /// also see them; everyone else as Cedar says.
    pub(crate) async fn as_operator_or<T>(
        &self,
        action: Action,
        answer: impl FnOnce(&Scene<'_>) -> Result<T, Fault>,
    ) -> Result<T, v1::Error> {
        if !self.is_operator() {
            self.allowed(action, None, false).await?;
        }
        self.still(action, answer).await
    }

    fn is_operator(&self) -> bool {
        let mut operators = self.member.roster.operators.iter();
        operators.any(|operator| operator.key.fingerprint() == self.client.key)
    }

    /// Answers what [`Self::as_operator_or`] has allowed, if it still is.
    async fn still<T>(
        &self,
        action: Action,
        answer: impl FnOnce(&Scene<'_>) -> Result<T, Fault>,
    ) -> Result<T, v1::Error> {
        match self.is_operator() {
            true => self.on_scene(answer),
            false => self.answered((action, None, false), |scene, _| answer(scene)).await,
        }
    }

    /// This node's audit log, a page at a time.
    pub(crate) async fn audit(&self, request: v1::AuditRequest) -> Answer {
        self.fresh(0).await?;
        self.as_operator_or(Action::ReadAudit, |_| Ok(())).await?;
        let limit = u64::from(request.limit.clamp(1, AUDIT_PAGE_MAX));
        let failed = |reason: String| error(Code::Internal, reason, "see the node's log");
        self.unbroken()?;
        let audit = &self.member.audit;
        let checkpoint = audit
            .checkpoint(&self.member.boot)
            .await
            .map_err(|refused| failed(refused.to_string()))?;
        let size = audit.durable();
        let from = if request.tail {
            size.saturating_sub(limit)
        } else {
            request.from
        };
        let entries = audit.entries(from, limit.min(size.saturating_sub(from)));
        let (leaves, archived) = match entries.map_err(|refused| failed(refused.to_string()))? {
            Entries::Leaves(leaves) => (leaves, Vec::new()),
            Entries::Archived(hashes) => (Vec::new(), hashes),
        };
        self.still(Action::ReadAudit, |_| Ok(())).await?;
        let reader = self.member.store.reader();
        let mut boots = query::boots(&ViewAdapter::new(&reader), self.member.node).map_err(broken)?;
        if boots
            .last()
            .is_none_or(|last| last.boot_counter < self.member.boot.statement.boot_counter)
        {
            boots.push(self.member.boot.statement.clone());
        }
        Ok(response::Result::Audit(v1::AuditReply {
            from,
            leaves,
            checkpoint,
            boots,
            archived,
        }))
    }

    /// How this node stands. Any registered principal may know.
    pub(crate) fn status(&self) -> Answer {
        let now = self.member.shown.load().log_time_ms;
        let reader = self.member.store.reader();
        let view = ViewAdapter::new(&reader);
        if query::principal_by_key(&view, &self.client.key, now)
            .map_err(broken)?
            .is_none()
        {
            let next = "ask an operator to register it: symbolon agent register";
            return Err(error(
                Code::UnknownKey,
                "the connection's key belongs to no live principal",
                next,
            ));
        }
        Ok(response::Result::Status(status(self.member)))
    }
}

/// Leaves `limit` entries, and says whether there were more. Who asks goes on after the last name, so that a folder which has the name of
/// the last secret stays as well.
fn cut(entries: &mut Vec<v1::ListEntry>, limit: usize) -> bool {
    let both = match entries.get(limit.saturating_sub(1)..=limit) {
        Some([last, next]) => last.name == next.name,
        _ => false,
    };
    let whole = limit + usize::from(both);
    let more = entries.len() > whole;
    entries.truncate(whole);
    more
}

/// How a secret may be written; `None` where nothing was ever said about it.
fn settings(secret: &SecretRecord) -> Option<v1::SecretSettings> {
    let settings = v1::SecretSettings {
        max_versions: secret.max_versions,
        cas_required: secret.cas_required,
    };
    (settings != v1::SecretSettings::default()).then_some(settings)
}

/// How this node stands.
pub(crate) fn status(member: &Member) -> v1::StatusReply {
    let shown = member.shown.load();
    let raft = member.consensus.status();
    let standing = member.standing();
    let chain = member.consensus.chain_at(shown.applied).ok().flatten();
    let mark = member.consensus.marks().borrow().clone();
    v1::StatusReply {
        node: member.node.into(),
        state: standing.word().to_owned(),
        reason: standing.reason(),
        leader: raft
            .leader
            .and_then(|leader| u32::try_from(leader).ok())
            .unwrap_or_default(),
        term: raft.term,
        applied: shown.applied,
        accepted: member.consensus.progress().accepted(),
        chain: chain.map(|chain| Bytes::copy_from_slice(&chain)).unwrap_or_default(),
        log_time_ms: shown.log_time_ms,
        boot_counter: member.boot.signer.boot_counter,
        feature_level: shown.feature_level,
        roster_version: member.roster.version,
        tls_group: tls::GROUP.to_owned(),
        token: member.token.clone(),
        audit_size: member.audit.durable(),
        software: env!("CARGO_PKG_VERSION").to_owned(),
        policy_version: shown.policy_version,
        policies: shown.policies.len() as u64,
        releases: member.counters.releases.load(Ordering::Relaxed),
        denials: member.counters.denials.load(Ordering::Relaxed),
        excluded: member.excluded().into_iter().map(u32::from).collect(),
        outvoted: lock(&member.heads).outvoted().map(u32::from).collect(),
        build_level: levels::known(),
        mark: mark.as_ref().map_or(0, |mark| mark.index),
        state_root: mark
            .map(|mark| Bytes::copy_from_slice(&mark.state_root))
            .unwrap_or_default(),
        syncs: member.store.syncs(),
        audit_cosigned: member.following.cosigned(),
        audit_anchored: cosign::anchored(member, member.node)
            .ok()
            .flatten()
            .map_or(0, |anchor| anchor.head.size),
        audit_fault: member.following.fault().unwrap_or_default(),
        audit_forks: member.following.forked().into_iter().map(u32::from).collect(),
        fragments_missing: member.missing.counted(),
    }
}

fn parse(path: &str) -> Result<Path, v1::Error> {
    Path::parse(path).map_err(|refused| error(Code::BadPath, refused.to_string(), "see docs/ARCHITECTURE.md, Names"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(names: &[&str]) -> Vec<v1::ListEntry> {
        let entry = |name: &&str| v1::ListEntry {
            name: (*name).to_owned(),
            folder: false,
        };
        names.iter().map(entry).collect()
    }

    #[test]
    fn a_listing_is_not_cut_between_a_secret_and_the_folder_of_its_name() {
        for (names, limit, left, more) in [
            (&["a", "b", "c"][..], 2, 2, true),
            (&["a", "b", "b", "c"], 2, 3, true),
            (&["a", "b", "b"], 2, 3, false),
            (&["a", "a", "b"], 2, 2, true),
            (&["a", "b"], 2, 2, false),
            (&[], 2, 0, false),
        ] {
            let mut listed = entries(names);
            assert_eq!((cut(&mut listed, limit), listed.len()), (more, left), "{names:?}");
        }
    }
}
