//! A node's own fragments: opened and checked once, off the path of requests; kept under the epoch storage key; opened
//! again only for a [`ReleaseGrant`].

use crate::gate::ReleaseGrant;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use symbolon_crypto::Hash;
use symbolon_crypto::dealing::{OpenFragmentError, SealedFragment, Sharing, check_fragment, open_fragment};
use symbolon_crypto::own::{open_own_fragment, seal_own_fragment};
use symbolon_crypto::provider::Provider;
use symbolon_crypto::sealing::{SealingCiphertext, SealingKeyPair, SessionScope, fragment_key, session_id};
use symbolon_crypto::secret::Secret;
use symbolon_state::records::{SessionRecord, VersionRecord};
use symbolon_state::{Fault, dealing_of};
use symbolon_wire::reply::ReleasedFragment;
use symbolon_wire::roster::Roster;

/// Shared secrets of sealing sessions that are kept, so that a session costs one decapsulation and not one a dealing.
const SESSIONS_KEPT: usize = 4_096;

/// What checking a sealed fragment came to.
#[derive(Debug)]
pub enum Checked {
    /// Good; sealed again under the epoch storage key, to be kept.
    Good {
        /// The own fragment at rest, 80 bytes.
        at_rest: SealedFragment,
    },
    /// It cannot be used. Revealing the fragment key, never the session's secret, lets everyone open it again.
    Complaint {
        /// K_i.
        fragment_key: Secret<32>,
    },
}

/// The node holds no fragment that it may release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoValidFragment {
    /// What lies on the disk does not open: another epoch, another dealing, or damage.
    #[error("the own fragment on disk does not open")]
    DoesNotOpen,
}

/// A fragment on its way to the client, and the hash that stands for it in the signed reply.
#[derive(Debug)]
pub struct Released {
    /// s_i ‖ γ_i.
    pub fragment: ReleasedFragment,
    /// SHA-256 of it.
    pub hash: Hash,
}

/// One node's part in the dealings of one epoch.
pub struct Holder {
    roster: Arc<Roster>,
    sharing: Sharing,
    node: u16,
    place: usize,
    storage_key: Secret<32>,
    sealing: SealingKeyPair,
    provider: Arc<dyn Provider>,
    sessions: Mutex<HashMap<Hash, Secret<32>>>,
}

/// The keys that the node reads from its token do not belong to its place in the roster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HolderError {
    /// The roster has no such node.
    #[error("the roster has no node {node}")]
    NotInRoster {
        /// The index.
        node: u16,
    },
    /// The sealing seed is not the one whose public key stands in the roster.
    #[error("the sealing key of node {node} is not the one in the roster")]
    OtherSealingKey {
        /// The index.
        node: u16,
    },
}

impl Holder {
    /// From the epoch storage key E_e and the sealing seed of the epoch, both unwrapped by the token.
    pub fn new(
        roster: Arc<Roster>,
        node: u16,
        storage_key: Secret<32>,
        seed: &Secret<32>,
        provider: Arc<dyn Provider>,
    ) -> Result<Self, HolderError> {
        let not_in = HolderError::NotInRoster { node };
        let place = roster.position(node).ok_or(not_in.clone())?;
        let sealing = SealingKeyPair::from_seed(seed);
        let stated = &roster.node(node).ok_or(not_in.clone())?.sealing_key;
        if stated.as_ref() != sealing.public_key().to_bytes().as_slice() {
            return Err(HolderError::OtherSealingKey { node });
        }
        let sharing = symbolon_state::sharing_of(&roster).map_err(|_| not_in)?;
        Ok(Self {
            roster,
            sharing,
            node,
            place,
            storage_key,
            sealing,
            provider,
            sessions: Mutex::default(),
        })
    }

    /// This node's index.
    pub fn node(&self) -> u16 {
        self.node
    }

    /// Its place among the holders, from 0.
    pub fn place(&self) -> usize {
        self.place
    }

    /// The capability to verify: opens and checks the own fragment of a dealing. `session` is needed where its secret is
    /// not kept; without either the answer is `None`.
    pub fn check(&self, record: &VersionRecord, session: Option<&SessionRecord>) -> Result<Option<Checked>, Fault> {
        let broken = Fault::Broken {
            rule: "a stored dealing was checked when it was written",
        };
        if record.roster_hash != self.roster.hash.as_slice() {
            return Err(Fault::Broken {
                rule: "a holder is asked about dealings of its own epoch",
            });
        }
        let dealing = dealing_of(&self.roster, &self.sharing, record)?;
        let id = Hash::try_from(record.session.as_ref()).map_err(|_| broken.clone())?;
        let sealed = record
            .sealed
            .get(self.place)
            .and_then(|sealed| SealedFragment::try_from(sealed.as_ref()).ok());
        let sealed = sealed.ok_or(broken.clone())?;
        let Some(key) = self.fragment_key(&id, dealing.dd(), session)? else {
            return Ok(None);
        };
        let fragment = match open_fragment(self.provider.as_ref(), &key, dealing.dd(), &sealed) {
            Ok(fragment) => fragment,
            Err(OpenFragmentError::Tag(_) | OpenFragmentError::Content(_)) => {
                return Ok(Some(Checked::Complaint { fragment_key: key }));
            }
        };
        let Ok(checked) = check_fragment(&dealing, self.node, fragment) else {
            return Ok(Some(Checked::Complaint { fragment_key: key }));
        };
        let at_rest = seal_own_fragment(
            self.provider.as_ref(),
            &self.storage_key,
            dealing.sctx(),
            dealing.dd(),
            checked.fragment(),
        );
        Ok(Some(Checked::Good {
            at_rest: at_rest.map_err(|_| broken)?,
        }))
    }

    /// The capability to release: opens the own fragment at rest, once, for a grant.
    pub fn release(&self, grant: ReleaseGrant, at_rest: &Bytes) -> Result<Released, NoValidFragment> {
        let record = grant.record();
        let (Ok(sealed), Ok(sctx), Ok(dd)) = (
            SealedFragment::try_from(at_rest.as_ref()),
            Hash::try_from(record.sctx.as_ref()),
            Hash::try_from(record.dd.as_ref()),
        ) else {
            return Err(NoValidFragment::DoesNotOpen);
        };
        let fragment = open_own_fragment(self.provider.as_ref(), &self.storage_key, &sctx, &dd, &sealed)
            .map_err(|_| NoValidFragment::DoesNotOpen)?;
        Ok(Released {
            hash: fragment.hash(),
            fragment: ReleasedFragment::new(Box::new(*fragment.expose())),
        })
    }

    fn fragment_key(&self, id: &Hash, dd: &Hash, session: Option<&SessionRecord>) -> Result<Option<Secret<32>>, Fault> {
        let mut sessions = self.sessions();
        if !sessions.contains_key(id) {
            let Some(session) = session else { return Ok(None) };
            let shared = self.sealing.decapsulate(&self.own_ciphertext(id, session)?);
            if sessions.len() >= SESSIONS_KEPT {
                sessions.clear();
            }
            sessions.insert(*id, shared);
        }
        Ok(sessions.get(id).map(|shared| fragment_key(shared, id, dd, self.node)))
    }

    /// This node's part of the session, which must be the one of that id: under another's secret every fragment would
    /// look bad, and the secret would be kept.
    fn own_ciphertext(&self, id: &Hash, session: &SessionRecord) -> Result<SealingCiphertext, Fault> {
        let broken = Fault::Broken {
            rule: "a session is kept under its id",
        };
        let ciphertexts: Vec<SealingCiphertext> = session
            .ciphertexts
            .iter()
            .map(|ciphertext| ciphertext.as_ref().try_into())
            .collect::<Result<_, _>>()
            .map_err(|_| broken.clone())?;
        let scope = SessionScope {
            cluster: self.roster.cluster.0,
            dealer: session.dealer.as_ref().try_into().map_err(|_| broken.clone())?,
            epoch: session.epoch,
            roster_hash: self.roster.hash,
        };
        let other = session_id(&scope, &ciphertexts) != *id;
        #[cfg(feature = "sabotage")]
        let other = other && !symbolon_sabotage::Bug::SessionUnnamed.on();
        if other {
            return Err(broken);
        }
        ciphertexts.get(self.place).copied().ok_or(broken)
    }

    fn sessions(&self) -> MutexGuard<'_, HashMap<Hash, Secret<32>>> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Holder")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}
