//! Proposals: this node's own, and clients' commands. A node that does not lead hands them to the one that does.

use crate::machine::ViewAdapter;
use crate::member::{Member, count, error, unknown_key};
use crate::outcomes;
use crate::peers::PeerError;
use crate::unlogged::Judge;
use bytes::Bytes;
use prost::Message;
use std::sync::Arc;
use std::time::Duration;
use symbolon_consensus::{self as consensus, ProposeError, Proposed};
use symbolon_crypto::Hash;
use symbolon_state::entry::Kind;
use symbolon_state::{levels, query};
use symbolon_wire::Code;
use symbolon_wire::command::ParsedCommand;
use symbolon_wire::ids::SecretId;
use symbolon_wire::limits::{COMMAND_BYTES_MAX, PEER_FRAME_BYTES_MAX};
use symbolon_wire::v1::{self, command_body::Payload, peer_request, peer_response};

const _: () = assert!(COMMAND_BYTES_MAX <= symbolon_consensus::limits::PAYLOAD_BYTES_MAX);
// A frame of consensus travels inside a message between nodes.
const _: () = assert!(symbolon_consensus::limits::FRAME_BYTES_MAX + 1024 < PEER_FRAME_BYTES_MAX);

/// How long a proposal may take, the way to the leader included.
const PROPOSE_TIMEOUT: Duration = Duration::from_secs(6);
/// How long a write waits for confirmations at levels `verified` and `full`.
const LEVEL_TIMEOUT: Duration = Duration::from_secs(10);
/// Attempts to find the leader before giving up; elections take about a second.
const LEADER_ATTEMPTS: u32 = 15;
const LEADER_PAUSE: Duration = Duration::from_millis(100);

/// Proposes an entry, here or at the leader.
pub(crate) async fn propose(member: &Arc<Member>, kind: Kind, payload: Bytes) -> Result<v1::Submitted, v1::Error> {
    let (_, submitted) = led(member, kind, payload).await?;
    Ok(submitted)
}

/// The same, and whose word it is.
async fn led(member: &Arc<Member>, kind: Kind, payload: Bytes) -> Result<(u16, v1::Submitted), v1::Error> {
    for _ in 0..LEADER_ATTEMPTS {
        let leader = member.consensus.leader().and_then(|leader| u16::try_from(leader).ok());
        match leader {
            Some(leader) if leader == member.node => match propose_here(member, kind.number(), payload.clone()).await {
                Err(refused) if refused.code == Code::NoQuorum as u32 => {}
                done => return done.map(|submitted| (leader, submitted)),
            },
            Some(leader) => {
                let propose = v1::Propose {
                    kind: kind.number().into(),
                    payload: payload.clone(),
                };
                let asked = member
                    .peers
                    .ask(leader, peer_request::Kind::Propose(propose), PROPOSE_TIMEOUT);
                let answered = tokio::select! {
                    answered = asked => answered,
                    // A killed leader never answers. What a command's nonce has done once it does not do again.
                    () = member.consensus.leader_left(leader.into()), if kind == Kind::Command => continue,
                };
                match answered {
                    Ok(peer_response::Result::Submitted(submitted)) => return Ok((leader, submitted)),
                    // It does not lead any more: look again.
                    Ok(peer_response::Result::Error(refused)) if refused.code == Code::NoQuorum as u32 => {}
                    Ok(peer_response::Result::Error(refused)) => return Err(refused),
                    Ok(_) | Err(PeerError::NoAnswer(_)) => return Err(unknown()),
                    Err(PeerError::Unreachable(_)) => {}
                }
            }
            None => {}
        }
        tokio::time::sleep(LEADER_PAUSE).await;
    }
    Err(error(
        Code::NoQuorum,
        "the cluster has no leader that this node can reach",
        "see: symbolon status",
    ))
}

pub(crate) fn unknown() -> v1::Error {
    error(
        Code::OutcomeUnknown,
        "the command may or may not have been committed",
        "the same bytes may be sent again",
    )
}

/// Refuses what the feature level in force does not allow yet.
fn higher_level(member: &Member, needed: u32) -> Result<(), v1::Error> {
    let level = member.shown.load().feature_level;
    if needed <= level {
        return Ok(());
    }
    Err(error(
        Code::UnknownVersion,
        format!(
            "this needs feature level {needed}; level {level} is in force until all nodes run a build that knows it"
        ),
        "update the nodes that lag behind: symbolon status shows what each runs",
    ))
}

/// Proposes for another node what that one may have proposed.
pub(crate) async fn propose_for(member: &Arc<Member>, propose: v1::Propose) -> Result<v1::Submitted, v1::Error> {
    let kind = u16::try_from(propose.kind).unwrap_or(u16::MAX);
    if !Kind::from_number(kind).is_some_and(Kind::is_handed_on) {
        let message = format!("entries of kind {kind} are not proposed for other nodes");
        return Err(error(Code::Malformed, message, "update the node that sent it"));
    }
    propose_here(member, kind, propose.payload).await
}

/// What this node judges commands by that leave no record.
pub(crate) fn judge(member: &Member) -> Judge<'_> {
    Judge {
        roster: &member.roster,
        provider: member.provider.as_ref(),
        shown: &member.shown,
        store: &member.store,
        consensus: &member.consensus,
    }
}

/// Proposes an entry at this node, which must lead.
pub(crate) async fn propose_here(member: &Arc<Member>, kind: u16, bytes: Bytes) -> Result<v1::Submitted, v1::Error> {
    if let Some(code) = member.standing().ended() {
        return Err(error(
            code,
            format!("node {}: {}", member.node, member.standing().reason()),
            "",
        ));
    }
    // Nodes of older builds could not take the entry, and the log would stand still.
    higher_level(member, levels::needed_for_size(bytes.len()))?;
    if kind == Kind::Command.number() {
        few_fields(&bytes)?;
        if let Some(told) = judge(member).told(&bytes).await.map_err(crate::release::broken)? {
            return Ok(told);
        }
    }
    match member.consensus.propose(consensus::Payload { kind, bytes }).await {
        Ok(done) => {
            let outcome = v1::Outcome::decode(done.reply.clone()).map_err(|_| unknown())?;
            Ok(submitted(&done, outcome, |index| {
                member.consensus.chain_at(index).ok().flatten()
            }))
        }
        Err(ProposeError::NotLeader { .. }) => Err(error(Code::NoQuorum, "this node does not lead", "")),
        Err(ProposeError::Overloaded) => Err(error(
            Code::Overloaded,
            "too many commands are under way",
            "try again after a pause",
        )),
        Err(refused @ ProposeError::Unacceptable { .. }) => Err(error(Code::TooLarge, refused.to_string(), "")),
        Err(ProposeError::NoRoom(fault)) => Err(error(
            Code::DiskFull,
            format!("node {}: {fault}", member.node),
            "free space on the node's disk",
        )),
        Err(ProposeError::Unknown | ProposeError::Fatal { .. }) => Err(unknown()),
    }
}

/// What a client is told of a command. A repetition is shown where it was applied first, unless this node does not know
/// the chain there: it has taken over a later snapshot. Then its own place is shown, which is as true.
fn submitted(done: &Proposed, outcome: v1::Outcome, chain_at: impl FnOnce(u64) -> Option<Hash>) -> v1::Submitted {
    let first = outcome.repeated.then(|| chain_at(outcome.index)).flatten();
    let (index, chain) = first.map_or((done.index, done.chain), |chain| (outcome.index, chain));
    v1::Submitted {
        index,
        term: done.term,
        chain: Bytes::copy_from_slice(&chain),
        repeated: outcome.repeated,
        outcome: Some(outcome),
    }
}

/// A client's command: checked for form and for who sends it before it costs the log anything.
pub(crate) async fn submit(
    member: &Arc<Member>,
    client_key: &Hash,
    submit: v1::Submit,
) -> Result<v1::Submitted, v1::Error> {
    count(&member.counters.commands);
    let command = submit
        .command
        .ok_or_else(|| error(Code::Malformed, "there is no command in the request", ""))?;
    let encoded: Bytes = command.encode_to_vec().into();
    if encoded.len() > COMMAND_BYTES_MAX {
        let message = format!(
            "the command has {} bytes; at most {COMMAND_BYTES_MAX} are allowed",
            encoded.len()
        );
        return Err(error(Code::TooLarge, message, "write a smaller value"));
    }
    few_fields(&encoded)?;
    let parsed = ParsedCommand::from_message(command)
        .map_err(|refused| error(Code::Malformed, refused.to_string(), "update the client"))?;
    if parsed.cluster != member.roster.cluster {
        let message = format!(
            "the command is for cluster {}, this is {}",
            parsed.cluster, member.roster.cluster
        );
        return Err(error(Code::WrongCluster, message, "check the context: symbolon doctor"));
    }
    higher_level(member, levels::needed(&parsed.payload, encoded.len()))?;
    known(member, client_key)?;
    #[cfg(feature = "sabotage")]
    if let Some(lie) = {
        let applied = member.shown.load().applied;
        let chain = member.consensus.chain_at(applied).ok().flatten().unwrap_or_default();
        crate::sabotage::done_by_nobody(&parsed, applied, chain)
    } {
        return Ok(lie);
    }
    let (leader, mut submitted) = led(member, Kind::Command, encoded.clone()).await?;
    if leader != member.node {
        submitted = outcomes::own_word(member, &parsed.id(), &encoded, submitted).await?;
    }
    let outcome = submitted.outcome.clone().unwrap_or_default();
    if outcome.code != 0 {
        return Err(v1::Error {
            code: outcome.code,
            message: outcome.message,
            because: outcome.because,
            next: outcome.next,
            audit_index: 0,
            state_index: submitted.index,
        });
    }
    let needed = match submit.level {
        0 => 0,
        1 => usize::from(member.roster.threshold) + 1,
        2 => member.roster.nodes.len(),
        _ => {
            return Err(error(
                Code::Malformed,
                "unknown level",
                "use committed, verified or full",
            ));
        }
    };
    if let Payload::Put(put) = &parsed.payload
        && needed > 0
    {
        let secret = SecretId::parse(&put.secret).map_err(|_| unknown())?;
        let needed = needed.min(member.roster.nodes.len());
        // The dealing stands where the command was applied first.
        confirmed(member, (secret, put.version), outcome.index, needed).await?;
    }
    Ok(submitted)
}

/// Two bytes of a command can be a message of fifty in memory.
fn few_fields(command: &[u8]) -> Result<(), v1::Error> {
    ParsedCommand::check_fields(command)
        .map_err(|refused| error(Code::Malformed, refused.to_string(), "send it in several commands"))
}

/// Refuses who is not registered before the log is bothered. Apply checks again, at its index.
pub(crate) fn known(member: &Member, client_key: &Hash) -> Result<(), v1::Error> {
    let reader = member.store.reader();
    let view = ViewAdapter::new(&reader);
    let now = member.shown.load().log_time_ms;
    match query::principal_by_key(&view, client_key, now) {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(unknown_key()),
        Err(fault) => Err(crate::release::broken(fault)),
    }
}

/// Waits until `needed` holders have confirmed the dealing of a version, applied at `index`.
async fn confirmed(member: &Member, version: (SecretId, u64), index: u64, needed: usize) -> Result<(), v1::Error> {
    let mut changed = member.confirmed.subscribe();
    let mut found = 0;
    let waiting = async {
        loop {
            if member.shown.load().applied >= index {
                found = confirmations(member, version, index)?;
            }
            if found >= needed {
                return Ok(());
            }
            if changed.changed().await.is_err() {
                return Err(error(Code::Overloaded, "the node is stopping", ""));
            }
        }
    };
    match tokio::time::timeout(LEVEL_TIMEOUT, waiting).await {
        Ok(done) => done,
        Err(_) => Err(error(
            Code::Timeout,
            format!("committed at index {index}, but {found} of {needed} nodes have confirmed their fragment"),
            "the write stands; see which nodes are down: symbolon status",
        )),
    }
}

fn confirmations(member: &Member, (secret, version): (SecretId, u64), index: u64) -> Result<usize, v1::Error> {
    let reader = member.store.reader();
    let view = ViewAdapter::new(&reader);
    let found = query::confirmations(&view, secret, version, member.roster.n()).map_err(crate::release::broken)?;
    found.ok_or_else(|| {
        error(
            Code::NotFound,
            format!("committed at index {index}; version {version} was destroyed before enough nodes had confirmed it"),
            "write a new version",
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done() -> Proposed {
        Proposed {
            index: 90,
            term: 3,
            chain: [9; 32],
            reply: Bytes::new(),
        }
    }

    fn outcome(repeated: bool) -> v1::Outcome {
        v1::Outcome {
            index: 40,
            repeated,
            ..v1::Outcome::default()
        }
    }

    #[test]
    fn a_repetition_is_shown_where_it_was_applied_first() {
        let shown = submitted(&done(), outcome(true), |index| (index == 40).then_some([4; 32]));
        assert!(shown.repeated);
        assert_eq!((shown.index, shown.chain.as_ref()), (40, [4; 32].as_slice()));
    }

    #[test]
    fn a_repetition_from_before_a_snapshot_is_shown_with_a_chain_value_all_the_same() {
        let shown = submitted(&done(), outcome(true), |_| None);
        assert!(shown.repeated);
        assert_eq!((shown.index, shown.chain.as_ref()), (90, [9; 32].as_slice()));
    }

    #[test]
    fn a_new_command_is_shown_where_it_is() {
        let shown = submitted(&done(), outcome(false), |_| Some([4; 32]));
        assert!(!shown.repeated);
        assert_eq!((shown.index, shown.chain.as_ref()), (90, [9; 32].as_slice()));
    }
}
