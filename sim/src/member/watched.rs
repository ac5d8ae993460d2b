//! The node's own state machine, with an observer: what was applied, and what it changed about who may read.

use crate::grants::Grants;
use crate::history::{Change, ChangeKind, Entry, What};
use crate::site::Site;
use bytes::Bytes;
use prost::Message;
use std::sync::Arc;
use symbolon_consensus::{Committed, Fatal, Outcome, Records, StateMachine, View};
use symbolon_node::machine::NodeMachine;
use symbolon_state::entry::Kind;
use symbolon_wire::command::ParsedCommand;
use symbolon_wire::ids::PrincipalId;
use symbolon_wire::v1::{self, command_body::Payload};

/// See the module.
pub(super) struct Watched {
    machine: NodeMachine,
    node: u16,
    site: Arc<Site>,
    /// Whether the state of the disk has been read: what is restored later is a snapshot.
    opened: bool,
}

impl Watched {
    pub(super) fn new(machine: NodeMachine, node: u16, site: Arc<Site>) -> Self {
        Self {
            machine,
            node,
            site,
            opened: false,
        }
    }

    fn entry(&self, kind: u16, payload: &[u8], reply: &Bytes) -> Option<Entry> {
        let payload = Bytes::copy_from_slice(payload);
        match Kind::from_number(kind)? {
            Kind::Command => {
                let outcome = v1::Outcome::decode(reply.clone()).ok()?;
                self.command(payload, &outcome)
            }
            Kind::FragmentOk => {
                let confirmed = v1::FragmentOk::decode(payload).ok()?;
                Some(Entry::Confirmed {
                    node: u16::try_from(confirmed.node).ok()?,
                    indices: confirmed.indices,
                })
            }
            _ => None,
        }
    }

    fn command(&self, payload: Bytes, outcome: &v1::Outcome) -> Option<Entry> {
        if outcome.code != 0 {
            return None;
        }
        let command = ParsedCommand::parse(payload).ok()?;
        let agent = |id: &Bytes| {
            let id = PrincipalId::parse(id).ok()?;
            self.site.principals.get(&id).copied()
        };
        let kind = match &command.payload {
            Payload::Put(_) => return Some(Entry::Dealt(outcome.record_hash.as_ref().try_into().ok()?)),
            Payload::Policies(set) => ChangeKind::Policies(Grants::parse(&set.sources)?),
            Payload::Register(register) => ChangeKind::Registered(agent(&register.id)?),
            Payload::Remove(remove) => ChangeKind::Removed(agent(&remove.id)?),
            _ => return None,
        };
        Some(Entry::Change(Change {
            nonce: command.nonce,
            kind,
        }))
    }
}

impl StateMachine for Watched {
    fn apply(&mut self, records: &mut dyn Records, entry: Committed<'_>) -> Result<Outcome, Fatal> {
        let (index, chain, kind, payload) = (entry.index, entry.chain, entry.kind, entry.payload);
        let outcome = self.machine.apply(records, entry)?;
        self.site.recorder.note(What::Applied {
            node: self.node,
            index,
            chain,
            entry: self.entry(kind, payload, &outcome.reply).unwrap_or(Entry::Other),
        });
        Ok(outcome)
    }

    fn published(&mut self, applied: u64) {
        self.machine.published(applied);
    }

    fn restored(&mut self, records: &dyn View, index: u64) -> Result<(), Fatal> {
        if std::mem::replace(&mut self.opened, true) {
            let node = self.node;
            self.site.recorder.note(What::TookOver { node, index });
        }
        self.machine.restored(records, index)
    }

    fn names_of(&self, key: &[u8], value: &[u8]) -> Vec<(u8, Vec<u8>, Vec<u8>, Bytes)> {
        self.machine.names_of(key, value)
    }
}
