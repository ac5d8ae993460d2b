//! What became of commands, as this node itself has recorded it. A leader may say that it applied what it dropped; so a node
//! answers for no other one, and clients ask t nodes.

use crate::answers::Answer;
use crate::machine::ViewAdapter;
use crate::member::{Member, error};
use crate::release::broken;
use crate::submit::{judge, known, unknown};
use bytes::Bytes;
use std::time::Duration;
use symbolon_crypto::Hash;
use symbolon_state::query;
use symbolon_wire::command::{CommandId, may_leave_no_record};
use symbolon_wire::limits::OUTCOMES_MAX;
use symbolon_wire::v1::{self, response};
use symbolon_wire::{Code, limits};

const _: () = assert!(OUTCOMES_MAX * 16 * 1024 <= limits::RESPONSE_BYTES_MAX);

/// How long an index that somebody names is waited for: it was applied elsewhere, so it is about to be here.
const APPLIES_WITHIN: Duration = Duration::from_secs(1);

/// The same before this node judges for itself what nobody records: whoever judges by an older state differs, and an author with a wrong
/// clock would be told that the outcome is unknown. Below what clients give a request.
const JUDGES_WITHIN: Duration = Duration::from_secs(4);

/// Answers what was recorded for commands. Who knows a command's nonce has made it, or was given it to submit.
pub(crate) async fn outcomes(member: &Member, client_key: &Hash, request: v1::OutcomesRequest) -> Answer {
    known(member, client_key)?;
    if request.commands.len() > OUTCOMES_MAX {
        let message = format!(
            "{} commands are asked for; at most {OUTCOMES_MAX} are answered",
            request.commands.len()
        );
        return Err(error(Code::TooLarge, message, "ask for fewer at once"));
    }
    let asked: Result<Vec<_>, _> = request.commands.iter().map(CommandId::from_message).collect();
    let asked = asked.map_err(|refused| error(Code::Malformed, refused.to_string(), "update the client"))?;
    reach(member, request.min_index, APPLIES_WITHIN).await?;
    // Before the records are read: what is missing was not applied up to here.
    let state_index = member.consensus.progress().applied();
    let outcomes = asked.iter().map(|command| {
        let outcome = recorded(member, command)?;
        let chain = outcome.as_ref().and_then(|outcome| chain_at(member, outcome.index));
        Ok(v1::RecordedOutcome {
            outcome,
            chain: chain.unwrap_or_default(),
        })
    });
    Ok(response::Result::Outcomes(v1::OutcomesReply {
        state_index,
        outcomes: outcomes.collect::<Result<_, v1::Error>>()?,
    }))
}

/// What another node says of a command, put in this node's own words.
pub(crate) async fn own_word(
    member: &Member,
    command: &CommandId,
    payload: &Bytes,
    told: v1::Submitted,
) -> Result<v1::Submitted, v1::Error> {
    let code = told.outcome.as_ref().map_or(0, |outcome| outcome.code);
    let unrecorded = Code::from_number(code).is_some_and(may_leave_no_record);
    let within = if unrecorded { JUDGES_WITHIN } else { APPLIES_WITHIN };
    reach(member, told.index, within).await?;
    if unrecorded {
        // Nobody records that. Made up, the command would still count, whenever whoever says so logs it.
        let own = judge(member).judge(payload).map_err(broken)?;
        let alike = |own: &v1::Submitted| own.outcome.as_ref().is_some_and(|outcome| outcome.code == code);
        let own = own.filter(|own| own.repeated || alike(own));
        return own.ok_or_else(unknown);
    }
    let outcome = recorded(member, command)?.ok_or_else(unknown)?;
    let (index, chain) = match (chain_at(member, outcome.index), chain_at(member, told.index)) {
        (Some(chain), _) => (outcome.index, chain),
        (None, Some(chain)) => (told.index, chain),
        (None, None) => return Err(unknown()),
    };
    Ok(v1::Submitted {
        index,
        chain,
        outcome: Some(v1::Outcome {
            repeated: told.repeated,
            ..outcome
        }),
        ..told
    })
}

/// Waits until this node has applied `index`, for a while: whoever named it may have made it up.
async fn reach(member: &Member, index: u64, within: Duration) -> Result<(), v1::Error> {
    if let Some(code) = member.standing().refusal() {
        let message = format!("node {} {}", member.node, member.standing().reason());
        return Err(error(code, message, ""));
    }
    // What was not reached shows in what is recorded.
    let _ = member.consensus.progress().wait_index(index, within).await;
    Ok(())
}

fn recorded(member: &Member, command: &CommandId) -> Result<Option<v1::Outcome>, v1::Error> {
    query::outcome(&ViewAdapter::new(&member.store.reader()), command).map_err(broken)
}

fn chain_at(member: &Member, index: u64) -> Option<Bytes> {
    let chain = member.consensus.chain_at(index).ok().flatten();
    chain.map(|chain| Bytes::copy_from_slice(&chain))
}
