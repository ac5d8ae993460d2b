//! The operators: they register and remove agents and change policies, with the signatures that the roster asks for.

use super::{Identity, OpCounter, Sender, Submission, command};
use crate::dice::Dice;
use crate::grants::{Grants, agent_name};
use crate::history::{Answer, Call, ChangeKind, What};
use crate::limits::SUBMIT_WITHIN;
use crate::site::Site;
use bytes::Bytes;
use std::sync::Arc;
use symbolon_crypto::sign::SigningKey;
use symbolon_state::testing::BIRTH_MS;
use symbolon_wire::Code;
use symbolon_wire::ids::{PrincipalId, PrincipalKind};
use symbolon_wire::v1::{self, command_body::Payload};

/// Who the operators are to the history.
pub(crate) const OPERATORS: u16 = 1_000;

/// No agent expires within a run.
const YEAR_MS: u64 = 365 * 24 * 60 * 60 * 1000;

/// What came of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operated {
    /// It was acknowledged.
    Done,
    /// It had no effect.
    Refused(Code),
    /// It may still happen.
    Unknown,
}

/// The operators, acting as one.
pub(crate) struct Operator {
    site: Arc<Site>,
    author: PrincipalId,
    keys: Vec<SigningKey>,
    dice: Dice,
    ops: OpCounter,
    /// Version of the policies in force.
    version: u64,
    pub(crate) grants: Grants,
    /// What would be in force if a change of unknown outcome has happened.
    unsettled: Option<Grants>,
    /// Whom they ask first; nobody in particular if `None`.
    pub(crate) first: Option<u16>,
}

impl Operator {
    /// From the operators' ids and keys; the first one is the author of every command.
    pub(crate) fn new(site: Arc<Site>, author: PrincipalId, keys: Vec<SigningKey>, ops: OpCounter) -> Self {
        let dice = Dice::new(site.seed, "operators");
        Self {
            site,
            author,
            keys,
            dice,
            ops,
            version: 0,
            grants: Grants::default(),
            unsettled: None,
            first: None,
        }
    }

    /// The run's seed.
    pub(crate) fn seed(&self) -> u64 {
        self.site.seed
    }

    /// Replaces the policies. Each set follows a version, so that a change tells what came of an unknown one before it: if
    /// it conflicts, that one has happened; if it is taken, that one never will.
    pub(crate) async fn grant(&mut self, grants: Grants) -> Operated {
        let set = v1::SetPolicies {
            previous: self.version,
            sources: grants.to_sources(),
        };
        let change = ChangeKind::Policies(grants.clone());
        let operated = self.change(change, Payload::Policies(set)).await;
        match operated {
            Operated::Done => {
                self.version += 1;
                self.grants = grants;
                self.unsettled = None;
            }
            Operated::Unknown => self.unsettled = Some(grants),
            Operated::Refused(Code::Conflict) => {
                if let Some(happened) = self.unsettled.take() {
                    self.version += 1;
                    self.grants = happened;
                }
            }
            Operated::Refused(_) => {}
        }
        operated
    }

    /// Registers an agent.
    pub(crate) async fn register(&mut self, identity: &Identity) -> Operated {
        let register = v1::RegisterPrincipal {
            id: Bytes::copy_from_slice(identity.id.bytes()),
            tenant: Bytes::copy_from_slice(self.site.roster.first_tenant.bytes()),
            kind: PrincipalKind::Agent as u32,
            name: agent_name(identity.agent),
            owner: "owner@sim".to_owned(),
            purpose: "simulation".to_owned(),
            expires_ms: BIRTH_MS + YEAR_MS,
            groups: Vec::new(),
            keys: vec![Bytes::copy_from_slice(identity.key.verifying_key().spki())],
        };
        let change = ChangeKind::Registered(identity.agent);
        self.change(change, Payload::Register(register)).await
    }

    /// Removes an agent.
    pub(crate) async fn remove(&mut self, agent: u16) -> Operated {
        let id = self.site.principals.iter().find(|(_, known)| **known == agent);
        let Some((id, _)) = id else {
            return Operated::Refused(Code::NotFound);
        };
        let id = Bytes::copy_from_slice(id.bytes());
        let remove = Payload::Remove(v1::RemovePrincipal { id });
        self.change(ChangeKind::Removed(agent), remove).await
    }

    /// Where the operators' commands come from.
    pub(crate) fn sender(&self) -> Option<Sender> {
        Some(Sender {
            site: Arc::clone(&self.site),
            client: OPERATORS,
            key: self.keys.first()?.verifying_key().fingerprint(),
        })
    }

    async fn change(&mut self, change: ChangeKind, payload: Payload) -> Operated {
        let Some(sender) = self.sender() else {
            return Operated::Refused(Code::UnknownKey);
        };
        let op = self.ops.next();
        let keys: Vec<&SigningKey> = self.keys.iter().collect();
        let command = command(&self.site, &self.dice.bytes(), payload, self.author, &keys);
        let call = Call::Change {
            kind: change,
            previous: self.version,
        };
        self.site.recorder.note(What::Called {
            op,
            agent: OPERATORS,
            call,
        });
        let nodes = self.site.nodes();
        let mut nodes = self.dice.shuffled(nodes);
        nodes.sort_by_key(|node| Some(*node) != self.first);
        let (answer, operated) = match sender.submit(&command, 0, &nodes, SUBMIT_WITHIN).await {
            Submission::Done { index, chain, .. } => (Answer::Done { index, chain }, Operated::Done),
            Submission::Refused(code) => (Answer::Refused(code), Operated::Refused(code)),
            Submission::Unknown => (Answer::Unknown, Operated::Unknown),
            Submission::Wrong(what) => (Answer::Wrong(what), Operated::Unknown),
        };
        self.site.recorder.note(What::Answered { op, answer });
        operated
    }
}
