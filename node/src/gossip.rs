//! What nodes tell each other outside the log: heads, clock readings, boot statements, signatures over snapshots.

use crate::clocks;
use crate::member::{Member, Standing, lock};
use crate::submit;
use crate::vouch::{BOOTS_MAX, HEADS_MAX, SNAPSHOTS_MAX, Seen, pass_on};
use bytes::Bytes;
use prost::Message;
use std::sync::Arc;
use std::time::Duration;
use symbolon_consensus::Allowance;
use symbolon_crypto::Hash;
use symbolon_crypto::provider::Verify;
use symbolon_crypto::sign::VerifyingKey;
use symbolon_custody::gate::CLOCKS_APART_MS_MAX;
use symbolon_custody::heads::{self, Finding, Told};
use symbolon_state::entry::Kind;
use symbolon_wire::statements::Signer;
use symbolon_wire::v1::{self, peer_request};

/// A head is sent at least this often while the index moves.
const HEAD_EVERY: Duration = Duration::from_millis(250);
/// A head that does not move is told again every so many times.
const TOLD_AGAIN: u32 = 2;
/// A clock reading a second.
const TICK_EVERY: Duration = Duration::from_secs(1);
/// How long one message may take.
const SEND_TIMEOUT: Duration = Duration::from_secs(1);

/// Signatures of a boot statement.
const CHECKS_PER_BOOT: usize = 2;

/// Signature checks that one node may cause by what it tells: two thousand at once, and a thousand a second. An honest one
/// causes some dozens a second; a malicious one would keep all others busy with statements that are wrong.
pub(crate) fn checks() -> Allowance {
    Allowance::new(2_000, Duration::from_millis(1))
}

/// Log indices of one message at which a node answers with its head.
const CONTESTED_MAX: usize = 16;

/// Sends heads as the log moves, and what others sent, so that a divided view is noticed across it. A node that is
/// contradicted goes on asking for the others' heads where it is.
pub(crate) async fn heads(member: Arc<Member>) {
    let mut every = tokio::time::interval(HEAD_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut sent: Option<v1::Head> = None;
    let mut since = 0;
    loop {
        every.tick().await;
        if !speaks(&member) {
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
        // What the others missed is told again: a node whose log does not move may be the one that differs.
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

/// Whether this node says what its log is: it serves, or froze, or has booted and takes part, in a cluster of which perhaps no node
/// serves before another one has taken over a snapshot.
fn speaks(member: &Member) -> bool {
    match member.standing() {
        Standing::Serving | Standing::Frozen(_) => true,
        Standing::Booting(_) => member.consensus.is_admitted(),
        Standing::Sealed(_) | Standing::Diverged(_) | Standing::Failed(_) | Standing::Superseded(_) => false,
    }
}

/// This node's head at an index, if it keeps the chain value there.
fn own_head(member: &Member, index: u64) -> Option<v1::Head> {
    // From the store: right after a restart or a snapshot nothing was applied here that could tell.
    let chain = match member.consensus.chain_at(index) {
        Ok(chain) => chain?,
        Err(fault) => {
            tracing::error!(%fault, "the chain cannot be read");
            return None;
        }
    };
    #[cfg(feature = "sabotage")]
    let chain = crate::sabotage::head(chain);
    let signer = &member.boot.signer;
    let Ok(signature) = member.boot.signing.sign(&signer.head(index, &chain)) else {
        tracing::error!("a head cannot be signed");
        return None;
    };
    Some(v1::Head {
        node: member.node.into(),
        boot_counter: signer.boot_counter,
        index,
        chain: Bytes::copy_from_slice(&chain),
        signature: Bytes::copy_from_slice(&signature),
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
    let boot = Some(Arc::new(member.boot.statement.clone()));
    // What the log was before a snapshot took its place no later head tells.
    own.push(head);
    let own = own.into_iter().map(|head| Told {
        head,
        boot: boot.clone(),
    });
    let told = own.chain(newest).collect();
    let (heads, boots) = pass_on(told);
    let snapshots = lock(&member.snapshots).all();
    broadcast(
        member,
        v1::Gossip {
            boots,
            heads,
            snapshots,
            contested,
            ..v1::Gossip::default()
        },
    );
}

/// Answers a node that is contradicted: says what this node's log is there.
fn answer_contested(member: &Arc<Member>, from: u16, contested: &[u64]) {
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
        send(member, from, gossip);
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

/// Sends one message to every other node; a node that does not answer is not waited for.
pub(crate) fn broadcast(member: &Arc<Member>, gossip: v1::Gossip) {
    for node in member.peers.nodes() {
        send(member, node, gossip.clone());
    }
}

fn send(member: &Member, node: u16, gossip: v1::Gossip) {
    let peers = Arc::clone(&member.peers);
    tokio::spawn(async move {
        // A node that is down learns it from the next message.
        let _ = peers.ask(node, peer_request::Kind::Gossip(gossip), SEND_TIMEOUT).await;
    });
}

/// Takes what node `from` sent, as its connection proves: statements of any node, but only its own clock reading.
pub(crate) fn take(member: &Arc<Member>, from: u16, gossip: v1::Gossip) {
    // An honest node's own comes on each of its connections as well.
    let statements = gossip.boot.iter().chain(gossip.boots.iter().take(BOOTS_MAX));
    let affordable = statements.filter(|_| member.checks.take_many(from.into(), CHECKS_PER_BOOT));
    let shown: Vec<Seen> = affordable.filter_map(|statement| member.keep_boot(statement)).collect();
    for head in gossip.heads.into_iter().take(HEADS_MAX) {
        take_head(member, from, head, &shown);
    }
    let contested = gossip.contested.get(..CONTESTED_MAX).unwrap_or(&gossip.contested);
    lock(&member.heads).unkept(from, &gossip.unkept);
    if !contested.is_empty()
        && speaks(member)
        // A signature costs less than a check.
        && member.checks.take_many(from.into(), contested.len())
    {
        answer_contested(member, from, contested);
    }
    for signed in gossip.snapshots.into_iter().take(SNAPSHOTS_MAX) {
        let key = u16::try_from(signed.node)
            .ok()
            .and_then(|node| member.signing_key(node, signed.boot_counter));
        if let Some(key) = key
            && member.checks.take(from.into())
        {
            lock(&member.snapshots).take(signed, &member.roster, &key, member.provider.as_ref());
        }
    }
    if let Some(tick) = gossip.tick.filter(|tick| is_reading_of(member, from, tick)) {
        lock(&member.readings).take(tick, clocks::boot_ms());
    }
}

/// Whether a clock reading is signed by the node that sent it. The leader logs all readings together: one that is wrong or
/// large would keep out the others'.
fn is_reading_of(member: &Member, from: u16, tick: &v1::Tick) -> bool {
    let signer = Signer {
        cluster: member.roster.cluster,
        node: from,
        boot_counter: tick.boot_counter,
    };
    let statement = signer.tick(tick.sequence, tick.time_ms);
    let key = member.signing_key(from, tick.boot_counter);
    let signature = <&[u8; 64]>::try_from(tick.signature.as_ref());
    tick.node == u32::from(from)
        && key.zip(signature.ok()).is_some_and(|(key, signature)| {
            member.checks.take(from.into()) && member.provider.p256(&key, &statement, signature).is_ok()
        })
}

/// Takes a head, by the key of a boot `shown` with it, kept or logged.
fn take_head(member: &Arc<Member>, from: u16, head: v1::Head, shown: &[Seen]) {
    let Ok(node) = u16::try_from(head.node) else { return };
    if node == member.node {
        return;
    }
    let of_boot = |seen: &&Seen| seen.node == node && seen.boot.counter == head.boot_counter;
    let mut boots: Vec<Seen> = shown.iter().filter(of_boot).cloned().collect();
    boots.extend(member.boots_seen.of_boot(node, head.boot_counter));
    let logged = member.logged_key(node, head.boot_counter);
    let checks = boots.len() + usize::from(logged.is_some());
    if !member.checks.take_many(from.into(), checks) {
        return;
    }
    let signer = Signer {
        cluster: member.roster.cluster,
        node,
        boot_counter: head.boot_counter,
    };
    let signed = |key: &VerifyingKey| heads::check(&head, &signer, key, member.provider.as_ref());
    let boot = match boots.into_iter().find(|seen| signed(&seen.boot.signing_key)) {
        Some(seen) => Some(seen.statement),
        None if logged.as_ref().is_some_and(signed) => member.logged_boot(node).map(Arc::new),
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
    match finding {
        Finding::Nothing => {}
        Finding::Outvoted { node, index } => {
            tracing::error!(node, index, "a node's log differs from the one that t nodes agree on");
        }
        Finding::Equivocation { node, first, second } => {
            tracing::error!(
                node,
                index = first.index,
                ?first,
                ?second,
                "a node signed two heads at one index; excluded"
            );
            let member = Arc::clone(member);
            tokio::spawn(async move { member.peers.exclude(node).await });
        }
        Finding::Freeze { index, against } => freeze(member, index, &against),
    }
    // t heads agree with it wherever it was contradicted, or nobody contradicts it there any more.
    let thawed = matches!(member.standing(), Standing::Frozen(_)) && lock(&member.heads).contested().next().is_none();
    if thawed {
        tracing::warn!("this node's log is no longer contradicted; it goes on");
        member.thaw();
    }
}

/// Stops releasing and agreeing, and asks the others what their logs are at that index.
fn freeze(member: &Arc<Member>, index: u64, against: &[u16]) {
    if matches!(member.standing(), Standing::Frozen(_)) {
        return;
    }
    #[cfg(feature = "sabotage")]
    if crate::sabotage::shameless() {
        return;
    }
    tracing::error!(index, ?against, "this node's log is contradicted; it freezes");
    member.set_standing(Standing::Frozen(index));
    if let Some(head) = own_head(member, index) {
        tell(member, head);
    }
}

/// Signs a clock reading a second; the leader logs them together.
pub(crate) async fn ticks(member: Arc<Member>) {
    let mut every = tokio::time::interval(TICK_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let (mut apart, mut sequence) = (false, 0);
    loop {
        every.tick().await;
        if member.standing().refusal().is_some() {
            continue;
        }
        let (signer, time_ms) = (&member.boot.signer, clocks::wall_ms());
        let apart_ms = time_ms.abs_diff(member.shown.load().log_time_ms);
        if apart != (apart_ms > CLOCKS_APART_MS_MAX) {
            apart = !apart;
            if apart {
                tracing::error!(
                    apart_ms,
                    "this node's clock and log time are too far apart; it releases nothing (SY0510)"
                );
            } else {
                tracing::warn!(apart_ms, "this node's clock and log time agree again");
            }
        }
        sequence += 1;
        let Ok(signature) = member.boot.signing.sign(&signer.tick(sequence, time_ms)) else {
            tracing::error!("a clock reading cannot be signed");
            continue;
        };
        let tick = v1::Tick {
            node: member.node.into(),
            boot_counter: signer.boot_counter,
            sequence,
            time_ms,
            signature: Bytes::copy_from_slice(&signature),
        };
        lock(&member.readings).take(tick.clone(), clocks::boot_ms());
        let leads = member.consensus.leader() == Some(u64::from(member.node));
        if leads {
            let ticks = lock(&member.readings).together(clocks::boot_ms());
            let payload = v1::Ticks { ticks }.encode_to_vec().into();
            if let Err(refused) = submit::propose_here(&member, Kind::Ticks.number(), payload).await {
                tracing::warn!(why = refused.message, "clock readings were not logged");
            }
            raise_level(&member).await;
        } else {
            broadcast(
                &member,
                v1::Gossip {
                    tick: Some(tick),
                    ..v1::Gossip::default()
                },
            );
        }
    }
}

/// Raises the feature level by a log entry once every node's build supports the next one, so that a rolling upgrade
/// never makes honest nodes differ. Apply checks the same from the nodes' signed statements.
pub(crate) async fn raise_level(member: &Arc<Member>) {
    let shown = member.shown.load_full();
    let level = shown.feature_level + 1;
    let supported = |node: u16| shown.boots.get(&node).is_some_and(|boot| boot.feature_level >= level);
    if !member.roster.nodes.iter().all(|node| supported(node.index)) {
        return;
    }
    let payload = v1::FeatureLevel { level }.encode_to_vec().into();
    if let Err(refused) = submit::propose_here(member, Kind::FeatureLevel.number(), payload).await {
        tracing::warn!(why = refused.message, level, "the feature level was not raised");
    }
}

/// Gets this boot's keys into the log; nothing that the node signs counts before.
pub(crate) async fn announce(member: Arc<Member>) {
    let statement: Bytes = member.boot.statement.encode_to_vec().into();
    loop {
        if member.is_announced() {
            member.set_standing(Standing::Serving);
            return;
        }
        if let Err(refused) = submit::propose(&member, Kind::BootKeys, statement.clone()).await {
            tracing::info!(why = refused.message, "the boot keys are not logged yet");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// The chain values that a client saw differ: looked at like heads. One reply of each node is enough.
pub(crate) fn report(member: &Member, report: &v1::HeadReport) {
    let differs = |reply: &&v1::ReadReply| {
        let mine = member.consensus.chain_at(reply.record_index).ok().flatten();
        let theirs = Hash::try_from(reply.record_chain.as_ref()).ok();
        mine.zip(theirs).is_some_and(|(mine, theirs)| mine != theirs)
    };
    if let Some(reply) = report.replies.iter().take(member.roster.nodes.len()).find(differs) {
        // Signed over the client's request, so that only the client can check it: a hint to look at the heads.
        tracing::warn!(
            node = reply.node,
            index = reply.record_index,
            "a client says that it was shown another history"
        );
    }
}
