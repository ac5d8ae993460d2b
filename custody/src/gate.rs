//! The release gate (custody.md, "Reading", steps 4 and 5): decide, write the decision down, and only then release.
//!
//! ```text
//! rule ──► Ruling ──► record (durable) ──► Permit + Receipt ──► ReleaseGrant ──► Holder::release
//! ```

use crate::freshness::Deadline;
use bytes::Bytes;
use core::net::IpAddr;
use std::future::Future;
use symbolon_crypto::Hash;
use symbolon_crypto::merkle::leaf_hash;
use symbolon_policy::{Action, Decision, PolicyRef, PolicySet};
use symbolon_state::query::{self, visible};
use symbolon_state::records::{VersionRecord, VersionState};
use symbolon_state::{Access, Fault, LocalContext, Subject, View, levels};
use symbolon_wire::ids::SecretId;
use symbolon_wire::path::{PATH_BYTES_MAX, Path};
use symbolon_wire::v1::AuditLeaf;
use symbolon_wire::{Code, audit};

/// A node stops releasing while log time and its own clock are further apart than this, ms.
pub const CLOCKS_APART_MS_MAX: u64 = 60_000;

/// Longest text of the asker's in a leaf, bytes; the rest is cut.
const TEXT_BYTES_MAX: usize = 2 * symbolon_wire::limits::TEXT_BYTES_MAX;
/// Deciding policies named in a leaf, bytes; a request that very many permit names the first and counts the rest.
const POLICIES_BYTES_MAX: usize = 4 * 1024;
// Two texts, a SPIFFE ID, the policies, and what the other fields take make a leaf that can be read again.
const _: () = assert!(2 * TEXT_BYTES_MAX + PATH_BYTES_MAX + POLICIES_BYTES_MAX + 2 * 1024 < audit::LEAF_BYTES_MAX);

/// The audit log as the gate needs it.
pub trait AuditLog {
    /// Appends leaves in order and returns the index of the first **after all are durable**; receipts are made from
    /// nothing else.
    fn append(&self, leaves: Vec<Bytes>) -> impl Future<Output = Result<u64, AuditFailed>> + Send;
}

/// The decision could not be written down, so nothing is released.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the audit log does not take the record: {reason}")]
pub struct AuditFailed {
    /// What storage says.
    pub reason: String,
}

/// Who asks and how, as this node sees it.
#[derive(Debug, Clone, Copy)]
pub struct Asker<'a> {
    /// The key that the connection showed.
    pub client_key: &'a Hash,
    /// Where from.
    pub source: IpAddr,
    /// Key-exchange group of the connection.
    pub tls_group: &'a str,
    /// SHA-256 of the request as received.
    pub request_hash: &'a Hash,
    /// Why, in the asker's words.
    pub purpose: &'a str,
}

/// What the decision is made upon.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    /// This node.
    pub node: u16,
    /// Its boot.
    pub boot_counter: u64,
    /// 16 random bytes for the audit leaf.
    pub salt: [u8; 16],
    /// This node's clock, ms since 1970.
    pub local_time_ms: u64,
    /// Log time at the state index.
    pub log_time_ms: u64,
    /// Applied index of `view`.
    pub state_index: u64,
    /// The records at that index.
    pub view: &'a dyn View,
    /// The policies at that index.
    pub policies: &'a PolicySet,
}

/// Why an answer is refused; becomes the error on the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The stable code.
    pub code: Code,
    /// What.
    pub message: String,
    /// Why, line by line.
    pub because: Vec<String>,
    /// What to do.
    pub next: String,
}

impl Refusal {
    fn new(code: Code, message: impl Into<String>, next: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            because: Vec::new(),
            next: next.into(),
        }
    }
}

/// A decision that is not yet written down.
#[derive(Debug)]
pub struct Ruling {
    leaf: AuditLeaf,
    verdict: Verdict,
}

#[derive(Debug)]
enum Verdict {
    Release(Box<VersionRecord>),
    Answer(Subject),
    Refuse(Refusal),
}

impl Ruling {
    /// The record hash that would be released; `None` for any other verdict. For the second look of step 5.
    pub fn release_of(&self) -> Option<&[u8]> {
        match &self.verdict {
            Verdict::Release(record) => Some(&record.record_hash),
            Verdict::Answer(_) | Verdict::Refuse(_) => None,
        }
    }

    /// Whom it lets have an answer without key material; `None` for any other verdict.
    pub fn answers(&self) -> Option<&Subject> {
        match &self.verdict {
            Verdict::Answer(subject) => Some(subject),
            Verdict::Release(_) | Verdict::Refuse(_) => None,
        }
    }

    /// Whether it is a refusal.
    pub fn refuses(&self) -> bool {
        matches!(self.verdict, Verdict::Refuse(_))
    }

    /// Bytes of the ciphertext that this ruling holds, and its reply may carry.
    pub fn ciphertext_bytes(&self) -> usize {
        match &self.verdict {
            Verdict::Release(record) => record.ciphertext.len(),
            Verdict::Answer(_) | Verdict::Refuse(_) => 0,
        }
    }
}

/// Proof that policy allowed one release; made only here.
#[derive(Debug)]
pub struct Permit {
    decision: Hash,
    record: Box<VersionRecord>,
}

impl Permit {
    /// Record hash of the version that may be released.
    pub fn record_hash(&self) -> &[u8] {
        &self.record.record_hash
    }

    /// Whether a second look comes to the same (custody.md, "Freshness", step 5).
    pub fn stands_by(&self, second: &Ruling) -> bool {
        #[cfg(feature = "sabotage")]
        if symbolon_sabotage::Bug::SecondLookSkipped.on() {
            return true;
        }
        second.release_of() == Some(self.record_hash())
    }
}

/// Proof that one decision is durable in this node's audit log; made only here.
#[derive(Debug)]
pub struct Receipt {
    decision: Hash,
    index: u64,
    state_index: u64,
}

impl Receipt {
    /// Index of the decision in this node's audit log.
    pub fn index(&self) -> u64 {
        self.index
    }

    /// Applied index that the decision was made upon.
    pub fn state_index(&self) -> u64 {
        self.state_index
    }

    /// The hash of its leaf there.
    pub fn leaf_hash(&self) -> &Hash {
        &self.decision
    }
}

/// What a recorded decision says.
#[derive(Debug)]
pub enum Recorded {
    /// A fragment may be released.
    Permitted(Permit, Receipt),
    /// An answer without key material may be given, to this principal.
    Answered(Subject, Receipt),
    /// No; the receipt tells where it was written down.
    Refused(Refusal, Receipt),
}

/// The right to release one fragment once: takes a permit and a receipt of the same decision.
#[derive(Debug)]
pub struct ReleaseGrant {
    record: Box<VersionRecord>,
}

/// A grant could not be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// Permit and receipt are of different decisions.
    #[error("permit and receipt belong to different decisions")]
    Mismatch,
    /// More than 2 s have passed since the node sampled its log.
    #[error("the decision is too old to act on")]
    TooLate,
}

impl ReleaseGrant {
    /// From a permit and a receipt of the same decision, within the deadline.
    pub fn new(permit: Permit, receipt: &Receipt, deadline: Deadline, now_ms: u64) -> Result<Self, GrantError> {
        let same = permit.decision == receipt.decision;
        #[cfg(feature = "sabotage")]
        let same = same || symbolon_sabotage::Bug::PermitForAnother.on();
        if !same {
            return Err(GrantError::Mismatch);
        }
        let holds = deadline.holds(now_ms);
        #[cfg(feature = "sabotage")]
        let holds = holds || symbolon_sabotage::Bug::LateGrant.on();
        if !holds {
            return Err(GrantError::TooLate);
        }
        Ok(Self { record: permit.record })
    }

    /// The version that is released.
    pub fn record(&self) -> &VersionRecord {
        &self.record
    }
}

/// Writes a group of rulings down and waits until they are durable: one sync for all.
pub async fn record(log: &impl AuditLog, rulings: Vec<Ruling>) -> Result<Vec<Recorded>, AuditFailed> {
    let (leaves, verdicts): (Vec<Bytes>, Vec<(Hash, u64, Verdict)>) = rulings
        .into_iter()
        .map(|ruling| {
            let leaf = audit::encode(&ruling.leaf);
            let decision = leaf_hash(&leaf);
            (leaf, (decision, ruling.leaf.state_index, ruling.verdict))
        })
        .unzip();
    let first = log.append(leaves).await?;
    Ok((first..)
        .zip(verdicts)
        .map(|(index, (decision, state_index, verdict))| {
            verdict.recorded(Receipt {
                decision,
                index,
                state_index,
            })
        })
        .collect())
}

impl Verdict {
    fn recorded(self, receipt: Receipt) -> Recorded {
        let decision = receipt.decision;
        match self {
            Self::Release(record) => Recorded::Permitted(Permit { decision, record }, receipt),
            Self::Answer(subject) => Recorded::Answered(subject, receipt),
            Self::Refuse(refusal) => Recorded::Refused(refusal, receipt),
        }
    }
}

/// Rules on the release of one version (`version` 0: the latest) of the secret at `path`.
pub fn rule_read(scene: &Scene<'_>, asker: &Asker<'_>, path: &str, version: u64) -> Result<Ruling, Fault> {
    let (mut leaf, subject) = match open(scene, asker, Action::Read, path)? {
        Opened::Go(opened) => *opened,
        Opened::Refused(ruling) => return Ok(*ruling),
    };
    let parsed = match Path::parse(path) {
        Ok(parsed) => parsed,
        Err(error) => {
            let refusal = Refusal::new(Code::BadPath, error.to_string(), "");
            return Ok(refuse(leaf, refusal));
        }
    };
    let decision = ask(scene, asker, &subject, Action::Read, Some(path), false, None);
    note(&mut leaf, &decision);
    let allowed = decision.allowed();
    #[cfg(feature = "sabotage")]
    let allowed = allowed || symbolon_sabotage::Bug::PolicyNotAskedAtRelease.on();
    if !allowed {
        return Ok(refuse(leaf, denied(&subject, Action::Read, path, &decision)));
    }
    Ok(match find(scene, &subject, &parsed, version)? {
        Some((secret, record)) => {
            leaf.secret = Bytes::copy_from_slice(secret.bytes());
            leaf.version = record.version;
            allow(leaf, Verdict::Release(Box::new(record)))
        }
        None => refuse(leaf, not_found(path, version)),
    })
}

/// Rules on an answer without key material. `path` is `None` for the cluster itself, empty for the tenant's root.
pub fn rule_answer(
    scene: &Scene<'_>,
    asker: &Asker<'_>,
    action: Action,
    path: Option<&str>,
    folder: bool,
) -> Result<Ruling, Fault> {
    let (mut leaf, subject) = match open(scene, asker, action, path.unwrap_or("(cluster)"))? {
        Opened::Go(opened) => *opened,
        Opened::Refused(ruling) => return Ok(*ruling),
    };
    if let Some(path) = path.filter(|path| !path.is_empty())
        && let Err(error) = Path::parse(path)
    {
        return Ok(refuse(leaf, Refusal::new(Code::BadPath, error.to_string(), "")));
    }
    let decision = match action {
        Action::Write => ask_either_way(scene, asker, &subject, path)?,
        _ => ask(scene, asker, &subject, action, path, folder, None),
    };
    note(&mut leaf, &decision);
    if !decision.allowed() {
        return Ok(refuse(
            leaf,
            denied(&subject, action, path.unwrap_or("the cluster"), &decision),
        ));
    }
    Ok(allow(leaf, Verdict::Answer(subject)))
}

/// Before a write it is not known whether its author will state the version that it follows: whoever may write in one of
/// the two ways may learn what he must know for it. Apply decides about the write itself.
fn ask_either_way(
    scene: &Scene<'_>,
    asker: &Asker<'_>,
    subject: &Subject,
    path: Option<&str>,
) -> Result<Decision, Fault> {
    let ask = |cas| ask(scene, asker, subject, Action::Write, path, false, cas);
    if query::feature_level(scene.view)? < levels::METADATA {
        return Ok(ask(None));
    }
    let stated = ask(Some(true));
    if stated.allowed() {
        return Ok(stated);
    }
    Ok(Some(ask(Some(false))).filter(Decision::allowed).unwrap_or(stated))
}

/// Whether `subject` may also `action` upon `path`: for each entry of a listing, without a record of its own.
pub fn shown(
    scene: &Scene<'_>,
    asker: &Asker<'_>,
    subject: &Subject,
    action: Action,
    path: &str,
    folder: bool,
) -> bool {
    ask(scene, asker, subject, action, Some(path), folder, None).allowed()
}

/// Later of the two clocks: what has expired by either has expired.
pub fn later_clock(scene: &Scene<'_>) -> u64 {
    scene.log_time_ms.max(scene.local_time_ms)
}

enum Opened {
    Go(Box<(AuditLeaf, Subject)>),
    Refused(Box<Ruling>),
}

/// What every ruling starts with: the leaf, the clocks, the principal.
fn open(scene: &Scene<'_>, asker: &Asker<'_>, action: Action, resource: &str) -> Result<Opened, Fault> {
    let mut leaf = AuditLeaf {
        salt: Bytes::copy_from_slice(&scene.salt),
        node: scene.node.into(),
        boot_counter: scene.boot_counter,
        local_time_ms: scene.local_time_ms,
        log_time_ms: scene.log_time_ms,
        client_key: Bytes::copy_from_slice(asker.client_key),
        source: asker.source.to_string(),
        action: action.name().to_owned(),
        resource: clip(resource),
        purpose: clip(asker.purpose),
        policy_hash: Bytes::copy_from_slice(&scene.policies.hash()),
        state_index: scene.state_index,
        tls_group: asker.tls_group.to_owned(),
        request_hash: Bytes::copy_from_slice(asker.request_hash),
        ..AuditLeaf::default()
    };
    let far = scene.log_time_ms.abs_diff(scene.local_time_ms) > CLOCKS_APART_MS_MAX;
    #[cfg(feature = "sabotage")]
    let far = far && !symbolon_sabotage::Bug::ClocksApartIgnored.on();
    if far {
        let apart = scene.log_time_ms.abs_diff(scene.local_time_ms) / 1000;
        let message = format!("node {}'s clock and log time are {apart} s apart", scene.node);
        let refusal = Refusal::new(Code::ClockApart, message, "check the clocks of the nodes");
        return Ok(Opened::Refused(Box::new(refuse(leaf, refusal))));
    }
    let Some(subject) = query::principal_by_key(scene.view, asker.client_key, later_clock(scene))? else {
        let message = "the connection's key belongs to no live principal";
        let next = "ask an operator to register it: symbolon agent register";
        return Ok(Opened::Refused(Box::new(refuse(
            leaf,
            Refusal::new(Code::UnknownKey, message, next),
        ))));
    };
    leaf.principal = Bytes::copy_from_slice(subject.id.bytes());
    leaf.principal_name.clone_from(&subject.record.name);
    Ok(Opened::Go(Box::new((leaf, subject))))
}

/// Text of the asker's, bounded so that a leaf is, and so is what is looked at.
fn clip(text: &str) -> String {
    let mut clipped = String::new();
    for found in text.chars().take(TEXT_BYTES_MAX).filter(|c| !c.is_control()) {
        if clipped.len() + found.len_utf8() > TEXT_BYTES_MAX {
            break;
        }
        clipped.push(found);
    }
    clipped
}

fn ask(
    scene: &Scene<'_>,
    asker: &Asker<'_>,
    subject: &Subject,
    action: Action,
    path: Option<&str>,
    folder: bool,
    cas: Option<bool>,
) -> Decision {
    let local = LocalContext {
        time_ms: scene.local_time_ms,
        source: asker.source,
        tls_group: asker.tls_group,
        client_key: asker.client_key,
    };
    let access = Access {
        subject,
        action,
        path,
        folder,
        log_time_ms: scene.log_time_ms,
        cas,
        local: Some(local),
    };
    access.decide(scene.policies)
}

fn note(leaf: &mut AuditLeaf, decision: &Decision) {
    leaf.policies = deciding(decision.determining());
    leaf.inputs_digest = Bytes::copy_from_slice(decision.inputs_digest());
}

/// The policies that decided, one line each, as many as a leaf has room for.
fn deciding(policies: &[PolicyRef]) -> Vec<String> {
    let mut lines = Vec::new();
    let mut bytes = 0;
    for policy in policies {
        let line = policy.to_string();
        bytes += line.len();
        if bytes > POLICIES_BYTES_MAX {
            lines.push(format!("and {} more", policies.len() - lines.len()));
            break;
        }
        lines.push(line);
    }
    lines
}

fn find(
    scene: &Scene<'_>,
    subject: &Subject,
    path: &Path,
    version: u64,
) -> Result<Option<(SecretId, VersionRecord)>, Fault> {
    let Some((id, secret)) = query::secret_at(scene.view, subject.tenant, path)? else {
        return Ok(None);
    };
    let number = if version == 0 { secret.latest } else { version };
    let found: Option<(VersionRecord, VersionState)> = query::version(scene.view, id, number)?;
    Ok(found
        .filter(|(_, state)| visible(state, later_clock(scene)))
        .map(|(record, _)| (id, record)))
}

fn not_found(path: &str, version: u64) -> Refusal {
    let message = if version == 0 {
        format!("there is nothing to read at {path}")
    } else {
        format!("there is no version {version} to read at {path}")
    };
    Refusal::new(Code::NotFound, message, format!("symbolon history {path}"))
}

fn denied(subject: &Subject, action: Action, path: &str, decision: &Decision) -> Refusal {
    let path = if path.is_empty() { "/" } else { path };
    let next = match action {
        Action::ReadPolicy => "ask an operator for a policy that permits it",
        _ => "ask an operator for a policy that permits it: symbolon policy show",
    };
    Refusal {
        code: Code::Denied,
        message: format!("{} may not {} {path}", subject.record.name, action.name()),
        because: decision.explain(),
        next: next.to_owned(),
    }
}

fn allow(mut leaf: AuditLeaf, verdict: Verdict) -> Ruling {
    leaf.allowed = true;
    leaf.outcome = "allowed".to_owned();
    Ruling { leaf, verdict }
}

fn refuse(mut leaf: AuditLeaf, refusal: Refusal) -> Ruling {
    leaf.code = refusal.code as u32;
    leaf.outcome = refusal.code.title().to_owned();
    Ruling {
        leaf,
        verdict: Verdict::Refuse(refusal),
    }
}
