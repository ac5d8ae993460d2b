//! Commands of which apply would keep no record: whoever leads tells their authors so, and logs nothing. Who may not write, or
//! sends the same again and again, costs the logs no room. The simulation uses the same.

use crate::machine::{Shown, ViewAdapter};
use bytes::Bytes;
use symbolon_consensus::Consensus;
use symbolon_crypto::provider::Provider;
use symbolon_state::{Fault, Rules, told_without_record};
use symbolon_store::Store;
use symbolon_wire::roster::Roster;
use symbolon_wire::v1;

/// What commands are judged by, at one node.
pub struct Judge<'a> {
    /// The roster.
    pub roster: &'a Roster,
    /// Signature checks; one that remembers, since apply checks the same ones.
    pub provider: &'a dyn Provider,
    /// What is published.
    pub shown: &'a Shown,
    /// The records.
    pub store: &'a Store,
    /// The log.
    pub consensus: &'a Consensus,
}

impl Judge<'_> {
    /// What the author of the command is told at once; `None`: its outcome is for the log to say.
    ///
    /// # Errors
    /// [`Fault`].
    pub async fn told(&self, payload: &Bytes) -> Result<Option<v1::Submitted>, Fault> {
        let Some(told) = self.judge(payload)? else {
            return Ok(None);
        };
        // What was applied stays so. A refusal may be of a state that is no longer the newest, such as one that lacks the author.
        if told.repeated || !self.consensus.leads().await {
            return Ok(Some(told).filter(|told| told.repeated));
        }
        self.judge(payload)
    }

    /// The same by this node's own state, whoever leads.
    ///
    /// # Errors
    /// [`Fault`].
    pub fn judge(&self, payload: &Bytes) -> Result<Option<v1::Submitted>, Fault> {
        let shown = self.shown.load();
        let rules = Rules {
            roster: self.roster,
            provider: self.provider,
            level: shown.feature_level,
        };
        let reader = self.store.reader();
        let view = ViewAdapter::new(&reader);
        let Some(outcome) = told_without_record(&view, rules, shown.log_time_ms, payload.clone())? else {
            return Ok(None);
        };
        let index = if outcome.repeated { outcome.index } else { shown.applied };
        // Not known there: applied before a snapshot that this node has taken over.
        let chain = self.consensus.chain_at(index).ok().flatten();
        Ok(chain.map(|chain| v1::Submitted {
            index,
            term: self.consensus.status().term,
            chain: Bytes::copy_from_slice(&chain),
            repeated: outcome.repeated,
            outcome: Some(outcome),
        }))
    }
}
