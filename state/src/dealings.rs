//! Sealing sessions, and the holders' confirmations of their fragments.

use crate::access::Subject;
use crate::commands::{Place, Refusal};
use crate::keys;
use crate::machine::{Effect, Machine};
use crate::records::{PendingDealing, SessionRecord, SessionUse, VersionRecord, VersionState};
use crate::secrets::dealing_of;
use crate::view::{Fault, Records, View, load, store};
use bytes::Bytes;
use symbolon_crypto::Hash;
use symbolon_crypto::dealing::{SealedFragment, Verdict, judge_complaint};
use symbolon_crypto::sealing::{SEALING_CIPHERTEXT_BYTES, SealingCiphertext, SessionScope, session_id};
use symbolon_crypto::secret::Secret;
use symbolon_wire::ids::SecretId;
use symbolon_wire::limits::{FRAGMENT_OK_MAX, SESSION_DEALINGS_MAX, SESSION_MS_MAX};
use symbolon_wire::roster::Roster;
use symbolon_wire::statements::Signer;
use symbolon_wire::{Code, v1};

/// Opens a sealing session; returns its id, computed here and never taken from the command.
pub(crate) fn open_session(
    roster: &Roster,
    records: &mut (impl Records + ?Sized),
    place: Place<'_>,
    dealer: &Subject,
    open: &v1::OpenSession,
) -> Result<Result<Hash, Refusal>, Fault> {
    if open.epoch != roster.version || open.roster_hash != roster.hash.as_slice() {
        return Ok(Err(epoch_changed(roster)));
    }
    let ciphertexts: Vec<SealingCiphertext> = open
        .ciphertexts
        .iter()
        .filter_map(|ciphertext| ciphertext.as_ref().try_into().ok())
        .collect();
    if ciphertexts.len() != roster.nodes.len() || open.ciphertexts.len() != roster.nodes.len() {
        let what = format!(
            "a session holds {} ciphertexts of {SEALING_CIPHERTEXT_BYTES} bytes",
            roster.nodes.len()
        );
        return Ok(Err(Refusal::new(Code::BadSession, what)));
    }
    let scope = SessionScope {
        cluster: roster.cluster.0,
        dealer: dealer.id.0,
        epoch: roster.version,
        roster_hash: roster.hash,
    };
    let id = session_id(&scope, &ciphertexts);
    let key = keys::session(&id);
    if records.get(&key)?.is_some() {
        return Ok(Err(Refusal::new(Code::BadSession, "this session exists already")));
    }
    let record = SessionRecord {
        dealer: Bytes::copy_from_slice(dealer.id.bytes()),
        epoch: roster.version,
        ciphertexts: open.ciphertexts.clone(),
        expires_ms: place.now_ms.saturating_add(SESSION_MS_MAX),
    };
    store(records, key.clone(), &record);
    store(records, keys::session_use(&id), &SessionUse::default());
    records.put(keys::due(record.expires_ms, &key), Bytes::new());
    Ok(Ok(id))
}

pub(crate) fn epoch_changed(roster: &Roster) -> Refusal {
    Refusal::new(
        Code::EpochChanged,
        format!("the cluster is in epoch {}", roster.version),
    )
    .next("fetch the roster and write anew")
}

/// Counts one more dealing under a session, if it may carry one.
pub(crate) fn use_session(
    records: &mut (impl Records + ?Sized),
    place: Place<'_>,
    dealer: &Subject,
    epoch: u64,
    id: &Hash,
) -> Result<Result<(), Refusal>, Fault> {
    let bad = |what: &str| {
        Ok(Err(
            Refusal::new(Code::BadSession, what).next("open a new sealing session and write anew")
        ))
    };
    let Some(session) = load::<SessionRecord>(records, &keys::session(id))? else {
        return bad("the sealing session is unknown");
    };
    let other = session.dealer != dealer.id.bytes().as_slice();
    #[cfg(feature = "sabotage")]
    let other = other && !symbolon_sabotage::Bug::SessionOfAnotherDealer.on();
    if other {
        return bad("the sealing session is another dealer's");
    }
    if session.epoch != epoch {
        return bad("the sealing session is of another epoch");
    }
    if session.expires_ms <= place.now_ms {
        return bad("the sealing session has expired");
    }
    let mut uses: SessionUse = load(records, &keys::session_use(id))?.unwrap_or_default();
    if uses.dealings >= SESSION_DEALINGS_MAX {
        return bad("the sealing session is used up");
    }
    uses.dealings += 1;
    uses.pending += 1;
    store(records, keys::session_use(id), &uses);
    Ok(Ok(()))
}

impl Machine {
    /// A holder confirms fragments that it opened and checked.
    pub(crate) fn fragment_ok(
        &mut self,
        records: &mut dyn Records,
        now_ms: u64,
        message: &v1::FragmentOk,
    ) -> Result<Vec<Effect>, Fault> {
        let Some((signer, position)) = self.node_signer(message.node, message.boot_counter) else {
            return Ok(Vec::new());
        };
        let ascending = message.indices.is_sorted_by(|a, b| a < b);
        let named = message.chains.len() == message.indices.len();
        if !ascending || !named || message.indices.len() > FRAGMENT_OK_MAX {
            return Ok(Vec::new());
        }
        let chains = message.chains.iter().map(|chain| Hash::try_from(chain.as_ref()));
        let Ok(chains) = chains.collect::<Result<Vec<_>, _>>() else {
            return Ok(Vec::new());
        };
        let dealings: Vec<(u64, Hash)> = message.indices.iter().copied().zip(chains).collect();
        if !self.signed_by(&signer, &signer.fragment_ok(&dealings), &message.signature) {
            return Ok(Vec::new());
        }
        let all = (1_u64 << self.roster.nodes.len()) - 1;
        for (index, chain) in dealings {
            let key = keys::pending(index);
            let Some(mut pending) = load::<PendingDealing>(records, &key)? else {
                continue;
            };
            let same = pending.chain == chain.as_slice();
            #[cfg(feature = "sabotage")]
            let same = same || symbolon_sabotage::Bug::ConfirmedElsewhere.on();
            if !same {
                continue;
            }
            pending.confirmed |= 1 << position;
            if pending.confirmed == all {
                records.delete(key);
                settle_session(records, now_ms, &pending.session)?;
            } else {
                store(records, key, &pending);
            }
        }
        Ok(vec![Effect::Confirmed])
    }

    /// A holder could not use its sealed fragment and reveals the fragment key: everyone opens it again. Bad content:
    /// the author is at fault. A tag that fails blames nobody. Good content: the complaint is void.
    pub(crate) fn complaint(
        &mut self,
        records: &mut dyn Records,
        message: &v1::Complaint,
    ) -> Result<Vec<Effect>, Fault> {
        let Some((signer, position)) = self.node_signer(message.node, message.boot_counter) else {
            return Ok(Vec::new());
        };
        let Ok(revealed) = <[u8; 32]>::try_from(message.fragment_key.as_ref()) else {
            return Ok(Vec::new());
        };
        let Some(pending) = load::<PendingDealing>(records, &keys::pending(message.index))? else {
            return Ok(Vec::new());
        };
        let Some(chain) = chain_of(&pending) else {
            return Ok(Vec::new());
        };
        let statement = signer.complaint(message.index, &chain, &revealed);
        if !self.signed_by(&signer, &statement, &message.signature) {
            return Ok(Vec::new());
        }
        let id = SecretId::parse(&pending.secret).map_err(|_| Fault::Broken {
            rule: "a dealing has a secret",
        })?;
        let (record_key, state_key) = (
            keys::version(id, pending.version),
            keys::version_state(id, pending.version),
        );
        let (Some(record), Some(mut state)) = (
            load::<VersionRecord>(records, &record_key)?,
            load::<VersionState>(records, &state_key)?,
        ) else {
            return Ok(Vec::new());
        };
        let broken = Fault::Broken {
            rule: "a stored dealing was checked when it was written",
        };
        let sealed = record
            .sealed
            .get(position)
            .and_then(|sealed| SealedFragment::try_from(sealed.as_ref()).ok());
        let dealing = dealing_of(&self.roster, &self.sharing, &record)?;
        let key = Secret::fill(|bytes: &mut [u8; 32]| bytes.copy_from_slice(&revealed));
        let verdict = judge_complaint(
            self.provider.as_ref(),
            &dealing,
            signer.node,
            &sealed.ok_or(broken)?,
            &key,
        );
        #[cfg(feature = "sabotage")]
        let verdict = if symbolon_sabotage::Bug::ComplaintBelieved.on() {
            Verdict::AuthorAtFault
        } else {
            verdict
        };
        match verdict {
            Verdict::AuthorAtFault => state.author_at_fault = true,
            Verdict::NobodyToBlame if state.unopenable.contains(&message.node) => return Ok(Vec::new()),
            Verdict::NobodyToBlame => state.unopenable.push(message.node),
            Verdict::Unfounded | Verdict::NoSuchNode => {
                return Ok(vec![Effect::FalseComplaint {
                    node: signer.node,
                    index: message.index,
                }]);
            }
        }
        store(records, state_key, &state);
        Ok(vec![Effect::Complained {
            secret: id,
            version: pending.version,
        }])
    }
}

/// The chain value at a dealing that not all holders have confirmed.
pub(crate) fn pending_chain(view: &(impl View + ?Sized), index: u64) -> Result<Option<Hash>, Fault> {
    let pending = load::<PendingDealing>(view, &keys::pending(index))?;
    Ok(pending.as_ref().and_then(chain_of))
}

/// Builds before this one wrote none: of such a dealing nobody can say anything any more.
fn chain_of(pending: &PendingDealing) -> Option<Hash> {
    Hash::try_from(pending.chain.as_ref()).ok()
}

/// One dealing less to wait for. A session goes when it can carry no more and none is pending.
pub(crate) fn settle_session(records: &mut (impl Records + ?Sized), now_ms: u64, id: &[u8]) -> Result<(), Fault> {
    let id = Hash::try_from(id).map_err(|_| Fault::Broken {
        rule: "a dealing has a session",
    })?;
    let Some(mut uses) = load::<SessionUse>(records, &keys::session_use(&id))? else {
        return Ok(());
    };
    uses.pending = uses.pending.saturating_sub(1);
    store(records, keys::session_use(&id), &uses);
    drop_session(records, now_ms, &id)
}

/// Drops a session that has expired or is used up, once no dealing of it is pending.
pub(crate) fn drop_session(records: &mut (impl Records + ?Sized), now_ms: u64, id: &Hash) -> Result<(), Fault> {
    let key = keys::session(id);
    let Some(session) = load::<SessionRecord>(records, &key)? else {
        return Ok(());
    };
    let uses: SessionUse = load(records, &keys::session_use(id))?.unwrap_or_default();
    let over = session.expires_ms <= now_ms || uses.dealings >= SESSION_DEALINGS_MAX;
    if over && uses.pending == 0 {
        records.delete(keys::due(session.expires_ms, &key));
        records.delete(key);
        records.delete(keys::session_use(id));
    }
    Ok(())
}

impl Machine {
    /// The signer of a node's statement, if it is that node's current boot, and the node's place in the roster.
    pub(crate) fn node_signer(&self, node: u32, boot_counter: u64) -> Option<(Signer, usize)> {
        let node = u16::try_from(node).ok()?;
        let position = self.roster.position(node)?;
        let boot = self.boots.get(&node)?;
        let signer = Signer {
            cluster: self.roster.cluster,
            node,
            boot_counter,
        };
        (boot.counter == boot_counter).then_some((signer, position))
    }

    /// Whether `signature` is over `message` by the signing key of the node's current boot.
    pub(crate) fn signed_by(&self, signer: &Signer, message: &[u8], signature: &[u8]) -> bool {
        let boot = self.boots.get(&signer.node);
        let signature = <[u8; 64]>::try_from(signature);
        match (boot, signature) {
            (Some(boot), Ok(signature)) => self.provider.p256(&boot.signing_key, message, &signature).is_ok(),
            _ => false,
        }
    }
}
