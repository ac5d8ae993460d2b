//! Handing a command over: the same bytes to one node after the other until it is settled. Once a node may have proposed
//! it without telling what came of it, only a recorded outcome settles it; until then it is unknown.

use super::Sender;
use crate::limits::{OFFER_PAUSE, REQUEST_WITHIN};
use crate::net::NoAnswer;
use bytes::Bytes;
use prost::Message;
use std::time::Duration;
use symbolon_crypto::Hash;
use symbolon_sabotage::Bug;
use symbolon_wire::Code;
use symbolon_wire::command::CommandId;
use symbolon_wire::v1::{self, request, response};
use tokio::time::Instant;

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Submission {
    /// Applied.
    Done { index: u64, chain: Hash, version: u64 },
    /// Recorded without effect, or certainly never proposed.
    Refused(Code),
    /// It may still be applied.
    Unknown,
    /// Something that an honest node never answers.
    Wrong(String),
}

/// Whether the node may have proposed the command although it says that it failed; as in the client.
fn doubtful(code: Code) -> bool {
    matches!(
        code,
        Code::Timeout | Code::Internal | Code::OutcomeUnknown | Code::DiskFull
    )
}

/// Decided before apply looks the nonce up: an earlier copy may have been applied all the same.
fn before_the_nonce(code: Code) -> bool {
    matches!(code, Code::Expired | Code::UnknownKey | Code::BadSignature)
}

/// Refusals that are about the node, not about the command.
fn about_the_node(code: Code) -> bool {
    matches!(
        code,
        Code::NoQuorum | Code::NotFresh | Code::Frozen | Code::Sealed | Code::Overloaded | Code::ClockApart
    ) || doubtful(code)
}

impl Sender {
    /// Offers a command for `within`, to `nodes` in turn; a write at a level.
    pub(crate) async fn submit(
        &self,
        command: &v1::Command,
        level: u32,
        nodes: &[u16],
        within: Duration,
    ) -> Submission {
        let submit = v1::Submit {
            command: Some(command.clone()),
            level,
        };
        let request = v1::Request {
            kind: Some(request::Kind::Submit(submit)),
        };
        let bytes = Bytes::from(request.encode_to_vec());
        let until = Instant::now() + within;
        let (mut doubt, mut refused) = (false, 0);
        for node in nodes.iter().copied().cycle() {
            let answer = self.ask(node, bytes.clone(), REQUEST_WITHIN).await;
            match answer {
                Ok((response::Result::Submitted(done), _)) => {
                    if self.confirmed(command, node, &done, nodes).await {
                        let outcome = done.outcome.unwrap_or_default();
                        let Ok(chain) = Hash::try_from(done.chain.as_ref()) else {
                            return Submission::Wrong(format!("node {node} acknowledged without a chain value"));
                        };
                        return Submission::Done {
                            index: done.index,
                            chain,
                            version: outcome.version,
                        };
                    }
                    doubt = true;
                }
                Ok((response::Result::Error(error), _)) => {
                    let code = Code::from_number(error.code).unwrap_or(Code::Internal);
                    doubt |= doubtful(code);
                    if !about_the_node(code) {
                        // A refusal out of the log says where it stands there; others come from one node's view.
                        let recorded = error.state_index > 0;
                        if !(doubt && before_the_nonce(code)) && (recorded || code != Code::UnknownKey) {
                            return Submission::Refused(code);
                        }
                        refused += 1;
                        if refused > nodes.len() {
                            return if doubt {
                                Submission::Unknown
                            } else {
                                Submission::Refused(code)
                            };
                        }
                    }
                }
                Ok(_) | Err(NoAnswer::Broken | NoAnswer::Timeout) => doubt = true,
                Err(NoAnswer::Unreachable) => {}
            }
            if Instant::now() + OFFER_PAUSE >= until {
                break;
            }
            tokio::time::sleep(OFFER_PAUSE).await;
        }
        if doubt {
            Submission::Unknown
        } else {
            Submission::Refused(Code::NoQuorum)
        }
    }

    /// Whether t nodes, `by` among them, have recorded the same of a command.
    async fn confirmed(&self, command: &v1::Command, by: u16, done: &v1::Submitted, nodes: &[u16]) -> bool {
        // Any t that are asked later include one of the t that confirmed: stale answers could not be told from right ones.
        if Bug::StaleReads.on() {
            return true;
        }
        let Ok(id) = CommandId::of(command) else { return false };
        let asked = v1::OutcomesRequest {
            commands: vec![id.to_message()],
            min_index: done.index,
        };
        let request = v1::Request {
            kind: Some(request::Kind::Outcomes(asked)),
        };
        let bytes = Bytes::from(request.encode_to_vec());
        let version = done.outcome.as_ref().map(|outcome| outcome.version);
        let mut needed = usize::from(self.site.roster.threshold).saturating_sub(1);
        for other in nodes.iter().copied().filter(|node| *node != by) {
            if needed == 0 {
                break;
            }
            let answer = self.ask(other, bytes.clone(), REQUEST_WITHIN).await;
            let Ok((response::Result::Outcomes(reply), _)) = answer else {
                continue;
            };
            let recorded = reply.outcomes.first().cloned().unwrap_or_default();
            let same = recorded.outcome.is_some_and(|outcome| {
                let place = outcome.index != done.index || recorded.chain.is_empty() || recorded.chain == done.chain;
                outcome.code == 0 && Some(outcome.version) == version && place
            });
            needed -= usize::from(same);
        }
        needed == 0
    }
}
