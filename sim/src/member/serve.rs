//! What a node does with a message: the network's side of `symbolon-node`'s server.

use super::{Member, admission, error, gossip, release, submit};
use crate::net::{Asked, Place, Serve, Served, Serving};
use crate::sync::lock;
use bytes::Bytes;
use prost::Message;
use std::sync::Arc;
use symbolon_crypto::enc::sha256;
use symbolon_state::entry::Kind;
use symbolon_wire::Code;
use symbolon_wire::reply::encode_response;
use symbolon_wire::v1::{self, peer_request, peer_response, request, response};

impl Serve for Member {
    fn serve(self: Arc<Self>, from: Place, asked: Asked) -> Serving {
        Box::pin(async move {
            match (asked, from) {
                (Asked::Peer(bytes), Place::Node(node)) => Served {
                    bytes: peer(&self, node, bytes).await,
                    released: false,
                },
                (Asked::Client { key, bytes }, Place::Client(_)) => client(&self, key, bytes).await,
                // The channels are authenticated: neither can pass for the other.
                _ => Served {
                    bytes: None,
                    released: false,
                },
            }
        })
    }
}

async fn peer(member: &Arc<Member>, node: u16, bytes: Bytes) -> Option<Bytes> {
    let result = match v1::PeerRequest::decode(bytes).ok()?.kind? {
        peer_request::Kind::Raft(frame) => {
            if member.refusal().is_some() || lock(&member.heads).is_outvoted(node) {
                return None;
            }
            let lie = member.site.liar(member.node).and_then(|liar| liar.lies.answer(&frame));
            peer_response::Result::Raft(match lie {
                Some(lie) => lie,
                None => member.consensus.receive(node.into(), frame).await,
            })
        }
        peer_request::Kind::Propose(_) if censors(member) => return None,
        peer_request::Kind::Propose(propose) => {
            let kind = u16::try_from(propose.kind).unwrap_or(u16::MAX);
            if !Kind::from_number(kind).is_some_and(Kind::is_handed_on) {
                return None;
            }
            match submit::propose_here(member, kind, propose.payload).await {
                Ok(submitted) => peer_response::Result::Submitted(submitted),
                Err(refused) => peer_response::Result::Error(refused),
            }
        }
        peer_request::Kind::Cosign(_) => {
            let why = "no node of the simulation asks for cosignatures";
            peer_response::Result::Error(error(Code::Malformed, why))
        }
        peer_request::Kind::Witness(question) => admission::answer(member, node, question).await,
        peer_request::Kind::Gossip(gossip) => {
            gossip::take(member, node, gossip);
            peer_response::Result::Gossip(v1::GossipAck {})
        }
    };
    Some(v1::PeerResponse { result: Some(result) }.encode_to_vec().into())
}

/// Whether a malicious node holds back what is handed to it.
fn censors(member: &Member) -> bool {
    let liar = member.site.liar(member.node);
    liar.is_some_and(|liar| liar.censors && liar.lies.on())
}

async fn client(member: &Arc<Member>, key: [u8; 32], bytes: Bytes) -> Served {
    // The request has arrived whole.
    let arrived = member.recorder().now();
    let request_hash = sha256(&bytes);
    let kind = v1::Request::decode(bytes).ok().and_then(|request| request.kind);
    let client = release::Client { key, arrived };
    let result = match kind {
        Some(request::Kind::Read(read)) => {
            let (frame, released) = release::read(member, client, request_hash, read).await;
            let bytes = Some(Bytes::copy_from_slice(frame.as_ref()));
            return Served { bytes, released };
        }
        Some(_) if member.refusal().is_some() => Err(error(
            member.refusal().unwrap_or(Code::Internal),
            format!("node {} does not serve", member.node),
        )),
        Some(request::Kind::Submit(_)) if censors(member) => {
            return Served {
                bytes: None,
                released: false,
            };
        }
        Some(request::Kind::Submit(command)) => submit::submit(member, &key, command)
            .await
            .map(response::Result::Submitted),
        Some(request::Kind::Outcomes(asked)) => submit::outcomes(member, asked).await.map(response::Result::Outcomes),
        Some(request::Kind::Resolve(resolve)) => release::resolve(member, &client, &request_hash, resolve)
            .await
            .map(response::Result::Resolve),
        _ => Err(error(Code::Malformed, "not a request of the simulation")),
    };
    let result = result.unwrap_or_else(response::Result::Error);
    let frame = encode_response(&v1::Response { result: Some(result) }, None);
    Served {
        bytes: Some(Bytes::copy_from_slice(frame.as_ref())),
        released: false,
    }
}
