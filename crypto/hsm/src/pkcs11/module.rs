//! A loaded PKCS#11 module: one per file and process, initialised once, called by one thread at a time.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use cryptoki::{
    context::{CInitializeArgs, CInitializeFlags, Pkcs11},
    session::Session,
    slot::Slot,
};

use crate::error::RootError;

/// C_Initialize works once per process (PKCS#11 v2.40, 5.4), so modules are kept until it ends.
static MODULES: Mutex<BTreeMap<PathBuf, Arc<Module>>> = Mutex::new(BTreeMap::new());

pub(super) struct Module(Mutex<Calls>);

/// The right to call into the module.
pub(super) struct Calls {
    pkcs11: Pkcs11,
    /// The session of each open token, under its slot: within one process a slot keeps its number.
    sessions: BTreeMap<u64, Session>,
}

impl Module {
    /// Loads and initialises the module, unless that has been done.
    pub(super) fn load(path: &Path) -> Result<Arc<Self>, RootError> {
        let failed = |reason| RootError::ModuleLoad {
            path: path.to_owned(),
            reason,
        };
        // Two names of one file are one module. A path that can not be resolved is left to the loader to refuse.
        let key = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(module) = modules.get(&key) {
            return Ok(Arc::clone(module));
        }
        let pkcs11 = Pkcs11::new(&key).map_err(failed)?;
        pkcs11
            .initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))
            .map_err(failed)?;
        let module = Arc::new(Self(Mutex::new(Calls {
            pkcs11,
            sessions: BTreeMap::new(),
        })));
        modules.insert(key, Arc::clone(&module));
        Ok(module)
    }

    /// Waits for its turn. A thread that panicked in its own turn left nothing of ours half done.
    pub(super) fn lock(&self) -> MutexGuard<'_, Calls> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Calls {
    pub(super) fn pkcs11(&self) -> &Pkcs11 {
        &self.pkcs11
    }

    pub(super) fn session(&self, slot: Slot) -> Option<&Session> {
        self.sessions.get(&slot.id())
    }

    pub(super) fn keep(&mut self, slot: Slot, session: Session) {
        self.sessions.insert(slot.id(), session);
    }

    pub(super) fn close(&mut self, slot: Slot) {
        self.sessions.remove(&slot.id());
    }
}
