//! What nodes tell each other outside the log: heads, clock readings, boot statements, signatures over snapshots; as
//! `symbolon-node`'s `gossip`.

use super::boot::peer_message;
use super::{Face, Member, submit};
use crate::history::What;
use crate::limits::MARK_EVERY;
use crate::net::Place;
use crate::site::{Liar, Site};
use crate::sync::lock;
use bytes::Bytes;
use prost::Message;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use symbolon_consensus::SnapshotMeta;
use symbolon_crypto::sign::VerifyingKey;
use symbolon_custody::heads::{self, Finding, Told};
use symbolon_custody::snapshots;
use symbolon_node::vouch::{Boots, Seen, claim, pass_on};
use symbolon_state::entry::Kind;
use symbolon_wire::statements::Signer;
use symbolon_wire::v1::{self, peer_request};
use tokio::time::MissedTickBehavior;

const HEAD_EVERY: Duration = Duration::from_millis(250);
/// A head that does not move is told again every so many times; as in the node.
const TOLD_AGAIN: u32 = 2;
const TICK_EVERY: Duration = Duration::from_secs(1);
const SEND_TIMEOUT: Duration = Duration::from_secs(1);
const ANNOUNCE_AGAIN: Duration = Duration::from_millis(100);

/// Sends heads as the log moves, and what others sent.
pub(super) async fn heads(member: Arc<Member>) {
    let mut every = tokio::time::interval(HEAD_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut sent: Option<v1::Head> = None;
    let mut since = 0;
    loop {
        every.tick().await;
        if member.consensus.fault().is_some() {
            continue;
        }
        let applied = member.shown.load().applied;
        compare(&member, applied);
        let asks = leave(&member);
        since += 1;
        let moved = sent.as_ref().is_none_or(|head| head.index != applied);
        if applied == 0 || !(moved || asks || since >= TOLD_AGAIN) {
            continue;
        }
        let again = sent.take().filter(|_| !moved);
        if let Some(head) = again.or_else(|| own_head(&member, applied)) {
            (sent, since) = (Some(head.clone()), 0);
            tell(&member, head);
        }
    }
}

/// Signs this node's head where a snapshot is to replace its state. Whether others are to be asked for theirs anywhere.
fn leave(member: &Member) -> bool {
    let unsigned = lock(&member.heads).unsigned();
    let head = unsigned.and_then(|index| own_head(member, index));
    let mut heads = lock(&member.heads);
    if let Some(head) = head {
        heads.leave(head);
    }
    !heads.asks().is_empty()
}

/// This node's head at an index, if it keeps the chain value there, and says what it has.
fn own_head(member: &Member, index: u64) -> Option<v1::Head> {
    let hides = |liar: &Liar| liar.silent || (liar.two_faced && liar.lies.on());
    if member.site.liar(member.node).is_some_and(hides) {
        return None;
    }
    // From the store: right after a restart or a snapshot nothing was applied here that could tell.
    let chain = member.consensus.chain_at(index).ok()??;
    let signer = &member.signer;
    Some(v1::Head {
        node: member.node.into(),
        boot_counter: signer.boot_counter,
        index,
        chain: Bytes::copy_from_slice(&chain),
        signature: Bytes::copy_from_slice(&member.signing.sign(&signer.head(index, &chain))),
    })
}

/// Tells all nodes this node's head and the others', and where it needs to know theirs.
fn tell(member: &Arc<Member>, head: v1::Head) {
    let (newest, mut contested, mut own) = {
        let heads = lock(&member.heads);
        let left = Vec::from_iter(heads.left().filter(|left| left.index != head.index).cloned());
        (heads.newest(), Vec::from_iter(heads.asks()), left)
    };
    if !contested.is_empty() {
        // Who agrees at the end of this log agrees wherever it is contradicted, also where it keeps no chain value any more.
        contested.push(head.index);
    }
    let boot = Some(Arc::new(member.statement.clone()));
    // What the log was before a snapshot took its place no later head tells.
    own.push(head);
    let own = own.into_iter().map(|head| Told {
        head,
        boot: boot.clone(),
    });
    let told = own.chain(newest).collect();
    let (heads, boots) = pass_on(told);
    let snapshots = lock(&member.snapshots).all();
    let gossip = v1::Gossip {
        boots,
        heads,
        snapshots,
        contested,
        ..v1::Gossip::default()
    };
    broadcast(member, &gossip);
}

/// A malicious node agrees with whoever asks, under a boot that it shows to nobody else. It knows the history that it has
/// made for it.
fn agree(member: &Arc<Member>, with: u16, face: &Face, contested: &[u64]) {
    let events = member.recorder().events();
    let heads = contested.iter().filter_map(|asked| {
        let chain = events.iter().find_map(|event| match &event.what {
            What::Applied { node, index, chain, .. } if *node == with && index == asked => Some(*chain),
            _ => None,
        })?;
        let signer = &face.signer;
        Some(v1::Head {
            node: member.node.into(),
            boot_counter: signer.boot_counter,
            index: *asked,
            chain: Bytes::copy_from_slice(&chain),
            signature: Bytes::copy_from_slice(&face.keys.signing.sign(&signer.head(*asked, &chain))),
        })
    });
    let gossip = v1::Gossip {
        heads: heads.collect(),
        boot: Some(face.keys.statement.clone()),
        ..v1::Gossip::default()
    };
    send(member, with, &gossip);
}

/// Answers a node that is contradicted: says what this node's log is there.
fn answer_contested(member: &Arc<Member>, from: u16, contested: &[u64]) {
    let lies = member.site.liar(member.node).is_some_and(|liar| liar.lies.on());
    if let Some(face) = member.faces.get(&from).filter(|_| lies) {
        return agree(member, from, face, contested);
    }
    let applied = member.shown.load().applied;
    let (mut heads, mut unkept) = (Vec::new(), Vec::new());
    for index in contested.iter().copied().filter(|index| *index <= applied) {
        match member.consensus.chain_at(index) {
            Ok(None) => unkept.push(index),
            Ok(Some(_)) | Err(_) => heads.extend(own_head(member, index)),
        }
    }
    if !(heads.is_empty() && unkept.is_empty()) {
        let gossip = v1::Gossip {
            heads,
            unkept,
            ..v1::Gossip::default()
        };
        send(member, from, &gossip);
    }
}

/// Compares heads that came before this node reached their index, or that count otherwise since a node was excluded.
fn compare(member: &Arc<Member>, applied: u64) {
    let waiting = lock(&member.heads).waiting(applied);
    for index in waiting {
        if let Ok(Some(own)) = member.consensus.chain_at(index) {
            let finding = lock(&member.heads).compare(index, &own);
            act(member, finding);
        }
    }
}

fn broadcast(member: &Arc<Member>, gossip: &v1::Gossip) {
    for node in member.site.others(member.node) {
        send(member, node, gossip);
    }
}

fn send(member: &Arc<Member>, to: u16, gossip: &v1::Gossip) {
    let (net, from) = (member.site.net.clone(), Place::Node(member.node));
    let asked = peer_message(peer_request::Kind::Gossip(gossip.clone()));
    member.tasks.spawn(async move {
        // A node that is down learns it from the next message.
        let _ = net.ask(from, to, asked, SEND_TIMEOUT).await;
    });
}

/// Takes what node `from` sent: statements of any node, but only its own clock reading.
pub(super) fn take(member: &Arc<Member>, from: u16, gossip: v1::Gossip) {
    let statements = gossip.boot.iter().chain(&gossip.boots);
    let shown: Vec<Seen> = statements
        .filter_map(|statement| keep_boot(&member.site, &member.boots_seen, statement))
        .collect();
    for head in gossip.heads {
        take_head(member, head, &shown);
    }
    lock(&member.heads).unkept(from, &gossip.unkept);
    answer_contested(member, from, &gossip.contested);
    let (roster, provider) = (&member.site.roster, member.site.provider.as_ref());
    for signed in gossip.snapshots {
        let key = u16::try_from(signed.node)
            .ok()
            .and_then(|node| member.signing_key(node, signed.boot_counter));
        if let Some(key) = key {
            lock(&member.snapshots).take(signed, roster, &key, provider);
        }
    }
    if let Some(tick) = gossip.tick.filter(|tick| tick.node == u32::from(from)) {
        lock(&member.readings).take(tick, member.clock.boot_ms());
    }
}

/// Verifies and keeps a boot statement.
pub(super) fn keep_boot(site: &Site, boots: &Boots, statement: &v1::BootKeys) -> Option<Seen> {
    boots.keep(&site.roster, site.provider.as_ref(), statement)
}

fn take_head(member: &Arc<Member>, head: v1::Head, shown: &[Seen]) {
    let Ok(node) = u16::try_from(head.node) else { return };
    if node == member.node {
        return;
    }
    let of_boot = |seen: &&Seen| seen.node == node && seen.boot.counter == head.boot_counter;
    let mut boots: Vec<Seen> = shown.iter().filter(of_boot).cloned().collect();
    boots.extend(member.boots_seen.of_boot(node, head.boot_counter));
    let signer = Signer {
        cluster: member.site.roster.cluster,
        node,
        boot_counter: head.boot_counter,
    };
    let signed = |key: &VerifyingKey| heads::check(&head, &signer, key, member.site.provider.as_ref());
    let boot = match boots.into_iter().find(|seen| signed(&seen.boot.signing_key)) {
        Some(seen) => Some(seen.statement),
        None if member.logged_key(node, head.boot_counter).as_ref().is_some_and(signed) => None,
        None => return,
    };
    let applied = member.shown.load().applied;
    let own = |index: u64| {
        (index <= applied)
            .then(|| member.consensus.chain_at(index).ok().flatten())
            .flatten()
    };
    let finding = lock(&member.heads).take(Told { head, boot }, own);
    act(member, finding);
}

fn act(member: &Arc<Member>, finding: Finding) {
    let by = member.node;
    match finding {
        Finding::Nothing => {}
        Finding::Outvoted { node, index } => {
            member.recorder().note(What::Outvoted { node, by, index });
        }
        Finding::Equivocation { node, first, .. } => {
            member.blame(format!("node {node} signed two heads at {}", first.index));
        }
        // A malicious node goes on.
        Finding::Freeze { .. } if member.site.liar(by).is_some() => {}
        Finding::Freeze { index, .. } => {
            if member.set_frozen(true) {
                member.recorder().note(What::Froze { node: by, index });
                if let Some(head) = own_head(member, index) {
                    tell(member, head);
                }
            }
        }
    }
    // t heads agree with it wherever it was contradicted, or nobody contradicts it there any more.
    if lock(&member.heads).contested().next().is_none() && member.set_frozen(false) {
        member.recorder().note(What::Thawed { node: by });
    }
}

/// Signs a clock reading a second; the leader logs them together.
pub(super) async fn ticks(member: Arc<Member>) {
    let mut every = tokio::time::interval(TICK_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut sequence = 0;
    loop {
        every.tick().await;
        if member.refusal().is_some() {
            continue;
        }
        sequence += 1;
        let (signer, time_ms) = (&member.signer, member.clock.wall_ms());
        let tick = v1::Tick {
            node: member.node.into(),
            boot_counter: signer.boot_counter,
            sequence,
            time_ms,
            signature: Bytes::copy_from_slice(&member.signing.sign(&signer.tick(sequence, time_ms))),
        };
        lock(&member.readings).take(tick.clone(), member.clock.boot_ms());
        let leads = member.leads();
        broadcast(
            &member,
            &v1::Gossip {
                tick: (!leads).then_some(tick),
                // Connections begin with it; here there are none.
                boot: Some(member.statement.clone()),
                ..v1::Gossip::default()
            },
        );
        if leads {
            let ticks = lock(&member.readings).together(member.clock.boot_ms());
            let payload = v1::Ticks { ticks }.encode_to_vec().into();
            // The next readings replace these.
            let _ = submit::propose_here(&member, Kind::Ticks.number(), payload).await;
        }
    }
}

/// Gets this boot's keys into the log; nothing that the node signs counts before.
pub(super) async fn announce(member: Arc<Member>) {
    let statement: Bytes = member.statement.encode_to_vec().into();
    loop {
        // The key, not only the counter: a disk that was put back counts the same boot twice.
        let known = member.shown.load().boots.get(&member.node).cloned();
        if known.is_some_and(|boot| boot.signing_key == member.own_key) {
            return member.announced.store(true, Ordering::Relaxed);
        }
        // Tried again until it is there.
        let _ = submit::propose(&member, Kind::BootKeys, statement.clone()).await;
        tokio::time::sleep(ANNOUNCE_AGAIN).await;
    }
}

/// Signs marks as their state root becomes known, and takes them over once t nodes vouch for them; the leader sets them.
pub(super) async fn marks(member: Arc<Member>) {
    let mut marks = member.consensus.marks();
    let mut every = tokio::time::interval(TICK_EVERY);
    every.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (mut signed, mut adopted, mut proposed) = (0, 0, 0);
    loop {
        every.tick().await;
        if member.refusal().is_some() {
            continue;
        }
        let newest = marks.borrow_and_update().clone();
        if let Some(meta) = &newest {
            if meta.index > signed {
                sign_mark(&member, meta);
                signed = meta.index;
            }
            let vouching = lock(&member.snapshots).evidence(&claim(meta)).signatures.len();
            let enough = vouching >= usize::from(member.site.roster.threshold);
            if meta.index > adopted && enough && member.consensus.adopt_mark().await.is_ok() {
                adopted = meta.index;
            }
        }
        let applied = member.shown.load().applied;
        let last = newest.map_or(0, |meta| meta.index).max(proposed);
        if member.leads() && applied >= last.saturating_add(MARK_EVERY) {
            let done = submit::propose_here(&member, Kind::SnapshotMark.number(), Bytes::new()).await;
            proposed = done.map_or(proposed, |done| done.index);
        }
    }
}

fn sign_mark(member: &Arc<Member>, meta: &SnapshotMeta) {
    member.recorder().note(What::Marked {
        node: member.node,
        index: meta.index,
        root: meta.state_root,
    });
    let (signer, roster) = (&member.signer, &member.site.roster);
    let claimed = claim(meta);
    let signature = member.signing.sign(&snapshots::statement(signer, roster, &claimed));
    let signed = v1::SnapshotSignature {
        node: member.node.into(),
        boot_counter: signer.boot_counter,
        incarnation: meta.incarnation,
        index: meta.index,
        chain: Bytes::copy_from_slice(&meta.chain),
        state_root: Bytes::copy_from_slice(&claimed.state_root),
        roster_hash: Bytes::copy_from_slice(&roster.hash),
        signature: Bytes::copy_from_slice(&signature),
    };
    let provider = member.site.provider.as_ref();
    lock(&member.snapshots).take(signed.clone(), roster, &member.own_key, provider);
    broadcast(
        member,
        &v1::Gossip {
            snapshots: vec![signed],
            ..v1::Gossip::default()
        },
    );
}
