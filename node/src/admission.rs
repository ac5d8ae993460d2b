//! From a booted process to one that takes part: asks the others where the log stands, and answers them; notices when a
//! newer boot of this node counts instead (docs/decisions/0016-witnessed-boot.md).

use crate::member::{Member, Standing, error};
use crate::run::{RunError, remember_boots};
use bytes::Bytes;
use prost::Message;
use std::sync::Arc;
use std::time::Duration;
use symbolon_consensus::Standpoint;
use symbolon_custody::admission::{self, Admission, BootId, Stand};
use symbolon_state::check_boot;
use symbolon_wire::Code;
use symbolon_wire::v1::{self, peer_request, peer_response};
use tokio::sync::mpsc;

/// How long one node may take to answer.
const ANSWER: Duration = Duration::from_secs(1);
/// A node that did not answer is asked again after this.
const AGAIN: Duration = Duration::from_millis(50);

/// Asks until enough have answered, then takes part.
pub(crate) async fn run(member: &Arc<Member>) -> Result<(), RunError> {
    let mut admission = Admission::new(&member.roster, member.boot.statement.clone());
    let (answers, mut answered) = mpsc::unbounded_channel();
    let mut asking = tokio::task::JoinSet::new();
    for node in member.peers.nodes() {
        asking.spawn(ask(Arc::clone(member), node, answers.clone()));
    }
    let stand = loop {
        if let Some(stand) = admission.verdict() {
            break stand;
        }
        member.set_standing(Standing::Booting(waiting_for(&admission.missing())));
        // Their senders ask until they are ended.
        let Some((node, answer)) = answered.recv().await else {
            continue;
        };
        while asking.try_join_next().is_some() {}
        // Frames of others bring this node closer, step by step, if it was left far behind.
        let term_max = member.consensus.credible_term().await?;
        let taken = admission.take(node, &answer, term_max, &member.roster, member.provider.as_ref());
        if let Err(refused) = taken {
            tracing::warn!(node, %refused, "an answer to this boot does not count");
            let again = ask(Arc::clone(member), node, answers.clone());
            asking.spawn(async {
                tokio::time::sleep(AGAIN).await;
                again.await;
            });
        }
    };
    asking.abort_all();
    let heard = Standpoint {
        term: stand.term,
        last: stand.last,
    };
    member.consensus.admit(heard).await?;
    tracing::info!(term = stand.term, last = ?stand.last, "admitted: the other nodes have said where the log stands");
    member.set_standing(Standing::Booting(UNANNOUNCED.to_owned()));
    Ok(())
}

/// Why an admitted node does not serve yet.
pub(crate) const UNANNOUNCED: &str = "waiting for its boot keys in the log";

fn waiting_for(nodes: &[u16]) -> String {
    let nodes: Vec<String> = nodes.iter().map(u16::to_string).collect();
    format!("waiting for node {} to say where the log stands", nodes.join(" and "))
}

async fn ask(member: Arc<Member>, node: u16, answers: mpsc::UnboundedSender<(u16, v1::Witnessed)>) {
    let question = v1::Witness {
        boot: Some(member.boot.statement.clone()),
    };
    loop {
        let asked = peer_request::Kind::Witness(question.clone());
        match member.peers.ask(node, asked, ANSWER).await {
            Ok(peer_response::Result::Witnessed(answer)) => {
                // Whoever asked may have heard enough.
                let _ = answers.send((node, answer));
                return;
            }
            Ok(peer_response::Result::Error(refused)) => {
                tracing::info!(node, why = refused.message, "no answer to this boot yet");
            }
            Ok(_) | Err(_) => {}
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Tells the boot of `node` that `asker` is about where this node stands, and takes nothing from earlier ones any more.
pub(crate) async fn answer(member: &Arc<Member>, node: u16, asker: &v1::BootKeys) -> peer_response::Result {
    if let Some(code) = member.standing().ended() {
        let why = format!("node {} {}", member.node, member.standing().reason());
        return peer_response::Result::Error(error(code, why, ""));
    }
    match member.fences.raise(node, asker).await {
        Ok(None) => {}
        Ok(Some(newer)) => return peer_response::Result::Superseded(newer),
        Err(fault) => return peer_response::Result::Error(error(Code::DiskFull, fault.to_string(), "")),
    }
    member.peers.leave_older(node).await;
    let signed = async {
        let stand = member
            .consensus
            .standpoint()
            .await
            .map_err(|stopped| stopped.to_string())?;
        let stand = Stand {
            term: stand.term,
            last: stand.last,
            admitted: member.consensus.is_admitted(),
        };
        let (boot, sign) = (&member.boot, &member.boot.signing);
        admission::answer(&boot.signer, &boot.statement, asker, &stand, |message| {
            sign.sign(message)
        })
        .map_err(|_| "an answer to a booted node cannot be signed".to_owned())
    };
    match signed.await {
        Ok(answer) => peer_response::Result::Witnessed(answer),
        Err(why) => peer_response::Result::Error(error(Code::Internal, why, "")),
    }
}

/// Waits for proof that a newer boot of this node counts: its own identity key signed it. Who took part stays, refuses,
/// and says why; who did not yet ends, and has learned how far its node has counted.
pub(crate) async fn watch(
    member: &Arc<Member>,
    mut refused: mpsc::UnboundedReceiver<v1::BootKeys>,
) -> Result<(), RunError> {
    while let Some(statement) = refused.recv().await {
        let checked = check_boot(&member.roster, member.provider.as_ref(), &statement);
        let own = BootId::of(&member.boot.statement);
        let newer = checked.is_some_and(|(node, _)| node == member.node) && BootId::of(&statement) > own;
        if !newer || matches!(member.standing(), Standing::Superseded(_)) {
            continue;
        }
        let counter = statement.boot_counter;
        let took_part = member.consensus.is_admitted();
        supersede(member, counter);
        remember_boots(&member.local, counter).await?;
        if !took_part {
            return Err(RunError::Superseded { counter });
        }
    }
    std::future::pending().await
}

/// Takes no part any more if the log has another boot of this node under this one's number or a later one: it takes each number once,
/// and a disk that was put back counts the same boot twice.
pub(crate) fn give_way(member: &Member) {
    let logged = member.shown.load().boots.get(&member.node).map(|boot| boot.counter);
    if let Some(counter) = logged.filter(|counter| *counter >= member.boot.signer.boot_counter)
        && !member.is_announced()
    {
        supersede(member, counter);
    }
}

/// Takes no part any more.
fn supersede(member: &Member, counter: u64) {
    tracing::error!(
        counter,
        "a newer boot of this node counts; this process takes no part any more"
    );
    member.consensus.retire();
    member.set_standing(Standing::Superseded(counter));
}

/// A frame that says so.
pub(crate) fn refusal(newer: v1::BootKeys) -> Bytes {
    let result = Some(peer_response::Result::Superseded(newer));
    v1::PeerResponse { result }.encode_to_vec().into()
}
