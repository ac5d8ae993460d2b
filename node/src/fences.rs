//! The newest boot of each other node to which this one has said where it stands. From older boots, other processes
//! under the same identity among them, it takes nothing any more. Kept durably: forgotten at a boot, it would let a clone
//! and its original count beside each other. The simulation uses the same.

use crate::member::lock;
use bytes::Bytes;
use prost::Message;
use std::collections::BTreeMap;
use std::sync::Mutex;
use symbolon_consensus::{Durability, StoreFault};
use symbolon_custody::admission::BootId;
use symbolon_store::{Local, LocalOp};
use symbolon_wire::roster::Roster;
use symbolon_wire::v1;

/// Local records: the boot statement of another node's newest boot, by its index.
const FENCE: u8 = 0x0a;

fn key(node: u16) -> Vec<u8> {
    [&[FENCE][..], &node.to_be_bytes()].concat()
}

/// See the module's text.
pub struct Fences {
    local: Local,
    newest: Mutex<BTreeMap<u16, v1::BootKeys>>,
    /// Frames of the agreement hold it while they are worked on; raising a fence waits for them, so that where this node
    /// says it stands is not moved afterwards by an older boot.
    passage: tokio::sync::RwLock<()>,
}

impl Fences {
    /// As they stood when this node ended.
    ///
    /// # Errors
    /// [`StoreFault`].
    pub fn open(local: Local, roster: &Roster) -> Result<Self, StoreFault> {
        let mut newest = BTreeMap::new();
        for node in &roster.nodes {
            let kept = local.get(&key(node.index))?;
            let corrupt = StoreFault::Corrupt {
                what: "fence",
                kind: FENCE,
            };
            if let Some(bytes) = kept {
                newest.insert(node.index, v1::BootKeys::decode(bytes).map_err(|_| corrupt)?);
            }
        }
        Ok(Self {
            local,
            newest: Mutex::new(newest),
            passage: tokio::sync::RwLock::default(),
        })
    }

    /// The newest boot of a node that this one knows of.
    pub fn newest(&self, node: u16) -> Option<v1::BootKeys> {
        lock(&self.newest).get(&node).cloned()
    }

    /// A boot that supersedes `boot` of `node`, if there is one.
    pub fn superseding(&self, node: u16, boot: &BootId) -> Option<v1::BootKeys> {
        self.newest(node).filter(|newest| BootId::of(newest) > *boot)
    }

    /// Lets a frame of the agreement from that boot pass; no fence rises while the result lives. `Err` gives the boot that
    /// supersedes it.
    ///
    /// # Errors
    /// The newer boot's statement.
    pub async fn pass(
        &self,
        node: u16,
        boot: &BootId,
    ) -> Result<tokio::sync::RwLockReadGuard<'_, ()>, Box<v1::BootKeys>> {
        let passage = self.passage.read().await;
        match self.superseding(node, boot) {
            Some(newer) => Err(Box::new(newer)),
            None => Ok(passage),
        }
    }

    /// Takes nothing from boots of `node` older than the one that `statement` is about, durably. The statement has been
    /// verified. Gives the statement of a newer boot back, if there is one.
    ///
    /// # Errors
    /// [`StoreFault`]: the fence does not stand.
    pub async fn raise(&self, node: u16, statement: &v1::BootKeys) -> Result<Option<v1::BootKeys>, StoreFault> {
        let boot = BootId::of(statement);
        let stands = || match self.newest(node).map(|newest| (BootId::of(&newest), newest)) {
            Some((newest, statement)) if newest > boot => Some(Some(statement)),
            Some((newest, _)) if newest == boot => Some(None),
            _ => None,
        };
        // Nobody waits for what changes nothing.
        if let Some(stands) = stands() {
            return Ok(stands);
        }
        #[cfg(not(feature = "sabotage"))]
        let _nobody_passes = self.passage.write().await;
        #[cfg(feature = "sabotage")]
        let _nobody_passes = if symbolon_sabotage::Bug::FenceRisesAtOnce.on() {
            None
        } else {
            Some(self.passage.write().await)
        };
        if let Some(stands) = stands() {
            return Ok(stands);
        }
        let record = Bytes::from(statement.encode_to_vec());
        let batch = vec![LocalOp::Put(key(node), record)];
        let durability = Durability::Synced;
        #[cfg(feature = "sabotage")]
        let durability = if symbolon_sabotage::Bug::FenceNotSynced.on() {
            Durability::Lazy
        } else {
            durability
        };
        self.local.write(batch, durability).await?;
        lock(&self.newest).insert(node, statement.clone());
        Ok(None)
    }
}
