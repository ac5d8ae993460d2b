//! The token probe (custody.md, "Root of trust"): two that fail seal the node.

use crate::member::{Member, Standing};
use crate::token::Token;
use std::sync::Arc;
use std::time::Duration;
use symbolon_hsm::probe;

/// Between two probes while all is well. With one more after a failure, a node whose token goes seals itself within 2 s.
const EVERY: Duration = Duration::from_millis(700);
/// Before the second look.
const AGAIN: Duration = Duration::from_millis(200);
/// A token that takes longer to sign counts as failed.
const PATIENCE: Duration = Duration::from_millis(500);

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
    loop {
        tokio::time::sleep(if failed.is_some() { AGAIN } else { EVERY }).await;
        match (once(&token, &identity).await, failed.take()) {
            (Ok(()), None) => {}
            (Ok(()), Some(_)) => tracing::warn!("the token answers again"),
            (Err(why), None) => {
                tracing::warn!(why, "the token did not answer a probe");
                failed = Some(why);
            }
            (Err(why), Some(_)) => {
                tracing::error!(why, "the token is gone; this node seals itself");
                seal(&member, why).await;
                return;
            }
        }
    }
}

async fn once(token: &Arc<Token>, identity: &[u8]) -> Result<(), String> {
    let mut nonce = [0; 32];
    getrandom::fill(&mut nonce).map_err(|reason| reason.to_string())?;
    let (token, identity) = (Arc::clone(token), identity.to_vec());
    let probing = tokio::task::spawn_blocking(move || probe(token.root.as_ref(), &token.identity, &identity, &nonce));
    match tokio::time::timeout(PATIENCE, probing).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(refused))) => Err(refused.to_string()),
        Ok(Err(_)) => Err("the token's library failed".to_owned()),
        Err(_) => Err(format!("no answer in {} ms", PATIENCE.as_millis())),
    }
}

async fn seal(member: &Arc<Member>, why: String) {
    member.set_standing(Standing::Sealed(why));
    member.holder.store(None);
    member.consensus.shutdown().await;
}
