//! How a booted node comes to take part; as `symbolon-node`'s `admission`.

use super::boot::peer_message;
use super::{Member, error};
use crate::net::Place;
use prost::Message;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use symbolon_consensus::{AdmitError, Standpoint};
use symbolon_custody::admission::{self, Admission, Stand};
use symbolon_state::check_boot;
use symbolon_wire::Code;
use symbolon_wire::v1::{self, peer_request, peer_response};

/// How long one node may take to answer.
const ANSWER: Duration = Duration::from_secs(1);
/// Those that did not answer are asked again after this.
const AGAIN: Duration = Duration::from_millis(50);

/// Asks until enough have answered, then takes part.
pub(super) async fn run(member: &Arc<Member>) -> Result<(), AdmitError> {
    let (roster, provider) = (&member.site.roster, member.site.provider.as_ref());
    let mut admission = Admission::new(roster, member.statement.clone());
    let stand = loop {
        let term_max = member.consensus.credible_term().await?;
        for node in admission.missing() {
            if let Some(answer) = ask(member, node).await
                && let Err(refused) = admission.take(node, &answer, term_max, roster, provider)
            {
                member.blame(format!("node {node} answered a boot wrongly: {refused}"));
            }
        }
        if let Some(stand) = admission.verdict() {
            break stand;
        }
        tokio::time::sleep(AGAIN).await;
    };
    let heard = Standpoint {
        term: stand.term,
        last: stand.last,
    };
    member.consensus.admit(heard).await
}

async fn ask(member: &Arc<Member>, node: u16) -> Option<v1::Witnessed> {
    let question = v1::Witness {
        boot: Some(member.statement.clone()),
    };
    let asked = peer_message(peer_request::Kind::Witness(question));
    let answer = member.site.net.ask(Place::Node(member.node), node, asked, ANSWER).await;
    match v1::PeerResponse::decode(answer.ok()?).ok()?.result? {
        peer_response::Result::Witnessed(answer) => Some(answer),
        _ => None,
    }
}

/// Tells the booted node `from` where this one stands.
pub(super) async fn answer(member: &Arc<Member>, from: u16, question: v1::Witness) -> peer_response::Result {
    let refused = |code, why: &str| peer_response::Result::Error(error(code, why));
    if let Some(code) = member.refusal() {
        return refused(code, "the node does not serve");
    }
    let Some(asker) = question.boot else {
        return refused(Code::Malformed, "no boot statement");
    };
    let checked = check_boot(&member.site.roster, member.site.provider.as_ref(), &asker);
    if checked.is_none_or(|(node, _)| node != from) {
        return refused(Code::BadSignature, "not a boot of the asker's");
    }
    match member.fences.raise(from, &asker).await {
        Ok(None) => {}
        Ok(Some(newer)) => return peer_response::Result::Superseded(newer),
        Err(fault) => return refused(Code::DiskFull, &fault.to_string()),
    }
    let Ok(stand) = member.consensus.standpoint().await else {
        return refused(Code::Internal, "agreement has stopped");
    };
    let stand = Stand {
        term: stand.term,
        last: stand.last,
        admitted: member.consensus.is_admitted(),
    };
    let sign = |message: &[u8]| Ok::<_, Infallible>(member.signing.sign(message));
    let Ok(answer) = admission::answer(&member.signer, &member.statement, &asker, &stand, sign);
    peer_response::Result::Witnessed(answer)
}
