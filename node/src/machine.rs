//! The state machine as consensus wants it: `state` behind the adapters of this node's store, and what readers see of
//! it, published batch by batch.

use crate::changes::Changes;
use arc_swap::ArcSwap;
use bytes::Bytes;
use prost::Message;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;
use symbolon_consensus as consensus;
use symbolon_consensus::{Committed, Fatal, Outcome, StateMachine, StoreFault};
use symbolon_crypto::provider::Provider;
use symbolon_policy::PolicySet;
use symbolon_state::entry::{Entry, Kind};
use symbolon_state::{BootView, Clock, Effect, Fault, Machine, query};
use symbolon_wire::roster::Roster;
use symbolon_wire::v1;
use tokio::sync::mpsc;

/// What readers see of the state, alike for one batch.
#[derive(Clone)]
pub struct Published {
    /// Applied index.
    pub applied: u64,
    /// Log time there; 0 before the first entry.
    pub log_time_ms: u64,
    /// Policies in force.
    pub policies: Arc<PolicySet>,
    /// Their version.
    pub policy_version: u64,
    /// Feature level in force.
    pub feature_level: u32,
    /// Counts applied entries that a decision may depend on; a reader whose count differs at sending decides again.
    pub sensitive: u64,
    /// The nodes' keys of their current boots.
    pub boots: Arc<BTreeMap<u16, BootView>>,
}

impl Published {
    fn empty() -> Self {
        Self {
            applied: 0,
            log_time_ms: 0,
            policies: Arc::new(PolicySet::empty()),
            policy_version: 0,
            feature_level: 1,
            sensitive: 0,
            boots: Arc::default(),
        }
    }
}

/// Where readers find the newest [`Published`].
pub type Shown = Arc<ArcSwap<Published>>;

/// What nobody has published yet.
pub fn nothing_shown() -> Shown {
    Arc::new(ArcSwap::from_pointee(Published::empty()))
}

/// `state`'s machine, driven by consensus.
pub struct NodeMachine {
    roster: Arc<Roster>,
    provider: Arc<dyn Provider>,
    machine: Option<Machine>,
    next: Published,
    shown: Shown,
    effects: mpsc::UnboundedSender<Effect>,
    pending: Vec<Effect>,
    changes: Arc<Changes>,
    changed: Vec<v1::Change>,
}

impl NodeMachine {
    /// Before anything is applied or restored.
    pub fn new(
        roster: Arc<Roster>,
        provider: Arc<dyn Provider>,
        shown: Shown,
        effects: mpsc::UnboundedSender<Effect>,
    ) -> Self {
        Self {
            roster,
            provider,
            machine: None,
            next: Published::empty(),
            shown,
            effects,
            pending: Vec::new(),
            changes: Arc::default(),
            changed: Vec::new(),
        }
    }

    /// What was changed last, for those who watch it.
    pub(crate) fn changes(&self) -> Arc<Changes> {
        Arc::clone(&self.changes)
    }

    fn refresh(&mut self, machine: &Machine) {
        self.next.policies = Arc::clone(machine.policies());
        self.next.policy_version = machine.policy_version();
        self.next.boots = Arc::new(machine.boots().clone());
    }

    fn note(&mut self, entry: &Entry, effects: &[Effect]) {
        self.next.applied = entry.index;
        // A new version never invalidates a decision on an older one, nor do a confirmation or a text beside it. Time and
        // all else may.
        let harmless = |effect: &Effect| {
            matches!(
                effect,
                Effect::Dealt { .. }
                    | Effect::Confirmed
                    | Effect::Complained { .. }
                    | Effect::Metadata { .. }
                    | Effect::Changed(_)
                    | Effect::SnapshotMark
                    | Effect::AuditAnchored { .. }
            )
        };
        if entry.kind == Kind::Ticks.number() || !effects.iter().all(harmless) {
            self.next.sensitive += 1;
        }
    }
}

impl StateMachine for NodeMachine {
    fn apply(&mut self, records: &mut dyn consensus::Records, entry: Committed<'_>) -> Result<Outcome, Fatal> {
        #[cfg(feature = "sabotage")]
        crate::sabotage::apply(entry.kind);
        let entry = Entry {
            index: entry.index,
            kind: entry.kind,
            payload: Bytes::copy_from_slice(entry.payload),
            chain: entry.chain,
        };
        let mut adapter = RecordsAdapter {
            records,
            fault: RefCell::new(None),
        };
        let mut machine = match self.machine.take() {
            Some(machine) => machine,
            None => {
                Machine::genesis(&mut adapter, &self.roster);
                let loaded = Machine::load(&adapter, Arc::clone(&self.roster), Arc::clone(&self.provider));
                let machine = loaded.map_err(|fault| adapter.fatal(fault))?;
                self.refresh(&machine);
                machine
            }
        };
        let applied = machine
            .apply(&mut adapter, &entry)
            .map_err(|fault| adapter.fatal(fault))?;
        if matches!(Kind::from_number(entry.kind), Some(Kind::Ticks)) || self.next.log_time_ms == 0 {
            self.next.log_time_ms = Clock::read(&adapter)
                .map_err(|fault| adapter.fatal(fault))?
                .log_time_ms();
        }
        for effect in &applied.effects {
            match effect {
                Effect::Policies | Effect::Booted { .. } => self.refresh(&machine),
                Effect::FeatureLevel { level } => self.next.feature_level = *level,
                _ => {}
            }
        }
        self.machine = Some(machine);
        self.note(&entry, &applied.effects);
        let mark_snapshot = applied.effects.contains(&Effect::SnapshotMark);
        for effect in applied.effects {
            match effect {
                Effect::Changed(change) => self.changed.push(change),
                other => self.pending.push(other),
            }
        }
        Ok(Outcome {
            reply: applied.outcome.encode_to_vec().into(),
            mark_snapshot,
        })
    }

    fn published(&mut self, _applied: u64) {
        // Kept before they are shown, so that whoever sees a state finds all changes up to it; told after that.
        let told = self.changes.keep(self.changed.drain(..));
        self.shown.store(Arc::new(self.next.clone()));
        self.changes.tell(told);
        for effect in self.pending.drain(..) {
            // Nobody listens any more only while the node stops.
            let _ = self.effects.send(effect);
        }
    }

    fn restored(&mut self, records: &dyn consensus::View, index: u64) -> Result<(), Fatal> {
        let view = ViewAdapter {
            view: records,
            fault: RefCell::new(None),
        };
        self.next = Published::empty();
        self.machine = None;
        let started = symbolon_state::View::get(&view, &symbolon_state::keys::clock());
        if started.map_err(|fault| view.fatal(fault))?.is_some() {
            let load = || -> Result<(Machine, u64, u32), Fault> {
                let machine = Machine::load(&view, Arc::clone(&self.roster), Arc::clone(&self.provider))?;
                Ok((machine, Clock::read(&view)?.log_time_ms(), query::feature_level(&view)?))
            };
            let (machine, log_time_ms, feature_level) = load().map_err(|fault| view.fatal(fault))?;
            self.refresh(&machine);
            self.next.log_time_ms = log_time_ms;
            self.next.feature_level = feature_level;
            self.machine = Some(machine);
        }
        self.next.applied = index;
        self.next.sensitive = self.shown.load().sensitive + 1;
        self.changed.clear();
        // Which entries led here, and what each of them changed, is not known.
        self.changes.restart(index);
        self.shown.store(Arc::new(self.next.clone()));
        self.changes.tell_all();
        Ok(())
    }

    fn names_of(&self, key: &[u8], value: &[u8]) -> Vec<(u8, Vec<u8>, Vec<u8>, Bytes)> {
        // A record that does not decode has no names; loading it fails with a clear error.
        let entries = symbolon_state::names_of(key, &Bytes::copy_from_slice(value)).unwrap_or_default();
        entries
            .into_iter()
            .map(|entry| (entry.kind, entry.parent, entry.name, entry.value))
            .collect()
    }
}

type Kept = RefCell<Option<StoreFault>>;

fn fatal(kept: &Kept, fault: Fault) -> Fatal {
    match (kept.borrow_mut().take(), fault) {
        (Some(store), _) => Fatal::Store(store),
        (None, Fault::Broken { rule }) => Fatal::Inconsistent { what: rule },
        (None, fault @ Fault::NewerLevel { .. }) => Fatal::TooOld {
            what: fault.to_string(),
        },
        (None, _) => Fatal::Inconsistent {
            what: "a record does not decode",
        },
    }
}

fn keep<T>(kept: &Kept, result: Result<T, StoreFault>) -> Result<T, Fault> {
    result.map_err(|fault| {
        let what = fault.to_string();
        *kept.borrow_mut() = Some(fault);
        Fault::Read { what }
    })
}

/// A store's view as `state` reads it.
pub struct ViewAdapter<'a> {
    view: &'a dyn consensus::View,
    fault: Kept,
}

impl<'a> ViewAdapter<'a> {
    /// Over a view.
    pub fn new(view: &'a dyn consensus::View) -> Self {
        Self {
            view,
            fault: RefCell::new(None),
        }
    }

    fn fatal(&self, fault: Fault) -> Fatal {
        fatal(&self.fault, fault)
    }
}

struct RecordsAdapter<'a> {
    records: &'a mut dyn consensus::Records,
    fault: Kept,
}

impl RecordsAdapter<'_> {
    fn fatal(&self, fault: Fault) -> Fatal {
        fatal(&self.fault, fault)
    }
}

macro_rules! view_through {
    ($adapter:ident, $field:ident) => {
        impl symbolon_state::View for $adapter<'_> {
            fn get(&self, key: &[u8]) -> Result<Option<Bytes>, Fault> {
                keep(&self.fault, self.$field.get(key))
            }

            fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<(Vec<u8>, Bytes)>, Fault> {
                keep(&self.fault, self.$field.scan(prefix, after, limit))
            }

            fn name_get(&self, kind: u8, parent: &[u8], name: &[u8]) -> Result<Option<Bytes>, Fault> {
                keep(&self.fault, self.$field.name_get(kind, parent, name))
            }

            fn names(
                &self,
                kind: u8,
                parent: &[u8],
                after: Option<&[u8]>,
                limit: usize,
            ) -> Result<Vec<(Vec<u8>, Bytes)>, Fault> {
                keep(&self.fault, self.$field.names(kind, parent, after, limit))
            }
        }
    };
}

view_through!(ViewAdapter, view);
view_through!(RecordsAdapter, records);

impl symbolon_state::Records for RecordsAdapter<'_> {
    fn put(&mut self, key: Vec<u8>, value: Bytes) {
        self.records.put(key, value);
    }

    fn delete(&mut self, key: Vec<u8>) {
        self.records.delete(key);
    }

    fn name_put(&mut self, kind: u8, parent: &[u8], name: &[u8], value: Bytes) {
        self.records.name_put(kind, parent, name, value);
    }

    fn name_delete(&mut self, kind: u8, parent: &[u8], name: &[u8]) {
        self.records.name_delete(kind, parent, name);
    }
}
