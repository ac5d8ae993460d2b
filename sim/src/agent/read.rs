//! Reading (custody.md, "Reading"): ask t nodes, combine only what t of them agree on, follow the highest state that
//! anyone shows, check the key commitment, open.

use super::{Agent, Sender};
use crate::grants::Key;
use crate::history::{Answer, Call, What};
use crate::limits::{FRESH_WITHIN, REQUEST_WITHIN, SPARE_AFTER, THRESHOLD};
use crate::net::NoAnswer;
use crate::site::Site;
use bytes::Bytes;
use prost::Message;
use std::cmp::Reverse;
use std::time::Duration;
use symbolon_crypto::Hash;
use symbolon_crypto::context::ValueContext;
use symbolon_crypto::dealing::{Dealing, Fragment, Unchecked};
use symbolon_crypto::enc::sha256;
use symbolon_crypto::merkle::{inclusion_root, leaf_hash};
use symbolon_crypto::provider::Verify;
use symbolon_wire::Code;
use symbolon_wire::reply::ReleasedFragment;
use symbolon_wire::statements::{ReplyLeaf, Signer};
use symbolon_wire::v1::{self, request, response};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// A pause before nodes are asked again that had reached the highest state and still differ.
const AGAIN_AFTER: Duration = Duration::from_millis(10);

/// A reply whose signature holds.
struct Reply {
    node: u16,
    record: Hash,
    epoch: u64,
    state_index: u64,
    fragment: Fragment,
    body: Option<v1::StoredVersion>,
}

/// What one node answered.
enum Told {
    Reply(Box<Reply>),
    Refused {
        code: Code,
        state_index: u64,
    },
    Nothing,
    /// Something that an honest node never sends.
    Wrong(String),
}

/// How a round ended.
enum End {
    Answer(Answer),
    /// Nodes answered from different states.
    Behind {
        highest: u64,
    },
}

impl Agent {
    /// Reads the latest version.
    pub(crate) async fn read(&mut self, key: Key) {
        let (op, agent) = (self.ops.next(), self.identity.agent);
        let call = Call::Read(key);
        self.site.recorder.note(What::Called { op, agent, call });
        let answer = self.read_rounds(key).await;
        self.site.recorder.note(What::Answered { op, answer });
    }

    async fn read_rounds(&mut self, key: Key) -> Answer {
        let (mut min_index, mut fresh_by) = (0, None);
        loop {
            match self.round(key, min_index).await {
                End::Answer(answer) => return answer,
                End::Behind { highest } => {
                    let now = Instant::now();
                    if now >= *fresh_by.get_or_insert(now + FRESH_WITHIN) {
                        return Answer::Failed(Code::NotFresh);
                    }
                    if highest <= min_index {
                        tokio::time::sleep(AGAIN_AFTER).await;
                    }
                    min_index = highest.max(min_index);
                }
            }
        }
    }

    /// Asks t nodes at once, one more for each that fails or when it takes long.
    async fn round(&mut self, key: Key, min_index: u64) -> End {
        let nodes = self.site.nodes();
        let mut unasked = self.dice.shuffled(nodes);
        let request = v1::ReadRequest {
            nonce: Bytes::copy_from_slice(&self.dice.bytes::<32>()),
            path: key.path(),
            min_index,
            body: true,
            purpose: "simulation".to_owned(),
            ..v1::ReadRequest::default()
        };
        let request = v1::Request {
            kind: Some(request::Kind::Read(request)),
        };
        let bytes = Bytes::from(request.encode_to_vec());
        let mut asked: JoinSet<(u16, Told)> = JoinSet::new();
        let ask = |asked: &mut JoinSet<_>, node: Option<u16>| {
            if let Some(node) = node {
                let (sender, bytes) = (self.sender(), bytes.clone());
                asked.spawn(async move { (node, sender.read_at(node, bytes, min_index).await) });
            }
        };
        for _ in 0..THRESHOLD {
            ask(&mut asked, unasked.pop());
        }
        let mut heard = Heard::default();
        let spare_at = Instant::now() + SPARE_AFTER;
        let mut spared = false;
        loop {
            tokio::select! {
                biased;
                joined = asked.join_next() => match joined {
                    Some(Ok((node, told))) => match told {
                        Told::Wrong(what) if self.site.liar.is_none() => {
                            return End::Answer(Answer::Wrong(format!("node {node}: {what}")));
                        }
                        Told::Wrong(what) => {
                            self.name(node, what);
                            heard.silent += 1;
                        }
                        Told::Reply(reply) => heard.replies.push(*reply),
                        Told::Refused { code, state_index } => heard.refusals.push((code, state_index)),
                        Told::Nothing => heard.silent += 1,
                    },
                    // A task that panicked gives no answer.
                    Some(Err(_)) => heard.silent += 1,
                    None => return heard.give_up(min_index),
                },
                () = tokio::time::sleep_until(spare_at), if !spared => {
                    spared = true;
                    ask(&mut asked, unasked.pop());
                }
            }
            if let Some(agreed) = heard.agreed() {
                match open(&self.site, &agreed) {
                    Ok(answer) => return End::Answer(answer),
                    Err(wrong) if self.site.liar.is_none() || wrong.by.is_empty() => {
                        return End::Answer(Answer::Wrong(wrong.what));
                    }
                    Err(wrong) => {
                        heard.replies.retain(|reply| !wrong.by.contains(&reply.node));
                        heard.silent += wrong.by.len();
                        for node in wrong.by {
                            self.name(node, wrong.what.clone());
                        }
                    }
                }
            }
            if heard.differ() && asked.is_empty() {
                return End::Behind {
                    highest: heard.highest(),
                };
            }
            if heard.replies.len() + asked.len() < THRESHOLD {
                ask(&mut asked, unasked.pop());
            }
        }
    }
}

impl Agent {
    /// Says that a node lies; where all nodes are honest that is an answer in itself.
    fn name(&self, node: u16, what: String) {
        self.site.recorder.note(What::Named { node, what });
    }
}

/// What has come in so far.
#[derive(Default)]
struct Heard {
    replies: Vec<Reply>,
    refusals: Vec<(Code, u64)>,
    silent: usize,
}

impl Heard {
    fn highest(&self) -> u64 {
        let shown = self.replies.iter().map(|reply| reply.state_index);
        shown.chain(self.refusals.iter().map(|(_, at)| *at)).max().unwrap_or(0)
    }

    fn differ(&self) -> bool {
        self.replies
            .windows(2)
            .any(|two| matches!(two, [a, b] if (a.record, a.epoch) != (b.record, b.epoch)))
    }

    /// t replies that say the same, and nobody says otherwise from a later state than theirs.
    fn agreed(&self) -> Option<Vec<&Reply>> {
        self.replies.iter().find_map(|first| {
            let same = |reply: &&Reply| (reply.record, reply.epoch) == (first.record, first.epoch);
            let mut members: Vec<&Reply> = self.replies.iter().filter(same).collect();
            members.sort_by_key(|reply| Reverse(reply.state_index));
            members.truncate(THRESHOLD);
            let lowest = members.last()?.state_index;
            let others = self.replies.iter().filter(|reply| !same(reply));
            let later = others.map(|reply| reply.state_index).any(|at| at > lowest);
            (members.len() == THRESHOLD && !later).then_some(members)
        })
    }

    /// Nobody is left to ask and t do not agree.
    fn give_up(&self, min_index: u64) -> End {
        let highest = self.highest();
        let behind = self.refusals.iter().any(|(_, at)| *at != 0 && *at < highest);
        let fails = |code: &Code| matches!(code, Code::NotFound | Code::Denied | Code::UnknownKey);
        let refused: Vec<(Code, u64)> = self.refusals.iter().copied().filter(|(code, _)| fails(code)).collect();
        if (behind && !self.replies.is_empty() || self.differ()) && highest > min_index {
            return End::Behind { highest };
        }
        if refused.len() < THRESHOLD {
            return End::Answer(Answer::Failed(Code::NoQuorum));
        }
        // As in the client: what t nodes say, else what the one with the latest state says.
        let by_t = |code: Code| refused.iter().filter(|(other, _)| *other == code).count() >= THRESHOLD;
        let told = refused
            .iter()
            .max_by_key(|(code, at)| (by_t(*code), *at, *code == Code::Denied));
        End::Answer(match told {
            None | Some((Code::NotFound, _)) => Answer::Nothing,
            Some((code, _)) => Answer::Refused(*code),
        })
    }
}

impl Sender {
    async fn read_at(&self, node: u16, bytes: Bytes, min_index: u64) -> Told {
        let request_hash = sha256(&bytes);
        match self.ask(node, bytes, REQUEST_WITHIN).await {
            Ok((response::Result::Read(reply), Some(fragment))) => {
                match self.verify(node, reply, &fragment, &request_hash, min_index) {
                    Some(reply) => Told::Reply(Box::new(reply)),
                    None => Told::Wrong("its reply does not verify".to_owned()),
                }
            }
            Ok((response::Result::Error(error), _)) => Told::Refused {
                code: Code::from_number(error.code).unwrap_or(Code::Internal),
                state_index: error.state_index,
            },
            Ok(_) => Told::Wrong("its answer is none".to_owned()),
            Err(NoAnswer::Unreachable | NoAnswer::Broken | NoAnswer::Timeout) => Told::Nothing,
        }
    }

    /// A reply, if everything that the node signed holds.
    fn verify(
        &self,
        node: u16,
        reply: v1::ReadReply,
        released: &ReleasedFragment,
        request_hash: &Hash,
        min_index: u64,
    ) -> Option<Reply> {
        let hash = |bytes: &Bytes| Hash::try_from(bytes.as_ref()).ok();
        let signer = Signer {
            cluster: self.site.roster.cluster,
            node,
            boot_counter: reply.boot_counter,
        };
        let record = hash(&reply.record_hash)?;
        let leaf = signer.reply(&ReplyLeaf {
            client_key: &self.key,
            request_hash,
            record_hash: &record,
            epoch: reply.epoch,
            fragment_hash: &sha256(released.expose()),
            state_index: reply.state_index,
            record_index: reply.record_index,
            record_chain: &hash(&reply.record_chain)?,
            anchor_index: reply.anchor_index,
            anchor_chain: &hash(&reply.anchor_chain)?,
        });
        let path: Vec<Hash> = reply.group_path.iter().map(hash).collect::<Option<_>>()?;
        let root = inclusion_root(&leaf_hash(&leaf), reply.group_index, reply.group_size, &path).ok()?;
        let key = self.site.hellos.signing_key(node, reply.boot_counter)?;
        let signature = reply.group_signature.as_ref().try_into().ok()?;
        let provider = self.site.provider.as_ref();
        provider.p256(&key, &signer.replies(&root), &signature).ok()?;
        if reply.state_index < min_index || reply.record_index > reply.state_index {
            return None;
        }
        Some(Reply {
            node,
            record,
            epoch: reply.epoch,
            state_index: reply.state_index,
            fragment: Fragment::from_slice(released.expose()).ok()?,
            body: reply.body,
        })
    }
}

/// What t nodes agree on does not open, and which of them are to blame. Authors are honest: where no node is, whatever
/// fails is a fault of the program.
struct Wrong {
    what: String,
    by: Vec<u16>,
}

/// Checks the body, combines, checks the key commitment, opens.
fn open(site: &Site, agreed: &[&Reply]) -> Result<Answer, Wrong> {
    let wrong = |by: Vec<u16>, what: &str| Wrong {
        what: what.to_owned(),
        by,
    };
    let first = agreed.first().ok_or_else(|| wrong(Vec::new(), "nobody agreed"))?;
    let of_first = |what| wrong(vec![first.node], what);
    let body = first.body.as_ref().ok_or_else(|| of_first("a reply without a body"))?;
    let dealing = dealing(site, body).ok_or_else(|| of_first("a body that is no dealing"))?;
    if *dealing.record_hash() != first.record {
        return Err(of_first("a body that is not the one that was vouched for"));
    }
    let fragments: Vec<(u16, &Fragment)> = agreed.iter().map(|reply| (reply.node, &reply.fragment)).collect();
    let key = dealing
        .unlock(&site.lagrange, &fragments)
        .map_err(|error| wrong(dealing.culprits(&fragments), &error.to_string()))?;
    let value = key
        .open(site.provider.as_ref())
        .map_err(|error| wrong(Vec::new(), &error.to_string()))?;
    Ok(Answer::Value {
        version: body.version,
        record: first.record,
        value: sha256(value.expose()),
    })
}

fn dealing<'a>(site: &'a Site, body: &'a v1::StoredVersion) -> Option<Dealing<'a>> {
    let id = |bytes: &Bytes| <[u8; 16]>::try_from(bytes.as_ref()).ok();
    let (tenant, secret, author) = (id(&body.tenant)?, id(&body.secret)?, id(&body.author)?);
    let write_nonce = Hash::try_from(body.write_nonce.as_ref()).ok()?;
    let value = ValueContext {
        cluster: site.roster.cluster.bytes(),
        tenant: &tenant,
        secret: &secret,
        version: body.version,
        author: &author,
        write_nonce: &write_nonce,
    };
    let unchecked = Unchecked {
        header: &body.header,
        ciphertext: &body.ciphertext,
        key_commitment: &body.key_commitment,
        commitments: &body.commitments,
        z: &body.z,
    };
    Dealing::parse(&value, &author, &site.sharing, &unchecked).ok()
}
