//! Hiding a version, showing it again, destroying it.

use super::put::Level;
use super::{Agent, Submission};
use crate::grants::Key;
use crate::history::{Answer, Call, What};
use crate::limits::SUBMIT_WITHIN;
use bytes::Bytes;
use symbolon_linear::secret::Change;
use symbolon_wire::v1::{self, command_body::Payload};

impl Agent {
    /// Does one of these to the latest version or the one before.
    pub(crate) async fn alter(&mut self, key: Key) {
        let known = match self.resolve(key).await {
            Some(known) if known.latest > 0 => known,
            _ => return,
        };
        let version = known.latest - u64::from(known.latest > 1 && self.dice.percent(30));
        let change = match self.dice.between((0, 9)) {
            0..=4 => Change::Delete,
            5..=8 => Change::Undelete,
            _ => Change::Destroy,
        };
        let named = v1::SecretVersions {
            tenant: Bytes::copy_from_slice(self.site.roster.first_tenant.bytes()),
            path: key.path(),
            secret: Bytes::copy_from_slice(&known.secret),
            versions: vec![version],
            latest: known.latest,
        };
        let payload = match change {
            Change::Delete => Payload::Delete(named),
            Change::Undelete => Payload::Undelete(named),
            Change::Destroy => Payload::Destroy(named),
        };
        let nonce = self.dice.bytes();
        let command = self.command(&nonce, payload);
        let (op, agent) = (self.ops.next(), self.identity.agent);
        let call = Call::Alter {
            key,
            alteration: change,
            version,
            latest: known.latest,
        };
        self.site.recorder.note(What::Called { op, agent, call });
        let nodes = self.site.nodes();
        let nodes = self.dice.shuffled(nodes);
        let level = Level::Committed as u32;
        let settled = self.sender().submit(&command, level, &nodes, SUBMIT_WITHIN).await;
        let answer = match settled {
            Submission::Done { index, chain, .. } => Answer::Done { index, chain },
            Submission::Refused(code) => Answer::Refused(code),
            Submission::Unknown => Answer::Unknown,
            Submission::Wrong(what) => Answer::Wrong(what),
        };
        self.site.recorder.note(What::Answered { op, answer });
    }
}
