//! What is asked of one node, and how a watch begins.

use crate::client::Inner;
use crate::error::{Error, Misdeed};
use crate::node::{Failure, Node};
use crate::query::{OfKind, ask, encode};
use crate::round::{Event, Round};
use crate::verdict::{Tried, conclude};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;
use symbolon_wire::change::Target;
use symbolon_wire::path::Path;
use symbolon_wire::v1::request::Kind;
use symbolon_wire::{Code, v1};

/// What a path, or with a slash at its end a folder, stands for.
pub(super) fn target(path: &str) -> Result<Target, Error> {
    let (own, folder) = match path.strip_suffix('/') {
        Some("") => return Ok(Target::Folder(String::new())),
        Some(folder) => (folder, true),
        None => (path, false),
    };
    let own = Path::parse(own).map_err(|bad| Error::new(Code::BadPath, bad.to_string()))?;
    let own = own.as_str().to_owned();
    Ok(if folder {
        Target::Folder(own)
    } else {
        Target::Secret(own)
    })
}

/// Asks for what changed after `after`.
pub(super) fn request(target: &Target, after: u64, wait: Duration, now: bool) -> Bytes {
    let nonce: [u8; 32] = rand::random();
    encode(Kind::Watch(v1::WatchRequest {
        nonce: Bytes::copy_from_slice(&nonce),
        path: target.path().to_owned(),
        folder: target.is_folder(),
        after,
        wait_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
        now,
    }))
}

impl Inner {
    /// Where t nodes stand: the lowest of their positions, which at least one honest node has reached.
    pub(super) async fn stand(self: &Arc<Self>, what: &str, target: &Target) -> Result<u64, Error> {
        let bytes = request(target, 0, Duration::ZERO, true);
        let within = self.net.options.request_timeout;
        let asking = |node| ask::<v1::WatchReply>(node, bytes.clone(), within);
        let mut round = Round::new(self.ranked(&[]), &self.spares.questions);
        for _ in 0..self.threshold() {
            round.ask(asking);
        }
        let (mut positions, mut failures) = (Vec::new(), Vec::new());
        loop {
            match round.next().await {
                Event::From(_, Ok(reply)) => positions.push(reply.upto),
                Event::From(node, Err(failure)) => {
                    failures.push((node, failure));
                    round.ask(asking);
                }
                Event::Slow => {
                    round.ask(asking);
                }
                Event::Idle => {
                    let tried = Tried {
                        what,
                        needed: self.threshold(),
                        answered: positions.len(),
                        threshold: self.threshold(),
                        blocking: self.blocking(),
                    };
                    return Err(conclude(&tried, failures, Vec::new()));
                }
            }
            if positions.len() >= self.threshold() {
                return Ok(positions.into_iter().min().unwrap_or_default());
            }
        }
    }
}

/// One node's answer, once it has one.
pub(super) async fn poll(node: Arc<Node>, bytes: Bytes, within: Duration) -> Result<v1::WatchReply, Failure> {
    let answered = node.await_news(bytes, within).await?;
    v1::WatchReply::of(answered.answer)
        .ok_or_else(|| Failure::AtFault(Error::at_fault(node.index, Misdeed::NotAnAnswer)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_at_the_end_makes_a_folder() {
        assert_eq!(target("prod/key").unwrap(), Target::Secret("prod/key".to_owned()));
        assert_eq!(target("prod/").unwrap(), Target::Folder("prod".to_owned()));
        assert_eq!(target("/").unwrap(), Target::Folder(String::new()));
        for bad in ["", "prod//", "Prod", "/prod"] {
            assert_eq!(target(bad).unwrap_err().code, Code::BadPath, "{bad}");
        }
    }
}
