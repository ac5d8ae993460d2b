//! The token probe (custody.md, "Root of trust"): two that fail seal the node.

use crate::member::{Member, Standing};
use crate::token::Token;
use std::sync::Arc;
use std::time::{Duration, Instant};
use symbolon_crypto::enc::sha256;
use symbolon_hsm::probe;

/// Between two probes while all is well. With one more after a failure, a node whose token goes seals itself within 2 s.
const EVERY: Duration = Duration::from_millis(700);
/// Before the second look.
const AGAIN: Duration = Duration::from_millis(200);
/// A token that takes longer to sign counts as failed.
const PATIENCE: Duration = Duration::from_millis(500);

/// Bytes that this node hashes beside each probe, timed: about a millisecond, as the token takes.
const OWN_WORK: usize = 256 * 1024;
/// If that took longer, the processors were not to be had, and a late answer says nothing about the token.
const OWN_PATIENCE: Duration = Duration::from_millis(100);
/// Until a token that does not answer counts as failed however busy the machine is.
const STARVED_MAX: Duration = Duration::from_secs(10);

/// What one probe says.
#[derive(Debug, PartialEq, Eq)]
enum Look {
    Good,
    Failed(String),
    /// No answer in time, on a machine that is too busy for an answer in time.
    Starved,
}

/// Probes until the token fails twice, then seals the node: fragments' keys are dropped and agreement ends.
pub(crate) async fn watch(member: Arc<Member>, token: Arc<Token>) {
    let Some(identity) = member
        .roster
        .node(member.node)
        .map(|node| node.identity.spki().to_vec())
    else {
        return;
    };
    let mut failed: Option<String> = None;
    let mut starved: Option<Instant> = None;
    loop {
        let again = failed.is_some() || starved.is_some();
        tokio::time::sleep(if again { AGAIN } else { EVERY }).await;
        let look = match look(&token, &identity).await {
            Look::Starved if starved.get_or_insert_with(Instant::now).elapsed() < STARVED_MAX => continue,
            Look::Starved => Look::Failed(late(STARVED_MAX)),
            look => {
                starved = None;
                look
            }
        };
        match (look, failed.take()) {
            (Look::Failed(why), None) => {
                tracing::warn!(why, "the token did not answer a probe");
                failed = Some(why);
            }
            (Look::Failed(why), Some(_)) => {
                tracing::error!(why, "the token is gone; this node seals itself");
                seal(&member, why).await;
                return;
            }
            (_, None) => {}
            (_, Some(_)) => tracing::warn!("the token answers again"),
        }
    }
}

async fn look(token: &Arc<Token>, identity: &[u8]) -> Look {
    let begun = Instant::now();
    let own = tokio::task::spawn_blocking(move || {
        std::hint::black_box(sha256(&vec![0; OWN_WORK]));
        begun.elapsed()
    });
    let answer = once(token, identity).await;
    // One that has not ended by now took as long as the probe.
    let own = match tokio::time::timeout(Duration::ZERO, own).await {
        Ok(Ok(took)) => took,
        _ => begun.elapsed(),
    };
    judge(answer, own)
}

/// `None` is no answer in time.
fn judge(answer: Option<Result<(), String>>, own: Duration) -> Look {
    match answer {
        Some(Ok(())) => Look::Good,
        Some(Err(why)) => Look::Failed(why),
        None if own > OWN_PATIENCE => Look::Starved,
        None => Look::Failed(late(PATIENCE)),
    }
}

fn late(patience: Duration) -> String {
    format!("no answer in {} ms", patience.as_millis())
}

async fn once(token: &Arc<Token>, identity: &[u8]) -> Option<Result<(), String>> {
    let mut nonce = [0; 32];
    if let Err(reason) = getrandom::fill(&mut nonce) {
        return Some(Err(reason.to_string()));
    }
    let (token, identity) = (Arc::clone(token), identity.to_vec());
    let probing = tokio::task::spawn_blocking(move || probe(token.root.as_ref(), &token.identity, &identity, &nonce));
    let answered = tokio::time::timeout(PATIENCE, probing).await.ok()?;
    Some(match answered {
        Ok(probed) => probed.map_err(|refused| refused.to_string()),
        Err(_) => Err("the token's library failed".to_owned()),
    })
}

async fn seal(member: &Arc<Member>, why: String) {
    member.set_standing(Standing::Sealed(why));
    member.holder.store(None);
    member.consensus.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_late_answer_on_a_starved_machine_is_not_held_against_the_token_and_an_error_is() {
        let (quick, slow) = (Duration::from_millis(5), Duration::from_millis(400));
        assert_eq!(judge(Some(Ok(())), slow), Look::Good);
        assert_eq!(judge(None, slow), Look::Starved);
        assert_eq!(judge(None, quick), Look::Failed("no answer in 500 ms".to_owned()));
        for own in [quick, slow] {
            assert_eq!(
                judge(Some(Err("gone".to_owned())), own),
                Look::Failed("gone".to_owned())
            );
        }
    }
}
