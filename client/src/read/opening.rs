//! From t replies that agree to the value: the body checked, the fragments combined, whoever is at fault named.

use super::rounds::Heard;
use super::{Opened, Reading, Receipt};
use crate::client::Inner;
use crate::error::{Culprit, Error, Misdeed, Who};
use crate::node::Failure;
use crate::reply::Reply;
use symbolon_crypto::context::ValueContext;
use symbolon_crypto::dealing::{Dealing, Fragment, Unchecked, UnlockError};
use symbolon_crypto::provider::AwsLc;
use symbolon_wire::command::{CommandError, fixed};
use symbolon_wire::ids::{PrincipalId, SecretId};
use symbolon_wire::{Code, v1};

/// What came of opening.
pub(super) enum Step {
    Opened(Box<Opened>),
    /// None of those who agree has sent a body that fits.
    NoBody,
    /// Someone was caught; look again at what is left.
    Again,
}

impl Reading<'_> {
    /// Checks the body, combines, opens.
    pub(super) fn open(&mut self, heard: &mut Heard, members: &[usize]) -> Result<Step, Error> {
        let first = members.first().and_then(|place| heard.replies.get(*place));
        let Some((record_hash, epoch)) = first.map(|reply| (reply.record_hash, reply.epoch)) else {
            return Ok(Step::NoBody);
        };
        if epoch != self.client.sharing.epoch() {
            let what = format!(
                "cannot {}: it is shared in epoch {epoch}, which this roster is not",
                self.what
            );
            return Err(Error::new(Code::EpochChanged, what).next("connect anew to fetch the roster"));
        }
        let sender = heard
            .replies
            .iter()
            .position(|reply| reply.record_hash == record_hash && reply.body.is_some());
        let Some(sender) = sender else { return Ok(Step::NoBody) };
        let Some(body) = heard.replies.get_mut(sender).and_then(|reply| reply.body.take()) else {
            return Ok(Step::NoBody);
        };
        let parsed = Parts::parse(&body).ok().and_then(|parts| {
            let dealing = parts.dealing(self.client, &body)?;
            let fits = *dealing.record_hash() == record_hash;
            #[cfg(feature = "sabotage")]
            let fits = fits || symbolon_sabotage::Bug::BodyUnchecked.on();
            fits.then_some((parts, dealing))
        });
        let Some((parts, dealing)) = parsed else {
            self.accuse(heard.replies.get(sender).map(|reply| reply.blame(Misdeed::WrongBody)));
            return Ok(Step::Again);
        };
        if self.request.version != 0 && body.version != self.request.version {
            let liars = members.iter().filter_map(|place| heard.replies.get(*place));
            let mut error = Error::new(
                Code::NodeAtFault,
                format!("cannot {}: t nodes answer with another version", self.what),
            );
            error.culprits = liars.map(|reply| reply.blame(Misdeed::NotAnAnswer)).collect();
            return Err(error);
        }
        let agreed: Vec<&Reply> = members.iter().filter_map(|place| heard.replies.get(*place)).collect();
        let fragments: Vec<(u16, &Fragment)> = agreed.iter().map(|reply| (reply.node, &reply.fragment)).collect();
        let key = match dealing.unlock(&self.client.lagrange, &fragments) {
            Ok(key) => key,
            Err(UnlockError::KeyCommitment { .. }) => {
                let all: Vec<&Reply> = heard
                    .replies
                    .iter()
                    .filter(|reply| reply.record_hash == record_hash)
                    .collect();
                let offered: Vec<_> = all.iter().map(|reply| (reply.node, &reply.fragment)).collect();
                let wrong = dealing.culprits(&offered);
                if wrong.is_empty() {
                    return Err(self.author_at_fault(&parts, &agreed, Misdeed::BadDealing));
                }
                let caught = all.iter().filter(|reply| wrong.contains(&reply.node));
                self.accuse(caught.map(|reply| reply.blame(Misdeed::WrongFragment)));
                self.drop_wrong(heard, sender, body, &wrong);
                return Ok(Step::Again);
            }
            Err(error) => return Err(Error::new(Code::Internal, error.to_string())),
        };
        let value = match key.open(&AwsLc) {
            Ok(value) => value,
            Err(_) => return Err(self.author_at_fault(&parts, &agreed, Misdeed::BadCiphertext)),
        };
        #[cfg(feature = "evidence")]
        {
            let copy = symbolon_crypto::secret::Secret::fill(|bytes| bytes.copy_from_slice(key.expose().expose()));
            self.data_key = Some(copy);
        }
        self.name_liars(&heard.replies, &agreed, body.version);
        Ok(Step::Opened(Box::new(Opened {
            value,
            content_type: dealing.content_type().to_owned(),
            version: body.version,
            secret: SecretId(parts.secret),
            author: PrincipalId(parts.author),
            record_index: agreed.iter().map(|reply| reply.record_index).max().unwrap_or_default(),
            state_index: agreed.iter().map(|reply| reply.state_index).min().unwrap_or_default(),
            receipts: agreed.iter().map(|reply| receipt(reply)).collect(),
            culprits: Vec::new(),
        })))
    }

    /// Takes the replies with wrong fragments out; the body, which fits, stays with someone who is still counted.
    fn drop_wrong(&mut self, heard: &mut Heard, sender: usize, body: v1::StoredVersion, wrong: &[u16]) {
        let record_hash = heard.replies.get(sender).map(|reply| reply.record_hash);
        heard.replies.retain(|reply| !wrong.contains(&reply.node));
        if let Some(keeper) = heard
            .replies
            .iter_mut()
            .find(|reply| Some(reply.record_hash) == record_hash)
        {
            keeper.body = Some(body);
        }
        for node in wrong {
            let caught = Error::at_fault(*node, Misdeed::WrongFragment);
            heard.failures.push((*node, Failure::AtFault(caught)));
            self.excluded.push(*node);
        }
    }

    /// t nodes agree on a version; one that showed another record as the same version, from no later state, lied.
    fn name_liars(&mut self, replies: &[Reply], agreed: &[&Reply], version: u64) {
        let Some(first) = agreed.first() else { return };
        let other = |reply: &&Reply| {
            reply.epoch == first.epoch && reply.version == version && reply.record_hash != first.record_hash
        };
        self.accuse(
            replies
                .iter()
                .filter(other)
                .map(|reply| reply.blame(Misdeed::OtherHistory)),
        );
    }

    fn author_at_fault(&mut self, parts: &Parts, agreed: &[&Reply], what: Misdeed) -> Error {
        let evidence = agreed.iter().map(|reply| reply.evidence()).collect();
        let culprit = Culprit {
            who: Who::Author(PrincipalId(parts.author)),
            what,
            evidence,
        };
        let mut error = Error::new(
            Code::AuthorAtFault,
            format!("cannot {}: its author dealt badly", self.what),
        );
        error.culprits = std::mem::take(&mut self.culprits);
        error.culprit(culprit).next("ask the author to write it again")
    }
}

fn receipt(reply: &Reply) -> Receipt {
    Receipt {
        node: reply.node,
        boot_counter: reply.boot_counter,
        audit_index: reply.audit_index,
        audit_leaf: reply.audit_leaf,
        client_key: reply.client_key,
        boot: reply.boot.clone(),
        reply: reply.encoded(),
        request_hash: reply.request_hash,
    }
}

/// The fixed-length fields of a body.
struct Parts {
    tenant: [u8; 16],
    secret: [u8; 16],
    author: [u8; 16],
    write_nonce: [u8; 32],
}

impl Parts {
    fn parse(body: &v1::StoredVersion) -> Result<Self, CommandError> {
        Ok(Self {
            tenant: fixed("tenant", &body.tenant)?,
            secret: fixed("secret", &body.secret)?,
            author: fixed("author", &body.author)?,
            write_nonce: fixed("write_nonce", &body.write_nonce)?,
        })
    }

    /// The dealing, with contexts and digests computed here: epoch, roster hash, n and t are the roster's, whatever the
    /// body says.
    fn dealing<'a>(&self, client: &'a Inner, body: &'a v1::StoredVersion) -> Option<Dealing<'a>> {
        let value = ValueContext {
            cluster: client.net.roster.cluster.bytes(),
            tenant: &self.tenant,
            secret: &self.secret,
            version: body.version,
            author: &self.author,
            write_nonce: &self.write_nonce,
        };
        let unchecked = Unchecked {
            header: &body.header,
            ciphertext: &body.ciphertext,
            key_commitment: &body.key_commitment,
            commitments: &body.commitments,
            z: &body.z,
        };
        Dealing::parse(&value, &self.author, &client.sharing, &unchecked).ok()
    }
}
