//! Proposals: this node's own, and clients' commands; as `symbolon-node`'s `submit`.

use super::boot::peer_message;
use super::release::broken;
use super::{Member, error};
use crate::net::{NoAnswer, Place};
use bytes::Bytes;
use prost::Message;
use std::sync::Arc;
use std::time::Duration;
use symbolon_consensus::{self as consensus, ProposeError};
use symbolon_crypto::Hash;
use symbolon_node::machine::ViewAdapter;
use symbolon_node::unlogged::Judge;
use symbolon_state::entry::Kind;
use symbolon_state::query;
use symbolon_wire::Code;
use symbolon_wire::command::{CommandId, ParsedCommand, may_leave_no_record};
use symbolon_wire::ids::SecretId;
use symbolon_wire::v1::{self, command_body::Payload, peer_request, peer_response};
use tokio::time::Instant;

/// How long a proposal may take, the way to the leader included.
const PROPOSE_TIMEOUT: Duration = Duration::from_secs(6);
/// How long a write waits for confirmations at levels `verified` and `full`.
const LEVEL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long an index that somebody names is waited for.
const APPLIES_WITHIN: Duration = Duration::from_secs(1);
/// A pause between two looks at what is applied or confirmed.
const LOOK_AGAIN: Duration = Duration::from_millis(5);
/// Attempts to find the leader before giving up.
const LEADER_ATTEMPTS: u32 = 15;
const LEADER_PAUSE: Duration = Duration::from_millis(100);

/// Proposes an entry, here or at the leader.
pub(super) async fn propose(member: &Arc<Member>, kind: Kind, payload: Bytes) -> Result<v1::Submitted, v1::Error> {
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
                let asked = peer_message(peer_request::Kind::Propose(propose));
                let from = Place::Node(member.node);
                let answer = member.site.net.ask(from, leader, asked, PROPOSE_TIMEOUT).await;
                match answer.map(v1::PeerResponse::decode) {
                    Ok(Ok(answer)) => match answer.result {
                        Some(peer_response::Result::Submitted(submitted)) => return Ok((leader, submitted)),
                        // It does not lead any more: look again.
                        Some(peer_response::Result::Error(refused)) if refused.code == Code::NoQuorum as u32 => {}
                        Some(peer_response::Result::Error(refused)) => return Err(refused),
                        _ => return Err(unknown()),
                    },
                    Err(NoAnswer::Unreachable) => {}
                    Ok(Err(_)) | Err(NoAnswer::Broken | NoAnswer::Timeout) => return Err(unknown()),
                }
            }
            None => {}
        }
        tokio::time::sleep(LEADER_PAUSE).await;
    }
    Err(error(Code::NoQuorum, "no leader can be reached"))
}

fn unknown() -> v1::Error {
    error(Code::OutcomeUnknown, "the command may or may not have been committed")
}

fn judge(member: &Member) -> Judge<'_> {
    Judge {
        roster: &member.site.roster,
        provider: member.site.provider.as_ref(),
        shown: &member.shown,
        store: &member.store,
        consensus: &member.consensus,
    }
}

/// Proposes an entry at this node, which must lead.
pub(super) async fn propose_here(member: &Arc<Member>, kind: u16, bytes: Bytes) -> Result<v1::Submitted, v1::Error> {
    if let Some(code) = member.refusal() {
        return Err(error(code, format!("node {} does not serve", member.node)));
    }
    if kind == Kind::Command.number()
        && let Some(told) = judge(member).told(&bytes).await.map_err(|fault| broken(&fault))?
    {
        return Ok(told);
    }
    match member.consensus.propose(consensus::Payload { kind, bytes }).await {
        Ok(done) => {
            let outcome = v1::Outcome::decode(done.reply.clone()).map_err(|_| unknown())?;
            let chain_at = |index| member.consensus.chain_at(index).ok().flatten();
            // A repetition is shown where it was applied first, if this node knows the chain there.
            let first = outcome.repeated.then(|| chain_at(outcome.index)).flatten();
            let (index, chain) = first.map_or((done.index, done.chain), |chain| (outcome.index, chain));
            Ok(v1::Submitted {
                index,
                term: done.term,
                chain: Bytes::copy_from_slice(&chain),
                repeated: outcome.repeated,
                outcome: Some(outcome),
            })
        }
        Err(ProposeError::NotLeader { .. }) => Err(error(Code::NoQuorum, "this node does not lead")),
        Err(ProposeError::Overloaded) => Err(error(Code::Overloaded, "too many commands are under way")),
        Err(refused @ ProposeError::Unacceptable { .. }) => Err(error(Code::TooLarge, refused.to_string())),
        Err(ProposeError::NoRoom(fault)) => Err(error(Code::DiskFull, fault.to_string())),
        Err(ProposeError::Unknown | ProposeError::Fatal { .. }) => Err(unknown()),
    }
}

/// A client's command.
pub(super) async fn submit(
    member: &Arc<Member>,
    client_key: &Hash,
    submit: v1::Submit,
) -> Result<v1::Submitted, v1::Error> {
    let command = submit.command.ok_or_else(|| error(Code::Malformed, "no command"))?;
    let encoded: Bytes = command.encode_to_vec().into();
    let parsed = ParsedCommand::from_message(command).map_err(|refused| error(Code::Malformed, refused.to_string()))?;
    if parsed.cluster != member.site.roster.cluster {
        return Err(error(Code::WrongCluster, "another cluster's"));
    }
    known(member, client_key)?;
    let (leader, mut submitted) = led(member, Kind::Command, encoded.clone()).await?;
    if leader != member.node {
        submitted = own_word(member, &parsed.id(), &encoded, submitted).await?;
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
        1 => usize::from(member.site.roster.threshold) + 1,
        _ => member.site.roster.nodes.len(),
    };
    if let Payload::Put(put) = &parsed.payload
        && needed > 0
    {
        let secret = SecretId::parse(&put.secret).map_err(|_| unknown())?;
        confirmed(member, (secret, put.version), outcome.index, needed).await?;
    }
    Ok(submitted)
}

/// What another node says of a command, put in this node's own words.
async fn own_word(
    member: &Arc<Member>,
    command: &CommandId,
    payload: &Bytes,
    told: v1::Submitted,
) -> Result<v1::Submitted, v1::Error> {
    let code = told.outcome.as_ref().map_or(0, |outcome| outcome.code);
    let request = v1::OutcomesRequest {
        commands: vec![command.to_message()],
        min_index: told.index,
    };
    let recorded = outcomes(member, request).await?.outcomes.pop().unwrap_or_default();
    if Code::from_number(code).is_some_and(may_leave_no_record) {
        let own = judge(member).judge(payload).map_err(|fault| broken(&fault))?;
        let alike = |own: &v1::Submitted| own.outcome.as_ref().is_some_and(|outcome| outcome.code == code);
        return own.filter(|own| own.repeated || alike(own)).ok_or_else(unknown);
    }
    let outcome = recorded.outcome.ok_or_else(unknown)?;
    if recorded.chain.is_empty() {
        return Err(unknown());
    }
    Ok(v1::Submitted {
        index: outcome.index,
        chain: recorded.chain,
        outcome: Some(outcome),
        ..told
    })
}

/// What was recorded for commands, once an index is applied or after a while.
pub(super) async fn outcomes(
    member: &Arc<Member>,
    request: v1::OutcomesRequest,
) -> Result<v1::OutcomesReply, v1::Error> {
    let until = Instant::now() + APPLIES_WITHIN;
    while member.shown.load().applied < request.min_index && Instant::now() < until {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    let state_index = member.shown.load().applied;
    let reader = member.store.reader();
    let view = ViewAdapter::new(&reader);
    let outcomes = request.commands.iter().map(|asked| {
        let command = CommandId::from_message(asked).map_err(|bad| error(Code::Malformed, bad.to_string()))?;
        let outcome = query::outcome(&view, &command).map_err(|fault| broken(&fault))?;
        let at = outcome.as_ref().map(|outcome| outcome.index);
        let chain = at.and_then(|index| member.consensus.chain_at(index).ok().flatten());
        Ok(v1::RecordedOutcome {
            outcome,
            chain: chain.map(|chain| Bytes::copy_from_slice(&chain)).unwrap_or_default(),
        })
    });
    Ok(v1::OutcomesReply {
        state_index,
        outcomes: outcomes.collect::<Result<_, v1::Error>>()?,
    })
}

/// Waits until `needed` holders have confirmed a version. Looked at again and again: see `Member::turn`.
async fn confirmed(member: &Member, version: (SecretId, u64), index: u64, needed: usize) -> Result<(), v1::Error> {
    let until = Instant::now() + LEVEL_TIMEOUT;
    loop {
        if member.shown.load().applied >= index && confirmations(member, version)? >= needed {
            return Ok(());
        }
        if Instant::now() >= until {
            return Err(error(
                Code::Timeout,
                format!("committed at index {index}, not confirmed"),
            ));
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

fn confirmations(member: &Member, (secret, version): (SecretId, u64)) -> Result<usize, v1::Error> {
    let reader = member.store.reader();
    let view = ViewAdapter::new(&reader);
    let found = query::confirmations(&view, secret, version, member.site.roster.n());
    let found = found.map_err(|fault| super::release::broken(&fault))?;
    found.ok_or_else(|| error(Code::NotFound, format!("version {version} was destroyed meanwhile")))
}

/// Refuses who is not registered before the log is bothered. Apply checks again, at its index.
fn known(member: &Member, client_key: &Hash) -> Result<(), v1::Error> {
    let reader = member.store.reader();
    let view = ViewAdapter::new(&reader);
    let now = member.shown.load().log_time_ms;
    match query::principal_by_key(&view, client_key, now) {
        Ok(Some(_)) => Ok(()),
        Ok(None) => Err(error(Code::UnknownKey, "the key belongs to no live principal")),
        Err(fault) => Err(super::release::broken(&fault)),
    }
}
